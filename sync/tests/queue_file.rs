//! What the file itself guarantees: it is encrypted, and its operations are append-only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "queue/rig.rs"]
mod queue_rig;

use lotgate_sync::queue::{Identity, IdentityError};
use lotgate_sync::secure::{Secure, SystemRandom};
use queue_rig::{Rig, scan};

async fn filled(count: u64) -> Rig {
    let rig = Rig::new();
    let queue = rig.create();
    for n in 0..count {
        queue.append(scan(n)).await.unwrap();
    }
    queue.close().await.unwrap();
    rig
}

#[test]
fn a_certificate_with_another_sealing_key_is_refused() {
    let rig = Rig::new();
    let secure = Secure::prepare(rig.places(), &SystemRandom).unwrap();
    let keys = secure.station_keys();
    let verify = |hpke| {
        let certificates = rig.tenant.certificates(rig.station, keys.public(), hpke);
        let fingerprint = rig.tenant.root.public().fingerprint();
        let (site, name) = (rig.tenant.site.clone(), "Dispensary 1".to_owned());
        let own = (&keys.public(), &keys.hpke_public());
        Identity::verify(rig.tenant.id, fingerprint, site, name, certificates, own, secure.protection())
    };
    assert!(verify(keys.hpke_public()).is_ok());
    assert!(matches!(verify(keys.public()), Err(IdentityError::HpkeKey)), "sealed to it, another could open");
}

#[tokio::test]
async fn operations_and_receipts_can_only_be_added() {
    let rig = filled(3).await;
    let queue = rig.open();
    let head = queue.state().borrow().head;
    queue.settle(rig.settlement(&queue, head).await).await.unwrap();
    queue.close().await.unwrap();
    let connection = rig.connection();
    connection.execute_batch("PRAGMA recursive_triggers = ON; PRAGMA foreign_keys = ON;").unwrap();
    let attempts = [
        "UPDATE operation SET wall = 0",
        "UPDATE operation SET entry = x'' WHERE position = 2",
        "DELETE FROM operation WHERE position = 4",
        "DELETE FROM operation",
        "REPLACE INTO operation SELECT * FROM operation WHERE position = 2",
        "INSERT INTO operation SELECT position + 7, epoch_n, seq + 7, zeroblob(16), type, hash, wall, entry \
         FROM operation WHERE position = 1; DELETE FROM operation WHERE position = 8",
        "INSERT INTO operation SELECT 5, epoch_n, 9, zeroblob(16), type, hash, wall, entry FROM operation \
         WHERE position = 1",
        "INSERT INTO operation SELECT 5, 2, 5, zeroblob(16), type, hash, wall, entry FROM operation \
         WHERE position = 1",
        "REPLACE INTO operation SELECT 5, epoch_n, 5, id, type, hash, wall, entry FROM operation \
         WHERE position = 1",
        "UPDATE receipt SET seq = 1",
        "DELETE FROM receipt",
        "UPDATE delivery SET settled_through = sent_through + 1",
    ];
    for attempt in attempts {
        connection.execute_batch("SAVEPOINT attempt").unwrap();
        assert!(connection.execute_batch(attempt).is_err(), "{attempt}");
        connection.execute_batch("ROLLBACK TO attempt; RELEASE attempt").unwrap();
    }
    drop(connection);
    assert!(rig.view().verify(|_| {}).unwrap().ok(), "nothing got through");
}

#[tokio::test]
async fn nothing_of_an_operation_can_be_read_from_the_disk() {
    let rig = Rig::new();
    let queue = rig.create();
    for n in 0..20 {
        queue.append(scan(n)).await.unwrap();
    }
    for when in ["while it is open", "after it was closed"] {
        for file in std::fs::read_dir(rig.data()).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            for word in ["SQLite format 3", "scan.refused", "CREATE TABLE", "ed25519", "Plant 1"] {
                let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
                assert!(!found, "{when}: {word} stands in {}", path.display());
            }
        }
        if when == "while it is open" {
            queue.clone().close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_file_says_whose_it_is_and_keeps_its_settings() {
    let rig = filled(1).await;
    let connection = rig.connection();
    let number = |pragma: &str| -> i64 {
        connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!(number("application_id"), 0x6c6f_7467);
    assert_eq!(number("user_version"), 1);
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    let strict: i64 = connection
        .query_row("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite_%'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(strict, 0, "every table is STRICT");
}

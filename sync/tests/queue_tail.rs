//! The last 1,000 entries are checked before anything is appended, in parts and at once (PROTOCOL §2): what is wrong
//! is found wherever it lies. Rows of `sync/DETECTION.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "queue/rig.rs"]
mod queue_rig;

use lotgate_domain::chain::Head;
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::signature::Context;
use lotgate_sync::queue::{FaultCode, Queue, QueueAlarm};
use queue_rig::{Rig, scan};
use rusqlite::Connection;

async fn append(queue: &Queue, count: u64) {
    let waiting: Vec<_> = (0..count).map(|n| queue.submit(scan(n))).collect();
    for one in waiting {
        one.await.unwrap();
    }
}

/// The file as somebody changes it who has the key and takes the triggers away.
fn changed(rig: &Rig, change: impl FnOnce(&Connection)) -> Rig {
    let copy = rig.copy();
    let connection = copy.connection();
    let triggers = "PRAGMA foreign_keys = OFF; DROP TRIGGER operation_no_update; DROP TRIGGER operation_no_delete; \
                    DROP TRIGGER operation_pruned";
    connection.execute_batch(triggers).unwrap();
    change(&connection);
    copy
}

fn sql(text: String) -> impl FnOnce(&Connection) {
    move |connection| assert_eq!(connection.execute(&text, []).unwrap(), 1, "{text}")
}

fn entry_at(connection: &Connection, position: u64) -> Vec<u8> {
    let sql = "SELECT entry FROM operation WHERE position = ?1";
    connection.query_row(sql, [position], |row| row.get(0)).unwrap()
}

fn put(connection: &Connection, position: u64, entry: &[u8]) {
    let sql = "UPDATE operation SET entry = ?2, hash = ?3 WHERE position = ?1";
    let hash = entry::hash(entry);
    assert_eq!(connection.execute(sql, (position, entry, hash.as_bytes())).unwrap(), 1);
}

/// Another signature, and the column beside it made right.
fn sign_wrongly(position: u64) -> impl FnOnce(&Connection) {
    move |connection| {
        let mut entry = entry_at(connection, position);
        *entry.last_mut().unwrap() ^= 1;
        put(connection, position, &entry);
    }
}

/// The start, and looking, which does it on one connection.
fn is_damaged(rig: &Rig) -> bool {
    let looked = rig.view().check_ends().err().map(|error| error.code());
    let alarms = rig.open().state().borrow().alarms.clone();
    let found = alarms.contains(&QueueAlarm::QueueSetAside);
    assert_eq!(looked, found.then_some("damaged"), "looking says the same: {alarms:?}");
    found
}

#[tokio::test]
async fn a_change_at_any_seam_of_the_check_is_found() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 1_200).await;
    queue.close().await.unwrap();
    // 1,201 entries: the check begins with 202, each part has 125, and from 1,138 on every member is read.
    for position in [202, 203, 326, 327, 328, 1_076, 1_077, 1_137, 1_138, 1_139, 1_200] {
        let dropped = sql(format!("DELETE FROM operation WHERE position = {position}"));
        assert!(is_damaged(&changed(&rig, dropped)), "{position} dropped");
        let column = sql(format!("UPDATE operation SET hash = zeroblob(32) WHERE position = {position}"));
        assert!(is_damaged(&changed(&rig, column)), "hash beside {position}");
        assert!(is_damaged(&changed(&rig, sign_wrongly(position))), "signature of {position}");
    }
    for column in ["epoch_n = 2", "seq = seq + 1", "entry = x'00'"] {
        let change = sql(format!("UPDATE operation SET {column} WHERE position = 500"));
        assert!(is_damaged(&changed(&rig, change)), "{column}");
    }
    assert!(is_damaged(&changed(&rig, sign_wrongly(1_201))), "signature of the last");
    assert!(!is_damaged(&changed(&rig, |_| {})), "unchanged, it opens as it is");
}

#[tokio::test]
async fn the_end_of_an_epoch_which_no_entry_names_is_known_by_its_signature() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 300).await;
    queue.open_epoch(EpochReason::KeyRotated).await.unwrap();
    append(&queue, 300).await;
    let second = queue.state().borrow().head.epoch.unwrap();
    queue.set_aside_after(second, 150, "broken_chain").await.unwrap();
    append(&queue, 200).await;
    assert_eq!(queue.state().borrow().head.seq, 201, "in a third epoch");
    queue.close().await.unwrap();
    // The first epoch ends at 301; of the second, 452 to 602 are set aside, over a seam of the check at 500.
    let damaged = |change: &dyn Fn(&Connection)| {
        let copy = changed(&rig, change);
        let code = copy.view().check_ends().err().map(|error| error.code());
        let queue = copy.open();
        let n = queue.state().borrow().head.epoch.unwrap().n;
        assert_eq!(code.is_some(), n == 4, "looking says the same: {code:?}, epoch {n}");
        n == 4
    };
    for position in [300, 301, 302, 450, 451, 603, 803] {
        assert!(damaged(&|connection| sign_wrongly(position)(connection)), "signature of {position}");
    }
    assert!(!damaged(&|_| {}), "unchanged, it opens as it is");
}

#[tokio::test]
async fn what_was_set_aside_is_in_no_chain_whatever_is_wrong_with_it() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 600).await;
    let epoch = queue.state().borrow().head.epoch.unwrap();
    queue.set_aside_after(epoch, 150, "broken_chain").await.unwrap();
    append(&queue, 40).await;
    queue.close().await.unwrap();
    // 151 to 601 are set aside; parts end at 250, 375 and 500, and every member is read after 578.
    for position in [152, 250, 251, 375, 400, 578, 579] {
        for change in [
            format!("UPDATE operation SET hash = zeroblob(32), entry = x'00' WHERE position = {position}"),
            format!("DELETE FROM operation WHERE position = {position}"),
        ] {
            let queue = changed(&rig, sql(change.clone())).open();
            assert_eq!(queue.state().borrow().head.epoch.unwrap().n, 2, "{change}: it goes on as it was");
        }
    }
}

#[tokio::test]
async fn a_wrong_signature_of_the_stations_own_is_found_before_it_is_sent() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 5).await;
    let (keys, head) = (queue.station_keys().signing.clone(), queue.state().borrow().head);
    queue.close().await.unwrap();
    // What a station would leave whose memory failed while it signed: its later entries vouch for the wrong bytes.
    let rig = changed(&rig, |connection| {
        let before = entry::hash(&entry_at(connection, 3));
        sign_wrongly(3)(connection);
        let (mut before, mut now) = (before.to_string(), entry::hash(&entry_at(connection, 3)).to_string());
        for position in 4..=6 {
            let bytes = entry_at(connection, position);
            let json = String::from_utf8(Frame::read(&bytes).unwrap().json().to_vec()).unwrap();
            let linked = json.replace(&before, &now);
            assert_ne!(json, linked);
            let signed = entry::sign(linked.as_bytes(), Context::Operation, &keys).unwrap();
            put(connection, position, &signed);
            (before, now) = (entry::hash(&bytes).to_string(), entry::hash(&signed).to_string());
        }
    });
    let last = entry::hash(&entry_at(&rig.connection(), 6)).to_string();
    let anchor = rig.secure_dir().join("anchor.json");
    let told = std::fs::read_to_string(&anchor).unwrap().replace(&head.hash.to_string(), &last);
    std::fs::write(&anchor, told).unwrap();

    let queue = rig.open();
    assert!(queue.state().borrow().alarms.is_empty(), "every entry is vouched for by the last");
    let start = Head::genesis(queue.identity().certificate.hash);
    let batch = queue.batch(start, 1_000, 1 << 20).await.unwrap().unwrap();
    assert_eq!(batch.count, 2, "what lies before it");
    let after = Head { epoch: Some(batch.epoch), seq: batch.last.seq, hash: batch.last.hash };
    let next = queue.batch(after, 1_000, 1 << 20).await.unwrap().unwrap();
    assert_eq!(
        (next.epoch.n, next.count),
        (2, 1),
        "it and what follows is set aside, and a new epoch opened"
    );
    assert!(queue.state().borrow().alarms.contains(&QueueAlarm::QueueSetAside));
    let fault = rig.view().verify(|_| {}).unwrap().first_fault.unwrap();
    assert_eq!((fault.position, fault.code), (3, FaultCode::BadSignature));
}

//! Whoever looks at a queue in doubt hears a closed code and an exit code and leaves the file alone. What a start
//! then does is in `queue_epochs.rs`.
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
use lotgate_domain::epoch::EpochReason;
use lotgate_sync::queue::{FaultCode, OpenError, Queue, QueueAlarm, QueueView};
use lotgate_sync::secure::{KeyProtection, Places, Secure, SecureError, SystemRandom};
use queue_rig::{Rig, copy_dir, restrict, scan};
use std::path::Path;

/// A closed queue with `count` scans in it.
async fn filled(count: u64) -> Rig {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, count).await;
    queue.close().await.unwrap();
    rig
}

async fn append(queue: &Queue, count: u64) {
    for n in 0..count {
        queue.append(scan(n)).await.unwrap();
    }
}

fn bytes(rig: &Rig) -> (Vec<u8>, Vec<u8>) {
    let log = rig.data().join("queue.db-wal");
    (std::fs::read(rig.queue_file()).unwrap_or_default(), std::fs::read(log).unwrap_or_default())
}

/// Looking ends with `code` and `exit`, and the file is as it was.
fn stops(rig: &Rig, code: &str, exit: u8) -> OpenError {
    let before = bytes(rig);
    let error = QueueView::open(&Secure::view(rig.places()).unwrap()).expect_err("this must not open");
    assert_eq!((error.code(), error.exit_code()), (code, exit), "{error:?}");
    assert!(bytes(rig) == before, "{code}: the file was touched");
    error
}

/// What somebody does who has the key and takes the triggers away.
fn tamper(rig: &Rig, sql: &str) {
    let connection = rig.connection();
    connection
        .execute_batch(
            "DROP TRIGGER IF EXISTS operation_no_update; DROP TRIGGER IF EXISTS operation_no_delete;",
        )
        .unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn another_key_opens_nothing() {
    let (rig, other) = (filled(3).await, filled(1).await);
    std::fs::remove_dir_all(rig.secure_dir()).unwrap();
    copy_dir(&other.secure_dir(), &rig.secure_dir());
    restrict(&rig.secure_dir());
    stops(&rig, "key_mismatch", 14);
}

#[tokio::test]
async fn a_plain_file_in_the_place_of_the_queue_is_refused() {
    let rig = filled(1).await;
    std::fs::remove_file(rig.queue_file()).unwrap();
    let plain = rusqlite::Connection::open(rig.queue_file()).unwrap();
    plain.execute_batch("CREATE TABLE operation (position INTEGER)").unwrap();
    drop(plain);
    stops(&rig, "not_encrypted", 14);
    std::fs::write(rig.queue_file(), b"").unwrap();
    stops(&rig, "key_mismatch", 14);
}

#[tokio::test]
async fn a_queue_of_a_newer_version_is_left_alone() {
    let rig = filled(2).await;
    rig.connection().execute_batch("PRAGMA user_version = 2").unwrap();
    let before = bytes(&rig);
    assert_eq!(rig.try_open().expect_err("newer").code(), "newer_version");
    assert!(bytes(&rig) == before, "the start does not touch it either");
    let error = stops(&rig, "newer_version", 14);
    assert!(matches!(error, OpenError::NewerVersion { found: 2, known: 1 }), "{error:?}");
}

#[tokio::test]
async fn a_file_of_another_program_or_station_is_refused() {
    let rig = filled(2).await;
    rig.connection().execute_batch("PRAGMA application_id = 7").unwrap();
    stops(&rig, "foreign", 14);
    let rig = filled(2).await;
    rig.connection().execute_batch("UPDATE identity SET root_fingerprint = zeroblob(32)").unwrap();
    stops(&rig, "foreign", 14);
}

#[tokio::test]
async fn a_second_opener_hears_who_holds_the_lock() {
    let rig = filled(1).await;
    let queue = rig.open();
    let error = rig.secure().expect_err("two writers");
    let pid = std::process::id();
    assert!(matches!(error, SecureError::Locked { pid: Some(holder), .. } if holder == pid), "{error:?}");
    assert_eq!((error.code(), error.exit_code()), ("locked", 14));
    assert!(error.to_string().contains(&pid.to_string()), "{error}");
    let view = Secure::view(rig.places()).unwrap();
    let error = Queue::open(rig.options(view)).expect_err("without the lock");
    assert_eq!((error.code(), error.exit_code()), ("not_locked", 14));
    queue.close().await.unwrap();
    rig.open();
}

#[tokio::test]
async fn a_data_directory_without_its_secure_directory_opens_nothing() {
    let rig = filled(2).await;
    let copy = Rig::new();
    let missing = copy.secure().expect_err("nothing is there");
    assert_eq!((missing.code(), missing.exit_code()), ("not_enrolled", 10));
    copy_dir(&rig.data(), &copy.data());
    let missing = copy.secure().expect_err("copied without its keys");
    assert_eq!((missing.code(), missing.exit_code()), ("key_store_missing", 13));
    let missing = Secure::prepare(copy.places(), &SystemRandom).expect_err("no new keys over a queue");
    assert_eq!((missing.code(), missing.exit_code()), ("key_store_missing", 13));
}

#[tokio::test]
async fn the_anchor_follows_every_64_operations() {
    let rig = filled(0).await;
    let queue = rig.open();
    append(&queue, 64).await;
    let anchor = rig.secure_dir().join("anchor.json");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !std::fs::read_to_string(&anchor).unwrap().contains("\"seq\":65") {
        assert!(std::time::Instant::now() < deadline, "{}", std::fs::read_to_string(&anchor).unwrap());
        tokio::task::yield_now().await;
    }
    queue.append(scan(1)).await.unwrap();
    queue.close().await.unwrap();
    assert!(std::fs::read_to_string(&anchor).unwrap().contains("\"seq\":66"), "and at the end");
}

/// Puts other bytes in the place of an entry.
fn rewrite(rig: &Rig, position: u64, change: impl FnOnce(&mut Vec<u8>)) {
    tamper(rig, "");
    let connection = rig.connection();
    let mut entry: Vec<u8> = connection
        .query_row("SELECT entry FROM operation WHERE position = ?1", [position], |row| row.get(0))
        .unwrap();
    change(&mut entry);
    connection.execute("UPDATE operation SET entry = ?2 WHERE position = ?1", (position, entry)).unwrap();
}

/// `verify` finds it, and so does the start, which sets the file aside.
fn is_found(rig: &Rig, what: &str, expected: FaultCode) {
    let found = rig.view().verify(|_| {}).unwrap().first_fault.map(|fault| fault.code);
    assert_eq!(found, Some(expected), "{what}");
    let alarms = rig.open().state().borrow().alarms.clone();
    assert!(alarms.contains(&QueueAlarm::QueueSetAside), "{what}: {alarms:?}");
}

#[tokio::test]
async fn every_flipped_byte_of_an_entry_is_found() {
    let rig = filled(2).await;
    let length = {
        let connection = rig.connection();
        let sql = "SELECT length(entry) FROM operation WHERE position = 2";
        connection.query_row(sql, [], |row| row.get::<_, usize>(0)).unwrap()
    };
    for at in (0..length).step_by(7).chain(length - 64..length) {
        rewrite(&rig, 2, |entry| entry[at] ^= 1);
        let found = rig.view().verify(|_| {}).unwrap().first_fault.map(|fault| (fault.position, fault.code));
        let expected = if at < 4 { FaultCode::BadFrame } else { FaultCode::BadSignature };
        assert_eq!(found, Some((2, expected)), "byte {at} of {length}");
        rewrite(&rig, 2, |entry| entry[at] ^= 1);
    }
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn every_change_by_somebody_with_the_key_is_found() {
    let cases = [
        ("UPDATE operation SET entry = substr(entry, 2) WHERE position = 3", FaultCode::BadFrame),
        ("UPDATE operation SET hash = zeroblob(32) WHERE position = 3", FaultCode::ColumnsDiffer),
        ("UPDATE operation SET wall = wall + 1 WHERE position = 3", FaultCode::ColumnsDiffer),
        ("UPDATE operation SET type = 'scan.accepted' WHERE position = 3", FaultCode::ColumnsDiffer),
        ("UPDATE operation SET id = zeroblob(16) WHERE position = 3", FaultCode::ColumnsDiffer),
        ("UPDATE operation SET seq = 9 WHERE position = 3", FaultCode::ColumnsDiffer),
        ("DELETE FROM operation WHERE position = 3", FaultCode::Missing),
        ("DELETE FROM operation WHERE position = 1", FaultCode::Missing),
        (
            "UPDATE operation SET entry = (SELECT entry FROM operation WHERE position = 2) WHERE position = 3",
            FaultCode::BrokenChain,
        ),
        ("UPDATE delivery SET sent_through = 99", FaultCode::Watermark),
    ];
    for (sql, expected) in cases {
        let rig = filled(4).await;
        let good = rig.view().verify(|_| {}).unwrap();
        assert!(good.ok() && good.entries == 5, "{good:?}");
        tamper(&rig, sql);
        is_found(&rig, sql, expected);
    }
}

#[tokio::test]
async fn a_cut_off_end_is_a_rollback() {
    let rig = filled(4).await;
    tamper(&rig, "DELETE FROM operation WHERE position = 5; DELETE FROM base");
    assert!(rig.view().verify(|_| {}).unwrap().ok(), "by itself, the rest is a good chain");
    assert_eq!(rig.view().check_anchor().err().map(|error| error.code()), Some("rolled_back"));
    let queue = rig.open();
    assert!(queue.state().borrow().unconfirmed, "the start goes on in a new epoch");
    assert_eq!(queue.state().borrow().queued, 5, "of the same file");
}

/// Epoch, what it comes after, and count of every batch that would be sent.
async fn batches(queue: &Queue) -> Vec<(u64, u64, u64)> {
    let mut after = Head::genesis(queue.identity().certificate.hash);
    let mut batches = Vec::new();
    while let Some(batch) = queue.batch(after, 100, 1 << 20).await.unwrap() {
        batches.push((batch.epoch.n, batch.after.seq, batch.count));
        after = Head { epoch: Some(batch.epoch), seq: batch.last.seq, hash: batch.last.hash };
    }
    batches
}

fn alarms(queue: &Queue) -> Vec<QueueAlarm> {
    queue.state().borrow().alarms.iter().copied().collect()
}

#[tokio::test]
async fn a_damaged_entry_is_set_aside_with_the_rest_of_its_epoch_and_holds_up_nothing_else() {
    let rig = filled(4).await;
    let queue = rig.open();
    rewrite(&rig, 3, |entry| entry[100] ^= 1);
    let start = Head::genesis(queue.identity().certificate.hash);
    let first = queue.batch(start, 100, 1 << 20).await.unwrap().unwrap();
    assert_eq!((first.epoch.n, first.count), (1, 2), "the good ones before it");
    assert_eq!(alarms(&queue), [], "and nothing is given up before they are sent");
    assert_eq!(batches(&queue).await, [(1, 0, 2), (2, 0, 1)], "then the station's own new epoch");
    assert_eq!(alarms(&queue), [QueueAlarm::QueueSetAside, QueueAlarm::EpochUnconfirmed]);
    assert_eq!(queue.state().borrow().queued, 2 + 1);
    let evidence = queue.evidence(1 << 20).await.unwrap().unwrap();
    assert_eq!((evidence.reason.as_str(), evidence.entries.len()), ("queue_damaged", 3), "as they lie");
    queue.close().await.unwrap();

    let queue = rig.open();
    assert_eq!(queue.state().borrow().head.epoch.unwrap().n, 2, "a start sees no new damage in it");
    assert!(lotgate_sync::queue::set_aside_files(&rig.places()).unwrap().is_empty());
    assert_eq!(alarms(&queue), [QueueAlarm::QueueSetAside, QueueAlarm::EpochUnconfirmed], "until somebody");
    queue.acknowledge(QueueAlarm::QueueSetAside).await.unwrap();
    assert_eq!(alarms(&queue), [QueueAlarm::EpochUnconfirmed], "took notice");
    append(&queue, 2).await;
    assert_eq!(batches(&queue).await, [(1, 0, 2), (2, 0, 3)]);
}

#[tokio::test]
async fn later_epochs_are_sent_whatever_became_of_an_earlier_ones_entry() {
    for damage in [
        "UPDATE operation SET entry = x'00' WHERE position = 3",
        "UPDATE operation SET epoch_n = 2 WHERE position = 3",
        "UPDATE operation SET epoch_n = 2, seq = 1, entry = x'' WHERE position BETWEEN 3 AND 5",
        "DELETE FROM operation WHERE position = 3; DELETE FROM base",
        "DELETE FROM operation WHERE position BETWEEN 3 AND 5; DELETE FROM base",
    ] {
        let rig = filled(4).await;
        let queue = rig.open();
        queue.open_epoch(EpochReason::KeyRotated).await.unwrap();
        append(&queue, 2).await;
        tamper(&rig, damage);
        assert_eq!(batches(&queue).await, [(1, 0, 2), (2, 0, 3)], "{damage}");
        assert_eq!(alarms(&queue), [QueueAlarm::QueueSetAside], "{damage}: no epoch was opened for it");
        assert_eq!(queue.state().borrow().queued, 2 + 3, "{damage}");
    }
}

#[tokio::test]
async fn a_damaged_entry_that_the_cloud_has_is_passed_over() {
    let rig = filled(5).await;
    let queue = rig.open();
    let start = Head::genesis(queue.identity().certificate.hash);
    let first = queue.batch(start, 4, 1 << 20).await.unwrap().unwrap();
    let point = Head { epoch: Some(first.epoch), seq: first.last.seq, hash: first.last.hash };
    queue.settle(rig.settlement(&queue, point).await).await.unwrap();
    rewrite(&rig, 3, |entry| entry[100] ^= 1);
    assert_eq!(batches(&queue).await, [(1, 0, 2), (1, 4, 2)]);
    assert_eq!(alarms(&queue), []);
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_the_file_is_found() {
    let rig = filled(200).await;
    let whole = std::fs::read(rig.queue_file()).unwrap();
    for page in 0..whole.len() / 4096 {
        let mut flipped = whole.clone();
        flipped[page * 4096 + 2_000] ^= 1;
        std::fs::write(rig.queue_file(), &flipped).unwrap();
        let view = QueueView::open(&Secure::view(rig.places()).unwrap());
        let found = match view.as_ref().map(|view| view.verify(|_| {})) {
            Ok(Ok(verification)) => !verification.ok(),
            Ok(Err(_)) | Err(_) => true,
        };
        assert!(found, "page {page}");
    }
    std::fs::write(rig.queue_file(), &whole).unwrap();
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn a_view_beside_a_running_station_sees_what_is_committed() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 5).await;
    let view = rig.view();
    assert_eq!(view.state().unwrap().head, queue.state().borrow().head);
    append(&queue, 5).await;
    assert_eq!(view.state().unwrap().queued, 11);
    let verification = view.verify(|_| {}).unwrap();
    assert!(verification.ok() && verification.entries == 11, "{verification:?}");
    view.check_anchor().unwrap();
    assert_eq!(*view.identity(), *queue.identity());
}

#[cfg(unix)]
#[tokio::test]
async fn keys_that_others_can_read_are_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = filled(1).await;
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, right) in [(rig.secure_dir(), 0o700), (rig.secure_dir().join("device.key"), 0o600)] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, right, "as it was made");
        mode(&path, right | 0o044);
        let error = rig.secure().expect_err("readable by others");
        assert_eq!((error.code(), error.exit_code()), ("wrong_permissions", 13), "{}", path.display());
        mode(&path, right);
    }
    rig.open();
}

#[cfg(unix)]
#[tokio::test]
async fn another_users_directories_are_not_used() {
    let rig = filled(1).await;
    for path in [rig.data(), rig.secure_dir()] {
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_err() {
            println!("only root can give a directory away: skipped");
            return;
        }
        let error = rig.secure().expect_err("another user's");
        assert_eq!((error.code(), error.exit_code()), ("wrong_user", 13), "{}", path.display());
        assert!(error.to_string().contains("65534"), "it says whose: {error}");
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    rig.open();
}

#[tokio::test]
async fn the_key_store_chosen_at_enrolment_is_never_replaced_silently() {
    let rig = Rig::new();
    let credential = rig.directory().join("lotgate.device");
    std::fs::write(&credential, [3; 32]).unwrap();
    let places = |credential: Option<&Path>| Places::new(rig.data(), None, credential.map(Path::to_owned));
    let first = Secure::prepare(places(Some(&credential)), &SystemRandom).unwrap();
    assert_eq!(first.protection(), KeyProtection::Credential);
    let key = first.station_keys().public();
    drop(first);
    assert!(!rig.secure_dir().join("device.key").exists(), "no second secret beside it");

    let error = Secure::open(places(None)).expect_err("the credential is gone");
    assert_eq!((error.code(), error.exit_code()), ("key_store_missing", 13));
    std::fs::write(&credential, [4; 32]).unwrap();
    let error = Secure::open(places(Some(&credential))).expect_err("another machine's credential");
    assert_eq!((error.code(), error.exit_code()), ("key_store_mismatch", 13));
    std::fs::write(&credential, "short").unwrap();
    let error = Secure::open(places(Some(&credential))).expect_err("no secret");
    assert_eq!((error.code(), error.exit_code()), ("key_store_malformed", 13));
    std::fs::write(&credential, format!("{}\n", "03".repeat(32))).unwrap();
    let again = Secure::open(places(Some(&credential))).unwrap();
    assert_eq!(again.station_keys().public(), key, "the same secret as 64 digits");

    let filed = filled(1).await;
    let with_credential = Places::new(filed.data(), None, Some(credential));
    let secure = Secure::open(with_credential).unwrap();
    assert_eq!(secure.protection(), KeyProtection::File, "a credential that appears later changes nothing");
}

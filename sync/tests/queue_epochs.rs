//! A station opens new epochs by itself, offline (PROTOCOL §2): what was put back, lost or damaged is kept and
//! reported, and work goes on. Rows of `sync/DETECTION.md`.
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
use lotgate_domain::entry::Frame;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::Hash;
use lotgate_domain::operation::body::{Body, ChainPoint};
use lotgate_domain::operation::{self, Content};
use lotgate_sync::queue::{Appended, OpenError, Queue, QueueAlarm, QueueError, QueueView};
use lotgate_sync::secure::Secure;
use queue_rig::{Rig, copy_dir, restrict, scan};
use std::path::PathBuf;

async fn append(queue: &Queue, count: u64) -> Vec<Appended> {
    let mut appended = Vec::new();
    for n in 0..count {
        appended.push(queue.append(scan(n)).await.unwrap());
    }
    appended
}

async fn filled(count: u64) -> Rig {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, count).await;
    queue.close().await.unwrap();
    rig
}

fn put_back(rig: &Rig, older: &Rig) {
    std::fs::remove_dir_all(rig.data()).unwrap();
    copy_dir(&older.data(), &rig.data());
}

fn set_aside(rig: &Rig) -> Vec<PathBuf> {
    let names = lotgate_sync::queue::set_aside_files(&rig.places()).unwrap();
    names.into_iter().map(|name| rig.data().join(name)).collect()
}

/// Every entry that would be sent, and what opened each epoch.
async fn sent(queue: &Queue) -> (Vec<(u64, u64, Hash)>, Vec<Body>) {
    let mut after = Head::genesis(queue.identity().certificate.hash);
    let (mut entries, mut openings) = (Vec::new(), Vec::new());
    while let Some(batch) = queue.batch(after, 1_000, 1 << 20).await.unwrap() {
        let mut rest = batch.entries.as_slice();
        while let Ok((frame, others)) = Frame::split_first(rest) {
            rest = others;
            let read = operation::read(&frame).unwrap();
            entries.push((read.header.epoch.n, read.header.seq, read.hash));
            if let Content::Known(operation) = read.content
                && operation.seq == 1
            {
                openings.push(operation.body);
            }
        }
        after = Head { epoch: Some(batch.epoch), seq: batch.last.seq, hash: batch.last.hash };
    }
    (entries, openings)
}

async fn opening(queue: &Queue) -> (EpochReason, Option<ChainPoint>, Option<ChainPoint>) {
    match sent(queue).await.1.pop().unwrap() {
        Body::EpochOpened { reason, last, anchor } => (EpochReason::parse(&reason).unwrap(), last, anchor),
        other => panic!("{other:?}"),
    }
}

fn alarms(queue: &Queue) -> Vec<QueueAlarm> {
    queue.state().borrow().alarms.iter().copied().collect()
}

fn verified(rig: &Rig) -> u64 {
    let verification = rig.view().verify(|_| {}).unwrap();
    assert!(verification.ok(), "{verification:?}");
    verification.entries
}

#[tokio::test]
async fn a_data_directory_that_was_put_back_goes_on_in_a_new_epoch() {
    let rig = filled(3).await;
    let older = rig.copy();
    let queue = rig.open();
    append(&queue, 2).await;
    let newest = queue.state().borrow().head;
    queue.close().await.unwrap();
    put_back(&rig, &older);
    assert_eq!(
        rig.view().check_anchor().err().map(|error| error.code()),
        Some("rolled_back"),
        "looking says it"
    );
    assert_eq!(rig.view().state().unwrap().head.epoch.unwrap().n, 1, "and changes nothing");

    let queue = rig.open();
    let state = queue.state().borrow().clone();
    assert_eq!((state.head.epoch.unwrap().n, state.head.seq), (2, 1));
    assert!(state.unconfirmed && alarms(&queue) == [QueueAlarm::EpochUnconfirmed], "{:?}", state.alarms);
    let (reason, last, anchor) = opening(&queue).await;
    assert_eq!(reason, EpochReason::RolledBack);
    assert_eq!(last.map(|point| point.seq), Some(4), "the last entry of the copy");
    assert_eq!(anchor.map(|point| (point.seq, point.hash)), Some((6, newest.hash)), "what was there before");
    assert_eq!(append(&queue, 2).await[1].seq, 3, "work goes on");
    let entries = sent(&queue).await.0;
    assert_eq!(entries.len(), 4 + 3, "the copy's own entries are sent as they are");
    assert!(set_aside(&rig).is_empty(), "the file itself is sound");
    queue.close().await.unwrap();
    assert_eq!(verified(&rig), 7);

    let queue = rig.open();
    assert_eq!(queue.state().borrow().head.epoch.unwrap().n, 2, "once opened, not again");
    assert!(queue.state().borrow().unconfirmed, "and unconfirmed until a person resolves it");
}

#[tokio::test]
async fn another_branch_of_the_same_length_is_noticed() {
    let rig = filled(3).await;
    let older = rig.copy();
    for one in [&rig, &older] {
        let queue = one.open();
        append(&queue, 2).await;
        queue.close().await.unwrap();
    }
    put_back(&rig, &older);
    let queue = rig.open();
    assert_eq!(opening(&queue).await.0, EpochReason::RolledBack);
    assert_eq!(append(&queue, 1).await[0].epoch.n, 2);
}

#[tokio::test]
async fn no_epoch_number_is_given_twice() {
    let rig = filled(3).await;
    let older = rig.copy();
    let mut known = Vec::new();
    for expected in 2..5 {
        let queue = rig.open();
        append(&queue, 70).await;
        queue.close().await.unwrap();
        put_back(&rig, &older);
        let queue = rig.open();
        let epoch = queue.state().borrow().head.epoch.unwrap();
        assert_eq!(epoch.n, expected);
        known.push(epoch.id);
        queue.close().await.unwrap();
    }
    // Even without anchor and file: the number of the epoch was written down before its first entry was.
    std::fs::remove_file(rig.queue_file()).unwrap();
    std::fs::remove_file(rig.secure_dir().join("anchor.json")).unwrap();
    assert_eq!(rig.open().state().borrow().head.epoch.unwrap().n, 5);
}

#[tokio::test]
async fn a_lost_queue_is_made_anew() {
    let rig = filled(2).await;
    let (identity, head) = {
        let queue = rig.open();
        (queue.identity(), queue.state().borrow().head)
    };
    std::fs::remove_dir_all(rig.data()).unwrap();
    let error = QueueView::open(&Secure::view(rig.places()).unwrap()).expect_err("looking makes nothing");
    assert_eq!((error.code(), error.exit_code()), ("lost", 14));
    assert_eq!(rig.try_create().err().map(|error| error.code()), Some("lost"), "and it is not enrolled anew");

    let queue = rig.open();
    assert_eq!(*queue.identity(), *identity, "name, site, certificates");
    let (reason, last, anchor) = opening(&queue).await;
    assert_eq!((reason, last), (EpochReason::QueueLost, None));
    assert_eq!(anchor.map(|point| (point.epoch.n, point.seq, point.hash)), Some((1, 3, head.hash)));
    assert_eq!(append(&queue, 1).await[0].seq, 2);
    assert_eq!(alarms(&queue), [QueueAlarm::EpochUnconfirmed]);
    queue.close().await.unwrap();
    assert_eq!(verified(&rig), 2);
    rig.open();
}

/// Whatever the file is, it is kept byte for byte, and work goes on in a new one.
#[tokio::test]
async fn a_file_that_cannot_be_used_is_set_aside_and_kept() {
    type Damage = fn(&Rig);
    let damages: [(&str, Damage); 8] = [
        ("plain", |rig| {
            std::fs::remove_file(rig.queue_file()).unwrap();
            let plain = rusqlite::Connection::open(rig.queue_file()).unwrap();
            plain.execute_batch("CREATE TABLE operation (position INTEGER)").unwrap();
        }),
        ("empty", |rig| std::fs::write(rig.queue_file(), b"").unwrap()),
        ("noise", |rig| std::fs::write(rig.queue_file(), [7; 9_000]).unwrap()),
        ("first page", |rig| flip(rig, 0)),
        ("last page", |rig| {
            let length = std::fs::metadata(rig.queue_file()).unwrap().len();
            for page in 1..length / 4_096 {
                flip(rig, page);
            }
        }),
        ("another program's", |rig| {
            rig.connection().execute_batch("PRAGMA application_id = 7").unwrap();
        }),
        ("another tenant's", |rig| {
            rig.connection().execute_batch("UPDATE identity SET root_fingerprint = zeroblob(32)").unwrap();
        }),
        ("broken chain", |rig| {
            let connection = rig.connection();
            connection.execute_batch("DROP TRIGGER operation_no_update").unwrap();
            connection.execute_batch("UPDATE operation SET hash = zeroblob(32) WHERE position = 3").unwrap();
        }),
    ];
    for (what, damage) in damages {
        let rig = filled(4).await;
        damage(&rig);
        let before = std::fs::read(rig.queue_file()).unwrap();
        let queue = rig.open();
        let kept = set_aside(&rig);
        assert_eq!(kept.len(), 1, "{what}");
        assert!(std::fs::read(&kept[0]).unwrap() == before, "{what}: kept as it was");
        let (reason, _, anchor) = opening(&queue).await;
        assert_eq!((reason, anchor.map(|point| point.seq)), (EpochReason::QueueDamaged, Some(5)), "{what}");
        let expected = [QueueAlarm::QueueSetAside, QueueAlarm::EpochUnconfirmed];
        assert_eq!(alarms(&queue), expected, "{what}");
        assert_eq!(append(&queue, 2).await[1].epoch.n, 2, "{what}");
        queue.close().await.unwrap();
        assert_eq!(verified(&rig), 3, "{what}");
        let queue = rig.open();
        assert_eq!(queue.state().borrow().head.epoch.unwrap().n, 2, "{what}: once");
        assert_eq!(alarms(&queue), expected, "{what}: shown until somebody takes the file away");
        queue.close().await.unwrap();
        std::fs::remove_file(&kept[0]).unwrap();
        assert_eq!(alarms(&rig.open()), [QueueAlarm::EpochUnconfirmed], "{what}");
    }
}

fn flip(rig: &Rig, page: u64) {
    let mut bytes = std::fs::read(rig.queue_file()).unwrap();
    bytes[usize::try_from(page).unwrap() * 4_096 + 2_000] ^= 1;
    std::fs::write(rig.queue_file(), bytes).unwrap();
}

#[tokio::test]
async fn the_queue_of_another_station_is_set_aside() {
    let (rig, other) = (filled(2).await, filled(5).await);
    put_back(&rig, &other);
    let queue = rig.open();
    assert_eq!(opening(&queue).await.0, EpochReason::QueueDamaged);
    assert_eq!(set_aside(&rig).len(), 1);
    queue.close().await.unwrap();
    // And its own station still opens it.
    std::fs::remove_dir_all(other.data()).unwrap();
    std::fs::create_dir(other.data()).unwrap();
    std::fs::copy(&set_aside(&rig)[0], other.queue_file()).unwrap();
    assert_eq!(other.open().state().borrow().head.seq, 6);
}

#[tokio::test]
async fn a_log_without_its_file_never_meets_the_new_one() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 5).await;
    let crashed = rig.copy();
    let log = crashed.data().join("queue.db-wal");
    let bytes = std::fs::read(&log).unwrap();
    assert!(bytes.len() > 4_096, "the operations are in the log alone");
    std::fs::remove_file(crashed.queue_file()).unwrap();
    let queue = crashed.open();
    assert_eq!(sent(&queue).await.0.len(), 1, "only the new epoch's opening");
    let kept: Vec<_> = std::fs::read_dir(crashed.data()).unwrap().map(|file| file.unwrap().path()).collect();
    let kept = kept.into_iter().find(|path| path.to_string_lossy().ends_with(".set-aside-wal")).unwrap();
    assert!(std::fs::read(kept).unwrap() == bytes, "the log is kept");
    queue.close().await.unwrap();
    assert_eq!(verified(&crashed), 1);
}

#[tokio::test]
async fn doubt_about_the_anchor_is_doubt() {
    for anchor in [None, Some("{"), Some("{}")] {
        let rig = filled(2).await;
        let path = rig.secure_dir().join("anchor.json");
        match anchor {
            None => std::fs::remove_file(&path).unwrap(),
            Some(text) => std::fs::write(&path, text).unwrap(),
        }
        let queue = rig.open();
        let (reason, last, known) = opening(&queue).await;
        assert_eq!((reason, last.map(|point| point.seq), known), (EpochReason::RolledBack, Some(3), None));
        queue.close().await.unwrap();
        assert_eq!(rig.open().state().borrow().head.epoch.unwrap().n, 2);
    }
    let rig = filled(0).await;
    std::fs::remove_file(rig.secure_dir().join("anchor.json")).unwrap();
    let queue = rig.open();
    assert_eq!(
        queue.state().borrow().head.epoch.unwrap().n,
        1,
        "only directly after enrolment it may be missing"
    );
    assert!(rig.secure_dir().join("anchor.json").exists());
}

#[tokio::test]
async fn a_newer_version_and_a_failing_disk_are_no_damage() {
    let rig = filled(2).await;
    rig.connection().execute_batch("PRAGMA user_version = 2").unwrap();
    let before = std::fs::read(rig.queue_file()).unwrap();
    let error = rig.try_open().expect_err("newer");
    assert!(matches!(error, OpenError::NewerVersion { found: 2, known: 1 }), "{error:?}");
    assert!(std::fs::read(rig.queue_file()).unwrap() == before && set_aside(&rig).is_empty());

    // A directory in the file's place cannot be read: that is the disk's failure, not the file's.
    let rig = filled(1).await;
    std::fs::rename(rig.queue_file(), rig.data().join("elsewhere")).unwrap();
    std::fs::create_dir(rig.queue_file()).unwrap();
    let error = rig.try_open().expect_err("unreadable");
    assert_eq!((error.code(), error.exit_code()), ("disk_io", 14), "{error:?}");
    assert!(set_aside(&rig).is_empty());
    std::fs::remove_dir(rig.queue_file()).unwrap();
    std::fs::rename(rig.data().join("elsewhere"), rig.queue_file()).unwrap();
    assert_eq!(rig.open().state().borrow().head.epoch.unwrap().n, 1);
}

#[tokio::test]
async fn without_the_copy_of_the_certificates_nothing_is_made_anew() {
    let rig = filled(2).await;
    std::fs::remove_file(rig.secure_dir().join("identity.json")).unwrap();
    rig.open().close().await.unwrap();
    assert!(rig.secure_dir().join("identity.json").exists(), "a sound queue gives the copy back");
    std::fs::remove_file(rig.secure_dir().join("identity.json")).unwrap();
    flip(&rig, 0);
    let before = std::fs::read(rig.queue_file()).unwrap();
    let error = rig.try_open().expect_err("neither file nor copy");
    assert_eq!((error.code(), error.exit_code()), ("key_mismatch", 14));
    assert!(std::fs::read(rig.queue_file()).unwrap() == before, "left alone");
    std::fs::remove_file(rig.queue_file()).unwrap();
    let error = rig.try_open().expect_err("gone");
    assert_eq!((error.code(), error.exit_code()), ("lost", 14));
}

#[tokio::test]
async fn another_machines_keys_begin_with_their_own_identity() {
    let (rig, other) = (filled(3).await, filled(1).await);
    std::fs::remove_dir_all(rig.secure_dir()).unwrap();
    copy_dir(&other.secure_dir(), &rig.secure_dir());
    restrict(&rig.secure_dir());
    let queue = rig.open();
    assert_eq!(set_aside(&rig).len(), 1, "the queue that these keys do not open");
    assert_eq!(queue.station_keys().public(), other.secure().unwrap().station_keys().public());
}

#[tokio::test]
async fn reference_data_and_time_are_saved_from_a_damaged_queue() {
    let rig = Rig::new();
    let queue = rig.create();
    let point = rig.feed_point(1, Hash::of(b"page"), queue_rig::NOON + 5_000);
    queue.keep_page(point, Some(b"page".to_vec())).await.unwrap();
    rig.clock.advance(3_600_000);
    append(&queue, 3).await;
    let page = queue.page().await.unwrap();
    let now = queue.effective_now();
    queue.close().await.unwrap();
    let connection = rig.connection();
    connection.execute_batch("DROP TRIGGER operation_no_update").unwrap();
    connection.execute_batch("UPDATE operation SET hash = zeroblob(32) WHERE position = 2").unwrap();
    drop(connection);
    rig.clock.set_wall(queue_rig::NOON);
    let queue = rig.open();
    assert_eq!(opening(&queue).await.0, EpochReason::QueueDamaged);
    assert_eq!(queue.page().await.unwrap(), page, "the station goes on offline");
    assert_eq!(queue.effective_now(), now, "and no clock that was set back is believed");
}

#[tokio::test]
async fn what_the_cloud_ended_is_set_aside_and_sent_once_as_evidence() {
    let rig = Rig::new();
    let queue = rig.create();
    let old = append(&queue, 6).await;
    let epoch = old[0].epoch;
    queue.set_aside_after(epoch, 4, "bad_signature").await.unwrap();
    let state = queue.state().borrow().clone();
    assert_eq!(
        (state.head.epoch.unwrap().n, state.head.seq, state.queued),
        (2, 1, 4 + 1),
        "the tail is not counted"
    );
    assert!(state.unconfirmed);
    assert_eq!(opening(&queue).await.0, EpochReason::Stopped);
    queue.set_aside_after(epoch, 4, "bad_signature").await.unwrap();
    assert_eq!(queue.state().borrow().head, state.head, "saying it again changes nothing");
    let places: Vec<_> = sent(&queue).await.0.into_iter().map(|(n, seq, _)| (n, seq)).collect();
    assert_eq!(places, [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)], "never in the chain again");

    let first = queue.evidence(1).await.unwrap().unwrap();
    assert_eq!((first.reason.as_str(), first.entries.len()), ("stopped", 1));
    assert_eq!(lotgate_domain::entry::hash(&first.entries[0]), old[3].hash);
    assert_eq!(queue.evidence(1).await.unwrap(), Some(first.clone()), "until it was kept");
    queue.evidence_kept(first.token).await.unwrap();
    queue.close().await.unwrap();
    let queue = rig.open();
    let rest = queue.evidence(1 << 20).await.unwrap().unwrap();
    let hashes: Vec<_> = rest.entries.iter().map(|entry| lotgate_domain::entry::hash(entry)).collect();
    assert_eq!(hashes, [old[4].hash, old[5].hash]);
    queue.evidence_kept(rest.token).await.unwrap();
    assert_eq!(queue.evidence(1 << 20).await.unwrap(), None, "once");
    queue.close().await.unwrap();
    assert_eq!(verified(&rig), 8, "everything is still there");
    let queue = rig.open();
    assert_eq!(queue.state().borrow().queued, 5);
    assert!(matches!(queue.set_aside_after(epoch, 99, "x").await, Err(QueueError::Unknown)));
}

#[tokio::test]
async fn an_epoch_that_the_cloud_ends_earlier_ends_earlier_but_never_below_what_is_settled() {
    let rig = Rig::new();
    let queue = rig.create();
    let old = append(&queue, 6).await;
    let (epoch, head) = (old[0].epoch, queue.state().borrow().head);
    let on_its_way = rig.settlement(&queue, head).await;
    queue.set_aside_after(epoch, 5, "bad_signature").await.unwrap();
    let kept = queue.evidence(1).await.unwrap().unwrap();
    queue.evidence_kept(kept.token).await.unwrap();
    queue.set_aside_after(epoch, 3, "broken_chain").await.unwrap();
    queue.set_aside_after(epoch, 4, "bad_signature").await.unwrap();
    let places: Vec<_> = sent(&queue).await.0.into_iter().map(|(n, seq, _)| (n, seq)).collect();
    assert_eq!(places, [(1, 1), (1, 2), (1, 3), (2, 1)], "lowered, never raised, and no further epoch");
    let evidence = queue.evidence(1 << 20).await.unwrap().unwrap();
    let hashes: Vec<_> = evidence.entries.iter().map(|entry| lotgate_domain::entry::hash(entry)).collect();
    assert_eq!(hashes, [old[2].hash, old[3].hash, old[4].hash, old[5].hash], "all of it is sent");

    assert_eq!(queue.settle(on_its_way).await.unwrap().newly, 3, "what is aside is never settled");
    assert_eq!((queue.state().borrow().stopped, queue.state().borrow().queued), (None, 1));
    let settled = queue.set_aside_after(epoch, 2, "bad_signature").await;
    assert!(matches!(settled, Err(QueueError::AlreadySettled { seq: 2, .. })), "{settled:?}");
    queue.close().await.unwrap();
    assert_eq!(verified(&rig), 8);
}

#[tokio::test]
async fn what_can_be_read_of_a_damaged_queue_is_sent_as_evidence() {
    let rig = Rig::new();
    let queue = rig.create();
    let old = append(&queue, 5).await;
    queue.close().await.unwrap();
    let connection = rig.connection();
    connection.execute_batch("DROP TRIGGER operation_no_update").unwrap();
    connection.execute_batch("UPDATE operation SET entry = x'00' WHERE position = 3").unwrap();
    drop(connection);
    let queue = rig.open();
    let evidence = queue.evidence(1 << 20).await.unwrap().unwrap();
    assert_eq!((evidence.reason.as_str(), evidence.entries.len()), ("queue_damaged", 6));
    assert_eq!(
        lotgate_domain::entry::hash(&evidence.entries[5]),
        old[4].hash,
        "what follows the damage, too"
    );
    queue.evidence_kept(evidence.token).await.unwrap();
    assert_eq!(queue.evidence(1 << 20).await.unwrap(), None);
    queue.close().await.unwrap();

    let rig = filled(3).await;
    std::fs::write(rig.queue_file(), [7; 9_000]).unwrap();
    let queue = rig.open();
    assert_eq!(queue.evidence(1 << 20).await.unwrap(), None, "nothing of noise can be sent");
    assert_eq!(set_aside(&rig).len(), 1);
}

#[tokio::test]
async fn a_change_among_the_last_thousand_entries_is_found_at_the_start() {
    let rig = Rig::new();
    let queue = rig.create();
    let waiting: Vec<_> = (0..1_200).map(|n| queue.submit(scan(n))).collect();
    for one in waiting {
        one.await.unwrap();
    }
    queue.close().await.unwrap();
    let entry_of = |connection: &rusqlite::Connection, position: u64| -> Vec<u8> {
        let sql = "SELECT entry FROM operation WHERE position = ?1";
        connection.query_row(sql, [position], |row| row.get(0)).unwrap()
    };
    type Change<'a> = &'a dyn Fn(&rusqlite::Connection);
    let write = |connection: &rusqlite::Connection, entry: &[u8]| {
        let hash = lotgate_domain::entry::hash(entry);
        let sql = "UPDATE operation SET entry = ?1, hash = ?2 WHERE position = 300";
        connection.execute(sql, (entry, hash.as_bytes())).unwrap();
    };
    let changes: [(&str, Change<'_>); 5] = [
        ("signature", &|connection| {
            let mut entry = entry_of(connection, 300);
            *entry.last_mut().unwrap() ^= 1;
            write(connection, &entry);
        }),
        ("signed again with another key", &|connection| {
            let entry = entry_of(connection, 300);
            let frame = Frame::read(&entry).unwrap();
            let other = lotgate_domain::signature::KeyPair::from_seed(&[1; 32]);
            let context = lotgate_domain::signature::Context::Operation;
            write(connection, &lotgate_domain::entry::sign(frame.json(), context, &other).unwrap());
        }),
        ("swapped", &|connection| {
            let (one, two) = (entry_of(connection, 300), entry_of(connection, 301));
            let sql = "UPDATE operation SET entry = ?1 WHERE position = ?2";
            connection.execute(sql, (&two, 300)).unwrap();
            connection.execute(sql, (&one, 301)).unwrap();
        }),
        ("dropped", &|connection| {
            connection.execute_batch("DELETE FROM operation WHERE position = 300; DELETE FROM base").unwrap();
        }),
        ("of another tenant", &|connection| {
            let entry = entry_of(connection, 300);
            let frame = Frame::read(&entry).unwrap();
            let json = String::from_utf8(frame.json().to_vec()).unwrap();
            let tenant = rig.tenant.id.to_string();
            let json = json.replace(&tenant, &tenant.replace('1', "2"));
            let other = lotgate_domain::signature::KeyPair::from_seed(&[1; 32]);
            let context = lotgate_domain::signature::Context::Operation;
            write(connection, &lotgate_domain::entry::sign(json.as_bytes(), context, &other).unwrap());
        }),
    ];
    for (what, change) in changes {
        let copy = rig.copy();
        let connection = copy.connection();
        let triggers = "DROP TRIGGER operation_no_update; DROP TRIGGER operation_no_delete";
        connection.execute_batch(triggers).unwrap();
        change(&connection);
        drop(connection);
        assert!(!copy.view().verify(|_| {}).unwrap().ok(), "{what}");
        let queue = copy.open();
        assert_eq!(alarms(&queue), [QueueAlarm::QueueSetAside, QueueAlarm::EpochUnconfirmed], "{what}");
    }
    assert_eq!(rig.open().state().borrow().head.seq, 1_201, "unchanged, it opens as it is");
}

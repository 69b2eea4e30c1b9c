//! What is set aside stays usable: its sealed key, its evidence, and what the station knew besides its operations.
//! Rows of `sync/DETECTION.md`.
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
use lotgate_domain::ids::Hash;
use lotgate_domain::statement::{self, Signed};
use lotgate_domain::time::Timestamp;
use lotgate_sync::queue::{Appended, Contradiction, Queue, QueueAlarm, RecoveredQueue};
use lotgate_sync::secure::recovery::{self, HolderKey, RecoveryState};
use queue_rig::{NOON, Rig, scan};
use std::collections::BTreeSet;
use std::path::PathBuf;

const DAY: i64 = 86_400_000;

async fn append(queue: &Queue, count: u64) -> Vec<Appended> {
    let mut appended = Vec::new();
    for n in 0..count {
        appended.push(queue.append(scan(n)).await.unwrap());
    }
    appended
}

fn hashes(appended: &[Appended]) -> BTreeSet<Hash> {
    appended.iter().map(|one| one.hash).collect()
}

fn head_of(appended: &Appended) -> Head {
    Head { epoch: Some(appended.epoch), seq: appended.seq, hash: appended.hash }
}

fn set_aside(rig: &Rig) -> Vec<PathBuf> {
    let names = lotgate_sync::queue::set_aside_files(&rig.places()).unwrap();
    names.into_iter().map(|name| rig.data().join(name)).collect()
}

/// Makes the second entry another one, so that the next start sets the file aside.
fn damage(rig: &Rig) {
    let connection = rig.connection();
    connection.execute_batch("DROP TRIGGER operation_no_update").unwrap();
    connection.execute_batch("UPDATE operation SET hash = zeroblob(32) WHERE position = 2").unwrap();
}

/// Hashes of all evidence; each batch is kept.
async fn evidence(queue: &Queue) -> BTreeSet<Hash> {
    let mut found = BTreeSet::new();
    while let Some(batch) = queue.evidence(1 << 20).await.unwrap() {
        found.extend(batch.entries.iter().map(|entry| lotgate_domain::entry::hash(entry)));
        queue.evidence_kept(batch.token).await.unwrap();
    }
    found
}

// Its sealed key.

fn holders() -> [HolderKey; 2] {
    [HolderKey::from_bytes([71; 32]), HolderKey::from_bytes([72; 32])]
}

async fn filled_with_holders(count: u64) -> Rig {
    let mut rig = Rig::new();
    rig.tenant.holders = Some(holders().map(|holder| holder.public()));
    let queue = rig.create();
    append(&queue, count).await;
    queue.close().await.unwrap();
    rig
}

/// The sealed keys of other queues in the data directory.
fn kept_keys(rig: &Rig) -> Vec<PathBuf> {
    let names = std::fs::read_dir(rig.data()).unwrap().map(|file| file.unwrap().path());
    let kept = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("recovery-") && name.ends_with(".sealed")
    };
    let mut kept: Vec<_> = names.filter(kept).collect();
    kept.sort();
    kept
}

#[tokio::test]
async fn both_holders_open_a_queue_that_was_set_aside_as_another_stations() {
    let [first, second] = holders();
    let rig = filled_with_holders(2).await;
    let others = [filled_with_holders(5).await, filled_with_holders(7).await];
    // As if each board had died in turn, and its data directory had been put into this machine.
    for other in &others {
        for name in ["queue.db", recovery::SEALED] {
            std::fs::copy(other.data().join(name), rig.data().join(name)).unwrap();
        }
        rig.open().close().await.unwrap();
        assert_eq!(rig.view().recovery().unwrap(), RecoveryState::Sealed, "its own key is sealed again");
    }
    let (files, keys) = (set_aside(&rig), kept_keys(&rig));
    assert_eq!((files.len(), keys.len()), (2, 2), "{files:?} {keys:?}");
    let mut entries = Vec::new();
    for key in &keys {
        let recovered = recovery::recover(&std::fs::read(key).unwrap(), &first, &second).unwrap();
        let opened =
            files.iter().filter_map(|file| RecoveredQueue::open(&rig.places(), file, &recovered).ok()).next();
        let out = rig.directory().join(format!("out-{}", entries.len()));
        entries.push(opened.expect("one of the two files").export(&out).unwrap().entries);
    }
    entries.sort_unstable();
    assert_eq!(entries, [6, 8]);
}

#[tokio::test]
async fn a_sealed_key_that_cannot_be_read_is_kept_and_one_of_the_same_key_is_made_anew_in_its_place() {
    let mut rig = filled_with_holders(1).await;
    let path = rig.data().join(recovery::SEALED);
    let torn = std::fs::read(&path).unwrap()[1..].to_vec();
    for expected in 1..=2 {
        std::fs::write(&path, &torn).unwrap();
        rig.open().close().await.unwrap();
        let kept = kept_keys(&rig);
        assert_eq!(kept.len(), expected, "under a name of its own each time: {kept:?}");
        assert!(kept.iter().all(|kept| std::fs::read(kept).unwrap() == torn));
        assert_eq!(rig.view().recovery().unwrap(), RecoveryState::Sealed);
    }
    // The same key, sealed to somebody else before.
    let mut sealed: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    sealed["holders"][0] = sealed["holders"][1].clone();
    std::fs::write(&path, sealed.to_string()).unwrap();
    rig.tenant.holders = None;
    rig.open().close().await.unwrap();
    assert_eq!(rig.view().recovery().unwrap(), RecoveryState::Sealed);
    assert_eq!(kept_keys(&rig).len(), 2, "this key is sealed: there is nothing to keep");
}

// Its evidence.

/// A queue with two files set aside: the second knew of the first.
async fn twice_damaged(lost: bool) -> (Rig, BTreeSet<Hash>, BTreeSet<Hash>) {
    let rig = Rig::new();
    let queue = rig.create();
    let first = hashes(&append(&queue, 4).await);
    queue.close().await.unwrap();
    damage(&rig);
    rig.clock.advance(60_000);
    let queue = rig.open();
    let second = hashes(&append(&queue, 3).await);
    queue.close().await.unwrap();
    rig.clock.advance(60_000);
    if lost {
        std::fs::remove_file(rig.queue_file()).unwrap();
    } else {
        damage(&rig);
    }
    (rig, first, second)
}

#[tokio::test]
async fn a_second_damaged_queue_forgets_no_evidence_of_the_first() {
    let (rig, first, second) = twice_damaged(false).await;
    let queue = rig.open();
    assert_eq!(set_aside(&rig).len(), 2);
    let found = evidence(&queue).await;
    assert!(found.is_superset(&first) && found.is_superset(&second), "{} entries", found.len());
    queue.close().await.unwrap();
    assert_eq!(evidence(&rig.open()).await, BTreeSet::new(), "once");
}

#[tokio::test]
async fn a_queue_that_is_lost_takes_no_evidence_with_it() {
    let (rig, first, _) = twice_damaged(true).await;
    assert!(evidence(&rig.open()).await.is_superset(&first), "the first file is still there");
}

#[tokio::test]
async fn a_queue_that_was_put_back_sends_what_was_set_aside_since_as_evidence() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 2).await;
    queue.close().await.unwrap();
    let older = rig.copy();
    let queue = rig.open();
    let lost = hashes(&append(&queue, 3).await);
    queue.close().await.unwrap();
    damage(&rig);
    rig.open().close().await.unwrap();
    std::fs::copy(older.queue_file(), rig.queue_file()).unwrap();
    let queue = rig.open();
    assert_eq!(set_aside(&rig).len(), 1, "the file that was put back is sound");
    assert!(evidence(&queue).await.is_superset(&lost));
}

/// What the tenant's root key says of a restore to a log of `size` leaves.
fn restored(rig: &Rig, size: u64) -> Signed<statement::event::LogRecovered> {
    statement::read(&rig.tenant.restore(size), rig.tenant.id, &rig.tenant.root.public()).unwrap()
}

/// The cloud's time, which only a receipt tells.
async fn hear_from_the_cloud(rig: &Rig, queue: &Queue, through: &Appended) {
    let settlement = rig.settlement(queue, head_of(through)).await;
    queue.settle(settlement).await.unwrap();
}

/// A queue of which a file, and the rest of an epoch, are set aside; how many entries that are.
async fn with_evidence() -> (Rig, Queue, BTreeSet<Hash>) {
    let rig = Rig::new();
    let queue = rig.create();
    let first = append(&queue, 4).await;
    queue.close().await.unwrap();
    damage(&rig);
    let queue = rig.open();
    let second = append(&queue, 5).await;
    queue.set_aside_after(second[0].epoch, 3, "bad_signature").await.unwrap();
    let mut expected = hashes(&first);
    expected.extend(hashes(&second[2..]));
    (rig, queue, expected)
}

#[tokio::test]
async fn evidence_is_sent_again_after_a_restore_of_the_clouds_log() {
    let (rig, queue, expected) = with_evidence().await;
    let genesis = Head::genesis(queue.identity().certificate.hash);
    let new = append(&queue, 2).await;
    assert!(evidence(&queue).await.is_superset(&expected));
    hear_from_the_cloud(&rig, &queue, &new[0]).await;
    assert_eq!(evidence(&queue).await, BTreeSet::new());
    queue.accept_recovery(vec![restored(&rig, 0)], genesis).await.unwrap();
    // Asked for before a second restore, kept by whatever cloud there was then.
    let before = queue.evidence(1 << 20).await.unwrap().unwrap();
    queue.accept_recovery(vec![restored(&rig, 0)], genesis).await.unwrap();
    queue.evidence_kept(before.token).await.unwrap();
    assert!(evidence(&queue).await.is_superset(&expected), "file and rest of the epoch, both");
    queue.close().await.unwrap();
    assert_eq!(evidence(&rig.open()).await, BTreeSet::new(), "and then it is kept");
}

#[tokio::test]
async fn a_restore_leaves_alone_what_covers_a_pruned_beginning() {
    let rig = Rig::new();
    let queue = rig.create();
    let old = append(&queue, 4).await;
    queue.set_aside_after(old[0].epoch, 2, "bad_signature").await.unwrap();
    hear_from_the_cloud(&rig, &queue, &old[0]).await;
    let new = append(&queue, 4).await;
    assert_eq!(evidence(&queue).await, hashes(&old[1..]));
    rig.clock.advance(20 * DAY);
    hear_from_the_cloud(&rig, &queue, &new[1]).await;
    assert_eq!(queue.prune(noon_plus(20), 0, 0).await.unwrap().operations, 5, "up to the end of the tail");
    let genesis = Head::genesis(queue.identity().certificate.hash);
    queue.accept_recovery(vec![restored(&rig, 0)], genesis).await.unwrap();
    queue.close().await.unwrap();
    assert!(rig.view().verify(|_| {}).unwrap().ok());
    let queue = rig.open();
    assert_eq!(queue.state().borrow().head.epoch.unwrap().n, 2, "no damage");
    assert_eq!(evidence(&queue).await, BTreeSet::new(), "and nothing that could be sent");
}

fn noon_plus(days: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOON + days * DAY)
}

/// A queue whose epoch was ended after seq 3, with all before that settled at noon, and work in a new one.
async fn with_tail() -> (Rig, Queue, Vec<Appended>) {
    let rig = Rig::new();
    let queue = rig.create();
    let old = append(&queue, 6).await;
    queue.set_aside_after(old[0].epoch, 3, "bad_signature").await.unwrap();
    let new = append(&queue, 5).await;
    hear_from_the_cloud(&rig, &queue, &old[1]).await;
    hear_from_the_cloud(&rig, &queue, &new[0]).await;
    (rig, queue, new)
}

#[tokio::test]
async fn evidence_that_was_kept_after_long_work_offline_is_not_pruned_as_if_it_had_been_kept_before() {
    let (rig, queue, new) = with_tail().await;
    rig.clock.advance(60 * DAY);
    assert_eq!(evidence(&queue).await.len(), 4);
    hear_from_the_cloud(&rig, &queue, &new[1]).await;
    assert_eq!(queue.prune(noon_plus(60), 0, 0).await.unwrap().operations, 3, "not what was kept today");
    rig.clock.advance(20 * DAY);
    hear_from_the_cloud(&rig, &queue, &new[2]).await;
    assert_eq!(queue.prune(noon_plus(80), 0, 0).await.unwrap().operations, 4 + 3, "long ago by now");
}

#[tokio::test]
async fn evidence_that_was_kept_at_no_known_time_counts_from_the_next_pruning() {
    let rig = Rig::new();
    let queue = rig.create();
    let old = append(&queue, 6).await;
    queue.set_aside_after(old[0].epoch, 3, "bad_signature").await.unwrap();
    let new = append(&queue, 5).await;
    rig.clock.set_wall(NOON - 1_000 * DAY);
    assert_eq!(evidence(&queue).await.len(), 4, "kept, and nothing signed says when");
    rig.clock.set_wall(NOON);
    for one in [&old[1], &new[0]] {
        hear_from_the_cloud(&rig, &queue, one).await;
    }
    rig.clock.advance(60 * DAY);
    hear_from_the_cloud(&rig, &queue, &new[1]).await;
    assert_eq!(queue.prune(noon_plus(60), 0, 0).await.unwrap().operations, 3, "perhaps only yesterday");
    rig.clock.advance(20 * DAY);
    hear_from_the_cloud(&rig, &queue, &new[2]).await;
    assert_eq!(queue.prune(noon_plus(80), 0, 0).await.unwrap().operations, 4 + 3);
    queue.close().await.unwrap();
    assert!(rig.view().verify(|_| {}).unwrap().ok());
    rig.open();
}

#[tokio::test]
async fn nothing_is_pruned_while_the_cloud_contradicts_itself() {
    let rig = Rig::new();
    let queue = rig.create();
    let all = append(&queue, 6).await;
    hear_from_the_cloud(&rig, &queue, &all[3]).await;
    rig.clock.advance(60 * DAY);
    hear_from_the_cloud(&rig, &queue, &all[4]).await;
    let contradiction = Contradiction { code: "log_rewritten", told: "{}".to_owned(), ours: "{}".to_owned() };
    queue.keep_contradiction(contradiction).await.unwrap();
    assert_eq!(queue.prune(noon_plus(60), 0, 0).await.unwrap().operations, 0, "it may be what proves it");
    queue.acknowledge(QueueAlarm::ServerInconsistent).await.unwrap();
    assert_eq!(queue.prune(noon_plus(60), 0, 0).await.unwrap().operations, 5);
}

// What the station knew besides.

/// What each page of the file holds: its table or index, and whether it is a leaf.
fn pages(rig: &Rig) -> Vec<(u64, String, bool)> {
    let connection = rig.connection();
    let mut statement =
        connection.prepare("SELECT pageno, name, pagetype FROM dbstat ORDER BY pageno").unwrap();
    let pages = statement.query_map([], |row| {
        let kind: String = row.get(2)?;
        Ok((row.get(0)?, row.get(1)?, kind == "leaf"))
    });
    pages.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_bad_page_takes_with_it_only_what_was_on_it() {
    let rig = Rig::new();
    let queue = rig.create();
    let point = rig.feed_point(1, Hash::of(b"page"), NOON + 5_000);
    queue.keep_page(point, Some(b"page".to_vec())).await.unwrap();
    let appended = append(&queue, 3).await;
    hear_from_the_cloud(&rig, &queue, &appended[1]).await;
    let stored = queue.state().borrow().clock;
    for n in 0..60 {
        rig.clock.advance(60_000);
        queue.append(scan(n)).await.unwrap();
    }
    let (page, state) = (queue.page().await.unwrap(), queue.state().borrow().clone());
    let mark = state.clock.mark.unwrap();
    assert!(state.log.last.is_some() && page.is_some() && Some(mark) > stored.mark);
    // As a sudden end leaves it: no mark was written since the settlement.
    let crashed = rig.copy();
    let folded = crashed.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    folded.unwrap();
    let (mut damaged, mut leaves) = (BTreeSet::new(), 0);
    for (number, table, is_leaf) in pages(&crashed) {
        let copy = crashed.copy();
        let mut bytes = std::fs::read(copy.queue_file()).unwrap();
        bytes[usize::try_from(number - 1).unwrap() * 4_096 + 2_000] ^= 1;
        std::fs::write(copy.queue_file(), bytes).unwrap();
        let queue = copy.open();
        if set_aside(&copy).is_empty() || table == "sqlite_schema" {
            continue;
        }
        let what = format!("page {number}, of {table}");
        assert_eq!(
            queue.state().borrow().log.last,
            state.log.last.filter(|_| table != "checkpoint"),
            "{what}"
        );
        assert_eq!(queue.page().await.unwrap(), page.clone().filter(|_| table != "reference_page"), "{what}");
        let clock = queue.state().borrow().clock;
        assert_eq!(clock.server, stored.server.filter(|_| table != "clock"), "{what}");
        if table != "operation" {
            assert!(clock.mark >= Some(mark), "{what}: {:?}", clock.mark);
        } else if is_leaf {
            leaves += 1;
            // Some ten entries lie on one leaf.
            assert!(clock.mark >= Some(mark.plus_ms(-20 * 60_000)), "{what}: {:?}", clock.mark);
        }
        damaged.insert(table);
    }
    assert!(leaves > 4 && damaged.contains("clock") && damaged.contains("reference_page"), "{damaged:?}");
}

//! Appending, reading what is to be sent, settling.
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
use lotgate_domain::operation::{self, Clock as ClockState, Content};
use lotgate_domain::statement::{Verdict, VerdictException};
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::{Clock, ClockReading};
use lotgate_sync::queue::{AppendError, Appended, KeepPageError, Queue, QueueError, SettleError};
use lotgate_sync::secure::{Secure, SystemRandom};
use queue_rig::{NOON, Rig, TestClock, scan, scan_of, with_id};
use std::sync::{Arc, Condvar, Mutex};

fn head_of(appended: &Appended) -> Head {
    Head { epoch: Some(appended.epoch), seq: appended.seq, hash: appended.hash }
}

async fn append(queue: &Queue, count: u64) -> Vec<Appended> {
    let mut appended = Vec::new();
    for n in 0..count {
        appended.push(queue.append(scan(n)).await.unwrap());
    }
    appended
}

#[tokio::test]
async fn what_was_appended_is_read_back_as_one_chain() {
    let rig = Rig::new();
    let queue = rig.create();
    let enrolled = queue.state().borrow().head;
    assert_eq!(enrolled.seq, 1, "station.enrolled is the first operation");
    let appended = append(&queue, 5).await;
    assert_eq!(appended.iter().map(|a| a.seq).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
    assert_eq!(appended[0].raw_hex, Some(hex::encode("]C1scan-0")));
    assert_eq!(appended[0].kind, "scan.refused");

    let certificate = queue.identity().certificate.hash;
    let batch = queue.batch(Head::genesis(certificate), 1_000, 1 << 20).await.unwrap().unwrap();
    assert_eq!((batch.count, batch.after.seq, batch.after.hash), (6, 0, certificate));
    let mut head = Head::genesis(certificate);
    let mut rest = batch.entries.as_slice();
    while !rest.is_empty() {
        let (frame, after) = Frame::split_first(rest).unwrap();
        let entry = operation::read(&frame).unwrap();
        assert!(matches!(entry.content, Content::Known(_)), "every body is one of ours");
        head = head.follow(certificate, &entry.header, entry.hash).unwrap();
        rest = after;
    }
    assert_eq!(head, head_of(&appended[4]));
    assert_eq!(head, queue.state().borrow().head);
    assert_eq!(queue.state().borrow().queued, 6);
    queue.close().await.unwrap();
    assert_eq!(rig.open().state().borrow().head, head, "and after opening again");
}

/// A clock that stops whoever reads it until the gate is open.
struct Gate {
    clock: Arc<TestClock>,
    open: Mutex<bool>,
    changed: Condvar,
}

impl Clock for Gate {
    fn read(&self) -> ClockReading {
        let open = self.open.lock().unwrap();
        let _open = self.changed.wait_while(open, |open| !*open).unwrap();
        self.clock.read()
    }
}

#[tokio::test]
async fn a_hundred_waiting_operations_share_one_commit() {
    let rig = Rig::new();
    rig.create().close().await.unwrap();
    let gate =
        Arc::new(Gate { clock: Arc::clone(&rig.clock), open: Mutex::new(false), changed: Condvar::new() });
    let queue =
        Queue::open(rig.options_with(rig.secure().unwrap(), Arc::clone(&gate) as Arc<dyn Clock>)).unwrap();
    let before = queue.state().borrow().commits;
    // The writer takes the first and stands at the gate with it, or takes all; either way at most two groups.
    let waiting: Vec<_> = (0..101).map(|n| queue.submit(scan(n))).collect();
    *gate.open.lock().unwrap() = true;
    gate.changed.notify_all();
    let mut seqs = Vec::new();
    for one in waiting {
        seqs.push(one.await.unwrap().seq);
    }
    assert_eq!(seqs, (2..103).collect::<Vec<_>>(), "in the order in which they were submitted");
    let commits = queue.state().borrow().commits - before;
    assert!((1..=2).contains(&commits), "101 operations took {commits} commits");
}

#[tokio::test]
async fn an_operation_that_cannot_be_written_takes_no_other_with_it() {
    let rig = Rig::new();
    let queue = rig.create();
    let (first, long, again, last) = (
        queue.submit(with_id(scan(1), 1)),
        queue.submit(scan_of("00".repeat(20_000))),
        queue.submit(with_id(scan(2), 1)),
        queue.submit(scan(3)),
    );
    assert_eq!(first.await.unwrap().seq, 2);
    assert!(matches!(long.await, Err(AppendError::Invalid(_))), "longer than an entry may be");
    assert!(matches!(again.await, Err(AppendError::IdReused(_))), "the id is taken");
    assert_eq!(last.await.unwrap().seq, 3, "neither used up a number");
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn a_batch_keeps_its_limits_and_begins_where_it_was_told() {
    let rig = Rig::new();
    let queue = rig.create();
    let appended = append(&queue, 9).await;
    let after = head_of(&appended[1]);
    let three = queue.batch(after, 3, 1 << 20).await.unwrap().unwrap();
    assert_eq!((three.after.seq, three.count, three.last.seq), (3, 3, 6));
    let one = queue.batch(after, 1_000, 10).await.unwrap().unwrap();
    assert_eq!(one.count, 1, "one entry at least, whatever it weighs");
    let weight = u64::try_from(three.entries.len()).unwrap();
    assert_eq!(queue.batch(after, 1_000, weight).await.unwrap().unwrap().count, 3, "exactly the limit fits");
    assert_eq!(queue.batch(after, 1_000, weight - 1).await.unwrap().unwrap().count, 2);
    assert_eq!(
        queue.batch(head_of(&appended[8]), 10, 1 << 20).await.unwrap(),
        None,
        "nothing after the head"
    );
    let foreign = Head { hash: Hash::of(b"another"), ..after };
    assert!(matches!(queue.batch(foreign, 10, 1 << 20).await, Err(QueueError::Unknown)));
    assert!(!queue.holds(foreign).await.unwrap());
    assert!(queue.holds(after).await.unwrap());
    assert!(queue.holds(Head::genesis(queue.identity().certificate.hash)).await.unwrap());
    assert!(!queue.holds(Head { seq: 99, ..after }).await.unwrap());
}

#[tokio::test]
async fn a_batch_never_holds_two_epochs() {
    let rig = Rig::new();
    let queue = rig.create();
    let old = append(&queue, 4).await;
    queue.open_epoch(EpochReason::Stopped).await.unwrap();
    let new = append(&queue, 2).await;
    assert_eq!((new[0].epoch.n, new[0].seq, new[0].position), (2, 2, 7), "work goes on in the new epoch");

    let rest = queue.batch(head_of(&old[1]), 100, 1 << 20).await.unwrap().unwrap();
    assert_eq!((rest.epoch.n, rest.count, rest.last.seq), (1, 2, 5), "the old epoch first, alone");
    let next = queue.batch(head_of(&old[3]), 100, 1 << 20).await.unwrap().unwrap();
    assert_eq!((next.epoch.n, next.after.seq, next.count), (2, 0, 3), "then the new one from its start");
    assert_eq!(next.after.hash, queue.identity().certificate.hash);
    let start = Head { epoch: Some(next.epoch), seq: 0, hash: next.after.hash };
    assert_eq!(queue.batch(start, 100, 1 << 20).await.unwrap(), Some(next), "seq 0 names the same place");
    let beyond = Head { epoch: Some(old[0].epoch), seq: 6, hash: head_of(&new[0]).hash };
    assert!(!queue.holds(beyond).await.unwrap(), "an entry of the new epoch is none of the old");

    queue.settle(rig.settlement(&queue, head_of(&new[0])).await).await.unwrap();
    assert_eq!(queue.state().borrow().queued, 6, "a receipt settles its own epoch only");
    queue.settle(rig.settlement(&queue, head_of(&old[3])).await).await.unwrap();
    assert_eq!(queue.state().borrow().queued, 1);
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn only_a_receipt_for_an_own_entry_settles() {
    let rig = Rig::new();
    let queue = rig.create();
    let appended = append(&queue, 6).await;
    queue.mark_sent(appended[3].epoch, 5).await.unwrap();
    assert_eq!(queue.state().borrow().sent_through.unwrap().seq, 5);
    assert!(matches!(queue.mark_sent(appended[0].epoch, 99).await, Err(QueueError::Unknown)));

    let exception =
        VerdictException { index: 2, verdict: Verdict::Flagged, code: "lot_held_since".to_owned() };
    let (through, wall) = (head_of(&appended[3]), rig.clock.read().wall);
    let settlement = rig.tenant.settlement(&queue, through, vec![exception], wall).await;
    let settled = queue.settle(settlement.clone()).await.unwrap();
    assert_eq!((settled.newly, settled.exceptions, settled.through.unwrap().seq), (5, 1, 5));
    assert_eq!(queue.state().borrow().queued, 2);
    assert_eq!(queue.settle(settlement).await.unwrap().newly, 0, "the same answer twice settles once");

    let before = queue.state().borrow().clone();
    let overtaken = queue.settle(rig.settlement(&queue, head_of(&appended[0])).await).await.unwrap();
    assert_eq!(overtaken.newly, 0, "an overtaken receipt takes nothing back");
    assert_eq!(queue.state().borrow().settled_through, before.settled_through);

    let other = Head { hash: Hash::of(b"other"), ..head_of(&appended[5]) };
    let ahead = Head { seq: 50, ..other };
    assert!(matches!(
        queue.settle(rig.settlement(&queue, other).await).await,
        Err(SettleError::Inconsistent { seq: 7 })
    ));
    assert!(matches!(
        queue.settle(rig.settlement(&queue, ahead).await).await,
        Err(SettleError::Ahead { seq: 50 })
    ));
    assert_eq!(queue.state().borrow().queued, 2, "neither settled anything");

    queue.close().await.unwrap();
    let connection = rig.connection();
    let placed: (u64, u64) = connection
        .query_row("SELECT first_seq, epoch_n FROM verdict", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(placed, (1, 1), "the batch of five ends at the entry that the receipt goes through to");
    drop(connection);
    let queue = rig.open();
    assert_eq!(queue.state().borrow().queued, 2);
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn the_oldest_waiting_operation_is_known() {
    let rig = Rig::new();
    let queue = rig.create();
    rig.clock.advance(60_000);
    let appended = append(&queue, 2).await;
    let wall = |ms| Some(Timestamp::from_unix_ms(NOON + ms));
    assert_eq!(queue.state().borrow().oldest_wall, wall(0));
    rig.clock.advance(60_000);
    queue.settle(rig.settlement(&queue, head_of(&appended[0])).await).await.unwrap();
    assert_eq!(queue.state().borrow().oldest_wall, wall(60_000));
    queue.settle(rig.settlement(&queue, head_of(&appended[1])).await).await.unwrap();
    assert_eq!(queue.state().borrow().oldest_wall, None, "nothing waits");
    append(&queue, 1).await;
    assert_eq!(queue.state().borrow().oldest_wall, wall(120_000));
}

#[tokio::test]
async fn an_operation_quotes_signed_time_from_receipts_only() {
    let rig = Rig::new();
    let queue = rig.create();
    let first = queue.append(scan(1)).await.unwrap();
    assert_eq!((first.at.server, first.at.clock), (None, ClockState::Unsynced));
    let point = rig.feed_point(1, Hash::of(b"page"), NOON + 5_000);
    queue.keep_page(point, Some(b"page".to_vec())).await.unwrap();
    assert_eq!(queue.append(scan(2)).await.unwrap().at.server, None, "reference data is no receipt");
    assert_eq!(queue.effective_now(), Timestamp::from_unix_ms(NOON + 5_000), "but time is never before it");

    queue.settle(rig.settlement(&queue, head_of(&first)).await).await.unwrap();
    rig.clock.advance(1_500);
    let second = queue.append(scan(3)).await.unwrap();
    assert_eq!(second.at.server.map(|server| server.age_ms), Some(1_500));
    assert_eq!(second.at.clock, ClockState::Ok);

    rig.clock.set_wall(NOON - 86_400_000);
    assert_eq!(queue.append(scan(4)).await.unwrap().at.clock, ClockState::RolledBack, "capture goes on");
    queue.close().await.unwrap();
    let queue = rig.open();
    let fifth = queue.append(scan(5)).await.unwrap();
    assert_eq!(fifth.at.clock, ClockState::RolledBack, "remembered across restarts");
    assert_eq!(fifth.at.server.map(|server| server.time), Some(Timestamp::from_unix_ms(NOON)));
}

#[tokio::test]
async fn the_high_water_mark_survives_a_restart_without_a_write_of_its_own() {
    let rig = Rig::new();
    let queue = rig.create();
    rig.clock.advance(3_600_000);
    queue.append(scan(1)).await.unwrap();
    let crashed = rig.copy();
    let queue = crashed.open();
    assert_eq!(queue.effective_now(), Timestamp::from_unix_ms(NOON + 3_600_000));
}

#[tokio::test]
async fn reference_data_never_goes_back() {
    let rig = Rig::new();
    let queue = rig.create();
    assert_eq!(queue.page().await.unwrap(), None);
    let point = |cursor, text: &[u8], ms| rig.feed_point(cursor, Hash::of(text), NOON + ms);
    assert!(matches!(queue.keep_page(point(2, b"two", 2), None).await, Err(KeepPageError::PageMissing)));
    queue.keep_page(point(2, b"two", 2), Some(b"two".to_vec())).await.unwrap();
    let backwards = [point(1, b"one", 3), point(2, b"other", 3), point(2, b"two", 1), point(3, b"three", 1)];
    for (number, point) in backwards.into_iter().enumerate() {
        let kept = queue.keep_page(point, Some(b"page".to_vec())).await;
        assert!(matches!(kept, Err(KeepPageError::Inconsistent)), "case {number}: {kept:?}");
    }
    rig.clock.advance(10_000);
    queue.keep_page(point(2, b"two", 9), None).await.unwrap();
    let stored = queue.page().await.unwrap().unwrap();
    assert_eq!((stored.mark.cursor, stored.page.as_slice()), (2, &b"two"[..]));
    assert_eq!(stored.mark.time, Timestamp::from_unix_ms(NOON + 9), "the newer statement is kept");
    rig.clock.advance(500);
    let knew = stored.mark.knew(&queue.clock(), queue.effective_now());
    assert_eq!((knew.snapshot, knew.hash, knew.age_ms), (2, Hash::of(b"two"), 500));
    queue.close().await.unwrap();
    assert_eq!(rig.open().page().await.unwrap(), Some(stored));
}

#[tokio::test]
async fn a_closed_queue_says_so_and_lets_go_of_its_directories() {
    let rig = Rig::new();
    let queue = rig.create();
    let clone = queue.clone();
    queue.close().await.unwrap();
    assert!(matches!(clone.append(scan(1)).await, Err(AppendError::Closed)));
    assert!(matches!(clone.page().await, Err(QueueError::Closed)));
    assert!(matches!(clone.close().await, Err(QueueError::Closed)));
    rig.open();
}

#[tokio::test]
async fn enrolling_again_gives_the_same_keys_and_no_second_queue() {
    let rig = Rig::new();
    let first = Secure::prepare(rig.places(), &SystemRandom).unwrap().station_keys().public();
    let second = Secure::prepare(rig.places(), &SystemRandom).unwrap().station_keys().public();
    assert_eq!(first, second, "a lost reply can be asked for again");
    rig.create().close().await.unwrap();
    assert_eq!(rig.try_create().err().map(|error| error.code()), Some("already_enrolled"));
}

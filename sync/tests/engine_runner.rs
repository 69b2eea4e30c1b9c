//! The runner between a real queue on disk and a cloud in memory with the real rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot be set up must stop"
)]

mod queue_rig;

#[path = "engine/cloud.rs"]
mod cloud;

use cloud::MemoryCloud;
use lotgate_domain::ids::{BootId, Hash};
use lotgate_domain::ledger::Station;
use lotgate_domain::protocol::{FeedReply, HexBytes, PushReply, StopCode, Stopped};
use lotgate_domain::reference::{Item, Lot, LotStatus, ReferenceFile};
use lotgate_domain::signature::KeyPair;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::engine::Settings;
use lotgate_sync::engine::retry::Bounds;
use lotgate_sync::engine::status::Link;
use lotgate_sync::queue::Queue;
use lotgate_sync::runner::{Reference, SyncHandle, SyncStatus};
use lotgate_sync::secure::{Secure, SystemRandom};
use queue_rig::{Rig, scan};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const QUICK: Settings =
    Settings { retry: Bounds { first_ms: 20, longest_ms: 100 }, probe_ms: 20, poll_ms: 50, head_ms: 200 };

struct Running {
    handle: SyncHandle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(queue: &Queue, cloud: &MemoryCloud) -> Self {
        let (handle, runner) = SyncHandle::prepare(queue.clone(), cloud.clone(), QUICK, 1).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(runner.run(async {
            let _ = stopped.await;
        }));
        Self { handle, stop, task }
    }

    async fn end(self) {
        self.stop.send(()).expect("the runner ended by itself");
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("no end").expect("a panic");
    }
}

/// A new station with its queue, and the cloud that knows it.
fn set_up() -> (Rig, Queue, MemoryCloud) {
    let rig = Rig::new();
    let secure = Secure::prepare(rig.places(), &SystemRandom).unwrap();
    let identity = rig.identity(&secure);
    let clock = Arc::new(SystemClock::new(BootId::from_parts(1, &[1; 10])));
    let station = Station {
        tenant: identity.tenant,
        site: identity.site.id,
        id: identity.station,
        key: secure.station_keys().public(),
        certificate: identity.certificate.hash,
        training: true,
    };
    let keys = KeyPair::from_seed(&rig.tenant.statement.seed());
    let cloud = MemoryCloud::new(station, keys);
    let queue = Queue::create(rig.options_with(secure, clock), &identity).unwrap();
    (rig, queue, cloud)
}

async fn until<T>(watched: &mut watch::Receiver<T>, what: &str, mut holds: impl FnMut(&T) -> bool) {
    let wait = watched.wait_for(|value| holds(value));
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect(what).expect(what);
}

async fn settled(queue: &Queue) {
    until(&mut queue.state(), "everything settled", |state| state.queued == 0).await;
}

async fn append(queue: &Queue, first: u64, count: u64) {
    for n in first..first + count {
        queue.append(scan(n)).await.expect("capture goes on whatever the cloud does");
    }
}

/// Every operation is in the cloud exactly once, in order, with the chain unbroken.
async fn assert_all_there(queue: &Queue, cloud: &MemoryCloud) {
    let head = queue.state().borrow().head;
    let state = cloud.state.lock().await;
    let entries: Vec<_> = state.store.entries(cloud.station.id).collect();
    let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=head.seq).collect::<Vec<_>>(), "not each once and in order");
    assert_eq!(entries.last().map(|entry| entry.hash), Some(head.hash), "another head than the queue's");
}

fn lots(numbers: &[&str]) -> ReferenceFile {
    let lot = |number: &&str| Lot {
        lot: (*number).to_owned(),
        item: "A".to_owned(),
        status: LotStatus::Released,
        expiry: None,
        codes: Vec::new(),
    };
    ReferenceFile {
        items: vec![Item { item: "A".to_owned(), gtin: None }],
        lots: numbers.iter().map(lot).collect(),
    }
}

#[tokio::test]
async fn everything_is_settled_once_through_outages_lost_replies_and_a_restart() {
    let (_rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    append(&queue, 0, 10).await;
    settled(&queue).await;
    cloud.state.lock().await.tricks.down = true;
    append(&queue, 10, 20).await;
    let shown = &mut running.handle.status();
    until(shown, "offline is shown", |status: &SyncStatus| status.engine.link == Link::Offline).await;
    {
        let mut state = cloud.state.lock().await;
        state.tricks.down = false;
        state.tricks.lose_replies = 3;
    }
    settled(&queue).await;
    until(shown, "online is shown", |status| status.engine.link == Link::Online).await;
    running.end().await;
    append(&queue, 30, 5).await;
    let running = Running::start(&queue, &cloud).await;
    settled(&queue).await;
    assert_all_there(&queue, &cloud).await;
    running.end().await;
}

#[tokio::test]
async fn no_lie_of_the_cloud_settles_anything_or_stops_the_runner() {
    type Lie = (&'static str, fn(&mut PushReply));
    let lies: [Lie; 9] = [
        ("no receipt", |reply| reply.receipt = None),
        ("garbage for a receipt", |reply| reply.receipt = Some(HexBytes(vec![0; 100]))),
        ("a receipt with one bit changed", |reply| {
            let receipt = reply.receipt.as_mut().expect("a receipt");
            *receipt.0.last_mut().expect("bytes") ^= 1;
        }),
        ("a verdict with one bit changed", |reply| {
            let verdict = reply.verdicts.first_mut().expect("a verdict");
            *verdict.0.last_mut().expect("bytes") ^= 1;
        }),
        ("a verdict that is a receipt", |reply| {
            let receipt = reply.receipt.clone().expect("a receipt");
            reply.verdicts.push(receipt);
        }),
        ("more accepted than the receipt says", |reply| reply.accepted_through.seq += 1),
        ("another entry accepted", |reply| reply.accepted_through.hash = Hash::ZERO),
        ("all numbers at their end", |reply| {
            reply.accepted_through.seq = u64::MAX;
            reply.stopped = Some(Stopped { seq: u64::MAX, code: StopCode::Forked });
        }),
        ("an old receipt for all", |reply| {
            reply.accepted_through.epoch = None;
            reply.receipt = None;
        }),
    ];
    for (what, lie) in lies {
        let (_rig, queue, cloud) = set_up();
        cloud.state.lock().await.tricks.push = Some(Box::new(lie));
        let running = Running::start(&queue, &cloud).await;
        append(&queue, 0, 3).await;
        until(&mut running.handle.status(), what, |status| status.engine.alarm.is_some()).await;
        let shown = running.handle.status().borrow().engine.clone();
        assert_eq!(queue.state().borrow().settled_through.map(|point| point.seq), None, "{what}: {shown:?}");
        append(&queue, 3, 3).await;
        cloud.state.lock().await.tricks.push = None;
        settled(&queue).await;
        assert_all_there(&queue, &cloud).await;
        running.end().await;
    }
}

#[tokio::test]
async fn a_head_that_is_a_lie_delays_but_loses_nothing() {
    let (_rig, queue, cloud) = set_up();
    append(&queue, 0, 20).await;
    cloud.state.lock().await.tricks.head = Some(Box::new(|head| {
        head.seq = u64::MAX;
        head.hash = Hash::ZERO;
        head.limits.entries = u64::MAX;
        head.limits.bytes = u64::MAX;
    }));
    let running = Running::start(&queue, &cloud).await;
    settled(&queue).await;
    assert_all_there(&queue, &cloud).await;
    running.end().await;
}

#[tokio::test]
async fn reference_data_is_stored_before_it_is_shown_and_outlives_a_restart() {
    let (_rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    let shown = &mut running.handle.reference();
    assert!(shown.borrow().is_none(), "nothing is known before the first page");
    for (cursor, numbers) in [(1, &["L1"][..]), (2, &["L1", "L2"])] {
        cloud.publish(&lots(numbers)).await;
        let newest = |known: &Option<Reference>| known.as_ref().is_some_and(|k| k.mark.cursor == cursor);
        until(shown, "the new page", newest).await;
        let known = shown.borrow_and_update().clone().expect("a snapshot");
        assert_eq!((known.snapshot.cursor, known.snapshot.hash), (known.mark.cursor, known.mark.hash));
        assert_eq!(known.snapshot.lot_count(), numbers.len());
        let stored = queue.page().await.unwrap().expect("a stored page");
        assert_eq!(stored.mark.cursor, cursor, "shown before it was stored");
    }
    let first = shown.borrow_and_update().clone().expect("a snapshot").mark.confirmed;
    until(shown, "the page is confirmed again", |known| {
        known.as_ref().is_some_and(|known| known.mark.confirmed != first)
    })
    .await;
    running.end().await;
    let (handle, _runner) = SyncHandle::prepare(queue.clone(), cloud.clone(), QUICK, 1).await.unwrap();
    let known = handle.reference().borrow().clone().expect("known at once after a restart");
    assert_eq!((known.mark.cursor, known.snapshot.lot_count()), (2, 2));
}

#[tokio::test]
async fn reference_data_that_goes_back_or_does_not_verify_changes_nothing() {
    let (_rig, queue, cloud) = set_up();
    for numbers in [&["L1"][..], &["L1", "L2"]] {
        cloud.publish(&lots(numbers)).await;
    }
    let running = Running::start(&queue, &cloud).await;
    let shown = &mut running.handle.reference();
    until(shown, "page 2", |known| known.as_ref().is_some_and(|known| known.mark.cursor == 2)).await;
    let hash = shown.borrow().as_ref().expect("a snapshot").mark.hash;
    let (back, early) = (cloud.point(1, hash, i64::from(u32::MAX)), cloud.point(2, hash, -1));
    let lies: [(&str, FeedReply); 4] = [
        ("feed_went_back", FeedReply { statement: None, page: None }),
        ("feed_went_back", FeedReply { statement: Some(back), page: None }),
        ("feed_went_back", FeedReply { statement: Some(early), page: None }),
        ("feed_invalid", FeedReply { statement: Some(vec![7; 90]), page: Some(vec![1]) }),
    ];
    for (code, lie) in lies {
        cloud.state.lock().await.tricks.feed = Some(Box::new(move |reply| *reply = lie.clone()));
        let status = &mut running.handle.status();
        let failed =
            |status: &SyncStatus| status.engine.failure.is_some_and(|failure| failure.as_str() == code);
        until(status, code, failed).await;
        append(&queue, 0, 1).await;
        settled(&queue).await;
        let known = shown.borrow_and_update().clone().expect("the old snapshot stays");
        assert_eq!((known.mark.cursor, known.mark.hash, known.snapshot.lot_count()), (2, hash, 2));
        cloud.state.lock().await.tricks.feed = None;
        until(status, "online again", |status| status.engine.link == Link::Online).await;
    }
    running.end().await;
}

#[tokio::test]
async fn an_entry_that_is_not_taken_is_shown_and_capture_goes_on() {
    let (_rig, queue, cloud) = set_up();
    cloud.state.lock().await.tricks.push = Some(Box::new(|reply| {
        reply.stopped = Some(Stopped { seq: reply.accepted_through.seq + 1, code: StopCode::BadSignature });
    }));
    let running = Running::start(&queue, &cloud).await;
    append(&queue, 0, 3).await;
    until(&mut running.handle.status(), "stuck is shown", |status| status.engine.stuck.is_some()).await;
    append(&queue, 3, 3).await;
    cloud.state.lock().await.tricks.push = None;
    settled(&queue).await;
    running.end().await;
}

#[tokio::test]
async fn a_paused_sync_sends_nothing() {
    let (_rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    settled(&queue).await;
    running.handle.pause(true);
    let status = &mut running.handle.status();
    until(status, "paused is shown", |status| status.engine.link == Link::Paused).await;
    append(&queue, 0, 5).await;
    assert_eq!(queue.state().borrow().queued, 5);
    running.handle.pause(false);
    settled(&queue).await;
    running.end().await;
}

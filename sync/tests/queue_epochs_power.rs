//! New epochs and new keys when the power goes at any write between them. Real queue on a disk that loses and
//! tears what was not synced.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "queue/tenant.rs"]
mod tenant;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use lotgate_domain::chain::Head;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Hash, StationId};
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::Clock as _;
use lotgate_sync::queue::{
    AppendError, CapacityLimits, LogMark, OpenError, Queue, QueueOptions, QueueView, StoredPage,
};
use lotgate_sync::secure::{Secure, StationKeys, SystemRandom};
use lotgate_sync::storage::fault::Disk;
use std::sync::Arc;
use tenant::{NOON, Tenant, TestClock, program, scan};

const DATA: &str = "data";

struct Station {
    disk: Disk,
    tenant: Tenant,
    id: StationId,
    clock: Arc<TestClock>,
}

impl Station {
    async fn enrolled(seed: u64) -> (Self, Queue) {
        let (tenant, id) = (Tenant::new(10), StationId::from_parts(4, &[5; 10]));
        let station = Self { disk: Disk::new(seed), tenant, id, clock: TestClock::at(NOON) };
        let secure = Secure::prepare(station.disk.places(DATA), &SystemRandom).unwrap();
        let identity = station.tenant.identity(id, &secure);
        let queue = Queue::create(station.options(secure), &identity).unwrap();
        for n in 0..3 {
            queue.append(scan(n)).await.unwrap();
        }
        (station, queue)
    }

    fn options(&self, secure: Secure) -> QueueOptions {
        QueueOptions {
            secure,
            clock: Arc::clone(&self.clock) as Arc<dyn lotgate_sync::clock::Clock>,
            random: Arc::new(SystemRandom),
            program: program(),
            limits: CapacityLimits::default(),
        }
    }

    fn try_open(&self) -> Result<Queue, OpenError> {
        let secure = Secure::open(self.disk.places(DATA));
        secure
            .map_err(|error| OpenError::Io(std::io::Error::other(error)))
            .and_then(|secure| Queue::open(self.options(secure)))
    }

    fn open(&self) -> Queue {
        self.try_open().unwrap()
    }

    fn certificates(&self, n: u64, keys: &StationKeys) -> Vec<Vec<u8>> {
        vec![self.tenant.rotated(self.id, n, keys.public(), keys.hpke_public())]
    }

    fn verified(&self) -> u64 {
        let view = QueueView::open(&Secure::view(self.disk.places(DATA)).unwrap()).unwrap();
        let verification = view.verify(|_| {}).unwrap();
        assert!(verification.ok(), "{verification:?}");
        verification.entries
    }

    fn set_aside(&self) -> Vec<String> {
        lotgate_sync::queue::set_aside_files(&self.disk.places(DATA)).unwrap()
    }

    async fn all(&self, queue: &Queue) -> Vec<(u64, u64)> {
        let mut after = Head::genesis(queue.identity().certificate.hash);
        let mut all = Vec::new();
        while let Some(batch) = queue.batch(after, 1, 1 << 20).await.unwrap() {
            after = Head { epoch: Some(batch.epoch), seq: batch.last.seq, hash: batch.last.hash };
            all.push((batch.epoch.n, batch.last.seq));
        }
        all
    }
}

#[tokio::test]
async fn a_planned_new_key_opens_an_epoch_that_nobody_doubts() {
    let (station, queue) = Station::enrolled(1).await;
    let first = queue.station_keys().public();
    let next = queue.next_keys().await.unwrap();
    assert_eq!(queue.next_keys().await.unwrap().public(), next.public(), "the same until it is adopted");
    assert!(queue.rotation_is_pending().await);
    queue.close().await.unwrap();
    let queue = station.open();
    assert!(queue.rotation_is_pending().await, "known after a restart: the cloud may have certified it");
    assert_eq!(queue.next_keys().await.unwrap().public(), next.public(), "after a restart, too");
    assert_eq!(queue.station_keys().public(), first);

    let stranger =
        station.tenant.rotated(StationId::from_parts(9, &[9; 10]), 1, next.public(), next.hpke_public());
    let old = station.tenant.certificates(station.id, first, queue.station_keys().hpke_public());
    let sealing = station.tenant.rotated(station.id, 1, next.public(), queue.station_keys().hpke_public());
    for wrong in [vec![], vec![stranger], old, vec![sealing]] {
        let refused = queue.adopt_keys(wrong, EpochReason::KeyRotated).await;
        assert!(matches!(refused, Err(AppendError::Certificate(_))), "{refused:?}");
    }
    assert_eq!(queue.append(scan(9)).await.unwrap().epoch.n, 1, "the old key stays");

    let certificates = station.certificates(1, &next);
    let opened = queue.adopt_keys(certificates.clone(), EpochReason::KeyRotated).await.unwrap();
    assert_eq!((opened.epoch.n, opened.seq), (2, 1));
    assert_eq!(
        queue.adopt_keys(certificates, EpochReason::KeyRotated).await.unwrap(),
        opened,
        "again: the same"
    );
    assert_eq!(
        (queue.station_keys().public(), queue.identity().public_key()),
        (next.public(), next.public())
    );
    assert_eq!(queue.identity().keys.len(), 2);
    let state = queue.state().borrow().clone();
    assert!(!queue.rotation_is_pending().await);
    assert!(!state.unconfirmed && state.alarms.is_empty(), "a planned key leaves no doubt");
    queue.append(scan(10)).await.unwrap();
    assert_eq!(station.all(&queue).await.len(), 5 + 2);
    assert_ne!(queue.next_keys().await.unwrap().public(), next.public(), "the one after it");
    queue.close().await.unwrap();
    assert_eq!(station.verified(), 7, "each entry by the certificate of its own key");
    let queue = station.open();
    assert_eq!(queue.station_keys().public(), next.public());
    assert_eq!(queue.append(scan(11)).await.unwrap().seq, 3);
    let start = queue.batch(
        Head { epoch: Some(opened.epoch), seq: 0, hash: queue.identity().certificate.hash },
        1,
        1,
    );
    assert!(start.await.unwrap().is_some(), "the new epoch follows the new certificate");
}

#[tokio::test]
async fn after_a_fork_the_new_epoch_waits_for_a_person() {
    let (station, queue) = Station::enrolled(2).await;
    let next = queue.next_keys().await.unwrap();
    queue.adopt_keys(station.certificates(1, &next), EpochReason::Forked).await.unwrap();
    assert!(queue.state().borrow().unconfirmed);
}

#[tokio::test]
async fn a_queue_from_before_the_new_key_goes_on_under_the_new_key() {
    let (station, queue) = Station::enrolled(3).await;
    queue.close().await.unwrap();
    let older = station.disk.snapshot();
    let queue = station.open();
    let next = queue.next_keys().await.unwrap();
    queue.adopt_keys(station.certificates(1, &next), EpochReason::KeyRotated).await.unwrap();
    queue.append(scan(5)).await.unwrap();
    queue.close().await.unwrap();
    station.disk.restore(&older, Some(DATA));
    let queue = station.open();
    assert_eq!(queue.station_keys().public(), next.public(), "the cloud knows the new one");
    assert_eq!(station.all(&queue).await, [(1, 1), (1, 2), (1, 3), (1, 4), (3, 1)]);
    queue.close().await.unwrap();
    station.verified();

    // The queue lost altogether: the copy of the certificates knows the new key as well.
    let places = station.disk.places(DATA);
    places.storage.remove(&places.queue_file()).unwrap();
    let queue = station.open();
    assert_eq!(queue.station_keys().public(), next.public());
    assert_eq!(station.all(&queue).await, [(4, 1)]);
}

#[tokio::test]
async fn keys_that_are_gone_are_told_from_a_foreign_queue() {
    let (station, queue) = Station::enrolled(4).await;
    let next = queue.next_keys().await.unwrap();
    queue.adopt_keys(station.certificates(1, &next), EpochReason::KeyRotated).await.unwrap();
    queue.close().await.unwrap();
    let places = station.disk.places(DATA);
    places.storage.remove(&places.secure.join("station-2.seed")).unwrap();
    let error = station.try_open().expect_err("the present key is gone");
    assert_eq!((error.code(), error.exit_code()), ("key_store_missing", 13));
    assert!(places.storage.exists(&places.queue_file()), "and nothing is set aside");
}

/// Has stations, each `prepared`, do `work` with the power going at each change in turn, until it goes through;
/// `check` looks after each cut. Gives how many changes there are.
async fn at_every_change(
    seed: u64,
    prepared: impl Fn(&Station),
    work: impl AsyncFn(&Station) -> bool,
    mut check: impl AsyncFnMut(&Station, u64),
) -> u64 {
    for at in 1..400 {
        let (station, queue) = Station::enrolled(seed + at).await;
        queue.close().await.unwrap();
        prepared(&station);
        station.disk.cut_power_at(at);
        if work(&station).await && !station.disk.is_off() {
            return at - 1;
        }
        station.disk.power_on();
        check(&station, at).await;
    }
    panic!("it never went through");
}

async fn adopt(station: &Station) -> bool {
    let Ok(queue) = station.try_open() else { return false };
    let Ok(next) = queue.next_keys().await else { return false };
    let done = queue.adopt_keys(station.certificates(1, &next), EpochReason::KeyRotated).await.is_ok();
    done && queue.append(scan(7)).await.is_ok() && queue.close().await.is_ok()
}

async fn work(station: &Station) -> bool {
    let Ok(queue) = station.try_open() else { return false };
    queue.append(scan(7)).await.is_ok() && queue.close().await.is_ok()
}

#[tokio::test]
async fn the_power_may_go_at_any_write_of_taking_a_new_key() {
    let (mut done, mut undone) = (0, 0);
    let check = async |station: &Station, at: u64| {
        let queue = station.open();
        let epoch = queue.state().borrow().head.epoch.unwrap().n;
        let identity = queue.identity();
        let doubt = queue.state().borrow().unconfirmed;
        assert!(!doubt, "change {at}: nothing was lost, so nothing is in doubt");
        let adopted = identity.public_key() != identity.keys[0].value.public_key;
        assert_eq!(adopted, epoch >= 2, "change {at}: epoch and key change together");
        if adopted {
            done += 1;
        } else {
            undone += 1;
            // What the cloud certified once, it certifies again for the same keys.
            let next = queue.next_keys().await.unwrap();
            queue.adopt_keys(station.certificates(1, &next), EpochReason::KeyRotated).await.unwrap();
            assert_eq!(queue.station_keys().public(), next.public());
        }
        assert_eq!(queue.identity().keys.len(), 2, "change {at}: one new key");
        queue.append(scan(8)).await.unwrap();
        queue.close().await.unwrap();
        station.verified();
    };
    let changes = at_every_change(100, |_| {}, adopt, check).await;
    assert!(changes > 20 && done > 0 && undone > 0, "{changes} changes: {done} were done, {undone} not");
}

#[tokio::test]
async fn the_power_may_go_at_any_write_of_setting_a_queue_aside() {
    // A bit of every page; one page alone may stand in a log that the power cut brings back.
    let damage = |station: &Station| {
        let pages =
            (0..).take_while(|page| station.disk.corrupt(format!("{DATA}/queue.db"), page * 4_096 + 2_000));
        assert!(pages.count() > 10);
    };
    let check = async |station: &Station, at: u64| {
        let queue = station.open();
        let state = queue.state().borrow().clone();
        assert!(state.unconfirmed && state.head.epoch.unwrap().n >= 2, "change {at}");
        queue.close().await.unwrap();
        let kept = station.set_aside();
        assert_eq!(kept.len(), 1, "change {at}: kept, once: {kept:?}");
        assert!(station.disk.file(format!("{DATA}/{}", kept[0])).unwrap().len() > 4_096, "change {at}");
        station.verified();
        let queue = station.open();
        let state = (queue.state().borrow().clone(), state);
        assert_eq!(state.0.head.epoch, state.1.head.epoch, "change {at}: in order from now on");
    };
    let changes = at_every_change(500, damage, work, check).await;
    assert!(changes > 20, "{changes}");
}

/// What a station knows besides its operations.
#[derive(Debug, PartialEq)]
struct Knowledge {
    page: Option<StoredPage>,
    log: Option<LogMark>,
}

impl Station {
    /// A station that knows reference data, the log and the time, with a queue that the next start sets aside, and a
    /// wall clock that was set back meanwhile; what it knew, and the time by that.
    async fn knowing(seed: u64) -> (Self, Knowledge, Timestamp) {
        let (station, queue) = Self::enrolled(seed).await;
        let point = station.tenant.feed_point(1, Hash::of(b"page"), NOON + 5_000);
        queue.keep_page(point, Some(b"page".to_vec())).await.unwrap();
        let head = queue.state().borrow().head;
        let wall = station.clock.read().wall;
        let settlement = station.tenant.settlement(&queue, head, Vec::new(), wall).await;
        queue.settle(settlement).await.unwrap();
        station.clock.advance(3_600_000);
        queue.append(scan(3)).await.unwrap();
        let (knowledge, now) = (Self::knowledge(&queue).await, queue.effective_now());
        assert!(knowledge.page.is_some() && knowledge.log.is_some());
        queue.close().await.unwrap();
        let connection = station.connection();
        connection.execute_batch("DROP TRIGGER operation_no_update").unwrap();
        connection.execute_batch("UPDATE operation SET hash = zeroblob(32) WHERE position = 2").unwrap();
        drop(connection);
        station.clock.set_wall(NOON);
        (station, knowledge, now)
    }

    async fn knowledge(queue: &Queue) -> Knowledge {
        let log = queue.state().borrow().log.last;
        Knowledge { page: queue.page().await.unwrap(), log }
    }

    /// The file as somebody opens it who has the key.
    fn connection(&self) -> rusqlite::Connection {
        let file = |name: &str| self.disk.file(format!("{DATA}.secure/{name}")).unwrap();
        let (secret, wrapped) = (file("device.key"), file("queue.key"));
        let payload = Payload { msg: &wrapped[25..], aad: b"lotgate/wrap/v1\0queue.key" };
        let secret: [u8; 32] = secret.try_into().unwrap();
        let nonce: [u8; 24] = wrapped[1..25].try_into().unwrap();
        let key = XChaCha20Poly1305::new((&secret).into()).decrypt(&XNonce::from(nonce), payload).unwrap();
        let places = self.disk.places(DATA);
        let flags = rusqlite::OpenFlags::default();
        let vfs = places.storage.vfs().unwrap();
        let connection = rusqlite::Connection::open_with_flags_and_vfs(places.queue_file(), flags, vfs);
        let connection = connection.unwrap();
        connection.execute_batch(&format!("PRAGMA key = \"x'{}'\"", hex::encode(key))).unwrap();
        connection
    }

    /// It has gone on in a new file, and knows what it knew.
    async fn check_knows(&self, knew: &Knowledge, now: Timestamp, what: &str) {
        let queue = self.open();
        let state = queue.state().borrow().clone();
        assert!(state.unconfirmed && state.head.epoch.unwrap().n >= 2, "{what}");
        assert_eq!(Self::knowledge(&queue).await, *knew, "{what}");
        assert!(queue.effective_now() >= now, "{what}: a clock that was set back is believed");
        queue.close().await.unwrap();
        assert_eq!(self.set_aside().len(), 1, "{what}");
        self.verified();
    }
}

#[tokio::test]
async fn a_power_cut_while_a_queue_is_set_aside_takes_away_nothing_that_the_station_knew() {
    for at in 1..400 {
        let (station, knew, now) = Station::knowing(1_500 + at).await;
        station.disk.cut_power_at(at);
        let done = work(&station).await && !station.disk.is_off();
        station.disk.power_on();
        station.check_knows(&knew, now, &format!("change {at}")).await;
        if done {
            assert!(at > 20, "{at}");
            return;
        }
    }
    panic!("it never went through");
}

#[tokio::test]
async fn a_disk_that_is_full_while_a_queue_is_set_aside_takes_away_nothing_that_the_station_knew() {
    let mut refused = 0;
    for at in 1..400 {
        let (station, knew, now) = Station::knowing(2_500 + at).await;
        let before = station.disk.calls().changes;
        station.disk.fill_at(at);
        let started = station.try_open();
        refused += u32::from(started.is_err());
        let whole = station.disk.calls().changes - before < at;
        if let Ok(queue) = started {
            let _ = queue.close().await;
        }
        station.disk.limit_space(None);
        station.check_knows(&knew, now, &format!("write {at}")).await;
        if whole {
            break;
        }
    }
    assert!(refused > 5, "{refused}");
}

#[tokio::test]
async fn the_power_may_go_at_any_write_of_going_on_after_a_rollback() {
    for at in 1..400 {
        let (station, queue) = Station::enrolled(900 + at).await;
        queue.close().await.unwrap();
        let older = station.disk.snapshot();
        let queue = station.open();
        queue.append(scan(4)).await.unwrap();
        queue.close().await.unwrap();
        station.disk.restore(&older, Some(DATA));
        station.disk.cut_power_at(at);
        if work(&station).await && !station.disk.is_off() {
            assert!(at > 15, "{at}");
            return;
        }
        station.disk.power_on();
        let queue = station.open();
        let n = queue.state().borrow().head.epoch.unwrap().n;
        assert!(queue.state().borrow().unconfirmed, "change {at}");
        let openings = station.all(&queue).await.into_iter().filter(|(n, seq)| *n > 1 && *seq == 1).count();
        assert_eq!(openings, 1, "change {at}: one rollback, one new epoch (it is {n})");
        queue.close().await.unwrap();
        station.verified();
    }
    panic!("it never went through");
}

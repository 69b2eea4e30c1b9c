//! A station with a real queue on disk, its runner, and the cloud in memory that it syncs with.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up must stop"
)]

#[path = "cloud.rs"]
pub(crate) mod cloud;
#[path = "../queue/rig.rs"]
pub(crate) mod queue_rig;

use cloud::MemoryCloud;
use lotgate_domain::ids::{BootId, StationId};
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::number::Single;
use lotgate_domain::ledger::{self, Station, Store as _};
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::reference::{Item, Lot, LotStatus, ReferenceFile};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{self, Statement as _};
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::engine::Settings;
use lotgate_sync::engine::retry::Bounds;
use lotgate_sync::queue::Queue;
use lotgate_sync::runner::{Runner, SyncHandle};
use lotgate_sync::secure::{Secure, SystemRandom};
use queue_rig::{Rig, Tenant, scan};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) const QUICK: Settings = Settings {
    retry: Bounds { first_ms: 20, longest_ms: 100 },
    fault_ms: 50,
    probe_ms: 20,
    poll_ms: 50,
    head_ms: 200,
    heartbeat_ms: 300,
};

pub(crate) struct Running {
    pub(crate) handle: SyncHandle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(queue: &Queue, cloud: &MemoryCloud) -> Self {
        let (handle, runner) = SyncHandle::prepare(queue.clone(), cloud.clone(), QUICK, 1).await.unwrap();
        Self::spawn(handle, runner)
    }

    pub(crate) fn spawn(handle: SyncHandle, runner: Runner<MemoryCloud>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(runner.run(async {
            let _ = stopped.await;
        }));
        Self { handle, stop, task }
    }

    pub(crate) async fn end(self) {
        self.stop.send(()).expect("the runner ended by itself");
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("no end").expect("a panic");
    }
}

/// A new station with its queue, and the cloud that knows it.
pub(crate) fn set_up() -> (Rig, Queue, MemoryCloud) {
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
        former: Vec::new(),
        training: true,
        closed: None,
    };
    let keys = KeyPair::from_seed(&rig.tenant.statement.seed());
    let log = KeyPair::from_seed(&rig.tenant.log.seed());
    let (tenant, first) = (Tenant::new(10), identity.certificates.clone());
    let certifier = move |n, key, hpke| {
        let certificate = tenant.rotated(StationId::from_parts(4, &[5; 10]), n, key, hpke);
        let hash = lotgate_domain::entry::hash(&certificate);
        let all = first.iter().cloned().chain([certificate]).collect();
        (all, hash)
    };
    let cloud = MemoryCloud::new(station, keys, log, Box::new(certifier));
    let queue = Queue::create(rig.options_with(secure, clock), &identity).unwrap();
    (rig, queue, cloud)
}

pub(crate) async fn until<T>(
    watched: &mut watch::Receiver<T>,
    what: &str,
    mut holds: impl FnMut(&T) -> bool,
) {
    let wait = watched.wait_for(|value| holds(value));
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect(what).expect(what);
}

/// Waits until something holds that nobody can be told of.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect(what);
}

pub(crate) async fn settled(queue: &Queue) {
    until(&mut queue.state(), "everything settled", |state| state.queued == 0).await;
}

pub(crate) async fn append(queue: &Queue, first: u64, count: u64) {
    for n in first..first + count {
        queue.append(scan(n)).await.expect("capture goes on whatever the cloud does");
    }
}

/// Every operation is in the cloud exactly once, in order, with the chain unbroken.
pub(crate) async fn assert_all_there(queue: &Queue, cloud: &MemoryCloud) {
    let head = queue.state().borrow().head;
    let state = cloud.state.lock().await;
    let entries: Vec<_> = state.store.entries(cloud.station.id).map(|(_, entry)| entry).collect();
    let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=head.seq).collect::<Vec<_>>(), "not each once and in order");
    assert_eq!(entries.last().map(|entry| entry.hash), Some(head.hash), "another head than the queue's");
}

pub(crate) fn lots(numbers: &[&str]) -> ReferenceFile {
    let lot = |number: &&str| Lot {
        lot: (*number).to_owned(),
        item: "A".to_owned(),
        status: LotStatus::Released,
        expiry: None,
        codes: Vec::new(),
    };
    ReferenceFile {
        items: vec![Item { item: "A".to_owned(), name: None, gtin: None }],
        lots: numbers.iter().map(lot).collect(),
    }
}

/// Puts the cloud back to a backup, as two people decided.
pub(crate) async fn restore(rig: &Rig, queue: &Queue, state: &mut cloud::State, backup: MemoryStore) {
    let seen = queue.state().borrow().log.last.expect("a checkpoint");
    state.store = backup;
    let tree = state.store.tree().await.unwrap();
    let restored = TreeHead { size: tree.frontier.size(), root: tree.frontier.root() };
    let statement = LogRecovered {
        v: 1,
        kind: LogRecovered::KIND.to_owned(),
        tenant: rig.tenant.id,
        key: rig.tenant.root.public().key_id(),
        generation: 2,
        restored,
        known: seen.head,
        reason: "disk lost".to_owned(),
        people: ["A".to_owned(), "B".to_owned()],
        time: Timestamp::from_unix_ms(1),
    };
    let bytes = statement::sign(&statement, &rig.tenant.root).unwrap();
    state.store.recover(&statement, bytes.clone());
    let leaf = Single::Statement { kind: LogRecovered::KIND, station: None, bytes };
    ledger::append(&mut state.store, vec![leaf]).await.unwrap();
}

//! One machine with a station on it: the real queue on a disk in memory, the real engine and the real desk.

use lotgate_domain::chain::Head;
use lotgate_domain::entry;
use lotgate_domain::ids::{Epoch, EpochId, Hash, OperationId, StationId};
use lotgate_domain::operation::Program;
use lotgate_domain::operation::body::{
    Body, ChainPoint, Device, JobState, LabelQueued, LabelState, ScanAccepted, ScanRefused, SnapshotLot,
};
use lotgate_domain::reference::LotStatus;
use lotgate_sync::engine::failure::Failure;
use lotgate_sync::engine::retry::Bounds;
use lotgate_sync::engine::{Action, ActionId, Engine, Reply, Settings, Wake};
use lotgate_sync::queue::{
    AppendError, Appended, CapacityLimits, Draft, Identity, OpenError, Queue, QueueOptions, QueueState,
};
use lotgate_sync::runner::Desk;
use lotgate_sync::secure::{Secure, SecureError};
use lotgate_sync::storage::fault::{Disk, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::clock::SimClock;
use super::cloud::{Cloud, ITEM};
use super::dice::{Dice, SeededRandom};
use super::network::{Call, Client, Outcome, Port};
use super::parker::{Parker, block_on};

/// The station's data directory; the secure one lies beside it.
const DATA: &str = "s";

/// Slower polls than the product's: they cost time and tell nothing.
pub(crate) const SETTINGS: Settings = Settings {
    retry: Bounds { first_ms: 1_000, longest_ms: 600_000 },
    fault_ms: 30_000,
    probe_ms: 1_500,
    poll_ms: 240_000,
    head_ms: 300_000,
    heartbeat_ms: 300_000,
};

type Job = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// What is to be expected of the answer to a push.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// What the cloud lied about, if it did.
    pub(crate) lie: Option<super::lies::Lie>,
    /// The log that it answered from: the root of every size of it, and its generation.
    pub(crate) roots: Arc<Vec<Hash>>,
    pub(crate) generation: u64,
}

/// From one start of the program to its end.
pub(crate) struct Life {
    pub(crate) queue: Queue,
    pub(crate) engine: Engine,
    pub(crate) marks: BTreeMap<ActionId, Mark>,
    desk: Arc<Desk<Client>>,
    port: Arc<Port>,
    jobs: BTreeMap<ActionId, (Action, Job)>,
    disk_life: u64,
    grown: Head,
    alarms: BTreeSet<String>,
}

/// An operation that was confirmed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) id: OperationId,
    pub(crate) point: ChainPoint,
}

/// A copy of all files, and what was in them.
#[derive(Clone)]
pub(crate) struct Copy {
    pub(crate) files: Snapshot,
    pub(crate) told: BTreeSet<Hash>,
    pub(crate) head: (u64, u64),
}

/// The way between machine and cloud.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    pub(crate) down: bool,
    pub(crate) loss: u64,
    pub(crate) slow: u64,
    pub(crate) twice: u64,
}

pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) id: StationId,
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) dice: Dice,
    pub(crate) line: Line,
    pub(crate) life: Option<Life>,
    pub(crate) lives: u64,
    /// A fault of the disk is under way.
    pub(crate) disk_fault: bool,
    pub(crate) told: Vec<Told>,
    /// What a restore of an older disk took away.
    pub(crate) taken_away: BTreeSet<Hash>,
    pub(crate) epochs: BTreeSet<Epoch>,
    /// The next start must open an epoch later than this one.
    pub(crate) must_doubt: Option<u64>,
    pub(crate) cloned: bool,
    /// Leaves that only a log shown to this station alone had.
    pub(crate) shown: BTreeSet<Hash>,
    random: Arc<SeededRandom>,
    seed: u64,
}

impl Machine {
    pub(crate) fn new(seed: u64, index: usize, id: StationId, now: u64) -> Self {
        let name = 1_000 + index as u64;
        Self {
            index,
            id,
            disk: Disk::new(seed.wrapping_mul(1_000).wrapping_add(name)),
            clock: Arc::new(SimClock::new(name, now)),
            dice: Dice::new(seed, name),
            line: Line::default(),
            life: None,
            lives: 0,
            disk_fault: false,
            told: Vec::new(),
            taken_away: BTreeSet::new(),
            epochs: BTreeSet::new(),
            must_doubt: None,
            cloned: false,
            shown: BTreeSet::new(),
            random: Arc::new(SeededRandom::new(seed, name)),
            seed,
        }
    }

    fn options(&self, secure: Secure) -> QueueOptions {
        let clock = Arc::<SimClock>::clone(&self.clock);
        let random = Arc::<SeededRandom>::clone(&self.random);
        let config_sha256 = Hash::of(b"configuration");
        let program = Program { version: "0.1.0".to_owned(), build: "simulated".to_owned(), config_sha256 };
        QueueOptions { secure, clock, random, program, limits: CapacityLimits::default() }
    }

    /// Enrols at `cloud`, and makes the queue.
    pub(crate) fn enrol(&self, cloud: &mut Cloud) {
        let secure = Secure::prepare(self.disk.places(DATA), &*self.random).unwrap();
        let keys = secure.station_keys();
        let (key, hpke) = (keys.public(), keys.hpke_public());
        let certificates = cloud.enrol(self.id, key, hpke);
        let tenant = &cloud.tenant;
        let identity = Identity::verify(
            tenant.id,
            tenant.root.public().fingerprint(),
            tenant.site.clone(),
            format!("Dispensary {}", self.index + 1),
            certificates,
            (&key, &hpke),
            secure.protection(),
        );
        let queue = Queue::create(self.options(secure), &identity.unwrap()).unwrap();
        block_on(queue.close()).unwrap();
    }

    /// Starts the program.
    pub(crate) fn start(&mut self) -> Result<(), OpenError> {
        let secure = Secure::open(self.disk.places(DATA)).map_err(|error| match error {
            SecureError::Io { source, .. } => OpenError::Io(source),
            error => OpenError::Io(std::io::Error::other(error)),
        })?;
        let queue = Queue::open(self.options(secure))?;
        self.lives += 1;
        let port = Arc::new(Port::default());
        let client = Client { port: Arc::clone(&port), clock: Arc::clone(&self.clock) };
        let desk = block_on(Desk::new(queue.clone(), client))
            .map_err(|error| OpenError::Io(std::io::Error::other(error)))?;
        let seed = self.seed ^ (self.lives << 32) ^ self.index as u64;
        let now = self.clock.mono();
        let mut engine = Engine::new(SETTINGS, desk.cursor(), seed, now);
        if block_on(queue.rotation_is_pending()) {
            engine.handle_wake(Wake::Rotate, now);
        }
        let grown = queue.state().borrow().head;
        self.life = Some(Life {
            queue,
            engine,
            marks: BTreeMap::new(),
            desk: Arc::new(desk),
            port,
            jobs: BTreeMap::new(),
            disk_life: self.disk.life(),
            grown,
            alarms: BTreeSet::new(),
        });
        Ok(())
    }

    /// Whether the program was killed, or the power went.
    pub(crate) fn died(&self) -> bool {
        self.life.as_ref().is_some_and(|life| self.disk.is_off() || life.disk_life != self.disk.life())
    }

    /// Ends the program as an update does.
    pub(crate) fn stop(&mut self) {
        if let Some(life) = self.life.take() {
            let Life { queue, desk, jobs, .. } = life;
            drop(jobs);
            drop(desk);
            let _ = block_on(queue.close());
        }
    }

    /// A copy of all its files, as a backup program makes it.
    pub(crate) fn copy(&self) -> Option<Copy> {
        let head = self.life.as_ref()?.state().head;
        let told = self.told.iter().map(|told| told.point.hash);
        let told = told.filter(|hash| !self.taken_away.contains(hash)).collect();
        Some(Copy {
            files: self.disk.snapshot(),
            told,
            head: (head.epoch.map_or(0, |epoch| epoch.n), head.seq),
        })
    }

    /// Puts an older copy back: all files, or the data directory alone.
    pub(crate) fn put_back(&mut self, copy: &Copy, data_alone: bool) {
        self.life = None;
        if data_alone {
            let anchor = self.disk.file(format!("{DATA}.secure/anchor.json"));
            let anchor: Option<serde_json::Value> =
                anchor.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let number = |pointer| anchor.as_ref().and_then(|a| a.pointer(pointer)?.as_u64());
            let anchored = number("/last/epoch/n").zip(number("/last/seq"));
            if anchored.is_some_and(|anchored| anchored > copy.head) {
                self.must_doubt = Some(copy.head.0);
            }
        } else {
            self.must_doubt = None;
        }
        self.disk.restore(&copy.files, data_alone.then_some(DATA));
        self.taken_away =
            self.told.iter().map(|told| told.point.hash).filter(|hash| !copy.told.contains(hash)).collect();
    }

    /// A scan by the operator; what was confirmed is remembered.
    pub(crate) fn scan(
        &mut self,
        lots: &[&'static str],
        reuse: Option<OperationId>,
    ) -> Option<Result<Appended, AppendError>> {
        let (lot, accepted) = (self.dice.pick(lots), self.dice.percent(70));
        let raw = self.dice.below(1 << 40);
        let life = self.life.as_mut()?;
        let known = life.desk.reference().borrow().as_ref().map(|reference| reference.mark);
        let knew = known.map(|mark| mark.knew(&life.queue.clock(), life.queue.effective_now()));
        let mut draft = Draft::by_station(body(lot, accepted && knew.is_some(), raw), knew);
        if let Body::LabelQueued(_) = &draft.body {
            draft.blobs = vec![label_bytes(raw)];
        }
        draft.id = reuse;
        let answer = block_on(life.queue.append(draft));
        if let Ok(appended) = &answer {
            let point = ChainPoint { epoch: appended.epoch, seq: appended.seq, hash: appended.hash };
            self.told.push(Told { id: appended.id, point });
        }
        Some(answer)
    }
}

fn label_bytes(number: u64) -> Vec<u8> {
    format!("^XA^FD{number}^FS^XZ").into_bytes()
}

/// Of three numbers one is a label, and one what became of a label.
fn label(lot: &str, number: u64) -> Option<Body> {
    let id = |number: u64| OperationId::from_parts(number % (1 << 40), &[9; 10]);
    let bytes = label_bytes(number);
    let printer = Device {
        role: "printer".to_owned(),
        transport: "tcp".to_owned(),
        id: "tcp:10.1.4.20:9100".to_owned(),
        simulated: false,
    };
    match number % 3 {
        0 => Some(Body::LabelQueued(LabelQueued {
            printer,
            template: "container/1".to_owned(),
            language: "en".to_owned(),
            scan: id(number),
            item: ITEM.to_owned(),
            lot: lot.to_owned(),
            snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: None },
            serial: format!("{number:013}"),
            copy: 1,
            of: None,
            elements: Vec::new(),
            sha256: Hash::of(&bytes),
            bytes: u64::try_from(bytes.len()).unwrap(),
        })),
        1 => {
            let (state, evidence) = (JobState::Confirmed, Some("status_transition".to_owned()));
            Some(Body::LabelState(LabelState { job: id(number), state, evidence, cause: None }))
        }
        _ => None,
    }
}

fn body(lot: &str, accepted: bool, number: u64) -> Body {
    let device = Device {
        role: "scanner".to_owned(),
        transport: "serial".to_owned(),
        id: "/dev/ttyACM0".to_owned(),
        simulated: false,
    };
    let (aim, symbology, kind) = (Some("]C1".to_owned()), "code_128".to_owned(), "gs1".to_owned());
    let raw = hex::encode(format!("]C1{number}"));
    if accepted {
        return Body::ScanAccepted(ScanAccepted {
            device,
            raw,
            aim,
            symbology,
            kind,
            elements: Vec::new(),
            item: ITEM.to_owned(),
            lot: lot.to_owned(),
            snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: None },
        });
    }
    if let Some(body) = label(lot, number) {
        return body;
    }
    Body::ScanRefused(ScanRefused {
        device,
        raw,
        aim,
        symbology,
        kind,
        elements: Vec::new(),
        item: None,
        lot: None,
        snapshot_lot: None,
        code: "unknown_lot".to_owned(),
    })
}

impl Life {
    pub(crate) fn state(&self) -> QueueState {
        self.queue.state().borrow().clone()
    }

    /// Waits until the writer has done everything that it was asked for: it answers this, which is nonsense, after
    /// that.
    fn fence(&self) {
        let _ = block_on(self.queue.mark_sent(Epoch { n: 0, id: EpochId([0; 16]) }, 0));
    }

    /// Tells the engine what the runner would: alarms, growth, doubt about the clock.
    pub(crate) fn look_around(&mut self, now: u64) {
        self.desk.note_alarms(self.engine.alarms());
        let alarms = self.desk.alarms();
        if alarms != self.alarms {
            self.alarms = alarms;
            self.engine.handle_wake(Wake::AlarmsChanged, now);
        }
        let head = self.queue.state().borrow().head;
        if head != self.grown {
            self.grown = head;
            self.engine.handle_wake(Wake::QueueGrew, now);
        }
        self.engine.handle_clock(self.desk.clock_is_doubtful());
    }

    /// Takes up what the engine asks for.
    pub(crate) fn take_up(&mut self, now: u64) -> Vec<ActionId> {
        let mut begun = Vec::new();
        while let Some((id, action)) = self.engine.poll_action(now) {
            let desk = Arc::clone(&self.desk);
            let job = Box::pin(async move { desk.perform(id, action).await });
            self.jobs.insert(id, (action, job));
            begun.push(id);
        }
        begun
    }

    /// What an action is.
    pub(crate) fn action(&self, id: ActionId) -> Option<Action> {
        self.jobs.get(&id).map(|(action, _)| *action)
    }

    /// Works on an action until it is done, or waits for the cloud.
    pub(crate) fn work(&mut self, id: ActionId) -> Option<Result<Reply, Failure>> {
        let (action, job) = self.jobs.get_mut(&id)?;
        let pushes = matches!(action, Action::Push { .. });
        self.port.work_on(id);
        let parker = Parker::new();
        let waker = parker.waker();
        let outcome = loop {
            if let Poll::Ready(outcome) = job.as_mut().poll(&mut Context::from_waker(&waker)) {
                break Some(outcome);
            }
            if self.port.is_waiting(id) {
                break None;
            }
            parker.park();
        };
        // A push marks its entries while it waits.
        if pushes && outcome.is_none() {
            self.fence();
        }
        if outcome.is_some() {
            self.jobs.remove(&id);
        }
        outcome
    }

    /// Tells the engine what came of an action.
    pub(crate) fn tell(&mut self, id: ActionId, outcome: Result<Reply, Failure>, now: u64) {
        match outcome {
            Ok(reply) => self.engine.handle_reply(id, reply, now),
            Err(failure) => self.engine.handle_failure(id, &failure, now),
        }
    }

    /// Cuts off what nobody waits for any more.
    pub(crate) fn clear(&mut self) {
        let engine = &self.engine;
        self.jobs.retain(|id, _| engine.awaits(*id));
        self.marks.retain(|id, _| engine.awaits(*id));
        self.desk.retain(|batch| engine.awaits(batch));
    }

    pub(crate) fn started(&self) -> Vec<Call> {
        self.port.take_started()
    }

    /// Gives the cloud's answer to a call; says which action may go on.
    pub(crate) fn answer(&self, call: u64, outcome: Outcome) -> Option<ActionId> {
        self.port.answer(call, outcome)
    }

    /// Which own entries of an epoch are settled.
    pub(crate) fn settled(&self, epoch: Epoch) -> Vec<(u64, Hash)> {
        let own = block_on(self.queue.hashes(epoch, 1, 100_000)).unwrap_or_default();
        let settled = own.settled_through;
        (own.first_seq..).zip(own.hashes).filter(|(seq, _)| *seq <= settled).collect()
    }

    /// Whether the queue holds an entry.
    pub(crate) fn holds(&self, point: ChainPoint) -> bool {
        let head = Head { epoch: Some(point.epoch), seq: point.seq, hash: point.hash };
        block_on(self.queue.holds(head)).unwrap_or(false)
    }

    /// Whether there is anything that the cloud has not kept as evidence.
    pub(crate) fn has_evidence(&self) -> bool {
        !matches!(block_on(self.queue.evidence(1)), Ok(None))
    }

    /// Every alarm of the station.
    pub(crate) fn alarms(&self) -> BTreeSet<String> {
        self.desk.alarms()
    }
}

/// Hashes of the entries of a push.
pub(crate) fn hashes(entries: &[u8]) -> Vec<Hash> {
    let (mut rest, mut found) = (entries, Vec::new());
    while let Ok((frame, after)) = entry::Frame::split_first(rest) {
        found.push(frame.hash());
        rest = after;
    }
    found
}

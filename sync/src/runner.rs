//! Runs the engine: does what it asks for, on the queue and on the cloud, and tells it what came of it.
//!
//! Nothing that the cloud says counts before it is verified; nothing is decided or settled by it before it
//! is stored. So for a push: verify receipt, verdicts and proofs → settle (the queue stores them and settles in
//! one transaction) → go on from there. For reference data: verify statement, hash chain and page → store →
//! publish. What does not verify is kept beside what it contradicts, shown as `server_inconsistent`, and
//! changes nothing else.

mod care;
mod desk;
mod feed;
mod shown;

pub use desk::Desk;
pub use shown::{FILE as STATUS_FILE, Shown, read_status};

use crate::engine::failure::Failure;
use crate::engine::status::Status;
use crate::engine::{ActionId, Engine, Reach, Reply, Settings, Wake};
use crate::queue::{PageMark, Queue, QueueAlarm, QueueError, QueueState};
use crate::secure::Places;
use futures_util::future::{AbortHandle, Aborted, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lotgate_domain::chain::Head;
use lotgate_domain::protocol::CloudApi;
use lotgate_domain::protocol::care::DeviceReport;
use lotgate_domain::reference::Snapshot;
use lotgate_domain::time::Timestamp;
use serde::Serialize;
use shown::StatusFile;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Reference data that may be decided on, with what an operation says of it.
#[derive(Debug, Clone)]
pub struct Reference {
    /// What it says.
    pub snapshot: Arc<Snapshot>,
    /// Its cursor and hash, and when it was last known to be the newest; gives `knew` of an operation.
    pub mark: PageMark,
}

/// What the station says of itself in heartbeats, besides what its queue knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StationReport {
    /// The devices by role.
    pub devices: Vec<DeviceReport>,
    /// Bytes free on the disk of the queue; what the queue last saw if this is `None`.
    pub disk_free: Option<u64>,
    /// Codes of what needs a person.
    pub alarms: BTreeSet<String>,
}

/// How the sync stands, for screens and `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SyncStatus {
    /// What the engine says; times in monotonic milliseconds of the station's clock.
    #[serde(flatten)]
    pub engine: Status,
    /// Wall clock of the last good answer since the program started.
    pub last_contact_at: Option<Timestamp>,
    /// Codes of everything that needs a person.
    pub alarms: BTreeSet<String>,
}

/// What the rest of the station holds of the sync.
#[derive(Debug, Clone)]
pub struct SyncHandle {
    wakes: mpsc::UnboundedSender<Wake>,
    paused: watch::Sender<bool>,
    reports: watch::Sender<StationReport>,
    status: watch::Receiver<SyncStatus>,
    reference: watch::Receiver<Option<Reference>>,
}

impl SyncHandle {
    /// Makes the sync of `queue` with `cloud`, with the reference data that the queue keeps. Nothing is sent
    /// before [`Runner::run`]. `seed` spreads stations out in time.
    ///
    /// # Errors
    /// [`QueueError`] if the stored page cannot be read.
    pub async fn prepare<C>(
        queue: Queue,
        cloud: C,
        settings: Settings,
        seed: u64,
    ) -> Result<(Self, Runner<C>), QueueError>
    where
        C: CloudApi + Reach + Send + Sync,
        C::Error: Into<Failure> + Display + Send,
    {
        let desk = Desk::new(queue, cloud).await?;
        let now = desk.queue.clock().mono_ms;
        let mut engine = Engine::new(settings, desk.cursor(), seed, now);
        if desk.queue.rotation_is_pending().await {
            engine.handle_wake(Wake::Rotate, now);
        }
        let (wakes, woken) = mpsc::unbounded_channel();
        let (paused, pauses) = watch::channel(false);
        let (reports, told) = watch::channel(StationReport::default());
        let first = SyncStatus { engine: engine.status(), last_contact_at: None, alarms: desk.alarms() };
        let (status_sender, status) = watch::channel(first);
        let reference = desk.reference();
        let grown = desk.queue.state();
        let seen = grown.borrow().head;
        let waits = Waits { woken, pauses, told, grown, seen };
        let runner = Runner { engine, desk, waits, status: status_sender, file: None };
        Ok((Self { wakes, paused, reports, status, reference }, runner))
    }

    /// Wakes the engine: a person asks to try now, the network came back, there is more reference data.
    pub fn wake(&self, wake: Wake) {
        // Without a runner there is nobody to wake.
        let _ = self.wakes.send(wake);
    }

    /// Asks for a new key of the station. It goes on with that in a new epoch once the cloud has certified it.
    pub fn rotate(&self) {
        self.wake(Wake::Rotate);
    }

    /// Stops or resumes sending. Capture goes on either way.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Says how the station is. A heartbeat follows at once where the alarms are other than before.
    pub fn report(&self, report: StationReport) {
        self.reports.send_if_modified(|known| {
            let news = *known != report;
            *known = report;
            news
        });
    }

    /// How the sync stands, now and from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SyncStatus> {
        self.status.clone()
    }

    /// The newest reference data; `None` before the first page.
    #[must_use]
    pub fn reference(&self) -> watch::Receiver<Option<Reference>> {
        self.reference.clone()
    }
}

/// The task that empties the queue.
pub struct Runner<C> {
    engine: Engine,
    desk: Desk<C>,
    waits: Waits,
    status: watch::Sender<SyncStatus>,
    file: Option<StatusFile>,
}

/// An action that is being done, until it is cut off.
type Job<'a> = Pin<Box<dyn Future<Output = Result<(ActionId, Result<Reply, Failure>), Aborted>> + Send + 'a>>;

/// What happened while the engine waited.
enum Waited {
    Done(ActionId, Result<Reply, Failure>),
    CutOff,
    Woken(Wake),
    Paused(bool),
    Changed,
    Slept,
}

impl<C> Runner<C>
where
    C: CloudApi + Reach + Send + Sync,
    C::Error: Into<Failure> + Display + Send,
{
    /// The same, showing how it stands in a file beside the queue too, for other processes
    /// ([`read_status`]).
    #[must_use]
    pub fn shown_in(self, places: &Places) -> Self {
        Self { file: Some(StatusFile::new(places.clone())), ..self }
    }

    /// Runs until `shutdown` is ready. Calls under way are then dropped: what they did is found out by the next
    /// run, because a push that is repeated changes nothing.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let Self { engine, desk, waits, status, file } = self;
        let watched = status.subscribe();
        let work = pin!(work(engine, &desk, waits, status));
        let queue = desk.queue.clone();
        let show = pin!(async {
            match file {
                Some(file) => file.follow(watched, &queue).await,
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            () = shutdown => {}
            () = work => {}
            () = show => {}
        }
    }
}

async fn work<C>(mut engine: Engine, desk: &Desk<C>, mut waits: Waits, status: watch::Sender<SyncStatus>)
where
    C: CloudApi + Reach + Send + Sync,
    C::Error: Into<Failure> + Display + Send,
{
    let clock = desk.queue.clone();
    let now = || clock.clock().mono_ms;
    let mut jobs: FuturesUnordered<Job<'_>> = FuturesUnordered::new();
    let mut handles: BTreeMap<ActionId, AbortHandle> = BTreeMap::new();
    loop {
        if publish(&status, &engine, desk) {
            alarmed(&mut engine, desk, now());
        }
        engine.handle_clock(desk.clock_is_doubtful());
        while let Some((id, action)) = engine.poll_action(now()) {
            let (job, handle) = abortable(async move { (id, desk.perform(id, action).await) });
            handles.insert(id, handle);
            jobs.push(Box::pin(job));
        }
        // What nobody waits for any more is cut off.
        handles.retain(|id, handle| {
            let awaited = engine.awaits(*id);
            if !awaited {
                handle.abort();
            }
            awaited
        });
        desk.retain(|batch| engine.awaits(batch));
        if publish(&status, &engine, desk) {
            alarmed(&mut engine, desk, now());
            continue;
        }
        let sleep = engine.poll_timeout(now()).map(|at| at.saturating_sub(now()));
        let slept = async {
            match sleep {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
        };
        let waited = tokio::select! {
            Some(done) = jobs.next(), if !jobs.is_empty() => match done {
                Ok((id, outcome)) => Waited::Done(id, outcome),
                Err(Aborted) => Waited::CutOff,
            },
            waited = waits.next(desk) => waited,
            () = slept => Waited::Slept,
        };
        match waited {
            Waited::Done(id, Ok(reply)) => engine.handle_reply(id, reply, now()),
            Waited::Done(id, Err(failure)) => engine.handle_failure(id, &failure, now()),
            Waited::Woken(wake) => engine.handle_wake(wake, now()),
            Waited::Paused(paused) => engine.handle_pause(paused, now()),
            Waited::CutOff | Waited::Changed | Waited::Slept => {}
        }
    }
}

/// The alarms are other than before; where one says that something was set aside, it is evidence to be sent.
fn alarmed<C>(engine: &mut Engine, desk: &Desk<C>, now: u64) {
    engine.handle_wake(Wake::AlarmsChanged, now);
    if desk.queue.state().borrow().alarms.contains(&QueueAlarm::QueueSetAside) {
        engine.handle_wake(Wake::EvidenceFound, now);
    }
}

/// Tells everybody how the sync stands; says whether the alarms are other than before.
fn publish<C>(status: &watch::Sender<SyncStatus>, engine: &Engine, desk: &Desk<C>) -> bool
where
    C: CloudApi + Reach + Send + Sync,
    C::Error: Into<Failure> + Display + Send,
{
    desk.note_alarms(engine.alarms());
    let (engine, alarms) = (engine.status(), desk.alarms());
    let mut alarmed = false;
    status.send_if_modified(|shown| {
        alarmed = shown.alarms != alarms;
        if shown.engine == engine && !alarmed {
            return false;
        }
        if shown.engine.last_contact != engine.last_contact {
            shown.last_contact_at = Some(desk.queue.clock().wall);
        }
        if alarmed {
            tracing::error!(?alarms, stuck = ?engine.stuck, "sync.needs_a_person");
        }
        if shown.engine.failure != engine.failure {
            tracing::info!(link = ?engine.link, failure = ?engine.failure, "sync.link");
        }
        (shown.engine, shown.alarms) = (engine, alarms);
        true
    });
    alarmed
}

struct Waits {
    woken: mpsc::UnboundedReceiver<Wake>,
    pauses: watch::Receiver<bool>,
    told: watch::Receiver<StationReport>,
    grown: watch::Receiver<QueueState>,
    /// Head of the queue at the last wake for its growth.
    seen: Head,
}

impl Waits {
    /// The next thing that somebody wants of the engine; waits for ever once nobody is left to want any.
    async fn next<C>(&mut self, desk: &Desk<C>) -> Waited
    where
        C: CloudApi + Reach + Send + Sync,
        C::Error: Into<Failure> + Display + Send,
    {
        loop {
            let head = self.grown.borrow_and_update().head;
            if head != self.seen {
                self.seen = head;
                return Waited::Woken(Wake::QueueGrew);
            }
            tokio::select! {
                Some(wake) = self.woken.recv() => return Waited::Woken(wake),
                Ok(()) = self.pauses.changed() => return Waited::Paused(*self.pauses.borrow_and_update()),
                Ok(()) = self.told.changed() => {
                    desk.report(self.told.borrow_and_update().clone());
                    return Waited::Changed;
                }
                Ok(()) = self.grown.changed() => {
                    if self.grown.borrow().head == self.seen {
                        return Waited::Changed;
                    }
                }
                else => std::future::pending().await,
            }
        }
    }
}

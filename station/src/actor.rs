//! The one actor of a station: device events in, durable operations out (DESIGN §3, §5 Scan).
//!
//! It decides on each scan at once and hands the operation to the queue; up to [`PIPELINE`] operations wait
//! for their commit at the same moment. Nobody hears of an operation before its commit returned.

mod printing;

pub use printing::{JobsShown, LabelSource, PrintRequest, Printing};

use crate::print::Input;
use crate::repeat::{Again, Repeats};
use crate::scan;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use lotgate_devices::event::{
    DeviceEvent, DeviceEventKind, DeviceFault, DeviceInfo, DeviceState, PrinterEvent,
};
use lotgate_domain::barcode::SitePatterns;
use lotgate_domain::ids::OperationId;
use lotgate_domain::operation::body::Body;
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::ClockReading;
use lotgate_sync::queue::{AppendError, Appended, Draft, Queue, StopReason};
use lotgate_sync::runner::Reference;
use lotgate_sync::secure::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How many operations may wait for their commit before the station stops listening to its devices.
pub const PIPELINE: usize = 256;

/// What the station tells whoever listens: a screen, a terminal, a test.
#[derive(Debug)]
pub enum Report {
    /// An operation is durable.
    Committed {
        /// Where it stands in the chain.
        appended: Appended,
        /// Why the scan was refused, if it is a refused scan.
        refusal: Option<&'static str>,
        /// What was scanned, if it is a scan.
        scanned: Option<Box<Scanned>>,
    },
    /// The same refused scan again: answered from the operation that is durable already.
    Repeated {
        /// That operation.
        appended: Appended,
        /// Why the scan was refused.
        refusal: &'static str,
        /// What was scanned, seen now.
        scanned: Box<Scanned>,
        /// How often it came again, this time included.
        count: u64,
    },
    /// The print jobs, after something about them changed.
    Jobs(Box<JobsShown>),
    /// A label could not be made, by the code of the catalogue.
    NoLabel(&'static str),
    /// What a person asked for of a label is not so any more, and nothing was done.
    Gone,
    /// An operation is not confirmed: nothing of it was kept, unless the error is an unknown outcome, which
    /// the file decides at the next start.
    NotKept(AppendError),
    /// A device changed its state.
    Device(DeviceInfo, DeviceState),
    /// A device discarded something or was held up.
    Fault(DeviceInfo, DeviceFault),
    /// A printer says how it stands, or what became of a job.
    Printer(DeviceInfo, PrinterEvent),
}

/// A scan as it was decided on.
#[derive(Debug, Clone)]
pub struct Scanned {
    /// Body of its operation.
    pub body: Body,
    /// When its reader saw it.
    pub seen: Instant,
    /// Cursor of the reference data that it was decided on; none if there was none.
    pub snapshot: Option<u64>,
    /// It was the label of this print job, which is thereby shown to have been printed.
    pub label_of: Option<OperationId>,
}

/// Everything that the actor works with.
pub struct Station {
    /// Where operations go.
    pub queue: Queue,
    /// The site's own codes.
    pub site_codes: SitePatterns,
    /// The newest reference data; none before the first pull.
    pub reference: watch::Receiver<Option<Reference>>,
    /// Where ids come from.
    pub random: Arc<dyn Random>,
    /// What the devices say.
    pub devices: mpsc::Receiver<DeviceEvent>,
    /// The print jobs and their printer.
    pub printing: Printing,
    /// What people ask for of labels.
    pub requests: mpsc::Receiver<PrintRequest>,
    /// Who listens.
    pub reports: mpsc::Sender<Report>,
    /// Turns true when the station is to stop.
    pub shutdown: watch::Receiver<bool>,
}

/// Why the actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Shutdown,
    /// The queue accepts no more work before the next start; the reason, where it told one.
    QueueStopped(Option<StopReason>),
    /// Nobody listens to the reports any more.
    Unheard,
}

/// What a decision is taken on: one look at the reference data and the clocks, and the operation names these.
struct Known {
    reference: Option<Reference>,
    clock: ClockReading,
    now: Timestamp,
}

/// What leaves in the order of the scans, each when its commit returned.
enum Waiting {
    Appended { submitted: Box<Submitted>, result: Box<Result<Appended, AppendError>> },
    Repeated { again: Again, device: String, seen: Instant },
}

/// What is remembered of an operation until its commit returns.
struct Submitted {
    id: OperationId,
    refusal: Option<&'static str>,
    scanned: Option<Box<Scanned>>,
    /// The body of an operation about a label.
    label: Option<Body>,
}

/// A refused scan, as repetitions are answered from it.
struct Refused {
    appended: Appended,
    code: &'static str,
    scanned: Box<Scanned>,
}

type Pending = FuturesOrdered<Pin<Box<dyn Future<Output = Waiting> + Send>>>;

/// What the actor remembers between events.
#[derive(Default)]
struct Memory {
    repeats: BTreeMap<String, Repeats>,
    /// The last refused scan of each device that is durable.
    refused: BTreeMap<String, Refused>,
    /// States of print jobs that were told not to be kept, with the reason, since something was kept: they are asked
    /// for again and again.
    unkept: BTreeSet<(OperationId, &'static str)>,
    /// The last operation that was not kept, for the repetitions that stand behind it.
    not_kept: Option<(OperationId, AppendError)>,
}

impl Memory {
    /// An operation is durable.
    fn kept(&mut self, appended: &Appended, refusal: Option<&'static str>, scanned: Option<&Scanned>) {
        self.unkept.clear();
        if let (Some(code), Some(scanned)) = (refusal, scanned)
            && let Body::ScanRefused(scan) = &scanned.body
        {
            let (appended, scanned) = (appended.clone(), Box::new(scanned.clone()));
            self.refused.insert(scan.device.id.clone(), Refused { appended, code, scanned });
        }
    }

    /// An operation was not kept. Whether that is news: a state of a print job is asked for again every second.
    fn not_kept(&mut self, id: OperationId, label: Option<&Body>, error: &AppendError) -> bool {
        self.repeats.values_mut().for_each(|open| open.forget(id));
        self.not_kept = Some((id, error.clone()));
        match label {
            Some(Body::LabelState(state)) => self.unkept.insert((state.job, error.code())),
            _ => true,
        }
    }

    /// What is said of a refused scan that came again.
    fn repeated(&self, again: Again, device: &str, seen: Instant) -> Option<Report> {
        if let Some((_, error)) = self.not_kept.as_ref().filter(|(id, _)| *id == again.of) {
            return Some(Report::NotKept(error.clone()));
        }
        let Refused { appended, code, scanned } = self.refused.get(device)?;
        let scanned = Box::new(Scanned { seen, ..(**scanned).clone() });
        let (appended, count) = (appended.clone(), again.count);
        (appended.id == again.of).then_some(Report::Repeated { appended, refusal: code, scanned, count })
    }
}

/// Resolves when `shutdown` turns true, or when nobody is left who could turn it.
async fn told_to_stop(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

impl Station {
    /// Works until `shutdown` turns true or the queue stops; what was accepted by then is committed first.
    pub async fn run(mut self) -> Ended {
        let mut memory = Memory::default();
        let mut waiting = Pending::new();
        let mut shutdown = self.shutdown.clone();
        // A station without devices goes on: its queue still has to reach the cloud. So does one without a screen.
        let (mut devices_left, mut requests_left) = (true, true);
        let first = self.printing.jobs.start(self.queue.clock().mono_ms);
        self.act(first, &mut waiting).await;
        self.tell_jobs().await;
        loop {
            let closes = self.next_wake(&memory);
            tokio::select! {
                biased;
                () = told_to_stop(&mut shutdown) => break,
                Some(done) = waiting.next() => {
                    if let Some(ended) = self.tell(done, &mut memory, &mut waiting).await {
                        return ended;
                    }
                }
                event = self.devices.recv(), if devices_left && waiting.len() < PIPELINE => match event {
                    Some(event) => self.handle(event, &mut memory, &mut waiting).await,
                    None => devices_left = false,
                },
                request = self.requests.recv(), if requests_left && waiting.len() < PIPELINE => match request {
                    Some(request) => self.requested(request, &mut waiting).await,
                    None => requests_left = false,
                },
                () = tokio::time::sleep(closes.unwrap_or(Duration::MAX)), if closes.is_some() => {
                    let now = self.queue.clock().mono_ms;
                    self.printed(Input::Tick, &mut waiting).await;
                    let over = |open: &&mut Repeats| open.closes_ms().is_some_and(|at| at <= now);
                    let told: Vec<Body> =
                        memory.repeats.values_mut().filter(over).filter_map(Repeats::close).collect();
                    self.submit_told(told, &mut waiting);
                }
            }
        }
        let told: Vec<Body> = memory.repeats.values_mut().filter_map(Repeats::close).collect();
        self.submit_told(told, &mut waiting);
        while let Some(done) = waiting.next().await {
            if let Some(ended) = self.tell(done, &mut memory, &mut waiting).await {
                return ended;
            }
        }
        Ended::Shutdown
    }

    /// When something is due without anything coming in: a count of repetitions, a look at the print jobs.
    fn next_wake(&self, memory: &Memory) -> Option<Duration> {
        let closes = memory.repeats.values().filter_map(Repeats::closes_ms).min();
        let due = closes.into_iter().chain(self.printing.jobs.next_tick_ms()).min()?;
        Some(Duration::from_millis(due.saturating_sub(self.queue.clock().mono_ms)))
    }

    /// Decides on one device event and submits the operations that come of it, in order.
    async fn handle(&mut self, event: DeviceEvent, memory: &mut Memory, waiting: &mut Pending) {
        let raw = match event.kind {
            DeviceEventKind::Scanned(raw) => raw,
            DeviceEventKind::State(state) => {
                self.report(Report::Device(event.device, state)).await;
                return;
            }
            DeviceEventKind::Fault(fault) => {
                self.report(Report::Fault(event.device, fault)).await;
                return;
            }
            DeviceEventKind::Printer(told) => {
                self.report(Report::Printer(event.device, told)).await;
                self.printed(Input::Printer(told), waiting).await;
                return;
            }
        };
        let known = self.known();
        let snapshot = known.reference.as_ref().map(|reference| &*reference.snapshot);
        let outcome = scan::decide(&raw, &event.device, &self.site_codes, snapshot, known.now);
        let device = event.device.id;
        let window = memory.repeats.entry(device.clone()).or_default();
        let Known { clock, .. } = known;
        let repeats = |code| window.repeats(&raw, code, clock.mono_ms, clock.wall);
        if let Some(again) = outcome.refusal.and_then(repeats) {
            // Behind the operation that it is answered from, which may still wait for its commit.
            let repeated = Waiting::Repeated { again, device, seen: event.at_mono };
            waiting.push_back(Box::pin(std::future::ready(repeated)));
            return;
        }
        if let Some(told) = window.close() {
            self.submit(told, None, &known, waiting);
        }
        let snapshot = snapshot.map(|snapshot| snapshot.cursor);
        let scanned = Scanned { body: outcome.body.clone(), seen: event.at_mono, snapshot, label_of: None };
        let draft = self.draft(outcome.body, &known);
        let id = self.put(draft, outcome.refusal, Some(Box::new(scanned)), waiting);
        if let (Some(code), Some(id)) = (outcome.refusal, id) {
            window.open(raw, code, id, clock.mono_ms, clock.wall);
        }
    }

    fn known(&self) -> Known {
        Known {
            reference: self.reference.borrow().clone(),
            clock: self.queue.clock(),
            now: self.queue.effective_now(),
        }
    }

    fn submit_told(&self, told: Vec<Body>, waiting: &mut Pending) {
        for body in told {
            self.submit(body, None, &self.known(), waiting);
        }
    }

    fn submit(
        &self,
        body: Body,
        refusal: Option<&'static str>,
        known: &Known,
        waiting: &mut Pending,
    ) -> Option<OperationId> {
        self.put(self.draft(body, known), refusal, None, waiting)
    }

    /// The station's own word, with an id, unless the system gives no random bytes and the queue has to say so.
    fn draft(&self, body: Body, known: &Known) -> Draft {
        let Known { reference, clock, now } = known;
        let mut draft = Draft::by_station(body, reference.as_ref().map(|r| r.mark.knew(clock, *now)));
        let mut random = [0u8; 10];
        let unix_ms = u64::try_from(clock.wall.unix_ms()).unwrap_or(0);
        draft.id = self.random.fill(&mut random).ok().map(|()| OperationId::from_parts(unix_ms, &random));
        draft
    }

    /// Hands an operation to the queue; returns its id, if it has one already.
    fn put(
        &self,
        draft: Draft,
        refusal: Option<&'static str>,
        scanned: Option<Box<Scanned>>,
        waiting: &mut Pending,
    ) -> Option<OperationId> {
        let given = draft.id;
        let id = given.unwrap_or(OperationId::from_parts(0, &[0; 10]));
        let label =
            matches!(draft.body, Body::LabelQueued(_) | Body::LabelState(_)).then(|| draft.body.clone());
        let submitted = Box::new(Submitted { id, refusal, scanned, label });
        let result = self.queue.submit(draft);
        waiting.push_back(Box::pin(async move {
            Waiting::Appended { submitted, result: Box::new(result.await) }
        }));
        given
    }

    /// Tells of what came out of the queue. Ends the actor if nothing more can be made durable or heard.
    async fn tell(&mut self, done: Waiting, memory: &mut Memory, waiting: &mut Pending) -> Option<Ended> {
        let report = match done {
            Waiting::Appended { submitted, result } => {
                let Submitted { id, refusal, mut scanned, label } = *submitted;
                let error = match *result {
                    Ok(appended) => {
                        let read = scanned.as_deref_mut().map(|scanned| self.read(appended.id, scanned));
                        memory.kept(&appended, refusal, scanned.as_deref());
                        if let Some(body) = &label {
                            self.committed(&appended, body, waiting).await;
                        }
                        let ended = self.say(Report::Committed { appended, refusal, scanned }).await;
                        if let Some(elements) = read {
                            self.printed(Input::Scanned(&elements), waiting).await;
                        }
                        return ended;
                    }
                    Err(error) => error,
                };
                if let Some(body) = &label {
                    self.not_kept(body, waiting).await;
                }
                let news = memory.not_kept(id, label.as_ref(), &error);
                tracing::error!(code = error.code(), "operation.not_kept");
                let ended = match &error {
                    // Only a new start makes another file; everything else ends by itself, and is refused until then.
                    AppendError::Stopped(reason @ StopReason::Damaged) => {
                        Some(Ended::QueueStopped(Some(*reason)))
                    }
                    AppendError::Closed => Some(Ended::QueueStopped(None)),
                    _ => None,
                };
                if news {
                    self.report(Report::NotKept(error)).await;
                }
                return ended;
            }
            Waiting::Repeated { again, device, seen } => memory.repeated(again, &device, seen)?,
        };
        self.say(report).await
    }

    async fn say(&self, report: Report) -> Option<Ended> {
        (!self.report(report).await).then_some(Ended::Unheard)
    }

    /// False if nobody listens. A listener that takes nothing more cannot keep the station from stopping.
    async fn report(&self, report: Report) -> bool {
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            sent = self.reports.send(report) => sent.is_ok(),
            () = told_to_stop(&mut shutdown) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lotgate_domain::operation::body::{JobState, LabelState};

    fn id(n: u8) -> OperationId {
        OperationId::from_parts(0, &[n; 10])
    }

    #[test]
    fn a_state_that_is_asked_for_again_and_again_is_told_once_not_to_be_kept_and_a_scan_each_time() {
        let mut memory = Memory::default();
        let state =
            |job| Body::LabelState(LabelState { job, state: JobState::Sent, evidence: None, cause: None });
        let full = AppendError::Stopped(StopReason::DiskFull);
        assert!(memory.not_kept(id(10), Some(&state(id(1))), &full));
        assert!(!memory.not_kept(id(11), Some(&state(id(1))), &full), "the same again");
        assert!(memory.not_kept(id(12), Some(&state(id(2))), &full), "another job");
        assert!(memory.not_kept(id(13), Some(&state(id(1))), &AppendError::Closed), "another reason");
        assert!(memory.not_kept(id(14), None, &full) && memory.not_kept(id(15), None, &full));
    }
}

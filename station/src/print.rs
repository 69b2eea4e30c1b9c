//! The print jobs of one printer (LBL-4): nothing that may have printed is sent again by itself, and after a crash
//! one question is asked.
//!
//! A job is a `label.queued`; each `label.state` moves it. [`Jobs`] folds them, and says what to do next: prepare the
//! printer, commit a state, send, forget. It does no I/O: what it asks for comes back as an [`Input`]. Jobs leave in
//! the order in which they were queued, and everything is about the first that has not ended. A person may open one again
//! that was taken for printed, while nobody has read its label:
//! ```text
//! waiting → (Prepare … Prepared) → commit sending → Send → (Written all) → commit sent → (Confirmed) → commit confirmed
//!    ↑            no byte left: commit resolved_not_printed, nothing_written │      any doubt: commit unknown
//!    └───────────────────────────────────────────────────────────────────────┘      → a person, or a scan of it, answers
//! ```
//! # Invariants
//! - `Send` is given once for each committed `sending`, never before it; a second `sending` only after the record says
//!   that nothing of the first left; at most one question is open; no job is lost by a crash (`properties`).

mod job;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use job::{Came, Doubt, Evidence, PrintJob, Standing};

use lotgate_devices::event::{Job, PrinterEvent, PrinterState, Written};
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Hash, OperationId};
use lotgate_domain::operation::body::{Body, Element, JobState, LabelState};
use lotgate_domain::time::Timestamp;
use lotgate_sync::queue::LabelOperation;

/// How many of the newest label operations are folded at start. Since jobs end in order and [`WAITING_MAX`] bounds
/// them, those of every open job are among them.
pub const READ_BACK: u64 = 1_000;
/// How many jobs may be open when another is asked for.
pub const WAITING_MAX: usize = 20;
/// How often a job is sent of which nothing leaves.
pub const ATTEMPTS: u32 = 3;
/// How many ended jobs are remembered, for scans of their labels and for copies.
const KEPT: usize = 64;
/// What was not kept is asked for again after this time.
const AGAIN_MS: u64 = 1_000;
/// A job of which nothing left is tried again after this time.
const REST_MS: u64 = 5_000;
/// A printer that says nothing at all of a job for so long never will.
const ANSWER_MS: u64 = 120_000;

/// The printer answers, and says that a person must see to it: what it holds comes out after that.
const fn needs_a_hand(printer: PrinterState) -> bool {
    use PrinterState::{HeadOpen, PaperOut, Paused, RibbonOut, Temperature};
    matches!(printer, PaperOut | RibbonOut | HeadOpen | Paused | Temperature)
}

/// The job's name between station and printer.
#[must_use]
pub fn job(id: OperationId) -> Job {
    Job(id.0.as_u128())
}

/// Why no other label is taken. Codes are keys of the message catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrintRefusal {
    /// The configuration names no printer.
    NoPrinter,
    /// Nobody has said yet whether the last label was printed.
    QuestionOpen,
    /// Too many labels wait for the printer.
    TooManyWaiting,
}

impl PrintRefusal {
    /// The closed code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoPrinter => "no_printer",
            Self::QuestionOpen => "label_question_open",
            Self::TooManyWaiting => "label_queue_full",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A `label.queued` or `label.state` is durable. Other operations change nothing.
    Committed {
        /// Its id.
        id: OperationId,
        /// Its wall clock.
        at: Timestamp,
        /// What it says.
        body: &'a Body,
    },
    /// What [`Action::Commit`] asked for was not kept. It is asked for again.
    NotKept(&'a LabelState),
    /// The printer told something.
    Printer(PrinterEvent),
    /// A person said whether a label came out. Only the open question can be answered.
    Answered {
        /// The job.
        job: OperationId,
        /// What came out.
        came: Came,
    },
    /// A person finds no good label of a job that was taken for printed; only where [`Jobs::may_doubt`] says so.
    Doubted(OperationId),
    /// A person gives a job up; only that of [`Jobs::may_cancel`] can be.
    Cancelled(OperationId),
    /// What a scan of this station says. The code of a job's own label proves that it was printed.
    Scanned(&'a [Element]),
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Have the printer get ready for the job.
    Prepare(Job),
    /// Make this durable, then tell [`Input::Committed`] or [`Input::NotKept`].
    Commit(LabelState),
    /// Send the bytes with this SHA-256. If there are none, tell that nothing was written.
    Send {
        /// The job.
        job: Job,
        /// SHA-256 of its bytes.
        sha256: Hash,
    },
    /// The printer need not get ready for the job, nor watch it, any more.
    Forget(Job),
}

/// The job that the printer is busy with.
#[derive(Debug, Clone, Copy)]
struct Flight {
    id: OperationId,
    stage: Stage,
    since_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The printer gets ready.
    Preparing,
    /// It is ready; `sending` is not committed.
    Ready,
    /// The bytes were given to it.
    Out,
}

/// The print jobs of one printer.
#[derive(Debug)]
pub struct Jobs {
    printer_id: Option<String>,
    /// In the order in which they were queued.
    jobs: Vec<PrintJob>,
    flight: Option<Flight>,
    printer: PrinterState,
    last: Option<OperationId>,
}

impl Jobs {
    /// No jobs yet, for the printer with this [`DeviceInfo::id`](lotgate_devices::event::DeviceInfo::id). Without one
    /// jobs wait.
    #[must_use]
    pub fn new(printer: Option<String>) -> Self {
        let state = PrinterState::Opening;
        Self { printer_id: printer, jobs: Vec::new(), flight: None, printer: state, last: None }
    }

    /// The jobs of earlier runs, from what the queue holds of them; then comes [`Self::start`].
    #[must_use]
    pub fn fold(printer: Option<String>, operations: &[LabelOperation]) -> Self {
        let mut jobs = Self::new(printer);
        for LabelOperation { id, wall, body } in operations {
            // Whoever had another label made after one was not printed had seen that.
            if matches!(body, Some(Body::LabelQueued(_))) {
                jobs.jobs.iter_mut().for_each(|job| job.left |= job.is_without_label());
            }
            match body {
                Some(body) => jobs.refold(*id, *wall, body),
                None => jobs.doubt(),
            }
        }
        jobs
    }

    /// The record until here may lack what happened to a job: none that seems to wait is sent by itself.
    fn doubt(&mut self) {
        for job in self.jobs.iter_mut().filter(|job| job.standing == Standing::Waiting) {
            job.seen.doubt = Some(Doubt::RecordIncomplete);
        }
    }

    /// Takes in one operation; the oldest comes first.
    fn refold(&mut self, id: OperationId, at: Timestamp, body: &Body) {
        match body {
            Body::LabelQueued(label) => {
                if self.position(id).is_none() {
                    self.jobs.push(PrintJob::new(id, label.clone(), at));
                    self.forget_oldest();
                    self.last = Some(id);
                }
            }
            Body::LabelState(state) => {
                if let Some(job) = self.find(state.job) {
                    job.apply(state, at);
                    self.last = Some(state.job);
                }
            }
            // The file was put back to an earlier state, or another machine has one like it.
            Body::EpochOpened { reason, .. } => {
                let reason = EpochReason::parse(reason);
                if matches!(reason, Some(EpochReason::RolledBack | EpochReason::Forked)) {
                    self.doubt();
                }
            }
            Body::StationEnrolled { .. }
            | Body::ScanAccepted(_)
            | Body::ScanRefused(_)
            | Body::ScanRepeated { .. } => {}
        }
    }

    /// Begins, after everything was folded: what was at the printer when the station stopped is in doubt; what waits
    /// for a printer that is no longer the configured one is given up. Jobs leave in order, so one that waits before
    /// others that left was not known to the run before: it is asked about.
    pub fn start(&mut self, now_ms: u64) -> Vec<Action> {
        let printer = self.printer_id.as_deref();
        let last_left = self.jobs.iter().rposition(PrintJob::may_have_left);
        for (position, job) in self.jobs.iter_mut().enumerate() {
            let elsewhere = printer.is_some_and(|printer| printer != job.label.printer.id);
            job.restarted(elsewhere, last_left.is_some_and(|last| position < last));
        }
        let mut actions = Vec::new();
        self.go_on(now_ms, &mut actions);
        actions
    }

    /// Takes in what happened at `now_ms`, the monotonic clock in milliseconds, and says what to do, in order.
    pub fn handle(&mut self, input: Input<'_>, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Committed { id, at, body } => match body {
                Body::LabelQueued(_) => self.refold(id, at, body),
                Body::LabelState(state) => {
                    self.refold(id, at, body);
                    self.committed(state, now_ms, &mut actions);
                }
                _ => {}
            },
            Input::NotKept(state) => self.not_kept(state, now_ms, &mut actions),
            Input::Printer(event) => self.printer_told(event, now_ms, &mut actions),
            Input::Answered { job, came } => {
                if self.question().is_some_and(|asked| asked.id == job)
                    && let Some(job) = self.find(job)
                {
                    job.seen.answer = Some(came);
                }
            }
            Input::Doubted(id) => {
                if self.may_doubt(id)
                    && let Some(job) = self.find(id)
                {
                    job.seen.doubted = true;
                    // Nothing else comes out while somebody looks for it.
                    if self.flight.is_some_and(|flight| flight.stage != Stage::Out) {
                        self.land(&mut actions);
                    }
                }
            }
            Input::Cancelled(id) => {
                if self.may_cancel() == Some(id)
                    && let Some(job) = self.find(id)
                {
                    job.seen.cancel = Some(None);
                    if let Some(of) = job.label.of {
                        self.leave(of);
                    }
                }
            }
            Input::Scanned(elements) => self.scanned(elements),
            Input::Tick => {}
        }
        self.go_on(now_ms, &mut actions);
        actions
    }

    /// Whether another label may be queued now.
    ///
    /// # Errors
    /// [`PrintRefusal`].
    pub fn admits(&self) -> Result<(), PrintRefusal> {
        let mut open = self.jobs.iter().filter(|job| job.standing.is_open());
        if self.printer_id.is_none() {
            Err(PrintRefusal::NoPrinter)
        } else if open.clone().any(|job| matches!(job.standing, Standing::Unknown(_))) {
            Err(PrintRefusal::QuestionOpen)
        } else if open.nth(WAITING_MAX.saturating_sub(1)).is_some() {
            Err(PrintRefusal::TooManyWaiting)
        } else {
            Ok(())
        }
    }

    /// The one open question: whether this job's label came out.
    #[must_use]
    pub fn question(&self) -> Option<&PrintJob> {
        self.current().filter(|job| job.asks())
    }

    /// The job that the printer, or a person, has to do with: the first that has not ended. One that may have left
    /// comes before one that has not, wherever it stands: a label that the station took for not kept, and that was
    /// in the file all the same, appears before those that left since.
    #[must_use]
    pub fn current(&self) -> Option<&PrintJob> {
        let mut open = self.jobs.iter().filter(|job| job.standing.is_open());
        open.clone().find(|job| job.standing != Standing::Waiting).or_else(|| open.next())
    }

    /// How many jobs besides this one have not ended.
    #[must_use]
    pub fn behind(&self, id: OperationId) -> u32 {
        let others = self.jobs.iter().filter(|job| job.standing.is_open() && job.id != id).count();
        u32::try_from(others).unwrap_or(u32::MAX)
    }

    /// A job, ended or not.
    #[must_use]
    pub fn get(&self, id: OperationId) -> Option<&PrintJob> {
        self.jobs.get(self.position(id)?)
    }

    /// The job that changed last.
    #[must_use]
    pub fn last(&self) -> Option<&PrintJob> {
        self.get(self.last?)
    }

    /// What holds the current job up: before it leaves, or while its printer owes an answer. A printer that is busy is
    /// at work on what left.
    #[must_use]
    pub fn blocked(&self) -> Option<PrinterState> {
        let job = self.current().filter(|job| !matches!(job.standing, Standing::Unknown(_)))?;
        let at_work = match self.printer {
            PrinterState::Ready | PrinterState::Opening => true,
            PrinterState::Busy => job.standing != Standing::Waiting,
            _ => false,
        };
        (self.printer_id.is_some() && !at_work).then_some(self.printer)
    }

    /// The job that a person may give up: the current one as long as nothing of it can have left.
    #[must_use]
    pub fn may_cancel(&self) -> Option<OperationId> {
        self.current().filter(|job| job.may_cancel()).map(|job| job.id)
    }

    /// Whether a person may say that there is no good label of this job: it was taken for printed, nobody read the
    /// label, and there is no open question.
    #[must_use]
    pub fn may_doubt(&self, id: OperationId) -> bool {
        self.question().is_none() && self.get(id).is_some_and(PrintJob::may_doubt)
    }

    /// The number of the copy that may be asked for of this job: it was not printed, and there is no copy of it yet.
    #[must_use]
    pub fn copy_of(&self, id: OperationId) -> Option<u64> {
        let job = self.get(id).filter(|job| job.is_without_label())?;
        if self.has_copy(id) { None } else { job.label.copy.checked_add(1) }
    }

    /// Whether there is a copy of this job's label that was not given up.
    #[must_use]
    pub fn has_copy(&self, id: OperationId) -> bool {
        self.jobs.iter().any(|copy| copy.label.of == Some(id) && copy.standing != Standing::Cancelled)
    }

    /// Whether there is a label for this scan that was not given up.
    #[must_use]
    pub fn has_label(&self, scan: OperationId) -> bool {
        self.jobs.iter().any(|job| job.label.scan == scan && job.standing != Standing::Cancelled)
    }

    /// The first job without a good label of which no copy was asked for and that nobody left.
    #[must_use]
    pub fn owed(&self) -> Option<&PrintJob> {
        self.jobs.iter().find(|job| !job.left && self.copy_of(job.id).is_some())
    }

    /// A person knows that this job has no good label, and goes on.
    pub fn leave(&mut self, id: OperationId) {
        if let Some(job) = self.find(id) {
            job.left |= job.is_without_label();
        }
    }

    /// The job that was queued last.
    #[must_use]
    pub fn newest(&self) -> Option<&PrintJob> {
        self.jobs.last()
    }

    /// The job whose label has this code. Only one that may have left can have been scanned; the newest is meant.
    #[must_use]
    pub fn job_read(&self, elements: &[Element]) -> Option<OperationId> {
        let left = |job: &&PrintJob| job.may_have_left() && job.is_named_by(elements);
        self.jobs.iter().rev().find(left).map(|job| job.id)
    }

    /// How the printer stands, as told last.
    #[must_use]
    pub const fn printer(&self) -> PrinterState {
        self.printer
    }

    /// When time itself is due as an input, by the monotonic clock in milliseconds.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        let answers = |flight: &Flight| {
            flight.stage == Stage::Out
                && !needs_a_hand(self.printer)
                && self.get(flight.id).is_some_and(|job| job.seen.doubt.is_none())
        };
        let out = self.flight.filter(answers);
        let overdue = out.map(|flight| flight.since_ms.saturating_add(ANSWER_MS));
        self.jobs.iter().filter_map(|job| job.rests_until_ms).chain(overdue).min()
    }

    fn position(&self, id: OperationId) -> Option<usize> {
        self.jobs.iter().rposition(|job| job.id == id)
    }

    fn find(&mut self, id: OperationId) -> Option<&mut PrintJob> {
        let position = self.position(id)?;
        self.jobs.get_mut(position)
    }

    fn forget_oldest(&mut self) {
        if self.jobs.iter().filter(|job| !job.standing.is_open()).count() > KEPT
            && let Some(oldest) = self.jobs.iter().position(|job| !job.standing.is_open())
        {
            self.jobs.remove(oldest);
        }
    }

    /// A state is durable: what it allows.
    fn committed(&mut self, state: &LabelState, now_ms: u64, actions: &mut Vec<Action>) {
        let flight = self.flight.filter(|flight| flight.id == state.job);
        let Some(job) = self.find(state.job) else { return };
        job.pending = None;
        if state.state != JobState::Sending {
            if job.standing == Standing::Waiting {
                let rest = REST_MS.saturating_mul(job.attempts().into());
                job.rests_until_ms = Some(now_ms.saturating_add(rest));
            }
            if flight.is_some() && job.standing != Standing::Sent {
                self.land(actions);
            }
            return;
        }
        let sha256 = job.label.sha256;
        match flight {
            Some(Flight { id, stage: Stage::Ready, .. }) => {
                self.flight = Some(Flight { id, stage: Stage::Out, since_ms: now_ms });
                actions.push(Action::Send { job: self::job(id), sha256 });
            }
            // The printer was let go of meanwhile: the record must not stay at something that never left.
            _ => job.seen.written = Some(Written::Nothing),
        }
    }

    fn not_kept(&mut self, state: &LabelState, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(job) = self.find(state.job) else { return };
        job.pending = None;
        job.rests_until_ms = Some(now_ms.saturating_add(AGAIN_MS));
        // A connection that was readied now may be gone when the disk takes operations again.
        let ready = |flight: &Flight| flight.id == state.job && flight.stage == Stage::Ready;
        if self.flight.as_ref().is_some_and(ready) {
            self.land(actions);
        }
    }

    fn land(&mut self, actions: &mut Vec<Action>) {
        actions.extend(self.flight.take().map(|flight| Action::Forget(self::job(flight.id))));
    }

    fn printer_told(&mut self, event: PrinterEvent, now_ms: u64, actions: &mut Vec<Action>) {
        let (PrinterEvent::Prepared(named)
        | PrinterEvent::Written(named, _)
        | PrinterEvent::Confirmed(named)
        | PrinterEvent::Doubtful(named, _)) = event
        else {
            if let PrinterEvent::State(state) = event {
                // Once a person has put the printer right it has its whole time for the label that it holds.
                if let Some(flight) = self.flight.as_mut().filter(|_| needs_a_hand(self.printer)) {
                    flight.since_ms = now_ms;
                }
                self.printer = state;
            }
            return;
        };
        let prepared = matches!(event, PrinterEvent::Prepared(_));
        let flight = self.flight.filter(|flight| job(flight.id) == named);
        let Some(flight) = flight else {
            if prepared {
                actions.push(Action::Forget(named));
            }
            return;
        };
        if prepared {
            if flight.stage == Stage::Preparing {
                self.flight = Some(Flight { stage: Stage::Ready, ..flight });
            }
            return;
        }
        if flight.stage != Stage::Out {
            return;
        }
        if let Some(job) = self.find(flight.id)
            && job.seen.printer(event)
        {
            self.flight = None;
        }
    }

    fn scanned(&mut self, elements: &[Element]) {
        if let Some(id) = self.job_read(elements)
            && let Some(job) = self.find(id)
        {
            job.seen.scanned = true;
        }
    }

    /// Asks for what is due: states to commit, and the printer for the first job.
    fn go_on(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let (flight, held) = (self.flight, needs_a_hand(self.printer));
        for job in &mut self.jobs {
            if job.rests_until_ms.is_some_and(|until| until <= now_ms) {
                job.rests_until_ms = None;
            }
            let flight = flight.filter(|flight| flight.id == job.id);
            let overdue = |flight: &Flight| {
                flight.stage == Stage::Out && !held && now_ms.saturating_sub(flight.since_ms) >= ANSWER_MS
            };
            if flight.as_ref().is_some_and(overdue) {
                job.seen.doubt.get_or_insert(Doubt::PrinterSilent);
            }
            let ready = flight.is_some_and(|flight| flight.stage == Stage::Ready);
            actions.extend(job.ask(ready).map(Action::Commit));
        }
        let doubted = self.jobs.iter().any(|job| job.seen.doubted);
        if self.flight.is_none() && self.printer_id.is_some() && !doubted {
            let next = self.current().filter(|job| job.may_prepare()).map(|job| job.id);
            if let Some(id) = next {
                self.flight = Some(Flight { id, stage: Stage::Preparing, since_ms: now_ms });
                actions.push(Action::Prepare(job(id)));
            }
        }
    }
}

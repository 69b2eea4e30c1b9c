//! What the actor does about labels: the decisions are those of [`crate::print`], the bytes those of the label that
//! was committed, and nothing leaves before its commit.

use super::{Input, Pending, Report, Scanned, Station};
use crate::print::{Action, Came, Doubt, Jobs, PrintJob, Standing};
use lotgate_devices::event::{DeviceInfo, PrinterEvent, PrinterState, Written};
use lotgate_devices::printer::NetworkPrinter;
use lotgate_domain::ids::{Hash, OperationId};
use lotgate_domain::label::{self, ContainerLabel};
use lotgate_domain::operation::body::{Body, Element, LabelQueued, LabelState, ScanAccepted};
use lotgate_domain::text::Language;
use lotgate_sync::queue::{Appended, Draft};
use std::sync::Arc;

/// What people ask for of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrintRequest {
    /// A label for the lot of this scan, which was accepted.
    Print(OperationId),
    /// Another copy of a label that was not printed.
    Again(OperationId),
    /// Give up a job that waits.
    Cancel(OperationId),
    /// The answer to the one question.
    Answer {
        /// The job.
        job: OperationId,
        /// What came out.
        came: Came,
    },
    /// There is no good label of a job that was taken for printed.
    Doubt(OperationId),
    /// The person has seen what became of a job, and goes on.
    Leave(OperationId),
}

/// What becomes of a request: the person may have touched what was not so any more, or twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// It is done.
    Now,
    /// It was done already; the second touch of one tap is nothing new.
    Already,
    /// What was touched is gone.
    Gone,
}

/// What a label was asked for that waits for its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    scan: OperationId,
    of: Option<OperationId>,
}

/// What every label of this station says.
#[derive(Debug, Clone)]
pub struct LabelSource {
    /// Name of the station.
    pub station: String,
    /// Labels of training say so.
    pub training: bool,
    /// Language of the words.
    pub language: Language,
}

/// The print jobs, and the printer that they are for.
pub struct Printing {
    /// The jobs, with those of earlier runs.
    pub jobs: Jobs,
    /// The configured printer.
    pub printer: Option<(DeviceInfo, Arc<NetworkPrinter>)>,
    /// What every label says.
    pub source: LabelSource,
    /// The last scan that was accepted, which a label may be asked for.
    scan: Option<(OperationId, ScanAccepted)>,
    /// Labels that wait for their commit.
    asked: Vec<Asked>,
    /// The job whose label was scanned just now.
    read: Option<OperationId>,
}

/// The print jobs as a screen shows them.
#[derive(Debug, Clone)]
pub struct JobsShown {
    /// The open question; else the one whose label was scanned just now; else the first that has no good label, until
    /// it is copied or left; else the job in work; else the one that changed last.
    pub job: Option<PrintJob>,
    /// It is the open question.
    pub asked: bool,
    /// Why the job in work cannot leave, or why nothing is heard of it.
    pub blocked: Option<PrinterState>,
    /// It may be given up.
    pub may_cancel: bool,
    /// Another copy may be asked for.
    pub may_copy: bool,
    /// A person may say that there is no good label.
    pub may_doubt: bool,
    /// How many other jobs have not ended.
    pub behind: u32,
    /// It has no good label, and nobody asked for a copy or left it.
    pub owed: bool,
    /// Its label was scanned just now.
    pub read: bool,
    /// The job that was queued last, and the scan that its label was asked for.
    pub newest: Option<(OperationId, OperationId)>,
}

impl Printing {
    /// `jobs` with those of earlier runs folded and not started.
    #[must_use]
    pub const fn new(
        jobs: Jobs,
        printer: Option<(DeviceInfo, Arc<NetworkPrinter>)>,
        source: LabelSource,
    ) -> Self {
        Self { jobs, printer, source, scan: None, asked: Vec::new(), read: None }
    }

    fn shown(&self) -> JobsShown {
        let jobs = &self.jobs;
        let asked = jobs.question();
        let read = self.read.and_then(|id| jobs.get(id)).filter(|_| asked.is_none());
        let owed = jobs.owed().filter(|_| asked.is_none() && read.is_none());
        let shown = asked.or(read).or(owed).or_else(|| jobs.current()).or_else(|| jobs.last());
        let id = shown.map(|job| job.id);
        let is_in_work = id.is_some() && jobs.current().map(|job| job.id) == id;
        JobsShown {
            job: shown.cloned(),
            asked: asked.is_some(),
            blocked: jobs.blocked().filter(|_| is_in_work),
            may_cancel: id.is_some() && jobs.may_cancel() == id,
            may_copy: id.is_some_and(|id| jobs.copy_of(id).is_some()),
            may_doubt: id.is_some_and(|id| jobs.may_doubt(id)),
            behind: id.map_or(0, |id| jobs.behind(id)),
            owed: owed.is_some(),
            read: read.is_some(),
            newest: jobs.newest().map(|job| (job.id, job.label.scan)),
        }
    }

    /// Whether what a person asks for is still so.
    fn fits(&self, request: PrintRequest) -> Fit {
        let jobs = &self.jobs;
        let standing = |id| jobs.get(id).map(|job| job.standing);
        let fit = |now: bool, already: bool| match (already, now) {
            (true, _) => Fit::Already,
            (false, true) => Fit::Now,
            (false, false) => Fit::Gone,
        };
        match request {
            PrintRequest::Print(scan) => fit(
                self.scan.as_ref().is_some_and(|(last, _)| *last == scan),
                jobs.has_label(scan) || self.asked.iter().any(|asked| asked.scan == scan),
            ),
            PrintRequest::Again(of) => fit(
                jobs.copy_of(of).is_some(),
                jobs.has_copy(of) || self.asked.iter().any(|asked| asked.of == Some(of)),
            ),
            PrintRequest::Cancel(job) => {
                let gives_up = jobs.get(job).is_some_and(PrintJob::is_given_up);
                fit(jobs.may_cancel() == Some(job), gives_up)
            }
            PrintRequest::Answer { job, came } => {
                let asks = jobs.question().is_some_and(|asked| asked.id == job);
                fit(asks, jobs.get(job).is_some_and(|job| job.is_answered(came)))
            }
            PrintRequest::Doubt(job) => {
                let doubted = standing(job) == Some(Standing::Unknown(Doubt::OperatorDoubts));
                let doubts = jobs.get(job).is_some_and(PrintJob::is_doubted);
                fit(jobs.may_doubt(job), doubted || doubts)
            }
            PrintRequest::Leave(_) => Fit::Now,
        }
    }

    /// The commit of an operation returned.
    fn no_longer_asked(&mut self, body: &Body) {
        if let Body::LabelQueued(LabelQueued { scan, of, .. }) = body {
            let asked = Asked { scan: *scan, of: *of };
            if let Some(position) = self.asked.iter().position(|waits| *waits == asked) {
                self.asked.remove(position);
            }
        }
    }
}

impl Station {
    /// Does what a person asked for, if it is still so.
    pub(super) async fn requested(&mut self, request: PrintRequest, waiting: &mut Pending) {
        match self.printing.fits(request) {
            Fit::Already => return,
            Fit::Gone => {
                self.report(Report::Gone).await;
                return;
            }
            Fit::Now => self.printing.read = None,
        }
        match request {
            PrintRequest::Print(scan) => self.queue_label(scan, None, waiting).await,
            PrintRequest::Again(of) => {
                if let Some(scan) = self.printing.jobs.get(of).map(|job| job.label.scan) {
                    self.queue_label(scan, Some(of), waiting).await;
                }
            }
            PrintRequest::Cancel(job) => self.printed(Input::Cancelled(job), waiting).await,
            PrintRequest::Answer { job, came } => {
                self.printed(Input::Answered { job, came }, waiting).await;
            }
            PrintRequest::Doubt(job) => self.printed(Input::Doubted(job), waiting).await,
            PrintRequest::Leave(job) => {
                self.printing.jobs.leave(job);
                self.tell_jobs().await;
            }
        }
    }

    /// Makes a label and puts its job in line; or says why not.
    async fn queue_label(&mut self, scan: OperationId, of: Option<OperationId>, waiting: &mut Pending) {
        match self.compose_label(scan, of) {
            Ok(draft) => {
                self.printing.asked.push(Asked { scan, of });
                self.put(draft, None, None, waiting);
            }
            Err(code) => {
                self.report(Report::NoLabel(code)).await;
            }
        }
    }

    fn compose_label(&self, scan: OperationId, of: Option<OperationId>) -> Result<Draft, &'static str> {
        self.printing.jobs.admits().map_err(|refusal| refusal.code())?;
        let (printer, _) = self.printing.printer.as_ref().ok_or("no_printer")?;
        let known = self.known();
        let (item, lot, snapshot_lot, copy) = match of {
            Some(of) => {
                let copy = self.printing.jobs.copy_of(of).ok_or("label_unknown")?;
                let job = self.printing.jobs.get(of).ok_or("label_unknown")?;
                let LabelQueued { item, lot, snapshot_lot, .. } = &job.label;
                (item.clone(), lot.clone(), snapshot_lot.clone(), copy)
            }
            None => {
                let (_, accepted) =
                    self.printing.scan.as_ref().filter(|(id, _)| *id == scan).ok_or("label_unknown")?;
                let ScanAccepted { item, lot, snapshot_lot, .. } = accepted;
                (item.clone(), lot.clone(), snapshot_lot.clone(), 1)
            }
        };
        let snapshot = known.reference.as_ref().map(|reference| &*reference.snapshot);
        let master = snapshot.and_then(|snapshot| snapshot.item(&item));
        let gtin = master.and_then(|master| master.gtin.clone()).ok_or("label_needs_gtin")?;
        let mut random = [0u8; 8];
        self.random.fill(&mut random).map_err(|_| "no_random")?;
        let source = &self.printing.source;
        let zone = snapshot.map_or(jiff::tz::TimeZone::UTC, |snapshot| snapshot.zone.clone());
        let made = known.clock.wall.local(&zone);
        let label = ContainerLabel {
            name: master.and_then(|master| master.name.clone()).unwrap_or_else(|| item.clone()),
            item: item.clone(),
            gtin,
            lot: lot.clone(),
            expiry: snapshot_lot.expiry,
            serial: label::new_serial(random),
            station: source.station.clone(),
            made: format!("{} {} {}", made.date, made.time.get(..5).unwrap_or_default(), made.zone),
            copy,
            training: source.training,
            language: source.language,
        };
        let compiled = label.compile().map_err(|error| error.code())?;
        let body = Body::LabelQueued(LabelQueued {
            printer: crate::scan::body_device(printer),
            template: label::TEMPLATE.to_owned(),
            language: match source.language {
                Language::En => "en",
                Language::De => "de",
            }
            .to_owned(),
            scan,
            item,
            lot,
            snapshot_lot,
            serial: label.serial,
            copy,
            of,
            elements: compiled.elements.into_iter().map(|e| Element { ai: e.ai, value: e.value }).collect(),
            sha256: Hash::of(&compiled.zpl),
            bytes: u64::try_from(compiled.zpl.len()).unwrap_or(u64::MAX),
        });
        let mut draft = self.draft(body, &known);
        draft.blobs = vec![compiled.zpl];
        Ok(draft)
    }

    /// Takes in what happened to the print jobs, does what follows of it, and tells how they stand.
    pub(super) async fn printed(&mut self, input: Input<'_>, waiting: &mut Pending) {
        let quiet = matches!(input, Input::Tick);
        let actions = self.printing.jobs.handle(input, self.queue.clock().mono_ms);
        let nothing = actions.is_empty();
        self.act(actions, waiting).await;
        if !(quiet && nothing) {
            self.tell_jobs().await;
        }
    }

    /// An operation about a label is durable.
    pub(super) async fn committed(&mut self, appended: &Appended, body: &Body, waiting: &mut Pending) {
        self.printing.no_longer_asked(body);
        let input = Input::Committed { id: appended.id, at: appended.at.wall, body };
        self.printed(input, waiting).await;
    }

    /// An operation about a label was not kept.
    pub(super) async fn not_kept(&mut self, body: &Body, waiting: &mut Pending) {
        self.printing.no_longer_asked(body);
        if let Body::LabelState(state) = body {
            self.printed(Input::NotKept(state), waiting).await;
        }
    }

    /// A scan is durable: which job's label it was, and what a label may be asked for now. What the jobs make of it
    /// comes after the scan itself was told.
    pub(super) fn read(&mut self, id: OperationId, scanned: &mut Scanned) -> Vec<Element> {
        let (elements, accepted) = match &scanned.body {
            Body::ScanAccepted(scan) => (scan.elements.clone(), Some(scan.clone())),
            Body::ScanRefused(scan) => (scan.elements.clone(), None),
            _ => return Vec::new(),
        };
        // A label that is read proves that it was printed, whatever has become of its lot meanwhile.
        scanned.label_of = self.printing.jobs.job_read(&elements).filter(|_| accepted.is_some());
        self.printing.read = scanned.label_of;
        if let Some(scan) = accepted {
            self.printing.scan = Some((id, scan));
        }
        elements
    }

    pub(super) async fn act(&mut self, actions: Vec<Action>, waiting: &mut Pending) {
        for action in actions {
            match action {
                Action::Commit(state) => self.commit_state(state, waiting),
                Action::Prepare(job) => {
                    if let Some((_, printer)) = &self.printing.printer {
                        printer.prepare(job);
                    }
                }
                Action::Forget(job) => {
                    if let Some((_, printer)) = &self.printing.printer {
                        printer.forget(job);
                    }
                }
                Action::Send { job, sha256 } => {
                    let bytes = self.queue.blob(sha256).await.ok().flatten();
                    match (&self.printing.printer, bytes) {
                        (Some((_, printer)), Some(bytes)) => printer.send(job, bytes),
                        _ => {
                            let nothing = Input::Printer(PrinterEvent::Written(job, Written::Nothing));
                            Box::pin(self.printed(nothing, waiting)).await;
                        }
                    }
                }
            }
        }
    }

    fn commit_state(&self, state: LabelState, waiting: &mut Pending) {
        let mut draft = self.draft(Body::LabelState(state), &self.known());
        draft.finishes = true;
        self.put(draft, None, None, waiting);
    }

    pub(super) async fn tell_jobs(&self) {
        if self.printing.printer.is_some() {
            self.report(Report::Jobs(Box::new(self.printing.shown()))).await;
        }
    }
}

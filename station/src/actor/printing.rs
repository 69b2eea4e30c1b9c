//! What the actor does about labels: the decisions are those of [`crate::print`], the bytes those of the label that
//! was committed, and nothing leaves before its commit.

use super::{Input, Pending, Report, Scanned, Station};
use crate::print::{Action, Came, Jobs, PrintJob};
use lotgate_devices::event::{DeviceInfo, PrinterEvent, PrinterState, Written};
use lotgate_devices::printer::NetworkPrinter;
use lotgate_domain::ids::{Hash, OperationId};
use lotgate_domain::label::{self, ContainerLabel};
use lotgate_domain::operation::body::{Body, Element, LabelQueued, LabelState, ScanAccepted};
use lotgate_domain::text::Language;
use lotgate_sync::queue::{Appended, Draft};

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
    pub printer: Option<(DeviceInfo, NetworkPrinter)>,
    /// What every label says.
    pub source: LabelSource,
    /// The last scan that was accepted, which a label may be asked for.
    scan: Option<(OperationId, ScanAccepted)>,
}

/// The print jobs as a screen shows them.
#[derive(Debug, Clone)]
pub struct JobsShown {
    /// The open question, else the job in work, else the one that changed last.
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
}

impl Printing {
    /// `jobs` with those of earlier runs folded and not started.
    #[must_use]
    pub const fn new(jobs: Jobs, printer: Option<(DeviceInfo, NetworkPrinter)>, source: LabelSource) -> Self {
        Self { jobs, printer, source, scan: None }
    }

    fn shown(&self) -> JobsShown {
        let asked = self.jobs.question().map(|job| job.id);
        let current = self.jobs.current().or_else(|| self.jobs.last());
        let id = current.map(|job| job.id);
        JobsShown {
            job: current.cloned(),
            asked: id.is_some() && asked == id,
            blocked: self.jobs.blocked(),
            may_cancel: id.is_some() && self.jobs.may_cancel() == id,
            may_copy: id.is_some_and(|id| self.jobs.copy_of(id).is_some()),
            may_doubt: id.is_some_and(|id| self.jobs.may_doubt(id)),
            behind: id.map_or(0, |id| self.jobs.behind(id)),
        }
    }
}

impl Station {
    /// Does what a person asked for.
    pub(super) async fn requested(&mut self, request: PrintRequest, waiting: &mut Pending) {
        match request {
            PrintRequest::Print(scan) => self.queue_label(scan, None, waiting).await,
            PrintRequest::Again(of) => match self.printing.jobs.get(of).map(|job| job.label.scan) {
                Some(scan) => self.queue_label(scan, Some(of), waiting).await,
                None => {
                    self.report(Report::NoLabel("label_unknown")).await;
                }
            },
            PrintRequest::Cancel(job) => self.printed(Input::Cancelled(job), waiting).await,
            PrintRequest::Answer { job, came } => {
                self.printed(Input::Answered { job, came }, waiting).await;
            }
            PrintRequest::Doubt(job) => self.printed(Input::Doubted(job), waiting).await,
        }
    }

    /// Makes a label and puts its job in line; or says why not.
    async fn queue_label(&mut self, scan: OperationId, of: Option<OperationId>, waiting: &mut Pending) {
        match self.compose_label(scan, of) {
            Ok(draft) => {
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

    /// An operation is durable: what it means for labels.
    pub(super) async fn committed(
        &mut self,
        appended: &Appended,
        label: Option<&Body>,
        scanned: Option<&mut Scanned>,
        waiting: &mut Pending,
    ) {
        if let Some(body) = label {
            let input = Input::Committed { id: appended.id, at: appended.at.wall, body };
            self.printed(input, waiting).await;
        }
        let Some(scanned) = scanned else { return };
        // A label that is read proves that it was printed, whatever has become of its lot meanwhile.
        let elements = match &scanned.body {
            Body::ScanAccepted(scan) => scan.elements.clone(),
            Body::ScanRefused(scan) => scan.elements.clone(),
            _ => return,
        };
        let accepted = matches!(scanned.body, Body::ScanAccepted(_));
        scanned.label_of = self.printing.jobs.job_read(&elements).filter(|_| accepted);
        if let Body::ScanAccepted(scan) = &scanned.body {
            self.printing.scan = Some((appended.id, scan.clone()));
        }
        self.printed(Input::Scanned(&elements), waiting).await;
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

//! One print job: what its operations say, and what is known and not yet recorded.

use super::ATTEMPTS;
use lotgate_devices::event::{JobDoubt, PrinterEvent, Written};
use lotgate_domain::ids::OperationId;
use lotgate_domain::operation::body::{Element, JobState, LabelQueued, LabelState};
use lotgate_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The recorded cause of a label that came out and is no good.
const DAMAGED: &str = "damaged";

/// What shows how a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The printer's own status.
    StatusTransition,
    /// A scan of the label.
    VerifyScan,
    /// A person's word.
    Operator,
    /// The connection took no byte.
    NothingWritten,
}

impl Evidence {
    /// Every evidence.
    pub const ALL: [Self; 4] =
        [Self::StatusTransition, Self::VerifyScan, Self::Operator, Self::NothingWritten];

    /// The closed code, as recorded.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::StatusTransition => "status_transition",
            Self::VerifyScan => "verify_scan",
            Self::Operator => "operator",
            Self::NothingWritten => "nothing_written",
        }
    }

    fn read(code: Option<&str>) -> Option<Self> {
        Self::ALL.into_iter().find(|evidence| Some(evidence.code()) == code)
    }
}

/// Why nobody knows whether a job was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The connection broke before the printer showed anything.
    ConnectionLost,
    /// The printer gave no answer in time.
    PrinterSilent,
    /// Only a part of the label reached the connection.
    PartlySent,
    /// The station stopped while the label was at the printer.
    StationStopped,
    /// The queue was put back to an earlier state, or is damaged: what it says of the job may not be all.
    RecordIncomplete,
    /// It was taken for printed, and a person finds no good label.
    OperatorDoubts,
}

impl Doubt {
    /// Every doubt.
    pub const ALL: [Self; 6] = [
        Self::ConnectionLost,
        Self::PrinterSilent,
        Self::PartlySent,
        Self::StationStopped,
        Self::RecordIncomplete,
        Self::OperatorDoubts,
    ];

    /// The closed code, as recorded.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ConnectionLost => "connection_lost",
            Self::PrinterSilent => "printer_silent",
            Self::PartlySent => "partly_sent",
            Self::StationStopped => "station_stopped",
            Self::RecordIncomplete => "record_incomplete",
            Self::OperatorDoubts => "operator_doubts",
        }
    }

    /// Key of its sentence in the message catalogue.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::ConnectionLost => "job_unknown_connection_lost",
            Self::PrinterSilent => "job_unknown_printer_silent",
            Self::PartlySent => "job_unknown_partly_sent",
            Self::StationStopped => "job_unknown_station_stopped",
            Self::RecordIncomplete => "job_unknown_record_incomplete",
            Self::OperatorDoubts => "job_unknown_operator_doubts",
        }
    }

    fn read(code: Option<&str>) -> Option<Self> {
        Self::ALL.into_iter().find(|doubt| Some(doubt.code()) == code)
    }
}

impl From<JobDoubt> for Doubt {
    fn from(doubt: JobDoubt) -> Self {
        match doubt {
            JobDoubt::ConnectionLost => Self::ConnectionLost,
            JobDoubt::PrinterSilent => Self::PrinterSilent,
        }
    }
}

/// What a person finds at the printer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Came {
    /// One good label.
    One,
    /// Nothing.
    Nothing,
    /// A damaged label, a part of one, or more than one.
    Damaged,
}

/// Where a job stands, by its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing of it can have left.
    Waiting,
    /// From here on it may have been printed.
    Sending,
    /// Every byte was handed to the printer's connection.
    Sent,
    /// It was printed.
    Confirmed(Evidence),
    /// A person is asked.
    Unknown(Doubt),
    /// It was printed, as was said after the question.
    ResolvedPrinted(Evidence),
    /// It was not printed, and will not be.
    NotPrinted(Evidence),
    /// What came out is no good label, as a person said: damaged, or more than one.
    Damaged,
    /// It was given up before it left.
    Cancelled,
}

impl Standing {
    /// Whether the job has not ended.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Sending | Self::Sent | Self::Unknown(_))
    }
}

/// What is known and not recorded yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) written: Option<Written>,
    pub(super) confirmed: bool,
    pub(super) doubt: Option<Doubt>,
    pub(super) scanned: bool,
    pub(super) answer: Option<Came>,
    /// A person finds no good label.
    pub(super) doubted: bool,
    /// Given up, with the cause if it was not by a person.
    pub(super) cancel: Option<Option<&'static str>>,
}

impl Seen {
    /// Takes in what the printer told of the job's bytes; true for its last word.
    pub(super) fn printer(&mut self, event: PrinterEvent) -> bool {
        match event {
            PrinterEvent::Written(_, written) => {
                let written = *self.written.get_or_insert(written);
                written != Written::All
            }
            PrinterEvent::Confirmed(_) => {
                self.written = Some(Written::All);
                self.confirmed = true;
                true
            }
            PrinterEvent::Doubtful(_, doubt) => {
                self.doubt.get_or_insert(doubt.into());
                true
            }
            PrinterEvent::State(_) | PrinterEvent::Prepared(_) => false,
        }
    }
}

/// One print job: a `label.queued` with what became of it.
#[derive(Debug, Clone)]
pub struct PrintJob {
    /// Its id: that of its `label.queued`.
    pub id: OperationId,
    /// What stands on the label.
    pub label: LabelQueued,
    /// Where it stands.
    pub standing: Standing,
    /// The standings that it reached, with the wall clock, in order.
    pub reached: Vec<(Standing, Timestamp)>,
    attempts: u32,
    /// A state is being committed.
    pub(super) pending: Option<JobState>,
    /// Nothing is asked for before, by the monotonic clock in milliseconds.
    pub(super) rests_until_ms: Option<u64>,
    /// It was not printed, and a person knows and went on.
    pub(super) left: bool,
    pub(super) seen: Seen,
}

impl PrintJob {
    pub(super) fn new(id: OperationId, label: LabelQueued, at: Timestamp) -> Self {
        let (standing, reached) = (Standing::Waiting, vec![(Standing::Waiting, at)]);
        let (pending, rests_until_ms, left, seen) = (None, None, false, Seen::default());
        Self { id, label, standing, reached, attempts: 0, pending, rests_until_ms, left, seen }
    }

    /// How often `sending` was committed.
    pub(super) const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether its label was scanned after it was printed.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        matches!(
            self.standing,
            Standing::Confirmed(Evidence::VerifyScan) | Standing::ResolvedPrinted(Evidence::VerifyScan)
        )
    }

    /// Whether it ended without a good label.
    pub(super) const fn is_without_label(&self) -> bool {
        matches!(self.standing, Standing::NotPrinted(_) | Standing::Damaged)
    }

    /// As far as the record is whole, nothing leaves without an attempt.
    pub(super) const fn may_have_left(&self) -> bool {
        self.attempts > 0 || !matches!(self.standing, Standing::Waiting | Standing::Cancelled)
    }

    /// Goes to the state that was committed. A code that this program does not know was written by a later one; the
    /// state alone then says enough.
    pub(super) fn apply(&mut self, state: &LabelState, at: Timestamp) {
        let evidence = Evidence::read(state.evidence.as_deref());
        self.standing = match state.state {
            JobState::Sending => {
                self.attempts = self.attempts.saturating_add(1);
                self.seen = Seen::default();
                Standing::Sending
            }
            JobState::Sent => Standing::Sent,
            JobState::Confirmed => Standing::Confirmed(evidence.unwrap_or(Evidence::StatusTransition)),
            JobState::Unknown => {
                let doubt = Doubt::read(state.cause.as_deref());
                Standing::Unknown(doubt.unwrap_or(Doubt::StationStopped))
            }
            JobState::ResolvedPrinted => Standing::ResolvedPrinted(evidence.unwrap_or(Evidence::Operator)),
            JobState::ResolvedNotPrinted => match evidence.unwrap_or(Evidence::Operator) {
                Evidence::NothingWritten if self.attempts < ATTEMPTS => Standing::Waiting,
                Evidence::Operator if state.cause.as_deref() == Some(DAMAGED) => Standing::Damaged,
                evidence => Standing::NotPrinted(evidence),
            },
            JobState::Cancelled => Standing::Cancelled,
        };
        if self.standing == Standing::Waiting {
            self.seen = Seen::default();
        }
        // What a person said is recorded by now, or has no object any more.
        (self.seen.doubted, self.seen.answer, self.left) = (false, None, false);
        self.reached.push((self.standing, at));
    }

    /// The station stopped and began again. `overtaken`: jobs that were queued behind it have left.
    pub(super) fn restarted(&mut self, elsewhere: bool, overtaken: bool) {
        match self.standing {
            Standing::Sending | Standing::Sent => self.seen.doubt = Some(Doubt::StationStopped),
            // The run before did not know of it: its append was of unknown outcome, and a person may have acted since.
            Standing::Waiting if overtaken => self.seen.doubt = Some(Doubt::RecordIncomplete),
            Standing::Waiting if elsewhere => self.seen.cancel = Some(Some("printer_changed")),
            _ => {}
        }
    }

    pub(super) fn asks(&self) -> bool {
        let open = matches!(self.standing, Standing::Unknown(_)) && self.pending.is_none();
        open && self.seen.answer.is_none() && !self.seen.scanned
    }

    pub(super) fn may_cancel(&self) -> bool {
        let Seen { cancel, doubt, .. } = &self.seen;
        let waits = self.standing == Standing::Waiting && self.pending.is_none();
        waits && cancel.is_none() && doubt.is_none()
    }

    /// Whether a person may say that there is no good label: it was taken for printed, and nobody read it.
    pub(super) fn may_doubt(&self) -> bool {
        let printed = matches!(self.standing, Standing::Confirmed(_) | Standing::ResolvedPrinted(_));
        printed && !self.is_read() && self.pending.is_none() && !self.seen.scanned && !self.seen.doubted
    }

    /// Whether a person doubts it and the record does not say so yet.
    #[must_use]
    pub const fn is_doubted(&self) -> bool {
        self.seen.doubted
    }

    /// Whether a person gave it up, recorded or not.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.standing == Standing::Cancelled || self.seen.cancel.is_some()
    }

    /// Whether a person answered so, recorded or not.
    #[must_use]
    pub fn is_answered(&self, came: Came) -> bool {
        let recorded = match self.standing {
            Standing::ResolvedPrinted(Evidence::Operator) => Some(Came::One),
            Standing::NotPrinted(Evidence::Operator) => Some(Came::Nothing),
            Standing::Damaged => Some(Came::Damaged),
            _ => None,
        };
        recorded.or(self.seen.answer) == Some(came)
    }

    pub(super) fn may_prepare(&self) -> bool {
        self.may_cancel() && self.rests_until_ms.is_none()
    }

    /// Whether a scan read the code of this label: serials are unique within an item's number.
    pub(super) fn is_named_by(&self, elements: &[Element]) -> bool {
        let value = |elements: &[Element], ai: &str| {
            elements.iter().find(|element| element.ai == ai).map(|element| element.value.clone())
        };
        ["01", "21"].iter().all(|ai| {
            let own = value(&self.label.elements, ai);
            own.is_some() && own == value(elements, ai)
        })
    }

    /// The state that is to be committed now, if any. `ready`: the printer is ready for this job.
    pub(super) fn ask(&mut self, ready: bool) -> Option<LabelState> {
        if self.pending.is_some() || self.rests_until_ms.is_some() {
            return None;
        }
        let (state, evidence, cause) = self.due(ready)?;
        self.pending = Some(state);
        let evidence = evidence.map(|evidence| evidence.code().to_owned());
        Some(LabelState { job: self.id, state, evidence, cause: cause.map(str::to_owned) })
    }

    fn due(&self, ready: bool) -> Option<(JobState, Option<Evidence>, Option<&'static str>)> {
        use JobState::{Cancelled, Confirmed, ResolvedNotPrinted, ResolvedPrinted, Sending, Sent, Unknown};
        let Seen { written, confirmed, doubt, scanned, answer, doubted, cancel } = &self.seen;
        let unknown = |doubt: Doubt| (Unknown, None, Some(doubt.code()));
        let proven = |state| (state, Some(Evidence::VerifyScan), None);
        match self.standing {
            Standing::Waiting => match (doubt, cancel) {
                (Some(doubt), _) => Some(unknown(*doubt)),
                (None, Some(cause)) => Some((Cancelled, None, *cause)),
                (None, None) => ready.then_some((Sending, None, None)),
            },
            Standing::Sending => match written {
                Some(Written::Nothing) => Some((ResolvedNotPrinted, Some(Evidence::NothingWritten), None)),
                Some(Written::Partial) => Some(unknown(doubt.unwrap_or(Doubt::PartlySent))),
                Some(Written::All) => Some((Sent, None, None)),
                None => doubt.map(unknown),
            },
            Standing::Sent if *scanned => Some(proven(Confirmed)),
            Standing::Sent if *confirmed => Some((Confirmed, Some(Evidence::StatusTransition), None)),
            Standing::Sent => doubt.map(unknown),
            // A scan of the label outweighs what anybody said, before or after. It is recorded of a printed label too:
            // only then is it known to be readable, and a printer that loses labels is not believed alone (LBL-6).
            Standing::Unknown(_) | Standing::NotPrinted(_) | Standing::Damaged if *scanned => {
                Some(proven(ResolvedPrinted))
            }
            Standing::Confirmed(by) if *scanned && by != Evidence::VerifyScan => Some(proven(Confirmed)),
            Standing::ResolvedPrinted(by) if *scanned && by != Evidence::VerifyScan => {
                Some(proven(ResolvedPrinted))
            }
            Standing::Confirmed(_) | Standing::ResolvedPrinted(_) if *doubted => {
                Some(unknown(Doubt::OperatorDoubts))
            }
            Standing::Unknown(_) => answer.map(|came| {
                let (state, cause) = match came {
                    Came::One => (ResolvedPrinted, None),
                    Came::Nothing => (ResolvedNotPrinted, None),
                    Came::Damaged => (ResolvedNotPrinted, Some(DAMAGED)),
                };
                (state, Some(Evidence::Operator), cause)
            }),
            Standing::Confirmed(_)
            | Standing::ResolvedPrinted(_)
            | Standing::NotPrinted(_)
            | Standing::Damaged
            | Standing::Cancelled => None,
        }
    }
}

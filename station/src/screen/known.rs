//! What a screen is composed from: the station's state as the window's thread knows it. Plain values; whoever gathers
//! them is `kiosk`.

use super::{DemoCode, ScreenLanguage};
use crate::print::PrintJob;
use jiff::tz::TimeZone;
use lotgate_devices::event::{DeviceState, PrinterState};
use lotgate_domain::ids::OperationId;
use lotgate_domain::operation::body::{Element, SnapshotLot};
use lotgate_domain::time::Timestamp;
use lotgate_sync::queue::QueueState;
use lotgate_sync::runner::{Reference, SyncStatus};
use std::collections::BTreeSet;

/// Id of the codes to touch: no scanner, and the record says so.
pub const DEMO_TRAY: &str = "demo";

/// Everything that a screen says.
#[derive(Debug, Clone)]
pub struct Known {
    /// Language of the words.
    pub language: ScreenLanguage,
    /// Wall clock, which is what the screen shows.
    pub now: Timestamp,
    /// Zone of the site; the machine's before enrolment.
    pub zone: TimeZone,
    /// What the program does.
    pub phase: Phase,
    /// What the person looks at.
    pub page: Page,
    /// The last thing that happened.
    pub act: Act,
    /// Goes up with each act that has a sound.
    pub sound: u64,
    /// Goes up with each new alarm of the station.
    pub alarm_sound: u64,
}

/// What the program does.
#[derive(Debug, Clone)]
pub enum Phase {
    /// It begins.
    Starting,
    /// It waits to be enrolled.
    Enrol(EnrolNow),
    /// It works.
    Works(Box<Works>),
    /// It cannot work.
    Fault(FaultNow),
}

/// What the person looks at. A question about a label goes before every page but that of the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Page {
    /// Scanning.
    #[default]
    Scan,
    /// The label in work.
    Label,
    /// Queue and devices.
    Devices,
}

/// A machine that waits to be enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnrolNow {
    /// The cloud.
    pub server: Option<String>,
    /// How many characters of a token there are.
    pub typed: usize,
    /// The root key's fingerprint, once the token is whole.
    pub fingerprint: Option<String>,
    /// The request is under way.
    pub working: bool,
    /// The keyboard is open.
    pub keyboard: bool,
    /// The scanners.
    pub devices: Vec<DeviceNow>,
}

/// A program that cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultNow {
    /// Key of the catalogue.
    pub code: &'static str,
    /// Particulars for IT.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
}

/// A station at work.
#[derive(Debug, Clone)]
pub struct Works {
    /// Name of the station.
    pub station: String,
    /// Name of the site.
    pub site: String,
    /// It records training only.
    pub training: bool,
    /// Where its device secret lies, as `doctor` says it.
    pub key_protection: &'static str,
    /// Version of the program.
    pub version: String,
    /// The queue.
    pub queue: QueueState,
    /// The way to the cloud.
    pub sync: SyncStatus,
    /// Since when the cloud is away.
    pub away_since: Option<Timestamp>,
    /// State of the wall clock.
    pub clock: lotgate_domain::operation::Clock,
    /// The reference data.
    pub reference: Option<Reference>,
    /// Milliseconds since it was known to be the newest.
    pub reference_age_ms: u64,
    /// The time by which expiry is judged.
    pub effective_now: Timestamp,
    /// The scanners.
    pub devices: Vec<DeviceNow>,
    /// The printer, where one is configured.
    pub printer: Option<PrinterNow>,
    /// The print job that the person sees: the open question, else the one in work or the last.
    pub job: Option<JobNow>,
    /// Codes to touch.
    pub demo: Vec<DemoCode>,
}

impl Works {
    /// Codes of everything that needs a person: of the queue and of its care by the cloud.
    #[must_use]
    pub fn alarms(&self) -> BTreeSet<&str> {
        let own = self.queue.alarms.iter().map(|alarm| alarm.as_str());
        self.sync.alarms.iter().map(String::as_str).chain(own).collect()
    }
}

/// A print job as the person sees it.
#[derive(Debug, Clone)]
pub struct JobNow {
    /// The job.
    pub job: PrintJob,
    /// It is the open question.
    pub asked: bool,
    /// Why it cannot leave, or why nothing is heard of it.
    pub blocked: Option<PrinterState>,
    /// It can be given up.
    pub may_cancel: bool,
    /// Another copy may be asked for.
    pub may_copy: bool,
    /// It was printed, nobody read it yet, and a person may say that there is no good label.
    pub may_doubt: bool,
    /// How many other jobs have not ended.
    pub behind: u32,
    /// Its label as a picture: PNG in base64; empty where the bytes are not here any more.
    pub preview: String,
    /// What its label says.
    pub words: String,
}

/// A scanner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNow {
    /// Its stable id.
    pub id: String,
    /// Its configured name.
    pub name: Option<String>,
    /// Which of its kind it is, from 1.
    pub number: usize,
    /// Its state.
    pub state: DeviceState,
    /// No real hardware.
    pub simulated: bool,
    /// When it last said anything.
    pub heard: Option<Timestamp>,
}

/// The printer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrinterNow {
    /// Its stable id.
    pub id: String,
    /// Its configured name.
    pub name: Option<String>,
    /// Its state.
    pub state: PrinterState,
    /// No real hardware.
    pub simulated: bool,
    /// When it last answered.
    pub heard: Option<Timestamp>,
}

/// The last thing that happened, for the band; it stays until the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing yet.
    None,
    /// A scan was stored, accepted or refused.
    Scan(Box<ScanAct>),
    /// An operation could not be stored.
    NotKept {
        /// Key of the catalogue.
        code: &'static str,
        /// When.
        at: Timestamp,
    },
    /// A scanner went away or cannot be opened.
    DeviceAway {
        /// Its id.
        id: String,
        /// Its code.
        code: &'static str,
        /// When.
        at: Timestamp,
    },
    /// A scanner lost something.
    DeviceFault {
        /// Its id.
        id: String,
        /// Key of the catalogue.
        code: &'static str,
        /// When.
        at: Timestamp,
    },
    /// The print job came to another state; the job itself says which.
    Job,
    /// The scan of the label that was printed.
    LabelRead(Box<ScanAct>),
    /// A label could not be made.
    NoLabel {
        /// Key of the catalogue.
        code: &'static str,
        /// When.
        at: Timestamp,
    },
    /// What was touched is not so any more, and nothing was done.
    Gone {
        /// When.
        at: Timestamp,
    },
    /// A whole token is here.
    TokenRead,
    /// What was scanned or typed is no token.
    NoToken {
        /// When.
        at: Timestamp,
    },
    /// Enrolment failed.
    EnrolFailed {
        /// Key of the catalogue.
        code: &'static str,
        /// When.
        at: Timestamp,
    },
    /// The machine is a station now.
    Enrolled,
}

/// A scan that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanAct {
    /// Why it was refused.
    pub refusal: Option<&'static str>,
    /// Its operation.
    pub id: OperationId,
    /// Position in the epoch.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The scanner's id.
    pub device: String,
    /// What was read, as text.
    pub text: String,
    /// Symbology.
    pub symbology: String,
    /// Kind of content.
    pub kind: String,
    /// The elements.
    pub elements: Vec<Element>,
    /// The item that was recognised.
    pub item: Option<String>,
    /// The lot that was recognised.
    pub lot: Option<String>,
    /// What was known of it.
    pub snapshot_lot: Option<SnapshotLot>,
    /// Cursor of the reference data that it was decided on; none if there was none.
    pub snapshot: Option<u64>,
    /// How often the same refusal was scanned again.
    pub repeats: u32,
    /// A label can be made for it.
    pub can_print: bool,
}

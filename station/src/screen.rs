//! What the window shows: one value, made anew from the station's state, which the ui draws and nothing else
//! (DESIGN §7). Words are keys of the message catalogue with their values, so that the language is the ui's.
//!
//! The TypeScript types in `ui/src/backend/types.ts` are made from these (`types::tests`).

mod band;
mod compose;
mod devices;
mod known;
mod label;
mod scan;
#[cfg(test)]
mod types;

pub use compose::compose;
pub(crate) use compose::is_away;
pub use known::{
    Act, DEMO_TRAY, DeviceNow, EnrolNow, FaultNow, JobNow, Known, Page, Phase, PrinterNow, ScanAct, Works,
};

pub use crate::print::Came;

use lotgate_domain::ids::OperationId;
use lotgate_domain::text::Language;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A sentence or word of the message catalogue. `{name}` in it stands for `values[name]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Text {
    /// Key of the catalogue.
    pub key: String,
    /// What is filled in, as it is written; counts are digits under the name `n`. Dates are `YYYY-MM-DD` under the
    /// name `date`, or after a time and a comma under the name `time`: a lot may look like a date and must not be
    /// rewritten.
    pub values: BTreeMap<String, String>,
}

impl Text {
    /// The sentence of `key`.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self { key: key.to_owned(), values: BTreeMap::new() }
    }

    /// With `value` filled in for `{name}`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// What stands for itself in every language: a number, a lot, a name.
    #[must_use]
    pub fn plain(value: impl ToString) -> Self {
        Self::of("plain").with("value", value)
    }

    /// A date, which every language writes in its own way.
    #[must_use]
    pub fn date(date: jiff::civil::Date) -> Self {
        Self::of("plain").with("date", date)
    }
}

/// Language of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum ScreenLanguage {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

impl From<ScreenLanguage> for Language {
    fn from(language: ScreenLanguage) -> Self {
        match language {
            ScreenLanguage::En => Self::En,
            ScreenLanguage::De => Self::De,
        }
    }
}

/// One whole screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Screen {
    /// Goes up with each screen of one run of the program; the ui tells it back when it is painted.
    #[cfg_attr(test, ts(type = "number"))]
    pub revision: u64,
    /// Its language.
    pub language: ScreenLanguage,
    /// The bar on top, always there.
    pub top: Top,
    /// The bar below it, while the cloud is away.
    pub offline: Option<Offline>,
    /// The one place where the station speaks.
    pub band: Band,
    /// The question.
    pub main: Main,
    /// The bar at the bottom, from left to right.
    pub actions: Vec<Action>,
    /// What needs a person whatever is on the screen, at the action that leads to it.
    pub alarm: Alarm,
    /// Codes to touch, in a demonstration only.
    pub demo: Vec<DemoCode>,
}

/// The bar on top.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Top {
    /// Name of the station; none before it is enrolled.
    pub station: Option<String>,
    /// Name of its site.
    pub site: Option<String>,
    /// It records training, never real work.
    pub training: bool,
    /// Its configured devices are simulated.
    pub simulated: bool,
    /// Local date, `YYYY-MM-DD`.
    pub date: String,
    /// Local time, `HH:MM`.
    pub time: String,
    /// Abbreviation of the zone.
    pub zone: String,
    /// The way to the cloud, in one word: `net_online`, `net_connecting`, `net_offline`, `net_trouble`, `net_paused`, `net_none`.
    pub network: Text,
    /// The network is away.
    pub offline: bool,
    /// How many operations wait for the cloud's receipt.
    #[cfg_attr(test, ts(type = "number"))]
    pub waiting: u64,
    /// Age of the oldest of them, with its unit: `age_s`, `age_min`, `age_h`, `age_d`, value `n`.
    pub oldest: Option<Text>,
}

/// While the cloud is away: since when, what is safe here, what still works, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Offline {
    /// Why, with the time since when.
    pub since: Text,
    /// How much is safe here.
    pub safe: Text,
    /// What still works.
    pub works: Text,
    /// What to do.
    pub todo: Text,
}

/// State of the band (RULES.md, States).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum BandState {
    /// It asks for the next act.
    Asks,
    /// Something was stored.
    Accepted,
    /// An interlock said no.
    Refused,
    /// Only a person can decide or act.
    NeedsYou,
    /// A device, clock, disk or key store fails.
    Fault,
}

/// What the station says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Band {
    /// State: icon, colour and word.
    pub state: BandState,
    /// Goes up when the state's sound is due; a screen with the same number is silent.
    #[cfg_attr(test, ts(type = "number"))]
    pub sound: u64,
    /// What happened.
    pub title: Text,
    /// Why, or what to do.
    pub sentence: Text,
    /// What was read, from which device, when.
    pub echo: Option<Echo>,
}

/// The right side of the band.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Echo {
    /// What it is: read, since.
    pub label: Text,
    /// The text that was read, control characters visible as their symbols.
    pub code: String,
    /// Symbology, device and time.
    pub detail: Text,
}

/// What needs a person and is no act: it stays until it is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Alarm {
    /// The word of what presses most; none while nothing does.
    pub word: Option<Text>,
    /// How many more there are.
    pub more: u32,
    /// Goes up with each new one, whose sound is then due.
    #[cfg_attr(test, ts(type = "number"))]
    pub sound: u64,
}

/// The question, by screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Main {
    /// The program begins.
    Starting,
    /// This machine is no station yet.
    Enrol(Enrol),
    /// What may be scanned, and what was.
    Scan(Scan),
    /// A label and its print job.
    Label(Label),
    /// Queue and devices.
    Devices(Devices),
    /// The station cannot work.
    Fault(FaultView),
}

/// Enrolment by a token that is scanned or typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Enrol {
    /// The cloud that it would enrol at.
    pub server: Option<String>,
    /// How many characters of a token were given; the token itself is a secret.
    pub typed: u32,
    /// Fingerprint of the root key that a whole token names, in groups of four, to compare with the qualification record.
    pub fingerprint: Option<String>,
    /// The request is under way.
    pub working: bool,
    /// The page of the keyboard is open.
    pub keyboard: bool,
}

/// The scan screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Scan {
    /// The last scan, until the next act.
    pub result: Option<ScanResult>,
    /// Lots that are known, in order of use, as many as fit.
    pub lots: Vec<LotRow>,
    /// How many more there are.
    pub more_lots: u32,
    /// How old that knowledge is; says so if there is none.
    pub as_of: Text,
}

/// What a scan came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ScanResult {
    /// It was accepted.
    pub accepted: bool,
    /// The lot that was recognised.
    pub lot: Option<String>,
    /// Its item, name or code.
    pub item: Option<String>,
    /// Every check and what it found, in order.
    pub checks: Vec<CheckRow>,
    /// A sentence about the record: number of the operation.
    pub recorded: Text,
}

/// One check of a scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CheckRow {
    /// What was checked: `check_code`, `check_item`, `check_lot`, `check_status`, `check_expiry`.
    pub check: Text,
    /// What was expected.
    pub expected: Text,
    /// What was read or is known.
    pub found: Text,
    /// It holds; none: not reached.
    pub holds: Option<bool>,
}

/// A lot of the reference data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LotRow {
    /// Its number.
    pub lot: String,
    /// Its item, name or code.
    pub item: String,
    /// Expiry, or that there is none.
    pub expiry: Text,
    /// Why it may not be used: `lot_chip_held`, …; none if it may.
    pub blocked: Option<Text>,
}

/// The label screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Label {
    /// The label as a PNG picture, base64, drawn from the very bytes for the printer.
    pub preview: String,
    /// Width and height on paper.
    pub size: Text,
    /// What it says, for whoever cannot see the picture.
    pub words: String,
    /// Name of the printer.
    pub printer: String,
    /// Title: original or which copy.
    pub title: Text,
    /// The job's way, in order.
    pub steps: Vec<JobStep>,
    /// Bytes and hash.
    pub record: Text,
    /// How many labels wait behind this one; none if none does.
    pub behind: Option<Text>,
    /// The answers to the one question, instead of the steps; empty while there is none.
    pub answers: Vec<Answer>,
}

/// An answer to the question whether a label was printed: a large button of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Answer {
    /// What it says.
    pub title: Text,
    /// What comes next.
    pub sentence: Text,
    /// Name of the icon (lucide).
    pub icon: String,
    /// What touching it asks for.
    pub request: Request,
}

/// A step of a print job's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct JobStep {
    /// Its word.
    pub title: Text,
    /// What it means.
    pub sentence: Text,
    /// Local time, `HH:MM:SS`, once it was reached.
    pub at: Option<String>,
    /// How it stands.
    pub state: StepState,
}

/// How a step of a print job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum StepState {
    /// Reached.
    Done,
    /// Under way.
    Now,
    /// Waits for a person.
    NeedsYou,
    /// A device holds it up.
    Fault,
    /// Not reached.
    Open,
}

/// The screen of queue and devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Devices {
    /// Scanners, printers, clock, key store, disk.
    pub rows: Vec<DeviceRow>,
    /// Operations that wait for the network.
    #[cfg_attr(test, ts(type = "number"))]
    pub waiting: u64,
    /// Sent, not receipted.
    #[cfg_attr(test, ts(type = "number"))]
    pub sent: u64,
    /// Under a verified receipt.
    #[cfg_attr(test, ts(type = "number"))]
    pub settled: u64,
    /// Network: since when, or when the next attempt is.
    pub network: Text,
    /// Facts: last receipt, checkpoint, snapshot, program.
    pub facts: Vec<Fact>,
    /// What needs a person, as sentences.
    pub alarms: Vec<Text>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct DeviceRow {
    /// Its name.
    pub name: Text,
    /// Port, address, or how it is kept.
    pub detail: Text,
    /// Local time when it was last heard, with its date if that was not today.
    pub heard: Option<Text>,
    /// One or two words.
    pub state: Text,
    /// How that is marked.
    pub mark: Mark,
}

/// How a standing state is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Mark {
    /// As it should be.
    Ready,
    /// Only a person can act.
    NeedsYou,
    /// It fails.
    Fault,
    /// The network is away.
    Offline,
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Fact {
    /// Name.
    pub name: Text,
    /// Value.
    pub value: Text,
}

/// The station cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct FaultView {
    /// Closed code.
    pub code: String,
    /// What happened, why, what to do.
    pub sentence: Text,
    /// Particulars for IT.
    pub detail: String,
    /// What was lost (nothing) and what goes on.
    pub safe: Text,
}

/// A place of the bar at the bottom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Action {
    /// What it says.
    pub label: Text,
    /// Name of the icon (lucide).
    pub icon: String,
    /// Where it stands.
    pub place: Place,
    /// What touching it asks for; none for a slot that waits for a scan, or for something else.
    pub request: Option<Request>,
}

/// Where an action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Place {
    /// Far left.
    Back,
    /// In the middle.
    Middle,
    /// Far right, in ink.
    Primary,
    /// Far right, dashed: the next act is a scan.
    ScanSlot,
    /// Far right, dashed: it waits for something.
    Waits,
}

/// A code to touch in a demonstration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct DemoCode {
    /// What it is.
    pub label: String,
    /// Its number for [`Request::DemoScan`].
    pub number: u32,
}

/// What a person asks the station for by touching the screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Request {
    /// Open or close the keyboard for a token.
    Keyboard {
        /// Open.
        open: bool,
    },
    /// One key of the keyboard.
    Key {
        /// The character.
        key: String,
    },
    /// Take the last character back.
    Erase,
    /// Take everything back that was typed or scanned of a token.
    Discard,
    /// Enrol with the token that is there.
    Enrol,
    /// Print a label for the lot that was accepted.
    PrintLabel {
        /// The scan that accepted it, as shown.
        #[cfg_attr(test, ts(type = "string"))]
        scan: OperationId,
    },
    /// Give the job up that waits for its printer.
    CancelPrint {
        /// The job, as shown.
        #[cfg_attr(test, ts(type = "string"))]
        job: OperationId,
    },
    /// Answer the one question: did the label come out?
    Printed {
        /// The job that was asked about, as shown.
        #[cfg_attr(test, ts(type = "string"))]
        job: OperationId,
        /// What came out.
        came: Came,
    },
    /// Print another copy of the label that was not printed.
    PrintAgain {
        /// The job of that label, as shown.
        #[cfg_attr(test, ts(type = "string"))]
        job: OperationId,
    },
    /// The label that the printer says it printed is not there, or no good.
    DoubtLabel {
        /// Its job, as shown.
        #[cfg_attr(test, ts(type = "string"))]
        job: OperationId,
    },
    /// Show queue and devices.
    ShowDevices,
    /// Back to the scan screen.
    ShowScan,
    /// Try the cloud now.
    TryNow,
    /// Another language.
    Language {
        /// Which.
        language: ScreenLanguage,
    },
    /// Begin again after a fault.
    Restart,
    /// Scan a code of the demonstration.
    DemoScan {
        /// Which.
        number: u32,
    },
}

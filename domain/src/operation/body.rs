//! What happened: the closed list of bodies (PROTOCOL §9.4, §9.6).

use crate::canonical;
use crate::ids::{Epoch, Hash, OperationId};
use crate::reference::LotStatus;
use crate::time::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of an operation, told apart by its member `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Body {
    /// First entry of epoch 1.
    #[serde(rename = "station.enrolled")]
    StationEnrolled {
        /// Hash of the station's certificate.
        certificate: Hash,
        /// Where the device secret lies, as `doctor` shows it.
        key_protection: String,
    },
    /// First entry of every later epoch.
    #[serde(rename = "epoch.opened")]
    EpochOpened {
        /// Closed code: why the last epoch could not go on.
        reason: String,
        /// The last entry known of it.
        last: Option<ChainPoint>,
        /// What the rollback anchor said.
        anchor: Option<ChainPoint>,
    },
    /// A scan that named a lot which may be used.
    #[serde(rename = "scan.accepted")]
    ScanAccepted(ScanAccepted),
    /// A scan that was refused; the refusal is a fact, too (SCN-4).
    #[serde(rename = "scan.refused")]
    ScanRefused(ScanRefused),
    /// Identical refused scans after the first (PROTOCOL §2, Capacity).
    #[serde(rename = "scan.repeated")]
    ScanRepeated {
        /// The refusal that was repeated.
        of: OperationId,
        /// How many more times.
        count: u64,
        /// Wall clock of the last.
        last_at: Timestamp,
    },
    /// A label was made and waits for its printer: the print job, named by this operation's id (LBL-3).
    #[serde(rename = "label.queued")]
    LabelQueued(LabelQueued),
    /// The print job came to another state (LBL-4).
    #[serde(rename = "label.state")]
    LabelState(LabelState),
}

/// A point of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainPoint {
    /// Epoch.
    pub epoch: Epoch,
    /// Position in it.
    pub seq: u64,
    /// Hash of the entry there.
    pub hash: Hash,
}

/// The device that read a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The configured role: `scanner`, `printer`.
    pub role: String,
    /// `serial`, `hid`, `tcp`.
    pub transport: String,
    /// Stable identity: USB ids and serial number, or the configured port.
    pub id: String,
    /// No real hardware: a pseudo-terminal or a simulator.
    pub simulated: bool,
}

/// One element of a barcode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Element {
    /// GS1 application identifier.
    pub ai: String,
    /// Its value.
    pub value: String,
}

/// What the reference data said of a lot at the moment of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotLot {
    /// Release status.
    pub status: LotStatus,
    /// Last day on which the lot may be used.
    pub expiry: Option<Date>,
}

/// Body of `scan.accepted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanAccepted {
    /// Who read it.
    pub device: Device,
    /// Every byte of the frame, AIM identifier included, in lower-case hex.
    pub raw: String,
    /// AIM identifier, as sent.
    pub aim: Option<String>,
    /// Symbology.
    pub symbology: String,
    /// Kind of content.
    pub kind: String,
    /// The elements read.
    pub elements: Vec<Element>,
    /// The item of the lot.
    pub item: String,
    /// The lot.
    pub lot: String,
    /// What was known of the lot.
    pub snapshot_lot: SnapshotLot,
}

/// Body of `scan.refused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRefused {
    /// Who read it.
    pub device: Device,
    /// Every byte of the frame, AIM identifier included, in lower-case hex.
    pub raw: String,
    /// AIM identifier, as sent.
    pub aim: Option<String>,
    /// Symbology.
    pub symbology: String,
    /// Kind of content.
    pub kind: String,
    /// The elements read.
    pub elements: Vec<Element>,
    /// The item, where one was recognised.
    pub item: Option<String>,
    /// The lot, where one was recognised.
    pub lot: Option<String>,
    /// What was known of the lot, where one was recognised.
    pub snapshot_lot: Option<SnapshotLot>,
    /// Why: a code of the message catalogue.
    pub code: String,
}

/// Body of `label.queued`: one physical label, with everything that stands on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelQueued {
    /// The printer that it waits for; role `printer`.
    pub printer: Device,
    /// Name and version of the typed template.
    pub template: String,
    /// Language of its words: `en`, `de`.
    pub language: String,
    /// The scan whose lot it names.
    pub scan: OperationId,
    /// The item.
    pub item: String,
    /// The lot.
    pub lot: String,
    /// What was known of the lot.
    pub snapshot_lot: SnapshotLot,
    /// Serial of the container, unique: AI 21.
    pub serial: String,
    /// 1 for the original, 2 for the first copy, …
    pub copy: u64,
    /// The job that this label replaces, for a copy.
    pub of: Option<OperationId>,
    /// What the two-dimensional code says.
    pub elements: Vec<Element>,
    /// SHA-256 of the bytes for the printer; they are kept as a blob.
    pub sha256: Hash,
    /// How many bytes.
    pub bytes: u64,
}

/// The states of a print job that are recorded (LBL-4); the job waits until the first of them. What happens between
/// two of them needs no record: nothing can have been printed by it. A job is never sent by itself after any state but
/// `label.queued` and [`ResolvedNotPrinted`](Self::ResolvedNotPrinted) with evidence `nothing_written`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Committed before the first byte leaves: from here on something may have been printed.
    Sending,
    /// Every byte was handed to the printer's connection.
    Sent,
    /// The printer, or a scan of the label, showed that it was printed; the evidence says which.
    Confirmed,
    /// Nobody knows whether it was printed: a person is asked.
    Unknown,
    /// A person, or a scan of the label, said that it was printed.
    ResolvedPrinted,
    /// There is no good label. A person said so (`operator`), and it is over: another label is a copy, a job of its own.
    /// Or the connection showed that no byte of this attempt left (`nothing_written`): then the same job may be sent
    /// again, with a new `sending`, up to the number of attempts that the station makes.
    ResolvedNotPrinted,
    /// Given up before any byte left: by a person, or, with a cause, by the station.
    Cancelled,
}

/// Body of `label.state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelState {
    /// The print job: id of its `label.queued`.
    pub job: OperationId,
    /// Where it stands now.
    pub state: JobState,
    /// What shows it, as a closed code: `status_transition`, `verify_scan`, `operator`, `nothing_written`; null where
    /// the state needs none.
    pub evidence: Option<String>,
    /// Why, as a closed code: for `unknown` `connection_lost`, `printer_silent`, `partly_sent`, `station_stopped`,
    /// `record_incomplete`, `operator_doubts` (a person finds no good label of a job that was taken for printed); for
    /// `resolved_not_printed` `damaged` where what came out is no good label; for `cancelled` `printer_changed` where
    /// it was not a person; else null.
    pub cause: Option<String>,
}

/// Why a body is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// A known type, but not its members.
    Invalid,
    /// A type that this program does not know.
    UnknownType,
}

impl Body {
    /// The types that this program knows.
    pub const TYPES: [&str; 7] = [
        "station.enrolled",
        "epoch.opened",
        "scan.accepted",
        "scan.refused",
        "scan.repeated",
        "label.queued",
        "label.state",
    ];

    /// The type, as written.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::StationEnrolled { .. } => "station.enrolled",
            Self::EpochOpened { .. } => "epoch.opened",
            Self::ScanAccepted(_) => "scan.accepted",
            Self::ScanRefused(_) => "scan.refused",
            Self::ScanRepeated { .. } => "scan.repeated",
            Self::LabelQueued(_) => "label.queued",
            Self::LabelState(_) => "label.state",
        }
    }

    /// The bytes that the scanner sent, in hex, for the two scan bodies.
    #[must_use]
    pub fn raw_hex(&self) -> Option<&str> {
        match self {
            Self::ScanAccepted(scan) => Some(&scan.raw),
            Self::ScanRefused(scan) => Some(&scan.raw),
            Self::StationEnrolled { .. }
            | Self::EpochOpened { .. }
            | Self::ScanRepeated { .. }
            | Self::LabelQueued(_)
            | Self::LabelState(_) => None,
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`BodyError`].
    pub fn read(value: &Value) -> Result<Self, BodyError> {
        let known = value.get("type").and_then(Value::as_str).is_some_and(|t| Self::TYPES.contains(&t));
        let error = if known { BodyError::Invalid } else { BodyError::UnknownType };
        let body: Self = canonical::shape(value.clone()).map_err(|_| error.clone())?;
        if body.has_hex_raw() { Ok(body) } else { Err(error) }
    }

    /// Whether `raw`, where there is one, is whole bytes in lower-case hex (PROTOCOL §9.1).
    pub(super) fn has_hex_raw(&self) -> bool {
        self.raw_hex().is_none_or(|text| {
            text.len().is_multiple_of(2) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
    }
}

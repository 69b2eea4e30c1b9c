//! How a station is looked after: heartbeat, evidence, a new key, the end (PROTOCOL §3, §5).

use super::push::LogSeen;
use super::{HexBytes, Limits};
use crate::ids::{PublicKey, Signature};
use crate::operation::body::ChainPoint;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How a station is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The last operation; also written to the rollback anchor.
    pub head: Option<ChainPoint>,
    /// How many operations no receipt covers.
    pub depth: u64,
    /// Wall clock of the oldest of them.
    pub oldest: Option<Timestamp>,
    /// Version of the program.
    pub version: String,
    /// The station's wall clock now.
    pub wall: Timestamp,
    /// Milliseconds that the wall clock is ahead of the trusted time; null if there is none.
    pub clock_offset_ms: Option<i64>,
    /// Where the device secret lies.
    pub key_protection: String,
    /// The devices by role, each with its state: `open`, or a fault's code.
    pub devices: Vec<DeviceReport>,
    /// Bytes free on the disk of the queue; null where that cannot be told.
    pub disk_free: Option<u64>,
    /// Codes of what needs a person, in ascending order.
    pub alarms: Vec<String>,
    /// The last checkpoint that the station verified.
    pub log: Option<LogSeen>,
}

/// A device in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceReport {
    /// The configured role.
    pub role: String,
    /// `open`, or a fault's code.
    pub state: String,
}

/// Answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// What the cloud takes in one request.
    pub limits: Limits,
    /// The station was revoked: it may still push.
    pub revoked: bool,
    /// The oldest program version that is served; null if every one is.
    pub oldest_version: Option<String>,
}

/// Entries that the cloud will not take into a chain: the rest of a stopped epoch, an unreadable queue's
/// remains. Kept once, never applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRequest {
    /// Closed code: why they come this way; the same as the `reason` of the `epoch.opened` after them.
    pub reason: String,
    /// Bytes as they lie in the queue, at most 32 KiB each and 1 MiB together.
    pub entries: Vec<HexBytes>,
}

/// Answer to evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceReply {
    /// How many of them are kept now, those that were kept before included.
    pub kept: u64,
}

/// A new key for this station; the request is signed with the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// New Ed25519 key.
    pub public_key: PublicKey,
    /// New X25519 key.
    pub hpke_key: PublicKey,
    /// Closed code: `planned` or `forked`.
    pub reason: String,
    /// Signature of the new key in the enrol context over [`RotateRequest::proof_message`].
    pub proof: Signature,
}

impl RotateRequest {
    /// What the proof of possession is over: the present key ‖ new `public_key` ‖ new `hpke_key`.
    #[must_use]
    pub fn proof_message(present: &PublicKey, public_key: &PublicKey, hpke_key: &PublicKey) -> Vec<u8> {
        [present.0, public_key.0, hpke_key.0].concat()
    }
}

/// Answer to a request for a new key. Asked again with the same keys it is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateReply {
    /// Frames: the tenant's certificates and every certificate of this station, the new one last.
    pub certificates: Vec<HexBytes>,
}

/// The station closes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetireRequest {
    /// The last entry of its chain; the cloud must hold it.
    pub through: ChainPoint,
    /// Why, in people's words.
    pub reason: String,
}

/// Answer to a retirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetireReply {
    /// Framed [`crate::statement::event::StationClosed`].
    pub statement: HexBytes,
}

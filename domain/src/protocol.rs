//! What station and cloud say to each other (PROTOCOL §3, §9.9–9.19): one trait, implemented by the
//! station's HTTP client and by the cloud.

pub mod care;
pub mod problem;
pub mod proof;
pub mod push;
pub mod request_signature;
pub mod token;

use crate::chain::Head;
use crate::ids::{Epoch, Hash, PublicKey, Signature, SiteId};
use crate::statement::Through;
use crate::time::Timestamp;
use care::{
    EvidenceReply, EvidenceRequest, Heartbeat, HeartbeatReply, RetireReply, RetireRequest, RotateReply,
    RotateRequest,
};
use proof::LogProof;
use push::PushRequest;
use serde::{Deserialize, Serialize};
use std::future::Future;

/// The cloud, as a station sees it.
pub trait CloudApi {
    /// Why a call gave no answer.
    type Error;

    /// Enrols a station with a single-use token; `POST /v1/enrol`.
    fn enrol(&self, request: EnrolRequest) -> impl Future<Output = Result<EnrolReply, Self::Error>> + Send;

    /// Where the cloud's copy of the station's chain stands; `GET /v1/head`.
    fn head(&self) -> impl Future<Output = Result<HeadReply, Self::Error>> + Send;

    /// Hands over consecutive entries; `POST /v1/operations`.
    fn push(&self, request: PushRequest) -> impl Future<Output = Result<PushReply, Self::Error>> + Send;

    /// The page of reference data after cursor `after`, or only the signed point if there is none yet;
    /// `GET /v1/feed?after=N`.
    fn feed(&self, after: u64) -> impl Future<Output = Result<FeedReply, Self::Error>> + Send;

    /// Tells how the station is; `POST /v1/heartbeat`.
    fn heartbeat(
        &self,
        heartbeat: Heartbeat,
    ) -> impl Future<Output = Result<HeartbeatReply, Self::Error>> + Send;

    /// Hands over entries that no chain will hold, to be kept; `POST /v1/evidence`.
    fn evidence(
        &self,
        request: EvidenceRequest,
    ) -> impl Future<Output = Result<EvidenceReply, Self::Error>> + Send;

    /// Asks for a certificate for a new key of this station; `POST /v1/rotate`.
    fn rotate(&self, request: RotateRequest)
    -> impl Future<Output = Result<RotateReply, Self::Error>> + Send;

    /// Closes the station at the end of its chain; `POST /v1/retire`.
    fn retire(&self, request: RetireRequest)
    -> impl Future<Output = Result<RetireReply, Self::Error>> + Send;
}

/// Path of [`CloudApi::enrol`].
pub const ENROL_PATH: &str = "/v1/enrol";
/// Path of [`CloudApi::head`].
pub const HEAD_PATH: &str = "/v1/head";
/// Path of [`CloudApi::push`].
pub const OPERATIONS_PATH: &str = "/v1/operations";
/// Path of [`CloudApi::feed`].
pub const FEED_PATH: &str = "/v1/feed";
/// Path of [`CloudApi::heartbeat`].
pub const HEARTBEAT_PATH: &str = "/v1/heartbeat";
/// Path of [`CloudApi::evidence`].
pub const EVIDENCE_PATH: &str = "/v1/evidence";
/// Path of [`CloudApi::rotate`].
pub const ROTATE_PATH: &str = "/v1/rotate";
/// Path of [`CloudApi::retire`].
pub const RETIRE_PATH: &str = "/v1/retire";
/// Path of the signed time, the one route that nobody needs to be known for: `GET /v1/time?tenant=<id>&nonce=<64
/// hex digits>` answers with a framed [`crate::statement::event::TimeStatement`], as it is.
pub const TIME_PATH: &str = "/v1/time";
/// Content type of one framed statement.
pub const STATEMENT_CONTENT_TYPE: &str = "application/vnd.lotgate.statement";
/// Content type of a push body.
pub const PUSH_CONTENT_TYPE: &str = "application/vnd.lotgate.push";
/// Content type of a feed reply: the framed statement, then the page.
pub const FEED_CONTENT_TYPE: &str = "application/vnd.lotgate.feed";
/// Header of every reply that carries the next challenge nonce.
pub const NONCE_HEADER: &str = "lotgate-nonce";
/// The largest body after decompression, in bytes: 2 MiB.
pub const MAX_DECOMPRESSED: usize = 2 * 1024 * 1024;

/// Bytes of any length, in lower-case hex on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

impl Serialize for HexBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(serde::de::Error::custom("expected lower-case hexadecimal digits"));
        }
        hex::decode(text.as_ref()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Body of the enrolment request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The whole token line.
    pub token: String,
    /// What people call the station.
    pub station_name: String,
    /// Its Ed25519 key.
    pub public_key: PublicKey,
    /// Its X25519 key.
    pub hpke_key: PublicKey,
    /// Version of its program.
    pub program: String,
    /// Where its device secret lies.
    pub key_protection: String,
    /// Signature in the enrol context over [`EnrolRequest::proof_message`].
    pub proof: Signature,
}

/// Without the token: its line is a secret until it is used.
impl std::fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EnrolRequest({}, {})", self.station_name, self.public_key.key_id())
    }
}

impl EnrolRequest {
    /// What the proof of possession is over: SHA-256(token) ‖ `public_key` ‖ `hpke_key`.
    #[must_use]
    pub fn proof_message(token: &str, public_key: &PublicKey, hpke_key: &PublicKey) -> Vec<u8> {
        [Hash::of(token.as_bytes()).0, public_key.0, hpke_key.0].concat()
    }
}

/// The site of a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Id.
    pub id: SiteId,
    /// What people call it.
    pub name: String,
    /// IANA name of its time zone.
    pub zone: String,
}

/// Answer to an enrolment. Nothing of it is trusted before the certificates verify from the fingerprint down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolReply {
    /// Frames: root, issuer, log, statement, recovery where the tenant has them, station.
    pub certificates: Vec<HexBytes>,
    /// Where the station stands.
    pub site: Site,
    /// Where its chain stands.
    pub head: HeadReply,
}

/// What the cloud takes in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Entries a batch.
    pub entries: u64,
    /// Bytes a batch, before compression.
    pub bytes: u64,
    /// Batches in flight.
    pub in_flight: u64,
}

/// Where the cloud's copy of a chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadReply {
    /// Null before the first entry.
    pub epoch: Option<Epoch>,
    /// 0 before the first entry.
    pub seq: u64,
    /// Hash of the station's certificate before the first entry.
    pub hash: Hash,
    /// What it takes in one request.
    pub limits: Limits,
    /// How far back the cloud may be restored, in seconds; nothing younger is pruned at a station.
    pub restore_window_s: u64,
    /// A hint, never trusted.
    pub time: Timestamp,
    /// How long to wait before pushing, in milliseconds.
    pub backoff_ms: u64,
    /// Framed [`crate::statement::event::LogRecovered`] of every restore of this cloud, oldest first.
    #[serde(default)]
    pub recovered: Vec<HexBytes>,
}

impl HeadReply {
    /// The head without the rest.
    #[must_use]
    pub const fn head(&self) -> Head {
        Head { epoch: self.epoch, seq: self.seq, hash: self.hash }
    }
}

/// Why the rest of a push was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCode {
    /// The station's signature does not verify.
    BadSignature,
    /// The envelope cannot be read, names somebody else, or does not follow.
    BrokenChain,
}

impl StopCode {
    /// Every code.
    pub const ALL: [Self; 2] = [Self::BadSignature, Self::BrokenChain];
}

/// Where a push ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The first entry that was not taken.
    pub seq: u64,
    /// Why.
    pub code: StopCode,
}

/// Answer to a push (PROTOCOL §9.14).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushReply {
    /// How far the cloud holds the epoch that was pushed.
    pub accepted_through: Head,
    /// Log index of the first entry that this push added; null if it added none.
    pub first_index: Option<u64>,
    /// Set if the push was not taken whole.
    pub stopped: Option<Stopped>,
    /// Which branch of a forked chain the entries belong to; 0 is the first, or the only one.
    pub branch: u64,
    /// One framed verdict statement for each stored batch that the push touches.
    pub verdicts: Vec<HexBytes>,
    /// Framed receipt; null before anything was ever taken.
    pub receipt: Option<HexBytes>,
    /// That all of it stands in the tenant's log; null where the push touches nothing.
    pub proof: Option<LogProof>,
}

/// Answer to a pull of reference data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedReply {
    /// Framed [`crate::statement::FeedPoint`]; `None` while the site has no page at all.
    pub statement: Option<Vec<u8>>,
    /// The page, if there is one after the cursor asked for.
    pub page: Option<Vec<u8>>,
}

/// A point that a batch comes after: seq 0 stands for the station's certificate.
pub type After = Through;

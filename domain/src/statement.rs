//! Statements: what the tenant's keys sign, framed and hashed like entries (PROTOCOL §9.7, §9.15, §9.16).

pub mod event;

use crate::canonical::{self, CanonicalError};
use crate::entry::{self, Frame, FrameError};
use crate::ids::{Epoch, Hash, KeyId, PublicKey, SiteId, StationId, TenantId};
use crate::signature::{Context, KeyPair};
use crate::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A kind of statement.
pub trait Statement: Serialize + DeserializeOwned {
    /// What its signature is separated by.
    const CONTEXT: Context;
    /// Its member `kind`.
    const KIND: &'static str;

    /// Its members `v`, `kind`, `tenant`, `key`.
    fn common(&self) -> (u64, &str, TenantId, KeyId);
}

macro_rules! statement {
    ($name:ident, $context:ident, $kind:literal) => {
        impl $crate::statement::Statement for $name {
            const CONTEXT: $crate::signature::Context = $crate::signature::Context::$context;
            const KIND: &'static str = $kind;

            fn common(&self) -> (u64, &str, $crate::ids::TenantId, $crate::ids::KeyId) {
                (self.v, &self.kind, self.tenant, self.key)
            }
        }
    };
}
pub(crate) use statement;

/// A statement whose signature was checked, with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// What it says.
    pub value: T,
    /// Its leaf hash.
    pub hash: Hash,
    /// Its bytes, as received.
    pub bytes: Vec<u8>,
}

/// Why bytes are not the statement that was expected.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not one frame.
    #[error("statement is not framed")]
    Frame(#[from] FrameError),
    /// Not strict JSON.
    #[error("statement is not strict JSON")]
    Canonical(#[from] CanonicalError),
    /// A member is missing, unknown, or of the wrong shape.
    #[error("statement is not as specified")]
    Shape(#[source] serde_json::Error),
    /// Another version, kind, tenant or key than expected.
    #[error("statement of another kind, tenant or key")]
    Foreign,
    /// The signature does not verify.
    #[error("statement's signature does not verify")]
    Signature,
}

/// Signs a statement; returns its frame.
///
/// # Errors
/// [`StatementError::Canonical`], [`StatementError::Frame`].
pub fn sign<T: Statement>(statement: &T, keys: &KeyPair) -> Result<Vec<u8>, StatementError> {
    let json = canonical::write(statement)?;
    Ok(entry::sign(&json, T::CONTEXT, keys)?)
}

/// Reads a statement of `tenant` signed by `key`.
///
/// # Errors
/// [`StatementError`].
pub fn read<T: Statement>(
    bytes: &[u8],
    tenant: TenantId,
    key: &PublicKey,
) -> Result<Signed<T>, StatementError> {
    let frame = Frame::read(bytes)?;
    frame.verify(key, T::CONTEXT).map_err(|_| StatementError::Signature)?;
    let value = canonical::read(frame.json())?;
    let value: T = canonical::shape(value).map_err(StatementError::Shape)?;
    if value.common() != (1, T::KIND, tenant, key.key_id()) {
        return Err(StatementError::Foreign);
    }
    Ok(Signed { value, hash: frame.hash(), bytes: bytes.to_vec() })
}

/// What the cloud made of an operation (DESIGN §5, Reconcile).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Facts and claim apply.
    Accepted,
    /// Facts apply, the claim waits for a person.
    Flagged,
    /// Kept, not applied.
    Quarantined,
}

/// Why an operation was flagged or quarantined: the part of PROTOCOL §3's closed list that can occur yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictCode {
    /// The station was revoked: what it had reported before is flagged, what came after is quarantined.
    StationRevoked,
    /// On a branch of a forked chain that two people have not chosen yet.
    DependsOnUnapplied,
    /// The lot was no longer released in newer reference data than the station knew.
    LotHeldSince,
    /// The station knew reference data that does not release the lot, and accepted it all the same.
    PolicyViolation,
    /// Another operation of the tenant has this id.
    IdReused,
    /// A simulated device at a station whose certificate is not for training.
    SimulatedDevice,
    /// In an epoch that the station opened by itself after rollback, loss or doubt, and nobody confirmed yet.
    EpochUnconfirmed,
    /// The station's clock was set back, jumped, or was wrong by more than 300 s when it was pushed.
    ClockRolledBack,
    /// A body of a known type, but not with its members.
    InvalidBody,
    /// A type or version that the cloud does not know yet.
    UnknownType,
}

impl VerdictCode {
    /// Every code.
    pub const ALL: [Self; 10] = [
        Self::StationRevoked,
        Self::DependsOnUnapplied,
        Self::LotHeldSince,
        Self::PolicyViolation,
        Self::IdReused,
        Self::SimulatedDevice,
        Self::EpochUnconfirmed,
        Self::ClockRolledBack,
        Self::InvalidBody,
        Self::UnknownType,
    ];

    /// The code as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StationRevoked => "station_revoked",
            Self::DependsOnUnapplied => "depends_on_unapplied",
            Self::LotHeldSince => "lot_held_since",
            Self::PolicyViolation => "policy_violation",
            Self::IdReused => "id_reused",
            Self::SimulatedDevice => "simulated_device",
            Self::EpochUnconfirmed => "epoch_unconfirmed",
            Self::ClockRolledBack => "clock_rolled_back",
            Self::InvalidBody => "invalid_body",
            Self::UnknownType => "unknown_type",
        }
    }
}

/// One operation that was not simply accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictException {
    /// Log index of the operation.
    pub index: u64,
    /// What was made of it.
    pub verdict: Verdict,
    /// Why, as written: a station keeps codes that it does not know.
    pub code: String,
}

/// The verdicts of `count` operations from log index `first`; what is not listed is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictBatch {
    /// 1.
    pub v: u64,
    /// `verdict.batch`.
    pub kind: String,
    /// Whose log.
    pub tenant: TenantId,
    /// The statement key.
    pub key: KeyId,
    /// Log index of the first operation.
    pub first: u64,
    /// How many operations.
    pub count: u64,
    /// In ascending order of index.
    pub exceptions: Vec<VerdictException>,
    /// Indexes whose earlier verdict this one replaces.
    pub supersedes: Vec<u64>,
}
statement!(VerdictBatch, Verdict, "verdict.batch");

/// A point of one epoch's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Through {
    /// Position.
    pub seq: u64,
    /// Hash of the entry there.
    pub hash: Hash,
}

/// The cloud's signed answer: it holds everything of `epoch` up to `through`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// 1.
    pub v: u64,
    /// `receipt`.
    pub kind: String,
    /// Whose log.
    pub tenant: TenantId,
    /// The statement key.
    pub key: KeyId,
    /// Whose chain.
    pub station: StationId,
    /// Which run of it.
    pub epoch: Epoch,
    /// How far.
    pub through: Through,
    /// Leaf hashes of the verdict batches since the previous receipt.
    pub verdicts: Vec<Hash>,
    /// Leaf hash of this station's previous receipt, or zeros.
    pub previous: Hash,
    /// The cloud's time.
    pub time: Timestamp,
}
statement!(Receipt, Receipt, "receipt");

/// The state of a site's reference feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedPoint {
    /// 1.
    pub v: u64,
    /// `feed`.
    pub kind: String,
    /// Whose feed.
    pub tenant: TenantId,
    /// The statement key.
    pub key: KeyId,
    /// Which site.
    pub site: SiteId,
    /// Number of the page, from 1.
    pub cursor: u64,
    /// Hash of the feed up to and including it.
    pub hash: Hash,
    /// The cloud's time.
    pub time: Timestamp,
}
statement!(FeedPoint, Feed, "feed");

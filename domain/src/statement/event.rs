//! What the tenant's keys say of time, keys, stations and the log itself (PROTOCOL §3, §4, §5, §9.7, §9.20).

use super::statement;
use crate::ids::{CertificateSerial, Hash, KeyId, StationId, TenantId};
use crate::merkle::proof::TreeHead;
use crate::operation::body::ChainPoint;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The cloud's time, asked for with a nonce: what a station without a right clock may trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeStatement {
    /// 1.
    pub v: u64,
    /// `time`.
    pub kind: String,
    /// Whose cloud.
    pub tenant: TenantId,
    /// The statement key.
    pub key: KeyId,
    /// The 32 bytes that the station chose, so that no old answer can be played again.
    pub nonce: Hash,
    /// The cloud's time.
    pub time: Timestamp,
}
statement!(TimeStatement, Time, "time");

/// Two entries of one station for one place: a leaf, written when the second one arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkFound {
    /// 1.
    pub v: u64,
    /// `fork.found`.
    pub kind: String,
    /// Whose log.
    pub tenant: TenantId,
    /// The statement key.
    pub key: KeyId,
    /// Whose chain.
    pub station: StationId,
    /// Number of the epoch in which the chain forks.
    pub epoch_n: u64,
    /// The first seq that two entries claim.
    pub seq: u64,
    /// The entry that was there.
    pub held: Hash,
    /// The one that came.
    pub other: Hash,
    /// Number of the branch that begins with `other`, from 1; the first branch is 0.
    pub branch: u64,
    /// The cloud's time.
    pub time: Timestamp,
}
statement!(ForkFound, Fork, "fork.found");

/// The cloud was restored from a backup that is older than what stations hold checkpoints for (PROTOCOL §4).
/// Signed by the tenant's root key; the first leaf of the new generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRecovered {
    /// 1.
    pub v: u64,
    /// `log.recovered`.
    pub kind: String,
    /// Whose log.
    pub tenant: TenantId,
    /// The root key.
    pub key: KeyId,
    /// Generation of the checkpoints from here on.
    pub generation: u64,
    /// The log as the backup held it: what the logs before and after the restore have in common, so that a station
    /// follows the new generation from here. Leaves of the time between the restore and this statement come after
    /// it, and before the leaf of this statement.
    pub restored: TreeHead,
    /// The newest checkpoint of the generation before that anybody knows of.
    pub known: TreeHead,
    /// Why, in people's words.
    pub reason: String,
    /// The two people who decided it, as the tenant names them.
    pub people: [String; 2],
    /// When.
    pub time: Timestamp,
}
statement!(LogRecovered, Recovered, "log.recovered");

/// How a station came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// It drained its queue and closed itself: nothing can follow.
    Retired,
    /// Its key is no longer trusted: what follows is kept and not applied.
    Revoked,
}

/// The end of a station: a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationClosed {
    /// 1.
    pub v: u64,
    /// `station.closed`.
    pub kind: String,
    /// Whose log.
    pub tenant: TenantId,
    /// The statement key.
    pub key: KeyId,
    /// Which station.
    pub station: StationId,
    /// How.
    pub closing: Closing,
    /// The last entry that the station reported before; null if it never wrote one.
    pub through: Option<ChainPoint>,
    /// Why, in people's words.
    pub reason: String,
    /// When.
    pub time: Timestamp,
}
statement!(StationClosed, Retired, "station.closed");

/// A station or the tenant took a new key: a leaf, right after the leaf of the new certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotated {
    /// 1.
    pub v: u64,
    /// `key.rotated`.
    pub kind: String,
    /// Whose log.
    pub tenant: TenantId,
    /// The statement key.
    pub key: KeyId,
    /// Serial of the certificate that ends.
    pub previous: CertificateSerial,
    /// Serial of the certificate that replaces it.
    pub certificate: CertificateSerial,
    /// When.
    pub time: Timestamp,
}
statement!(KeyRotated, Rotated, "key.rotated");

/// Seals an export: by the station's key over an export of its queue, by the statement key over one of the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportSeal {
    /// 1.
    pub v: u64,
    /// `export`.
    pub kind: String,
    /// Whose operations.
    pub tenant: TenantId,
    /// The station's or the statement key.
    pub key: KeyId,
    /// The station, for an export of its queue.
    pub station: Option<StationId>,
    /// SHA-256 of `manifest.json`.
    pub manifest_sha256: Hash,
    /// When.
    pub time: Timestamp,
}
statement!(ExportSeal, Export, "export");

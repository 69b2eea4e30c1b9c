//! The form of an export, of a queue or of a cloud (PROTOCOL §9.20): names of its files and what lies in them.
//!
//! A directory with `manifest.json` (canonical JSON), `manifest.sig` (a framed [`ExportSeal`]) and:
//! - `entries/<station>/<n>-<first seq>.bin`: entries back to back; an epoch of a branch other than the first
//!   lies in `entries/<station>/<n>.<branch>-<first seq>.bin`;
//! - `certificates.bin`, `verdicts.bin`, `receipts.bin`, `statements.bin`: frames back to back, in the order in
//!   which they were made; `statements.bin` holds every other leaf of the log, and what a station keeps beside;
//! - `checkpoints.txt`: signed notes, one empty line between two;
//! - `feed.bin`: for each page u32 BE length ‖ framed statement, u32 BE length ‖ page; length 0 where the page
//!   itself is not kept;
//! - `log.bin`, of a cloud alone: for each leaf in order kind (one byte, [`LeafKind`]) ‖ 32 bytes leaf hash;
//! - `evidence.bin`, where there is any: frames that were kept and never numbered;
//! - `blobs/<sha256>`.
//!
//! Empty files are left out. What is not in the manifest does not belong to the export.
//!
//! [`ExportSeal`]: crate::statement::event::ExportSeal

use crate::ids::{Hash, StationId, TenantId};
use serde::{Deserialize, Serialize};

/// Name of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// Name of the seal.
pub const SEAL: &str = "manifest.sig";
/// Certificates.
pub const CERTIFICATES: &str = "certificates.bin";
/// Verdict batches.
pub const VERDICTS: &str = "verdicts.bin";
/// Receipts.
pub const RECEIPTS: &str = "receipts.bin";
/// Every other statement.
pub const STATEMENTS: &str = "statements.bin";
/// Checkpoints.
pub const CHECKPOINTS: &str = "checkpoints.txt";
/// Reference data.
pub const FEED: &str = "feed.bin";
/// The leaves of the log.
pub const LOG: &str = "log.bin";
/// Entries that were kept and never numbered.
pub const EVIDENCE: &str = "evidence.bin";
/// Where entries lie.
pub const ENTRIES: &str = "entries";
/// Where blobs lie.
pub const BLOBS: &str = "blobs";
/// Entries of one file at most.
pub const ENTRIES_A_FILE: u64 = 100_000;

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportKind {
    /// A station's queue.
    Queue,
    /// A queue opened by its recovery keys: entries only, sealed by nobody.
    Recovered,
    /// A tenant's ledger in the cloud.
    Cloud,
}

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path within the export, with `/`.
    pub path: String,
    /// Its SHA-256.
    pub sha256: Hash,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Entries of one epoch of one branch, from `first` to `last` without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Whose.
    pub station: StationId,
    /// Number of the epoch.
    pub epoch: u64,
    /// The branch; 0 unless the chain forked.
    pub branch: u64,
    /// First seq.
    pub first: u64,
    /// Last seq.
    pub last: u64,
}

/// What an export consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    pub v: u64,
    /// Of what.
    pub kind: ExportKind,
    /// Whose.
    pub tenant: TenantId,
    /// The station, for a queue.
    pub station: Option<StationId>,
    /// SHA-256 of the tenant's root key.
    pub root_fingerprint: Hash,
    /// Every file but the manifest and its seal, in ascending order of path.
    pub files: Vec<FileEntry>,
    /// What `entries/` holds, in ascending order.
    pub ranges: Vec<Range>,
}

/// The file that entries lie in that begin with seq `first` of epoch `n`.
#[must_use]
pub fn entries_path(station: StationId, n: u64, branch: u64, first: u64) -> String {
    if branch == 0 {
        format!("{ENTRIES}/{station}/{n}-{first}.bin")
    } else {
        format!("{ENTRIES}/{station}/{n}.{branch}-{first}.bin")
    }
}

/// The file of a blob.
#[must_use]
pub fn blob_path(sha256: Hash) -> String {
    format!("{BLOBS}/{sha256}")
}

/// What stands at an index of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafKind {
    /// A certificate.
    Certificate,
    /// An operation.
    Operation,
    /// A verdict batch.
    Verdicts,
    /// Any other statement.
    Statement,
}

impl LeafKind {
    /// The kind as written in `log.bin`.
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Certificate => 0,
            Self::Operation => 1,
            Self::Verdicts => 2,
            Self::Statement => 3,
        }
    }

    /// The kind that is written so.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Certificate),
            1 => Some(Self::Operation),
            2 => Some(Self::Verdicts),
            3 => Some(Self::Statement),
            _ => None,
        }
    }
}

//! What can be found wrong in an export.

use lotgate_domain::ids::StationId;
use serde::Serialize;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Something to know; the export still proves what it claims.
    Notice,
    /// The export does not prove what it claims.
    Problem,
}

/// The closed list of findings; each has its words in the message catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingCode {
    /// The manifest is not as specified.
    ExportManifest,
    /// A file of the manifest is missing, or a label that an operation of an exported queue names.
    ExportFileMissing,
    /// A file has another length or hash than the manifest says.
    ExportFileChanged,
    /// A file that the manifest does not know.
    ExportFileUnlisted,
    /// The seal does not verify.
    ExportSeal,
    /// The export has no seal: it comes from a recovered queue.
    ExportUnsealed,
    /// The certificates do not lead up to the root key that was given.
    ExportTrust,
    /// Bytes that are no frame.
    ExportFrame,
    /// An entry whose signature does not verify under any certified key of its station.
    EntrySignature,
    /// An entry that is not strictly written, or of another tenant or station.
    EntryForm,
    /// An entry that does not follow the one before.
    EntryChain,
    /// Entries are missing between two of one epoch, or other ones than the manifest says.
    EntryGap,
    /// The first kept entry of a station is not its first: what was before was pruned at the station.
    EntryPruned,
    /// Two entries of one station claim the same place.
    EntryFork,
    /// The station opened an epoch by itself after rollback, loss or doubt.
    EpochUnconfirmed,
    /// An operation of a type or version that this program does not know.
    OperationUnknown,
    /// A statement whose signature does not verify.
    StatementSignature,
    /// An entry of the export that no leaf of the log holds, or that stands there twice.
    LogEntryMissing,
    /// A leaf of the log whose entry or statement is not in the export.
    LogLeafUnknown,
    /// An operation that no verdict batch covers, or more than one.
    VerdictCoverage,
    /// A receipt that names another entry than the export holds.
    ReceiptContradicts,
    /// Entries of a cloud that no receipt covers.
    ReceiptMissing,
    /// A checkpoint whose signature does not verify.
    CheckpointSignature,
    /// No checkpoint over the whole log of a cloud.
    CheckpointMissing,
    /// Two checkpoints of one generation and size with different roots.
    CheckpointSplit,
    /// A checkpoint that the log of the export does not have.
    CheckpointContradicts,
    /// An operation quotes a log that is not the one of the export or of its checkpoints.
    KnewOtherLog,
    /// An operation quotes a log from before a restore of the cloud.
    KnewBeforeRestore,
    /// An operation quotes reference data that the cloud never signed.
    KnewOtherData,
    /// A page of reference data that does not follow from the one before.
    FeedChain,
    /// The cloud was restored from a backup.
    LogRecovered,
    /// A station was retired or revoked.
    StationClosed,
}

impl FindingCode {
    /// Every code.
    pub const ALL: [Self; 32] = [
        Self::ExportManifest,
        Self::ExportFileMissing,
        Self::ExportFileChanged,
        Self::ExportFileUnlisted,
        Self::ExportSeal,
        Self::ExportUnsealed,
        Self::ExportTrust,
        Self::ExportFrame,
        Self::EntrySignature,
        Self::EntryForm,
        Self::EntryChain,
        Self::EntryGap,
        Self::EntryPruned,
        Self::EntryFork,
        Self::EpochUnconfirmed,
        Self::OperationUnknown,
        Self::StatementSignature,
        Self::LogEntryMissing,
        Self::LogLeafUnknown,
        Self::VerdictCoverage,
        Self::ReceiptContradicts,
        Self::ReceiptMissing,
        Self::CheckpointSignature,
        Self::CheckpointMissing,
        Self::CheckpointSplit,
        Self::CheckpointContradicts,
        Self::KnewOtherLog,
        Self::KnewBeforeRestore,
        Self::KnewOtherData,
        Self::FeedChain,
        Self::LogRecovered,
        Self::StationClosed,
    ];

    /// The code as written; key of the message catalogue.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExportManifest => "export_manifest",
            Self::ExportFileMissing => "export_file_missing",
            Self::ExportFileChanged => "export_file_changed",
            Self::ExportFileUnlisted => "export_file_unlisted",
            Self::ExportSeal => "export_seal",
            Self::ExportUnsealed => "export_unsealed",
            Self::ExportTrust => "export_trust",
            Self::ExportFrame => "export_frame",
            Self::EntrySignature => "entry_signature",
            Self::EntryForm => "entry_form",
            Self::EntryChain => "entry_chain",
            Self::EntryGap => "entry_gap",
            Self::EntryPruned => "entry_pruned",
            Self::EntryFork => "entry_fork",
            Self::EpochUnconfirmed => "epoch_unconfirmed",
            Self::OperationUnknown => "operation_unknown",
            Self::StatementSignature => "statement_signature",
            Self::LogEntryMissing => "log_entry_missing",
            Self::LogLeafUnknown => "log_leaf_unknown",
            Self::VerdictCoverage => "verdict_coverage",
            Self::ReceiptContradicts => "receipt_contradicts",
            Self::ReceiptMissing => "receipt_missing_in_export",
            Self::CheckpointSignature => "checkpoint_signature",
            Self::CheckpointMissing => "checkpoint_missing",
            Self::CheckpointSplit => "checkpoint_split",
            Self::CheckpointContradicts => "checkpoint_contradicts",
            Self::KnewOtherLog => "knew_other_log",
            Self::KnewBeforeRestore => "knew_before_restore",
            Self::KnewOtherData => "knew_other_data",
            Self::FeedChain => "feed_chain",
            Self::LogRecovered => "log_recovered",
            Self::StationClosed => "station_closed",
        }
    }

    /// How much it weighs.
    #[must_use]
    pub const fn weight(self) -> Weight {
        match self {
            Self::ExportUnsealed
            | Self::EntryPruned
            | Self::EntryFork
            | Self::EpochUnconfirmed
            | Self::OperationUnknown
            | Self::KnewBeforeRestore
            | Self::LogRecovered
            | Self::StationClosed => Weight::Notice,
            _ => Weight::Problem,
        }
    }
}

/// One finding, with where it is as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub code: FindingCode,
    /// How much it weighs.
    pub weight: Weight,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The station.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub station: Option<StationId>,
    /// Number of the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Position in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Index in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// More, for whoever looks into it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Finding {
    /// A finding of nowhere in particular.
    #[must_use]
    pub fn new(code: FindingCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            weight: code.weight(),
            file: None,
            station: None,
            epoch: None,
            seq: None,
            index: None,
            detail: detail.into(),
        }
    }

    /// In a file.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// At a place of a station's chain.
    #[must_use]
    pub fn at(mut self, station: StationId, epoch: u64, seq: u64) -> Self {
        (self.station, self.epoch, self.seq) = (Some(station), Some(epoch), Some(seq));
        self
    }

    /// At a leaf.
    #[must_use]
    pub fn at_index(mut self, index: u64) -> Self {
        self.index = Some(index);
        self
    }
}

/// Findings, each kind kept up to a number of examples and counted beyond it: a broken export of a million entries
/// must not become a report of a million lines.
#[derive(Debug, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: std::collections::BTreeMap<FindingCode, u64>,
}

/// Examples of one kind that a report shows.
const EXAMPLES: u64 = 20;

impl Findings {
    /// Adds one.
    pub fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.code).or_default();
        *count = count.saturating_add(1);
        if *count <= EXAMPLES {
            self.kept.push(finding);
        }
    }

    /// The examples, in the order in which they were found.
    #[must_use]
    pub fn examples(&self) -> &[Finding] {
        &self.kept
    }

    /// How many of each kind there were.
    #[must_use]
    pub const fn counts(&self) -> &std::collections::BTreeMap<FindingCode, u64> {
        &self.counts
    }

    /// Whether none of them is a problem.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.counts.keys().all(|code| code.weight() == Weight::Notice)
    }
}

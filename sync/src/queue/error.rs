//! What can go wrong with the queue. Every error has a closed code and the exit code of DESIGN §8.

use super::identity::IdentityError;
use crate::secure::recovery::RecoveryError;
use crate::secure::{RandomError, SecureError};
use lotgate_domain::ids::{Epoch, OperationId};
use lotgate_domain::operation::WriteError;
use lotgate_domain::operation::body::ChainPoint;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const QUEUE: u8 = 14;

/// SQLite or the file system failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the queue's file cannot be used")]
pub struct StorageError(#[source] Arc<rusqlite::Error>);

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl StorageError {
    /// What the failure means for accepting further work.
    #[must_use]
    pub fn stop_reason(&self) -> StopReason {
        use rusqlite::ErrorCode;
        match self.0.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StopReason::DiskFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StopReason::Damaged,
            _ => StopReason::Io,
        }
    }

    /// Whether the file is at fault, and not the disk, its room, or another process.
    fn is_the_files(&self) -> bool {
        self.stop_reason() == StopReason::Damaged
    }

    pub(super) fn is_not_a_database(&self) -> bool {
        self.0.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase)
    }
}

/// Why the queue accepts nothing at the moment. Nothing that was confirmed is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The disk is full; accepting resumes by itself when there is room.
    #[error("the disk is full")]
    DiskFull,
    /// Reading or writing fails; accepting resumes by itself when it works again.
    #[error("the disk fails")]
    Io,
    /// What is in the file is not what was written.
    #[error("the queue's file is damaged")]
    Damaged,
    /// Whether the last commit happened is not known; it is decided as soon as the file can be read.
    #[error("the outcome of the last commit is not known")]
    UnknownOutcome,
}

impl StopReason {
    /// The closed code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::Io => "disk_io",
            Self::Damaged => "damaged",
            Self::UnknownOutcome => "unknown_outcome",
        }
    }
}

/// What is wrong with one entry, or with the file around the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// SQLite's own check of the file failed.
    File,
    /// An entry is not there.
    #[serde(rename = "missing_entry")]
    Missing,
    /// Not one frame of the right length.
    BadFrame,
    /// The station's signature does not verify.
    BadSignature,
    /// Not strict JSON with the envelope's members.
    BadEnvelope,
    /// It names another tenant, site, station or key.
    Foreign,
    /// It does not follow the entry before.
    BrokenChain,
    /// The columns beside it do not say what it says.
    ColumnsDiffer,
    /// More is marked as sent or settled than there is.
    Watermark,
    /// A kept receipt is for another entry than the one here.
    Receipt,
    /// A kept checkpoint does not verify, or does not follow the one before.
    Checkpoint,
    /// A kept verdict, or what proves it, does not verify.
    LogProof,
    /// More is settled than is proven to stand in the log.
    Unproven,
    /// A kept label is not the one that was decided on.
    Blob,
}

/// The first thing found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Position in the queue; 0 if it is not about one entry.
    pub position: u64,
    /// Count of the epoch.
    pub epoch: u64,
    /// Position in the epoch.
    pub seq: u64,
    /// What.
    pub code: FaultCode,
}

/// Why a queue cannot be opened or made. The file is left as it was found.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no queue and never was one.
    #[error("not enrolled")]
    NotEnrolled,
    /// There is a queue already.
    #[error("this data directory is enrolled already")]
    AlreadyEnrolled,
    /// There was a queue: the rollback anchor names its last entry, the file is gone.
    #[error("the queue's file is gone")]
    Lost,
    /// The secure directory was opened as a view, without the lock.
    #[error("the data directory is not locked by this process")]
    NotLocked,
    /// The file is plain SQLite.
    #[error("the queue's file is not encrypted")]
    NotEncrypted,
    /// The key does not open the file, or its first page is damaged.
    #[error("the queue's key does not open the file")]
    KeyMismatch,
    /// A file of another program, or the queue of another station.
    #[error("the file is not this station's queue")]
    Foreign,
    /// The key that the queue was written with last is not in the secure directory, though others are.
    #[error("the station's present key is missing")]
    KeyMissing,
    /// Where the device secret lies is not what was recorded at enrolment.
    #[error("the key store is not the one recorded at enrolment")]
    KeyProtection,
    /// A later version of the program has written it.
    #[error("the queue was written by a newer version (schema {found}, this program knows {known})")]
    NewerVersion {
        /// Version of the file.
        found: u32,
        /// The latest that this program knows.
        known: u32,
    },
    /// Something in it is not what was written.
    #[error("the queue is damaged: {0:?}")]
    Damaged(Fault),
    /// It is older than the rollback anchor, or another branch.
    #[error("the queue is older than it was, or another copy of it")]
    RolledBack {
        /// What the anchor says was there.
        anchor: ChainPoint,
    },
    /// The rollback anchor is gone.
    #[error("the rollback anchor is missing")]
    AnchorMissing,
    /// The rollback anchor cannot be read or written.
    #[error("the rollback anchor cannot be used")]
    Anchor(#[source] std::io::Error),
    /// SQLite is older than 3.51.3 and may corrupt a write-ahead log.
    #[error("SQLite {0} is too old")]
    SqliteTooOld(i32),
    /// A setting did not take.
    #[error("SQLite did not take the setting {0}")]
    Setting(&'static str),
    /// The first operation could not be written.
    #[error("the first operation could not be written")]
    Write(#[source] Arc<WriteError>),
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random(#[from] RandomError),
    /// A file could not be read, renamed or synced.
    #[error("the data directory cannot be used")]
    Io(#[source] std::io::Error),
    /// The directory cannot be used, or another process has it.
    #[error("the data directory cannot be used")]
    Secure(#[source] SecureError),
    /// The queue's key could not be sealed to the tenant's recovery keys.
    #[error("the queue's key could not be sealed to its recovery holders")]
    Recovery(#[source] RecoveryError),
    /// SQLite failed.
    #[error("the queue cannot be opened")]
    Storage(#[from] StorageError),
}

impl OpenError {
    /// The closed code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotEnrolled => "not_enrolled",
            Self::AlreadyEnrolled => "already_enrolled",
            Self::Lost => "lost",
            Self::NotLocked => "not_locked",
            Self::NotEncrypted => "not_encrypted",
            Self::KeyMismatch => "key_mismatch",
            Self::Foreign => "foreign",
            Self::KeyMissing => "key_store_missing",
            Self::KeyProtection => "key_store_changed",
            Self::NewerVersion { .. } => "newer_version",
            Self::Damaged(_) => "damaged",
            Self::RolledBack { .. } => "rolled_back",
            Self::AnchorMissing => "anchor_missing",
            Self::Anchor(_) => "anchor",
            Self::SqliteTooOld(_) => "sqlite_too_old",
            Self::Setting(_) => "sqlite_setting",
            Self::Write(_) => "invalid_operation",
            Self::Random(_) => "no_random",
            Self::Io(_) => "disk_io",
            Self::Secure(error) => error.code(),
            Self::Recovery(error) => error.code(),
            Self::Storage(error) => error.stop_reason().code(),
        }
    }

    /// The exit code of the program (DESIGN §8).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Secure(error) => error.exit_code(),
            Self::Recovery(error) => error.exit_code(),
            Self::NotEnrolled => 10,
            Self::KeyProtection | Self::KeyMissing => 13,
            _ => QUEUE,
        }
    }

    /// Whether the file itself is at fault, so that it is set aside and work goes on in a new one. A newer
    /// version's file, a missing key, a full or failing disk are no such fault.
    pub(super) fn is_the_files(&self) -> bool {
        match self {
            Self::NotEncrypted | Self::KeyMismatch | Self::Foreign | Self::Damaged(_) => true,
            Self::Storage(error) => error.is_the_files(),
            _ => false,
        }
    }
}

/// Why an operation was not appended. It is certain that it is not in the queue, unless said otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The operation itself cannot be written.
    #[error("the operation cannot be written")]
    Invalid(#[source] Arc<WriteError>),
    /// An operation with this id is in the queue already.
    #[error("operation {0} is in the queue already")]
    IdReused(OperationId),
    /// The queue accepts nothing; with [`StopReason::UnknownOutcome`] this one may yet turn out committed.
    #[error("the queue accepts nothing")]
    Stopped(#[source] StopReason),
    /// Writing failed, and nothing of it is in the queue.
    #[error("the operation could not be made durable")]
    Storage(#[from] StorageError),
    /// Nearly as many operations wait as may: only what finishes an open step is still taken.
    #[error("the queue is full")]
    QueueFull,
    /// Hardly any room is left on the disk: only what finishes an open step is still taken.
    #[error("hardly any room is left on the disk")]
    DiskLow,
    /// No random bytes for an id.
    #[error("the system gives no random bytes")]
    Random(#[from] RandomError),
    /// The certificates do not make the next keys this station's.
    #[error("the new key is not certified for this station")]
    Certificate(#[source] Arc<IdentityError>),
    /// The secure directory could not be read or written, so that no epoch was opened.
    #[error("the secure directory cannot be used")]
    Open(#[source] Arc<OpenError>),
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
}

impl AppendError {
    /// The closed code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_operation",
            Self::IdReused(_) => "id_reused",
            Self::Stopped(reason) => reason.code(),
            Self::Storage(error) => error.stop_reason().code(),
            Self::QueueFull => "queue_full",
            Self::DiskLow => "disk_very_low",
            Self::Random(_) => "no_random",
            Self::Certificate(_) => "certificate_invalid",
            Self::Open(error) => error.code(),
            Self::Closed => "closed",
        }
    }

    /// The exit code of the program (DESIGN §8).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        QUEUE
    }
}

/// Why something could not be read from the queue or noted in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// An entry is not what was written.
    #[error("entry {seq} of epoch {} is damaged", epoch.n)]
    Damaged {
        /// Its epoch.
        epoch: Epoch,
        /// Its position there.
        seq: u64,
    },
    /// The point asked for is not in this queue.
    #[error("the point is not in this queue")]
    Unknown,
    /// The cloud signed for entries after the place where it now ends the epoch.
    #[error("entries of epoch {} after {seq} are settled already", epoch.n)]
    AlreadySettled {
        /// The epoch.
        epoch: Epoch,
        /// Where it should end.
        seq: u64,
    },
    /// The epoch that must come next could not be opened.
    #[error("no new epoch could be opened")]
    Epoch(#[source] Box<AppendError>),
    /// The next keys could not be made.
    #[error("no new keys could be made")]
    Keys(#[from] Arc<SecureError>),
    /// The queue writes nothing at the moment.
    #[error("the queue accepts nothing")]
    Stopped(#[source] StopReason),
    /// SQLite or the disk failed.
    #[error("the queue could not be used")]
    Storage(#[from] StorageError),
    /// The file, opened again, is not in order.
    #[error("the queue could not be opened again")]
    Open(#[source] Arc<OpenError>),
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
}

impl QueueError {
    /// The closed code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "damaged",
            Self::Unknown => "unknown_point",
            Self::AlreadySettled { .. } => "server_inconsistent",
            Self::Epoch(error) => error.code(),
            Self::Keys(error) => error.code(),
            Self::Stopped(reason) => reason.code(),
            Self::Storage(error) => error.stop_reason().code(),
            Self::Open(error) => error.code(),
            Self::Closed => "closed",
        }
    }

    /// The exit code of the program (DESIGN §8).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        QUEUE
    }
}

/// Why a receipt settles nothing. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettleError {
    /// The cloud signed for another entry at a place that this station has filled: `server_inconsistent`.
    #[error("the receipt is for another entry at seq {seq}")]
    Inconsistent {
        /// Where.
        seq: u64,
    },
    /// The cloud holds more than this queue ever wrote: a restored machine, or a second one with its keys.
    #[error("the receipt is for an entry that is not here, seq {seq}")]
    Ahead {
        /// Where.
        seq: u64,
    },
    /// The receipt is another station's.
    #[error("the receipt is another station's")]
    Foreign,
    /// What is known of the log changed while the answer was verified.
    #[error("the answer was overtaken")]
    Overtaken,
    /// It could not be noted.
    #[error("the receipt could not be kept")]
    Queue(#[from] QueueError),
}

impl SettleError {
    /// The closed code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Inconsistent { .. } | Self::Foreign => "server_inconsistent",
            Self::Ahead { .. } => "server_ahead",
            Self::Overtaken => "answer_overtaken",
            Self::Queue(error) => error.code(),
        }
    }

    /// The exit code of the program (DESIGN §8).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        QUEUE
    }
}

/// Why a page of reference data was not kept. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeepPageError {
    /// Cursor or time goes back, or the cursor has another hash: `server_inconsistent` (PROTOCOL §5).
    #[error("the reference data goes back or contradicts itself")]
    Inconsistent,
    /// The statement is for another site.
    #[error("the reference data is another site's")]
    Foreign,
    /// A new cursor without its page.
    #[error("a new page was announced but not given")]
    PageMissing,
    /// It could not be noted.
    #[error("the page could not be kept")]
    Queue(#[from] QueueError),
}

impl KeepPageError {
    /// The closed code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Inconsistent | Self::Foreign => "server_inconsistent",
            Self::PageMissing => "page_missing",
            Self::Queue(error) => error.code(),
        }
    }

    /// The exit code of the program (DESIGN §8).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        QUEUE
    }
}

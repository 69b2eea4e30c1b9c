//! What about the queue needs a person: shown on the screen, in `status`, and told in every heartbeat.

use serde::{Deserialize, Serialize};

/// One thing that needs a person. None of them stops capture by itself; what does is a `StopReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueAlarm {
    /// Half of the operations that may wait are waiting.
    QueueFilling,
    /// Four fifths of them are.
    QueueNearlyFull,
    /// No new work: only what finishes an open step is taken.
    QueueFull,
    /// Little room is left on the disk.
    DiskLow,
    /// So little that no new work is taken, only what finishes an open step.
    DiskVeryLow,
    /// A queue file that could not be used lies beside the queue, kept; or the rest of an epoch was set aside for a
    /// damaged entry, until somebody acknowledges it.
    QueueSetAside,
    /// The present epoch was opened in doubt: its claims are flagged until a person resolves it.
    EpochUnconfirmed,
    /// The cloud's log was restored from a backup.
    LogRecovered,
    /// The cloud contradicted what it had signed.
    ServerInconsistent,
}

impl QueueAlarm {
    /// Every alarm.
    pub const ALL: [Self; 9] = [
        Self::QueueFilling,
        Self::QueueNearlyFull,
        Self::QueueFull,
        Self::DiskLow,
        Self::DiskVeryLow,
        Self::QueueSetAside,
        Self::EpochUnconfirmed,
        Self::LogRecovered,
        Self::ServerInconsistent,
    ];

    /// The closed code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFilling => "queue_filling",
            Self::QueueNearlyFull => "queue_nearly_full",
            Self::QueueFull => "queue_full",
            Self::DiskLow => "disk_low",
            Self::DiskVeryLow => "disk_very_low",
            Self::QueueSetAside => "queue_set_aside",
            Self::EpochUnconfirmed => "epoch_unconfirmed",
            Self::LogRecovered => "log_recovered",
            Self::ServerInconsistent => "server_inconsistent",
        }
    }
}

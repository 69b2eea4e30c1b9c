//! Why a station opens a new epoch (PROTOCOL §2, §3): the closed list behind `epoch.opened`'s reason.

use serde::{Deserialize, Serialize};

/// Why the last epoch could not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpochReason {
    /// The queue's file is older than the rollback anchor, or holds another entry at its place.
    RolledBack,
    /// The queue's file is gone.
    QueueLost,
    /// The queue's file cannot be read, is of another station, or its chain is broken; it was set aside.
    QueueDamaged,
    /// The cloud found two branches of the chain; the station goes on with a new key.
    Forked,
    /// The cloud could not take an entry, so that nothing can follow it; the rest was set aside.
    Stopped,
    /// The station took a new key as planned.
    KeyRotated,
}

impl EpochReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::RolledBack,
        Self::QueueLost,
        Self::QueueDamaged,
        Self::Forked,
        Self::Stopped,
        Self::KeyRotated,
    ];

    /// The reason as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::QueueLost => "queue_lost",
            Self::QueueDamaged => "queue_damaged",
            Self::Forked => "forked",
            Self::Stopped => "stopped",
            Self::KeyRotated => "key_rotated",
        }
    }

    /// The reason that is written so; `None` for one that this program does not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// Whether what follows stands without a person's word: only a planned new key leaves no doubt.
    #[must_use]
    pub const fn is_planned(self) -> bool {
        matches!(self, Self::KeyRotated)
    }
}

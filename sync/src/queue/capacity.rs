//! How much more the queue takes (PROTOCOL §2, Capacity): by operations that wait, and by room on the disk.

use super::Draft;
use super::alarm::QueueAlarm;
use super::error::AppendError;
use lotgate_domain::operation::body::Body;
use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

/// How much may wait, and how much room the disk must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapacityLimits {
    /// How many operations may wait for a receipt.
    pub operations: u64,
    /// Below this many free bytes people are warned.
    pub disk_low: u64,
    /// Below this many free bytes no new work is taken.
    pub disk_very_low: u64,
}

impl Default for CapacityLimits {
    fn default() -> Self {
        Self { operations: 1_000_000, disk_low: 256 * MIB, disk_very_low: 64 * MIB }
    }
}

/// How full the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapacityLevel {
    /// There is room.
    Ok,
    /// Half full, or little room on the disk.
    Warn,
    /// Four fifths full.
    Alarm,
    /// No new work; what finishes an open step is still taken.
    Full,
}

/// How full the queue is, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Operations that wait for a receipt.
    pub queued: u64,
    /// How many may.
    pub limit: u64,
    /// Bytes free on the disk of the queue; `None` where that cannot be told.
    pub disk_free: Option<u64>,
    /// The level that follows.
    pub level: CapacityLevel,
}

/// What is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Everything.
    All,
    /// Only what finishes an open step.
    Reserve,
    /// Only what the queue writes itself.
    None,
}

impl CapacityLimits {
    /// How full a queue with `queued` waiting operations is on a disk with `disk_free` bytes.
    #[must_use]
    pub fn judge(&self, queued: u64, disk_free: Option<u64>) -> Capacity {
        let level = self.by_count(queued).max(self.by_disk(disk_free));
        Capacity { queued, limit: self.operations, disk_free, level }
    }

    fn by_count(&self, queued: u64) -> CapacityLevel {
        // In 128 bits no limit overflows.
        let reached = |percent: u128| u128::from(queued) * 100 >= u128::from(self.operations) * percent;
        if reached(95) {
            CapacityLevel::Full
        } else if reached(80) {
            CapacityLevel::Alarm
        } else if reached(50) {
            CapacityLevel::Warn
        } else {
            CapacityLevel::Ok
        }
    }

    fn by_disk(&self, free: Option<u64>) -> CapacityLevel {
        match free {
            Some(free) if free < self.disk_very_low => CapacityLevel::Full,
            Some(free) if free < self.disk_low => CapacityLevel::Warn,
            _ => CapacityLevel::Ok,
        }
    }

    /// The alarms that follow.
    pub(super) fn alarms(&self, queued: u64, disk_free: Option<u64>) -> impl Iterator<Item = QueueAlarm> {
        let count = match self.by_count(queued) {
            CapacityLevel::Ok => None,
            CapacityLevel::Warn => Some(QueueAlarm::QueueFilling),
            CapacityLevel::Alarm => Some(QueueAlarm::QueueNearlyFull),
            CapacityLevel::Full => Some(QueueAlarm::QueueFull),
        };
        let disk = match self.by_disk(disk_free) {
            CapacityLevel::Ok => None,
            CapacityLevel::Warn | CapacityLevel::Alarm => Some(QueueAlarm::DiskLow),
            CapacityLevel::Full => Some(QueueAlarm::DiskVeryLow),
        };
        count.into_iter().chain(disk)
    }

    /// Whether one more operation is taken: at 95 % only what finishes an open step, at the limit only what the
    /// queue itself has to say.
    pub(super) fn admit(
        &self,
        draft: &Draft,
        queued: u64,
        disk_free: Option<u64>,
    ) -> Result<(), AppendError> {
        if matches!(draft.body, Body::EpochOpened { .. } | Body::ScanRepeated { .. }) {
            return Ok(());
        }
        let by_count = match self.by_count(queued) {
            CapacityLevel::Full if queued >= self.operations => Room::None,
            CapacityLevel::Full => Room::Reserve,
            _ => Room::All,
        };
        let taken = |room| match room {
            Room::All => true,
            Room::Reserve => draft.finishes,
            Room::None => false,
        };
        if !taken(by_count) {
            return Err(AppendError::QueueFull);
        }
        let by_disk = if self.by_disk(disk_free) == CapacityLevel::Full { Room::Reserve } else { Room::All };
        if taken(by_disk) { Ok(()) } else { Err(AppendError::DiskLow) }
    }
}

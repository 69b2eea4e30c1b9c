//! What the engine remembers of its calls: when each is due, and whether any can succeed.

use super::failure::FailureCode;
use lotgate_domain::chain::Head;

/// One of the three calls.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) due_at: Option<u64>,
    pub(super) not_before: u64,
    pub(super) attempts: u32,
    pub(super) failure: Option<FailureCode>,
}

/// No call can be expected to succeed.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) code: FailureCode,
    pub(super) retry_at: u64,
    /// Until when the cloud asked to wait; a probe does not cut that short.
    pub(super) asked_until: u64,
    pub(super) probe_at: u64,
    /// Somebody listened at the last look.
    pub(super) open: bool,
}

impl Lane {
    pub(super) fn at(&self) -> Option<u64> {
        self.due_at.map(|due| due.max(self.not_before))
    }

    pub(super) fn is_ready(&self, now: u64) -> bool {
        self.at().is_some_and(|at| at <= now)
    }

    pub(super) fn due_by(&mut self, at: u64) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }

    pub(super) fn forgive(&mut self) {
        self.not_before = 0;
        self.attempts = 0;
    }

    pub(super) fn succeed(&mut self, due_at: u64) {
        *self = Self { due_at: Some(due_at), ..Self::default() };
    }
}

/// Where the next push begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    After(Head),
    Oldest,
}

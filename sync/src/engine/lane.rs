//! What the engine remembers of its calls: when each is due, and whether any can succeed.

use super::action::ActionId;
use super::failure::FailureCode;
use lotgate_domain::chain::Head;

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Head,
    Push,
    Feed,
    Time,
    Heartbeat,
    Evidence,
    Rotate,
}

/// When a kind of call is due, and how the last one went.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) due_at: Option<u64>,
    pub(super) not_before: u64,
    pub(super) attempts: u32,
    pub(super) failure: Option<FailureCode>,
    pub(super) under_way: Option<UnderWay>,
    /// Asked for again while it was under way: the answer may be older than the wish.
    pub(super) woken: bool,
}

/// A call that was not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) id: ActionId,
    /// In which era of the link it was started.
    pub(super) era: u64,
}

/// Every lane.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) head: Lane,
    pub(super) push: Lane,
    pub(super) feed: Lane,
    pub(super) time: Lane,
    pub(super) heartbeat: Lane,
    pub(super) evidence: Lane,
    pub(super) rotate: Lane,
}

impl Lanes {
    pub(super) const CALLS: [Call; 7] =
        [Call::Head, Call::Push, Call::Feed, Call::Time, Call::Heartbeat, Call::Evidence, Call::Rotate];

    pub(super) const fn get(&self, call: Call) -> &Lane {
        match call {
            Call::Head => &self.head,
            Call::Push => &self.push,
            Call::Feed => &self.feed,
            Call::Time => &self.time,
            Call::Heartbeat => &self.heartbeat,
            Call::Evidence => &self.evidence,
            Call::Rotate => &self.rotate,
        }
    }

    pub(super) const fn get_mut(&mut self, call: Call) -> &mut Lane {
        match call {
            Call::Head => &mut self.head,
            Call::Push => &mut self.push,
            Call::Feed => &mut self.feed,
            Call::Time => &mut self.time,
            Call::Heartbeat => &mut self.heartbeat,
            Call::Evidence => &mut self.evidence,
            Call::Rotate => &mut self.rotate,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        Self::CALLS.into_iter().map(|call| self.get(call))
    }

    /// Which call the action is.
    pub(super) fn find(&self, id: ActionId) -> Option<(Call, UnderWay)> {
        Self::CALLS.into_iter().find_map(|call| {
            let under_way = self.get(call).under_way.filter(|under_way| under_way.id == id)?;
            Some((call, under_way))
        })
    }

    pub(super) fn forgive(&mut self) {
        for call in Self::CALLS {
            self.get_mut(call).forgive();
        }
    }
}

impl Lane {
    pub(super) fn at(&self) -> Option<u64> {
        self.due_at.map(|due| due.max(self.not_before))
    }

    /// Due now, and not under way.
    pub(super) fn is_ready(&self, now: u64) -> bool {
        self.under_way.is_none() && self.at().is_some_and(|at| at <= now)
    }

    pub(super) fn due_by(&mut self, at: u64) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }

    /// Somebody wants it now.
    pub(super) fn wake(&mut self, now: u64) {
        self.due_by(now);
        self.woken = true;
    }

    pub(super) fn start(&mut self, under_way: UnderWay) {
        self.under_way = Some(under_way);
        self.woken = false;
    }

    pub(super) fn forgive(&mut self) {
        self.not_before = 0;
        self.attempts = 0;
    }

    /// Answered as it should be; due again at `due_at`, or at once if it was asked for in the meantime.
    pub(super) fn succeed(&mut self, due_at: Option<u64>, now: u64) {
        let due_at = if self.woken { Some(now) } else { due_at };
        *self = Self { due_at, ..Self::default() };
    }
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

/// Where the next batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    After(Head),
    Oldest,
}

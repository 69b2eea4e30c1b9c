//! What goes into the engine and what comes out.

use super::lane::Position;
use super::retry::Bounds;
use lotgate_domain::chain::Head;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Epoch, Hash, TenantId};
use lotgate_domain::protocol::{HeadReply, Limits, StopCode, Stopped};
use std::future::Future;

use super::failure::Failure;
use crate::clock::ClockMemory;
use crate::secure::StationKeys;

/// The engine's times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Waits between failed requests.
    pub retry: Bounds,
    /// Longest wait after a fault of the cloud while operations wait.
    pub fault_ms: u64,
    /// Between two probes while the cloud does not answer.
    pub probe_ms: u64,
    /// Between two pulls of reference data while nothing else happens, give or take a third.
    pub poll_ms: u64,
    /// Between two looks at the head while nothing is pushed, give or take a third.
    pub head_ms: u64,
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: Bounds { first_ms: 1_000, longest_ms: 600_000 },
            fault_ms: 30_000,
            probe_ms: 1_500,
            poll_ms: 30_000,
            head_ms: 300_000,
            heartbeat_ms: 60_000,
        }
    }
}

/// What wakes the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// There are new entries in the queue.
    QueueGrew,
    /// The system says that the network came back.
    LinkUp,
    /// A person asks to try now.
    OperatorTap,
    /// The cloud says that there is more reference data.
    FeedHint,
    /// What needs a person is not what it was at the last heartbeat.
    AlarmsChanged,
    /// There is evidence to hand over.
    EvidenceFound,
    /// A person asks for a new key of the station.
    Rotate,
}

/// Names one action from the moment it is given out until it is answered. Never used twice by an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub(super) u64);

/// Why a new key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotateReason {
    /// A person wants it.
    Planned,
    /// The cloud found a second branch of the chain: somebody else may have the key.
    Forked,
}

impl RotateReason {
    /// As the request says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Forked => "forked",
        }
    }

    /// Why the epoch under the new key is opened.
    #[must_use]
    pub const fn epoch(self) -> EpochReason {
        match self {
            Self::Planned => EpochReason::KeyRotated,
            Self::Forked => EpochReason::Forked,
        }
    }
}

/// What the engine asks for. Each is answered once, by [`super::Engine::handle_reply`] or
/// [`super::Engine::handle_failure`], in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask where the cloud's copy of the chain stands.
    FetchHead,
    /// Read a batch from the queue. It goes by the id of this action from then on.
    Read {
        /// What it comes after; `None` begins with the oldest entry that the queue keeps.
        after: Option<Head>,
        /// Largest number of entries.
        max_entries: u64,
        /// Largest number of bytes before compression, unless one entry alone is longer.
        max_bytes: u64,
    },
    /// Push a batch, and keep the cloud's answer unread.
    Push {
        /// Which.
        batch: ActionId,
    },
    /// Verify the cloud's answer to a batch, store it, settle by it. Given out in the order of the pushes, one
    /// at a time.
    Take {
        /// Which.
        batch: ActionId,
    },
    /// Mark everything of an epoch after a point as set aside, and open a new epoch.
    SetAside {
        /// Which epoch.
        epoch: Epoch,
        /// The last entry that the cloud took of it.
        after: u64,
        /// Why it took no more.
        code: StopCode,
    },
    /// Hand over the next of the evidence, if there is any.
    SendEvidence,
    /// Ask for a certificate for a new key, and go on with that in a new epoch.
    Rotate {
        /// Why.
        reason: RotateReason,
    },
    /// Tell the cloud how the station is.
    Heartbeat,
    /// Pull the page after a cursor.
    PullFeed {
        /// The cursor; 0 before the first page.
        after: u64,
    },
    /// Ask for the cloud's signed time.
    FetchTime {
        /// How the server's certificate is judged for this one request.
        dates: Dates,
    },
    /// Look whether somebody listens at the cloud's address, without sending anything.
    Probe,
}

/// What is made of the dates of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// They must hold at the trusted time.
    Judged,
    /// They are not looked at: the station has no time to judge them by (PROTOCOL §3).
    Ignored,
}

/// What came of an action, after everything signed in it was verified and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Action::FetchHead`].
    Head {
        /// What the cloud said.
        head: Box<HeadReply>,
        /// What the queue has to say to it.
        place: Place,
    },
    /// To [`Action::Read`].
    Batch {
        /// Last entry of the batch.
        last: Head,
    },
    /// To [`Action::Read`]: there was nothing.
    Drained,
    /// To [`Action::Push`]: the cloud answered.
    Answered,
    /// To [`Action::Push`]: the cloud does not hold the entry that the batch comes after.
    HeadMismatch {
        /// Where it stands.
        head: Box<HeadReply>,
        /// What the queue has to say to it.
        place: Place,
    },
    /// To [`Action::Take`]: the batch was taken, whole or in part, and what is signed in the answer verifies.
    Pushed {
        /// Why the rest was not taken ([`super::taken::check_taken`]).
        stopped: Option<Stopped>,
        /// The cloud put it on another branch, and the station still writes in that epoch.
        forked: bool,
        /// The queue kept the answer; if it could not, the answer is asked for again.
        kept: bool,
    },
    /// To [`Action::Take`]: the answer is older than one that was taken before, or of a log that was restored.
    /// Nothing was stored.
    StartOver,
    /// To [`Action::SetAside`].
    SetAside,
    /// To [`Action::SendEvidence`].
    Evidence {
        /// Some was handed over; there may be more.
        more: bool,
    },
    /// To [`Action::Rotate`]: the station goes on with the new key.
    Rotated,
    /// To [`Action::Heartbeat`].
    Heard {
        /// What the cloud takes in one request.
        limits: Limits,
        /// The station was revoked.
        revoked: bool,
    },
    /// To [`Action::PullFeed`].
    Feed {
        /// The cursor now.
        cursor: u64,
        /// A page came; there may be another one.
        more: bool,
    },
    /// To [`Action::FetchTime`]: a signed time arrived and is stored.
    Time,
    /// To [`Action::Probe`].
    Probed {
        /// Somebody listens.
        open: bool,
    },
}

/// The cloud's head, as the queue sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The queue holds that entry.
    pub head_held: bool,
    /// The last entry that a receipt covers.
    pub settled: Option<Head>,
    /// The cloud was restored, and that was accepted just now: it may lack what it had kept of the evidence.
    pub restored: bool,
}

impl Place {
    /// After the cloud's head or the last settled entry, whichever is earlier: entries that the cloud took
    /// without its receipt having arrived are pushed again, skipped by the cloud, and answered with it.
    pub(super) fn next_push(self, head: Head) -> Position {
        let order = |head: Head| (head.epoch.map_or(0, |epoch| epoch.n), head.seq);
        let behind = self.settled.is_some_and(|settled| order(settled) < order(head));
        match self.settled {
            _ if !self.head_held => Position::Oldest,
            Some(settled) if behind => Position::After(settled),
            None if head.seq > 0 => Position::Oldest,
            _ => Position::After(head),
        }
    }
}

/// What a way to the cloud does besides the calls of [`lotgate_domain::protocol::CloudApi`].
pub trait Reach {
    /// Does [`Action::Probe`]: connects, sends nothing, and closes; within two seconds.
    fn reach(&self) -> impl Future<Output = bool> + Send;

    /// Does [`Action::FetchTime`], on a connection of its own: the framed statement as it came, not verified.
    fn signed_time(
        &self,
        tenant: TenantId,
        nonce: Hash,
        dates: Dates,
    ) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;

    /// Tells what the station knows of time; certificates' dates are judged by it.
    fn remember_time(&self, memory: ClockMemory);

    /// Goes on with another key of the station.
    fn use_keys(&self, keys: &StationKeys);
}

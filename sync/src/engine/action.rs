//! What goes into the engine and what comes out.

use super::lane::Position;
use super::retry::Bounds;
use lotgate_domain::chain::Head;
use lotgate_domain::protocol::{HeadReply, Stopped};
use std::future::Future;

/// The engine's times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Waits between failed requests.
    pub retry: Bounds,
    /// Between two probes while the cloud does not answer.
    pub probe_ms: u64,
    /// Between two pulls of reference data while nothing else happens, give or take a third.
    pub poll_ms: u64,
    /// Between two looks at the head while nothing else happens, give or take a third.
    pub head_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: Bounds { first_ms: 1_000, longest_ms: 600_000 },
            probe_ms: 1_500,
            poll_ms: 30_000,
            head_ms: 300_000,
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
}

/// What the engine asks for. Each action is answered by [`super::Engine::handle_reply`] or
/// [`super::Engine::handle_failure`] before the next one is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask where the cloud's copy of the chain stands.
    FetchHead,
    /// Push what comes after a point.
    Push {
        /// The point; `None` begins with the oldest entry that the queue keeps.
        after: Option<Head>,
        /// Largest number of entries.
        max_entries: u64,
        /// Largest number of bytes before compression, unless one entry alone is longer.
        max_bytes: u64,
    },
    /// Pull the page after a cursor.
    PullFeed {
        /// The cursor; 0 before the first page.
        after: u64,
    },
    /// Look whether somebody listens at the cloud's address, without sending anything.
    Probe,
}

/// What came of an action, after everything signed in it was verified and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Action::FetchHead`].
    Head {
        /// What the cloud said.
        head: HeadReply,
        /// What the queue has to say to it.
        place: Place,
    },
    /// To [`Action::Push`]: the batch was taken, whole or in part.
    Pushed {
        /// Last entry of the batch.
        sent: Head,
        /// How far the cloud holds that epoch.
        through: Head,
        /// The queue holds that entry.
        held: bool,
        /// Why the rest was not taken.
        stopped: Option<Stopped>,
    },
    /// To [`Action::Push`]: the cloud does not hold the entry that the batch comes after.
    HeadMismatch {
        /// Where it stands.
        head: HeadReply,
        /// What the queue has to say to it.
        place: Place,
    },
    /// To [`Action::Push`]: there was nothing to push.
    Drained,
    /// To [`Action::PullFeed`].
    Feed {
        /// The cursor now.
        cursor: u64,
        /// A page came; there may be another one.
        more: bool,
    },
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
}

/// Does [`Action::Probe`]: looks whether somebody listens where the cloud should be.
pub trait Reach {
    /// Connects, sends nothing, and closes; within two seconds.
    fn reach(&self) -> impl Future<Output = bool> + Send;
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

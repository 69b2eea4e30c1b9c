//! The simulation of PROTOCOL §7: several machines with the real engine, desk and queue on disks in memory, the real
//! rules of the cloud, and between them everything that can go wrong. One seed, one run: time is virtual, one thing
//! happens after the other, and every chance follows from the seed.
//!
//! The flow: [`world`] takes the next event, lets it happen to a [`machine`] or to the [`cloud`], and lets the machine
//! do all that it can do now. [`faults`] draws what goes wrong before the run begins. When that is over, every queue
//! must run empty within a bound, and [`oracle`] looks at what is left.
//!
//! Keys and signatures are the real ones everywhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    unreachable_pub,
    reason = "a test program: what is not as it must be ends it"
)]

mod clock;
mod cloud;
mod dice;
mod faults;
mod lies;
mod machine;
mod network;
mod oracle;
mod parker;
mod poison;
mod rebuild;
mod tenant;
mod traffic;
mod world;

use lotgate_domain::ids::Hash;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What happened in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events of the world.
    pub events: u64,
    /// Operations that were confirmed.
    pub operations: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// Faults that happened.
    pub faults: u64,
    /// Times that the cloud died between its two transactions.
    pub crashes: u64,
    /// Answers that were lies.
    pub lies: u64,
    /// Lies, and other contradictions, that a station noticed.
    pub noticed: u64,
    /// Restores that the root key owned up to.
    pub recoveries: u64,
    /// Forks that were found.
    pub forks: u64,
    /// Epochs that stations opened after the first.
    pub epochs: u64,
    /// Virtual time from the last fault until every queue was empty.
    pub drained_ms: u64,
}

/// A run that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// What happened.
    pub tally: Tally,
    /// Over rows, leaves, root, verdicts, and how each station stands.
    pub digest: Hash,
}

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The invariant, by its letter in PROTOCOL §7, or `lie`, `fork`, `panic`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl Wrong {
    fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

/// Runs one seed; gives the trace, too, if it is asked for.
pub fn run(seed: u64, traced: bool) -> (Result<Done, Wrong>, Vec<String>) {
    let mut trace = Vec::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut world = world::World::new(seed, traced);
        let ended = world.run().and_then(|()| world.check());
        trace = world.take_trace();
        ended
    }));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Wrong::new("panic", text.unwrap_or_default()))
    });
    (result, trace)
}

/// The value of a future that has nothing to wait for.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the store in memory waits for nothing"),
    }
}

impl Tally {
    /// Adds another run; the longest drain stays.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.operations += other.operations;
        self.requests += other.requests;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.lies += other.lies;
        self.noticed += other.noticed;
        self.recoveries += other.recoveries;
        self.forks += other.forks;
        self.epochs += other.epochs;
        self.drained_ms = self.drained_ms.max(other.drained_ms);
    }
}

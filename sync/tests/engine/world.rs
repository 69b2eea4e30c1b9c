//! A queue, a cloud and the way between them, small enough to look into: what the engine is driven with.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot be set up must stop"
)]

use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Epoch, EpochId, Hash};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::{HeadReply, Limits, StopCode, Stopped};
use lotgate_domain::time::Timestamp;
use lotgate_sync::engine::failure::{
    Failure, FailureCode, InconsistencyCode, LinkCode, QueueCode, ReplyCode, TlsCode,
};
use lotgate_sync::engine::{Action, Engine, Place, Reply, Settings};

pub(crate) const EPOCH: Epoch = Epoch { n: 1, id: EpochId([1; 16]) };

/// What stands between engine and cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Nobody listens.
    Refused,
    /// Packets vanish; no connection within its time, a probe finds nobody.
    Vanish,
    /// Connections stand, answers do not come.
    Silent,
    /// A forwarder listens, and calls end by a cut connection.
    Cut,
    /// The cloud does its work, the answer is lost.
    LostReply,
    /// 503 with a wait.
    Busy(u64),
    /// 413 for more entries than these.
    TooLarge(u64),
    /// Another program answers.
    Garbage,
    /// The certificate is wrong.
    WrongCertificate,
    /// The station is not known.
    UnknownKey,
    /// A receipt does not verify.
    BadReceipt,
    /// The queue cannot be read.
    Unreadable,
    /// The cloud does not take the entry with this number.
    Stops(u64),
    /// Pulls are refused, pushes are not.
    TooOld,
    /// The cloud knows no entry that a push may come after.
    Mismatch,
    /// The cloud says that it has more than was pushed and than the queue holds.
    Ahead,
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
    pub(crate) fault: Fault,
    /// The queue holds entries 1 to this.
    pub(crate) queued: u64,
    /// The cloud holds entries 1 to this.
    pub(crate) cloud: u64,
    /// The station holds receipts for entries 1 to this.
    pub(crate) settled: u64,
    /// The feed has pages 1 to this.
    pub(crate) pages: u64,
    pub(crate) limits: Limits,
    pub(crate) backoff_ms: u64,
    /// Every action with the moment that it was asked for.
    pub(crate) log: Vec<(u64, Action)>,
    /// How long a call takes.
    pub(crate) latency_ms: u64,
}

pub(crate) fn point(seq: u64) -> Head {
    let epoch = (seq > 0).then_some(EPOCH);
    Head { epoch, seq, hash: Hash::of(&seq.to_be_bytes()) }
}

pub(crate) fn failure(code: FailureCode) -> Failure {
    code.into()
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            engine: Engine::new(Settings::default(), 0, seed, 0),
            now: 0,
            fault: Fault::None,
            queued: 0,
            cloud: 0,
            settled: 0,
            pages: 1,
            limits: Limits { entries: 10, bytes: 1_048_576, in_flight: 3 },
            backoff_ms: 0,
            log: Vec::new(),
            latency_ms: 5,
        }
    }

    /// One step: the next action with its answer, or a sleep until there is one, but not past `until`.
    /// False if the time is up.
    pub(crate) fn step(&mut self, until: u64) -> bool {
        if let Some(action) = self.engine.poll_action(self.now) {
            assert_eq!(self.engine.poll_action(self.now), None, "a second action while one is under way");
            assert_eq!(self.engine.poll_timeout(), None, "sleeping while an answer is awaited");
            self.log.push((self.now, action));
            assert!(self.log.len() < 100_000, "a hot loop: {:?}", &self.log[self.log.len() - 5..]);
            self.answer(action);
            return true;
        }
        let at = self.engine.poll_timeout().expect("no action and no time to wake: a dead state");
        assert!(at > self.now, "woken at {} for nothing at {}: a hot loop", at, self.now);
        self.now = self.now.max(at.min(until));
        at <= until
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while self.step(until) {}
    }

    pub(crate) fn answer(&mut self, action: Action) {
        let outcome = self.outcome(action);
        self.now += if action == Action::Probe { 1 } else { self.latency_ms };
        match outcome {
            Ok(reply) => self.engine.handle_reply(reply, self.now),
            Err(failure) => self.engine.handle_failure(&failure, self.now),
        }
    }

    fn outcome(&mut self, action: Action) -> Result<Reply, Failure> {
        if action == Action::Probe {
            return Ok(Reply::Probed { open: !matches!(self.fault, Fault::Refused | Fault::Vanish) });
        }
        if let Action::Push { after, .. } = action {
            let from = after.map_or(0, |after| after.seq);
            let held = |after: Head| after.seq <= self.queued && after == point(after.seq);
            assert!(after.is_none_or(held), "pushed after an entry that the queue does not hold");
            if self.fault == Fault::Unreadable {
                return Err(failure(FailureCode::Queue(QueueCode::QueueUnreadable)));
            }
            if from >= self.queued {
                return Ok(Reply::Drained);
            }
        }
        let rejected = |code| Err(failure(FailureCode::Rejected(code)));
        match self.fault {
            Fault::Refused => return Err(failure(FailureCode::Link(LinkCode::ConnectionRefused))),
            Fault::Vanish => {
                self.now += 5_000;
                return Err(failure(FailureCode::Link(LinkCode::ConnectTimedOut)));
            }
            Fault::Silent => {
                self.now += 30_000;
                return Err(failure(FailureCode::Link(LinkCode::TimedOut)));
            }
            Fault::Cut => return Err(failure(FailureCode::Link(LinkCode::ConnectionLost))),
            Fault::Busy(ms) => {
                let code = FailureCode::Rejected(ProblemCode::Busy);
                return Err(Failure { code, retry_after_ms: Some(ms), head: None });
            }
            Fault::Garbage => return Err(failure(FailureCode::Reply(ReplyCode::ReplyInvalid))),
            Fault::WrongCertificate => return Err(failure(FailureCode::Tls(TlsCode::WrongCertificate))),
            Fault::UnknownKey => return rejected(ProblemCode::UnknownKey),
            Fault::TooOld if matches!(action, Action::PullFeed { .. }) => {
                return rejected(ProblemCode::TooOld);
            }
            _ => {}
        }
        let reply = self.cloud_does(action)?;
        match self.fault {
            Fault::LostReply => Err(failure(FailureCode::Link(LinkCode::ConnectionLost))),
            Fault::BadReceipt if matches!(action, Action::Push { .. }) => {
                Err(failure(FailureCode::Inconsistent(InconsistencyCode::ReceiptInvalid)))
            }
            _ => {
                if let Reply::Pushed { through, held: true, .. } = &reply {
                    self.settled = self.settled.max(through.seq);
                }
                Ok(reply)
            }
        }
    }

    fn cloud_does(&mut self, action: Action) -> Result<Reply, Failure> {
        match action {
            Action::FetchHead => Ok(Reply::Head { head: self.head(), place: self.place() }),
            Action::PullFeed { after } => {
                let cursor = self.pages.min(after + 1).max(after);
                Ok(Reply::Feed { cursor, more: cursor > after })
            }
            Action::Push { after, max_entries, .. } => {
                let from = after.map_or(0, |after| after.seq);
                if from > self.cloud || self.fault == Fault::Mismatch {
                    return Ok(Reply::HeadMismatch { head: self.head(), place: self.place() });
                }
                let last = self.queued.min(from + max_entries);
                if let Fault::TooLarge(most) = self.fault
                    && last - from > most
                {
                    return Err(failure(FailureCode::Rejected(ProblemCode::TooLarge)));
                }
                let stopped = match self.fault {
                    Fault::Stops(seq) if seq <= last => Some(Stopped { seq, code: StopCode::BadSignature }),
                    _ => None,
                };
                let taken = stopped.map_or(last, |stopped| stopped.seq - 1);
                self.cloud = self.cloud.max(taken);
                let through = if self.fault == Fault::Ahead { self.queued + 5 } else { self.cloud };
                let held = through <= self.queued;
                Ok(Reply::Pushed { sent: point(last), through: point(through), held, stopped })
            }
            Action::Probe => Ok(Reply::Probed { open: true }),
        }
    }

    fn place(&self) -> Place {
        let settled = (self.settled > 0).then(|| point(self.settled));
        Place { head_held: self.cloud <= self.queued, settled }
    }

    fn head(&self) -> HeadReply {
        let Head { epoch, seq, hash } = point(self.cloud);
        HeadReply {
            epoch,
            seq,
            hash,
            limits: self.limits,
            restore_window_s: 0,
            time: Timestamp::from_unix_ms(0),
            backoff_ms: self.backoff_ms,
        }
    }

    /// Requests from the `n`-th logged action on; probes are none.
    pub(crate) fn requests(&self, n: usize) -> Vec<(u64, Action)> {
        self.log[n..].iter().copied().filter(|(_, action)| *action != Action::Probe).collect()
    }
}

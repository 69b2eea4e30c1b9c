//! A queue, a cloud and the way between them, small enough to look into: what the engine is driven with.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
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
use lotgate_sync::engine::status::Link;
use lotgate_sync::engine::taken::check_taken;
use lotgate_sync::engine::{Action, ActionId, Dates, Engine, Place, Reply, Settings};
use std::collections::BTreeMap;

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
    /// For more entries than these, the answer is longer than it may be; the cloud did its work.
    LongReply(u64),
    /// The queue can be read and not written: what is verified cannot be kept.
    Unwritable,
    /// Another program answers.
    Garbage,
    /// The certificate is wrong.
    WrongCertificate,
    /// The station is not known.
    UnknownKey,
    /// The station is shut out.
    Revoked,
    /// A receipt does not verify.
    BadReceipt,
    /// The proof of entries up to this number does not verify.
    BadProof(u64),
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
    /// Every answer to a push is older than one before it.
    Overtaken,
    /// The server's certificate is over by the station's clock, until that is put right.
    Dates,
    /// The server's certificate is really over.
    Expired,
    /// Pushes belong to another branch until the key is changed.
    Forked,
    /// Heartbeats are never answered.
    SlowHeartbeat,
    /// The database behind the cloud is away: everything but the head fails.
    Internal,
}

/// An answer on its way.
struct Flight {
    at: u64,
    id: ActionId,
    action: Action,
    outcome: Result<Reply, Failure>,
}

/// A batch that was read, and what the cloud said of it.
#[derive(Clone)]
struct Parcel {
    from: u64,
    last: u64,
    answer: Option<(u64, Option<Stopped>)>,
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
    /// The first batches are answered last.
    pub(crate) reversed: bool,
    /// The station's clock was put right by a signed time.
    pub(crate) time_known: bool,
    /// Entries set aside that the cloud has not kept yet.
    pub(crate) evidence: u64,
    /// The key was changed so many times.
    pub(crate) rotations: u64,
    /// The most pushes that were on their way at once.
    pub(crate) most_in_flight: usize,
    /// An answer could not be kept, so that later ones leave a gap.
    unkept: bool,
    flights: Vec<Flight>,
    parcels: BTreeMap<ActionId, Parcel>,
}

pub(crate) fn point(seq: u64) -> Head {
    let epoch = (seq > 0).then_some(EPOCH);
    Head { epoch, seq, hash: Hash::of(&seq.to_be_bytes()) }
}

pub(crate) fn failure(code: FailureCode) -> Failure {
    code.into()
}

/// Whether the action asks anything of the cloud.
pub(crate) fn is_request(action: &Action) -> bool {
    !matches!(action, Action::Probe | Action::Read { .. } | Action::Take { .. } | Action::SetAside { .. })
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
            reversed: false,
            time_known: false,
            evidence: 0,
            rotations: 0,
            most_in_flight: 0,
            unkept: false,
            flights: Vec::new(),
            parcels: BTreeMap::new(),
        }
    }

    /// One step: everything that is to be begun now, then the next answer, or a sleep until there is something,
    /// but not past `until`. False if the time is up.
    pub(crate) fn step(&mut self, until: u64) -> bool {
        while let Some((id, action)) = self.engine.poll_action(self.now) {
            self.begin(id, action);
        }
        self.flights.retain(|flight| self.engine.awaits(flight.id));
        self.parcels.retain(|batch, _| self.engine.awaits(*batch));
        let wake = self.engine.poll_timeout(self.now);
        assert!(wake.is_none_or(|at| at > self.now), "woken at {wake:?} for nothing: a hot loop");
        let answer = self.flights.iter().map(|flight| flight.at).min();
        let next = [wake, answer].into_iter().flatten().min();
        assert!(next.is_some() || self.engine.status().link == Link::Paused, "a dead state at {}", self.now);
        let next = next.map_or(u64::MAX, |at| at.max(self.now));
        if next > until {
            self.now = until.max(self.now);
            return false;
        }
        self.now = next;
        if let Some(index) = self.flights.iter().position(|flight| flight.at <= next) {
            let flight = self.flights.remove(index);
            self.deliver(flight);
        }
        true
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while self.step(until) {}
    }

    fn begin(&mut self, id: ActionId, action: Action) {
        self.flights.retain(|flight| self.engine.awaits(flight.id));
        self.check(&action);
        self.log.push((self.now, action));
        assert!(self.log.len() < 200_000, "a hot loop: {:?}", &self.log[self.log.len() - 5..]);
        let mut takes = match action {
            Action::Probe => 1,
            _ if is_request(&action) => self.latency_ms,
            _ => 0,
        };
        if self.reversed && matches!(action, Action::Push { .. }) {
            takes += 20 * (3 - self.pushes_in_flight() as u64 % 3);
        }
        let (outcome, delay) = self.outcome(id, action);
        self.flights.push(Flight { at: self.now + takes + delay, id, action, outcome });
        self.most_in_flight = self.most_in_flight.max(self.pushes_in_flight());
    }

    pub(crate) fn pushes_in_flight(&self) -> usize {
        self.flights.iter().filter(|flight| matches!(flight.action, Action::Push { .. })).count()
    }

    /// What must hold of every action.
    fn check(&self, action: &Action) {
        let under_way =
            |wanted: fn(&Action) -> bool| self.flights.iter().any(|flight| wanted(&flight.action));
        match action {
            Action::FetchHead => {
                let pushing = under_way(|a| matches!(a, Action::Push { .. } | Action::Take { .. }));
                assert!(!pushing, "asked for the head while a push may change it");
            }
            Action::Rotate { .. } => assert!(!under_way(is_request), "another request under the old key"),
            Action::Push { .. } => {
                assert!(self.pushes_in_flight() < 3, "more than three batches on their way");
                assert!(!under_way(|a| matches!(a, Action::FetchHead | Action::Rotate { .. })));
            }
            Action::Take { batch } => {
                let parcel = &self.parcels[batch];
                let alarm = self.engine.status().alarm.is_some();
                let gap = parcel.from > self.settled && !alarm && !self.unkept;
                assert!(!gap, "nothing was contradicted, and settling would leave a gap: {action:?}");
                assert!(!under_way(|a| matches!(a, Action::Take { .. })), "two answers at once");
            }
            Action::Read { after: Some(after), .. } => {
                assert!(
                    after.seq <= self.queued && *after == point(after.seq),
                    "not in the queue: {after:?}"
                );
            }
            _ => {}
        }
    }

    fn deliver(&mut self, flight: Flight) {
        let Flight { id, action, outcome, .. } = flight;
        match outcome {
            Ok(reply) => {
                match (&reply, action) {
                    (Reply::Pushed { stopped, kept: true, .. }, Action::Take { batch }) => {
                        let parcel = &self.parcels[&batch];
                        let taken = stopped.map_or(parcel.last, |stopped| stopped.seq - 1);
                        if parcel.from <= self.settled {
                            self.settled = self.settled.max(taken);
                        }
                    }
                    (Reply::Time, _) => self.time_known = true,
                    _ => {}
                }
                self.engine.handle_reply(id, reply, self.now);
            }
            Err(failure) => self.engine.handle_failure(id, &failure, self.now),
        }
    }

    /// What comes of the action, and how much later than usual.
    fn outcome(&mut self, id: ActionId, action: Action) -> (Result<Reply, Failure>, u64) {
        let code = match self.fault {
            Fault::Refused | Fault::Vanish if action == Action::Probe => {
                return (Ok(Reply::Probed { open: false }), 0);
            }
            _ if action == Action::Probe => return (Ok(Reply::Probed { open: true }), 0),
            _ if !is_request(&action) => return (self.at_the_station(id, action), 0),
            Fault::Refused => (FailureCode::Link(LinkCode::ConnectionRefused), 0),
            Fault::Vanish => (FailureCode::Link(LinkCode::ConnectTimedOut), 5_000),
            Fault::Silent => (FailureCode::Link(LinkCode::TimedOut), 30_000),
            Fault::Cut => (FailureCode::Link(LinkCode::ConnectionLost), 0),
            Fault::SlowHeartbeat if action == Action::Heartbeat => {
                (FailureCode::Link(LinkCode::TimedOut), 30_000)
            }
            Fault::Busy(ms) => {
                let code = FailureCode::Rejected(ProblemCode::Busy);
                return (Err(Failure { code, retry_after_ms: Some(ms), head: None }), 0);
            }
            Fault::Internal if action != Action::FetchHead => {
                (FailureCode::Rejected(ProblemCode::Internal), 0)
            }
            Fault::Garbage => (FailureCode::Reply(ReplyCode::ReplyInvalid), 0),
            Fault::WrongCertificate => (FailureCode::Tls(TlsCode::WrongCertificate), 0),
            Fault::Dates if !self.time_known && action != (Action::FetchTime { dates: Dates::Ignored }) => {
                (FailureCode::Tls(TlsCode::CertificateExpired), 0)
            }
            Fault::Expired if action != (Action::FetchTime { dates: Dates::Ignored }) => {
                (FailureCode::Tls(TlsCode::CertificateExpired), 0)
            }
            Fault::UnknownKey => (FailureCode::Rejected(ProblemCode::UnknownKey), 0),
            Fault::Revoked => (FailureCode::Rejected(ProblemCode::Revoked), 0),
            Fault::TooOld if matches!(action, Action::PullFeed { .. }) => {
                (FailureCode::Rejected(ProblemCode::TooOld), 0)
            }
            _ => {
                let reply = self.at_the_cloud(action);
                let lost = self.fault == Fault::LostReply;
                let outcome =
                    if lost { Err(failure(FailureCode::Link(LinkCode::ConnectionLost))) } else { reply };
                return (outcome, 0);
            }
        };
        (Err(failure(code.0)), code.1)
    }

    fn at_the_station(&mut self, id: ActionId, action: Action) -> Result<Reply, Failure> {
        match action {
            Action::Read { after, max_entries, .. } => {
                if self.fault == Fault::Unreadable {
                    return Err(failure(FailureCode::Queue(QueueCode::QueueUnreadable)));
                }
                let from = after.map_or(0, |after| after.seq);
                if from >= self.queued {
                    return Ok(Reply::Drained);
                }
                let last = self.queued.min(from + max_entries);
                self.parcels.insert(id, Parcel { from, last, answer: None });
                Ok(Reply::Batch { last: point(last) })
            }
            Action::Take { batch } => {
                let Parcel { from, last, answer } = self.parcels[&batch].clone();
                let (through, stopped) = answer.expect("an answer to take");
                match self.fault {
                    Fault::BadReceipt => {
                        return Err(failure(FailureCode::Inconsistent(InconsistencyCode::ReceiptInvalid)));
                    }
                    Fault::BadProof(through) if from < through => {
                        return Err(failure(FailureCode::Inconsistent(InconsistencyCode::ProofInvalid)));
                    }
                    Fault::Overtaken => return Ok(Reply::StartOver),
                    _ => {}
                }
                let held = through <= self.queued;
                let stopped = check_taken(from + 1, point(last), point(through), held, stopped)?;
                let forked = self.fault == Fault::Forked && self.rotations == 0;
                let kept = self.fault != Fault::Unwritable;
                self.unkept |= !kept;
                Ok(Reply::Pushed { stopped, forked, kept })
            }
            Action::SetAside { after, .. } => {
                if self.settled > after {
                    let code = InconsistencyCode::AcceptedUnknown;
                    return Err(failure(FailureCode::Inconsistent(code)));
                }
                self.evidence += self.queued - after;
                // The first entry of the new epoch takes the place.
                self.queued = after + 1;
                self.fault = Fault::None;
                Ok(Reply::SetAside)
            }
            _ => panic!("{action:?} is not done at the station"),
        }
    }

    fn at_the_cloud(&mut self, action: Action) -> Result<Reply, Failure> {
        match action {
            Action::FetchHead => Ok(Reply::Head { head: Box::new(self.head()), place: self.place() }),
            Action::PullFeed { after } => {
                let cursor = self.pages.min(after + 1).max(after);
                Ok(Reply::Feed { cursor, more: cursor > after })
            }
            Action::Push { batch } => self.ingest(batch),
            Action::Heartbeat => Ok(Reply::Heard { limits: self.limits, revoked: false }),
            Action::SendEvidence => {
                let more = self.evidence > 0;
                self.evidence = self.evidence.saturating_sub(10);
                Ok(Reply::Evidence { more })
            }
            Action::Rotate { .. } => {
                self.rotations += 1;
                Ok(Reply::Rotated)
            }
            Action::FetchTime { .. } => Ok(Reply::Time),
            _ => panic!("{action:?} is nothing for the cloud"),
        }
    }

    fn ingest(&mut self, batch: ActionId) -> Result<Reply, Failure> {
        let Parcel { from, last, .. } = self.parcels[&batch];
        if from > self.cloud || self.fault == Fault::Mismatch {
            return Ok(Reply::HeadMismatch { head: Box::new(self.head()), place: self.place() });
        }
        if let Fault::TooLarge(most) = self.fault
            && last - from > most
        {
            return Err(failure(FailureCode::Rejected(ProblemCode::TooLarge)));
        }
        let stopped = match self.fault {
            Fault::Stops(seq) if seq > from.max(self.cloud) && seq <= last => {
                Some(Stopped { seq, code: StopCode::BadSignature })
            }
            _ => None,
        };
        let taken = stopped.map_or(last, |stopped| stopped.seq - 1);
        self.cloud = self.cloud.max(taken);
        let through = match self.fault {
            Fault::Ahead => self.queued + 5,
            _ if stopped.is_some() => taken,
            _ => self.cloud,
        };
        if let Fault::LongReply(most) = self.fault
            && last - from > most
        {
            return Err(failure(FailureCode::Reply(ReplyCode::ReplyTooLarge)));
        }
        self.parcels.get_mut(&batch).expect("the batch").answer = Some((through, stopped));
        Ok(Reply::Answered)
    }

    fn place(&self) -> Place {
        let settled = (self.settled > 0).then(|| point(self.settled));
        Place { head_held: self.cloud <= self.queued, settled, restored: false }
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
            recovered: Vec::new(),
        }
    }

    /// Requests from the `n`-th logged action on: what goes to the cloud.
    pub(crate) fn requests(&self, n: usize) -> Vec<(u64, Action)> {
        self.log[n..].iter().copied().filter(|(_, action)| is_request(action)).collect()
    }
}

//! The engine that empties the queue: a pure state machine (PROTOCOL §6). Time comes in as monotonic
//! milliseconds, chance as a seed; I/O is what [`Engine::poll_action`] asks for.
//!
//! Each kind of call has its own retry state and is under way once at a time, so that neither a feed that is
//! refused nor a slow heartbeat delays a push. After every (re)connect the engine asks for the head before
//! anything else. Batches go through a pipeline: read from the queue, pushed, and their answers verified and
//! settled by, up to three on their way at once. Answers count in the order of the pushes only. When one
//! fails, or is older than what the station has verified, the later ones are dropped unread, the engine goes
//! back, and pushes one at a time until the next success: pushing again changes nothing at the cloud.
//!
//! Two waits run side by side after a failure, because two promises must hold at once:
//! - *Requests* are repeated after a full-jitter exponential wait, 1 s to 10 min, so that a cloud that
//!   answers with 503 is not run down; while operations wait, 30 s at most after a fault of the cloud itself.
//!   A cloud's `retry_after_ms` lengthens the wait.
//! - *Probes*, a bare connect that sends nothing, look every 1.5 s whether somebody listens. When a probe finds
//!   the address open that was closed before, the waits are over and the next request goes out at once:
//!   so draining starts within 5 s of the cloud's return without any input. A probe that finds the address
//!   open as before changes nothing, so a broken cloud behind an open port still gets the exponential wait.
//!
//! An *era* of the link ends with each outage. Calls of an earlier era still count when they are answered, but
//! their failures are no news, and nothing waits for them.
//!
//! A contradiction of the cloud settles nothing and stops no pushing: the engine takes turns between asking again
//! for a proof of what is not settled, and handing over what comes after the cloud's head.
//!
//! It never gives up and never skips: a push goes after a point that the queue holds, or begins with the
//! oldest entry kept.

mod action;
pub mod answer;
pub mod failure;
mod lane;
mod outcome;
mod pipeline;
pub mod retry;
pub mod status;
pub mod taken;
pub mod time;

pub use action::{Action, ActionId, Dates, Place, Reach, Reply, RotateReason, Settings, Wake};
use failure::FailureCode;
use lane::{Call, Lane, Lanes, Outage, Position, UnderWay};
use lotgate_domain::ids::Epoch;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::{Limits, StopCode};
use pipeline::{Pipeline, Stage};
use retry::Jitter;
use status::{Link, Status, Stuck};
use std::collections::BTreeSet;

/// The most batches on their way at once, whatever the cloud offers.
const MOST_IN_FLIGHT: u64 = 3;

/// See the module.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    jitter: Jitter,
    paused: bool,
    next_id: u64,
    /// Counts outages.
    era: u64,
    outage: Option<Outage>,
    connect_attempts: u32,
    lanes: Lanes,
    probe: Option<ActionId>,
    /// A pull was started after the last push.
    pulled_last: bool,
    pipeline: Pipeline,
    position: Option<Position>,
    /// The last batch failed: one at a time.
    careful: bool,
    /// The cloud contradicted itself about what is not settled yet: what comes after its head is handed over
    /// before that is asked for again.
    hand_over: bool,
    /// An answer could not be kept: the head is not put off until pushing went on from what is settled.
    unkept: bool,
    mismatches: u32,
    limits: Limits,
    halvings: u32,
    cursor: u64,
    set_aside: Option<Tail>,
    rotate: RotateReason,
    clock_doubtful: bool,
    /// The server's certificate was refused for its dates alone.
    dates_doubtful: bool,
    stuck: Option<Stuck>,
    alarm: Option<FailureCode>,
    alarms: BTreeSet<&'static str>,
    revoked: bool,
    last_contact: Option<u64>,
}

/// What the cloud will not take of an epoch.
#[derive(Debug, Clone, Copy)]
struct Tail {
    epoch: Epoch,
    after: u64,
    code: StopCode,
    under_way: Option<ActionId>,
}

/// What is done next.
#[derive(Debug, Clone, Copy)]
enum Next {
    Call(Call),
    Send,
    Read(Position),
    SetAside,
    Probe,
}

impl Engine {
    /// An engine that starts at `now`, with reference data up to `cursor`, and spreads its waits by `seed`.
    #[must_use]
    pub fn new(settings: Settings, cursor: u64, seed: u64, now: u64) -> Self {
        let due = || Lane { due_at: Some(now), ..Lane::default() };
        let lanes = Lanes {
            head: due(),
            push: due(),
            feed: due(),
            heartbeat: due(),
            evidence: due(),
            ..Lanes::default()
        };
        Self {
            settings,
            jitter: Jitter::new(seed),
            paused: false,
            next_id: 1,
            era: 0,
            outage: None,
            connect_attempts: 0,
            lanes,
            probe: None,
            pulled_last: false,
            pipeline: Pipeline::default(),
            position: None,
            careful: false,
            hand_over: false,
            unkept: false,
            mismatches: 0,
            limits: Limits { entries: 1, bytes: 0, in_flight: 1 },
            halvings: 0,
            cursor,
            set_aside: None,
            rotate: RotateReason::Planned,
            clock_doubtful: false,
            dates_doubtful: false,
            stuck: None,
            alarm: None,
            alarms: BTreeSet::new(),
            revoked: false,
            last_contact: None,
        }
    }

    /// The next thing to do, if there is one at `now`. Several may be under way at once; ask until there is
    /// none.
    pub fn poll_action(&mut self, now: u64) -> Option<(ActionId, Action)> {
        let id = ActionId(self.next_id);
        let action = self.take_answer(id).or_else(|| self.start(id, now))?;
        self.next_id = self.next_id.saturating_add(1);
        Some((id, action))
    }

    /// When to ask [`Engine::poll_action`] again if nothing is answered before; always after `now`.
    #[must_use]
    pub fn poll_timeout(&self, now: u64) -> Option<u64> {
        if self.paused {
            return None;
        }
        let lanes = self.lanes.iter().filter(|lane| lane.under_way.is_none()).filter_map(Lane::at);
        let outage = self.outage.iter().flat_map(|outage| [outage.retry_at, outage.probe_at]);
        lanes.chain(outage).filter(|at| *at > now).min()
    }

    /// Whether an answer to the action still counts; for the id of [`Action::Read`], whether its batch does.
    /// What does not count may be cut off.
    #[must_use]
    pub fn awaits(&self, id: ActionId) -> bool {
        self.probe == Some(id)
            || self.set_aside.is_some_and(|tail| tail.under_way == Some(id))
            || self.lanes.find(id).is_some()
            || self.pipeline.awaits(id)
    }

    /// Takes a wake.
    pub fn handle_wake(&mut self, wake: Wake, now: u64) {
        match wake {
            Wake::QueueGrew => self.lanes.push.wake(now),
            Wake::FeedHint => self.lanes.feed.wake(now),
            Wake::AlarmsChanged => self.lanes.heartbeat.wake(now),
            Wake::EvidenceFound => self.lanes.evidence.wake(now),
            Wake::Rotate => self.lanes.rotate.wake(now),
            Wake::LinkUp | Wake::OperatorTap => {
                if let Some(outage) = &mut self.outage {
                    outage.retry_at = now;
                }
                self.connect_attempts = 0;
                self.lanes.forgive();
                self.reconnect(now);
            }
        }
    }

    /// Stops or resumes sending. Calls that are under way are still answered.
    pub fn handle_pause(&mut self, paused: bool, now: u64) {
        if self.paused && !paused {
            self.reconnect(now);
        }
        self.paused = paused;
    }

    /// Says whether the station has no good time: then the cloud's signed one is asked for at the next connect.
    pub fn handle_clock(&mut self, doubtful: bool) {
        self.clock_doubtful = doubtful;
    }

    /// How the engine stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let worst = self.lanes.iter().filter_map(|lane| lane.failure).max_by_key(|code| code.class());
        let failure = self.outage.as_ref().map(|outage| outage.code).or(worst);
        let link = match failure {
            _ if self.paused => Link::Paused,
            Some(code) => code.class().into(),
            None if self.last_contact.is_none() => Link::Connecting,
            None => Link::Online,
        };
        let waiting = self.lanes.iter().filter(|lane| lane.failure.is_some()).map(|lane| lane.not_before);
        Status {
            link,
            failure,
            alarm: self.alarm,
            stuck: self.stuck,
            revoked: self.revoked,
            sending: self.pipeline.is_sending(),
            retry_at: self.outage.as_ref().map(|outage| outage.retry_at).or(waiting.min()),
            last_contact: self.last_contact,
        }
    }

    /// Codes of what a person must look at, as the engine knows it: contradictions of the cloud since the
    /// program started, an entry that is not taken, a revocation.
    #[must_use]
    pub fn alarms(&self) -> BTreeSet<&'static str> {
        let mut alarms = self.alarms.clone();
        alarms.extend(self.revoked.then_some("revoked"));
        alarms.extend(self.stuck.map(|stuck| stuck.code_text()));
        alarms
    }

    /// The answer to the first batch is looked at whatever else is: that is no sending.
    fn take_answer(&mut self, id: ActionId) -> Option<Action> {
        let parcel = self.pipeline.next_answered()?;
        parcel.stage = Stage::Taking(id);
        Some(Action::Take { batch: parcel.batch })
    }

    fn start(&mut self, id: ActionId, now: u64) -> Option<Action> {
        if self.paused {
            return None;
        }
        self.drop_stale(now);
        match self.next(now)? {
            Next::Probe => {
                self.probe = Some(id);
                Some(Action::Probe)
            }
            Next::SetAside => {
                let tail = self.set_aside.as_mut()?;
                tail.under_way = Some(id);
                Some(Action::SetAside { epoch: tail.epoch, after: tail.after, code: tail.code })
            }
            Next::Send => {
                self.pulled_last = false;
                let era = self.era;
                let parcel = self.pipeline.next_unsent()?;
                parcel.stage = Stage::Sent(UnderWay { id, era });
                Some(Action::Push { batch: parcel.batch })
            }
            Next::Read(position) => {
                self.lanes.push.woken = false;
                self.pipeline.begin(id, position);
                Some(self.batch(position))
            }
            Next::Call(call) => {
                self.pulled_last |= call == Call::Feed;
                let under_way = UnderWay { id, era: self.era };
                self.lanes.get_mut(call).start(under_way);
                self.request(call)
            }
        }
    }

    fn request(&self, call: Call) -> Option<Action> {
        match call {
            Call::Head => Some(Action::FetchHead),
            Call::Feed => Some(Action::PullFeed { after: self.cursor }),
            Call::Time => {
                let dates = if self.dates_doubtful { Dates::Ignored } else { Dates::Judged };
                Some(Action::FetchTime { dates })
            }
            Call::Heartbeat => Some(Action::Heartbeat),
            Call::Evidence => Some(Action::SendEvidence),
            Call::Rotate => Some(Action::Rotate { reason: self.rotate }),
            Call::Push => None,
        }
    }

    fn next(&mut self, now: u64) -> Option<Next> {
        let Some(outage) = &self.outage else { return self.next_online(now) };
        let (retry, probe) = (outage.retry_at <= now, outage.probe_at <= now && self.probe.is_none());
        let ask_time = self.dates_doubtful && self.lanes.time.is_ready(now);
        let call = if ask_time {
            Some(Next::Call(Call::Time))
        } else if retry && !self.is_busy() {
            // One request finds out whether the outage is over.
            self.next_online(now)
        } else {
            None
        };
        call.or(probe.then_some(Next::Probe))
    }

    fn next_online(&mut self, now: u64) -> Option<Next> {
        let lanes = &self.lanes;
        // Nothing of another kind runs beside these two: one says where pushing begins, the other changes the
        // key that requests are signed with.
        if lanes.head.under_way.is_some() || lanes.rotate.under_way.is_some() {
            return None;
        }
        // A new key whose certificate was in a lost answer is all that the cloud lets such a station ask for.
        let locked_out = lanes.head.failure == Some(FailureCode::Rejected(ProblemCode::UnknownKey));
        let rotate = lanes.rotate.is_ready(now) && (self.position.is_some() || locked_out);
        let head = lanes.head.is_ready(now) && !(rotate && locked_out);
        if head || rotate {
            if self.pipeline.is_unsent() {
                self.position = self.pipeline.clear();
            }
            return match head {
                true => self.pipeline.is_empty().then_some(Next::Call(Call::Head)),
                false => self.is_quiet().then_some(Next::Call(Call::Rotate)),
            };
        }
        let time = self.ready(Call::Time, now);
        let pull = self.ready(Call::Feed, now);
        // While only one request at a time finds out whether the cloud is back, they take turns.
        let pull_first = self.outage.is_none() || !self.pulled_last;
        let first = time.or(pull.filter(|_| pull_first));
        first
            .or_else(|| self.next_push(now))
            .or(pull)
            .or_else(|| self.ready(Call::Evidence, now))
            .or_else(|| self.ready(Call::Heartbeat, now))
    }

    fn ready(&self, call: Call, now: u64) -> Option<Next> {
        self.lanes.get(call).is_ready(now).then_some(Next::Call(call))
    }

    fn next_push(&mut self, now: u64) -> Option<Next> {
        if self.pipeline.next_unsent().is_some() {
            return Some(Next::Send);
        }
        if !self.lanes.push.is_ready(now) {
            return None;
        }
        if let Some(tail) = &self.set_aside {
            return tail.under_way.is_none().then_some(Next::SetAside);
        }
        let position = self.position?;
        let room = u64::try_from(self.pipeline.len()).is_ok_and(|len| len < self.window());
        (room && !self.pipeline.is_reading()).then_some(Next::Read(position))
    }

    fn window(&self) -> u64 {
        if self.careful || self.outage.is_some() { 1 } else { self.limits.in_flight.clamp(1, MOST_IN_FLIGHT) }
    }

    /// A request is under way that tells how the link is now.
    fn is_busy(&self) -> bool {
        let of_now = |lane: &Lane| lane.under_way.is_some_and(|under_way| under_way.era == self.era);
        self.lanes.iter().any(of_now) || self.pipeline.is_busy(self.era)
    }

    /// Nothing at all is under way.
    fn is_quiet(&self) -> bool {
        self.pipeline.is_empty() && self.lanes.iter().all(|lane| lane.under_way.is_none())
    }

    fn batch(&self, position: Position) -> Action {
        let after = match position {
            Position::After(head) => Some(head),
            Position::Oldest => None,
        };
        Action::Read {
            after,
            max_entries: (self.limits.entries >> self.halvings.min(63)).max(1),
            max_bytes: (self.limits.bytes >> self.halvings.min(63)).max(1),
        }
    }

    /// When it is time to try again after the link was lost, nothing waits any more for what was sent before.
    fn drop_stale(&mut self, now: u64) {
        let lost = |outage: &Outage| matches!(outage.code, FailureCode::Link(_)) && outage.retry_at <= now;
        if !self.outage.as_ref().is_some_and(lost) {
            return;
        }
        if self.pipeline.is_stale(self.era) {
            self.rewind(now);
        }
        for call in Lanes::CALLS {
            let (era, lane) = (self.era, self.lanes.get_mut(call));
            if lane.under_way.is_some_and(|under_way| under_way.era != era) {
                lane.under_way = None;
                lane.due_by(now);
            }
        }
    }

    /// Drops every batch and goes back to where the first of them began.
    fn rewind(&mut self, now: u64) {
        if let Some(from) = self.pipeline.clear() {
            self.position = Some(from);
        }
        self.careful = true;
        self.lanes.push.due_by(now);
    }

    /// The next connection begins with the head and a pull.
    fn reconnect(&mut self, now: u64) {
        self.lanes.head.due_by(now);
        self.lanes.feed.due_by(now);
    }

    /// `ms`, give or take a third.
    fn around(&mut self, ms: u64) -> u64 {
        self.jitter.between(ms - ms / 3, ms.saturating_add(ms / 3))
    }
}

//! The engine that empties the queue: a pure state machine (PROTOCOL §6). Time comes in as monotonic
//! milliseconds, chance as a seed; I/O is what [`Engine::poll_action`] asks for.
//!
//! One call is under way at a time. After every (re)connect the engine asks for the head, then pulls
//! reference data (revocations and holds come first), then pushes batch after batch, with a pull between
//! them whenever one is due. When the queue is empty it polls gently. Each of the three calls has its own
//! retry state, so that a feed that is refused never delays a push.
//!
//! Two waits run side by side after a failure, because two promises must hold at once:
//! - *Requests* are repeated after a full-jitter exponential wait, 1 s to 10 min, so that a cloud that
//!   answers with 503 is not run down. A cloud's `retry_after_ms` lengthens the wait.
//! - *Probes*, a bare connect that sends nothing, look every 1.5 s whether somebody listens. When a probe finds
//!   the address open that was closed before, the waits are over and the next request goes out at once:
//!   so draining starts within 5 s of the cloud's return without any input. A probe that finds the address
//!   open as before changes nothing, so a broken cloud behind an open port still gets the exponential wait.
//!
//! It never gives up and never skips: a push goes after a point that the queue holds, or begins with the
//! oldest entry kept.

mod action;
pub mod answer;
pub mod failure;
mod lane;
pub mod retry;
pub mod status;

pub use action::{Action, Place, Reach, Reply, Settings, Wake};
use failure::{Failure, FailureCode, InconsistencyCode, Scope};
use lane::{Lane, Outage, Position};
use lotgate_domain::chain::Head;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::{HeadReply, Limits, MAX_DECOMPRESSED, Stopped};
use retry::Jitter;
use status::{Link, Status, Stuck};

/// See the module.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    jitter: Jitter,
    paused: bool,
    under_way: Option<Action>,
    /// The last call that was started was a pull: a push goes first.
    pulled_last: bool,
    woken: Woken,
    outage: Option<Outage>,
    connect_attempts: u32,
    head: Lane,
    feed: Lane,
    push: Lane,
    position: Option<Position>,
    mismatches: u32,
    limits: Limits,
    halvings: u32,
    cursor: u64,
    stuck: Option<Stuck>,
    alarm: Option<FailureCode>,
    last_contact: Option<u64>,
}

/// Wakes that came while the call that they ask for was under way.
#[derive(Debug, Default)]
struct Woken {
    queue_grew: bool,
    feed_hint: bool,
}

impl Engine {
    /// An engine that starts at `now`, with reference data up to `cursor`, and spreads its waits by `seed`.
    #[must_use]
    pub fn new(settings: Settings, cursor: u64, seed: u64, now: u64) -> Self {
        let due = || Lane { due_at: Some(now), ..Lane::default() };
        Self {
            settings,
            jitter: Jitter::new(seed),
            paused: false,
            under_way: None,
            pulled_last: false,
            woken: Woken::default(),
            outage: None,
            connect_attempts: 0,
            head: due(),
            feed: due(),
            push: due(),
            position: None,
            mismatches: 0,
            limits: Limits { entries: 1, bytes: 0, in_flight: 1 },
            halvings: 0,
            cursor,
            stuck: None,
            alarm: None,
            last_contact: None,
        }
    }

    /// The next thing to do, if there is one at `now`.
    pub fn poll_action(&mut self, now: u64) -> Option<Action> {
        if self.paused || self.under_way.is_some() {
            return None;
        }
        let outage = self.outage.as_ref();
        let call = if outage.is_none_or(|o| o.retry_at <= now) { self.next_call(now) } else { None };
        let probe = outage.filter(|o| o.probe_at <= now).map(|_| Action::Probe);
        let action = call.or(probe)?;
        if action != Action::Probe {
            self.pulled_last = matches!(action, Action::PullFeed { .. });
        }
        self.woken = Woken::default();
        self.under_way = Some(action);
        Some(action)
    }

    /// When to ask [`Engine::poll_action`] again; `None` while an answer is awaited or the engine is paused.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.paused || self.under_way.is_some() {
            return None;
        }
        let push = self.push.at().filter(|_| self.position.is_some());
        let call = [self.head.at(), self.feed.at(), push].into_iter().flatten().min();
        match &self.outage {
            Some(outage) => call.map(|at| at.max(outage.retry_at).min(outage.probe_at)),
            None => call,
        }
    }

    /// Takes a wake.
    pub fn handle_wake(&mut self, wake: Wake, now: u64) {
        match wake {
            Wake::QueueGrew => {
                self.push.due_by(now);
                self.woken.queue_grew = true;
            }
            Wake::FeedHint => {
                self.feed.due_by(now);
                self.woken.feed_hint = true;
            }
            Wake::LinkUp | Wake::OperatorTap => {
                if let Some(outage) = &mut self.outage {
                    outage.retry_at = now;
                }
                self.forgive();
                self.reconnect(now);
            }
        }
    }

    /// Stops or resumes sending. A call that is under way is still answered.
    pub fn handle_pause(&mut self, paused: bool, now: u64) {
        if self.paused && !paused {
            self.reconnect(now);
        }
        self.paused = paused;
    }

    /// Takes the answer to the action under way. An answer to anything else is ignored.
    pub fn handle_reply(&mut self, reply: Reply, now: u64) {
        match (self.under_way, reply) {
            (Some(Action::FetchHead), Reply::Head { head, place }) => {
                self.finish(now);
                let wait = self.around(self.settings.head_ms);
                self.head.succeed(now.saturating_add(wait));
                self.take_head(&head, place, now);
            }
            (Some(Action::Push { .. }), Reply::HeadMismatch { head, place }) => {
                self.finish(now);
                self.take_head(&head, place, now);
                self.mismatches = self.mismatches.saturating_add(1);
                if self.mismatches > 1 {
                    let code = FailureCode::Rejected(ProblemCode::HeadMismatch);
                    self.fail_call(Call::Push, code, 0, now);
                }
            }
            (Some(Action::Push { .. }), Reply::Pushed { sent, through, held, stopped }) => {
                self.finish(now);
                self.take_pushed(sent, through, held, stopped, now);
            }
            (Some(Action::Push { .. }), Reply::Drained) => {
                self.under_way = None;
                let due_at = self.woken.queue_grew.then_some(now);
                self.push = Lane { due_at, ..Lane::default() };
            }
            (Some(Action::PullFeed { .. }), Reply::Feed { cursor, more }) => {
                self.finish(now);
                self.cursor = cursor;
                let wait = self.around(self.settings.poll_ms);
                let now_due = more || self.woken.feed_hint;
                self.feed.succeed(if now_due { now } else { now.saturating_add(wait) });
            }
            (Some(Action::Probe), Reply::Probed { open }) => {
                self.under_way = None;
                self.take_probe(open, now);
            }
            _ => {}
        }
    }

    /// Takes the failure of the action under way.
    pub fn handle_failure(&mut self, failure: &Failure, now: u64) {
        let call = match self.under_way.take() {
            None => return,
            Some(Action::Probe) => return self.take_probe(false, now),
            Some(Action::FetchHead) => Call::Head,
            Some(Action::Push { .. }) => Call::Push,
            Some(Action::PullFeed { .. }) => Call::Feed,
        };
        let code = failure.code;
        if matches!(code, FailureCode::Inconsistent(_)) {
            self.alarm = Some(code);
        }
        if call == Call::Push && code.asks_for_less() {
            let smaller = self.shrink();
            if smaller && code == FailureCode::Rejected(ProblemCode::TooLarge) {
                return self.answered(now);
            }
        }
        let asked = failure.retry_after_ms.unwrap_or(0).min(self.settings.retry.longest_ms);
        match code.scope() {
            Scope::Connection => {
                self.connect_attempts = self.connect_attempts.saturating_add(1);
                let wait = self.settings.retry.wait_ms(self.connect_attempts, &mut self.jitter);
                self.lose(code, wait, 0, false, now);
                self.reconnect(now);
            }
            Scope::Answer => {
                let wait = self.fail_call(call, code, asked, now);
                self.lose(code, wait, 0, true, now);
                self.reconnect(now);
            }
            Scope::Everything => {
                let wait = self.fail_call(call, code, asked, now);
                self.lose(code, wait, asked, true, now);
            }
            Scope::Call => {
                if matches!(code, FailureCode::Rejected(_) | FailureCode::Inconsistent(_)) {
                    self.answered(now);
                }
                self.fail_call(call, code, asked, now);
                if call == Call::Push && !matches!(code, FailureCode::Rejected(ProblemCode::TooLarge)) {
                    self.forget_position(now);
                }
            }
        }
    }

    /// How the engine stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let lanes = [&self.head, &self.feed, &self.push];
        let worst = lanes.iter().filter_map(|lane| lane.failure).max_by_key(|code| code.class());
        let failure = self.outage.as_ref().map(|outage| outage.code).or(worst);
        let link = match failure {
            _ if self.paused => Link::Paused,
            Some(code) => code.class().into(),
            None if self.last_contact.is_none() => Link::Connecting,
            None => Link::Online,
        };
        let waiting = lanes.iter().filter(|lane| lane.failure.is_some()).map(|lane| lane.not_before).min();
        Status {
            link,
            failure,
            alarm: self.alarm,
            stuck: self.stuck,
            sending: matches!(self.under_way, Some(Action::Push { .. })),
            retry_at: self.outage.as_ref().map(|outage| outage.retry_at).or(waiting),
            last_contact: self.last_contact,
        }
    }

    fn next_call(&self, now: u64) -> Option<Action> {
        let feed = self.feed.is_ready(now).then_some(Action::PullFeed { after: self.cursor });
        let push = self.position.filter(|_| self.push.is_ready(now)).map(|position| self.batch(position));
        if self.head.is_ready(now) {
            return Some(Action::FetchHead);
        }
        if self.pulled_last { push.or(feed) } else { feed.or(push) }
    }

    fn batch(&self, position: Position) -> Action {
        let after = match position {
            Position::After(head) => Some(head),
            Position::Oldest => None,
        };
        Action::Push {
            after,
            max_entries: (self.limits.entries >> self.halvings.min(63)).max(1),
            max_bytes: (self.limits.bytes >> self.halvings.min(63)).max(1),
        }
    }

    fn take_head(&mut self, head: &HeadReply, place: Place, now: u64) {
        const ROOM_FOR_HEADER: u64 = 4_096;
        let most = u64::try_from(MAX_DECOMPRESSED).unwrap_or(u64::MAX).saturating_sub(ROOM_FOR_HEADER);
        self.position = Some(place.next_push(head.head()));
        self.limits =
            Limits { entries: head.limits.entries.max(1), bytes: head.limits.bytes.min(most), in_flight: 1 };
        let asked = head.backoff_ms.min(self.settings.retry.longest_ms);
        self.push.not_before = self.push.not_before.max(now.saturating_add(asked));
        self.push.due_by(now);
    }

    fn take_pushed(&mut self, sent: Head, through: Head, held: bool, stopped: Option<Stopped>, now: u64) {
        let whole = through.epoch == sent.epoch && through.seq >= sent.seq;
        if !held || !(whole || stopped.is_some()) {
            let ahead = !held && through.epoch == sent.epoch && through.seq > sent.seq;
            let code = if ahead { InconsistencyCode::CloudAhead } else { InconsistencyCode::AcceptedUnknown };
            self.alarm = Some(FailureCode::Inconsistent(code));
            self.fail_call(Call::Push, FailureCode::Inconsistent(code), 0, now);
            self.forget_position(now);
            return;
        }
        self.position = Some(Position::After(through));
        self.mismatches = 0;
        self.push.succeed(now);
        self.halvings = self.halvings.saturating_sub(1);
        self.stuck = stopped.and_then(|Stopped { seq, code }| Some(Stuck { epoch: sent.epoch?, seq, code }));
        if stopped.is_some() {
            let longest = self.settings.retry.longest_ms;
            self.push.not_before = now.saturating_add(self.jitter.between(longest / 2, longest));
        }
    }

    fn take_probe(&mut self, open: bool, now: u64) {
        let Some(outage) = &mut self.outage else { return };
        outage.probe_at = now.saturating_add(self.settings.probe_ms);
        let came_back = open && !outage.open;
        outage.open = open;
        if came_back {
            let asked_until = outage.asked_until;
            outage.retry_at = asked_until.max(now);
            self.forgive();
            self.push.not_before = asked_until;
            self.reconnect(now);
        }
    }

    /// The cloud answered the call under way as it should.
    fn finish(&mut self, now: u64) {
        self.under_way = None;
        self.connect_attempts = 0;
        self.answered(now);
    }

    /// The cloud answered, be it with a rejection.
    fn answered(&mut self, now: u64) {
        self.outage = None;
        self.last_contact = Some(now);
    }

    /// Notes a failure of one call; returns how long it now waits, in milliseconds.
    fn fail_call(&mut self, call: Call, code: FailureCode, asked_ms: u64, now: u64) -> u64 {
        let lane = match call {
            Call::Head => &mut self.head,
            Call::Push => &mut self.push,
            Call::Feed => &mut self.feed,
        };
        lane.attempts = lane.attempts.saturating_add(1);
        lane.failure = Some(code);
        let wait = self.settings.retry.wait_ms(lane.attempts, &mut self.jitter).max(asked_ms);
        lane.not_before = now.saturating_add(wait);
        wait
    }

    fn lose(&mut self, code: FailureCode, wait_ms: u64, asked_ms: u64, open: bool, now: u64) {
        // A request that fails right after a probe found the address open must not make the next probe
        // news, or a port that is open with nothing behind it would be asked at each of them.
        let open = self.outage.as_ref().map_or(open, |outage| outage.open);
        self.outage = Some(Outage {
            code,
            retry_at: now.saturating_add(wait_ms),
            asked_until: now.saturating_add(asked_ms),
            probe_at: now.saturating_add(self.settings.probe_ms),
            open,
        });
    }

    /// The next connection begins with the head and a pull.
    fn reconnect(&mut self, now: u64) {
        self.head.due_by(now);
        self.feed.due_by(now);
    }

    fn forgive(&mut self) {
        self.connect_attempts = 0;
        self.head.forgive();
        self.feed.forgive();
        self.push.forgive();
    }

    fn forget_position(&mut self, now: u64) {
        self.position = None;
        self.head.due_by(now);
    }

    /// Halves the next batch; false if it was one entry already.
    fn shrink(&mut self) -> bool {
        let smaller = (self.limits.entries >> self.halvings.min(63)) > 1;
        self.halvings = self.halvings.saturating_add(u32::from(smaller));
        smaller
    }

    /// `ms`, give or take a third.
    fn around(&mut self, ms: u64) -> u64 {
        self.jitter.between(ms - ms / 3, ms.saturating_add(ms / 3))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Head,
    Push,
    Feed,
}

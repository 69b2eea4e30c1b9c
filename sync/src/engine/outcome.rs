//! What the engine makes of answers and failures.

use super::action::{ActionId, Place, Reply, RotateReason};
use super::failure::InconsistencyCode::{FeedBroken, FeedWentBack};
use super::failure::{Failure, FailureCode, ReplyCode, Scope};
use super::lane::{Call, Lane, Outage, Position, UnderWay};
use super::pipeline::{Parcel, Stage};
use super::status::Stuck;
use super::{Engine, Tail};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::{HeadReply, Limits, MAX_DECOMPRESSED, Stopped};

/// Of what was not sent: it tells nothing of the link.
const NO_ERA: u64 = u64::MAX;

impl Engine {
    /// Takes the answer to an action. An answer to one that is not awaited any more is ignored.
    pub fn handle_reply(&mut self, id: ActionId, reply: Reply, now: u64) {
        if self.probe == Some(id) {
            self.probe = None;
            return self.take_probe(matches!(reply, Reply::Probed { open: true }), now);
        }
        if let Some(tail) = &mut self.set_aside
            && tail.under_way == Some(id)
        {
            return self.took_aside(now);
        }
        if let Some((call, under_way)) = self.lanes.find(id) {
            return self.take_call(call, under_way, reply, now);
        }
        let Some(parcel) = self.pipeline.find(id) else { return };
        let era = match &parcel.stage {
            Stage::Sent(under_way) => Some(under_way.era),
            _ => None,
        };
        match reply {
            Reply::Batch { last } => {
                parcel.last = Some(last);
                parcel.stage = Stage::Read;
                self.position = Some(Position::After(last));
            }
            Reply::Drained => {
                self.pipeline.pop_back();
                if std::mem::take(&mut self.hand_over) && !self.unkept {
                    // Everything was handed over; what is not settled is asked for again.
                    self.forget_position(now);
                } else {
                    let due_at = self.lanes.push.woken.then_some(now);
                    self.lanes.push = Lane { due_at, ..Lane::default() };
                    if self.unkept {
                        let wait = self.around(self.settings.fault_ms);
                        self.lanes.head.due_by(now.saturating_add(wait));
                    }
                }
            }
            Reply::Answered => parcel.stage = Stage::Answered,
            Reply::HeadMismatch { head, place } => parcel.stage = Stage::Mismatched(head, place),
            Reply::Pushed { stopped, forked, kept } => {
                // What cannot be kept now is handed over all the same, and asked for again after the rest.
                self.unkept |= !kept;
                self.hand_over |= !kept;
                self.take_pushed(stopped, forked, now);
            }
            Reply::StartOver => self.go_back(now),
            _ => {}
        }
        if let Some(era) = era {
            self.finish(era, now);
        }
        self.tell_front(now);
    }

    /// Takes the failure of an action.
    pub fn handle_failure(&mut self, id: ActionId, failure: &Failure, now: u64) {
        if self.probe == Some(id) {
            self.probe = None;
            return self.take_probe(false, now);
        }
        if let Some(tail) = &mut self.set_aside
            && tail.under_way == Some(id)
        {
            tail.under_way = None;
            if let FailureCode::Inconsistent(_) = failure.code {
                // The cloud has signed for more than it now says it took.
                self.set_aside = None;
                self.stuck = None;
            }
            return self.fail(Call::Push, NO_ERA, failure, now);
        }
        if let Some((call, under_way)) = self.lanes.find(id) {
            let lane = self.lanes.get_mut(call);
            lane.under_way = None;
            lane.due_by(now);
            return self.fail(call, under_way.era, failure, now);
        }
        if let Some(parcel) = self.pipeline.find(id) {
            let era = match &parcel.stage {
                Stage::Sent(under_way) => under_way.era,
                _ => NO_ERA,
            };
            parcel.stage = Stage::Failed(failure.clone(), era);
            self.tell_front(now);
        }
    }

    fn take_call(&mut self, call: Call, under_way: UnderWay, reply: Reply, now: u64) {
        self.finish(under_way.era, now);
        match reply {
            Reply::Head { head, place } => {
                let wait = self.around(self.settings.head_ms);
                self.lanes.head.succeed(Some(now.saturating_add(wait)), now);
                self.take_head(&head, place, now);
                if self.clock_doubtful {
                    self.lanes.time.due_by(now);
                } else {
                    self.lanes.time.forgive();
                }
            }
            Reply::Feed { cursor, more } => {
                self.cursor = cursor;
                let wait = if more { 0 } else { self.around(self.settings.poll_ms) };
                self.lanes.feed.succeed(Some(now.saturating_add(wait)), now);
            }
            Reply::Heard { limits, revoked } => {
                self.revoked = revoked;
                self.take_limits(limits);
                let due_at = now.saturating_add(self.settings.heartbeat_ms);
                self.lanes.heartbeat.succeed(Some(due_at), now);
                // What comes and goes quickly is told once a second.
                self.lanes.heartbeat.not_before = now.saturating_add(1_000);
            }
            Reply::Evidence { more } => self.lanes.evidence.succeed(more.then_some(now), now),
            Reply::Rotated => {
                self.lanes.rotate.succeed(None, now);
                self.rotate = RotateReason::Planned;
                self.lanes.heartbeat.wake(now);
                self.lanes.head.forgive();
                self.forget_position(now);
            }
            Reply::Time => self.take_time(now),
            _ => self.lanes.get_mut(call).under_way = None,
        }
    }

    fn take_head(&mut self, head: &HeadReply, place: Place, now: u64) {
        let after_head = self.hand_over && place.head_held;
        self.unkept &= after_head;
        self.position =
            Some(if after_head { Position::After(head.head()) } else { place.next_push(head.head()) });
        if place.restored {
            self.lanes.evidence.wake(now);
        }
        self.take_limits(head.limits);
        let asked = head.backoff_ms.min(self.settings.retry.longest_ms);
        let push = &mut self.lanes.push;
        push.not_before = push.not_before.max(now.saturating_add(asked));
        push.due_by(now);
    }

    fn take_limits(&mut self, limits: Limits) {
        const ROOM_FOR_HEADER: u64 = 4_096;
        let most = u64::try_from(MAX_DECOMPRESSED).unwrap_or(u64::MAX).saturating_sub(ROOM_FOR_HEADER);
        let entries = limits.entries.max(1);
        self.limits = Limits { entries, bytes: limits.bytes.min(most), in_flight: limits.in_flight };
    }

    /// The station knows the time again: certificates are judged by it from here on.
    fn take_time(&mut self, now: u64) {
        let attempts = self.lanes.time.attempts.saturating_add(1);
        let wait = self.settings.retry.wait_ms(attempts, &mut self.jitter);
        self.lanes.time = Lane { not_before: now.saturating_add(wait), attempts, ..Lane::default() };
        if self.dates_doubtful {
            self.dates_doubtful = false;
            self.outage = None;
            self.lanes.head.forgive();
            self.lanes.push.forgive();
            self.lanes.feed.forgive();
            self.reconnect(now);
        }
    }

    fn take_pushed(&mut self, stopped: Option<Stopped>, forked: bool, now: u64) {
        let Some(Parcel { last: Some(last), .. }) = self.pipeline.pop_front() else { return };
        self.mismatches = 0;
        self.careful = false;
        self.halvings = self.halvings.saturating_sub(1);
        let push = &mut self.lanes.push;
        (push.not_before, push.attempts, push.failure) = (0, 0, None);
        // The cloud has just said where it stands.
        let wait = self.around(self.settings.head_ms);
        let (head, put_off) = (&mut self.lanes.head, !self.unkept);
        head.due_at =
            head.due_at.map(|due| if put_off && due > now { now.saturating_add(wait) } else { due });
        if let (Some(Stopped { seq, code }), Some(epoch)) = (stopped, last.epoch) {
            self.stuck = Some(Stuck { epoch, seq, code });
            self.set_aside = Some(Tail { epoch, after: seq.saturating_sub(1), code, under_way: None });
            self.rewind(now);
        }
        if forked {
            self.rotate = RotateReason::Forked;
            self.lanes.rotate.due_by(now);
        }
    }

    /// The tail of the stopped epoch is out of the way, and a new epoch is open.
    fn took_aside(&mut self, now: u64) {
        self.set_aside = None;
        self.stuck = None;
        self.lanes.evidence.wake(now);
        self.lanes.heartbeat.wake(now);
        self.forget_position(now);
    }

    /// Tells what became of the first batch, if that is known and no answer to be taken.
    fn tell_front(&mut self, now: u64) {
        match self.pipeline.front().map(|parcel| &parcel.stage) {
            Some(Stage::Failed(failure, era)) => {
                let (failure, era) = (failure.clone(), *era);
                self.rewind(now);
                self.fail(Call::Push, era, &failure, now);
            }
            Some(Stage::Mismatched(head, place)) => {
                let (head, place) = (head.clone(), *place);
                self.rewind(now);
                self.take_head(&head, place, now);
                self.count_mismatch(now);
                if self.mismatches > 1 {
                    // The cloud was put back to before the end of an epoch: only the beginning is always taken.
                    self.position = Some(Position::Oldest);
                }
            }
            _ => {}
        }
    }

    /// An answer that is older than what was verified: from what is settled on again.
    fn go_back(&mut self, now: u64) {
        self.rewind(now);
        self.forget_position(now);
        self.count_mismatch(now);
    }

    /// Once may be bad luck on the way; the second time in a row it waits.
    fn count_mismatch(&mut self, now: u64) {
        self.mismatches = self.mismatches.saturating_add(1);
        if self.mismatches > 1 {
            self.fail_call(Call::Push, FailureCode::Rejected(ProblemCode::HeadMismatch), 0, now);
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
            self.connect_attempts = 0;
            self.lanes.forgive();
            self.lanes.push.not_before = asked_until;
            self.reconnect(now);
        }
    }

    /// The cloud answered a call as it should.
    fn finish(&mut self, era: u64, now: u64) {
        if era == self.era {
            self.connect_attempts = 0;
        }
        self.answered(era, now);
    }

    /// The cloud answered, be it with a rejection.
    fn answered(&mut self, era: u64, now: u64) {
        if era == self.era {
            self.outage = None;
        }
        self.last_contact = Some(now);
    }

    /// A call failed that was started in `era`.
    fn fail(&mut self, call: Call, era: u64, failure: &Failure, now: u64) {
        let code = failure.code;
        if let FailureCode::Inconsistent(_) = code {
            self.alarm = Some(code);
            self.alarms.insert(code.as_str());
            self.hand_over ^= call == Call::Push;
        }
        if call == Call::Push && code.asks_for_less() {
            let smaller = self.shrink();
            match code {
                FailureCode::Rejected(ProblemCode::TooLarge) if smaller => return self.answered(era, now),
                // The batch was rewound: half of it is pushed at once.
                FailureCode::Reply(ReplyCode::ReplyTooLarge) if smaller => return,
                _ => {}
            }
        }
        let asked = failure.retry_after_ms.unwrap_or(0).min(self.settings.retry.longest_ms);
        let scope = code.scope();
        if era != self.era && scope != Scope::Call {
            // It went down with the others.
            return self.keep_waiting(asked, now);
        }
        // Only these two say how the link is: what is wrong with another call delays no push.
        let telling = matches!(call, Call::Head | Call::Push);
        match scope {
            Scope::Answer | Scope::Everything if !telling => {
                self.fail_call(call, code, asked, now);
                if scope == Scope::Answer {
                    self.lanes.head.due_by(now);
                }
            }
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
            Scope::Dates => {
                let wait = self.fail_call(call, code, asked, now);
                self.lose(code, wait, asked, true, now);
                self.dates_doubtful = true;
                self.lanes.time.due_by(now);
            }
            Scope::Everything => {
                let wait = self.fail_call(call, code, asked, now);
                self.lose(code, wait, asked, true, now);
            }
            Scope::Call => {
                if matches!(code, FailureCode::Rejected(_) | FailureCode::Inconsistent(_)) {
                    self.answered(era, now);
                }
                self.fail_call(call, code, asked, now);
                if call == Call::Push && code != FailureCode::Rejected(ProblemCode::TooLarge) {
                    self.forget_position(now);
                }
                if let FailureCode::Inconsistent(FeedWentBack | FeedBroken) = code {
                    // The head says whether the cloud was restored.
                    self.lanes.head.due_by(now);
                }
            }
        }
    }

    /// Notes a failure of one call; returns how long it now waits, in milliseconds.
    fn fail_call(&mut self, call: Call, code: FailureCode, asked_ms: u64, now: u64) -> u64 {
        let backlog = self.lanes.push.due_at.is_some() || !self.pipeline.is_empty();
        let lane = self.lanes.get_mut(call);
        lane.attempts = lane.attempts.saturating_add(1);
        lane.failure = Some(code);
        let mut wait = self.settings.retry.wait_ms(lane.attempts, &mut self.jitter);
        if backlog && matches!(call, Call::Head | Call::Push) && code.is_fault_of_cloud() {
            wait = wait.min(self.settings.fault_ms);
        }
        let wait = wait.max(asked_ms);
        lane.not_before = now.saturating_add(wait);
        wait
    }

    /// The link is lost, or nobody may use it: an era ends.
    fn lose(&mut self, code: FailureCode, wait_ms: u64, asked_ms: u64, open: bool, now: u64) {
        // A request that fails right after a probe found the address open must not make the next probe
        // news, or a port that is open with nothing behind it would be asked at each of them.
        let open = self.outage.as_ref().map_or(open, |outage| outage.open);
        self.era = self.era.saturating_add(1);
        self.outage = Some(Outage {
            code,
            retry_at: now.saturating_add(wait_ms),
            asked_until: now.saturating_add(asked_ms),
            probe_at: now.saturating_add(self.settings.probe_ms),
            open,
        });
    }

    fn keep_waiting(&mut self, asked_ms: u64, now: u64) {
        if let Some(outage) = &mut self.outage {
            outage.asked_until = outage.asked_until.max(now.saturating_add(asked_ms));
            outage.retry_at = outage.retry_at.max(outage.asked_until);
        }
    }

    fn forget_position(&mut self, now: u64) {
        self.position = None;
        self.lanes.head.due_by(now);
    }

    /// Halves the next batch; false if it was one entry already.
    fn shrink(&mut self) -> bool {
        let smaller = (self.limits.entries >> self.halvings.min(63)) > 1;
        self.halvings = self.halvings.saturating_add(u32::from(smaller));
        smaller
    }
}

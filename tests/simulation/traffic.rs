//! What lies between machines and cloud, and what the cloud does with what arrives: honestly, or not.

use lotgate_domain::protocol::push::PushRequest;
use lotgate_sync::engine::failure::{FailureCode, LinkCode};
use std::sync::Arc;

use super::cloud::Taken;
use super::lies::{self, Lie};
use super::machine::{Mark, hashes};
use super::network::{Answer, Call, Outcome, Request};
use super::world::{Arrival, Event, Lying, World};

/// How long a client waits for an answer.
const CALL_MS: u64 = 30_000;
/// How long a worker of the cloud waits for what a push comes after.
const TURN_MS: u64 = 2_000;

impl World {
    pub(crate) fn send(&mut self, m: usize, call: Call) {
        let machine = &self.machines[m];
        let (line, life, id) = (machine.line, machine.lives, machine.id);
        let down = line.down || self.now < self.cloud_down;
        let fail = |code| Box::new(Err(FailureCode::Link(code).into()));
        let deliver = |outcome| Event::Deliver { machine: m, life, call: call.number, outcome, mark: None };
        if matches!(call.request, Request::Probe) {
            let ms = self.dice.between(2, 30);
            self.after(ms, deliver(Box::new(Ok(Answer::Probe(!down)))));
            return;
        }
        self.tally.requests += 1;
        if down {
            let (ms, code) = match self.dice.below(3) {
                0 => (5_000, LinkCode::ConnectTimedOut),
                _ => (self.dice.between(2, 30), LinkCode::ConnectionRefused),
            };
            self.after(ms, deliver(fail(code)));
            return;
        }
        self.after(CALL_MS, deliver(fail(LinkCode::TimedOut)));
        let slow = self.dice.percent(line.slow);
        let ms = if slow { self.dice.between(500, 45_000) } else { self.dice.between(3, 60) };
        if self.dice.percent(line.loss) {
            if self.dice.percent(50) {
                self.after(ms, deliver(fail(LinkCode::ConnectionLost)));
            }
            self.say(|_| format!("m{m} {} lost", call.request.name()));
            return;
        }
        let arrival = |again| Arrival {
            machine: m,
            life,
            call: call.number,
            id,
            key: call.key,
            request: Arc::new(call.request.clone()),
            waited: 0,
            again,
        };
        if self.dice.percent(line.twice) {
            let later = ms + self.dice.between(1, 60_000);
            self.after(later, Event::Arrive(arrival(true)));
        }
        self.after(ms, Event::Arrive(arrival(false)));
    }

    fn reply(&mut self, arrival: &Arrival, outcome: Outcome, mark: Option<Mark>) {
        if arrival.again {
            return;
        }
        let line = self.machines[arrival.machine].line;
        let (mut outcome, mut mark) = (Box::new(outcome), mark.map(Box::new));
        if line.down || self.dice.percent(line.loss) {
            self.say(|_| format!("m{} answer to {} lost", arrival.machine, arrival.request.name()));
            if self.dice.percent(50) {
                return;
            }
            (*outcome, mark) = (Err(FailureCode::Link(LinkCode::ConnectionLost).into()), None);
        }
        let slow = self.dice.percent(line.slow);
        let ms = if slow { self.dice.between(500, 35_000) } else { self.dice.between(3, 60) };
        let (machine, life, call) = (arrival.machine, arrival.life, arrival.call);
        self.after(ms, Event::Deliver { machine, life, call, outcome, mark });
    }

    // The cloud.

    pub(crate) fn arrive(&mut self, arrival: Arrival) {
        if self.now < self.cloud_down {
            return self.cut(&arrival);
        }
        let request = Arc::clone(&arrival.request);
        if let Request::Push(push) = &*request {
            return self.take_push(arrival, push);
        }
        let (id, key, m) = (arrival.id, arrival.key, arrival.machine);
        let shown = matches!(*request, Request::Head) && self.shows(m);
        let now = self.now;
        let cloud = if shown { &mut self.shadow.as_mut().unwrap().cloud } else { &mut self.cloud };
        let mut outcome = cloud.answer(id, key, &request, now);
        let mut lie = None;
        match (&mut outcome, self.lie_to(m)) {
            (Ok(Answer::Feed(feed)), Some(Lie::WrongFeed)) => {
                lie = Some(Lie::WrongFeed);
                let point = feed.statement.as_mut().unwrap();
                *point = self.cloud.wrong_feed(self.now);
                feed.page = None;
            }
            (Ok(Answer::Head(head)), Some(Lie::ForgedRecovery)) => {
                lie = Some(Lie::ForgedRecovery);
                head.recovered.push(self.cloud.forged_recovery());
            }
            _ => {}
        }
        let mark = lie.map(|lie| Mark { lie: Some(lie), roots: self.cloud.roots(), generation: 0 });
        if let Some(lie) = lie {
            self.say(|_| format!("cloud lies to m{m}: {lie:?}"));
            self.tally.lies += 1;
        }
        self.reply(&arrival, outcome, mark);
    }

    /// Whether a machine is shown another log.
    fn shows(&self, m: usize) -> bool {
        self.shadow.as_ref().is_some_and(|shadow| shadow.to == m)
    }

    /// What the cloud wants to lie about, if it does now.
    fn lie_to(&mut self, m: usize) -> Option<Lie> {
        let Lying { to, until } = self.lying?;
        let lies = self.now < until && to.is_none_or(|to| to == m) && self.dice.percent(60);
        lies.then(|| self.dice.pick(&Lie::ALL))
    }

    fn cut(&mut self, arrival: &Arrival) {
        self.reply(arrival, Err(FailureCode::Link(LinkCode::ConnectionLost).into()), None);
    }

    fn take_push(&mut self, mut arrival: Arrival, push: &PushRequest) {
        let (m, id, now) = (arrival.machine, arrival.id, self.now);
        let shown = self.shows(m);
        if !shown && let Some(lie) = self.lie_to(m).filter(|lie| lie.forgets()) {
            let reply = lies::not_stored(&self.cloud, id, push, lie, now);
            let (roots, generation) = (self.cloud.roots(), self.cloud.store.generation);
            self.say(|_| format!("cloud lies to m{m}: {lie:?}"));
            self.tally.lies += 1;
            let mark = Mark { lie: Some(lie), roots, generation };
            return self.reply(&arrival, Ok(Answer::Push(Box::new(reply))), Some(mark));
        }
        let cloud = if shown { &mut self.shadow.as_mut().unwrap().cloud } else { &mut self.cloud };
        if !cloud.knows(id, &push.header) && arrival.waited < TURN_MS {
            arrival.waited += 250;
            self.after(250, Event::Arrive(arrival));
            return;
        }
        match cloud.take(id, arrival.key, push, now) {
            Err(failure) => {
                let code = failure.code;
                self.say(|_| format!("cloud refuses a push of m{m}: {code}"));
                self.reply(&arrival, Err(failure), None);
            }
            Ok(taken) => {
                let (first, last) = (push.header.after.seq + 1, push.header.after.seq + push.header.count);
                let branch = taken.ingested.branch;
                let new = taken.ingested.new.as_ref().map(|(batch, _)| batch.arrival);
                let n = push.header.epoch.n;
                self.say(|_| {
                    format!("cloud takes m{m} {n}/{first}..{last} branch {branch} new {new:?} shown {shown}")
                });
                if self.crashes > 0 && !shown {
                    self.crashes -= 1;
                    self.crash();
                    return self.cut(&arrival);
                }
                let ms = self.dice.below(30);
                let life = self.cloud_life;
                let (arrival, taken) = (Box::new(arrival), Box::new(taken));
                self.after(ms, Event::Number { arrival, taken, life, shown });
            }
        }
    }

    /// Every process of the cloud dies; what was committed stays.
    fn crash(&mut self) {
        self.cloud_life += 1;
        self.cloud_down = self.now + self.dice.between(50, 15_000);
        self.tally.crashes += 1;
        self.say(|_| "cloud dies between T1 and T2".to_owned());
    }

    pub(crate) fn number(&mut self, arrival: Arrival, taken: Taken, life: u64, shown: bool) {
        let m = arrival.machine;
        if self.now < self.cloud_down || life != self.cloud_life || (shown && !self.shows(m)) {
            return self.cut(&arrival);
        }
        let header = taken.header.clone();
        let now = self.now;
        let cloud = if shown { &mut self.shadow.as_mut().unwrap().cloud } else { &mut self.cloud };
        let mut reply = cloud.finish(taken, now);
        let (roots, generation) = (cloud.roots(), cloud.store.generation);
        let mut mark = Mark { lie: None, roots, generation };
        if shown {
            let Request::Push(push) = &*arrival.request else { unreachable!() };
            self.machines[m].shown.extend(hashes(&push.entries));
        } else if let Some(lie) = self.lie_to(m) {
            let pick = self.dice.below(1_000);
            if lies::tell(lie, &self.cloud, &header, &mut reply, pick) {
                mark.lie = Some(lie);
                self.tally.lies += 1;
                self.say(|_| format!("cloud lies to m{m}: {lie:?}"));
            }
        }
        self.reply(&arrival, Ok(Answer::Push(Box::new(reply))), Some(mark));
    }
}

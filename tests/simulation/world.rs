//! The world: virtual time, the way between machines and cloud, and what happens next.

use lotgate_domain::ids::{Hash, PublicKey, StationId};
use lotgate_sync::engine::Action;
use lotgate_sync::storage::fault::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::cloud::{Cloud, Taken};
use super::dice::Dice;
use super::faults::Fault;
use super::machine::{Copy, Machine, Mark};
use super::network::{Outcome, Request};
use super::oracle::Before;
use super::poison::Foreign;
use super::tenant::Tenant;
use super::{Tally, Wrong};

/// Within this time after the last fault every queue must be empty: twice the longest wait between two attempts, for a
/// station that learns of a restore, or of a new key, only by the first of them.
pub(crate) const DRAIN_MS: u64 = 20 * 60_000;
/// More events than any run has: one that goes round in a circle ends.
const MOST_EVENTS: u64 = 200_000;

/// A request at the cloud.
pub(crate) struct Arrival {
    pub(crate) machine: usize,
    pub(crate) life: u64,
    pub(crate) call: u64,
    pub(crate) id: StationId,
    pub(crate) key: PublicKey,
    pub(crate) request: Arc<Request>,
    pub(crate) waited: u64,
    /// The second of two that were sent once: nobody hears the answer.
    pub(crate) again: bool,
}

pub(crate) enum Event {
    Wake(usize),
    Boot(usize),
    Scan(usize),
    Arrive(Arrival),
    /// T2 of a push.
    Number {
        arrival: Box<Arrival>,
        taken: Box<Taken>,
        life: u64,
        shown: bool,
    },
    Deliver {
        machine: usize,
        life: u64,
        call: u64,
        outcome: Box<Outcome>,
        mark: Option<Box<Mark>>,
    },
    Fault(Fault),
    Heal,
}

/// Who is lied to, and until when.
#[derive(Debug, Clone, std::marker::Copy)]
pub(crate) struct Lying {
    pub(crate) to: Option<usize>,
    pub(crate) until: u64,
}

/// A log that is shown to one machine alone.
pub(crate) struct Shadow {
    pub(crate) to: usize,
    pub(crate) cloud: Cloud,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) plan: Dice,
    pub(crate) dice: Dice,
    ticks: u64,
    pub(crate) events: BTreeMap<(u64, u64), Event>,
    wakes: Vec<Option<(u64, u64)>>,
    pub(crate) cloud: Cloud,
    pub(crate) cloud_life: u64,
    pub(crate) cloud_down: u64,
    /// So many of the next pushes find the cloud dead between its two transactions.
    pub(crate) crashes: u64,
    pub(crate) shadow: Option<Shadow>,
    pub(crate) lying: Option<Lying>,
    /// The newest cloud whose log every view begins with, where they differ.
    pub(crate) safe: Option<Cloud>,
    pub(crate) backups: Vec<Cloud>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) copies: Vec<(usize, Copy)>,
    pub(crate) healed: Option<u64>,
    /// Every leaf that the cloud's own log ever had.
    pub(crate) leaves: BTreeSet<Hash>,
    noted: usize,
    /// Something happened after which an honest answer may contradict what a station knows.
    pub(crate) contradictory: bool,
    pub(crate) foreign: Foreign,
    pub(crate) tally: Tally,
    trace: Option<Vec<String>>,
}

/// A cloud with so many stations enrolled, none of which has done anything yet. What goes wrong while a station is
/// enrolled is tested elsewhere (`sync/tests/power.rs`); here it would cost most of the time.
struct Plant {
    cloud: Cloud,
    foreign: Foreign,
    disks: Vec<Snapshot>,
}

static PLANTS: [OnceLock<Arc<Plant>>; 3] = [const { OnceLock::new() }; 3];

fn station(index: usize) -> StationId {
    StationId::from_parts(10 + index as u64, &[4; 10])
}

impl Plant {
    fn enrol(count: usize) -> Arc<Self> {
        let mut cloud = Cloud::new(&Arc::new(Tenant::new()));
        let foreign = Foreign::enrol(&mut cloud);
        let enrol = |index| {
            let machine = Machine::new(0, index, station(index), 0);
            machine.enrol(&mut cloud);
            machine.disk.snapshot()
        };
        let disks = (0..count).map(enrol).collect();
        Arc::new(Self { cloud, foreign, disks })
    }
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut plan = Dice::new(seed, 1);
        let count = usize::try_from(plan.between(1, 3)).unwrap();
        let Plant { cloud, foreign, disks } = &**PLANTS[count - 1].get_or_init(|| Plant::enrol(count));
        let (cloud, foreign) = (cloud.clone(), *foreign);
        let mut machines = Vec::new();
        for (index, files) in disks.iter().enumerate() {
            let machine = Machine::new(seed, index, station(index), 0);
            machine.disk.restore(files, None);
            machines.push(machine);
        }
        let mut world = Self {
            seed,
            now: 0,
            plan,
            dice: Dice::new(seed, 2),
            ticks: 0,
            events: BTreeMap::new(),
            wakes: vec![None; machines.len()],
            cloud,
            cloud_life: 1,
            cloud_down: 0,
            crashes: 0,
            shadow: None,
            lying: None,
            safe: None,
            backups: Vec::new(),
            machines,
            copies: Vec::new(),
            healed: None,
            leaves: BTreeSet::new(),
            noted: 0,
            contradictory: false,
            foreign,
            tally: Tally::default(),
            trace: traced.then(Vec::new),
        };
        for machine in 0..world.machines.len() {
            let at = world.dice.below(2_000);
            world.after(at, Event::Boot(machine));
        }
        world.note_leaves();
        world
    }

    /// Notes what happens, where somebody wants to read it.
    pub(crate) fn say(&mut self, words: impl FnOnce(&Self) -> String) {
        if self.trace.is_none() {
            return;
        }
        let words = words(self);
        let line = format!("{:>6}.{:03} {words}", self.now / 1_000, self.now % 1_000);
        self.trace.get_or_insert_default().push(line);
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    pub(crate) fn after(&mut self, ms: u64, event: Event) -> (u64, u64) {
        self.ticks += 1;
        let key = (self.now + ms, self.ticks);
        self.events.insert(key, event);
        key
    }

    /// Runs until every queue is empty again.
    pub(crate) fn run(&mut self) -> Result<(), Wrong> {
        self.plan();
        while !(self.healed.is_some() && self.drained()) {
            let Some(((time, _), event)) = self.events.pop_first() else {
                return Err(Wrong::new("h", "nothing is going to happen any more"));
            };
            self.tally.events += 1;
            if self.healed.is_some_and(|healed| time > healed + DRAIN_MS) || self.tally.events > MOST_EVENTS {
                return Err(Wrong::new("h", self.undrained()));
            }
            self.now = time;
            for machine in &self.machines {
                machine.clock.set_now(time);
            }
            self.happen(event)?;
        }
        self.tally.drained_ms = self.now - self.healed.unwrap_or(self.now);
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Wrong> {
        match event {
            Event::Wake(machine) => {
                self.wakes[machine] = None;
                self.drive(machine)
            }
            Event::Boot(machine) => self.boot(machine),
            Event::Scan(machine) => self.scan(machine, false),
            Event::Arrive(arrival) => {
                self.arrive(arrival);
                self.note_leaves();
                Ok(())
            }
            Event::Number { arrival, taken, life, shown } => {
                self.number(*arrival, *taken, life, shown);
                self.note_leaves();
                Ok(())
            }
            Event::Deliver { machine, life, call, outcome, mark } => {
                self.hear(machine, life, call, *outcome, mark.map(|mark| *mark))
            }
            Event::Fault(fault) => self.fault(fault),
            Event::Heal => self.heal(),
        }
    }

    /// Remembers the leaves that the cloud's own log has now.
    pub(crate) fn note_leaves(&mut self) {
        let leaves = &self.cloud.store.leaves;
        if self.noted > leaves.len() {
            self.noted = 0;
        }
        self.leaves.extend(leaves.iter().skip(self.noted).map(lotgate_domain::ledger::Leaf::hash));
        self.noted = leaves.len();
    }

    /// Another log took the place of the cloud's.
    pub(crate) fn replaced(&mut self) {
        self.noted = 0;
        self.cloud_life += 1;
        self.note_leaves();
    }

    // Machines.

    pub(crate) fn add(&mut self, machine: Machine) {
        self.machines.push(machine);
        self.wakes.push(None);
    }

    fn boot(&mut self, m: usize) -> Result<(), Wrong> {
        let machine = &mut self.machines[m];
        if machine.life.is_some() {
            return Ok(());
        }
        if machine.disk.is_off() {
            machine.disk.power_on();
            machine.clock.reboot(self.now);
        }
        let disk_life = machine.disk.life();
        match machine.start() {
            Ok(()) => {
                let life = machine.life.as_ref().unwrap();
                let state = life.state();
                let present = state.head.epoch.map_or(0, |epoch| epoch.n);
                if machine.must_doubt.take().is_some_and(|before| present <= before || !state.unconfirmed) {
                    return Err(Wrong::new(
                        "a",
                        format!("machine {m} was put back and opened no epoch of doubt"),
                    ));
                }
                self.say(|_| {
                    format!("m{m} starts: epoch {present}, seq {}, queued {}", state.head.seq, state.queued)
                });
                self.drive(m)
            }
            Err(error) => {
                let excused = machine.disk_fault || machine.disk.is_off() || machine.disk.life() != disk_life;
                if !excused {
                    return Err(Wrong::new("a", format!("machine {m} does not start: {error:?}")));
                }
                let wait = machine.dice.between(2_000, 20_000);
                self.say(|_| format!("m{m} cannot start: {error}"));
                self.after(wait, Event::Boot(m));
                Ok(())
            }
        }
    }

    /// An operator scans, with the id of another station's operation if `reuse`.
    pub(crate) fn scan(&mut self, m: usize, reuse: bool) -> Result<(), Wrong> {
        let id = self.machines[m].id;
        let others = self.machines.iter().filter(|other| other.id != id).flat_map(|other| other.told.last());
        let reused = others.map(|told| told.id).next().filter(|_| reuse);
        let machine = &mut self.machines[m];
        match machine.scan(&super::cloud::LOTS, reused) {
            None => return Ok(()),
            Some(Ok(appended)) => {
                self.tally.operations += 1;
                self.say(|_| {
                    format!("m{m} confirmed {}/{} {}", appended.epoch.n, appended.seq, short(appended.hash))
                });
            }
            Some(Err(error)) => {
                let excused = machine.disk_fault || machine.died() || reused.is_some();
                if !excused {
                    return Err(Wrong::new("a", format!("machine {m} takes no operation: {error:?}")));
                }
                self.say(|_| format!("m{m} refused an operation: {error}"));
            }
        }
        self.drive(m)
    }

    /// The program is gone; somebody starts it again.
    pub(crate) fn gone(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        machine.life = None;
        let wait = machine.dice.between(500, 20_000);
        self.say(|_| format!("m{m} is gone"));
        self.after(wait, Event::Boot(m));
    }

    /// Lets a station do everything that it can do now.
    pub(crate) fn drive(&mut self, m: usize) -> Result<(), Wrong> {
        loop {
            let machine = &mut self.machines[m];
            if machine.died() {
                self.gone(m);
                return Ok(());
            }
            let Some(life) = &mut machine.life else { return Ok(()) };
            let now = machine.clock.mono();
            life.look_around(now);
            machine.epochs.extend(life.state().head.epoch);
            let begun = life.take_up(now);
            if begun.is_empty() {
                break;
            }
            for id in begun {
                self.work(m, id)?;
            }
            if let Some(life) = &mut self.machines[m].life {
                life.clear();
            }
        }
        let machine = &mut self.machines[m];
        let (now, Some(life)) = (machine.clock.mono(), &mut machine.life) else { return Ok(()) };
        life.clear();
        let next = life.engine.poll_timeout(now).map(|at| at - now);
        if let Some(wake) = self.wakes[m].take() {
            self.events.remove(&wake);
        }
        self.wakes[m] = next.map(|ms| self.after(ms, Event::Wake(m)));
        Ok(())
    }

    fn work(&mut self, m: usize, id: lotgate_sync::engine::ActionId) -> Result<(), Wrong> {
        let machine = &mut self.machines[m];
        if machine.died() {
            return Ok(());
        }
        let Some(life) = &mut machine.life else { return Ok(()) };
        let Some(action) = life.action(id) else { return Ok(()) };
        let before = Before::of(life, action, id);
        let outcome = life.work(id);
        for call in life.started() {
            self.send(m, call);
        }
        let Some(outcome) = outcome.filter(|_| !self.machines[m].died()) else { return Ok(()) };
        if !matches!(action, Action::Read { .. } | Action::Probe) {
            let said = match &outcome {
                Ok(reply) => format!("{reply:?}").chars().take(90).collect(),
                Err(failure) => format!("failed: {}", failure.code),
            };
            self.say(|_| format!("m{m} {} -> {said}", name(action)));
        }
        self.judge(m, action, &before, &outcome)?;
        let machine = &mut self.machines[m];
        let now = machine.clock.mono();
        machine.life.as_mut().unwrap().tell(id, outcome, now);
        Ok(())
    }

    fn hear(
        &mut self,
        m: usize,
        life: u64,
        call: u64,
        outcome: Outcome,
        mark: Option<Mark>,
    ) -> Result<(), Wrong> {
        let machine = &mut self.machines[m];
        if machine.lives != life || machine.died() {
            return self.drive(m);
        }
        let Some(life) = &mut machine.life else { return Ok(()) };
        let Some(job) = life.answer(call, outcome) else { return Ok(()) };
        if let Some(mark) = mark {
            let about = match life.action(job) {
                Some(Action::Push { batch }) => batch,
                _ => job,
            };
            life.marks.insert(about, mark);
        }
        self.work(m, job)?;
        self.drive(m)
    }
}

/// The first digits of a hash.
pub(crate) fn short(hash: Hash) -> String {
    hash.to_string().chars().take(8).collect()
}

fn name(action: Action) -> &'static str {
    match action {
        Action::FetchHead => "head",
        Action::Read { .. } => "read",
        Action::Push { .. } => "push",
        Action::Take { .. } => "take",
        Action::SetAside { .. } => "set aside",
        Action::SendEvidence => "evidence",
        Action::Rotate { .. } => "rotate",
        Action::Heartbeat => "heartbeat",
        Action::PullFeed { .. } => "feed",
        Action::FetchTime { .. } => "time",
        Action::Probe => "probe",
    }
}

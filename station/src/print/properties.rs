//! Whatever happens in whatever order, crashes included, no label is printed twice by itself and none is lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use super::tests::{PRINTER, at, elements, id, label};
use super::*;
use lotgate_devices::event::JobDoubt;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One thing that the world does, if it can.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Ask,
    /// The oldest commit that waits succeeds, fails, or fails and is in the file all the same.
    Keep,
    Lose,
    LoseButKeep,
    /// The printer gets ready.
    Prepared,
    /// It takes this much, and prints the label if it got all and `bool` says so.
    Written(Written, bool),
    Confirmed,
    Doubtful,
    State(PrinterState),
    /// A person looks and says what is there. If `bool` says so, a label that came out is damaged and is destroyed.
    Answer(bool),
    Cancel,
    /// A person finds no good label of the job that was taken for printed last.
    Doubt,
    /// A label that came out is scanned, by number.
    Scan(usize),
    Later(u64),
    /// The power goes; this many of the commits that wait are in the file.
    Crash(usize),
    /// The station is put back to a state without this many of the last operations, and notices.
    Rollback(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::{
        Answer, Ask, Cancel, Confirmed, Crash, Doubt, Doubtful, Keep, Later, Lose, LoseButKeep, Prepared,
        Rollback, Scan, State,
    };
    let written = prop::sample::select(vec![Written::Nothing, Written::Partial, Written::All, Written::All]);
    prop_oneof![
        3 => Just(Ask),
        12 => Just(Keep),
        1 => Just(Lose),
        1 => Just(LoseButKeep),
        6 => Just(Prepared),
        6 => (written, any::<bool>()).prop_map(|(written, prints)| Happening::Written(written, prints)),
        3 => Just(Confirmed),
        2 => Just(Doubtful),
        1 => prop::sample::select(PrinterState::ALL.to_vec()).prop_map(State),
        3 => any::<bool>().prop_map(Answer),
        2 => Just(Doubt),
        1 => Just(Cancel),
        1 => (0..30_usize).prop_map(Scan),
        3 => prop::sample::select(vec![1_u64, 1_000, 20_000, 130_000]).prop_map(Later),
        2 => (0..3_usize).prop_map(Crash),
        1 => (1..12_usize).prop_map(Rollback),
    ]
}

/// The printer and its one connection.
#[derive(Debug, Default)]
struct Printer {
    preparing: Option<Job>,
    ready: Option<Job>,
    /// Bytes on their way, nothing said of them yet.
    given: Option<Job>,
    /// All was taken; whether it was printed.
    watched: Option<(Job, bool)>,
}

#[derive(Debug)]
struct World {
    jobs: Jobs,
    now_ms: u64,
    asked: u64,
    /// What is in the file.
    record: Vec<(OperationId, Body)>,
    /// Commits that wait, in order.
    waiting: VecDeque<(OperationId, Body)>,
    printer: Printer,
    /// How often each label came out, or half of it.
    out: BTreeMap<Job, u32>,
    /// Jobs of which a byte may be at the printer for all that anybody knows.
    may_have_left: BTreeMap<Job, bool>,
    /// Labels that came out damaged and were destroyed.
    destroyed: BTreeSet<Job>,
    /// A label that was taken for not kept is in the file.
    lost: bool,
    operations: u64,
}

fn folded(record: &[(OperationId, Body)]) -> Jobs {
    let operation =
        |(id, body): &(_, Body)| LabelOperation { id: *id, wall: at(0), body: Some(body.clone()) };
    Jobs::fold(Some(PRINTER.to_owned()), &record.iter().map(operation).collect::<Vec<_>>())
}

impl World {
    fn new() -> Self {
        Self {
            jobs: folded(&[]),
            now_ms: 0,
            asked: 0,
            record: Vec::new(),
            waiting: VecDeque::new(),
            printer: Printer::default(),
            out: BTreeMap::new(),
            may_have_left: BTreeMap::new(),
            destroyed: BTreeSet::new(),
            lost: false,
            operations: 100_000,
        }
    }

    fn give(&mut self, input: Input<'_>) {
        let actions = self.jobs.handle(input, self.now_ms);
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Prepare(job) => {
                    let busy = [self.printer.preparing, self.printer.ready, self.printer.given];
                    assert_eq!(busy, [None; 3], "one job in flight");
                    self.printer.preparing = Some(job);
                }
                Action::Forget(job) => {
                    let printer = &mut self.printer;
                    for slot in [&mut printer.preparing, &mut printer.ready, &mut printer.given] {
                        slot.take_if(|held| *held == job);
                    }
                    printer.watched.take_if(|(held, _)| *held == job);
                }
                Action::Commit(state) => {
                    self.operations += 1;
                    self.waiting.push_back((id(self.operations), Body::LabelState(state)));
                }
                Action::Send { job, sha256 } => self.send(job, sha256),
            }
        }
    }

    fn send(&mut self, job: Job, sha256: Hash) {
        let last = self.record.iter().rev().find_map(|(_, body)| match body {
            Body::LabelState(state) if super::job(state.job) == job => Some(state.state),
            _ => None,
        });
        assert_eq!(last, Some(JobState::Sending), "sending is durable before the first byte");
        assert_eq!(self.printer.ready.take(), Some(job), "the printer was ready for it");
        assert_ne!(self.may_have_left.insert(job, true), Some(true), "it may have been printed already");
        let queued = self.record.iter().find(|(id, _)| super::job(*id) == job).unwrap();
        let Body::LabelQueued(label) = &queued.1 else { panic!("no label") };
        assert_eq!(label.sha256, sha256);
        self.printer.given = Some(job);
    }

    fn keep(&mut self) {
        if let Some((id, body)) = self.waiting.pop_front() {
            self.record.push((id, body.clone()));
            self.give(Input::Committed { id, at: at(self.now_ms), body: &body });
        }
    }

    fn lose(&mut self, in_the_file: bool) {
        let Some((id, body)) = self.waiting.pop_front() else { return };
        // The station never heard of such a label: it may well be in the file.
        if in_the_file {
            self.lost |= matches!(body, Body::LabelQueued(_));
            self.record.push((id, body.clone()));
        }
        if let Body::LabelState(state) = &body {
            self.give(Input::NotKept(state));
        }
    }

    fn written(&mut self, written: Written, prints: bool) {
        let Some(job) = self.printer.given.take() else { return };
        match written {
            Written::Nothing => {
                self.may_have_left.insert(job, false);
            }
            Written::Partial | Written::All => {
                *self.out.entry(job).or_default() += u32::from(prints);
            }
        }
        if written == Written::All {
            self.printer.watched = Some((job, prints));
        }
        self.give(Input::Printer(PrinterEvent::Written(job, written)));
    }

    fn answer(&mut self, damaged: bool) {
        let Some(asked) = self.jobs.question().map(|job| job.id) else { return };
        let came = match self.out.get(&job(asked)) {
            Some(1..) if damaged => {
                self.out.remove(&job(asked));
                self.destroyed.insert(job(asked));
                Came::Damaged
            }
            Some(1..) => Came::One,
            _ => Came::Nothing,
        };
        self.give(Input::Answered { job: asked, came });
    }

    fn crash(&mut self, kept: usize) {
        let kept = kept.min(self.waiting.len());
        self.record.extend(self.waiting.drain(..kept));
        self.waiting.clear();
        // What was on its way arrives, or does not; to the record it is the same.
        if let Some(job) = self.printer.given {
            *self.out.entry(job).or_default() += 1;
        }
        self.printer = Printer::default();
        self.jobs = folded(&self.record);
        let actions = self.jobs.start(self.now_ms);
        self.act(actions);
    }

    fn roll_back(&mut self, operations: usize) {
        self.record.truncate(self.record.len().saturating_sub(operations));
        self.operations += 1;
        let reason = EpochReason::RolledBack.as_str().to_owned();
        self.waiting.clear();
        self.record.push((id(self.operations), Body::EpochOpened { reason, last: None, anchor: None }));
        self.crash(0);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Ask => {
                if self.jobs.admits().is_ok() {
                    self.asked += 1;
                    self.waiting.push_back((id(self.asked), Body::LabelQueued(label(self.asked))));
                }
            }
            Happening::Keep => self.keep(),
            Happening::Lose => self.lose(false),
            Happening::LoseButKeep => self.lose(true),
            Happening::Prepared => {
                if let Some(job) = self.printer.preparing.take() {
                    self.printer.ready = Some(job);
                    self.give(Input::Printer(PrinterEvent::Prepared(job)));
                }
            }
            Happening::Written(written, prints) => self.written(written, prints),
            Happening::Confirmed => {
                if let Some((job, _)) = self.printer.watched.take_if(|(_, printed)| *printed) {
                    self.give(Input::Printer(PrinterEvent::Confirmed(job)));
                }
            }
            Happening::Doubtful => {
                if let Some((job, _)) = self.printer.watched.take() {
                    self.give(Input::Printer(PrinterEvent::Doubtful(job, JobDoubt::ConnectionLost)));
                }
            }
            Happening::State(state) => self.give(Input::Printer(PrinterEvent::State(state))),
            Happening::Answer(damaged) => self.answer(damaged),
            Happening::Doubt => {
                let doubtful = |job: &&PrintJob| self.jobs.may_doubt(job.id);
                if let Some(id) = self.jobs.jobs.iter().rev().find(doubtful).map(|job| job.id) {
                    self.give(Input::Doubted(id));
                }
            }
            Happening::Cancel => {
                if let Some(id) = self.jobs.may_cancel() {
                    self.give(Input::Cancelled(id));
                }
            }
            Happening::Scan(nth) => {
                let out: Vec<Job> =
                    self.out.iter().filter(|(_, times)| **times > 0).map(|(job, _)| *job).collect();
                if let Some(read) = out.get(nth) {
                    let n = (1..=self.asked).find(|n| job(id(*n)) == *read).unwrap();
                    self.give(Input::Scanned(&elements(n)));
                }
            }
            Happening::Later(ms) => {
                self.now_ms += ms;
                self.give(Input::Tick);
            }
            Happening::Crash(kept) => self.crash(kept),
            Happening::Rollback(operations) => self.roll_back(operations),
        }
        self.check();
    }

    /// What must hold at any moment.
    fn check(&self) {
        for (job, times) in &self.out {
            assert!(*times <= 1, "{job:?} came out {times} times");
        }
        let unknown =
            self.jobs.jobs.iter().filter(|job| matches!(job.standing, Standing::Unknown(_))).count();
        let doubted = |job: &PrintJob| {
            job.reached.iter().any(|(standing, _)| *standing == Standing::Unknown(Doubt::OperatorDoubts))
        };
        let by_people = self.jobs.jobs.iter().filter(|job| doubted(job)).count();
        let odd = self.rolled_back() || self.lost;
        assert!(unknown <= 1 + by_people || odd, "the printer has one label in doubt at most");
        let sending = self.jobs.jobs.iter().filter(|job| job.standing == Standing::Sending).count();
        assert!(sending <= 1, "one label leaves at a time");
    }

    fn rolled_back(&self) -> bool {
        self.record.iter().any(|(_, body)| matches!(body, Body::EpochOpened { .. }))
    }

    /// The ends of all jobs, by the record alone.
    fn ends(&self) -> BTreeMap<OperationId, Option<Standing>> {
        let mut jobs = folded(&[]);
        let mut ends = BTreeMap::new();
        for (operation, body) in &self.record {
            jobs.refold(*operation, at(0), body);
            let job = match body {
                Body::LabelState(state) => state.job,
                Body::LabelQueued(_) => *operation,
                _ => continue,
            };
            let standing = jobs.get(job).map(|job| job.standing);
            ends.insert(job, standing.filter(|standing| !standing.is_open()));
        }
        ends
    }

    /// Nothing fails any more, and people answer.
    fn settle(&mut self) {
        self.crash(0);
        for _ in 0..2_000 {
            for happening in [
                Happening::Keep,
                Happening::Prepared,
                Happening::Written(Written::All, true),
                Happening::Confirmed,
                Happening::Doubtful,
                Happening::Answer(false),
            ] {
                self.happen(happening);
            }
            if self.jobs.current().is_none() && self.waiting.is_empty() {
                return;
            }
            if self.waiting.is_empty() {
                self.happen(Happening::Later(10_000));
            }
        }
        panic!("a job never ends: {:?}", self.jobs.current());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_prints_twice_by_itself_and_no_job_is_lost(happenings in prop::collection::vec(happening(), 1..150)) {
        let mut world = World::new();
        for happening in happenings {
            world.happen(happening);
        }
        world.settle();
        for (id, end) in world.ends() {
            let Some(end) = end else { panic!("{id} has no end in the record") };
            let out = world.out.get(&job(id)).copied().unwrap_or(0);
            match end {
                // What was put back may lack the word of the person who destroyed it.
                Standing::Confirmed(_) | Standing::ResolvedPrinted(_)
                    if world.rolled_back() && world.destroyed.contains(&job(id)) => {}
                Standing::Confirmed(_) | Standing::ResolvedPrinted(_) => prop_assert_eq!(out, 1, "{}", id),
                Standing::Damaged => prop_assert!(world.destroyed.contains(&job(id)), "{}", id),
                Standing::NotPrinted(_)
                | Standing::Cancelled
                | Standing::Waiting
                | Standing::Sending
                | Standing::Sent
                | Standing::Unknown(_) => prop_assert_eq!(out, 0, "{} ended as {:?}", id, end),
            }
        }
    }
}

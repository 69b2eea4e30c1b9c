//! What must hold: while it runs, after each answer; and at the end, over everything.

use lotgate_domain::ids::Hash;
use lotgate_domain::ledger::{Leaf, Store as _};
use lotgate_domain::merkle::Frontier;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::statement::Statement as _;
use lotgate_domain::statement::Verdict;
use lotgate_domain::statement::event::ForkFound;
use lotgate_sync::engine::failure::{Failure, FailureCode};
use lotgate_sync::engine::{Action, ActionId, Reply};
use lotgate_sync::queue::{LogKnown, QueueView};
use lotgate_sync::secure::Secure;
use std::collections::{BTreeMap, BTreeSet};

use super::lies::Lie;
use super::machine::{Life, Mark};
use super::world::{World, short};
use super::{Done, Wrong, ready};

/// How a station stood before an action.
pub(crate) struct Before {
    mark: Option<Mark>,
    known: LogKnown,
    settled: (Option<ChainPoint>, u64),
    stopped: bool,
}

impl Before {
    pub(crate) fn of(life: &Life, action: Action, id: ActionId) -> Self {
        let about = match action {
            Action::Take { batch } => batch,
            _ => id,
        };
        let state = life.state();
        Self {
            mark: life.marks.get(&about).cloned(),
            known: state.log,
            settled: (state.settled_through, state.queued),
            stopped: state.stopped.is_some(),
        }
    }
}

impl World {
    /// Looks at what came of an action.
    pub(crate) fn judge(
        &mut self,
        m: usize,
        action: Action,
        before: &Before,
        outcome: &Result<Reply, Failure>,
    ) -> Result<(), Wrong> {
        let inconsistent =
            outcome.as_ref().err().filter(|error| matches!(error.code, FailureCode::Inconsistent(_)));
        if let Some(failure) = inconsistent {
            self.tally.noticed += 1;
            let lied = before.mark.as_ref().is_some_and(|mark| mark.lie.is_some());
            if !lied && !self.contradictory {
                return Err(Wrong::new(
                    "lie",
                    format!("machine {m} takes honest {action:?} for {}", failure.code),
                ));
            }
        }
        match action {
            Action::Take { .. } => self.judge_answer(m, before, outcome),
            Action::FetchHead | Action::PullFeed { .. } => match (&before.mark, outcome) {
                (Some(Mark { lie: Some(lie), .. }), Ok(_)) => {
                    Err(Wrong::new("lie", format!("machine {m} believed {lie:?}")))
                }
                (_, Ok(_)) if self.machines[m].life.as_ref().unwrap().state().log != before.known => {
                    self.check_settled(m)
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn judge_answer(
        &mut self,
        m: usize,
        before: &Before,
        outcome: &Result<Reply, Failure>,
    ) -> Result<(), Wrong> {
        let machine = &self.machines[m];
        let life = machine.life.as_ref().unwrap();
        let state = life.state();
        // What a failed commit left may be found, or be gone, when the file is opened again.
        let queued = machine.disk_fault || before.stopped || state.queued == before.settled.1;
        let same = state.settled_through == before.settled.0 && queued;
        let Some(mark) = &before.mark else { return Err(Wrong::new("lie", "an answer that nobody gave")) };
        match outcome {
            Ok(Reply::Pushed { .. }) => {
                self.judge_belief(m, mark, before, same)?;
                if same { Ok(()) } else { self.check_settled(m) }
            }
            Ok(_) if same => Ok(()),
            Ok(_) => Err(Wrong::new("d", format!("machine {m} settled by an answer that it did not take"))),
            Err(_) if !same => {
                Err(Wrong::new("d", format!("machine {m} settled by an answer that it refused")))
            }
            Err(failure) => {
                let inconsistent = matches!(failure.code, FailureCode::Inconsistent(_));
                let shown = state.alarms.iter().any(|alarm| alarm.as_str() == "server_inconsistent");
                if inconsistent && !shown && !machine.disk_fault && state.stopped.is_none() {
                    return Err(Wrong::new(
                        "lie",
                        format!("machine {m} noticed {} and does not show it", failure.code),
                    ));
                }
                Ok(())
            }
        }
    }

    /// A station took an answer: it may not have been a lie, and the log may only have grown.
    fn judge_belief(&self, m: usize, mark: &Mark, before: &Before, same: bool) -> Result<(), Wrong> {
        let known = before.known;
        let grows = known.last.is_none_or(|last| last.head.size < mark.roots.len() as u64 - 1);
        let harmless = match mark.lie {
            None => true,
            Some(Lie::NotStoredNorProven) => same,
            // A proof that was not looked at: the station knew that much already.
            Some(Lie::WrongConsistency) => !grows || known.restored.is_some(),
            // A queue that cannot be used settles nothing, and is emptied all the same.
            Some(_) => same && (before.stopped || self.machines[m].disk_fault),
        };
        if !harmless {
            return Err(Wrong::new("lie", format!("machine {m} believed {:?}", mark.lie)));
        }
        let after = self.machines[m].life.as_ref().unwrap().state().log;
        for log in [Some(known), Some(after).filter(|_| mark.lie.is_none())].into_iter().flatten() {
            let Some(last) = log.last.filter(|last| last.generation == mark.generation) else { continue };
            let root = usize::try_from(last.head.size).ok().and_then(|size| mark.roots.get(size));
            let consistent = root == Some(&last.head.root);
            if !consistent && after != known {
                return Err(Wrong::new(
                    "d",
                    format!("machine {m} followed a log that does not begin with what it knew"),
                ));
            }
        }
        Ok(())
    }

    /// (d): what a queue says is settled stands in a log.
    fn check_settled(&self, m: usize) -> Result<(), Wrong> {
        let machine = &self.machines[m];
        let Some(life) = &machine.life else { return Ok(()) };
        for epoch in &machine.epochs {
            for (seq, hash) in life.settled(*epoch) {
                if !self.leaves.contains(&hash) && !machine.shown.contains(&hash) {
                    let what =
                        format!("machine {m}: {}/{seq} {} is settled and in no log", epoch.n, short(hash));
                    return Err(Wrong::new("d", what));
                }
            }
        }
        Ok(())
    }

    /// (a): what was confirmed is in the queue or in the cloud, unless a restore took it.
    pub(crate) fn check_kept(&mut self, m: usize) -> Result<(), Wrong> {
        let machine = &self.machines[m];
        let Some(life) = machine.life.as_ref().filter(|_| !machine.died()) else { return Ok(()) };
        let held: BTreeSet<Hash> =
            self.cloud.store.entries(machine.id).map(|(_, entry)| entry.hash).collect();
        for told in &machine.told {
            let hash = told.point.hash;
            let kept = held.contains(&hash)
                || self.cloud.evidence.contains(&hash)
                || machine.taken_away.contains(&hash)
                || life.holds(told.point);
            if !kept && !machine.disk_fault {
                let (n, seq) = (told.point.epoch.n, told.point.seq);
                return Err(Wrong::new(
                    "a",
                    format!("machine {m}: {n}/{seq} {} was confirmed and is gone", short(hash)),
                ));
            }
        }
        Ok(())
    }

    /// (a) at the end: what was confirmed is in the cloud, in a chain or as evidence, unless a restore of the station
    /// took it. That its queue holds it too is not enough any more.
    fn check_delivered(&self, m: usize) -> Result<(), Wrong> {
        let machine = &self.machines[m];
        let held: BTreeSet<Hash> =
            self.cloud.store.entries(machine.id).map(|(_, entry)| entry.hash).collect();
        let arrived = |hash: &Hash| {
            held.contains(hash) || self.cloud.evidence.contains(hash) || machine.taken_away.contains(hash)
        };
        match machine.told.iter().find(|told| !arrived(&told.point.hash)) {
            None => Ok(()),
            Some(told) => {
                let (n, seq, hash) = (told.point.epoch.n, told.point.seq, short(told.point.hash));
                Err(Wrong::new("a", format!("machine {m}: {n}/{seq} {hash} never came to the cloud")))
            }
        }
    }

    /// Whether every queue is empty, all evidence was handed over, and every station knows the log as it is.
    pub(crate) fn drained(&self) -> bool {
        self.machines.iter().enumerate().all(|(m, machine)| {
            machine.life.as_ref().is_some_and(|life| {
                let state = life.state();
                let generation = state.log.generation;
                let current = generation == 0 || generation == self.cloud.store.generation;
                (state.queued == 0 && current && !life.has_evidence()) || self.is_locked_out(m)
            })
        })
    }

    /// The other machine with the same keys has taken a new one: people have to decide.
    fn is_locked_out(&self, m: usize) -> bool {
        let machine = &self.machines[m];
        let unknown = Some(FailureCode::Rejected(ProblemCode::UnknownKey));
        machine.cloned && machine.life.as_ref().is_some_and(|life| life.engine.status().failure == unknown)
    }

    pub(crate) fn undrained(&self) -> String {
        let of = |(m, machine): (usize, &super::machine::Machine)| {
            let Some(life) = &machine.life else { return format!("machine {m} is not up") };
            let state = life.state();
            let status = life.engine.status();
            format!(
                "machine {m}: queued {}, generation {}, {:?} {:?}, alarms {:?}",
                state.queued,
                state.log.generation,
                status.link,
                status.failure,
                life.alarms()
            )
        };
        self.machines.iter().enumerate().map(of).collect::<Vec<_>>().join("; ")
    }

    /// Everything that must hold at the end.
    pub(crate) fn check(&mut self) -> Result<Done, Wrong> {
        while self.cloud.number(lotgate_domain::ledger::number::Fresh::default(), self.now) > 0 {}
        self.note_leaves();
        for m in 0..self.machines.len() {
            self.check_kept(m)?;
            if !self.is_locked_out(m) {
                self.check_delivered(m)?;
                self.check_end_of(m)?;
            }
        }
        self.check_log()?;
        self.check_forks()?;
        super::rebuild::from_log(&self.cloud, self.seed)?;
        super::rebuild::with_other_clocks(&self.cloud, self.seed)?;
        let digest = self.digest();
        for m in 0..self.machines.len() {
            self.check_queue(m)?;
        }
        Ok(Done { tally: self.tally, digest })
    }

    /// (d) for good: settled is what stands in the log as it is now, and the station knows a part of that log.
    fn check_end_of(&self, m: usize) -> Result<(), Wrong> {
        let machine = &self.machines[m];
        let life = machine.life.as_ref().unwrap();
        let leaves: BTreeSet<Hash> = self.cloud.store.leaves.iter().map(Leaf::hash).collect();
        for epoch in &machine.epochs {
            for (seq, hash) in life.settled(*epoch) {
                if !leaves.contains(&hash) {
                    let what = format!(
                        "machine {m}: {}/{seq} {} is settled and not in the log",
                        epoch.n,
                        short(hash)
                    );
                    return Err(Wrong::new("d", what));
                }
            }
        }
        let roots = self.cloud.roots();
        let known = life.state().log.last.filter(|last| last.generation == self.cloud.store.generation);
        let fits = known
            .is_none_or(|last| roots.get(usize::try_from(last.head.size).unwrap()) == Some(&last.head.root));
        if fits { Ok(()) } else { Err(Wrong::new("d", format!("machine {m} knows another log"))) }
    }

    /// (b), (d), (f): each place applied once, each row of the tree is the root of its leaves, each operation under one
    /// verdict batch that stands directly after it.
    fn check_log(&self) -> Result<(), Wrong> {
        let store = &self.cloud.store;
        let mut applied = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut covered: BTreeMap<u64, u64> = BTreeMap::new();
        let mut exceptions = BTreeMap::new();
        for (index, leaf) in (0_u64..).zip(&store.leaves) {
            if leaf.index() != index || !seen.insert(leaf.hash()) {
                return Err(Wrong::new("b", format!("leaf {index} is out of place, or there twice")));
            }
            match leaf {
                Leaf::Operation { station, entry, exception, .. } => {
                    let quarantined =
                        exception.as_ref().is_some_and(|found| found.verdict == Verdict::Quarantined);
                    let place = (*station, entry.epoch.n, entry.seq);
                    if !quarantined && let Some(other) = applied.insert(place, index) {
                        return Err(Wrong::new(
                            "b",
                            format!("leaves {other} and {index} are applied at {place:?}"),
                        ));
                    }
                    exceptions.insert(index, exception.clone());
                }
                Leaf::Verdicts { batch, .. } => {
                    if batch.first + batch.count != index {
                        return Err(Wrong::new(
                            "f",
                            format!("verdicts {index} do not follow what they are for"),
                        ));
                    }
                    for of in batch.first..index {
                        *covered.entry(of).or_default() += 1;
                        let found = batch.exceptions.iter().find(|exception| exception.index == of).cloned();
                        if exceptions.get(&of) != Some(&found) {
                            return Err(Wrong::new(
                                "f",
                                format!("verdict of {of} is not the one that is signed"),
                            ));
                        }
                    }
                }
                Leaf::Certificate { .. } | Leaf::Statement { .. } => {}
            }
        }
        if covered.keys().ne(exceptions.keys()) || covered.values().any(|times| *times != 1) {
            return Err(Wrong::new("f", "an operation is not under exactly one verdict batch"));
        }
        let roots = self.cloud.roots();
        let mut tree = Frontier::default();
        for leaf in &store.leaves {
            tree.append(leaf.hash(), |_, _| {});
            if roots[usize::try_from(tree.size()).unwrap()] != tree.root() {
                return Err(Wrong::new("d", format!("the log of size {} was another once", tree.size())));
            }
        }
        let rows =
            store.rows.iter().all(|row| roots[usize::try_from(row.head.size).unwrap()] == row.head.root);
        if rows { Ok(()) } else { Err(Wrong::new("d", "a checkpoint is not of this log")) }
    }

    /// Two entries for one place, both held: then the log says so.
    fn check_forks(&mut self) -> Result<(), Wrong> {
        let mut told = BTreeSet::new();
        for leaf in &self.cloud.store.leaves {
            if let Leaf::Statement { kind, bytes, .. } = leaf
                && *kind == ForkFound::KIND
            {
                let tenant = &self.cloud.tenant;
                let key = tenant.statement.public();
                let found = lotgate_domain::statement::read::<ForkFound>(bytes, tenant.id, &key);
                let found = found.map_err(|error| Wrong::new("fork", error.to_string()))?.value;
                told.insert((found.station, found.epoch_n, found.branch));
            }
        }
        self.tally.forks = told.len() as u64;
        let mut places: BTreeMap<_, BTreeSet<Hash>> = BTreeMap::new();
        for taking in &self.cloud.takings {
            for entry in &taking.entries {
                let frame = lotgate_domain::entry::Frame::read(entry).unwrap();
                let header = lotgate_domain::operation::read(&frame).unwrap().header;
                places.entry((taking.station, header.epoch.n, header.seq)).or_default().insert(frame.hash());
            }
        }
        for ((station, n, seq), hashes) in places {
            let held = ready(self.cloud.store.held(station, n, seq, seq)).unwrap();
            let kept: BTreeSet<Hash> = held.iter().map(|held| held.hash).collect();
            if kept != hashes {
                return Err(Wrong::new(
                    "fork",
                    format!("{station} {n}/{seq}: {hashes:?} came, {kept:?} is held"),
                ));
            }
            if hashes.len() > 1 && !told.iter().any(|(of, epoch, _)| (*of, *epoch) == (station, n)) {
                return Err(Wrong::new(
                    "fork",
                    format!("{station} {n}/{seq} is there twice and no leaf tells of it"),
                ));
            }
        }
        Ok(())
    }

    /// (c): every byte of the queue's file.
    fn check_queue(&mut self, m: usize) -> Result<(), Wrong> {
        let machine = &mut self.machines[m];
        self.tally.epochs += machine.epochs.len().saturating_sub(1) as u64;
        machine.stop();
        let wrong = |what: String| Wrong::new("c", format!("machine {m}: {what}"));
        let secure = Secure::view(machine.disk.places("s")).map_err(|error| wrong(error.to_string()))?;
        let view = QueueView::open(&secure).map_err(|error| wrong(error.to_string()))?;
        let verification = view.verify(|_| {}).map_err(|error| wrong(error.to_string()))?;
        if verification.ok() { Ok(()) } else { Err(wrong(format!("{verification:?}"))) }
    }

    fn digest(&self) -> Hash {
        let mut words = format!("{:?} {}", self.tally, self.now);
        for leaf in &self.cloud.store.leaves {
            words.push_str(&leaf.hash().to_string());
        }
        words.push_str(&self.cloud.tree().root.to_string());
        for machine in &self.machines {
            let Some(life) = &machine.life else { continue };
            let state = life.state();
            let settled: Vec<usize> = machine.epochs.iter().map(|epoch| life.settled(*epoch).len()).collect();
            words.push_str(&format!("{:?} {settled:?} {} {:?}", state.head, state.queued, life.alarms()));
            words.push_str(&format!("{:?} {}", state.log, machine.disk.calls().changes));
        }
        Hash::of(words.as_bytes())
    }
}

//! What goes wrong, when, and how it ends: drawn from the seed before anything runs.

use lotgate_domain::statement::event::Closing;
use lotgate_sync::engine::Wake;
use lotgate_sync::storage::fault::Disk;

use super::Wrong;
use super::cloud::LOTS;
use super::machine::{Line, Machine};
use super::world::{Event, Lying, Shadow, World};

const MINUTE: u64 = 60_000;
const DAY: i64 = 86_400_000;
/// From the start of a run to 2000-01-01 and to 2036-06-01.
const TO_2000: i64 = 946_684_800_000 - super::tenant::NOON;
const TO_2036: i64 = 2_095_891_200_000 - super::tenant::NOON;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The power goes at one of the next changes of the disk.
    PowerCut(usize, u64),
    /// The power goes now.
    PowerOff(usize),
    /// The program is killed at one of the next changes.
    Kill(usize, u64),
    /// Syncs fail.
    BadSync(usize, u64, u64),
    /// The disk is full from one of the next changes on.
    Full(usize, u64),
    /// Nothing can be written.
    ReadOnly(usize),
    /// The disk is as it should be.
    DiskGood(usize),
    /// The program ends in order and starts again.
    Restart(usize),
    /// Somebody copies all files.
    Copy(usize),
    /// An older copy is put back, of the data directory alone if so.
    PutBack(usize, bool),
    /// Another machine starts from a copy.
    Clone(usize),
    /// The wall clock is set ahead by so many milliseconds, and drifts by so many in a million.
    Clock(usize, i64, i64),
    /// The way to the cloud changes.
    Line(usize, Line),
    /// Nobody listens for a while.
    CloudDown(u64),
    /// The cloud dies between the two transactions of the next pushes.
    Crashes(u64),
    /// A backup is made.
    Backup,
    /// The last backup is put back; the root key owns up to it if so.
    Restore(bool),
    /// The cloud lies, to one or to all, for a while.
    Lie(Option<usize>, u64),
    /// One machine is shown a log of its own, or no longer.
    Shadow(usize, bool),
    /// A station is no longer trusted.
    Revoke(usize),
    /// A station whose queue is empty is closed.
    Retire(usize),
    /// A person asks for a new key.
    Rotate(usize),
    /// A lot is put on hold.
    Hold(usize),
    /// Entries of a station that writes what the cloud does not understand.
    Poison,
    /// An operation with the id of another station's.
    Reuse(usize),
    /// The cloud cannot verify the newest entry of a machine.
    Unverifiable(usize),
    /// A person stops the sending, or lets it go on.
    Pause(usize, bool),
}

impl World {
    /// Draws everything that will happen.
    pub(crate) fn plan(&mut self) {
        let length = self.plan.between(1, 6) * MINUTE;
        for m in 0..self.machines.len() {
            for _ in 0..self.plan.between(1, 3) {
                self.scans(m, 3_000, length);
            }
        }
        // Half of the runs have few kinds of faults, so that each shows what it does by itself.
        let kinds: Vec<u64> = if self.plan.percent(50) {
            (0..self.plan.between(1, 3)).map(|_| self.plan.below(KINDS)).collect()
        } else {
            (0..KINDS).collect()
        };
        for _ in 0..self.plan.between(1, 12) {
            let (kind, at) = (self.plan.pick(&kinds), 3_000 + self.plan.below(length));
            self.draw(kind, at, length);
        }
        self.events
            .retain(|(at, _), event| *at <= length || !matches!(event, Event::Fault(_) | Event::Scan(_)));
        self.after(length, Event::Heal);
    }

    /// An operator scans some, and begins within so many milliseconds.
    fn scans(&mut self, m: usize, from: u64, within: u64) {
        let mut at = from + self.plan.below(within);
        for _ in 0..self.plan.between(1, 8) {
            self.after(at, Event::Scan(m));
            at += self.plan.between(20, 4_000);
        }
    }

    fn draw(&mut self, kind: u64, at: u64, length: u64) {
        let m = usize::try_from(self.plan.below(self.machines.len() as u64)).unwrap();
        let rest = length.saturating_sub(at).max(1);
        let later = at + self.plan.below(rest);
        let brief = at + self.plan.between(1_000, 60_000);
        match kind {
            0 | 1 => {
                let n = self.plan.between(1, 60);
                self.plan_fault(at, Fault::PowerCut(m, n));
            }
            2 => self.plan_fault(at, Fault::PowerOff(m)),
            3 => {
                let n = self.plan.between(1, 60);
                self.plan_fault(at, Fault::Kill(m, n));
            }
            4 => {
                let (n, count) = (self.plan.between(1, 8), self.plan.between(1, 4));
                self.plan_fault(at, Fault::BadSync(m, n, count));
                self.plan_fault(brief, Fault::DiskGood(m));
            }
            5 => {
                let n = self.plan.between(1, 20);
                self.plan_fault(at, Fault::Full(m, n));
                self.plan_fault(brief, Fault::DiskGood(m));
            }
            6 => {
                self.plan_fault(at, Fault::ReadOnly(m));
                self.plan_fault(brief, Fault::DiskGood(m));
            }
            7 => self.plan_fault(at, Fault::Restart(m)),
            8 => {
                let alone = self.plan.percent(60);
                self.plan_fault(at, Fault::Copy(m));
                self.scans(m, at, 10_000);
                self.plan_fault(later, Fault::PutBack(m, alone));
                self.scans(m, later, 60_000);
            }
            9 => {
                self.plan_fault(at, Fault::Clone(m));
                self.scans(m, at, 20_000);
            }
            10 => {
                let ahead = [TO_2000, TO_2036, -3 * DAY, 40 * DAY, 400_000, -400_000, 0];
                let (ahead, drift) = (self.plan.pick(&ahead), self.plan.pick(&[0, 0, 300, -20_000]));
                self.plan_fault(at, Fault::Clock(m, ahead, drift));
                if self.plan.percent(50) {
                    self.plan_fault(later, Fault::Clock(m, 0, 0));
                }
            }
            11 => {
                let down = Line { down: true, ..Line::default() };
                self.plan_fault(at, Fault::Line(m, down));
                self.plan_fault(later, Fault::Line(m, Line::default()));
            }
            12 | 13 => {
                let (loss, slow, twice) = (self.plan.below(50), self.plan.below(50), self.plan.below(40));
                self.plan_fault(at, Fault::Line(m, Line { down: false, loss, slow, twice }));
                self.plan_fault(later, Fault::Line(m, Line::default()));
            }
            _ => self.draw_beyond(kind, (at, later), m),
        }
    }

    /// What goes wrong beyond the machine itself.
    fn draw_beyond(&mut self, kind: u64, (at, later): (u64, u64), m: usize) {
        match kind {
            14 => {
                let ms = self.plan.between(1_000, 180_000);
                self.plan_fault(at, Fault::CloudDown(ms));
            }
            15 => {
                let n = self.plan.between(1, 5);
                self.plan_fault(at, Fault::Crashes(n));
            }
            16 => {
                let signed = self.plan.percent(60);
                self.plan_fault(at, Fault::Backup);
                self.scans(m, at, 10_000);
                self.plan_fault(later, Fault::Restore(signed));
                self.scans(m, later, 10_000);
            }
            17 | 18 | 28 | 29 => {
                let to = self.plan.percent(60).then_some(m);
                let ms = self.plan.between(5_000, 120_000);
                self.plan_fault(at, Fault::Lie(to, ms));
                self.scans(m, at, ms);
            }
            19 => {
                self.plan_fault(at, Fault::Shadow(m, true));
                self.scans(m, at, 10_000);
                self.plan_fault(later, Fault::Shadow(m, false));
                self.scans(m, later, 10_000);
            }
            20 => self.plan_fault(at, Fault::Revoke(m)),
            21 => self.plan_fault(at, Fault::Retire(m)),
            22 => self.plan_fault(at, Fault::Rotate(m)),
            23 => self.plan_fault(at, Fault::Hold(m % LOTS.len())),
            24 => self.plan_fault(at, Fault::Poison),
            25 => self.plan_fault(at, Fault::Reuse(m)),
            26 => self.plan_fault(at, Fault::Unverifiable(m)),
            _ => {
                self.plan_fault(at, Fault::Pause(m, true));
                self.plan_fault(later, Fault::Pause(m, false));
            }
        }
    }

    fn plan_fault(&mut self, at: u64, fault: Fault) {
        self.after(at, Event::Fault(fault));
    }

    /// Lets it happen.
    pub(crate) fn fault(&mut self, fault: Fault) -> Result<(), Wrong> {
        if self.healed.is_some() {
            return Ok(());
        }
        self.say(|_| format!("{fault:?}"));
        self.tally.faults += 1;
        match fault {
            Fault::PowerCut(m, n) => self.machines[m].disk.cut_power_at(n),
            Fault::Kill(m, n) => self.machines[m].disk.kill_at(n),
            Fault::PowerOff(m) => self.machines[m].disk.cut_power(),
            Fault::BadSync(m, n, count) => self.break_disk(m, |disk| disk.fail_syncs_at(n, count)),
            Fault::Full(m, n) => self.break_disk(m, |disk| disk.fill_at(n)),
            Fault::ReadOnly(m) => self.break_disk(m, |disk| disk.set_read_only(true)),
            Fault::DiskGood(m) => self.mend_disk(m),
            Fault::Restart(m) => {
                if self.machines[m].life.is_some() && !self.machines[m].died() {
                    self.machines[m].stop();
                    self.gone(m);
                }
            }
            Fault::Copy(m) => self.copies.extend(self.machines[m].copy().map(|copy| (m, copy))),
            Fault::PutBack(m, alone) => return self.put_back(m, alone),
            Fault::Clone(m) => self.clone_machine(m),
            Fault::Clock(m, ahead, drift) => {
                self.machines[m].clock.set_ahead(ahead);
                self.machines[m].clock.set_drift(drift);
            }
            Fault::Line(m, line) => self.machines[m].line = line,
            Fault::CloudDown(ms) => self.cloud_down = self.now + ms,
            Fault::Crashes(n) => self.crashes += n,
            Fault::Lie(to, ms) => self.lying = Some(Lying { to, until: self.now + ms }),
            Fault::Backup => self.backups.push(self.cloud.clone()),
            Fault::Restore(signed) => self.restore(signed),
            Fault::Shadow(m, true) => self.begin_shadow(m),
            Fault::Shadow(_, false) => self.shadow = None,
            Fault::Revoke(m) => self.cloud.close(self.machines[m].id, Closing::Revoked, self.now),
            Fault::Retire(m) => self.retire(m),
            Fault::Hold(lot) => self.cloud.hold(LOTS[lot]),
            Fault::Poison => super::poison::push(self)?,
            Fault::Reuse(m) => return self.scan(m, true),
            Fault::Unverifiable(m) => self.make_unverifiable(m),
            Fault::Rotate(m) => self.with_engine(m, |engine, now| engine.handle_wake(Wake::Rotate, now)),
            Fault::Pause(m, paused) => self.with_engine(m, |engine, now| engine.handle_pause(paused, now)),
        }
        self.note_leaves();
        match fault {
            Fault::PowerOff(m)
            | Fault::Rotate(m)
            | Fault::Pause(m, _)
            | Fault::DiskGood(m)
            | Fault::Clock(m, ..) => self.drive(m),
            _ => Ok(()),
        }
    }

    fn with_engine(&mut self, m: usize, work: impl FnOnce(&mut lotgate_sync::engine::Engine, u64)) {
        let machine = &mut self.machines[m];
        if let Some(life) = machine.life.as_mut() {
            work(&mut life.engine, machine.clock.mono());
        }
    }

    fn break_disk(&mut self, m: usize, how: impl FnOnce(&Disk)) {
        self.machines[m].disk_fault = true;
        how(&self.machines[m].disk);
    }

    pub(crate) fn mend_disk(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        machine.disk.limit_space(None);
        machine.disk.fail_syncs_at(1, 0);
        machine.disk.set_read_only(false);
        machine.disk_fault = false;
    }

    fn put_back(&mut self, m: usize, alone: bool) -> Result<(), Wrong> {
        let Some((_, copy)) = self.copies.iter().rev().find(|(of, _)| *of == m).cloned() else {
            return Ok(());
        };
        self.check_kept(m)?;
        self.contradictory = true;
        // The whole machine as it was: with a key that may have been replaced since.
        self.machines[m].cloned |= !alone;
        self.machines[m].put_back(&copy, alone);
        self.gone(m);
        Ok(())
    }

    /// Both directories on another machine, and both go on.
    fn clone_machine(&mut self, m: usize) {
        let Some(copy) = self.machines[m].copy() else { return };
        if self.machines.len() > 3 {
            return;
        }
        let index = self.machines.len();
        let mut machine = Machine::new(self.seed, index, self.machines[m].id, self.now);
        machine.disk.restore(&copy.files, None);
        machine.cloned = true;
        self.machines[m].cloned = true;
        self.contradictory = true;
        self.add(machine);
        self.after(500, Event::Boot(index));
        let mut at = 2_000;
        for _ in 0..self.plan.between(1, 8) {
            self.after(at, Event::Scan(index));
            at += self.plan.between(20, 4_000);
        }
    }

    fn begin_shadow(&mut self, m: usize) {
        let cloud = self.cloud.clone();
        self.keep_safe(&cloud);
        self.contradictory = true;
        self.shadow = Some(Shadow { to: m, cloud });
    }

    /// Every view of the log begins with this one.
    fn keep_safe(&mut self, cloud: &super::cloud::Cloud) {
        let smaller = self.safe.as_ref().is_none_or(|safe| cloud.tree().size < safe.tree().size);
        if smaller {
            self.safe = Some(cloud.clone());
        }
    }

    fn restore(&mut self, signed: bool) {
        let Some(backup) = self.backups.last().cloned() else { return };
        self.keep_safe(&backup);
        self.contradictory = true;
        if signed {
            return self.own_up();
        }
        let mut restored = backup.restored(&self.cloud);
        restored.catch_up(&self.cloud);
        self.cloud = restored;
        self.replaced();
    }

    /// Back to where all views agree, and the root key says so.
    fn own_up(&mut self) {
        let Some(safe) = self.safe.take() else { return };
        let mut restored = safe.restored(&self.cloud);
        restored.recover(self.cloud.tree(), self.now);
        restored.catch_up(&self.cloud);
        self.cloud = restored;
        (self.shadow, self.backups) = (None, Vec::new());
        self.tally.recoveries += 1;
        self.replaced();
        self.say(|world| format!("log recovered: generation {}", world.cloud.store.generation));
    }

    fn retire(&mut self, m: usize) {
        let Some(life) = &self.machines[m].life else { return };
        let (state, id) = (life.state(), self.machines[m].id);
        let head = super::ready(lotgate_domain::ledger::Store::head(&mut self.cloud.store, id)).unwrap();
        if state.queued == 0 && head == Some(state.head) {
            self.cloud.close(id, Closing::Retired, self.now);
        }
    }

    fn make_unverifiable(&mut self, m: usize) {
        let Some(told) = self.machines[m].told.last() else { return };
        let hash = told.point.hash;
        let held = self.cloud.store.entries(self.machines[m].id).any(|(_, entry)| entry.hash == hash);
        if !held && !self.leaves.contains(&hash) && !self.machines[m].shown.contains(&hash) {
            self.cloud.unverifiable.insert(hash);
            if let Some(shadow) = &mut self.shadow {
                shadow.cloud.unverifiable.insert(hash);
            }
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&mut self) -> Result<(), Wrong> {
        self.say(|_| "heal".to_owned());
        self.healed = Some(self.now);
        (self.lying, self.shadow, self.crashes, self.cloud_down) = (None, None, 0, 0);
        self.own_up();
        for m in 0..self.machines.len() {
            self.mend_disk(m);
            let machine = &mut self.machines[m];
            machine.line = Line::default();
            machine.disk.cut_power_at(u64::MAX / 2);
            self.with_engine(m, |engine, now| engine.handle_pause(false, now));
            self.drive(m)?;
        }
        Ok(())
    }
}

/// How many kinds [`World::draw`] knows.
const KINDS: u64 = 30;

//! What a file and a directory hold, what of it is on the disk, and what a power cut leaves of the rest.

use super::dice::{Dice, Fate, Mood};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Number of a file, whatever its name.
pub(super) type Ino = u64;

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// The content of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// As programs see it.
    current: Vec<u8>,
    /// As it lies on the disk.
    durable: Vec<u8>,
    /// What was not synced, in order.
    pending: Vec<Change>,
}

impl Content {
    pub(super) fn on_disk(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), current: bytes, pending: Vec::new() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.current, offset, bytes);
        self.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.current.resize(len, 0);
        self.pending.push(Change::Truncate(len));
    }

    /// A sync that worked.
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { offset, bytes } => put(&mut self.durable, offset, &bytes),
                Change::Truncate(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// A sync that failed: each write reached the disk, is still to be written, or is forgotten by a system
    /// that goes on showing it.
    pub(super) fn sync_badly(&mut self, dice: &mut Dice) {
        let mut left = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            match dice.below(3) {
                0 => apply(&mut self.durable, &change, Fate::Whole, dice),
                1 => left.push(change),
                _ => {}
            }
        }
        self.pending = left;
    }

    /// A power cut: what was not synced is there, is not, or is torn, each for itself.
    pub(super) fn cut(&mut self, mood: Mood, dice: &mut Dice) {
        let mut run = dice.run(mood, self.pending.len());
        for change in std::mem::take(&mut self.pending) {
            let fate = run.next(dice);
            apply(&mut self.durable, &change, fate, dice);
        }
        self.current.clone_from(&self.durable);
    }

    /// Turns one bit over, on the disk and in memory.
    pub(super) fn flip(&mut self, offset: usize) -> bool {
        let mut there = false;
        for image in [&mut self.current, &mut self.durable] {
            if let Some(byte) = image.get_mut(offset) {
                *byte ^= 0x10;
                there = true;
            }
        }
        there
    }
}

fn apply(image: &mut Vec<u8>, change: &Change, fate: Fate, dice: &mut Dice) {
    match (change, fate) {
        (_, Fate::Lost) => {}
        (Change::Truncate(len), Fate::Whole | Fate::Torn) => image.resize(*len, 0),
        (Change::Write { offset, bytes }, Fate::Whole) => put(image, *offset, bytes),
        (Change::Write { offset, bytes }, Fate::Torn) => {
            let (mut at, mut rest) = (*offset, bytes.as_slice());
            while !rest.is_empty() {
                let to_edge = SECTOR.saturating_sub(at % SECTOR).min(rest.len());
                let (sector, after) = rest.split_at(to_edge);
                if dice.coin() {
                    put(image, at, sector);
                }
                at = at.saturating_add(to_edge);
                rest = after;
            }
        }
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if image.len() < end {
        image.resize(end, 0);
    }
    if let Some(place) = image.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

#[derive(Debug, Clone)]
enum NameChange {
    New { path: PathBuf, ino: Ino },
    Gone { path: PathBuf, ino: Ino },
    Moved { from: PathBuf, to: PathBuf, ino: Ino },
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::New { path, .. } | Self::Gone { path, .. } | Self::Moved { to: path, .. } => path.parent(),
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, Ino>) {
        match self {
            Self::New { path, ino } => drop(names.insert(path, ino)),
            Self::Gone { path, ino } => {
                if names.get(&path) == Some(&ino) {
                    names.remove(&path);
                }
            }
            Self::Moved { from, to, ino } => {
                if names.get(&from) == Some(&ino) {
                    names.remove(&from);
                }
                names.insert(to, ino);
            }
        }
    }
}

/// The names of all files.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    current: BTreeMap<PathBuf, Ino>,
    durable: BTreeMap<PathBuf, Ino>,
    pending: Vec<NameChange>,
}

impl Names {
    pub(super) fn on_disk(names: BTreeMap<PathBuf, Ino>) -> Self {
        Self { durable: names.clone(), current: names, pending: Vec::new() }
    }

    pub(super) fn get(&self, path: &Path) -> Option<Ino> {
        self.current.get(path).copied()
    }

    pub(super) fn current(&self) -> &BTreeMap<PathBuf, Ino> {
        &self.current
    }

    pub(super) fn make(&mut self, path: &Path, ino: Ino) {
        self.change(NameChange::New { path: path.to_owned(), ino });
    }

    pub(super) fn remove(&mut self, path: &Path) -> bool {
        let Some(ino) = self.get(path) else { return false };
        self.change(NameChange::Gone { path: path.to_owned(), ino });
        true
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let Some(ino) = self.get(from) else { return false };
        self.change(NameChange::Moved { from: from.to_owned(), to: to.to_owned(), ino });
        true
    }

    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.current);
        self.pending.push(change);
    }

    /// A sync of `dir` that worked.
    pub(super) fn sync(&mut self, dir: &Path) {
        for change in std::mem::take(&mut self.pending) {
            if change.dir() == Some(dir) {
                change.apply(&mut self.durable);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// A power cut.
    pub(super) fn cut(&mut self, mood: Mood, dice: &mut Dice) {
        let mut run = dice.run(mood, self.pending.len());
        for change in std::mem::take(&mut self.pending) {
            if run.next(dice) != Fate::Lost {
                change.apply(&mut self.durable);
            }
        }
        self.current.clone_from(&self.durable);
    }

    /// Whether any name, durable or not, leads to the file.
    pub(super) fn lead_to(&self, ino: Ino) -> bool {
        let pending = |change: &NameChange| match change {
            NameChange::New { ino: named, .. }
            | NameChange::Gone { ino: named, .. }
            | NameChange::Moved { ino: named, .. } => *named == ino,
        };
        self.current.values().chain(self.durable.values()).any(|named| *named == ino)
            || self.pending.iter().any(pending)
    }
}

//! The disk behind every handle to it: files, names, what was opened, and the faults that are due.

use super::Calls;
use super::content::{Content, Ino, Names};
use super::dice::Dice;
use super::locks::{FileLocks, HandleId, MemoryLocks};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Size of one region of shared memory, as the database asks for it.
pub(super) const REGION: usize = 32_768;

/// One region of shared memory; the database reads and writes it through a pointer.
pub(super) type Region = Arc<[AtomicU64]>;

/// What the connections to one database share in memory; a power cut and the last connection end it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) regions: Vec<Region>,
    pub(super) locks: MemoryLocks,
    users: BTreeSet<HandleId>,
}

#[derive(Debug, Default)]
pub(super) struct FileState {
    pub(super) content: Content,
    pub(super) locks: FileLocks,
    shared: Option<Shared>,
    handles: BTreeSet<HandleId>,
}

impl FileState {
    /// A file that nobody has open.
    pub(super) fn closed(content: Content) -> Self {
        Self { content, ..Self::default() }
    }
}

/// How programs end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    PowerCut,
    Kill,
}

/// The faults that are due.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// At which change it ends, and how.
    pub(super) end: Option<(u64, End)>,
    /// From which change on nothing more fits.
    pub(super) full_at: Option<u64>,
    /// How many bytes fit.
    pub(super) space: Option<u64>,
    /// Which syncs fail, by their count.
    pub(super) bad_syncs: Option<std::ops::Range<u64>>,
    /// Nothing can be changed.
    pub(super) read_only: bool,
    /// What the database is told instead of `synchronous = FULL`.
    pub(super) synchronous: Option<&'static str>,
}

/// A handle to an opened file; worthless after a power cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handle {
    pub(super) id: HandleId,
    pub(super) ino: Ino,
    pub(super) generation: u64,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) on: bool,
    /// Counts the lives of the programs: a power cut or a kill ends one.
    pub(super) generation: u64,
    pub(super) plan: Plan,
    pub(super) calls: Calls,
    pub(super) dice: Dice,
    pub(super) files: BTreeMap<Ino, FileState>,
    pub(super) names: Names,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) locked: BTreeSet<PathBuf>,
    next: u64,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            on: true,
            generation: 1,
            plan: Plan::default(),
            calls: Calls::default(),
            dice: Dice::new(seed),
            files: BTreeMap::new(),
            names: Names::default(),
            dirs: BTreeSet::new(),
            locked: BTreeSet::new(),
            next: 1,
        }
    }

    /// Whether a program of `generation` can still do anything.
    pub(super) fn alive(&self, generation: u64) -> io::Result<()> {
        if self.on && self.generation == generation { Ok(()) } else { Err(failed("there is no power")) }
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }

    /// Counts a change; at the one that is due it ends.
    fn count(&mut self) -> io::Result<()> {
        self.calls.changes = self.calls.changes.saturating_add(1);
        let due = self.plan.end.filter(|(at, _)| self.calls.changes >= *at);
        let Some((_, end)) = due else { return Ok(()) };
        match end {
            End::PowerCut => {
                self.plan.end = None;
                self.on = false;
            }
            End::Kill => self.kill(),
        }
        Err(failed("this was the end"))
    }

    fn writable(&self) -> io::Result<()> {
        if self.plan.read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    /// Whether a file may grow by `bytes`.
    fn room(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if bytes == 0 {
            return true;
        }
        let full = self.plan.full_at.is_some_and(|at| self.calls.changes >= at);
        !full && self.plan.space.is_none_or(|space| self.used().saturating_add(bytes) <= space)
    }

    /// Bytes that all files take.
    pub(super) fn used(&self) -> u64 {
        let of = |file: &FileState| {
            let regions = file.shared.as_ref().map_or(0, |shared| shared.regions.len());
            file.content.bytes().len().saturating_add(regions.saturating_mul(REGION))
        };
        self.files.values().map(of).map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX)).sum()
    }

    /// Opens a file, and makes it if `create` says so. `exclusive`: only if it was not there.
    pub(super) fn open(
        &mut self,
        generation: u64,
        path: &Path,
        create: bool,
        exclusive: bool,
    ) -> io::Result<Handle> {
        self.alive(generation)?;
        let ino = match self.names.get(path) {
            Some(_) if create && exclusive => return Err(ErrorKind::AlreadyExists.into()),
            Some(ino) => ino,
            None if create => {
                self.writable()?;
                if !path.parent().is_some_and(|dir| self.dirs.contains(dir)) {
                    return Err(ErrorKind::NotFound.into());
                }
                let ino = self.number();
                self.files.insert(ino, FileState::default());
                self.names.make(path, ino);
                self.count()?;
                ino
            }
            None => return Err(ErrorKind::NotFound.into()),
        };
        let id = self.number();
        if let Some(file) = self.files.get_mut(&ino) {
            file.handles.insert(id);
        }
        Ok(Handle { id, ino, generation })
    }

    /// Closes a file; one without a name is gone with its last handle.
    pub(super) fn close(&mut self, handle: Handle) {
        if self.generation != handle.generation {
            return;
        }
        self.unmap(handle);
        let Some(file) = self.files.get_mut(&handle.ino) else { return };
        file.handles.remove(&handle.id);
        file.locks.unlock(handle.id, 0);
        self.forget(handle.ino);
    }

    fn forget(&mut self, ino: Ino) {
        let unused = self.files.get(&ino).is_some_and(|file| file.handles.is_empty());
        if unused && !self.names.lead_to(ino) {
            self.files.remove(&ino);
        }
    }

    pub(super) fn file(&mut self, handle: Handle) -> io::Result<&mut FileState> {
        self.alive(handle.generation)?;
        self.files.get_mut(&handle.ino).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Writes; on a full disk only a part of it.
    pub(super) fn write(&mut self, handle: Handle, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.alive(handle.generation)?;
        self.writable()?;
        self.calls.written = self.calls.written.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        let len = self.file(handle)?.content.bytes().len();
        let grows = offset.saturating_add(bytes.len()).saturating_sub(len);
        let fits = self.room(grows);
        let part = if fits {
            bytes
        } else {
            let fitting = u64::try_from(bytes.len().saturating_sub(grows)).unwrap_or(0);
            let fitting = usize::try_from(self.dice.below(fitting.saturating_add(1))).unwrap_or(0);
            bytes.get(..fitting).unwrap_or_default()
        };
        if !part.is_empty() {
            self.file(handle)?.content.write(offset, part);
        }
        self.count()?;
        if fits { Ok(()) } else { Err(ErrorKind::StorageFull.into()) }
    }

    pub(super) fn truncate(&mut self, handle: Handle, len: usize) -> io::Result<()> {
        self.alive(handle.generation)?;
        self.writable()?;
        let now = self.file(handle)?.content.bytes().len();
        if !self.room(len.saturating_sub(now)) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.file(handle)?.content.truncate(len);
        self.count()
    }

    /// Counts a sync; says whether it works.
    fn sync_works(&mut self) -> io::Result<bool> {
        self.count()?;
        self.calls.syncs = self.calls.syncs.saturating_add(1);
        let syncs = self.calls.syncs;
        Ok(!self.plan.bad_syncs.as_ref().is_some_and(|bad| bad.contains(&syncs)))
    }

    pub(super) fn sync(&mut self, handle: Handle) -> io::Result<()> {
        self.alive(handle.generation)?;
        let works = self.sync_works()?;
        let mut dice = self.dice.clone();
        let content = &mut self.file(handle)?.content;
        if works {
            content.sync();
            return Ok(());
        }
        content.sync_badly(&mut dice);
        self.dice = dice;
        Err(failed("the sync failed"))
    }

    pub(super) fn sync_dir(&mut self, generation: u64, dir: &Path) -> io::Result<()> {
        self.alive(generation)?;
        if !self.dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        if !self.sync_works()? {
            return Err(failed("the sync failed"));
        }
        self.names.sync(dir);
        Ok(())
    }

    pub(super) fn rename(&mut self, generation: u64, from: &Path, to: &Path) -> io::Result<()> {
        self.alive(generation)?;
        self.writable()?;
        let replaced = self.names.get(to);
        if !self.names.rename(from, to) {
            return Err(ErrorKind::NotFound.into());
        }
        if let Some(ino) = replaced {
            self.forget(ino);
        }
        self.count()
    }

    pub(super) fn remove(&mut self, generation: u64, path: &Path) -> io::Result<()> {
        self.alive(generation)?;
        self.writable()?;
        if !self.names.remove(path) {
            return Err(ErrorKind::NotFound.into());
        }
        self.count()
    }

    pub(super) fn make_dir(&mut self, generation: u64, dir: &Path) -> io::Result<()> {
        self.alive(generation)?;
        self.writable()?;
        self.count()?;
        self.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    /// The shared memory of a database, up to region `index`; `None` if it is smaller and must not grow.
    pub(super) fn map(&mut self, handle: Handle, index: usize, extend: bool) -> io::Result<Option<Region>> {
        let read_only = self.plan.read_only;
        let fits = self.room(REGION);
        let file = self.file(handle)?;
        if file.shared.is_none() && read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        let shared = file.shared.get_or_insert_default();
        shared.users.insert(handle.id);
        while extend && shared.regions.len() <= index {
            if !fits {
                return Err(ErrorKind::StorageFull.into());
            }
            shared.regions.push((0..REGION / size_of::<u64>()).map(|_| AtomicU64::new(0)).collect());
        }
        Ok(shared.regions.get(index).cloned())
    }

    pub(super) fn memory_locks(&mut self, handle: Handle) -> io::Result<&mut MemoryLocks> {
        let shared = self.file(handle)?.shared.as_mut();
        shared.map(|shared| &mut shared.locks).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Lets go of the shared memory; it ends with its last user.
    pub(super) fn unmap(&mut self, handle: Handle) {
        let Ok(file) = self.file(handle) else { return };
        let Some(shared) = &mut file.shared else { return };
        shared.users.remove(&handle.id);
        shared.locks.release_all(handle.id);
        if shared.users.is_empty() {
            file.shared = None;
        }
    }

    /// Ends every program; the system and what it holds in memory live on.
    pub(super) fn kill(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.plan.end = None;
        self.locked.clear();
        for file in self.files.values_mut() {
            *file = FileState::closed(std::mem::take(&mut file.content));
        }
        let inos: Vec<Ino> = self.files.keys().copied().collect();
        inos.into_iter().for_each(|ino| self.forget(ino));
    }

    /// Decides what the power cut left, and starts again.
    pub(super) fn power_on(&mut self) {
        let mood = self.dice.mood();
        self.names.cut(mood, &mut self.dice);
        for file in self.files.values_mut() {
            file.content.cut(mood, &mut self.dice);
        }
        self.kill();
        self.on = true;
    }
}

/// An error of the device.
pub(super) fn failed(words: &'static str) -> io::Error {
    io::Error::other(words)
}

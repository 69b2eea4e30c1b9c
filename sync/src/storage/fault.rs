//! A disk in memory that fails on purpose: it loses and tears what was not synced, fills up, refuses to sync,
//! turns bits over. It stands below the database, through a VFS of its own, and below the files beside it,
//! so that one power cut takes both. Only the feature `fault-vfs` has it, and no release has that.
//!
//! Everything is drawn from the seed. A run repeats exactly if its programs are asked for one thing at a time.

mod content;
mod dice;
mod locks;
mod machine;
mod vfs;

use super::{Access, FileLock, Storage};
use crate::secure::Places;
use content::{Content, Ino, Names};
use machine::{End, FileState, Machine};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The first part of every path on such a disk; disk and life follow.
const PREFIX: &str = "fault-disk-";

/// What was asked of a disk since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls that change or sync something: file or name made, written, truncated, renamed, removed, synced.
    pub changes: u64,
    /// Those of them that sync.
    pub syncs: u64,
    /// Calls that read.
    pub reads: u64,
    /// Bytes written.
    pub written: u64,
}

/// All files of a disk at one moment, as a backup program sees them.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    files: BTreeMap<PathBuf, Vec<u8>>,
    dirs: BTreeSet<PathBuf>,
}

/// One disk. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    machine: Mutex<Machine>,
}

/// Where the database finds the disk that a path is on.
static DISKS: Mutex<BTreeMap<u64, Weak<Inner>>> = Mutex::new(BTreeMap::new());
static NEXT_DISK: AtomicU64 = AtomicU64::new(1);

impl Inner {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        disks().remove(&self.id);
    }
}

fn disks() -> MutexGuard<'static, BTreeMap<u64, Weak<Inner>>> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A path on a disk, taken apart.
struct Located {
    disk: Arc<Inner>,
    generation: u64,
    path: PathBuf,
}

/// The disk of a path, the life of the programs that know it by this name, and the path on it.
fn locate(path: &Path) -> Option<Located> {
    let mut parts = path.components().skip(1);
    let root = parts.next()?.as_os_str().to_str()?.strip_prefix(PREFIX)?;
    let (id, generation) = root.split_once('-')?;
    let disk = disks().get(&id.parse().ok()?)?.upgrade()?;
    Some(Located { disk, generation: generation.parse().ok()?, path: parts.collect() })
}

impl Disk {
    /// An empty disk; every chance that it takes follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        vfs::register();
        let id = NEXT_DISK.fetch_add(1, Ordering::Relaxed);
        let mut machine = Machine::new(seed);
        machine.dirs.insert(PathBuf::new());
        let inner = Arc::new(Inner { id, machine: Mutex::new(machine) });
        disks().insert(id, Arc::downgrade(&inner));
        Self(inner)
    }

    /// The directories `<name>` and `<name>.secure` of a station on this disk, for [`crate::secure::Secure`].
    /// Good until the next power cut or kill; what was opened by them is dead from then on, as its program is.
    #[must_use]
    pub fn places(&self, name: &str) -> Places {
        let generation = self.0.machine().generation;
        let root = PathBuf::from(format!("/{PREFIX}{:08}-{generation:08}", self.0.id));
        Places::new(root.join(name), None, None)
            .on(Arc::new(Mounted { disk: Arc::clone(&self.0), generation }))
    }

    /// What was asked of it.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.0.machine().calls
    }

    /// Cuts the power at the `n`th change from now (1: the next), which may still reach the disk in part.
    /// From then on every call fails until [`Disk::power_on`].
    pub fn cut_power_at(&self, n: u64) {
        let mut machine = self.0.machine();
        machine.plan.end = Some((machine.calls.changes.saturating_add(n.max(1)), End::PowerCut));
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.0.machine().on = false;
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        !self.0.machine().on
    }

    /// Turns the power on; it is cut first if it was not. Now it is decided what became of everything unsynced:
    /// each write is there, is not, or is torn between sectors of 512 bytes; a name is there or not. What
    /// was opened before stays dead.
    pub fn power_on(&self) {
        self.0.machine().power_on();
    }

    /// Ends every program at once, as SIGKILL does; nothing that was written is lost, nor is it synced. A cut or
    /// kill that was due is forgotten.
    pub fn kill(&self) {
        let mut machine = self.0.machine();
        if machine.on {
            machine.kill();
        }
    }

    /// Does so at the `n`th change from now (1: the next).
    pub fn kill_at(&self, n: u64) {
        let mut machine = self.0.machine();
        machine.plan.end = Some((machine.calls.changes.saturating_add(n.max(1)), End::Kill));
    }

    /// Counts the lives of the programs: each power cut, kill and restore begins one.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.0.machine().generation
    }

    /// Has the database told `synchronous = mode` when it is opened to be written, to see that a test notices.
    pub fn turn_down_synchronous(&self, mode: &'static str) {
        self.0.machine().plan.synchronous = Some(mode);
    }

    /// Limits all files together to `bytes`, or lifts every limit.
    pub fn limit_space(&self, bytes: Option<u64>) {
        let mut machine = self.0.machine();
        machine.plan.space = bytes;
        machine.plan.full_at = None;
    }

    /// Bytes that all files take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.machine().used()
    }

    /// The disk is full from the `n`th change on (1: the next) until [`Disk::limit_space`].
    pub fn fill_at(&self, n: u64) {
        let mut machine = self.0.machine();
        machine.plan.full_at = Some(machine.calls.changes.saturating_add(n.max(1)).saturating_sub(1));
    }

    /// Lets `count` syncs fail, from the `n`th on (1: the next). What they should have synced is on the disk,
    /// or will be, or never will although it can be read.
    pub fn fail_syncs_at(&self, n: u64, count: u64) {
        let mut machine = self.0.machine();
        let first = machine.calls.syncs.saturating_add(n.max(1));
        machine.plan.bad_syncs = Some(first..first.saturating_add(count));
    }

    /// Whether nothing can be changed any more.
    pub fn set_read_only(&self, read_only: bool) {
        self.0.machine().plan.read_only = read_only;
    }

    /// Turns over one bit of a file (its path as `station/queue.db`). False if there is no such byte.
    pub fn corrupt(&self, path: impl AsRef<Path>, offset: usize) -> bool {
        let mut machine = self.0.machine();
        let Some(ino) = machine.names.get(path.as_ref()) else { return false };
        machine.files.get_mut(&ino).is_some_and(|file| file.content.flip(offset))
    }

    /// A file's bytes as programs see them.
    #[must_use]
    pub fn file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let machine = self.0.machine();
        let ino = machine.names.get(path.as_ref())?;
        machine.files.get(&ino).map(|file| file.content.bytes().to_vec())
    }

    /// Everything as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let machine = self.0.machine();
        let bytes = |ino: &Ino| machine.files.get(ino).map(|file| file.content.bytes().to_vec());
        let files = machine.names.current().iter();
        Snapshot {
            files: files.filter_map(|(path, ino)| Some((path.clone(), bytes(ino)?))).collect(),
            dirs: machine.dirs.clone(),
        }
    }

    /// Ends every program and puts back what `snapshot` holds: everything, or of the directory `only` alone,
    /// which loses its other files. On another disk this makes a clone.
    pub fn restore(&self, snapshot: &Snapshot, only: Option<&str>) {
        let mut machine = self.0.machine();
        let inside = |path: &Path| only.is_none_or(|only| path.starts_with(only));
        let kept: Vec<(PathBuf, Vec<u8>)> = machine
            .names
            .current()
            .iter()
            .filter(|(path, _)| !inside(path))
            .filter_map(|(path, ino)| Some((path.clone(), machine.files.get(ino)?.content.bytes().to_vec())))
            .collect();
        let restored = snapshot.files.iter().filter(|(path, _)| inside(path));
        let all = kept.into_iter().chain(restored.map(|(path, bytes)| (path.clone(), bytes.clone())));
        let (mut files, mut names) = (BTreeMap::new(), BTreeMap::new());
        for (ino, (path, bytes)) in (1_u64 << 32..).zip(all) {
            files.insert(ino, FileState::closed(Content::on_disk(bytes)));
            names.insert(path, ino);
        }
        machine.files = files;
        machine.names = Names::on_disk(names);
        machine.dirs.extend(snapshot.dirs.iter().cloned());
        machine.kill();
        machine.on = true;
    }
}

/// The disk as the programs of one life see it.
#[derive(Debug)]
struct Mounted {
    disk: Arc<Inner>,
    generation: u64,
}

impl Mounted {
    /// The path on the disk; another disk's, and those of an earlier life, are not there.
    fn path(&self, path: &Path) -> io::Result<PathBuf> {
        let located = locate(path).filter(|located| Arc::ptr_eq(&located.disk, &self.disk));
        located.map(|located| located.path).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn with<T>(
        &self,
        path: &Path,
        create: bool,
        work: impl FnOnce(&mut Machine, machine::Handle) -> io::Result<T>,
    ) -> io::Result<T> {
        let path = self.path(path)?;
        let mut machine = self.disk.machine();
        let handle = machine.open(self.generation, &path, create, false)?;
        let done = work(&mut machine, handle);
        machine.close(handle);
        done
    }
}

impl Storage for Mounted {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.with(path, false, |machine, handle| {
            machine.calls.reads = machine.calls.reads.saturating_add(1);
            Ok(machine.file(handle)?.content.bytes().to_vec())
        })
    }

    fn read_start(&self, path: &Path, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(path)?;
        bytes.truncate(len);
        Ok(bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.with(path, true, |machine, handle| {
            if !machine.file(handle)?.content.bytes().is_empty() {
                machine.truncate(handle, 0)?;
            }
            machine.write(handle, 0, bytes)
        })
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.with(path, false, Machine::sync)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = self.path(dir)?;
        self.disk.machine().sync_dir(self.generation, &dir)
    }

    fn rewrite(&self, path: &Path) -> io::Result<()> {
        self.with(path, false, |machine, handle| {
            let bytes = machine.file(handle)?.content.bytes().to_vec();
            for (index, part) in bytes.chunks(1 << 16).enumerate() {
                machine.write(handle, index.saturating_mul(1 << 16), part)?;
            }
            machine.sync(handle)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        self.disk.machine().rename(self.generation, &from, &to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = self.path(path)?;
        self.disk.machine().remove(self.generation, &path)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = self.path(dir)?;
        self.disk.machine().make_dir(self.generation, &dir)
    }

    fn exists(&self, path: &Path) -> bool {
        let Ok(path) = self.path(path) else { return false };
        let machine = self.disk.machine();
        machine.names.get(&path).is_some() || machine.dirs.contains(&path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.path(path).is_ok_and(|path| self.disk.machine().dirs.contains(&path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let dir = self.path(dir)?;
        let machine = self.disk.machine();
        machine.alive(self.generation)?;
        let here = |path: &&PathBuf| path.parent() == Some(&dir);
        let names = machine.names.current().keys().chain(&machine.dirs).filter(here);
        let mut names: Vec<String> =
            names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort();
        if machine.dirs.contains(&dir) { Ok(names) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn access(&self, path: &Path) -> io::Result<Option<Access>> {
        if self.exists(path) { Ok(None) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<FileLock>> {
        self.with(path, true, |_, _| Ok(()))?;
        let path = self.path(path)?;
        let free = self.disk.machine().locked.insert(path.clone());
        let held = || Held { disk: Arc::clone(&self.disk), generation: self.generation, path };
        Ok(free.then(|| FileLock::new(held())))
    }

    fn free(&self, _dir: &Path) -> io::Result<Option<u64>> {
        let machine = self.disk.machine();
        Ok(machine.plan.space.map(|space| space.saturating_sub(machine.used())))
    }

    fn vfs(&self) -> Option<&'static str> {
        Some(vfs::NAME)
    }

    fn in_order(&self) -> bool {
        true
    }

    fn turned_down(&self) -> Option<&'static str> {
        self.disk.machine().plan.synchronous
    }
}

/// A lock file that is held.
struct Held {
    disk: Arc<Inner>,
    generation: u64,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut machine = self.disk.machine();
        if machine.generation == self.generation {
            machine.locked.remove(&self.path);
        }
    }
}

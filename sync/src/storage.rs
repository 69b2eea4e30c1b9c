//! The files beside the database, and the one place through which they reach the disk (PROTOCOL §2).
//!
//! The station uses [`LocalDisk`]. The power tests and the simulation use `fault::Disk` (feature
//! `fault-vfs`), which also stands below the database, so that one power cut takes both.

#[cfg(feature = "fault-vfs")]
pub mod fault;
mod local;

pub use local::LocalDisk;

use std::any::Any;
use std::io;
use std::path::Path;

/// Whose a file or directory is, where the system knows such a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The owner's user number.
    pub owner: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A lock on a file; let go of when it is dropped, or when the process ends.
pub struct FileLock(#[allow(dead_code, reason = "held, never looked at")] Box<dyn Any + Send + Sync>);

impl FileLock {
    /// A lock that lasts as long as `held`.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl std::fmt::Debug for FileLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileLock")
    }
}

/// A disk. Nothing is durable before it was synced: a file's content by [`Storage::sync`], its name by
/// [`Storage::sync_dir`]. Every error is that of the file system.
pub trait Storage: std::fmt::Debug + Send + Sync {
    /// The content of a file.
    ///
    /// # Errors
    /// `NotFound`, and the file system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The first `len` bytes of a file, fewer if it is shorter.
    ///
    /// # Errors
    /// `NotFound`, and the file system's.
    fn read_start(&self, path: &Path, len: usize) -> io::Result<Vec<u8>>;

    /// Makes a file of `bytes`, readable by this user alone; one that is there is overwritten.
    ///
    /// # Errors
    /// The file system's; the file may then hold anything.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file's content durable.
    ///
    /// # Errors
    /// The file system's; whether the content is on the disk is then unknown, whatever can be read.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Makes new, renamed and removed names in `dir` durable.
    ///
    /// # Errors
    /// The file system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Writes a file's bytes over themselves and syncs them: after a sync that failed, perhaps in a process
    /// that ended since, the system may hold in memory what it will never write by itself.
    ///
    /// # Errors
    /// `NotFound`, and the file system's.
    fn rewrite(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in the place of one that is there.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, and the file system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory for this user alone, durably, with the directories above it where they are missing.
    ///
    /// # Errors
    /// The file system's.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> bool;

    /// Whether there is a directory of this name.
    fn is_dir(&self, path: &Path) -> bool;

    /// The names in a directory, in order.
    ///
    /// # Errors
    /// `NotFound`, and the file system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Whose it is; `None` where the system does not know users and modes.
    ///
    /// # Errors
    /// `NotFound`, and the file system's.
    fn access(&self, path: &Path) -> io::Result<Option<Access>>;

    /// Locks a file, which is made if need be; `None` if somebody else has it.
    ///
    /// # Errors
    /// The file system's.
    fn lock(&self, path: &Path) -> io::Result<Option<FileLock>>;

    /// Bytes that are free for this user on the disk of `dir`; `None` where that cannot be told.
    ///
    /// # Errors
    /// The file system's.
    fn free(&self, _dir: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Name of the database's way to this disk; `None` is its own.
    fn vfs(&self) -> Option<&'static str> {
        None
    }

    /// Whether writes must come one after the other from one thread, so that a run can be repeated exactly.
    fn in_order(&self) -> bool {
        false
    }

    /// What the database is told instead of `synchronous = FULL`, to see that the power test notices.
    #[cfg(feature = "fault-vfs")]
    fn turned_down(&self) -> Option<&'static str> {
        None
    }

    /// Writes `dir/name`, readable by this user alone: a temporary file, its sync, a rename, the sync of the
    /// directory. When it returns, the new content is on the disk; before, the old one is whole.
    ///
    /// # Errors
    /// The file system's; then the old or the new content is in place, whole.
    fn write_durably(&self, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = dir.join(format!(".{name}.new"));
        self.write(&temporary, bytes)?;
        self.sync(&temporary)?;
        self.rename(&temporary, &dir.join(name))?;
        self.sync_dir(dir)
    }
}

//! Whose the directories are, and that one process writes them.

use super::{Places, SecureError, sync_dir};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

const LOCK: &str = "lock";
/// Beside the lock, not in it: Windows lets nobody read a locked file.
const HOLDER: &str = "lock.pid";

/// The locks of both directories, held as long as this lives.
#[derive(Debug)]
pub(super) struct Locks {
    _data: File,
    _secure: File,
}

impl Locks {
    pub(super) fn take(places: &Places) -> Result<Self, SecureError> {
        Ok(Self { _data: take(&places.data)?, _secure: take(&places.secure)? })
    }
}

fn take(dir: &Path) -> Result<File, SecureError> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(&path).map_err(SecureError::io(&path))?;
    let holder = dir.join(HOLDER);
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = std::fs::read_to_string(&holder).ok().and_then(|text| text.trim().parse().ok());
            return Err(SecureError::Locked { path: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(SecureError::Io { path, source }),
    }
    std::fs::write(&holder, format!("{}\n", std::process::id())).map_err(SecureError::io(&holder))?;
    Ok(file)
}

/// Makes `dir` for this user alone; one that is there is checked.
pub(super) fn make_private_dir(dir: &Path) -> Result<(), SecureError> {
    if !dir.is_dir() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let created = builder.create(dir).and_then(|()| match dir.canonicalize()?.parent() {
            Some(parent) => sync_dir(parent),
            None => Ok(()),
        });
        created.map_err(SecureError::io(dir))?;
    }
    check_owner(dir)
}

/// Refuses what belongs to another user, root's own hands included: files that root makes lock the kiosk out.
pub(super) fn check_owner(path: &Path) -> Result<(), SecureError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let owner = std::fs::metadata(path).map_err(SecureError::io(path))?.uid();
        let user = rustix::process::geteuid().as_raw();
        if owner != user {
            return Err(SecureError::Owner { path: path.to_owned(), owner, user });
        }
    }
    #[cfg(not(unix))]
    std::fs::metadata(path).map_err(SecureError::io(path))?;
    Ok(())
}

/// Refuses what belongs to another user or can be read by one. Windows keeps that by the profile's own ACL.
pub(super) fn check_private(path: &Path) -> Result<(), SecureError> {
    check_owner(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let mode = std::fs::metadata(path).map_err(SecureError::io(path))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SecureError::Permissions { path: path.to_owned(), mode });
        }
    }
    Ok(())
}

//! Whose the directories are, and that one process writes them.

use super::{Places, SecureError};
use crate::storage::FileLock;
use std::path::Path;

const LOCK: &str = "lock";
/// Beside the lock, not in it: Windows lets nobody read a locked file.
const HOLDER: &str = "lock.pid";

/// The locks of both directories, held as long as this lives.
#[derive(Debug)]
pub(super) struct Locks {
    _data: FileLock,
    _secure: FileLock,
}

impl Locks {
    pub(super) fn take(places: &Places) -> Result<Self, SecureError> {
        Ok(Self { _data: take(places, &places.data)?, _secure: take(places, &places.secure)? })
    }
}

/// The lock of the data directory alone, for a station whose secure directory is lost.
#[derive(Debug)]
pub(crate) struct DataLock {
    _data: FileLock,
}

impl DataLock {
    pub(crate) fn take(places: &Places) -> Result<Self, SecureError> {
        check_owner(places, &places.data)?;
        Ok(Self { _data: take(places, &places.data)? })
    }
}

fn take(places: &Places, dir: &Path) -> Result<FileLock, SecureError> {
    let (path, holder) = (dir.join(LOCK), dir.join(HOLDER));
    let storage = &*places.storage;
    let Some(lock) = storage.lock(&path).map_err(SecureError::io(&path))? else {
        let text = storage.read(&holder).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pid = text.and_then(|text| text.trim().parse().ok());
        return Err(SecureError::Locked { path: dir.to_owned(), pid });
    };
    let pid = format!("{}\n", std::process::id());
    storage.write(&holder, pid.as_bytes()).map_err(SecureError::io(&holder))?;
    Ok(lock)
}

/// Makes `dir` for this user alone; one that is there is checked.
pub(super) fn make_private_dir(places: &Places, dir: &Path) -> Result<(), SecureError> {
    if !places.storage.is_dir(dir) {
        places.storage.make_dir(dir).map_err(SecureError::io(dir))?;
    }
    check_owner(places, dir)
}

/// Refuses what belongs to another user, root's own hands included: files that root makes lock the kiosk out.
pub(super) fn check_owner(places: &Places, path: &Path) -> Result<(), SecureError> {
    let access = places.storage.access(path).map_err(SecureError::io(path))?;
    #[cfg(unix)]
    if let Some(access) = access {
        let (owner, user) = (access.owner, rustix::process::geteuid().as_raw());
        if owner != user {
            return Err(SecureError::Owner { path: path.to_owned(), owner, user });
        }
    }
    #[cfg(not(unix))]
    let _ = access;
    Ok(())
}

/// Refuses what belongs to another user or can be read by one. Windows keeps that by the profile's own ACL.
pub(super) fn check_private(places: &Places, path: &Path) -> Result<(), SecureError> {
    check_owner(places, path)?;
    match places.storage.access(path).map_err(SecureError::io(path))? {
        Some(access) if access.mode & 0o077 != 0 => {
            Err(SecureError::Permissions { path: path.to_owned(), mode: access.mode })
        }
        _ => Ok(()),
    }
}

//! Key files: 32 random bytes in hex, readable by their owner alone.

use crate::crypto::{self, SealError};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file that holds a secret cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("key_file_unreadable: {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be written; one that is there already is never overwritten.
    #[error("key_file_unwritable: {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error("key_file_exposed: {path} can be read by others than its owner; make it 0600")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It does not hold 64 hexadecimal digits.
    #[error("key_file_malformed: {path} does not hold 64 hexadecimal digits")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// No random bytes.
    #[error("key_file_random")]
    Random(#[from] SealError),
}

/// Reads a key file.
///
/// # Errors
/// [`KeyFileError`].
pub fn read(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    if is_exposed(&std::fs::metadata(path).map_err(failed)?) {
        return Err(KeyFileError::Exposed { path: path.to_owned() });
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii(), key.as_mut_slice())
        .map_err(|_| KeyFileError::Malformed { path: path.to_owned() })?;
    Ok(key)
}

/// Makes a key file of random bytes if there is no file yet; whether it did.
///
/// # Errors
/// [`KeyFileError`].
pub fn make_missing(path: &Path) -> Result<bool, KeyFileError> {
    if path.exists() {
        return Ok(false);
    }
    let key = Zeroizing::new(crypto::random::<32>()?);
    let text = Zeroizing::new(format!("{}\n", hex::encode(*key)));
    write_secret(path, text.as_bytes())?;
    Ok(true)
}

/// Writes a new file that its owner alone may read, durably. A file that is there already stays as it is.
///
/// # Errors
/// [`KeyFileError::Write`].
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    fill_secret(&mut create_secret(path)?, path, bytes)
}

/// Makes a new, empty file that its owner alone may read. A file that is there already stays as it is.
///
/// # Errors
/// [`KeyFileError::Write`].
pub fn create_secret(path: &Path) -> Result<File, KeyFileError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| KeyFileError::Write { path: path.to_owned(), source })
}

/// Writes a file of [`create_secret`], durably.
///
/// # Errors
/// [`KeyFileError::Write`].
pub fn fill_secret(file: &mut File, path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

#[cfg(unix)]
fn is_exposed(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        assert!(make_missing(&path).unwrap());
        let key = read(&path).unwrap();
        assert!(!make_missing(&path).unwrap(), "never made again");
        assert_eq!(*read(&path).unwrap(), *key);
        assert!(matches!(write_secret(&path, b"x"), Err(KeyFileError::Write { .. })), "never overwritten");
        assert_eq!(*read(&path).unwrap(), *key);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_or_that_is_no_key_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write_secret(&path, b"abc").unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Malformed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Exposed { .. })));
        assert!(matches!(read(&directory.path().join("none")), Err(KeyFileError::Read { .. })));
    }
}

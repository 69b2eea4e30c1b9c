//! Key files: 32 random bytes in hex, readable by their owner alone.

use crate::crypto::{self, SealError};
use lotgate_domain::ids::{PublicKey, TenantId};
use lotgate_domain::signature::KeyPair;
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
    /// It is not what `tenant create` wrote for this tenant.
    #[error("key_file_not_root: {path} does not hold the root key of tenant {tenant}")]
    NoRootKey {
        /// The file.
        path: PathBuf,
        /// The tenant.
        tenant: TenantId,
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
    key(path, &read_secret(path)?)
}

/// Reads the root key that `tenant create` wrote for a tenant.
///
/// # Errors
/// [`KeyFileError`].
pub fn read_root(path: &Path, tenant: TenantId) -> Result<KeyPair, KeyFileError> {
    let text = read_secret(path)?;
    let malformed = || KeyFileError::NoRootKey { path: path.to_owned(), tenant };
    let file: RootFile<'_> = serde_json::from_str(&text).map_err(|_| malformed())?;
    let keys = KeyPair::from_seed(&*key(path, file.seed)?);
    let right = file.v == 1 && file.key_use == "root" && file.tenant == tenant;
    if right && file.public_key == keys.public() { Ok(keys) } else { Err(malformed()) }
}

/// What `tenant create` writes.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RootFile<'a> {
    v: u64,
    #[serde(rename = "use")]
    key_use: &'a str,
    tenant: TenantId,
    public_key: PublicKey,
    seed: &'a str,
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    if is_exposed(&std::fs::metadata(path).map_err(failed)?) {
        return Err(KeyFileError::Exposed { path: path.to_owned() });
    }
    Ok(Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?))
}

fn key(path: &Path, text: &str) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
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
    write_key(path, &key)?;
    Ok(true)
}

/// Writes a new file that its owner alone may read, durably. A file that is there already stays as it is.
///
/// # Errors
/// [`KeyFileError::Write`].
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    fill_secret(&mut create_secret(path)?, path, bytes)
}

/// Writes a new key file with this key, durably. A file that is there already stays as it is.
///
/// # Errors
/// [`KeyFileError::Write`].
pub fn write_key(path: &Path, key: &[u8; 32]) -> Result<(), KeyFileError> {
    let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(hex::encode(key))));
    write_secret(path, text.as_bytes())
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

    #[test]
    fn a_root_key_is_read_for_its_own_tenant_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (path, root) = (directory.path().join("root.json"), KeyPair::from_seed(&[7; 32]));
        let tenant = TenantId::from_parts(1, &[1; 10]);
        let seed = hex::encode([7; 32]);
        let file = |public: PublicKey| {
            format!(
                "{{\"v\":1,\"use\":\"root\",\"tenant\":\"{tenant}\",\"public_key\":\"{public}\",\"seed\":\"{seed}\"}}\n"
            )
        };
        write_secret(&path, file(root.public()).as_bytes()).unwrap();
        assert_eq!(read_root(&path, tenant).unwrap().public(), root.public());
        let other = TenantId::from_parts(2, &[1; 10]);
        assert!(matches!(read_root(&path, other), Err(KeyFileError::NoRootKey { .. })));
        let mixed = directory.path().join("mixed.json");
        write_secret(&mixed, file(KeyPair::from_seed(&[8; 32]).public()).as_bytes()).unwrap();
        assert!(matches!(read_root(&mixed, tenant), Err(KeyFileError::NoRootKey { .. })), "another key's");
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

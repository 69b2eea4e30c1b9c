//! The 32 bytes that wrap every other key of the station, and where they are kept.

#[cfg(any(windows, target_os = "linux"))]
mod system_store;

use super::{KeyProtection, Places, Random, Record, SecureError, lock};
use crate::storage::{LocalDisk, Storage};
use std::path::Path;
use zeroize::Zeroizing;

const KEY_FILE: &str = "device.key";
const PROBE_FILE: &str = "probe";

/// The device secret.
pub(super) struct DeviceSecret(Zeroizing<[u8; 32]>);

impl DeviceSecret {
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Chooses the place, proves that it keeps what is written to it, and makes or takes the secret.
    pub(super) fn make(places: &Places, random: &dyn Random) -> Result<(Self, Record), SecureError> {
        let record = |key_protection, name| Record { v: 1, key_protection, name };
        if let Some(credential) = &places.credential {
            return Ok((Self::from_credential(credential)?, record(KeyProtection::Credential, None)));
        }
        let mut secret = Zeroizing::new([0; 32]);
        random.fill(secret.as_mut())?;
        let system = if cfg!(windows) {
            Some(KeyProtection::CredentialManager)
        } else {
            places.secret_service.then_some(KeyProtection::SecretService)
        };
        let made = match system {
            Some(protection) => {
                let mut name = [0; 16];
                random.fill(&mut name)?;
                let name = hex::encode(name);
                keep_in_system(&name, &secret)?;
                record(protection, Some(name))
            }
            None => {
                probe_file(places, random)?;
                let path = places.secure.join(KEY_FILE);
                let stored = places.storage.write_durably(&places.secure, KEY_FILE, secret.as_ref());
                stored.map_err(SecureError::io(&path))?;
                record(KeyProtection::File, None)
            }
        };
        Ok((Self(secret), made))
    }

    /// Takes the secret from where it was recorded to be, and from nowhere else.
    pub(super) fn load(places: &Places, record: &Record) -> Result<Self, SecureError> {
        match record.key_protection {
            KeyProtection::Credential => match &places.credential {
                Some(credential) => Self::from_credential(credential),
                None => Err(SecureError::Missing("$CREDENTIALS_DIRECTORY/lotgate.device".into())),
            },
            KeyProtection::File => {
                let path = places.secure.join(KEY_FILE);
                let bytes = read(&*places.storage, &path)?;
                lock::check_private(places, &path)?;
                let secret = bytes.as_slice().try_into().map_err(|_| malformed(&path))?;
                Ok(Self(Zeroizing::new(secret)))
            }
            KeyProtection::CredentialManager | KeyProtection::SecretService => {
                let path = places.secure.join(super::RECORD);
                let what = "record of a system's key store";
                let name = record.name.as_ref().ok_or(SecureError::Malformed { path, what })?;
                Ok(Self(take_from_system(record.key_protection, name)?))
            }
        }
    }

    /// 32 bytes as they are, or 64 hexadecimal digits. The system makes this file, so it lies on its own disk.
    fn from_credential(path: &Path) -> Result<Self, SecureError> {
        let bytes = read(&LocalDisk, path)?;
        if let Ok(secret) = bytes.as_slice().try_into() {
            return Ok(Self(Zeroizing::new(secret)));
        }
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(bytes.trim_ascii(), secret.as_mut()).map_err(|_| malformed(path))?;
        Ok(Self(secret))
    }
}

fn read(storage: &dyn Storage, path: &Path) -> Result<Zeroizing<Vec<u8>>, SecureError> {
    match storage.read(path) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(SecureError::Missing(path.to_owned()))
        }
        Err(source) => Err(SecureError::Io { path: path.to_owned(), source }),
    }
}

fn malformed(path: &Path) -> SecureError {
    SecureError::Malformed { path: path.to_owned(), what: "device secret of 32 bytes" }
}

#[cfg(any(windows, target_os = "linux"))]
fn keep_in_system(name: &str, secret: &[u8; 32]) -> Result<(), SecureError> {
    system_store::probe(name)?;
    system_store::store(name, secret)?;
    let kept = system_store::load(name)?;
    if *kept == *secret { Ok(()) } else { Err(SecureError::Probe) }
}

#[cfg(not(any(windows, target_os = "linux")))]
fn keep_in_system(_: &str, _: &[u8; 32]) -> Result<(), SecureError> {
    Err(SecureError::NoSecretService)
}

/// From the store that was recorded; another system has another one, and looking there would be a silent change.
#[cfg(any(windows, target_os = "linux"))]
fn take_from_system(protection: KeyProtection, name: &str) -> Result<Zeroizing<[u8; 32]>, SecureError> {
    let here = if cfg!(windows) { KeyProtection::CredentialManager } else { KeyProtection::SecretService };
    if protection == here {
        system_store::load(name)
    } else {
        Err(SecureError::Missing(protection.as_str().into()))
    }
}

#[cfg(not(any(windows, target_os = "linux")))]
fn take_from_system(protection: KeyProtection, _: &str) -> Result<Zeroizing<[u8; 32]>, SecureError> {
    Err(SecureError::Missing(protection.as_str().into()))
}

/// Writes, reads back and deletes.
fn probe_file(places: &Places, random: &dyn Random) -> Result<(), SecureError> {
    let storage = &*places.storage;
    let path = places.secure.join(PROBE_FILE);
    let mut written = [0; 32];
    random.fill(&mut written)?;
    storage.write_durably(&places.secure, PROBE_FILE, &written).map_err(SecureError::io(&path))?;
    let same = read(storage, &path)?.as_slice() == written;
    storage.remove(&path).map_err(SecureError::io(&path))?;
    if same { Ok(()) } else { Err(SecureError::Probe) }
}

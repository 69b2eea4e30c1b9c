//! The 32 bytes that wrap every other key of the station, and where they are kept.

#[cfg(windows)]
mod credential_manager;

#[cfg(not(windows))]
use super::durable_write;
use super::{KeyProtection, Places, Random, Record, SecureError, lock};
use std::path::Path;
use zeroize::Zeroizing;

const KEY_FILE: &str = "device.key";
#[cfg(not(windows))]
const PROBE_FILE: &str = "probe";

/// The device secret.
pub(super) struct DeviceSecret(Zeroizing<[u8; 32]>);

impl DeviceSecret {
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Chooses the place, proves that it keeps what is written to it, and makes or takes the secret.
    pub(super) fn make(places: &Places, random: &dyn Random) -> Result<(Self, Record), SecureError> {
        let mut record = Record { v: 1, key_protection: KeyProtection::File, name: None };
        if let Some(credential) = &places.credential {
            record.key_protection = KeyProtection::Credential;
            return Ok((Self::from_credential(credential)?, record));
        }
        let mut secret = Zeroizing::new([0; 32]);
        random.fill(secret.as_mut())?;
        #[cfg(windows)]
        {
            let mut name = [0; 16];
            random.fill(&mut name)?;
            let name = hex::encode(name);
            credential_manager::probe(&name)?;
            credential_manager::store(&name, &secret)?;
            record.key_protection = KeyProtection::CredentialManager;
            record.name = Some(name);
            return Ok((Self(secret), record));
        }
        #[cfg(not(windows))]
        {
            probe_file(&places.secure, random)?;
            let path = places.secure.join(KEY_FILE);
            durable_write(&places.secure, KEY_FILE, secret.as_ref()).map_err(SecureError::io(&path))?;
            Ok((Self(secret), record))
        }
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
                let bytes = read(&path)?;
                lock::check_private(&path)?;
                let secret = bytes.as_slice().try_into().map_err(|_| malformed(&path))?;
                Ok(Self(Zeroizing::new(secret)))
            }
            KeyProtection::CredentialManager => {
                #[cfg(windows)]
                if let Some(name) = &record.name {
                    return Ok(Self(credential_manager::load(name)?));
                }
                Err(SecureError::Missing("Windows Credential Manager".into()))
            }
        }
    }

    /// 32 bytes as they are, or 64 hexadecimal digits.
    fn from_credential(path: &Path) -> Result<Self, SecureError> {
        let bytes = read(path)?;
        if let Ok(secret) = bytes.as_slice().try_into() {
            return Ok(Self(Zeroizing::new(secret)));
        }
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(bytes.trim_ascii(), secret.as_mut()).map_err(|_| malformed(path))?;
        Ok(Self(secret))
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecureError> {
    match std::fs::read(path) {
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

/// Writes, reads back and deletes.
#[cfg(not(windows))]
fn probe_file(dir: &Path, random: &dyn Random) -> Result<(), SecureError> {
    let path = dir.join(PROBE_FILE);
    let mut written = [0; 32];
    random.fill(&mut written)?;
    durable_write(dir, PROBE_FILE, &written).map_err(SecureError::io(&path))?;
    let same = read(&path)?.as_slice() == written;
    std::fs::remove_file(&path).map_err(SecureError::io(&path))?;
    if same { Ok(()) } else { Err(SecureError::Probe) }
}

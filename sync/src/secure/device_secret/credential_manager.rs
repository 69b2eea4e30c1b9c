//! The Windows Credential Manager of the kiosk's user.

use super::super::SecureError;
use keyring::{Entry, Error};
use zeroize::Zeroizing;

const SERVICE: &str = "Lotgate device secret";

/// Writes, reads back and deletes: on some machines the manager takes a secret and does not keep it.
pub(super) fn probe(name: &str) -> Result<(), SecureError> {
    let written = *b"lotgate/credential-manager/probe";
    let probe = entry(&format!("{name}.probe"))?;
    probe.set_secret(&written).map_err(SecureError::CredentialManager)?;
    let read = probe.get_secret().map_err(SecureError::CredentialManager)?;
    probe.delete_credential().map_err(SecureError::CredentialManager)?;
    if read == written { Ok(()) } else { Err(SecureError::Probe) }
}

pub(super) fn store(name: &str, secret: &[u8; 32]) -> Result<(), SecureError> {
    entry(name)?.set_secret(secret).map_err(SecureError::CredentialManager)
}

pub(super) fn load(name: &str) -> Result<Zeroizing<[u8; 32]>, SecureError> {
    let secret = match entry(name)?.get_secret() {
        Ok(secret) => Zeroizing::new(secret),
        Err(Error::NoEntry) => return Err(SecureError::Missing(SERVICE.into())),
        Err(error) => return Err(SecureError::CredentialManager(error)),
    };
    let malformed = |_| SecureError::Malformed { path: SERVICE.into(), what: "device secret of 32 bytes" };
    Ok(Zeroizing::new(secret.as_slice().try_into().map_err(malformed)?))
}

fn entry(name: &str) -> Result<Entry, SecureError> {
    Entry::new(SERVICE, name).map_err(SecureError::CredentialManager)
}

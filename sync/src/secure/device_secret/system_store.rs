//! The system's own key store for the kiosk's user: the Windows Credential Manager, the Secret Service on Linux.

use super::super::SecureError;
use keyring::{Entry, Error};
use std::sync::mpsc;
use std::time::Duration;
use zeroize::Zeroizing;

const SERVICE: &str = "Lotgate device secret";
/// A locked store asks a person and waits; at a kiosk nobody comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes, reads back and deletes: some stores take a secret and do not keep it.
pub(super) fn probe(name: &str) -> Result<(), SecureError> {
    let name = format!("{name}.probe");
    ask(move || {
        let written = *b"lotgate/system-key-store/probe//";
        let probe = Entry::new(SERVICE, &name)?;
        probe.set_secret(&written)?;
        let same = probe.get_secret()? == written;
        probe.delete_credential()?;
        let gone = matches!(probe.get_secret(), Err(Error::NoEntry));
        Ok(same && gone)
    })
    .and_then(|kept| if kept { Ok(()) } else { Err(SecureError::Probe) })
}

pub(super) fn store(name: &str, secret: &[u8; 32]) -> Result<(), SecureError> {
    let (name, secret) = (name.to_owned(), Zeroizing::new(*secret));
    ask(move || Entry::new(SERVICE, &name)?.set_secret(secret.as_ref()))
}

pub(super) fn load(name: &str) -> Result<Zeroizing<[u8; 32]>, SecureError> {
    let entry = name.to_owned();
    let secret = match ask(move || Entry::new(SERVICE, &entry)?.get_secret().map(Zeroizing::new)) {
        Err(SecureError::SystemStore(Error::NoEntry)) => {
            return Err(SecureError::Missing(format!("{SERVICE} {name} in the system's key store").into()));
        }
        answer => answer?,
    };
    let malformed = |_| SecureError::Malformed { path: SERVICE.into(), what: "device secret of 32 bytes" };
    Ok(Zeroizing::new(secret.as_slice().try_into().map_err(malformed)?))
}

/// Asks on a thread of its own, which is left behind if no answer comes.
fn ask<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, SecureError> {
    let (reply, answer) = mpsc::channel();
    let asking = std::thread::Builder::new().name("key-store".to_owned()).spawn(move || {
        // Whoever gave up waiting does not hear it.
        let _ = reply.send(question());
    });
    asking.map_err(SecureError::io("key store".as_ref()))?;
    match answer.recv_timeout(PATIENCE) {
        Ok(answer) => answer.map_err(SecureError::SystemStore),
        Err(_) => Err(SecureError::SystemStoreSilent),
    }
}

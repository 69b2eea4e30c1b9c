//! A queue whose key store is lost, read with the key that its two holders recovered: entries only, to be
//! exported (PROTOCOL §2, REC-12).

use super::error::{OpenError, QueueError};
use super::export::{ExportError, ExportReport, Source};
use super::file::QueueFile;
use super::identity::Identity;
use super::steady::Steady;
use crate::secure::recovery::{self, Of, Recovered, RecoveryState};
use crate::secure::{DataLock, Places, Random, Secure};
use lotgate_domain::export::ExportKind;
use lotgate_domain::ids::Hash;
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use std::path::Path;
use std::sync::Arc;

/// Makes sure that the tenant's two holders can recover the key of the queue. Durable when it returns.
pub(super) fn seal(
    secure: &Secure,
    identity: &Identity,
    random: &dyn Random,
) -> Result<RecoveryState, OpenError> {
    let of = Of { tenant: identity.tenant, station: identity.station };
    let sealed = recovery::ensure(secure.places(), &identity.trust, of, secure.queue_key(), random);
    sealed.map_err(OpenError::Recovery)
}

/// A queue opened with a recovered key. Holds the lock of its data directory, and changes nothing in it.
#[derive(Debug)]
pub struct RecoveredQueue {
    file: QueueFile,
    of: Of,
    root_fingerprint: Hash,
    _lock: DataLock,
}

impl RecoveredQueue {
    /// Opens `file`, the queue or one that was set aside, in the data directory of `places`. Neither the secure
    /// directory nor anything in it is needed.
    ///
    /// # Errors
    /// [`OpenError`]: `Foreign` if it is another station's queue, `Locked` if the station runs.
    pub fn open(places: &Places, file: &Path, recovered: &Recovered) -> Result<Self, OpenError> {
        let lock = DataLock::take(places).map_err(OpenError::Secure)?;
        let file = QueueFile::new(places, file.to_owned(), recovered.key().clone());
        if !file.exists() {
            return Err(OpenError::Lost);
        }
        file.check_header()?;
        drop(file.open_to_read()?);
        let identity = |connection: &Connection| {
            connection
                .query_row("SELECT tenant, root_fingerprint FROM identity", [], |row| {
                    Ok((row.get::<_, String>(0)?, Hash(row.get(1)?)))
                })
                .optional()
        };
        let read = Steady::new(&file).read(identity).map_err(|error| match error {
            QueueError::Storage(error) => OpenError::Storage(error),
            QueueError::Open(error) => Arc::into_inner(error).unwrap_or(OpenError::Foreign),
            _ => OpenError::Foreign,
        })?;
        let root_fingerprint = match read {
            // On a bad page. The key is the one that was sealed for this station, and the entries say whose they are.
            None => Hash::ZERO,
            Some(Some((tenant, root))) if tenant.parse() == Ok(recovered.of.tenant) => root,
            Some(_) => return Err(OpenError::Foreign),
        };
        Ok(Self { file, of: recovered.of, root_fingerprint, _lock: lock })
    }

    /// Writes entries and certificates to `dir`, which must not exist. Nobody seals it: each entry carries its
    /// station's signature, and there is no other key left to sign with.
    ///
    /// # Errors
    /// [`ExportError`]; then there is no `dir`.
    pub fn export(&self, dir: &Path) -> Result<ExportReport, ExportError> {
        let source = Source {
            file: &self.file,
            kind: ExportKind::Recovered,
            tenant: self.of.tenant,
            station: self.of.station,
            root_fingerprint: self.root_fingerprint,
        };
        source.write(dir, None, Timestamp::from_unix_ms(0))
    }
}

//! Looking at a queue without writing to it, beside a running station if need be: for `status`, `doctor`,
//! `queue verify`.

use super::error::{Fault, OpenError, QueueError, StorageError};
use super::export::{ExportError, ExportReport, Source};
use super::file::QueueFile;
use super::identity::{self, Identity};
use super::standing::{Standing, Surroundings};
use super::{CapacityLimits, QueueState, anchor, audit, check, remembered, rows, tail};
use crate::secure::recovery::{self, Of, RecoveryError, RecoveryState};
use crate::secure::{Places, Secure, StationKeys};
use lotgate_domain::chain::Head;
use lotgate_domain::export::ExportKind;
use lotgate_domain::time::Timestamp;
use rusqlite::Connection;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// How many entries are checked at the beginning.
const ENDS: u64 = 1_000;

/// A queue opened for looking.
#[derive(Debug)]
pub struct QueueView {
    pub(super) file: QueueFile,
    pub(super) connection: Connection,
    pub(super) identity: Identity,
    pub(super) places: Places,
}

/// What a full check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Entries that were found right.
    pub entries: u64,
    /// Epochs in the queue.
    pub epochs: u64,
    /// Entries that a receipt covers.
    pub settled: u64,
    /// Checkpoints of the cloud's log, each found to follow the one before.
    pub checkpoints: u64,
    /// Verdict batches that were found proven together with the entries that they are for.
    pub proofs: u64,
    /// How often the cloud contradicted itself; both sides are kept.
    pub contradictions: u64,
    /// The first thing that is wrong; the check ends there.
    pub first_fault: Option<Fault>,
}

impl Verification {
    /// Nothing is wrong.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.first_fault.is_none()
    }
}

impl QueueView {
    /// Opens the queue of `secure` for reading; needs no lock and changes nothing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(secure: &Secure) -> Result<Self, OpenError> {
        let places = secure.places();
        let file = QueueFile::new(places, places.queue_file(), secure.queue_key().clone());
        if !file.exists() {
            return Err(missing(secure));
        }
        file.check_header()?;
        let connection = file.open_to_read()?;
        let identity = identity::load(&connection, secure)?;
        Ok(Self { file, connection, identity, places: places.clone() })
    }

    /// Who the station is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the queue stands. Whether a running station has stopped accepting is not in the file.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn state(&self) -> Result<QueueState, QueueError> {
        let around = Surroundings::of(&self.places, CapacityLimits::default());
        Ok(self.standing()?.state(None, 0, &around))
    }

    /// Whether the queue holds exactly this entry; before the first one: whether that is its certificate.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn holds(&self, point: &Head) -> Result<bool, QueueError> {
        let standing = self.standing()?;
        let position = check::position_of(&self.connection, &self.identity, &standing.epochs, point);
        Ok(position.map_err(StorageError::from)?.is_some())
    }

    /// Checks the queue against the rollback anchor.
    ///
    /// # Errors
    /// [`OpenError::RolledBack`], [`OpenError::AnchorMissing`], [`OpenError::Anchor`].
    pub fn check_anchor(&self) -> Result<(), OpenError> {
        // The anchor first: a running writer may move both, and the queue is never behind it.
        let anchor = anchor::read(&self.places, Some(self.identity.station))?;
        let transaction = self.connection.unchecked_transaction().map_err(StorageError::from)?;
        let standing = Standing::load(&transaction)?;
        check::check_anchor(&transaction, &self.identity, &standing, anchor)
    }

    /// Checks the first and the last 1,000 entries, as a start does the last.
    ///
    /// # Errors
    /// [`OpenError::Damaged`], or why it cannot be read.
    pub fn check_ends(&self) -> Result<(), OpenError> {
        let transaction = self.connection.unchecked_transaction().map_err(StorageError::from)?;
        let standing = Standing::load(&transaction)?;
        let keyring = check::Keyring::of(&self.identity);
        let start = check::start(&transaction, &self.identity, &standing.epochs)?;
        let mut checker = check::Checker::after(&self.identity, &keyring, &standing.epochs, start);
        let mut found = None;
        rows::operations_after(&transaction, start.0, ENDS, |row| {
            found = checker.check(&row).err().map(|code| check::fault(&row, code));
            Ok::<_, rusqlite::Error>(found.is_none())
        })
        .map_err(StorageError::from)?;
        match found {
            Some(fault) => Err(OpenError::Damaged(fault)),
            None => tail::check_tail(&transaction, &self.identity, &keyring, &standing),
        }
    }

    /// Checks every entry (frame, signature, strict form, names, link, columns), the watermarks, the receipts, the
    /// checkpoints and what is proven under them, and the file itself, on every core. `progress` is told how many
    /// entries were looked at so far.
    ///
    /// # Errors
    /// [`QueueError`] if the file cannot be read; what is wrong in it is not an error.
    pub fn verify(&self, progress: impl FnMut(u64)) -> Result<Verification, QueueError> {
        audit::verify(self, progress)
    }

    /// Writes everything that the queue holds to `dir`, which must not exist, sealed by the station's present
    /// `keys`; `now` stands in the seal. Beside a running station if need be.
    ///
    /// # Errors
    /// [`ExportError`]; then there is no `dir`.
    pub fn export(
        &self,
        dir: &Path,
        keys: &StationKeys,
        now: Timestamp,
    ) -> Result<ExportReport, ExportError> {
        let source = Source {
            file: &self.file,
            kind: ExportKind::Queue,
            tenant: self.identity.tenant,
            station: self.identity.station,
            root_fingerprint: self.identity.root_fingerprint,
        };
        source.write(dir, Some(&keys.signing), now)
    }

    /// Whether the queue could be recovered without its key store.
    ///
    /// # Errors
    /// [`RecoveryError::Io`].
    pub fn recovery(&self) -> Result<RecoveryState, RecoveryError> {
        let of = Of { tenant: self.identity.tenant, station: self.identity.station };
        recovery::state(&self.places, &self.identity.trust, of, self.file.key())
    }

    pub(super) fn standing(&self) -> Result<Standing, QueueError> {
        let transaction = self.connection.unchecked_transaction().map_err(StorageError::from)?;
        Standing::load(&transaction).map_err(|error| match error {
            OpenError::Storage(error) => QueueError::Storage(error),
            error => QueueError::Open(Arc::new(error)),
        })
    }
}

/// A queue file that is not there: never made, or lost.
pub(super) fn missing(secure: &Secure) -> OpenError {
    let places = secure.places();
    if anchor::exists(places) || remembered::exists(places) {
        OpenError::Lost
    } else {
        OpenError::NotEnrolled
    }
}

//! Looking at a queue without writing to it, beside a running station if need be: for `status`, `doctor`,
//! `queue verify`.

use super::check::{self, Checker};
use super::error::{Fault, FaultCode, OpenError, QueueError, StorageError};
use super::file::QueueFile;
use super::identity::{self, Identity};
use super::rows;
use super::standing::Standing;
use super::{QueueState, anchor};
use crate::secure::Secure;
use lotgate_domain::chain::Head;
use rusqlite::Connection;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Entries read at once; short reads let a running writer fold its log in.
const CHUNK: u64 = 1_000;

/// A queue opened for looking.
#[derive(Debug)]
pub struct QueueView {
    connection: Connection,
    identity: Identity,
    secure_dir: PathBuf,
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
        let file = QueueFile::new(places.queue_file(), secure.queue_key().clone());
        if !file.path().exists() {
            return Err(missing(secure));
        }
        let connection = file.open_to_read()?;
        let identity = identity::load(&connection, secure.station_keys(), secure.protection())?;
        Ok(Self { connection, identity, secure_dir: places.secure.clone() })
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
        Ok(self.standing()?.state(None, 0))
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
        let anchor = anchor::read(&self.secure_dir, Some(self.identity.station))?;
        let transaction = self.connection.unchecked_transaction().map_err(StorageError::from)?;
        let standing = Standing::load(&transaction)?;
        check::check_anchor(&transaction, &self.identity, &standing, anchor)
    }

    /// Checks every entry (frame, signature, strict form, names, link, columns), the watermarks, the receipts
    /// and the file itself. `progress` is told how many entries were found right so far.
    ///
    /// # Errors
    /// [`QueueError`] if the file cannot be read; what is wrong in it is not an error.
    pub fn verify(&self, mut progress: impl FnMut(u64)) -> Result<Verification, QueueError> {
        let standing = match self.standing() {
            Ok(standing) => standing,
            Err(QueueError::Open(error)) => match &*error {
                OpenError::Damaged(fault) => {
                    let first_fault = Some(*fault);
                    return Ok(Verification { entries: 0, epochs: 0, settled: 0, first_fault });
                }
                _ => return Err(QueueError::Open(error)),
            },
            Err(error) => return Err(error),
        };
        let mut checker = Checker::from_start(&self.identity, &standing.epochs);
        let mut first_fault = None;
        while first_fault.is_none() && checker.position() < standing.position {
            let before = checker.position();
            let mut limit = standing.position.saturating_sub(before).min(CHUNK);
            rows::operations_after(&self.connection, before, limit, |row| {
                first_fault = checker.check(&row).err().map(|code| check::fault(&row, code));
                limit = limit.saturating_sub(1);
                Ok::<_, rusqlite::Error>(first_fault.is_none())
            })
            .map_err(StorageError::from)?;
            if first_fault.is_none() && limit > 0 {
                first_fault = Some(file_fault(checker.position().saturating_add(1), FaultCode::Missing));
            }
            progress(checker.position());
        }
        if first_fault.is_none() && checker.head() != standing.head {
            first_fault = Some(file_fault(standing.position, FaultCode::BrokenChain));
        }
        let first_fault = match first_fault {
            Some(fault) => Some(fault),
            None => self.check_receipts(&standing)?.or(self.check_file()?),
        };
        Ok(Verification {
            entries: checker.position(),
            epochs: u64::try_from(standing.epochs.len()).unwrap_or(u64::MAX),
            settled: standing.position.saturating_sub(standing.queued()),
            first_fault,
        })
    }

    fn standing(&self) -> Result<Standing, QueueError> {
        let transaction = self.connection.unchecked_transaction().map_err(StorageError::from)?;
        Standing::load(&transaction).map_err(|error| match error {
            OpenError::Storage(error) => QueueError::Storage(error),
            error => QueueError::Open(Arc::new(error)),
        })
    }

    /// Each kept receipt is signed by the tenant for this station, and for an entry that is here.
    fn check_receipts(&self, standing: &Standing) -> Result<Option<Fault>, StorageError> {
        let mut statement =
            self.connection.prepare("SELECT statement, epoch_n, seq FROM receipt ORDER BY number")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (bytes, epoch, seq): (Vec<u8>, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let fault = Fault { position: 0, epoch, seq, code: FaultCode::Receipt };
            let trust = &self.identity.trust;
            let Ok(receipt) = lotgate_domain::statement::read::<lotgate_domain::statement::Receipt>(
                &bytes,
                trust.tenant,
                &trust.statement,
            ) else {
                return Ok(Some(fault));
            };
            let receipt = receipt.value;
            let point = lotgate_domain::chain::Head {
                epoch: Some(receipt.epoch),
                seq: receipt.through.seq,
                hash: receipt.through.hash,
            };
            let held = check::position_of(&self.connection, &self.identity, &standing.epochs, &point)?;
            if held.is_none() || receipt.station != self.identity.station || receipt.through.seq != seq {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }

    fn check_file(&self) -> Result<Option<Fault>, StorageError> {
        let answer: String = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((answer != "ok").then(|| file_fault(0, FaultCode::File)))
    }
}

/// A queue file that is not there: never made, or lost.
pub(super) fn missing(secure: &Secure) -> OpenError {
    match anchor::read(&secure.places().secure, None) {
        Ok(None) => OpenError::NotEnrolled,
        Ok(Some(_)) | Err(OpenError::Foreign) => OpenError::Lost,
        Err(error) => error,
    }
}

fn file_fault(position: u64, code: FaultCode) -> Fault {
    Fault { position, epoch: 0, seq: 0, code }
}

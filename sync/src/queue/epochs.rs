//! New epochs and new keys (PROTOCOL §2): the station opens both by itself, in one transaction of its own file.

use super::compose::Composed;
use super::error::{AppendError, OpenError, QueueError};
use super::identity::{self, Identity};
use super::remembered::{self, Begun};
use super::rows::{self, EpochRow};
use super::standing::Standing;
use super::writer::{Writer, operation_row};
use super::{Appended, Draft, Queue, StopReason, anchor};
use crate::secure::StationKeys;
use lotgate_domain::chain::Head;
use lotgate_domain::entry::Frame;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Epoch, EpochId};
use lotgate_domain::operation::body::{Body, ChainPoint};
use lotgate_domain::operation::{self, Content};
use rusqlite::Connection;
use std::sync::Arc;

impl Queue {
    /// Ends the present epoch and begins a new one under the same key.
    ///
    /// # Errors
    /// [`AppendError`]; the present epoch goes on then.
    pub async fn open_epoch(&self, reason: EpochReason) -> Result<Appended, AppendError> {
        self.write(move |writer| writer.open_epoch(reason)).await.ok_or(AppendError::Closed)?
    }

    /// Writes the rollback anchor now, and not only after the next 64 operations, and looks how much room the disk
    /// has; for each heartbeat. An anchor that cannot be written is logged.
    pub async fn write_anchor(&self) {
        let note = |writer: &mut Writer| {
            writer.look_around();
            if let Some(last) = writer.last_point() {
                writer.anchor.note_now(last);
            }
        };
        let _ = self.write(note).await;
    }

    /// The keys that the station takes next. They are made at the first call and kept, wrapped, before this
    /// returns; the same ones come back, after a restart too, until they are adopted.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn next_keys(&self) -> Result<StationKeys, QueueError> {
        self.write(Writer::next_keys).await.ok_or(QueueError::Closed)?
    }

    /// Whether next keys were made and not adopted yet: a rotation that was begun goes on.
    pub async fn rotation_is_pending(&self) -> bool {
        let pending =
            |writer: &mut Writer| !writer.composer.identity.has_key(&writer.secure.newest_keys().public());
        self.write(pending).await.unwrap_or(false)
    }

    /// Takes the next keys, certified by one of `certificates` (frames as the cloud sent them), and opens an epoch
    /// under them. Everything before stays signed with the old key. Asked again after it was done, it gives the
    /// same answer and changes nothing.
    ///
    /// # Errors
    /// [`AppendError::Certificate`] if no certificate among them makes the next keys this station's; the old key
    /// stays then, as with every other error.
    pub async fn adopt_keys(
        &self,
        certificates: Vec<Vec<u8>>,
        reason: EpochReason,
    ) -> Result<Appended, AppendError> {
        let adopt = move |writer: &mut Writer| writer.adopt_keys(&certificates, reason);
        self.write(adopt).await.ok_or(AppendError::Closed)?
    }
}

impl Writer {
    pub(super) fn open_epoch(&mut self, reason: EpochReason) -> Result<Appended, AppendError> {
        self.open_epoch_with(reason, |_, _| Ok(()))
    }

    /// Opens an epoch under the present key; `also` is part of the same transaction.
    pub(super) fn open_epoch_with(
        &mut self,
        reason: EpochReason,
        also: impl FnOnce(&Connection, &mut Standing) -> rusqlite::Result<()>,
    ) -> Result<Appended, AppendError> {
        let identity = Arc::clone(&self.composer.identity);
        self.open_epoch_as(&identity, reason, also)
    }

    fn next_keys(&mut self) -> Result<StationKeys, QueueError> {
        let newest = self.secure.newest_keys();
        if !self.composer.identity.has_key(&newest.public()) {
            return Ok(newest.clone());
        }
        let random = Arc::clone(&self.composer.random);
        Ok(self.secure.make_keys(&*random).map_err(Arc::new)?.clone())
    }

    fn adopt_keys(&mut self, certificates: &[Vec<u8>], reason: EpochReason) -> Result<Appended, AppendError> {
        let keys = self.secure.newest_keys().clone();
        if self.composer.identity.has_key(&keys.public()) {
            return self.opening();
        }
        let present = Arc::clone(&self.composer.identity);
        let identity = present
            .with_key(certificates, (&keys.public(), &keys.hpke_public()))
            .map_err(|error| AppendError::Certificate(Arc::new(error)))?;
        self.open_epoch_as(&identity, reason, |_, _| Ok(()))
    }

    /// Opens an epoch as `identity`, whose key may be another than the present one.
    pub(super) fn open_epoch_as(
        &mut self,
        identity: &Identity,
        reason: EpochReason,
        also: impl FnOnce(&Connection, &mut Standing) -> rusqlite::Result<()>,
    ) -> Result<Appended, AppendError> {
        self.ready().map_err(AppendError::Stopped)?;
        let keys = self.secure.keys_of(&identity.public_key());
        let keys = keys.ok_or_else(|| AppendError::Open(Arc::new(OpenError::KeyMissing)))?.clone();
        let places = self.secure.places().clone();
        // Only quoted: an anchor that cannot be read now is looked into at the next start.
        let anchor = anchor::read_if_ours(&places, identity.station).ok().flatten();
        let begun = remembered::read(&self.secure).map_err(|error| AppendError::Open(Arc::new(error)))?;
        let n = next_number(&self.standing, begun.as_ref().map(|known| &known.begun), anchor);
        let epoch = Epoch { n, id: EpochId(self.composer.random_id()?) };
        let io = |error| AppendError::Open(Arc::new(OpenError::Io(error)));
        remembered::write(&places, identity, &Begun::in_place(n, Some(reason))).map_err(io)?;

        let composer = self.composer.with(Arc::new(identity.clone()), keys);
        let body = opening_body(reason, self.last_point(), anchor);
        let position = self.standing.position.saturating_add(1);
        let draft = Draft::by_station(body, None);
        let composed = composer.compose(draft, epoch, &self.standing.head, position, &self.standing.clock)?;
        let row = epoch_row(epoch, position, identity, Some(reason));
        let appended = self.transact(|transaction, after| {
            also(transaction, after)?;
            identity::store(transaction, identity)?;
            let appended = write_opening(transaction, row, composed, after)?;
            after.refresh_delivery(transaction)?;
            Ok(appended)
        });
        let appended = appended.map_err(|error| match error {
            QueueError::Storage(error) => AppendError::Storage(error),
            QueueError::Stopped(reason) => AppendError::Stopped(reason),
            _ => AppendError::Stopped(StopReason::Io),
        })?;
        tracing::warn!(epoch = n, reason = reason.as_str(), "queue.epoch_opened");
        self.be(composer);
        self.anchor.note_now(ChainPoint { epoch, seq: appended.seq, hash: appended.hash });
        Ok(appended)
    }

    fn last_point(&self) -> Option<ChainPoint> {
        point(&self.standing.head)
    }

    /// The first operation of the present epoch, as it was answered when it was appended.
    fn opening(&self) -> Result<Appended, AppendError> {
        let Some(connection) = &self.connection else {
            return Err(AppendError::Stopped(self.stopped.unwrap_or(StopReason::Io)));
        };
        let first = self.standing.epochs.last().map_or(1, |row| row.first_position);
        let entry = rows::entry_at(connection, first)
            .map_err(|error| AppendError::Storage(error.into()))?
            .ok_or(AppendError::Stopped(StopReason::Damaged))?;
        let read = Frame::read(&entry).ok().and_then(|frame| operation::read(&frame).ok());
        let Some(Content::Known(operation)) = read.as_ref().map(|read| &read.content) else {
            return Err(AppendError::Stopped(StopReason::Damaged));
        };
        let hash = read.as_ref().map(|read| read.hash).ok_or(AppendError::Stopped(StopReason::Damaged))?;
        Ok(Appended {
            position: first,
            epoch: operation.epoch,
            seq: operation.seq,
            id: operation.id,
            kind: operation.body.kind(),
            hash,
            raw_hex: None,
            at: operation.at.clone(),
        })
    }
}

/// The number of the next epoch: after every one that this station is known to have begun.
pub(super) fn next_number(standing: &Standing, begun: Option<&Begun>, anchor: Option<ChainPoint>) -> u64 {
    let known = [
        standing.epochs.last().map(|row| row.epoch.n),
        begun.map(|begun| begun.n),
        anchor.map(|anchor| anchor.epoch.n),
    ];
    known.into_iter().flatten().max().unwrap_or(0).saturating_add(1)
}

pub(super) fn opening_body(
    reason: EpochReason,
    last: Option<ChainPoint>,
    anchor: Option<ChainPoint>,
) -> Body {
    Body::EpochOpened { reason: reason.as_str().to_owned(), last, anchor }
}

pub(super) fn epoch_row(
    epoch: Epoch,
    first_position: u64,
    identity: &Identity,
    reason: Option<EpochReason>,
) -> EpochRow {
    EpochRow {
        epoch,
        first_position,
        certificate: identity.certificate.hash,
        reason,
        sent_through: 0,
        settled_through: 0,
        aside_after: None,
    }
}

/// Writes a new epoch and its first operation.
pub(super) fn write_opening(
    connection: &Connection,
    row: EpochRow,
    composed: Composed,
    after: &mut Standing,
) -> rusqlite::Result<Appended> {
    let Composed { appended, entry } = composed;
    rows::insert_epoch(connection, &row)?;
    rows::insert(connection, &operation_row(&appended, entry))?;
    after.epochs.push(row);
    after.follow(&appended);
    Ok(appended)
}

pub(super) fn point(head: &Head) -> Option<ChainPoint> {
    head.epoch.map(|epoch| ChainPoint { epoch, seq: head.seq, hash: head.hash })
}

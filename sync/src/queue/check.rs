//! Whether entries are what was written: one by one, at the end of the queue, and against the anchor.

use super::error::{Fault, FaultCode, OpenError, StorageError};
use super::identity::Identity;
use super::rows::{self, EpochRow, OperationRow};
use super::standing::Standing;
use lotgate_domain::chain::Head;
use lotgate_domain::entry::Frame;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::operation::{self, At, Content, Header};
use lotgate_domain::signature::Context;
use rusqlite::Connection;

/// How many entries are checked at start (PROTOCOL §2).
pub(super) const TAIL: u64 = 1_000;

/// Goes along the queue and checks each entry against the one before.
pub(super) struct Checker<'a> {
    identity: &'a Identity,
    epochs: &'a [EpochRow],
    head: Head,
    position: u64,
}

impl<'a> Checker<'a> {
    /// Begins before the first entry.
    pub(super) fn from_start(identity: &'a Identity, epochs: &'a [EpochRow]) -> Self {
        Self::after(identity, epochs, Head::genesis(identity.certificate.hash), 0)
    }

    /// Begins after the entry at `position`, which is `head`.
    pub(super) fn after(identity: &'a Identity, epochs: &'a [EpochRow], head: Head, position: u64) -> Self {
        Self { identity, epochs, head, position }
    }

    /// Checks everything that can be said of the next entry: frame, signature, strict form, names, link,
    /// and the columns beside it.
    pub(super) fn check(&mut self, row: &OperationRow) -> Result<(), FaultCode> {
        let frame = self.check_signature(row)?;
        let entry = operation::read(&frame).map_err(|_| FaultCode::BadEnvelope)?;
        let (header, content) = (&entry.header, &entry.content);
        if content.site().is_some_and(|site| site != self.identity.site.id) {
            return Err(FaultCode::Foreign);
        }
        let same = content.id().is_none_or(|id| id == row.id)
            && at(content).is_none_or(|at| at.wall == row.wall)
            && header.body.kind == row.kind;
        self.follow(row, header, &frame)?;
        if same { Ok(()) } else { Err(FaultCode::ColumnsDiffer) }
    }

    /// Checks what must hold before the next entry is sent: frame, signature, names and link.
    pub(super) fn check_to_send(&mut self, row: &OperationRow) -> Result<(), FaultCode> {
        let frame = self.check_signature(row)?;
        let header: Header = serde_json::from_slice(frame.json()).map_err(|_| FaultCode::BadEnvelope)?;
        self.follow(row, &header, &frame)
    }

    fn check_signature<'r>(&self, row: &'r OperationRow) -> Result<Frame<'r>, FaultCode> {
        if self.position.checked_add(1) != Some(row.position) {
            return Err(FaultCode::Missing);
        }
        let frame = Frame::read(&row.entry).map_err(|_| FaultCode::BadFrame)?;
        let key = self.identity.public_key();
        frame.verify(&key, Context::Operation).map_err(|_| FaultCode::BadSignature)?;
        Ok(frame)
    }

    fn follow(&mut self, row: &OperationRow, header: &Header, frame: &Frame<'_>) -> Result<(), FaultCode> {
        let identity = self.identity;
        let ours = header.tenant == identity.tenant
            && header.station == identity.station
            && header.key == identity.public_key().key_id();
        if !ours {
            return Err(FaultCode::Foreign);
        }
        let hash = frame.hash();
        let certificate = identity.certificate.hash;
        let next = self.head.follow(certificate, header, hash).map_err(|_| FaultCode::BrokenChain)?;
        let placed = self
            .epochs
            .iter()
            .any(|epoch| epoch.epoch == header.epoch && epoch.position(header.seq) == Some(row.position));
        let same = row.epoch_n == header.epoch.n && row.seq == header.seq && row.hash == hash;
        if !placed || !same {
            return Err(FaultCode::ColumnsDiffer);
        }
        self.head = next;
        self.position = row.position;
        Ok(())
    }

    /// The last entry that was found right.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Its position.
    pub(super) fn position(&self) -> u64 {
        self.position
    }
}

/// The fault of a row.
pub(super) fn fault(row: &OperationRow, code: FaultCode) -> Fault {
    Fault { position: row.position, epoch: row.epoch_n, seq: row.seq, code }
}

fn at(content: &Content) -> Option<&At> {
    match content {
        Content::Known(operation) => Some(&operation.at),
        Content::Body(operation, _) => Some(&operation.at),
        Content::LaterVersion => None,
    }
}

/// Checks the last [`TAIL`] entries, up to the head.
pub(super) fn check_tail(
    connection: &Connection,
    identity: &Identity,
    standing: &Standing,
) -> Result<(), OpenError> {
    let start = standing.position.saturating_sub(TAIL);
    let mut checker = match head_at(connection, &standing.epochs, start)? {
        Some(head) => Checker::after(identity, &standing.epochs, head, start),
        None => Checker::from_start(identity, &standing.epochs),
    };
    let mut found = None;
    rows::operations_after(connection, start, TAIL, |row| {
        found = checker.check(&row).err().map(|code| fault(&row, code));
        Ok::<_, rusqlite::Error>(found.is_none())
    })
    .map_err(StorageError::from)?;
    if found.is_none() && checker.head() != standing.head {
        let (position, seq) = (standing.position, standing.head.seq);
        found = Some(Fault { position, epoch: 0, seq, code: FaultCode::Missing });
    }
    found.map_or(Ok(()), |fault| Err(OpenError::Damaged(fault)))
}

/// The point at `position` as the columns have it.
fn head_at(
    connection: &Connection,
    epochs: &[EpochRow],
    position: u64,
) -> Result<Option<Head>, StorageError> {
    let Some(epoch) = epochs.iter().rev().find(|epoch| epoch.first_position <= position) else {
        return Ok(None);
    };
    let seq = position.saturating_sub(epoch.first_position).saturating_add(1);
    let hash = rows::hash_at(connection, position)?;
    Ok(hash.map(|hash| Head { epoch: Some(epoch.epoch), seq, hash }))
}

/// Whether the queue holds exactly this entry; seq 0 of an epoch, or no epoch, stands for the certificate.
/// Gives the position, 0 for the certificate before the first epoch.
pub(super) fn position_of(
    connection: &Connection,
    identity: &Identity,
    epochs: &[EpochRow],
    point: &Head,
) -> rusqlite::Result<Option<u64>> {
    let is_certificate = point.seq == 0 && point.hash == identity.certificate.hash;
    let Some(wanted) = point.epoch else { return Ok(is_certificate.then_some(0)) };
    let Some(epoch) = epochs.iter().find(|epoch| epoch.epoch == wanted) else { return Ok(None) };
    if point.seq == 0 {
        return Ok(is_certificate.then_some(epoch.first_position.saturating_sub(1)));
    }
    // A seq that no column can hold is nobody's, whoever names it.
    let position = epoch.position(point.seq).filter(|position| i64::try_from(*position).is_ok());
    let Some(position) = position else { return Ok(None) };
    let after_end = epochs.iter().any(|later| later.epoch.n > wanted.n && later.first_position <= position);
    let hash = rows::hash_at(connection, position)?;
    Ok((!after_end && hash == Some(point.hash)).then_some(position))
}

/// Checks the queue against the rollback anchor: it must hold the anchor's entry.
pub(super) fn check_anchor(
    connection: &Connection,
    identity: &Identity,
    standing: &Standing,
    anchor: Option<ChainPoint>,
) -> Result<(), OpenError> {
    let Some(anchor) = anchor else {
        // Between making the queue and writing its first anchor the power may have gone.
        let only_enrolled = standing.epochs.len() == 1 && standing.head.seq == 1;
        return if only_enrolled { Ok(()) } else { Err(OpenError::AnchorMissing) };
    };
    let point = Head { epoch: Some(anchor.epoch), seq: anchor.seq, hash: anchor.hash };
    let held = position_of(connection, identity, &standing.epochs, &point).map_err(StorageError::from)?;
    if held.is_some() { Ok(()) } else { Err(OpenError::RolledBack { anchor }) }
}

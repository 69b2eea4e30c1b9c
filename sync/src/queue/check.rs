//! Whether entries are what was written: one by one, from where the queue starts, and against the anchor.

use super::error::{Fault, FaultCode, OpenError, StorageError};
use super::identity::Identity;
use super::rows::{self, EpochRow, OperationRow};
use super::standing::Standing;
use lotgate_domain::certificate::Certificate;
use lotgate_domain::chain::Head;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::Hash;
use lotgate_domain::operation::body::{Body, ChainPoint};
use lotgate_domain::operation::{self, At, Content, Header};
use lotgate_domain::signature::{Context, PreparedKey};
use lotgate_domain::statement::{self, Receipt, Signed};
use rusqlite::Connection;

/// The keys that a station has and had, ready for many signatures.
pub(super) struct Keyring(Vec<(Hash, PreparedKey)>);

impl Keyring {
    pub(super) fn of(identity: &Identity) -> Self {
        let ready = |signed: &Signed<Certificate>| {
            PreparedKey::new(&signed.value.public_key).ok().map(|key| (signed.hash, key))
        };
        Self(identity.keys.iter().filter_map(ready).collect())
    }

    fn certified(&self, certificate: Hash) -> Option<&PreparedKey> {
        self.0.iter().find(|(hash, _)| *hash == certificate).map(|(_, key)| key)
    }
}

/// Goes along the queue and checks each entry against the one before.
pub(super) struct Checker<'a> {
    identity: &'a Identity,
    keyring: &'a Keyring,
    epochs: &'a [EpochRow],
    head: Head,
    position: u64,
}

impl<'a> Checker<'a> {
    /// Begins after `head`, which lies at `position`; before the first entry that is `start`.
    pub(super) fn after(
        identity: &'a Identity,
        keyring: &'a Keyring,
        epochs: &'a [EpochRow],
        (position, head): (u64, Head),
    ) -> Self {
        Self { identity, keyring, epochs, head, position }
    }

    /// Checks everything that can be said of the next entry: frame, signature, strict form, names, link,
    /// and the columns beside it.
    pub(super) fn check(&mut self, row: &OperationRow) -> Result<(), FaultCode> {
        let frame = self.check_signature(row)?;
        self.check_members(row, &frame)
    }

    fn check_members(&mut self, row: &OperationRow, frame: &Frame<'_>) -> Result<(), FaultCode> {
        let entry = operation::read(frame).map_err(|_| FaultCode::BadEnvelope)?;
        let (header, content) = (&entry.header, &entry.content);
        if content.site().is_some_and(|site| site != self.identity.site.id) {
            return Err(FaultCode::Foreign);
        }
        let same = content.id().is_none_or(|id| id == row.id)
            && at(content).is_none_or(|at| at.wall == row.wall)
            && header.body.kind == row.kind;
        self.follow(row, header, frame)?;
        if same { Ok(()) } else { Err(FaultCode::ColumnsDiffer) }
    }

    /// Checks what must hold before the next entry is sent: frame, signature, names and link.
    pub(super) fn check_to_send(&mut self, row: &OperationRow) -> Result<(), FaultCode> {
        let frame = self.check_signature(row)?;
        let header: Header = serde_json::from_slice(frame.json()).map_err(|_| FaultCode::BadEnvelope)?;
        self.follow(row, &header, &frame)
    }

    /// Checks the same of an entry that a later one vouches for, all but its signature.
    pub(super) fn check_vouched(&mut self, row: &OperationRow) -> Result<(), FaultCode> {
        let frame = self.frame(row)?;
        self.check_members(row, &frame)
    }

    /// Passes over an entry that was set aside: it is in no chain any more, whatever is wrong with it.
    pub(super) fn pass_aside(&mut self, row: &OperationRow) -> bool {
        let next = self.position.saturating_add(1);
        let aside = self.epoch(row).is_some_and(|epoch| {
            let seq = next.saturating_sub(epoch.first_position).saturating_add(1);
            epoch.first_position <= next && epoch.is_aside(seq)
        });
        if aside {
            self.position = row.position;
        }
        aside
    }

    fn check_signature<'r>(&self, row: &'r OperationRow) -> Result<Frame<'r>, FaultCode> {
        let frame = self.frame(row)?;
        let epoch = self.epoch(row).ok_or(FaultCode::ColumnsDiffer)?;
        let key = self.keyring.certified(epoch.certificate).ok_or(FaultCode::Foreign)?;
        frame.verify_prepared(key, Context::Operation).map_err(|_| FaultCode::BadSignature)?;
        Ok(frame)
    }

    fn frame<'r>(&self, row: &'r OperationRow) -> Result<Frame<'r>, FaultCode> {
        if self.position.checked_add(1) != Some(row.position) {
            return Err(FaultCode::Missing);
        }
        Frame::read(&row.entry).map_err(|_| FaultCode::BadFrame)
    }

    /// The epoch that the next entry must be of, by its position alone.
    fn epoch(&self, row: &OperationRow) -> Option<&EpochRow> {
        self.epochs.iter().rev().find(|epoch| epoch.first_position <= row.position)
    }

    fn follow(&mut self, row: &OperationRow, header: &Header, frame: &Frame<'_>) -> Result<(), FaultCode> {
        let identity = self.identity;
        let epoch = self.epoch(row).ok_or(FaultCode::ColumnsDiffer)?;
        let key = self.keyring.certified(epoch.certificate).ok_or(FaultCode::Foreign)?;
        let ours = header.tenant == identity.tenant
            && header.station == identity.station
            && header.key == key.public().key_id();
        if !ours {
            return Err(FaultCode::Foreign);
        }
        let hash = frame.hash();
        let next = self.head.follow(epoch.certificate, header, hash).map_err(|_| FaultCode::BrokenChain)?;
        let placed = epoch.epoch == header.epoch && epoch.position(header.seq) == Some(row.position);
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

/// Epoch and seq of what lies at `position`.
pub(super) fn place(epochs: &[EpochRow], position: u64) -> (u64, u64) {
    let epoch = epochs.iter().rev().find(|epoch| epoch.first_position <= position);
    epoch.map_or((0, 0), |row| (row.epoch.n, position.saturating_sub(row.first_position).saturating_add(1)))
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

/// What the chain here begins after: the base, if operations were pruned, else the first certificate.
///
/// # Errors
/// `Damaged` for a base that no receipt of the tenant covers, or that is not directly before the oldest entry:
/// then operations were removed, not pruned.
pub(super) fn start(
    connection: &Connection,
    identity: &Identity,
    epochs: &[EpochRow],
) -> Result<(u64, Head), OpenError> {
    let Some((position, base)) = rows::base(connection).map_err(StorageError::from)? else {
        let first = epochs.first().map_or(identity.certificate.hash, |epoch| epoch.certificate);
        return Ok((0, Head::genesis(first)));
    };
    let oldest = rows::oldest(connection).map_err(StorageError::from)?;
    let directly = oldest == position.checked_add(1);
    if directly && is_covered(connection, identity, &base).map_err(StorageError::from)? {
        return Ok((position, base));
    }
    let epoch = base.epoch.map_or(0, |epoch| epoch.n);
    Err(OpenError::Damaged(Fault { position, epoch, seq: base.seq, code: FaultCode::Missing }))
}

/// Whether a receipt of the tenant covers the base, or the cloud kept it as evidence.
fn is_covered(connection: &Connection, identity: &Identity, base: &Head) -> rusqlite::Result<bool> {
    match rows::base_cover(connection)? {
        rows::Cover::Receipt(bytes) => {
            let trust = &identity.trust;
            let read = statement::read::<Receipt>(&bytes, trust.tenant, &trust.statement);
            Ok(read.is_ok_and(|receipt| {
                let receipt = receipt.value;
                receipt.station == identity.station
                    && Some(receipt.epoch) == base.epoch
                    && receipt.through.seq >= base.seq
            }))
        }
        rows::Cover::Evidence => Ok(true),
        rows::Cover::Nothing => Ok(false),
    }
}

/// The point at `position` as the columns have it, the base included.
pub(super) fn head_at(
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

/// Whether the queue holds exactly this entry; what was pruned is not held, but for the last of it. Seq 0 of an
/// epoch stands for the certificate of its key, and any own certificate without an epoch for the start of what
/// is kept. Gives the position, or that before the one which follows.
pub(super) fn position_of(
    connection: &Connection,
    identity: &Identity,
    epochs: &[EpochRow],
    point: &Head,
) -> rusqlite::Result<Option<u64>> {
    let base = || rows::base(connection).map(|base| base.map_or(0, |(position, _)| position));
    let Some(wanted) = point.epoch else {
        let ours = identity.keys.iter().any(|signed| signed.hash == point.hash);
        return if ours && point.seq == 0 { base().map(Some) } else { Ok(None) };
    };
    let Some(epoch) = epochs.iter().find(|epoch| epoch.epoch == wanted) else { return Ok(None) };
    if point.seq == 0 {
        let before = epoch.first_position.saturating_sub(1);
        let kept = point.hash == epoch.certificate && before >= base()?;
        return Ok(kept.then_some(before));
    }
    // A seq that no column can hold is nobody's, whoever names it.
    let position = epoch.position(point.seq).filter(|position| i64::try_from(*position).is_ok());
    let Some(position) = position else { return Ok(None) };
    let after_end = epochs.iter().any(|later| later.epoch.n > wanted.n && later.first_position <= position);
    let hash = rows::hash_at(connection, position)?;
    Ok((!after_end && hash == Some(point.hash)).then_some(position))
}

/// Checks the queue against the rollback anchor: it must hold the anchor's entry, or have pruned it, or have
/// opened its last epoch knowing of it.
pub(super) fn check_anchor(
    connection: &Connection,
    identity: &Identity,
    standing: &Standing,
    anchor: Option<ChainPoint>,
) -> Result<(), OpenError> {
    let Some(anchor) = anchor else {
        // Between making the queue and writing its first anchor the power may have gone.
        let only_opened = standing.epochs.len() == 1 && standing.head.seq == 1;
        return if only_opened { Ok(()) } else { Err(OpenError::AnchorMissing) };
    };
    let point = Head { epoch: Some(anchor.epoch), seq: anchor.seq, hash: anchor.hash };
    let held = position_of(connection, identity, &standing.epochs, &point).map_err(StorageError::from)?;
    if held.is_some()
        || was_pruned(connection, &standing.epochs, &point)?
        || answered_by_opening(connection, standing, anchor)?
    {
        Ok(())
    } else {
        Err(OpenError::RolledBack { anchor })
    }
}

/// Whether the entry was pruned: it lay before the base.
pub(super) fn was_pruned(
    connection: &Connection,
    epochs: &[EpochRow],
    point: &Head,
) -> Result<bool, StorageError> {
    let epoch = epochs.iter().find(|epoch| Some(epoch.epoch) == point.epoch);
    let position = epoch.and_then(|epoch| epoch.position(point.seq));
    let base = rows::base(connection)?;
    Ok(position.zip(base).is_some_and(|(position, (base, _))| position < base))
}

/// Whether the last epoch was opened because of just this anchor: then the power went before the next anchor
/// was written, and nothing new has happened.
fn answered_by_opening(
    connection: &Connection,
    standing: &Standing,
    known: ChainPoint,
) -> Result<bool, StorageError> {
    let Some(epoch) = standing.epochs.last().filter(|epoch| epoch.reason.is_some()) else {
        return Ok(false);
    };
    let mut answered = false;
    rows::operations_after(connection, epoch.first_position.saturating_sub(1), 1, |row| {
        let body = Frame::read(&row.entry).ok().and_then(|frame| operation::read(&frame).ok());
        if let Some(Content::Known(operation)) = body.map(|entry| entry.content)
            && let Body::EpochOpened { anchor, .. } = operation.body
        {
            answered = row.position == epoch.first_position && anchor == Some(known);
        }
        Ok::<_, rusqlite::Error>(false)
    })?;
    Ok(answered)
}

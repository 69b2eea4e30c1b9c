//! Rows of the tables `epoch` and `operation`, and the statements that read and write them.

use lotgate_domain::chain::Head;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Epoch, EpochId, Hash, OperationId};
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

/// An epoch with its watermarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EpochRow {
    pub(super) epoch: Epoch,
    pub(super) first_position: u64,
    /// Hash of the certificate of its key: what its first entry follows.
    pub(super) certificate: Hash,
    /// Why it was opened; `None` for the first of all, and for a reason that this program does not know.
    pub(super) reason: Option<EpochReason>,
    pub(super) sent_through: u64,
    pub(super) settled_through: u64,
    /// The cloud ended it after this entry.
    pub(super) aside_after: Option<u64>,
}

impl EpochRow {
    /// Where entry `seq` of this epoch lies.
    pub(super) fn position(&self, seq: u64) -> Option<u64> {
        self.first_position.checked_add(seq.checked_sub(1)?)
    }

    /// Whether entry `seq` is out of the chain.
    pub(super) fn is_aside(&self, seq: u64) -> bool {
        self.aside_after.is_some_and(|after| seq > after)
    }
}

/// An operation with the columns beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OperationRow {
    pub(super) position: u64,
    pub(super) epoch_n: u64,
    pub(super) seq: u64,
    pub(super) id: OperationId,
    pub(super) kind: String,
    pub(super) hash: Hash,
    pub(super) wall: Timestamp,
    pub(super) entry: Vec<u8>,
}

/// The last operation's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastRow {
    pub(super) position: u64,
    pub(super) epoch_n: u64,
    pub(super) seq: u64,
    pub(super) hash: Hash,
}

pub(super) fn epochs(connection: &Connection) -> rusqlite::Result<Vec<EpochRow>> {
    connection
        .prepare_cached(
            "SELECT n, id, first_position, certificate, reason, coalesce(sent_through, 0), \
                    coalesce(settled_through, 0), aside_after \
             FROM epoch LEFT JOIN delivery ON epoch_n = n ORDER BY n",
        )?
        .query_map([], |row| {
            let reason: Option<String> = row.get(4)?;
            Ok(EpochRow {
                epoch: Epoch { n: row.get(0)?, id: EpochId(row.get(1)?) },
                first_position: row.get(2)?,
                certificate: Hash(row.get(3)?),
                reason: reason.as_deref().and_then(EpochReason::parse),
                sent_through: row.get(5)?,
                settled_through: row.get(6)?,
                aside_after: row.get(7)?,
            })
        })?
        .collect()
}

pub(super) fn insert_epoch(connection: &Connection, row: &EpochRow) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO epoch (n, id, first_position, certificate, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            row.epoch.n,
            row.epoch.id.as_bytes(),
            row.first_position,
            row.certificate.as_bytes(),
            row.reason.map(EpochReason::as_str),
        ),
    )?;
    connection.execute("INSERT INTO delivery (epoch_n) VALUES (?1)", [row.epoch.n]).map(|_| ())
}

pub(super) fn store_delivery(connection: &Connection, row: &EpochRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE delivery SET sent_through = ?2, settled_through = ?3, aside_after = ?4 WHERE epoch_n = ?1",
        )?
        .execute((row.epoch.n, row.sent_through, row.settled_through, row.aside_after))
        .map(|_| ())
}

/// What was pruned last: its position and place in the chain.
pub(super) fn base(connection: &Connection) -> rusqlite::Result<Option<(u64, Head)>> {
    connection
        .prepare_cached("SELECT position, n, epoch.id, seq, hash FROM base JOIN epoch ON n = epoch_n")?
        .query_row([], |row| {
            let epoch = Epoch { n: row.get(1)?, id: EpochId(row.get(2)?) };
            Ok((row.get(0)?, Head { epoch: Some(epoch), seq: row.get(3)?, hash: Hash(row.get(4)?) }))
        })
        .optional()
}

/// What shows that the base, and all before it, was in the cloud when it went.
pub(super) enum Cover {
    /// The bytes of a receipt, not verified.
    Receipt(Vec<u8>),
    /// The end of a stopped epoch, kept as evidence.
    Evidence,
    Nothing,
}

pub(super) fn base_cover(connection: &Connection) -> rusqlite::Result<Cover> {
    let cover = connection
        .query_row(
            "SELECT statement, \
                    EXISTS (SELECT 1 FROM set_aside WHERE set_aside.epoch_n = base.epoch_n \
                            AND after_seq < base.seq AND kept_at IS NOT NULL) \
             FROM base LEFT JOIN receipt ON receipt.hash = base.receipt",
            [],
            |row| {
                let (receipt, evidence): (Option<Vec<u8>>, bool) = (row.get(0)?, row.get(1)?);
                Ok(match (receipt, evidence) {
                    (Some(receipt), _) => Cover::Receipt(receipt),
                    (None, true) => Cover::Evidence,
                    (None, false) => Cover::Nothing,
                })
            },
        )
        .optional()?;
    Ok(cover.unwrap_or(Cover::Nothing))
}

/// Position of the oldest operation that is kept.
pub(super) fn oldest(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection.query_row("SELECT min(position) FROM operation", [], |row| row.get(0))
}

pub(super) fn last(connection: &Connection) -> rusqlite::Result<Option<LastRow>> {
    connection
        .prepare_cached("SELECT position, epoch_n, seq, hash FROM operation ORDER BY position DESC LIMIT 1")?
        .query_row([], |row| {
            Ok(LastRow {
                position: row.get(0)?,
                epoch_n: row.get(1)?,
                seq: row.get(2)?,
                hash: Hash(row.get(3)?),
            })
        })
        .optional()
}

pub(super) fn insert(connection: &Connection, row: &OperationRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO operation (position, epoch_n, seq, id, type, hash, wall, entry) \
             VALUES (:position, :epoch_n, :seq, :id, :type, :hash, :wall, :entry)",
        )?
        .execute(named_params! {
            ":position": row.position,
            ":epoch_n": row.epoch_n,
            ":seq": row.seq,
            ":id": row.id.0.as_bytes(),
            ":type": row.kind,
            ":hash": row.hash.as_bytes(),
            ":wall": row.wall.unix_ms(),
            ":entry": row.entry,
        })
        .map(|_| ())
}

/// Calls `each` with the operations after `position`, `limit` at most, in order; `each` says whether to go on.
pub(super) fn operations_after<E: From<rusqlite::Error>>(
    connection: &Connection,
    position: u64,
    limit: u64,
    mut each: impl FnMut(OperationRow) -> Result<bool, E>,
) -> Result<(), E> {
    let mut statement = connection.prepare_cached(
        "SELECT position, epoch_n, seq, id, type, hash, wall, entry FROM operation \
         WHERE position > ?1 ORDER BY position LIMIT ?2",
    )?;
    let mut found = statement.query((position, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    while let Some(row) = found.next()? {
        if !each(operation(row)?)? {
            break;
        }
    }
    Ok(())
}

/// What links an operation to the one before, and its place.
#[derive(Debug)]
pub(super) struct LinkRow<'a> {
    pub(super) position: u64,
    pub(super) epoch_n: u64,
    pub(super) seq: u64,
    pub(super) hash: Hash,
    pub(super) entry: &'a [u8],
}

/// Calls `each` with the operations after position `before` up to `last`, in order; `each` says whether to go on.
pub(super) fn links_between(
    connection: &Connection,
    before: u64,
    last: u64,
    mut each: impl FnMut(&LinkRow<'_>) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT position, epoch_n, seq, hash, entry FROM operation \
         WHERE position > ?1 AND position <= ?2 ORDER BY position",
    )?;
    let mut found = statement.query((before, last))?;
    while let Some(row) = found.next()? {
        let link = LinkRow {
            position: row.get(0)?,
            epoch_n: row.get(1)?,
            seq: row.get(2)?,
            hash: Hash(row.get(3)?),
            entry: row.get_ref(4)?.as_blob()?,
        };
        if !each(&link) {
            break;
        }
    }
    Ok(())
}

fn operation(row: &Row<'_>) -> rusqlite::Result<OperationRow> {
    let id: [u8; 16] = row.get(3)?;
    Ok(OperationRow {
        position: row.get(0)?,
        epoch_n: row.get(1)?,
        seq: row.get(2)?,
        id: OperationId(uuid::Uuid::from_bytes(id)),
        kind: row.get(4)?,
        hash: Hash(row.get(5)?),
        wall: Timestamp::from_unix_ms(row.get(6)?),
        entry: row.get(7)?,
    })
}

/// The hash of the operation at `position`, that of the base included.
pub(super) fn hash_at(connection: &Connection, position: u64) -> rusqlite::Result<Option<Hash>> {
    connection
        .prepare_cached(
            "SELECT hash FROM operation WHERE position = ?1 \
             UNION ALL SELECT hash FROM base WHERE position = ?1 LIMIT 1",
        )?
        .query_row([position], |row| row.get(0).map(Hash))
        .optional()
}

pub(super) fn entry_at(connection: &Connection, position: u64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT entry FROM operation WHERE position = ?1")?
        .query_row([position], |row| row.get(0))
        .optional()
}

pub(super) fn wall_at(connection: &Connection, position: u64) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT wall FROM operation WHERE position = ?1")?
        .query_row([position], |row| row.get(0).map(Timestamp::from_unix_ms))
        .optional()
}

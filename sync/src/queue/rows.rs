//! Rows of the tables `epoch` and `operation`, and the statements that read and write them.

use lotgate_domain::ids::{Epoch, EpochId, Hash, OperationId};
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

/// An epoch with its watermarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EpochRow {
    pub(super) epoch: Epoch,
    pub(super) first_position: u64,
    pub(super) sent_through: u64,
    pub(super) settled_through: u64,
}

impl EpochRow {
    /// Where entry `seq` of this epoch lies.
    pub(super) fn position(&self, seq: u64) -> Option<u64> {
        self.first_position.checked_add(seq.checked_sub(1)?)
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
            "SELECT n, id, first_position, coalesce(sent_through, 0), coalesce(settled_through, 0) \
             FROM epoch LEFT JOIN delivery ON epoch_n = n ORDER BY n",
        )?
        .query_map([], |row| {
            Ok(EpochRow {
                epoch: Epoch { n: row.get(0)?, id: EpochId(row.get(1)?) },
                first_position: row.get(2)?,
                sent_through: row.get(3)?,
                settled_through: row.get(4)?,
            })
        })?
        .collect()
}

pub(super) fn insert_epoch(
    connection: &Connection,
    epoch: Epoch,
    first_position: u64,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO epoch (n, id, first_position) VALUES (?1, ?2, ?3)",
        (epoch.n, epoch.id.as_bytes(), first_position),
    )?;
    connection.execute("INSERT INTO delivery (epoch_n) VALUES (?1)", [epoch.n]).map(|_| ())
}

pub(super) fn store_delivery(connection: &Connection, row: &EpochRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE delivery SET sent_through = ?2, settled_through = ?3 WHERE epoch_n = ?1")?
        .execute((row.epoch.n, row.sent_through, row.settled_through))
        .map(|_| ())
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

pub(super) fn hash_at(connection: &Connection, position: u64) -> rusqlite::Result<Option<Hash>> {
    connection
        .prepare_cached("SELECT hash FROM operation WHERE position = ?1")?
        .query_row([position], |row| row.get(0).map(Hash))
        .optional()
}

pub(super) fn wall_at(connection: &Connection, position: u64) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT wall FROM operation WHERE position = ?1")?
        .query_row([position], |row| row.get(0).map(Timestamp::from_unix_ms))
        .optional()
}

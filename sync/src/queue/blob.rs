//! What operations name by its hash: the bytes of labels. Kept in the transaction of the operation, never changed.

use super::error::{FaultCode, QueueError};
use super::export::{ExportError, Output};
use super::reader::storage;
use super::steady::Steady;
use lotgate_domain::export;
use lotgate_domain::ids::Hash;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

/// Keeps each blob once; how many bytes they are.
pub(super) fn keep(transaction: &Transaction<'_>, blobs: &[Vec<u8>]) -> rusqlite::Result<usize> {
    let mut bytes = 0_usize;
    for blob in blobs {
        bytes = bytes.saturating_add(blob.len());
        transaction
            .prepare_cached(
                "INSERT INTO blob (sha256, bytes) VALUES (?1, ?2) ON CONFLICT (sha256) DO NOTHING",
            )?
            .execute((Hash::of(blob).as_bytes(), blob))?;
    }
    Ok(bytes)
}

/// The blob with this hash. One that is not what was kept is not given out.
pub(super) fn read(connection: &Connection, sha256: Hash) -> Result<Option<Vec<u8>>, QueueError> {
    let found: Option<Vec<u8>> = connection
        .prepare_cached("SELECT bytes FROM blob WHERE sha256 = ?1")
        .and_then(|mut select| select.query_row([sha256.as_bytes()], |row| row.get(0)).optional())
        .map_err(storage)?;
    Ok(found.filter(|bytes| is_whole(sha256, bytes)))
}

/// Writes each blob to a file that is called by its hash. One that is not what was kept is left out, and named.
pub(super) fn write_out(steady: &mut Steady<'_>, out: &mut Output) -> Result<(), ExportError> {
    let row = |row: &Row<'_>| Ok((Hash(row.get(1)?), row.get::<_, Vec<u8>>(2)?));
    out.rows(steady, ("blob", "sha256, bytes"), row, |out, (sha256, bytes)| {
        if !is_whole(sha256, &bytes) {
            out.skip(FaultCode::Blob);
            return Ok(());
        }
        let mut file = out.begin(export::blob_path(sha256))?;
        file.write(&bytes)?;
        out.end(file)
    })
}

/// Whether every blob between two rowids is what was kept.
pub(super) fn are_whole(connection: &Connection, between: (u64, u64)) -> rusqlite::Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT sha256, bytes FROM blob WHERE rowid BETWEEN ?1 AND ?2")?;
    let mut found = statement.query(between)?;
    while let Some(row) = found.next()? {
        if !is_whole(Hash(row.get(0)?), row.get_ref(1)?.as_blob()?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_whole(sha256: Hash, bytes: &[u8]) -> bool {
    let whole = Hash::of(bytes) == sha256;
    if !whole {
        tracing::error!(%sha256, "queue.blob_damaged");
    }
    whole
}

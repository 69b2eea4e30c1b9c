//! Entries as they lie in their branches.

use super::{hash, number};
use crate::database::{DatabaseError, big, text, to_system_time};
use deadpool_postgres::Transaction;
use lotgate_domain::chain::Head;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Epoch, EpochId, Hash, StationId, TenantId};
use lotgate_domain::ledger::{Branch, Held, Place, StoredEntry, WaitingBatch};
use lotgate_domain::operation;
use lotgate_domain::time::Timestamp;
use std::borrow::Cow;
use tokio_postgres::{Row, Statement};
use uuid::Uuid;

/// The numbers of an epoch's branches as `branches(number)`: one index look-up for each, however long they are.
macro_rules! with_branches {
    ($query:literal) => {
        concat!(
            "WITH RECURSIVE walk(number) AS (
                (SELECT branch FROM entry WHERE station_id = $1 AND epoch_n = $2 ORDER BY branch LIMIT 1)
                UNION ALL
                SELECT (SELECT branch FROM entry WHERE station_id = $1 AND epoch_n = $2 AND branch > walk.number
                    ORDER BY branch LIMIT 1)
                FROM walk WHERE walk.number IS NOT NULL
            ), branches AS (SELECT number FROM walk WHERE number IS NOT NULL) ",
            $query
        )
    };
}

pub(super) async fn branches(
    transaction: &Transaction<'_>,
    station: StationId,
    n: u64,
) -> Result<Vec<Branch>, DatabaseError> {
    let query = with_branches!(
        "SELECT number, opening.seq AS first_seq, head.epoch_n, head.epoch_id, head.seq, head.hash FROM branches,
            LATERAL (SELECT seq FROM entry
                WHERE station_id = $1 AND epoch_n = $2 AND branch = number ORDER BY seq LIMIT 1) AS opening,
            LATERAL (SELECT epoch_n, epoch_id, seq, hash FROM entry
                WHERE station_id = $1 AND epoch_n = $2 AND branch = number ORDER BY seq DESC LIMIT 1) AS head
        ORDER BY number"
    );
    let query = transaction.prepare_cached(query).await?;
    let rows = transaction.query(&query, &[&station.0, &big(n)]).await?;
    let branch = |row: &Row| {
        Ok(Branch { number: number(row, "number")?, first: number(row, "first_seq")?, head: read_head(row)? })
    };
    rows.iter().map(branch).collect()
}

pub(super) async fn head(
    transaction: &Transaction<'_>,
    station: StationId,
) -> Result<Option<Head>, DatabaseError> {
    let query = "SELECT head.* FROM
            (SELECT epoch_n AS n FROM entry WHERE station_id = $1 ORDER BY epoch_n DESC LIMIT 1) AS newest,
            LATERAL (SELECT epoch_n, epoch_id, seq, hash FROM entry
                WHERE station_id = $1 AND epoch_n = n AND branch = 0 ORDER BY seq DESC LIMIT 1) AS head";
    let query = transaction.prepare_cached(query).await?;
    let row = transaction.query_opt(&query, &[&station.0]).await?;
    row.as_ref().map(read_head).transpose()
}

pub(super) async fn held(
    transaction: &Transaction<'_>,
    station: StationId,
    n: u64,
    first: u64,
    last: u64,
) -> Result<Vec<Held>, DatabaseError> {
    let query = with_branches!(
        "SELECT number, seq, epoch_id, hash FROM branches, LATERAL (SELECT seq, epoch_id, hash FROM entry
            WHERE station_id = $1 AND epoch_n = $2 AND branch = number AND seq BETWEEN $3 AND $4) AS held
        ORDER BY seq, number"
    );
    let query = transaction.prepare_cached(query).await?;
    let rows = transaction.query(&query, &[&station.0, &big(n), &big(first), &big(last)]).await?;
    let held = |row: &Row| {
        Ok(Held {
            branch: number(row, "number")?,
            seq: number(row, "seq")?,
            epoch: epoch_id(row)?,
            hash: hash(row, "hash")?,
        })
    };
    rows.iter().map(held).collect()
}

/// The frame at a place, also where the branch has it from the one that it left.
pub(super) async fn entry(
    transaction: &Transaction<'_>,
    station: StationId,
    place: Place,
) -> Result<Option<Vec<u8>>, DatabaseError> {
    let mut place = place;
    loop {
        if let Some(bytes) = own_entry(transaction, station, place).await? {
            return Ok(Some(bytes));
        }
        let Some(parent) = parent(transaction, station, place).await? else { return Ok(None) };
        place.branch = parent;
    }
}

async fn own_entry(
    transaction: &Transaction<'_>,
    station: StationId,
    place: Place,
) -> Result<Option<Vec<u8>>, DatabaseError> {
    let query = "SELECT bytes FROM entry
        WHERE station_id = $1 AND epoch_n = $2 AND branch = $3 AND seq = $4";
    let query = transaction.prepare_cached(query).await?;
    let Place { epoch_n, branch, seq } = place;
    let row = transaction.query_opt(&query, &[&station.0, &big(epoch_n), &big(branch), &big(seq)]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// The earlier branch that the branch of `place` left after `place`: the one with the entry that its first follows.
async fn parent(
    transaction: &Transaction<'_>,
    station: StationId,
    place: Place,
) -> Result<Option<u64>, DatabaseError> {
    if place.branch == 0 {
        return Ok(None);
    }
    let query = "SELECT seq, bytes FROM entry
        WHERE station_id = $1 AND epoch_n = $2 AND branch = $3 ORDER BY seq LIMIT 1";
    let query = transaction.prepare_cached(query).await?;
    let (epoch_n, branch) = (big(place.epoch_n), big(place.branch));
    let Some(row) = transaction.query_opt(&query, &[&station.0, &epoch_n, &branch]).await? else {
        return Ok(None);
    };
    let first = number(&row, "seq")?;
    if first <= place.seq {
        return Ok(None);
    }
    let previous = previous_hash(row.try_get("bytes")?).ok_or(DatabaseError::Column("entry.bytes"))?;
    let held = held(transaction, station, place.epoch_n, first.saturating_sub(1), first.saturating_sub(1));
    let parents = held.await?;
    Ok(parents
        .iter()
        .find(|held| held.branch < place.branch && held.hash == previous)
        .map(|held| held.branch))
}

fn previous_hash(bytes: &[u8]) -> Option<Hash> {
    Some(operation::read(&Frame::read(bytes).ok()?).ok()?.header.prev)
}

/// The frames of a batch, in order.
pub(super) async fn frames(
    transaction: &Transaction<'_>,
    batch: &WaitingBatch,
) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let query = "SELECT bytes FROM entry WHERE station_id = $1 AND epoch_n = $2 AND branch = $3
        AND seq BETWEEN $4 AND $5 ORDER BY seq";
    let query = transaction.prepare_cached(query).await?;
    let WaitingBatch { station, epoch, branch, first, last, .. } = batch;
    let rows = transaction
        .query(&query, &[&station.0, &big(epoch.n), &big(*branch), &big(*first), &big(*last)])
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

pub(super) async fn prepare_insert(transaction: &Transaction<'_>) -> Result<Statement, DatabaseError> {
    let insert = "INSERT INTO entry (tenant_id, station_id, epoch_n, branch, epoch_id, received_at,
            seq, hash, operation_id, type, bytes)
        SELECT $1, $2, $3, $4, $5, $6, new.*
        FROM unnest($7::bigint[], $8::bytea[], $9::uuid[], $10::text[], $11::bytea[]) AS new";
    Ok(transaction.prepare_cached(insert).await?)
}

/// The columns of entries of one branch.
pub(super) struct Rows<'a> {
    seqs: Vec<i64>,
    hashes: Vec<&'a [u8]>,
    ids: Vec<Option<Uuid>>,
    types: Vec<Cow<'a, str>>,
    bytes: Vec<&'a [u8]>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(entries: &'a [StoredEntry]) -> Self {
        Self {
            seqs: entries.iter().map(|entry| big(entry.seq)).collect(),
            hashes: entries.iter().map(|entry| entry.hash.0.as_slice()).collect(),
            ids: entries.iter().map(|entry| entry.id().map(|id| id.0)).collect(),
            types: entries.iter().map(|entry| text(entry.kind())).collect(),
            bytes: entries.iter().map(|entry| entry.bytes.as_slice()).collect(),
        }
    }

    pub(super) async fn insert(
        &self,
        transaction: &Transaction<'_>,
        insert: &Statement,
        tenant: TenantId,
        batch: &WaitingBatch,
        now: Timestamp,
    ) -> Result<(), DatabaseError> {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 11] = [
            &tenant.0,
            &batch.station.0,
            &big(batch.epoch.n),
            &big(batch.branch),
            &batch.epoch.id.0.as_slice(),
            &to_system_time(now),
            &self.seqs,
            &self.hashes,
            &self.ids,
            &self.types,
            &self.bytes,
        ];
        transaction.execute(insert, &parameters).await?;
        Ok(())
    }
}

fn read_head(row: &Row) -> Result<Head, DatabaseError> {
    let epoch = Epoch { n: number(row, "epoch_n")?, id: epoch_id(row)? };
    Ok(Head { epoch: Some(epoch), seq: number(row, "seq")?, hash: hash(row, "hash")? })
}

fn epoch_id(row: &Row) -> Result<EpochId, DatabaseError> {
    EpochId::from_slice(row.try_get("epoch_id")?).map_err(|_| DatabaseError::Column("entry.epoch_id"))
}

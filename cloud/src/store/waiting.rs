//! Batches that wait for their log indexes.

use super::number;
use crate::database::{DatabaseError, big};
use deadpool_postgres::Transaction;
use lotgate_domain::ids::{Epoch, EpochId, Hash, StationId, TenantId};
use lotgate_domain::ledger::WaitingBatch;
use lotgate_domain::ledger::store::Fork;
use tokio_postgres::{Row, Statement};

pub(super) async fn prepare_insert(transaction: &Transaction<'_>) -> Result<Statement, DatabaseError> {
    let insert = "INSERT INTO waiting (tenant_id, station_id, epoch_n, epoch_id, branch, first_seq, last_seq,
            skewed, fork_held, fork_other)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING arrival";
    Ok(transaction.prepare_cached(insert).await?)
}

pub(super) async fn insert(
    transaction: &Transaction<'_>,
    insert: &Statement,
    tenant: TenantId,
    batch: &WaitingBatch,
) -> Result<u64, DatabaseError> {
    let fork = batch.fork.as_ref();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 10] = [
        &tenant.0,
        &batch.station.0,
        &big(batch.epoch.n),
        &batch.epoch.id.0.as_slice(),
        &big(batch.branch),
        &big(batch.first),
        &big(batch.last),
        &batch.skewed,
        &fork.map(|fork| fork.held.0.as_slice()),
        &fork.map(|fork| fork.other.0.as_slice()),
    ];
    number(&transaction.query_one(insert, &parameters).await?, "arrival")
}

pub(super) async fn first(
    transaction: &Transaction<'_>,
    most: u64,
) -> Result<Vec<WaitingBatch>, DatabaseError> {
    let query =
        "SELECT arrival, station_id, epoch_n, epoch_id, branch, first_seq, last_seq, skewed, fork_held,
            fork_other
        FROM waiting ORDER BY arrival LIMIT $1";
    let query = transaction.prepare_cached(query).await?;
    transaction.query(&query, &[&big(most)]).await?.iter().map(read).collect()
}

pub(super) async fn last_of(
    transaction: &Transaction<'_>,
    station: StationId,
) -> Result<Option<u64>, DatabaseError> {
    let query = "SELECT arrival FROM waiting WHERE station_id = $1 ORDER BY arrival DESC LIMIT 1";
    let query = transaction.prepare_cached(query).await?;
    let row = transaction.query_opt(&query, &[&station.0]).await?;
    row.map(|row| number(&row, "arrival")).transpose()
}

pub(super) async fn any_of(
    transaction: &Transaction<'_>,
    station: StationId,
    arrival: u64,
) -> Result<bool, DatabaseError> {
    let query = "SELECT EXISTS (SELECT 1 FROM waiting WHERE station_id = $1 AND arrival <= $2)";
    let query = transaction.prepare_cached(query).await?;
    Ok(transaction.query_one(&query, &[&station.0, &big(arrival)]).await?.try_get(0)?)
}

/// Lets a batch wait no longer; that it waited until now is what keeps it from being numbered twice.
pub(super) async fn delete(transaction: &Transaction<'_>, arrival: Option<u64>) -> Result<(), DatabaseError> {
    let Some(arrival) = arrival else { return Ok(()) };
    let delete = transaction.prepare_cached("DELETE FROM waiting WHERE arrival = $1").await?;
    match transaction.execute(&delete, &[&big(arrival)]).await? {
        1 => Ok(()),
        _ => Err(DatabaseError::Column("waiting.arrival")),
    }
}

fn read(row: &Row) -> Result<WaitingBatch, DatabaseError> {
    let id = EpochId::from_slice(row.try_get("epoch_id")?);
    let first = number(row, "first_seq")?;
    let fork = match (hash_or_null(row, "fork_held")?, hash_or_null(row, "fork_other")?) {
        (Some(held), Some(other)) => Some(Fork { seq: first, held, other }),
        _ => None,
    };
    Ok(WaitingBatch {
        arrival: number(row, "arrival")?,
        station: StationId(row.try_get("station_id")?),
        epoch: Epoch {
            n: number(row, "epoch_n")?,
            id: id.map_err(|_| DatabaseError::Column("waiting.epoch_id"))?,
        },
        branch: number(row, "branch")?,
        first,
        last: number(row, "last_seq")?,
        skewed: row.try_get("skewed")?,
        fork,
    })
}

fn hash_or_null(row: &Row, column: &'static str) -> Result<Option<Hash>, DatabaseError> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    bytes.map(Hash::from_slice).transpose().map_err(|_| DatabaseError::Column(column))
}

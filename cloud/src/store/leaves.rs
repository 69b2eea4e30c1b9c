//! Leaves of the log, and the projections that come from them.

use crate::database::{DatabaseError, big, text, to_system_time};
use deadpool_postgres::Transaction;
use lotgate_domain::ids::{StationId, TenantId};
use lotgate_domain::ledger::{Leaf, StoredEntry};
use lotgate_domain::operation::Content;
use lotgate_domain::operation::body::Body;
use lotgate_domain::statement::{Verdict, VerdictException};
use std::borrow::Cow;
use std::time::SystemTime;
use uuid::Uuid;

/// Appends leaves of one station: the operations of one epoch and their verdict batch.
pub(super) async fn append(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    station: StationId,
    leaves: &[Leaf],
) -> Result<(), DatabaseError> {
    let rows: Vec<LeafRow<'_>> = leaves.iter().scan(None, LeafRow::next).collect();
    insert_leaves(transaction, tenant, station, &rows).await?;
    insert_exceptions(transaction, tenant, leaves).await?;
    insert_scans(transaction, tenant, station, leaves).await
}

struct LeafRow<'a> {
    index: u64,
    kind: &'static str,
    hash: &'a [u8],
    epoch_n: i64,
    seq: i64,
    operation_id: Option<Uuid>,
    first_seq: Option<i64>,
    bytes: Option<&'a [u8]>,
}

impl<'a> LeafRow<'a> {
    /// `covered` is the first and the last operation since the last verdict.
    fn next(covered: &mut Option<(&'a StoredEntry, &'a StoredEntry)>, leaf: &'a Leaf) -> Option<Self> {
        Some(match leaf {
            Leaf::Operation { index, entry, .. } => {
                *covered = Some(((*covered).map_or(entry, |(first, _)| first), entry));
                Self {
                    index: *index,
                    kind: "operation",
                    hash: &entry.hash.0,
                    epoch_n: big(entry.epoch.n),
                    seq: big(entry.seq),
                    operation_id: entry.id().map(|id| id.0),
                    first_seq: None,
                    bytes: None,
                }
            }
            Leaf::Verdicts { index, hash, bytes, .. } => {
                let (first, last) = covered.take()?;
                Self {
                    index: *index,
                    kind: "verdict",
                    hash: &hash.0,
                    epoch_n: big(last.epoch.n),
                    seq: big(last.seq),
                    operation_id: None,
                    first_seq: Some(big(first.seq)),
                    bytes: Some(bytes),
                }
            }
        })
    }
}

async fn insert_leaves(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    station: StationId,
    rows: &[LeafRow<'_>],
) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO leaf
            (tenant_id, station_id, index, kind, hash, epoch_n, seq, operation_id, first_seq, bytes)
        SELECT $1, $2, new.* FROM unnest($3::bigint[], $4::text[], $5::bytea[], $6::bigint[], $7::bigint[],
            $8::uuid[], $9::bigint[], $10::bytea[]) AS new";
    let insert = transaction.prepare_cached(insert).await?;
    let indexes: Vec<i64> = rows.iter().map(|row| big(row.index)).collect();
    let kinds: Vec<&str> = rows.iter().map(|row| row.kind).collect();
    let hashes: Vec<&[u8]> = rows.iter().map(|row| row.hash).collect();
    let epochs: Vec<i64> = rows.iter().map(|row| row.epoch_n).collect();
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let ids: Vec<Option<Uuid>> = rows.iter().map(|row| row.operation_id).collect();
    let firsts: Vec<Option<i64>> = rows.iter().map(|row| row.first_seq).collect();
    let bytes: Vec<Option<&[u8]>> = rows.iter().map(|row| row.bytes).collect();
    transaction
        .execute(
            &insert,
            &[&tenant.0, &station.0, &indexes, &kinds, &hashes, &epochs, &seqs, &ids, &firsts, &bytes],
        )
        .await?;
    Ok(())
}

async fn insert_exceptions(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    leaves: &[Leaf],
) -> Result<(), DatabaseError> {
    let batches = leaves.iter().filter_map(|leaf| match leaf {
        Leaf::Verdicts { index, batch, .. } => Some((*index, batch)),
        Leaf::Operation { .. } => None,
    });
    let exceptions: Vec<(u64, &VerdictException)> =
        batches.flat_map(|(at, batch)| batch.exceptions.iter().map(move |e| (at, e))).collect();
    if exceptions.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO verdict (tenant_id, index, verdict_index, verdict, code)
        SELECT $1, new.* FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[]) AS new";
    let insert = transaction.prepare_cached(insert).await?;
    let indexes: Vec<i64> = exceptions.iter().map(|(_, e)| big(e.index)).collect();
    let at: Vec<i64> = exceptions.iter().map(|(at, _)| big(*at)).collect();
    let verdicts: Vec<&str> = exceptions.iter().map(|(_, e)| verdict_text(e.verdict)).collect();
    let codes: Vec<&str> = exceptions.iter().map(|(_, e)| e.code.as_str()).collect();
    transaction.execute(&insert, &[&tenant.0, &indexes, &at, &verdicts, &codes]).await?;
    Ok(())
}

struct ScanRow<'a> {
    index: i64,
    accepted: bool,
    item: Option<Cow<'a, str>>,
    lot: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    raw: Vec<u8>,
    at: SystemTime,
}

impl<'a> ScanRow<'a> {
    fn of(leaf: &'a Leaf) -> Option<Self> {
        let Leaf::Operation { index, entry, .. } = leaf else { return None };
        let Content::Known(operation) = &entry.entry.content else { return None };
        let (item, lot, code, raw) = match &operation.body {
            Body::ScanAccepted(scan) => (Some(&scan.item), Some(&scan.lot), None, &scan.raw),
            Body::ScanRefused(scan) => (scan.item.as_ref(), scan.lot.as_ref(), Some(&scan.code), &scan.raw),
            Body::ScanRepeated { .. } | Body::StationEnrolled { .. } | Body::EpochOpened { .. } => {
                return None;
            }
        };
        Some(Self {
            index: big(*index),
            accepted: code.is_none(),
            item: item.map(|item| text(item)),
            lot: lot.map(|lot| text(lot)),
            code: code.map(|code| text(code)),
            // A body whose raw bytes are not hexadecimal is not known, so this never falls back.
            raw: hex::decode(raw).unwrap_or_default(),
            at: to_system_time(operation.at.wall),
        })
    }
}

async fn insert_scans(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    station: StationId,
    leaves: &[Leaf],
) -> Result<(), DatabaseError> {
    let scans: Vec<ScanRow<'_>> = leaves.iter().filter_map(ScanRow::of).collect();
    if scans.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO scan (tenant_id, station_id, index, accepted, item, lot, code, raw, at)
        SELECT $1, $2, new.* FROM unnest($3::bigint[], $4::boolean[], $5::text[], $6::text[], $7::text[],
            $8::bytea[], $9::timestamptz[]) AS new";
    let insert = transaction.prepare_cached(insert).await?;
    let indexes: Vec<i64> = scans.iter().map(|scan| scan.index).collect();
    let accepted: Vec<bool> = scans.iter().map(|scan| scan.accepted).collect();
    let items: Vec<Option<&str>> = scans.iter().map(|scan| scan.item.as_deref()).collect();
    let lots: Vec<Option<&str>> = scans.iter().map(|scan| scan.lot.as_deref()).collect();
    let codes: Vec<Option<&str>> = scans.iter().map(|scan| scan.code.as_deref()).collect();
    let raws: Vec<&[u8]> = scans.iter().map(|scan| scan.raw.as_slice()).collect();
    let times: Vec<SystemTime> = scans.iter().map(|scan| scan.at).collect();
    transaction
        .execute(&insert, &[&tenant.0, &station.0, &indexes, &accepted, &items, &lots, &codes, &raws, &times])
        .await?;
    Ok(())
}

const fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::Flagged => "flagged",
        Verdict::Quarantined => "quarantined",
    }
}

//! Leaves of the log, and the projections that come from them.

use super::number;
use crate::database::{DatabaseError, big, text, to_system_time};
use deadpool_postgres::Transaction;
use lotgate_domain::ids::{StationId, TenantId};
use lotgate_domain::ledger::Leaf;
use lotgate_domain::ledger::ingest::Stretch;
use lotgate_domain::ledger::store::StoredVerdicts;
use lotgate_domain::operation::Content;
use lotgate_domain::operation::body::Body;
use lotgate_domain::statement::{Verdict, VerdictException};
use std::borrow::Cow;
use std::time::SystemTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// Appends leaves, what verdicts say, and what applied operations project to.
pub(super) async fn append(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    leaves: &[Leaf],
) -> Result<(), DatabaseError> {
    let rows = Rows::of(leaves);
    tokio::try_join!(
        biased;
        rows.insert(transaction, tenant),
        insert_exceptions(transaction, tenant, leaves),
        insert_scans(transaction, tenant, leaves),
    )?;
    Ok(())
}

/// The columns of leaves.
#[derive(Default)]
struct Rows<'a> {
    indexes: Vec<i64>,
    kinds: Vec<&'static str>,
    hashes: Vec<Vec<u8>>,
    stations: Vec<Option<Uuid>>,
    epochs: Vec<Option<i64>>,
    branches: Vec<Option<i64>>,
    seqs: Vec<Option<i64>>,
    firsts: Vec<Option<i64>>,
    bytes: Vec<Option<&'a [u8]>>,
    certificates: Vec<Option<Uuid>>,
    statements: Vec<Option<&'static str>>,
}

impl<'a> Rows<'a> {
    fn of(leaves: &'a [Leaf]) -> Self {
        let mut rows = Self::default();
        for leaf in leaves {
            rows.indexes.push(big(leaf.index()));
            rows.hashes.push(leaf.hash().0.to_vec());
            rows.push(leaf);
        }
        rows
    }

    fn push(&mut self, leaf: &'a Leaf) {
        let (mut first, mut bytes, mut certificate, mut statement) = (None, None, None, None);
        let (kind, station, place) = match leaf {
            Leaf::Operation { station, branch, entry, .. } => {
                ("operation", Some(*station), Some((entry.epoch.n, *branch, entry.seq)))
            }
            Leaf::Verdicts { station, first: place, batch, bytes: frame, .. } => {
                first = Some(big(place.seq));
                bytes = Some(frame.as_slice());
                let last = place.seq.saturating_add(batch.count).saturating_sub(1);
                ("verdict", Some(*station), Some((place.epoch_n, place.branch, last)))
            }
            Leaf::Certificate { serial, .. } => {
                certificate = Some(serial.0);
                ("certificate", None, None)
            }
            Leaf::Statement { kind, station, bytes: frame, .. } => {
                statement = Some(*kind);
                bytes = Some(frame.as_slice());
                ("statement", *station, None)
            }
        };
        self.kinds.push(kind);
        self.stations.push(station.map(|station| station.0));
        self.epochs.push(place.map(|(epoch, ..)| big(epoch)));
        self.branches.push(place.map(|(_, branch, _)| big(branch)));
        self.seqs.push(place.map(|(.., seq)| big(seq)));
        self.firsts.push(first);
        self.bytes.push(bytes);
        self.certificates.push(certificate);
        self.statements.push(statement);
    }

    async fn insert(&self, transaction: &Transaction<'_>, tenant: TenantId) -> Result<(), DatabaseError> {
        let insert =
            "INSERT INTO leaf (tenant_id, index, kind, hash, station_id, epoch_n, branch, seq, first_seq,
                bytes, certificate_serial, statement_kind)
            SELECT $1, new.* FROM unnest($2::bigint[], $3::text[], $4::bytea[], $5::uuid[], $6::bigint[],
                $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[], $11::uuid[], $12::text[]) AS new";
        let insert = transaction.prepare_cached(insert).await?;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
            &tenant.0,
            &self.indexes,
            &self.kinds,
            &self.hashes,
            &self.stations,
            &self.epochs,
            &self.branches,
            &self.seqs,
            &self.firsts,
            &self.bytes,
            &self.certificates,
            &self.statements,
        ];
        transaction.execute(&insert, &parameters).await?;
        Ok(())
    }
}

/// Verdict batches that cover any entry of a stretch. Batches of a branch follow each other without overlap, so
/// they are those that end within it, and the next.
pub(super) async fn verdicts(
    transaction: &Transaction<'_>,
    station: StationId,
    n: u64,
    stretch: Stretch,
) -> Result<Vec<StoredVerdicts>, DatabaseError> {
    let query = "SELECT index, first_seq, seq, bytes FROM (
            (SELECT index, first_seq, seq, bytes FROM leaf
                WHERE kind = 'verdict' AND station_id = $1 AND epoch_n = $2 AND branch = $3 AND seq BETWEEN $4 AND $5
                ORDER BY seq)
            UNION ALL
            (SELECT index, first_seq, seq, bytes FROM leaf
                WHERE kind = 'verdict' AND station_id = $1 AND epoch_n = $2 AND branch = $3 AND seq > $5
                ORDER BY seq LIMIT 1)
        ) AS near
        WHERE first_seq <= $5 ORDER BY index";
    let query = transaction.prepare_cached(query).await?;
    let Stretch { branch, first, last } = stretch;
    let rows =
        transaction.query(&query, &[&station.0, &big(n), &big(branch), &big(first), &big(last)]).await?;
    rows.iter().map(read_verdicts).collect()
}

fn read_verdicts(row: &Row) -> Result<StoredVerdicts, DatabaseError> {
    let (index, first, last) = (number(row, "index")?, number(row, "first_seq")?, number(row, "seq")?);
    let count = last.saturating_sub(first).saturating_add(1);
    Ok(StoredVerdicts {
        first_index: index.saturating_sub(count),
        count,
        first_seq: first,
        bytes: row.try_get("bytes")?,
    })
}

async fn insert_exceptions(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    leaves: &[Leaf],
) -> Result<(), DatabaseError> {
    let batches = leaves.iter().filter_map(|leaf| match leaf {
        Leaf::Verdicts { index, batch, .. } => Some((*index, batch)),
        Leaf::Operation { .. } | Leaf::Certificate { .. } | Leaf::Statement { .. } => None,
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
    station: Uuid,
    accepted: bool,
    item: Option<Cow<'a, str>>,
    lot: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    raw: Vec<u8>,
    at: SystemTime,
}

impl<'a> ScanRow<'a> {
    fn of(leaf: &'a Leaf) -> Option<Self> {
        let Leaf::Operation { index, station, entry, exception, .. } = leaf else { return None };
        if exception.as_ref().is_some_and(|exception| exception.verdict == Verdict::Quarantined) {
            return None;
        }
        let Content::Known(operation) = &entry.entry.content else { return None };
        let (item, lot, code, raw) = match &operation.body {
            Body::ScanAccepted(scan) => (Some(&scan.item), Some(&scan.lot), None, &scan.raw),
            Body::ScanRefused(scan) => (scan.item.as_ref(), scan.lot.as_ref(), Some(&scan.code), &scan.raw),
            Body::ScanRepeated { .. }
            | Body::LabelQueued(_)
            | Body::LabelState(_)
            | Body::StationEnrolled { .. }
            | Body::EpochOpened { .. } => return None,
        };
        Some(Self {
            index: big(*index),
            station: station.0,
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
    leaves: &[Leaf],
) -> Result<(), DatabaseError> {
    let scans: Vec<ScanRow<'_>> = leaves.iter().filter_map(ScanRow::of).collect();
    if scans.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO scan (tenant_id, index, station_id, accepted, item, lot, code, raw, at)
        SELECT $1, new.* FROM unnest($2::bigint[], $3::uuid[], $4::boolean[], $5::text[], $6::text[], $7::text[],
            $8::bytea[], $9::timestamptz[]) AS new";
    let insert = transaction.prepare_cached(insert).await?;
    let indexes: Vec<i64> = scans.iter().map(|scan| scan.index).collect();
    let stations: Vec<Uuid> = scans.iter().map(|scan| scan.station).collect();
    let accepted: Vec<bool> = scans.iter().map(|scan| scan.accepted).collect();
    let items: Vec<Option<&str>> = scans.iter().map(|scan| scan.item.as_deref()).collect();
    let lots: Vec<Option<&str>> = scans.iter().map(|scan| scan.lot.as_deref()).collect();
    let codes: Vec<Option<&str>> = scans.iter().map(|scan| scan.code.as_deref()).collect();
    let raws: Vec<&[u8]> = scans.iter().map(|scan| scan.raw.as_slice()).collect();
    let times: Vec<SystemTime> = scans.iter().map(|scan| scan.at).collect();
    transaction
        .execute(&insert, &[&tenant.0, &indexes, &stations, &accepted, &items, &lots, &codes, &raws, &times])
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

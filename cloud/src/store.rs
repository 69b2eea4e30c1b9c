//! The ledger's store on Postgres, within one passage. It decides nothing: each method is one statement a table.
//!
//! A plan is kept for the life of a connection, made while tables may still be small. What looks up many rows at
//! once therefore does so by LATERAL with a LIMIT, which leaves the planner an index look-up for each and nothing
//! else.

mod leaves;

use crate::database::{self, DatabaseError, big, count, text, to_system_time};
use crate::gate::Passage;
use deadpool_postgres::Transaction;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Epoch, EpochId, Hash, OperationId, PublicKey, SiteId, StationId, TenantId};
use lotgate_domain::ledger::verdict::BlockedLots;
use lotgate_domain::ledger::{Evidence, Leaf, Station, Store, StoredEntry};
use lotgate_domain::protocol::StopCode;
use lotgate_domain::statement::Receipt;
use lotgate_domain::time::Timestamp;
use std::borrow::Cow;
use std::collections::BTreeSet;
use tokio_postgres::Row;
use uuid::Uuid;

/// One tenant's ledger, within a transaction under that tenant's row-level context.
#[derive(Clone, Copy)]
pub struct PgStore<'a> {
    transaction: &'a Transaction<'a>,
    tenant: TenantId,
    now: Timestamp,
}

impl<'a> PgStore<'a> {
    /// The store of a passage.
    #[must_use]
    pub fn of(passage: &Passage<'a>) -> Self {
        Self::new(passage.transaction, passage.tenant, passage.now)
    }

    /// The store of a transaction that entered the tenant's context ([`crate::gate::enter`]).
    #[must_use]
    pub fn new(transaction: &'a Transaction<'a>, tenant: TenantId, now: Timestamp) -> Self {
        Self { transaction, tenant, now }
    }

    /// Waits for the station's turn; before the tenant's, always. No turn is waited for longer than two seconds
    /// from here on: a connection that waits is one that the other stations have not.
    ///
    /// # Errors
    /// The database's.
    pub async fn wait_for_station(&self, station: StationId) -> Result<(), DatabaseError> {
        self.transaction.batch_execute("SET LOCAL lock_timeout = '2s'").await?;
        database::lock(self.transaction, &format!("lotgate/station/{}/{station}", self.tenant)).await
    }

    /// Waits for the tenant's turn: who has it gives out log indexes.
    ///
    /// # Errors
    /// The database's.
    pub async fn wait_for_tenant(&self) -> Result<(), DatabaseError> {
        database::lock(self.transaction, &format!("lotgate/tenant/{}", self.tenant)).await
    }
}

impl std::fmt::Debug for PgStore<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgStore").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// An enrolled station of the tenant whose context was entered.
///
/// # Errors
/// The database's.
pub async fn station(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    id: StationId,
) -> Result<Option<Station>, DatabaseError> {
    let query = "SELECT site_id, public_key, certificate_hash, training FROM station WHERE station_id = $1";
    let query = transaction.prepare_cached(query).await?;
    let Some(row) = transaction.query_opt(&query, &[&id.0]).await? else { return Ok(None) };
    let key = PublicKey::from_slice(row.try_get("public_key")?);
    Ok(Some(Station {
        tenant,
        site: SiteId(row.try_get("site_id")?),
        id,
        key: key.map_err(|_| DatabaseError::Column("station.public_key"))?,
        certificate: hash(&row, "certificate_hash")?,
        training: row.try_get("training")?,
    }))
}

impl Store for PgStore<'_> {
    type Error = DatabaseError;

    async fn epoch_head(&mut self, station: StationId, n: u64) -> Result<Option<Head>, DatabaseError> {
        let query = "SELECT epoch_n, epoch_id, seq, hash FROM entry
            WHERE station_id = $1 AND epoch_n = $2 ORDER BY seq DESC LIMIT 1";
        let query = self.transaction.prepare_cached(query).await?;
        let row = self.transaction.query_opt(&query, &[&station.0, &big(n)]).await?;
        row.as_ref().map(read_head).transpose()
    }

    async fn head(&mut self, station: StationId) -> Result<Option<Head>, DatabaseError> {
        let query = "SELECT epoch_n, epoch_id, seq, hash FROM entry
            WHERE station_id = $1 ORDER BY epoch_n DESC, seq DESC LIMIT 1";
        let query = self.transaction.prepare_cached(query).await?;
        let row = self.transaction.query_opt(&query, &[&station.0]).await?;
        row.as_ref().map(read_head).transpose()
    }

    async fn held(
        &mut self,
        station: StationId,
        epoch: Epoch,
        first: u64,
        last: u64,
    ) -> Result<Vec<(u64, Hash)>, DatabaseError> {
        let query = "SELECT seq, hash FROM entry
            WHERE station_id = $1 AND epoch_n = $2 AND epoch_id = $3 AND seq BETWEEN $4 AND $5 ORDER BY seq";
        let query = self.transaction.prepare_cached(query).await?;
        let rows = self
            .transaction
            .query(&query, &[&station.0, &big(epoch.n), &epoch.id.0.as_slice(), &big(first), &big(last)])
            .await?;
        rows.iter().map(|row| Ok((count(row.try_get("seq")?, "entry.seq")?, hash(row, "hash")?))).collect()
    }

    async fn keep(&mut self, station: StationId, entries: &[StoredEntry]) -> Result<(), DatabaseError> {
        let insert = "INSERT INTO entry
                (tenant_id, station_id, epoch_n, seq, epoch_id, hash, type, bytes, received_at)
            SELECT $1, $2, n, s, e, h, t, b, $9
            FROM unnest($3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[], $7::text[], $8::bytea[])
                AS new(n, s, e, h, t, b)";
        let insert = self.transaction.prepare_cached(insert).await?;
        let epochs: Vec<i64> = entries.iter().map(|e| big(e.epoch.n)).collect();
        let seqs: Vec<i64> = entries.iter().map(|e| big(e.seq)).collect();
        let epoch_ids: Vec<&[u8]> = entries.iter().map(|e| e.epoch.id.0.as_slice()).collect();
        let hashes: Vec<&[u8]> = entries.iter().map(|e| e.hash.0.as_slice()).collect();
        let types: Vec<Cow<'_, str>> = entries.iter().map(|e| text(e.kind())).collect();
        let bytes: Vec<&[u8]> = entries.iter().map(|e| e.bytes.as_slice()).collect();
        self.transaction
            .execute(
                &insert,
                &[
                    &self.tenant.0,
                    &station.0,
                    &epochs,
                    &seqs,
                    &epoch_ids,
                    &hashes,
                    &types,
                    &bytes,
                    &to_system_time(self.now),
                ],
            )
            .await?;
        Ok(())
    }

    async fn keep_evidence(
        &mut self,
        station: StationId,
        evidence: &[Evidence],
    ) -> Result<(), DatabaseError> {
        let insert = "INSERT INTO evidence
                (tenant_id, station_id, hash, epoch_n, epoch_id, seq, code, bytes, received_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
        let insert = self.transaction.prepare_cached(insert).await?;
        for Evidence { entry, code } in evidence {
            self.transaction
                .execute(
                    &insert,
                    &[
                        &self.tenant.0,
                        &station.0,
                        &entry.hash.0.as_slice(),
                        &big(entry.epoch.n),
                        &entry.epoch.id.0.as_slice(),
                        &big(entry.seq),
                        &stop_code_text(*code),
                        &entry.bytes,
                        &to_system_time(self.now),
                    ],
                )
                .await?;
        }
        Ok(())
    }

    async fn ids_taken(&mut self, ids: &[OperationId]) -> Result<BTreeSet<OperationId>, DatabaseError> {
        let query = "SELECT asked.id FROM unnest($1::uuid[]) AS asked(id),
            LATERAL (SELECT 1 FROM leaf WHERE operation_id = asked.id LIMIT 1) AS found";
        let query = self.transaction.prepare_cached(query).await?;
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = self.transaction.query(&query, &[&ids]).await?;
        rows.iter().map(|row| Ok(OperationId(row.try_get(0)?))).collect()
    }

    async fn lots_blocked(
        &mut self,
        site: SiteId,
        lots: &[(String, String)],
    ) -> Result<BlockedLots, DatabaseError> {
        if lots.is_empty() {
            return Ok(BlockedLots::new());
        }
        // A number instead of the text comes back, since a claimed name may hold what no column can.
        let query = "SELECT claimed.position, newest.cursor
            FROM (SELECT max(cursor) AS cursor FROM feed_page WHERE site_id = $1) AS newest,
                unnest($2::text[], $3::text[]) WITH ORDINALITY AS claimed(item, lot, position)
                LEFT JOIN LATERAL (SELECT status FROM lot
                    WHERE site_id = $1 AND lot.item = claimed.item AND lot.lot = claimed.lot LIMIT 1) AS known ON true
            WHERE newest.cursor IS NOT NULL AND known.status IS DISTINCT FROM 'released'";
        let query = self.transaction.prepare_cached(query).await?;
        let items: Vec<Cow<'_, str>> = lots.iter().map(|(item, _)| text(item)).collect();
        let numbers: Vec<Cow<'_, str>> = lots.iter().map(|(_, lot)| text(lot)).collect();
        let rows = self.transaction.query(&query, &[&site.0, &items, &numbers]).await?;
        let mut blocked = BlockedLots::new();
        for row in rows {
            let position = count(row.try_get("position")?, "position")?.saturating_sub(1);
            let lot = usize::try_from(position).ok().and_then(|position| lots.get(position));
            let lot = lot.ok_or(DatabaseError::Column("position"))?;
            blocked.insert(lot.clone(), count(row.try_get("cursor")?, "feed_page.cursor")?);
        }
        Ok(blocked)
    }

    async fn next_index(&mut self) -> Result<u64, DatabaseError> {
        let query = "SELECT index + 1 FROM leaf ORDER BY tenant_id DESC, index DESC LIMIT 1";
        let query = self.transaction.prepare_cached(query).await?;
        match self.transaction.query_opt(&query, &[]).await? {
            Some(row) => count(row.try_get(0)?, "leaf.index"),
            None => Ok(0),
        }
    }

    async fn append_leaves(&mut self, station: StationId, leaves: &[Leaf]) -> Result<(), DatabaseError> {
        leaves::append(self.transaction, self.tenant, station, leaves).await
    }

    async fn verdicts(
        &mut self,
        station: StationId,
        epoch: Epoch,
        first: u64,
        last: u64,
    ) -> Result<Vec<Vec<u8>>, DatabaseError> {
        if last < first {
            return Ok(Vec::new());
        }
        // Batches of an epoch follow each other without overlap: those that end within the range, and the next.
        let query = "SELECT bytes FROM (
                (SELECT index, bytes, first_seq FROM leaf
                    WHERE kind = 'verdict' AND station_id = $1 AND epoch_n = $2 AND seq BETWEEN $4 AND $5
                    ORDER BY seq)
                UNION ALL
                (SELECT index, bytes, first_seq FROM leaf
                    WHERE kind = 'verdict' AND station_id = $1 AND epoch_n = $2 AND seq > $5
                    ORDER BY seq LIMIT 1)
            ) AS near
            WHERE first_seq <= $5
                AND $3 = (SELECT epoch_id FROM entry
                    WHERE station_id = $1 AND epoch_n = $2 ORDER BY seq DESC LIMIT 1)
            ORDER BY index";
        let query = self.transaction.prepare_cached(query).await?;
        let rows = self
            .transaction
            .query(&query, &[&station.0, &big(epoch.n), &epoch.id.0.as_slice(), &big(first), &big(last)])
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    async fn last_receipt(&mut self, station: StationId) -> Result<Option<(Hash, Vec<u8>)>, DatabaseError> {
        let query = "SELECT hash, bytes FROM receipt WHERE station_id = $1 ORDER BY number DESC LIMIT 1";
        let query = self.transaction.prepare_cached(query).await?;
        let row = self.transaction.query_opt(&query, &[&station.0]).await?;
        row.map(|row| Ok((hash(&row, "hash")?, row.try_get("bytes")?))).transpose()
    }

    async fn keep_receipt(
        &mut self,
        station: StationId,
        receipt: &Receipt,
        hash: Hash,
        bytes: &[u8],
    ) -> Result<(), DatabaseError> {
        let insert = "INSERT INTO receipt (tenant_id, station_id, number, epoch_n, seq, hash, bytes)
            SELECT $1, $2, coalesce((SELECT max(number) FROM receipt WHERE station_id = $2), 0) + 1, $3, $4, $5, $6";
        let insert = self.transaction.prepare_cached(insert).await?;
        self.transaction
            .execute(
                &insert,
                &[
                    &self.tenant.0,
                    &station.0,
                    &big(receipt.epoch.n),
                    &big(receipt.through.seq),
                    &hash.0.as_slice(),
                    &bytes,
                ],
            )
            .await?;
        Ok(())
    }
}

fn read_head(row: &Row) -> Result<Head, DatabaseError> {
    let id =
        EpochId::from_slice(row.try_get("epoch_id")?).map_err(|_| DatabaseError::Column("entry.epoch_id"))?;
    let epoch = Epoch { n: count(row.try_get("epoch_n")?, "entry.epoch_n")?, id };
    Ok(Head { epoch: Some(epoch), seq: count(row.try_get("seq")?, "entry.seq")?, hash: hash(row, "hash")? })
}

fn hash(row: &Row, column: &'static str) -> Result<Hash, DatabaseError> {
    Hash::from_slice(row.try_get(column)?).map_err(|_| DatabaseError::Column(column))
}

const fn stop_code_text(code: StopCode) -> &'static str {
    match code {
        StopCode::BadSignature => "bad_signature",
        StopCode::BrokenChain => "broken_chain",
        StopCode::Forked => "forked",
    }
}

//! The ledger's store on Postgres, within one passage. It decides nothing: each method is one statement a table.
//!
//! A plan is kept for the life of a connection, made while tables may still be small. What looks up many rows at
//! once therefore does so by LATERAL with a LIMIT, which leaves the planner an index look-up for each and nothing
//! else. Statements that do not need each other's results are sent together.

mod entries;
mod judging;
mod leaves;
mod tree;
mod waiting;

use crate::database::{self, DatabaseError, big, count, to_system_time};
use crate::gate::Passage;
use crate::stations;
use deadpool_postgres::Transaction;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Hash, OperationId, SiteId, StationId, TenantId};
use lotgate_domain::ledger::ingest::Stretch;
use lotgate_domain::ledger::store::StoredVerdicts;
use lotgate_domain::ledger::verdict::BlockedLots;
use lotgate_domain::ledger::{
    Branch, Evidence, Held, Leaf, Place, Station, Store, StoredEntry, Tree, TreeRow, WaitingBatch,
};
use lotgate_domain::merkle::NodeId;
use lotgate_domain::protocol::StopCode;
use lotgate_domain::statement::Receipt;
use lotgate_domain::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;
use tokio_postgres::Row;

/// One tenant's ledger, within a transaction under that tenant's row-level context.
pub struct PgStore<'a> {
    transaction: &'a Transaction<'a>,
    tenant: TenantId,
    now: Timestamp,
    known: tree::Known,
    numbered: Vec<Numbered>,
}

/// A batch that got its log indexes, as the audit trail names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Numbered {
    /// Whose.
    pub station: StationId,
    /// Number of the epoch.
    pub epoch: u64,
    /// Branch of the epoch.
    pub branch: u64,
    /// Seq of its first entry.
    pub first: u64,
    /// Seq of its last.
    pub last: u64,
}

impl Numbered {
    /// The batch whose leaves these are.
    fn of(leaves: &[Leaf]) -> Option<Self> {
        let mut entries = leaves.iter().filter_map(|leaf| match leaf {
            Leaf::Operation { station, branch, entry, .. } => Some((*station, *branch, entry)),
            _ => None,
        });
        let (station, branch, entry) = entries.next()?;
        let last = entries.next_back().map_or(entry.seq, |(_, _, last)| last.seq);
        Some(Self { station, epoch: entry.epoch.n, branch, first: entry.seq, last })
    }
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
        Self { transaction, tenant, now, known: tree::Known::default(), numbered: Vec::new() }
    }

    /// Waits for the station's turn: who has it takes entries into its chain. No turn is waited for longer than
    /// [`database::TURN`]: a connection that waits is one that the other stations have not.
    ///
    /// # Errors
    /// The database's.
    pub async fn wait_for_station(&self, station: StationId) -> Result<(), DatabaseError> {
        database::take_turn(self.transaction, &format!("lotgate/station/{}/{station}", self.tenant)).await
    }

    /// Waits for the tenant's turn: who has it gives out log indexes. A station's, where it is needed too, comes first,
    /// always, so that no two wait for each other.
    ///
    /// # Errors
    /// The database's.
    pub async fn wait_for_tenant(&self) -> Result<(), DatabaseError> {
        database::take_turn(self.transaction, &format!("lotgate/tenant/{}", self.tenant)).await
    }

    /// Whether the station's chain holds the entry with this hash at (`n`, `seq`), on any branch.
    ///
    /// # Errors
    /// The database's.
    pub async fn holds(
        &self,
        station: StationId,
        n: u64,
        seq: u64,
        hash: Hash,
    ) -> Result<bool, DatabaseError> {
        let held = entries::held(self.transaction, station, n, seq, seq).await?;
        Ok(held.iter().any(|held| held.hash == hash))
    }

    /// Whether any of the station's batches up to `arrival` waits for its indexes.
    ///
    /// # Errors
    /// The database's.
    pub async fn waits(&self, station: StationId, arrival: u64) -> Result<bool, DatabaseError> {
        waiting::any_of(self.transaction, station, arrival).await
    }

    /// The batches that got their log indexes through this store since this was asked last, in their order.
    #[must_use]
    pub fn take_numbered(&mut self) -> Vec<Numbered> {
        std::mem::take(&mut self.numbered)
    }

    /// How the log stood at a size; `None` where no append ended there.
    ///
    /// # Errors
    /// The database's.
    pub async fn tree_of_size(&self, size: u64) -> Result<Option<TreeRow>, DatabaseError> {
        tree::of_size(self.transaction, size).await
    }

    /// Arrival of the last of the station's batches that wait for their indexes.
    ///
    /// # Errors
    /// The database's.
    pub async fn last_waiting(&self, station: StationId) -> Result<Option<u64>, DatabaseError> {
        waiting::last_of(self.transaction, station).await
    }
}

impl std::fmt::Debug for PgStore<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgStore").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl Store for PgStore<'_> {
    type Error = DatabaseError;

    async fn station(&mut self, station: StationId) -> Result<Option<Station>, DatabaseError> {
        stations::read(self.transaction, self.tenant, station).await
    }

    async fn branches(&mut self, station: StationId, n: u64) -> Result<Vec<Branch>, DatabaseError> {
        entries::branches(self.transaction, station, n).await
    }

    async fn head(&mut self, station: StationId) -> Result<Option<Head>, DatabaseError> {
        entries::head(self.transaction, station).await
    }

    async fn held(
        &mut self,
        station: StationId,
        n: u64,
        first: u64,
        last: u64,
    ) -> Result<Vec<Held>, DatabaseError> {
        entries::held(self.transaction, station, n, first, last).await
    }

    async fn entry(&mut self, station: StationId, place: Place) -> Result<Option<Vec<u8>>, DatabaseError> {
        entries::entry(self.transaction, station, place).await
    }

    async fn keep(&mut self, batch: &WaitingBatch, entries: &[StoredEntry]) -> Result<u64, DatabaseError> {
        let rows = entries::Rows::of(entries);
        let (insert, wait) = tokio::try_join!(
            entries::prepare_insert(self.transaction),
            waiting::prepare_insert(self.transaction)
        )?;
        // In this order: what waits refers to its last entry.
        let ((), arrival) = tokio::try_join!(
            biased;
            rows.insert(self.transaction, &insert, self.tenant, batch, self.now),
            waiting::insert(self.transaction, &wait, self.tenant, batch)
        )?;
        Ok(arrival)
    }

    async fn keep_evidence(&mut self, station: StationId, evidence: &Evidence) -> Result<(), DatabaseError> {
        let code = stop_code_text(evidence.code);
        keep_evidence(self.transaction, (self.tenant, station), code, &evidence.bytes, self.now).await?;
        Ok(())
    }

    async fn waiting(&mut self, most: u64) -> Result<Vec<WaitingBatch>, DatabaseError> {
        waiting::first(self.transaction, most).await
    }

    async fn waiting_entries(&mut self, batch: &WaitingBatch) -> Result<Vec<Vec<u8>>, DatabaseError> {
        entries::frames(self.transaction, batch).await
    }

    async fn ids_taken(&mut self, ids: &[OperationId]) -> Result<BTreeSet<OperationId>, DatabaseError> {
        judging::ids_taken(self.transaction, ids).await
    }

    async fn lots_blocked(
        &mut self,
        site: SiteId,
        lots: &[(String, String)],
    ) -> Result<BlockedLots, DatabaseError> {
        judging::lots_blocked(self.transaction, site, lots).await
    }

    async fn tree(&mut self) -> Result<Tree, DatabaseError> {
        let tree = tree::read(self.transaction).await?;
        self.known.learn_frontier(&tree.frontier);
        Ok(tree)
    }

    async fn append(
        &mut self,
        leaves: &[Leaf],
        nodes: &[(NodeId, Hash)],
        tree: &Tree,
        row: &TreeRow,
    ) -> Result<(), DatabaseError> {
        let (transaction, tenant) = (self.transaction, self.tenant);
        tokio::try_join!(
            biased;
            leaves::append(transaction, tenant, leaves),
            tree::insert_nodes(transaction, tenant, nodes),
            tree::insert_row(transaction, tenant, tree, row, self.now),
            waiting::delete(transaction, row.batch.map(|(_, arrival)| arrival)),
        )?;
        self.known.learn(leaves, nodes);
        self.numbered.extend(row.batch.and_then(|_| Numbered::of(leaves)));
        Ok(())
    }

    async fn last_answered_size(&mut self, station: StationId) -> Result<u64, DatabaseError> {
        tree::last_answered_size(self.transaction, station).await
    }

    async fn numbered(&mut self, station: StationId, arrival: u64) -> Result<Option<TreeRow>, DatabaseError> {
        tree::numbered(self.transaction, station, arrival).await
    }

    async fn newest(&mut self) -> Result<TreeRow, DatabaseError> {
        tree::newest(self.transaction).await
    }

    async fn nodes(&mut self, nodes: &[NodeId]) -> Result<Vec<Hash>, DatabaseError> {
        self.known.fetch(self.transaction, nodes).await
    }

    async fn verdicts(
        &mut self,
        station: StationId,
        n: u64,
        stretch: Stretch,
    ) -> Result<Vec<StoredVerdicts>, DatabaseError> {
        leaves::verdicts(self.transaction, station, n, stretch).await
    }

    async fn last_receipt(&mut self, station: StationId) -> Result<Option<Hash>, DatabaseError> {
        let query = "SELECT hash FROM receipt WHERE station_id = $1 ORDER BY number DESC LIMIT 1";
        let query = self.transaction.prepare_cached(query).await?;
        let row = self.transaction.query_opt(&query, &[&station.0]).await?;
        row.map(|row| hash(&row, "hash")).transpose()
    }

    async fn keep_receipt(
        &mut self,
        branch: u64,
        receipt: &Receipt,
        hash: Hash,
        bytes: &[u8],
    ) -> Result<(), DatabaseError> {
        let insert = "INSERT INTO receipt (tenant_id, station_id, number, epoch_n, branch, seq, hash, bytes)
            SELECT $1, $2, coalesce((SELECT number FROM receipt WHERE station_id = $2
                    ORDER BY number DESC LIMIT 1), 0) + 1, $3, $4, $5, $6, $7";
        let insert = self.transaction.prepare_cached(insert).await?;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
            &self.tenant.0,
            &receipt.station.0,
            &big(receipt.epoch.n),
            &big(branch),
            &big(receipt.through.seq),
            &hash.0.as_slice(),
            &bytes,
        ];
        self.transaction.execute(&insert, &parameters).await?;
        Ok(())
    }

    async fn receipt(
        &mut self,
        station: StationId,
        n: u64,
        stretch: Stretch,
    ) -> Result<Option<Vec<u8>>, DatabaseError> {
        let query = "SELECT bytes FROM receipt WHERE station_id = $1 AND epoch_n = $2 AND branch = $3
            AND seq BETWEEN $4 AND $5 ORDER BY seq DESC LIMIT 1";
        let query = self.transaction.prepare_cached(query).await?;
        let Stretch { branch, first, last } = stretch;
        let row = self
            .transaction
            .query_opt(&query, &[&station.0, &big(n), &big(branch), &big(first), &big(last)])
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    async fn recovered(&mut self, generation: u64) -> Result<Vec<Vec<u8>>, DatabaseError> {
        tree::recovered(self.transaction, generation).await
    }
}

/// Keeps bytes of a station as evidence; the same bytes are kept once. Whether they were new.
///
/// # Errors
/// The database's.
pub async fn keep_evidence(
    transaction: &Transaction<'_>,
    (tenant, station): (TenantId, StationId),
    code: &str,
    bytes: &[u8],
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let insert = "INSERT INTO evidence (tenant_id, station_id, hash, code, bytes, received_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let insert = transaction.prepare_cached(insert).await?;
    let hash = lotgate_domain::entry::hash(bytes);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&tenant.0, &station.0, &hash.0.as_slice(), &code, &bytes, &to_system_time(now)];
    Ok(transaction.execute(&insert, &parameters).await? == 1)
}

fn hash(row: &Row, column: &'static str) -> Result<Hash, DatabaseError> {
    Hash::from_slice(row.try_get(column)?).map_err(|_| DatabaseError::Column(column))
}

/// A number of a column.
fn number(row: &Row, column: &'static str) -> Result<u64, DatabaseError> {
    count(row.try_get(column)?, column)
}

const fn stop_code_text(code: StopCode) -> &'static str {
    match code {
        StopCode::BadSignature => "bad_signature",
        StopCode::BrokenChain => "broken_chain",
    }
}

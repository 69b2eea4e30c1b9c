//! The Merkle tree of the log: how it stood after each append, and its nodes.
//!
//! Kept are the leaves and the nodes of 256 leaves and more; nodes between them are folded from leaves when they
//! are asked for. A proof asks for few such nodes, all at the edges of at most three stretches, so it reads some
//! hundred rows whatever the size of the log. What was read or made in this transaction is not read again.

use super::{hash, number};
use crate::database::{DatabaseError, big, count, to_system_time};
use deadpool_postgres::Transaction;
use lotgate_domain::ids::{Hash, StationId, TenantId};
use lotgate_domain::ledger::{Leaf, Tree, TreeRow};
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::merkle::{self, Frontier, NodeId, Span};
use lotgate_domain::time::Timestamp;
use std::collections::HashMap;
use tokio_postgres::Row;

/// The lowest level whose nodes are kept.
const KEPT_LEVEL: u32 = 8;

/// The tree as it stands. Its generation is the newest that was begun, which may have no leaf yet.
pub(super) async fn read(transaction: &Transaction<'_>) -> Result<Tree, DatabaseError> {
    let query = "SELECT newest.size, newest.frontier, coalesce((SELECT generation FROM recovered
            ORDER BY tenant_id DESC, generation DESC LIMIT 1), 1) AS generation
        FROM (SELECT 1) AS one LEFT JOIN LATERAL
            (SELECT size, frontier FROM tree ORDER BY tenant_id DESC, size DESC LIMIT 1) AS newest ON true";
    let query = transaction.prepare_cached(query).await?;
    let row = transaction.query_one(&query, &[]).await?;
    let generation = number(&row, "generation")?;
    let Some(size) = row.try_get::<_, Option<i64>>("size")? else {
        return Ok(Tree { generation, frontier: Frontier::default() });
    };
    let roots: Vec<Hash> = hashes(row.try_get("frontier")?)?;
    let frontier = Frontier::new(count(size, "tree.size")?, roots);
    Ok(Tree { generation, frontier: frontier.ok_or(DatabaseError::Column("tree.frontier"))? })
}

fn hashes(bytes: &[u8]) -> Result<Vec<Hash>, DatabaseError> {
    let hash = |bytes| Hash::from_slice(bytes).map_err(|_| DatabaseError::Column("tree.frontier"));
    bytes.chunks(32).map(hash).collect()
}

pub(super) async fn insert_row(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    tree: &Tree,
    row: &TreeRow,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let insert =
        "INSERT INTO tree (tenant_id, size, generation, root, frontier, station_id, arrival, first_index,
            previous_size, appended_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let insert = transaction.prepare_cached(insert).await?;
    let frontier: Vec<u8> = tree.frontier.roots().iter().flat_map(|root| root.0).collect();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 10] = [
        &tenant.0,
        &big(row.head.size),
        &big(row.generation),
        &row.head.root.0.as_slice(),
        &frontier,
        &row.batch.map(|(station, _)| station.0),
        &row.batch.map(|(_, arrival)| big(arrival)),
        &big(row.first_index),
        &big(row.previous_size),
        &to_system_time(now),
    ];
    transaction.execute(&insert, &parameters).await?;
    Ok(())
}

pub(super) async fn insert_nodes(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    nodes: &[(NodeId, Hash)],
) -> Result<(), DatabaseError> {
    let kept: Vec<&(NodeId, Hash)> = nodes.iter().filter(|(id, _)| id.level >= KEPT_LEVEL).collect();
    if kept.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO node (tenant_id, level, index, hash)
        SELECT $1, new.* FROM unnest($2::bigint[], $3::bigint[], $4::bytea[]) AS new";
    let insert = transaction.prepare_cached(insert).await?;
    let levels: Vec<i64> = kept.iter().map(|(id, _)| i64::from(id.level)).collect();
    let indexes: Vec<i64> = kept.iter().map(|(id, _)| big(id.index)).collect();
    let hashes: Vec<&[u8]> = kept.iter().map(|(_, hash)| hash.0.as_slice()).collect();
    transaction.execute(&insert, &[&tenant.0, &levels, &indexes, &hashes]).await?;
    Ok(())
}

pub(super) async fn last_answered_size(
    transaction: &Transaction<'_>,
    station: StationId,
) -> Result<u64, DatabaseError> {
    let query = "SELECT size FROM tree WHERE station_id = $1 ORDER BY arrival DESC LIMIT 1";
    let query = transaction.prepare_cached(query).await?;
    let row = transaction.query_opt(&query, &[&station.0]).await?;
    row.map_or(Ok(0), |row| number(&row, "size"))
}

pub(super) async fn numbered(
    transaction: &Transaction<'_>,
    station: StationId,
    arrival: u64,
) -> Result<Option<TreeRow>, DatabaseError> {
    let query = "SELECT size, generation, root, station_id, arrival, first_index, previous_size
        FROM tree WHERE station_id = $1 AND arrival = $2";
    let query = transaction.prepare_cached(query).await?;
    let row = transaction.query_opt(&query, &[&station.0, &big(arrival)]).await?;
    row.as_ref().map(read_row).transpose()
}

pub(super) async fn newest(transaction: &Transaction<'_>) -> Result<TreeRow, DatabaseError> {
    let query = "SELECT size, generation, root, station_id, arrival, first_index, previous_size
        FROM tree ORDER BY tenant_id DESC, size DESC LIMIT 1";
    let query = transaction.prepare_cached(query).await?;
    match transaction.query_opt(&query, &[]).await? {
        Some(row) => read_row(&row),
        None => Ok(TreeRow {
            generation: 1,
            head: TreeHead { size: 0, root: merkle::fold(&[]) },
            batch: None,
            first_index: 0,
            previous_size: 0,
        }),
    }
}

/// How the log stood at a size; `None` where no append ended there.
pub(super) async fn of_size(
    transaction: &Transaction<'_>,
    size: u64,
) -> Result<Option<TreeRow>, DatabaseError> {
    let query = "SELECT size, generation, root, station_id, arrival, first_index, previous_size
        FROM tree WHERE size = $1";
    let query = transaction.prepare_cached(query).await?;
    // No log is larger than a bigint can say.
    let Ok(size) = i64::try_from(size) else { return Ok(None) };
    transaction.query_opt(&query, &[&size]).await?.as_ref().map(read_row).transpose()
}

fn read_row(row: &Row) -> Result<TreeRow, DatabaseError> {
    let batch = match (row.try_get("station_id")?, row.try_get("arrival")?) {
        (Some(station), Some(arrival)) => Some((StationId(station), count(arrival, "tree.arrival")?)),
        _ => None,
    };
    Ok(TreeRow {
        generation: number(row, "generation")?,
        head: TreeHead { size: number(row, "size")?, root: hash(row, "root")? },
        batch,
        first_index: number(row, "first_index")?,
        previous_size: number(row, "previous_size")?,
    })
}

pub(super) async fn recovered(
    transaction: &Transaction<'_>,
    generation: u64,
) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let query = "SELECT bytes FROM recovered WHERE generation > $1 ORDER BY generation";
    let query = transaction.prepare_cached(query).await?;
    let rows = transaction.query(&query, &[&big(generation)]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Nodes that this transaction has read or made. A node never changes once it is complete.
#[derive(Default)]
pub(super) struct Known(HashMap<NodeId, Hash>);

impl Known {
    /// The roots of a frontier are the cover of the whole tree.
    pub(super) fn learn_frontier(&mut self, frontier: &Frontier) {
        let cover = Span { first: 0, end: frontier.size() }.cover();
        self.0.extend(cover.into_iter().zip(frontier.roots().iter().copied()));
    }

    pub(super) fn learn(&mut self, leaves: &[Leaf], nodes: &[(NodeId, Hash)]) {
        self.0.extend(leaves.iter().map(|leaf| (NodeId { level: 0, index: leaf.index() }, leaf.hash())));
        self.0.extend(nodes.iter().copied());
    }

    /// The hashes of nodes, in the order asked for.
    pub(super) async fn fetch(
        &mut self,
        transaction: &Transaction<'_>,
        nodes: &[NodeId],
    ) -> Result<Vec<Hash>, DatabaseError> {
        let missing = |id: &&NodeId| !self.0.contains_key(id);
        let (high, low): (Vec<NodeId>, Vec<NodeId>) =
            nodes.iter().filter(missing).partition(|id| id.level >= KEPT_LEVEL);
        let (kept, folded) = tokio::try_join!(kept(transaction, &high), folded(transaction, &low))?;
        self.0.extend(kept);
        self.0.extend(folded);
        let found = |id| self.0.get(id).copied().ok_or(DatabaseError::Column("node"));
        nodes.iter().map(found).collect()
    }
}

async fn kept(transaction: &Transaction<'_>, nodes: &[NodeId]) -> Result<Vec<(NodeId, Hash)>, DatabaseError> {
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let query = "SELECT asked.position, found.hash
        FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS asked(level, index, position),
            LATERAL (SELECT hash FROM node WHERE level = asked.level AND index = asked.index LIMIT 1) AS found
        ORDER BY asked.position";
    let query = transaction.prepare_cached(query).await?;
    let levels: Vec<i64> = nodes.iter().map(|id| i64::from(id.level)).collect();
    let indexes: Vec<i64> = nodes.iter().map(|id| big(id.index)).collect();
    let rows = transaction.query(&query, &[&levels, &indexes]).await?;
    if rows.len() != nodes.len() {
        return Err(DatabaseError::Column("node"));
    }
    nodes.iter().zip(&rows).map(|(id, row)| Ok((*id, hash(row, "hash")?))).collect()
}

/// Small nodes, each folded from its leaves.
async fn folded(
    transaction: &Transaction<'_>,
    nodes: &[NodeId],
) -> Result<Vec<(NodeId, Hash)>, DatabaseError> {
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let query = "SELECT leaf.hash FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS asked(first, past, position),
            LATERAL (SELECT index, hash FROM leaf WHERE index >= asked.first AND index < asked.past
                ORDER BY index LIMIT 256) AS leaf
        ORDER BY asked.position, leaf.index";
    let query = transaction.prepare_cached(query).await?;
    let firsts: Vec<i64> = nodes.iter().map(|id| big(id.first())).collect();
    let ends: Vec<i64> = nodes.iter().map(|id| big(id.first().saturating_add(id.width()))).collect();
    let rows = transaction.query(&query, &[&firsts, &ends]).await?;
    let mut leaves = rows.iter();
    let mut folded = Vec::with_capacity(nodes.len());
    for id in nodes {
        let width = usize::try_from(id.width()).map_err(|_| DatabaseError::Column("leaf"))?;
        let own = leaves.by_ref().take(width).map(|row| hash(row, "hash")).collect::<Result<Vec<_>, _>>()?;
        if own.len() != width {
            return Err(DatabaseError::Column("leaf.index"));
        }
        folded.push((*id, merkle::root(own)));
    }
    Ok(folded)
}

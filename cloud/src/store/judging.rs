//! What operations are judged by.

use crate::database::{DatabaseError, count, text};
use deadpool_postgres::Transaction;
use lotgate_domain::ids::{OperationId, SiteId};
use lotgate_domain::ledger::verdict::BlockedLots;
use std::borrow::Cow;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Those of `ids` that an entry has which does not wait for its index.
pub(super) async fn ids_taken(
    transaction: &Transaction<'_>,
    ids: &[OperationId],
) -> Result<BTreeSet<OperationId>, DatabaseError> {
    let query = "SELECT asked.id FROM unnest($1::uuid[]) AS asked(id), LATERAL (
            SELECT 1 FROM entry e WHERE e.operation_id = asked.id AND NOT EXISTS (
                SELECT 1 FROM waiting w WHERE w.station_id = e.station_id AND w.epoch_n = e.epoch_n
                    AND w.branch = e.branch AND e.seq BETWEEN w.first_seq AND w.last_seq)
            LIMIT 1) AS found";
    let query = transaction.prepare_cached(query).await?;
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = transaction.query(&query, &[&ids]).await?;
    rows.iter().map(|row| Ok(OperationId(row.try_get(0)?))).collect()
}

pub(super) async fn lots_blocked(
    transaction: &Transaction<'_>,
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
    let query = transaction.prepare_cached(query).await?;
    let items: Vec<Cow<'_, str>> = lots.iter().map(|(item, _)| text(item)).collect();
    let numbers: Vec<Cow<'_, str>> = lots.iter().map(|(_, lot)| text(lot)).collect();
    let rows = transaction.query(&query, &[&site.0, &items, &numbers]).await?;
    let mut blocked = BlockedLots::new();
    for row in rows {
        let position = count(row.try_get("position")?, "position")?.saturating_sub(1);
        let lot = usize::try_from(position).ok().and_then(|position| lots.get(position));
        let lot = lot.ok_or(DatabaseError::Column("position"))?;
        blocked.insert(lot.clone(), count(row.try_get("cursor")?, "feed_page.cursor")?);
    }
    Ok(blocked)
}

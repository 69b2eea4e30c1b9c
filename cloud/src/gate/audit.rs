//! The audit row: who, when, from where, what, and the state before and after (21 CFR 11.10(e), CLD-2).

use super::{Caller, Passage};
use crate::crypto;
use crate::database::to_system_time;
use crate::error::Rejection;
use lotgate_domain::ids::{Hash, StationId};
use serde_json::Value;
use uuid::Uuid;

/// What a work did, as the audit row tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The station that was enrolled, which is then the actor.
    pub enrolled: Option<StationId>,
    /// The range or the values; an entry is its own audit record.
    pub detail: Value,
    /// Hash of the state before.
    pub prior: Option<Hash>,
    /// Hash of the state after.
    pub next: Option<Hash>,
}

impl Change {
    /// Nothing changed; `state` is the hash of what was shown.
    #[must_use]
    pub fn none(state: Option<Hash>, detail: Value) -> Self {
        Self { enrolled: None, detail, prior: state, next: state }
    }
}

/// Writes the row.
///
/// # Errors
/// The database's; the passage is undone.
pub async fn record(
    passage: &Passage<'_>,
    caller: &Caller,
    action: &str,
    change: &Change,
) -> Result<(), Rejection> {
    let insert = passage
        .transaction
        .prepare_cached(
            "INSERT INTO audit (tenant_id, id, at, actor, action, address, detail, prior_hash, next_hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .await?;
    let unix_ms = u64::try_from(passage.now.unix_ms()).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(unix_ms, &crypto::random()?).into_uuid();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 9] = [
        &passage.tenant.0,
        &id as &Uuid,
        &to_system_time(passage.now),
        &actor(passage, caller, change),
        &action,
        &caller.address().map(|address| address.to_string()),
        &change.detail,
        &change.prior.as_ref().map(|hash| hash.0.as_slice()),
        &change.next.as_ref().map(|hash| hash.0.as_slice()),
    ];
    passage.transaction.execute(&insert, &parameters).await?;
    Ok(())
}

fn actor(passage: &Passage<'_>, caller: &Caller, change: &Change) -> String {
    if let Caller::Courier { station, .. } = caller {
        return format!("courier:{station}");
    }
    let station = passage.station.as_ref().map(|station| station.id).or(change.enrolled);
    station.map_or_else(|| "cloud".to_owned(), |station| format!("station:{station}"))
}

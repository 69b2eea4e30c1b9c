//! The tenant's log: what is appended to it, and the second half of every push (T2), which numbers and judges what
//! waits (PROTOCOL §3, §4).

pub mod arrivals;

use crate::Cloud;
use crate::certificates;
use crate::error::{Rejection, chain};
use crate::gate::Passage;
use crate::gate::audit::Change;
use crate::gate::follow::{FollowUp, follow};
use crate::store::PgStore;
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::TenantId;
use lotgate_domain::ledger::number::{MOST_BATCHES, Single};
use lotgate_domain::ledger::{self, Authority, LedgerError, Store as _, TreeRow};
use serde_json::json;

/// Appends leaves that are no operations, in order; waits for the tenant's turn. Returns how the tree stands then.
///
/// # Errors
/// The database's.
pub async fn append(passage: &Passage<'_>, singles: Vec<Single>) -> Result<TreeRow, Rejection> {
    let mut store = PgStore::of(passage);
    store.wait_for_tenant().await?;
    Ok(ledger::append(&mut store, singles).await?)
}

/// Numbers the first batches that wait, at most [`MOST_BATCHES`]. The caller has the tenant's turn. What it did,
/// with how many batches it took; `None` where nothing waits.
///
/// # Errors
/// [`Rejection`].
pub async fn number(
    passage: &Passage<'_>,
    store: &mut PgStore<'_>,
    authority: &Authority<'_>,
) -> Result<Option<(u64, Change)>, Rejection> {
    let waiting = store.waiting(MOST_BATCHES).await?;
    if waiting.is_empty() {
        return Ok(None);
    }
    let fresh = passage.cloud.arrivals.take(passage.tenant, waiting.iter().map(|batch| batch.arrival));
    let before = store.newest().await?;
    let count = ledger::number(store, authority, fresh, passage.now).await?;
    let after = store.newest().await?;
    let change = Change {
        enrolled: None,
        detail: json!({
            "first_index": before.head.size,
            "next_index": after.head.size,
            "generation": after.generation,
            // Not those that were seen waiting: one that was told to wait earlier may have been committed since.
            "batches": store.take_numbered(),
        }),
        prior: Some(before.head.root),
        next: Some(after.head.root),
    };
    Ok(Some((count, change)))
}

/// Numbers what waits; gives how many batches there were.
#[derive(Debug)]
struct NumberWaiting;

impl FollowUp for NumberWaiting {
    type Reply = u64;
    const ACTION: &'static str = "operations.numbered";

    async fn run(self, passage: &Passage<'_>) -> Result<(u64, Option<Change>), Rejection> {
        let mut store = PgStore::of(passage);
        if store.waiting(1).await?.is_empty() {
            return Ok((0, None));
        }
        store.wait_for_tenant().await?;
        let keys = certificates::tenant_key(passage, KeyUse::Statement).await?;
        let authority = Authority { tenant: passage.tenant, keys: &keys };
        Ok(match number(passage, &mut store, &authority).await? {
            Some((count, change)) => (count, Some(change)),
            None => (0, None),
        })
    }
}

/// Numbers everything of a tenant that waits: what a crash between the two halves of a push left. Returns how many
/// batches there were.
///
/// # Errors
/// [`Rejection`]; what was numbered before it stays so.
pub async fn number_waiting(cloud: &Cloud, tenant: TenantId) -> Result<u64, Rejection> {
    let mut all: u64 = 0;
    loop {
        let count = follow(cloud, tenant, NumberWaiting).await?;
        all = all.saturating_add(count);
        if count < MOST_BATCHES {
            return Ok(all);
        }
    }
}

/// The same behind a request that was answered: a failure is for the next to meet.
pub(crate) async fn number_behind(cloud: &Cloud, tenant: TenantId) {
    if let Err(rejection) = number_waiting(cloud, tenant).await {
        tracing::warn!(%tenant, error = chain(&rejection), "entries still wait for their log indexes");
    }
}

impl From<LedgerError<crate::database::DatabaseError>> for Rejection {
    fn from(error: LedgerError<crate::database::DatabaseError>) -> Self {
        match error {
            LedgerError::HeadMismatch => {
                Self::Coded(lotgate_domain::protocol::problem::ProblemCode::HeadMismatch)
            }
            LedgerError::Store(error) => Self::Database(error),
            LedgerError::Statement(error) => Self::Statement(error),
            LedgerError::Stored(what) => Self::Stored(what),
        }
    }
}

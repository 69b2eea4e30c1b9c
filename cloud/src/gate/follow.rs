//! What follows from what was committed before: the cloud's own work, in a passage of its own.

use super::audit::{self, Change};
use super::{Caller, Mode, Passage, begin, enter};
use crate::Cloud;
use crate::database::DatabaseError;
use crate::error::Rejection;
use lotgate_domain::ids::TenantId;
use std::future::Future;

/// Work that nobody asks for by itself.
pub trait FollowUp: Send {
    /// What it gives.
    type Reply: Send;
    /// Its name in the audit trail.
    const ACTION: &'static str;

    /// Does it. Without a change, which is then what it says, it leaves no audit row: it is part of a request that
    /// has one. Whatever it wrote is undone if this, the audit row or the commit fails.
    fn run(
        self,
        passage: &Passage<'_>,
    ) -> impl Future<Output = Result<(Self::Reply, Option<Change>), Rejection>> + Send;
}

/// Lets `work` pass for a tenant.
///
/// # Errors
/// [`Rejection`]; then nothing was changed.
pub async fn follow<W: FollowUp>(cloud: &Cloud, tenant: TenantId, work: W) -> Result<W::Reply, Rejection> {
    let now = cloud.now();
    let mut client = cloud.pool.get().await.map_err(DatabaseError::from)?;
    let transaction = begin(&mut client, Mode::Change).await?;
    enter(&transaction, tenant).await?;
    let passage = Passage { cloud, transaction: &transaction, tenant, now, station: None, signed_by: None };
    let (reply, change) = work.run(&passage).await?;
    if let Some(change) = change {
        audit::record(&passage, &Caller::Program { tenant }, W::ACTION, &change).await?;
    }
    transaction.commit().await?;
    Ok(reply)
}

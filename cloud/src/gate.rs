//! The one gate that everything passes: authenticate → tenant → transaction → authorise → change → audit row in
//! the same transaction → commit → reply (CLD-1, CLD-2, CLD-13).

pub mod audit;
pub mod in_flight;

use crate::Cloud;
use crate::database::DatabaseError;
use crate::error::Rejection;
use crate::request::SignedRequest;
use crate::store;
use audit::Change;
use deadpool_postgres::Transaction;
use lotgate_domain::ids::{StationId, TenantId};
use lotgate_domain::ledger::Station;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::time::Timestamp;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

/// Who asks, with what proves it.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A station, by its signature under a fresh nonce.
    Signed(Arc<SignedRequest>),
    /// The bearer of an enrolment token; the work checks it.
    Token {
        /// The tenant that the token names.
        tenant: TenantId,
        /// Where the request came from.
        address: Option<IpAddr>,
    },
    /// A station that whoever holds the master key and the database speaks for: tests and benchmarks without HTTP.
    Station {
        /// The tenant.
        tenant: TenantId,
        /// The station.
        station: StationId,
    },
    /// The cloud's own program, run by whoever holds the master key and the database.
    Program {
        /// The tenant that it works for.
        tenant: TenantId,
    },
}

/// What a work asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// An enrolled station.
    Station,
    /// An enrolment token.
    Token,
    /// The cloud's own program.
    Program,
}

/// What is done within one passage.
pub trait Work: Send {
    /// What it gives.
    type Reply: Send;
    /// Its name in the audit trail.
    const ACTION: &'static str;
    /// Who may do it.
    const ACCESS: Access;
    /// How many of one station may run at once in this process; the next is `busy`. `None` is any number.
    const AT_ONCE: Option<u64> = None;

    /// Does it. Whatever it wrote is undone if this, the audit row or the commit fails.
    fn run(
        self,
        passage: &Passage<'_>,
    ) -> impl Future<Output = Result<(Self::Reply, Change), Rejection>> + Send;
}

/// One passage: one transaction for one tenant.
pub struct Passage<'a> {
    /// The cloud.
    pub cloud: &'a Cloud,
    /// The transaction, under the tenant's row-level context.
    pub transaction: &'a Transaction<'a>,
    /// The tenant.
    pub tenant: TenantId,
    /// The cloud's time of this passage.
    pub now: Timestamp,
    station: Option<Station>,
}

impl Passage<'_> {
    /// The station that asks.
    ///
    /// # Errors
    /// [`Rejection::Missing`] in work that is not for stations.
    pub fn station(&self) -> Result<&Station, Rejection> {
        self.station.as_ref().ok_or(Rejection::Missing("station behind this request"))
    }
}

impl Caller {
    /// Whose rows the passage is about.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Signed(request) => request.parameters.tenant,
            Self::Token { tenant, .. } | Self::Station { tenant, .. } | Self::Program { tenant } => *tenant,
        }
    }

    /// Where the request came from; none for the cloud's own program.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Signed(request) => request.address,
            Self::Token { address, .. } => *address,
            Self::Station { .. } | Self::Program { .. } => None,
        }
    }

    fn station(&self) -> Option<StationId> {
        match self {
            Self::Signed(request) => Some(request.parameters.station),
            Self::Station { station, .. } => Some(*station),
            Self::Token { .. } | Self::Program { .. } => None,
        }
    }

    fn access(&self) -> Access {
        match self {
            Self::Signed(_) | Self::Station { .. } => Access::Station,
            Self::Token { .. } => Access::Token,
            Self::Program { .. } => Access::Program,
        }
    }

    /// What can be said without the database: the nonce is the cloud's, this station's, and fresh.
    fn check_freshness(&self, cloud: &Cloud, now: Timestamp) -> Result<(), Rejection> {
        let Self::Signed(request) = self else { return Ok(()) };
        let parameters = &request.parameters;
        let nonce = parameters.nonce.as_deref().ok_or(ProblemCode::NonceRequired)?;
        if cloud.nonces.is_fresh(nonce, parameters.tenant, parameters.station, now) {
            Ok(())
        } else {
            Err(ProblemCode::NonceExpired.into())
        }
    }
}

/// Lets `work` pass for `caller`.
///
/// # Errors
/// [`Rejection`]; then nothing was changed.
pub async fn pass<W: Work>(cloud: &Cloud, caller: &Caller, work: W) -> Result<W::Reply, Rejection> {
    let now = cloud.now();
    caller.check_freshness(cloud, now)?;
    let tenant = caller.tenant();
    // Before a connection is taken, of which there are few for all.
    let _permit = match W::AT_ONCE.zip(caller.station()) {
        Some((most, station)) => Some(cloud.in_flight.begin(tenant, station, most).ok_or(ProblemCode::Busy)?),
        None => None,
    };
    let mut client = cloud.pool.get().await.map_err(DatabaseError::from)?;
    let transaction = client.transaction().await?;
    enter(&transaction, tenant).await?;
    let station = authenticate(&transaction, caller).await?;
    if caller.access() != W::ACCESS {
        return Err(ProblemCode::UnknownKey.into());
    }
    let passage = Passage { cloud, transaction: &transaction, tenant, now, station };
    let (reply, change) = work.run(&passage).await?;
    audit::record(&passage, caller, W::ACTION, &change).await?;
    transaction.commit().await?;
    Ok(reply)
}

/// Sets the tenant of the row-level policies, until the end of the transaction.
///
/// # Errors
/// The database's.
pub async fn enter(transaction: &Transaction<'_>, tenant: TenantId) -> Result<(), DatabaseError> {
    let set = transaction.prepare_cached("SELECT set_config('lotgate.tenant', $1, true)").await?;
    transaction.execute(&set, &[&tenant.to_string()]).await?;
    Ok(())
}

async fn authenticate(transaction: &Transaction<'_>, caller: &Caller) -> Result<Option<Station>, Rejection> {
    let (tenant, id) = match caller {
        Caller::Signed(request) => (request.parameters.tenant, request.parameters.station),
        Caller::Station { tenant, station } => (*tenant, *station),
        Caller::Token { .. } | Caller::Program { .. } => return Ok(None),
    };
    let station = store::station(transaction, tenant, id).await?.ok_or(ProblemCode::UnknownKey)?;
    if let Caller::Signed(request) = caller {
        if station.key.key_id() != request.parameters.key {
            return Err(ProblemCode::UnknownKey.into());
        }
        request.verify(&station.key).map_err(|_| ProblemCode::BadSignature)?;
    }
    Ok(Some(station))
}

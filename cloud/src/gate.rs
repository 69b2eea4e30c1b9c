//! The one gate that everything passes: authenticate → tenant → transaction → authorise → change → audit row in
//! the same transaction → commit → reply (CLD-1, CLD-2, CLD-13).

pub mod audit;
pub mod follow;
pub mod in_flight;

use crate::Cloud;
use crate::database::DatabaseError;
use crate::error::Rejection;
use crate::log;
use crate::request::SignedRequest;
use crate::stations;
use audit::Change;
use deadpool_postgres::{Client, Transaction};
use lotgate_domain::ids::{PublicKey, StationId, TenantId};
use lotgate_domain::ledger::Station;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::time::Timestamp;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use tokio_postgres::IsolationLevel;

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
    /// Anybody at all: the signed time.
    Anyone {
        /// The tenant that is asked.
        tenant: TenantId,
        /// Where the request came from.
        address: Option<IpAddr>,
    },
    /// The cloud's own program, handing over what a courier brought of a station's queue.
    Courier {
        /// The tenant.
        tenant: TenantId,
        /// Whose queue.
        station: StationId,
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
    /// Nobody in particular.
    Anyone,
}

/// What a work does to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It changes something, or tells something that the audit trail is to know of.
    Change,
    /// It reads for long, and everything as of one moment; the audit trail knows of it.
    Snapshot,
    /// It can change nothing, in a read-only transaction, and so leaves no audit row: what anybody may ask for
    /// must not fill the database.
    Show,
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
    /// What it does to the database.
    const MODE: Mode = Mode::Change;
    /// Only for a station that was neither retired nor revoked.
    const WHILE_OPEN: bool = false;
    /// Also for a request signed with the key directly before the station's present one: its new one may be in a
    /// reply that was lost.
    const FORMER_KEY: bool = false;
    /// Afterwards the entries that wait for their log indexes get them: where a crash left some, whoever is there
    /// next finds them numbered.
    const NUMBERS: bool = false;

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
    signed_by: Option<PublicKey>,
}

impl Passage<'_> {
    /// The station that asks.
    ///
    /// # Errors
    /// [`Rejection::Missing`] in work that is not for stations.
    pub fn station(&self) -> Result<&Station, Rejection> {
        self.station.as_ref().ok_or(Rejection::Missing("station behind this request"))
    }

    /// The key that the request is signed with; none where the cloud's own program speaks.
    #[must_use]
    pub fn signed_by(&self) -> Option<PublicKey> {
        self.signed_by
    }
}

impl Caller {
    /// Whose rows the passage is about.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Signed(request) => request.parameters.tenant,
            Self::Token { tenant, .. }
            | Self::Anyone { tenant, .. }
            | Self::Courier { tenant, .. }
            | Self::Station { tenant, .. }
            | Self::Program { tenant } => *tenant,
        }
    }

    /// Where the request came from; none for the cloud's own program.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Signed(request) => request.address,
            Self::Token { address, .. } | Self::Anyone { address, .. } => *address,
            Self::Station { .. } | Self::Courier { .. } | Self::Program { .. } => None,
        }
    }

    fn station(&self) -> Option<StationId> {
        match self {
            Self::Signed(request) => Some(request.parameters.station),
            Self::Station { station, .. } | Self::Courier { station, .. } => Some(*station),
            Self::Token { .. } | Self::Anyone { .. } | Self::Program { .. } => None,
        }
    }

    fn access(&self) -> Access {
        match self {
            Self::Signed(_) | Self::Station { .. } | Self::Courier { .. } => Access::Station,
            Self::Token { .. } => Access::Token,
            Self::Anyone { .. } => Access::Anyone,
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
    let _permit = permit(cloud, caller, W::AT_ONCE)?;
    let mut client = cloud.pool.get().await.map_err(DatabaseError::from)?;
    let transaction = begin(&mut client, W::MODE).await?;
    enter(&transaction, tenant).await?;
    let (station, signed_by) = authenticate(&transaction, caller, W::FORMER_KEY).await?;
    if caller.access() != W::ACCESS {
        return Err(ProblemCode::UnknownKey.into());
    }
    if W::WHILE_OPEN && station.as_ref().is_some_and(|station| station.closed.is_some()) {
        return Err(ProblemCode::Revoked.into());
    }
    let passage = Passage { cloud, transaction: &transaction, tenant, now, station, signed_by };
    let (reply, change) = work.run(&passage).await?;
    if W::MODE != Mode::Show {
        audit::record(&passage, caller, W::ACTION, &change).await?;
    }
    transaction.commit().await?;
    drop(client);
    if W::NUMBERS {
        log::number_behind(cloud, tenant).await;
    }
    Ok(reply)
}

/// Leave to work for the caller's station, before a connection is taken, of which there are few for all. `None` is
/// given where any number of one station may work at once.
///
/// # Errors
/// [`ProblemCode::Busy`] where `most` of the station's passages run already.
pub fn permit<'a>(
    cloud: &'a Cloud,
    caller: &Caller,
    most: Option<u64>,
) -> Result<Option<in_flight::Permit<'a>>, Rejection> {
    let Some((most, station)) = most.zip(caller.station()) else { return Ok(None) };
    let permit = cloud.in_flight.begin(caller.tenant(), station, most);
    Ok(Some(permit.ok_or(ProblemCode::Busy)?))
}

async fn begin(client: &mut Client, mode: Mode) -> Result<Transaction<'_>, DatabaseError> {
    Ok(match mode {
        Mode::Change => client.transaction().await?,
        Mode::Show => client.build_transaction().read_only(true).start().await?,
        Mode::Snapshot => {
            let level = IsolationLevel::RepeatableRead;
            let transaction = client.build_transaction().isolation_level(level).start().await?;
            let patient =
                "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
            transaction.batch_execute(patient).await?;
            transaction
        }
    })
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

async fn authenticate(
    transaction: &Transaction<'_>,
    caller: &Caller,
    former: bool,
) -> Result<(Option<Station>, Option<PublicKey>), Rejection> {
    let Some(id) = caller.station() else { return Ok((None, None)) };
    let station = stations::read(transaction, caller.tenant(), id).await?.ok_or(ProblemCode::UnknownKey)?;
    let mut signed_by = None;
    if let Caller::Signed(request) = caller {
        let known = station.keys().take(if former { 2 } else { 1 });
        let key = known.map(|known| known.key).find(|key| key.key_id() == request.parameters.key);
        let key = key.ok_or(ProblemCode::UnknownKey)?;
        request.verify(&key).map_err(|_| ProblemCode::BadSignature)?;
        signed_by = Some(key);
    }
    Ok((Some(station), signed_by))
}

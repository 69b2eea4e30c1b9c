//! `POST /v1/operations`: the ledger's rules over Postgres, in one transaction (PROTOCOL §3, §9.13, §9.14).
//!
//! Signatures are checked on every core before the station's turn is waited for; the station's turn comes before
//! the tenant's, always, so that two pushes never wait for each other.

use crate::certificates;
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::head::{self, LIMITS};
use crate::request::{self, SignedBody};
use crate::store::PgStore;
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::Hash;
use lotgate_domain::ledger::prefix::{self, Checked};
use lotgate_domain::ledger::{self, Applied, Authority, Ingested, LedgerError, Station, Store as _};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::push::{PushHeader, PushRequest};
use lotgate_domain::protocol::{HexBytes, PushReply, StopCode, Stopped};
use serde_json::{Value, json};

/// Below this many entries a second thread costs more than it saves.
const WORTH_A_THREAD: usize = 32;

/// Takes a push. Its body is not looked into before the caller is authenticated.
#[derive(Debug)]
pub enum Push {
    /// Read already: from a caller in this process.
    Read(PushRequest),
    /// As it was sent.
    Sent {
        /// The signed headers of the body.
        headers: SignedBody,
        /// The body, compressed.
        body: Vec<u8>,
    },
}

impl Work for Push {
    type Reply = PushReply;
    const ACTION: &'static str = "operations.pushed";
    const ACCESS: Access = Access::Station;
    // One more than asked of stations: one whose reply was lost may come back before its first push ends.
    const AT_ONCE: Option<u64> = Some(LIMITS.in_flight + 1);

    async fn run(self, passage: &Passage<'_>) -> Result<(PushReply, Change), Rejection> {
        let station = passage.station()?;
        let (header, checked) = self.check_entries(station.clone()).await?;
        let keys = certificates::tenant_key(passage, KeyUse::Statement).await?;
        let authority = Authority { tenant: passage.tenant, keys: &keys };
        let mut store = PgStore::of(passage);
        store.wait_for_station(station.id).await?;
        let before = store.epoch_head(station.id, header.epoch.n).await?;
        let hashes: Vec<Option<Hash>> =
            checked.iter().map(|checked| checked.as_ref().ok().map(|entry| entry.hash)).collect();
        let mut ingested = match ledger::ingest(&mut store, station, &header, checked).await {
            Err(LedgerError::HeadMismatch) => {
                let head = head::reply(passage, station.id, station.certificate).await?;
                return Err(Rejection::HeadMismatch(Box::new(head)));
            }
            other => other?,
        };
        let new = std::mem::take(&mut ingested.new);
        if !new.is_empty() {
            store.wait_for_tenant().await?;
        }
        let applied = ledger::apply(&mut store, &authority, station, new).await?;
        let receipt = ledger::receipt(
            &mut store,
            &authority,
            station,
            &ingested.through,
            applied.as_ref(),
            passage.now,
        )
        .await?;
        let (first, last) = touched(&header, ingested.stopped);
        let verdicts = store.verdicts(station.id, header.epoch, first, last).await?;
        let change = Change {
            enrolled: None,
            detail: detail(&header, &ingested, applied.as_ref(), &hashes),
            prior: Some(before.map_or(station.certificate, |head| head.hash)),
            next: Some(ingested.through.hash),
        };
        let reply = PushReply {
            accepted_through: ingested.through,
            first_index: applied.map(|applied| applied.first_index),
            stopped: ingested.stopped,
            branch: 0,
            verdicts: verdicts.into_iter().map(HexBytes).collect(),
            receipt: receipt.map(HexBytes),
        };
        Ok((reply, change))
    }
}

/// The first and the last seq of a push that were looked at and not refused; none if the last is less. Their
/// verdicts are what the push is answered with.
#[must_use]
pub fn touched(header: &PushHeader, stopped: Option<Stopped>) -> (u64, u64) {
    let first = header.after.seq.saturating_add(1);
    let last = stopped
        .map_or(header.after.seq.saturating_add(header.count), |stopped| stopped.seq.saturating_sub(1));
    (first, last)
}

impl Push {
    /// Everything that can be said of the entries before the station's turn, off the threads that serve.
    async fn check_entries(self, station: Station) -> Result<(PushHeader, Vec<Checked>), Rejection> {
        let work = move || {
            let request = self.read()?;
            check_size(&request)?;
            let checked = check_on_every_core(&request, &station)?;
            Ok((request.header, checked))
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Rejection::System("a worker died"))?
    }

    fn read(self) -> Result<PushRequest, Rejection> {
        match self {
            Self::Read(request) => Ok(request),
            Self::Sent { headers, body } => {
                let body = request::decompress_push(&headers, &body)?;
                PushRequest::read(&body).map_err(|_| Rejection::BadRequest("push is not as specified"))
            }
        }
    }
}

fn check_size(request: &PushRequest) -> Result<(), Rejection> {
    if request.header.v != 1 || request.header.epoch.n == 0 {
        return Err(Rejection::BadRequest("push is of another version"));
    }
    let bytes = u64::try_from(request.entries.len()).unwrap_or(u64::MAX);
    if request.header.count > LIMITS.entries || bytes > LIMITS.bytes {
        return Err(ProblemCode::TooLarge.into());
    }
    Ok(())
}

fn check_on_every_core(request: &PushRequest, station: &Station) -> Result<Vec<Checked>, Rejection> {
    let frames = request.frames().map_err(|_| Rejection::BadRequest("entries are not frames"))?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = frames.len().div_ceil(cores).max(WORTH_A_THREAD);
    let check = |frame| prefix::check(frame, station, prefix::verify_signature);
    std::thread::scope(|scope| {
        let mut shares = frames.chunks(share);
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> =
            shares.map(|share| scope.spawn(move || share.iter().map(check).collect::<Vec<_>>())).collect();
        let mut checked: Vec<Checked> = own.iter().map(check).collect();
        for other in others {
            checked.extend(other.join().map_err(|_| Rejection::System("a worker died"))?);
        }
        Ok(checked)
    })
}

/// `hashes` are those of the entries that were pushed, in their order.
fn detail(
    header: &PushHeader,
    ingested: &Ingested,
    applied: Option<&Applied>,
    hashes: &[Option<Hash>],
) -> Value {
    let forked = ingested.stopped.filter(|stopped| stopped.code == StopCode::Forked);
    let evidence = forked.and_then(|stopped| {
        let position = stopped.seq.checked_sub(header.after.seq.saturating_add(1))?;
        *hashes.get(usize::try_from(position).ok()?)?
    });
    json!({
        "epoch": header.epoch.n,
        "after": header.after.seq,
        "count": header.count,
        "through": ingested.through.seq,
        "first_index": applied.map(|applied| applied.first_index),
        "stopped": ingested.stopped,
        "evidence": evidence,
        "clock": header.clock,
    })
}

impl From<LedgerError<crate::database::DatabaseError>> for Rejection {
    fn from(error: LedgerError<crate::database::DatabaseError>) -> Self {
        match error {
            LedgerError::HeadMismatch => Self::Coded(ProblemCode::HeadMismatch),
            LedgerError::Store(error) => Self::Database(error),
            LedgerError::Statement(error) => Self::Statement(error),
        }
    }
}

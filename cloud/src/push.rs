//! `POST /v1/operations`: the ledger's rules over Postgres, in two transactions (PROTOCOL §3, §9.13, §9.14).
//!
//! **T1**, with the station's turn: what is new is kept, without an index; signatures were checked on every core
//! before. **T2**, with the tenant's turn: whatever waits is numbered and judged, and the answer is read. A push that
//! brings nothing new is answered from T1. The checkpoint is signed after the commit, from the row that was read.

use crate::Cloud;
use crate::certificates;
use crate::database::TURN;
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::follow::{FollowUp, follow};
use crate::gate::{self, Access, Caller, Passage, Work};
use crate::head::{self, LIMITS};
use crate::log;
use crate::request::{self, SignedBody};
use crate::store::PgStore;
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{StationId, TenantId};
use lotgate_domain::ledger::ingest::Stretch;
use lotgate_domain::ledger::prefix::{self, Checked};
use lotgate_domain::ledger::{self, Answer, Authority, Ingested, LedgerError, Station, Store as _};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::proof::LogProof;
use lotgate_domain::protocol::push::{PushHeader, PushRequest};
use lotgate_domain::protocol::{HexBytes, PushReply, Stopped};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::signature::PreparedKey;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Below this many entries a second thread costs more than it saves.
const WORTH_A_THREAD: usize = 32;
/// How often to look whether another worker brought what a push comes after.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A push. Its body is not looked into before the caller is authenticated.
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

/// Takes a push, and answers once everything of it has its log index.
///
/// # Errors
/// [`Rejection`]. After one, entries may be held that were not before; to push them again is always right.
pub async fn push(cloud: &Cloud, caller: &Caller, push: Push) -> Result<PushReply, Rejection> {
    // One more than asked of stations: one whose reply was lost may come back before its first push ends.
    let _permit = gate::permit(cloud, caller, Some(LIMITS.in_flight + 1))?;
    let tenant = caller.tenant();
    let mut taken = gate::pass(cloud, caller, Ingest { push }).await?;
    let ready = match taken.ready.take() {
        Some(ready) => ready,
        None => number(cloud, tenant, &mut taken).await?,
    };
    Ok(reply(tenant, taken.ingested, ready))
}

/// T2, again and again while more wait than one transaction takes.
async fn number(cloud: &Cloud, tenant: TenantId, taken: &mut Taken) -> Result<Ready, Rejection> {
    let fresh = taken.ingested.new.as_mut().map(|(batch, entries)| (batch.arrival, std::mem::take(entries)));
    let _arrived = fresh.map(|(arrival, entries)| cloud.arrivals.put(tenant, arrival, entries));
    loop {
        if let Some(ready) = follow(cloud, tenant, Number { taken }).await? {
            return Ok(ready);
        }
    }
}

/// What T1 left.
#[derive(Debug)]
struct Taken {
    station: StationId,
    header: PushHeader,
    ingested: Ingested,
    /// The last of the station's batches that has to be numbered before the answer; none with `ready`.
    until: u64,
    /// The answer, if T2 is not needed.
    ready: Option<Ready>,
}

/// What the reply is made of, and the key that signs its checkpoint.
#[derive(Debug)]
struct Ready {
    answer: Answer,
    log: KeyPair,
}

/// T1.
struct Ingest {
    push: Push,
}

impl Work for Ingest {
    type Reply = Taken;
    const ACTION: &'static str = "operations.pushed";
    const ACCESS: Access = Access::Station;

    async fn run(self, passage: &Passage<'_>) -> Result<(Taken, Change), Rejection> {
        let station = passage.station()?;
        let (request, checked) = check_entries(self.push, station.clone()).await?;
        let header = request.header.clone();
        let mut store = PgStore::of(passage);
        wait_for_what_it_follows(passage, &store, station.id, &header).await?;
        store.wait_for_station(station.id).await?;
        let ingested = match ledger::ingest(&mut store, station, &header, checked, passage.now).await {
            Err(LedgerError::HeadMismatch) => {
                let head = head::reply(passage, station.id, station.certificate).await?;
                return Err(Rejection::HeadMismatch(Box::new(head)));
            }
            other => other?,
        };
        let evidence = ingested.stopped.and_then(|stopped| evidence(&request, stopped));
        if let Some(evidence) = &evidence {
            store.keep_evidence(station.id, evidence).await?;
        }
        let until = match &ingested.new {
            Some((batch, _)) => Some(batch.arrival),
            None => store.last_waiting(station.id).await?,
        };
        let ready = match until {
            Some(_) => None,
            None => {
                wait_to_make_a_receipt(&mut store, station.id, &header, &ingested).await?;
                let keys = Keys::of(passage).await?;
                Some(ready(passage, &mut store, keys, (station.id, &header, &ingested)).await?)
            }
        };
        let prior = ingested.new.as_ref().and_then(|(_, entries)| entries.first());
        let change = Change {
            enrolled: None,
            detail: detail(&header, &ingested, evidence.map(|evidence| evidence.hash)),
            prior: Some(prior.map_or(ingested.through.hash, |first| first.entry.header.prev)),
            next: Some(ingested.through.hash),
        };
        let until = until.unwrap_or_default();
        Ok((Taken { station: station.id, header, ingested, until, ready }, change))
    }
}

/// T2. Gives nothing where more waits before the push than one transaction takes.
struct Number<'a> {
    taken: &'a Taken,
}

impl FollowUp for Number<'_> {
    type Reply = Option<Ready>;
    const ACTION: &'static str = "operations.numbered";

    async fn run(self, passage: &Passage<'_>) -> Result<(Option<Ready>, Option<Change>), Rejection> {
        let Taken { station, header, ingested, until, .. } = self.taken;
        let mut store = PgStore::of(passage);
        store.wait_for_tenant().await?;
        let keys = Keys::of(passage).await?;
        let authority = Authority { tenant: passage.tenant, keys: &keys.statement };
        let change = log::number(passage, &mut store, &authority).await?.map(|(_, change)| change);
        if store.waits(*station, *until).await? {
            return if change.is_some() {
                Ok((None, change))
            } else {
                Err(Rejection::Stored("a batch waits and cannot be numbered"))
            };
        }
        let ready = ready(passage, &mut store, keys, (*station, header, ingested)).await?;
        Ok((Some(ready), change))
    }
}

/// The tenant's keys that answer a push.
struct Keys {
    statement: KeyPair,
    log: KeyPair,
}

impl Keys {
    async fn of(passage: &Passage<'_>) -> Result<Self, Rejection> {
        let (statement, log) = tokio::try_join!(
            certificates::tenant_key(passage, KeyUse::Statement),
            certificates::tenant_key(passage, KeyUse::Log)
        )?;
        Ok(Self { statement, log })
    }
}

async fn ready(
    passage: &Passage<'_>,
    store: &mut PgStore<'_>,
    keys: Keys,
    (station, header, ingested): (StationId, &PushHeader, &Ingested),
) -> Result<Ready, Rejection> {
    let authority = Authority { tenant: passage.tenant, keys: &keys.statement };
    let answer = ledger::answer(store, &authority, station, header, ingested, passage.now).await?;
    Ok(Ready { answer, log: keys.log })
}

/// A receipt that is missing is made for the answer, and a station's receipts follow each other: whoever numbers
/// makes some, too.
async fn wait_to_make_a_receipt(
    store: &mut PgStore<'_>,
    station: StationId,
    header: &PushHeader,
    ingested: &Ingested,
) -> Result<(), Rejection> {
    let Some(Stretch { branch, last, .. }) = ingested.touched.last().copied() else { return Ok(()) };
    let end = Stretch { branch, first: last, last };
    if store.receipt(station, header.epoch.n, end).await?.is_none() {
        store.wait_for_tenant().await?;
    }
    Ok(())
}

fn reply(tenant: TenantId, ingested: Ingested, ready: Ready) -> PushReply {
    let Answer { tree, verdicts, ranges, consistency, recovered, receipt } = ready.answer;
    let first_index = tree.as_ref().filter(|_| ingested.new.is_some()).map(|row| row.first_index);
    let proof = tree.map(|row| LogProof {
        checkpoint: Checkpoint { tenant, generation: row.generation, head: row.head }.sign(&ready.log),
        ranges,
        consistency,
        recovered: recovered.into_iter().map(HexBytes).collect(),
    });
    PushReply {
        accepted_through: ingested.through,
        first_index,
        stopped: ingested.stopped,
        branch: ingested.branch,
        verdicts: verdicts.into_iter().map(|batch| HexBytes(batch.bytes)).collect(),
        receipt: receipt.map(HexBytes),
        proof,
    }
}

/// Of several pushes in flight a later one may be here first: it waits for the one before, as long as for a turn.
async fn wait_for_what_it_follows(
    passage: &Passage<'_>,
    store: &PgStore<'_>,
    station: StationId,
    header: &PushHeader,
) -> Result<(), Rejection> {
    let after = header.after;
    if after.seq == 0 {
        return Ok(());
    }
    let end = Instant::now() + TURN;
    loop {
        let arrival = passage.cloud.arrivals.next();
        let held = store.holds(station, header.epoch.n, after.seq, after.hash).await?;
        if held || Instant::now() >= end {
            return Ok(());
        }
        // Another process says nothing when it took something.
        drop(tokio::time::timeout(LOOK_AGAIN, arrival).await);
    }
}

/// Everything that can be said of the entries before the station's turn, off the threads that serve.
async fn check_entries(push: Push, station: Station) -> Result<(PushRequest, Vec<Checked>), Rejection> {
    let work = move || {
        let request = push.read()?;
        check_size(&request)?;
        let checked = check_on_every_core(&request, &station)?;
        Ok((request, checked))
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Rejection::System("a worker died"))?
}

impl Push {
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
    let frames = frames(request)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = frames.len().div_ceil(cores).max(WORTH_A_THREAD);
    // A key that no signature verifies with cannot have been certified.
    let key = PreparedKey::new(&station.key).map_err(|_| Rejection::Missing("key of this station"))?;
    std::thread::scope(|scope| {
        let (mut shares, key) = (frames.chunks(share), &key);
        let own = shares.next().unwrap_or_default();
        let check = |share| prefix::check_each(share, station, key);
        let others: Vec<_> = shares.map(|share| scope.spawn(move || check(share))).collect();
        let mut checked = check(own);
        for other in others {
            checked.extend(other.join().map_err(|_| Rejection::System("a worker died"))?);
        }
        Ok(checked)
    })
}

fn frames(request: &PushRequest) -> Result<Vec<Frame<'_>>, Rejection> {
    request.frames().map_err(|_| Rejection::BadRequest("entries are not frames"))
}

/// What is kept of the entry that ended the push.
fn evidence(request: &PushRequest, stopped: Stopped) -> Option<ledger::Evidence> {
    let position = stopped.seq.checked_sub(request.header.after.seq.saturating_add(1))?;
    let frames = request.frames().ok()?;
    let frame = frames.get(usize::try_from(position).ok()?)?;
    Some(ledger::ingest::evidence(frame.bytes(), stopped.code))
}

fn detail(header: &PushHeader, ingested: &Ingested, evidence: Option<lotgate_domain::ids::Hash>) -> Value {
    let new = ingested.new.as_ref().map(|(batch, _)| json!({"first": batch.first, "last": batch.last}));
    json!({
        "epoch": header.epoch.n,
        "branch": ingested.branch,
        "after": header.after.seq,
        "count": header.count,
        "through": ingested.through.seq,
        "new": new,
        "stopped": ingested.stopped,
        "evidence": evidence,
        "clock": header.clock,
    })
}

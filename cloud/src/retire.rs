//! The end of a station (CLD-3): `POST /v1/retire`, by which it closes itself once everything of it is held, and
//! `lotgate-cloud station revoke`, by which its key is no longer trusted.
//!
//! A closed station may still push: nothing signed is ever refused, what comes late is judged by the closing.

use crate::certificates;
use crate::database::{big, to_system_time};
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::head;
use crate::log;
use crate::request::JsonBody;
use crate::stations::standing::furthest;
use crate::stations::{self, closing_text, point};
use crate::store::PgStore;
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::{Hash, StationId};
use lotgate_domain::ledger::number::Single;
use lotgate_domain::ledger::{Authority, Station, Store as _};
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::protocol::HexBytes;
use lotgate_domain::protocol::care::{RetireReply, RetireRequest};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::event::{Closing, StationClosed};
use lotgate_domain::statement::{self, Statement as _};
use serde::Serialize;
use serde_json::json;
use tokio_postgres::types::ToSql;

const LONGEST_REASON: usize = 500;

/// Closes the station that asks, at the head that the cloud holds.
#[derive(Debug)]
pub struct Retire {
    /// What it asks.
    pub request: JsonBody<RetireRequest>,
}

impl Work for Retire {
    type Reply = RetireReply;
    const ACTION: &'static str = "station.retired";
    const ACCESS: Access = Access::Station;

    async fn run(self, passage: &Passage<'_>) -> Result<(RetireReply, Change), Rejection> {
        let RetireRequest { through, reason } = self.request.read()?;
        let reason = usable(&reason)?;
        let station = turn(passage, passage.station()?.id).await?;
        match station.closed {
            None => {}
            Some((Closing::Retired, closed)) if closed == Some(through) => {
                let bytes = closing_statement(passage, station.id).await?;
                let change = Change::none(Some(through.hash), json!({"repeated": true}));
                return Ok((RetireReply { statement: HexBytes(bytes) }, change));
            }
            Some((Closing::Retired | Closing::Revoked, _)) => return Err(ProblemCode::Revoked.into()),
        }
        let held = held_head(passage, station.id).await?;
        if held != Some(through) {
            let head = head::reply(passage, station.id, station.certificate).await?;
            return Err(Rejection::HeadMismatch(Box::new(head)));
        }
        let end = End { closing: Closing::Retired, through: Some(through), reason };
        let (bytes, change) = close(passage, &station, &end).await?;
        Ok((RetireReply { statement: HexBytes(bytes) }, change))
    }
}

/// Ends the trust in a station's key.
#[derive(Debug)]
pub struct Revoke {
    /// Which station.
    pub station: StationId,
    /// Why, in people's words.
    pub reason: String,
}

/// What a revocation gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// How the station came to its end: retired, where it had closed itself before.
    pub closing: Closing,
    /// The last entry that it had reported; null if it never reported one.
    pub through: Option<ChainPoint>,
    /// The end of what the cloud holds of it.
    pub held: Option<ChainPoint>,
    /// False if it had come to its end before.
    pub changed: bool,
}

impl Work for Revoke {
    type Reply = Revoked;
    const ACTION: &'static str = "station.revoked";
    const ACCESS: Access = Access::Program;

    async fn run(self, passage: &Passage<'_>) -> Result<(Revoked, Change), Rejection> {
        let reason = usable(&self.reason)?;
        let station = turn(passage, self.station).await?;
        let held = held_head(passage, station.id).await?;
        if let Some((closing, through)) = station.closed {
            let change = Change::none(through.map(|through| through.hash), json!({"station": station.id}));
            return Ok((Revoked { closing, through, held, changed: false }, change));
        }
        // What was pushed was reported, too.
        let through = furthest(held, told(passage, station.id).await?);
        let end = End { closing: Closing::Revoked, through, reason };
        let (_, change) = close(passage, &station, &end).await?;
        Ok((Revoked { closing: Closing::Revoked, through, held, changed: true }, change))
    }
}

fn usable(reason: &str) -> Result<String, Rejection> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
        return Err(Rejection::BadRequest("a reason has 1 to 500 bytes and no control characters"));
    }
    Ok(reason.to_owned())
}

/// The station as it is once nothing of it is under way.
async fn turn(passage: &Passage<'_>, id: StationId) -> Result<Station, Rejection> {
    PgStore::of(passage).wait_for_station(id).await?;
    let station = stations::read(passage.transaction, passage.tenant, id).await?;
    station.ok_or(Rejection::Missing("station with this id in this tenant"))
}

async fn held_head(passage: &Passage<'_>, station: StationId) -> Result<Option<ChainPoint>, Rejection> {
    let head = PgStore::of(passage).head(station).await?;
    Ok(head.and_then(|head| Some(ChainPoint { epoch: head.epoch?, seq: head.seq, hash: head.hash })))
}

/// The furthest head in a heartbeat.
async fn told(passage: &Passage<'_>, station: StationId) -> Result<Option<ChainPoint>, Rejection> {
    let query = "SELECT furthest_epoch_n, furthest_epoch_id, furthest_seq, furthest_hash
        FROM heartbeat WHERE station_id = $1";
    let row = passage.transaction.query_opt(query, &[&station.0]).await?;
    Ok(row.map(|row| point(&row, "furthest_")).transpose()?.flatten())
}

async fn closing_statement(passage: &Passage<'_>, station: StationId) -> Result<Vec<u8>, Rejection> {
    let query = "SELECT bytes FROM station_closing WHERE station_id = $1";
    Ok(passage.transaction.query_one(query, &[&station.0]).await?.try_get("bytes")?)
}

struct End {
    closing: Closing,
    through: Option<ChainPoint>,
    reason: String,
}

/// Signs the end of a station, keeps it, and appends it to the log.
async fn close(passage: &Passage<'_>, station: &Station, end: &End) -> Result<(Vec<u8>, Change), Rejection> {
    let keys = certificates::tenant_key(passage, KeyUse::Statement).await?;
    number_all(passage, &keys).await?;
    let statement = StationClosed {
        v: 1,
        kind: StationClosed::KIND.to_owned(),
        tenant: passage.tenant,
        key: keys.public().key_id(),
        station: station.id,
        closing: end.closing,
        through: end.through,
        reason: end.reason.clone(),
        time: passage.now,
    };
    let bytes = statement::sign(&statement, &keys)?;
    insert(passage, station.id, end, &bytes).await?;
    let leaf =
        Single::Statement { kind: StationClosed::KIND, station: Some(station.id), bytes: bytes.clone() };
    log::append(passage, vec![leaf]).await?;
    let change = Change {
        enrolled: None,
        detail: json!({"station": station.id, "through": end.through, "reason": end.reason}),
        prior: Some(station.certificate),
        next: Some(lotgate_domain::entry::hash(&bytes)),
    };
    Ok((bytes, change))
}

/// Numbers what arrived before: the closing judges only what comes after it.
async fn number_all(passage: &Passage<'_>, keys: &KeyPair) -> Result<(), Rejection> {
    let authority = Authority { tenant: passage.tenant, keys };
    let mut store = PgStore::of(passage);
    store.wait_for_tenant().await?;
    while log::number(passage, &mut store, &authority).await?.is_some() {}
    Ok(())
}

async fn insert(passage: &Passage<'_>, station: StationId, end: &End, bytes: &[u8]) -> Result<(), Rejection> {
    let insert = "INSERT INTO station_closing
            (tenant_id, station_id, closing, epoch_n, epoch_id, seq, hash, bytes, closed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let through = end.through.as_ref();
    let hash: Option<&Hash> = through.map(|through| &through.hash);
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &passage.tenant.0,
        &station.0,
        &closing_text(end.closing),
        &through.map(|through| big(through.epoch.n)),
        &through.map(|through| through.epoch.id.0.as_slice()),
        &through.map(|through| big(through.seq)),
        &hash.map(|hash| hash.0.as_slice()),
        &bytes,
        &to_system_time(passage.now),
    ];
    passage.transaction.execute(insert, &parameters).await?;
    Ok(())
}

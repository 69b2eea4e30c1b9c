//! `GET /v1/head`: where the cloud's copy of a station's chain stands (PROTOCOL §9.12).

use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::store::PgStore;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Hash, StationId};
use lotgate_domain::ledger::Store as _;
use lotgate_domain::protocol::{HeadReply, HexBytes, Limits};
use serde_json::json;

/// What the cloud takes in one request.
pub const LIMITS: Limits = Limits { entries: 1_000, bytes: 1024 * 1024, in_flight: 3 };

/// Shows the head.
#[derive(Debug, Clone, Copy)]
pub struct ShowHead;

impl Work for ShowHead {
    type Reply = HeadReply;
    const ACTION: &'static str = "head.shown";
    const ACCESS: Access = Access::Station;
    const NUMBERS: bool = true;

    async fn run(self, passage: &Passage<'_>) -> Result<(HeadReply, Change), Rejection> {
        let station = passage.station()?;
        let reply = reply(passage, station.id, station.certificate).await?;
        let detail = json!({"epoch": reply.epoch.map(|epoch| epoch.n), "seq": reply.seq});
        let change = Change::none(Some(reply.hash), detail);
        Ok((reply, change))
    }
}

/// The head of a station as it is told.
///
/// # Errors
/// The database's.
pub async fn reply(
    passage: &Passage<'_>,
    station: StationId,
    certificate: Hash,
) -> Result<HeadReply, Rejection> {
    let mut store = PgStore::of(passage);
    let head = store.head(station).await?.unwrap_or_else(|| Head::genesis(certificate));
    let recovered = store.recovered(0).await?;
    Ok(HeadReply {
        epoch: head.epoch,
        seq: head.seq,
        hash: head.hash,
        limits: LIMITS,
        restore_window_s: passage.cloud.restore_window_s,
        time: passage.now,
        backoff_ms: 0,
        recovered: recovered.into_iter().map(HexBytes).collect(),
    })
}

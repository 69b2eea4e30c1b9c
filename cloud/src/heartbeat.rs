//! `POST /v1/heartbeat`: how a station is (PROTOCOL §5). One row a station; the furthest head that it ever told
//! stays, so that after a revocation the tail that is missing can be named, and a clone shows.

use crate::database::{DatabaseError, big, from_system_time, to_system_time};
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::head::LIMITS;
use crate::request::JsonBody;
use crate::stations::point;
use crate::stations::standing::{Before, Told, compare, furthest};
use crate::store::PgStore;
use lotgate_domain::ids::{Epoch, EpochId, Hash, StationId};
use lotgate_domain::ledger::Store as _;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::protocol::care::{Heartbeat, HeartbeatReply};
use lotgate_domain::statement::event::Closing;
use serde_json::json;
use tokio_postgres::types::ToSql;

/// Devices or alarms of one heartbeat.
const MOST: usize = 64;
/// Bytes of one text.
const LONGEST_TEXT: usize = 200;

/// Keeps a heartbeat.
#[derive(Debug)]
pub struct KeepHeartbeat {
    /// What the station said.
    pub heartbeat: JsonBody<Heartbeat>,
}

impl Work for KeepHeartbeat {
    type Reply = HeartbeatReply;
    const ACTION: &'static str = "heartbeat.kept";
    const NUMBERS: bool = true;
    const ACCESS: Access = Access::Station;

    async fn run(self, passage: &Passage<'_>) -> Result<(HeartbeatReply, Change), Rejection> {
        let heartbeat = self.heartbeat.read()?;
        check(&heartbeat)?;
        let station = passage.station()?;
        let before = before(passage, station.id).await?;
        let held = held(passage, station.id, heartbeat.head).await?;
        let told = compare(heartbeat.head, heartbeat.wall, before, held, passage.now);
        if let Told::Contradicts(known) = told {
            keep_contradiction(passage, station.id, heartbeat.head, known).await?;
        }
        let known = before.and_then(|before| before.furthest);
        if told != Told::Late {
            keep(passage, station.id, &heartbeat, furthest(known, heartbeat.head)).await?;
        }
        let change = Change {
            enrolled: None,
            detail: json!({
                "head": heartbeat.head,
                "depth": heartbeat.depth,
                "alarms": heartbeat.alarms,
                "contradicts": match told { Told::Contradicts(known) => Some(known), Told::Follows | Told::Late => None },
                "late": told == Told::Late,
            }),
            prior: known.map(|point| point.hash),
            next: furthest(known, heartbeat.head).map(|point| point.hash),
        };
        let revoked = matches!(station.closed, Some((Closing::Revoked, _)));
        Ok((HeartbeatReply { limits: LIMITS, revoked, oldest_version: None }, change))
    }
}

fn check(heartbeat: &Heartbeat) -> Result<(), Rejection> {
    let Heartbeat { version, key_protection, devices, alarms, .. } = heartbeat;
    let of_devices = devices.iter().flat_map(|device| [&device.role, &device.state]);
    let mut texts = [version, key_protection].into_iter().chain(of_devices).chain(alarms);
    let usable = |text: &String| text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control);
    if devices.len() > MOST || alarms.len() > MOST || !texts.all(usable) {
        return Err(Rejection::BadRequest("a heartbeat holds a text that is not usable, or too many"));
    }
    if heartbeat.head.is_some_and(|head| head.epoch.n == 0 || head.seq == 0) {
        return Err(Rejection::BadRequest("a head counts from 1"));
    }
    Ok(())
}

async fn before(passage: &Passage<'_>, station: StationId) -> Result<Option<Before>, DatabaseError> {
    let query = "SELECT received_at, wall, furthest_epoch_n, furthest_epoch_id, furthest_seq, furthest_hash
        FROM heartbeat WHERE station_id = $1 FOR UPDATE";
    let query = passage.transaction.prepare_cached(query).await?;
    let Some(row) = passage.transaction.query_opt(&query, &[&station.0]).await? else { return Ok(None) };
    Ok(Some(Before {
        received: from_system_time(row.try_get("received_at")?),
        wall: from_system_time(row.try_get("wall")?),
        furthest: point(&row, "furthest_")?,
    }))
}

/// What is held at the place of `head`: the same entry if it is on any branch, else that of the first.
async fn held(
    passage: &Passage<'_>,
    station: StationId,
    head: Option<ChainPoint>,
) -> Result<Option<ChainPoint>, DatabaseError> {
    let Some(head) = head else { return Ok(None) };
    let held = PgStore::of(passage).held(station, head.epoch.n, head.seq, head.seq).await?;
    let held: Vec<ChainPoint> = held
        .iter()
        .map(|held| ChainPoint {
            epoch: Epoch { n: head.epoch.n, id: held.epoch },
            seq: held.seq,
            hash: held.hash,
        })
        .collect();
    Ok(held.iter().find(|held| **held == head).or(held.first()).copied())
}

async fn keep_contradiction(
    passage: &Passage<'_>,
    station: StationId,
    told: Option<ChainPoint>,
    known: ChainPoint,
) -> Result<(), DatabaseError> {
    let nothing = ChainPoint { epoch: Epoch { n: 0, id: EpochId([0; 16]) }, seq: 0, hash: Hash::ZERO };
    let told = told.unwrap_or(nothing);
    let insert = "INSERT INTO head_contradiction (tenant_id, station_id, epoch_n, epoch_id, seq, hash,
            known_epoch_n, known_epoch_id, known_seq, known_hash, found_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING";
    let insert = passage.transaction.prepare_cached(insert).await?;
    let parameters: [&(dyn ToSql + Sync); 11] = [
        &passage.tenant.0,
        &station.0,
        &big(told.epoch.n),
        &told.epoch.id.0.as_slice(),
        &big(told.seq),
        &told.hash.0.as_slice(),
        &big(known.epoch.n),
        &known.epoch.id.0.as_slice(),
        &big(known.seq),
        &known.hash.0.as_slice(),
        &to_system_time(passage.now),
    ];
    passage.transaction.execute(&insert, &parameters).await?;
    Ok(())
}

const KEEP: &str = "INSERT INTO heartbeat (tenant_id, station_id, received_at, epoch_n, epoch_id, seq, hash,
        furthest_epoch_n, furthest_epoch_id, furthest_seq, furthest_hash, depth, oldest, version, wall,
        clock_offset_ms, key_protection, devices, disk_free, alarms, log_generation, log_size)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
    ON CONFLICT (tenant_id, station_id) DO UPDATE SET
        (received_at, epoch_n, epoch_id, seq, hash, furthest_epoch_n, furthest_epoch_id, furthest_seq,
         furthest_hash, depth, oldest, version, wall, clock_offset_ms, key_protection, devices, disk_free, alarms,
         log_generation, log_size) =
        (excluded.received_at, excluded.epoch_n, excluded.epoch_id, excluded.seq, excluded.hash,
         excluded.furthest_epoch_n, excluded.furthest_epoch_id, excluded.furthest_seq, excluded.furthest_hash,
         excluded.depth, excluded.oldest, excluded.version, excluded.wall, excluded.clock_offset_ms,
         excluded.key_protection, excluded.devices, excluded.disk_free, excluded.alarms,
         excluded.log_generation, excluded.log_size)";

async fn keep(
    passage: &Passage<'_>,
    station: StationId,
    heartbeat: &Heartbeat,
    furthest: Option<ChainPoint>,
) -> Result<(), Rejection> {
    let devices = serde_json::to_value(&heartbeat.devices)
        .map_err(|_| Rejection::BadRequest("devices cannot be written"))?;
    let keep = passage.transaction.prepare_cached(KEEP).await?;
    let (head, log) = (heartbeat.head.as_ref(), heartbeat.log);
    let furthest = furthest.as_ref();
    let parameters: [&(dyn ToSql + Sync); 22] = [
        &passage.tenant.0,
        &station.0,
        &to_system_time(passage.now),
        &head.map(|head| big(head.epoch.n)),
        &head.map(|head| head.epoch.id.0.as_slice()),
        &head.map(|head| big(head.seq)),
        &head.map(|head| head.hash.0.as_slice()),
        &furthest.map(|head| big(head.epoch.n)),
        &furthest.map(|head| head.epoch.id.0.as_slice()),
        &furthest.map(|head| big(head.seq)),
        &furthest.map(|head| head.hash.0.as_slice()),
        &big(heartbeat.depth),
        &heartbeat.oldest.map(to_system_time),
        &heartbeat.version,
        &to_system_time(heartbeat.wall),
        &heartbeat.clock_offset_ms,
        &heartbeat.key_protection,
        &devices,
        &heartbeat.disk_free.map(big),
        &heartbeat.alarms,
        &log.map(|log| big(log.generation)),
        &log.map(|log| big(log.size)),
    ];
    passage.transaction.execute(&keep, &parameters).await?;
    Ok(())
}

//! Stations as the cloud knows them: what the ledger's rules need of one, and `lotgate-cloud station list`.

pub mod standing;

use crate::database::{DatabaseError, count, from_system_time};
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use deadpool_postgres::Transaction;
use lotgate_domain::ids::{Epoch, EpochId, Hash, PublicKey, SiteId, StationId, TenantId};
use lotgate_domain::ledger::{Station, StationKey};
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::statement::event::Closing;
use lotgate_domain::time::Timestamp;
use serde::Serialize;
use serde_json::json;
use standing::{Flags, Standing};
use std::time::SystemTime;
use tokio_postgres::Row;

/// An enrolled station of the tenant whose context was entered; its former keys the newest first.
///
/// # Errors
/// The database's.
pub async fn read(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    id: StationId,
) -> Result<Option<Station>, DatabaseError> {
    let query = "SELECT s.site_id, s.training, k.public_key, k.certificate_hash,
            c.closing, c.epoch_n, c.epoch_id, c.seq, c.hash
        FROM station s
        JOIN station_key k ON k.tenant_id = s.tenant_id AND k.station_id = s.station_id
        LEFT JOIN station_closing c ON c.tenant_id = s.tenant_id AND c.station_id = s.station_id
        WHERE s.station_id = $1 ORDER BY k.number DESC";
    let query = transaction.prepare_cached(query).await?;
    let rows = transaction.query(&query, &[&id.0]).await?;
    let Some((present, former)) = rows.split_first() else { return Ok(None) };
    let StationKey { key, certificate } = read_key(present)?;
    Ok(Some(Station {
        tenant,
        site: SiteId(present.try_get("site_id")?),
        id,
        key,
        certificate,
        former: former.iter().map(read_key).collect::<Result<_, _>>()?,
        training: present.try_get("training")?,
        closed: read_closing(present)?
            .map(|closing| Ok::<_, DatabaseError>((closing, point(present, "")?)))
            .transpose()?,
    }))
}

fn read_key(row: &Row) -> Result<StationKey, DatabaseError> {
    let key = PublicKey::from_slice(row.try_get("public_key")?);
    let certificate = Hash::from_slice(row.try_get("certificate_hash")?);
    Ok(StationKey {
        key: key.map_err(|_| DatabaseError::Column("station_key.public_key"))?,
        certificate: certificate.map_err(|_| DatabaseError::Column("station_key.certificate_hash"))?,
    })
}

fn read_closing(row: &Row) -> Result<Option<Closing>, DatabaseError> {
    match row.try_get("closing")? {
        None => Ok(None),
        Some("retired") => Ok(Some(Closing::Retired)),
        Some("revoked") => Ok(Some(Closing::Revoked)),
        Some(_) => Err(DatabaseError::Column("station_closing.closing")),
    }
}

/// How the end of a station is written in its row.
pub(crate) const fn closing_text(closing: Closing) -> &'static str {
    match closing {
        Closing::Retired => "retired",
        Closing::Revoked => "revoked",
    }
}

/// The point of a chain in the columns `<prefix>epoch_n`, `<prefix>epoch_id`, `<prefix>seq`, `<prefix>hash`;
/// `None` where they are null.
///
/// # Errors
/// [`DatabaseError::Column`].
pub(crate) fn point(row: &Row, prefix: &'static str) -> Result<Option<ChainPoint>, DatabaseError> {
    let column = |name: &str| format!("{prefix}{name}");
    let n: Option<i64> = row.try_get(column("epoch_n").as_str())?;
    let id: Option<&[u8]> = row.try_get(column("epoch_id").as_str())?;
    let seq: Option<i64> = row.try_get(column("seq").as_str())?;
    let hash: Option<&[u8]> = row.try_get(column("hash").as_str())?;
    let (Some(n), Some(id), Some(seq), Some(hash)) = (n, id, seq, hash) else { return Ok(None) };
    let damaged = DatabaseError::Column("a point of a chain");
    let (Ok(id), Ok(hash)) = (EpochId::from_slice(id), Hash::from_slice(hash)) else { return Err(damaged) };
    let epoch = Epoch { n: count(n, "epoch_n")?, id };
    Ok(Some(ChainPoint { epoch, seq: count(seq, "seq")?, hash }))
}

/// Tells how every station of the tenant is.
#[derive(Debug, Clone, Copy)]
pub struct ListStations;

/// A station as IT sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Which.
    pub station: StationId,
    /// What people call it.
    pub name: String,
    /// Where it stands.
    pub site: SiteId,
    /// Certified for training only.
    pub training: bool,
    /// Retired or revoked; null while it is in use.
    pub closed: Option<Closing>,
    /// When its last heartbeat came; null before the first.
    pub last_seen: Option<Timestamp>,
    /// The end of what the cloud holds of its chain.
    pub held: Option<ChainPoint>,
    /// The head that it told last.
    pub reported: Option<ChainPoint>,
    /// Operations that no receipt covered at its last heartbeat.
    pub depth: Option<u64>,
    /// Wall clock of the oldest of them.
    pub oldest: Option<Timestamp>,
    /// Version of its program at its last heartbeat.
    pub version: Option<String>,
    /// Milliseconds that its clock was ahead.
    pub clock_offset_ms: Option<i64>,
    /// Where its device secret lies.
    pub key_protection: String,
    /// Codes of what needed a person at its last heartbeat.
    pub alarms: Vec<String>,
    /// What the cloud makes of it.
    pub flags: Flags,
}

impl Work for ListStations {
    type Reply = Vec<Listed>;
    const ACTION: &'static str = "stations.listed";
    const ACCESS: Access = Access::Program;

    async fn run(self, passage: &Passage<'_>) -> Result<(Vec<Listed>, Change), Rejection> {
        let tenant = passage.transaction.query_opt("SELECT 1 FROM tenant", &[]).await?;
        tenant.ok_or(Rejection::Missing("tenant with this id"))?;
        let rows = passage.transaction.query(LIST, &[]).await?;
        let stations = rows.iter().map(|row| listed(row, passage.now)).collect::<Result<Vec<_>, _>>()?;
        let change = Change::none(None, json!({"stations": stations.len()}));
        Ok((stations, change))
    }
}

/// Each station with its present key, its end, its last heartbeat, the end of what is held of the first branch of
/// its chain, what is held at the place of the furthest head that it told, and whether a head was contradicted
/// since it has its key.
const LIST: &str = "SELECT s.station_id, s.name, s.site_id, s.training, c.closing,
        coalesce(h.key_protection, s.key_protection) AS key_protection,
        h.received_at, h.depth, h.oldest, h.version, h.clock_offset_ms, h.alarms,
        h.epoch_n AS told_epoch_n, h.epoch_id AS told_epoch_id, h.seq AS told_seq, h.hash AS told_hash,
        h.furthest_epoch_n, h.furthest_epoch_id, h.furthest_seq, h.furthest_hash,
        held.epoch_n AS held_epoch_n, held.epoch_id AS held_epoch_id, held.seq AS held_seq, held.hash AS held_hash,
        EXISTS (SELECT 1 FROM head_contradiction x WHERE x.tenant_id = s.tenant_id
            AND x.station_id = s.station_id AND x.found_at >= k.certified_at) AS contradicted,
        EXISTS (SELECT 1 FROM entry e WHERE e.tenant_id = s.tenant_id AND e.station_id = s.station_id
            AND e.epoch_n = h.furthest_epoch_n AND e.seq = h.furthest_seq) AS place_held,
        EXISTS (SELECT 1 FROM entry e WHERE e.tenant_id = s.tenant_id AND e.station_id = s.station_id
            AND e.epoch_n = h.furthest_epoch_n AND e.seq = h.furthest_seq AND e.hash = h.furthest_hash) AS head_held
    FROM station s
    JOIN LATERAL (SELECT certified_at FROM station_key k WHERE k.tenant_id = s.tenant_id
        AND k.station_id = s.station_id ORDER BY number DESC LIMIT 1) AS k ON true
    LEFT JOIN station_closing c ON c.tenant_id = s.tenant_id AND c.station_id = s.station_id
    LEFT JOIN heartbeat h ON h.tenant_id = s.tenant_id AND h.station_id = s.station_id
    LEFT JOIN LATERAL (SELECT epoch_n, epoch_id, seq, hash FROM entry e WHERE e.tenant_id = s.tenant_id
        AND e.station_id = s.station_id AND e.branch = 0 ORDER BY epoch_n DESC, seq DESC LIMIT 1) AS held ON true
    ORDER BY s.name, s.station_id";

fn listed(row: &Row, now: Timestamp) -> Result<Listed, DatabaseError> {
    let time = |column: &str| -> Result<Option<Timestamp>, DatabaseError> {
        Ok(row.try_get::<_, Option<SystemTime>>(column)?.map(from_system_time))
    };
    let depth: Option<i64> = row.try_get("depth")?;
    let depth = depth.map(|depth| count(depth, "heartbeat.depth")).transpose()?;
    let (place_held, head_held): (bool, bool) = (row.try_get("place_held")?, row.try_get("head_held")?);
    let standing = Standing {
        closed: read_closing(row)?,
        last_seen: time("received_at")?,
        depth: depth.unwrap_or_default(),
        held: point(row, "held_")?,
        furthest: point(row, "furthest_")?,
        contradicted: row.try_get::<_, bool>("contradicted")? || (place_held && !head_held),
    };
    Ok(Listed {
        station: StationId(row.try_get("station_id")?),
        name: row.try_get("name")?,
        site: SiteId(row.try_get("site_id")?),
        training: row.try_get("training")?,
        closed: standing.closed,
        last_seen: standing.last_seen,
        held: standing.held,
        reported: point(row, "told_")?,
        depth,
        oldest: time("oldest")?,
        version: row.try_get("version")?,
        clock_offset_ms: row.try_get("clock_offset_ms")?,
        key_protection: row.try_get("key_protection")?,
        alarms: row.try_get::<_, Option<Vec<String>>>("alarms")?.unwrap_or_default(),
        flags: standing.flags(now),
    })
}

/// One line for a person.
impl std::fmt::Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = |point: Option<ChainPoint>| {
            point.map_or_else(|| "nothing".to_owned(), |point| format!("{}/{}", point.epoch.n, point.seq))
        };
        let state = self.closed.map_or("in use", closing_text);
        write!(f, "{}  {}  {state}", self.station, self.name)?;
        match self.last_seen {
            Some(seen) => write!(f, "  seen {seen}")?,
            None => write!(f, "  never seen")?,
        }
        write!(f, "  held {}  told {}", place(self.held), place(self.reported))?;
        if let Some(depth) = self.depth {
            write!(f, "  {depth} waiting")?;
        }
        if let Some(oldest) = self.oldest {
            write!(f, " since {oldest}")?;
        }
        for alarm in &self.alarms {
            write!(f, "  {alarm}")?;
        }
        if self.flags.silent_with_queue {
            write!(f, "  SILENT WITH A QUEUE")?;
        }
        if let Some(tail) = self.flags.unknown_tail {
            write!(f, "  UNKNOWN TAIL after {}/{}", tail.after_epoch, tail.after_seq)?;
        }
        if self.flags.clone_suspected {
            write!(f, "  CLONE SUSPECTED")?;
        }
        Ok(())
    }
}

//! What a new queue takes over from one that is set aside, where it can still be read: the reference data, so
//! that the station can go on offline, what is remembered of time, so that no clock is believed again, and what is
//! known of the tenant's log, so that it cannot be another one from now on.

use super::epochs::point;
use super::file::QueueFile;
use super::identity::Identity;
use super::log::{self, LogKnown, LogMark, LogStep};
use super::rows;
use super::standing;
use super::{QueueAlarm, StoredPage};
use crate::clock::ClockMemory;
use lotgate_domain::chain::Head;
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{self, FeedPoint, Signed};
use rusqlite::{Connection, OptionalExtension as _, named_params};

/// What could be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Salvage {
    /// The last entry.
    pub(super) last: Option<ChainPoint>,
    pub(super) clock: ClockMemory,
    pub(super) page: Option<StoredPage>,
    pub(super) log: SalvagedLog,
}

/// What is known of the log, each of it verified again.
#[derive(Debug, Clone, Default)]
pub(super) struct SalvagedLog {
    /// The last checkpoint, with its note.
    checkpoint: Option<(LogMark, String)>,
    restores: Vec<Signed<LogRecovered>>,
    /// Up to which restore a person has taken notice.
    acknowledged: u64,
}

/// Reads what can be read; nothing of a file that is another station's.
pub(super) fn read(file: &QueueFile, identity: &Identity) -> Salvage {
    let Ok(connection) = file.open_to_read() else { return Salvage::default() };
    let ours = connection.query_row("SELECT tenant FROM identity", [], |row| row.get::<_, String>(0));
    if ours.is_ok_and(|tenant| tenant != identity.tenant.to_string()) {
        return Salvage::default();
    }
    Salvage {
        last: last(&connection),
        clock: standing::load_clock(&connection).map(|(clock, _)| clock).unwrap_or_default(),
        page: page(&connection, identity),
        log: log(&connection, identity).unwrap_or_default(),
    }
}

fn log(connection: &Connection, identity: &Identity) -> rusqlite::Result<SalvagedLog> {
    let trust = &identity.trust;
    let note: Option<String> = connection
        .query_row("SELECT note FROM checkpoint ORDER BY number DESC LIMIT 1", [], |row| row.get(0))
        .optional()?;
    let checkpoint = note.and_then(|note| {
        let read = Checkpoint::read(&note, trust.tenant, &trust.log).ok()?;
        Some((LogMark::from(&read), note))
    });
    let mut statement = connection.prepare("SELECT statement FROM log_recovered ORDER BY generation")?;
    let mut found = statement.query([])?;
    let (mut known, mut restores) = (LogKnown::default(), Vec::new());
    while let Some(row) = found.next()? {
        let read = statement::read::<LogRecovered>(&row.get::<_, Vec<u8>>(0)?, trust.tenant, &trust.root);
        let Some(restore) = read.ok().filter(|restore| known.is_next_restore(&restore.value)) else { break };
        known = known.after_restore(&restore.value);
        restores.push(restore);
    }
    let acknowledged = log::acknowledged(connection, QueueAlarm::LogRecovered)?;
    Ok(SalvagedLog { checkpoint, restores, acknowledged })
}

pub(super) fn store_log(connection: &Connection, salvaged: SalvagedLog) -> rusqlite::Result<()> {
    for restore in &salvaged.restores {
        log::keep_restore(connection, restore)?;
    }
    let known = LogKnown::default();
    if let Some((mark, note)) = salvaged.checkpoint {
        log::keep_checkpoint(connection, &LogStep { known, mark, note, proofs: Vec::new() }, known)?;
    }
    log::acknowledge(connection, QueueAlarm::LogRecovered, salvaged.acknowledged)
}

fn last(connection: &Connection) -> Option<ChainPoint> {
    let epoch = rows::epochs(connection).ok()?.last()?.epoch;
    let last = rows::last(connection).ok()??;
    (last.epoch_n == epoch.n).then_some(())?;
    point(&Head { epoch: Some(epoch), seq: last.seq, hash: last.hash })
}

/// The page of reference data, if the tenant's signature over its statement verifies.
fn page(connection: &Connection, identity: &Identity) -> Option<StoredPage> {
    let mark = standing::load_page_mark(connection).ok()??;
    let stored = super::reader::read_page(connection, mark).ok()??;
    let trust = &identity.trust;
    let point = statement::read::<FeedPoint>(&stored.statement, trust.tenant, &trust.statement).ok()?.value;
    let same = point.site == identity.site.id && point.cursor == mark.cursor && point.hash == mark.hash;
    same.then_some(stored)
}

pub(super) fn store_page(connection: &Connection, stored: &StoredPage) -> rusqlite::Result<()> {
    let confirmed = stored.mark.confirmed;
    connection
        .execute(
            "INSERT INTO reference_page (id, cursor, generation, hash, time, statement, page, confirmed_wall, \
                                         confirmed_offset, confirmed_mono, confirmed_boot) \
             VALUES (1, :cursor, :generation, :hash, :time, :statement, :page, :wall, :offset, :mono, :boot)",
            named_params! {
                ":cursor": stored.mark.cursor,
                ":generation": stored.generation,
                ":hash": stored.mark.hash.as_bytes(),
                ":time": stored.mark.time.unix_ms(),
                ":statement": stored.statement,
                ":page": stored.page,
                ":wall": confirmed.wall.unix_ms(),
                ":offset": confirmed.offset_minutes,
                ":mono": confirmed.mono_ms,
                ":boot": confirmed.boot.0.into_bytes(),
            },
        )
        .map(|_| ())
}

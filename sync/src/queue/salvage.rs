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
use lotgate_domain::time::Timestamp;
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

/// Reads what can be read; nothing of a file that is another station's. Each part has a connection of its own: one that
/// has met a damaged page finds every page that it reads after it damaged, too.
pub(super) fn read(file: &QueueFile, identity: &Identity) -> Salvage {
    let ours = part(file, |connection| {
        connection.query_row("SELECT tenant FROM identity", [], |row| row.get::<_, String>(0)).map(Some)
    });
    if ours.is_some_and(|tenant| tenant != identity.tenant.to_string()) {
        return Salvage::default();
    }
    let (clock, mark_position) = part(file, standing::stored_clock).unwrap_or_default();
    let log = SalvagedLog {
        checkpoint: part(file, |connection| checkpoint(connection, identity)),
        restores: restores(file, identity),
        acknowledged: part(file, |connection| {
            log::acknowledged(connection, QueueAlarm::LogRecovered).map(Some)
        })
        .unwrap_or_default(),
    };
    Salvage {
        last: part(file, last),
        clock: seen_since(file, mark_position, clock),
        page: part(file, |connection| page(connection, identity)),
        log,
    }
}

/// One part of the file, if it can be read; a read that fails once may be the disk's mood.
fn part<T>(file: &QueueFile, read: impl Fn(&Connection) -> rusqlite::Result<Option<T>>) -> Option<T> {
    let look = || file.open_to_read().ok().and_then(|connection| read(&connection).ok());
    look().or_else(look).flatten()
}

/// The clock with the wall clocks of the operations after `mark_position`, from both ends up to what cannot be read.
fn seen_since(file: &QueueFile, mark_position: u64, mut clock: ClockMemory) -> ClockMemory {
    for order in ["ASC", "DESC"] {
        let Ok(connection) = file.open_to_read() else { return clock };
        let sql = format!("SELECT wall FROM operation WHERE position > ?1 ORDER BY position {order}");
        let Ok(mut statement) = connection.prepare(&sql) else { continue };
        let Ok(walls) = statement.query_map([mark_position], |row| row.get(0)) else { continue };
        for wall in walls.map_while(Result::ok) {
            clock.see(Timestamp::from_unix_ms(wall));
        }
    }
    clock
}

/// The last checkpoint, if its signature holds.
fn checkpoint(connection: &Connection, identity: &Identity) -> rusqlite::Result<Option<(LogMark, String)>> {
    let trust = &identity.trust;
    let note: Option<String> = connection
        .query_row("SELECT note FROM checkpoint ORDER BY number DESC LIMIT 1", [], |row| row.get(0))
        .optional()?;
    Ok(note.and_then(|note| {
        let read = Checkpoint::read(&note, trust.tenant, &trust.log).ok()?;
        Some((LogMark::from(&read), note))
    }))
}

/// The restores that were accepted, up to the first that cannot be read.
fn restores(file: &QueueFile, identity: &Identity) -> Vec<Signed<LogRecovered>> {
    let trust = &identity.trust;
    let (mut known, mut restores) = (LogKnown::default(), Vec::new());
    let next = |after: u64| {
        part(file, |connection| {
            let sql = "SELECT statement FROM log_recovered WHERE generation > ?1 ORDER BY generation LIMIT 1";
            connection.query_row(sql, [after], |row| row.get::<_, Vec<u8>>(0)).optional()
        })
    };
    while let Some(bytes) = next(known.generation) {
        let read = statement::read::<LogRecovered>(&bytes, trust.tenant, &trust.root);
        let Some(restore) = read.ok().filter(|restore| known.is_next_restore(&restore.value)) else { break };
        known = known.after_restore(&restore.value);
        restores.push(restore);
    }
    restores
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

fn last(connection: &Connection) -> rusqlite::Result<Option<ChainPoint>> {
    let epochs = rows::epochs(connection)?;
    let epoch = epochs.last().map(|row| row.epoch);
    let last = rows::last(connection)?.filter(|last| epoch.is_some_and(|epoch| epoch.n == last.epoch_n));
    Ok(last.and_then(|last| point(&Head { epoch, seq: last.seq, hash: last.hash })))
}

/// The page of reference data, if the tenant's signature over its statement verifies.
fn page(connection: &Connection, identity: &Identity) -> rusqlite::Result<Option<StoredPage>> {
    let Some(mark) = standing::load_page_mark(connection)? else { return Ok(None) };
    let Some(stored) = super::reader::read_page(connection, mark)? else { return Ok(None) };
    let trust = &identity.trust;
    let read = statement::read::<FeedPoint>(&stored.statement, trust.tenant, &trust.statement);
    let same = read.is_ok_and(|point| {
        let point = point.value;
        point.site == identity.site.id && point.cursor == mark.cursor && point.hash == mark.hash
    });
    Ok(same.then_some(stored))
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

//! Where the queue stands, as read from its file: head, delivery, clock, page.

use super::alarm::QueueAlarm;
use super::capacity::CapacityLimits;
use super::error::{Fault, FaultCode, OpenError, StorageError};
use super::log::LogStanding;
use super::rows::{self, EpochRow};
use super::{Appended, PageMark, QueueState, set_aside};
use crate::clock::{ClockMemory, ClockReading, ServerMark};
use crate::secure::Places;
use lotgate_domain::chain::Head;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{BootId, Hash};
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::statement::Through;
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use std::collections::BTreeSet;

/// What is beside the file: the disk, and files that were set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Surroundings {
    pub(super) limits: CapacityLimits,
    pub(super) disk_free: Option<u64>,
    pub(super) set_aside: bool,
}

impl Surroundings {
    /// Looks at the data directory. What cannot be told is no alarm.
    pub(super) fn of(places: &Places, limits: CapacityLimits) -> Self {
        let set_aside = set_aside::files(places).is_ok_and(|names| !names.is_empty());
        let disk_free = places.storage.free(&places.data).ok().flatten();
        Self { limits, disk_free, set_aside }
    }
}

/// Everything that the writer keeps in memory; every member can be read back from the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    /// In ascending order of n; never empty.
    pub(super) epochs: Vec<EpochRow>,
    pub(super) head: Head,
    /// Position of the last operation.
    pub(super) position: u64,
    pub(super) oldest_wall: Option<Timestamp>,
    pub(super) sent_through: Option<ChainPoint>,
    pub(super) settled_through: Option<ChainPoint>,
    pub(super) clock: ClockMemory,
    /// Up to which operation the stored high-water mark includes the wall clocks.
    pub(super) mark_position: u64,
    pub(super) page: Option<PageMark>,
    pub(super) log: LogStanding,
    /// The rest of an epoch was set aside for a damaged entry, and nobody has acknowledged it.
    pub(super) damage: bool,
}

impl Standing {
    /// Reads it.
    pub(super) fn load(connection: &Connection) -> Result<Self, OpenError> {
        let epochs = rows::epochs(connection).map_err(StorageError::from)?;
        let last = rows::last(connection).map_err(StorageError::from)?;
        let (Some(epoch), Some(last)) = (epochs.last(), last) else {
            return Err(damaged(0, 0, FaultCode::Missing));
        };
        if epoch.epoch.n != last.epoch_n || epoch.position(last.seq) != Some(last.position) {
            return Err(damaged(last.position, last.seq, FaultCode::ColumnsDiffer));
        }
        let head = Head { epoch: Some(epoch.epoch), seq: last.seq, hash: last.hash };
        let (clock, mark_position) = load_clock(connection).map_err(StorageError::from)?;
        let page = load_page_mark(connection).map_err(StorageError::from)?;
        let log = LogStanding::load(connection).map_err(StorageError::from)?;
        let damage = set_aside::damage(connection).map_err(StorageError::from)?;
        let mut standing = Self {
            head,
            log,
            damage,
            position: last.position,
            oldest_wall: None,
            sent_through: None,
            settled_through: None,
            clock: ClockMemory { snapshot: page.map(|page| page.time), ..clock },
            mark_position,
            page,
            epochs,
        };
        standing.check_watermarks()?;
        standing.refresh_delivery(connection).map_err(StorageError::from)?;
        Ok(standing)
    }

    /// Follows an operation that was written.
    pub(super) fn follow(&mut self, appended: &Appended) {
        if self.queued() == 0 {
            self.oldest_wall = Some(appended.at.wall);
        }
        self.head = Head { epoch: Some(appended.epoch), seq: appended.seq, hash: appended.hash };
        self.position = appended.position;
        self.clock.see_at(&appended.at);
    }

    /// Reads again what follows from the watermarks.
    pub(super) fn refresh_delivery(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let waits = |(index, row): (usize, &EpochRow)| row.settled_through < self.last_in_chain(index);
        let first_waiting = self.epochs.iter().enumerate().position(waits);
        let all = self.epochs.len();
        // What is settled after a gap does not count: pushing goes on from before the gap.
        let before_gap = first_waiting.map_or(all, |index| index.saturating_add(1));
        let point = |among: usize, through: fn(&EpochRow) -> u64| -> rusqlite::Result<Option<ChainPoint>> {
            let mut rows = self.epochs.iter().take(among).rev();
            let Some(row) = rows.find(|row| through(row) > 0) else { return Ok(None) };
            let seq = through(row);
            let hash = row.position(seq).map(|position| rows::hash_at(connection, position)).transpose()?;
            Ok(hash.flatten().map(|hash| ChainPoint { epoch: row.epoch, seq, hash }))
        };
        let (sent, settled) =
            (point(all, |row| row.sent_through)?, point(before_gap, |row| row.settled_through)?);
        self.sent_through = sent;
        self.settled_through = settled;
        self.oldest_wall = match self.first_unsettled() {
            Some(position) => rows::wall_at(connection, position)?,
            None => None,
        };
        Ok(())
    }

    /// How many operations no receipt covers.
    pub(super) fn queued(&self) -> u64 {
        self.epochs
            .iter()
            .enumerate()
            .map(|(index, row)| self.last_in_chain(index).saturating_sub(row.settled_through))
            .fold(0, u64::saturating_add)
    }

    /// The last seq of the epoch at `index`.
    pub(super) fn last_seq(&self, index: usize) -> u64 {
        let Some(row) = self.epochs.get(index) else { return 0 };
        match self.epochs.get(index + 1) {
            Some(next) => next.first_position.saturating_sub(row.first_position),
            None => self.head.seq,
        }
    }

    /// The last seq of the epoch at `index` that the cloud will take into the chain.
    fn last_in_chain(&self, index: usize) -> u64 {
        let last = self.last_seq(index);
        self.epochs.get(index).and_then(|row| row.aside_after).map_or(last, |after| after.min(last))
    }

    /// Where the epoch with count `n` lies in [`Standing::epochs`].
    pub(super) fn epoch_index(&self, n: u64) -> Option<usize> {
        self.epochs.iter().position(|row| row.epoch.n == n)
    }

    /// Whether the present epoch was opened in doubt, so that its claims wait for a person.
    fn unconfirmed(&self) -> bool {
        let Some(present) = self.epochs.last() else { return false };
        let planned = present.reason.map_or(present.epoch.n == 1, EpochReason::is_planned);
        !planned
    }

    pub(super) fn state(
        &self,
        stopped: Option<super::StopReason>,
        commits: u64,
        around: &Surroundings,
    ) -> QueueState {
        let (queued, unconfirmed) = (self.queued(), self.unconfirmed());
        let when = |is: bool, alarm| is.then_some(alarm);
        let mut alarms: BTreeSet<_> = around.limits.alarms(queued, around.disk_free).collect();
        alarms.extend(when(unconfirmed, QueueAlarm::EpochUnconfirmed));
        alarms.extend(when(around.set_aside || self.damage, QueueAlarm::QueueSetAside));
        alarms.extend(self.log.alarms());
        QueueState {
            alarms,
            capacity: around.limits.judge(queued, around.disk_free),
            unconfirmed,
            head: self.head,
            queued,
            oldest_wall: self.oldest_wall,
            sent_through: self.sent_through,
            settled_through: self.settled_through,
            clock: self.clock,
            page: self.page,
            log: self.log.known,
            stopped,
            commits,
        }
    }

    fn first_unsettled(&self) -> Option<u64> {
        let waiting = |(index, row): &(usize, &EpochRow)| row.settled_through < self.last_in_chain(*index);
        let (_, row) = self.epochs.iter().enumerate().find(waiting)?;
        row.position(row.settled_through.saturating_add(1))
    }

    fn check_watermarks(&self) -> Result<(), OpenError> {
        for (index, row) in self.epochs.iter().enumerate() {
            if row.sent_through > self.last_seq(index) || row.settled_through > row.sent_through {
                return Err(damaged(0, row.sent_through, FaultCode::Watermark));
            }
        }
        Ok(())
    }
}

fn damaged(position: u64, seq: u64, code: FaultCode) -> OpenError {
    OpenError::Damaged(Fault { position, epoch: 0, seq, code })
}

fn load_clock(connection: &Connection) -> rusqlite::Result<(ClockMemory, u64)> {
    let (mut clock, mark_position) = stored_clock(connection)?.unwrap_or_default();
    let later: Option<i64> = connection.query_row(
        "SELECT max(wall) FROM operation WHERE position > ?1",
        [mark_position],
        |row| row.get(0),
    )?;
    if let Some(later) = later {
        clock.see(Timestamp::from_unix_ms(later));
    }
    Ok((clock, mark_position))
}

/// The clock as it was written down last, and up to which operation it includes the wall clocks.
pub(super) fn stored_clock(connection: &Connection) -> rusqlite::Result<Option<(ClockMemory, u64)>> {
    connection
        .query_row(
            "SELECT mark, mark_position, server_time, received_wall, received_offset, received_mono, \
                    received_boot FROM clock",
            [],
            |row| {
                let mark: Option<i64> = row.get(0)?;
                let server: Option<i64> = row.get(2)?;
                let server = match server {
                    Some(time) => {
                        Some(ServerMark { time: Timestamp::from_unix_ms(time), received: reading(row, 3)? })
                    }
                    None => None,
                };
                let mark = mark.map(Timestamp::from_unix_ms);
                Ok((ClockMemory { mark, server, ..ClockMemory::default() }, row.get(1)?))
            },
        )
        .optional()
}

pub(super) fn store_clock(
    connection: &Connection,
    clock: &ClockMemory,
    mark_position: u64,
) -> rusqlite::Result<()> {
    let received = clock.server.map(|server| server.received);
    connection
        .prepare_cached(
            "INSERT INTO clock (id, mark, mark_position, server_time, received_wall, received_offset, \
                                received_mono, received_boot) \
             VALUES (1, :mark, :mark_position, :server_time, :wall, :offset, :mono, :boot) \
             ON CONFLICT (id) DO UPDATE SET \
               mark = excluded.mark, mark_position = excluded.mark_position, \
               server_time = excluded.server_time, received_wall = excluded.received_wall, \
               received_offset = excluded.received_offset, received_mono = excluded.received_mono, \
               received_boot = excluded.received_boot",
        )?
        .execute(named_params! {
            ":mark": clock.mark.map(Timestamp::unix_ms),
            ":mark_position": mark_position,
            ":server_time": clock.server.map(|server| server.time.unix_ms()),
            ":wall": received.map(|reading| reading.wall.unix_ms()),
            ":offset": received.map(|reading| reading.offset_minutes),
            ":mono": received.map(|reading| reading.mono_ms),
            ":boot": received.map(|reading| reading.boot.0.into_bytes()),
        })
        .map(|_| ())
}

pub(super) fn load_page_mark(connection: &Connection) -> rusqlite::Result<Option<PageMark>> {
    connection
        .query_row(
            "SELECT cursor, hash, time, confirmed_wall, confirmed_offset, confirmed_mono, confirmed_boot \
             FROM reference_page",
            [],
            |row| {
                Ok(PageMark {
                    cursor: row.get(0)?,
                    hash: Hash(row.get(1)?),
                    time: Timestamp::from_unix_ms(row.get(2)?),
                    confirmed: reading(row, 3)?,
                })
            },
        )
        .optional()
}

/// A clock reading from four columns.
fn reading(row: &Row<'_>, first: usize) -> rusqlite::Result<ClockReading> {
    let boot: [u8; 16] = row.get(first + 3)?;
    Ok(ClockReading {
        wall: Timestamp::from_unix_ms(row.get(first)?),
        offset_minutes: row.get(first + 1)?,
        mono_ms: row.get(first + 2)?,
        boot: BootId(uuid::Uuid::from_bytes(boot)),
    })
}

/// The part of a point that a push names.
pub(super) fn through(point: &Head) -> Through {
    Through { seq: point.seq, hash: point.hash }
}

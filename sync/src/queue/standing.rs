//! Where the queue stands, as read from its file: head, delivery, clock, page.

use super::error::{Fault, FaultCode, OpenError, StorageError};
use super::rows::{self, EpochRow};
use super::{PageMark, QueueState};
use crate::clock::{ClockMemory, ClockReading, ServerMark};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{BootId, Hash};
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::statement::Through;
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

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
        let mut standing = Self {
            head,
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

    /// Reads again what follows from the watermarks.
    pub(super) fn refresh_delivery(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let point = |through: fn(&EpochRow) -> u64| -> rusqlite::Result<Option<ChainPoint>> {
            let Some(row) = self.epochs.iter().rev().find(|row| through(row) > 0) else { return Ok(None) };
            let seq = through(row);
            let hash = row.position(seq).map(|position| rows::hash_at(connection, position)).transpose()?;
            Ok(hash.flatten().map(|hash| ChainPoint { epoch: row.epoch, seq, hash }))
        };
        let (sent, settled) = (point(|row| row.sent_through)?, point(|row| row.settled_through)?);
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
            .map(|(index, row)| self.last_seq(index).saturating_sub(row.settled_through))
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

    /// Where the epoch with count `n` lies in [`Standing::epochs`].
    pub(super) fn epoch_index(&self, n: u64) -> Option<usize> {
        self.epochs.iter().position(|row| row.epoch.n == n)
    }

    pub(super) fn state(&self, stopped: Option<super::StopReason>, commits: u64) -> QueueState {
        QueueState {
            head: self.head,
            queued: self.queued(),
            oldest_wall: self.oldest_wall,
            sent_through: self.sent_through,
            settled_through: self.settled_through,
            clock: self.clock,
            page: self.page,
            stopped,
            commits,
        }
    }

    fn first_unsettled(&self) -> Option<u64> {
        let waiting = |(index, row): &(usize, &EpochRow)| row.settled_through < self.last_seq(*index);
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
    let stored = connection
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
                Ok((ClockMemory { mark, server, snapshot: None }, row.get(1)?))
            },
        )
        .optional()?;
    let (mut clock, mark_position) = stored.unwrap_or_default();
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

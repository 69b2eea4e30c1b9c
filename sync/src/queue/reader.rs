//! Reading beside the writer: what is to be sent, whether a point is held, the page of reference data. A
//! thread and a connection of their own, so that checking a thousand signatures keeps no operation waiting.

use super::check::{self, Checker};
use super::error::QueueError;
use super::file::QueueFile;
use super::identity::Identity;
use super::present::{Own, Present};
use super::rows::{self, EpochRow};
use super::set_aside::{self, EvidenceBatch};
use super::standing;
use super::{Batch, LabelOperation, OwnHashes, PageMark, StoredPage, blob, labels, log, steady};
use crate::secure::Places;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Epoch, Hash};
use rusqlite::{Connection, OptionalExtension as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use tokio::sync::oneshot;

/// A question, with the way back.
pub(super) enum Question {
    /// `known` is the last entry that is known to be durable: what lies beyond it is not there yet.
    Batch {
        after: Head,
        known: Head,
        max_entries: u64,
        max_bytes: u64,
        reply: Reply<Option<Batch>>,
    },
    Holds {
        point: Head,
        reply: Reply<bool>,
    },
    Page {
        reply: Reply<Option<StoredPage>>,
    },
    Blob {
        sha256: Hash,
        reply: Reply<Option<Vec<u8>>>,
    },
    Labels {
        limit: u64,
        reply: Reply<Vec<LabelOperation>>,
    },
    Hashes {
        epoch: Epoch,
        first_seq: u64,
        count: u64,
        reply: Reply<OwnHashes>,
    },
    Evidence {
        max_bytes: u64,
        generation: u64,
        reply: Reply<Option<EvidenceBatch>>,
    },
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, QueueError>>;

/// The reading connection. The writer takes it away before it closes or reopens the file.
pub(super) enum Slot {
    /// Opened at the next question.
    Idle,
    /// In use.
    Open(Connection),
    /// The queue is closed.
    Closed,
}

/// Shared between reader and writer.
#[derive(Clone)]
pub(super) struct ReaderSlot(Arc<Mutex<Slot>>);

impl ReaderSlot {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Slot::Idle)))
    }

    /// Waits for the question at hand, then closes the connection.
    pub(super) fn replace(&self, slot: Slot) {
        *self.lock() = slot;
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers questions until nobody can ask any more.
pub(super) struct Reader {
    pub(super) file: QueueFile,
    pub(super) present: Present,
    pub(super) slot: ReaderSlot,
    /// For what was set aside.
    pub(super) places: Places,
}

impl Reader {
    pub(super) fn run(self, questions: &mpsc::Receiver<Question>) {
        while let Ok(question) = questions.recv() {
            match question {
                Question::Batch { after, known, max_entries, max_bytes, reply } => {
                    let own = self.present.get();
                    let answer = self
                        .ask(|connection| batch(connection, &own, &after, &known, (max_entries, max_bytes)));
                    let _ = reply.send(answer);
                }
                Question::Holds { point, reply } => {
                    let own = self.present.get();
                    let answer = self.ask(|connection| holds(connection, &own.identity, &point));
                    let _ = reply.send(answer);
                }
                Question::Page { reply } => {
                    let _ = reply.send(self.ask(page));
                }
                Question::Blob { sha256, reply } => {
                    let _ = reply.send(self.ask(|connection| blob::read(connection, sha256)));
                }
                Question::Labels { limit, reply } => {
                    let _ = reply.send(self.ask(|connection| labels::newest(connection, limit)));
                }
                Question::Evidence { max_bytes, generation, reply } => {
                    let find = |connection: &Connection| {
                        set_aside::next_evidence(
                            connection,
                            &self.places,
                            &self.file,
                            (max_bytes, generation),
                        )
                    };
                    let _ = reply.send(self.ask(find));
                }
                Question::Hashes { epoch, first_seq, count, reply } => {
                    let answer = self.ask(|connection| hashes(connection, epoch, first_seq, count));
                    let _ = reply.send(answer);
                }
            }
        }
    }

    /// What `work` finds on a connection that met no bad page before this question.
    fn ask<T>(&self, work: impl FnOnce(&Connection) -> Result<T, QueueError>) -> Result<T, QueueError> {
        let mut slot = self.slot.lock();
        if let Slot::Idle = &*slot {
            let opened = self.file.open_to_read().map_err(|error| QueueError::Open(Arc::new(error)))?;
            *slot = Slot::Open(opened);
        }
        let Slot::Open(connection) = &*slot else { return Err(QueueError::Closed) };
        let transaction = connection.unchecked_transaction().map_err(storage)?;
        let answer = work(&transaction);
        drop(transaction);
        if matches!(answer, Err(QueueError::Storage(_))) || !steady::is_sound(connection) {
            *slot = Slot::Idle;
        }
        answer
    }
}

pub(super) fn storage(error: rusqlite::Error) -> QueueError {
    QueueError::Storage(error.into())
}

fn holds(connection: &Connection, identity: &Identity, point: &Head) -> Result<bool, QueueError> {
    let epochs = rows::epochs(connection).map_err(storage)?;
    let position = check::position_of(connection, identity, &epochs, point).map_err(storage)?;
    Ok(position.is_some())
}

/// The next consecutive entries of one epoch after `after`, each checked. What was set aside is passed over. Before
/// a damaged entry the batch ends; where one would come first that is settled, it goes on after what is settled.
///
/// # Errors
/// [`QueueError::Damaged`] if the first entry is damaged and was never settled.
fn batch(
    connection: &Connection,
    own: &Own,
    after: &Head,
    known: &Head,
    most: (u64, u64),
) -> Result<Option<Batch>, QueueError> {
    let (identity, epochs) = (&own.identity, rows::epochs(connection).map_err(storage)?);
    let held = check::position_of(connection, identity, &epochs, after).map_err(storage)?;
    let held = held.ok_or(QueueError::Unknown)?;
    let Some(place) = place_after(connection, &epochs, held)? else { return Ok(None) };
    match read_on(connection, own, &epochs, (place, known), most) {
        Err(QueueError::Damaged { seq, .. }) if seq <= place.epoch.settled_through => {
            // The cloud has it. Only one that cannot say where it stands is given what is settled again.
            let settled = place.epoch.position(place.epoch.settled_through).unwrap_or(held);
            let Some(place) = place_after(connection, &epochs, settled)? else { return Ok(None) };
            read_on(connection, own, &epochs, (place, known), most)
        }
        answer => answer,
    }
}

/// The consecutive entries at `place`, each checked, up to the first that is damaged or lies on a bad page.
fn read_on(
    connection: &Connection,
    own: &Own,
    epochs: &[EpochRow],
    (place, known): (Place, &Head),
    (max_entries, max_bytes): (u64, u64),
) -> Result<Option<Batch>, QueueError> {
    let mut checker = Checker::after(&own.identity, &own.keyring, epochs, (place.position, place.start));
    let (mut entries, mut count) = (Vec::new(), 0_u64);
    let ended = rows::operations_after(connection, place.position, max_entries.max(1), |row| {
        let bytes = entries.len().saturating_add(row.entry.len());
        let full = count > 0 && u64::try_from(bytes).is_ok_and(|bytes| bytes > max_bytes);
        // By its place alone: what a row says of itself may be what is damaged.
        let next = checker.position().saturating_add(1);
        let seq = next.saturating_sub(place.epoch.first_position).saturating_add(1);
        let unknown = (place.epoch.epoch.n, seq) > (known.epoch.map_or(0, |epoch| epoch.n), known.seq);
        if full || unknown || place.end.is_some_and(|end| next > end) || place.epoch.is_aside(seq) {
            return Ok(false);
        }
        if let Err(code) = checker.check_to_send(&row) {
            tracing::error!(epoch = place.epoch.epoch.n, seq, ?code, "queue.entry_damaged");
            return if count > 0 { Ok(false) } else { Err(Stop::Damaged(seq)) };
        }
        entries.extend_from_slice(&row.entry);
        count = count.saturating_add(1);
        Ok(true)
    });
    match ended {
        Err(Stop::Damaged(seq)) => return Err(QueueError::Damaged { epoch: place.epoch.epoch, seq }),
        // What was read before it is sent, and the next look begins with it, on a connection of its own.
        Err(Stop::Storage(error)) if count == 0 => return Err(storage(error)),
        _ => {}
    }
    let (after, last) = (standing::through(&place.start), standing::through(&checker.head()));
    Ok((count > 0).then_some(Batch { epoch: place.epoch.epoch, after, count, entries, last }))
}

/// Where a batch begins.
#[derive(Clone, Copy)]
struct Place {
    epoch: EpochRow,
    /// Position of the last entry of the epoch; `None` for the present one.
    end: Option<u64>,
    /// Of what the batch comes after.
    position: u64,
    /// What it comes after: an entry, or the certificate that its epoch starts from.
    start: Head,
}

fn place_after(connection: &Connection, epochs: &[EpochRow], held: u64) -> Result<Option<Place>, QueueError> {
    let Some(next) = held.checked_add(1) else { return Ok(None) };
    let found = epochs.iter().rposition(|epoch| epoch.first_position <= next);
    let Some((index, epoch)) = found.and_then(|index| Some((index, *epochs.get(index)?))) else {
        return Ok(None);
    };
    let seq = next.saturating_sub(epoch.first_position).saturating_add(1);
    if epoch.is_aside(seq) {
        let later = epochs.get(index.saturating_add(1));
        return match later {
            Some(later) => place_after(connection, epochs, later.first_position.saturating_sub(1)),
            None => Ok(None),
        };
    }
    let start = if seq == 1 {
        Head::genesis(epoch.certificate)
    } else {
        check::head_at(connection, epochs, held)?.ok_or(QueueError::Unknown)?
    };
    let end = epochs.get(index.saturating_add(1)).map(|later| later.first_position.saturating_sub(1));
    Ok(Some(Place { epoch, end, position: held, start }))
}

/// Why going along the entries ended early.
enum Stop {
    Damaged(u64),
    Storage(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error)
    }
}

fn page(connection: &Connection) -> Result<Option<StoredPage>, QueueError> {
    let Some(mark) = standing::load_page_mark(connection).map_err(storage)? else { return Ok(None) };
    read_page(connection, mark).map_err(storage)
}

pub(super) fn read_page(connection: &Connection, mark: PageMark) -> rusqlite::Result<Option<StoredPage>> {
    connection
        .query_row("SELECT statement, page, generation FROM reference_page", [], |row| {
            Ok(StoredPage { mark, statement: row.get(0)?, page: row.get(1)?, generation: row.get(2)? })
        })
        .optional()
}

/// The hashes of own entries, as far as they are here.
fn hashes(
    connection: &Connection,
    epoch: Epoch,
    first_seq: u64,
    count: u64,
) -> Result<OwnHashes, QueueError> {
    let epochs = rows::epochs(connection).map_err(storage)?;
    let Some(row) = epochs.iter().find(|row| row.epoch == epoch) else { return Ok(OwnHashes::default()) };
    log::own_hashes(connection, row, first_seq, count).map_err(storage)
}

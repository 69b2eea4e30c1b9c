//! Reading beside the writer: what is to be sent, whether a point is held, the page of reference data. A
//! thread and a connection of their own, so that checking a thousand signatures keeps no operation waiting.

use super::check::{self, Checker};
use super::error::QueueError;
use super::file::QueueFile;
use super::identity::Identity;
use super::rows::{self, EpochRow};
use super::standing;
use super::{Batch, PageMark, StoredPage};
use lotgate_domain::chain::Head;
use lotgate_domain::statement::Through;
use rusqlite::{Connection, OptionalExtension as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use tokio::sync::oneshot;

/// A question, with the way back.
pub(super) enum Question {
    Batch { after: Head, max_entries: u64, max_bytes: u64, reply: Reply<Option<Batch>> },
    Holds { point: Head, reply: Reply<bool> },
    Page { reply: Reply<Option<StoredPage>> },
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
    pub(super) identity: Arc<Identity>,
    pub(super) slot: ReaderSlot,
}

impl Reader {
    pub(super) fn run(self, questions: &mpsc::Receiver<Question>) {
        while let Ok(question) = questions.recv() {
            match question {
                Question::Batch { after, max_entries, max_bytes, reply } => {
                    let answer = self
                        .ask(|connection| batch(connection, &self.identity, &after, max_entries, max_bytes));
                    let _ = reply.send(answer);
                }
                Question::Holds { point, reply } => {
                    let answer = self.ask(|connection| holds(connection, &self.identity, &point));
                    let _ = reply.send(answer);
                }
                Question::Page { reply } => {
                    let _ = reply.send(self.ask(page));
                }
            }
        }
    }

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
        if matches!(answer, Err(QueueError::Storage(_))) {
            *slot = Slot::Idle;
        }
        answer
    }
}

fn storage(error: rusqlite::Error) -> QueueError {
    QueueError::Storage(error.into())
}

fn holds(connection: &Connection, identity: &Identity, point: &Head) -> Result<bool, QueueError> {
    let epochs = rows::epochs(connection).map_err(storage)?;
    let position = check::position_of(connection, identity, &epochs, point).map_err(storage)?;
    Ok(position.is_some())
}

/// The next consecutive entries of one epoch after `after`, each checked.
fn batch(
    connection: &Connection,
    identity: &Identity,
    after: &Head,
    max_entries: u64,
    max_bytes: u64,
) -> Result<Option<Batch>, QueueError> {
    let epochs = rows::epochs(connection).map_err(storage)?;
    let position = check::position_of(connection, identity, &epochs, after)
        .map_err(storage)?
        .ok_or(QueueError::Unknown)?;
    let Some(next) = position.checked_add(1).and_then(|next| epoch_at(&epochs, next)) else {
        return Ok(None);
    };
    let same_epoch = after.epoch == Some(next.epoch) && after.seq > 0;
    let start = if same_epoch { *after } else { Head::genesis(identity.certificate.hash) };
    let mut checker = Checker::after(identity, &epochs, start, position);
    let (mut entries, mut count) = (Vec::new(), 0_u64);
    rows::operations_after(connection, position, max_entries.max(1), |row| {
        let bytes = entries.len().saturating_add(row.entry.len());
        let full = count > 0 && u64::try_from(bytes).is_ok_and(|bytes| bytes > max_bytes);
        if full || row.epoch_n != next.epoch.n {
            return Ok(false);
        }
        checker.check_to_send(&row).map_err(|code| {
            tracing::error!(position = row.position, seq = row.seq, ?code, "an entry is damaged");
            Stop::Damaged(row.seq)
        })?;
        entries.extend_from_slice(&row.entry);
        count = count.saturating_add(1);
        Ok(true)
    })
    .map_err(|stop| match stop {
        Stop::Damaged(seq) => QueueError::Damaged { epoch: next.epoch, seq },
        Stop::Storage(error) => storage(error),
    })?;
    let after = if same_epoch { standing::through(after) } else { certificate(identity) };
    let last = standing::through(&checker.head());
    Ok((count > 0).then_some(Batch { epoch: next.epoch, after, count, entries, last }))
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

fn epoch_at(epochs: &[EpochRow], position: u64) -> Option<&EpochRow> {
    epochs.iter().rev().find(|epoch| epoch.first_position <= position)
}

fn certificate(identity: &Identity) -> Through {
    Through { seq: 0, hash: identity.certificate.hash }
}

fn page(connection: &Connection) -> Result<Option<StoredPage>, QueueError> {
    let Some(mark) = standing::load_page_mark(connection).map_err(storage)? else { return Ok(None) };
    read_page(connection, mark).map_err(storage)
}

fn read_page(connection: &Connection, mark: PageMark) -> rusqlite::Result<Option<StoredPage>> {
    connection
        .query_row("SELECT statement, page FROM reference_page", [], |row| {
            Ok(StoredPage { mark, statement: row.get(0)?, page: row.get(1)? })
        })
        .optional()
}

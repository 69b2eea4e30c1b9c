//! The one thread that writes: it takes what waits, commits it as one group, and answers after the commit.

use super::anchor::AnchorKeeper;
use super::check::{self, Keyring};
use super::compose::Composer;
use super::error::{AppendError, Fault, FaultCode, OpenError, QueueError, StopReason, StorageError};
use super::file::QueueFile;
use super::present::{Own, Present};
use super::reader::{ReaderSlot, Slot};
use super::rows::{self, OperationRow};
use super::standing::{self, Standing, Surroundings};
use super::{Appended, Draft, KeepPageError, QueueState, SettleError, Settled, Settlement, blob, tail};
use crate::secure::Secure;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::Epoch;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::statement::{FeedPoint, Signed};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The most operations that share one commit.
const GROUP: usize = 512;
/// How often a stopped queue looks by itself whether the disk takes anything again.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// What a probe writes, in bytes; it stays in the file as free pages.
const PROBE_BYTES: i64 = 65_536;
/// After about how many pages of write-ahead log a checkpoint is made when nothing waits.
const CHECKPOINT_PAGES: usize = 1_000;
/// After about how many it is made in any case.
const CHECKPOINT_PAGES_BUSY: usize = 4_000;
/// After how many operations the high-water mark is written down.
const MARK_EVERY: u64 = 1_024;

/// What the writer is asked for, with the way back.
pub(super) enum Command {
    Append(Box<Waiting>),
    MarkSent {
        epoch: Epoch,
        seq: u64,
        reply: oneshot::Sender<Result<(), QueueError>>,
    },
    Settle {
        settlement: Box<Settlement>,
        reply: oneshot::Sender<Result<Settled, SettleError>>,
    },
    KeepPage {
        point: Box<Signed<FeedPoint>>,
        page: Option<Vec<u8>>,
        reply: oneshot::Sender<Result<(), KeepPageError>>,
    },
    /// Anything rarer.
    Do(Job),
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// Work for the writer, with the way back in it.
pub(super) type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// An operation that waits for its commit.
pub(super) struct Waiting {
    pub(super) draft: Draft,
    pub(super) reply: AppendReply,
}

pub(super) type AppendReply = oneshot::Sender<Result<Appended, AppendError>>;

/// The writer and all that only it touches.
pub(super) struct Writer {
    pub(super) file: QueueFile,
    pub(super) composer: Composer,
    pub(super) connection: Option<Connection>,
    pub(super) standing: Standing,
    /// As looked at for the last group.
    pub(super) around: Surroundings,
    pub(super) stopped: Option<StopReason>,
    pub(super) commits: u64,
    pub(super) dirty_pages: usize,
    pub(super) state: watch::Sender<QueueState>,
    pub(super) reader: ReaderSlot,
    pub(super) present: Present,
    pub(super) anchor: AnchorKeeper,
    /// Holds the locks; let go of last.
    pub(super) secure: Secure,
}

/// A group that was not committed for sure.
struct GroupFailure {
    error: StorageError,
    at_commit: bool,
    composed: Vec<Result<Appended, AppendError>>,
}

impl Writer {
    /// Works until it is closed or nobody can ask any more, then closes the file and releases the locks.
    pub(super) fn run(mut self, commands: &mpsc::Receiver<Command>) {
        let closed = self.work(commands);
        self.reader.replace(Slot::Closed);
        // A damaged file stays as it was found.
        let in_order = self.stopped != Some(StopReason::Damaged);
        if let Some(connection) = self.connection.take().filter(|_| in_order) {
            let kept = standing::store_clock(&connection, &self.standing.clock, self.standing.position);
            if let Err(error) = kept.and_then(|()| checkpoint(&connection, "TRUNCATE").map(|_| ())) {
                tracing::warn!(%error, "the queue's log could not be folded in; the next start does it");
            }
        }
        let Self { anchor, secure, .. } = self;
        drop(anchor);
        drop(secure);
        if let Some(reply) = closed {
            let _ = reply.send(());
        }
    }

    fn work(&mut self, commands: &mpsc::Receiver<Command>) -> Option<oneshot::Sender<()>> {
        let mut next = None;
        loop {
            let command = match next.take() {
                Some(command) => command,
                None => self.wait(commands)?,
            };
            match command {
                Command::Append(first) => {
                    let mut group = vec![*first];
                    while group.len() < GROUP {
                        match commands.try_recv() {
                            Ok(Command::Append(waiting)) => group.push(*waiting),
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.append(group);
                }
                Command::MarkSent { epoch, seq, reply } => {
                    let _ = reply.send(self.mark_sent(epoch, seq));
                }
                Command::Settle { settlement, reply } => {
                    let _ = reply.send(self.settle(&settlement));
                }
                Command::KeepPage { point, page, reply } => {
                    let _ = reply.send(self.keep_page(&point, page.as_deref()));
                }
                Command::Do(job) => job(self),
                Command::Close { reply } => return Some(reply),
            }
            if next.is_none() {
                next = commands.try_recv().ok();
            }
            self.checkpoint_if_due(next.is_none());
        }
    }

    fn wait(&mut self, commands: &mpsc::Receiver<Command>) -> Option<Command> {
        while self.stopped.is_some() {
            match commands.recv_timeout(PROBE_EVERY) {
                Ok(command) => return Some(command),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let _ = self.ready();
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
        commands.recv().ok()
    }

    fn append(&mut self, group: Vec<Waiting>) {
        let (drafts, replies): (Vec<Draft>, Vec<AppendReply>) =
            group.into_iter().map(|waiting| (waiting.draft, waiting.reply)).unzip();
        self.look_around();
        let answers = match self.ready() {
            Err(reason) => drafts.iter().map(|_| Err(AppendError::Stopped(reason))).collect(),
            Ok(()) => match self.commit_group(drafts) {
                Ok(answers) => answers,
                Err(failure) => self.answers_after(failure, replies.len()),
            },
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            let _ = reply.send(answer);
        }
    }

    /// Writes the group in one transaction. Nothing in memory changes before the commit returned.
    fn commit_group(
        &mut self,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Result<Appended, AppendError>>, GroupFailure> {
        let mut composed = Vec::with_capacity(drafts.len());
        let mut after = self.standing.clone();
        let mut bytes = 0_usize;
        let fail = |error: rusqlite::Error, at_commit, composed| GroupFailure {
            error: error.into(),
            at_commit,
            composed,
        };
        let (Some(connection), Some(epoch)) = (self.connection.as_mut(), after.head.epoch) else {
            return Err(fail(rusqlite::Error::InvalidQuery, false, composed));
        };
        let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(transaction) => transaction,
            Err(error) => return Err(fail(error, false, composed)),
        };
        let Surroundings { limits, disk_free, .. } = self.around;
        for draft in drafts {
            if let Err(refused) = limits.admit(&draft, after.queued(), disk_free) {
                composed.push(Err(refused));
                continue;
            }
            match append_one(&transaction, &self.composer, draft, epoch, &mut after) {
                Ok(Ok((appended, len))) => {
                    bytes = bytes.saturating_add(len);
                    composed.push(Ok(appended));
                }
                Ok(Err(refused)) => composed.push(Err(refused)),
                Err(error) => return Err(fail(error, false, composed)),
            }
        }
        if after.position == self.standing.position {
            return Ok(composed);
        }
        if after.position.saturating_sub(after.mark_position) >= MARK_EVERY {
            after.mark_position = after.position;
            if let Err(error) = standing::store_clock(&transaction, &after.clock, after.mark_position) {
                return Err(fail(error, false, composed));
            }
        }
        if let Err(error) = transaction.commit() {
            return Err(fail(error, true, composed));
        }
        let count = after.position.saturating_sub(self.standing.position);
        self.standing = after;
        self.commits = self.commits.saturating_add(1);
        self.dirty_pages = self.dirty_pages.saturating_add(3).saturating_add(bytes / 3_000);
        self.publish();
        self.note_anchor(count);
        Ok(composed)
    }

    /// After a failure the file decides: it is closed and opened again, and what is found there was committed.
    fn answers_after(&mut self, failure: GroupFailure, waiting: usize) -> Vec<Result<Appended, AppendError>> {
        let GroupFailure { error, at_commit, composed } = failure;
        self.fail(&error);
        // A page whose fsync failed can be read back and still never reach the disk: what is found counts only
        // once it was folded into the file and synced there.
        let found = at_commit && composed.iter().flatten().any(|appended| self.holds(appended));
        let known = self
            .connection
            .as_ref()
            .is_some_and(|connection| !found || matches!(checkpoint(connection, "TRUNCATE"), Ok(true)));
        if !known && at_commit {
            self.stopped = Some(StopReason::UnknownOutcome);
            self.publish();
        }
        let mut composed = composed.into_iter();
        let answer = |composed: Option<Result<Appended, AppendError>>| match composed {
            Some(Err(refused)) => Err(refused),
            Some(Ok(appended)) if known && self.holds(&appended) => Ok(appended),
            _ if !known && at_commit => Err(AppendError::Stopped(StopReason::UnknownOutcome)),
            _ => Err(AppendError::Storage(error.clone())),
        };
        (0..waiting).map(|_| answer(composed.next())).collect()
    }

    fn holds(&self, appended: &Appended) -> bool {
        let Some(connection) = &self.connection else { return false };
        rows::hash_at(connection, appended.position).is_ok_and(|hash| hash == Some(appended.hash))
    }

    /// Runs `work` in a transaction of its own; memory follows the file. Where it meets a bad page, only `work` is
    /// refused: what is appended to was looked at again by then.
    pub(super) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Standing) -> rusqlite::Result<T>,
    ) -> Result<T, QueueError> {
        self.ready().map_err(QueueError::Stopped)?;
        let mut after = self.standing.clone();
        let Some(connection) = self.connection.as_mut() else {
            return Err(QueueError::Stopped(StopReason::Io));
        };
        let done = (|| -> rusqlite::Result<T> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction, &mut after)?;
            transaction.commit()?;
            Ok(value)
        })();
        match done {
            Ok(value) => {
                self.standing = after;
                self.commits = self.commits.saturating_add(1);
                self.dirty_pages = self.dirty_pages.saturating_add(4);
                self.publish();
                Ok(value)
            }
            Err(error) => {
                let error = StorageError::from(error);
                self.fail(&error);
                if self.stopped == Some(StopReason::Damaged) && self.connection.is_some() {
                    self.stopped = None;
                    self.publish();
                }
                Err(QueueError::Storage(error))
            }
        }
    }

    /// Stops accepting, closes the file, and reads head and state from it again.
    fn fail(&mut self, error: &StorageError) {
        tracing::error!(error = ?error, "the queue could not be written");
        self.stopped = Some(error.stop_reason());
        self.connection = None;
        self.reader.replace(Slot::Idle);
        self.reopen();
        self.publish();
    }

    /// Opens the file and takes its head and state for the truth; what was confirmed must be in it.
    fn reopen(&mut self) {
        match self.load() {
            Ok((connection, standing)) => {
                self.connection = Some(connection);
                self.standing = standing;
            }
            Err(OpenError::Storage(_) | OpenError::Io(_)) => {}
            Err(error) => {
                tracing::error!(error = ?error, "the queue cannot be opened again");
                self.stopped = Some(StopReason::Damaged);
            }
        }
    }

    fn load(&self) -> Result<(Connection, Standing), OpenError> {
        let connection = self.file.open_to_write()?;
        let standing = Standing::load(&connection)?;
        tail::check_tail(&connection, &self.composer.identity, &self.present.get().keyring, &standing)?;
        let held =
            check::position_of(&connection, &self.composer.identity, &standing.epochs, &self.standing.head);
        match held.map_err(StorageError::from)? {
            Some(_) => Ok((connection, standing)),
            None => Err(OpenError::Damaged(Fault {
                position: self.standing.position,
                epoch: self.standing.head.epoch.map_or(0, |epoch| epoch.n),
                seq: self.standing.head.seq,
                code: FaultCode::Missing,
            })),
        }
    }

    /// Whether work is accepted; a stopped queue first finds out whether the disk takes anything again.
    pub(super) fn ready(&mut self) -> Result<(), StopReason> {
        match self.stopped {
            None => return Ok(()),
            Some(StopReason::Damaged) => return Err(StopReason::Damaged),
            Some(StopReason::DiskFull | StopReason::Io | StopReason::UnknownOutcome) => {}
        }
        if self.connection.is_none() {
            self.reopen();
        }
        let probed = self.connection.as_ref().map(probe);
        match probed {
            Some(Ok(())) => self.stopped = None,
            Some(Err(error)) => {
                self.stopped = Some(StorageError::from(error).stop_reason());
                self.connection = None;
                self.reader.replace(Slot::Idle);
                self.reopen();
            }
            None => {}
        }
        self.publish();
        self.stopped.map_or(Ok(()), Err)
    }

    pub(super) fn publish(&self) {
        self.state.send_replace(self.standing.state(self.stopped, self.commits, &self.around));
    }

    /// Sees how much room the disk has, and shows it if that is another level than before.
    pub(super) fn look_around(&mut self) {
        let places = self.secure.places();
        let disk_free = places.storage.free(&places.data).ok().flatten();
        let level = |free| self.around.limits.judge(0, free).level;
        let changed = level(disk_free) != level(self.around.disk_free);
        self.around.disk_free = disk_free;
        if changed {
            self.publish();
        }
    }

    /// Goes on with another key.
    pub(super) fn be(&mut self, composer: Composer) {
        let identity = Arc::clone(&composer.identity);
        if identity != self.composer.identity {
            let keyring = Keyring::of(&identity);
            self.present.set(Own { identity, keys: composer.keys.clone(), keyring });
        }
        self.composer = composer;
    }

    fn note_anchor(&mut self, count: u64) {
        let Head { epoch, seq, hash } = self.standing.head;
        if let Some(epoch) = epoch {
            self.anchor.note(ChainPoint { epoch, seq, hash }, count);
        }
    }

    /// Folds the log into the file while nobody waits; after that it is used again from its beginning.
    fn checkpoint_if_due(&mut self, idle: bool) {
        let limit = if idle { CHECKPOINT_PAGES } else { CHECKPOINT_PAGES_BUSY };
        if self.dirty_pages < limit || self.stopped == Some(StopReason::Damaged) {
            return;
        }
        let Some(connection) = &self.connection else { return };
        match checkpoint(connection, "PASSIVE") {
            Ok(true) => self.dirty_pages = 0,
            // A reader was in the way: again after some more.
            Ok(false) => self.dirty_pages = CHECKPOINT_PAGES / 2,
            Err(error) => {
                tracing::warn!(%error, "the queue's log could not be folded in");
                self.dirty_pages = 0;
            }
        }
    }
}

/// Composes and inserts one operation. The outer error ends the group, the inner one only this operation.
fn append_one(
    transaction: &Transaction<'_>,
    composer: &Composer,
    draft: Draft,
    epoch: Epoch,
    after: &mut Standing,
) -> rusqlite::Result<Result<(Appended, usize), AppendError>> {
    let position = after.position.saturating_add(1);
    let mut draft = draft.knowing(&after.log.known);
    let blobs = std::mem::take(&mut draft.blobs);
    let composed = match composer.compose(draft, epoch, &after.head, position, &after.clock) {
        Ok(composed) => composed,
        Err(refused) => return Ok(Err(refused)),
    };
    let appended = composed.appended;
    let row = operation_row(&appended, composed.entry);
    match rows::insert(transaction, &row) {
        Ok(()) => {}
        Err(error) if is_unique(&error) => return Ok(Err(AppendError::IdReused(appended.id))),
        Err(error) => return Err(error),
    }
    let blob_bytes = blob::keep(transaction, &blobs)?;
    after.follow(&appended);
    Ok(Ok((appended, row.entry.len().saturating_add(blob_bytes))))
}

/// The row of an operation that was composed.
pub(super) fn operation_row(appended: &Appended, entry: Vec<u8>) -> OperationRow {
    OperationRow {
        position: appended.position,
        epoch_n: appended.epoch.n,
        seq: appended.seq,
        id: appended.id,
        kind: appended.kind.to_owned(),
        hash: appended.hash,
        wall: appended.at.wall,
        entry,
    }
}

/// The only unique column that a draft can bring is the id; the position's own conflict has another code.
fn is_unique(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if failure.code == ErrorCode::ConstraintViolation
            && failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
}

/// Whether the disk takes a real write and its fsync; the pages stay in the file as free ones.
fn probe(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO probe (id, filler) VALUES (1, randomblob(?1)) \
         ON CONFLICT (id) DO UPDATE SET filler = excluded.filler",
        [PROBE_BYTES],
    )?;
    connection.execute("UPDATE probe SET filler = x''", []).map(|_| ())
}

/// Says whether the whole log is in the file now.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (busy, log, done): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(busy == 0 && log == done)
    })
}

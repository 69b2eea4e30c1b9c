//! The durable, encrypted queue: nothing that was confirmed is ever lost, changed or reordered (PROTOCOL §2).
//!
//! One thread writes, with one connection; one reads what is to be sent; one keeps the rollback anchor.
//! [`Queue`] is the handle to them.

mod anchor;
mod check;
mod compose;
mod error;
mod file;
mod identity;
mod library;
mod opening;
mod reader;
mod rows;
mod settle;
mod standing;
mod view;
mod writer;

pub use error::{
    AppendError, Fault, FaultCode, KeepPageError, OpenError, QueueError, SettleError, StopReason,
    StorageError,
};
pub use identity::{Identity, IdentityError};
pub use library::{LibraryVersions, library_versions};
pub use view::{QueueView, Verification};

use crate::clock::{Clock, ClockMemory, ClockReading};
use crate::secure::{Random, Secure, StationKeys};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Epoch, Hash, OperationId};
use lotgate_domain::operation::body::{Body, ChainPoint};
use lotgate_domain::operation::{Actor, At, Knew, Program, Reason, State};
use lotgate_domain::statement::{FeedPoint, Receipt, Signed, Through, VerdictBatch};
use lotgate_domain::time::Timestamp;
use reader::Question;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};
use writer::{Command, Waiting};

/// What a queue is opened with.
pub struct QueueOptions {
    /// The opened and locked secure directory; the queue's file lies in its data directory.
    pub secure: Secure,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Random bytes for ids.
    pub random: Arc<dyn Random>,
    /// What every operation says of the program.
    pub program: Program,
}

/// What the station hands over; the queue adds place, time and signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The id, if it was given out before; else the queue makes one.
    pub id: Option<OperationId>,
    /// Who acted.
    pub actor: Actor,
    /// In which role.
    pub role: Option<String>,
    /// Why.
    pub reason: Option<Reason>,
    /// The reference data that the decision was taken on.
    pub knew: Option<Knew>,
    /// The record that it changes.
    pub state: State,
    /// What happened.
    pub body: Body,
}

impl Draft {
    /// The station's own word, on no record.
    #[must_use]
    pub fn by_station(body: Body, knew: Option<Knew>) -> Self {
        Self {
            id: None,
            actor: Actor::Station,
            role: None,
            reason: None,
            knew,
            state: State::default(),
            body,
        }
    }
}

/// An operation that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its place in the queue, over all epochs, from 1.
    pub position: u64,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its place in the epoch, from 1.
    pub seq: u64,
    /// Its id.
    pub id: OperationId,
    /// `body.type`.
    pub kind: &'static str,
    /// Hash of the entry.
    pub hash: Hash,
    /// The bytes that the scanner sent, in hex, for scans.
    pub raw_hex: Option<String>,
    /// When.
    pub at: At,
}

/// Where the queue stands; changes after each commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    /// The last operation.
    pub head: Head,
    /// How many operations no receipt covers.
    pub queued: u64,
    /// Wall clock of the oldest of them.
    pub oldest_wall: Option<Timestamp>,
    /// How far operations were handed to the network.
    pub sent_through: Option<ChainPoint>,
    /// How far receipts go.
    pub settled_through: Option<ChainPoint>,
    /// What is known of time.
    pub clock: ClockMemory,
    /// The newest page of reference data.
    pub page: Option<PageMark>,
    /// Why nothing is accepted, if so.
    pub stopped: Option<StopReason>,
    /// Transactions that this process committed.
    pub commits: u64,
}

/// Which page of reference data is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageMark {
    /// Its number.
    pub cursor: u64,
    /// Hash of the feed up to it.
    pub hash: Hash,
    /// The cloud's time in the newest statement for it.
    pub time: Timestamp,
    /// The station's clocks when that statement arrived.
    pub confirmed: ClockReading,
}

impl PageMark {
    /// Milliseconds since the page was confirmed as the newest: by the monotonic clock within one boot, else by
    /// `now`, which should be the effective now.
    #[must_use]
    pub fn age_ms(&self, reading: &ClockReading, now: Timestamp) -> u64 {
        let measured = if reading.boot == self.confirmed.boot {
            reading.mono_ms.checked_sub(self.confirmed.mono_ms)
        } else {
            None
        };
        measured.unwrap_or_else(|| u64::try_from(now.ms_since(self.time)).unwrap_or(0))
    }

    /// What an operation quotes of it.
    #[must_use]
    pub fn knew(&self, reading: &ClockReading, now: Timestamp) -> Knew {
        Knew { snapshot: self.cursor, hash: self.hash, age_ms: self.age_ms(reading, now), log: None }
    }
}

/// A page of reference data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPage {
    /// Which one.
    pub mark: PageMark,
    /// The newest signed statement for it, framed.
    pub statement: Vec<u8>,
    /// The page, as the cloud sent it.
    pub page: Vec<u8>,
}

/// Consecutive entries of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Their epoch.
    pub epoch: Epoch,
    /// What the first comes after; seq 0 and the station certificate's hash at the start of an epoch.
    pub after: Through,
    /// How many.
    pub count: u64,
    /// Frames back to back.
    pub entries: Vec<u8>,
    /// The last of them.
    pub last: Through,
}

/// A verified answer of the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The receipt.
    pub receipt: Signed<Receipt>,
    /// The verdicts that came with it.
    pub verdicts: Vec<Signed<VerdictBatch>>,
}

/// What a receipt settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// What it goes through to.
    pub through: ChainPoint,
    /// How many operations it settled that were not before; 0 if it was overtaken.
    pub newly: u64,
    /// How many operations its verdicts except from being accepted.
    pub exceptions: u64,
}

/// The handle to the queue of this station. Dropping the last clone ends the threads and waits for them;
/// [`Queue::close`] lets others get on meanwhile.
#[derive(Clone)]
pub struct Queue {
    line: Arc<Line>,
    state: watch::Receiver<QueueState>,
    identity: Arc<Identity>,
    keys: StationKeys,
    clock: Arc<dyn Clock>,
}

/// The line to the two threads. It waits for their end, since a thread that is still in the database library
/// while the program exits meets that library's exit handlers, and crashes.
struct Line {
    commands: Option<mpsc::Sender<Command>>,
    questions: Option<mpsc::Sender<Question>>,
    threads: Vec<JoinHandle<()>>,
}

impl Line {
    fn command(&self, command: Command) {
        let _ = self.commands.as_ref().map(|commands| commands.send(command));
    }

    fn question(&self, question: Question) {
        let _ = self.questions.as_ref().map(|questions| questions.send(question));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        (self.commands, self.questions) = (None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the queue ended abnormally");
            }
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({})", self.identity.station)
    }
}

impl Queue {
    /// Makes the queue of a station that was just enrolled, its first operation `station.enrolled` included.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError`]; then there is no queue, and enrolling may be tried again.
    pub fn create(options: QueueOptions, identity: &Identity) -> Result<Self, OpenError> {
        opening::create(&options, identity)?;
        opening::open(options)
    }

    /// Opens the queue and makes every check of PROTOCOL §2: settings, versions, identity, rollback anchor,
    /// head and the last 1,000 entries. What is in doubt is an error and leaves the file as it was. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: QueueOptions) -> Result<Self, OpenError> {
        opening::open(options)
    }

    /// Who the station is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The station's keys.
    #[must_use]
    pub fn station_keys(&self) -> &StationKeys {
        &self.keys
    }

    /// All clocks now.
    #[must_use]
    pub fn clock(&self) -> ClockReading {
        self.clock.read()
    }

    /// The time by which expiry and age are judged ([`ClockMemory::effective_now`]).
    #[must_use]
    pub fn effective_now(&self) -> Timestamp {
        let memory = self.state.borrow().clock;
        memory.effective_now(&self.clock.read())
    }

    /// Makes an operation durable.
    ///
    /// # Errors
    /// [`AppendError`]; the operation is then not in the queue.
    pub async fn append(&self, draft: Draft) -> Result<Appended, AppendError> {
        self.submit(draft).await
    }

    /// Puts an operation in line at once, to be awaited later; operations are committed in the order in which
    /// they were submitted.
    pub fn submit(&self, draft: Draft) -> Submitted {
        let (reply, answer) = oneshot::channel();
        // A closed queue drops the command, and with it `reply`: the future then says so.
        self.line.command(Command::Append(Box::new(Waiting { draft, reply })));
        Submitted(answer)
    }

    /// Where the queue stands, now and after each change.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<QueueState> {
        self.state.clone()
    }

    /// The next entries after `after`, of one epoch, at most `max_entries` and `max_bytes` (but one at least),
    /// each checked. After the last entry of an epoch comes the start of the next. `None`: there is nothing.
    ///
    /// # Errors
    /// [`QueueError`]; `Unknown` if this queue does not hold `after`.
    pub async fn batch(
        &self,
        after: Head,
        max_entries: u64,
        max_bytes: u64,
    ) -> Result<Option<Batch>, QueueError> {
        self.ask(|reply| Question::Batch { after, max_entries, max_bytes, reply }).await
    }

    /// Whether the queue holds exactly this entry.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn holds(&self, point: Head) -> Result<bool, QueueError> {
        self.ask(|reply| Question::Holds { point, reply }).await
    }

    /// The page of reference data that is here.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn page(&self) -> Result<Option<StoredPage>, QueueError> {
        self.ask(|reply| Question::Page { reply }).await
    }

    /// Notes that everything of `epoch` through `seq` was handed to the network.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn mark_sent(&self, epoch: Epoch, seq: u64) -> Result<(), QueueError> {
        let (reply, answer) = oneshot::channel();
        self.line.command(Command::MarkSent { epoch, seq, reply });
        answer.await.unwrap_or(Err(QueueError::Closed))
    }

    /// Settles what a verified receipt covers and keeps it with its verdicts.
    ///
    /// # Errors
    /// [`SettleError`]; nothing is settled then.
    pub async fn settle(&self, settlement: Settlement) -> Result<Settled, SettleError> {
        let (reply, answer) = oneshot::channel();
        let settlement = Box::new(settlement);
        self.line.command(Command::Settle { settlement, reply });
        answer.await.unwrap_or(Err(SettleError::Queue(QueueError::Closed)))
    }

    /// Keeps a page of reference data; without `page`, notes that the one that is here is still the newest.
    ///
    /// # Errors
    /// [`KeepPageError`]; the page that was here stays.
    pub async fn keep_page(
        &self,
        point: Signed<FeedPoint>,
        page: Option<Vec<u8>>,
    ) -> Result<(), KeepPageError> {
        let (reply, answer) = oneshot::channel();
        let point = Box::new(point);
        self.line.command(Command::KeepPage { point, page, reply });
        answer.await.unwrap_or(Err(KeepPageError::Queue(QueueError::Closed)))
    }

    /// Finishes what waits, writes the anchor, folds the log in, closes the file and releases the locks.
    /// Other clones hear `Closed` from then on.
    ///
    /// # Errors
    /// [`QueueError::Closed`] if it was closed before.
    pub async fn close(self) -> Result<(), QueueError> {
        let (reply, answer) = oneshot::channel();
        self.line.command(Command::Close { reply });
        answer.await.map_err(|_| QueueError::Closed)
    }

    async fn ask<T>(&self, question: impl FnOnce(reader::Reply<T>) -> Question) -> Result<T, QueueError> {
        let (reply, answer) = oneshot::channel();
        self.line.question(question(reply));
        answer.await.unwrap_or(Err(QueueError::Closed))
    }
}

/// An operation in line; ready when it is durable or refused.
#[must_use = "only awaiting it tells whether the operation is durable"]
pub struct Submitted(oneshot::Receiver<Result<Appended, AppendError>>);

impl Future for Submitted {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(AppendError::Closed)))
    }
}

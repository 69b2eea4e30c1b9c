//! The durable, encrypted queue: nothing that was confirmed is ever lost, changed or reordered (PROTOCOL §2).
//!
//! One thread writes, with one connection; one reads what is to be sent; one keeps the rollback anchor.
//! [`Queue`] is the handle to them.

mod alarm;
mod anchor;
mod audit;
mod blob;
mod capacity;
mod check;
mod compose;
mod epochs;
mod error;
mod export;
mod file;
mod identity;
mod labels;
mod library;
mod log;
mod opening;
mod present;
mod pruning;
mod reader;
mod recovery;
mod remembered;
mod restored_page;
mod restoring;
mod rows;
mod salvage;
mod set_aside;
mod settle;
mod signed_time;
mod standing;
mod steady;
mod tail;
mod view;
mod writer;

pub use alarm::QueueAlarm;
pub use capacity::{Capacity, CapacityLevel, CapacityLimits};
pub use error::{
    AppendError, Fault, FaultCode, KeepPageError, OpenError, QueueError, SettleError, StopReason,
    StorageError,
};
pub use export::{ExportError, ExportReport};
pub use identity::{Identity, IdentityError};
pub use labels::LabelOperation;
pub use library::{LibraryVersions, library_versions};
pub use log::{
    Contradiction, Following, LogFault, LogKnown, LogMark, LogStep, OwnHashes, ProvenVerdicts, Restored,
};
pub use pruning::Pruned;
pub use recovery::RecoveredQueue;
pub use set_aside::{EvidenceBatch, EvidenceToken, files as set_aside_files};
pub use view::{QueueView, Verification};

use crate::clock::{Clock, ClockMemory, ClockReading};
use crate::secure::{Random, Secure, StationKeys};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Epoch, Hash, OperationId};
use lotgate_domain::operation::body::{Body, ChainPoint};
use lotgate_domain::operation::{Actor, At, Knew, Program, Reason, State};
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{FeedPoint, Receipt, Signed, Through};
use lotgate_domain::time::Timestamp;
use present::Present;
use reader::Question;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};
use writer::{Command, Waiting, Writer};

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
    /// How much may wait, and how much room the disk must have.
    pub limits: CapacityLimits,
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
    /// Whether it finishes a step that is open: then it is still taken when the queue takes no new work.
    pub finishes: bool,
    /// What the body names by its hash: kept in the same transaction, each once.
    pub blobs: Vec<Vec<u8>>,
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
            finishes: false,
            blobs: Vec::new(),
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
    /// How far receipts go without a gap.
    pub settled_through: Option<ChainPoint>,
    /// What is known of time.
    pub clock: ClockMemory,
    /// The newest page of reference data.
    pub page: Option<PageMark>,
    /// What is known of the tenant's log.
    pub log: LogKnown,
    /// How full it is.
    pub capacity: Capacity,
    /// What needs a person.
    pub alarms: BTreeSet<QueueAlarm>,
    /// The present epoch was opened in doubt: its claims are flagged until a person resolves it.
    pub unconfirmed: bool,
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
    /// Generation of the log that was accepted when the statement arrived.
    pub generation: u64,
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
    /// The epoch that was pushed.
    pub epoch: Epoch,
    /// The receipt.
    pub receipt: Signed<Receipt>,
    /// The verdicts that are proven to stand in the log, in order of seq.
    pub verdicts: Vec<ProvenVerdicts>,
    /// The checkpoint that they are proven under; without it nothing is settled.
    pub log: Option<LogStep>,
}

/// What an answer settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// How far the epoch that was pushed is settled now.
    pub through: Option<ChainPoint>,
    /// How many operations it settled that were not before.
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
    present: Present,
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
        if let Some(questions) = &self.questions {
            let _ = questions.send(question);
        }
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
        write!(f, "Queue({})", self.identity().station)
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
    /// head and the last 1,000 entries. A queue that was rolled back goes on in a new epoch of the same file; one
    /// that is gone, or cannot be used, in a new file, and the old one is kept as it was, set aside. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`OpenError`]: a newer version's file, keys that are gone, a disk that cannot be read or written, and, with
    /// no copy of the certificates in the secure directory, whatever is wrong with the file. Nothing was changed.
    pub fn open(options: QueueOptions) -> Result<Self, OpenError> {
        opening::open(options)
    }

    /// Who the station is now: a new key changes it.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.present.get().identity)
    }

    /// The station's present keys.
    #[must_use]
    pub fn station_keys(&self) -> StationKeys {
        self.present.get().keys.clone()
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
    /// The batch ends before a damaged entry. Where one comes first, twice looked at, it is set aside with the rest
    /// of its epoch, and what comes next is the start of the next epoch.
    ///
    /// # Errors
    /// [`QueueError`]; `Unknown` if this queue does not hold `after`.
    pub async fn batch(
        &self,
        after: Head,
        max_entries: u64,
        max_bytes: u64,
    ) -> Result<Option<Batch>, QueueError> {
        let ask = || {
            // A commit whose outcome is not known yet may be readable, and gone after the next opening.
            let known = self.state.borrow().head;
            self.ask(move |reply| Question::Batch { after, known, max_entries, max_bytes, reply })
        };
        let mut suspected = None;
        loop {
            match ask().await {
                Err(QueueError::Damaged { epoch, seq }) if suspected == Some((epoch, seq)) => {
                    self.set_aside_damaged(epoch, seq).await?;
                }
                // A read that fails once may be the disk's mood.
                Err(QueueError::Damaged { epoch, seq }) => suspected = Some((epoch, seq)),
                answer => return answer,
            }
        }
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

    /// The blob with this hash, if it is here as it was kept.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn blob(&self, sha256: Hash) -> Result<Option<Vec<u8>>, QueueError> {
        self.ask(|reply| Question::Blob { sha256, reply }).await
    }

    /// The newest `limit` operations about labels, and openings of epochs between them, the oldest first.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn label_operations(&self, limit: u64) -> Result<Vec<LabelOperation>, QueueError> {
        self.ask(|reply| Question::Labels { limit, reply }).await
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

    /// Settles what a verified answer proves, and keeps all of it.
    ///
    /// # Errors
    /// [`SettleError`]; nothing is settled then.
    pub async fn settle(&self, settlement: Settlement) -> Result<Settled, SettleError> {
        let (reply, answer) = oneshot::channel();
        let settlement = Box::new(settlement);
        self.line.command(Command::Settle { settlement, reply });
        answer.await.unwrap_or(Err(SettleError::Queue(QueueError::Closed)))
    }

    /// The hashes of up to `count` own entries of `epoch` from seq `first_seq` on, as far as they are here.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn hashes(&self, epoch: Epoch, first_seq: u64, count: u64) -> Result<OwnHashes, QueueError> {
        self.ask(|reply| Question::Hashes { epoch, first_seq, count, reply }).await
    }

    /// Accepts restores of the cloud's log, signed by the tenant's root key and in order: what lies after `held`,
    /// where the cloud's copy of the chain stands, is not settled any longer, and evidence is sent again. Shown as an
    /// alarm until acknowledged; those accepted before change nothing.
    ///
    /// # Errors
    /// [`SettleError::Inconsistent`] if one does not follow what is known; [`SettleError::Queue`].
    pub async fn accept_recovery(
        &self,
        recovered: Vec<Signed<LogRecovered>>,
        held: Head,
    ) -> Result<(), SettleError> {
        let done = self.write(move |writer| writer.accept_recovery(&recovered, held)).await;
        done.unwrap_or(Err(SettleError::Queue(QueueError::Closed)))
    }

    /// Keeps a contradiction of the cloud as evidence. Shown as an alarm until acknowledged.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn keep_contradiction(&self, contradiction: Contradiction) -> Result<(), QueueError> {
        let done = self.write(move |writer| writer.keep_contradiction(&contradiction)).await;
        done.unwrap_or(Err(QueueError::Closed))
    }

    /// Notes that a person took notice of an alarm; only those that tell of something past end by it.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn acknowledge(&self, alarm: QueueAlarm) -> Result<(), QueueError> {
        let done = self.write(move |writer| writer.acknowledge(alarm)).await;
        done.unwrap_or(Err(QueueError::Closed))
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

    /// Has the writer do something; `None` if the queue is closed.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.line.command(Command::Do(Box::new(move |writer| {
            let _ = reply.send(job(writer));
        })));
        answer.await.ok()
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

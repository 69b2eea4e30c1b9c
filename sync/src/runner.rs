//! Runs the engine: does what it asks for, on the queue and on the cloud, and tells it what came of it.
//!
//! Nothing that the cloud says counts before it is verified; nothing is decided or settled by it before it
//! is stored. So for a push: verify receipt and verdicts → settle (the queue stores them and settles in one
//! transaction) → go on from there. For reference data: verify statement, hash chain and page → store →
//! publish. What does not verify is dropped, shown as `server_inconsistent`, and changes nothing.

use crate::engine::answer::{self, Expected, FeedState, FeedStep};
use crate::engine::failure::{Failure, FailureCode, InconsistencyCode, QueueCode};
use crate::engine::status::Status;
use crate::engine::{Action, Engine, Place, Reach, Reply, Settings, Wake};
use crate::queue::{Batch, KeepPageError, PageMark, Queue, QueueError, QueueState, SettleError, Settlement};
use lotgate_domain::chain::Head;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::push::{PushClock, PushHeader, PushRequest};
use lotgate_domain::protocol::{CloudApi, FeedReply, PushReply};
use lotgate_domain::reference::Snapshot;
use lotgate_domain::time::Timestamp;
use serde::Serialize;
use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Reference data that may be decided on, with what an operation says of it.
#[derive(Debug, Clone)]
pub struct Reference {
    /// What it says.
    pub snapshot: Arc<Snapshot>,
    /// Its cursor and hash, and when it was last known to be the newest; gives `knew` of an operation.
    pub mark: PageMark,
}

/// How the sync stands, for screens and `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SyncStatus {
    /// What the engine says; times in monotonic milliseconds of the station's clock.
    #[serde(flatten)]
    pub engine: Status,
    /// Wall clock of the last good answer since the program started.
    pub last_contact_at: Option<Timestamp>,
}

/// What the rest of the station holds of the sync.
#[derive(Debug, Clone)]
pub struct SyncHandle {
    wakes: mpsc::UnboundedSender<Wake>,
    paused: watch::Sender<bool>,
    status: watch::Receiver<SyncStatus>,
    reference: watch::Receiver<Option<Reference>>,
}

impl SyncHandle {
    /// Makes the sync of `queue` with `cloud`, with the reference data that the queue keeps. Nothing is sent
    /// before [`Runner::run`]. `seed` spreads stations out in time.
    ///
    /// # Errors
    /// [`QueueError`] if the stored page cannot be read.
    pub async fn prepare<C>(
        queue: Queue,
        cloud: C,
        settings: Settings,
        seed: u64,
    ) -> Result<(Self, Runner<C>), QueueError> {
        let site = queue.identity().site.id;
        let stored = queue.page().await?;
        // Where the feed stands is known even if this program cannot read the page: the next one repairs it.
        let feed = stored.as_ref().map_or_else(
            || FeedState::start(site),
            |stored| FeedState { cursor: stored.mark.cursor, hash: stored.mark.hash },
        );
        let read = stored.and_then(|stored| {
            let PageMark { cursor, hash, .. } = stored.mark;
            let snapshot = Snapshot::read(&stored.page, cursor, hash)
                .inspect_err(|error| tracing::error!(cursor, %error, "stored reference page is not readable"))
                .ok()?;
            Some(Reference { snapshot: Arc::new(snapshot), mark: stored.mark })
        });
        let engine = Engine::new(settings, feed.cursor, seed, queue.clock().mono_ms);
        let (wakes, woken) = mpsc::unbounded_channel();
        let (paused, pauses) = watch::channel(false);
        let (status_sender, status) =
            watch::channel(SyncStatus { engine: engine.status(), last_contact_at: None });
        let (reference_sender, reference) = watch::channel(read);
        let grown = queue.state();
        let seen = grown.borrow().head;
        let desk = Desk { queue, cloud, feed, reference: reference_sender };
        let runner = Runner { engine, desk, woken, pauses, grown, seen, status: status_sender };
        Ok((Self { wakes, paused, status, reference }, runner))
    }

    /// Wakes the engine: a person asks to try now, the network came back, there is more reference data.
    pub fn wake(&self, wake: Wake) {
        // Without a runner there is nobody to wake.
        let _ = self.wakes.send(wake);
    }

    /// Stops or resumes sending. Capture goes on either way.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// How the sync stands, now and from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SyncStatus> {
        self.status.clone()
    }

    /// The newest reference data; `None` before the first page.
    #[must_use]
    pub fn reference(&self) -> watch::Receiver<Option<Reference>> {
        self.reference.clone()
    }
}

/// The task that empties the queue.
pub struct Runner<C> {
    engine: Engine,
    desk: Desk<C>,
    woken: mpsc::UnboundedReceiver<Wake>,
    pauses: watch::Receiver<bool>,
    grown: watch::Receiver<QueueState>,
    seen: Head,
    status: watch::Sender<SyncStatus>,
}

/// What happened while the engine waited.
enum Waited<T> {
    Done(T),
    Woken(Wake),
    Paused(bool),
}

impl<C> Runner<C>
where
    C: CloudApi + Reach + Send + Sync,
    C::Error: Into<Failure> + Display + Send,
{
    /// Runs until `shutdown` is ready. A call under way is then dropped: what it did is found out by the next
    /// run, because a push that is repeated changes nothing.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let Self { mut engine, mut desk, mut woken, mut pauses, mut grown, seen, status } = self;
        let clock = desk.queue.clone();
        let now = || clock.clock().mono_ms;
        let mut waits = Waits { woken: &mut woken, pauses: &mut pauses, grown: &mut grown, seen };
        loop {
            let action = engine.poll_action(now());
            publish(&status, &engine, clock.clock().wall);
            let sleep = match action {
                Some(_) => None,
                None => Some(engine.poll_timeout().map(|at| at.saturating_sub(now()))),
            };
            let mut work = pin!(async {
                match (action, sleep) {
                    (Some(action), _) => Some(desk.perform(action).await),
                    (None, Some(Some(ms))) => {
                        tokio::time::sleep(Duration::from_millis(ms)).await;
                        None
                    }
                    (None, _) => std::future::pending().await,
                }
            });
            let outcome = loop {
                let waited = tokio::select! {
                    () = &mut shutdown => return,
                    done = &mut work => Waited::Done(done),
                    other = waits.next() => other,
                };
                match waited {
                    Waited::Done(outcome) => break outcome,
                    Waited::Woken(wake) => engine.handle_wake(wake, now()),
                    Waited::Paused(paused) => engine.handle_pause(paused, now()),
                }
                publish(&status, &engine, clock.clock().wall);
                if action.is_none() {
                    break None;
                }
            };
            match outcome {
                Some(Ok(reply)) => engine.handle_reply(reply, now()),
                Some(Err(failure)) => engine.handle_failure(&failure, now()),
                None => {}
            }
        }
    }
}

fn publish(status: &watch::Sender<SyncStatus>, engine: &Engine, wall: Timestamp) {
    let engine = engine.status();
    status.send_if_modified(|shown| {
        if shown.engine == engine {
            return false;
        }
        if shown.engine.last_contact != engine.last_contact {
            shown.last_contact_at = Some(wall);
        }
        if shown.engine.stuck != engine.stuck || shown.engine.alarm != engine.alarm {
            tracing::error!(stuck = ?engine.stuck, alarm = ?engine.alarm, "sync.needs_a_person");
        }
        if shown.engine.failure != engine.failure {
            tracing::info!(link = ?engine.link, failure = ?engine.failure, "sync.link");
        }
        shown.engine = engine;
        true
    });
}

struct Waits<'a> {
    woken: &'a mut mpsc::UnboundedReceiver<Wake>,
    pauses: &'a mut watch::Receiver<bool>,
    grown: &'a mut watch::Receiver<QueueState>,
    /// Head of the queue at the last wake for its growth.
    seen: Head,
}

impl Waits<'_> {
    /// The next thing that somebody wants of the engine; waits for ever once nobody is left to want any.
    async fn next<T>(&mut self) -> Waited<T> {
        loop {
            let head = self.grown.borrow_and_update().head;
            if head != self.seen {
                self.seen = head;
                return Waited::Woken(Wake::QueueGrew);
            }
            tokio::select! {
                Some(wake) = self.woken.recv() => return Waited::Woken(wake),
                Ok(()) = self.pauses.changed() => return Waited::Paused(*self.pauses.borrow_and_update()),
                Ok(()) = self.grown.changed() => {}
                else => std::future::pending().await,
            }
        }
    }
}

/// Queue on one side, cloud on the other.
struct Desk<C> {
    queue: Queue,
    cloud: C,
    feed: FeedState,
    reference: watch::Sender<Option<Reference>>,
}

impl<C> Desk<C>
where
    C: CloudApi + Reach + Send + Sync,
    C::Error: Into<Failure> + Display + Send,
{
    async fn perform(&mut self, action: Action) -> Result<Reply, Failure> {
        match action {
            Action::FetchHead => {
                let head = self.cloud.head().await.map_err(|error| failed("head", error))?;
                let place = self.place(head.head()).await?;
                Ok(Reply::Head { head, place })
            }
            Action::Push { after, max_entries, max_bytes } => {
                let after = after.unwrap_or(Head::genesis(self.queue.identity().certificate.hash));
                match self.queue.batch(after, max_entries, max_bytes).await.map_err(unreadable)? {
                    Some(batch) => self.push(batch).await,
                    None => Ok(Reply::Drained),
                }
            }
            Action::PullFeed { after } => {
                let reply = self.cloud.feed(after).await.map_err(|error| failed("feed", error))?;
                self.take_feed(reply).await
            }
            Action::Probe => Ok(Reply::Probed { open: self.cloud.reach().await }),
        }
    }

    async fn push(&mut self, batch: Batch) -> Result<Reply, Failure> {
        let clock = self.queue.clock();
        let header = PushHeader {
            v: 1,
            epoch: batch.epoch,
            after: batch.after,
            count: batch.count,
            clock: PushClock { wall: clock.wall, mono_ms: clock.mono_ms, boot: clock.boot },
        };
        let sent = Head { epoch: Some(batch.epoch), seq: batch.last.seq, hash: batch.last.hash };
        // The mark is for people; a queue that cannot be written any more is emptied all the same.
        if let Err(error) = self.queue.mark_sent(batch.epoch, sent.seq).await {
            tracing::warn!(%error, "queue.mark_sent");
        }
        match self.cloud.push(PushRequest { header, entries: batch.entries }).await {
            Ok(reply) => self.take_pushed(sent, reply).await,
            Err(error) => {
                let failure = failed("push", error);
                let mismatch = failure.code == FailureCode::Rejected(ProblemCode::HeadMismatch);
                match failure.head.clone().filter(|_| mismatch) {
                    Some(head) => {
                        let place = self.place(head.head()).await?;
                        Ok(Reply::HeadMismatch { head: *head, place })
                    }
                    None => Err(failure),
                }
            }
        }
    }

    async fn take_pushed(&self, sent: Head, reply: PushReply) -> Result<Reply, Failure> {
        let through = reply.accepted_through;
        let held = self.holds(through).await?;
        let proof = answer::check_push(self.expected(), &reply).inspect_err(report)?;
        // An answer that names an entry which is not ours is a contradiction, whatever its receipt says.
        if let Some(proof) = proof.filter(|_| held) {
            let settlement = Settlement { receipt: proof.receipt, verdicts: proof.verdicts };
            match self.queue.settle(settlement).await {
                Ok(settled) => {
                    tracing::debug!(newly = settled.newly, exceptions = settled.exceptions, "queue.settled");
                }
                // A queue that cannot be written is emptied all the same; a later receipt settles this, too.
                Err(SettleError::Queue(error)) => tracing::error!(%error, "queue.unsettled"),
                Err(error) => return Err(unsettled(error)),
            }
        }
        Ok(Reply::Pushed { sent, through, held, stopped: reply.stopped })
    }

    async fn take_feed(&mut self, reply: FeedReply) -> Result<Reply, Failure> {
        let step = answer::check_feed(self.expected(), self.feed, reply).inspect_err(report)?;
        let (more, snapshot) = match step {
            FeedStep::Nothing => (false, None),
            FeedStep::Confirmed(_) if self.feed.cursor == 0 => (false, None),
            FeedStep::Confirmed(point) => {
                self.queue.keep_page(point, None).await.map_err(unkept)?;
                (false, None)
            }
            FeedStep::Page { point, page, snapshot } => {
                let (cursor, hash) = (point.value.cursor, point.value.hash);
                self.queue.keep_page(point, Some(page)).await.map_err(unkept)?;
                self.feed = FeedState { cursor, hash };
                tracing::info!(cursor, lots = snapshot.lot_count(), "reference.page");
                (true, Some(Arc::from(snapshot)))
            }
        };
        if let Some(mark) = self.queue.state().borrow().page {
            self.reference.send_modify(|known| {
                let snapshot = snapshot.or_else(|| known.take().map(|known| known.snapshot));
                *known = snapshot.map(|snapshot| Reference { snapshot, mark });
            });
        }
        Ok(Reply::Feed { cursor: self.feed.cursor, more })
    }

    fn expected(&self) -> Expected<'_> {
        let identity = self.queue.identity();
        Expected { trust: &identity.trust, station: identity.station, site: identity.site.id }
    }

    async fn place(&self, head: Head) -> Result<Place, Failure> {
        let head_held = self.holds(head).await?;
        let settled = self.queue.state().borrow().settled_through;
        let settled =
            settled.map(|point| Head { epoch: Some(point.epoch), seq: point.seq, hash: point.hash });
        Ok(Place { head_held, settled })
    }

    async fn holds(&self, point: Head) -> Result<bool, Failure> {
        // A number past SQLite's integers is a lie of the cloud, not a fault of the queue.
        if i64::try_from(point.seq).is_err() {
            return Ok(false);
        }
        self.queue.holds(point).await.map_err(unreadable)
    }
}

fn failed<E: Into<Failure> + Display>(call: &'static str, error: E) -> Failure {
    tracing::debug!(call, %error, "sync.call_failed");
    error.into()
}

fn report(code: &InconsistencyCode) {
    tracing::error!(code = FailureCode::Inconsistent(*code).as_str(), "sync.server_inconsistent");
}

fn unreadable(error: QueueError) -> Failure {
    tracing::error!(%error, "queue.unreadable");
    match error {
        QueueError::Damaged { .. } => QueueCode::QueueDamaged.into(),
        QueueError::Unknown
        | QueueError::Stopped(_)
        | QueueError::Storage(_)
        | QueueError::Open(_)
        | QueueError::Closed => QueueCode::QueueUnreadable.into(),
    }
}

fn unsettled(error: SettleError) -> Failure {
    tracing::error!(%error, "queue.unsettled");
    match error {
        SettleError::Inconsistent { .. } => InconsistencyCode::ReceiptUnknownEntry.into(),
        SettleError::Ahead { .. } => InconsistencyCode::CloudAhead.into(),
        SettleError::Foreign => InconsistencyCode::ReceiptInvalid.into(),
        SettleError::Queue(_) => QueueCode::QueueUnwritable.into(),
    }
}

fn unkept(error: KeepPageError) -> Failure {
    tracing::error!(%error, "queue.page_not_kept");
    match error {
        KeepPageError::Inconsistent => InconsistencyCode::FeedWentBack.into(),
        KeepPageError::Foreign => InconsistencyCode::FeedInvalid.into(),
        KeepPageError::PageMissing => InconsistencyCode::FeedBroken.into(),
        KeepPageError::Queue(_) => QueueCode::QueueUnwritable.into(),
    }
}

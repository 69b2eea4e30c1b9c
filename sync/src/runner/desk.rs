//! Does one action after the other of the engine's, or several at once: queue on one side, cloud on the other.
//! There is no timer in it, so a simulator can drive engine and desk by hand.

use crate::clock::ClockReading;
use crate::engine::answer::{self, Expected, FeedState, Pushed, Sent};
use crate::engine::failure::{Failure, FailureCode, InconsistencyCode, QueueCode};
use crate::engine::taken::check_taken;
use crate::engine::time::check_time;
use crate::engine::{Action, ActionId, Dates, Place, Reach, Reply};
use crate::queue::{Batch, Contradiction, Identity, OwnHashes, PageMark, Queue, QueueError, SettleError};
use crate::secure::{Random as _, SystemRandom};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::Hash;
use lotgate_domain::operation::Clock;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::push::{PushClock, PushHeader, PushRequest};
use lotgate_domain::protocol::{CloudApi, HeadReply, PushReply};
use lotgate_domain::reference::Snapshot;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

use super::care::Care;
use super::feed::Feed;
use super::{Reference, StationReport};

/// See the module.
pub struct Desk<C> {
    pub(super) queue: Queue,
    pub(super) cloud: C,
    pub(super) feed: Mutex<Feed>,
    pub(super) reference: watch::Sender<Option<Reference>>,
    parcels: Mutex<BTreeMap<ActionId, Parcel>>,
    pub(super) care: Mutex<Care>,
}

/// A batch on its way.
struct Parcel {
    batch: Batch,
    /// What the push said of the log.
    sent: Sent,
    answer: Option<PushReply>,
}

impl Parcel {
    fn last(&self) -> Head {
        let Batch { epoch, last, .. } = &self.batch;
        Head { epoch: Some(*epoch), seq: last.seq, hash: last.hash }
    }
}

impl<C> Desk<C>
where
    C: CloudApi + Reach + Send + Sync,
    C::Error: Into<Failure> + Display + Send,
{
    /// Between `queue` and `cloud`, with the reference data that the queue keeps.
    ///
    /// # Errors
    /// [`QueueError`] if the stored page cannot be read.
    pub async fn new(queue: Queue, cloud: C) -> Result<Self, QueueError> {
        let stored = queue.page().await?;
        // Where the feed stands is known even if this program cannot read the page: the next one repairs it.
        let feed = stored.as_ref().map_or_else(
            || FeedState::start(queue.identity().site.id),
            |stored| FeedState { cursor: stored.mark.cursor, hash: stored.mark.hash },
        );
        let read = stored.and_then(|stored| {
            let PageMark { cursor, hash, .. } = stored.mark;
            let snapshot = Snapshot::read(&stored.page, cursor, hash)
                .inspect_err(|error| tracing::error!(cursor, %error, "stored reference page is not readable"))
                .ok()?;
            Some(Reference { snapshot: Arc::new(snapshot), mark: stored.mark })
        });
        cloud.use_keys(&queue.station_keys());
        Ok(Self {
            queue,
            cloud,
            feed: Mutex::new(Feed::at(feed)),
            reference: watch::Sender::new(read),
            parcels: Mutex::default(),
            care: Mutex::default(),
        })
    }

    /// The cursor of the reference data, to start an engine with.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        lock(&self.feed).known.cursor
    }

    /// The newest reference data; `None` before the first page.
    #[must_use]
    pub fn reference(&self) -> watch::Receiver<Option<Reference>> {
        self.reference.subscribe()
    }

    /// What the next heartbeats say of devices, disk and alarms, besides what the queue knows.
    pub fn report(&self, report: StationReport) {
        lock(&self.care).report = report;
    }

    /// Whether the station has no good time ([`crate::engine::Engine::handle_clock`]).
    #[must_use]
    pub fn clock_is_doubtful(&self) -> bool {
        let memory = self.queue.state().borrow().clock;
        !matches!(memory.state(&self.queue.clock()), Clock::Ok | Clock::Accepted)
    }

    /// Does one action. What the cloud says is verified and stored before this answers.
    ///
    /// # Errors
    /// [`Failure`], for [`crate::engine::Engine::handle_failure`].
    pub async fn perform(&self, id: ActionId, action: Action) -> Result<Reply, Failure> {
        self.cloud.remember_time(self.queue.state().borrow().clock);
        match action {
            Action::FetchHead => {
                let head = self.cloud.head().await.map_err(|error| failed("head", error))?;
                let place = self.place(&head).await?;
                Ok(Reply::Head { head: Box::new(head), place })
            }
            Action::Read { after, max_entries, max_bytes } => {
                let after = after.unwrap_or_else(|| Head::genesis(self.queue.identity().certificate.hash));
                let batch = self.queue.batch(after, max_entries, max_bytes).await.map_err(unreadable)?;
                Ok(batch.map_or(Reply::Drained, |batch| self.keep_batch(id, batch)))
            }
            Action::Push { batch } => self.push(batch).await,
            Action::Take { batch } => self.take(batch).await,
            Action::SetAside { epoch, after, code } => self.set_aside(epoch, after, code).await,
            Action::SendEvidence => self.send_evidence().await,
            Action::Rotate { reason } => self.rotate(reason).await,
            Action::Heartbeat => self.heartbeat().await,
            Action::PullFeed { after } => self.pull_feed(after).await,
            Action::FetchTime { dates } => self.fetch_time(dates).await,
            Action::Probe => Ok(Reply::Probed { open: self.cloud.reach().await }),
        }
    }

    /// Forgets the batches that nobody waits for any more ([`crate::engine::Engine::awaits`]).
    pub fn retain(&self, awaited: impl Fn(ActionId) -> bool) {
        lock(&self.parcels).retain(|batch, _| awaited(*batch));
    }

    /// The request of [`Action::Push`], for a simulator that carries it itself; `None` if the batch was
    /// forgotten, or handed out before.
    pub fn outgoing(&self, batch: ActionId) -> Option<PushRequest> {
        let clock = self.queue.clock();
        let log = self.queue.state().borrow().log.seen();
        let mut parcels = lock(&self.parcels);
        let parcel = parcels.get_mut(&batch)?;
        parcel.sent.told = log;
        let Batch { epoch, after, count, entries, .. } = &mut parcel.batch;
        let entries = std::mem::take(entries);
        let ClockReading { wall, mono_ms, boot, .. } = clock;
        let clock = PushClock { wall, mono_ms, boot };
        let header = PushHeader { v: 1, epoch: *epoch, after: *after, count: *count, clock, log };
        (!entries.is_empty()).then_some(PushRequest { header, entries })
    }

    /// The cloud's answer to the request of a batch: what the engine hears as [`Reply::Answered`].
    pub fn incoming(&self, batch: ActionId, answer: PushReply) -> Reply {
        if let Some(parcel) = lock(&self.parcels).get_mut(&batch) {
            parcel.answer = Some(answer);
        }
        Reply::Answered
    }

    /// What the engine hears of a rejection of a batch: where the cloud stands, if it said that.
    ///
    /// # Errors
    /// The failure itself, if it did not.
    pub async fn rejected(&self, failure: Failure) -> Result<Reply, Failure> {
        let mismatch = failure.code == FailureCode::Rejected(ProblemCode::HeadMismatch);
        match failure.head.clone().filter(|_| mismatch) {
            Some(head) => {
                let place = self.place(&head).await?;
                Ok(Reply::HeadMismatch { head, place })
            }
            None => Err(failure),
        }
    }

    fn keep_batch(&self, id: ActionId, batch: Batch) -> Reply {
        let sent = Sent { epoch: batch.epoch, after: batch.after.seq, last: batch.last.seq, told: None };
        let parcel = Parcel { batch, sent, answer: None };
        let last = parcel.last();
        lock(&self.parcels).insert(id, parcel);
        Reply::Batch { last }
    }

    async fn push(&self, batch: ActionId) -> Result<Reply, Failure> {
        let request = self.outgoing(batch).ok_or(QueueCode::QueueUnreadable)?;
        let (epoch, last) =
            (request.header.epoch, request.header.after.seq.saturating_add(request.header.count));
        // The mark is for people: it neither keeps a batch waiting, nor does a queue that cannot be written.
        let (marked, answer) = tokio::join!(self.queue.mark_sent(epoch, last), self.cloud.push(request));
        if let Err(error) = marked {
            tracing::warn!(%error, "queue.mark_sent");
        }
        match answer {
            Ok(answer) => Ok(self.incoming(batch, answer)),
            Err(error) => self.rejected(failed("push", error)).await,
        }
    }

    /// Verifies, stores, settles: in this order, and in the order of the pushes.
    async fn take(&self, batch: ActionId) -> Result<Reply, Failure> {
        let parcel = lock(&self.parcels).remove(&batch).ok_or(QueueCode::QueueUnreadable)?;
        let last = parcel.last();
        let Parcel { sent, answer: Some(reply), .. } = parcel else {
            return Err(QueueCode::QueueUnreadable.into());
        };
        match self.settle(last, sent, &reply).await {
            Err(Unsettled::Failure(failure)) => Err(failure),
            Err(Unsettled::Inconsistent(code)) => {
                let known = self.queue.state().borrow().log;
                self.contradicted(answer::contradiction(code, sent, known, &reply)).await;
                Err(code.into())
            }
            Ok(Reply::Pushed { stopped, kept, .. }) => {
                let present = self.queue.state().borrow().head.epoch;
                Ok(Reply::Pushed { stopped, forked: reply.branch > 0 && present == last.epoch, kept })
            }
            Ok(reply) => Ok(reply),
        }
    }

    async fn settle(&self, last: Head, sent: Sent, reply: &PushReply) -> Result<Reply, Unsettled> {
        let identity = self.queue.identity();
        let known = self.queue.state().borrow().log;
        let through = reply.accepted_through;
        let held = self.holds(through).await?;
        let stopped = check_taken(sent.after.saturating_add(1), last, through, held, reply.stopped)?;
        let claim = match answer::check_push(expected(&identity), sent, known, reply)? {
            Pushed::Overtaken | Pushed::Recovered(_) => return Ok(Reply::StartOver),
            Pushed::Nothing => return Ok(Reply::Pushed { stopped, forked: false, kept: true }),
            Pushed::Claimed(claim) => claim,
        };
        let own = match claim.wanted() {
            Some((first, count)) => self.queue.hashes(sent.epoch, first, count).await.map_err(unreadable)?,
            None => OwnHashes::default(),
        };
        let kept = match self.queue.settle(claim.prove(&own)?).await {
            Ok(settled) => {
                tracing::debug!(newly = settled.newly, exceptions = settled.exceptions, "queue.settled");
                true
            }
            // A queue that cannot be written is emptied all the same.
            Err(SettleError::Queue(error)) => {
                tracing::error!(%error, "queue.unsettled");
                false
            }
            Err(SettleError::Overtaken) => return Ok(Reply::StartOver),
            Err(error) => return Err(unsettled(&error)),
        };
        Ok(Reply::Pushed { stopped, forked: false, kept })
    }

    async fn fetch_time(&self, dates: Dates) -> Result<Reply, Failure> {
        let identity = self.queue.identity();
        let mut nonce = [0; 32];
        SystemRandom.fill(&mut nonce).map_err(|error| {
            tracing::error!(%error, "no random bytes for a nonce");
            QueueCode::QueueUnreadable
        })?;
        let nonce = Hash(nonce);
        let bytes = self.cloud.signed_time(identity.tenant, nonce, dates).await?;
        let signed = match check_time(&identity.trust, nonce, &bytes) {
            Ok(signed) => signed,
            Err(code) => {
                let told = json!({ "statement": hex::encode(&bytes) });
                self.contradicted(contradiction(code, &told, &json!({ "nonce": nonce }))).await;
                return Err(code.into());
            }
        };
        tracing::info!(time = %signed.value.time, "clock.signed_time");
        self.queue.keep_time(signed).await.map_err(unwritable)?;
        self.cloud.remember_time(self.queue.state().borrow().clock);
        Ok(Reply::Time)
    }

    /// What the queue has to say to the cloud's head; restores of the log that it tells of are accepted first.
    async fn place(&self, head: &HeadReply) -> Result<Place, Failure> {
        let identity = self.queue.identity();
        let known = self.queue.state().borrow().log;
        let restores = match answer::check_recovered(expected(&identity), known, &head.recovered) {
            Ok(restores) => restores,
            Err(code) => return Err(self.bad_head(code, head).await),
        };
        let restored = !restores.is_empty();
        if restored {
            tracing::error!(generation = known.generation, "log.recovered");
            match self.queue.accept_recovery(restores, head.head()).await {
                Ok(()) => {}
                Err(SettleError::Queue(error)) => return Err(unwritable(error)),
                Err(_) => return Err(self.bad_head(InconsistencyCode::LogWentBack, head).await),
            }
        }
        let head_held = self.holds(head.head()).await?;
        let settled = self.queue.state().borrow().settled_through;
        let settled = settled.map(|ChainPoint { epoch, seq, hash }| Head { epoch: Some(epoch), seq, hash });
        Ok(Place { head_held, settled, restored })
    }

    async fn bad_head(&self, code: InconsistencyCode, head: &HeadReply) -> Failure {
        let known = self.queue.state().borrow().log;
        let ours = json!({ "log": known.seen(), "generation": known.generation });
        self.contradicted(contradiction(code, &json!(head), &ours)).await;
        code.into()
    }

    /// Keeps both sides of a contradiction. Where even that fails, the alarm of the engine remains.
    pub(super) async fn contradicted(&self, contradiction: Contradiction) {
        tracing::error!(code = contradiction.code, "sync.server_inconsistent");
        if let Err(error) = self.queue.keep_contradiction(contradiction).await {
            tracing::error!(%error, "a contradiction of the cloud could not be kept");
        }
    }

    async fn holds(&self, point: Head) -> Result<bool, Failure> {
        // A number past SQLite's integers is a lie of the cloud, not a fault of the queue.
        if i64::try_from(point.seq).is_err() {
            return Ok(false);
        }
        self.queue.holds(point).await.map_err(unreadable)
    }
}

/// Why an answer settles nothing.
pub(super) enum Unsettled {
    Failure(Failure),
    Inconsistent(InconsistencyCode),
}

impl From<Failure> for Unsettled {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<InconsistencyCode> for Unsettled {
    fn from(code: InconsistencyCode) -> Self {
        Self::Inconsistent(code)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn expected(identity: &Identity) -> Expected<'_> {
    Expected { trust: &identity.trust, station: identity.station, site: identity.site.id }
}

pub(super) fn contradiction(
    code: InconsistencyCode,
    told: &serde_json::Value,
    ours: &serde_json::Value,
) -> Contradiction {
    let code = FailureCode::Inconsistent(code).as_str();
    Contradiction { code, told: told.to_string(), ours: ours.to_string() }
}

pub(super) fn failed<E: Into<Failure> + Display>(call: &'static str, error: E) -> Failure {
    tracing::debug!(call, %error, "sync.call_failed");
    error.into()
}

pub(super) fn unreadable(error: QueueError) -> Failure {
    tracing::error!(%error, "queue.unreadable");
    match error {
        QueueError::Damaged { .. } => QueueCode::QueueDamaged.into(),
        _ => QueueCode::QueueUnreadable.into(),
    }
}

pub(super) fn unwritable(error: QueueError) -> Failure {
    tracing::error!(%error, "queue.unwritable");
    QueueCode::QueueUnwritable.into()
}

fn unsettled(error: &SettleError) -> Unsettled {
    tracing::error!(%error, "queue.unsettled");
    match error {
        SettleError::Inconsistent { .. } => InconsistencyCode::ReceiptUnknownEntry.into(),
        SettleError::Ahead { .. } => InconsistencyCode::CloudAhead.into(),
        SettleError::Foreign => InconsistencyCode::ReceiptInvalid.into(),
        SettleError::Queue(_) | SettleError::Overtaken => Failure::from(QueueCode::QueueUnwritable).into(),
    }
}

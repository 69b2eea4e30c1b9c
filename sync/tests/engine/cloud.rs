//! A cloud in memory: the real rules and real signatures over the ledger's memory store, with the tricks
//! that a test asks for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up must stop")]

use lotgate_domain::chain::Head;
use lotgate_domain::ids::Hash;
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::prefix::{check, verify_signature};
use lotgate_domain::ledger::{self, Authority, LedgerError, Station, Store as _};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::{
    CloudApi, EnrolReply, EnrolRequest, FeedReply, HeadReply, HexBytes, Limits, PushReply,
};
use lotgate_domain::reference::{ReferenceFile, feed_next, feed_start, render_page};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, FeedPoint, Statement as _};
use lotgate_domain::time::Timestamp;
use lotgate_sync::engine::Reach;
use lotgate_sync::engine::failure::{Failure, FailureCode, LinkCode};
use std::sync::Arc;
use tokio::sync::Mutex;

type Tamper<T> = Option<Box<dyn FnMut(&mut T) + Send>>;

/// What stands between station and cloud, and what the cloud lies about.
#[derive(Default)]
pub(crate) struct Tricks {
    pub(crate) down: bool,
    pub(crate) lose_replies: u32,
    pub(crate) head: Tamper<HeadReply>,
    pub(crate) push: Tamper<PushReply>,
    pub(crate) feed: Tamper<FeedReply>,
}

pub(crate) struct State {
    pub(crate) tricks: Tricks,
    pub(crate) store: MemoryStore,
    pages: Vec<Vec<u8>>,
    time: i64,
}

#[derive(Clone)]
pub(crate) struct MemoryCloud {
    pub(crate) station: Station,
    keys: Arc<KeyPair>,
    pub(crate) state: Arc<Mutex<State>>,
}

/// Why the cloud in memory gave no answer.
#[derive(Debug)]
pub(crate) struct NoAnswer(FailureCode, Option<HeadReply>);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<NoAnswer> for Failure {
    fn from(NoAnswer(code, head): NoAnswer) -> Self {
        Self { code, retry_after_ms: None, head: head.map(Box::new) }
    }
}

const DOWN: NoAnswer = NoAnswer(FailureCode::Link(LinkCode::ConnectionRefused), None);
const LOST: NoAnswer = NoAnswer(FailureCode::Link(LinkCode::ConnectionLost), None);

impl MemoryCloud {
    /// `keys` is the tenant's statement key.
    pub(crate) fn new(station: Station, keys: KeyPair) -> Self {
        let state =
            State { tricks: Tricks::default(), store: MemoryStore::default(), pages: Vec::new(), time: 0 };
        Self { station, keys: Arc::new(keys), state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) async fn publish(&self, file: &ReferenceFile) {
        let page = render_page(file, "Europe/Berlin").unwrap();
        self.state.lock().await.pages.push(page);
    }

    /// Signs where the feed stands at `cursor`, whatever is true.
    pub(crate) fn point(&self, cursor: u64, hash: Hash, time: i64) -> Vec<u8> {
        let point = FeedPoint {
            v: 1,
            kind: FeedPoint::KIND.to_owned(),
            tenant: self.station.tenant,
            key: self.keys.public().key_id(),
            site: self.station.site,
            cursor,
            hash,
            time: Timestamp::from_unix_ms(time),
        };
        statement::sign(&point, &self.keys).unwrap()
    }

    async fn head_reply(&self, state: &mut State) -> HeadReply {
        let held = state.store.head(self.station.id).await.unwrap();
        let Head { epoch, seq, hash } = held.unwrap_or(Head::genesis(self.station.certificate));
        HeadReply {
            epoch,
            seq,
            hash,
            limits: Limits { entries: 7, bytes: 1 << 20, in_flight: 1 },
            restore_window_s: 0,
            time: Timestamp::from_unix_ms(0),
            backoff_ms: 0,
        }
    }

    async fn take(&self, state: &mut State, request: &PushRequest) -> Result<PushReply, NoAnswer> {
        let authority = Authority { tenant: self.station.tenant, keys: &self.keys };
        let frames = request.frames().unwrap();
        let checked = frames.iter().map(|frame| check(frame, &self.station, verify_signature)).collect();
        let ingested = ledger::ingest(&mut state.store, &self.station, &request.header, checked).await;
        let ingested = match ingested {
            Ok(ingested) => ingested,
            Err(LedgerError::HeadMismatch) => {
                let head = self.head_reply(state).await;
                return Err(NoAnswer(FailureCode::Rejected(ProblemCode::HeadMismatch), Some(head)));
            }
            Err(error) => panic!("{error}"),
        };
        state.time += 1;
        let now = Timestamp::from_unix_ms(state.time);
        let applied = ledger::apply(&mut state.store, &authority, &self.station, ingested.new).await.unwrap();
        let receipt = ledger::receipt(
            &mut state.store,
            &authority,
            &self.station,
            &ingested.through,
            applied.as_ref(),
            now,
        )
        .await
        .unwrap();
        let (epoch, first) = (request.header.epoch, request.header.after.seq + 1);
        let last = request.header.after.seq + request.header.count;
        let verdicts = state.store.verdicts(self.station.id, epoch, first, last).await.unwrap();
        Ok(PushReply {
            accepted_through: ingested.through,
            first_index: applied.map(|applied| applied.first_index),
            stopped: ingested.stopped,
            branch: 0,
            verdicts: verdicts.into_iter().map(HexBytes).collect(),
            receipt: receipt.map(HexBytes),
        })
    }
}

impl CloudApi for MemoryCloud {
    type Error = NoAnswer;

    async fn enrol(&self, _request: EnrolRequest) -> Result<EnrolReply, NoAnswer> {
        Err(DOWN)
    }

    async fn head(&self) -> Result<HeadReply, NoAnswer> {
        let mut state = self.state.lock().await;
        if state.tricks.down {
            return Err(DOWN);
        }
        let mut reply = self.head_reply(&mut state).await;
        if let Some(tamper) = &mut state.tricks.head {
            tamper(&mut reply);
        }
        Ok(reply)
    }

    async fn push(&self, request: PushRequest) -> Result<PushReply, NoAnswer> {
        let mut state = self.state.lock().await;
        if state.tricks.down {
            return Err(DOWN);
        }
        let mut reply = self.take(&mut state, &request).await?;
        if state.tricks.lose_replies > 0 {
            state.tricks.lose_replies -= 1;
            return Err(LOST);
        }
        if let Some(tamper) = &mut state.tricks.push {
            tamper(&mut reply);
        }
        Ok(reply)
    }

    async fn feed(&self, after: u64) -> Result<FeedReply, NoAnswer> {
        let mut state = self.state.lock().await;
        if state.tricks.down {
            return Err(DOWN);
        }
        state.time += 1;
        let newest = u64::try_from(state.pages.len()).unwrap();
        let cursor = newest.min(after.saturating_add(1));
        let mut shown = state.pages.iter().take(usize::try_from(cursor).unwrap());
        let hash = shown.clone().fold(feed_start(self.station.site), |hash, page| feed_next(hash, page));
        let page = if cursor > after { shown.next_back().cloned() } else { None };
        let statement = (cursor > 0).then(|| self.point(cursor, hash, state.time));
        let mut reply = FeedReply { statement, page };
        if let Some(tamper) = &mut state.tricks.feed {
            tamper(&mut reply);
        }
        Ok(reply)
    }
}

impl Reach for MemoryCloud {
    async fn reach(&self) -> bool {
        !self.state.lock().await.tricks.down
    }
}

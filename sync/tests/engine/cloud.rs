//! A cloud in memory: the real rules and real signatures over the ledger's memory store, with the tricks
//! that a test asks for.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up must stop"
)]

use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Hash, PublicKey, TenantId};
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::number::Fresh;
use lotgate_domain::ledger::prefix::{check, verify_signature};
use lotgate_domain::ledger::{self, Authority, LedgerError, Station, StationKey, Store as _};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::protocol::care::{
    EvidenceReply, EvidenceRequest, Heartbeat, HeartbeatReply, RetireReply, RetireRequest, RotateReply,
    RotateRequest,
};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::proof::LogProof;
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::{
    CloudApi, EnrolReply, EnrolRequest, FeedReply, HeadReply, HexBytes, Limits, PushReply,
};
use lotgate_domain::reference::{ReferenceFile, feed_next, feed_start, render_page};
use lotgate_domain::signature::{self, Context, KeyPair};
use lotgate_domain::statement::event::TimeStatement;
use lotgate_domain::statement::{self, FeedPoint, Statement as _};
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::ClockMemory;
use lotgate_sync::engine::failure::{Failure, FailureCode, LinkCode};
use lotgate_sync::engine::{Dates, Reach};
use lotgate_sync::secure::StationKeys;
use std::sync::{Arc, Mutex as PlainMutex};
use std::time::Duration;
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
    /// The signature of the entry with this number is called wrong.
    pub(crate) stop_at: Option<u64>,
    /// The next answer to a rotation is lost.
    pub(crate) lose_rotation: bool,
    /// The signed time answers another question.
    pub(crate) stale_time: bool,
}

pub(crate) struct State {
    pub(crate) tricks: Tricks,
    pub(crate) store: MemoryStore,
    pub(crate) station: Station,
    pub(crate) heartbeats: Vec<Heartbeat>,
    pub(crate) evidence: Vec<EvidenceRequest>,
    pub(crate) rotations: Vec<RotateRequest>,
    /// Signed times that were asked for.
    pub(crate) times: u64,
    pub(crate) pages: Vec<Vec<u8>>,
    pub(crate) time: i64,
}

/// Certifies a later key of the station: public key and X25519 key.
pub(crate) type Certifier = Box<dyn Fn(u64, PublicKey, PublicKey) -> (Vec<Vec<u8>>, Hash) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct MemoryCloud {
    pub(crate) station: Station,
    keys: Arc<KeyPair>,
    log: Arc<KeyPair>,
    certifier: Arc<Certifier>,
    /// Pushes that are under way, and the most that ever were.
    pub(crate) pushes: Arc<PlainMutex<(usize, usize)>>,
    /// How long a push is on its way.
    pub(crate) latency: Arc<PlainMutex<Duration>>,
    /// The key that requests are signed with.
    pub(crate) requests: Arc<PlainMutex<Option<PublicKey>>>,
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
const STRANGER: NoAnswer = NoAnswer(FailureCode::Rejected(ProblemCode::UnknownKey), None);
const LOST: NoAnswer = NoAnswer(FailureCode::Link(LinkCode::ConnectionLost), None);

impl MemoryCloud {
    /// `keys` and `log` are the tenant's statement and log key.
    pub(crate) fn new(station: Station, keys: KeyPair, log: KeyPair, certifier: Certifier) -> Self {
        let state = State {
            tricks: Tricks::default(),
            store: MemoryStore::new([station.clone()]),
            station: station.clone(),
            heartbeats: Vec::new(),
            evidence: Vec::new(),
            rotations: Vec::new(),
            times: 0,
            pages: Vec::new(),
            time: 0,
        };
        Self {
            station,
            keys: Arc::new(keys),
            log: Arc::new(log),
            certifier: Arc::new(certifier),
            pushes: Arc::default(),
            latency: Arc::default(),
            requests: Arc::default(),
            state: Arc::new(Mutex::new(state)),
        }
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
            limits: Limits { entries: 7, bytes: 1 << 20, in_flight: 3 },
            restore_window_s: 0,
            time: Timestamp::from_unix_ms(0),
            backoff_ms: 0,
            recovered: state.store.recovered.iter().map(|(_, bytes)| HexBytes(bytes.clone())).collect(),
        }
    }

    async fn take(&self, state: &mut State, request: &PushRequest) -> Result<PushReply, NoAnswer> {
        let authority = Authority { tenant: self.station.tenant, keys: &self.keys };
        let station = state.station.clone();
        state.time += 1;
        let now = Timestamp::from_unix_ms(state.time);
        let frames = request.frames().unwrap();
        let mut checked: Vec<_> =
            frames.iter().map(|frame| check(frame, &station, verify_signature)).collect();
        for entry in &mut checked {
            let bad = entry.as_ref().is_ok_and(|e| Some(e.seq) == state.tricks.stop_at && e.epoch.n == 1);
            if bad {
                *entry = Err(lotgate_domain::protocol::StopCode::BadSignature);
            }
        }
        let header = &request.header;
        let ingested = match ledger::ingest(&mut state.store, &station, header, checked, now).await {
            Ok(ingested) => ingested,
            Err(LedgerError::HeadMismatch) => {
                let head = self.head_reply(state).await;
                return Err(NoAnswer(FailureCode::Rejected(ProblemCode::HeadMismatch), Some(head)));
            }
            Err(error) => panic!("{error}"),
        };
        ledger::number(&mut state.store, &authority, Fresh::new(), now).await.unwrap();
        let answer =
            ledger::answer(&mut state.store, &authority, station.id, header, &ingested, now).await.unwrap();
        let proof = answer.tree.as_ref().map(|tree| {
            let checkpoint =
                Checkpoint { tenant: station.tenant, generation: tree.generation, head: tree.head };
            LogProof {
                checkpoint: checkpoint.sign(&self.log),
                ranges: answer.ranges.clone(),
                consistency: answer.consistency.clone(),
                recovered: answer.recovered.iter().cloned().map(HexBytes).collect(),
            }
        });
        Ok(PushReply {
            accepted_through: ingested.through,
            first_index: ingested.new.and(answer.tree.map(|tree| tree.first_index)),
            stopped: ingested.stopped,
            branch: ingested.branch,
            verdicts: answer.verdicts.into_iter().map(|batch| HexBytes(batch.bytes)).collect(),
            receipt: answer.receipt.map(HexBytes),
            proof,
        })
    }

    async fn reachable(&self) -> Result<tokio::sync::MutexGuard<'_, State>, NoAnswer> {
        let state = self.state.lock().await;
        let key = *self.requests.lock().unwrap();
        match () {
            () if state.tricks.down => Err(DOWN),
            () if key.is_some_and(|key| key != state.station.key) => Err(STRANGER),
            () => Ok(state),
        }
    }
}

impl CloudApi for MemoryCloud {
    type Error = NoAnswer;

    async fn enrol(&self, _request: EnrolRequest) -> Result<EnrolReply, NoAnswer> {
        Err(DOWN)
    }

    async fn head(&self) -> Result<HeadReply, NoAnswer> {
        let mut state = self.reachable().await?;
        let mut reply = self.head_reply(&mut state).await;
        if let Some(tamper) = &mut state.tricks.head {
            tamper(&mut reply);
        }
        Ok(reply)
    }

    async fn push(&self, request: PushRequest) -> Result<PushReply, NoAnswer> {
        {
            let mut pushes = self.pushes.lock().unwrap();
            pushes.0 += 1;
            pushes.1 = pushes.1.max(pushes.0);
        }
        let latency = *self.latency.lock().unwrap();
        tokio::time::sleep(latency).await;
        self.pushes.lock().unwrap().0 -= 1;
        let mut state = self.reachable().await?;
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
        let mut state = self.reachable().await?;
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

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply, NoAnswer> {
        self.reachable().await?.heartbeats.push(heartbeat);
        let limits = Limits { entries: 7, bytes: 1 << 20, in_flight: 3 };
        Ok(HeartbeatReply { limits, revoked: false, oldest_version: None })
    }

    async fn evidence(&self, request: EvidenceRequest) -> Result<EvidenceReply, NoAnswer> {
        let kept = u64::try_from(request.entries.len()).unwrap();
        self.reachable().await?.evidence.push(request);
        Ok(EvidenceReply { kept })
    }

    async fn rotate(&self, request: RotateRequest) -> Result<RotateReply, NoAnswer> {
        let mut state = self.state.lock().await;
        if state.tricks.down {
            return Err(DOWN);
        }
        let signer = *self.requests.lock().unwrap();
        if request.public_key == state.station.key && signer == state.station.former.first().map(|k| k.key) {
            let n = u64::try_from(state.station.former.len()).unwrap();
            let (certificates, _) = (self.certifier)(n, request.public_key, request.hpke_key);
            return Ok(RotateReply { certificates: certificates.into_iter().map(HexBytes).collect() });
        }
        let present = state.station.key;
        let message = RotateRequest::proof_message(&present, &request.public_key, &request.hpke_key);
        signature::verify(&request.public_key, Context::Enrol, &message, &request.proof)
            .expect("the new key must prove itself");
        assert_eq!(*self.requests.lock().unwrap(), Some(present), "asked for with another key");
        let n = u64::try_from(state.station.former.len()).unwrap() + 1;
        let (certificates, hash) = (self.certifier)(n, request.public_key, request.hpke_key);
        let former = StationKey { key: present, certificate: state.station.certificate };
        state.station.former.insert(0, former);
        (state.station.key, state.station.certificate) = (request.public_key, hash);
        let station = state.station.clone();
        state.store.stations.insert(station.id, station);
        state.rotations.push(request);
        if std::mem::take(&mut state.tricks.lose_rotation) {
            return Err(LOST);
        }
        Ok(RotateReply { certificates: certificates.into_iter().map(HexBytes).collect() })
    }

    async fn retire(&self, _request: RetireRequest) -> Result<RetireReply, NoAnswer> {
        Err(DOWN)
    }
}

impl Reach for MemoryCloud {
    async fn reach(&self) -> bool {
        !self.state.lock().await.tricks.down
    }

    async fn signed_time(&self, tenant: TenantId, nonce: Hash, _dates: Dates) -> Result<Vec<u8>, Failure> {
        let mut state = self.reachable().await?;
        state.times += 1;
        let nonce = if state.tricks.stale_time { Hash::ZERO } else { nonce };
        let time = TimeStatement {
            v: 1,
            kind: TimeStatement::KIND.to_owned(),
            tenant,
            key: self.keys.public().key_id(),
            nonce,
            time: Timestamp::from_unix_ms(state.time),
        };
        Ok(statement::sign(&time, &self.keys).unwrap())
    }

    fn remember_time(&self, _memory: ClockMemory) {}

    fn use_keys(&self, keys: &StationKeys) {
        *self.requests.lock().unwrap() = Some(keys.public());
    }
}

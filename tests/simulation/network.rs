//! The way from a station to the cloud: what the station's desk asks lies here until the world carries it on.

use lotgate_domain::ids::{Hash, PublicKey, TenantId};
use lotgate_domain::protocol::care::{
    EvidenceReply, EvidenceRequest, Heartbeat, HeartbeatReply, RetireReply, RetireRequest, RotateReply,
    RotateRequest,
};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::{CloudApi, EnrolReply, EnrolRequest, FeedReply, HeadReply, PushReply};
use lotgate_sync::clock::{Clock, ClockMemory};
use lotgate_sync::engine::failure::{Failure, FailureCode, LinkCode, TlsCode};
use lotgate_sync::engine::{ActionId, Dates, Reach};
use lotgate_sync::secure::StationKeys;
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use super::clock::SimClock;
use super::tenant::NOON;

/// The server's certificate is good for a year before and after.
const VALID_MS: i64 = 365 * 86_400_000;

/// What a station asks.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Head,
    Push(PushRequest),
    Feed(u64),
    Heartbeat(Box<Heartbeat>),
    Evidence(EvidenceRequest),
    Rotate(RotateRequest),
    Time(Hash),
    Probe,
}

impl Request {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Push(_) => "push",
            Self::Feed(_) => "feed",
            Self::Heartbeat(_) => "heartbeat",
            Self::Evidence(_) => "evidence",
            Self::Rotate(_) => "rotate",
            Self::Time(_) => "time",
            Self::Probe => "probe",
        }
    }
}

/// What the cloud answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Head(Box<HeadReply>),
    Push(Box<PushReply>),
    Feed(FeedReply),
    Heartbeat(HeartbeatReply),
    Evidence(EvidenceReply),
    Rotate(RotateReply),
    Time(Vec<u8>),
    Probe(bool),
}

pub(crate) type Outcome = Result<Answer, Failure>;

/// A call that was not carried on yet.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) number: u64,
    /// The key that signs it.
    pub(crate) key: PublicKey,
    pub(crate) request: Request,
}

#[derive(Default)]
struct State {
    next: u64,
    job: Option<ActionId>,
    key: Option<PublicKey>,
    memory: ClockMemory,
    started: Vec<Call>,
    waiting: BTreeMap<u64, ActionId>,
    answers: BTreeMap<u64, Outcome>,
}

/// Where calls of one life of a station lie.
#[derive(Default)]
pub(crate) struct Port(Mutex<State>);

impl Port {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which action is worked on.
    pub(crate) fn work_on(&self, job: ActionId) {
        self.state().job = Some(job);
    }

    /// Whether an action waits for an answer of the cloud that is not here yet.
    pub(crate) fn is_waiting(&self, job: ActionId) -> bool {
        let state = self.state();
        state.waiting.iter().any(|(call, of)| *of == job && !state.answers.contains_key(call))
    }

    /// The calls that were begun since.
    pub(crate) fn take_started(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().started)
    }

    /// Gives an answer; says which action may go on, if it still waits.
    pub(crate) fn answer(&self, call: u64, outcome: Outcome) -> Option<ActionId> {
        let mut state = self.state();
        let job = state.waiting.get(&call).copied()?;
        if state.answers.contains_key(&call) {
            return None;
        }
        state.answers.insert(call, outcome);
        Some(job)
    }

    fn start(&self, request: Request) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        let job = state.job.expect("a call outside an action");
        let key = state.key.expect("a call without a key");
        state.waiting.insert(number, job);
        state.started.push(Call { number, key, request });
        number
    }
}

/// A call whose answer nobody waits for any more is forgotten.
struct Waiting<'a> {
    port: &'a Port,
    call: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.port.state();
        state.waiting.remove(&self.call);
        state.answers.remove(&self.call);
    }
}

/// The station's end.
pub(crate) struct Client {
    pub(crate) port: Arc<Port>,
    pub(crate) clock: Arc<SimClock>,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(crate) struct CallFailed(Failure);

impl fmt::Display for CallFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.code.fmt(f)
    }
}

impl From<CallFailed> for Failure {
    fn from(failed: CallFailed) -> Self {
        failed.0
    }
}

impl Client {
    /// As the real client judges the dates of the server's certificate.
    fn check_dates(&self) -> Result<(), Failure> {
        let time = self.port.state().memory.certificate_time(&self.clock.read()).unix_ms();
        let code = if time < NOON - VALID_MS {
            TlsCode::CertificateNotYetValid
        } else if time > NOON + VALID_MS {
            TlsCode::CertificateExpired
        } else {
            return Ok(());
        };
        Err(FailureCode::Tls(code).into())
    }

    async fn ask(&self, request: Request) -> Result<Answer, CallFailed> {
        let call = self.port.start(request);
        let _waiting = Waiting { port: &self.port, call };
        let outcome = poll_fn(|_| match self.port.state().answers.remove(&call) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        });
        outcome.await.map_err(CallFailed)
    }

    async fn ask_judged(&self, request: Request) -> Result<Answer, CallFailed> {
        self.check_dates().map_err(CallFailed)?;
        self.ask(request).await
    }
}

macro_rules! answer {
    ($outcome:expr, $kind:ident) => {
        match $outcome.await? {
            Answer::$kind(answer) => Ok(answer),
            _ => unreachable!("the answer to another request"),
        }
    };
}

impl CloudApi for Client {
    type Error = CallFailed;

    async fn enrol(&self, _request: EnrolRequest) -> Result<EnrolReply, CallFailed> {
        Err(CallFailed(FailureCode::Rejected(ProblemCode::TokenUsed).into()))
    }

    async fn head(&self) -> Result<HeadReply, CallFailed> {
        answer!(self.ask_judged(Request::Head), Head).map(|head: Box<HeadReply>| *head)
    }

    async fn push(&self, request: PushRequest) -> Result<PushReply, CallFailed> {
        answer!(self.ask_judged(Request::Push(request)), Push).map(|reply: Box<PushReply>| *reply)
    }

    async fn feed(&self, after: u64) -> Result<FeedReply, CallFailed> {
        answer!(self.ask_judged(Request::Feed(after)), Feed)
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply, CallFailed> {
        answer!(self.ask_judged(Request::Heartbeat(Box::new(heartbeat))), Heartbeat)
    }

    async fn evidence(&self, request: EvidenceRequest) -> Result<EvidenceReply, CallFailed> {
        answer!(self.ask_judged(Request::Evidence(request)), Evidence)
    }

    async fn rotate(&self, request: RotateRequest) -> Result<RotateReply, CallFailed> {
        answer!(self.ask_judged(Request::Rotate(request)), Rotate)
    }

    async fn retire(&self, _request: RetireRequest) -> Result<RetireReply, CallFailed> {
        Err(CallFailed(FailureCode::Link(LinkCode::ConnectionRefused).into()))
    }
}

impl Reach for Client {
    async fn reach(&self) -> bool {
        matches!(self.ask(Request::Probe).await, Ok(Answer::Probe(true)))
    }

    async fn signed_time(&self, _tenant: TenantId, nonce: Hash, dates: Dates) -> Result<Vec<u8>, Failure> {
        if dates == Dates::Judged {
            self.check_dates()?;
        }
        let answer: Result<Vec<u8>, CallFailed> =
            async { answer!(self.ask(Request::Time(nonce)), Time) }.await;
        answer.map_err(Failure::from)
    }

    fn remember_time(&self, memory: ClockMemory) {
        self.port.state().memory = memory;
    }

    fn use_keys(&self, keys: &StationKeys) {
        self.port.state().key = Some(keys.public());
    }
}

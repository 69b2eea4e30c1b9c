//! The cloud over HTTP: TLS 1.3, requests signed by RFC 9421, challenge nonces (PROTOCOL §3, §9.9–9.19).
//!
//! Every reply carries the nonce for the next request. A request that is answered `nonce_required` or
//! `nonce_expired` is repeated once, at once, with the nonce of that answer; only a second such answer is a
//! failure. Redirects are never followed, bodies are cut off at a cap while they arrive, and nothing is
//! unpacked except where asked for.
//!
//! The dates of the server's certificate are judged at the station's trusted time, not at its wall clock. Where
//! that fails, the engine asks for a signed time: [`Reach::signed_time`] opens a connection of its own for it,
//! on which chain and name are judged but no dates, and which carries nothing else.

mod error;
mod exchange;
mod tls;

use crate::clock::{Clock, ClockMemory};
use crate::engine::failure::{Failure, ReplyCode};
use crate::engine::{Dates, Reach};
use crate::secure::StationKeys;
pub use error::CallError;
use exchange::{Answer, Body, Exchange};
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Hash, StationId, TenantId};
use lotgate_domain::protocol::care::{
    EvidenceReply, EvidenceRequest, Heartbeat, HeartbeatReply, RetireReply, RetireRequest, RotateReply,
    RotateRequest,
};
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::{
    CloudApi, ENROL_PATH, EVIDENCE_PATH, EnrolReply, EnrolRequest, FEED_PATH, FeedReply, HEAD_PATH,
    HEARTBEAT_PATH, HeadReply, OPERATIONS_PATH, PUSH_CONTENT_TYPE, PushReply, RETIRE_PATH, ROTATE_PATH,
    TIME_PATH,
};
use lotgate_domain::signature::KeyPair;
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tls::{Configurations, StationTime, TlsSetupError};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The largest reply, as it arrives, in bytes.
pub const MAX_REPLY: usize = 4 * 1024 * 1024;
/// The largest feed reply after unpacking, in bytes. One page holds a whole site until pages are cut.
pub const MAX_FEED: usize = 16 * 1024 * 1024;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const PROBE_WITHIN: Duration = Duration::from_millis(1_500);
/// A forwarder with nothing behind it accepts and closes; a server waits for the request.
const PROBE_STAYS_OPEN: Duration = Duration::from_millis(150);
const ZSTD_LEVEL: i32 = 3;

/// How to get out of the plant's network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    /// As the system says: environment variables, or Windows' settings. The probe goes directly all the same;
    /// where the plant forbids that, it is the exponential wait that ends a failure.
    #[default]
    System,
    /// Directly.
    Off,
    /// By this proxy. The probe can then only see whether the proxy listens, so after a failure it is the
    /// exponential wait that ends it.
    Url(String),
}

/// Where the cloud is and how to get there.
#[derive(Clone)]
pub struct HttpOptions {
    /// `https://host[:port]`; plain `http` only for a host on this machine.
    pub server: String,
    /// Certificates (PEM) of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The way out.
    pub proxy: Proxy,
    /// For `created`, and, with what [`Reach::remember_time`] was told, to judge the dates of certificates.
    pub clock: Arc<dyn Clock>,
}

/// Who signs the requests.
#[derive(Debug, Clone)]
pub struct RequestKeys {
    /// The tenant.
    pub tenant: TenantId,
    /// The station.
    pub station: StationId,
    /// Its key.
    pub keys: Arc<KeyPair>,
}

/// The options do not make a client.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// The server is not `https://host[:port]`.
    #[error("the server must be written https://host[:port]: {0}")]
    Server(String),
    /// Plain HTTP to another machine.
    #[error("plain http is only for a server on this machine: {0}")]
    PlainHttp(String),
    /// The file with the authorities cannot be read.
    #[error("the file with certificate authorities cannot be read: {path}")]
    CaFileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file with the authorities holds no certificate, or one that is none.
    #[error("the file with certificate authorities is not PEM certificates: {0}")]
    CaFileInvalid(PathBuf),
    /// The system trusts nobody, and no file was given.
    #[error("the system has no certificate authorities, and no file with some was given")]
    NoSystemRoots,
    /// The proxy's address is not usable. It is not repeated: there may be a password in it.
    #[error("the proxy's address is not usable")]
    Proxy,
    /// The TLS library refuses the configuration.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The HTTP library refuses the configuration.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

impl HttpSetupError {
    /// The code as written.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Server(_) => "server_invalid",
            Self::PlainHttp(_) => "plain_http",
            Self::CaFileUnreadable { .. } => "ca_file_unreadable",
            Self::CaFileInvalid(_) => "ca_file_invalid",
            Self::NoSystemRoots => "no_system_roots",
            Self::Proxy => "proxy_invalid",
            Self::Tls(_) | Self::Client(_) => "client_failed",
        }
    }
}

/// The cloud over HTTP, as one station speaks to it.
pub struct HttpCloud {
    exchange: Exchange,
    /// For the one request for a signed time whose server's dates are not judged.
    dateless: reqwest::Client,
    time: Arc<StationTime>,
    /// Host and port that a probe connects to.
    listener: (String, u16),
}

impl HttpCloud {
    /// A client that has no station yet: only [`CloudApi::enrol`] is of use.
    ///
    /// # Errors
    /// [`HttpSetupError`].
    pub fn for_enrolment(options: HttpOptions) -> Result<Self, HttpSetupError> {
        Self::new(options, None)
    }

    /// The client of an enrolled station.
    ///
    /// # Errors
    /// [`HttpSetupError`].
    pub fn for_station(options: HttpOptions, keys: RequestKeys) -> Result<Self, HttpSetupError> {
        Self::new(options, Some(keys))
    }

    fn new(options: HttpOptions, keys: Option<RequestKeys>) -> Result<Self, HttpSetupError> {
        let server = Server::parse(&options.server)?;
        let proxy = match &options.proxy {
            Proxy::Url(url) => Some(Url::parse(url).map_err(|_| HttpSetupError::Proxy)?),
            Proxy::System | Proxy::Off => None,
        };
        let time = Arc::new(StationTime::new(Arc::clone(&options.clock)));
        let tls =
            if server.local { tls::no_tls() } else { tls::configurations(options.ca_file.as_deref(), &time) };
        let Configurations { judged, dateless } = tls.map_err(|error| setup_error(error, &options))?;
        let build = |tls| server.client(tls, &options, proxy.as_ref());
        let client = build(judged)?.build().map_err(HttpSetupError::Client)?;
        let dateless = build(dateless)?.pool_max_idle_per_host(0).build().map_err(HttpSetupError::Client)?;
        let listener = match &proxy {
            Some(proxy) => address(proxy).ok_or(HttpSetupError::Proxy)?,
            None => server.listener,
        };
        let exchange = Exchange {
            client,
            base: server.url,
            authority: server.authority,
            keys: RwLock::new(keys),
            clock: options.clock,
            nonce: Mutex::new(None),
        };
        Ok(Self { exchange, dateless, time, listener })
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, request: &impl Serialize) -> Result<T, CallError> {
        let body = json_body(request)?;
        json(&self.exchange.signed(Method::POST, path, "", Some(body)).await?)
    }
}

impl CloudApi for HttpCloud {
    type Error = CallError;

    async fn enrol(&self, request: EnrolRequest) -> Result<EnrolReply, CallError> {
        json(&self.exchange.unsigned(ENROL_PATH, json_body(&request)?).await?)
    }

    async fn head(&self) -> Result<HeadReply, CallError> {
        json(&self.exchange.signed(Method::GET, HEAD_PATH, "", None).await?)
    }

    async fn push(&self, request: PushRequest) -> Result<PushReply, CallError> {
        // On another thread: the answers to the batches before must not wait for it.
        let packed = tokio::task::spawn_blocking(move || {
            let body = request.write().map_err(io::Error::other)?;
            zstd::bulk::compress(&body, ZSTD_LEVEL)
        });
        let bytes = packed.await.map_err(io::Error::other).flatten().map_err(CallError::Request)?;
        let body = Body { bytes, content_type: PUSH_CONTENT_TYPE, content_encoding: "zstd" };
        json(&self.exchange.signed(Method::POST, OPERATIONS_PATH, "", Some(body)).await?)
    }

    async fn feed(&self, after: u64) -> Result<FeedReply, CallError> {
        let query = format!("after={after}");
        let answer = self.exchange.signed(Method::GET, FEED_PATH, &query, None).await?;
        let body = answer.unpacked(MAX_FEED)?;
        if body.is_empty() {
            return Ok(FeedReply { statement: None, page: None });
        }
        let (frame, page) = Frame::split_first(&body)
            .map_err(|_| CallError::reply(ReplyCode::ReplyInvalid, answer.status))?;
        let page = (!page.is_empty()).then(|| page.to_vec());
        Ok(FeedReply { statement: Some(frame.bytes().to_vec()), page })
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply, CallError> {
        self.post(HEARTBEAT_PATH, &heartbeat).await
    }

    async fn evidence(&self, request: EvidenceRequest) -> Result<EvidenceReply, CallError> {
        self.post(EVIDENCE_PATH, &request).await
    }

    async fn rotate(&self, request: RotateRequest) -> Result<RotateReply, CallError> {
        self.post(ROTATE_PATH, &request).await
    }

    async fn retire(&self, request: RetireRequest) -> Result<RetireReply, CallError> {
        self.post(RETIRE_PATH, &request).await
    }
}

impl Reach for HttpCloud {
    async fn reach(&self) -> bool {
        let (host, port) = &self.listener;
        let look = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            let closed = timeout(PROBE_STAYS_OPEN, stream.peek(&mut [0])).await;
            io::Result::Ok(!matches!(closed, Ok(Ok(0) | Err(_))))
        };
        matches!(timeout(PROBE_WITHIN, look).await, Ok(Ok(true)))
    }

    async fn signed_time(&self, tenant: TenantId, nonce: Hash, dates: Dates) -> Result<Vec<u8>, Failure> {
        let client = match dates {
            Dates::Judged => &self.exchange.client,
            Dates::Ignored => &self.dateless,
        };
        let query = format!("tenant={tenant}&nonce={nonce}");
        let answer = self.exchange.bare(client, TIME_PATH, &query).await?;
        Ok(answer.unpacked(MAX_REPLY)?)
    }

    fn remember_time(&self, memory: ClockMemory) {
        self.time.remember(memory);
    }

    fn use_keys(&self, keys: &StationKeys) {
        self.exchange.use_keys(Arc::clone(&keys.signing));
    }
}

struct Server {
    url: Url,
    authority: String,
    listener: (String, u16),
    local: bool,
}

impl Server {
    fn parse(text: &str) -> Result<Self, HttpSetupError> {
        let wrong = || HttpSetupError::Server(text.to_owned());
        let url = Url::parse(text).map_err(|_| wrong())?;
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let listener = address(&url).filter(|_| bare).ok_or_else(wrong)?;
        let local = match url.scheme() {
            "https" => false,
            "http" if is_loopback(&listener.0) => true,
            "http" => return Err(HttpSetupError::PlainHttp(text.to_owned())),
            _ => return Err(wrong()),
        };
        let host = url.host_str().ok_or_else(wrong)?;
        // `port` is none where it is the scheme's default.
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { url, authority, listener, local })
    }

    fn client(
        &self,
        tls: rustls::ClientConfig,
        options: &HttpOptions,
        proxy: Option<&Url>,
    ) -> Result<reqwest::ClientBuilder, HttpSetupError> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("lotgate/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .tcp_keepalive(Duration::from_secs(3))
            .tcp_keepalive_interval(Duration::from_secs(1))
            .tcp_keepalive_retries(3);
        // A cable that is pulled in mid-call must not hold the engine for the whole of the call's time.
        #[cfg(target_os = "linux")]
        let builder = builder.tcp_user_timeout(CONNECT_WITHIN);
        Ok(match (proxy, &options.proxy) {
            (Some(url), _) => {
                let proxy = reqwest::Proxy::all(url.clone());
                builder.proxy(proxy.map_err(|_| HttpSetupError::Proxy)?)
            }
            (None, Proxy::System) if !self.local => builder,
            (None, _) => builder.no_proxy(),
        })
    }
}

fn setup_error(error: TlsSetupError, options: &HttpOptions) -> HttpSetupError {
    let path = options.ca_file.clone().unwrap_or_default();
    match error {
        TlsSetupError::CaFileUnreadable(source) => HttpSetupError::CaFileUnreadable { path, source },
        TlsSetupError::CaFileInvalid => HttpSetupError::CaFileInvalid(path),
        TlsSetupError::NoSystemRoots => HttpSetupError::NoSystemRoots,
        TlsSetupError::Rustls(error) => HttpSetupError::Tls(error),
    }
}

/// Host, without the brackets of an IPv6 address, and port.
fn address(url: &Url) -> Option<(String, u16)> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.to_owned(), url.port_or_known_default()?))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn json_body(request: &impl Serialize) -> Result<Body, CallError> {
    let bytes = serde_json::to_vec(request).map_err(|e| CallError::Request(e.into()))?;
    Ok(Body { bytes, content_type: "application/json", content_encoding: "" })
}

fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallError> {
    let body = answer.unpacked(MAX_REPLY)?;
    serde_json::from_slice(&body).map_err(|_| CallError::reply(ReplyCode::ReplyInvalid, answer.status))
}

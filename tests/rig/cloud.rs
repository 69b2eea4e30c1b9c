//! A running cloud with two tenants in this process, and requests as a station would send them, or not quite.

use crate::care::{evidence_of, heartbeat_of, retire_request, rotate_request};
use crate::postgres::TestDatabase;
use crate::station_keys::{StationKeys, at, enrol};
use axum::http::StatusCode;
use lotgate_cloud::crypto::MasterKey;
use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::nonce::NonceKeys;
use lotgate_cloud::reference::ImportReference;
use lotgate_cloud::routes::{Call, Route, Verb};
use lotgate_cloud::session::Session;
use lotgate_cloud::tenant::CreateTenant;
use lotgate_cloud::token::MakeToken;
use lotgate_cloud::{Cloud, Settings, migrate, server};
use lotgate_domain::ids::{Hash, PublicKey, SiteId, StationId, TenantId};
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::request_signature::{BodyParts, Parameters, SignedParts, content_digest};
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{CloudApi as _, NONCE_HEADER, PUSH_CONTENT_TYPE, TIME_PATH};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::time::Timestamp;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls};

/// A running cloud with two tenants, each with a station, and a clock that the test moves.
pub struct Plant {
    /// The cloud.
    pub cloud: Arc<Cloud>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Milliseconds that its clock is ahead of [`crate::station_keys::WALL`].
    pub clock: Arc<AtomicI64>,
    /// Who sees every tenant.
    pub superuser: Client,
    /// The first tenant.
    pub tenant: TenantId,
    /// Its site.
    pub site: SiteId,
    /// A station with four operations that were not pushed.
    pub station: StationKeys,
    /// Another one, for a new key.
    pub moving: StationKeys,
    /// Another one, of which everything is held.
    pub leaving: StationKeys,
    /// The station of the second tenant.
    pub foreign: StationKeys,
    // Last, so that the connections above are gone before it is dropped.
    /// Its database.
    pub database: TestDatabase,
}

impl Plant {
    /// A plant of its own.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn new(name: &str) -> Self {
        Box::pin(Self::make(name)).await
    }

    async fn make(name: &str) -> Self {
        let database = TestDatabase::create(name).unwrap();
        migrate::run(&database.owner_url).await.unwrap();
        let clock = Arc::new(AtomicI64::new(0));
        let cloud = open(&database, &clock).await;
        let (tenant, site, station) = tenant_with_station(&cloud, 1).await;
        let (_, _, foreign) = tenant_with_station(&cloud, 2).await;
        let moving = another_station(&cloud, tenant, site, 111).await;
        let leaving = another_station(&cloud, tenant, site, 121).await;
        let session = Session::of_station(Arc::clone(&cloud), tenant, leaving.id);
        session.push(leaving.push_all()).await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server::serve(Arc::clone(&cloud), listener, None, std::future::pending()));
        let (superuser, connection) = tokio_postgres::connect(&database.superuser_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        Self { cloud, address, clock, superuser, tenant, site, station, moving, leaving, foreign, database }
    }

    /// The cloud's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.cloud.now()
    }

    /// A fresh nonce.
    #[must_use]
    pub fn nonce(&self, tenant: TenantId, station: StationId) -> String {
        self.cloud.nonces().issue(tenant, station, self.now())
    }

    /// The station whose requests to a route are right.
    #[must_use]
    pub fn caller(&self, route: Route) -> &StationKeys {
        match route.call {
            Call::Rotate => &self.moving,
            Call::Retire => &self.leaving,
            _ => &self.station,
        }
    }

    /// A right request of [`Plant::caller`] to a route.
    #[must_use]
    pub fn attempt(&self, route: Route) -> Attempt {
        let caller = self.caller(route);
        let json = |value: Value| Some(zstd::encode_all(value.to_string().as_bytes(), 3).unwrap());
        let body = match route.call {
            Call::Push => Some(compress(&caller.push_all())),
            Call::Heartbeat => json(json!(heartbeat_of(caller))),
            Call::Evidence => json(json!(evidence_of(&caller.entries))),
            Call::Rotate => json(json!(rotate_request(caller, 112, "planned"))),
            Call::Retire => json(json!(retire_request(caller))),
            Call::Enrol | Call::Head | Call::Feed | Call::Time => None,
        };
        let content_type = if route.call == Call::Push { PUSH_CONTENT_TYPE } else { "application/json" };
        Attempt {
            method: if route.method == Verb::Get { "GET" } else { "POST" },
            authority: self.address.to_string(),
            path: route.path.to_owned(),
            query: if route.call == Call::Feed { "after=0".to_owned() } else { String::new() },
            body,
            content_type: content_type.to_owned(),
            tenant: self.tenant,
            station: caller.id,
            key_id_of: KeyPair::from_seed(&caller.keys.seed()),
            signed_by: KeyPair::from_seed(&caller.keys.seed()),
            nonce: Some(self.nonce(self.tenant, caller.id)),
        }
    }

    /// Who asks for nothing but the time.
    #[must_use]
    pub fn ask_time(&self, nonce: Hash) -> Sent {
        Sent {
            method: "GET",
            target: format!("{TIME_PATH}?tenant={}&nonce={nonce}", self.tenant),
            headers: vec![("host", "cloud".to_owned())],
            body: Vec::new(),
        }
    }

    /// Sends a request; its reply carries a nonce.
    ///
    /// # Panics
    /// If it does not.
    pub async fn send(&self, request: &Sent) -> Reply {
        let reply = request.send(self.address).await;
        assert!(
            reply.nonce.as_ref().is_some_and(|nonce| !nonce.is_empty()),
            "every reply carries a nonce: {reply:?}"
        );
        reply
    }

    /// A token that enrols one station.
    ///
    /// # Panics
    /// If none is made.
    pub async fn token(&self, ttl_ms: i64) -> EnrolToken {
        let work = MakeToken { site: self.site, training: true, ttl_ms };
        gate::pass(&self.cloud, &Caller::Program { tenant: self.tenant }, work).await.unwrap().token
    }

    /// Everything that the database holds.
    ///
    /// # Panics
    /// If it cannot be read.
    pub async fn rows(&self) -> Vec<String> {
        let query = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
        let tables = self.superuser.query(query, &[]).await.unwrap();
        let tables: Vec<&str> = tables.iter().map(|table| table.get(0)).collect();
        rows_of(&self.superuser, &tables).await
    }

    /// The one number that a query gives.
    ///
    /// # Panics
    /// If it gives none.
    pub async fn number(&self, query: &str) -> i64 {
        self.superuser.query_one(query, &[]).await.unwrap().get(0)
    }

    /// The request is rejected with this code, and no row changes.
    ///
    /// # Panics
    /// If not so.
    pub async fn assert_rejected(&self, request: &Sent, code: &str, why: &str) {
        let before = self.rows().await;
        let reply = self.send(request).await;
        assert_eq!(reply.code(), code, "{why}: {reply:?}");
        if reply.status == StatusCode::UNAUTHORIZED {
            assert_eq!(reply.body, format!("{{\"code\":\"{code}\"}}").as_bytes(), "one text outside: {why}");
        }
        assert_eq!(self.rows().await, before, "{why}: rows changed");
    }
}

/// A cloud on a database, by a clock that the test moves.
///
/// # Panics
/// If it does not open.
pub async fn open(database: &TestDatabase, clock: &Arc<AtomicI64>) -> Arc<Cloud> {
    let ticking = Arc::clone(clock);
    let settings = Settings {
        database_url: database.app_url.clone(),
        connections: 6,
        master: MasterKey::new([1; 32]),
        nonces: NonceKeys::new([2; 32], None),
        restore_window_s: 7,
        clock: Arc::new(move || at(ticking.load(Ordering::SeqCst))),
    };
    Cloud::open(settings).await.unwrap()
}

/// Everything of some tables, in order.
///
/// # Panics
/// If it cannot be read.
pub async fn rows_of(superuser: &Client, tables: &[&str]) -> Vec<String> {
    let mut rows = Vec::new();
    for table in tables {
        let query = format!("SELECT '{table} ' || t::text FROM {table} t ORDER BY 1");
        rows.extend(superuser.query(&query, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
    }
    rows
}

async fn tenant_with_station(cloud: &Arc<Cloud>, n: u8) -> (TenantId, SiteId, StationKeys) {
    let tenant = TenantId::from_parts(u64::from(n), &[n; 10]);
    let program = Caller::Program { tenant };
    let create = CreateTenant {
        name: format!("Tenant {n}"),
        site: "Site".into(),
        zone: "Europe/Berlin".into(),
        root: KeyPair::from_seed(&[n; 32]),
        recovery: Some([PublicKey([n; 32]), PublicKey([n ^ 0x80; 32])]),
    };
    let site = gate::pass(cloud, &program, create).await.unwrap();
    let lots = json!({"items": [{"item": "A"}], "lots": [{"lot": "L", "item": "A", "status": "released"}]});
    let import = ImportReference { site, file: serde_json::from_value(lots).unwrap() };
    gate::pass(cloud, &program, import).await.unwrap();
    (tenant, site, another_station(cloud, tenant, site, 100 + n).await)
}

/// Another station with four operations that were not pushed.
async fn another_station(cloud: &Arc<Cloud>, tenant: TenantId, site: SiteId, seed: u8) -> StationKeys {
    let program = Caller::Program { tenant };
    let made = gate::pass(cloud, &program, MakeToken { site, training: true, ttl_ms: 1000 }).await.unwrap();
    let mut station = enrol(&Session::of_nobody(Arc::clone(cloud), None), &made.token, seed).await.unwrap();
    station.append_enrolled();
    for _ in 0..3 {
        station.append_scan("A", "L");
    }
    station
}

/// The body of a push as it is sent.
///
/// # Panics
/// Never.
#[must_use]
pub fn compress(request: &PushRequest) -> Vec<u8> {
    zstd::encode_all(request.write().unwrap().as_slice(), 3).unwrap()
}

/// A request before it is signed.
pub struct Attempt {
    /// `GET`, `POST`.
    pub method: &'static str,
    /// Host and port.
    pub authority: String,
    /// Path.
    pub path: String,
    /// Query without its question mark.
    pub query: String,
    /// Body as sent.
    pub body: Option<Vec<u8>>,
    /// Its type.
    pub content_type: String,
    /// Whose key.
    pub tenant: TenantId,
    /// Whose key.
    pub station: StationId,
    /// The key that is named.
    pub key_id_of: KeyPair,
    /// The key that signs.
    pub signed_by: KeyPair,
    /// The challenge.
    pub nonce: Option<String>,
}

impl Attempt {
    /// The request with its signature.
    #[must_use]
    pub fn sign(&self) -> Sent {
        let digest = self.body.as_ref().map(|body| content_digest(body));
        let parts = SignedParts {
            method: self.method,
            authority: &self.authority,
            path: &self.path,
            query: &self.query,
            body: digest.as_ref().map(|digest| BodyParts {
                content_digest: digest,
                content_type: &self.content_type,
                content_encoding: "zstd",
            }),
        };
        let parameters = Parameters {
            created: 0,
            tenant: self.tenant,
            station: self.station,
            key: self.key_id_of.public().key_id(),
            nonce: self.nonce.clone(),
        };
        let mut headers = vec![
            ("host", self.authority.clone()),
            ("signature-input", parameters.signature_input(parts.body.is_some())),
            ("signature", parameters.sign(&parts, &self.signed_by)),
        ];
        if let Some(digest) = &digest {
            headers.push(("content-digest", digest.clone()));
            headers.push(("content-type", self.content_type.clone()));
            headers.push(("content-encoding", "zstd".to_owned()));
        }
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        Sent {
            method: self.method,
            target: format!("{}{query}", self.path),
            headers,
            body: self.body.clone().unwrap_or_default(),
        }
    }
}

/// A request as it goes out.
#[derive(Clone)]
pub struct Sent {
    /// `GET`, `POST`.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body as sent.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// The next challenge.
    pub nonce: Option<String>,
    /// Its type.
    pub content_type: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Sent {
    /// An enrolment.
    #[must_use]
    pub fn enrolment(body: &Value) -> Self {
        let headers = vec![("host", "cloud".to_owned()), ("content-type", "application/json".to_owned())];
        Self { method: "POST", target: "/v1/enrol".to_owned(), headers, body: body.to_string().into_bytes() }
    }

    /// A header that it has.
    ///
    /// # Panics
    /// If it has none of this name.
    pub fn header(&mut self, name: &str) -> &mut String {
        &mut self.headers.iter_mut().find(|(known, _)| *known == name).expect("a header").1
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    /// Sends it on a connection of its own.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn send(&self, address: SocketAddr) -> Reply {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&self.bytes()).await.unwrap();
        Reply::read(&mut stream).await
    }
}

impl Reply {
    /// Reads a reply to its end.
    ///
    /// # Panics
    /// If it is none.
    pub async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("the head of a reply");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let nonce = head.lines().find_map(|line| line.strip_prefix(&format!("{NONCE_HEADER}: ")));
        let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: "));
        let (nonce, content_type) = (nonce.map(str::to_owned), content_type.map(str::to_owned));
        Self { status, nonce, content_type, body: bytes[end + 4..].to_vec() }
    }

    /// Its problem's code, or `ok`.
    ///
    /// # Panics
    /// If it is neither.
    #[must_use]
    pub fn code(&self) -> String {
        if self.status.is_success() {
            return "ok".to_owned();
        }
        let problem: Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no problem: {self:?}"));
        problem["code"].as_str().expect("a code").to_owned()
    }
}

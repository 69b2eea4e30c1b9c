//! A running cloud with two tenants, and requests as a station would send them, or not quite.

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
use lotgate_domain::ids::{SiteId, StationId, TenantId};
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::request_signature::{BodyParts, Parameters, SignedParts, content_digest};
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{NONCE_HEADER, PUSH_CONTENT_TYPE};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::time::Timestamp;
use lotgate_tests::postgres::TestDatabase;
use lotgate_tests::station_keys::{StationKeys, at, enrol};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls};

/// A running cloud with two tenants, each with a station, and a clock that the test moves.
pub(crate) struct Plant {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) superuser: Client,
    pub(crate) tenant: TenantId,
    pub(crate) site: SiteId,
    pub(crate) station: StationKeys,
    pub(crate) foreign: StationKeys,
    // Last, so that the connections above are gone before it is dropped.
    _database: TestDatabase,
}

impl Plant {
    pub(crate) async fn new(name: &str) -> Self {
        let database = TestDatabase::create(name).unwrap();
        migrate::run(&database.owner_url).await.unwrap();
        let clock = Arc::new(AtomicI64::new(0));
        let ticking = Arc::clone(&clock);
        let settings = Settings {
            database_url: database.app_url.clone(),
            connections: 6,
            master: MasterKey::new([1; 32]),
            nonces: NonceKeys::new([2; 32], None),
            restore_window_s: 7,
            clock: Arc::new(move || at(ticking.load(Ordering::SeqCst))),
        };
        let cloud = Cloud::open(settings).await.unwrap();
        let (tenant, site, station) = tenant_with_station(&cloud, 1).await;
        let (_, _, foreign) = tenant_with_station(&cloud, 2).await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server::serve(Arc::clone(&cloud), listener, None, std::future::pending()));
        let (superuser, connection) = tokio_postgres::connect(&database.superuser_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        Self { cloud, address, clock, superuser, tenant, site, station, foreign, _database: database }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cloud.now()
    }

    pub(crate) fn nonce(&self, tenant: TenantId, station: StationId) -> String {
        self.cloud.nonces().issue(tenant, station, self.now())
    }

    /// A right request of the station to a route.
    pub(crate) fn attempt(&self, route: Route) -> Attempt {
        let body = (route.call == Call::Push).then(|| compress(&self.station.push_all()));
        Attempt {
            method: if route.method == Verb::Get { "GET" } else { "POST" },
            authority: self.address.to_string(),
            path: route.path.to_owned(),
            query: if route.call == Call::Feed { "after=0".to_owned() } else { String::new() },
            body,
            content_type: PUSH_CONTENT_TYPE.to_owned(),
            tenant: self.tenant,
            station: self.station.id,
            key_id_of: KeyPair::from_seed(&self.station.keys.seed()),
            signed_by: KeyPair::from_seed(&self.station.keys.seed()),
            nonce: Some(self.nonce(self.tenant, self.station.id)),
        }
    }

    pub(crate) async fn send(&self, request: &Sent) -> Reply {
        let reply = request.send(self.address).await;
        assert!(
            reply.nonce.as_ref().is_some_and(|nonce| !nonce.is_empty()),
            "every reply carries a nonce: {reply:?}"
        );
        reply
    }

    pub(crate) async fn token(&self, ttl_ms: i64) -> EnrolToken {
        let work = MakeToken { site: self.site, training: true, ttl_ms };
        gate::pass(&self.cloud, &Caller::Program { tenant: self.tenant }, work).await.unwrap().token
    }

    /// Everything that the database holds.
    pub(crate) async fn rows(&self) -> Vec<String> {
        let query = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
        let mut rows = Vec::new();
        for table in self.superuser.query(query, &[]).await.unwrap() {
            let table: String = table.get(0);
            let query = format!("SELECT '{table} ' || t::text FROM {table} t ORDER BY 1");
            rows.extend(
                self.superuser.query(&query, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)),
            );
        }
        rows
    }

    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.superuser.query_one(query, &[]).await.unwrap().get(0)
    }

    /// The request is rejected with this code, and no row changes.
    pub(crate) async fn assert_rejected(&self, request: &Sent, code: &str, why: &str) {
        let before = self.rows().await;
        let reply = self.send(request).await;
        assert_eq!(reply.code(), code, "{why}: {reply:?}");
        if reply.status == StatusCode::UNAUTHORIZED {
            assert_eq!(reply.body, format!("{{\"code\":\"{code}\"}}").as_bytes(), "one text outside: {why}");
        }
        assert_eq!(self.rows().await, before, "{why}: rows changed");
    }
}

async fn tenant_with_station(cloud: &Arc<Cloud>, n: u8) -> (TenantId, SiteId, StationKeys) {
    let tenant = TenantId::from_parts(u64::from(n), &[n; 10]);
    let program = Caller::Program { tenant };
    let create = CreateTenant {
        name: format!("Tenant {n}"),
        site: "Site".into(),
        zone: "Europe/Berlin".into(),
        root: KeyPair::from_seed(&[n; 32]),
    };
    let site = gate::pass(cloud, &program, create).await.unwrap();
    let lots = json!({"items": [{"item": "A"}], "lots": [{"lot": "L", "item": "A", "status": "released"}]});
    let import = ImportReference { site, file: serde_json::from_value(lots).unwrap() };
    gate::pass(cloud, &program, import).await.unwrap();
    let made = gate::pass(cloud, &program, MakeToken { site, training: true, ttl_ms: 1000 }).await.unwrap();
    let mut station =
        enrol(&Session::of_nobody(Arc::clone(cloud), None), &made.token, 100 + n).await.unwrap();
    station.append_enrolled();
    for _ in 0..3 {
        station.append_scan("A", "L");
    }
    (tenant, site, station)
}

pub(crate) fn compress(request: &PushRequest) -> Vec<u8> {
    zstd::encode_all(request.write().unwrap().as_slice(), 3).unwrap()
}

/// A request before it is signed.
pub(crate) struct Attempt {
    pub(crate) method: &'static str,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) content_type: String,
    pub(crate) tenant: TenantId,
    pub(crate) station: StationId,
    pub(crate) key_id_of: KeyPair,
    pub(crate) signed_by: KeyPair,
    pub(crate) nonce: Option<String>,
}

impl Attempt {
    pub(crate) fn sign(&self) -> Sent {
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
pub(crate) struct Sent {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) nonce: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    pub(crate) fn enrolment(body: &Value) -> Self {
        let headers = vec![("host", "cloud".to_owned()), ("content-type", "application/json".to_owned())];
        Self { method: "POST", target: "/v1/enrol".to_owned(), headers, body: body.to_string().into_bytes() }
    }

    pub(crate) fn header(&mut self, name: &str) -> &mut String {
        &mut self.headers.iter_mut().find(|(known, _)| *known == name).expect("a header").1
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
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

    pub(crate) async fn send(&self, address: SocketAddr) -> Reply {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&self.bytes()).await.unwrap();
        Reply::read(&mut stream).await
    }
}

impl Reply {
    pub(crate) async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("the head of a reply");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let nonce = head.lines().find_map(|line| line.strip_prefix(&format!("{NONCE_HEADER}: ")));
        Self { status, nonce: nonce.map(str::to_owned), body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn code(&self) -> String {
        if self.status.is_success() {
            return "ok".to_owned();
        }
        let problem: Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no problem: {self:?}"));
        problem["code"].as_str().expect("a code").to_owned()
    }
}

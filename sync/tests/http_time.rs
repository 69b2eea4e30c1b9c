//! A station whose clock is wrong, against a real TLS server: it drains all the same (PROTOCOL §3).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot be set up must stop"
)]

#[path = "http/authority.rs"]
mod authority;
#[path = "engine/cloud.rs"]
mod cloud;
#[path = "queue/rig.rs"]
mod queue_rig;
#[path = "http/server.rs"]
mod server;

use authority::Authority;
use cloud::MemoryCloud;
use lotgate_domain::ids::{BootId, Hash, TenantId};
use lotgate_domain::ledger::Station;
use lotgate_domain::operation::Clock as ClockState;
use lotgate_domain::protocol::CloudApi as _;
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::{Clock, ClockMemory, ClockReading};
use lotgate_sync::engine::{Dates, Reach as _, Settings};
use lotgate_sync::http::{HttpCloud, HttpOptions, Proxy, RequestKeys};
use lotgate_sync::queue::Queue;
use lotgate_sync::runner::SyncHandle;
use lotgate_sync::secure::{Secure, SystemRandom};
use queue_rig::{Rig, scan};
use server::{Request, Server, reply};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A clock that runs as it should but began at the wrong time.
struct Wrong {
    wall: Timestamp,
    started: Instant,
}

impl Wrong {
    fn at(time: &str) -> Arc<Self> {
        Arc::new(Self { wall: time.parse().unwrap(), started: Instant::now() })
    }
}

impl Clock for Wrong {
    fn read(&self) -> ClockReading {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap();
        ClockReading {
            wall: self.wall.plus_ms(i64::try_from(elapsed).unwrap()),
            offset_minutes: 0,
            mono_ms: 1_000 + elapsed,
            boot: BootId::from_parts(1, &[1; 10]),
        }
    }
}

/// The true time in these tests: the server's certificate is valid from 2030 to 2040, the program was built in
/// 2026.
fn now() -> Timestamp {
    "2035-06-01T12:00:00.000Z".parse().unwrap()
}

fn options(port: u16, ca_file: PathBuf, clock: Arc<dyn Clock>) -> HttpOptions {
    HttpOptions {
        server: format!("https://localhost:{port}"),
        ca_file: Some(ca_file),
        proxy: Proxy::Off,
        clock,
    }
}

/// Gives the cloud in memory a wire.
fn answer(cloud: &MemoryCloud, handle: &tokio::runtime::Handle, request: &Request) -> Vec<u8> {
    let (method, rest) = request.line.split_once(' ').unwrap();
    let target = rest.strip_suffix(" HTTP/1.1").unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let ok = |body: Vec<u8>| reply("200 OK", &[("Lotgate-Nonce", "n")], &body);
    let json = |body: serde_json::Value| ok(body.to_string().into_bytes());
    handle.block_on(async {
        match (method, path) {
            ("GET", "/v1/head") => json(serde_json::to_value(cloud.head().await.unwrap()).unwrap()),
            ("POST", "/v1/operations") => {
                let body = zstd::bulk::decompress(&request.body, 1 << 21).unwrap();
                let pushed = cloud.push(PushRequest::read(&body).unwrap()).await.unwrap();
                json(serde_json::to_value(pushed).unwrap())
            }
            ("POST", "/v1/heartbeat") => {
                let beat = serde_json::from_slice(&request.body).unwrap();
                json(serde_json::to_value(cloud.heartbeat(beat).await.unwrap()).unwrap())
            }
            ("GET", "/v1/feed") => ok(Vec::new()),
            ("GET", "/v1/time") => {
                let mut parts = query.split('&').map(|part| part.split_once('=').unwrap().1);
                let tenant: TenantId = parts.next().unwrap().parse().unwrap();
                let nonce: Hash = parts.next().unwrap().parse().unwrap();
                ok(cloud.signed_time(tenant, nonce, Dates::Judged).await.unwrap())
            }
            _ => reply("404 Not Found", &[], br#"{"code":"unknown_route"}"#),
        }
    })
}

/// An enrolled station with this clock, and the cloud that knows it.
fn set_up(clock: Arc<dyn Clock>) -> (Rig, Queue, MemoryCloud) {
    let rig = Rig::new();
    let secure = Secure::prepare(rig.places(), &SystemRandom).unwrap();
    let identity = rig.identity(&secure);
    let station = Station {
        tenant: identity.tenant,
        site: identity.site.id,
        id: identity.station,
        key: secure.station_keys().public(),
        certificate: identity.certificate.hash,
        former: Vec::new(),
        training: true,
        closed: None,
    };
    let copy = |keys: &KeyPair| KeyPair::from_seed(&keys.seed());
    let (statement, log) = (copy(&rig.tenant.statement), copy(&rig.tenant.log));
    let cloud = MemoryCloud::new(station, statement, log, Box::new(|_, _, _| (Vec::new(), Hash::ZERO)));
    let queue = Queue::create(rig.options_with(secure, clock), &identity).unwrap();
    (rig, queue, cloud)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_battery_and_a_clock_far_ahead_drain_and_are_put_right_by_one_signed_time() {
    let folder = tempfile::tempdir().unwrap();
    let plant = Authority::new("plant");
    let file = plant.file(&folder);
    for wrong in ["2000-01-01T00:00:00.000Z", "2036-02-07T06:28:16.000Z", "2099-01-01T00:00:00.000Z"] {
        let clock = Wrong::at(wrong);
        let (_rig, queue, cloud) = set_up(clock.clone());
        cloud.state.lock().await.time = now().unix_ms();
        let (certificate, key) = plant.issue("localhost", 2030..2036);
        let (front, handle) = (cloud.clone(), tokio::runtime::Handle::current());
        let server = Server::start_tls(certificate, key, move |_, request| answer(&front, &handle, request));
        let identity = queue.identity();
        let keys = RequestKeys {
            tenant: identity.tenant,
            station: identity.station,
            keys: queue.station_keys().signing,
        };
        let options = options(server.address.port(), file.clone(), clock);
        let client = HttpCloud::for_station(options, keys).unwrap();
        for n in 0..20 {
            queue.append(scan(n)).await.unwrap();
        }
        let (_handle, runner) =
            SyncHandle::prepare(queue.clone(), client, Settings::default(), 1).await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(runner.run(async {
            let _ = stopped.await;
        }));
        let mut state = queue.state();
        let drained = state.wait_for(|state| state.queued == 0);
        tokio::time::timeout(Duration::from_secs(20), drained).await.expect(wrong).unwrap();
        let seen = server.seen();
        assert!(seen[0].line.starts_with("GET /v1/time?tenant="), "{wrong}: {}", seen[0].line);
        for name in ["signature", "signature-input", "lotgate-nonce"] {
            assert_eq!(seen[0].header(name), None, "the bare request says nothing of the station");
        }
        assert!(
            seen[1..]
                .iter()
                .all(|request| request.header("signature").is_some()
                    || request.line.starts_with("GET /v1/time")),
            "everything else is signed"
        );
        let (memory, reading) = (queue.state().borrow().clock, queue.clock());
        let trusted = memory.trusted_now(&reading).expect("a trusted time");
        assert!((0..60_000).contains(&trusted.ms_since(now())), "{wrong}: {trusted}");
        let appended = queue.append(scan(99)).await.unwrap();
        assert_ne!(appended.at.clock, ClockState::Ok, "{wrong}: the wall clock stays what it is");
        assert!(appended.at.server.is_some(), "{wrong}: but the operation names the signed time");
        stop.send(()).unwrap();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn without_dates_chain_and_name_are_judged_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (plant, other) = (Authority::new("plant"), Authority::new("other"));
    let file = plant.file(&folder);
    let cases = [
        ("over", plant.issue("localhost", 2010..2011), Ok(())),
        ("to come", plant.issue("localhost", 2089..2090), Ok(())),
        ("another authority", other.issue("localhost", 2010..2011), Err("wrong_certificate")),
        ("another name", plant.issue("cloud.example", 2010..2011), Err("wrong_name")),
    ];
    for (what, (certificate, key), expected) in cases {
        let server = Server::start_tls(certificate, key, |_, _| reply("200 OK", &[], b"time"));
        let clock = Wrong::at("2026-11-22T12:00:00.000Z");
        let client = HttpCloud::for_enrolment(options(server.address.port(), file.clone(), clock)).unwrap();
        let tenant = TenantId::from_parts(1, &[0; 10]);
        let judged = client.signed_time(tenant, Hash::ZERO, Dates::Judged).await;
        assert!(judged.is_err(), "{what}: dates count on every other connection");
        let outcome = client.signed_time(tenant, Hash::ZERO, Dates::Ignored).await;
        let outcome = outcome.as_ref().map(|_| ()).map_err(|failure| failure.code.as_str());
        assert_eq!(outcome, expected, "{what}");
    }
}

#[tokio::test]
async fn dates_are_judged_at_the_trusted_time_and_else_not_before_the_program_was_built() {
    let folder = tempfile::tempdir().unwrap();
    let plant = Authority::new("plant");
    let file = plant.file(&folder);
    let head = |years: std::ops::Range<i32>, wall: &'static str, memory: ClockMemory| {
        let (certificate, key) = plant.issue("localhost", years);
        let file = file.clone();
        async move {
            let server = Server::start_tls(certificate, key, |_, _| {
                reply("426 Upgrade Required", &[], br#"{"code":"too_old"}"#)
            });
            let clock = Wrong::at(wall);
            let client = HttpCloud::for_enrolment(options(server.address.port(), file, clock)).unwrap();
            client.remember_time(memory);
            client.head().await.expect_err("never a head").code().as_str()
        }
    };
    let signed = |time: &str| {
        let mut memory = ClockMemory::default();
        memory.take_fresh(time.parse().unwrap(), Wrong::at("2000-01-01T00:00:00.000Z").read());
        memory
    };
    let mark = ClockMemory { mark: Some(now()), ..ClockMemory::default() };
    let nothing = ClockMemory::default();
    let old = "2000-01-01T00:00:00.000Z";
    assert_eq!(head(2026..2028, old, nothing).await, "too_old", "built in 2026");
    assert_eq!(head(2030..2040, old, nothing).await, "certificate_not_yet_valid");
    assert_eq!(head(2030..2040, old, mark).await, "too_old", "operations carried 2035 before");
    assert_eq!(head(2030..2040, old, signed("2035-01-01T00:00:00.000Z")).await, "too_old");
    let ahead = "2099-01-01T00:00:00.000Z";
    assert_eq!(head(2030..2040, ahead, nothing).await, "certificate_expired");
    assert_eq!(head(2030..2040, ahead, signed("2035-01-01T00:00:00.000Z")).await, "too_old");
    assert_eq!(head(2030..2034, old, signed("2035-01-01T00:00:00.000Z")).await, "certificate_expired");
}

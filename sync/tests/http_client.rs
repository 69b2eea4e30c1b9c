//! The HTTP client against a server that does what a real one, a broken one or somebody else's may do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot be set up must stop"
)]

#[path = "http/server.rs"]
mod server;

use lotgate_domain::entry;
use lotgate_domain::ids::{BootId, Epoch, EpochId, Hash, StationId, TenantId};
use lotgate_domain::protocol::problem::{Problem, ProblemCode};
use lotgate_domain::protocol::push::{PushClock, PushHeader, PushRequest};
use lotgate_domain::protocol::request_signature::{BodyParts, Parameters, SignedParts, content_digest};
use lotgate_domain::protocol::{After, CloudApi, HeadReply, Limits, PUSH_CONTENT_TYPE};
use lotgate_domain::signature::{Context, KeyPair};
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::engine::Reach;
use lotgate_sync::engine::failure::{Failure, FailureClass};
use lotgate_sync::http::{CallError, HttpCloud, HttpOptions, HttpSetupError, Proxy, RequestKeys};
use server::{Request, Server, closed_port, hangs_up, reply};
use std::net::SocketAddr;
use std::sync::Arc;

fn boot() -> BootId {
    BootId::from_parts(1, &[1; 10])
}

fn keys() -> KeyPair {
    KeyPair::from_seed(&[3; 32])
}

fn options(server: &str) -> HttpOptions {
    let clock = Arc::new(SystemClock::new(boot()));
    HttpOptions { server: server.to_owned(), ca_file: None, proxy: Proxy::System, clock }
}

fn client(options: HttpOptions) -> HttpCloud {
    let keys = RequestKeys {
        tenant: TenantId::from_parts(1, &[0; 10]),
        station: StationId::from_parts(2, &[0; 10]),
        keys: Arc::new(keys()),
    };
    HttpCloud::for_station(options, keys).expect("a client")
}

fn at(address: SocketAddr) -> HttpCloud {
    client(options(&format!("http://{address}")))
}

fn head() -> HeadReply {
    HeadReply {
        epoch: None,
        seq: 0,
        hash: Hash([1; 32]),
        limits: Limits { entries: 1_000, bytes: 1_048_576, in_flight: 3 },
        restore_window_s: 0,
        time: Timestamp::from_unix_ms(0),
        backoff_ms: 0,
        recovered: Vec::new(),
    }
}

fn head_ok(nonce: &str) -> Vec<u8> {
    reply("200 OK", &[("Lotgate-Nonce", nonce)], &serde_json::to_vec(&head()).unwrap())
}

fn rejected(code: ProblemCode, nonce: &str) -> Vec<u8> {
    let body = serde_json::to_vec(&Problem::new(code)).unwrap();
    reply(&format!("{} No", code.status()), &[("Lotgate-Nonce", nonce)], &body)
}

fn push() -> PushRequest {
    let header = PushHeader {
        v: 1,
        epoch: Epoch { n: 1, id: EpochId([1; 16]) },
        after: After { seq: 0, hash: Hash([1; 32]) },
        count: 1,
        clock: PushClock { wall: Timestamp::from_unix_ms(0), mono_ms: 1, boot: boot() },
        log: None,
    };
    let entries = entry::sign(b"{}", Context::Operation, &keys()).unwrap();
    PushRequest { header, entries }
}

/// Checks the signature as the cloud does; returns the nonce that is signed.
fn signed_nonce(request: &Request) -> Option<String> {
    let has_body = !request.body.is_empty();
    let parameters = Parameters::parse(request.header("signature-input").unwrap(), has_body).unwrap();
    let mut line = request.line.split(' ');
    let (method, target) = (line.next().unwrap(), line.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let digest = content_digest(&request.body);
    let body = BodyParts {
        content_digest: &digest,
        content_type: request.header("content-type").unwrap_or_default(),
        content_encoding: request.header("content-encoding").unwrap_or_default(),
    };
    let parts = SignedParts {
        method,
        authority: request.header("host").unwrap(),
        path,
        query,
        body: has_body.then_some(body),
    };
    parameters
        .verify(&parts, request.header("signature").unwrap(), &keys().public())
        .expect("the signature over what arrived");
    parameters.nonce
}

fn code(error: &CallError) -> (&'static str, FailureClass) {
    (error.code().as_str(), error.class())
}

#[tokio::test]
async fn a_request_without_a_nonce_is_repeated_at_once_and_later_ones_use_the_newest() {
    let server = Server::start(|n, _| match n {
        0 => rejected(ProblemCode::NonceRequired, "first"),
        1 => head_ok("second"),
        2 => rejected(ProblemCode::NonceExpired, "third"),
        _ => head_ok("fourth"),
    });
    let cloud = at(server.address);
    assert_eq!(cloud.head().await.expect("no failure: the repeat was answered"), head());
    assert_eq!(cloud.head().await.expect("no failure: an old nonce is renewed"), head());
    let nonces: Vec<_> = server.seen().iter().map(signed_nonce).collect();
    let expected = [None, Some("first"), Some("second"), Some("third")];
    assert_eq!(nonces, expected.map(|nonce| nonce.map(str::to_owned)));
}

#[tokio::test]
async fn a_nonce_that_is_refused_twice_is_a_failure_and_not_a_loop() {
    let server = Server::start(|n, _| rejected(ProblemCode::NonceExpired, &format!("n{n}")));
    let error = at(server.address).head().await.unwrap_err();
    assert_eq!(code(&error), ("nonce_expired", FailureClass::Unauthorised));
    assert_eq!(server.seen().len(), 2, "repeated once");
    let server = Server::start(|_, _| {
        let body = serde_json::to_vec(&Problem::new(ProblemCode::NonceRequired)).unwrap();
        reply("401 No", &[], &body)
    });
    assert!(at(server.address).head().await.is_err());
    assert_eq!(server.seen().len(), 1, "without a new nonce a repeat is of no use");
}

#[tokio::test]
async fn a_push_arrives_packed_with_its_digest_and_signed_over_both() {
    let server = Server::start(|_, _| rejected(ProblemCode::HeadMismatch, "n"));
    let error = at(server.address).push(push()).await.unwrap_err();
    assert_eq!(code(&error), ("head_mismatch", FailureClass::RequestRefused));
    let seen = server.seen();
    let request = &seen[0];
    assert_eq!(request.line, "POST /v1/operations HTTP/1.1");
    assert_eq!(request.header("content-type"), Some(PUSH_CONTENT_TYPE));
    assert_eq!(request.header("content-encoding"), Some("zstd"));
    assert_eq!(request.header("content-digest"), Some(content_digest(&request.body).as_str()));
    signed_nonce(request);
    let body = zstd::bulk::decompress(&request.body, 1 << 21).unwrap();
    assert_eq!(PushRequest::read(&body).unwrap(), push());
}

#[tokio::test]
async fn a_rejection_keeps_its_head_and_its_wait() {
    let server = Server::start(|_, _| {
        let problem = Problem {
            retry_after_ms: Some(1_234),
            head: Some(head()),
            ..Problem::new(ProblemCode::HeadMismatch)
        };
        reply("409 Conflict", &[("Retry-After", "9")], &serde_json::to_vec(&problem).unwrap())
    });
    let failure: Failure = at(server.address).push(push()).await.unwrap_err().into();
    assert_eq!((failure.retry_after_ms, failure.head), (Some(1_234), Some(Box::new(head()))));
}

#[tokio::test]
async fn what_is_not_an_answer_of_the_cloud_is_told_apart() {
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("a page of a captive portal", reply("200 OK", &[], b"<html>Welcome</html>"), "reply_invalid"),
        ("a gateway's page", reply("502 Bad Gateway", &[], b"<html>"), "unexpected_status"),
        ("another success", reply("204 No Content", &[], b""), "unexpected_status"),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "connection_lost"),
        ("nothing", Vec::new(), "connection_lost"),
        (
            "half a body",
            b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"epoch\":".to_vec(),
            "connection_lost",
        ),
        ("half a head", b"HTTP/1.1 200 OK\r\ncontent-le".to_vec(), "connection_lost"),
    ];
    for (what, bytes, expected) in cases {
        let server = Server::start(move |_, _| bytes.clone());
        let error = at(server.address).head().await.expect_err(what);
        assert_eq!(code(&error), (expected, FailureClass::Unreachable), "{what}");
    }
}

#[tokio::test]
async fn a_gateways_wish_to_wait_is_kept() {
    let server = Server::start(|_, _| reply("503 Busy", &[("Retry-After", "7")], b"later"));
    let failure: Failure = at(server.address).head().await.unwrap_err().into();
    assert_eq!(failure.retry_after_ms, Some(7_000));
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let server = Server::start(|_, _| {
        let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n".to_vec();
        bytes.resize(8 * 1024 * 1024, b' ');
        bytes
    });
    let error = at(server.address).head().await.unwrap_err();
    assert_eq!(error.code().as_str(), "reply_too_large");
}

#[tokio::test]
async fn a_feed_reply_is_unpacked_up_to_a_cap() {
    let statement = entry::sign(b"{}", Context::Feed, &keys()).unwrap();
    let whole = [statement.as_slice(), b"page"].concat();
    let packed = zstd::bulk::compress(&whole, 3).unwrap();
    let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 3).unwrap();
    let zstd = [("content-encoding", "zstd")];
    let replies = [
        reply("200 OK", &zstd, &packed),
        reply("200 OK", &[], &whole),
        reply("200 OK", &[], &statement),
        reply("200 OK", &[], b""),
        reply("200 OK", &zstd, &bomb),
        reply("200 OK", &zstd, &whole),
        reply("200 OK", &[], &whole[..20]),
        reply("200 OK", &[("content-encoding", "br")], &whole),
    ];
    let server = Server::start(move |n, _| replies[n].clone());
    let cloud = at(server.address);
    for page in [Some(b"page".to_vec()), Some(b"page".to_vec()), None] {
        let reply = cloud.feed(7).await.expect("a feed reply");
        assert_eq!((reply.statement.as_deref(), reply.page), (Some(statement.as_slice()), page));
    }
    let reply = cloud.feed(7).await.expect("an empty feed");
    assert_eq!((reply.statement, reply.page), (None, None));
    for expected in ["reply_too_large", "reply_invalid", "reply_invalid", "reply_invalid"] {
        assert_eq!(cloud.feed(7).await.unwrap_err().code().as_str(), expected);
    }
    let seen = server.seen();
    assert_eq!(seen[0].line, "GET /v1/feed?after=7 HTTP/1.1");
    signed_nonce(&seen[0]);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(|_, _| head_ok("n"));
    let location = format!("http://{}/v1/head", elsewhere.address);
    let server = Server::start(move |_, _| reply("307 Moved", &[("location", &location)], b""));
    let error = at(server.address).head().await.unwrap_err();
    assert_eq!(code(&error), ("redirected", FailureClass::Unreachable));
    assert!(elsewhere.seen().is_empty(), "a signed request went to where the redirect points");
}

#[tokio::test]
async fn a_closed_port_is_offline() {
    let error = at(closed_port()).head().await.unwrap_err();
    assert_eq!(code(&error), ("connection_refused", FailureClass::Offline));
}

#[tokio::test]
async fn a_probe_sees_a_listener_and_not_a_forwarder_with_nothing_behind_it() {
    let server = Server::start(|_, _| head_ok("n"));
    assert!(at(server.address).reach().await, "somebody listens");
    assert!(!at(closed_port()).reach().await, "nobody listens");
    assert!(!at(hangs_up()).reach().await, "whoever listens hangs up");
    assert!(server.seen().is_empty(), "a probe sends nothing");
}

#[test]
fn plain_http_and_addresses_with_more_than_a_host_are_refused() {
    let setup = |server: &str| HttpCloud::for_enrolment(options(server)).err().map(|error| error.code());
    for local in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080/", "https://localhost:8443"]
    {
        assert_eq!(setup(local), None, "{local}");
    }
    for plain in ["http://cloud.example", "http://10.0.0.1:8080", "http://127.0.0.1.example", "http://[::2]"]
    {
        assert_eq!(setup(plain), Some("plain_http"), "{plain}");
    }
    let wrong = ["cloud.example", "https://", "ftp://cloud.example", "https://cloud.example/path", ""];
    let secret = ["https://user:pass@cloud.example", "https://cloud.example?x=1", "https://cloud.example#x"];
    for text in wrong.into_iter().chain(secret) {
        assert_eq!(setup(text), Some("server_invalid"), "{text}");
    }
}

#[test]
fn a_proxy_that_is_no_address_is_refused_without_its_password() {
    let proxy = Proxy::Url("http://user:geheim#ss@proxy:3128".to_owned());
    let refused = HttpCloud::for_enrolment(HttpOptions { proxy, ..options("https://cloud.example") });
    let error: HttpSetupError = refused.err().unwrap();
    assert_eq!(error.code(), "proxy_invalid");
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
}

#[test]
fn a_file_of_authorities_that_is_missing_or_holds_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let setup = |path: std::path::PathBuf| {
        let options = HttpOptions { ca_file: Some(path), ..options("https://cloud.example") };
        HttpCloud::for_enrolment(options).err().map(|error: HttpSetupError| error.code())
    };
    assert_eq!(setup(folder.path().join("missing.pem")), Some("ca_file_unreadable"));
    for (name, text) in [("empty", ""), ("words", "no certificate"), ("bad", BAD_PEM)] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        assert_eq!(setup(path), Some("ca_file_invalid"), "{name}");
    }
}

const BAD_PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

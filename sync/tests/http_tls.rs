//! TLS towards the cloud: a wrong server certificate is told apart from being offline.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot be set up must stop"
)]

#[path = "http/authority.rs"]
mod authority;
#[path = "http/server.rs"]
mod server;

use authority::Authority;
use lotgate_domain::ids::BootId;
use lotgate_domain::protocol::CloudApi;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::engine::failure::FailureClass;
use lotgate_sync::http::{HttpCloud, HttpOptions, Proxy};
use server::{Server, reply};
use std::path::PathBuf;
use std::sync::Arc;

fn client(server: &str, ca_file: PathBuf) -> HttpCloud {
    let clock = Arc::new(SystemClock::new(BootId::from_parts(1, &[1; 10])));
    let options = HttpOptions { server: server.to_owned(), ca_file: Some(ca_file), proxy: Proxy::Off, clock };
    HttpCloud::for_enrolment(options).expect("a client")
}

#[tokio::test]
async fn each_wrong_certificate_has_its_own_code_and_none_is_called_offline() {
    let folder = tempfile::tempdir().unwrap();
    let (plant, other) = (Authority::new("plant"), Authority::new("other"));
    let file = plant.file(&folder);
    let cases = [
        ("right", plant.issue("localhost", 2020..2090), "too_old"),
        ("another authority", other.issue("localhost", 2020..2090), "wrong_certificate"),
        ("another name", plant.issue("cloud.example", 2020..2090), "wrong_name"),
        ("over", plant.issue("localhost", 2020..2021), "certificate_expired"),
        ("to come", plant.issue("localhost", 2089..2090), "certificate_not_yet_valid"),
    ];
    for (what, (certificate, key), expected) in cases {
        let server = Server::start_tls(certificate, key, |_, _| {
            reply("426 Upgrade Required", &[], br#"{"code":"too_old"}"#)
        });
        let cloud = client(&format!("https://localhost:{}", server.address.port()), file.clone());
        let error = cloud.head().await.expect_err(what);
        assert_eq!(error.code().as_str(), expected, "{what}");
        assert_ne!(error.class(), FailureClass::Offline, "{what}");
        assert_eq!(server.seen().len(), usize::from(what == "right"), "{what}: a request went out");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = Authority::new("plant").file(&folder);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let error = client(&format!("https://localhost:{port}"), file).head().await.unwrap_err();
    assert_eq!(error.code().as_str(), "tls_failed");
    assert_eq!(error.class(), FailureClass::Unreachable);
}

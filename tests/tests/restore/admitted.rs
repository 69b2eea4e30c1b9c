//! A station whose key or whole enrolment the backup does not know: locked out, and admitted by its certificates.

use lotgate_cloud::admit::{Admit, Admitted};
use lotgate_cloud::error::Rejection;
use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::routes::{Call, ROUTES};
use lotgate_cloud::server;
use lotgate_cloud::session::Session;
use lotgate_domain::certificate::Certificate;
use lotgate_domain::entry::Frame;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::{CloudApi as _, HexBytes, PushReply};
use lotgate_domain::signature::KeyPair;
use lotgate_tests::care::{adopt, rotate_request};
use lotgate_tests::cloud::{Attempt, Plant, Reply, compress, open};
use lotgate_tests::postgres::TestDatabase;
use lotgate_tests::station_keys::{StationKeys, enrol_request};
use serde_json::json;
use std::sync::Arc;
use tokio_postgres::{Client, NoTls};

/// A plant whose cloud serves a backup from before a station took a new key and another one was enrolled.
struct Behind {
    plant: Plant,
    /// What of `plant.moving` follows the backup: signed with its former key, then with its new one.
    tail: [PushRequest; 2],
    /// `certificates.bin` of that station.
    rotated: Vec<HexBytes>,
    /// The station that the backup does not know, with its certificates.
    late: StationKeys,
    late_certificates: Vec<HexBytes>,
    looking_on: Client,
    _backup: TestDatabase,
}

impl Behind {
    async fn new(name: &str) -> Self {
        let mut plant = Plant::new(name).await;
        let moving = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.moving.id);
        moving.push(plant.moving.push(0, 2)).await.unwrap();
        let backup = plant.database.copy(&format!("{name}_backup")).unwrap();

        // Its connections ended when the database was copied.
        plant.cloud = open(&plant.database, &plant.clock).await;
        let moving = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.moving.id);
        let reply = moving.rotate(rotate_request(&plant.moving, 60, "planned")).await.unwrap();
        let of_former = plant.moving.push(2, 4);
        adopt(&mut plant.moving, 60, &reply);
        plant.moving.open_epoch_because(9, EpochReason::KeyRotated);
        plant.moving.append_scan("A", "L");
        let tail = [of_former, plant.moving.push_all()];
        let token = plant.token(1000).await;
        let nobody = Session::of_nobody(Arc::clone(&plant.cloud), None);
        let enrolled = nobody.enrol(enrol_request(&token, 77)).await.unwrap();
        let mut late = StationKeys::new(plant.tenant, &enrolled, 77);
        late.append_enrolled();

        plant.cloud = open(&backup, &plant.clock).await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        plant.address = listener.local_addr().unwrap();
        tokio::spawn(server::serve(Arc::clone(&plant.cloud), listener, None, std::future::pending()));
        let (looking_on, connection) = tokio_postgres::connect(&backup.superuser_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let (rotated, late_certificates) = (reply.certificates, enrolled.certificates);
        Self { plant, tail, rotated, late, late_certificates, looking_on, _backup: backup }
    }

    async fn ask(&self, call: Call, station: &StationKeys, body: Option<Vec<u8>>) -> Reply {
        let plant = &self.plant;
        let route = ROUTES.into_iter().find(|route| route.call == call).unwrap();
        let attempt = Attempt {
            body,
            station: station.id,
            key_id_of: KeyPair::from_seed(&station.keys.seed()),
            signed_by: KeyPair::from_seed(&station.keys.seed()),
            nonce: Some(plant.nonce(plant.tenant, station.id)),
            ..plant.attempt(route)
        };
        plant.send(&attempt.sign()).await
    }

    async fn push(&self, station: &StationKeys, request: &PushRequest) -> PushReply {
        let reply = self.ask(Call::Push, station, Some(compress(request))).await;
        assert_eq!(reply.code(), "ok");
        serde_json::from_slice(&reply.body).unwrap()
    }

    async fn admit(&self, file: Vec<u8>) -> Result<Admitted, Rejection> {
        gate::pass(&self.plant.cloud, &Caller::Program { tenant: self.plant.tenant }, Admit { file }).await
    }

    async fn number(&self, query: &str) -> i64 {
        self.looking_on.query_one(query, &[]).await.unwrap().get(0)
    }
}

/// As `certificates.bin` of an export.
fn frames(certificates: &[HexBytes]) -> Vec<u8> {
    certificates.iter().flat_map(|frame| frame.0.clone()).collect()
}

fn certificate(frame: &HexBytes) -> Certificate {
    serde_json::from_slice(Frame::read(&frame.0).unwrap().json()).unwrap()
}

#[tokio::test]
async fn a_station_with_a_key_that_the_backup_does_not_know_is_admitted_by_its_certificates() {
    let behind = Box::pin(Behind::new("admit_key")).await;
    let moving = &behind.plant.moving;
    assert_eq!(behind.ask(Call::Head, moving, None).await.code(), "unknown_key");
    let again = json!(rotate_request(moving, 61, "planned")).to_string();
    let again = zstd::encode_all(again.as_bytes(), 3).unwrap();
    assert_eq!(behind.ask(Call::Rotate, moving, Some(again)).await.code(), "unknown_key", "no way by itself");

    let leaves = behind.number("SELECT count(*) FROM leaf").await;
    let admitted = behind.admit(frames(&behind.rotated)).await.unwrap();
    let newest = certificate(behind.rotated.last().unwrap());
    assert_eq!((admitted.station, admitted.enrolled), (moving.id, false));
    assert_eq!(admitted.admitted, [newest.serial]);
    assert_eq!(behind.number("SELECT count(*) FROM leaf").await, leaves + 2, "the certificate, key.rotated");
    let leaf = format!("SELECT count(*) FROM leaf WHERE certificate_serial = '{}'", newest.serial);
    assert_eq!(behind.number(&leaf).await, 1);

    assert_eq!(behind.ask(Call::Head, moving, None).await.code(), "ok");
    for (request, through) in behind.tail.iter().zip([4, 2]) {
        let reply = behind.push(moving, request).await;
        assert_eq!((reply.accepted_through.seq, reply.stopped), (through, None));
    }
    let again = behind.admit(frames(&behind.rotated)).await.unwrap();
    assert_eq!((again.admitted, again.enrolled), (vec![], false), "nothing is missing any more");
    let audited = "SELECT count(*) FROM audit WHERE action = 'station.admitted'";
    assert_eq!(behind.number(audited).await, 2);
}

#[tokio::test]
async fn a_station_that_was_enrolled_after_the_backup_is_admitted_by_its_certificates() {
    let behind = Box::pin(Behind::new("admit_new")).await;
    assert_eq!(behind.ask(Call::Head, &behind.late, None).await.code(), "unknown_key");
    // As the station keeps them in its secure directory.
    let identity = json!({"v": 1, "station_name": "Station 77", "certificates": behind.late_certificates});
    let admitted = behind.admit(identity.to_string().into_bytes()).await.unwrap();
    assert_eq!((admitted.station, admitted.enrolled, admitted.admitted.len()), (behind.late.id, true, 1));
    assert_eq!(behind.ask(Call::Head, &behind.late, None).await.code(), "ok");
    let reply = behind.push(&behind.late, &behind.late.push_all()).await;
    assert_eq!((reply.accepted_through.seq, reply.stopped), (1, None));
    assert!(reply.receipt.is_some() && reply.proof.is_some(), "it settles");
}

#[tokio::test]
async fn nobody_is_admitted_but_by_whole_certificates_of_one_station_of_the_tenant() {
    let behind = Box::pin(Behind::new("admit_bad")).await;
    let (tenants, own) = behind.rotated.split_at(behind.rotated.len() - 2);
    let mut forged = certificate(&own[1]);
    forged.public_key = KeyPair::from_seed(&[99; 32]).public();
    let forged = lotgate_domain::statement::sign(&forged, &KeyPair::from_seed(&[99; 32])).unwrap();
    let both = [frames(&behind.rotated), frames(&behind.late_certificates)].concat();
    for (file, words) in [
        (Vec::new(), "no certificate of a station"),
        (b"no frames at all".to_vec(), "holds no certificates"),
        (b"{\"v\": 1}".to_vec(), "holds no certificates"),
        (frames(tenants), "no certificate of a station"),
        (forged, "no certificate of a station"),
        (both, "more than one station"),
        (frames(&own[1..]), "is missing in the file"),
    ] {
        let refused = behind.admit(file).await;
        assert!(
            matches!(refused, Err(Rejection::BadRequest(text)) if text.contains(words)),
            "{words}: {refused:?}"
        );
    }
    let stranger = Caller::Program { tenant: behind.plant.foreign.tenant };
    let work = Admit { file: frames(&behind.rotated) };
    let refused = gate::pass(&behind.plant.cloud, &stranger, work).await;
    assert!(matches!(refused, Err(Rejection::BadRequest(_))), "another tenant: {refused:?}");
    assert_eq!(behind.number("SELECT count(*) FROM audit WHERE action = 'station.admitted'").await, 0);

    behind.admit(frames(&behind.rotated)).await.unwrap();
    let older = behind.admit(frames(&own[..1])).await;
    assert!(matches!(older, Err(Rejection::BadRequest(text)) if text.contains("holds a key")), "{older:?}");
}

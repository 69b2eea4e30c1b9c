//! A new key for a station: the same answer whoever of the two keys asks again, and no way back for the former one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::retire::Revoke;
use lotgate_cloud::routes::{Call, ROUTES, Route};
use lotgate_cloud::session::Session;
use lotgate_domain::certificate::{Trust, of_station};
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Hash, PublicKey};
use lotgate_domain::protocol::CloudApi as _;
use lotgate_domain::protocol::PushReply;
use lotgate_domain::protocol::care::{RotateReply, RotateRequest};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::event::{Closing, KeyRotated};
use lotgate_domain::statement::{self, Verdict, VerdictBatch};
use lotgate_tests::care::{adopt, retire_request, rotate_request};
use lotgate_tests::cloud::{Attempt, Plant, Reply, compress};
use serde_json::json;
use std::sync::Arc;

fn route(call: Call) -> Route {
    ROUTES.into_iter().find(|route| route.call == call).unwrap()
}

/// A request to rotate, signed with the key of a seed or with the station's own.
async fn ask(plant: &Plant, request: &RotateRequest, signed_by: Option<u8>) -> Reply {
    let body = Some(zstd::encode_all(json!(request).to_string().as_bytes(), 3).unwrap());
    let mut attempt = Attempt { body, ..plant.attempt(route(Call::Rotate)) };
    if let Some(seed) = signed_by {
        attempt.signed_by = KeyPair::from_seed(&[seed; 32]);
        attempt.key_id_of = KeyPair::from_seed(&[seed; 32]);
    }
    plant.send(&attempt.sign()).await
}

fn read(reply: &Reply) -> RotateReply {
    assert_eq!(reply.code(), "ok");
    serde_json::from_slice(&reply.body).unwrap()
}

fn trust(plant: &Plant, reply: &RotateReply) -> (Trust, Vec<Vec<u8>>) {
    let frames: Vec<Vec<u8>> = reply.certificates.iter().map(|frame| frame.0.clone()).collect();
    let root = KeyPair::from_seed(&[1; 32]).public().fingerprint();
    (Trust::establish(plant.tenant, root, &frames).unwrap(), frames)
}

#[tokio::test]
async fn the_same_keys_get_the_same_answer_from_the_former_key_and_from_the_new_one() {
    let plant = Plant::new("rotate_again").await;
    let request = rotate_request(&plant.moving, 60, "planned");
    let first = read(&ask(&plant, &request, None).await);
    let again = read(&ask(&plant, &request, None).await);
    assert_eq!(again, first, "the reply was lost, the former key asks again");
    assert_eq!(read(&ask(&plant, &request, Some(60)).await), first, "the new key asks");
    assert_eq!(plant.number("SELECT count(*) FROM leaf WHERE statement_kind = 'key.rotated'").await, 1);

    let (trust, frames) = trust(&plant, &first);
    assert!(trust.recovery.is_some(), "the tenant's certificates are whole");
    let of_station = of_station(&trust, &frames, plant.moving.id);
    assert_eq!(of_station.len(), 2);
    assert_eq!(of_station[0].hash, plant.moving.certificate);
    assert_eq!(of_station[1].value.previous, Some(of_station[0].value.serial));
    assert_eq!(of_station[1].value.public_key, KeyPair::from_seed(&[60; 32]).public());
    assert_eq!(of_station[1].bytes, *frames.last().unwrap(), "the new one is the last");

    let query =
        "SELECT c.serial, l.bytes FROM leaf l LEFT JOIN certificate c ON c.serial = l.certificate_serial
        WHERE l.tenant_id = $1 ORDER BY l.index DESC LIMIT 2";
    let rows = plant.superuser.query(query, &[&plant.tenant.0]).await.unwrap();
    let rotated =
        statement::read::<KeyRotated>(rows[0].get("bytes"), plant.tenant, &trust.statement).unwrap();
    assert_eq!(rows[1].get::<_, uuid::Uuid>("serial"), of_station[1].value.serial.0, "directly before it");
    assert_eq!(rotated.value.previous, of_station[0].value.serial);
    assert_eq!(rotated.value.certificate, of_station[1].value.serial);
}

#[tokio::test]
async fn the_former_key_opens_nothing_any_more_but_what_it_signed_is_taken_from_the_new_one() {
    let mut plant = Plant::new("rotate_former").await;
    let request = rotate_request(&plant.moving, 60, "planned");
    let reply = read(&ask(&plant, &request, None).await);
    let (former, tail) = (KeyPair::from_seed(&plant.moving.keys.seed()), plant.moving.push_all());
    adopt(&mut plant.moving, 60, &reply);
    for call in [Call::Head, Call::Push, Call::Feed, Call::Heartbeat, Call::Evidence, Call::Retire] {
        let attempt = Attempt {
            station: plant.moving.id,
            nonce: Some(plant.nonce(plant.tenant, plant.moving.id)),
            key_id_of: KeyPair::from_seed(&former.seed()),
            signed_by: KeyPair::from_seed(&former.seed()),
            ..plant.attempt(route(call))
        };
        plant.assert_rejected(&attempt.sign(), "unknown_key", &format!("{call:?} by the former key")).await;
    }
    let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.moving.id);
    let taken = session.push(tail).await.unwrap();
    assert_eq!((taken.accepted_through.seq, taken.stopped), (4, None), "what the former key signed");
    plant.moving.open_epoch_because(9, EpochReason::KeyRotated);
    plant.moving.append_scan("A", "L");
    let taken = session.push(plant.moving.push_all()).await.unwrap();
    assert_eq!(
        (taken.accepted_through.seq, taken.stopped),
        (2, None),
        "the new epoch, from the new certificate"
    );
    let (trust, _) = trust(&plant, &reply);
    let verdicts =
        statement::read::<VerdictBatch>(&taken.verdicts[0].0, plant.tenant, &trust.statement).unwrap();
    assert_eq!(verdicts.value.exceptions, [], "a planned new key leaves no doubt");
}

/// Pushes what comes after the first `from`, signed with the key from `seed`.
async fn push_signed_by(plant: &Plant, seed: [u8; 32], from: usize) -> Reply {
    let attempt = Attempt {
        station: plant.moving.id,
        nonce: Some(plant.nonce(plant.tenant, plant.moving.id)),
        key_id_of: KeyPair::from_seed(&seed),
        signed_by: KeyPair::from_seed(&seed),
        body: Some(compress(&plant.moving.push(from, plant.moving.entries.len()))),
        ..plant.attempt(route(Call::Push))
    };
    plant.send(&attempt.sign()).await
}

#[tokio::test]
async fn a_station_that_was_closed_before_its_new_certificate_came_still_gets_it_and_pushes_its_tail() {
    for (name, closing) in [("rotate_revoked", Closing::Revoked), ("rotate_retired", Closing::Retired)] {
        let mut plant = Plant::new(name).await;
        let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.moving.id);
        session.push(plant.moving.push_all()).await.unwrap();
        let request = rotate_request(&plant.moving, 60, "planned");
        let lost = read(&ask(&plant, &request, None).await);
        match closing {
            Closing::Revoked => {
                let program = Caller::Program { tenant: plant.tenant };
                let revoke = Revoke { station: plant.moving.id, reason: "stolen".into() };
                assert!(gate::pass(&plant.cloud, &program, revoke).await.unwrap().changed);
            }
            Closing::Retired => drop(session.retire(retire_request(&plant.moving)).await.unwrap()),
        }
        let tail = plant.moving.entries.len();
        plant.moving.append_scan("A", "L1");
        plant.moving.append_scan("A", "L2");
        let former = plant.moving.keys.seed();
        assert_eq!(push_signed_by(&plant, *former, tail).await.code(), "unknown_key", "{closing:?}");

        // All that says what a station is; the passage itself leaves an audit row.
        let keys = "SELECT (SELECT count(*) FROM leaf) + (SELECT count(*) FROM station_key)";
        let before = plant.number(keys).await;
        assert_eq!(read(&ask(&plant, &request, None).await), lost, "{closing:?}: the former key asks again");
        assert_eq!(read(&ask(&plant, &request, Some(60)).await), lost, "{closing:?}: the new key asks");
        let other = rotate_request(&plant.moving, 61, "planned");
        for signed_by in [None, Some(60)] {
            let refused = ask(&plant, &other, signed_by).await;
            assert_eq!(refused.code(), "revoked", "{closing:?}: no other key is certified");
        }
        let hpke_key = PublicKey([1; 32]);
        let forged = RotateRequest { hpke_key, ..request.clone() };
        assert_eq!(ask(&plant, &forged, None).await.code(), "bad_signature", "{closing:?}: not that request");
        assert_eq!(plant.number(keys).await, before, "{closing:?}: nothing was certified");

        let (trust, _) = trust(&plant, &lost);
        adopt(&mut plant.moving, 60, &lost);
        let pushed = push_signed_by(&plant, [60; 32], tail).await;
        assert_eq!(pushed.code(), "ok", "{closing:?}");
        let pushed: PushReply = serde_json::from_slice(&pushed.body).unwrap();
        assert_eq!((pushed.accepted_through.seq, pushed.stopped), (tail as u64 + 2, None), "{closing:?}");
        let verdicts = &pushed.verdicts.last().unwrap().0;
        let verdicts =
            statement::read::<VerdictBatch>(verdicts, plant.tenant, &trust.statement).unwrap().value;
        let said: Vec<_> = verdicts.exceptions.iter().map(|found| (found.verdict, &*found.code)).collect();
        assert_eq!(said, [(Verdict::Quarantined, "station_revoked"); 2], "{closing:?}: kept, not applied");
    }
}

#[tokio::test]
async fn a_rotation_without_its_proofs_is_refused() {
    let mut plant = Plant::new("rotate_bad").await;
    let right = rotate_request(&plant.moving, 60, "planned");
    let other = rotate_request(&plant.station, 60, "planned");
    for (request, code, why) in [
        (RotateRequest { reason: "because".into(), ..right.clone() }, "bad_request", "no such reason"),
        (
            RotateRequest { proof: other.proof, ..right.clone() },
            "bad_signature",
            "proof over another present key",
        ),
        (
            RotateRequest { hpke_key: PublicKey([1; 32]), ..right.clone() },
            "bad_signature",
            "an X25519 key that the proof is not over",
        ),
    ] {
        let before = plant.rows().await;
        assert_eq!(ask(&plant, &request, None).await.code(), code, "{why}");
        assert_eq!(plant.rows().await, before, "{why}");
    }
    let new_key = ask(&plant, &right, Some(60)).await;
    assert_eq!(new_key.code(), "unknown_key", "a key that nobody certified asks for itself");

    let reply = read(&ask(&plant, &right, None).await);
    let second = rotate_request(&plant.moving, 61, "planned");
    assert_eq!(ask(&plant, &second, None).await.code(), "unknown_key", "the former key asks for another one");
    let former_seed = plant.moving.keys.seed()[0];
    adopt(&mut plant.moving, 60, &reply);
    let back = rotate_request(&plant.moving, former_seed, "planned");
    assert_eq!(ask(&plant, &back, None).await.code(), "bad_request", "a key that it had before");
    let own = rotate_request(&plant.moving, 60, "planned");
    assert_eq!(ask(&plant, &own, None).await.code(), "bad_signature", "its own key, proven over itself");
    let third = read(&ask(&plant, &rotate_request(&plant.moving, 61, "planned"), None).await);
    assert_eq!(third.certificates.len(), 6 + 3, "every certificate of the tenant and of the station");
}

#[tokio::test]
async fn of_two_new_keys_asked_for_at_once_one_is_certified() {
    let plant = Plant::new("rotate_race").await;
    let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.moving.id);
    let ask = |seed| {
        let request = rotate_request(&plant.moving, seed, "planned");
        let session = session.clone();
        tokio::spawn(async move { session.rotate(request).await })
    };
    let (one, other) = (ask(60), ask(61));
    let answers = [one.await.unwrap(), other.await.unwrap()];
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "{answers:?}");
    // Its proof names the key before as the present one.
    assert_eq!(refused[0].problem().code, ProblemCode::BadSignature);
    let keys = format!("SELECT count(*) FROM station_key WHERE station_id = '{}'", plant.moving.id);
    assert_eq!(plant.number(&keys).await, 2);
    assert_ne!(plant.moving.certificate, Hash::ZERO);
}

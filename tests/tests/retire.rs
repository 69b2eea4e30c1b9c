//! The end of a station: by itself once everything is held, or because nobody trusts its key any more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::retire::Revoke;
use lotgate_cloud::session::Session;
use lotgate_domain::ids::PublicKey;
use lotgate_domain::protocol::CloudApi as _;
use lotgate_domain::protocol::PushReply;
use lotgate_domain::protocol::care::{Heartbeat, RetireRequest};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::statement::event::{Closing, StationClosed};
use lotgate_domain::statement::{self, Verdict, VerdictBatch};
use lotgate_tests::care::{evidence_of, head_of, heartbeat_of, point_of, retire_request, rotate_request};
use lotgate_tests::cloud::{Plant, Sent};
use lotgate_tests::station_keys::enrol_request;
use serde_json::json;
use std::sync::Arc;

fn session(plant: &Plant) -> Session {
    Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.leaving.id)
}

async fn statement_key(plant: &Plant) -> PublicKey {
    let query = "SELECT public_key FROM tenant_key WHERE key_use = 'statement' AND tenant_id = $1";
    let row = plant.superuser.query_one(query, &[&plant.tenant.0]).await.unwrap();
    PublicKey::from_slice(row.get(0)).unwrap()
}

/// The verdict and code of each operation of the last batch of a reply that was not accepted.
async fn exceptions(plant: &Plant, reply: &PushReply) -> Vec<(Verdict, String)> {
    let bytes = &reply.verdicts.last().unwrap().0;
    let batch = statement::read::<VerdictBatch>(bytes, plant.tenant, &statement_key(plant).await).unwrap();
    batch.value.exceptions.into_iter().map(|exception| (exception.verdict, exception.code)).collect()
}

async fn assert_only_pushes(plant: &Plant) {
    let session = session(plant);
    let revoked = |problem: ProblemCode| assert_eq!(problem, ProblemCode::Revoked);
    revoked(session.feed(0).await.unwrap_err().problem().code);
    let rotate = rotate_request(&plant.leaving, 60, "planned");
    revoked(session.rotate(rotate).await.unwrap_err().problem().code);
    session.head().await.expect("where the chain stands");
    session.heartbeat(heartbeat_of(&plant.leaving)).await.expect("how it is");
    session.evidence(evidence_of(&plant.leaving.entries)).await.expect("what it has besides");
}

#[tokio::test]
async fn a_station_retires_at_the_very_head_that_is_held_and_gets_the_same_statement_again() {
    let mut plant = Plant::new("retire").await;
    let held = retire_request(&plant.leaving);
    plant.leaving.append_scan("A", "L");
    let ahead = retire_request(&plant.leaving);
    let behind = RetireRequest { through: point_of(&plant.leaving, 3).unwrap(), ..held.clone() };
    let before = plant.rows().await;
    for (request, why) in [(&ahead, "an entry is missing"), (&behind, "an entry follows")] {
        let refused = session(&plant).retire(request.clone()).await.unwrap_err().problem();
        assert_eq!(refused.code, ProblemCode::HeadMismatch, "{why}");
        assert_eq!(refused.head.unwrap().seq, 4, "{why}: it is told what is held");
    }
    let unusable = RetireRequest { reason: " ".into(), ..held.clone() };
    assert_eq!(session(&plant).retire(unusable).await.unwrap_err().problem().code, ProblemCode::BadRequest);
    assert_eq!(plant.rows().await, before);

    let closed = session(&plant).retire(held.clone()).await.unwrap();
    let said =
        statement::read::<StationClosed>(&closed.statement.0, plant.tenant, &statement_key(&plant).await);
    let said = said.unwrap();
    assert_eq!((said.value.closing, said.value.through), (Closing::Retired, Some(held.through)));
    assert_eq!(said.value.reason, held.reason);
    assert_eq!(session(&plant).retire(held).await.unwrap(), closed, "the reply was lost");
    let leaves = "SELECT count(*) FROM leaf WHERE statement_kind = 'station.closed'";
    assert_eq!(plant.number(leaves).await, 1);
    assert_eq!(session(&plant).retire(ahead).await.unwrap_err().problem().code, ProblemCode::Revoked);

    assert_only_pushes(&plant).await;
    let late = session(&plant).push(plant.leaving.push(4, 5)).await.unwrap();
    assert_eq!((late.accepted_through.seq, late.stopped), (5, None), "kept, never refused");
    assert_eq!(exceptions(&plant, &late).await, [(Verdict::Quarantined, "station_revoked".to_owned())]);
}

#[tokio::test]
async fn what_a_revoked_station_had_reported_is_flagged_and_what_came_later_quarantined() {
    let mut plant = Plant::new("revoke").await;
    for number in 0..3 {
        plant.leaving.append_scan("A", &format!("L{number}"));
    }
    let head = point_of(&plant.leaving, 6);
    session(&plant).heartbeat(Heartbeat { head, ..heartbeat_of(&plant.leaving) }).await.unwrap();
    let program = Caller::Program { tenant: plant.tenant };
    let revoke = || Revoke { station: plant.leaving.id, reason: "stolen".into() };
    let revoked = gate::pass(&plant.cloud, &program, revoke()).await.unwrap();
    assert_eq!((revoked.closing, revoked.changed), (Closing::Revoked, true));
    assert_eq!((revoked.through, revoked.held), (head, point_of(&plant.leaving, 4)));
    let again = gate::pass(&plant.cloud, &program, revoke()).await.unwrap();
    assert_eq!((again.through, again.changed), (head, false));
    let leaves = "SELECT count(*) FROM leaf WHERE statement_kind = 'station.closed'";
    assert_eq!(plant.number(leaves).await, 1, "said once");

    assert_only_pushes(&plant).await;
    let retire = session(&plant).retire(retire_request(&plant.leaving)).await.unwrap_err();
    assert_eq!(retire.problem().code, ProblemCode::Revoked);
    let pushed = session(&plant).push(plant.leaving.push(4, 7)).await.unwrap();
    assert_eq!((pushed.accepted_through.seq, pushed.stopped), (7, None));
    let code = || "station_revoked".to_owned();
    assert_eq!(
        exceptions(&plant, &pushed).await,
        [(Verdict::Flagged, code()), (Verdict::Flagged, code()), (Verdict::Quarantined, code())]
    );
}

#[tokio::test]
async fn a_station_that_reported_nothing_is_revoked_through_what_is_held_of_it() {
    let plant = Plant::new("revoke_held").await;
    let program = Caller::Program { tenant: plant.tenant };
    let of = |station, reason: &str| Revoke { station, reason: reason.to_owned() };
    let pushed = gate::pass(&plant.cloud, &program, of(plant.leaving.id, "sold")).await.unwrap();
    assert_eq!(pushed.through, head_of(&plant.leaving));
    let silent = gate::pass(&plant.cloud, &program, of(plant.station.id, "never used")).await.unwrap();
    assert_eq!((silent.through, silent.held), (None, None));
    let foreign = gate::pass(&plant.cloud, &program, of(plant.foreign.id, "x")).await.unwrap_err();
    assert!(matches!(foreign, lotgate_cloud::error::Rejection::Missing(_)), "another tenant's: {foreign:?}");
}

#[tokio::test]
async fn a_token_does_not_answer_again_for_a_station_that_was_revoked() {
    let plant = Plant::new("revoke_enrol").await;
    let token = plant.token(60_000).await;
    let request = Sent::enrolment(&json!(enrol_request(&token, 7)));
    assert_eq!(plant.send(&request).await.code(), "ok");
    let id: uuid::Uuid = plant
        .superuser
        .query_one("SELECT station_id FROM station WHERE name = 'Station 7'", &[])
        .await
        .unwrap()
        .get(0);
    let revoke = Revoke { station: lotgate_domain::ids::StationId(id), reason: "wrong machine".into() };
    gate::pass(&plant.cloud, &Caller::Program { tenant: plant.tenant }, revoke).await.unwrap();
    plant.assert_rejected(&request, "revoked", "the same token and key").await;
}

//! The two halves of a push: what the audit trail tells of the second, and what becomes of a push without it.

use super::{Plant, PushReply, ROUTES};
use lotgate_cloud::log;
use lotgate_cloud::session::Session;
use lotgate_domain::protocol::CloudApi as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const NUMBERING_FAILS: &str = "CREATE FUNCTION no_numbering() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN IF NEW.action = 'operations.numbered' THEN RAISE 'disk on fire'; END IF; RETURN NEW; END$$;
    CREATE TRIGGER no_numbering BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION no_numbering()";

#[tokio::test]
async fn the_cloud_audits_which_indexes_it_gave_and_how_the_log_stood_before_and_after() {
    let plant = Plant::new("numbered").await;
    let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.station.id);
    for (from, to) in [(0, 1), (1, 3), (0, 3), (3, 4)] {
        plant.clock.fetch_add(1, Ordering::SeqCst);
        session.push(plant.station.push(from, to)).await.unwrap();
    }
    let numbered = format!(
        "SELECT (detail->>'first_index')::bigint, (detail->>'next_index')::bigint,
            (detail->'batches'->0->>'first')::bigint, actor, prior_hash, next_hash
        FROM audit WHERE action = 'operations.numbered' AND detail->'batches'->0->>'station' = '{}'
        ORDER BY at, id",
        plant.station.id
    );
    let told = plant.superuser.query(&numbered, &[]).await.unwrap();
    let firsts: Vec<i64> = told.iter().map(|row| row.get(2)).collect();
    assert_eq!(firsts, [1, 2, 4], "a push that brought nothing numbers nothing");
    for (one, next) in told.iter().zip(&told[1..]) {
        assert_eq!(one.get::<_, i64>(1), next.get::<_, i64>(0), "range follows range");
        assert_eq!(one.get::<_, &[u8]>(5), next.get::<_, &[u8]>(4), "root follows root");
        assert_eq!(next.get::<_, &str>(3), "cloud");
    }
}

#[tokio::test]
async fn the_audit_row_names_a_batch_that_was_committed_while_the_log_was_being_numbered() {
    let plant = Plant::new("late_batch").await;
    plant.superuser.batch_execute(NUMBERING_FAILS).await.unwrap();
    for station in [&plant.station, &plant.moving] {
        let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, station.id);
        session.push(station.push(0, 3)).await.unwrap_err();
    }
    // The first is not committed yet; the second, which came after it, is.
    let first_is_late = "DROP TRIGGER no_numbering ON audit;
        CREATE TEMPORARY TABLE late AS SELECT * FROM waiting ORDER BY arrival LIMIT 1;
        DELETE FROM waiting WHERE arrival IN (SELECT arrival FROM late);
        BEGIN; INSERT INTO waiting SELECT * FROM late; LOCK TABLE tree IN ACCESS EXCLUSIVE MODE";
    plant.superuser.batch_execute(first_is_late).await.unwrap();
    plant.clock.fetch_add(1, Ordering::SeqCst);
    let (cloud, tenant) = (Arc::clone(&plant.cloud), plant.tenant);
    let numbering = tokio::spawn(async move { log::number_waiting(&cloud, tenant).await });
    let stopped = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tree'::regclass";
    while plant.number(stopped).await == 0 {
        assert!(!numbering.is_finished(), "it does not stop before the log");
    }
    plant.superuser.batch_execute("COMMIT").await.unwrap();
    assert_eq!(numbering.await.unwrap().unwrap(), 2);
    let told =
        "SELECT detail->'batches' FROM audit WHERE action = 'operations.numbered' ORDER BY at DESC LIMIT 1";
    let told: Value = plant.superuser.query_one(told, &[]).await.unwrap().get(0);
    let batch = |station| json!({"station": station, "epoch": 1, "branch": 0, "first": 1, "last": 3});
    assert_eq!(told, json!([batch(plant.station.id), batch(plant.moving.id)]), "both, in their order");
}

#[tokio::test]
async fn a_push_whose_second_half_fails_is_told_so_and_the_next_request_finishes_it() {
    let plant = Plant::new("half").await;
    plant.superuser.batch_execute(NUMBERING_FAILS).await.unwrap();
    let leaves = plant.number("SELECT count(*) FROM leaf").await;
    let entries = plant.number("SELECT count(*) FROM entry").await;
    assert_eq!(plant.send(&plant.attempt(ROUTES[2]).sign()).await.code(), "internal");
    assert_eq!(plant.number("SELECT count(*) FROM entry").await, entries + 4, "what was ingested stays");
    assert_eq!(plant.number("SELECT count(*) FROM waiting").await, 1);
    assert_eq!(plant.number("SELECT count(*) FROM leaf").await, leaves, "nothing of the second half");
    let head = plant.send(&plant.attempt(ROUTES[1]).sign()).await;
    assert_eq!(head.code(), "ok", "the head can be told while numbering fails");
    assert_eq!(plant.number("SELECT count(*) FROM waiting").await, 1);

    plant.superuser.batch_execute("DROP TRIGGER no_numbering ON audit").await.unwrap();
    assert_eq!(plant.send(&plant.attempt(ROUTES[1]).sign()).await.code(), "ok");
    assert_eq!(plant.number("SELECT count(*) FROM waiting").await, 0, "a head request numbers what waits");
    let reply = plant.send(&plant.attempt(ROUTES[2]).sign()).await;
    let reply: PushReply = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.first_index, reply.verdicts.len()), (None, 1), "the push again gets its verdicts");
    assert!(reply.receipt.is_some() && reply.proof.is_some());
}

#[tokio::test]
async fn pushes_in_flight_that_overtake_each_other_wait_for_what_they_follow() {
    let mut plant = Plant::new("overtake").await;
    for number in 0..36 {
        plant.station.append_scan("A", &format!("L{number}"));
    }
    let pushes: Vec<_> = [(20, 40), (10, 20), (0, 10)]
        .map(|(from, to)| {
            let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.station.id);
            let request = plant.station.push(from, to);
            tokio::spawn(async move { session.push(request).await.map(|reply| reply.accepted_through.seq) })
        })
        .into_iter()
        .collect();
    let mut throughs = Vec::new();
    for push in pushes {
        throughs.push(push.await.unwrap().unwrap());
    }
    assert_eq!(throughs, [40, 20, 10], "none was sent back");
}

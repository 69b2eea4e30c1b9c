//! Who comes at once with others: turns are taken, and no station stops another.

use super::MINUTE_MS;
use axum::http::StatusCode;
use lotgate_cloud::head::LIMITS;
use lotgate_cloud::routes::ROUTES;
use lotgate_cloud::session::Session;
use lotgate_domain::protocol::{CloudApi as _, PushReply};
use lotgate_tests::cloud::{Plant, Reply, Sent};
use lotgate_tests::station_keys::enrol_request;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Two seconds for the turn, and time for a slow machine.
const FEW_SECONDS: Duration = Duration::from_secs(8);

#[tokio::test]
async fn of_many_keys_with_one_token_at_once_one_is_enrolled() {
    let plant = Plant::new("race").await;
    let token = plant.token(MINUTE_MS).await;
    let address = plant.address;
    let asked: Vec<_> = (30..38)
        .map(|seed| {
            let request = Sent::enrolment(&serde_json::to_value(enrol_request(&token, seed)).unwrap());
            tokio::spawn(async move { request.send(address).await.code() })
        })
        .collect();
    let mut codes = Vec::new();
    for reply in asked {
        codes.push(reply.await.unwrap());
    }
    codes.sort();
    assert_eq!(codes[0], "ok");
    assert!(codes[1..].iter().all(|code| code == "token_used"), "{codes:?}");
}

#[tokio::test]
async fn pushes_of_one_station_at_once_take_turns_and_give_every_entry_once() {
    let mut plant = Plant::new("turns").await;
    for number in 0..60 {
        plant.station.append_scan("A", &format!("L{number}"));
    }
    let (address, mut pushes) = (plant.address, Vec::new());
    for _ in 0..6 {
        let request = plant.attempt(ROUTES[2]).sign();
        pushes.push(tokio::spawn(async move {
            // A few at once are let in; the others come again, as they are told to.
            loop {
                let reply = request.send(address).await;
                if reply.code() != "busy" {
                    break reply;
                }
            }
        }));
    }
    let mut first_indexes = 0;
    for push in pushes {
        let reply = push.await.unwrap();
        let reply: PushReply = serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{reply:?}"));
        assert_eq!(reply.accepted_through.seq, 64);
        assert_eq!(reply.verdicts.len(), 1, "the verdicts of all that it touches");
        first_indexes += usize::from(reply.first_index.is_some());
    }
    assert_eq!(first_indexes, 1, "one of them brought something");
    for rows in ["entry WHERE", "leaf WHERE kind = 'operation' AND"] {
        let count = format!("SELECT count(*) FROM {rows} station_id = '{}'", plant.station.id);
        assert_eq!(plant.number(&count).await, 64, "{rows}");
    }
    let holes = "SELECT max(index) + 1 - count(*) FROM leaf GROUP BY tenant_id ORDER BY 1 DESC LIMIT 1";
    assert_eq!(plant.number(holes).await, 0, "no log has a hole");
}

#[tokio::test]
async fn a_station_that_waits_for_its_turn_is_busy_and_stops_nobody_else() {
    let plant = Plant::new("busy").await;
    let name = format!("lotgate/station/{}/{}", plant.tenant, plant.station.id);
    let (before, begun) = (plant.rows().await, Instant::now());
    plant.superuser.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", &[&name]).await.unwrap();
    let request = plant.attempt(ROUTES[2]).sign();
    let pushes: Vec<_> = (0..8)
        .map(|_| {
            let (request, address) = (request.clone(), plant.address);
            tokio::spawn(async move { request.send(address).await })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()";
    // One more than asked of stations: one whose reply was lost comes back before its first push ends.
    let at_once = usize::try_from(LIMITS.in_flight + 1).unwrap();
    let expected = (i64::try_from(at_once).unwrap(), pushes.len() - at_once);
    let (mut most, mut refused) = (0, 0);
    while pushes.iter().any(|push| !push.is_finished()) {
        most = most.max(plant.number(waiting).await);
        refused = refused.max(pushes.iter().filter(|push| push.is_finished()).count());
        assert!(begun.elapsed() < FEW_SECONDS, "a push waits for ever");
        if (most, refused) == expected && plant.number(waiting).await == most {
            break;
        }
    }
    assert_eq!((most, refused), expected, "some wait with a connection each, the others are told at once");
    let foreign = Session::of_station(Arc::clone(&plant.cloud), plant.foreign.tenant, plant.foreign.id);
    let passed = foreign.push(plant.foreign.push(0, 1)).await.unwrap();
    assert_eq!(passed.accepted_through.seq, 1, "another station's push passes meanwhile");
    for push in pushes {
        let reply: Reply = push.await.unwrap();
        assert_eq!((reply.code().as_str(), reply.status), ("busy", StatusCode::SERVICE_UNAVAILABLE));
        let problem: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(problem["retry_after_ms"], 1000, "{problem}");
    }
    assert!(begun.elapsed() < FEW_SECONDS, "no push waits longer: {:?}", begun.elapsed());
    let of_station = format!("SELECT count(*) FROM entry WHERE station_id = '{}'", plant.station.id);
    assert_eq!(plant.number(&of_station).await, 0, "nothing of it was kept");
    let audited = format!("SELECT count(*) FROM audit WHERE actor = 'station:{}'", plant.station.id);
    let told = before.iter().filter(|row| row.contains(&format!("station:{}", plant.station.id))).count();
    assert_eq!(plant.number(&audited).await, i64::try_from(told).unwrap(), "nor told");

    plant.superuser.query("SELECT pg_advisory_unlock(hashtextextended($1, 0))", &[&name]).await.unwrap();
    assert_eq!(plant.send(&request).await.code(), "ok", "the permits were given back");
}

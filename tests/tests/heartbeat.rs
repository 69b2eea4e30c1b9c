//! Heartbeats and what `station list` makes of them: silence with a queue, an unknown tail, a clone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::retire::Revoke;
use lotgate_cloud::routes::{Call, ROUTES};
use lotgate_cloud::session::Session;
use lotgate_cloud::stations::standing::{Flags, UnknownTail};
use lotgate_cloud::stations::{ListStations, Listed};
use lotgate_domain::protocol::CloudApi as _;
use lotgate_domain::protocol::care::Heartbeat;
use lotgate_domain::statement::event::Closing;
use lotgate_tests::care::{adopt, head_of, heartbeat_of, point_of, rotate_request};
use lotgate_tests::cloud::{Attempt, Plant};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const MINUTE_MS: i64 = 60_000;

fn session(plant: &Plant) -> Session {
    Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.station.id)
}

async fn listed(plant: &Plant) -> Listed {
    let program = Caller::Program { tenant: plant.tenant };
    let stations = gate::pass(&plant.cloud, &program, ListStations).await.unwrap();
    assert_eq!(stations.len(), 3, "every station of the tenant, and none of the other's");
    stations.into_iter().find(|listed| listed.station == plant.station.id).unwrap()
}

/// A heartbeat a minute later than the last: of the chain after `count` entries.
async fn tell(plant: &Plant, count: usize, depth: u64) {
    let ms = plant.clock.fetch_add(MINUTE_MS, Ordering::SeqCst) + MINUTE_MS;
    let wall = heartbeat_of(&plant.station).wall.plus_ms(ms);
    let heartbeat =
        Heartbeat { head: point_of(&plant.station, count), depth, wall, ..heartbeat_of(&plant.station) };
    session(plant).heartbeat(heartbeat).await.unwrap();
}

#[tokio::test]
async fn a_station_is_listed_as_it_said_that_it_is() {
    let plant = Plant::new("listed").await;
    let unseen = listed(&plant).await;
    assert_eq!((unseen.last_seen, unseen.held, unseen.reported, unseen.depth), (None, None, None, None));
    assert_eq!(unseen.flags, Flags::default());
    session(&plant).push(plant.station.push(0, 2)).await.unwrap();
    let reply = session(&plant).heartbeat(heartbeat_of(&plant.station)).await.unwrap();
    assert!(!reply.revoked);
    let seen = listed(&plant).await;
    assert_eq!(seen.last_seen, Some(plant.now()));
    assert_eq!((seen.held, seen.reported), (point_of(&plant.station, 2), head_of(&plant.station)));
    let said = json!(seen);
    for (member, value) in [
        ("depth", json!(4)),
        ("alarms", json!(["queue_set_aside"])),
        ("clock_offset_ms", json!(-12)),
        ("version", json!("0.1.0")),
        ("closed", Value::Null),
        ("flags", json!({"silent_with_queue": false, "unknown_tail": null, "clone_suspected": false})),
    ] {
        assert_eq!(said[member], value, "{member}");
    }
    assert_eq!(plant.number("SELECT count(*) FROM heartbeat").await, 1, "one row a station");
}

#[tokio::test]
async fn a_silent_station_with_a_queue_is_flagged_and_its_missing_tail_named() {
    let plant = Plant::new("silent").await;
    session(&plant).push(plant.station.push(0, 3)).await.unwrap();
    tell(&plant, 4, 1).await;
    plant.clock.fetch_add(10 * MINUTE_MS, Ordering::SeqCst);
    assert_eq!(listed(&plant).await.flags, Flags::default(), "ten minutes");
    plant.clock.fetch_add(1, Ordering::SeqCst);
    let tail = UnknownTail { after_epoch: 1, after_seq: 3, reported_epoch: 1, reported_seq: 4 };
    let flags = Flags { silent_with_queue: true, unknown_tail: Some(tail), clone_suspected: false };
    assert_eq!(listed(&plant).await.flags, flags);
    session(&plant).push(plant.station.push(3, 4)).await.unwrap();
    tell(&plant, 4, 0).await;
    assert_eq!(listed(&plant).await.flags, Flags::default(), "it is back and drained");
}

#[tokio::test]
async fn the_tail_of_a_revoked_station_is_unknown_after_what_is_held() {
    let plant = Plant::new("revoked_tail").await;
    session(&plant).push(plant.station.push(0, 1)).await.unwrap();
    tell(&plant, 3, 2).await;
    let revoke = Revoke { station: plant.station.id, reason: "stolen".into() };
    let program = Caller::Program { tenant: plant.tenant };
    let revoked = gate::pass(&plant.cloud, &program, revoke).await.unwrap();
    assert_eq!((revoked.through, revoked.held), (point_of(&plant.station, 3), point_of(&plant.station, 1)));
    let seen = listed(&plant).await;
    assert_eq!(seen.closed, Some(Closing::Revoked));
    let tail = UnknownTail { after_epoch: 1, after_seq: 1, reported_epoch: 1, reported_seq: 3 };
    assert_eq!(seen.flags.unknown_tail, Some(tail), "at once, not only after a silence");
    let reply = session(&plant).heartbeat(heartbeat_of(&plant.station)).await.unwrap();
    assert!(reply.revoked, "it is told");
}

#[tokio::test]
async fn a_head_behind_an_earlier_one_suspects_a_clone_until_the_station_has_a_new_key() {
    let mut plant = Plant::new("clone_behind").await;
    tell(&plant, 4, 4).await;
    tell(&plant, 2, 2).await;
    assert!(listed(&plant).await.flags.clone_suspected);
    tell(&plant, 4, 4).await;
    let seen = listed(&plant).await;
    assert!(seen.flags.clone_suspected, "a right heartbeat does not make it well");
    assert_eq!(plant.number("SELECT count(*) FROM head_contradiction").await, 1, "the first of the epoch");
    let row = "SELECT (seq, known_seq)::text FROM head_contradiction";
    let row: String = plant.superuser.query_one(row, &[]).await.unwrap().get(0);
    assert_eq!(row, "(2,4)", "what was told, and what it contradicts");

    plant.clock.fetch_add(1, Ordering::SeqCst);
    let reply = session(&plant).rotate(rotate_request(&plant.station, 60, "forked")).await.unwrap();
    adopt(&mut plant.station, 60, &reply);
    plant.station.open_epoch(9);
    tell(&plant, 1, 5).await;
    assert!(!listed(&plant).await.flags.clone_suspected, "the other one has no key any more");
}

#[tokio::test]
async fn another_entry_at_a_place_that_is_held_suspects_a_clone() {
    let mut plant = Plant::new("clone_held").await;
    session(&plant).push(plant.station.push_all()).await.unwrap();
    tell(&plant, 4, 0).await;
    assert!(!listed(&plant).await.flags.clone_suspected);
    plant.station.entries.truncate(3);
    plant.station.append_scan("A", "of the clone");
    plant.station.append_scan("A", "of the clone");
    tell(&plant, 4, 4).await;
    assert!(listed(&plant).await.flags.clone_suspected, "the same seq, another entry");
}

#[tokio::test]
async fn a_head_that_turns_out_to_be_of_another_chain_once_it_arrives_suspects_a_clone() {
    let mut plant = Plant::new("clone_later").await;
    let rest = plant.station.push_all();
    plant.station.entries.truncate(3);
    plant.station.append_scan("A", "of the clone");
    tell(&plant, 4, 4).await;
    assert!(!listed(&plant).await.flags.clone_suspected, "nothing is known yet");
    session(&plant).push(rest).await.unwrap();
    assert!(listed(&plant).await.flags.clone_suspected, "what arrived is not what was told");
}

#[tokio::test]
async fn a_heartbeat_comes_plain_or_compressed_and_unusable_ones_are_refused() {
    let plant = Plant::new("heartbeat_forms").await;
    let route = ROUTES.into_iter().find(|route| route.call == Call::Heartbeat).unwrap();
    let body = |change: &dyn Fn(&mut Value)| {
        let mut value = json!(heartbeat_of(&plant.station));
        change(&mut value);
        let body = Some(zstd::encode_all(value.to_string().as_bytes(), 3).unwrap());
        Attempt { body, ..plant.attempt(route) }.sign()
    };
    assert_eq!(plant.send(&body(&|_| {})).await.code(), "ok");
    type Changes<'a> = [(&'a str, &'a dyn Fn(&mut Value)); 6];
    let changes: Changes<'_> = [
        ("a member more", &|v| v["more"] = json!(1)),
        ("a NUL", &|v| v["version"] = json!("a\0")),
        ("a long text", &|v| v["alarms"] = json!(["x".repeat(201)])),
        ("too many alarms", &|v| v["alarms"] = json!(vec!["x"; 65])),
        ("seq 0", &|v| v["head"]["seq"] = json!(0)),
        ("a negative depth", &|v| v["depth"] = json!(-1)),
    ];
    for (why, change) in changes {
        plant.assert_rejected(&body(change), "bad_request", why).await;
    }
    let bomb = zstd::encode_all(vec![b' '; 1 << 20].as_slice(), 3).unwrap();
    let bomb = Attempt { body: Some(bomb), ..plant.attempt(route) }.sign();
    plant.assert_rejected(&bomb, "too_large", "a bomb").await;
}

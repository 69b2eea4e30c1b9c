//! The same scripts through the rules over the store in memory and through the cloud's own way to Postgres: every
//! reply and every row is the same, so what simulations prove of the rules holds for the cloud. Every reply's
//! proofs are checked on the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "ledger_stores/both.rs"]
mod both;
#[path = "ledger_stores/forks.rs"]
mod forks;

use both::Both;
use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::log;
use lotgate_cloud::retire::Revoke;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{EpochId, Hash, PublicKey};
use lotgate_domain::protocol::care::RotateRequest;
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::{CloudApi as _, PushReply, StopCode};
use lotgate_domain::signature::{Context, KeyPair};
use lotgate_tests::station_keys::{StationKeys, at, knew, push_of, scan_accepted, scan_refused};
use serde_json::{Value, json};

fn stopped(reply: &PushReply) -> Option<(u64, StopCode)> {
    reply.stopped.map(|stopped| (stopped.seq, stopped.code))
}

fn through(reply: &PushReply) -> u64 {
    reply.accepted_through.seq
}

fn told(codes: &[(u64, &str)]) -> Vec<(u64, String)> {
    codes.iter().map(|(index, code)| (*index, (*code).to_owned())).collect()
}

fn lot(lot: &str, status: &str) -> Value {
    json!({"lot": lot, "item": "A", "status": status, "expiry": "2030-01-31", "codes": []})
}

fn scans(station: &mut StationKeys, count: usize) {
    for number in 0..count {
        station.append_scan("A", &format!("L{number}"));
    }
}

#[tokio::test]
async fn in_order_split_differently_and_twice_gives_every_entry_once() {
    let (mut both, mut keys) = Both::new("in_order", 1, true).await;
    let station = &mut keys[0];
    scans(station, 40);
    let first = both.push(0, &station.push(0, 7)).await;
    let again = both.push(0, &station.push(0, 7)).await;
    assert_eq!(
        (again.verdicts, again.receipt, again.first_index),
        (first.verdicts, first.receipt, None),
        "a lost reply is asked for again"
    );
    let nothing = both.push(0, &station.push(3, 3)).await;
    assert_eq!((through(&nothing), nothing.verdicts.len(), nothing.proof), (3, 0, None), "no entries");
    let skipping = push_of(station.epoch, station.after(3), &[station.entries[6].clone()]);
    let nothing = both.push(0, &skipping).await;
    assert_eq!((stopped(&nothing), nothing.verdicts.len()), (Some((4, StopCode::BrokenChain)), 0), "at once");
    for (from, to) in [(5, 12), (7, 9), (0, 20), (20, 20), (19, 41), (0, 41), (40, 41)] {
        let reply = both.push(0, &station.push(from, to)).await;
        assert_eq!((through(&reply), stopped(&reply)), (to as u64, None), "entries {from} to {to}");
    }
    assert_eq!(both.memory.entries(station.id).count(), 41);
    assert_eq!(both.memory.receipts.len(), 5, "a receipt for each batch, and one for an end within a batch");
}

#[tokio::test]
async fn what_comes_after_an_entry_that_is_not_held_is_a_head_mismatch() {
    let (mut both, mut keys) = Both::new("gap", 1, true).await;
    let station = &mut keys[0];
    scans(station, 9);
    assert!(!both.take(0, &station.push(3, 6)).await, "nothing is held yet");
    both.push(0, &station.push(0, 3)).await;
    assert!(!both.take(0, &station.push(4, 6)).await, "a gap of one");
    let mut other_hash = station.push(3, 6);
    other_hash.header.after.hash = Hash::ZERO;
    assert!(!both.take(0, &other_hash).await, "another entry there");
    let mut other_epoch = station.push(3, 6);
    other_epoch.header.epoch.id = EpochId([0; 16]);
    assert!(!both.take(0, &other_epoch).await, "another epoch of this number");
    let hole =
        push_of(station.epoch, station.after(3), &[&station.entries[3..5], &station.entries[6..8]].concat());
    let reply = both.push(0, &hole).await;
    assert_eq!((through(&reply), stopped(&reply)), (5, Some((6, StopCode::BrokenChain))), "a hole in it");
    assert_eq!(through(&both.push(0, &station.push_all()).await), 10);
}

#[tokio::test]
async fn bad_signatures_and_other_epochs_end_the_prefix_and_what_ended_it_is_evidence() {
    let (mut both, mut keys) = Both::new("prefix", 2, true).await;
    let foreign = keys[1].entries[0].clone();
    let station = &mut keys[0];
    scans(station, 5);
    let mut bad = station.entries.clone();
    *bad[3].last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        let reply = both.push(0, &push_of(station.epoch, station.after(0), &bad)).await;
        assert_eq!((through(&reply), stopped(&reply)), (3, Some((4, StopCode::BadSignature))));
    }
    assert_eq!(both.memory.evidence.len(), 1, "the same is kept once");
    let spliced = push_of(station.epoch, station.after(3), &[station.entries[3].clone(), foreign]);
    let reply = both.push(0, &spliced).await;
    assert_eq!(
        (through(&reply), stopped(&reply)),
        (4, Some((5, StopCode::BadSignature))),
        "another station's"
    );

    let (old_epoch, old) = (station.epoch, station.entries[4..].to_vec());
    let old_after = station.after(4);
    station.open_epoch(0xbb);
    let mixed = push_of(old_epoch, old_after, &[old, station.entries.clone()].concat());
    let reply = both.push(0, &mixed).await;
    assert_eq!(
        (through(&reply), stopped(&reply)),
        (6, Some((7, StopCode::BrokenChain))),
        "one epoch a batch"
    );
    let mut named_wrong = station.push_all();
    named_wrong.header.epoch.n = 3;
    let reply = both.push(0, &named_wrong).await;
    assert_eq!(stopped(&reply), Some((1, StopCode::BrokenChain)), "not the epoch that it names");
    assert_eq!(both.memory.evidence.len(), 3);
}

#[tokio::test]
async fn poison_in_the_middle_is_quarantined_and_delays_nothing() {
    let (mut both, mut keys) = Both::new("poison", 1, true).await;
    let station = &mut keys[0];
    station.append_scan("A", "before");
    station.append_changed(scan_accepted("A", "x", true), |v| v["body"]["type"] = json!("teleport\u{0}ed"));
    station.append_changed(scan_accepted("A", "x", true), |v| v["body"]["lot"] = json!(7));
    station.append_changed(scan_accepted("A", "x", true), |v| v["body"]["lot"] = json!("nul\u{0}"));
    station.append_changed(scan_accepted("A", "x", true), |v| v["body"]["raw"] = json!("no hex"));
    station.append_changed(scan_accepted("A", "x", true), |v| {
        v["at"]["wall"] = json!("0000-01-01T00:00:00.000Z")
    });
    station.append_changed(scan_accepted("A", "x", true), |v| v["v"] = json!(2));
    station.append_scan("A", "after");
    let reply = both.push(0, &station.push_all()).await;
    assert_eq!((through(&reply), stopped(&reply)), (9, None));
    let expected = [(2, "unknown_type"), (3, "invalid_body"), (5, "invalid_body"), (7, "unknown_type")];
    assert_eq!(both.last_exceptions(), told(&expected));
    let scans = both.rows("SELECT lot FROM scan ORDER BY index").await;
    assert_eq!(scans, ["before", "nul\u{fffd}", "x", "after"]);
}

#[tokio::test]
async fn a_new_epoch_in_doubt_is_flagged_and_an_old_one_can_still_be_finished() {
    let (mut both, mut keys) = Both::new("epochs", 1, true).await;
    let station = &mut keys[0];
    scans(station, 6);
    both.push(0, &station.push(0, 4)).await;
    let rest = station.push(4, 7);
    station.open_epoch(0xcc);
    station.append(scan_refused("unknown_lot"));
    let reply = both.push(0, &station.push_all()).await;
    assert_eq!((through(&reply), stopped(&reply)), (2, None));
    assert_eq!(both.last_exceptions(), told(&[(0, "epoch_unconfirmed"), (1, "epoch_unconfirmed")]));
    let late = both.push(0, &rest).await;
    assert_eq!((through(&late), stopped(&late)), (7, None), "the rest of the old epoch");
    assert_eq!(both.last_exceptions(), told(&[]));
    station.append_scan("A", "on");
    assert_eq!(through(&both.push(0, &station.push(2, 3)).await), 3);
    assert_eq!(both.last_exceptions(), told(&[(0, "epoch_unconfirmed")]), "in a later push, too");
}

#[tokio::test]
async fn a_new_key_begins_an_epoch_without_doubt_and_the_old_keys_entries_still_come() {
    let (mut both, mut keys) = Both::new("rotated", 1, true).await;
    let station = &mut keys[0];
    scans(station, 4);
    both.push(0, &station.push(0, 3)).await;
    let rest = station.push(3, 5);
    let next = KeyPair::from_seed(&[77; 32]);
    let (public_key, hpke_key) = (next.public(), PublicKey([78; 32]));
    let message = RotateRequest::proof_message(&station.keys.public(), &public_key, &hpke_key);
    let proof = next.sign(Context::Enrol, &message);
    let request = RotateRequest { public_key, hpke_key, reason: "planned".to_owned(), proof };
    both.session(0).rotate(request).await.unwrap();
    both.follow_administration().await;
    station.keys = next;
    station.certificate = both.memory.stations[&station.id].certificate;
    station.open_epoch_because(0xab, EpochReason::KeyRotated);
    station.append_scan("A", "new key");
    let reply = both.push(0, &station.push_all()).await;
    assert_eq!((through(&reply), stopped(&reply)), (2, None));
    assert_eq!(both.last_exceptions(), told(&[]), "a planned key leaves no doubt");
    assert_eq!(through(&both.push(0, &rest).await), 5, "signed with the key before");
    assert_eq!(both.last_exceptions(), told(&[]));
}

#[tokio::test]
async fn what_a_revoked_station_had_reported_is_flagged_and_the_rest_quarantined() {
    let (mut both, mut keys) = Both::new("revoked", 1, true).await;
    let station = &mut keys[0];
    scans(station, 7);
    both.push(0, &station.push(0, 3)).await;
    // Taken before the revocation and not yet numbered: judged as it was then.
    assert!(both.take(0, &station.push(3, 4)).await);
    log::number_waiting(&both.cloud, both.tenant).await.unwrap();
    both.number_in_memory().await;
    let work = Revoke { station: station.id, reason: "stolen".to_owned() };
    gate::pass(&both.cloud, &Caller::Program { tenant: both.tenant }, work).await.unwrap();
    both.follow_administration().await;
    let reply = both.push(0, &station.push(2, 8)).await;
    assert_eq!((through(&reply), stopped(&reply)), (8, None), "it may still push");
    let expected: Vec<_> = (0..4).map(|n| (n, "station_revoked")).collect();
    assert_eq!(both.last_exceptions(), told(&expected));
    let verdicts = both.rows("SELECT DISTINCT verdict FROM verdict").await;
    assert_eq!(verdicts, ["quarantined"], "four had come before, the others were never reported");
    assert_eq!(both.rows("SELECT lot FROM scan").await.len(), 3, "and are not applied");
}

#[tokio::test]
async fn two_stations_share_one_log_and_an_id_counts_once() {
    let (mut both, mut keys) = Both::new("two", 2, true).await;
    let shared = keys[0].operation(scan_accepted("A", "shared", true)).id;
    for station in &mut keys {
        let mut operation = station.operation(scan_accepted("A", "shared", true));
        operation.id = shared;
        let bytes = operation.write(&station.keys).unwrap();
        station.append_bytes(bytes);
        station.append_scan("A", "own");
    }
    both.push(0, &keys[0].push(0, 2)).await;
    both.push(1, &keys[1].push(0, 3)).await;
    assert_eq!(both.last_exceptions(), told(&[(1, "id_reused")]), "at the other station");
    both.push(0, &keys[0].push(2, 3)).await;
    let mut twice = keys[0].operation(scan_accepted("A", "third", true));
    twice.id = shared;
    let bytes = twice.write(&keys[0].keys).unwrap();
    keys[0].append_bytes(bytes);
    both.push(0, &keys[0].push(3, 4)).await;
    assert_eq!(both.last_exceptions(), told(&[(0, "id_reused")]), "at the same station");
}

#[tokio::test]
async fn an_id_twice_counts_once_in_one_batch_and_in_batches_that_wait_together() {
    let (mut both, mut keys) = Both::new("id_twice", 2, true).await;
    let id = keys[0].operation(scan_refused("x")).id;
    for station in &mut keys {
        for _ in 0..2 {
            let mut operation = station.operation(scan_refused("x"));
            operation.id = id;
            let bytes = operation.write(&station.keys).unwrap();
            station.append_bytes(bytes);
        }
    }
    assert!(both.take(1, &keys[1].push_all()).await, "the other station's waits, and is first");
    both.push(0, &keys[0].push_all()).await;
    assert_eq!(both.last_exceptions(), told(&[(1, "id_reused"), (2, "id_reused")]));
    let told = both.rows("SELECT code FROM verdict").await;
    assert_eq!(told.len(), 3, "one of four counts");
}

#[tokio::test]
async fn a_blocked_lot_is_flagged_by_whether_the_station_could_know() {
    let (mut both, mut keys) = Both::new("held_since", 1, true).await;
    let station = &mut keys[0];
    both.import(json!([lot("GOOD", "released"), lot("TURNED", "released")]), &[]).await;
    station.knew = knew(1);
    station.append_scan("A", "TURNED");
    both.push(0, &station.push_all()).await;
    assert_eq!(both.last_exceptions(), told(&[]), "released still");
    let newest = both
        .import(json!([lot("GOOD", "released"), lot("TURNED", "hold")]), &[("A", "TURNED"), ("A", "GONE")])
        .await;
    station.append_scan("A", "TURNED");
    station.append_scan("A", "GOOD");
    station.append_scan("A", "GONE");
    station.knew = knew(newest);
    station.append_scan("A", "TURNED");
    station.knew = None;
    station.append_scan("A", "TURNED");
    both.push(0, &station.push(2, 7)).await;
    let flagged =
        [(0, "lot_held_since"), (2, "lot_held_since"), (3, "policy_violation"), (4, "lot_held_since")];
    assert_eq!(both.last_exceptions(), told(&flagged));
}

#[tokio::test]
async fn a_simulated_device_is_flagged_outside_training() {
    let (mut both, mut keys) = Both::new("simulated", 1, false).await;
    let station = &mut keys[0];
    station.append(scan_accepted("A", "x", true));
    station.append(scan_accepted("A", "x", false));
    both.push(0, &station.push_all()).await;
    assert_eq!(both.last_exceptions(), told(&[(1, "simulated_device")]));
}

#[tokio::test]
async fn a_clock_that_is_wrong_flags_what_is_pushed_under_it_and_nothing_else() {
    let (mut both, mut keys) = Both::new("skewed", 1, true).await;
    let station = &mut keys[0];
    scans(station, 5);
    let under = |from: usize, to: usize, ms: i64| -> PushRequest {
        let mut request = station.push(from, to);
        request.header.clock.wall = at(ms);
        request
    };
    both.push(0, &under(0, 2, 300_000)).await;
    assert_eq!(both.last_exceptions(), told(&[]), "five minutes are allowed");
    assert!(both.take(0, &under(2, 4, -301_000)).await, "behind, and numbered only with the next");
    both.push(0, &under(4, 5, 0)).await;
    assert_eq!(both.last_exceptions(), told(&[]));
    both.push(0, &under(5, 6, 400_000)).await;
    assert_eq!(both.last_exceptions(), told(&[(0, "clock_rolled_back")]), "ahead");
    assert_eq!(both.rows("SELECT code FROM verdict").await, ["clock_rolled_back"; 3]);
}

#[tokio::test]
async fn more_exceptions_than_one_statement_holds_are_told_by_several() {
    let (mut both, mut keys) = Both::new("many_exceptions", 1, false).await;
    let station = &mut keys[0];
    for number in 0..600 {
        station.append(scan_accepted("A", &format!("L{number}"), true));
    }
    let reply = both.push(0, &station.push_all()).await;
    assert_eq!((through(&reply), stopped(&reply)), (601, None));
    assert_eq!(reply.verdicts.len(), 3, "one frame cannot hold 600 exceptions");
    assert_eq!(both.rows("SELECT code FROM verdict").await.len(), 600);
    assert_eq!(both.push(0, &station.push_all()).await.verdicts, reply.verdicts, "all of them again");
    let some = both.push(0, &station.push(1, 2)).await;
    assert_eq!(some.verdicts, reply.verdicts[..1], "only those that the push touches");
    scans(station, 300);
    let reply = both.push(0, &station.push(601, 901)).await;
    assert_eq!(reply.verdicts.len(), 2, "across subtrees that are kept");
    assert!(!both.rows("SELECT hash::text FROM node").await.is_empty());
}

#[tokio::test]
async fn what_a_crash_left_waiting_is_numbered_by_whoever_pushes_next() {
    let (mut both, mut keys) = Both::new("crash", 3, true).await;
    for station in &mut keys {
        scans(station, 6);
    }
    assert!(both.take(0, &keys[0].push(0, 2)).await);
    assert!(both.take(1, &keys[1].push(0, 4)).await);
    assert!(both.take(0, &keys[0].push(2, 5)).await);
    assert_eq!(both.rows("SELECT 'x' FROM waiting").await.len(), 3);
    both.push(2, &keys[2].push(0, 1)).await;
    assert!(both.rows("SELECT 'x' FROM waiting").await.is_empty(), "another station's push took them");
    let again = both.push(0, &keys[0].push(0, 5)).await;
    assert_eq!((again.verdicts.len(), again.first_index), (2, None), "its verdicts are there");

    assert!(both.take(1, &keys[1].push(4, 7)).await);
    let again = both.push(1, &keys[1].push(4, 7)).await;
    assert_eq!(
        (again.verdicts.len(), through(&again)),
        (1, 7),
        "the push again brings nothing, and numbers it"
    );

    for end in 1..=20 {
        keys[2].append_scan("A", &format!("M{end}"));
        let last = keys[2].entries.len();
        assert!(both.take(2, &keys[2].push(if end == 1 { 1 } else { last - 1 }, last)).await);
    }
    both.push(0, &keys[0].push(5, 7)).await;
    assert!(both.rows("SELECT 'x' FROM waiting").await.is_empty(), "more than one transaction takes");

    assert!(both.take(0, &keys[0].push(7, 7)).await, "nothing");
    keys[0].append_scan("A", "last");
    assert!(both.take(0, &keys[0].push(7, 8)).await);
    both.session(0).head().await.unwrap();
    both.number_in_memory().await;
    assert!(both.rows("SELECT 'x' FROM waiting").await.is_empty(), "a head request is enough");
}

#[tokio::test]
async fn after_a_recovery_replies_are_of_the_next_generation_and_say_why() {
    let (mut both, mut keys) = Both::new("recovered", 2, true).await;
    for station in &mut keys {
        scans(station, 8);
    }
    both.push(0, &keys[0].push(0, 4)).await;
    assert!(both.take(1, &keys[1].push(0, 3)).await, "waits over the recovery");
    both.recover().await;
    let reply = both.push(0, &keys[0].push(4, 6)).await;
    assert_eq!(reply.proof.unwrap().recovered.len(), 1);
    both.recover().await;
    let reply = both.push(0, &keys[0].push(0, 7)).await;
    assert!(!reply.proof.unwrap().recovered.is_empty());
    let reply = both.push(1, &keys[1].push(0, 5)).await;
    assert_eq!((reply.verdicts.len(), reply.proof.unwrap().recovered.len()), (2, 0), "it saw nothing before");
}

/// A few numbers that look like chance, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap()
    }
}

#[tokio::test]
async fn any_mixture_of_splits_repeats_crashes_and_clones_gives_the_same_rows() {
    let (mut both, mut keys) = Both::new("mixture", 3, true).await;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    // What each station's machine could push: its own chain, and what clones of it wrote.
    let mut chains: Vec<Vec<Vec<Vec<u8>>>> = Vec::new();
    for station in &mut keys {
        scans(station, 24);
        let mut all = Vec::new();
        for clone in 0..2 {
            let place = 3 + dice.below(18);
            all.push(station.go_back(place));
            scans(station, 5 + clone);
        }
        all.push(station.entries.clone());
        chains.push(all);
    }
    let mut pushed: Vec<Vec<usize>> = chains.iter().map(|all| vec![0; all.len()]).collect();
    for _ in 0..90 {
        let who = dice.below(3);
        let clone = dice.below(3).min(dice.below(3));
        let entries = &chains[who][clone];
        let known = pushed[who][clone];
        let from = known.saturating_sub(dice.below(6)).min(known);
        let to = (from + 1 + dice.below(9)).min(entries.len());
        keys[who].entries.clone_from(entries);
        let request = keys[who].push(from, to);
        if dice.below(4) == 0 {
            assert!(both.take(who, &request).await);
        } else {
            let reply = both.push(who, &request).await;
            assert_eq!((through(&reply), reply.stopped), (to as u64, None));
        }
        pushed[who][clone] = known.max(to);
    }
    let forks = both.rows("SELECT 'x' FROM leaf WHERE statement_kind = 'fork.found'").await;
    assert!(forks.len() > 2, "{} forks", forks.len());
}

//! The runner between a real queue on disk and a cloud in memory with the real rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot be set up must stop"
)]

#[path = "engine/station.rs"]
mod station;

use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{BootId, Hash};
use lotgate_domain::protocol::care::DeviceReport;
use lotgate_domain::protocol::{HexBytes, PushReply, StopCode, Stopped};
use lotgate_sync::clock::SystemClock;
use lotgate_sync::engine::status::Link;
use lotgate_sync::queue::{Queue, QueueAlarm, QueueState};
use lotgate_sync::runner::{StationReport, SyncHandle, SyncStatus, read_status};
use station::cloud::MemoryCloud;
use station::{QUICK, Running, append, assert_all_there, eventually, restore, set_up, settled, until};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn everything_is_settled_once_through_outages_lost_replies_and_a_restart() {
    let (_rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    append(&queue, 0, 10).await;
    settled(&queue).await;
    cloud.state.lock().await.tricks.down = true;
    append(&queue, 10, 20).await;
    let shown = &mut running.handle.status();
    until(shown, "offline is shown", |status: &SyncStatus| status.engine.link == Link::Offline).await;
    {
        let mut state = cloud.state.lock().await;
        state.tricks.down = false;
        state.tricks.lose_replies = 3;
    }
    settled(&queue).await;
    until(shown, "online is shown", |status| status.engine.link == Link::Online).await;
    running.end().await;
    append(&queue, 30, 5).await;
    let running = Running::start(&queue, &cloud).await;
    settled(&queue).await;
    assert_all_there(&queue, &cloud).await;
    running.end().await;
}

#[tokio::test]
async fn three_pushes_are_really_under_way_at_once() {
    let (_rig, queue, cloud) = set_up();
    append(&queue, 0, 100).await;
    *cloud.latency.lock().unwrap() = Duration::from_millis(30);
    let running = Running::start(&queue, &cloud).await;
    settled(&queue).await;
    assert_all_there(&queue, &cloud).await;
    assert_eq!(cloud.pushes.lock().unwrap().1, 3);
    running.end().await;
}

#[tokio::test]
async fn no_lie_of_the_cloud_settles_anything_or_stops_the_runner() {
    type Lie = (&'static str, fn(&mut PushReply));
    let lies: [Lie; 13] = [
        ("no receipt", |reply| reply.receipt = None),
        ("garbage for a receipt", |reply| reply.receipt = Some(HexBytes(vec![0; 100]))),
        ("a receipt with one bit changed", |reply| {
            let receipt = reply.receipt.as_mut().expect("a receipt");
            *receipt.0.last_mut().expect("bytes") ^= 1;
        }),
        ("a verdict with one bit changed", |reply| {
            let verdict = reply.verdicts.first_mut().expect("a verdict");
            *verdict.0.last_mut().expect("bytes") ^= 1;
        }),
        ("a verdict that is a receipt", |reply| {
            let receipt = reply.receipt.clone().expect("a receipt");
            reply.verdicts.push(receipt);
        }),
        ("more accepted than the receipt says", |reply| reply.accepted_through.seq += 1),
        ("another entry accepted", |reply| reply.accepted_through.hash = Hash::ZERO),
        ("all numbers at their end", |reply| {
            reply.accepted_through.seq = u64::MAX;
            reply.stopped = Some(Stopped { seq: u64::MAX, code: StopCode::BrokenChain });
        }),
        ("no proof", |reply| reply.proof = None),
        ("neither verdicts nor proof", |reply| {
            reply.verdicts.clear();
            reply.proof = None;
        }),
        ("a proof of something else", |reply| {
            let range = reply.proof.as_mut().and_then(|proof| proof.ranges.first_mut()).expect("a range");
            range.first_seq += 1;
        }),
        ("a stop at an entry that was not sent", |reply| {
            let seq = reply.accepted_through.seq + 1;
            reply.stopped = Some(Stopped { seq, code: StopCode::BadSignature });
        }),
        ("an old receipt for all", |reply| {
            reply.accepted_through.epoch = None;
            reply.receipt = None;
        }),
    ];
    for (what, lie) in lies {
        let (_rig, queue, cloud) = set_up();
        cloud.state.lock().await.tricks.push = Some(Box::new(lie));
        let running = Running::start(&queue, &cloud).await;
        append(&queue, 0, 3).await;
        until(&mut running.handle.status(), what, |status| status.engine.alarm.is_some()).await;
        let shown = running.handle.status().borrow().engine.clone();
        assert_eq!(queue.state().borrow().settled_through.map(|point| point.seq), None, "{what}: {shown:?}");
        append(&queue, 3, 3).await;
        cloud.state.lock().await.tricks.push = None;
        settled(&queue).await;
        assert_all_there(&queue, &cloud).await;
        let alarms = queue.state().borrow().alarms.clone();
        assert!(alarms.contains(&QueueAlarm::ServerInconsistent), "{what}: both sides are kept, and shown");
        running.end().await;
    }
}

#[tokio::test]
async fn what_is_unsettled_of_an_earlier_epoch_is_asked_for_again_though_the_later_one_is_settled() {
    let (_rig, queue, cloud) = set_up();
    append(&queue, 0, 10).await;
    queue.open_epoch(EpochReason::QueueLost).await.unwrap();
    append(&queue, 10, 3).await;
    cloud.state.lock().await.tricks.push = Some(Box::new(|reply| {
        let through = reply.accepted_through;
        if through.epoch.is_some_and(|epoch| epoch.n == 1) && through.seq > 7 {
            reply.proof = None;
        }
    }));
    let running = Running::start(&queue, &cloud).await;
    until(&mut queue.state(), "all but the tail of the first epoch", |state| state.queued == 4).await;
    assert_eq!(queue.state().borrow().settled_through.map(|p| (p.epoch.n, p.seq)), Some((1, 7)));
    cloud.state.lock().await.tricks.push = None;
    settled(&queue).await;
    let all: Vec<_> = (1..=11).map(|seq| (1, seq)).chain((1..=4).map(|seq| (2, seq))).collect();
    assert_eq!(taken(&cloud).await, all, "each once");
    running.end().await;
}

#[tokio::test]
async fn after_an_honest_restore_of_the_cloud_everything_is_pushed_proven_and_settled_again() {
    let (rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    append(&queue, 0, 10).await;
    settled(&queue).await;
    let backup = cloud.state.lock().await.store.clone();
    append(&queue, 10, 10).await;
    settled(&queue).await;
    restore(&rig, &queue, &mut *cloud.state.lock().await, backup).await;
    append(&queue, 20, 5).await;
    let again = |state: &QueueState| state.queued == 0 && state.log.generation == 2;
    until(&mut queue.state(), "settled under the new generation", again).await;
    assert_all_there(&queue, &cloud).await;
    let state = queue.state().borrow().clone();
    assert_eq!(state.settled_through.map(|point| point.seq), Some(26));
    assert_eq!(state.log.last.map(|mark| mark.generation), Some(2), "proven under it");
    assert!(state.alarms.contains(&QueueAlarm::LogRecovered), "until somebody has seen it");
    assert!(!state.alarms.contains(&QueueAlarm::ServerInconsistent), "an honest restore is no contradiction");
    running.end().await;
}

#[tokio::test]
async fn a_cloud_that_loses_what_it_had_proven_is_an_alarm_that_stops_no_capture() {
    let (_rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    append(&queue, 0, 10).await;
    settled(&queue).await;
    let backup = cloud.state.lock().await.store.clone();
    append(&queue, 10, 10).await;
    settled(&queue).await;
    let before = queue.state().borrow().settled_through;
    cloud.state.lock().await.store = backup;
    append(&queue, 20, 5).await;
    let alarm = |state: &QueueState| state.alarms.contains(&QueueAlarm::ServerInconsistent);
    until(&mut queue.state(), "the alarm", alarm).await;
    assert_eq!(queue.state().borrow().settled_through, before, "nothing is settled by it, nothing unsettled");
    append(&queue, 25, 5).await;
    let status = &mut running.handle.status();
    until(status, "shown", |status| status.alarms.contains("server_inconsistent")).await;
    running.end().await;
}

#[tokio::test]
async fn a_head_that_is_a_lie_delays_but_loses_nothing() {
    let (_rig, queue, cloud) = set_up();
    append(&queue, 0, 20).await;
    cloud.state.lock().await.tricks.head = Some(Box::new(|head| {
        head.seq = u64::MAX;
        head.hash = Hash::ZERO;
        head.limits.entries = u64::MAX;
        head.limits.bytes = u64::MAX;
    }));
    let running = Running::start(&queue, &cloud).await;
    settled(&queue).await;
    assert_all_there(&queue, &cloud).await;
    running.end().await;
}

/// The entries of each epoch that the cloud took into a chain, by number.
async fn taken(cloud: &MemoryCloud) -> Vec<(u64, u64)> {
    let state = cloud.state.lock().await;
    state.store.entries(cloud.station.id).map(|(place, _)| (place.epoch_n, place.seq)).collect()
}

#[tokio::test]
async fn what_the_cloud_does_not_take_is_set_aside_kept_as_evidence_and_a_new_epoch_goes_on() {
    let (_rig, queue, cloud) = set_up();
    append(&queue, 0, 10).await;
    cloud.state.lock().await.tricks.stop_at = Some(9);
    let running = Running::start(&queue, &cloud).await;
    until(&mut queue.state(), "a new epoch", |state| state.head.epoch.is_some_and(|e| e.n == 2)).await;
    append(&queue, 10, 5).await;
    settled(&queue).await;
    let expected = (1..=8).map(|seq| (1, seq)).chain((1..=6).map(|seq| (2, seq))).collect::<Vec<_>>();
    assert_eq!(taken(&cloud).await, expected, "up to the stop, then the opening and five scans");
    until(&mut running.handle.status(), "resolved", |status| status.engine.stuck.is_none()).await;
    eventually("evidence", || async { !cloud.state.lock().await.evidence.is_empty() }).await;
    let state = cloud.state.lock().await;
    let [evidence] = state.evidence.as_slice() else { panic!("once: {:?}", state.evidence.len()) };
    assert_eq!((evidence.reason.as_str(), evidence.entries.len()), ("stopped", 3), "entries 9 to 11");
    drop(state);
    running.end().await;
}

#[tokio::test]
async fn a_damaged_entry_holds_up_nothing_and_goes_as_evidence_with_the_rest_of_its_epoch() {
    let (rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    settled(&queue).await;
    running.handle.pause(true);
    let status = &mut running.handle.status();
    until(status, "paused is shown", |status| status.engine.link == Link::Paused).await;
    append(&queue, 0, 10).await;
    let connection = rig.connection();
    connection.execute_batch("DROP TRIGGER operation_no_update").unwrap();
    connection.execute_batch("UPDATE operation SET entry = x'00' WHERE position = 9").unwrap();
    drop(connection);
    running.handle.pause(false);
    until(&mut queue.state(), "a new epoch", |state| state.head.epoch.is_some_and(|e| e.n == 2)).await;
    append(&queue, 10, 5).await;
    settled(&queue).await;
    let expected = (1..=8).map(|seq| (1, seq)).chain((1..=6).map(|seq| (2, seq))).collect::<Vec<_>>();
    assert_eq!(taken(&cloud).await, expected, "up to the damage, then the opening and five scans");
    eventually("evidence", || async { !cloud.state.lock().await.evidence.is_empty() }).await;
    let state = cloud.state.lock().await;
    let [evidence] = state.evidence.as_slice() else { panic!("once: {:?}", state.evidence.len()) };
    assert_eq!((evidence.reason.as_str(), evidence.entries.len()), ("queue_damaged", 3), "entries 9 to 11");
    drop(state);
    running.end().await;
}

#[tokio::test]
async fn a_planned_rotation_ends_in_a_new_epoch_under_the_new_key() {
    let (_rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    append(&queue, 0, 3).await;
    settled(&queue).await;
    let before = queue.station_keys().public();
    running.handle.rotate();
    until(&mut queue.state(), "a new epoch", |state| state.head.epoch.is_some_and(|e| e.n == 2)).await;
    append(&queue, 3, 3).await;
    settled(&queue).await;
    let after = queue.station_keys().public();
    assert_ne!(before, after);
    assert_eq!(*cloud.requests.lock().unwrap(), Some(after), "requests are signed with it");
    assert!(!queue.state().borrow().unconfirmed, "a planned rotation leaves no doubt");
    let state = cloud.state.lock().await;
    let reasons: Vec<&str> = state.rotations.iter().map(|request| request.reason.as_str()).collect();
    assert_eq!((state.station.key, reasons), (after, vec!["planned"]));
    drop(state);
    running.end().await;
}

#[tokio::test]
async fn a_rotation_whose_answer_was_lost_goes_on_by_itself_and_after_a_restart() {
    for restart in [false, true] {
        let (rig, mut queue, cloud) = set_up();
        let mut running = Running::start(&queue, &cloud).await;
        append(&queue, 0, 3).await;
        settled(&queue).await;
        cloud.state.lock().await.tricks.lose_rotation = true;
        running.handle.rotate();
        eventually("certified", || async { !cloud.state.lock().await.rotations.is_empty() }).await;
        if restart {
            running.end().await;
            queue.close().await.unwrap();
            let clock = Arc::new(SystemClock::new(BootId::from_parts(1, &[1; 10])));
            queue = Queue::open(rig.options_with(rig.secure().unwrap(), clock)).unwrap();
            running = Running::start(&queue, &cloud).await;
        }
        append(&queue, 3, 3).await;
        let rotated =
            |state: &QueueState| state.head.epoch.is_some_and(|epoch| epoch.n == 2) && state.queued == 0;
        until(&mut queue.state(), "settled in the new epoch", rotated).await;
        let state = cloud.state.lock().await;
        assert_eq!((state.station.key, state.rotations.len()), (queue.station_keys().public(), 1));
        drop(state);
        running.end().await;
    }
}

#[tokio::test]
async fn a_forked_station_goes_on_under_a_new_key_and_both_branches_are_kept() {
    let (rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    append(&queue, 0, 3).await;
    settled(&queue).await;
    running.end().await;
    queue.close().await.unwrap();
    let clone = rig.copy();
    for (rig, first) in [(&clone, 100), (&rig, 200)] {
        let clock = Arc::new(SystemClock::new(BootId::from_parts(1, &[1; 10])));
        let queue = Queue::open(rig.options_with(rig.secure().unwrap(), clock)).unwrap();
        let running = Running::start(&queue, &cloud).await;
        append(&queue, first, 2).await;
        settled(&queue).await;
        if first == 200 {
            let state = &mut queue.state();
            until(state, "a new epoch", |state| state.head.epoch.is_some_and(|e| e.n == 2)).await;
            assert!(queue.state().borrow().unconfirmed, "until a person has looked at it");
            append(&queue, 300, 2).await;
            settled(&queue).await;
        }
        running.end().await;
        queue.close().await.unwrap();
    }
    let state = cloud.state.lock().await;
    let held: Vec<_> =
        state.store.entries(cloud.station.id).map(|(p, _)| (p.epoch_n, p.branch, p.seq)).collect();
    let first = (1..=6).map(|seq| (1, 0, seq));
    let expected: Vec<_> =
        first.chain([(1, 1, 5), (1, 1, 6)]).chain((1..=3).map(|seq| (2, 0, seq))).collect();
    assert_eq!(held, expected);
    assert_eq!(state.rotations.len(), 1);
    assert_eq!(state.rotations[0].reason, "forked");
}

#[tokio::test]
async fn heartbeats_tell_devices_alarms_and_depth_and_other_processes_can_read_how_it_stands() {
    let (rig, queue, cloud) = set_up();
    let (handle, runner) = SyncHandle::prepare(queue.clone(), cloud.clone(), QUICK, 1).await.unwrap();
    let running = Running::spawn(handle, runner.shown_in(&rig.places()));
    let alarms = ["unplugged".to_owned()].into();
    let devices = vec![DeviceReport { role: "scanner".to_owned(), state: "unplugged".to_owned() }];
    let report = StationReport { devices: devices.clone(), disk_free: Some(7), alarms };
    running.handle.report(report);
    let status = &mut running.handle.status();
    until(status, "the alarm shows", |status| status.alarms.contains("unplugged")).await;
    append(&queue, 0, 3).await;
    settled(&queue).await;
    let last = async || cloud.state.lock().await.heartbeats.last().cloned();
    eventually("a heartbeat at the head", || async {
        last().await.is_some_and(|beat| beat.head.is_some_and(|head| head.seq == 4))
    })
    .await;
    let beat = last().await.expect("a heartbeat");
    assert_eq!((beat.devices, beat.disk_free, beat.depth), (devices, Some(7), 0));
    assert_eq!(beat.alarms, ["unplugged"]);
    assert_eq!(beat.log, queue.state().borrow().log.seen());
    let read = || read_status(&rig.data()).unwrap();
    eventually("the file follows", || async { read().is_some_and(|shown| shown.link == Link::Online) }).await;
    let shown = read().expect("a file");
    assert_eq!((shown.pid, shown.failure), (std::process::id(), None));
    assert!(shown.alarms.contains("unplugged") && shown.last_contact_at.is_some());
    running.end().await;
}

#[tokio::test]
async fn only_an_answer_to_its_own_question_is_taken_for_the_time() {
    let (_rig, queue, cloud) = set_up();
    {
        let mut state = cloud.state.lock().await;
        (state.tricks.stale_time, state.tricks.down) = (true, false);
    }
    let running = Running::start(&queue, &cloud).await;
    let status = &mut running.handle.status();
    until(status, "refused", |status| status.alarms.contains("time_invalid")).await;
    assert_eq!(queue.state().borrow().clock.server, None, "nothing was taken");
    cloud.state.lock().await.tricks.stale_time = false;
    until(&mut queue.state(), "a signed time", |state| state.clock.server.is_some()).await;
    running.end().await;
}

#[tokio::test]
async fn a_paused_sync_sends_nothing() {
    let (_rig, queue, cloud) = set_up();
    let running = Running::start(&queue, &cloud).await;
    settled(&queue).await;
    running.handle.pause(true);
    let status = &mut running.handle.status();
    until(status, "paused is shown", |status| status.engine.link == Link::Paused).await;
    append(&queue, 0, 5).await;
    assert_eq!(queue.state().borrow().queued, 5);
    running.handle.pause(false);
    settled(&queue).await;
    running.end().await;
}

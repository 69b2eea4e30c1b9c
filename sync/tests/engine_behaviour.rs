//! What the engine does, step by step.

#[path = "engine/world.rs"]
mod world;

use lotgate_sync::engine::status::Link;
use lotgate_sync::engine::{Action, Dates, Reply, RotateReason, Wake};
use world::{Fault, World};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn online(seed: u64) -> World {
    let mut world = World::new(seed);
    world.run_until(1_000);
    assert_eq!(world.engine.status().link, Link::Online, "it must be online with nothing in the way");
    world
}

fn pushes(world: &World, seen: usize) -> usize {
    world.requests(seen).iter().filter(|(_, action)| matches!(action, Action::Push { .. })).count()
}

fn scan(world: &mut World, entries: u64) {
    world.queued += entries;
    world.engine.handle_wake(Wake::QueueGrew, world.now);
}

#[test]
fn after_a_connect_the_head_is_asked_for_alone_and_everything_else_runs_side_by_side() {
    let mut world = World::new(1);
    world.queued = 25;
    world.pages = 2;
    world.run_until(4);
    assert_eq!(world.requests(0), [(0, Action::FetchHead)], "nothing else before the head is known");
    world.run_until(1_000);
    assert_eq!((world.cloud, world.settled), (25, 25));
    let pulls = world.log.iter().filter(|(_, action)| matches!(action, Action::PullFeed { .. })).count();
    assert_eq!(pulls, 3, "page 1, page 2, and that there is no more");
    let first = |wanted: fn(&Action) -> bool| world.log.iter().position(|(_, action)| wanted(action));
    let pull = first(|action| matches!(action, Action::PullFeed { .. }));
    assert!(pull < first(|action| matches!(action, Action::Push { .. })), "revocations and holds come first");
}

#[test]
fn three_batches_are_on_their_way_at_once_and_answers_count_in_the_order_of_the_pushes() {
    for seed in 0..10 {
        let mut world = online(seed);
        world.reversed = true;
        scan(&mut world, 200);
        world.run_until(world.now + 5_000);
        assert_eq!((world.cloud, world.settled), (200, 200));
        // `World::check` asserts that no answer settles past a gap, and that there are never more than three.
        assert_eq!(world.most_in_flight, 3);
    }
}

#[test]
fn the_cloud_says_how_many_batches_it_takes_at_once() {
    for (in_flight, most) in [(0, 1), (1, 1), (2, 2), (3, 3), (u64::MAX, 3)] {
        let mut world = World::new(20);
        world.limits.in_flight = in_flight;
        world.queued = 200;
        world.run_until(5_000);
        assert_eq!((world.settled, world.most_in_flight), (200, most), "{in_flight}");
    }
}

#[test]
fn after_a_failure_it_goes_back_and_pushes_one_at_a_time_until_the_next_success() {
    let codes = [Fault::Cut, Fault::LostReply, Fault::Internal, Fault::BadReceipt, Fault::Overtaken];
    for fault in codes {
        let mut world = online(21);
        scan(&mut world, 300);
        world.run_until(world.now + 12);
        assert!((1..300).contains(&world.settled), "in the middle: {}", world.settled);
        world.fault = fault;
        world.run_until(world.now + 20);
        let before = (world.settled, world.cloud);
        world.fault = Fault::None;
        world.most_in_flight = 0;
        while (world.settled, world.cloud) == before {
            world.step(world.now + 60_000);
        }
        assert!(world.most_in_flight <= 1, "{} at once after {fault:?}", world.most_in_flight);
        world.run_until(world.now + 60_000);
        assert_eq!((world.cloud, world.settled, world.most_in_flight), (300, 300, 3), "{fault:?}");
    }
}

#[test]
fn a_heartbeat_that_is_never_answered_delays_no_push() {
    let mut world = World::new(22);
    world.fault = Fault::SlowHeartbeat;
    world.run_until(1_000);
    assert!(world.log.iter().any(|(_, action)| *action == Action::Heartbeat), "one is under way");
    for n in 1..=60 {
        let before = world.now;
        scan(&mut world, 100);
        world.run_until(before + 200);
        assert_eq!(world.settled, n * 100);
        world.run_until(before + 10_000);
    }
    let beats = world.log.iter().filter(|(_, action)| *action == Action::Heartbeat).count();
    assert!((2..20).contains(&beats), "{beats} in ten minutes: it goes on trying, less and less");
}

#[test]
fn a_heartbeat_goes_out_at_the_start_each_minute_and_when_alarms_change() {
    let mut world = online(23);
    let beats = |world: &World| world.log.iter().filter(|(_, a)| *a == Action::Heartbeat).count();
    assert_eq!(beats(&world), 1, "at the start");
    world.run_until(10 * MINUTE + 1_000);
    assert!((10..=12).contains(&beats(&world)), "{} in ten minutes", beats(&world));
    let before = beats(&world);
    world.engine.handle_wake(Wake::AlarmsChanged, world.now);
    world.run_until(world.now + 1_500);
    assert_eq!(beats(&world), before + 1, "an alarm is told at once");
}

#[test]
fn an_idle_engine_polls_gently_and_a_new_entry_goes_out_at_once() {
    let mut world = online(2);
    let quiet = world.log.len();
    world.run_until(1_000 + 10 * MINUTE);
    let polls = world.requests(quiet).len();
    assert!((25..=50).contains(&polls), "{polls} requests in ten quiet minutes");
    let before = world.now;
    scan(&mut world, 1);
    world.run_until(before + 100);
    assert_eq!(world.cloud, 1, "a new entry must not wait for a poll");
}

#[test]
fn draining_starts_within_five_seconds_of_the_listeners_return_however_long_it_was_away() {
    for seed in 0..20 {
        for fault in [Fault::Refused, Fault::Vanish] {
            let mut world = online(seed);
            world.fault = fault;
            scan(&mut world, 500);
            world.run_until(26 * HOUR);
            let tries = world.requests(0).len();
            assert!(tries < 600, "{tries} requests in a day without a cloud: {fault:?}");
            world.fault = Fault::None;
            let (back, seen) = (world.now, world.log.len());
            world.run_until(back + 5_000);
            let pushed = world.requests(seen).iter().any(|(_, action)| matches!(action, Action::Push { .. }));
            assert!(pushed && world.cloud > 0, "no push within 5 s of the return, seed {seed}, {fault:?}");
        }
    }
}

#[test]
fn a_cloud_that_answers_but_fails_is_asked_less_and_less() {
    let faults = [
        Fault::Busy(0),
        Fault::Internal,
        Fault::Cut,
        Fault::LostReply,
        Fault::Garbage,
        Fault::WrongCertificate,
        Fault::UnknownKey,
        Fault::Revoked,
        Fault::BadReceipt,
        Fault::Ahead,
        Fault::Mismatch,
        Fault::Unreadable,
        Fault::Overtaken,
        Fault::Expired,
    ];
    for fault in faults {
        for seed in 0..5 {
            let mut world = online(seed);
            world.fault = fault;
            scan(&mut world, 100);
            let seen = world.log.len();
            world.run_until(world.now + 2 * HOUR);
            let requests = world.requests(seen);
            let pushes = pushes(&world, seen);
            // A fault of the cloud itself may be over at any moment: 30 s at most while operations wait.
            let most = if matches!(fault, Fault::Busy(_) | Fault::Internal) { 700 } else { 60 };
            assert!(pushes <= most, "{pushes} pushes in two hours of {fault:?}");
            assert!(requests.len() <= 1_000, "{} requests in two hours of {fault:?}", requests.len());
            let last_hour = requests.iter().filter(|(at, _)| *at > HOUR).count();
            assert!(last_hour > 0, "it gave up: {fault:?}");
        }
    }
}

#[test]
fn a_tap_ends_every_wait() {
    for fault in [Fault::Busy(600_000), Fault::Cut, Fault::UnknownKey, Fault::BadReceipt, Fault::Overtaken] {
        let mut world = online(3);
        world.fault = fault;
        scan(&mut world, 10);
        world.run_until(world.now + 5 * HOUR);
        world.fault = Fault::None;
        world.engine.handle_wake(Wake::OperatorTap, world.now);
        world.run_until(world.now + 1_000);
        assert_eq!(world.cloud, 10, "the tap did not lead to a push after {fault:?}");
    }
}

#[test]
fn the_clouds_wish_to_wait_is_honoured() {
    let mut world = online(4);
    world.fault = Fault::Busy(120_000);
    scan(&mut world, 1);
    world.run_until(world.now + 10);
    let (asked, seen) = (world.now, world.log.len());
    world.run_until(asked + 119_000);
    assert_eq!(world.requests(seen), [], "a request before the time that the cloud asked for");

    let mut world = World::new(5);
    world.queued = 1;
    world.backoff_ms = 20_000;
    world.run_until(19_000);
    assert_eq!(world.cloud, 0, "pushed before the backoff in the head was over");
    world.run_until(60_000);
    assert_eq!(world.cloud, 1);
}

#[test]
fn a_restart_of_the_cloud_does_not_end_the_wait_that_it_asked_for() {
    let mut world = online(16);
    world.fault = Fault::Busy(120_000);
    scan(&mut world, 1);
    world.run_until(world.now + 10);
    let (asked, seen) = (world.now, world.log.len());
    world.fault = Fault::Refused;
    world.run_until(asked + 10_000);
    world.fault = Fault::None;
    world.run_until(asked + 119_000);
    assert_eq!(world.requests(seen), [], "a request before the time that the cloud asked for");
    world.run_until(asked + 121_000);
    assert_eq!(world.cloud, 1, "and at that time it goes on");
}

#[test]
fn a_cloud_that_failed_for_hours_and_then_restarted_is_used_at_once() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.queued = 1;
        world.fault = Fault::Busy(0);
        world.run_until(5 * HOUR);
        world.fault = Fault::Refused;
        world.run_until(world.now + MINUTE);
        world.fault = Fault::None;
        world.run_until(world.now + 5_000);
        assert_eq!(world.cloud, 1, "its failures before the restart must not count, seed {seed}");
    }
}

#[test]
fn after_a_success_the_waits_begin_anew() {
    for seed in 0..10 {
        let mut world = online(seed);
        world.fault = Fault::Busy(0);
        scan(&mut world, 1);
        world.run_until(5 * HOUR);
        world.fault = Fault::None;
        world.run_until(6 * HOUR);
        assert_eq!(world.settled, 1);
        world.fault = Fault::Busy(0);
        scan(&mut world, 1);
        world.run_until(world.now + 5);
        let wait = world.engine.status().retry_at.expect("a failure").saturating_sub(world.now);
        assert!(wait <= 1_000, "{wait} ms after the first failure in a row");
    }
}

#[test]
fn after_an_answer_that_does_not_hold_the_cloud_is_asked_where_it_stands() {
    for fault in [Fault::BadReceipt, Fault::Garbage, Fault::Ahead] {
        let mut world = online(17);
        world.fault = fault;
        scan(&mut world, 1);
        world.run_until(world.now + 5);
        let seen = world.log.iter().rposition(|(_, a)| matches!(a, Action::Push { .. })).expect("a push") + 1;
        world.fault = Fault::None;
        world.run_until(world.now + 5_000);
        assert_eq!(world.requests(seen)[0].1, Action::FetchHead, "{fault:?}");
        assert_eq!(world.settled, 1, "{fault:?}");
    }
}

#[test]
fn a_hint_while_a_pull_is_under_way_leads_to_another_pull() {
    let mut world = online(18);
    world.engine.handle_wake(Wake::FeedHint, world.now);
    let (id, pull) = world.engine.poll_action(world.now).expect("a pull");
    world.engine.handle_wake(Wake::FeedHint, world.now);
    world.engine.handle_reply(id, Reply::Feed { cursor: 1, more: false }, world.now);
    let (_, next) = world.engine.poll_action(world.now).expect("the page may be newer than the answer");
    assert_eq!(next, pull);
}

#[test]
fn a_batch_that_is_too_large_is_halved_until_it_fits() {
    let mut world = World::new(6);
    world.limits.entries = 1_000;
    world.queued = 3_000;
    world.fault = Fault::TooLarge(100);
    world.run_until(5_000);
    assert_eq!(world.cloud, 3_000, "halving must end in batches that fit, without long waits");
    world.fault = Fault::None;
    scan(&mut world, 3_000);
    let seen = world.log.len();
    world.run_until(world.now + 5_000);
    let pushes = pushes(&world, seen);
    assert!((3..12).contains(&pushes), "{pushes} pushes: batches must grow again once they fit");
}

#[test]
fn a_batch_whose_answer_is_too_long_is_halved_until_it_fits() {
    let mut world = World::new(30);
    world.limits.entries = 1_000;
    world.queued = 3_000;
    world.fault = Fault::LongReply(100);
    world.run_until(10_000);
    assert_eq!((world.cloud, world.settled), (3_000, 3_000));
}

#[test]
fn while_answers_cannot_be_kept_everything_is_handed_over_and_then_asked_for_again_without_a_loop() {
    for seed in 0..10 {
        let mut world = online(seed);
        world.fault = Fault::Unwritable;
        scan(&mut world, 100);
        world.run_until(world.now + 5_000);
        assert_eq!((world.cloud, world.settled), (100, 0), "no disk keeps operations from the cloud");
        let seen = world.log.len();
        world.run_until(world.now + HOUR);
        // Twice a minute a head and at most three small batches for each of the ten.
        let pushes = pushes(&world, seen);
        assert!((100..4_000).contains(&pushes), "{pushes} pushes in an hour");
        world.fault = Fault::None;
        // New operations must not put off the question.
        for _ in 0..60 {
            scan(&mut world, 1);
            world.run_until(world.now + 1_000);
        }
        assert_eq!((world.cloud, world.settled), (160, 160), "seed {seed}");
    }
}

#[test]
fn a_lost_reply_is_asked_for_again_even_if_nothing_new_is_scanned() {
    let mut world = online(15);
    world.fault = Fault::LostReply;
    scan(&mut world, 3);
    world.run_until(world.now + 100);
    assert_eq!((world.cloud, world.settled), (3, 0), "taken, but the receipt was lost");
    world.fault = Fault::None;
    world.run_until(world.now + 10_000);
    assert_eq!(world.settled, 3, "no receipt without another push");
}

#[test]
fn a_feed_that_is_refused_delays_no_push() {
    let mut world = World::new(7);
    world.fault = Fault::TooOld;
    world.queued = 100;
    world.run_until(1_000);
    assert_eq!(world.cloud, 100);
    let status = world.engine.status();
    assert_eq!(status.link, Link::RequestRefused, "the refusal must show");
    assert_eq!(status.failure.map(|code| code.as_str()), Some("too_old"));
}

#[test]
fn a_head_that_the_queue_does_not_hold_leads_to_a_push_from_the_oldest_entry() {
    let mut world = World::new(8);
    world.queued = 5;
    world.cloud = 9;
    world.run_until(1_000);
    let reads: Vec<_> = world.log.iter().filter(|(_, a)| matches!(a, Action::Read { .. })).collect();
    assert!(matches!(reads[0].1, Action::Read { after: None, .. }), "{reads:?}");
    let status = world.engine.status();
    assert_eq!(status.failure.map(|code| code.as_str()), Some("cloud_ahead"));
    assert_eq!(status.link, Link::ServerInconsistent);
}

#[test]
fn a_restored_cloud_gets_everything_after_its_head_again() {
    let mut world = online(9);
    scan(&mut world, 40);
    world.run_until(world.now + 1_000);
    assert_eq!(world.cloud, 40);
    for (cloud, queued) in [(15, 41), (8, 42), (30, 43)] {
        world.cloud = cloud;
        scan(&mut world, 1);
        world.run_until(world.now + 100);
        assert_eq!(world.cloud, queued, "a mismatch must rewind the push without a wait");
    }
    world.cloud = 20;
    world.run_until(world.now + 15 * MINUTE);
    assert_eq!(world.cloud, 43, "an idle station must notice by its look at the head");
}

#[test]
fn what_the_cloud_does_not_take_is_set_aside_and_sent_once_as_evidence_and_the_rest_goes_on() {
    let mut world = online(10);
    world.fault = Fault::Stops(7);
    scan(&mut world, 20);
    let stopped = loop {
        world.step(world.now + MINUTE);
        if let Some(stuck) = world.engine.status().stuck {
            break stuck;
        }
    };
    assert_eq!((stopped.seq, world.cloud, world.settled), (7, 6, 6), "shown, and settled up to it");
    assert!(world.engine.alarms().contains("bad_signature"));
    world.run_until(world.now + 1_000);
    let asides = world.log.iter().filter(|(_, action)| matches!(action, Action::SetAside { .. })).count();
    assert_eq!((asides, world.evidence), (1, 0), "the 14 that were not taken are handed over");
    assert_eq!(world.engine.status().stuck, None);
    scan(&mut world, 5);
    world.run_until(world.now + 1_000);
    assert_eq!((world.cloud, world.settled), (12, 12), "the new epoch goes its way");
}

#[test]
fn after_a_fork_the_station_takes_a_new_key_once_with_nothing_beside_it() {
    let mut world = online(24);
    world.fault = Fault::Forked;
    scan(&mut world, 100);
    world.run_until(world.now + 1_000);
    let rotations: Vec<_> = world.log.iter().filter(|(_, a)| matches!(a, Action::Rotate { .. })).collect();
    assert_eq!(rotations.len(), 1, "{rotations:?}");
    assert_eq!(rotations[0].1, Action::Rotate { reason: RotateReason::Forked });
    assert_eq!((world.rotations, world.settled), (1, 100));
    world.engine.handle_wake(Wake::Rotate, world.now);
    world.run_until(world.now + 1_000);
    let last = world.log.iter().rev().find(|(_, action)| matches!(action, Action::Rotate { .. }));
    assert_eq!(last.expect("another one").1, Action::Rotate { reason: RotateReason::Planned });
    assert_eq!(world.rotations, 2);
}

#[test]
fn a_certificate_that_is_over_by_a_wrong_clock_only_is_trusted_after_one_signed_time() {
    let mut world = World::new(25);
    world.fault = Fault::Dates;
    world.queued = 50;
    world.run_until(1_000);
    let asked = world.requests(0);
    assert_eq!(asked[0].1, Action::FetchHead);
    assert_eq!(asked[1].1, Action::FetchTime { dates: Dates::Ignored });
    assert_eq!(asked[2].1, Action::FetchHead, "at once after it");
    assert_eq!((world.settled, world.engine.status().link), (50, Link::Online));
}

#[test]
fn a_certificate_that_is_really_over_is_not_asked_about_in_a_loop() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.fault = Fault::Expired;
        world.queued = 1;
        world.run_until(2 * HOUR);
        let times = world.log.iter().filter(|(_, a)| matches!(a, Action::FetchTime { .. })).count();
        assert!((5..120).contains(&times), "{times} signed times in two hours");
        assert_eq!(world.engine.status().failure.map(|code| code.as_str()), Some("certificate_expired"));
        world.fault = Fault::None;
        world.run_until(world.now + 11 * MINUTE);
        assert_eq!(world.settled, 1);
    }
}

#[test]
fn a_station_that_doubts_its_clock_asks_for_the_time_when_it_connects() {
    let mut world = World::new(26);
    world.engine.handle_clock(true);
    world.run_until(1_000);
    let times = |world: &World| {
        let wanted = Action::FetchTime { dates: Dates::Judged };
        world.log.iter().filter(|(_, action)| *action == wanted).count()
    };
    assert_eq!(times(&world), 1);
    world.engine.handle_clock(false);
    world.run_until(HOUR);
    assert_eq!(times(&world), 1, "a clock that is right needs no signed time");
}

#[test]
fn while_operations_wait_a_fault_of_the_cloud_is_looked_into_every_half_minute() {
    for seed in 0..10 {
        let mut world = online(seed);
        world.fault = Fault::Internal;
        scan(&mut world, 10);
        world.run_until(5 * HOUR);
        world.fault = Fault::None;
        world.run_until(world.now + 31_000);
        assert_eq!(world.settled, 10, "not drained within half a minute, seed {seed}");
    }
}

#[test]
fn a_paused_engine_sends_nothing_and_a_resumed_one_catches_up() {
    let mut world = online(11);
    world.engine.handle_pause(true, world.now);
    scan(&mut world, 3);
    world.engine.handle_wake(Wake::OperatorTap, world.now);
    for now in [world.now, world.now + HOUR] {
        assert_eq!(world.engine.poll_action(now), None, "an action while paused");
        assert_eq!(world.engine.poll_timeout(now), None, "a paused engine waits for a person");
    }
    assert_eq!(world.engine.status().link, Link::Paused);
    world.now += HOUR;
    world.engine.handle_pause(false, world.now);
    world.run_until(world.now + 1_000);
    assert_eq!(world.cloud, 3);
}

#[test]
fn an_entry_written_while_the_queue_was_found_empty_is_not_forgotten() {
    let mut world = online(12);
    world.engine.handle_wake(Wake::QueueGrew, world.now);
    let (id, read) = world.engine.poll_action(world.now).expect("a read");
    assert!(matches!(read, Action::Read { .. }));
    world.queued += 1;
    world.engine.handle_wake(Wake::QueueGrew, world.now);
    world.engine.handle_reply(id, Reply::Drained, world.now);
    world.run_until(world.now + 1_000);
    assert_eq!(world.cloud, 1, "the wake came while the queue was read");
}

#[test]
fn an_answer_to_nothing_and_a_doubled_answer_change_nothing() {
    let mut world = online(13);
    world.engine.handle_wake(Wake::FeedHint, world.now);
    let (id, _) = world.engine.poll_action(world.now).expect("a pull");
    world.engine.handle_reply(id, Reply::Feed { cursor: 1, more: false }, world.now);
    let before = world.engine.status();
    for reply in [
        Reply::Feed { cursor: 9, more: true },
        Reply::Pushed { stopped: None, forked: true, kept: false },
        Reply::Rotated,
        Reply::StartOver,
    ] {
        world.engine.handle_reply(id, reply, world.now);
        assert_eq!(world.engine.status(), before);
    }
    scan(&mut world, 2);
    world.run_until(world.now + 1_000);
    assert_eq!((world.cloud, world.rotations), (2, 0));
}

#[test]
fn a_station_that_is_shut_out_says_so_and_goes_on_trying() {
    for (fault, code) in [(Fault::Revoked, "revoked"), (Fault::UnknownKey, "unknown_key")] {
        let mut world = online(27);
        world.fault = fault;
        scan(&mut world, 5);
        world.run_until(HOUR);
        let status = world.engine.status();
        assert_eq!(status.failure.map(|failure| failure.as_str()), Some(code));
        assert_eq!(status.link, Link::Unauthorised);
        world.fault = Fault::None;
        world.run_until(world.now + 11 * MINUTE);
        assert_eq!(world.settled, 5, "{code}: let in again");
    }
}

#[test]
fn what_cannot_be_proven_keeps_nothing_after_it_from_being_handed_over() {
    for seed in 0..10 {
        let mut world = online(seed);
        world.fault = Fault::BadProof(30);
        scan(&mut world, 100);
        world.run_until(world.now + MINUTE);
        assert_eq!((world.cloud, world.settled), (100, 0), "all of it is in the cloud, none is settled");
        scan(&mut world, 50);
        world.run_until(world.now + 2 * HOUR);
        assert_eq!((world.cloud, world.settled), (150, 0));
        world.fault = Fault::None;
        world.run_until(world.now + 20 * MINUTE);
        assert_eq!(world.settled, 150, "the proof is asked for again and again");
    }
}

#[test]
fn a_contradiction_of_the_cloud_stays_on_the_screen_after_the_link_recovers() {
    let mut world = online(14);
    world.fault = Fault::BadReceipt;
    scan(&mut world, 1);
    world.run_until(world.now + 1_000);
    assert_eq!(world.engine.status().link, Link::ServerInconsistent);
    assert_eq!(world.settled, 0, "nothing is settled by a receipt that does not verify");
    world.fault = Fault::None;
    world.run_until(world.now + HOUR);
    let status = world.engine.status();
    assert_eq!(status.link, Link::Online);
    assert_eq!(status.alarm.map(|code| code.as_str()), Some("receipt_invalid"));
}

//! What the engine does, step by step.

#[path = "engine/world.rs"]
mod world;

use lotgate_sync::engine::status::Link;
use lotgate_sync::engine::{Action, Wake};
use world::{Fault, World, point};

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
fn after_a_connect_come_head_then_reference_data_then_entries_until_none_is_left() {
    let mut world = World::new(1);
    world.queued = 25;
    world.pages = 2;
    world.run_until(1_000);
    let names: Vec<String> = world
        .log
        .iter()
        .map(|(_, action)| match action {
            Action::FetchHead => "head".to_owned(),
            Action::PullFeed { after } => format!("feed {after}"),
            Action::Push { after, .. } => format!("push {}", after.map_or(0, |after| after.seq)),
            Action::Probe => "probe".to_owned(),
        })
        .collect();
    let expected = ["head", "feed 0", "push 0", "feed 1", "push 10", "feed 2", "push 20", "push 25"];
    assert_eq!(names, expected, "pulls and pushes take turns");
    assert_eq!(world.cloud, 25);
}

#[test]
fn an_idle_engine_polls_gently_and_a_new_entry_goes_out_at_once() {
    let mut world = online(2);
    let quiet = world.log.len();
    world.run_until(1_000 + 10 * MINUTE);
    let polls = world.requests(quiet).len();
    assert!((15..=40).contains(&polls), "{polls} requests in ten quiet minutes");
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
        Fault::Cut,
        Fault::LostReply,
        Fault::Garbage,
        Fault::WrongCertificate,
        Fault::UnknownKey,
        Fault::BadReceipt,
        Fault::Ahead,
        Fault::Mismatch,
        Fault::Unreadable,
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
            assert!(pushes <= 60, "{pushes} pushes in two hours of {fault:?}");
            assert!(requests.len() <= 500, "{} requests in two hours of {fault:?}", requests.len());
            let last_hour = requests.iter().filter(|(at, _)| *at > HOUR).count();
            assert!(last_hour > 0, "it gave up: {fault:?}");
        }
    }
}

#[test]
fn a_tap_ends_every_wait() {
    for fault in [Fault::Busy(600_000), Fault::Cut, Fault::UnknownKey, Fault::BadReceipt, Fault::Stops(3)] {
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
    world.step(u64::MAX);
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
    world.step(u64::MAX);
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
        world.step(u64::MAX);
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
        world.step(u64::MAX);
        let seen = world.log.len();
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
    let pull = world.engine.poll_action(world.now).expect("a pull");
    world.engine.handle_wake(Wake::FeedHint, world.now);
    let reply = lotgate_sync::engine::Reply::Feed { cursor: 1, more: false };
    world.engine.handle_reply(reply, world.now);
    assert_eq!(world.engine.poll_action(world.now), Some(pull), "the page may be newer than the answer");
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
    assert!((4..10).contains(&pushes), "{pushes} pushes: batches must grow again once they fit");
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
    let pushes: Vec<_> = world.log.iter().filter(|(_, a)| matches!(a, Action::Push { .. })).collect();
    assert!(matches!(pushes[0].1, Action::Push { after: None, .. }), "{pushes:?}");
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
fn an_entry_that_the_cloud_does_not_take_is_shown_and_not_pushed_in_a_loop() {
    let mut world = online(10);
    world.fault = Fault::Stops(7);
    scan(&mut world, 20);
    let seen = world.log.len();
    for _ in 0..100 {
        scan(&mut world, 1);
        world.run_until(world.now + 10_000);
    }
    let stuck = world.engine.status().stuck.expect("the stuck entry must show");
    assert_eq!((stuck.seq, world.cloud), (7, 6));
    let pushes = pushes(&world, seen);
    assert!(pushes <= 6, "{pushes} pushes of a stuck entry in 17 minutes");
    world.fault = Fault::None;
    world.run_until(world.now + 15 * MINUTE);
    assert_eq!(world.cloud, 120, "it never gives up");
    assert_eq!(world.engine.status().stuck, None);
}

#[test]
fn a_paused_engine_sends_nothing_and_a_resumed_one_catches_up() {
    let mut world = online(11);
    world.engine.handle_pause(true, world.now);
    scan(&mut world, 3);
    world.engine.handle_wake(Wake::OperatorTap, world.now);
    for now in [world.now, world.now + HOUR] {
        assert_eq!(world.engine.poll_action(now), None, "an action while paused");
        assert_eq!(world.engine.poll_timeout(), None, "a paused engine waits for a person");
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
    scan(&mut world, 1);
    let push = world.engine.poll_action(world.now).expect("a push");
    world.queued -= 1;
    world.queued += 1;
    world.engine.handle_wake(Wake::QueueGrew, world.now);
    world.engine.handle_reply(lotgate_sync::engine::Reply::Drained, world.now);
    assert!(matches!(push, Action::Push { .. }));
    world.run_until(world.now + 1_000);
    assert_eq!(world.cloud, 1, "the wake came while the queue was read");
}

#[test]
fn an_answer_to_nothing_and_a_doubled_answer_change_nothing() {
    let mut world = online(13);
    let before = world.engine.status();
    let through = point(3);
    let stray = lotgate_sync::engine::Reply::Pushed { sent: through, through, held: true, stopped: None };
    world.engine.handle_reply(stray, world.now);
    assert_eq!(world.engine.status(), before);
    scan(&mut world, 2);
    world.run_until(world.now + 1_000);
    assert_eq!(world.cloud, 2, "the stray answer moved the position");
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

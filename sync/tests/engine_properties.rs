//! Whatever happens on the way, in whatever order: the engine keeps its promises.

#[path = "engine/world.rs"]
mod world;

use lotgate_sync::engine::Wake;
use proptest::prelude::*;
use world::{Fault, World};

#[derive(Debug, Clone)]
struct Episode {
    fault: Fault,
    lasts_ms: u64,
    scans: u64,
    wake: Option<Wake>,
    paused: bool,
    cloud_restored_by: u64,
    latency_ms: u64,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::None),
        Just(Fault::Refused),
        Just(Fault::Vanish),
        Just(Fault::Silent),
        Just(Fault::Cut),
        Just(Fault::LostReply),
        (0u64..2_000_000).prop_map(Fault::Busy),
        (1u64..4).prop_map(Fault::TooLarge),
        (1u64..4).prop_map(Fault::LongReply),
        Just(Fault::Unwritable),
        Just(Fault::Garbage),
        Just(Fault::WrongCertificate),
        Just(Fault::UnknownKey),
        Just(Fault::Revoked),
        Just(Fault::BadReceipt),
        (1u64..60).prop_map(Fault::BadProof),
        Just(Fault::Unreadable),
        (1u64..60).prop_map(Fault::Stops),
        Just(Fault::TooOld),
        Just(Fault::Mismatch),
        Just(Fault::Ahead),
        Just(Fault::Overtaken),
        Just(Fault::Dates),
        Just(Fault::Expired),
        Just(Fault::Forked),
        Just(Fault::SlowHeartbeat),
        Just(Fault::Internal),
    ]
}

fn episode() -> impl Strategy<Value = Episode> {
    let wake = prop_oneof![
        Just(None),
        Just(Some(Wake::LinkUp)),
        Just(Some(Wake::OperatorTap)),
        Just(Some(Wake::FeedHint)),
        Just(Some(Wake::QueueGrew)),
        Just(Some(Wake::Rotate)),
        Just(Some(Wake::AlarmsChanged)),
    ];
    let lasts = prop_oneof![0u64..5_000, 0u64..2_000_000];
    let restored = prop_oneof![9 => Just(0u64), 1 => 1u64..20];
    (fault(), lasts, 0u64..40, wake, prop::bool::weighted(0.1), restored, 0u64..3_000).prop_map(
        |(fault, lasts_ms, scans, wake, paused, cloud_restored_by, latency_ms)| Episode {
            fault,
            lasts_ms,
            scans,
            wake,
            paused,
            cloud_restored_by,
            latency_ms,
        },
    )
}

/// Runs the episodes; the world asserts that there are never more than three pushes under way, an answer taken
/// out of turn, a batch after an entry that the queue does not hold, a dead state, or a wake-up for nothing.
fn live(seed: u64, episodes: &[Episode]) -> World {
    let mut world = World::new(seed);
    for episode in episodes {
        world.fault = episode.fault;
        world.latency_ms = episode.latency_ms;
        world.cloud = world.cloud.saturating_sub(episode.cloud_restored_by);
        world.queued += episode.scans;
        world.pages += 1;
        if episode.scans > 0 {
            world.engine.handle_wake(Wake::QueueGrew, world.now);
        }
        if let Some(wake) = episode.wake {
            world.engine.handle_wake(wake, world.now);
        }
        world.engine.handle_pause(episode.paused, world.now);
        let until = world.now + episode.lasts_ms;
        let seen = world.log.len();
        world.run_until(until);
        assert!(!episode.paused || world.requests(seen).is_empty(), "a request while paused");
    }
    world.engine.handle_pause(false, world.now);
    world.latency_ms = 5;
    world
}

proptest! {
    #[test]
    fn once_faults_stop_the_queue_drains_in_bounded_steps(
        seed: u64,
        episodes in prop::collection::vec(episode(), 0..12),
    ) {
        let mut world = live(seed, &episodes);
        world.fault = Fault::None;
        let (since, seen) = (world.now, world.log.len());
        // Ten minutes is the longest wait of a push; two more for a pause that a busy cloud asked for.
        let bound = since + 2 * 600_000;
        while world.settled.min(world.cloud) < world.queued && world.step(bound) {}
        prop_assert_eq!(world.cloud, world.queued, "not drained within 20 minutes without faults");
        prop_assert_eq!(world.settled, world.queued, "in the cloud, but no receipt was asked for");
        let requests = world.requests(seen).len();
        // Smaller batches after trouble, pulls in between, heads after mismatches.
        let enough = 2 * usize::try_from(world.queued + world.pages).unwrap() + 80;
        prop_assert!(requests <= enough, "{} requests, {} would do", requests, enough);
    }

    #[test]
    fn after_any_past_a_return_of_the_listener_is_used_within_five_seconds(
        seed: u64,
        episodes in prop::collection::vec(episode(), 0..8),
        away_ms in 10_000u64..20_000_000,
    ) {
        let mut world = live(seed, &episodes);
        world.queued += 1;
        world.engine.handle_wake(Wake::QueueGrew, world.now);
        world.fault = Fault::None;
        world.run_until(world.now + 1_300_000);
        world.queued += 1;
        world.fault = Fault::Refused;
        world.engine.handle_wake(Wake::QueueGrew, world.now);
        world.run_until(world.now + away_ms);
        world.fault = Fault::None;
        world.run_until(world.now + 5_000);
        prop_assert_eq!(world.cloud, world.queued);
    }

    #[test]
    fn the_same_seed_and_inputs_give_the_same_run(
        seed: u64,
        episodes in prop::collection::vec(episode(), 0..8),
    ) {
        let (first, second) = (live(seed, &episodes), live(seed, &episodes));
        prop_assert_eq!(first.log, second.log);
        prop_assert_eq!(first.engine.status(), second.engine.status());
    }
}

//! The simulation of PROTOCOL §7, short: `./dev simulate --seeds 10000` is the long one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../simulation/simulation.rs"]
mod simulation;

use simulation::{Done, Tally, Wrong, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Seeds of the test, from 1.
const SEEDS: u64 = 80;
/// One in so many is run twice.
const TWICE: u64 = 8;

#[test]
fn whatever_goes_wrong_nothing_confirmed_is_lost_doubled_or_settled_on_a_lie() {
    let next = AtomicU64::new(1);
    let (total, failed) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        return;
                    }
                    let (ended, _) = run(seed, false);
                    let differs = seed.is_multiple_of(TWICE) && run(seed, false).0 != ended;
                    match ended {
                        Ok(Done { tally, .. }) if !differs => total.lock().unwrap().add(&tally),
                        Ok(_) => {
                            failed.lock().unwrap().push(format!("seed {seed}: two runs end differently"))
                        }
                        Err(Wrong { invariant, what }) => {
                            failed.lock().unwrap().push(format!("seed {seed}: ({invariant}) {what}"));
                        }
                    }
                }
            });
        }
    });
    let failed = failed.lock().unwrap();
    assert!(failed.is_empty(), "{}\nagain: ./dev simulate --seed S --trace", failed.join("\n"));
    let tally = *total.lock().unwrap();
    println!("{tally:?}");
    let Tally { operations, faults, lies, noticed, recoveries, forks, .. } = tally;
    let worked =
        operations > 1_000 && faults > 200 && lies > 10 && noticed > 10 && recoveries > 5 && forks > 0;
    assert!(worked, "it happened little: {tally:?}");
}

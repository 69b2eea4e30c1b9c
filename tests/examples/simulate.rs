//! The simulation by the thousand: `./dev simulate [--seeds N] [--from S] [--jobs N]`, or one seed again with
//! everything that happens in it: `--seed S --trace`. Ends with exit code 1 at the first seed that fails, with
//! `--all` after every seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::float_arithmetic,
    reason = "a test program: what is not as it must be ends it"
)]

#[path = "../simulation/simulation.rs"]
mod simulation;

use simulation::{Done, Tally, Wrong, run};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// One in so many seeds is run twice, and must end the same.
const TWICE: u64 = 50;
/// Lines of the trace that are shown of a seed that failed.
const LINES: usize = 40;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(
            arguments
                .get(at + 1)
                .and_then(|text| text.parse::<u64>().ok())
                .expect("a number after the option"),
        )
    };
    let traced = arguments.iter().any(|argument| argument == "--trace");
    // What a run panics with is reported with its seed.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    if let Some(seed) = number("--seed") {
        return one(seed, traced);
    }
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let plan = Plan {
        from: number("--from").unwrap_or(1),
        seeds: number("--seeds").unwrap_or(1_000),
        jobs: number("--jobs").unwrap_or(cores).max(1),
        all: arguments.iter().any(|argument| argument == "--all"),
    };
    many(&plan)
}

/// Which seeds are run.
struct Plan {
    from: u64,
    seeds: u64,
    /// How many at once.
    jobs: u64,
    /// A seed that fails does not end it.
    all: bool,
}

fn one(seed: u64, traced: bool) -> ExitCode {
    let (ended, trace) = run(seed, true);
    let lines = if traced { trace.len() } else { LINES };
    for line in trace.iter().skip(trace.len().saturating_sub(lines)) {
        println!("{line}");
    }
    match ended {
        Ok(Done { tally, digest }) => {
            println!("seed {seed}: all holds; {tally:?}; {digest}");
            ExitCode::SUCCESS
        }
        Err(Wrong { invariant, what }) => {
            println!("seed {seed}: ({invariant}) {what}");
            ExitCode::FAILURE
        }
    }
}

fn many(plan: &Plan) -> ExitCode {
    let (next, started) = (AtomicU64::new(plan.from), Instant::now());
    let total = Mutex::new((0_u64, Tally::default()));
    let failed = Mutex::new(BTreeSet::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let stop = !plan.all && !failed.lock().unwrap().is_empty();
            if seed >= plan.from + plan.seeds || stop {
                return;
            }
            match checked(seed) {
                Ok(tally) => {
                    let (done, sum) = &mut *total.lock().unwrap();
                    *done += 1;
                    sum.add(&tally);
                    if *done % 500 == 0 {
                        println!("{done:7} seeds  {:5} s", started.elapsed().as_secs());
                    }
                }
                Err(Wrong { invariant, what }) => {
                    println!("seed {seed}: ({invariant}) {what}");
                    failed.lock().unwrap().insert(seed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..plan.jobs {
            scope.spawn(work);
        }
    });
    let (done, tally) = *total.lock().unwrap();
    let rate = done as f64 / started.elapsed().as_secs_f64();
    println!("{done} seeds hold, {rate:.0} a second with {} at once; {tally:?}", plan.jobs);
    let failed = failed.lock().unwrap();
    let Some(first) = failed.first() else { return ExitCode::SUCCESS };
    println!("{} seeds fail; again: ./dev simulate --seed {first} --trace", failed.len());
    if plan.all { ExitCode::FAILURE } else { one(*first, false) }
}

/// Runs a seed, some of them twice.
fn checked(seed: u64) -> Result<Tally, Wrong> {
    let (ended, _) = run(seed, false);
    if seed.is_multiple_of(TWICE) && run(seed, false).0 != ended {
        return Err(Wrong { invariant: "seed", what: "two runs of it end differently".to_owned() });
    }
    ended.map(|done| done.tally)
}

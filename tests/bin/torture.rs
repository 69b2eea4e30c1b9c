//! Power cuts and kills by the thousand: `./dev torture [--cuts 1000] [--kills 10000] [--seed 1]`.
//!
//! The cuts are those of `sync/tests/power.rs`, on a disk in memory; the kills are SIGKILLs of a process that
//! writes real files. Ends with exit code 1 if anything confirmed is lost or doubled.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test program: what is not as it must be ends it"
)]

#[path = "../../sync/tests/queue/power.rs"]
mod power_rig;
#[path = "../../sync/tests/queue/tenant.rs"]
mod tenant;

use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Hash, StationId};
use lotgate_sync::queue::{CapacityLimits, Queue, QueueOptions};
use lotgate_sync::secure::{Places, Secure, SystemRandom};
use power_rig::{Chance, Plan, Tally};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenant::{NOON, Tenant, TestClock, program, scan};

/// Kills that one station stands.
const BATCH: u64 = 50;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, directory] = arguments.as_slice()
        && child == "--child"
    {
        append_until_killed(Path::new(directory)).await;
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
    };
    let seed = number("--seed", 1);
    let plan = Plan { seed, cuts: number("--cuts", 1_000), per_station: 6, turned_down: None };
    let (mut tally, started) = (Tally::default(), Instant::now());
    let mut wrong = false;
    let progress = |so_far: &Tally| {
        if so_far.cuts.is_multiple_of(60) {
            println!(
                "cuts {:5}  confirmed {:6}  {:4} s",
                so_far.cuts,
                so_far.confirmed,
                started.elapsed().as_secs()
            );
        }
    };
    if plan.cuts > 0 {
        match power_rig::run(plan, progress).await {
            Ok(done) => tally = done,
            Err(failure) => {
                println!("seed {}: {:?}", failure.seed, failure.wrong);
                (tally, wrong) = (failure.tally, true);
            }
        }
    }
    let (kills, mut chance) = (number("--kills", 10_000), Chance::new(seed));
    let mut killed = 0;
    while killed < kills {
        let batch = BATCH.min(kills - killed);
        kill_batch(batch, &mut chance, &mut tally).await;
        killed += batch;
        let seconds = started.elapsed().as_secs();
        println!("kills {killed:5}  confirmed {:6}  {seconds:4} s", tally.confirmed);
    }
    let Tally { cuts, confirmed, lost, doubled, .. } = tally;
    println!("cuts {cuts}, kills {killed}, confirmed {confirmed}, lost {lost}, doubled {doubled}");
    if wrong || lost + doubled > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn places(directory: &Path) -> Places {
    Places::new(directory.join("data"), None, None)
}

fn options(secure: Secure) -> QueueOptions {
    let limits = CapacityLimits { disk_low: 0, disk_very_low: 0, ..CapacityLimits::default() };
    QueueOptions {
        secure,
        clock: TestClock::at(NOON),
        random: Arc::new(SystemRandom),
        program: program(),
        limits,
    }
}

/// What is killed: appends in small bursts and says what was confirmed.
async fn append_until_killed(directory: &Path) {
    let queue = Queue::open(options(Secure::open(places(directory)).unwrap())).unwrap();
    let mut out = std::io::stdout();
    for burst in 0.. {
        let waiting: Vec<_> = (0..=burst % 7).map(|n| queue.submit(scan(burst * 10 + n))).collect();
        for one in waiting {
            let appended = one.await.unwrap();
            writeln!(out, "{} {}", appended.seq, appended.hash).unwrap();
            out.flush().unwrap();
        }
    }
}

/// One station, killed `kills` times at random moments.
async fn kill_batch(kills: u64, chance: &mut Chance, tally: &mut Tally) {
    let directory = tempfile::tempdir().unwrap();
    let secure = Secure::prepare(places(directory.path()), &SystemRandom).unwrap();
    let identity = Tenant::new(10).identity(StationId::from_parts(4, &[5; 10]), &secure);
    let queue = Queue::create(options(secure), &identity).unwrap();
    let epoch = queue.state().borrow().head.epoch;
    queue.close().await.unwrap();
    let mut confirmed: Vec<(u64, Hash)> = Vec::new();
    for kill in 0..kills {
        let before = confirmed.len();
        // Some die while they open the file, the others after a random number of confirmations.
        let wanted = if kill % 8 == 0 { 0 } else { 1 + usize::try_from(chance.below(20)).unwrap() };
        let wait = Duration::from_micros(chance.below(if wanted == 0 { 20_000 } else { 2_000 }));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([Path::new("--child"), directory.path()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut read = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| {
            let line = lines.next()?.ok()?;
            let (seq, hash) = line.split_once(' ')?;
            confirmed.push((seq.parse().ok()?, hash.parse().ok()?));
            Some(confirmed.len() - before)
        };
        while wanted > 0 && read(&mut lines).is_some_and(|seen| seen < wanted) {}
        let pause = Instant::now();
        while pause.elapsed() < wait {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while read(&mut lines).is_some() {}
        let seen = confirmed.len() - before;
        assert!(seen >= wanted, "kill {kill}: the child ended by itself after {seen} of {wanted}");
        tally.kills += 1;
    }
    let queue = Queue::open(options(Secure::open(places(directory.path())).unwrap())).unwrap();
    assert_eq!(queue.state().borrow().head.epoch, epoch, "the queue took itself for lost or put back");
    tally.confirmed += u64::try_from(confirmed.len()).unwrap();
    tally.doubled +=
        u64::try_from(confirmed.windows(2).filter(|pair| pair[0].0 >= pair[1].0).count()).unwrap();
    for (seq, hash) in confirmed {
        let held = queue.holds(Head { epoch, seq, hash }).await.unwrap();
        tally.lost += u64::from(!held);
    }
    queue.close().await.unwrap();
    let view =
        lotgate_sync::queue::QueueView::open(&Secure::view(places(directory.path())).unwrap()).unwrap();
    let verification = view.verify(|_| {}).unwrap();
    assert!(verification.ok(), "{verification:?}");
}

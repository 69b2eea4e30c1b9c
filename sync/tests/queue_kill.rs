//! REC-1: a station that is killed at any moment has lost nothing that it had confirmed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(unix)]

#[path = "queue/rig.rs"]
mod queue_rig;

use lotgate_domain::chain::Head;
use lotgate_domain::ids::Hash;
use lotgate_sync::secure::{Random as _, SystemRandom};
use queue_rig::{Rig, scan};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

const DIRECTORY: &str = "LOTGATE_TEST_DIRECTORY";
const KILLS: u32 = 32;

/// Not a test by itself: what is killed. Appends in small bursts and prints each confirmation.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn child_that_appends_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let queue = Rig::at(directory.into()).open();
    let mut out = std::io::stdout();
    for burst in 0.. {
        let waiting: Vec<_> = (0..=burst % 7).map(|n| queue.submit(scan(burst * 10 + n))).collect();
        for one in waiting {
            let appended = one.await.unwrap();
            writeln!(out, "confirmed {} {}", appended.seq, appended.hash).unwrap();
            out.flush().unwrap();
        }
    }
}

fn spawn(directory: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_appends_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn random_below(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    SystemRandom.fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % limit
}

#[tokio::test]
async fn every_confirmed_operation_is_there_after_a_kill() {
    let rig = Rig::new();
    let queue = rig.create();
    let epoch = queue.state().borrow().head.epoch;
    queue.close().await.unwrap();
    let mut confirmed: Vec<(u64, Hash)> = Vec::new();
    for kill in 0..KILLS {
        // Some die while they open the file, the others after a random number of confirmations.
        let wanted = if kill % 8 == 0 { 0 } else { random_below(60) };
        let mut child = spawn(rig.directory());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut read = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| {
            let line = lines.next()?.ok()?;
            // libtest writes its own words before ours on the first line.
            if let Some((_, words)) = line.split_once("confirmed ") {
                let (seq, hash) = words.split_once(' ')?;
                confirmed.push((seq.parse().ok()?, hash.parse().ok()?));
                seen += 1;
            }
            Some(seen)
        };
        while wanted > 0 && read(&mut lines).is_some_and(|seen| seen < wanted) {}
        let pause = std::time::Instant::now();
        let micros = random_below(if wanted == 0 { 30_000 } else { 3_000 });
        while pause.elapsed().as_micros() < u128::from(micros) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while read(&mut lines).is_some() {}
        assert!(seen >= wanted, "kill {kill}: the child ended by itself after {seen} of {wanted}");

        let verification = rig.view().verify(|_| {}).unwrap();
        assert!(verification.ok(), "kill {kill}: {verification:?}");
        let last = confirmed.last().map_or(0, |(seq, _)| *seq);
        assert!(
            verification.entries >= last,
            "kill {kill}: {} entries, confirmed {last}",
            verification.entries
        );
    }
    let queue = rig.open();
    assert!(confirmed.len() > 100, "only {} operations were confirmed", confirmed.len());
    assert!(confirmed.windows(2).all(|pair| pair[0].0 < pair[1].0), "no number was confirmed twice");
    for (seq, hash) in confirmed {
        let held = queue.holds(Head { epoch, seq, hash }).await.unwrap();
        assert!(held, "operation {seq} was confirmed and is not there");
    }
}

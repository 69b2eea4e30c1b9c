//! Nothing confirmed is lost: SIGKILL while scanning, with the cable out (REC-1, REC-6).
#![allow(clippy::print_stdout, reason = "the seed of a failing run must be seen")]

use anyhow::Result;
use lotgate_tests::plant::{Plant, Station, lot_scan};
use lotgate_tests::programs::{run, wait_for};
use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, Instant};

const SCANS: usize = 500;

/// A stream of numbers from one seed; printed, so that a failing run can be repeated.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("LOTGATE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            std::time::UNIX_EPOCH.elapsed().map_or(1, |since| u64::from(since.subsec_nanos()))
        });
        println!("LOTGATE_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Scans a burst, and scans again what was not confirmed, as an operator does who sees no green. With
/// `kill`, the agent is killed at a random moment of the burst and started again.
fn scan_burst(station: &mut Station, burst: &[Vec<u8>], kill: bool, dice: &mut Dice) -> Result<()> {
    for scan in burst {
        station.scanner.scan(scan)?;
    }
    if kill {
        std::thread::park_timeout(Duration::from_micros(dice.below(6_000)));
        station.kill()?;
        station.start()?;
    }
    let missing = |station: &Station| -> Vec<Vec<u8>> {
        let is_there = |scan: &Vec<u8>| {
            let raw = json!(hex::encode(scan));
            station.confirmed.iter().any(|line| line["raw_hex"] == raw)
        };
        burst.iter().filter(|scan| !is_there(scan)).cloned().collect()
    };
    // What a killed agent had read is gone; what still lay in the port comes by itself, and then some
    // scans come twice: two operations, each its own.
    for scan in if kill { missing(station) } else { Vec::new() } {
        station.scanner.scan(&scan)?;
    }
    wait_for("the burst is confirmed", || {
        station.collect()?;
        Ok(missing(station).is_empty().then_some(()))
    })
}

/// Cable out, 500 scans, killed at random moments, cable in: every confirmed scan is in Postgres exactly
/// once, in order, with its chain intact, within 5 s and without any input.
#[test]
fn confirmed_scans_survive_kills_and_arrive_once_in_order() -> Result<()> {
    let mut dice = Dice::new();
    let mut plant = Plant::new("kill")?;
    let mut station = plant.station("dispense-1")?;
    station.start()?;
    wait_for("reference data", || Ok((station.status()?["reference"]["cursor"] == json!(1)).then_some(())))?;
    plant.network.cut();

    // Every third is refused; no two are equal, so each is an operation of its own.
    let lot = |n: usize| if n.is_multiple_of(3) { format!("NO-{n}") } else { format!("L-0001\x1d21S{n}") };
    let scans: Vec<Vec<u8>> = (0..SCANS).map(|n| lot_scan(&lot(n))).collect();
    for (n, burst) in scans.chunks(20).enumerate() {
        scan_burst(&mut station, burst, n % 2 == 1, &mut dice)?;
    }
    let confirmed = station.confirmed_hashes();
    assert!(confirmed.len() >= SCANS, "{} of {SCANS} scans were confirmed", confirmed.len());

    let id = station.id()?;
    plant.network.restore()?;
    let back = Instant::now();
    let held = wait_for("everything is in Postgres", || {
        let held = plant.entry_hashes(&id)?;
        Ok(confirmed.last().is_some_and(|last| held.contains(last)).then_some(held))
    })?;
    let drained = back.elapsed();
    assert!(drained < Duration::from_secs(5), "drained {drained:?} after the network's return");

    let once: HashSet<&String> = held.iter().collect();
    assert_eq!(once.len(), held.len(), "no operation is there twice");
    let wanted: HashSet<&String> = confirmed.iter().collect();
    let in_order: Vec<&String> = held.iter().filter(|hash| wanted.contains(hash)).collect();
    assert_eq!(in_order, confirmed.iter().collect::<Vec<_>>(), "every confirmed one, in order");
    let broken = plant.rows(
        "SELECT 1 FROM (SELECT seq, lag(seq) OVER (ORDER BY seq) AS before FROM entry \
         WHERE station_id::text = $1) AS chain WHERE seq <> coalesce(before, 0) + 1",
        &[&id],
    )?;
    assert!(broken.is_empty(), "no gap in the chain that the cloud holds");
    station.wait_settled()?;
    let verified = run(station.command()?.args(["queue", "verify"]))?;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    Ok(())
}

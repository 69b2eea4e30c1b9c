//! The window: from the scanner's bytes to the painted answer, start, memory. No row of PROTOCOL §8: the issue that
//! brings the window asks for it. Times are measured in the program itself, which logs `screen.painted`.

use crate::latency::Floor;
use crate::percentile;
use anyhow::{Context as _, Result, ensure};
use lotgate_tests::display::{Display, Size};
use lotgate_tests::plant::{Plant, lot_scan};
use lotgate_tests::programs::{PATIENCE, Process, program, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

const SCANS: usize = 300;
/// The first scans find code and fonts cold; a person does so once a day.
const COLD: usize = 10;
const STARTS: usize = 5;

pub(crate) fn rows(plant: &Plant) -> Result<()> {
    let display = Display::start(Size::ALL[0])?;
    let station = plant.station("window")?;
    let open = || -> Result<(Process, Duration)> {
        let start = Instant::now();
        let mut command = Command::new(program("lotgate-kiosk")?);
        command
            .arg("--config")
            .arg(station.dir.join("lotgate.toml"))
            .env("DISPLAY", &display.name)
            .env("GDK_BACKEND", "x11")
            .env("LOTGATE_LOG", "info,lotgate_station=debug");
        let window = Process::start(&mut command)?;
        said(&window, "screen.first_painted")?;
        Ok((window, start.elapsed()))
    };
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let (window, took) = open()?;
        starts.push(took);
        window.stop()?;
    }
    let (window, _) = open()?;
    wait_for("the scanner is open", || Ok(station.scanner.is_open().then_some(())))?;
    let mut floor = Floor::in_dir(&station.dir)?;
    let (mut painted, mut synced) = (Vec::new(), Vec::new());
    for n in 0..SCANS + COLD {
        synced.push(floor.once(n)?);
        station.scanner.scan(&lot_scan(&format!("L-0001\x1d21W{n}")))?;
        let line = said(&window, "screen.painted")?;
        let micros = line.pointer("/fields/micros").and_then(Value::as_u64).context("no micros")?;
        if n >= COLD {
            painted.push(Duration::from_micros(micros));
        }
    }
    let memory = memory(window.pid())?;
    window.stop()?;
    let disk = percentile(&mut synced, 50);
    let (p50, p95) = (percentile(&mut painted, 50), percentile(&mut painted, 95));
    println!(
        "   window: scan to painted answer p50 {p50:.2?}, p95 {p95:.2?} (n = {SCANS}{})",
        if cfg!(debug_assertions) { ", unoptimised" } else { "" }
    );
    println!(
        "   beside it: one write of 4 KiB + fdatasync p50 {disk:.2?}, so p95 is {:.0} × that",
        p95.as_secs_f64() / disk.as_secs_f64()
    );
    println!("   start of the program to its first painted screen p50 {:.2?}", percentile(&mut starts, 50));
    println!("   memory of its own, all processes: {} MiB", memory >> 20);
    Ok(())
}

/// The next line of the program's log with that message.
fn said(window: &Process, message: &str) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        ensure!(Instant::now() < deadline, "the window never said {message}");
        let Some(line) = window.complaint(Duration::from_millis(200)) else { continue };
        if let Ok(line) = serde_json::from_str::<Value>(&line)
            && line.pointer("/fields/message").and_then(Value::as_str) == Some(message)
        {
            return Ok(line);
        }
    }
}

/// Bytes of the program and all that it started, each page that is shared counted by its share.
fn memory(pid: u32) -> Result<u64> {
    let mut family = BTreeSet::from([pid]);
    loop {
        let before = family.len();
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(child) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
            let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
            // Behind the name, which is in brackets: state, parent.
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            if parent.is_some_and(|parent: u32| family.contains(&parent)) {
                family.insert(child);
            }
        }
        if family.len() == before {
            break;
        }
    }
    let mut bytes = 0;
    for pid in family {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
        bytes += pss.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10;
    }
    Ok(bytes)
}

//! Rows 1 to 3: from the scanner's bytes to the answer, our own CPU, groups.

use crate::{cpu_time, draft, met, open_queue, percentile, snapshot};
use anyhow::{Context as _, Result};
use lotgate_devices::binding::{ScannerBinding, Timing};
use lotgate_devices::event::Delivery;
use lotgate_devices::serial::SerialScanner;
use lotgate_domain::barcode::SitePatterns;
use lotgate_domain::ids::{BootId, Hash};
use lotgate_domain::text::Language;
use lotgate_station::actor::{LabelSource, Printing, Report, Station};
use lotgate_station::print::Jobs;
use lotgate_sync::clock::{Clock as _, SystemClock};
use lotgate_sync::queue::PageMark;
use lotgate_sync::runner::Reference;
use lotgate_sync::secure::SystemRandom;
use lotgate_tests::plant::{Plant, lot_scan};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

const SCANS: usize = 2_000;
const ALONE: usize = 2_000;
const GROUPS: usize = 50;
const GROUP: usize = 100;

pub(crate) async fn rows(plant: &Plant) -> Result<()> {
    scan_to_commit(plant).await?;
    alone_and_in_groups(plant).await
}

/// The floor: 4 KiB written and synced, again and again, into a file that is as long already.
pub(crate) struct Floor(File);

impl Floor {
    pub(crate) fn in_dir(dir: &Path) -> Result<Self> {
        let path = dir.join("floor");
        std::fs::write(&path, vec![0u8; 4 << 20])?;
        let file = File::options().write(true).open(&path)?;
        file.sync_all()?;
        Ok(Self(file))
    }

    pub(crate) fn once(&mut self, n: usize) -> Result<Duration> {
        self.0.seek(SeekFrom::Start((n as u64 % 1_024) * 4_096))?;
        let start = Instant::now();
        self.0.write_all(&[n as u8; 4_096])?;
        self.0.sync_data()?;
        Ok(start.elapsed())
    }
}

/// Row 1: bytes on the pseudo-terminal → committed and reported, one at a time, encrypted; against one
/// 4 KiB write + fdatasync on the same disk, taken in turns.
async fn scan_to_commit(plant: &Plant) -> Result<()> {
    let (queue, machine) = open_queue(plant, "latency")?;
    let clock = SystemClock::new(BootId::from_parts(0, &[0; 10])).read();
    let mark = PageMark { cursor: 1, hash: Hash::ZERO, time: clock.wall, confirmed: clock };
    let (_keep, reference) = watch::channel(Some(Reference { snapshot: Arc::new(snapshot()?), mark }));
    let (events, devices) = mpsc::channel(1_024);
    let (reports, mut told) = mpsc::channel(1_024);
    let (_stop, stopped) = watch::channel(false);
    let sink = move |event| match events.try_send(event) {
        Ok(()) => Delivery::Taken,
        Err(mpsc::error::TrySendError::Full(event)) => Delivery::Full(Box::new(event)),
        Err(mpsc::error::TrySendError::Closed(_)) => Delivery::Closed,
    };
    let binding = ScannerBinding::at_path(machine.scanner.path());
    let _scanner = SerialScanner::start(binding, Timing::default(), sink)?;
    let site_codes = SitePatterns::default();
    let random = Arc::new(SystemRandom);
    let source = LabelSource { station: "bench".to_owned(), training: true, language: Language::En };
    let printing = Printing::new(Jobs::fold(None, &[]), None, source);
    let requests = mpsc::channel(1).1;
    let station = Station {
        queue,
        site_codes,
        reference,
        random,
        devices,
        printing,
        requests,
        reports,
        shutdown: stopped,
    };
    tokio::spawn(station.run());

    let mut disk = Floor::in_dir(&machine.dir)?;
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for n in 0..SCANS + 50 {
        let took = disk.once(n)?;
        let scan = lot_scan(&format!("L-0001\x1d21S{n}"));
        let start = Instant::now();
        machine.scanner.scan(&scan)?;
        loop {
            match told.recv().await.context("the actor ended")? {
                Report::Committed { .. } => break,
                Report::Device(..) => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        // The first ones pay for opening the port and filling caches.
        if n >= 50 {
            floor.push(took);
            ours.push(start.elapsed());
        }
    }
    println!("1  scan in → committed and answered, {SCANS} scans, encrypted, synchronous=FULL");
    for (name, part, gate, goal) in
        [("p50", 50, (1.5, 500), (1.05, 300)), ("p99", 99, (2.0, 1_000), (1.25, 1_000))]
    {
        let (floor, ours) = (percentile(&mut floor, part), percentile(&mut ours, part));
        let limit = |(times, more): (f64, u64)| floor.mul_f64(times) + Duration::from_micros(more);
        let (gate, goal) = (limit(gate), limit(goal));
        let ratio = ours.as_secs_f64() / floor.as_secs_f64();
        println!(
            "   {name} {ours:.2?} against {floor:.2?} = {ratio:.2} ×   gate {gate:.2?} {}   goal {goal:.2?} {}",
            met(ours <= gate),
            met(ours <= goal)
        );
    }
    Ok(())
}

/// Row 2: our CPU of decision, signature and commit, one at a time; row 3: 100 operations that wait together.
async fn alone_and_in_groups(plant: &Plant) -> Result<()> {
    let (queue, machine) = open_queue(plant, "groups")?;
    let snapshot = snapshot()?;
    let now = queue.effective_now();
    let mut disk = Floor::in_dir(&machine.dir)?;
    for n in 0..50 {
        queue.append(draft(&snapshot, n, now)).await?;
    }
    let before = cpu_time();
    for n in 0..ALONE {
        disk.once(n)?;
    }
    let floor_cpu = (cpu_time() - before) / ALONE as u32;
    let before = cpu_time();
    let mut alone = Vec::with_capacity(ALONE);
    for n in 0..ALONE {
        let start = Instant::now();
        queue.append(draft(&snapshot, n, now)).await?;
        alone.push(start.elapsed());
    }
    let cpu = (cpu_time() - before) / ALONE as u32;
    let own = cpu.saturating_sub(floor_cpu);
    println!(
        "2  our own CPU an operation, one at a time: {own:.1?}, and {floor_cpu:.1?} of the write and sync themselves"
    );
    println!(
        "   gate 1 ms {}   goal 150 µs {}",
        met(own <= Duration::from_millis(1)),
        met(own <= Duration::from_micros(150))
    );
    let mut groups = Vec::with_capacity(GROUPS);
    for round in 0..GROUPS {
        let start = Instant::now();
        let waiting: Vec<_> =
            (0..GROUP).map(|n| queue.submit(draft(&snapshot, round * GROUP + n, now))).collect();
        for submitted in waiting {
            submitted.await?;
        }
        groups.push(start.elapsed());
    }
    let (group, one) = (percentile(&mut groups, 50), percentile(&mut alone, 50));
    let against = one + own * GROUP as u32;
    let ratio = group.as_secs_f64() / against.as_secs_f64();
    println!(
        "3  {GROUP} operations waiting: {group:.2?} against one commit {one:.2?} + {GROUP} × row 2 = {against:.2?}: {ratio:.2} ×"
    );
    println!("   gate 1.5 × {}   goal 1.15 × {}", met(ratio <= 1.5), met(ratio <= 1.15));
    Ok(())
}

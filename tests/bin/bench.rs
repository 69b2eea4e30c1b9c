//! `./dev bench`: PROTOCOL §8, each row a ratio whose two sides are measured in one run.
#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]
#![allow(clippy::float_arithmetic, reason = "ratios of measured times")]

use anyhow::{Context as _, Result, ensure};
use lotgate_devices::binding::{ScannerBinding, Timing};
use lotgate_devices::event::{Delivery, DeviceInfo, Role, Transport};
use lotgate_devices::serial::SerialScanner;
use lotgate_domain::barcode::SitePatterns;
use lotgate_domain::chain::Head;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{BootId, Hash};
use lotgate_domain::operation::Program;
use lotgate_domain::reference::{ReferenceFile, Snapshot, render_page};
use lotgate_domain::signature::Context;
use lotgate_station::actor::{Report, Station};
use lotgate_station::scan;
use lotgate_sync::clock::{Clock as _, SystemClock};
use lotgate_sync::engine::Settings;
use lotgate_sync::http::{HttpCloud, HttpOptions, Proxy, RequestKeys};
use lotgate_sync::queue::{Draft, PageMark, Queue, QueueOptions};
use lotgate_sync::runner::{Reference, SyncHandle};
use lotgate_sync::secure::{Places, Secure, SystemRandom};
use lotgate_tests::plant::{Plant, lot_scan, reference_data};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

const SCANS: usize = 2_000;
const OPERATIONS: usize = 10_000;

fn main() -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lotgate/bench");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    let plant = Plant::at("bench", &dir, &reference_data())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(scan_to_commit(&plant))?;
    let (station, operations) = runtime.block_on(reconcile(&plant))?;
    let held = plant.entry_hashes(&station)?.len();
    ensure!(held == operations, "{held} rows for {operations} operations");
    Ok(())
}

fn open_queue(plant: &Plant, name: &str) -> Result<(Queue, lotgate_tests::plant::Station)> {
    let station = plant.station(name)?;
    let program = Program { version: "bench".into(), build: "bench".into(), config_sha256: Hash::ZERO };
    let queue = Queue::open(QueueOptions {
        secure: Secure::open(Places::new(station.dir.join("data"), None, None))?,
        clock: Arc::new(SystemClock::new(BootId::from_parts(0, &[0; 10]))),
        random: Arc::new(SystemRandom),
        program,
    })?;
    Ok((queue, station))
}

fn snapshot() -> Result<Snapshot> {
    let file: ReferenceFile = serde_json::from_value(reference_data())?;
    Ok(Snapshot::read(&render_page(&file, "Europe/Berlin")?, 1, Hash::ZERO)?)
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
    tokio::spawn(Station { queue, site_codes, reference, random, devices, reports, shutdown: stopped }.run());

    let floor_file = machine.dir.join("floor");
    std::fs::write(&floor_file, vec![0u8; 4 << 20])?;
    let mut floor_file = File::options().write(true).open(&floor_file)?;
    floor_file.sync_all()?;
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for n in 0..SCANS + 50 {
        floor_file.seek(SeekFrom::Start((n as u64 % 1_024) * 4_096))?;
        let start = Instant::now();
        floor_file.write_all(&[n as u8; 4_096])?;
        floor_file.sync_data()?;
        let took = start.elapsed();
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
    let (floor50, floor99) = (percentile(&mut floor, 50), percentile(&mut floor, 99));
    let (ours50, ours99) = (percentile(&mut ours, 50), percentile(&mut ours, 99));
    println!("1  scan in → committed and answered, {SCANS} scans, encrypted, synchronous=FULL");
    for (name, ours, floor, gate, goal) in [
        (
            "p50",
            ours50,
            floor50,
            floor50.mul_f64(1.5) + Duration::from_micros(500),
            floor50.mul_f64(1.05) + Duration::from_micros(300),
        ),
        (
            "p99",
            ours99,
            floor99,
            floor99 * 2 + Duration::from_millis(1),
            floor99.mul_f64(1.25) + Duration::from_millis(1),
        ),
    ] {
        let ratio = ours.as_secs_f64() / floor.as_secs_f64();
        println!(
            "   {name} {ours:.2?} against {floor:.2?} = {ratio:.2} ×   gate {gate:.2?} {}   goal {goal:.2?} {}",
            met(ours <= gate),
            met(ours <= goal)
        );
    }
    Ok(())
}

/// 10,000 operations made offline, then reconciled with the cloud on real Postgres to a verified receipt;
/// against bare strict verification of the same entries on one core.
async fn reconcile(plant: &Plant) -> Result<(String, usize)> {
    let (queue, machine) = open_queue(plant, "reconcile")?;
    let device =
        DeviceInfo { role: Role::Scanner, transport: Transport::Serial, id: "bench".into(), simulated: true };
    let snapshot = snapshot()?;
    let now = queue.effective_now();
    let before = cpu_time()?;
    let start = Instant::now();
    let mut waiting = Vec::with_capacity(OPERATIONS);
    for n in 0..OPERATIONS {
        let raw = lot_scan(&format!("L-0001\x1d21S{n}"));
        let outcome = scan::decide(&raw, &device, &SitePatterns::default(), Some(&snapshot), now);
        waiting.push(queue.submit(Draft::by_station(outcome.body, None)));
    }
    for submitted in waiting {
        submitted.await?;
    }
    let (appended, cpu) = (start.elapsed(), cpu_time()? - before);
    let per_operation = cpu / OPERATIONS as u32;
    println!(
        "   appended {OPERATIONS} in groups: {appended:.2?}; our own CPU {per_operation:.1?} an operation (decision, signature, SQLCipher)"
    );

    let identity = queue.identity().clone();
    let mut entries = Vec::new();
    let mut head = Head::genesis(identity.certificate.hash);
    while let Some(batch) = queue.batch(head, 1_000, 1 << 20).await? {
        head = Head { epoch: Some(batch.epoch), seq: batch.last.seq, hash: batch.last.hash };
        entries.extend(batch.entries);
    }
    let start = Instant::now();
    let (mut rest, mut verified) = (entries.as_slice(), 0usize);
    while !rest.is_empty() {
        let (frame, after) = Frame::split_first(rest)?;
        frame.verify(&identity.certificate.value.public_key, Context::Operation)?;
        (rest, verified) = (after, verified + 1);
    }
    let bare = start.elapsed();

    let keys = RequestKeys {
        tenant: identity.tenant,
        station: identity.station,
        keys: queue.station_keys().signing.clone(),
    };
    let clock = Arc::new(SystemClock::new(BootId::from_parts(0, &[0; 10])));
    let options = HttpOptions { server: plant.server(), ca_file: None, proxy: Proxy::Off, clock };
    let cloud = HttpCloud::for_station(options, keys)?;
    let (_sync, runner) = SyncHandle::prepare(queue.clone(), cloud, Settings::default(), 1).await?;
    let mut state = queue.state();
    let start = Instant::now();
    let running = tokio::spawn(runner.run(std::future::pending()));
    tokio::time::timeout(Duration::from_secs(120), state.wait_for(|state| state.queued == 0)).await??;
    let took = start.elapsed();
    running.abort();
    println!(
        "4  reconcile {verified} offline operations to a verified receipt, real Postgres, one batch in flight"
    );
    println!(
        "   {took:.2?} = {:.0} operations/s; bare strict verification of the same on one core {bare:.2?}: {:.2} ×",
        verified as f64 / took.as_secs_f64(),
        took.as_secs_f64() / bare.as_secs_f64(),
    );
    drop(machine);
    Ok((identity.station.to_string(), verified))
}

fn percentile(times: &mut [Duration], p: usize) -> Duration {
    times.sort();
    times.get((times.len() * p / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "MISSED" }
}

/// User and system time of this process.
fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().context("stat")?.split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

//! `./dev bench [ROW…] [--large N]`: PROTOCOL §8, each row a ratio whose two sides are measured in one run.
//! Rows: latency (1–3), reconcile (4, 9), cloud (5), million (6–8); without a name all of them. And `window`.
#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]
#![allow(clippy::float_arithmetic, reason = "ratios of measured times")]

mod cloud;
mod latency;
mod million;
mod reconcile;
mod window;

use anyhow::{Context as _, Result};
use lotgate_devices::event::{DeviceInfo, Role, Transport};
use lotgate_domain::barcode::SitePatterns;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{BootId, Hash, PublicKey};
use lotgate_domain::operation::Program;
use lotgate_domain::reference::{ReferenceFile, Snapshot, render_page};
use lotgate_domain::signature::Context;
use lotgate_domain::time::Timestamp;
use lotgate_station::scan;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::engine::Settings;
use lotgate_sync::http::{HttpCloud, HttpOptions, Proxy, RequestKeys};
use lotgate_sync::queue::{CapacityLimits, Draft, Queue, QueueOptions};
use lotgate_sync::runner::{Runner, SyncHandle};
use lotgate_sync::secure::{Places, Secure, SystemRandom};
use lotgate_tests::plant::{Plant, Station, lot_scan, reference_data};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many operations the rows about a full queue use unless told otherwise.
const LARGE: usize = 1_000_000;

fn main() -> Result<()> {
    let mut rows = Vec::new();
    let mut large = LARGE;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--large" => large = arguments.next().context("--large needs a number")?.parse()?,
            row => rows.push(row.to_owned()),
        }
    }
    let wanted = |row: &str| rows.is_empty() || rows.iter().any(|wanted| wanted == row);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lotgate/bench");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    let plant = Plant::at("bench", &dir, &reference_data())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if wanted("latency") {
        runtime.block_on(latency::rows(&plant))?;
    }
    if wanted("reconcile") {
        runtime.block_on(reconcile::rows(&plant))?;
    }
    if wanted("cloud") {
        runtime.block_on(cloud::row())?;
    }
    if wanted("million") {
        runtime.block_on(million::rows(&plant, large))?;
    }
    // Only by its name: it needs the window's program, built with the same profile.
    if rows.iter().any(|row| row == "window") {
        window::rows(&plant)?;
    }
    Ok(())
}

fn options(station: &Station) -> Result<QueueOptions> {
    Ok(QueueOptions {
        secure: Secure::open(Places::new(station.dir.join("data"), None, None))?,
        clock: Arc::new(SystemClock::new(BootId::from_parts(0, &[0; 10]))),
        random: Arc::new(SystemRandom),
        program: Program { version: "bench".into(), build: "bench".into(), config_sha256: Hash::ZERO },
        // New work ends at 95 %; the rows about a full queue want all of a million.
        limits: CapacityLimits { operations: 2_000_000, ..CapacityLimits::default() },
    })
}

fn open_queue(plant: &Plant, name: &str) -> Result<(Queue, Station)> {
    let station = plant.station(name)?;
    Ok((Queue::open(options(&station)?)?, station))
}

fn snapshot() -> Result<Snapshot> {
    let file: ReferenceFile = serde_json::from_value(reference_data())?;
    Ok(Snapshot::read(&render_page(&file, "Europe/Berlin")?, 1, Hash::ZERO)?)
}

/// What the station makes of one scan of a released lot, each scan another container.
fn draft(snapshot: &Snapshot, n: usize, now: Timestamp) -> Draft {
    let (role, transport) = (Role::Scanner, Transport::Serial);
    let device = DeviceInfo { role, transport, id: "bench".into(), simulated: true };
    let raw = lot_scan(&format!("L-0001\x1d21S{n}"));
    let outcome = scan::decide(&raw, &device, &SitePatterns::default(), Some(snapshot), now);
    Draft::by_station(outcome.body, None)
}

/// Appends `count` operations, as many sharing a commit as come together.
async fn fill(queue: &Queue, count: usize) -> Result<()> {
    const AT_ONCE: usize = 5_000;
    let snapshot = snapshot()?;
    let now = queue.effective_now();
    let mut done = 0;
    while done < count {
        let next = (done + AT_ONCE).min(count);
        let waiting: Vec<_> = (done..next).map(|n| queue.submit(draft(&snapshot, n, now))).collect();
        for submitted in waiting {
            submitted.await?;
        }
        done = next;
    }
    Ok(())
}

async fn runner(plant: &Plant, queue: &Queue) -> Result<(SyncHandle, Runner<HttpCloud>)> {
    let identity = queue.identity();
    let keys = RequestKeys {
        tenant: identity.tenant,
        station: identity.station,
        keys: queue.station_keys().signing.clone(),
    };
    let clock = Arc::new(SystemClock::new(BootId::from_parts(0, &[0; 10])));
    let options = HttpOptions { server: plant.server(), ca_file: None, proxy: Proxy::Off, clock };
    let cloud = HttpCloud::for_station(options, keys)?;
    Ok(SyncHandle::prepare(queue.clone(), cloud, Settings::default(), 1).await?)
}

/// Verifies entries back to back with the reference library's strict function, on `threads` threads: what every
/// ratio to "bare strict verification" is against.
fn bare_verification(entries: &[u8], key: &PublicKey, threads: usize) -> Result<Duration> {
    let mut frames = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let (frame, after) = Frame::split_first(rest)?;
        frames.push(frame);
        rest = after;
    }
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key.0)?;
    let start = Instant::now();
    let verify = |share: &[Frame<'_>]| {
        share.iter().all(|frame| {
            let signature = ed25519_dalek::Signature::from_bytes(&frame.signature().0);
            key.verify_strict(&Context::Operation.message(frame.json()), &signature).is_ok()
        })
    };
    let good = std::thread::scope(|scope| {
        let share = frames.len().div_ceil(threads).max(1);
        let shares: Vec<_> = frames.chunks(share).map(|share| scope.spawn(move || verify(share))).collect();
        shares.into_iter().all(|share| share.join().is_ok_and(|good| good))
    });
    anyhow::ensure!(good, "an entry does not verify");
    Ok(start.elapsed())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn percentile(times: &mut [Duration], p: usize) -> Duration {
    times.sort();
    times.get((times.len() * p / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "MISSED" }
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

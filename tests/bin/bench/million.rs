//! Rows 6 to 8: a queue of a million operations: start, drain, outside verification.

use crate::{bare_verification, cores, fill, met, open_queue, options, runner};
use anyhow::{Context as _, Result, ensure};
use lotgate_domain::export;
use lotgate_sync::queue::{Queue, QueueView};
use lotgate_sync::secure::{Places, Secure};
use lotgate_tests::plant::{Plant, Station};
use lotgate_tests::programs::{Process, program, run_json};
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

const STARTS: usize = 15;
const PATIENCE: Duration = Duration::from_secs(900);

pub(crate) async fn rows(plant: &Plant, count: usize) -> Result<()> {
    let (queue, empty) = open_queue(plant, "empty")?;
    queue.close().await?;
    let (queue, full) = open_queue(plant, "full")?;
    let start = Instant::now();
    fill(&queue, count).await?;
    let took = start.elapsed();
    println!(
        "   {count} operations appended in {took:.1?}: {:.0} a second",
        count as f64 / took.as_secs_f64()
    );
    queue.close().await?;
    start_row(&empty, &full).await?;
    let queue = Queue::open(options(&full)?)?;
    drain_row(plant, &queue, count).await?;
    let fingerprint = queue.identity().root_fingerprint;
    let keys = queue.station_keys();
    let (key, now) = (queue.identity().certificate.value.public_key, queue.effective_now());
    queue.close().await?;
    let dir = full.dir.join("export");
    let start = Instant::now();
    let secure = Secure::view(Places::new(full.dir.join("data"), None, None))?;
    let report = QueueView::open(&secure)?.export(&dir, &keys, now)?;
    println!("   exported {} entries in {:.1?}", report.entries, start.elapsed());
    verify_row(&dir, &fingerprint.to_string(), &key, count)
}

/// Row 7: from the start of the program until it has its scanner's port open and takes scans, with a full queue
/// against an empty one, in turns. Beside it, how much of that is opening the queue, all checks of the start included.
async fn start_row(empty: &Station, full: &Station) -> Result<()> {
    let mut programs = [Vec::new(), Vec::new()];
    let mut queues = [Vec::new(), Vec::new()];
    // The first of each finds everything cold.
    for n in 0..=STARTS {
        for (station, (programs, queues)) in
            [empty, full].into_iter().zip(programs.iter_mut().zip(&mut queues))
        {
            let took = start_program(station)?;
            let options = options(station)?;
            let start = Instant::now();
            let queue = Queue::open(options)?;
            let opened = start.elapsed();
            queue.close().await?;
            if n > 0 {
                programs.push(took);
                queues.push(opened);
            }
        }
    }
    let [without, with] = programs.map(|mut times| crate::percentile(&mut times, 50));
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!(
        "7  start of the program to usable, full queue {with:.2?} against empty {without:.2?}: {ratio:.2} ×"
    );
    println!("   gate 1.5 × {}   goal 1.2 × {}", met(ratio <= 1.5), met(ratio <= 1.2));
    let [without, with] = queues.map(|mut times| crate::percentile(&mut times, 50));
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!("   of which opening the queue {with:.2?} against {without:.2?}: {ratio:.2} ×");
    Ok(())
}

/// One start of the whole station. It finds no cloud, so that a full queue stays full.
fn start_program(station: &Station) -> Result<Duration> {
    let mut command = station.command()?;
    command.arg("agent").env("LOTGATE_SERVER", "http://127.0.0.1:1");
    let start = Instant::now();
    let mut agent = Process::start(&mut command)?;
    while !station.scanner.is_open() {
        ensure!(agent.is_running() && start.elapsed() < PATIENCE, "the station does not open its scanner");
        std::thread::sleep(Duration::from_micros(100));
    }
    let took = start.elapsed();
    let (code, _, said) = agent.stop()?;
    ensure!(code == Some(0), "the station ended with {code:?}: {said}");
    Ok(took)
}

/// One look at the drain.
struct Look {
    at: Duration,
    settled: u64,
    megabytes: f64,
}

/// Row 6: rate and memory over the whole way.
async fn drain_row(plant: &Plant, queue: &Queue, count: usize) -> Result<()> {
    let (_sync, runner) = runner(plant, queue).await?;
    let state = queue.state();
    let total = state.borrow().queued;
    let start = Instant::now();
    let running = tokio::spawn(runner.run(std::future::pending()));
    let mut looks = vec![Look { at: Duration::ZERO, settled: 0, megabytes: megabytes()? }];
    let mut every = tokio::time::interval(Duration::from_millis(100));
    loop {
        every.tick().await;
        let settled = total - state.borrow().queued;
        looks.push(Look { at: start.elapsed(), settled, megabytes: megabytes()? });
        if settled == total {
            break;
        }
        ensure!(start.elapsed() < PATIENCE, "not drained: {settled} of {total}");
    }
    running.abort();
    let took = start.elapsed();
    let tenth = total / 10;
    let time_of = |settled: u64| looks.iter().find(|look| look.settled >= settled).map(|look| look.at);
    let first = time_of(tenth).context("the first tenth")?;
    let last = took.saturating_sub(time_of(total - tenth).context("the last tenth")?);
    let ratio = last.as_secs_f64() / first.as_secs_f64();
    let most = looks.iter().map(|look| look.megabytes).fold(0.0, f64::max);
    println!(
        "6  drain {count}: {took:.1?} = {:.0} a second; first tenth {first:.1?}, last tenth {last:.1?}: {ratio:.2} ×; at most {most:.0} MB resident, this program with the engine and the queue",
        count as f64 / took.as_secs_f64()
    );
    println!(
        "   gate within 25 %, under 200 MB {}   goal within 10 %, under 60 s {}",
        met(ratio <= 1.25 && most < 200.0),
        met(ratio <= 1.1 && took < Duration::from_secs(60))
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.lotgate/bench/drain.svg");
    std::fs::write(path, plot(&looks, total))?;
    println!("   rate and memory over the whole way: .lotgate/bench/drain.svg");
    Ok(())
}

/// Resident memory of this process in megabytes.
fn megabytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1_024.0)
}

/// Rate and memory over the number of settled operations, in 50 steps.
fn plot(looks: &[Look], total: u64) -> String {
    const STEPS: u64 = 50;
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 160.0;
    let mut rates = Vec::new();
    let mut memory = Vec::new();
    let mut before = (Duration::ZERO, 0u64);
    for step in 1..=STEPS {
        let Some(look) = looks.iter().find(|look| look.settled >= total * step / STEPS) else { continue };
        if look.at > before.0 {
            rates.push((look.settled - before.1) as f64 / (look.at - before.0).as_secs_f64());
            memory.push(look.megabytes);
            before = (look.at, look.settled);
        }
    }
    let line = |values: &[f64], top: f64| {
        let step = WIDTH / values.len().max(1) as f64;
        values.iter().enumerate().fold(String::new(), |mut points, (n, value)| {
            let _ = write!(points, "{:.1},{:.1} ", (n as f64 + 0.5) * step, HEIGHT - value / top * HEIGHT);
            points
        })
    };
    let (fastest, most) = (rates.iter().copied().fold(1.0, f64::max), 200.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-10 -24 660 210\" font-family=\"sans-serif\" font-size=\"12\">\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#999\"/>\
         <polyline fill=\"none\" stroke=\"#0a5\" stroke-width=\"2\" points=\"{}\"/>\
         <polyline fill=\"none\" stroke=\"#a50\" stroke-width=\"2\" points=\"{}\"/>\
         <text x=\"0\" y=\"-8\" fill=\"#0a5\">operations a second (top {fastest:.0})</text>\
         <text x=\"330\" y=\"-8\" fill=\"#a50\">resident megabytes (top {most:.0})</text>\
         <text x=\"0\" y=\"178\">settled: 0 to {total}</text></svg>\n",
        line(&rates, fastest),
        line(&memory, most),
    )
}

/// Row 8: the auditor's program on the export, against bare strict verification on every core.
fn verify_row(
    dir: &std::path::Path,
    fingerprint: &str,
    key: &lotgate_domain::ids::PublicKey,
    count: usize,
) -> Result<()> {
    let mut files: Vec<_> = Vec::new();
    for station in std::fs::read_dir(dir.join(export::ENTRIES))? {
        for file in std::fs::read_dir(station?.path())? {
            files.push(file?.path());
        }
    }
    let mut bare = Duration::ZERO;
    for file in files {
        bare += bare_verification(&std::fs::read(file)?, key, cores())?;
    }
    let mut command = Command::new(program("lotgate-verify")?);
    command.arg(dir).args(["--root-fingerprint", fingerprint, "--json"]);
    let start = Instant::now();
    let told = run_json(&mut command)?;
    let took = start.elapsed();
    ensure!(told.get("ok").is_some_and(|ok| *ok == true), "{told}");
    let part = 100.0 * bare.as_secs_f64() / took.as_secs_f64();
    println!(
        "8  lotgate-verify of {count} operations: {took:.1?} against bare strict verification on {} cores {bare:.1?}: {part:.0} %",
        cores()
    );
    println!("   gate 50 % {}   goal 80 % {}", met(part >= 50.0), met(part >= 80.0));
    Ok(())
}

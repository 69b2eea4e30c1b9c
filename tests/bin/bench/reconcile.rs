//! Rows 4 and 9: operations made offline, reconciled with the cloud; against PouchDB with the same operations.

use crate::{bare_verification, fill, met, open_queue, runner};
use anyhow::{Context as _, Result, ensure};
use lotgate_domain::chain::Head;
use lotgate_domain::entry::Frame;
use lotgate_sync::queue::Queue;
use lotgate_tests::plant::Plant;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const OPERATIONS: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn rows(plant: &Plant) -> Result<()> {
    let (queue, machine) = open_queue(plant, "reconcile")?;
    fill(&queue, OPERATIONS).await?;
    let entries = entries(&queue).await?;
    let key = queue.identity().certificate.value.public_key;
    let bare = bare_verification(&entries, &key, 1)?;
    let (_sync, runner) = runner(plant, &queue).await?;
    let mut state = queue.state();
    let start = Instant::now();
    let running = tokio::spawn(runner.run(std::future::pending()));
    tokio::time::timeout(PATIENCE, state.wait_for(|state| state.queued == 0)).await??;
    let took = start.elapsed();
    running.abort();
    let station = queue.identity().station.to_string();
    let held = tokio::task::block_in_place(|| plant.entry_hashes(&station))?.len();
    ensure!(held == OPERATIONS + 1, "{held} rows for {} operations", OPERATIONS + 1);
    let json = json_lines(&entries)?;
    let peer = peer(&json)?;
    let ratio = peer.as_secs_f64() / took.as_secs_f64();
    println!("4  reconcile {OPERATIONS} offline operations to verified receipts and proofs, real Postgres");
    println!(
        "   {took:.2?} = {:.0} operations/s against PouchDB → express-pouchdb, batch_size 1000, the same JSON: {peer:.2?}: {ratio:.1} × faster",
        OPERATIONS as f64 / took.as_secs_f64(),
    );
    println!("   gate 3 × {}   goal 6 × {}", met(ratio >= 3.0), met(ratio >= 6.0));
    println!(
        "   bare strict verification of the same on one core {bare:.2?}: {:.2} ×",
        took.as_secs_f64() / bare.as_secs_f64()
    );
    wire(&entries, json.len())?;
    drop(machine);
    Ok(())
}

/// Every entry of the queue, back to back.
async fn entries(queue: &Queue) -> Result<Vec<u8>> {
    let mut entries = Vec::new();
    let mut head = Head::genesis(queue.identity().certificate.hash);
    while let Some(batch) = queue.batch(head, 1_000, 1 << 20).await? {
        head = Head { epoch: Some(batch.epoch), seq: batch.last.seq, hash: batch.last.hash };
        entries.extend(batch.entries);
    }
    Ok(entries)
}

fn json_lines(entries: &[u8]) -> Result<Vec<u8>> {
    let (mut lines, mut rest) = (Vec::new(), entries);
    while !rest.is_empty() {
        let (frame, after) = Frame::split_first(rest)?;
        lines.extend_from_slice(frame.json());
        lines.push(b'\n');
        rest = after;
    }
    Ok(lines)
}

/// Seconds that PouchDB takes to replicate the same operations.
fn peer(lines: &[u8]) -> Result<Duration> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/peer");
    if !std::path::Path::new(dir).join("node_modules").exists() {
        let installed = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(dir)
            .stdout(Stdio::null())
            .status()?;
        ensure!(installed.success(), "npm ci in {dir}");
    }
    let mut child = Command::new("node")
        .args(["peer.mjs", "-", concat!(env!("CARGO_MANIFEST_DIR"), "/../.lotgate/bench")])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("node")?;
    child.stdin.take().context("stdin")?.write_all(lines)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the peer failed");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(Duration::from_secs_f64(told.get("seconds").and_then(serde_json::Value::as_f64).context("seconds")?))
}

/// Row 9: bytes of a batch of 1,000 as they go over the wire.
fn wire(entries: &[u8], json: usize) -> Result<()> {
    const BATCH: usize = 1_000;
    let (mut rest, mut batches, mut bytes, mut count) = (entries, Vec::new(), 0usize, 0usize);
    while !rest.is_empty() {
        let (frame, after) = Frame::split_first(rest)?;
        batches.extend_from_slice(frame.bytes());
        (rest, count) = (after, count + 1);
        if count.is_multiple_of(BATCH) || rest.is_empty() {
            bytes += zstd::bulk::compress(&batches, 3)?.len();
            batches.clear();
        }
    }
    let (sent, plain) = (bytes as f64 / count as f64, json as f64 / count as f64);
    let part = 100.0 * sent / plain;
    println!(
        "9  on the wire {sent:.0} bytes an operation (1,000 a batch, zstd) against {plain:.0} bytes of JSON: {part:.0} %   goal 40 % {}",
        met(part <= 40.0)
    );
    Ok(())
}

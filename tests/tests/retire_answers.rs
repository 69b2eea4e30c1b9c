//! What `lotgate retire` makes of an answer that is no answer, and of what was set aside; and that a password in the
//! proxy's address is told to nobody.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result, ensure};
use lotgate_domain::ids::{BootId, Epoch, Hash};
use lotgate_domain::operation::Program;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::queue::{CapacityLimits, Queue, QueueOptions};
use lotgate_sync::secure::{Places, Secure, SystemRandom};
use lotgate_tests::plant::{Plant, Station, lot_scan};
use lotgate_tests::programs::{PATIENCE, Process, run, write};
use serde_json::{Value, json};
use std::process::Output;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_refused(output: &Output, exit: i32, code: &str) {
    assert_eq!(output.status.code(), Some(exit), "{}", said(output));
    assert!(said(output).contains(&format!("({code})")), "names {code}: {}", said(output));
}

fn retire(station: &Station) -> Result<Output> {
    run(station.command()?.args(["retire", "--reason", "scrapped", "--wait", "20"]))
}

/// Holds a table that the cloud needs.
fn lock(plant: &Plant, table: &str) -> Result<(Runtime, Client)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let holder = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&plant.database.superuser_url, NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await?;
        anyhow::Ok(client)
    })?;
    Ok((runtime, holder))
}

#[test]
fn a_cloud_that_is_busy_says_nothing_about_whether_it_closed_the_station() -> Result<()> {
    let plant = Plant::new("retire_busy")?;
    let mut station = plant.station("s")?;
    station.start()?;
    station.wait_settled()?;
    station.stop()?;
    let head = station.status()?["queue"]["head"].clone();
    let through = json!({"epoch": head["epoch"], "seq": head["seq"], "hash": head["hash"]});
    let note = station.dir.join("data.secure/retired.json");
    std::fs::write(&note, json!({"state": "asked", "through": through, "reason": "moved"}).to_string())?;
    let (runtime, holder) = lock(&plant, "station_closing")?;
    assert_refused(&retire(&station)?, 11, "busy");
    assert!(note.exists(), "it may have been closed the first time");
    assert_refused(&run(station.command()?.arg("agent"))?, 21, "retire_unanswered");
    runtime.block_on(holder.batch_execute("COMMIT"))?;
    let retired = retire(&station)?;
    ensure!(retired.status.success(), "{}", said(&retired));
    Ok(())
}

fn open(station: &Station) -> Result<Queue> {
    Ok(Queue::open(QueueOptions {
        secure: Secure::open(Places::new(station.dir.join("data"), None, None))?,
        clock: Arc::new(SystemClock::new(BootId::from_parts(0, &[0; 10]))),
        random: Arc::new(SystemRandom),
        program: Program { version: "test".into(), build: "test".into(), config_sha256: Hash::ZERO },
        limits: CapacityLimits { disk_low: 0, disk_very_low: 0, ..CapacityLimits::default() },
    })?)
}

#[test]
fn a_station_with_evidence_is_retired_once_the_cloud_has_that_too() -> Result<()> {
    let mut plant = Plant::new("retire_evidence")?;
    let mut station = plant.station("s")?;
    station.start()?;
    station.wait_settled()?;
    plant.network.cut();
    for n in 0..4 {
        station.scanner.scan(&lot_scan(&format!("L-{n:04}")))?;
    }
    station.wait_confirmed(4)?;
    station.stop()?;
    let confirmed = station.confirmed_hashes();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let queue = open(&station)?;
        let settled = queue.state().borrow().settled_through.context("nothing is settled")?;
        let epoch: Epoch = settled.epoch;
        queue.set_aside_after(epoch, settled.seq, "bad_signature").await?;
        anyhow::Ok(queue.close().await?)
    })?;
    plant.network.restore()?;
    let (runtime, holder) = lock(&plant, "evidence")?;
    let retiring = Process::start(station.command()?.args(["retire", "--reason", "scrapped"]))?;
    loop {
        let line = retiring.complaint(PATIENCE).context("it ended before the evidence was sent")?;
        if line.contains("sync.progress") && line.contains("\"waiting\":0") {
            break;
        }
    }
    runtime.block_on(holder.batch_execute("COMMIT"))?;
    let (exit, told, complaints) = retiring.wait()?;
    assert_eq!(exit, Some(0), "{told:?} {complaints}");
    let rows = plant.rows("SELECT encode(hash, 'hex') FROM evidence", &[])?;
    let kept: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(
        confirmed[confirmed.len() - 4..].iter().all(|hash| kept.contains(hash)),
        "{confirmed:?} {kept:?}"
    );
    Ok(())
}

#[test]
fn a_password_in_a_proxys_address_that_is_none_is_told_to_nobody() -> Result<()> {
    let plant = Plant::new("proxy_password")?;
    let station = plant.station("s")?;
    let file = station.dir.join("lotgate.toml");
    let config = std::fs::read_to_string(&file)?;
    // A "#" that is not escaped ends an address, and with it the host.
    let proxy = "[cloud]\nproxy = \"http://user:geheim#ss@proxy:3128\"\n";
    write(&file, &config.replace("[cloud]\n", proxy))?;
    for arguments in [&["doctor", "--json"][..], &["doctor"], &["agent"], &["retire", "--reason", "x"]] {
        let output = run(station.command()?.args(arguments))?;
        assert!(!output.status.success(), "{arguments:?}");
        let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
        assert!(all.contains("proxy_invalid"), "{arguments:?}: {all}");
        assert!(!all.contains("geheim"), "{arguments:?}: {all}");
    }
    let doctor: Value = serde_json::from_slice(&run(station.command()?.args(["doctor", "--json"]))?.stdout)?;
    assert!(doctor.to_string().contains("***"), "{doctor}");
    Ok(())
}

//! Exports of a station's queue and of the cloud, from a real run: both verifiers believe them, and neither believes
//! one of a history that somebody rewrote below the programs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result, ensure};
use lotgate_tests::plant::{Plant, Station, lot_scan};
use lotgate_tests::programs::{program, run, wait_for};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const SCANS: usize = 12;

/// A plant with one station that scanned, with everything settled.
fn scanned(name: &str) -> Result<(Plant, Station)> {
    let plant = Plant::new(name)?;
    let mut station = plant.station("dispense-1")?;
    station.start()?;
    wait_for("reference data", || Ok((station.status()?["reference"]["cursor"] == json!(1)).then_some(())))?;
    for n in 0..SCANS {
        station.scanner.scan(&lot_scan(&format!("L-0001\x1d21S{n}")))?;
        station.wait_confirmed(n + 1)?;
    }
    station.wait_settled()?;
    let (code, said) = station.stop()?;
    ensure!(code == Some(0), "{said}");
    Ok((plant, station))
}

fn export_queue(plant: &Plant, station: &Station, name: &str) -> Result<PathBuf> {
    let dir = plant.dir.join(name);
    let output = run(station.command()?.args(["queue", "export"]).arg(&dir))?;
    ensure!(output.status.success(), "queue export: {}", String::from_utf8_lossy(&output.stderr));
    Ok(dir)
}

fn export_cloud(plant: &Plant, name: &str) -> Result<PathBuf> {
    let dir = plant.dir.join(name);
    let mut command = plant.cloud_command()?;
    command.args(["export", "--tenant", &plant.tenant, "--out"]).arg(&dir);
    let output = run(&mut command)?;
    ensure!(output.status.success(), "export: {}", String::from_utf8_lossy(&output.stderr));
    Ok(dir)
}

/// What `lotgate-verify` says: its exit code and its JSON.
fn verify(plant: &Plant, dir: &Path) -> Result<(i32, Value)> {
    let mut command = Command::new(program("lotgate-verify")?);
    command.arg(dir).args(["--root-fingerprint", &plant.root_fingerprint, "--json"]);
    let output = run(&mut command)?;
    let told = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((output.status.code().context("killed")?, told))
}

/// What the independent program says: its exit code and its findings.
fn independent(plant: &Plant, dir: &Path) -> Result<(i32, String)> {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/independent/verify.py")).arg("export").arg(dir);
    let output = run(command.args(["--root-fingerprint", &plant.root_fingerprint, "--json"]))?;
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code().context("killed")?, told))
}

fn assert_believed(plant: &Plant, dir: &Path) -> Result<Value> {
    let (code, told) = verify(plant, dir)?;
    assert_eq!(code, 0, "lotgate-verify: {told}");
    assert_eq!(told["counts"], json!({}), "not even a notice");
    let (code, said) = independent(plant, dir)?;
    assert_eq!(code, 0, "the independent program: {said}");
    Ok(told)
}

fn assert_found(plant: &Plant, dir: &Path, expected: &str) -> Result<()> {
    let (code, told) = verify(plant, dir)?;
    assert_eq!(code, 1, "lotgate-verify believes it: {told}");
    assert!(told["counts"].get(expected).is_some(), "{expected} is not among {}", told["counts"]);
    let (code, said) = independent(plant, dir)?;
    assert_eq!(code, 1, "the independent program believes it: {said}");
    Ok(())
}

#[test]
fn exports_of_queue_and_cloud_are_believed_and_hold_the_same_operations() -> Result<()> {
    let (plant, station) = scanned("exports")?;
    let queue = assert_believed(&plant, &export_queue(&plant, &station, "queue")?)?;
    let cloud = assert_believed(&plant, &export_cloud(&plant, "cloud")?)?;
    assert_eq!(queue["entries"], cloud["entries"]);
    let count = queue["entries"][station.id()?].as_u64();
    assert_eq!(count, Some(SCANS as u64 + 1), "the scans and the enrolment");
    assert!(queue["checkpoints"].as_u64() > Some(0), "the station keeps the checkpoints that it verified");
    Ok(())
}

#[test]
fn an_export_that_was_touched_after_it_was_sealed_is_not_believed() -> Result<()> {
    let (plant, station) = scanned("touched")?;
    for (name, dir) in
        [("queue", export_queue(&plant, &station, "queue")?), ("cloud", export_cloud(&plant, "cloud")?)]
    {
        let entries = dir.join("entries").join(station.id()?).join("1-1.bin");
        let whole = std::fs::read(&entries)?;
        let mut touched = whole.clone();
        let middle = touched.len() / 2;
        *touched.get_mut(middle).context("empty")? ^= 1;
        std::fs::write(&entries, touched)?;
        assert_found(&plant, &dir, "export_file_changed").with_context(|| name.to_owned())?;
        std::fs::write(&entries, whole)?;
        assert_believed(&plant, &dir)?;
    }
    Ok(())
}

/// As somebody does it who knows that the cloud looks for triggers that are off.
fn rewrite(plant: &Plant, sql: &str) -> Result<()> {
    let off = "ALTER TABLE entry DISABLE TRIGGER USER; ALTER TABLE leaf DISABLE TRIGGER USER";
    plant.execute(&format!("{off}; {sql}"))?;
    let triggers = plant.rows(
        "SELECT tgrelid::regclass::text AS of, tgname::text AS name FROM pg_trigger
         WHERE NOT tgisinternal AND tgrelid IN ('entry'::regclass, 'leaf'::regclass)",
        &[],
    )?;
    for trigger in triggers {
        let (table, name) = (trigger.get::<_, String>("of"), trigger.get::<_, String>("name"));
        plant.execute(&format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"))?;
    }
    Ok(())
}

/// Somebody with every right in the database, triggers out of the way, rewrites history; the cloud then exports and
/// seals what it finds.
#[test]
fn a_history_rewritten_in_the_database_is_found_in_the_cloud_s_own_export() -> Result<()> {
    let rewritings = [
        (
            "an entry edited",
            "UPDATE entry SET bytes = set_byte(bytes, 200, get_byte(bytes, 200) # 1) WHERE epoch_n = 1 AND seq = 4",
            "entry_signature",
        ),
        (
            "a verdict's exceptions gone",
            "UPDATE leaf SET bytes = set_byte(bytes, 60, get_byte(bytes, 60) # 1) WHERE kind = 'verdict'",
            "statement_signature",
        ),
        (
            "a leaf exchanged",
            "UPDATE leaf SET hash = sha256(hash) WHERE kind = 'operation' AND seq = 5",
            "log_leaf_unknown",
        ),
    ];
    let (plant, _station) = scanned("rewritten")?;
    for (n, (name, sql, expected)) in rewritings.into_iter().enumerate() {
        // What was there is put back afterwards from a schema of its own.
        plant.execute("CREATE SCHEMA kept; CREATE TABLE kept.entry AS TABLE entry; CREATE TABLE kept.leaf AS TABLE leaf")?;
        rewrite(&plant, sql).with_context(|| name.to_owned())?;
        let dir = export_cloud(&plant, &format!("rewritten-{n}"))?;
        assert_found(&plant, &dir, expected).with_context(|| name.to_owned())?;
        rewrite(
            &plant,
            "UPDATE entry SET bytes = k.bytes FROM kept.entry k
             WHERE (entry.tenant_id, entry.station_id, entry.epoch_n, entry.branch, entry.seq)
                 = (k.tenant_id, k.station_id, k.epoch_n, k.branch, k.seq);
             UPDATE leaf SET bytes = k.bytes, hash = k.hash FROM kept.leaf k
             WHERE (leaf.tenant_id, leaf.index) = (k.tenant_id, k.index);
             DROP SCHEMA kept CASCADE",
        )?;
    }
    assert_believed(&plant, &export_cloud(&plant, "as-before")?)?;
    Ok(())
}

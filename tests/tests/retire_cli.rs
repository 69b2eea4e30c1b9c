//! The end of a station and a new key for one, by command: `lotgate retire`, `lotgate rotate`; and the queue on its
//! way by courier: `lotgate queue export`, `lotgate queue recover`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result, ensure};
use lotgate_tests::plant::{Plant, Station, lot_scan};
use lotgate_tests::programs::{run, run_json};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_refused(output: &Output, exit: i32, code: &str) {
    assert_eq!(output.status.code(), Some(exit), "{}", said(output));
    assert!(said(output).contains(&format!("({code})")), "names {code}: {}", said(output));
}

fn retire(station: &Station, more: &[&str]) -> Result<Output> {
    run(station.command()?.args(["retire", "--reason", "scrapped"]).args(more))
}

/// A station with scans that the cloud has not received.
fn offline(plant: &mut Plant, scans: usize) -> Result<Station> {
    let mut station = plant.station("s")?;
    station.start()?;
    station.wait_settled()?;
    plant.network.cut();
    for n in 0..scans {
        station.scanner.scan(&lot_scan(&format!("L-{n:04}")))?;
    }
    station.wait_confirmed(scans)?;
    station.stop()?;
    Ok(station)
}

#[test]
fn a_retired_station_is_drained_closed_and_never_starts_again() -> Result<()> {
    let mut plant = Plant::new("retire")?;
    let station = offline(&mut plant, 5)?;
    let blocked = retire(&station, &["--wait", "2"])?;
    assert_refused(&blocked, 20, "retire_blocked");
    assert!(said(&blocked).contains("5 operations waiting"), "{}", said(&blocked));
    assert!(!station.dir.join("data.secure/retired.json").exists(), "nothing was changed");
    assert_eq!(station.status()?["retirement"], Value::Null);

    plant.network.restore()?;
    let retired = retire(&station, &[])?;
    ensure!(retired.status.success(), "{}", said(&retired));
    let told: Value = serde_json::from_slice(&retired.stdout)?;
    assert_eq!(told["state"], "retired");
    let status = station.status()?;
    assert_eq!(status["queue"]["queued"], 0, "drained first");
    let head = &status["queue"]["head"];
    assert_eq!((&told["through"]["seq"], &told["through"]["hash"]), (&head["seq"], &head["hash"]));
    assert_eq!(plant.entry_hashes(&station.id()?)?.len(), head["seq"].as_u64().unwrap() as usize);
    let closed = "SELECT closing FROM station_closing WHERE station_id::text = $1";
    let closing: String = plant.rows(closed, &[&station.id()?])?.first().context("no station")?.get(0);
    assert_eq!(closing, "retired");

    assert_refused(&run(station.command()?.arg("agent"))?, 21, "station_retired");
    assert_refused(&run(station.command()?.arg("rotate"))?, 21, "station_retired");
    plant.stop_cloud()?;
    let again = retire(&station, &[])?;
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout)?, told, "the same again, without the cloud");
    Ok(())
}

#[test]
fn by_force_the_station_ends_at_what_the_cloud_holds_and_the_rest_stays_as_evidence() -> Result<()> {
    let mut plant = Plant::new("retire_force")?;
    let station = offline(&mut plant, 3)?;
    let forced = ["--force-evidence", "--wait", "0"];
    assert_refused(&retire(&station, &forced)?, 11, "connection_refused");
    assert!(!station.dir.join("data.secure/retired.json").exists(), "the cloud has to say where the end is");
    plant.network.restore()?;
    let retired = retire(&station, &forced)?;
    ensure!(retired.status.success(), "{}", said(&retired));
    let told: Value = serde_json::from_slice(&retired.stdout)?;
    let last = plant.entry_hashes(&station.id()?)?;
    assert!(last.iter().any(|hash| told["through"]["hash"] == **hash), "an operation that the cloud holds");
    let verified = run_json(station.command()?.args(["queue", "verify", "--json"]))?;
    assert_eq!((&verified["ok"], &verified["entries"]), (&json!(true), &json!(4)), "nothing was removed");
    Ok(())
}

#[test]
fn a_station_in_use_is_not_retired_under_its_agents_feet() -> Result<()> {
    let plant = Plant::new("retire_lock")?;
    let mut station = plant.station("s")?;
    station.start()?;
    let locked = retire(&station, &[])?;
    assert_refused(&locked, 14, "locked");
    assert!(said(&locked).contains(&station.agent_pid().unwrap().to_string()), "names the holder");
    Ok(())
}

#[test]
fn an_answer_that_got_lost_is_asked_for_again_and_nothing_starts_meanwhile() -> Result<()> {
    let plant = Plant::new("retire_lost")?;
    let mut station = plant.station("s")?;
    station.start()?;
    station.wait_settled()?;
    station.stop()?;
    let head = station.status()?["queue"]["head"].clone();
    let through = json!({"epoch": head["epoch"], "seq": head["seq"], "hash": head["hash"]});
    // As if the program had been killed between the question and its answer.
    let note = json!({"state": "asked", "through": through, "reason": "moved"});
    std::fs::write(station.dir.join("data.secure/retired.json"), note.to_string())?;
    assert_refused(&run(station.command()?.arg("agent"))?, 21, "retire_unanswered");
    let told = run_json(station.command()?.args(["retire", "--reason", "another"]))?;
    assert_eq!((&told["state"], &told["reason"]), (&json!("retired"), &json!("moved")), "the first question");
    Ok(())
}

#[test]
fn a_planned_new_key_is_taken_and_both_keys_entries_reach_the_cloud() -> Result<()> {
    let plant = Plant::new("rotate")?;
    let mut station = plant.station("s")?;
    let before = station.status()?["key"].clone();
    let rotated = run_json(station.command()?.arg("rotate"))?;
    assert_eq!(rotated["previous"], before);
    let status = station.status()?;
    assert_eq!(status["key"], rotated["key"]);
    assert_ne!(status["key"], before);
    assert_eq!(status["queue"]["unconfirmed"], false, "a planned key leaves no doubt");
    station.start()?;
    station.scanner.scan(&lot_scan("L-0001"))?;
    station.wait_confirmed(1)?;
    station.wait_settled()?;
    station.stop()?;
    let verified = run_json(station.command()?.args(["queue", "verify", "--json"]))?;
    assert_eq!((&verified["ok"], &verified["epochs"]), (&json!(true), &json!(2)));
    assert_eq!(verified["settled"], verified["entries"]);
    assert!(
        verified["proofs"].as_u64() > Some(0) && verified["checkpoints"].as_u64() > Some(0),
        "{verified}"
    );
    Ok(())
}

#[test]
fn a_rotation_without_an_answer_leaves_the_old_key_in_use() -> Result<()> {
    let mut plant = Plant::new("rotate_offline")?;
    let station = plant.station("s")?;
    let before = station.status()?["key"].clone();
    plant.network.cut();
    let output = run(station.command()?.args(["rotate", "--wait", "2"]))?;
    assert_refused(&output, 11, "rotate_unanswered");
    assert_eq!(station.status()?["key"], before);
    plant.network.restore()?;
    assert_ne!(run_json(station.command()?.arg("rotate"))?["key"], before, "asked again, it is certified");
    Ok(())
}

#[test]
fn an_export_holds_every_operation_and_its_directory_is_never_written_over() -> Result<()> {
    let mut plant = Plant::new("export_cli")?;
    let mut station = offline(&mut plant, 7)?;
    let out = plant.dir.join("export");
    let export = |station: &Station| -> Result<Output> {
        run(station.command()?.args(["queue", "export", "--json"]).arg(&out))
    };
    station.start()?;
    let beside = export(&station)?;
    ensure!(beside.status.success(), "beside the agent: {}", said(&beside));
    station.stop()?;
    let told: Value = serde_json::from_slice(&beside.stdout)?;
    assert_eq!((&told["export"]["entries"], &told["export"]["skipped"]), (&json!(8), &json!([])));
    assert!(out.join("manifest.json").exists() && out.join("manifest.sig").exists());
    assert_refused(&export(&station)?, 14, "export_exists");
    Ok(())
}

#[test]
fn two_holders_get_the_entries_out_when_the_key_store_is_gone_at_once_or_one_after_the_other() -> Result<()> {
    let mut plant = Plant::new("recover")?;
    let station = offline(&mut plant, 4)?;
    std::fs::remove_dir_all(station.dir.join("data.secure"))?;
    assert_refused(&run(station.command()?.args(["queue", "verify"]))?, 13, "key_store_missing");
    let recover = |arguments: &[&str]| -> Result<Output> {
        let dir = plant.dir.display();
        let arguments = arguments.iter().map(|argument| argument.replace("$", &format!("{dir}/")));
        run(station.command()?.args(["queue", "recover", "--json"]).args(arguments))
    };
    let keys = ["--holder1-key", "$recovery-1.key", "--holder2-key", "$recovery-2.key"];
    let once = recover(&[keys.as_slice(), &["--out", "$once"]].concat())?;
    ensure!(once.status.success(), "{}", said(&once));
    let told: Value = serde_json::from_slice(&once.stdout)?;
    assert_eq!((&told["export"]["entries"], &told["export"]["kind"]), (&json!(5), &json!("recovered")));

    let swapped = ["--holder1-key", "$recovery-2.key", "--holder2-key", "$recovery-1.key", "--out", "$x"];
    assert_refused(&recover(&swapped)?, 13, "recovery_wrong_holder");
    let first = recover(&["--holder1-key", "$recovery-1.key", "--half", "$half"])?;
    ensure!(first.status.success(), "{}", said(&first));
    assert_eq!(std::fs::metadata(plant.dir.join("half"))?.permissions().mode() & 0o777, 0o600);
    let second = recover(&["--half", "$half", "--holder2-key", "$recovery-2.key", "--out", "$twice"])?;
    ensure!(second.status.success(), "{}", said(&second));
    let again: Value = serde_json::from_slice(&second.stdout)?;
    assert_eq!(again["export"]["manifest_sha256"], told["export"]["manifest_sha256"], "the same entries");

    // The sealed key of a queue that was set aside lies beside it under another name.
    let data = station.dir.join("data");
    std::fs::rename(data.join("recovery.sealed"), data.join("recovery-1.sealed"))?;
    assert_refused(&recover(&[keys.as_slice(), &["--out", "$x"]].concat())?, 13, "recovery_missing");
    let kept = data.join("recovery-1.sealed").display().to_string();
    let other = recover(&[keys.as_slice(), &["--sealed", &kept, "--out", "$third"]].concat())?;
    ensure!(other.status.success(), "{}", said(&other));
    let half = ["--half", "$half", "--holder2-key", "$recovery-2.key", "--sealed", &kept, "--out", "$x"];
    assert_refused(&recover(&half)?, 2, "recover_arguments");
    Ok(())
}

#[test]
fn recovering_needs_the_right_arguments_and_says_which() -> Result<()> {
    let plant = Plant::new("recover_cli")?;
    let station = plant.station("s")?;
    let recover = |arguments: &[&str]| -> Result<Output> {
        run(station.command()?.args(["queue", "recover"]).args(arguments))
    };
    assert_refused(&recover(&["--out", "/tmp/x"])?, 2, "recover_arguments");
    assert_refused(
        &recover(&["--holder1-key", "/nowhere", "--half", "/tmp/x", "--out", "/tmp/y"])?,
        2,
        "recover_arguments",
    );
    let missing = recover(&["--holder2-key", "/nowhere", "--half", "/nowhere", "--out", "/tmp/y"])?;
    assert_refused(&missing, 13, "recovery_missing");
    Ok(())
}

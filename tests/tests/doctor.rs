//! `lotgate doctor` and `lotgate status`: what they say of a sound station, and of one with every kind of trouble.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result, ensure};
use lotgate_tests::plant::{Plant, Station, lot_scan};
use lotgate_tests::programs::{run, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Level and code of each check.
type Checks = BTreeMap<String, (String, Option<String>)>;

/// The exit code and what was found.
fn doctor(station: &Station) -> Result<(Option<i32>, Checks)> {
    let output = run(station.command()?.args(["doctor", "--json"]))?;
    let told: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut checks = BTreeMap::new();
    for check in told["checks"].as_array().context("no checks")? {
        ensure!(
            check["code"].is_null() || check["text"].as_str().is_some_and(|text| text.ends_with('.')),
            "{check}"
        );
        let known = (text(&check["level"]).context("no level")?, text(&check["code"]));
        checks.insert(text(&check["id"]).context("no id")?, known);
    }
    assert_eq!(told["ok"], output.status.success());
    Ok((output.status.code(), checks))
}

fn troubles(checks: &Checks) -> Vec<(&str, &str, &str)> {
    checks
        .iter()
        .filter(|(_, (level, _))| level != "ok")
        .map(|(id, (level, code))| (id.as_str(), level.as_str(), code.as_deref().unwrap_or_default()))
        .collect()
}

#[test]
fn a_sound_station_passes_every_check_and_status_shows_its_link() -> Result<()> {
    let plant = Plant::new("doctor_sound")?;
    let mut station = plant.station("s")?;
    station.start()?;
    station.wait_settled()?;
    let (exit, checks) = doctor(&station)?;
    assert_eq!((exit, troubles(&checks)), (Some(0), Vec::new()));
    let ids: Vec<&str> = checks.keys().map(String::as_str).collect();
    let all = [
        "agent",
        "capacity",
        "clock",
        "cloud",
        "cloud_clock",
        "configuration",
        "contradictions",
        "data_directory",
        "disk",
        "epoch",
        "key_store",
        "log",
        "only_the_cloud",
        "proxy",
        "queue",
        "recovery",
        "rollback_anchor",
        "scanner",
        "secure_directory",
        "set_aside",
        "sync",
        "tls",
        "versions",
    ];
    assert_eq!(ids, all);
    assert_eq!(checks["only_the_cloud"].1.as_deref(), Some("only_the_cloud_finds"));
    let status = wait_for("the agent shows its link", || {
        let status = station.status()?;
        Ok((status["sync"]["link"] == "online").then_some(status))
    })?;
    assert_eq!(status["queue"]["capacity"]["level"], "ok");
    assert_eq!((&status["clock"]["state"], &status["alarms"]), (&json!("ok"), &json!([])));
    assert!(status["log"]["head"]["size"].as_u64() > Some(0), "a verified checkpoint: {status}");
    station.stop()?;
    assert_eq!(station.status()?["sync"], Value::Null, "what a stopped agent left is not the present");
    Ok(())
}

#[test]
fn without_the_cloud_the_way_to_it_is_at_fault_and_the_next_try_is_shown() -> Result<()> {
    let mut plant = Plant::new("doctor_offline")?;
    let mut station = plant.station("s")?;
    station.start()?;
    station.wait_settled()?;
    plant.network.cut();
    station.scanner.scan(&lot_scan("L-0001"))?;
    station.wait_confirmed(1)?;
    let status = wait_for("the agent shows that nobody answers", || {
        let status = station.status()?;
        Ok((status["sync"]["failure"] == "connection_refused").then_some(status))
    })?;
    assert_eq!(status["queue"]["queued"], 1);
    let (exit, checks) = doctor(&station)?;
    assert_eq!(exit, Some(11));
    let expected = [("cloud", "fail", "connection_refused"), ("sync", "warn", "connection_refused")];
    assert_eq!(troubles(&checks), expected);
    let text = run(station.command()?.arg("status"))?;
    let text = String::from_utf8(text.stdout)?;
    assert!(text.contains("connection_refused: Nobody answers at the address of the cloud."), "{text}");
    Ok(())
}

#[test]
fn a_damaged_queue_is_at_fault_until_the_station_goes_on_without_it_and_says_so() -> Result<()> {
    let plant = Plant::new("doctor_damaged")?;
    let mut station = plant.station("s")?;
    station.start()?;
    station.wait_settled()?;
    station.stop()?;
    let queue = station.dir.join("data/queue.db");
    let mut bytes = std::fs::read(&queue)?;
    bytes.iter_mut().take(4_096).for_each(|byte| *byte ^= 0x5a);
    std::fs::write(&queue, bytes)?;
    let (exit, checks) = doctor(&station)?;
    assert_eq!(exit, Some(14));
    assert_eq!(checks["queue"].0, "fail");

    station.start()?;
    station.wait_said("station.alarm")?;
    station.scanner.scan(&lot_scan("L-0001"))?;
    station.wait_confirmed(1)?;
    assert_eq!(station.confirmed[0]["epoch"], 2, "in a new epoch");
    station.wait_settled()?;
    let (exit, checks) = doctor(&station)?;
    assert_eq!(exit, Some(0));
    let expected = [("epoch", "warn", "epoch_unconfirmed"), ("set_aside", "warn", "queue_set_aside")];
    assert_eq!(troubles(&checks), expected);
    let status = station.status()?;
    assert_eq!(status["queue"]["unconfirmed"], true);
    let alarms: Vec<&str> =
        status["alarms"].as_array().unwrap().iter().filter_map(|a| a["code"].as_str()).collect();
    assert_eq!(alarms, ["epoch_unconfirmed", "queue_set_aside"]);
    let aside = status["queue"]["set_aside"][0].as_str().context("nothing set aside")?;
    assert!(station.dir.join("data").join(aside).exists(), "kept");
    Ok(())
}

#[test]
fn a_machine_that_is_no_station_and_one_that_others_can_look_into_are_told_apart() -> Result<()> {
    let plant = Plant::new("doctor_places")?;
    let machine = plant.machine("none")?;
    let (exit, checks) = doctor(&machine)?;
    assert_eq!(exit, Some(10));
    assert_eq!(checks["data_directory"].1.as_deref(), Some("directory_missing"));
    assert_eq!(checks["key_store"].1.as_deref(), Some("not_enrolled"));
    let station = plant.station("s")?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(station.dir.join("data.secure"), open)?;
    let (exit, checks) = doctor(&station)?;
    assert_eq!(exit, Some(13));
    assert_eq!(checks["secure_directory"].1.as_deref(), Some("wrong_permissions"));
    Ok(())
}

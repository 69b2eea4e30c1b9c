//! `lotgate config show`: every key in force, where it comes from, and no secret; a mistake in any source is told.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking; a skipped one says so"
)]

use anyhow::{Context as _, Result, ensure};
use lotgate_tests::programs::{program, run, run_json, write};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// `lotgate` in an environment without any of its variables.
fn lotgate() -> Result<Command> {
    let mut command = Command::new(program("lotgate")?);
    let ours = |(name, _): &(OsString, OsString)| name.to_string_lossy().starts_with("LOTGATE_");
    for (name, _) in std::env::vars_os().filter(ours) {
        command.env_remove(name);
    }
    Ok(command)
}

fn show(dir: &Path) -> Result<Command> {
    let mut command = lotgate()?;
    command.arg("--config").arg(dir.join("lotgate.toml")).args(["config", "show", "--origin", "--json"]);
    Ok(command)
}

fn row<'a>(shown: &'a Value, key: &str) -> &'a Value {
    shown["keys"].as_array().unwrap().iter().find(|row| row["key"] == key).unwrap()
}

#[test]
fn every_key_is_shown_with_its_value_and_where_it_comes_from() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("lotgate.toml");
    write(
        &file,
        "[cloud]\nserver = \"https://file.example\"\nproxy = \"http://user:secret@proxy:3128\"\n\
         [station]\nname = \"File\"\n[[device]]\nrole = \"scanner\"\ntransport = \"serial\"\npath = \"/dev/x\"\n",
    )?;
    let data = dir.path().join("data");
    let shown = run_json(
        show(dir.path())?
            .arg("--data-dir")
            .arg(&data)
            .env("LOTGATE_SERVER", "https://environment.example")
            .env("LOTGATE_LOG", "debug"),
    )?;
    let keys: Vec<&str> =
        shown["keys"].as_array().unwrap().iter().filter_map(|row| row["key"].as_str()).collect();
    let all = [
        "cloud.server",
        "cloud.ca_file",
        "cloud.proxy",
        "paths.data",
        "paths.secure",
        "station.name",
        "station.language",
        "keys.store",
        "log.filter",
        "codes.lot_prefix",
        "device",
    ];
    assert_eq!(keys, all);
    let told = |key: &str| (row(&shown, key)["value"].clone(), row(&shown, key)["origin"].clone());
    let origin = |layer: &str, place: &str, line: u64| json!({"layer": layer, "place": place, "line": line});
    let path = file.display().to_string();
    assert_eq!(
        told("cloud.server"),
        (json!("https://environment.example"), origin("environment", "LOTGATE_SERVER", 0))
    );
    assert_eq!(told("cloud.proxy"), (json!("http://***@proxy:3128"), origin("file", &path, 3)));
    assert_eq!(told("paths.data"), (json!(data.display().to_string()), origin("flag", "--data-dir", 0)));
    assert_eq!(told("station.name"), (json!("File"), origin("file", &path, 5)));
    assert_eq!(told("log.filter"), (json!("debug"), origin("environment", "LOTGATE_LOG", 0)));
    assert_eq!(told("keys.store"), (json!("automatic"), origin("built_in", "", 0)));
    assert_eq!(row(&shown, "device")["value"][0]["baud"], 9600);
    assert!(!shown.to_string().contains("secret@"), "no password");

    let mut plain = lotgate()?;
    plain.arg("--config").arg(&file).args(["config", "show", "--origin"]);
    let plain = run(&mut plain)?;
    let text = String::from_utf8(plain.stdout)?;
    let server = text.lines().find(|line| line.starts_with("cloud.server = \"https://file.example\" "));
    assert!(server.is_some_and(|line| line.ends_with(&format!(" # file {path}:2"))), "{text}");
    assert!(!text.contains("secret@"), "{text}");
    Ok(())
}

fn refused(output: &Output, told: &Value) -> Result<()> {
    ensure!(output.status.code() == Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let error: Value = serde_json::from_slice(&output.stdout)?;
    let error = &error["error"];
    assert_eq!(json!([error["code"], error["file"], error["line"], error["key"]]), *told);
    assert!(error["text"].as_str().context("no words")?.ends_with('.'));
    Ok(())
}

#[test]
fn an_unknown_key_is_an_error_with_its_place_whatever_source_it_is_in() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("lotgate.toml");
    write(&file, "[cloud]\n\nservre = \"https://x\"\n")?;
    let unknown = run(&mut show(dir.path())?)?;
    refused(&unknown, &json!(["config_unknown_key", file.display().to_string(), 3, "cloud.servre"]))?;
    write(&file, "")?;
    let unknown = run(show(dir.path())?.env("LOTGATE_SERVRE", "https://x"))?;
    refused(&unknown, &json!(["config_unknown_key", "environment", 0, "LOTGATE_SERVRE"]))?;
    let invalid = run(show(dir.path())?.env("LOTGATE_SERVER", "cloud"))?;
    refused(&invalid, &json!(["config_invalid_value", "environment", 0, "LOTGATE_SERVER"]))?;
    let invalid = run(show(dir.path())?.args(["--server", "http://cloud.example"]))?;
    refused(&invalid, &json!(["config_invalid_value", "command line", 0, "--server"]))?;
    let absent = run(show(dir.path())?.env("LOTGATE_CONFIG", "/nowhere"))?;
    assert!(absent.status.success(), "--config goes before the variable");
    Ok(())
}

/// With files of our own laid over `/etc` and `/usr/share`, for this one process.
fn overlaid(dir: &Path, command: &Command) -> Result<Output> {
    let mount = "mount -t overlay overlay -o lowerdir=\"$1/etc\":/etc /etc && \
                 mount -t overlay overlay -o lowerdir=\"$1/share\":/usr/share /usr/share && shift && exec \"$@\"";
    let mut unshared = Command::new("unshare");
    unshared
        .args(["-m", "sh", "-c", mount, "sh"])
        .arg(dir)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => unshared.env(name, value),
            None => unshared.env_remove(name),
        };
    }
    run(&mut unshared)
}

#[test]
fn a_policy_goes_over_the_command_line_and_the_installers_word_under_the_file() -> Result<()> {
    let mounts =
        || Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    if std::fs::metadata("/proc/self")?.uid() != 0 || !mounts() {
        println!("skipped: only root can lay other files over /etc");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let policies = dir.path().join("etc/lotgate/policy.d");
    let share = dir.path().join("share/lotgate");
    std::fs::create_dir_all(&policies)?;
    std::fs::create_dir_all(&share)?;
    write(&policies.join("10-plant.toml"), "[cloud]\nserver = \"https://policy.example\"\n")?;
    write(&share.join("installer.toml"), "[station]\nname = \"Installer\"\n[log]\nfilter = \"warn\"\n")?;
    write(&dir.path().join("lotgate.toml"), "[station]\nname = \"File\"\n")?;
    let mut command = show(dir.path())?;
    command.args(["--server", "https://flag.example"]);
    let output = overlaid(dir.path(), &command)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout)?;
    let told = |key: &str| json!([row(&shown, key)["value"], row(&shown, key)["origin"]["layer"]]);
    assert_eq!(told("cloud.server"), json!(["https://policy.example", "policy"]));
    assert_eq!(told("station.name"), json!(["File", "file"]));
    assert_eq!(told("log.filter"), json!(["warn", "installer"]));

    write(&policies.join("20-wrong.toml"), "[clowd]\n")?;
    let output = overlaid(dir.path(), &command)?;
    let place = "/etc/lotgate/policy.d/20-wrong.toml";
    refused(&output, &json!(["config_unknown_key", place, 1, "clowd"]))
}

//! Where the device secret lies: chosen and proven at enrolment, recorded, never changed in silence (DESIGN §4).
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking; a skipped one says so"
)]

use anyhow::{Context as _, Result, ensure};
use lotgate_tests::plant::{Plant, Station};
use lotgate_tests::programs::{Process, run, run_json, wait_for};
use serde_json::Value;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn enrol(plant: &Plant, station: &Station, with: &[(&str, &str)]) -> Result<Output> {
    let token = plant.dir.join("t.token");
    let token = if token.exists() { token } else { plant.token("t", true)? };
    let mut command = station.command()?;
    command.args(["enrol", "--server", &plant.server()]).arg("--token-file").arg(&token);
    run(command.envs(with.iter().copied()))
}

fn protection(station: &Station, with: &[(&str, &str)]) -> Result<Value> {
    let status = run_json(station.command()?.args(["status", "--json"]).envs(with.iter().copied()))?;
    Ok(status["key_protection"].clone())
}

fn refused(station: &Station, with: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let mut codes = Vec::new();
    for command in [["status", "--json"].as_slice(), &["agent"], &["queue", "verify"]] {
        let output = run(station.command()?.args(command).envs(with.iter().copied()))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = said.trim_end().rsplit_once('(').map(|(_, code)| code.trim_end_matches(')').to_owned());
        codes.push((output.status.code(), code.context(said)?));
    }
    codes.dedup();
    ensure!(codes.len() == 1, "every command says the same: {codes:?}");
    codes.pop().context("nothing was tried")
}

fn credential(dir: &Path, byte: u8) -> Result<String> {
    let dir = dir.join(format!("credentials-{byte}"));
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("lotgate.device"), [byte; 32])?;
    Ok(dir.display().to_string())
}

#[test]
fn a_credential_of_the_system_is_the_device_secret_and_without_it_nothing_opens() -> Result<()> {
    let plant = Plant::new("credential")?;
    let station = plant.machine("s")?;
    let (right, wrong) = (credential(&plant.dir, 1)?, credential(&plant.dir, 2)?);
    let with = |dir| [("CREDENTIALS_DIRECTORY", dir)];
    let enrolled = enrol(&plant, &station, &with(right.as_str()))?;
    ensure!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    assert_eq!(protection(&station, &with(&right))?, "credential");
    assert!(!station.dir.join("data.secure/device.key").exists(), "the secret is not on the disk");
    assert_eq!(refused(&station, &[])?, (Some(13), "key_store_missing".to_owned()));
    assert_eq!(refused(&station, &with(&wrong))?, (Some(13), "key_store_mismatch".to_owned()));
    assert_eq!(protection(&station, &with(&right))?, "credential", "nothing was changed");
    Ok(())
}

#[test]
fn the_choice_of_a_file_stays_when_other_stores_appear_and_a_lost_file_is_said() -> Result<()> {
    let plant = Plant::new("key_file")?;
    let station = plant.machine("s")?;
    let enrolled = enrol(&plant, &station, &[])?;
    ensure!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    let credentials = credential(&plant.dir, 1)?;
    let others = [("CREDENTIALS_DIRECTORY", credentials.as_str()), ("LOTGATE_KEY_STORE", "secret_service")];
    assert_eq!(protection(&station, &others)?, "file");
    let key = station.dir.join("data.secure/device.key");
    assert_eq!(std::fs::metadata(&key)?.permissions().mode() & 0o777, 0o600);
    let doctor = run_json(station.command()?.args(["doctor", "--json"]).envs(others))?;
    let check = doctor["checks"].as_array().unwrap().iter().find(|check| check["id"] == "key_store");
    assert_eq!(check.unwrap()["detail"], "key protection: file");

    let aside = key.with_extension("away");
    std::fs::rename(&key, &aside)?;
    assert_eq!(refused(&station, &others)?, (Some(13), "key_store_missing".to_owned()));
    assert!(!key.exists(), "nothing was made in its place");
    std::fs::rename(&aside, &key)?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640))?;
    assert_eq!(refused(&station, &[])?, (Some(13), "wrong_permissions".to_owned()));
    Ok(())
}

/// A session bus that starts no services by itself: one of the system's would be locked.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
    "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"#;

/// A session bus with a real Secret Service on it, unlocked, in a directory of its own.
struct Session {
    _bus: Process,
    keyring: Child,
    address: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.keyring.kill();
        let _ = self.keyring.wait();
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

impl Session {
    /// `None` where the parts are not installed.
    fn start(dir: &Path, unlocked: bool) -> Result<Option<Self>> {
        let (Some(bus), Some(keyring)) = (installed("dbus-daemon"), installed("gnome-keyring-daemon")) else {
            return Ok(None);
        };
        let home = dir.join("home");
        std::fs::create_dir_all(&home)?;
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700))?;
        let config = home.join("bus.conf");
        std::fs::write(&config, BUS)?;
        let mut bus = Command::new(bus);
        let bus = Process::start(bus.arg("--config-file").arg(config).args(["--nofork", "--print-address"]))?;
        let address = bus.line(std::time::Duration::from_secs(20)).context("the bus says no address")?;
        let mut keyring = Command::new(keyring)
            .args(["--foreground", "--components=secrets"])
            .args(unlocked.then_some("--unlock"))
            .env("DBUS_SESSION_BUS_ADDRESS", &address)
            .envs(["HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"].map(|name| (name, &home)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Its end is the end of the password.
        keyring.stdin.take().context("no standard input")?.write_all(b"a password")?;
        let session = Self { _bus: bus, keyring, address };
        wait_for("the Secret Service answers", || {
            let (path, method) = ("/org/freedesktop/secrets", "org.freedesktop.Secret.Service.ReadAlias");
            let mut ask = Command::new("dbus-send");
            ask.args(["--session", "--print-reply", "--dest=org.freedesktop.secrets", path, method])
                .arg("string:default")
                .env("DBUS_SESSION_BUS_ADDRESS", &session.address);
            let answer = run(&mut ask)?;
            Ok(String::from_utf8_lossy(&answer.stdout).contains("collection/login").then_some(()))
        })?;
        Ok(Some(session))
    }
}

#[test]
fn the_secret_service_keeps_the_secret_where_it_is_asked_for_and_its_loss_or_lock_is_said() -> Result<()> {
    let plant = Plant::new("secret_service")?;
    let Some(session) = Session::start(&plant.dir, true)? else {
        println!("skipped: dbus-daemon or gnome-keyring-daemon is not installed");
        return Ok(());
    };
    let station = plant.machine("s")?;
    let bus = ("DBUS_SESSION_BUS_ADDRESS", session.address.as_str());
    let asked = ("LOTGATE_KEY_STORE", "secret_service");
    let nobody = ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/bus");
    let without = enrol(&plant, &station, &[nobody, asked])?;
    assert_eq!(without.status.code(), Some(13), "no silent step down to a file");
    assert!(String::from_utf8_lossy(&without.stderr).contains("(system_key_store)"));
    assert!(!station.dir.join("data/queue.db").exists(), "nothing half done");

    let enrolled = enrol(&plant, &station, &[bus, asked])?;
    ensure!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    assert!(!station.dir.join("data.secure/device.key").exists(), "the secret is not on the disk");
    assert_eq!(protection(&station, &[bus])?, "secret_service", "recorded, whatever is configured later");
    assert_eq!(refused(&station, &[nobody])?, (Some(13), "system_key_store".to_owned()));
    let credentials = credential(&plant.dir, 1)?;
    let other = ("CREDENTIALS_DIRECTORY", credentials.as_str());
    assert_eq!(protection(&station, &[bus, other])?, "secret_service");

    let items = plant.dir.join("home/keyrings");
    ensure!(items.is_dir(), "the keyring lies there");
    drop(session);
    let locked = Session::start(&plant.dir, false)?.context("it was installed a moment ago")?;
    let bus = ("DBUS_SESSION_BUS_ADDRESS", locked.address.as_str());
    let waits = run(station.command()?.arg("status").envs([bus]))?;
    assert_eq!(waits.status.code(), Some(13), "a locked store is no endless wait");
    assert!(String::from_utf8_lossy(&waits.stderr).contains("(system_key_store)"));
    drop(locked);
    std::fs::remove_dir_all(items)?;
    let session = Session::start(&plant.dir, true)?.context("it was installed a moment ago")?;
    let bus = ("DBUS_SESSION_BUS_ADDRESS", session.address.as_str());
    assert_eq!(refused(&station, &[bus])?, (Some(13), "key_store_missing".to_owned()));
    Ok(())
}

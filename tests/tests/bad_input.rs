//! What goes wrong on a real machine: each a clear code and words, nothing lost, nothing half done.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use anyhow::Result;
use lotgate_devices::binding::{ScannerBinding, Timing};
use lotgate_devices::event::{Delivery, DeviceEvent, DeviceEventKind, DeviceState};
use lotgate_devices::serial::SerialScanner;
use lotgate_tests::plant::{Plant, Station, lot_scan};
use lotgate_tests::programs::{Process, run, wait_for, write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn enrol(station: &Station, server: &str, token: &std::path::Path) -> Result<Output> {
    run(station.command()?.args(["enrol", "--server", server]).arg("--token-file").arg(token))
}

fn assert_refused(output: &Output, exit: i32, code: &str) {
    assert_eq!(output.status.code(), Some(exit), "{}", said(output));
    assert!(said(output).contains(&format!("({code})")), "names {code}: {}", said(output));
    assert!(
        said(output).lines().next().is_some_and(|line| line.contains(' ')),
        "has words: {}",
        said(output)
    );
}

#[test]
fn a_token_enrols_one_station_and_the_same_one_again_after_a_lost_reply() -> Result<()> {
    let plant = Plant::new("token_twice")?;
    let token = plant.token("one", true)?;
    let first = plant.machine("first")?;
    let second = plant.machine("second")?;
    assert!(enrol(&first, &plant.server(), &token)?.status.success());
    assert_refused(&enrol(&second, &plant.server(), &token)?, 11, "token_used");
    assert!(!second.dir.join("data/queue.db").exists(), "nothing half done");
    // As if the reply had got lost: the machine has its keys, but nothing that was made of the answer.
    std::fs::remove_dir_all(first.dir.join("data"))?;
    for made in ["anchor.json", "identity.json"] {
        std::fs::remove_file(first.dir.join("data.secure").join(made))?;
    }
    let again = enrol(&first, &plant.server(), &token)?;
    assert!(again.status.success(), "same key, same answer: {}", said(&again));
    assert_refused(&enrol(&first, &plant.server(), &token)?, 20, "blocked_by_unsynced_queue");
    Ok(())
}

#[test]
fn what_is_no_token_or_no_cloud_is_said_before_anything_is_made() -> Result<()> {
    let mut plant = Plant::new("no_token")?;
    let machine = plant.machine("m")?;
    let file = plant.dir.join("x.token");
    write(&file, "lgt1.nonsense\n")?;
    assert_refused(&enrol(&machine, &plant.server(), &file)?, 2, "token_malformed");
    assert_refused(&enrol(&machine, &plant.server(), &plant.dir.join("none"))?, 2, "token_unreadable");
    let token = plant.token("good", true)?;
    assert_refused(&enrol(&machine, "http://cloud.example", &token)?, 2, "config_invalid_value");
    plant.network.cut();
    assert_refused(&enrol(&machine, &plant.server(), &token)?, 11, "connection_refused");
    plant.network.restore()?;
    let enrolled = enrol(&machine, &plant.server(), &token)?;
    assert!(enrolled.status.success(), "the token is still good: {}", said(&enrolled));
    Ok(())
}

#[test]
fn a_station_finds_the_cloud_that_enrolled_it_without_a_configured_server() -> Result<()> {
    let plant = Plant::new("server")?;
    let mut station = plant.station("s")?;
    let path = station.dir.join("lotgate.toml");
    let config = std::fs::read_to_string(&path)?;
    let lines: Vec<&str> = config.lines().filter(|line| !line.starts_with("server")).collect();
    write(&path, &lines.join("\n"))?;
    station.start()?;
    station.wait_settled()?;
    Ok(())
}

#[test]
fn a_station_without_devices_drains_its_queue_until_it_is_told_to_stop() -> Result<()> {
    let plant = Plant::new("no_devices")?;
    let station = plant.station("s")?;
    let path = station.dir.join("lotgate.toml");
    let config = std::fs::read_to_string(&path)?;
    write(&path, config.split("[[device]]").next().unwrap_or_default())?;
    assert_eq!(station.status()?["queue"]["queued"], 1, "station.enrolled waits");
    let agent = Process::start(station.command()?.args(["agent", "--events"]))?;
    station.wait_settled()?;
    let (code, _, complaint) = agent.stop()?;
    assert_eq!(code, Some(0), "{complaint}");
    Ok(())
}

#[test]
fn doctor_tells_a_taken_port_and_a_missing_one_from_the_agents_own() -> Result<()> {
    let plant = Plant::new("doctor")?;
    let mut station = plant.station("s")?;
    let doctor = |station: &Station| run(station.command()?.args(["doctor", "--json"]));
    station.start()?;
    station.wait_settled()?;
    let beside = doctor(&station)?;
    assert!(beside.status.success(), "{}", String::from_utf8_lossy(&beside.stdout));
    assert!(String::from_utf8_lossy(&beside.stdout).contains("in use while the agent runs"));
    station.stop()?;
    let sink = |_| Delivery::Taken;
    let other =
        SerialScanner::start(ScannerBinding::at_path(station.scanner.path()), Timing::default(), sink)?;
    wait_for("the other program has the port", || Ok(station.scanner.is_open().then_some(())))?;
    let taken = doctor(&station)?;
    assert_eq!(taken.status.code(), Some(15));
    assert!(String::from_utf8_lossy(&taken.stdout).contains("busy_device"));
    other.stop();
    station.scanner.unplug()?;
    let missing = doctor(&station)?;
    assert_eq!(missing.status.code(), Some(15));
    assert!(String::from_utf8_lossy(&missing.stdout).contains("\"missing\""));
    Ok(())
}

#[test]
fn a_wrong_server_certificate_is_told_apart_from_being_offline() -> Result<()> {
    let plant = Plant::new("tls")?;
    let token = plant.token("one", true)?;
    let machine = plant.machine("m")?;
    let (right, wrong) = (rcgen::KeyPair::generate()?, rcgen::KeyPair::generate()?);
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::from_params(&authority, &right);
    let server_key = rcgen::KeyPair::generate()?;
    let server =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&server_key, &issuer)?;
    write(&plant.dir.join("server.pem"), &server.pem())?;
    write(&plant.dir.join("server.key"), &server_key.serialize_pem())?;
    write(&plant.dir.join("right.pem"), &authority.self_signed(&right)?.pem())?;
    write(&plant.dir.join("wrong.pem"), &authority.self_signed(&wrong)?.pem())?;

    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = std::fs::read_to_string(plant.dir.join("cloud.toml"))?;
    let listen = format!("address = \"127.0.0.1:{port}\"");
    let config = config
        .lines()
        .map(|line| if line.starts_with("address") { listen.as_str() } else { line })
        .chain(["[tls]"])
        .collect::<Vec<_>>()
        .join("\n");
    let (cert, key) = (plant.dir.join("server.pem"), plant.dir.join("server.key"));
    let tls = plant.dir.join("tls.toml");
    write(&tls, &format!("{config}\ncertificate = \"{}\"\nkey = \"{}\"\n", cert.display(), key.display()))?;
    let mut command = Command::new(lotgate_tests::programs::program("lotgate-cloud")?);
    let _cloud = Process::start(command.arg("--config").arg(&tls).arg("serve"))?;
    wait_for("TLS port", || Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok()))?;

    let server = format!("https://localhost:{port}");
    let with_ca = |name: &str| -> Result<()> {
        let path = machine.dir.join("lotgate.toml");
        let config = std::fs::read_to_string(&path)?;
        let lines: Vec<&str> = config.lines().filter(|line| !line.starts_with("ca_file")).collect();
        let ca = format!("[cloud]\nca_file = \"{}\"", plant.dir.join(name).display());
        write(&path, &lines.join("\n").replace("[cloud]", &ca))
    };
    with_ca("wrong.pem")?;
    assert_refused(&enrol(&machine, &server, &token)?, 11, "wrong_certificate");
    assert!(!machine.dir.join("data/queue.db").exists(), "nothing half done");
    with_ca("right.pem")?;
    let other_name = enrol(&machine, &format!("https://127.0.0.1:{port}"), &token)?;
    assert_refused(&other_name, 11, "wrong_name");
    let enrolled = enrol(&machine, &server, &token)?;
    assert!(enrolled.status.success(), "with the plant's own authority: {}", said(&enrolled));
    Ok(())
}

#[test]
fn a_configuration_error_names_file_line_and_key() -> Result<()> {
    let plant = Plant::new("config")?;
    let station = plant.station("s")?;
    let path = station.dir.join("lotgate.toml");
    let good = std::fs::read_to_string(&path)?;
    let lines = good.lines().count();
    let with = |line: &str| -> Result<Output> {
        write(&path, &format!("{good}{line}\n"))?;
        run(station.command()?.args(["status", "--json"]))
    };
    let unknown = with("bauds = 9600")?;
    assert_refused(&unknown, 2, "config_unknown_key");
    assert!(
        said(&unknown).contains(&format!("lotgate.toml:{}: device.bauds", lines + 1)),
        "{}",
        said(&unknown)
    );
    assert!(unknown.stdout.starts_with(b"{\"error\""), "JSON for whom asked for it");
    let later = with("[[device]]\nrole = \"scale\"\ntransport = \"serial\"\npath = \"/dev/ttyS9\"")?;
    assert_refused(&later, 2, "not_in_this_version");
    assert!(said(&later).contains(&format!("lotgate.toml:{}: device.role", lines + 2)), "{}", said(&later));
    assert_refused(&with("baud = \"fast\"")?, 2, "config_malformed");
    write(&path, &good)?;
    assert!(run(station.command()?.args(["status", "--json"]))?.status.success(), "nothing was changed");
    Ok(())
}

#[test]
fn one_process_writes_a_queue_and_a_machine_that_is_no_station_says_so() -> Result<()> {
    let plant = Plant::new("lock")?;
    let machine = plant.machine("none")?;
    for command in [["status", "--json"].as_slice(), &["agent"], &["queue", "verify"]] {
        assert_refused(&run(machine.command()?.args(command))?, 10, "not_enrolled");
    }
    let mut station = plant.station("s")?;
    station.start()?;
    let second = run(station.command()?.arg("agent"))?;
    assert_refused(&second, 14, "locked");
    let pid = station.agent_pid().expect("the agent runs").to_string();
    assert!(said(&second).contains(&pid), "names the holder: {}", said(&second));
    assert!(run(station.command()?.args(["queue", "verify"]))?.status.success(), "looking on is allowed");
    Ok(())
}

#[test]
fn root_works_as_the_owner_of_the_directory_and_another_user_is_refused() -> Result<()> {
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        println!("skipped: only root can try this");
        return Ok(());
    }
    let plant = Plant::new("owner")?;
    let station = plant.station("s")?;
    std::fs::set_permissions(&plant.dir, std::fs::Permissions::from_mode(0o755))?;
    let nobody = 65_534;
    for dir in ["data", "data.secure"].map(|dir| station.dir.join(dir)) {
        chown(&dir, Some(nobody), Some(nobody))?;
        for file in std::fs::read_dir(&dir)? {
            chown(file?.path(), Some(nobody), Some(nobody))?;
        }
    }
    let status = run(station.command()?.args(["queue", "verify"]))?;
    assert!(status.status.success(), "{}", said(&status));
    for file in std::fs::read_dir(station.dir.join("data"))? {
        let file = file?;
        assert_eq!(file.metadata()?.uid(), nobody, "{}", file.path().display());
    }
    let other = run(station.command()?.args(["queue", "verify"]).uid(65_533).gid(65_533))?;
    assert_refused(&other, 13, "wrong_user");
    Ok(())
}

#[test]
fn a_port_taken_by_another_program_is_said_so_and_used_when_it_is_free() -> Result<()> {
    let plant = Plant::new("port_taken")?;
    let mut station = plant.station("s")?;
    let (sender, events) = std::sync::mpsc::channel::<DeviceEvent>();
    let sink = move |event| {
        let _ = sender.send(event);
        Delivery::Taken
    };
    let other =
        SerialScanner::start(ScannerBinding::at_path(station.scanner.path()), Timing::default(), sink)?;
    wait_for("the other program has the port", || {
        Ok(events.try_iter().any(|e| e.kind == DeviceEventKind::State(DeviceState::Ready)).then_some(()))
    })?;
    station.start()?;
    station.wait_said("busy_device")?;
    other.stop();
    station.scanner.scan(&lot_scan("L-0001"))?;
    station.wait_confirmed(1)?;
    Ok(())
}

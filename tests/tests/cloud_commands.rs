//! The commands of `lotgate-cloud` that look after a tenant: recovery keys, stations, exports, queues brought by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lotgate_domain::certificate::Trust;
use lotgate_domain::entry::Frame;
use lotgate_tests::plant::Plant;
use lotgate_tests::programs::{run, run_json};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

fn command(plant: &Plant, arguments: &[&str]) -> Output {
    run(plant.cloud_command().unwrap().args(arguments)).unwrap()
}

fn said(plant: &Plant, arguments: &[&str]) -> Value {
    run_json(plant.cloud_command().unwrap().args(arguments)).unwrap()
}

fn assert_fails(plant: &Plant, arguments: &[&str], exit: i32, words: &str) {
    let output = command(plant, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {complaint}");
    assert!(complaint.contains(words), "{arguments:?}: {complaint}");
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

#[test]
fn a_tenant_gets_two_recovery_keys_unless_it_is_said_to_have_none() {
    let plant = Plant::new("cli_recovery").unwrap();
    let [root, one, other] = ["r.key", "1.key", "2.key"].map(|name| path(&plant.dir, name));
    let create = |more: &[&str]| {
        let mut arguments =
            vec!["tenant", "create", "--name", "T", "--site", "S", "--zone", "UTC", "--root-key-out", &root];
        arguments.extend(more);
        arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let borrowed = |arguments: &[String]| -> Vec<String> { arguments.to_vec() };
    for (more, exit, words) in [
        (vec![], 2, "--recovery-key-out"),
        (vec!["--recovery-key-out", one.as_str()], 1, "recovery_keys: "),
        (vec!["--recovery-key-out", &one, "--without-recovery"], 2, "cannot be used with"),
        (vec!["--recovery-key-out", &one, "--recovery-key-out", &one], 1, "key_file_unwritable: "),
    ] {
        let arguments = borrowed(&create(&more));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert_fails(&plant, &arguments, exit, words);
        for file in [&root, &one] {
            assert!(!Path::new(file).exists(), "{file}: no key of a tenant that does not exist");
        }
    }
    let arguments = create(&["--recovery-key-out", &one, "--recovery-key-out", &other]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let made = said(&plant, &arguments);
    assert_eq!(made["recovery_key_files"], json!([one, other]));
    for file in [&one, &other] {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
        assert_eq!(hex::decode(std::fs::read_to_string(file).unwrap().trim()).unwrap().len(), 32, "{file}");
    }
    let tenant = made["tenant"].as_str().unwrap();
    let out = path(&plant.dir, "with");
    said(&plant, &["export", "--tenant", tenant, "--out", &out]);
    let trust = trust_of(Path::new(&out), tenant, made["root_fingerprint"].as_str().unwrap());
    let [first, second] = trust.recovery.expect("two recovery keys");
    for (file, public) in [(&one, first), (&other, second)] {
        let mut private = [0; 32];
        hex::decode_to_slice(std::fs::read_to_string(file).unwrap().trim(), &mut private).unwrap();
        let derived = lotgate_sync::secure::recovery::HolderKey::from_bytes(private).public();
        assert_eq!(derived, public, "{file} is the private half, in order of the holders");
    }

    std::fs::remove_file(&root).unwrap();
    let arguments = create(&["--without-recovery"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let made = said(&plant, &arguments);
    assert_eq!(made["recovery_key_files"], Value::Null);
    let (tenant, out) = (made["tenant"].as_str().unwrap(), path(&plant.dir, "without"));
    said(&plant, &["export", "--tenant", tenant, "--out", &out]);
    let trust = trust_of(Path::new(&out), tenant, made["root_fingerprint"].as_str().unwrap());
    assert_eq!(trust.recovery, None);
}

fn trust_of(export: &Path, tenant: &str, fingerprint: &str) -> Trust {
    let bytes = std::fs::read(export.join("certificates.bin")).unwrap();
    let (mut frames, mut rest) = (Vec::new(), bytes.as_slice());
    while !rest.is_empty() {
        let (frame, after) = Frame::split_first(rest).unwrap();
        frames.push(frame.bytes().to_vec());
        rest = after;
    }
    Trust::establish(tenant.parse().unwrap(), fingerprint.parse().unwrap(), &frames).unwrap()
}

#[test]
fn stations_are_listed_and_revoked_and_unknown_ones_are_not_found() {
    let plant = Plant::new("cli_stations").unwrap();
    let tenant = plant.tenant.as_str();
    assert_eq!(said(&plant, &["station", "list", "--tenant", tenant, "--json"])["stations"], json!([]));
    let nobody = "018bcfe5-6800-7000-8000-000000000000";
    assert_fails(&plant, &["station", "list", "--tenant", nobody], 1, "not_found");
    let revoke = |station: &str| {
        ["station", "revoke", "--tenant", tenant, "--station", station, "--reason", "stolen"]
            .map(str::to_owned)
            .to_vec()
    };
    let arguments = revoke(nobody);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_fails(&plant, &arguments, 1, "not_found");
    let id = insert_station(&plant);
    let listed = said(&plant, &["station", "list", "--tenant", tenant, "--json"]);
    assert_eq!(listed["stations"][0]["station"], json!(id));
    assert_eq!(listed["stations"][0]["last_seen"], Value::Null);
    let lines = command(&plant, &["station", "list", "--tenant", tenant]);
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert_eq!(lines, format!("{id}  Station 7  in use  never seen  held nothing  told nothing\n"));
    let arguments = revoke(&id);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(said(&plant, &arguments)["changed"], json!(true));
    assert_eq!(said(&plant, &arguments)["changed"], json!(false), "said once");
    let listed = said(&plant, &["station", "list", "--tenant", tenant, "--json"]);
    assert_eq!(listed["stations"][0]["closed"], json!("revoked"));
}

/// Enrols a station over HTTP; its id.
fn insert_station(plant: &Plant) -> String {
    use std::io::{Read as _, Write as _};
    let token = std::fs::read_to_string(plant.token("station-7", true).unwrap()).unwrap();
    let token = token.trim().parse().unwrap();
    let body = json!(lotgate_tests::station_keys::enrol_request(&token, 7)).to_string();
    let mut stream = std::net::TcpStream::connect(plant.network.address()).unwrap();
    write!(
        stream,
        "POST /v1/enrol HTTP/1.1\r\nhost: cloud\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let rows = plant.rows("SELECT station_id::text FROM station", &[]).unwrap();
    rows[0].get(0)
}

#[test]
fn an_export_is_made_once_and_is_no_queue_to_be_imported() {
    let plant = Plant::new("cli_export").unwrap();
    let (tenant, out) = (plant.tenant.as_str(), path(&plant.dir, "export"));
    let export = ["export", "--tenant", tenant, "--out", &out];
    let exported = said(&plant, &export);
    assert_eq!((&exported["operations"], &exported["leaves"]), (&json!(0), &json!(6)));
    assert_fails(&plant, &export, 1, "export_exists: ");
    let import = |directory: &str, words: &str| {
        assert_fails(&plant, &["queue", "import", directory, "--tenant", tenant], 1, words);
    };
    import(&out, "export_not_of_a_queue: ");
    import(&path(&plant.dir, "nothing"), "export_unreadable: ");
}

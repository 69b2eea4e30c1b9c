//! The carrier does not matter: what a courier brings gives the rows that a push of the station gives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lotgate_cloud::import::{self, ImportError};
use lotgate_cloud::session::Session;
use lotgate_domain::export::{ExportKind, Manifest};
use lotgate_domain::ids::Hash;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::{CloudApi as _, StopCode, Stopped};
use lotgate_domain::signature::KeyPair;
use lotgate_tests::cloud::{Plant, open, rows_of};
use lotgate_tests::courier::{WrittenEpoch, export_queue, write_manifest};
use lotgate_tests::station_keys::{StationKeys, push_of};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::NoTls;

/// Everything that a push leaves; the audit trail says who carried it.
const TABLES: [&str; 10] =
    ["entry", "waiting", "leaf", "tree", "node", "verdict", "receipt", "scan", "evidence", "lot"];

/// Two epochs of the plant's station: 2,300 operations that every verdict is among, and 3.
fn two_epochs(station: &mut StationKeys) -> Vec<WrittenEpoch> {
    for number in 0..2_296 {
        station.append_scan("A", if number % 7 == 0 { "unknown" } else { "L" });
    }
    let first = (station.epoch.n, station.entries.clone());
    station.open_epoch(9);
    station.append_scan("A", "L");
    station.append_scan("A", "L");
    vec![first, (station.epoch.n, station.entries.clone())]
}

/// As a station sends them: as many as the cloud takes at once.
fn batches(entries: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut batches: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let room = batches.last().map_or(0, |batch| 1_000 - batch.len());
        if room == 0 || bytes + entry.len() > 1024 * 1024 {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += entry.len();
        batches.last_mut().unwrap().push(entry.clone());
    }
    batches
}

async fn import(plant: &Plant, directory: &Path) -> Result<import::Imported, ImportError> {
    import::import(&plant.cloud, plant.tenant, directory).await
}

#[tokio::test]
async fn an_export_that_a_courier_brings_gives_the_rows_of_a_push_and_the_station_then_settles() {
    let mut plant = Plant::new("courier").await;
    let first_epoch = plant.station.epoch;
    let epochs = two_epochs(&mut plant.station);
    let copy = plant.database.copy("courier_pushed").unwrap();
    let pushed = open(&copy, &plant.clock).await;
    let session = Session::of_station(Arc::clone(&pushed), plant.tenant, plant.station.id);
    let mut after = plant.station.after(0);
    for part in batches(&epochs[0].1) {
        let reply = session.push(push_of(first_epoch, after, &part)).await.unwrap();
        (after.seq, after.hash) = (reply.accepted_through.seq, reply.accepted_through.hash);
    }
    session.push(plant.station.push_all()).await.unwrap();

    let directory = tempfile::tempdir().unwrap();
    export_queue(directory.path(), &plant.station, ExportKind::Queue, &epochs, 900);
    // Its connections ended when the database was copied.
    plant.cloud = open(&plant.database, &plant.clock).await;
    let imported = import(&plant, directory.path()).await.unwrap();
    assert_eq!((imported.new, imported.known, imported.left), (2_303, 0, 0));
    assert!(imported.is_whole());

    let looking = async |url: &str| {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let carried = looking(&plant.database.superuser_url).await;
    let rows = rows_of(&carried, &TABLES).await;
    assert!(rows.len() > 2 * 2_303, "entries and leaves: {}", rows.len());
    assert_eq!(rows, rows_of(&looking(&copy.superuser_url).await, &TABLES).await);
    let carriers = "SELECT count(*) FROM audit WHERE actor = $1 AND action = 'operations.pushed'";
    let courier = format!("courier:{}", plant.station.id);
    let told: i64 = carried.query_one(carriers, &[&courier]).await.unwrap().get(0);
    let batches = batches(&epochs[0].1).len() + 1;
    assert!(batches > 3, "several batches an epoch");
    assert_eq!(usize::try_from(told).unwrap(), batches, "the audit trail says who brought them");

    let again = import(&plant, directory.path()).await.unwrap();
    assert_eq!((again.new, again.known, again.left), (0, 2_303, 0), "brought twice");
    let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.station.id);
    let settled = session.push(plant.station.push_all()).await.unwrap();
    assert_eq!((settled.first_index, settled.accepted_through.seq), (None, 3), "the station finds all known");
    assert!(settled.receipt.is_some() && settled.proof.is_some(), "and settles");
    assert_eq!(rows_of(&carried, &TABLES).await, rows);
}

#[tokio::test]
async fn what_was_recovered_needs_no_seal_and_what_was_pushed_before_is_known() {
    let plant = Plant::new("courier_recovered").await;
    let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.station.id);
    session.push(plant.station.push(0, 3)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let epochs = [(1, plant.station.entries.clone())];
    export_queue(directory.path(), &plant.station, ExportKind::Recovered, &epochs, 100);
    let imported = import(&plant, directory.path()).await.unwrap();
    assert_eq!((imported.new, imported.known, imported.left), (1, 3, 0));
}

#[tokio::test]
async fn an_entry_that_cannot_be_taken_stops_its_epoch_and_the_rest_is_said_to_be_left() {
    let mut plant = Plant::new("courier_stopped").await;
    let mut first = plant.station.entries.clone();
    *first[2].last_mut().unwrap() ^= 1;
    plant.station.open_epoch(9);
    let epochs = [(1, first), (2, plant.station.entries.clone())];
    let directory = tempfile::tempdir().unwrap();
    export_queue(directory.path(), &plant.station, ExportKind::Queue, &epochs, 100);
    let imported = import(&plant, directory.path()).await.unwrap();
    assert_eq!((imported.new, imported.left), (3, 2));
    assert!(!imported.is_whole());
    let stopped = Some(Stopped { seq: 3, code: StopCode::BadSignature });
    assert_eq!((imported.ranges[0].new, imported.ranges[0].stopped), (2, stopped));
    assert_eq!((imported.ranges[1].new, imported.ranges[1].stopped), (1, None), "the next epoch goes on");

    let (whole, after) = ([(1, plant.moving.entries.clone())], tempfile::tempdir().unwrap());
    let mut gap = export_queue(after.path(), &plant.moving, ExportKind::Queue, &whole, 100);
    // As after pruning: it begins with seq 3, and the cloud has nothing before it.
    let bytes = plant.moving.entries[2..].concat();
    gap.ranges[0].first = 3;
    gap.files[0].path = lotgate_domain::export::entries_path(plant.moving.id, 1, 0, 3);
    (gap.files[0].sha256, gap.files[0].bytes) = (Hash::of(&bytes), bytes.len() as u64);
    std::fs::write(after.path().join(&gap.files[0].path), &bytes).unwrap();
    write_manifest(after.path(), plant.moving.id, &plant.moving.keys, &gap);
    let refused = import(&plant, after.path()).await.unwrap();
    assert_eq!((refused.new, refused.left), (0, 2));
    assert_eq!(refused.ranges[0].rejected, Some(ProblemCode::HeadMismatch), "entries before it are missing");
}

#[tokio::test]
async fn an_export_that_is_not_whole_not_sealed_or_not_of_this_tenant_changes_nothing() {
    let plant = Plant::new("courier_bad").await;
    let epochs = [(1, plant.station.entries.clone())];
    let exported = || {
        let directory = tempfile::tempdir().unwrap();
        let manifest = export_queue(directory.path(), &plant.station, ExportKind::Queue, &epochs, 100);
        (directory, manifest)
    };
    type Spoil<'a> = &'a dyn Fn(&Path, &Manifest);
    let station = plant.station.id;
    let rewritten = |directory: &Path, change: &dyn Fn(&mut Manifest)| {
        let mut manifest: Manifest =
            serde_json::from_slice(&std::fs::read(directory.join("manifest.json")).unwrap()).unwrap();
        change(&mut manifest);
        write_manifest(directory, station, &plant.station.keys, &manifest);
    };
    let spoils: [(&str, &str, Spoil<'_>); 11] = [
        ("export_damaged", "a flipped bit", &|directory, manifest| {
            let path = directory.join(&manifest.files[0].path);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[100] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
        ("export_damaged", "a cut file", &|directory, manifest| {
            let path = directory.join(&manifest.files[0].path);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("export_unreadable", "a file that is gone", &|directory, manifest| {
            std::fs::remove_file(directory.join(&manifest.files[0].path)).unwrap();
        }),
        ("export_unreadable", "no manifest", &|directory, _| {
            std::fs::remove_file(directory.join("manifest.json")).unwrap();
        }),
        ("export_unsealed", "no seal", &|directory, _| {
            std::fs::remove_file(directory.join("manifest.sig")).unwrap();
        }),
        ("export_unsealed", "the seal of another key", &|directory, manifest| {
            write_manifest(directory, station, &KeyPair::from_seed(&[9; 32]), manifest);
        }),
        ("export_invalid", "another spelling of the manifest", &|directory, _| {
            let path = directory.join("manifest.json");
            let json = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, format!(" {json}")).unwrap();
        }),
        ("export_foreign", "of another tenant", &|directory, _| {
            rewritten(directory, &|manifest| manifest.tenant = plant.foreign.tenant);
        }),
        ("export_not_of_a_queue", "of a cloud", &|directory, _| {
            rewritten(directory, &|manifest| manifest.kind = ExportKind::Cloud);
        }),
        ("export_invalid", "entries of another station", &|directory, _| {
            rewritten(directory, &|manifest| manifest.ranges[0].station = plant.moving.id);
        }),
        ("export_damaged", "a path that leads out", &|directory, _| {
            rewritten(directory, &|manifest| manifest.files[0].path = "../outside".to_owned());
        }),
    ];
    let before = rows_of(&plant.superuser, &TABLES).await;
    for (code, why, spoil) in spoils {
        let (directory, manifest) = exported();
        spoil(directory.path(), &manifest);
        let refused = import(&plant, directory.path()).await.map(|_| ()).unwrap_err();
        assert!(refused.to_string().starts_with(&format!("{code}: ")), "{why}: {refused}");
        assert_eq!(rows_of(&plant.superuser, &TABLES).await, before, "{why}");
    }
    let (directory, _) = exported();
    assert!(import(&plant, directory.path()).await.unwrap().is_whole(), "and as it was written");
}

//! An export is everything that the queue holds, in the form that anybody can check, or it is not there; and a
//! queue whose key store is lost is exported by its two recovery holders.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "queue/rig.rs"]
mod rig;

use lotgate_domain::canonical;
use lotgate_domain::entry::Frame;
use lotgate_domain::export::{ExportKind, Manifest};
use lotgate_domain::ids::{Hash, PublicKey};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::statement::event::ExportSeal;
use lotgate_domain::statement::{self, Receipt, VerdictBatch};
use lotgate_domain::time::Timestamp;
use lotgate_sync::queue::{FaultCode, OpenError, Queue, RecoveredQueue};
use lotgate_sync::secure::recovery::{self, HolderKey, RecoveryError, RecoveryState};
use lotgate_sync::secure::{Secure, SecureError, SystemRandom};
use rig::{Rig, scan};
use std::path::{Path, PathBuf};

async fn append(queue: &Queue, count: u64) {
    for n in 0..count {
        queue.append(scan(n)).await.unwrap();
    }
}

async fn settle(rig: &Rig, queue: &Queue) {
    let head = queue.state().borrow().head;
    queue.settle(rig.settlement(queue, head).await).await.unwrap();
}

fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut frames) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (frame, after) = Frame::split_first(rest).unwrap();
        frames.push(frame.bytes());
        rest = after;
    }
    frames
}

/// Reads an export as an auditor does, and checks every hash in its manifest.
fn read_manifest(dir: &Path) -> Manifest {
    let json = std::fs::read(dir.join("manifest.json")).unwrap();
    let manifest: Manifest = canonical::shape(canonical::read(&json).unwrap()).unwrap();
    for file in &manifest.files {
        let bytes = std::fs::read(dir.join(&file.path)).unwrap();
        assert_eq!((Hash::of(&bytes), bytes.len() as u64), (file.sha256, file.bytes), "{}", file.path);
    }
    let paths: Vec<_> = manifest.files.iter().map(|file| file.path.clone()).collect();
    assert!(paths.is_sorted(), "in order of path");
    manifest
}

fn seal(dir: &Path, rig: &Rig, key: &PublicKey) -> ExportSeal {
    let bytes = std::fs::read(dir.join("manifest.sig")).unwrap();
    statement::read(&bytes, rig.tenant.id, key).unwrap().value
}

fn now() -> Timestamp {
    Timestamp::from_unix_ms(rig::NOON)
}

#[tokio::test]
async fn an_export_beside_the_running_station_holds_all_of_it_sealed_by_its_key() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 4).await;
    settle(&rig, &queue).await;
    append(&queue, 2).await;
    settle(&rig, &queue).await;
    let page = b"{}\n".to_vec();
    let point = rig.feed_point(1, Hash::of(&page), rig::NOON);
    queue.keep_page(point.clone(), Some(page.clone())).await.unwrap();
    append(&queue, 3).await;

    let dir = rig.directory().join("out");
    let report = rig.view().export(&dir, &queue.station_keys(), now()).unwrap();
    assert_eq!((report.kind, report.entries, report.skipped.len()), (ExportKind::Queue, 10, 0));
    let manifest = read_manifest(&dir);
    assert_eq!(manifest.root_fingerprint, rig.tenant.root.public().fingerprint());
    assert_eq!((manifest.v, manifest.kind, manifest.station), (1, ExportKind::Queue, Some(rig.station)));
    let [range] = manifest.ranges.as_slice() else { panic!("one epoch") };
    assert_eq!((range.epoch, range.branch, range.first, range.last), (1, 0, 1, 10));
    let names: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    let entries = format!("entries/{}/1-1.bin", rig.station);
    let all = ["certificates.bin", "checkpoints.txt", &entries, "feed.bin", "receipts.bin", "verdicts.bin"];
    assert_eq!(names, all, "empty files are left out");

    let sealed = seal(&dir, &rig, &queue.identity().public_key());
    assert_eq!(sealed.manifest_sha256, report.manifest_sha256);
    assert_eq!(sealed.manifest_sha256, Hash::of(&std::fs::read(dir.join("manifest.json")).unwrap()));
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let batch =
        queue.batch(lotgate_domain::chain::Head::genesis(queue.identity().certificate.hash), 100, 1 << 20);
    assert_eq!(read(&entries), batch.await.unwrap().unwrap().entries, "the bytes that are sent");
    assert_eq!(read("certificates.bin"), queue.identity().certificates.concat());
    let key = rig.tenant.statement.public();
    for bytes in frames(&read("receipts.bin")) {
        statement::read::<Receipt>(bytes, rig.tenant.id, &key).unwrap();
    }
    let verdicts = read("verdicts.bin");
    let firsts: Vec<u64> = frames(&verdicts)
        .into_iter()
        .map(|bytes| statement::read::<VerdictBatch>(bytes, rig.tenant.id, &key).unwrap().value.first)
        .collect();
    assert_eq!(firsts, [5, 11], "in the order in which they were made");
    let notes = String::from_utf8(read("checkpoints.txt")).unwrap();
    let notes: Vec<_> = notes.split("\n\nlotgate/").collect();
    assert_eq!(notes.len(), 2);
    Checkpoint::read(&format!("{}\n", notes[0]), rig.tenant.id, &rig.tenant.log.public()).unwrap();
    Checkpoint::read(&format!("lotgate/{}", notes[1]), rig.tenant.id, &rig.tenant.log.public()).unwrap();
    let feed = [&length(&point.bytes)[..], &point.bytes, &length(&page), &page].concat();
    assert_eq!(read("feed.bin"), feed);
    append(&queue, 1).await;
    assert_eq!(queue.state().borrow().queued, 4, "the station goes on");
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_be_bytes()
}

#[tokio::test]
async fn an_export_that_cannot_be_finished_is_not_there() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 3).await;
    let view = rig.view();
    let dir = rig.directory().join("out");
    let export = |dir: &Path| view.export(dir, &queue.station_keys(), now());
    // A file stands where a directory has to be made: what was written before it must go, too.
    let blocked = rig.directory().join("file");
    std::fs::write(&blocked, b"").unwrap();
    let error = export(&blocked.join("out")).unwrap_err();
    assert_eq!(error.code(), "export_unwritable");
    // What a power cut left of an earlier one is in nobody's way, and never looks whole.
    let partial = rig.directory().join("out.partial");
    std::fs::create_dir_all(partial.join("entries")).unwrap();
    std::fs::write(partial.join("certificates.bin"), b"half").unwrap();
    export(&dir).unwrap();
    assert!(!partial.exists());
    read_manifest(&dir);
    assert_eq!(export(&dir).unwrap_err().code(), "export_exists", "nothing is ever written over");
}

#[tokio::test]
async fn a_damaged_entry_is_left_out_and_named() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 5).await;
    queue.close().await.unwrap();
    let connection = rig.connection();
    connection.execute_batch("DROP TRIGGER operation_no_update").unwrap();
    connection.execute_batch("UPDATE operation SET entry = x'0000' WHERE position = 3").unwrap();
    drop(connection);
    let secure = Secure::view(rig.places()).unwrap();
    let dir = rig.directory().join("out");
    let report = rig.view().export(&dir, secure.station_keys(), now()).unwrap();
    assert_eq!((report.entries, report.skipped[0].code), (5, FaultCode::BadFrame));
    assert_eq!((report.skipped.len(), report.skipped[0].seq), (1, 3));
    let ranges: Vec<_> = read_manifest(&dir).ranges.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(ranges, [(1, 2), (4, 6)], "the gap shows");
    let after = std::fs::read(dir.join(format!("entries/{}/1-4.bin", rig.station))).unwrap();
    assert_eq!(frames(&after).len(), 3);
}

#[cfg(unix)]
mod killed {
    use super::{Rig, Secure, append, now, read_manifest, seal};
    use lotgate_sync::secure::{Random as _, SystemRandom};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    const DIRECTORY: &str = "LOTGATE_TEST_DIRECTORY";
    const KILLS: u64 = 20;

    /// Not a test by itself: what is killed.
    #[test]
    #[ignore = "run by the test below, in a process of its own"]
    fn child_that_exports_until_it_is_killed() {
        let Some(directory) = std::env::var_os(DIRECTORY) else { return };
        let rig = Rig::at(directory.into());
        let secure = Secure::view(rig.places()).unwrap();
        for n in (0..).filter(|n| !rig.directory().join(format!("out-{n}")).exists()) {
            rig.view()
                .export(&rig.directory().join(format!("out-{n}")), secure.station_keys(), now())
                .unwrap();
        }
    }

    fn spawn(rig: &Rig) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child_that_exports_until_it_is_killed", "--ignored"])
            .env(DIRECTORY, rig.directory())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[tokio::test]
    async fn an_export_that_is_killed_never_looks_whole() {
        let rig = Rig::new();
        let queue = rig.create();
        append(&queue, 300).await;
        let key = queue.identity().public_key();
        queue.close().await.unwrap();
        let mut killed_half_way = 0;
        for _ in 0..KILLS {
            let mut child = spawn(&rig);
            let mut micros = [0; 2];
            SystemRandom.fill(&mut micros).unwrap();
            let until =
                Instant::now() + Duration::from_micros(10_000 + u64::from(u16::from_le_bytes(micros)));
            while Instant::now() < until {
                std::thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let names = std::fs::read_dir(rig.directory()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            for name in names.filter(|name| name.starts_with("out-")) {
                if name.ends_with(".partial") {
                    killed_half_way += 1;
                    continue;
                }
                let dir = rig.directory().join(name);
                let last = read_manifest(&dir).ranges[0].last;
                assert_eq!(last, 301);
                seal(&dir, &rig, &key);
            }
        }
        assert!(killed_half_way > 0, "none was killed while it wrote");
        assert!(rig.directory().join("out-0").exists(), "none came to its end");
    }
}

fn holders() -> [HolderKey; 2] {
    [HolderKey::from_bytes([71; 32]), HolderKey::from_bytes([72; 32])]
}

fn with_holders() -> Rig {
    let mut rig = Rig::new();
    rig.tenant.holders = Some(holders().map(|holder| holder.public()));
    rig
}

/// A key as its holder keeps it.
fn key_file(rig: &Rig, name: &str, byte: u8) -> PathBuf {
    let path = rig.directory().join(name);
    std::fs::write(&path, format!("{}\n", hex::encode([byte; 32]))).unwrap();
    set_mode(&path, 0o600);
    path
}

fn set_mode(path: &Path, mode: u32) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    #[cfg(not(unix))]
    let _ = (path, mode);
}

#[tokio::test]
async fn a_queue_without_its_key_store_is_opened_by_both_holders_one_after_the_other() {
    let rig = with_holders();
    let queue = rig.create();
    append(&queue, 4).await;
    assert_eq!(rig.view().recovery().unwrap(), RecoveryState::Sealed);
    let genesis = lotgate_domain::chain::Head::genesis(queue.identity().certificate.hash);
    let batch = queue.batch(genesis, 100, 1 << 20).await.unwrap().unwrap();
    let sealed = std::fs::read(rig.data().join(recovery::SEALED)).unwrap();

    let first = HolderKey::read(&key_file(&rig, "holder-1", 71)).unwrap();
    let second = HolderKey::read(&key_file(&rig, "holder-2", 72)).unwrap();
    let half = recovery::open_outer(&sealed, &first).unwrap();
    let half_file = rig.directory().join(recovery::HALF);
    std::fs::write(&half_file, half).unwrap();
    let recovered = recovery::open_inner(&std::fs::read(&half_file).unwrap(), &second).unwrap();
    assert_eq!((recovered.of.station, recovered.of.tenant), (rig.station, rig.tenant.id));

    let running = RecoveredQueue::open(&rig.places(), &rig.queue_file(), &recovered);
    assert!(matches!(running, Err(OpenError::Secure(SecureError::Locked { .. }))), "the station runs");
    queue.close().await.unwrap();
    std::fs::remove_dir_all(rig.secure_dir()).unwrap();
    assert!(Secure::open(rig.places()).is_err(), "the key store is gone");

    let opened = RecoveredQueue::open(&rig.places(), &rig.queue_file(), &recovered).unwrap();
    let dir = rig.directory().join("out");
    let report = opened.export(&dir).unwrap();
    assert_eq!((report.kind, report.entries), (ExportKind::Recovered, 5));
    let manifest = read_manifest(&dir);
    assert_eq!(manifest.kind, ExportKind::Recovered);
    let entries = format!("entries/{}/1-1.bin", rig.station);
    let names: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["certificates.bin", &entries], "entries only");
    assert!(!dir.join("manifest.sig").exists(), "there is no key left to seal it with");
    assert_eq!(std::fs::read(dir.join(entries)).unwrap(), batch.entries);
    let both = recovery::recover(&sealed, &first, &second).unwrap();
    drop(opened);
    assert!(RecoveredQueue::open(&rig.places(), &rig.queue_file(), &both).is_ok(), "or both at once");
}

#[tokio::test]
async fn a_recovered_key_opens_its_own_queue_only() {
    let (rig, other) = (with_holders(), with_holders());
    for rig in [&rig, &other] {
        let queue = rig.create();
        append(&queue, 1).await;
        queue.close().await.unwrap();
    }
    let [first, second] = holders();
    let sealed = std::fs::read(other.data().join(recovery::SEALED)).unwrap();
    let recovered = recovery::recover(&sealed, &first, &second).unwrap();
    let opened = RecoveredQueue::open(&rig.places(), &rig.queue_file(), &recovered);
    assert!(matches!(opened, Err(OpenError::KeyMismatch)));
    let nothing = RecoveredQueue::open(&rig.places(), &rig.directory().join("none"), &recovered);
    assert!(matches!(nothing, Err(OpenError::Lost)));
}

#[tokio::test]
async fn the_key_is_sealed_before_the_queue_can_be_used_and_again_where_that_was_lost() {
    let rig = with_holders();
    let path = rig.data().join(recovery::SEALED);
    // The seal cannot be written: then there is no queue.
    std::fs::create_dir_all(path.join("in the way")).unwrap();
    set_mode(&rig.data(), 0o700);
    assert!(rig.try_create().is_err());
    assert!(!rig.queue_file().exists(), "no queue that only one place could open");
    std::fs::remove_dir_all(&path).unwrap();
    let queue = rig.create();
    append(&queue, 1).await;
    queue.close().await.unwrap();
    let sealed = std::fs::read(&path).unwrap();

    std::fs::remove_file(&path).unwrap();
    assert_eq!(rig.view().recovery().unwrap(), RecoveryState::Missing);
    rig.open().close().await.unwrap();
    assert_eq!(rig.view().recovery().unwrap(), RecoveryState::Sealed);
    std::fs::write(&path, &sealed[1..]).unwrap();
    assert_eq!(rig.view().recovery().unwrap(), RecoveryState::Stale);
    rig.open().close().await.unwrap();
    let [first, second] = holders();
    assert!(recovery::recover(&std::fs::read(&path).unwrap(), &first, &second).is_ok());

    let without = Rig::new();
    without.create().close().await.unwrap();
    assert!(!without.data().join(recovery::SEALED).exists());
    assert_eq!(without.view().recovery().unwrap(), RecoveryState::NoHolders, "doctor says so");
}

#[test]
fn a_holders_key_file_is_private_and_has_its_form() {
    let rig = Rig::new();
    let path = key_file(&rig, "holder", 71);
    assert_eq!(HolderKey::read(&path).unwrap().public(), holders()[0].public());
    std::fs::write(&path, "71").unwrap();
    assert!(matches!(HolderKey::read(&path), Err(RecoveryError::KeyFile(_))));
    assert!(matches!(HolderKey::read(&rig.directory().join("none")), Err(RecoveryError::Io { .. })));
    #[cfg(unix)]
    {
        set_mode(&path, 0o640);
        let read = HolderKey::read(&path);
        assert!(matches!(read, Err(RecoveryError::Permissions { mode: 0o640, .. })));
    }
    let secure = Secure::prepare(rig.places(), &SystemRandom).unwrap();
    drop(secure);
}

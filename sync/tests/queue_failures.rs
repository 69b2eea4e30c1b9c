//! A disk that takes no more: nothing half done, nothing lost, and work again as soon as it does.
//!
//! The disk's end is played by the limit on file size, which a process can lower and raise without rights.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(unix)]

#[path = "queue/rig.rs"]
mod queue_rig;

use lotgate_sync::queue::{AppendError, Queue, StopReason};
use queue_rig::{Rig, scan};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::Command;
use std::time::{Duration, Instant};

const DIRECTORY: &str = "LOTGATE_TEST_DIRECTORY";

fn limit_files_to(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

async fn append_ten(queue: &Queue) -> Vec<Result<u64, AppendError>> {
    let waiting: Vec<_> = (0..10).map(|n| queue.submit(scan(n))).collect();
    let mut answers = Vec::new();
    for one in waiting {
        answers.push(one.await.map(|appended| appended.seq));
    }
    answers
}

/// Not a test by itself: runs where the signal for the limit is ignored, so that writes fail instead.
#[tokio::test]
#[ignore = "run by the tests below, in a process of its own"]
async fn child_whose_disk_is_full_for_a_while() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let rig = Rig::at(directory.into());
    let queue = rig.create();
    assert!(append_ten(&queue).await.iter().all(Result::is_ok), "before");
    let before = queue.state().borrow().head;

    // Room for the open log's next pages, but not for ten operations: the first write of the group works.
    let log = std::fs::metadata(rig.data().join("queue.db-wal")).unwrap().len();
    limit_files_to(Some(log + 6_000));
    let answers = append_ten(&queue).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(failed > 0, "something must have failed: {answers:?}");
    let confirmed = answers.iter().filter_map(|answer| answer.as_ref().ok()).max().copied();
    let head = queue.state().borrow().head;
    assert!(head.seq >= confirmed.unwrap_or(before.seq), "what was confirmed is there");

    // No room for anything: refused, and each refusal tries.
    limit_files_to(Some(4_096));
    let answers = append_ten(&queue).await;
    assert!(answers.iter().all(Result::is_err), "nothing is accepted: {answers:?}");
    assert!(queue.state().borrow().stopped.is_some(), "and it shows");
    let again = queue.append(scan(1)).await;
    assert!(matches!(again, Err(AppendError::Stopped(_))), "refused until a probe works: {again:?}");

    limit_files_to(None);
    let answers = append_ten(&queue).await;
    assert!(answers.iter().all(Result::is_ok), "afterwards: {answers:?}");
    assert_eq!(queue.state().borrow().stopped, None);
    let verification = rig.view().verify(|_| {}).unwrap();
    assert!(verification.ok(), "{verification:?}");
    assert_eq!(Some(verification.entries), answers.last().and_then(|answer| answer.as_ref().ok().copied()));

    // Full again, and nobody scans: the queue finds out by itself that there is room.
    limit_files_to(Some(4_096));
    let answers = append_ten(&queue).await;
    assert!(answers.iter().all(Result::is_err), "nothing is accepted: {answers:?}");
    limit_files_to(None);
    let mut state = queue.state();
    let deadline = Instant::now() + Duration::from_secs(30);
    while state.borrow_and_update().stopped.is_some() {
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::time::timeout(left, state.changed()).await.expect("it never resumed").unwrap();
    }
    queue.close().await.unwrap();
    rig.open();
}

#[test]
fn a_full_disk_refuses_everything_and_loses_nothing() {
    let rig = Rig::new();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_whose_disk_is_full_for_a_while", "--ignored", "--nocapture"])
        .env(DIRECTORY, rig.directory())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// Not a test by itself: runs with its directory on a file system of its own that is nearly full.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn child_on_a_small_disk() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let rig = Rig::at(directory.into());
    let queue = rig.create();
    let ballast = rig.directory().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let mut confirmed = 1;
    let error = loop {
        match queue.append(scan(confirmed)).await {
            Ok(appended) => confirmed = appended.seq,
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), error.exit_code()), ("disk_full", 14), "{error:?}");
    let again = append_ten(&queue).await;
    assert!(again.iter().all(Result::is_err), "still full: {again:?}");
    let stopped = queue.state().borrow().stopped;
    assert_eq!(stopped, Some(StopReason::DiskFull));
    let verification = rig.view().verify(|_| {}).unwrap();
    assert!(
        verification.ok() && verification.entries == confirmed,
        "{confirmed} confirmed: {verification:?}"
    );

    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(
        queue.append(scan(0)).await.unwrap().seq,
        confirmed + 1,
        "room again, and no number was used up"
    );
    queue.close().await.unwrap();
    rig.open();
}

/// Needs the right to mount in a namespace of its own; where that is forbidden the test above stands alone.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_space_is_called_full() {
    let mount = "mount -t tmpfs -o size=4m none \"$0\"";
    let allowed = Command::new("unshare").args(["-rm", "sh", "-c", mount, "/mnt"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("not allowed to mount: skipped");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &format!("{mount} && exec \"$@\"")])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_on_a_small_disk", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

#[test]
fn the_codes_of_a_stop_are_those_of_the_catalogue() {
    let codes = [StopReason::DiskFull, StopReason::Io, StopReason::Damaged, StopReason::UnknownOutcome]
        .map(StopReason::code);
    assert_eq!(codes, ["disk_full", "disk_io", "damaged", "unknown_outcome"]);
}

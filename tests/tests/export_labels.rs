//! A label that an exported queue names and does not hold is missed by the auditor's program.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use anyhow::{Result, ensure};
use lotgate_domain::ids::{BootId, Hash, OperationId};
use lotgate_domain::operation::Program;
use lotgate_domain::operation::body::{Body, Device, LabelQueued, SnapshotLot};
use lotgate_domain::reference::LotStatus;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::queue::{CapacityLimits, Draft, Queue, QueueOptions};
use lotgate_sync::secure::{Places, Secure, SystemRandom};
use lotgate_tests::plant::{Plant, Station};
use lotgate_tests::programs::{program, run};
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;

const KEPT: &[u8] = b"^XA^FDkept^FS^XZ";
const LOST: &[u8] = b"^XA^FDlost^FS^XZ";

fn queued(bytes: &[u8]) -> Draft {
    let body = Body::LabelQueued(LabelQueued {
        printer: Device {
            role: "printer".to_owned(),
            transport: "tcp".to_owned(),
            id: "tcp:127.0.0.1:9100".to_owned(),
            simulated: true,
        },
        template: "container/1".to_owned(),
        language: "en".to_owned(),
        scan: OperationId::from_parts(1, &[1; 10]),
        item: "API-1".to_owned(),
        lot: "L1".to_owned(),
        snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: None },
        serial: "0000000000001".to_owned(),
        copy: 1,
        of: None,
        elements: Vec::new(),
        sha256: Hash::of(bytes),
        bytes: u64::try_from(bytes.len()).unwrap(),
    });
    Draft::by_station(body, None)
}

fn open(station: &Station) -> Result<Queue> {
    Ok(Queue::open(QueueOptions {
        secure: Secure::open(Places::new(station.dir.join("data"), None, None))?,
        clock: Arc::new(SystemClock::new(BootId::from_parts(0, &[0; 10]))),
        random: Arc::new(SystemRandom),
        program: Program { version: "test".into(), build: "test".into(), config_sha256: Hash::ZERO },
        limits: CapacityLimits { disk_low: 0, disk_very_low: 0, ..CapacityLimits::default() },
    })?)
}

#[test]
fn a_queued_label_whose_bytes_are_not_in_the_export_is_found() -> Result<()> {
    let plant = Plant::new("export_labels")?;
    let station = plant.station("s")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let queue = open(&station)?;
        queue.append(Draft { blobs: vec![KEPT.to_vec()], ..queued(KEPT) }).await?;
        queue.append(queued(LOST)).await?;
        anyhow::Ok(queue.close().await?)
    })?;
    let out = plant.dir.join("export");
    let exported = run(station.command()?.args(["queue", "export", "--json"]).arg(&out))?;
    ensure!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let mut verify = Command::new(program("lotgate-verify")?);
    verify.arg(&out).args(["--root-fingerprint", &plant.root_fingerprint, "--json"]);
    let report: Value = serde_json::from_slice(&run(&mut verify)?.stdout)?;
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let missing: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["code"] == "export_file_missing")
        .filter_map(|finding| finding["file"].as_str())
        .collect();
    assert_eq!(missing, [format!("blobs/{}", Hash::of(LOST))], "{report}");
    Ok(())
}

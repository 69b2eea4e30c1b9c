//! What operations name by its hash is durable with them, and print jobs are read back in order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "queue/rig.rs"]
mod rig;

use lotgate_domain::epoch::EpochReason;
use lotgate_domain::export;
use lotgate_domain::ids::{Hash, OperationId};
use lotgate_domain::operation::body::{Body, Device, JobState, LabelQueued, LabelState, SnapshotLot};
use lotgate_domain::reference::LotStatus;
use lotgate_domain::time::Timestamp;
use lotgate_sync::queue::{Draft, FaultCode, LabelOperation, Queue};
use rig::{Rig, scan, with_id};

fn zpl(n: u8) -> Vec<u8> {
    format!("^XA^FD{n}^FS^XZ").into_bytes()
}

fn queued(n: u8) -> Draft {
    let printer = Device {
        role: "printer".to_owned(),
        transport: "tcp".to_owned(),
        id: "tcp:127.0.0.1:9100".to_owned(),
        simulated: true,
    };
    let bytes = zpl(n);
    let body = Body::LabelQueued(LabelQueued {
        printer,
        template: "container/1".to_owned(),
        language: "en".to_owned(),
        scan: OperationId::from_parts(1, &[1; 10]),
        item: "API-1".to_owned(),
        lot: "L1".to_owned(),
        snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: None },
        serial: format!("{n:013}"),
        copy: 1,
        of: None,
        elements: Vec::new(),
        sha256: Hash::of(&bytes),
        bytes: u64::try_from(bytes.len()).unwrap(),
    });
    let draft = Draft { blobs: vec![bytes], ..Draft::by_station(body, None) };
    with_id(draft, n)
}

fn state(n: u8, state: JobState) -> Draft {
    let job = OperationId::from_parts(5, &[n; 10]);
    Draft::by_station(Body::LabelState(LabelState { job, state, evidence: None, cause: None }), None)
}

fn told(labels: &[LabelOperation]) -> Vec<String> {
    let tell = |label: &LabelOperation| match &label.body {
        Some(Body::LabelQueued(label)) => format!("queued {}", label.serial.trim_start_matches('0')),
        Some(Body::LabelState(state)) => format!("{:?}", state.state),
        Some(other) => other.kind().to_owned(),
        None => "damaged".to_owned(),
    };
    labels.iter().map(tell).collect()
}

async fn blob(queue: &Queue, n: u8) -> Option<Vec<u8>> {
    queue.blob(Hash::of(&zpl(n))).await.unwrap()
}

#[tokio::test]
async fn a_blob_is_as_durable_as_the_operation_that_names_it_and_is_kept_once() {
    let rig = Rig::new();
    let queue = rig.create();
    queue.append(queued(1)).await.unwrap();
    let again = Draft { id: None, ..queued(1) };
    queue.append(again).await.unwrap();
    queue.close().await.unwrap();
    let queue = rig.open();
    assert_eq!(blob(&queue, 1).await, Some(zpl(1)));
    assert_eq!(blob(&queue, 2).await, None);
    let count: u64 = rig.connection().query_row("SELECT count(*) FROM blob", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn an_operation_that_is_refused_leaves_no_blob() {
    let rig = Rig::new();
    let queue = rig.create();
    queue.append(with_id(scan(1), 3)).await.unwrap();
    let (refused, taken) = tokio::join!(queue.submit(queued(3)), queue.submit(queued(4)));
    assert_eq!(refused.unwrap_err().code(), "id_reused");
    taken.unwrap();
    assert_eq!((blob(&queue, 3).await, blob(&queue, 4).await), (None, Some(zpl(4))));
}

#[tokio::test]
async fn a_blob_is_never_changed_and_one_that_was_is_not_given_out() {
    let rig = Rig::new();
    let queue = rig.create();
    queue.append(queued(1)).await.unwrap();
    queue.close().await.unwrap();
    let file = rig.connection();
    for change in ["UPDATE blob SET bytes = x'00'", "DELETE FROM blob"] {
        let error = file.execute(change, []).expect_err(change);
        assert!(error.to_string().contains("blobs are append-only"), "{error}");
    }
    file.execute_batch("DROP TRIGGER blob_no_update; UPDATE blob SET bytes = x'00'").unwrap();
    drop(file);
    let queue = rig.open();
    assert_eq!(blob(&queue, 1).await, None, "a label that nobody decided on is not printed");
    let dir = rig.directory().join("export");
    let report = rig.view().export(&dir, &queue.station_keys(), Timestamp::from_unix_ms(0)).unwrap();
    assert!(!dir.join(export::BLOBS).exists(), "nor exported");
    let told: Vec<_> = report.skipped.iter().map(|fault| (fault.position, fault.code)).collect();
    assert_eq!(told, [(0, FaultCode::Blob)], "and that is said");
    let found = rig.view().verify(|_| {}).unwrap();
    assert_eq!(found.first_fault.map(|fault| fault.code), Some(FaultCode::Blob));
}

#[tokio::test]
async fn an_export_holds_every_blob_under_its_hash() {
    let rig = Rig::new();
    let queue = rig.create();
    for n in 1..4 {
        queue.append(queued(n)).await.unwrap();
    }
    let dir = rig.directory().join("export");
    rig.view().export(&dir, &queue.station_keys(), Timestamp::from_unix_ms(0)).unwrap();
    for n in 1..4 {
        let path = dir.join(export::blob_path(Hash::of(&zpl(n))));
        assert_eq!(std::fs::read(path).unwrap(), zpl(n));
    }
}

#[tokio::test]
async fn label_operations_are_read_back_in_order_over_epochs() {
    let rig = Rig::new();
    let queue = rig.create();
    queue.append(queued(1)).await.unwrap();
    queue.append(scan(1)).await.unwrap();
    let sending = queue.append(state(1, JobState::Sending)).await.unwrap();
    queue.open_epoch(EpochReason::Stopped).await.unwrap();
    queue.append(queued(2)).await.unwrap();
    let all = queue.label_operations(100).await.unwrap();
    assert_eq!(told(&all), ["queued 1", "Sending", "epoch.opened", "queued 2"]);
    assert_eq!((all[1].id, all[1].wall), (sending.id, sending.at.wall));
    assert_eq!(told(&queue.label_operations(2).await.unwrap()), ["epoch.opened", "queued 2"], "the newest");
}

#[tokio::test]
async fn a_damaged_label_operation_is_told_and_not_left_out() {
    let rig = Rig::new();
    let queue = rig.create();
    queue.append(queued(1)).await.unwrap();
    let sending = queue.append(state(1, JobState::Sending)).await.unwrap();
    let changed = "DROP TRIGGER operation_no_update; \
                   UPDATE operation SET entry = zeroblob(length(entry)) WHERE position = ";
    rig.connection().execute_batch(&format!("{changed}{}", sending.position)).unwrap();
    assert_eq!(told(&queue.label_operations(100).await.unwrap()), ["queued 1", "damaged"]);
}

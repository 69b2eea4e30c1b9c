//! How much the queue takes, and what it lets go of (PROTOCOL §2).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "queue/rig.rs"]
mod queue_rig;

use lotgate_domain::chain::Head;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Hash, OperationId};
use lotgate_domain::operation::body::Body;
use lotgate_domain::statement;
use lotgate_domain::time::Timestamp;
use lotgate_sync::queue::{
    AppendError, Appended, CapacityLevel, CapacityLimits, Draft, Queue, QueueAlarm, QueueOptions, Settlement,
    StopReason,
};
use lotgate_sync::secure::{Secure, SystemRandom};
use lotgate_sync::storage::fault::Disk;
use queue_rig::{NOON, Rig, scan};

const DAY: i64 = 86_400_000;
const DAY_S: u64 = 86_400;

async fn append(queue: &Queue, count: u64) -> Vec<Appended> {
    let mut appended = Vec::new();
    for n in 0..count {
        appended.push(queue.append(scan(n)).await.unwrap());
    }
    appended
}

fn head_of(appended: &Appended) -> Head {
    Head { epoch: Some(appended.epoch), seq: appended.seq, hash: appended.hash }
}

fn finishing(n: u64) -> Draft {
    Draft { finishes: true, ..scan(n) }
}

fn repeated() -> Draft {
    let of = OperationId::from_parts(1, &[1; 10]);
    Draft::by_station(Body::ScanRepeated { of, count: 2, last_at: Timestamp::from_unix_ms(NOON) }, None)
}

fn level(queue: &Queue) -> (u64, CapacityLevel) {
    let capacity = queue.state().borrow().capacity;
    (capacity.queued, capacity.level)
}

fn alarms(queue: &Queue) -> Vec<QueueAlarm> {
    queue.state().borrow().alarms.iter().copied().collect()
}

#[tokio::test]
async fn a_filling_queue_warns_alarms_and_takes_no_new_work() {
    let mut rig = Rig::new();
    rig.limits.operations = 40;
    let queue = rig.create();
    append(&queue, 18).await;
    assert_eq!((level(&queue), alarms(&queue)), ((19, CapacityLevel::Ok), vec![]));
    append(&queue, 1).await;
    assert_eq!((level(&queue), alarms(&queue)), ((20, CapacityLevel::Warn), vec![QueueAlarm::QueueFilling]));
    append(&queue, 12).await;
    assert_eq!(
        (level(&queue), alarms(&queue)),
        ((32, CapacityLevel::Alarm), vec![QueueAlarm::QueueNearlyFull])
    );
    append(&queue, 6).await;
    assert_eq!((level(&queue), alarms(&queue)), ((38, CapacityLevel::Full), vec![QueueAlarm::QueueFull]));

    let refused = queue.append(scan(1)).await.expect_err("95 %");
    assert_eq!((refused.code(), refused.exit_code()), ("queue_full", 14));
    queue.append(finishing(1)).await.unwrap();
    let group: Vec<_> = [scan(2), finishing(2), finishing(3)].map(|draft| queue.submit(draft)).into();
    let mut answers = Vec::new();
    for one in group {
        answers.push(one.await.map(|appended| appended.seq).map_err(|error| error.code()));
    }
    assert_eq!(answers, [Err("queue_full"), Ok(40), Err("queue_full")], "the reserve ends at the limit");
    queue.append(repeated()).await.unwrap();
    queue.open_epoch(EpochReason::Stopped).await.unwrap();
    assert_eq!(level(&queue).0, 42, "what the queue has to say itself is always taken");
    queue.close().await.unwrap();
    let queue = rig.open();
    assert_eq!(level(&queue), (42, CapacityLevel::Full), "after a restart, too");
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn room_comes_back_with_receipts() {
    let mut rig = Rig::new();
    rig.limits.operations = 20;
    let queue = rig.create();
    let appended = append(&queue, 18).await;
    assert!(matches!(queue.append(scan(1)).await, Err(AppendError::QueueFull)));
    let settlement = rig.settlement(&queue, head_of(&appended[9])).await;
    queue.settle(settlement).await.unwrap();
    assert_eq!(level(&queue), (8, CapacityLevel::Ok));
    queue.append(scan(2)).await.unwrap();
}

#[test]
fn the_default_limits_are_those_of_the_protocol() {
    let limits = CapacityLimits::default();
    let at = |queued| limits.judge(queued, None).level;
    assert_eq!(limits.operations, 1_000_000);
    let levels = [499_999, 500_000, 799_999, 800_000, 949_999, 950_000].map(at);
    use CapacityLevel::{Alarm, Full, Ok, Warn};
    assert_eq!(levels, [Ok, Warn, Warn, Alarm, Alarm, Full]);
    let mib = 1 << 20;
    let by_disk =
        [256 * mib, 256 * mib - 1, 64 * mib, 64 * mib - 1].map(|free| limits.judge(0, Some(free)).level);
    assert_eq!(by_disk, [Ok, Warn, Warn, Full]);
    assert_eq!(limits.judge(u64::MAX, None).level, Full, "no number overflows");
}

#[tokio::test]
async fn a_disk_with_little_room_takes_no_new_work_before_it_is_full() {
    let disk = Disk::new(7);
    let rig = Rig::new();
    let options = |secure| QueueOptions {
        limits: CapacityLimits { disk_low: 2_000_000, disk_very_low: 1_000_000, ..CapacityLimits::default() },
        ..rig.options(secure)
    };
    let secure = Secure::prepare(disk.places("data"), &SystemRandom).unwrap();
    let identity = rig.tenant.identity(rig.station, &secure);
    let queue = Queue::create(options(secure), &identity).unwrap();
    append(&queue, 1).await;
    assert_eq!((level(&queue).1, alarms(&queue)), (CapacityLevel::Ok, vec![]));
    disk.limit_space(Some(disk.used() + 1_900_000));
    append(&queue, 1).await;
    assert_eq!((level(&queue).1, alarms(&queue)), (CapacityLevel::Warn, vec![QueueAlarm::DiskLow]));
    disk.limit_space(Some(disk.used() + 900_000));
    let refused = queue.append(scan(1)).await.expect_err("hardly any room");
    assert_eq!((refused.code(), refused.exit_code()), ("disk_very_low", 14));
    assert_eq!((level(&queue).1, alarms(&queue)), (CapacityLevel::Full, vec![QueueAlarm::DiskVeryLow]));
    queue.append(finishing(1)).await.unwrap();
    queue.append(repeated()).await.unwrap();

    // Full in the middle of a commit: the whole group hears it, and the head is that of the file.
    let before = queue.state().borrow().head;
    disk.limit_space(Some(disk.used()));
    let group: Vec<_> = (0..40).map(|n| queue.submit(finishing(n))).collect();
    let mut failed = 0;
    for one in group {
        let answer = one.await;
        failed += usize::from(answer.is_err());
    }
    assert!(failed > 0);
    assert_eq!(queue.state().borrow().stopped, Some(StopReason::DiskFull));
    let after = queue.state().borrow().head;
    assert_eq!(after.seq, before.seq + 40 - u64::try_from(failed).unwrap());
    disk.limit_space(None);
    assert_eq!(
        queue.append(scan(2)).await.unwrap().seq,
        after.seq + 1,
        "room again, and no number was used up"
    );
    assert_eq!(alarms(&queue), []);
}

/// A queue of which the first ten operations were settled at noon.
async fn settled_at_noon() -> (Rig, Queue, Vec<Appended>) {
    let rig = Rig::new();
    let queue = rig.create();
    let appended = append(&queue, 19).await;
    let settlement = rig.settlement(&queue, head_of(&appended[8])).await;
    queue.settle(settlement).await.unwrap();
    (rig, queue, appended)
}

fn noon_plus(days: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOON + days * DAY)
}

/// The cloud's time, which only a receipt tells.
async fn hear_from_the_cloud(rig: &Rig, queue: &Queue, through: &Appended) {
    let settlement = rig.settlement(queue, head_of(through)).await;
    queue.settle(settlement).await.unwrap();
}

#[tokio::test]
async fn only_what_the_cloud_confirmed_long_ago_is_pruned() {
    let (rig, queue, appended) = settled_at_noon().await;
    let (window, retention) = (2 * DAY_S, 5 * DAY_S);
    rig.clock.advance(30 * DAY);
    let nothing = queue.prune(noon_plus(30), window, retention).await.unwrap();
    assert_eq!(nothing.operations, 0, "the station's own clock is no reason");
    hear_from_the_cloud(&rig, &queue, &appended[12]).await;
    assert_eq!(
        queue.prune(noon_plus(9 - 1), window, retention).await.unwrap().operations,
        0,
        "a week and the window"
    );
    assert_eq!(queue.prune(noon_plus(30), window, 31 * DAY_S).await.unwrap().operations, 0, "the retention");
    assert_eq!(queue.prune(noon_plus(9), window, retention).await.unwrap().operations, 10);
    assert_eq!(
        queue.prune(noon_plus(30), window, retention).await.unwrap().operations,
        0,
        "the rest is too young"
    );

    let state = queue.state().borrow().clone();
    assert_eq!((state.queued, state.head.seq), (20 - 14, 20), "counts stay");
    assert!(queue.holds(head_of(&appended[8])).await.unwrap(), "the base is still known");
    assert!(!queue.holds(head_of(&appended[7])).await.unwrap(), "what was before it is not");
    let start = Head::genesis(queue.identity().certificate.hash);
    let batch = queue.batch(start, 100, 1 << 20).await.unwrap().unwrap();
    assert_eq!(
        (batch.after.seq, batch.after.hash, batch.count),
        (10, appended[8].hash, 10),
        "a rewind begins after it"
    );
    queue.close().await.unwrap();

    let verification = rig.view().verify(|_| {}).unwrap();
    assert!(
        verification.ok() && verification.entries == 10,
        "the chain verifies from the base: {verification:?}"
    );
    let count = |table: &str| -> u64 {
        rig.connection().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("receipt"), count("verdict")), (2, 2), "receipts and verdicts stay");
    let queue = rig.open();
    assert_eq!(queue.append(scan(1)).await.unwrap().seq, 21, "and work goes on");
    assert!(!queue.state().borrow().unconfirmed);
}

#[tokio::test]
async fn a_verdict_batch_that_is_not_wholly_settled_is_not_cut_by_pruning() {
    let rig = Rig::new();
    let queue = rig.create();
    let appended = append(&queue, 9).await;
    // The batch covers all ten, the receipt that came with it only five.
    let whole = rig.settlement(&queue, head_of(&appended[8])).await;
    let receipt = rig.receipt(head_of(&appended[3]), Hash::ZERO, Vec::new());
    let partly = queue.settle(Settlement { receipt, ..whole.clone() }).await.unwrap();
    assert_eq!(partly.newly, 5);
    rig.clock.advance(30 * DAY);
    hear_from_the_cloud(&rig, &queue, &appended[3]).await;
    assert_eq!(queue.prune(noon_plus(30), 0, 0).await.unwrap().operations, 0, "its proof needs all of them");
    hear_from_the_cloud(&rig, &queue, &appended[8]).await;
    assert_eq!(queue.state().borrow().queued, 0, "so the next answer settles the rest");
    assert_eq!(queue.prune(noon_plus(30), 0, 0).await.unwrap().operations, 5);
    queue.close().await.unwrap();
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn what_was_pruned_stays_settled_when_the_clouds_log_was_restored() {
    let (rig, queue, appended) = settled_at_noon().await;
    rig.clock.advance(30 * DAY);
    hear_from_the_cloud(&rig, &queue, &appended[12]).await;
    assert_eq!(queue.prune(noon_plus(30), 0, 0).await.unwrap().operations, 10);
    let bytes = rig.tenant.restore(5);
    let restored = statement::read(&bytes, rig.tenant.id, &rig.tenant.root.public()).unwrap();
    let genesis = Head { seq: 0, hash: queue.identity().certificate.hash, ..head_of(&appended[0]) };
    queue.accept_recovery(vec![restored], genesis).await.unwrap();
    let state = queue.state().borrow().clone();
    assert_eq!((state.settled_through.unwrap().seq, state.queued), (10, 10), "nobody could send it again");
    hear_from_the_cloud(&rig, &queue, &appended[18]).await;
    assert_eq!(queue.state().borrow().queued, 0, "and the rest is settled again");
    queue.close().await.unwrap();
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn direct_sql_prunes_no_more_than_the_queue_does() {
    let (rig, queue, appended) = settled_at_noon().await;
    rig.clock.advance(10 * DAY);
    hear_from_the_cloud(&rig, &queue, &appended[12]).await;
    queue.close().await.unwrap();
    let connection = rig.connection();
    let refused = |sql: &str| {
        let error = connection.execute_batch(sql).expect_err(sql).to_string();
        assert!(error.contains("append-only"), "{sql}: {error}");
    };
    refused("DELETE FROM operation WHERE position = 1");
    let rule = |at: i64| {
        let sql = format!("INSERT OR REPLACE INTO pruning VALUES (1, {at}, 0, 0)");
        connection.execute_batch(&sql).unwrap();
    };
    rule(NOON + 1_000 * DAY);
    refused("DELETE FROM operation");
    refused("DELETE FROM operation WHERE position <= 11");
    refused("DELETE FROM operation WHERE position = 2");
    rule(NOON + 6 * DAY);
    refused("DELETE FROM operation WHERE position = 1");
    rule(NOON + 1_000 * DAY);
    connection.execute_batch("DELETE FROM operation WHERE position <= 10").unwrap();
    refused("DELETE FROM operation WHERE position = 11");
    drop(connection);
    assert!(rig.view().verify(|_| {}).unwrap().ok());
    rig.open();
}

#[tokio::test]
async fn a_removed_beginning_without_a_receipt_is_found() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 5).await;
    queue.close().await.unwrap();
    let connection = rig.connection();
    connection.execute_batch("DROP TRIGGER operation_no_delete").unwrap();
    connection.execute_batch("DELETE FROM operation WHERE position <= 2").unwrap();
    drop(connection);
    assert!(!rig.view().verify(|_| {}).unwrap().ok());
    let queue = rig.open();
    assert_eq!(alarms(&queue), [QueueAlarm::QueueSetAside, QueueAlarm::EpochUnconfirmed]);
}

#[tokio::test]
async fn the_last_operation_is_never_pruned() {
    let rig = Rig::new();
    let queue = rig.create();
    let last = append(&queue, 3).await.pop().unwrap();
    hear_from_the_cloud(&rig, &queue, &last).await;
    rig.clock.advance(20 * DAY);
    let point = rig.feed_point(1, lotgate_domain::ids::Hash::ZERO, NOON + 20 * DAY);
    queue.keep_page(point, Some(Vec::new())).await.unwrap();
    queue.close().await.unwrap();
    // The cloud's time is known from elsewhere, too.
    rig.connection().execute_batch(&format!("UPDATE clock SET server_time = {}", NOON + 20 * DAY)).unwrap();
    let queue = rig.open();
    assert_eq!(queue.prune(noon_plus(20), 0, 0).await.unwrap().operations, 3);
    assert_eq!(queue.state().borrow().head, head_of(&last));
    assert_eq!(queue.state().borrow().settled_through.unwrap().seq, 4);
    assert_eq!(queue.append(scan(1)).await.unwrap().seq, 5);
    queue.close().await.unwrap();
    assert_eq!(rig.view().verify(|_| {}).unwrap().entries, 2);
}

#[tokio::test]
async fn an_anchor_that_was_pruned_past_is_no_rollback() {
    let (rig, queue, appended) = settled_at_noon().await;
    rig.clock.advance(10 * DAY);
    hear_from_the_cloud(&rig, &queue, &appended[12]).await;
    queue.close().await.unwrap();
    let anchor = rig.secure_dir().join("anchor.json");
    let newest = std::fs::read_to_string(&anchor).unwrap();
    let old = newest
        .replace("\"seq\":20", "\"seq\":5")
        .replace(&appended[18].hash.to_string(), &appended[3].hash.to_string());
    assert_ne!(old, newest);
    let queue = rig.open();
    queue.prune(noon_plus(10), 0, 0).await.unwrap();
    queue.close().await.unwrap();
    std::fs::write(&anchor, old).unwrap();
    assert_eq!(rig.open().state().borrow().head.epoch.unwrap().n, 1);
}

#[tokio::test]
async fn a_stopped_tail_is_pruned_only_after_it_was_kept_as_evidence() {
    let rig = Rig::new();
    let queue = rig.create();
    let old = append(&queue, 6).await;
    queue.set_aside_after(old[0].epoch, 4, "bad_signature").await.unwrap();
    hear_from_the_cloud(&rig, &queue, &old[2]).await;
    let new = append(&queue, 4).await;
    hear_from_the_cloud(&rig, &queue, &new[1]).await;
    rig.clock.advance(20 * DAY);
    hear_from_the_cloud(&rig, &queue, &new[2]).await;
    assert_eq!(queue.prune(noon_plus(20), 0, 0).await.unwrap().operations, 4, "up to the tail");
    let tail = queue.evidence(1 << 20).await.unwrap().unwrap();
    queue.evidence_kept(tail.token).await.unwrap();
    assert_eq!(queue.prune(noon_plus(20), 0, 0).await.unwrap().operations, 0, "kept today");
    rig.clock.advance(20 * DAY);
    hear_from_the_cloud(&rig, &queue, &new[3]).await;
    assert_eq!(queue.prune(noon_plus(40), 0, 0).await.unwrap().operations, 3 + 4);
    queue.close().await.unwrap();
    assert!(rig.view().verify(|_| {}).unwrap().ok());
    rig.open();
}

#[tokio::test]
async fn opening_reads_no_more_of_a_long_queue_than_of_a_short_one() {
    let mut reads = Vec::new();
    for count in [2_000_u64, 10_000] {
        let disk = Disk::new(8);
        let rig = Rig::new();
        let secure = Secure::prepare(disk.places("data"), &SystemRandom).unwrap();
        let identity = rig.tenant.identity(rig.station, &secure);
        let queue = Queue::create(rig.options(secure), &identity).unwrap();
        let waiting: Vec<_> = (0..count).map(|n| queue.submit(scan(n))).collect();
        for one in waiting {
            one.await.unwrap();
        }
        queue.close().await.unwrap();
        let before = disk.calls().reads;
        let queue = Queue::open(rig.options(Secure::open(disk.places("data")).unwrap())).unwrap();
        reads.push(disk.calls().reads - before);
        assert_eq!(queue.state().borrow().queued, count + 1);
    }
    assert!(reads[1] <= reads[0] + reads[0] / 20, "a scan would read five times as much: {reads:?}");
}

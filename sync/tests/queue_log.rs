//! Nothing is settled that is not proven to stand in the tenant's log, and what contradicts it is kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "queue/rig.rs"]
mod rig;

use lotgate_domain::chain::Head;
use lotgate_domain::ids::Hash;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::operation::{Content, Knew};
use lotgate_domain::protocol::push::LogSeen;
use lotgate_domain::protocol::{HexBytes, PushReply};
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{self, Signed, Verdict, VerdictException};
use lotgate_sync::engine::answer::{self, Expected, Pushed, Sent};
use lotgate_sync::engine::failure::InconsistencyCode as Code;
use lotgate_sync::queue::{
    FaultCode, LogKnown, OwnHashes, Queue, QueueAlarm, SettleError, Settled, Settlement,
};
use rig::{Rig, scan};

fn known(queue: &Queue) -> LogKnown {
    queue.state().borrow().log
}

fn head(queue: &Queue) -> Head {
    queue.state().borrow().head
}

async fn append(queue: &Queue, count: u64) {
    for n in 0..count {
        queue.append(scan(n)).await.unwrap();
    }
}

/// A station with so many operations beside the first one.
async fn with(count: u64) -> (Rig, Queue) {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, count).await;
    (rig, queue)
}

/// What the cloud answers to a push of everything from `first` on, where one of its batches begins.
async fn reply(rig: &Rig, queue: &Queue, first: u64, told: Option<LogSeen>) -> PushReply {
    let head = head(queue);
    let own = queue.hashes(head.epoch.unwrap(), first, head.seq + 1 - first).await.unwrap();
    rig.tenant.push(rig.station, &own, head, told, Vec::new(), rig.clock_now())
}

fn check(queue: &Queue, told: Option<LogSeen>, reply: &PushReply) -> Result<Pushed, Code> {
    let identity = queue.identity();
    let expected = Expected { trust: &identity.trust, station: identity.station, site: identity.site.id };
    let first = reply.proof.iter().flat_map(|proof| &proof.ranges).next().map_or(1, |range| range.first_seq);
    let (last, epoch) = (head(queue).seq, head(queue).epoch.unwrap());
    let sent = Sent { epoch, after: first - 1, last, told };
    answer::check_push(expected, sent, known(queue), reply)
}

async fn prove(queue: &Queue, pushed: Pushed) -> Result<Settlement, Code> {
    let Pushed::Claimed(claim) = pushed else { panic!("a claim: {pushed:?}") };
    let (first, count) = claim.wanted().unwrap();
    let own = queue.hashes(head(queue).epoch.unwrap(), first, count).await.unwrap();
    claim.prove(&own)
}

/// The whole way of an answer.
async fn take(queue: &Queue, told: Option<LogSeen>, reply: &PushReply) -> Result<Settled, Code> {
    let settlement = prove(queue, check(queue, told, reply)?).await?;
    Ok(queue.settle(settlement).await.unwrap())
}

#[tokio::test]
async fn an_answer_settles_what_it_proves_and_its_checkpoint_is_quoted_from_then_on() {
    let (rig, queue) = with(4).await;
    assert_eq!(known(&queue), LogKnown::default());
    let first = reply(&rig, &queue, 1, None).await;
    let settled = take(&queue, None, &first).await.unwrap();
    assert_eq!((settled.newly, settled.through.unwrap().seq), (5, 5));
    let tree = rig.tenant.log_book.lock().unwrap().head();
    assert_eq!((known(&queue).head(), known(&queue).generation), (Some(tree), 1));

    let mut draft = scan(9);
    draft.knew = Some(Knew { snapshot: 1, hash: Hash::of(b"page"), age_ms: 0, log: None });
    queue.append(draft).await.unwrap();
    let batch = queue.batch(settled_point(&queue), 10, 100_000).await.unwrap().unwrap();
    let frame = lotgate_domain::entry::Frame::read(&batch.entries).unwrap();
    let Content::Known(operation) = lotgate_domain::operation::read(&frame).unwrap().content else {
        panic!("known")
    };
    assert_eq!(operation.knew.unwrap().log, Some(tree), "the last verified checkpoint, by the queue itself");

    rig.tenant.log_book.lock().unwrap().grow(7);
    let told = known(&queue).seen();
    let second = reply(&rig, &queue, 6, told).await;
    assert_eq!(take(&queue, told, &second).await.unwrap().newly, 1);
    assert_eq!(queue.state().borrow().queued, 0);
    assert!(queue.state().borrow().alarms.is_empty());
    queue.close().await.unwrap();
    let verification = rig.view().verify(|_| {}).unwrap();
    assert_eq!((verification.checkpoints, verification.proofs, verification.first_fault), (2, 2, None));
    let queue = rig.open();
    assert_eq!(known(&queue).seen().unwrap().size, 20, "it is known again after a start");
}

fn settled_point(queue: &Queue) -> Head {
    let ChainPoint { epoch, seq, hash } = queue.state().borrow().settled_through.unwrap();
    Head { epoch: Some(epoch), seq, hash }
}

#[tokio::test]
async fn every_wrong_answer_has_its_code_and_settles_nothing() {
    let (rig, queue) = with(4).await;
    let first = reply(&rig, &queue, 1, None).await;
    take(&queue, None, &first).await.unwrap();
    append(&queue, 3).await;
    rig.tenant.log_book.lock().unwrap().grow(3);
    let told = known(&queue).seen();
    let right = reply(&rig, &queue, 6, told).await;
    let before = queue.state().borrow().clone();
    let forked = {
        let mut other = rig.tenant.log_book.lock().unwrap().clone();
        other.leaves[2] = Hash::of(b"another history");
        let touched = other.batches[1..].to_vec();
        PushReply { proof: Some(rig.tenant.proof(&other, &touched, told)), ..right.clone() }
    };
    let with_proof = |change: &dyn Fn(&mut PushReply)| {
        let mut reply = right.clone();
        change(&mut reply);
        reply
    };
    let wrong = [
        (forked, Code::LogRewritten, "a log with another past"),
        (with_proof(&|r| r.proof = None), Code::ProofInvalid, "verdicts without a proof"),
        (with_proof(&|r| proof(r).checkpoint = first_note(&first)), Code::ProofInvalid, "an old checkpoint"),
        (with_proof(&|r| proof(r).checkpoint.push('x')), Code::ProofInvalid, "no note"),
        (
            with_proof(&|r| proof(r).consistency.clear()),
            Code::ProofInvalid,
            "told its size, it must prove it",
        ),
        (
            with_proof(&|r| flip(&mut proof(r).consistency[0].hashes[0])),
            Code::LogRewritten,
            "wrong consistency",
        ),
        (with_proof(&|r| flip(&mut proof(r).ranges[0].hashes[0])), Code::ProofInvalid, "wrong range"),
        (with_proof(&|r| proof(r).ranges[0].first_seq = 5), Code::ProofInvalid, "the wrong entries"),
        (with_proof(&|r| proof(r).ranges[0].first_seq = 70), Code::ProofInvalid, "entries that are not here"),
        (with_proof(&|r| proof(r).ranges[0].first_seq = u64::MAX), Code::ProofInvalid, "beyond all numbers"),
        (with_proof(&|r| proof(r).ranges.clear()), Code::ProofInvalid, "fewer proofs than verdicts"),
        (with_proof(&|r| r.receipt = None), Code::ReceiptMissing, "no receipt"),
        (
            with_proof(&|r| (r.verdicts, proof(r).ranges) = Default::default()),
            Code::ProofInvalid,
            "neither verdicts nor proofs for what was accepted",
        ),
    ];
    for (reply, code, why) in wrong {
        let result = match check(&queue, told, &reply) {
            Err(code) => Err(code),
            Ok(pushed) => prove(&queue, pushed).await.map(|_| ()),
        };
        assert_eq!(result, Err(code), "{why}");
    }
    assert_eq!(*queue.state().borrow(), before, "none of it changed anything");
    assert_eq!(take(&queue, told, &right).await.unwrap().newly, 3);
}

fn proof(reply: &mut PushReply) -> &mut lotgate_domain::protocol::proof::LogProof {
    reply.proof.as_mut().unwrap()
}

fn first_note(reply: &PushReply) -> String {
    reply.proof.as_ref().unwrap().checkpoint.replace("\n11\n", "\n12\n")
}

fn flip(hash: &mut Hash) {
    hash.0[0] ^= 1;
}

#[tokio::test]
async fn a_smaller_log_than_the_cloud_was_told_is_an_alarm_and_an_answer_from_before_is_none() {
    let (rig, queue) = with(2).await;
    let first = reply(&rig, &queue, 1, None).await;
    append(&queue, 2).await;
    let second = reply(&rig, &queue, 4, None).await;
    take(&queue, None, &second).await.unwrap();
    let told = known(&queue).seen();
    assert_eq!(check(&queue, None, &first), Ok(Pushed::Overtaken), "sent before the second was answered");
    assert_eq!(check(&queue, told, &first), Err(Code::LogWentBack), "it was told of the larger log");
    assert_eq!(
        queue.state().borrow().queued,
        5,
        "what lies before a gap is not settled by what lies after it"
    );

    let third = reply(&rig, &queue, 1, told).await;
    assert_eq!(take(&queue, told, &third).await.unwrap().newly, 5, "the same checkpoint, and no gap");
    rig.tenant.log_book.lock().unwrap().grow(4);
    append(&queue, 1).await;
    let mut ahead = reply(&rig, &queue, 6, None).await;
    proof(&mut ahead).consistency.clear();
    assert_eq!(check(&queue, None, &ahead), Ok(Pushed::Overtaken), "nothing links it, and nothing was asked");
}

/// Two entries that this station does not have, in one verdict batch with its own ones up to `common`.
async fn number_with_others(rig: &Rig, queue: &Queue, common: u64) -> Vec<Hash> {
    let epoch = head(queue).epoch.unwrap();
    let own = queue.hashes(epoch, 1, common).await.unwrap();
    let others = vec![Hash::of(b"six"), Hash::of(b"seven")];
    let log = &mut rig.tenant.log_book.lock().unwrap();
    rig.tenant.number(log, epoch, (1, &own.hashes), others.clone(), Vec::new());
    others
}

#[tokio::test]
async fn a_batch_across_a_fork_is_proven_with_the_other_branchs_entries_and_settles_the_own_ones() {
    let (rig, queue) = with(6).await;
    let others = number_with_others(&rig, &queue, 5).await;
    let mut reply = reply(&rig, &queue, 1, None).await;
    reply.branch = 1;
    let rests: Vec<_> = proof(&mut reply).ranges.iter().map(|range| range.rest.clone()).collect();
    assert_eq!(rests, [others, Vec::new()]);
    let wrong: [fn(&mut Vec<Hash>); 4] =
        [Vec::clear, |rest| flip(&mut rest[0]), |rest| rest.swap(0, 1), |rest| rest.truncate(1)];
    for change in wrong {
        let mut reply = reply.clone();
        change(&mut proof(&mut reply).ranges[0].rest);
        let result = match check(&queue, None, &reply) {
            Err(code) => Err(code),
            Ok(pushed) => prove(&queue, pushed).await.map(|_| ()),
        };
        assert_eq!(result, Err(Code::ProofInvalid));
    }
    assert_eq!(take(&queue, None, &reply).await.unwrap().newly, 7, "five before the fork, two after it");
    queue.close().await.unwrap();
    assert!(rig.view().verify(|_| {}).unwrap().ok(), "the file can be checked by itself");
}

#[tokio::test]
async fn a_restored_station_settles_its_part_of_a_batch_that_goes_on_after_its_last_entry() {
    let (rig, queue) = with(4).await;
    number_with_others(&rig, &queue, 5).await;
    let again = reply(&rig, &queue, 1, None).await;
    let settled = take(&queue, None, &again).await.unwrap();
    assert_eq!((settled.newly, settled.through.unwrap().seq), (5, 5), "the batch covers seven");
    assert_eq!(queue.state().borrow().queued, 0);
    queue.close().await.unwrap();
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn what_was_pruned_was_proven_before() {
    let (rig, queue) = with(4).await;
    let reply = reply(&rig, &queue, 1, None).await;
    let Pushed::Claimed(claim) = check(&queue, None, &reply).unwrap() else { panic!("a claim") };
    let rest = queue.hashes(head(&queue).epoch.unwrap(), 3, 3).await.unwrap();
    let unsettled = claim.clone().prove(&OwnHashes { settled_through: 4, ..rest.clone() });
    assert_eq!(unsettled.map(|_| ()), Err(Code::ProofInvalid), "an entry is missing that was never settled");
    let settlement = claim.prove(&OwnHashes { settled_through: 5, ..rest }).unwrap();
    assert!(settlement.verdicts.is_empty());
}

#[tokio::test]
async fn exceptions_are_kept_with_their_batch() {
    let (rig, queue) = with(4).await;
    let exception =
        |index| VerdictException { index, verdict: Verdict::Flagged, code: "lot_held_since".to_owned() };
    let head = head(&queue);
    let all = vec![exception(1), exception(3)];
    let settlement = rig.tenant.settlement(&queue, head, all, rig.clock_now()).await;
    assert_eq!(queue.settle(settlement).await.unwrap().exceptions, 2);
    queue.close().await.unwrap();
    let rows: Vec<(u64, String, String)> = rig
        .connection()
        .prepare("SELECT log_index, verdict, code FROM verdict_exception ORDER BY log_index")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let row = |index| (index, "flagged".to_owned(), "lot_held_since".to_owned());
    assert_eq!(rows, [row(6), row(8)]);
}

fn recovered(rig: &Rig, bytes: &[u8]) -> Signed<LogRecovered> {
    statement::read(bytes, rig.tenant.id, &rig.tenant.root.public()).unwrap()
}

#[tokio::test]
async fn after_an_honest_restore_everything_that_the_cloud_lost_is_pushed_and_settled_again() {
    let (rig, queue) = with(4).await;
    let held = head(&queue);
    let first = reply(&rig, &queue, 1, None).await;
    take(&queue, None, &first).await.unwrap();
    append(&queue, 3).await;
    let told = known(&queue).seen();
    let second = reply(&rig, &queue, 6, told).await;
    take(&queue, told, &second).await.unwrap();
    assert_eq!(queue.state().borrow().queued, 0);
    let before = known(&queue);

    let statement = rig.tenant.restore(11);
    let told = known(&queue).seen();
    rig.tenant.log_book.lock().unwrap().grow(2);
    let again = reply(&rig, &queue, 6, told).await;
    let Ok(Pushed::Recovered(found)) = check(&queue, told, &again) else { panic!("it says so") };
    assert_eq!(found, [recovered(&rig, &statement)], "signed by the tenant's root key");

    queue.accept_recovery(found.clone(), held).await.unwrap();
    let state = queue.state().borrow().clone();
    assert_eq!((state.queued, state.settled_through.unwrap().seq), (3, 5), "back to what the cloud holds");
    assert_eq!(state.log.last, before.last, "what it showed before stays");
    assert_eq!(state.log.generation, 2);
    assert!(state.alarms.contains(&QueueAlarm::LogRecovered));

    assert_eq!(take(&queue, told, &again).await.unwrap().newly, 3, "proven in the new generation");
    queue.accept_recovery(found, held).await.unwrap();
    assert_eq!(queue.state().borrow().queued, 0, "accepted before, it takes nothing back again");
    assert!(queue.state().borrow().alarms.contains(&QueueAlarm::LogRecovered), "until somebody saw it");
    queue.acknowledge(QueueAlarm::LogRecovered).await.unwrap();
    assert!(queue.state().borrow().alarms.is_empty());

    let old = PushReply { proof: second.proof.clone(), ..again };
    assert_eq!(check(&queue, told, &old), Err(Code::LogWentBack), "there is no way back to the old log");
    queue.close().await.unwrap();
    let verification = rig.view().verify(|_| {}).unwrap();
    assert_eq!((verification.checkpoints, verification.first_fault), (3, None));
    assert_eq!(known(&rig.open()).generation, 2);
}

#[tokio::test]
async fn after_a_restore_nothing_stays_settled_by_a_leaf_that_the_log_lost() {
    let (rig, queue) = with(4).await;
    let first = reply(&rig, &queue, 1, None).await;
    take(&queue, None, &first).await.unwrap();
    append(&queue, 3).await;
    let told = known(&queue).seen();
    let second = reply(&rig, &queue, 6, told).await;
    take(&queue, told, &second).await.unwrap();

    // The log was put back to before the verdicts of 6 to 8; by another way, the cloud has those entries again.
    let restored = recovered(&rig, &rig.tenant.restore(12));
    queue.accept_recovery(vec![restored], head(&queue)).await.unwrap();
    let state = queue.state().borrow().clone();
    assert_eq!((state.queued, state.settled_through.unwrap().seq), (3, 5), "whatever the cloud holds");
    let told = known(&queue).seen();
    let again = reply(&rig, &queue, 6, told).await;
    assert_eq!(take(&queue, told, &again).await.unwrap().newly, 3, "proven again");

    let size = rig.tenant.log_book.lock().unwrap().head().size;
    rig.tenant.log_book.lock().unwrap().grow(3);
    let later = recovered(&rig, &rig.tenant.restore(size));
    queue.accept_recovery(vec![later], head(&queue)).await.unwrap();
    assert_eq!(queue.state().borrow().queued, 0, "what the restored log holds stays settled");
    let short = recovered(&rig, &rig.tenant.restore(size - 1));
    queue.accept_recovery(vec![short], head(&queue)).await.unwrap();
    assert_eq!(queue.state().borrow().queued, 3, "a proof that an earlier restore ended proves nothing now");
}

#[tokio::test]
async fn a_new_file_in_the_place_of_a_damaged_one_knows_the_log_as_before() {
    let (rig, queue) = with(4).await;
    let first = reply(&rig, &queue, 1, None).await;
    take(&queue, None, &first).await.unwrap();
    let restored = recovered(&rig, &rig.tenant.restore(8));
    queue.accept_recovery(vec![restored], head(&queue)).await.unwrap();
    queue.acknowledge(QueueAlarm::LogRecovered).await.unwrap();
    let before = known(&queue);
    assert_eq!((before.generation, before.seen().map(|seen| seen.size)), (2, Some(11)));
    queue.close().await.unwrap();
    let connection = rig.connection();
    connection.execute_batch("DROP TRIGGER operation_no_update").unwrap();
    connection.execute_batch("UPDATE operation SET hash = zeroblob(32) WHERE position = 3").unwrap();
    drop(connection);

    let queue = rig.open();
    assert_eq!(head(&queue).epoch.unwrap().n, 2, "a new file");
    assert_eq!(known(&queue), before);
    let alarms = queue.state().borrow().alarms.clone();
    assert!(!alarms.contains(&QueueAlarm::LogRecovered), "what was acknowledged is not told again");
    let mut other = reply(&rig, &queue, 1, known(&queue).seen()).await;
    proof(&mut other).consistency.clear();
    assert_eq!(check(&queue, known(&queue).seen(), &other), Err(Code::ProofInvalid), "not any log will do");
    queue.close().await.unwrap();
    let verification = rig.view().verify(|_| {}).unwrap();
    assert_eq!((verification.checkpoints, verification.first_fault), (1, None));
}

#[tokio::test]
async fn a_restore_that_does_not_follow_is_refused() {
    let (rig, queue) = with(4).await;
    let first = reply(&rig, &queue, 1, None).await;
    take(&queue, None, &first).await.unwrap();
    let told = known(&queue).seen();
    let expected = |queue: &Queue, recovered: &[HexBytes]| {
        let identity = queue.identity();
        let expected = Expected { trust: &identity.trust, station: identity.station, site: identity.site.id };
        answer::check_recovered(expected, known(queue), recovered)
    };
    let one = rig.tenant.restore(8);
    let two = rig.tenant.restore(7);
    let both = [HexBytes(one.clone()), HexBytes(two.clone())];
    assert_eq!(expected(&queue, &both).unwrap().len(), 2);
    assert_eq!(expected(&queue, &both[1..]), Err(Code::LogRewritten), "a generation is left out");
    let mut forged = one.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(expected(&queue, &[HexBytes(forged)]), Err(Code::LogRewritten), "not the root key's");
    let held = head(&queue);
    let skipped = queue.accept_recovery(vec![recovered(&rig, &two)], held).await;
    assert!(matches!(skipped, Err(SettleError::Inconsistent { .. })));
    assert_eq!(queue.state().borrow().queued, 0);

    let genesis = Head { seq: 0, hash: queue.identity().certificate.hash, epoch: held.epoch };
    queue.accept_recovery(vec![recovered(&rig, &one), recovered(&rig, &two)], genesis).await.unwrap();
    assert_eq!(queue.state().borrow().queued, 5, "the cloud holds nothing");
    let mut again = reply(&rig, &queue, 1, told).await;
    proof(&mut again).consistency.retain(|proof| proof.from != 7);
    assert_eq!(check(&queue, told, &again), Err(Code::ProofInvalid), "not linked to what was restored");
    let again = reply(&rig, &queue, 1, told).await;
    assert_eq!(take(&queue, told, &again).await.unwrap().newly, 5);
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn a_restore_that_kept_what_the_station_saw_may_not_rewrite_it() {
    let (rig, queue) = with(4).await;
    let first = reply(&rig, &queue, 1, None).await;
    take(&queue, None, &first).await.unwrap();
    let told = known(&queue).seen();
    rig.tenant.log_book.lock().unwrap().grow(9);
    let unseen = rig.tenant.restore(15);
    let held = head(&queue);
    queue.accept_recovery(vec![recovered(&rig, &unseen)], held).await.unwrap();
    assert_eq!(queue.state().borrow().queued, 0, "everything was restored");
    append(&queue, 1).await;
    let right = reply(&rig, &queue, 6, told).await;
    let mut cut = right.clone();
    proof(&mut cut).consistency.retain(|proof| proof.from == 15);
    assert_eq!(
        check(&queue, told, &cut),
        Err(Code::ProofInvalid),
        "linked to the restore, not to what was seen"
    );
    let mut bent = right.clone();
    let seen = proof(&mut bent).consistency.iter_mut().find(|proof| proof.from == 11).unwrap();
    flip(&mut seen.hashes[0]);
    assert_eq!(check(&queue, told, &bent), Err(Code::LogRewritten));
    assert_eq!(take(&queue, told, &right).await.unwrap().newly, 1);
}

#[tokio::test]
async fn a_station_that_saw_nothing_yet_needs_no_explanation() {
    let (rig, queue) = with(2).await;
    let statement = rig.tenant.restore(3);
    let found = vec![recovered(&rig, &statement)];
    queue.accept_recovery(found, head(&queue)).await.unwrap();
    assert!(queue.state().borrow().alarms.is_empty(), "nothing of it was lost");
    let reply = reply(&rig, &queue, 1, None).await;
    assert_eq!(take(&queue, None, &reply).await.unwrap().newly, 3);
    assert!(rig.view().verify(|_| {}).unwrap().ok());
}

#[tokio::test]
async fn contradictions_are_kept_a_thousand_of_them_and_counted_after() {
    let (rig, queue) = with(2).await;
    let reply = reply(&rig, &queue, 1, None).await;
    let sent = Sent { epoch: head(&queue).epoch.unwrap(), after: 0, last: 3, told: None };
    let contradiction = answer::contradiction(Code::LogRewritten, sent, known(&queue), &reply);
    assert_eq!(contradiction.code, "log_rewritten");
    let receipt = hex::encode(&reply.receipt.clone().unwrap().0);
    assert!(contradiction.told.contains(&receipt), "what was said is kept as it was said");
    for _ in 0..3 {
        queue.keep_contradiction(contradiction.clone()).await.unwrap();
    }
    assert!(queue.state().borrow().alarms.contains(&QueueAlarm::ServerInconsistent));
    queue.acknowledge(QueueAlarm::ServerInconsistent).await.unwrap();
    assert!(queue.state().borrow().alarms.is_empty());
    let long = lotgate_sync::queue::Contradiction { told: "x".repeat(300_000), ..contradiction };
    for _ in 0..1_000 {
        queue.keep_contradiction(long.clone()).await.unwrap();
    }
    assert!(queue.state().borrow().alarms.contains(&QueueAlarm::ServerInconsistent), "a new one");
    assert_eq!(queue.state().borrow().queued, 3, "and capture and queue are as before");
    queue.close().await.unwrap();
    let verification = rig.view().verify(|_| {}).unwrap();
    assert_eq!((verification.contradictions, verification.ok()), (1_003, true));
    let connection = rig.connection();
    let longest: u64 =
        connection.query_row("SELECT max(length(told)) FROM contradiction", [], |row| row.get(0)).unwrap();
    assert!(longest < 10_000, "a long one is kept by its hash");
    for attempt in ["UPDATE contradiction SET told = ''", "DELETE FROM contradiction"] {
        assert!(connection.execute_batch(attempt).is_err(), "{attempt}");
    }
}

#[tokio::test]
async fn a_full_check_finds_what_was_changed_in_the_file() {
    let changes = [
        ("UPDATE checkpoint SET note = replace(note, '=', 'A')", FaultCode::Checkpoint),
        ("UPDATE checkpoint SET root = zeroblob(32)", FaultCode::Checkpoint),
        ("UPDATE checkpoint SET proofs = '[]' WHERE number = 2", FaultCode::Checkpoint),
        ("UPDATE range_proof SET hashes = zeroblob(length(hashes))", FaultCode::LogProof),
        ("UPDATE range_proof SET hashes = x''", FaultCode::LogProof),
        ("UPDATE range_proof SET first_seq = first_seq - 1 WHERE first_seq > 1", FaultCode::Unproven),
        ("UPDATE verdict SET statement = zeroblob(200)", FaultCode::LogProof),
        ("DELETE FROM range_proof WHERE first_seq = 1", FaultCode::Unproven),
        ("DELETE FROM range_proof WHERE first_seq > 1", FaultCode::Unproven),
    ];
    for (change, code) in changes {
        let (rig, queue) = with(2).await;
        let first = reply(&rig, &queue, 1, None).await;
        take(&queue, None, &first).await.unwrap();
        append(&queue, 2).await;
        let told = known(&queue).seen();
        let second = reply(&rig, &queue, 4, told).await;
        take(&queue, told, &second).await.unwrap();
        queue.close().await.unwrap();
        assert!(rig.view().verify(|_| {}).unwrap().ok());
        let connection = rig.connection();
        for table in ["checkpoint", "range_proof"] {
            let drop = format!("DROP TRIGGER {table}_no_update; DROP TRIGGER {table}_no_delete");
            connection.execute_batch(&drop).unwrap();
        }
        connection.execute_batch(change).unwrap();
        drop(connection);
        let fault = rig.view().verify(|_| {}).unwrap().first_fault;
        assert_eq!(fault.map(|fault| fault.code), Some(code), "{change}");
    }
}

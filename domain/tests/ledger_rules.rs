//! The cloud's rules, as scripts over the store in memory with real keys (PROTOCOL §3, §9.13–9.16).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    reason = "a test fails by panicking, and shares its parts"
)]

#[path = "parts/cloud.rs"]
mod cloud;
#[path = "parts/labels.rs"]
mod labels;
#[path = "parts/station.rs"]
mod station;

use cloud::Cloud;
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Epoch, EpochId, Hash};
use lotgate_domain::ledger::StationKey;
use lotgate_domain::operation::body::{Body, ChainPoint, JobState};
use lotgate_domain::protocol::{After, StopCode, Stopped};
use lotgate_domain::signature::{Context, KeyPair};
use lotgate_domain::statement::Verdict;
use lotgate_domain::statement::event::Closing;
use lotgate_domain::{canonical, operation};
use proptest::prelude::*;
use serde_json::{Value, json};
use station::{Writer, scan};

fn after(entries: &[Vec<u8>], seq: usize) -> After {
    After { seq: seq.try_into().unwrap(), hash: entry::hash(&entries[seq - 1]) }
}

fn genesis(writer: &Writer) -> After {
    After { seq: 0, hash: writer.station.certificate }
}

fn stopped(seq: u64, code: StopCode) -> Option<Stopped> {
    Some(Stopped { seq, code })
}

/// Signs the next entry of `writer` after `change` was made to its JSON.
fn write_changed(writer: &mut Writer, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = serde_json::to_value(writer.next(scan("L1"))).unwrap();
    change(&mut value);
    let bytes = entry::sign(&canonical::write(&value).unwrap(), Context::Operation, &writer.keys).unwrap();
    writer.advance(&bytes);
    bytes
}

fn held(cloud: &Cloud, writer: &Writer) -> Vec<Vec<u8>> {
    cloud.store.entries(writer.station.id).map(|(_, entry)| entry.bytes.clone()).collect()
}

#[test]
fn a_whole_push_gives_numbers_verdicts_and_a_receipt() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let entries = writer.enrolled_with_scans(4);
    let reply = cloud.push_all(&writer.station, writer.epoch, &entries);
    assert_eq!((reply.first_index, reply.stopped), (Some(0), None));
    assert_eq!(
        (reply.through.epoch, reply.through.seq, reply.through.hash),
        (Some(writer.epoch), 5, writer.prev)
    );
    let [verdicts] = reply.verdicts.as_slice() else { panic!("one batch, one statement") };
    assert_eq!((verdicts.value.first, verdicts.value.count), (0, 5));
    assert!(verdicts.value.exceptions.is_empty(), "{verdicts:?}");
    let receipt = reply.receipt.unwrap();
    assert_eq!((receipt.value.through.seq, receipt.value.through.hash), (5, writer.prev));
    assert_eq!(receipt.value.verdicts, vec![verdicts.hash], "the receipt names the verdicts");
    assert_eq!(receipt.value.previous, Hash::ZERO, "the first receipt");
    assert_eq!(held(&cloud, &writer), entries, "bytes are stored as they came");
    cloud.check(&writer.station);
}

#[test]
fn receipts_of_a_station_chain_by_previous_and_another_station_does_not_mix_in() {
    let (mut cloud, mut one, mut two) = (Cloud::new(), Writer::new(1), Writer::new(2));
    let (first, second) = (one.enrolled_with_scans(3), two.enrolled_with_scans(3));
    let a = cloud.push_all(&one.station, one.epoch, &first[..2]).receipt.unwrap();
    let b = cloud.push_all(&two.station, two.epoch, &second).receipt.unwrap();
    let c = cloud.push(&one.station, one.epoch, after(&first, 2), &first[2..]).unwrap().receipt.unwrap();
    assert_eq!((a.value.previous, b.value.previous), (Hash::ZERO, Hash::ZERO));
    assert_eq!(c.value.previous, a.hash);
    cloud.check(&one.station);
    cloud.check(&two.station);
}

#[test]
fn a_push_again_changes_nothing_and_gets_the_same_verdicts_and_receipt() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let entries = writer.enrolled_with_scans(4);
    let first = cloud.push_all(&writer.station, writer.epoch, &entries);
    let (leaves, receipts) = (cloud.store.leaves.clone(), cloud.store.receipts.clone());
    let again = cloud.push_all(&writer.station, writer.epoch, &entries);
    assert_eq!((again.first_index, again.stopped, again.through), (None, None, first.through));
    assert_eq!((again.verdicts, again.receipt, again.tree), (first.verdicts, first.receipt, first.tree));
    assert_eq!((&cloud.store.leaves, &cloud.store.receipts), (&leaves, &receipts));
    for end in [1, 3, 4] {
        let part = cloud.push_all(&writer.station, writer.epoch, &entries[..end]);
        let through = u64::try_from(end).unwrap();
        assert_eq!((part.first_index, part.through.seq, part.verdicts.len()), (None, through, 1));
        assert_eq!(
            part.receipt.unwrap().value.through.seq,
            through,
            "a receipt for the end within the batch"
        );
    }
    assert_eq!(cloud.store.leaves, leaves);
    cloud.check(&writer.station);
}

#[test]
fn known_entries_before_new_ones_are_skipped() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let entries = writer.enrolled_with_scans(5);
    cloud.push_all(&writer.station, writer.epoch, &entries[..4]);
    let reply = cloud.push(&writer.station, writer.epoch, after(&entries, 2), &entries[2..]).unwrap();
    assert_eq!(
        (reply.first_index, reply.through.seq),
        (Some(5), 6),
        "four operations and a verdict leaf before"
    );
    assert_eq!(reply.verdicts.len(), 2, "a statement for each stored batch that the push touches");
    assert_eq!(held(&cloud, &writer), entries);
    cloud.check(&writer.station);
}

#[test]
fn an_empty_push_tells_nothing_and_keeps_nothing() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let entries = writer.enrolled_with_scans(1);
    let before = cloud.push_all(&writer.station, writer.epoch, &[]);
    assert_eq!((before.through.epoch, before.through.seq), (None, 0));
    assert_eq!(before.through.hash, writer.station.certificate);
    assert!(before.receipt.is_none() && before.tree.is_none(), "nothing was taken yet");
    cloud.push_all(&writer.station, writer.epoch, &entries);
    let after = cloud.push(&writer.station, writer.epoch, after(&entries, 2), &[]).unwrap();
    assert_eq!((after.through.seq, after.verdicts.len()), (2, 0));
    cloud.check(&writer.station);
}

#[test]
fn a_poison_operation_is_quarantined_and_nothing_waits_behind_it() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let mut entries = writer.enrolled_with_scans(1);
    entries.push(write_changed(&mut writer, |v| v["body"] = json!({"type": "scan.accepted", "lot": 7})));
    entries.push(write_changed(&mut writer, |v| v["body"] = json!({"type": "weight.captured", "g": "1.5"})));
    entries.push(write_changed(&mut writer, |v| v["body"]["raw"] = json!("0G")));
    entries.push(write_changed(&mut writer, |v| {
        v["v"] = json!(2);
        v["more"] = json!({"x": null});
    }));
    entries.push(writer.write(scan("L2")));
    let reply = cloud.push_all(&writer.station, writer.epoch, &entries);
    assert_eq!((reply.stopped, reply.through.seq), (None, 7), "every one is taken");
    let codes: Vec<_> = cloud.judged().into_iter().map(|(_, code)| code).collect();
    let quarantined = ["invalid_body", "unknown_type", "invalid_body", "unknown_type"];
    let expected: Vec<_> =
        [None, None].into_iter().chain(quarantined.map(|code| Some(code.to_owned()))).chain([None]).collect();
    assert_eq!(codes, expected);
    let exceptions = &reply.verdicts[0].value.exceptions;
    assert!(exceptions.iter().all(|e| e.verdict == Verdict::Quarantined), "{exceptions:?}");
    cloud.check(&writer.station);
}

#[test]
fn a_thousand_exceptions_in_one_push_are_numbered_and_signed() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let mut entries = writer.enrolled_with_scans(0);
    entries.extend((0..999).map(|_| write_changed(&mut writer, |v| v["body"] = json!({"type": "later"}))));
    let reply = cloud.push_all(&writer.station, writer.epoch, &entries);
    assert_eq!((reply.stopped, reply.through.seq), (None, 1000));
    assert!(reply.verdicts.len() > 1, "they do not fit one frame of 32 KiB");
    let listed: usize = reply.verdicts.iter().map(|batch| batch.value.exceptions.len()).sum();
    assert_eq!(listed, 999);
    let receipt = reply.receipt.unwrap();
    let hashes: Vec<_> = reply.verdicts.iter().map(|batch| batch.hash).collect();
    assert_eq!(receipt.value.verdicts, hashes, "one receipt for all of them");
    cloud.check(&writer.station);
}

#[test]
fn an_entry_that_is_not_the_stations_ends_the_prefix_and_what_is_before_it_is_kept() {
    let foreign =
        |member: &'static str, value: Value| move |w: &mut Writer| write_changed(w, |v| v[member] = value);
    let other = Writer::new(9);
    let id = |n: u8| json!(lotgate_domain::ids::TenantId::from_parts(9, &[n; 10]));
    type Bad = Box<dyn FnOnce(&mut Writer) -> Vec<u8>>;
    let cases: Vec<(&str, StopCode, Bad)> = vec![
        (
            "flipped signature bit",
            StopCode::BadSignature,
            Box::new(|w| {
                let mut bytes = w.write(scan("L1"));
                *bytes.last_mut().unwrap() ^= 1;
                bytes
            }),
        ),
        (
            "flipped content bit",
            StopCode::BadSignature,
            Box::new(|w| {
                let mut bytes = w.write(scan("L1"));
                bytes[40] ^= 1;
                bytes
            }),
        ),
        (
            "signed by another key",
            StopCode::BadSignature,
            Box::new(|w| w.next(scan("L1")).write(&KeyPair::from_seed(&[99; 32])).unwrap()),
        ),
        (
            "another context",
            StopCode::BadSignature,
            Box::new(|w| {
                let json = canonical::write(&w.next(scan("L1"))).unwrap();
                entry::sign(&json, Context::Receipt, &w.keys).unwrap()
            }),
        ),
        ("another tenant", StopCode::BrokenChain, Box::new(foreign("tenant", id(1)))),
        ("another site", StopCode::BrokenChain, Box::new(foreign("site", id(2)))),
        ("another station", StopCode::BrokenChain, Box::new(foreign("station", id(3)))),
        (
            "another key id",
            StopCode::BrokenChain,
            Box::new(foreign("key", json!(other.keys.public().key_id()))),
        ),
        ("another algorithm", StopCode::BrokenChain, Box::new(foreign("alg", json!("ed448")))),
        ("unknown envelope member", StopCode::BrokenChain, Box::new(foreign("more", json!(1)))),
        ("another previous hash", StopCode::BrokenChain, Box::new(foreign("prev", json!(Hash::ZERO)))),
        ("a gap", StopCode::BrokenChain, Box::new(foreign("seq", json!(9)))),
        ("seq 0", StopCode::BrokenChain, Box::new(foreign("seq", json!(0)))),
        ("the largest seq", StopCode::BrokenChain, Box::new(foreign("seq", json!(canonical::MAX_INTEGER)))),
        (
            "another epoch's id",
            StopCode::BrokenChain,
            Box::new(foreign("epoch", json!(Epoch { n: 1, id: EpochId([7; 16]) }))),
        ),
        (
            "a missing null member",
            StopCode::BrokenChain,
            Box::new(|w| write_changed(w, |v| drop(v.as_object_mut().unwrap().remove("reason")))),
        ),
        (
            "an upper-case id",
            StopCode::BrokenChain,
            Box::new(|w| write_changed(w, |v| v["id"] = json!(v["id"].as_str().unwrap().to_uppercase()))),
        ),
    ];
    for (why, code, bad) in cases {
        let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
        let mut entries = writer.enrolled_with_scans(2);
        let head = writer.prev;
        entries.push(bad(&mut writer));
        entries.push(writer.write(scan("L2")));
        let reply = cloud.push_all(&writer.station, writer.epoch, &entries);
        assert_eq!(reply.stopped, stopped(4, code), "{why}");
        assert_eq!((reply.through.seq, reply.through.hash), (3, head), "{why}: the prefix is kept");
        assert_eq!(held(&cloud, &writer), entries[..3], "{why}");
        assert!(cloud.statements().is_empty(), "{why}: no fork");
        assert_eq!(reply.receipt.unwrap().value.through.seq, 3, "{why}");
        cloud.check(&writer.station);
    }
}

#[test]
fn a_push_after_what_the_cloud_does_not_hold_is_a_head_mismatch() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let entries = writer.enrolled_with_scans(3);
    cloud.push_all(&writer.station, writer.epoch, &entries[..2]);
    let mismatch = |cloud: &mut Cloud, epoch, after, why: &str| {
        let leaves = cloud.store.leaves.len();
        assert!(cloud.push(&writer.station, epoch, after, &entries[3..]).is_none(), "{why}");
        assert_eq!(cloud.store.leaves.len(), leaves, "{why}");
    };
    mismatch(&mut cloud, writer.epoch, after(&entries, 3), "after an entry that was not pushed");
    mismatch(&mut cloud, writer.epoch, After { seq: 2, hash: Hash::ZERO }, "another hash");
    mismatch(&mut cloud, writer.epoch, After { seq: 0, hash: Hash::ZERO }, "another certificate");
    mismatch(&mut cloud, writer.epoch, After { seq: u64::MAX, hash: Hash::ZERO }, "the largest number");
    mismatch(&mut cloud, Epoch { n: 2, ..writer.epoch }, after(&entries, 2), "another count of epoch");
    mismatch(&mut cloud, Epoch { id: EpochId([0; 16]), ..writer.epoch }, after(&entries, 2), "another epoch");
}

#[test]
fn a_new_epoch_begins_from_the_certificate_and_the_old_one_can_be_pushed_again() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let old_epoch = writer.epoch;
    let old = writer.enrolled_with_scans(3);
    cloud.push_all(&writer.station, old_epoch, &old[..3]);
    let new = [writer.open_epoch(3, 30), writer.write(scan("L1"))];
    let reply = cloud.push_all(&writer.station, writer.epoch, &new);
    assert_eq!((reply.through.epoch, reply.through.seq), (Some(writer.epoch), 2));
    assert_eq!(reply.codes(), ["epoch_unconfirmed"; 2]);
    let again = cloud.push_all(&writer.station, old_epoch, &old[..3]);
    assert_eq!((again.first_index, again.through.seq, again.stopped), (None, 3, None), "known");
    let late = cloud.push(&writer.station, old_epoch, after(&old, 3), &old[3..]).unwrap();
    assert_eq!((late.through.epoch, late.through.seq), (Some(old_epoch), 4), "a late entry is not lost");
    let receipt = &late.receipt.as_ref().unwrap().value;
    assert_eq!((receipt.epoch, receipt.through.seq), (old_epoch, 4), "its receipt is for its own epoch");
    assert_eq!(late.codes(), Vec::<&str>::new(), "what was written before the doubt stands");
    cloud.check(&writer.station);
}

#[test]
fn a_batch_holds_one_epoch() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let epoch = writer.epoch;
    let mut entries = writer.enrolled_with_scans(1);
    entries.push(writer.open_epoch(2, 2));
    let reply = cloud.push_all(&writer.station, epoch, &entries);
    assert_eq!((reply.stopped, reply.through.seq), (stopped(3, StopCode::BrokenChain), 2));
    let reply = cloud.push_all(&writer.station, Epoch { n: 7, ..epoch }, &entries);
    assert_eq!(reply.stopped, stopped(1, StopCode::BrokenChain), "the header names another epoch");
    assert_eq!(held(&cloud, &writer), entries[..2]);
}

#[test]
fn an_epoch_is_confirmed_only_by_a_planned_new_key() {
    for reason in EpochReason::ALL {
        let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
        let first = writer.open_epoch_because(2, 2, reason);
        let entries = [first, writer.write(scan("L1"))];
        let reply = cloud.push_all(&writer.station, writer.epoch, &entries[..1]);
        let later = cloud.push(&writer.station, writer.epoch, after(&entries, 1), &entries[1..]).unwrap();
        let expected: &[&str] = if reason == EpochReason::KeyRotated { &[] } else { &["epoch_unconfirmed"] };
        assert_eq!((reply.codes(), later.codes()), (expected.to_vec(), expected.to_vec()), "{reason:?}");
        cloud.check(&writer.station);
    }
}

#[test]
fn a_skewed_clock_flags_what_was_pushed_under_it_even_if_it_is_numbered_later() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let entries = writer.enrolled_with_scans(5);
    for (from, skew_ms) in [(0, 300_000), (1, 300_002), (2, -300_000), (3, -300_002)] {
        cloud.skew_ms = skew_ms;
        let point = if from == 0 { genesis(&writer) } else { after(&entries, from) };
        cloud.take(&writer.station, writer.epoch, point, &entries[from..=from]).unwrap();
    }
    cloud.skew_ms = 0;
    cloud.push(&writer.station, writer.epoch, after(&entries, 4), &entries[4..]).unwrap();
    let codes: Vec<_> = cloud.judged().into_iter().map(|(_, code)| code).collect();
    let flagged = Some("clock_rolled_back".to_owned());
    assert_eq!(codes, [None, flagged.clone(), None, flagged, None, None]);
    cloud.check(&writer.station);
}

#[test]
fn a_closed_stations_tail_is_judged_by_how_it_was_closed() {
    for (closing, through, expected) in [
        (Closing::Revoked, Some(4), vec![Verdict::Flagged, Verdict::Quarantined]),
        (Closing::Revoked, None, vec![Verdict::Quarantined, Verdict::Quarantined]),
        (Closing::Retired, Some(4), vec![Verdict::Quarantined, Verdict::Quarantined]),
    ] {
        let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
        let entries = writer.enrolled_with_scans(4);
        cloud.push_all(&writer.station, writer.epoch, &entries[..3]);
        let point = |seq: u64| {
            let hash = entry::hash(&entries[usize::try_from(seq).unwrap() - 1]);
            ChainPoint { epoch: writer.epoch, seq, hash }
        };
        cloud.store.stations.get_mut(&writer.station.id).unwrap().closed =
            Some((closing, through.map(point)));
        let reply = cloud.push(&writer.station, writer.epoch, after(&entries, 3), &entries[3..]).unwrap();
        let told: Vec<_> = reply.verdicts[0].value.exceptions.iter().map(|e| e.verdict).collect();
        assert_eq!((told, reply.codes()), (expected, vec!["station_revoked"; 2]), "{closing:?} {through:?}");
        cloud.check(&writer.station);
    }
}

#[test]
fn entries_of_a_former_key_are_taken_and_those_of_no_key_of_the_station_are_not() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let old = writer.enrolled_with_scans(3);
    let (old_epoch, old_certificate) = (writer.epoch, writer.station.certificate);
    cloud.push_all(&writer.station, old_epoch, &old[..2]);
    let former = StationKey { key: writer.station.key, certificate: old_certificate };
    writer.keys = KeyPair::from_seed(&[50; 32]);
    writer.station.key = writer.keys.public();
    writer.station.certificate = Hash::of(b"new certificate");
    writer.station.former = vec![former];
    cloud.store.stations.insert(writer.station.id, writer.station.clone());
    let new = [writer.open_epoch_because(2, 2, EpochReason::KeyRotated), writer.write(scan("L1"))];
    let reply = cloud.push_all(&writer.station, writer.epoch, &new);
    assert_eq!((reply.stopped, reply.codes()), (None, Vec::new()));
    let late = cloud.push(&writer.station, old_epoch, after(&old, 2), &old[2..]).unwrap();
    assert_eq!((late.stopped, late.through.seq), (None, 4), "the rest that the former key signed");

    let point = After { seq: 0, hash: old_certificate };
    writer.open_epoch(3, 3);
    (writer.seq, writer.prev) = (0, old_certificate);
    let mixed = writer.write(Body::EpochOpened { reason: "rolled_back".into(), last: None, anchor: None });
    let reply = cloud.push(&writer.station, writer.epoch, point, &[mixed]).unwrap();
    assert_eq!(reply.stopped, stopped(1, StopCode::BrokenChain), "the new key on the former certificate");
    cloud.check(&writer.station);
}

#[test]
fn an_epoch_begins_with_its_own_operation() {
    for (n, first, follows) in
        [(0, "epoch.opened", false), (1, "epoch.opened", false), (2, "epoch.opened", true)]
    {
        let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
        let entry = writer.open_epoch(n, 1);
        let reply = cloud.push_all(&writer.station, writer.epoch, &[entry]);
        assert_eq!(reply.stopped.is_none(), follows, "{first} in epoch {n}");
    }
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    writer.epoch.n = 2;
    let entries = writer.enrolled_with_scans(0);
    let reply = cloud.push_all(&writer.station, writer.epoch, &entries);
    assert_eq!(reply.stopped, stopped(1, StopCode::BrokenChain), "station.enrolled in epoch 2");
}

#[test]
fn an_id_used_before_is_flagged_in_the_same_push_and_by_another_station() {
    let (mut cloud, mut one, mut two) = (Cloud::new(), Writer::new(1), Writer::new(2));
    let mut entries = one.enrolled_with_scans(1);
    let frame = Frame::read(&entries[1]).unwrap();
    let id = operation::read(&frame).unwrap().content.id().unwrap();
    entries.push(write_changed(&mut one, |v| v["id"] = json!(id)));
    cloud.push_all(&one.station, one.epoch, &entries);
    let mut others = two.enrolled_with_scans(0);
    others.push(write_changed(&mut two, |v| v["id"] = json!(id)));
    cloud.push_all(&two.station, two.epoch, &others);
    let codes: Vec<_> = cloud.judged().into_iter().map(|(_, code)| code).collect();
    let reused = Some("id_reused".to_owned());
    assert_eq!(codes, [None, None, reused.clone(), None, reused]);
    cloud.check(&one.station);
}

#[test]
fn a_blocked_lot_is_flagged_by_whether_the_station_could_know() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    let lot = ("API-1".to_owned(), "L1".to_owned());
    cloud.store.blocked.insert(writer.station.site, [(lot, 6)].into());
    let mut entries = writer.enrolled_with_scans(0);
    for (snapshot, lot) in [(json!(5), "L1"), (json!(6), "L1"), (json!(5), "L2"), (Value::Null, "L1")] {
        entries.push(write_changed(&mut writer, |v| {
            v["body"]["lot"] = json!(lot);
            if snapshot.is_null() { v["knew"] = Value::Null } else { v["knew"]["snapshot"] = snapshot }
        }));
    }
    cloud.push_all(&writer.station, writer.epoch, &entries);
    let codes: Vec<_> = cloud.judged().into_iter().map(|(_, code)| code).collect();
    let (since, against) = (Some("lot_held_since".to_owned()), Some("policy_violation".to_owned()));
    assert_eq!(codes, [None, since.clone(), against, None, since], "snapshot 6 says that L1 is blocked");
}

#[test]
fn a_simulated_device_is_flagged_unless_the_station_is_for_training() {
    for training in [true, false] {
        let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
        writer.station.training = training;
        let mut entries = writer.enrolled_with_scans(0);
        let Body::ScanAccepted(mut body) = scan("L1") else { panic!("a scan") };
        body.device.simulated = true;
        entries.push(writer.write(Body::ScanAccepted(body)));
        cloud.push_all(&writer.station, writer.epoch, &entries);
        let flagged = (!training).then(|| "simulated_device".to_owned());
        assert_eq!(cloud.judged()[1].1, flagged, "training: {training}");
    }
}

#[test]
fn what_was_printed_is_a_fact_whatever_became_of_its_lot() {
    let (mut cloud, mut writer) = (Cloud::new(), Writer::new(1));
    writer.station.training = false;
    let lot = ("API-100".to_owned(), "LOT-7/ü".to_owned());
    cloud.store.blocked.insert(writer.station.site, [(lot, 6)].into());
    let mut entries = writer.enrolled_with_scans(0);
    let confirmed = labels::state(JobState::Confirmed, Some("status_transition"), None);
    for body in [labels::queued(false), confirmed, labels::queued(true)] {
        entries.push(writer.write(body));
    }
    cloud.push_all(&writer.station, writer.epoch, &entries);
    let codes: Vec<_> = cloud.judged().into_iter().map(|(_, code)| code).collect();
    let simulated = Some("simulated_device".to_owned());
    assert_eq!(codes, [None, None, None, simulated], "the copy's printer is a simulated one");
}

/// Pushes `entries` in pieces that `cuts` and `rewinds` choose; a rewind is what a lost reply leads to.
fn push_in_pieces(cloud: &mut Cloud, writer: &Writer, entries: &[Vec<u8>], steps: &[(usize, usize)]) {
    let mut known = 0;
    let mut steps = steps.iter().cycle();
    while known < entries.len() {
        let (take, rewind) = steps.next().unwrap();
        let from = known.saturating_sub(*rewind);
        let to = (from + take).min(entries.len());
        let point = match from {
            0 => After { seq: 0, hash: writer.station.certificate },
            from => after(entries, from),
        };
        let reply = cloud.push(&writer.station, writer.epoch, point, &entries[from..to]).unwrap();
        assert_eq!(reply.stopped, None);
        known = known.max(to);
        assert_eq!(reply.through.seq, u64::try_from(to).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn stations_pushed_in_any_order_and_numbered_at_any_time_give_each_operation_the_same_verdict(
        turns in prop::collection::vec((0usize..3, 1usize..5, any::<bool>()), 8..40),
    ) {
        let mut writers = [Writer::new(1), Writer::new(2), Writer::new(3)];
        let chains: Vec<Vec<Vec<u8>>> = writers.iter_mut().map(|writer| {
            let mut entries = writer.enrolled_with_scans(6);
            entries.push(write_changed(writer, |v| v["body"] = json!({"type": "scan.refused"})));
            entries.extend((0..3).map(|_| writer.write(scan("L2"))));
            entries
        }).collect();
        let (mut ordered, mut mixed) = (Cloud::new(), Cloud::new());
        for (writer, entries) in writers.iter().zip(&chains) {
            ordered.push_all(&writer.station, writer.epoch, entries);
        }
        let mut known = [0; 3];
        for (who, count, whole) in turns.into_iter().chain([(0, 99, true), (1, 99, true), (2, 99, true)]) {
            let (writer, entries) = (&writers[who], &chains[who]);
            let to = (known[who] + count).min(entries.len());
            let point = if known[who] == 0 { genesis(writer) } else { after(entries, known[who]) };
            let new = &entries[known[who]..to];
            if whole {
                mixed.push(&writer.station, writer.epoch, point, new).unwrap();
            } else {
                mixed.take(&writer.station, writer.epoch, point, new).unwrap();
            }
            known[who] = to;
        }
        mixed.number();
        let sorted = |cloud: &Cloud| { let mut judged = cloud.judged(); judged.sort(); judged };
        prop_assert_eq!(sorted(&ordered), sorted(&mixed));
        for writer in &writers {
            ordered.check(&writer.station);
            mixed.check(&writer.station);
        }
    }

    #[test]
    fn a_chain_pushed_in_any_pieces_gives_the_same_entries_and_verdicts(
        scans in 1usize..20,
        poison in prop::collection::btree_set(0usize..20, 0..4),
        steps in prop::collection::vec((1usize..8, 0usize..6), 1..8)
            .prop_filter("goes forward", |steps| steps.iter().any(|(take, rewind)| take > rewind)),
    ) {
        let mut writer = Writer::new(1);
        let mut entries = writer.enrolled_with_scans(0);
        for place in 0..scans {
            entries.push(if poison.contains(&place) {
                write_changed(&mut writer, |v| v["body"] = json!({"type": "scan.refused"}))
            } else {
                writer.write(scan("L1"))
            });
        }
        let (mut whole, mut pieces) = (Cloud::new(), Cloud::new());
        whole.push_all(&writer.station, writer.epoch, &entries);
        push_in_pieces(&mut pieces, &writer, &entries, &steps);
        prop_assert_eq!(whole.judged(), pieces.judged());
        prop_assert_eq!(held(&whole, &writer), held(&pieces, &writer));
        let last = |cloud: &Cloud| {
            let bytes = &cloud.store.receipts.iter().max_by_key(|kept| kept.place).unwrap().bytes;
            let read = lotgate_domain::statement::read::<lotgate_domain::statement::Receipt>;
            read(bytes, writer.station.tenant, &cloud.keys.public()).unwrap().value.through
        };
        prop_assert_eq!(last(&whole), last(&pieces));
        whole.check(&writer.station);
        pieces.check(&writer.station);
    }
}

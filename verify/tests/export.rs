//! An export that was not touched is believed; each way to touch it is found, and named.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

#[path = "parts/build.rs"]
mod build;

use build::Export;
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::export;
use lotgate_domain::ids::Hash;
use lotgate_domain::signature::{Context, KeyPair};
use lotgate_verify::finding::FindingCode;
use std::collections::BTreeSet;

const COUNT: u64 = 6;

/// Codes that are found in `export` as it is.
fn found(export: &Export) -> BTreeSet<FindingCode> {
    let dir = tempfile::tempdir().unwrap();
    export.write(dir.path());
    let report = lotgate_verify::verify(dir.path(), export.tenant.fingerprint()).unwrap();
    assert_eq!(report.findings.ok(), report.findings.counts().is_empty(), "{:?}", report.findings);
    report.findings.counts().keys().copied().collect()
}

/// Codes that are found after the entries of the first station were changed and everything was sealed again.
fn after_change(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> BTreeSet<FindingCode> {
    let mut export = Export::new(COUNT);
    let (station, mut entries) = export.entries[0].clone();
    change(&mut entries);
    export.put(&export::entries_path(station.id, 1, 0, 1), entries.concat());
    found(&export)
}

fn edited(bytes: &[u8], keys: &KeyPair) -> Vec<u8> {
    let json = String::from_utf8(Frame::read(bytes).unwrap().json().to_vec()).unwrap();
    entry::sign(json.replace("\"build\":\"test\"", "\"build\":\"tess\"").as_bytes(), Context::Operation, keys)
        .unwrap()
}

#[test]
fn an_untouched_export_has_no_findings_and_its_figures_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let export = Export::new(COUNT);
    export.write(dir.path());
    let report = lotgate_verify::verify(dir.path(), export.tenant.fingerprint()).unwrap();
    assert!(report.findings.counts().is_empty(), "{:?}", report.findings);
    assert_eq!(report.entries.values().copied().collect::<Vec<_>>(), [COUNT, COUNT]);
    assert_eq!((report.checkpoints, report.statements), (3, 4));
    assert_eq!(report.log.unwrap().size, 6 + 2 * (COUNT + 1));
}

#[test]
fn the_fingerprint_alone_decides_whom_to_believe() {
    let dir = tempfile::tempdir().unwrap();
    Export::new(COUNT).write(dir.path());
    let report = lotgate_verify::verify(dir.path(), Hash::ZERO).unwrap();
    assert_eq!(report.findings.counts().keys().collect::<Vec<_>>(), [&FindingCode::ExportTrust]);
}

#[test]
fn a_changed_entry_is_found_by_its_signature_and_a_new_signature_by_the_chain() {
    use FindingCode::{EntryChain, EntrySignature, LogEntryMissing, LogLeafUnknown};
    let stranger = KeyPair::from_seed(&[66; 32]);
    let by_stranger = after_change(|entries| entries[2] = edited(&entries[2], &stranger));
    assert!(by_stranger.is_superset(&BTreeSet::from([EntrySignature, LogLeafUnknown])), "{by_stranger:?}");
    let by_station = KeyPair::from_seed(&[7; 32]);
    let signed_again = after_change(|entries| entries[2] = edited(&entries[2], &by_station));
    let expected = BTreeSet::from([EntryChain, LogEntryMissing, LogLeafUnknown]);
    assert!(signed_again.is_superset(&expected), "{signed_again:?}");
}

#[test]
fn an_entry_that_is_missing_doubled_or_in_another_place_is_found_by_the_chain() {
    use FindingCode::{EntryChain, EntryGap};
    let dropped = after_change(|entries| drop(entries.remove(2)));
    assert!(dropped.is_superset(&BTreeSet::from([EntryChain, EntryGap])), "{dropped:?}");
    let swapped = after_change(|entries| entries.swap(2, 3));
    assert!(swapped.is_superset(&BTreeSet::from([EntryChain, EntryGap])), "{swapped:?}");
    let doubled = after_change(|entries| entries.insert(2, entries[2].clone()));
    assert!(doubled.is_superset(&BTreeSet::from([EntryChain, EntryGap])), "{doubled:?}");
    let cut_off = after_change(|entries| drop(entries.pop()));
    assert!(cut_off.contains(&EntryGap), "{cut_off:?}");
}

#[test]
fn a_tail_that_is_cut_off_with_its_range_is_found_by_the_log() {
    let mut export = Export::new(COUNT);
    let (station, mut entries) = export.entries[0].clone();
    entries.pop();
    export.put(&export::entries_path(station.id, 1, 0, 1), entries.concat());
    for range in export.ranges.iter_mut().filter(|range| range.station == station.id) {
        range.last = COUNT - 1;
    }
    assert_eq!(found(&export), BTreeSet::from([FindingCode::LogLeafUnknown, FindingCode::ReceiptMissing]));
}

#[test]
fn an_entry_of_another_station_is_found_by_its_key() {
    let foreign = Export::new(COUNT).entries[1].1[2].clone();
    let spliced = after_change(|entries| entries[2] = foreign);
    assert!(spliced.contains(&FindingCode::EntrySignature), "{spliced:?}");
}

#[test]
fn a_leaf_taken_out_of_the_log_is_found_by_the_checkpoints() {
    use FindingCode::{CheckpointContradicts, LogEntryMissing, VerdictCoverage};
    let mut export = Export::new(COUNT);
    let mut log = export.files[export::LOG].clone();
    log.drain(8 * 33..9 * 33);
    export.put(export::LOG, log);
    let found = found(&export);
    let expected = BTreeSet::from([CheckpointContradicts, LogEntryMissing, VerdictCoverage]);
    assert!(found.is_superset(&expected), "{found:?}");
}

#[test]
fn two_logs_of_one_size_are_found_as_a_split() {
    use lotgate_domain::merkle::checkpoint::Checkpoint;
    use lotgate_domain::merkle::proof::TreeHead;
    let mut export = Export::new(COUNT);
    let head = TreeHead { size: 6, root: Hash::of(b"another log") };
    let note = Checkpoint { tenant: export.tenant.id, generation: 1, head }.sign(&export.tenant.log);
    let mut notes = export.files[export::CHECKPOINTS].clone();
    notes.extend_from_slice(format!("\n{note}").as_bytes());
    export.put(export::CHECKPOINTS, notes);
    let found = found(&export);
    let expected = BTreeSet::from([FindingCode::CheckpointSplit, FindingCode::CheckpointContradicts]);
    assert_eq!(found, expected);
}

#[test]
fn a_page_of_reference_data_that_was_changed_is_found_by_its_hash() {
    let mut export = Export::new(COUNT);
    let mut feed = export.files[export::FEED].clone();
    *feed.iter_mut().rev().nth(2).unwrap() = b'2';
    export.put(export::FEED, feed);
    assert_eq!(found(&export), BTreeSet::from([FindingCode::FeedChain]));
}

#[test]
fn a_file_that_is_missing_changed_or_not_listed_is_found_without_the_seal_being_made_again() {
    use FindingCode::{ExportFileChanged, ExportFileMissing, ExportFileUnlisted, ExportSeal, ReceiptMissing};
    let export = Export::new(COUNT);
    let codes = |spoil: &dyn Fn(&std::path::Path)| {
        let dir = tempfile::tempdir().unwrap();
        export.write(dir.path());
        spoil(dir.path());
        let report = lotgate_verify::verify(dir.path(), export.tenant.fingerprint()).unwrap();
        report.findings.counts().keys().copied().collect::<BTreeSet<_>>()
    };
    let missing = codes(&|dir| std::fs::remove_file(dir.join(export::RECEIPTS)).unwrap());
    assert_eq!(missing, BTreeSet::from([ExportFileMissing, ReceiptMissing]));
    let changed = codes(&|dir| std::fs::write(dir.join(export::RECEIPTS), b"").unwrap());
    assert_eq!(changed, BTreeSet::from([ExportFileChanged, ReceiptMissing]));
    let unlisted = codes(&|dir| std::fs::write(dir.join("more.bin"), b"").unwrap());
    assert_eq!(unlisted, BTreeSet::from([ExportFileUnlisted]));
    let unsealed = codes(&|dir| std::fs::remove_file(dir.join(export::SEAL)).unwrap());
    assert_eq!(unsealed, BTreeSet::from([ExportSeal]));
}

#[test]
fn every_flipped_byte_of_every_file_is_found() {
    let export = Export::new(3);
    for path in export.files.keys() {
        let length = export.files[path].len();
        for at in (0..length).step_by(1 + length / 24) {
            let mut spoiled = Export::new(3);
            spoiled.files.get_mut(path).unwrap()[at] ^= 1;
            assert!(!found(&spoiled).is_empty(), "{path} byte {at}");
        }
    }
}

#[test]
fn a_cloud_that_leaves_out_receipts_or_its_last_checkpoint_is_found() {
    for (path, code) in [
        (export::RECEIPTS, FindingCode::ReceiptMissing),
        (export::CHECKPOINTS, FindingCode::CheckpointMissing),
    ] {
        let mut export = Export::new(COUNT);
        export.put(path, Vec::new());
        assert_eq!(found(&export), BTreeSet::from([code]));
    }
}

#[test]
fn a_listed_file_that_nothing_reads_is_compared_with_the_manifest_too() {
    let mut export = Export::new(COUNT);
    let blob = b"label".to_vec();
    export.put(&format!("blobs/{}", Hash::of(&blob)), blob);
    export.put(export::EVIDENCE, b"whatever came".to_vec());
    assert_eq!(found(&export), BTreeSet::new());
    export.put("blobs/other", b"label".to_vec());
    assert_eq!(found(&export), BTreeSet::from([FindingCode::ExportManifest]));
    let dir = tempfile::tempdir().unwrap();
    export.write(dir.path());
    std::fs::write(dir.path().join(export::EVIDENCE), b"something else").unwrap();
    let report = lotgate_verify::verify(dir.path(), export.tenant.fingerprint()).unwrap();
    assert!(report.findings.counts().contains_key(&FindingCode::ExportFileChanged));
}

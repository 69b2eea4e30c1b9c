//! The auditor's program and the independent one, written from the specification alone, agree about the same exports:
//! untouched ones, and every mutation of the corpus.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

#[path = "../../verify/tests/parts/build.rs"]
mod build;

use build::Export;
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::export;
use lotgate_domain::signature::{Context, KeyPair};
use std::path::Path;
use std::process::Command;

const ENTRIES: u64 = 5;
const LEAF: usize = 33;

/// Whether the independent program believes the export, and what it said.
fn independent(dir: &Path, fingerprint: &str) -> (bool, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/independent/verify.py");
    let output = Command::new("python3")
        .args([script, "export"])
        .arg(dir)
        .args(["--root-fingerprint", fingerprint, "--json"])
        .output()
        .expect("python3");
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => (true, told),
        Some(1) => (false, told),
        code => panic!("the independent program ended with {code:?}: {told}"),
    }
}

fn signed_again(bytes: &[u8], keys: &KeyPair) -> Vec<u8> {
    let json = String::from_utf8(Frame::read(bytes).unwrap().json().to_vec()).unwrap();
    entry::sign(json.replace("\"build\":\"test\"", "\"build\":\"tess\"").as_bytes(), Context::Operation, keys)
        .unwrap()
}

/// Changes the entries of the first station.
fn entries(export: &mut Export, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let (station, mut entries) = export.entries[0].clone();
    change(&mut entries);
    let range = export.ranges.iter_mut().find(|range| range.station == station.id).unwrap();
    range.last = entries.len() as u64;
    export.put(&export::entries_path(station.id, 1, 0, 1), entries.concat());
}

fn file(export: &mut Export, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = export.files[path].clone();
    change(&mut bytes);
    export.put(path, bytes);
}

type Mutation = (&'static str, fn(&mut Export));

/// Each is sealed again by the tenant's own key: what a cloud could do that rewrites.
const MUTATIONS: [Mutation; 13] = [
    ("an entry edited, its old signature kept", |export| {
        entries(export, |entries| {
            let at = entries[2].len() / 2;
            entries[2][at] ^= 1;
        });
    }),
    ("an entry edited and signed by the station again", |export| {
        entries(export, |entries| entries[2] = signed_again(&entries[2], &KeyPair::from_seed(&[7; 32])));
    }),
    ("an entry edited and signed by another key", |export| {
        entries(export, |entries| entries[2] = signed_again(&entries[2], &KeyPair::from_seed(&[66; 32])));
    }),
    ("an entry dropped", |export| entries(export, |entries| drop(entries.remove(2)))),
    ("an entry doubled", |export| entries(export, |entries| entries.insert(2, entries[2].clone()))),
    ("two entries swapped", |export| entries(export, |entries| entries.swap(2, 3))),
    ("the tail cut off", |export| entries(export, |entries| drop(entries.pop()))),
    ("an entry of another station spliced in", |export| {
        let foreign = export.entries[1].1[2].clone();
        entries(export, |entries| entries[2] = foreign);
    }),
    ("a leaf taken out of the log", |export| {
        file(export, export::LOG, |log| drop(log.drain(8 * LEAF..9 * LEAF)));
    }),
    ("the last leaves taken off the log", |export| {
        file(export, export::LOG, |log| log.truncate(log.len() - LEAF));
    }),
    ("verdicts left out", |export| file(export, export::VERDICTS, Vec::clear)),
    ("receipts left out", |export| file(export, export::RECEIPTS, Vec::clear)),
    ("checkpoints left out", |export| file(export, export::CHECKPOINTS, Vec::clear)),
];

#[test]
fn both_programs_believe_an_untouched_export_and_no_mutation_of_it() {
    let untouched: Mutation = ("untouched", |_| {});
    for (name, mutate) in std::iter::once(untouched).chain(MUTATIONS) {
        let mut export = Export::new(ENTRIES);
        mutate(&mut export);
        let dir = tempfile::tempdir().unwrap();
        export.write(dir.path());
        let fingerprint = export.tenant.fingerprint();
        let report = lotgate_verify::verify(dir.path(), fingerprint).unwrap();
        let (believed, told) = independent(dir.path(), &fingerprint.to_string());
        let expected = name == "untouched";
        assert_eq!(report.findings.ok(), expected, "{name}: lotgate-verify says {:?}", report.findings);
        assert_eq!(believed, expected, "{name}: the independent program says {told}");
    }
}

#[test]
fn the_independent_program_agrees_with_every_vector_and_passes_its_own_tests() {
    let independent = concat!(env!("CARGO_MANIFEST_DIR"), "/independent");
    for arguments in [&["verify.py", "vectors"][..], &["-m", "unittest", "discover", "-s", ".", "-q"][..]] {
        let output = Command::new("python3").current_dir(independent).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}{told}", String::from_utf8_lossy(&output.stdout));
    }
}

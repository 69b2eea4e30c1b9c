//! The export of a tenant: one directory in which everything fits together, from the root's fingerprint alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lotgate_cloud::export::{ExportError, export};
use lotgate_cloud::session::Session;
use lotgate_domain::canonical;
use lotgate_domain::certificate::{Trust, of_station};
use lotgate_domain::entry::Frame;
use lotgate_domain::export::{
    CERTIFICATES, CHECKPOINTS, EVIDENCE, ExportKind, FEED, LOG, LeafKind, MANIFEST, Manifest, RECEIPTS, SEAL,
    STATEMENTS, VERDICTS, entries_path,
};
use lotgate_domain::ids::{Hash, TenantId};
use lotgate_domain::merkle;
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::protocol::CloudApi as _;
use lotgate_domain::protocol::HexBytes;
use lotgate_domain::protocol::care::EvidenceRequest;
use lotgate_domain::reference::{feed_next, feed_start};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::event::{ExportSeal, ForkFound, KeyRotated};
use lotgate_domain::statement::{self, FeedPoint, Receipt, VerdictBatch};
use lotgate_tests::care::{adopt, rotate_request};
use lotgate_tests::cloud::Plant;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A tenant with everything: two branches, a new key, receipts of several stations, evidence that is a frame and
/// some that is none.
async fn filled(name: &str) -> (Plant, Vec<u8>) {
    let mut plant = Plant::new(name).await;
    let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.station.id);
    session.push(plant.station.push_all()).await.unwrap();
    plant.station.entries.truncate(2);
    plant.station.append_scan("A", "other branch");
    session.push(plant.station.push(2, 3)).await.unwrap();
    let loose = b"no frame at all".to_vec();
    let entries = vec![HexBytes(plant.moving.entries[0].clone()), HexBytes(loose.clone())];
    session.evidence(EvidenceRequest { reason: "queue_damaged".into(), entries }).await.unwrap();
    let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.leaving.id);
    let reply = session.rotate(rotate_request(&plant.leaving, 60, "planned")).await.unwrap();
    adopt(&mut plant.leaving, 60, &reply);
    (plant, loose)
}

fn frames(directory: &Path, path: &str) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(directory.join(path)).unwrap();
    let (mut frames, mut rest) = (Vec::new(), bytes.as_slice());
    while !rest.is_empty() {
        let (frame, after) = Frame::split_first(rest).unwrap();
        frames.push(frame.bytes().to_vec());
        rest = after;
    }
    frames
}

fn hashes(frames: &[Vec<u8>]) -> Vec<Hash> {
    frames.iter().map(|frame| lotgate_domain::entry::hash(frame)).collect()
}

#[tokio::test]
async fn everything_of_a_tenant_is_there_and_fits_together_from_the_fingerprint_alone() {
    let (plant, loose) = Box::pin(filled("export")).await;
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let exported = export(&plant.cloud, plant.tenant, &out).await.unwrap();
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left beside it");

    let json = std::fs::read(out.join(MANIFEST)).unwrap();
    assert_eq!(Hash::of(&json), exported.manifest_sha256);
    let manifest: Manifest = canonical::shape(canonical::read(&json).unwrap()).unwrap();
    assert_eq!((manifest.kind, manifest.tenant, manifest.station), (ExportKind::Cloud, plant.tenant, None));
    let root = KeyPair::from_seed(&[1; 32]).public().fingerprint();
    assert_eq!(manifest.root_fingerprint, root);
    assert_eq!(listed_files(&out), manifest.files.iter().map(|file| file.path.clone()).collect());
    for file in &manifest.files {
        let bytes = std::fs::read(out.join(&file.path)).unwrap();
        assert_eq!((Hash::of(&bytes), bytes.len() as u64), (file.sha256, file.bytes), "{}", file.path);
    }
    let certificates = frames(&out, CERTIFICATES);
    let trust = Trust::establish(plant.tenant, root, &certificates).unwrap();
    let seal = std::fs::read(out.join(SEAL)).unwrap();
    let seal = statement::read::<ExportSeal>(&seal, plant.tenant, &trust.statement).unwrap();
    assert_eq!((seal.value.manifest_sha256, seal.value.station), (exported.manifest_sha256, None));
    assert_eq!(of_station(&trust, &certificates, plant.leaving.id).len(), 2, "former keys are there");

    check_log(&plant, &out, &manifest, &trust, exported.leaves);
    check_feed(&plant, &out, &trust);
    assert_eq!(frames(&out, EVIDENCE), [plant.moving.entries[0].clone()]);
    let blob = std::fs::read(out.join(format!("blobs/{}", Hash::of(&loose)))).unwrap();
    assert_eq!(blob, loose, "evidence that is no frame");
    let query = "SELECT count(*) FROM audit WHERE action = 'tenant.exported' AND next_hash = $1";
    let told = plant.superuser.query_one(query, &[&exported.manifest_sha256.0.as_slice()]).await.unwrap();
    assert_eq!(told.get::<_, i64>(0), 1, "the audit trail knows of it");
}

fn listed_files(directory: &Path) -> BTreeSet<String> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            if ![MANIFEST, SEAL].contains(&name.as_str()) {
                found.insert(name);
            }
        }
    }
    found
}

/// Every leaf has its bytes in the file of its kind, and the last checkpoint is over all of them.
fn check_log(plant: &Plant, out: &Path, manifest: &Manifest, trust: &Trust, count: u64) {
    let log = std::fs::read(out.join(LOG)).unwrap();
    let leaves: Vec<(LeafKind, Hash)> = log
        .chunks(33)
        .map(|leaf| (LeafKind::from_byte(leaf[0]).unwrap(), Hash::from_slice(&leaf[1..]).unwrap()))
        .collect();
    assert_eq!(leaves.len() as u64, count);
    let of = |wanted: LeafKind| -> Vec<Hash> {
        leaves.iter().filter(|(kind, _)| *kind == wanted).map(|(_, hash)| *hash).collect()
    };
    assert_eq!(hashes(&frames(out, CERTIFICATES)), of(LeafKind::Certificate));
    let verdicts = frames(out, VERDICTS);
    assert_eq!(hashes(&verdicts), of(LeafKind::Verdicts));
    for bytes in &verdicts {
        statement::read::<VerdictBatch>(bytes, plant.tenant, &trust.statement).unwrap();
    }
    let statements = frames(out, STATEMENTS);
    assert_eq!(hashes(&statements), of(LeafKind::Statement));
    statement::read::<ForkFound>(&statements[0], plant.tenant, &trust.statement).unwrap();
    statement::read::<KeyRotated>(&statements[1], plant.tenant, &trust.statement).unwrap();
    assert_eq!(frames(out, RECEIPTS).len(), 3);
    for bytes in frames(out, RECEIPTS) {
        statement::read::<Receipt>(&bytes, plant.tenant, &trust.statement).unwrap();
    }

    let ranges: BTreeMap<_, _> = manifest
        .ranges
        .iter()
        .map(|range| ((range.station, range.branch), (range.first, range.last)))
        .collect();
    let expected =
        [((plant.leaving.id, 0), (1, 4)), ((plant.station.id, 0), (1, 4)), ((plant.station.id, 1), (3, 3))];
    assert_eq!(ranges, BTreeMap::from(expected));
    let mut operations: Vec<Hash> = manifest
        .ranges
        .iter()
        .flat_map(|range| {
            hashes(&frames(out, &entries_path(range.station, range.epoch, range.branch, range.first)))
        })
        .collect();
    let mut numbered = of(LeafKind::Operation);
    operations.sort();
    numbered.sort();
    assert_eq!(operations, numbered);

    let checkpoints = std::fs::read_to_string(out.join(CHECKPOINTS)).unwrap();
    let signature = format!("\n\n\u{2014} lotgate/{}/1 ", plant.tenant);
    assert_eq!(checkpoints.matches(&signature).count(), checkpoints.matches("\u{2014} ").count());
    let notes: Vec<String> = checkpoints
        .split("\n\nlotgate/")
        .map(|note| format!("lotgate/{}\n", note.trim_start_matches("lotgate/").trim_end()))
        .collect();
    let heads: Vec<Checkpoint> =
        notes.iter().map(|note| Checkpoint::read(note, plant.tenant, &trust.log).unwrap()).collect();
    assert!(heads.is_sorted_by(|one, other| one.head.size < other.head.size));
    for checkpoint in &heads {
        let size = usize::try_from(checkpoint.head.size).unwrap();
        assert_eq!(merkle::root(leaves[..size].iter().map(|(_, hash)| *hash)), checkpoint.head.root);
    }
    assert_eq!(heads.last().unwrap().head.size, count);
}

fn check_feed(plant: &Plant, out: &Path, trust: &Trust) {
    let bytes = std::fs::read(out.join(FEED)).unwrap();
    let (mut parts, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (part, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        parts.push(part);
        rest = after;
    }
    assert_eq!(parts.len(), 2, "one page");
    let point = statement::read::<FeedPoint>(parts[0], plant.tenant, &trust.statement).unwrap();
    assert_eq!((point.value.site, point.value.cursor), (plant.site, 1));
    assert_eq!(point.value.hash, feed_next(feed_start(plant.site), parts[1]));
}

#[tokio::test]
async fn what_is_at_the_place_stays_and_an_unknown_tenant_leaves_nothing() {
    let plant = Plant::new("export_refused").await;
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    std::fs::write(&out, "mine").unwrap();
    let refused = export(&plant.cloud, plant.tenant, &out).await.unwrap_err();
    assert!(matches!(refused, ExportError::Exists(_)), "{refused}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine");
    std::fs::remove_file(&out).unwrap();
    let unknown = export(&plant.cloud, TenantId::from_parts(9, &[9; 10]), &out).await.unwrap_err();
    assert!(matches!(unknown, ExportError::Rejected(_)), "{unknown}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "nothing half done is left");
    let nowhere = place.path().join("no").join("such").join("place");
    let refused = export(&plant.cloud, plant.tenant, &nowhere).await.unwrap_err();
    assert!(refused.to_string().starts_with("export_unwritable: "), "{refused}");
}

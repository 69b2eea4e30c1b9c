//! Exports of a queue as a station writes them (PROTOCOL §9.20), from keys alone.

use crate::station_keys::StationKeys;
use lotgate_domain::canonical;
use lotgate_domain::export::{ExportKind, FileEntry, MANIFEST, Manifest, Range, SEAL, entries_path};
use lotgate_domain::ids::{Hash, StationId};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement;
use lotgate_domain::statement::Statement as _;
use lotgate_domain::statement::event::ExportSeal;
use std::path::Path;

/// One epoch of a station: its number and its entries from seq 1 on.
pub type WrittenEpoch = (u64, Vec<Vec<u8>>);

/// Writes an export of `epochs` into `directory`, in files of `a_file` entries, sealed by the station if it is of
/// its queue.
///
/// # Panics
/// If it cannot be written.
pub fn export_queue(
    directory: &Path,
    station: &StationKeys,
    kind: ExportKind,
    epochs: &[WrittenEpoch],
    a_file: usize,
) -> Manifest {
    let (mut files, mut ranges) = (Vec::new(), Vec::new());
    for (n, entries) in epochs {
        let last = entries.len() as u64;
        ranges.push(Range { station: station.id, epoch: *n, branch: 0, first: 1, last });
        for (number, part) in entries.chunks(a_file).enumerate() {
            let path = entries_path(station.id, *n, 0, (number * a_file) as u64 + 1);
            let bytes = part.concat();
            let place = directory.join(&path);
            std::fs::create_dir_all(place.parent().expect("a directory")).expect("made");
            std::fs::write(place, &bytes).expect("written");
            files.push(FileEntry { path, sha256: Hash::of(&bytes), bytes: bytes.len() as u64 });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let manifest = Manifest {
        v: 1,
        kind,
        tenant: station.tenant,
        station: Some(station.id),
        root_fingerprint: Hash::ZERO,
        files,
        ranges,
    };
    write_manifest(directory, station.id, &station.keys, &manifest);
    manifest
}

/// Writes a manifest, and a station's seal of it by `keys` if it is of a queue.
///
/// # Panics
/// If it cannot be written.
pub fn write_manifest(directory: &Path, station: StationId, keys: &KeyPair, manifest: &Manifest) {
    let json = canonical::write(manifest).expect("canonical");
    std::fs::write(directory.join(MANIFEST), &json).expect("written");
    if manifest.kind != ExportKind::Queue {
        return;
    }
    let seal = ExportSeal {
        v: 1,
        kind: ExportSeal::KIND.to_owned(),
        tenant: manifest.tenant,
        key: keys.public().key_id(),
        station: Some(station),
        manifest_sha256: Hash::of(&json),
        time: crate::station_keys::at(0),
    };
    let bytes = statement::sign(&seal, keys).expect("signed");
    std::fs::write(directory.join(SEAL), bytes).expect("written");
}

//! The files of an export against its manifest, and the manifest against the station's seal.

use super::ImportError;
use lotgate_domain::canonical;
use lotgate_domain::entry::MAX_FRAME;
use lotgate_domain::export::{FileEntry, MANIFEST, Manifest, SEAL};
use lotgate_domain::ids::Hash;
use lotgate_domain::ledger::Station;
use lotgate_domain::statement;
use lotgate_domain::statement::event::ExportSeal;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Component, Path, PathBuf};

/// The largest manifest that is read: some hundred thousand files.
const MOST_MANIFEST: u64 = 64 * 1024 * 1024;

/// Reads the manifest; it, and its SHA-256.
pub(super) fn manifest(directory: &Path) -> Result<(Manifest, Hash), ImportError> {
    let json = read_small(&directory.join(MANIFEST), MOST_MANIFEST)?;
    let value =
        canonical::read(&json).map_err(|_| ImportError::Invalid("its manifest is not strict JSON"))?;
    let manifest: Manifest =
        canonical::shape(value).map_err(|_| ImportError::Invalid("its manifest is not as specified"))?;
    if manifest.v != 1 {
        return Err(ImportError::Invalid("its manifest is of another version"));
    }
    Ok((manifest, Hash::of(&json)))
}

fn read_small(path: &Path, most: u64) -> Result<Vec<u8>, ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        Ok(bytes)
    } else {
        Err(ImportError::Invalid("a file is longer than any such file may be"))
    }
}

/// Where a file of the manifest lies; none for a path that leads out of the export.
pub(super) fn place(directory: &Path, path: &str) -> Option<PathBuf> {
    let inside = !path.is_empty()
        && !path.contains('\\')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| directory.join(path))
}

/// Compares every file with the manifest.
pub(super) fn check(directory: &Path, manifest: &Manifest) -> Result<(), ImportError> {
    let ascending = manifest.files.is_sorted_by(|one, other| one.path < other.path);
    if !ascending {
        return Err(ImportError::Invalid("its files are not in ascending order"));
    }
    manifest.files.iter().try_for_each(|file| check_file(directory, file))
}

fn check_file(directory: &Path, entry: &FileEntry) -> Result<(), ImportError> {
    let damaged = || ImportError::Damaged(entry.path.clone());
    let path = place(directory, &entry.path).ok_or_else(damaged)?;
    let unreadable = |source| ImportError::Unreadable { path: path.clone(), source };
    let mut file = BufReader::new(File::open(&path).map_err(unreadable)?);
    let (mut sha256, mut bytes) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        sha256.update(part);
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    let same = bytes == entry.bytes && Hash(sha256.finalize().into()) == entry.sha256;
    if same { Ok(()) } else { Err(damaged()) }
}

/// Whether the station sealed this manifest, with any key that it ever had.
pub(super) fn check_seal(directory: &Path, manifest: Hash, station: &Station) -> Result<(), ImportError> {
    let most = u64::try_from(MAX_FRAME).unwrap_or(u64::MAX);
    let bytes = read_small(&directory.join(SEAL), most).map_err(|_| ImportError::Unsealed)?;
    let sealed = station.keys().any(|known| {
        statement::read::<ExportSeal>(&bytes, station.tenant, &known.key).is_ok_and(|seal| {
            seal.value.station == Some(station.id) && seal.value.manifest_sha256 == manifest
        })
    });
    if sealed { Ok(()) } else { Err(ImportError::Unsealed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_out_of_the_export_is_none() {
        let directory = Path::new("/brought");
        assert_eq!(place(directory, "entries/a/1-1.bin"), Some(PathBuf::from("/brought/entries/a/1-1.bin")));
        for bad in ["", "/etc/passwd", "../manifest.json", "entries/../../x", "entries\\..\\x", "./x"] {
            assert_eq!(place(directory, bad), None, "{bad}");
        }
    }
}

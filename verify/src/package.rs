//! The export as a set of files: manifest, hashes, seal.

use crate::finding::{Finding, FindingCode, Findings};
use lotgate_domain::canonical;
use lotgate_domain::entry::Frame;
use lotgate_domain::export::{self, ExportKind, FileEntry, Manifest};
use lotgate_domain::ids::{Hash, PublicKey};
use lotgate_domain::statement;
use lotgate_domain::statement::event::ExportSeal;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Larger files than any export of ours makes are not read into memory.
const LARGEST_FILE: u64 = 8 << 30;

/// Why an export cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The manifest cannot be read.
    #[error("{0} cannot be read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The manifest is not as specified.
    #[error("{0} is not the manifest of an export", path.display())]
    NoManifest {
        /// Which file.
        path: PathBuf,
    },
}

/// An export on disk.
#[derive(Debug)]
pub struct Package {
    dir: PathBuf,
    manifest_sha256: Hash,
    seal: Option<Vec<u8>>,
    read: RefCell<BTreeSet<String>>,
    /// What it says of itself.
    pub manifest: Manifest,
}

impl Package {
    /// Opens an export by its manifest.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn open(dir: &Path) -> Result<Self, PackageError> {
        let path = dir.join(export::MANIFEST);
        let bytes =
            std::fs::read(&path).map_err(|source| PackageError::Unreadable { path: path.clone(), source })?;
        let manifest: Manifest = canonical::read(&bytes)
            .ok()
            .and_then(|value| canonical::shape(value).ok())
            .filter(|manifest: &Manifest| manifest.v == 1)
            .ok_or(PackageError::NoManifest { path })?;
        let seal = std::fs::read(dir.join(export::SEAL)).ok();
        Ok(Self {
            dir: dir.to_owned(),
            manifest_sha256: Hash::of(&bytes),
            seal,
            read: RefCell::default(),
            manifest,
        })
    }

    /// Whether the export has this file.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.manifest.files.iter().any(|file| file.path == path)
    }

    /// The bytes of a file of the manifest, checked against it; `None`, and a finding, where it is missing. A file
    /// that was changed is given all the same, so that what was changed in it can be told.
    pub fn read(&self, path: &str, findings: &mut Findings) -> Option<Vec<u8>> {
        let entry = self.manifest.files.iter().find(|file| file.path == path)?;
        self.read.borrow_mut().insert(path.to_owned());
        let full = self.dir.join(path);
        let small = std::fs::metadata(&full).is_ok_and(|metadata| metadata.len() <= LARGEST_FILE);
        match small.then(|| std::fs::read(&full)) {
            Some(Ok(bytes)) => {
                if !fits(entry, &bytes) {
                    findings.add(Finding::new(FindingCode::ExportFileChanged, "").in_file(path));
                }
                Some(bytes)
            }
            _ => {
                findings.add(Finding::new(FindingCode::ExportFileMissing, "").in_file(path));
                None
            }
        }
    }

    /// Checks names: each file once, no path that leads out, nothing beside.
    pub fn check_names(&self, findings: &mut Findings) {
        let mut listed = BTreeSet::new();
        for file in &self.manifest.files {
            if !is_plain(&file.path) || !listed.insert(file.path.clone()) {
                findings.add(Finding::new(FindingCode::ExportManifest, "name of a file").in_file(&file.path));
            }
        }
        let mut present = Vec::new();
        walk(&self.dir, "", &mut present);
        for path in present {
            if path != export::MANIFEST && path != export::SEAL && !listed.contains(&path) {
                findings.add(Finding::new(FindingCode::ExportFileUnlisted, "").in_file(&path));
            }
        }
    }

    /// Compares the files that nothing else was read from with the manifest. What belongs neither to evidence nor to
    /// blobs has no business in an export.
    pub fn check_rest(&self, findings: &mut Findings) {
        let unread: Vec<&FileEntry> =
            self.manifest.files.iter().filter(|file| !self.read.borrow().contains(&file.path)).collect();
        for file in unread {
            self.read(&file.path, findings);
            // What a blob's file is called says what its bytes must hash to, the manifest what they do.
            if file.path != export::EVIDENCE && file.path != export::blob_path(file.sha256) {
                let finding = Finding::new(FindingCode::ExportManifest, "a file of no known use");
                findings.add(finding.in_file(&file.path));
            }
        }
    }

    /// Checks the seal under the keys that may have made it.
    pub fn check_seal(&self, keys: &[PublicKey], findings: &mut Findings) {
        let Some(seal) = &self.seal else {
            let code = match self.manifest.kind {
                ExportKind::Recovered => FindingCode::ExportUnsealed,
                ExportKind::Queue | ExportKind::Cloud => FindingCode::ExportSeal,
            };
            return findings.add(Finding::new(code, "no seal").in_file(export::SEAL));
        };
        let holds = keys.iter().any(|key| {
            statement::read::<ExportSeal>(seal, self.manifest.tenant, key).is_ok_and(|sealed| {
                sealed.value.manifest_sha256 == self.manifest_sha256
                    && sealed.value.station == self.manifest.station
            })
        });
        if !holds {
            findings.add(Finding::new(FindingCode::ExportSeal, "").in_file(export::SEAL));
        }
    }

    /// The frames of a file, back to back; bytes that are none end it with a finding.
    pub fn frames<'a>(&self, path: &str, bytes: &'a [u8], findings: &mut Findings) -> Vec<Frame<'a>> {
        let mut frames = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            match Frame::split_first(rest) {
                Ok((frame, after)) => {
                    frames.push(frame);
                    rest = after;
                }
                Err(error) => {
                    let at = bytes.len().saturating_sub(rest.len());
                    let detail = format!("byte {at}: {error}");
                    findings.add(Finding::new(FindingCode::ExportFrame, detail).in_file(path));
                    break;
                }
            }
        }
        frames
    }
}

fn fits(entry: &FileEntry, bytes: &[u8]) -> bool {
    u64::try_from(bytes.len()) == Ok(entry.bytes) && Hash::of(bytes) == entry.sha256
}

/// Only names below the export, with no way out of it.
fn is_plain(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\\');
    path.split('/').all(plain) && path != export::MANIFEST && path != export::SEAL
}

fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), &format!("{path}/"), found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

//! The directory of an export: every file is hashed as it is written, and there once it has a byte.

use lotgate_domain::export::FileEntry;
use lotgate_domain::ids::Hash;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{BufWriter, Result, Write as _};
use std::path::{Path, PathBuf};

/// A directory that is being filled.
pub(super) struct Directory {
    root: PathBuf,
    files: Vec<FileEntry>,
}

/// One file of it.
pub(super) struct Output {
    path: String,
    file: Option<BufWriter<File>>,
    sha256: Sha256,
    bytes: u64,
}

impl Directory {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, files: Vec::new() }
    }

    /// A file at `path`, made with its first byte: empty files are left out.
    pub(super) fn output(&self, path: impl Into<String>) -> Output {
        Output { path: path.into(), file: None, sha256: Sha256::new(), bytes: 0 }
    }

    /// Appends to a file.
    pub(super) fn write(&self, output: &mut Output, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let file = match &mut output.file {
            Some(file) => file,
            None => output.file.insert(BufWriter::new(create(&self.root.join(&output.path))?)),
        };
        file.write_all(bytes)?;
        output.sha256.update(bytes);
        output.bytes = output.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Ends a file, durably.
    pub(super) fn finish(&mut self, output: Output) -> Result<()> {
        let Some(file) = output.file else { return Ok(()) };
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        let sha256 = Hash(output.sha256.finalize().into());
        self.files.push(FileEntry { path: output.path, sha256, bytes: output.bytes });
        Ok(())
    }

    /// Writes a file that the manifest does not name.
    pub(super) fn write_whole(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut file = create(&self.root.join(path))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// The files that were finished, in ascending order of path.
    pub(super) fn files(&mut self) -> Vec<FileEntry> {
        let mut files = std::mem::take(&mut self.files);
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files
    }
}

fn create(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    File::create_new(path)
}

/// Renames a whole directory to its place, durably.
pub(super) fn put_in_place(partial: &Path, place: &Path) -> Result<()> {
    sync_directories(partial)?;
    std::fs::rename(partial, place)?;
    let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn sync_directories(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    File::open(directory)?.sync_all()
}

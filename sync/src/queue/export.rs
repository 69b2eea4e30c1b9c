//! A copy of the queue as files that anybody can check and a courier can carry (PROTOCOL §9.20): the directory is
//! whole or it is not there.
//!
//! Everything is read in one snapshot, beside a running station, a row at a time. It is written under another name
//! and takes its own only when every byte of it is on the disk; the manifest and its seal come last.

use super::blob;
use super::error::{Fault, FaultCode, QueueError, StorageError};
use lotgate_domain::canonical;
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::export::{self, ExportKind, FileEntry, Manifest, Range};
use lotgate_domain::ids::{Hash, StationId, TenantId};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, Statement as _, StatementError, event::ExportSeal};
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// How much is written at once.
const BUFFER: usize = 1 << 18;
/// What an export is called until it is whole.
const PARTIAL: &str = ".partial";

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// Of what.
    pub kind: ExportKind,
    /// Entries in it.
    pub entries: u64,
    /// Files, without the manifest and its seal.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-256 of the manifest.
    pub manifest_sha256: Hash,
    /// Entries that are not what was written, and so are not in it.
    pub skipped: Vec<Fault>,
}

/// Why there is no export. What was written of it was removed, if it could be.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is a file or directory of that name.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The manifest has no signed form.
    #[error("the manifest cannot be sealed")]
    Seal(#[from] StatementError),
    /// The queue cannot be read.
    #[error("the queue cannot be read")]
    Queue(#[from] QueueError),
}

impl ExportError {
    /// The closed code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists(_) => "export_exists",
            Self::Write { .. } => "export_unwritable",
            Self::Seal(_) => "export_not_sealed",
            Self::Queue(error) => error.code(),
        }
    }

    /// The exit code of the program (DESIGN §8).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        14
    }
}

impl From<rusqlite::Error> for ExportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Queue(StorageError::from(error).into())
    }
}

/// What is exported, and for whom.
pub(super) struct Source<'a> {
    pub(super) connection: &'a Connection,
    pub(super) kind: ExportKind,
    pub(super) tenant: TenantId,
    pub(super) station: StationId,
    pub(super) root_fingerprint: Hash,
}

impl Source<'_> {
    /// Writes the export to `dir`, which must not exist, sealed by `keys` if there are any.
    pub(super) fn write(
        &self,
        dir: &Path,
        keys: Option<&KeyPair>,
        now: Timestamp,
    ) -> Result<ExportReport, ExportError> {
        if dir.exists() {
            return Err(ExportError::Exists(dir.to_owned()));
        }
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(PARTIAL);
        let partial = dir.with_file_name(name);
        remove(&partial)?;
        let written = self.fill(&partial, keys, now).and_then(|report| {
            std::fs::rename(&partial, dir).map_err(at(dir))?;
            sync_dir(parent(dir))?;
            Ok(report)
        });
        if written.is_err() {
            // What cannot be removed is removed by the next export of this name.
            let _ = remove(&partial);
        }
        written
    }

    fn fill(&self, dir: &Path, keys: Option<&KeyPair>, now: Timestamp) -> Result<ExportReport, ExportError> {
        make_dir(dir)?;
        let snapshot = self.connection.unchecked_transaction()?;
        let mut out = Output { dir: dir.to_owned(), files: Vec::new() };
        let mut entries =
            Entries { station: self.station, file: None, ranges: Vec::new(), skipped: Vec::new() };
        entries.write(&snapshot, &mut out)?;
        frames(&snapshot, "SELECT certificates FROM identity", export::CERTIFICATES, &mut out)?;
        if self.kind != ExportKind::Recovered {
            blob::write_out(&snapshot, &mut out)?;
            frames(&snapshot, "SELECT statement FROM verdict ORDER BY rowid", export::VERDICTS, &mut out)?;
            frames(&snapshot, "SELECT statement FROM receipt ORDER BY number", export::RECEIPTS, &mut out)?;
            let restores = "SELECT statement FROM log_recovered ORDER BY generation";
            frames(&snapshot, restores, export::STATEMENTS, &mut out)?;
            checkpoints(&snapshot, &mut out)?;
            feed(&snapshot, &mut out)?;
        }
        drop(snapshot);
        let Output { mut files, .. } = out;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let (count, bytes) = (files.len(), files.iter().map(|file| file.bytes).sum());
        let manifest = Manifest {
            v: 1,
            kind: self.kind,
            tenant: self.tenant,
            station: Some(self.station),
            root_fingerprint: self.root_fingerprint,
            files,
            ranges: entries.ranges,
        };
        let exported = manifest.ranges.iter().map(|range| range.last - range.first + 1).sum();
        let json = canonical::write(&manifest).map_err(StatementError::from)?;
        let manifest_sha256 = Hash::of(&json);
        write_whole(&dir.join(export::MANIFEST), &json)?;
        if let Some(keys) = keys {
            write_whole(&dir.join(export::SEAL), &self.seal(manifest_sha256, keys, now)?)?;
        }
        let directory = |name| dir.join(name);
        let own = directory(export::ENTRIES).join(self.station.to_string());
        for directory in [own, directory(export::ENTRIES), directory(export::BLOBS)] {
            if directory.is_dir() {
                sync_dir(&directory)?;
            }
        }
        sync_dir(dir)?;
        let files = u64::try_from(count).unwrap_or(u64::MAX);
        let skipped = entries.skipped;
        Ok(ExportReport { kind: self.kind, entries: exported, files, bytes, manifest_sha256, skipped })
    }

    fn seal(
        &self,
        manifest_sha256: Hash,
        keys: &KeyPair,
        time: Timestamp,
    ) -> Result<Vec<u8>, StatementError> {
        let seal = ExportSeal {
            v: 1,
            kind: ExportSeal::KIND.to_owned(),
            tenant: self.tenant,
            key: keys.public().key_id(),
            station: Some(self.station),
            manifest_sha256,
            time,
        };
        statement::sign(&seal, keys)
    }
}

/// The files written so far.
pub(super) struct Output {
    dir: PathBuf,
    files: Vec<FileEntry>,
}

impl Output {
    pub(super) fn begin(&self, path: String) -> Result<Growing, ExportError> {
        let place = path.split('/').fold(self.dir.clone(), |place, part| place.join(part));
        make_dir(parent(&place))?;
        let file = new_file(&place).map_err(at(&place))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        Ok(Growing { path, place, file, hash: Sha256::new(), bytes: 0 })
    }

    pub(super) fn end(&mut self, growing: Growing) -> Result<(), ExportError> {
        let Growing { path, place, file, hash, bytes } = growing;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error).map_err(at(&place))?;
        file.sync_all().map_err(at(&place))?;
        self.files.push(FileEntry { path, sha256: Hash(hash.finalize().into()), bytes });
        Ok(())
    }
}

/// A file that is being written.
pub(super) struct Growing {
    path: String,
    place: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Growing {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.hash.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.file.write_all(bytes).map_err(at(&self.place))
    }
}

/// The entries, in files that end with their epoch, when they are full, and before what is missing.
struct Entries {
    station: StationId,
    file: Option<(Growing, u64)>,
    ranges: Vec<Range>,
    skipped: Vec<Fault>,
}

impl Entries {
    fn write(&mut self, connection: &Connection, out: &mut Output) -> Result<(), ExportError> {
        let mut statement = connection
            .prepare("SELECT position, epoch_n, seq, hash, entry FROM operation ORDER BY position")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (position, epoch, seq): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (hash, bytes) = (Hash(row.get(3)?), row.get_ref(4)?.as_blob().unwrap_or_default());
            let code = match Frame::read(bytes) {
                Err(_) => Some(FaultCode::BadFrame),
                Ok(_) if entry::hash(bytes) != hash => Some(FaultCode::ColumnsDiffer),
                Ok(_) => None,
            };
            match code {
                Some(code) => self.skipped.push(Fault { position, epoch, seq, code }),
                None => self.add(epoch, seq, bytes, out)?,
            }
        }
        self.file.take().map_or(Ok(()), |(file, _)| out.end(file))
    }

    fn add(&mut self, epoch: u64, seq: u64, bytes: &[u8], out: &mut Output) -> Result<(), ExportError> {
        let follows = self
            .ranges
            .last()
            .is_some_and(|range| range.epoch == epoch && range.last.checked_add(1) == Some(seq));
        let room = self.file.as_ref().is_some_and(|(_, count)| *count < export::ENTRIES_A_FILE);
        if !follows || !room {
            if let Some((file, _)) = self.file.take() {
                out.end(file)?;
            }
            let path = export::entries_path(self.station, epoch, 0, seq);
            self.file = Some((out.begin(path)?, 0));
        }
        if let Some((file, count)) = &mut self.file {
            file.write(bytes)?;
            *count = count.saturating_add(1);
        }
        match self.ranges.last_mut().filter(|_| follows) {
            Some(range) => range.last = seq,
            None => {
                let station = self.station;
                self.ranges.push(Range { station, epoch, branch: 0, first: seq, last: seq });
            }
        }
        Ok(())
    }
}

/// Frames of one column, back to back; no file where there are none.
fn frames(connection: &Connection, sql: &str, path: &str, out: &mut Output) -> Result<(), ExportError> {
    let mut statement = connection.prepare(sql)?;
    let mut found = statement.query([])?;
    let mut file = None;
    while let Some(row) = found.next()? {
        let bytes = row.get_ref(0)?.as_blob().unwrap_or_default();
        let growing = match file.take() {
            Some(growing) => growing,
            None => out.begin(path.to_owned())?,
        };
        file.insert(growing).write(bytes)?;
    }
    file.map_or(Ok(()), |file| out.end(file))
}

/// The signed notes, one empty line between two.
fn checkpoints(connection: &Connection, out: &mut Output) -> Result<(), ExportError> {
    let mut statement = connection.prepare("SELECT note FROM checkpoint ORDER BY number")?;
    let mut found = statement.query([])?;
    let mut file: Option<Growing> = None;
    while let Some(row) = found.next()? {
        let note = row.get_ref(0)?.as_str().unwrap_or_default();
        if let Some(file) = &mut file {
            file.write(b"\n")?;
        } else {
            file = Some(out.begin(export::CHECKPOINTS.to_owned())?);
        }
        if let Some(file) = &mut file {
            file.write(note.as_bytes())?;
        }
    }
    file.map_or(Ok(()), |file| out.end(file))
}

/// The newest page of reference data with its statement: a station keeps no other.
fn feed(connection: &Connection, out: &mut Output) -> Result<(), ExportError> {
    let page: Option<(Vec<u8>, Vec<u8>)> = connection
        .query_row("SELECT statement, page FROM reference_page", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((statement, page)) = page else { return Ok(()) };
    let mut file = out.begin(export::FEED.to_owned())?;
    for part in [&statement, &page] {
        let too_long = |_| at(Path::new(export::FEED))(io::ErrorKind::FileTooLarge.into());
        let length = u32::try_from(part.len()).map_err(too_long)?;
        file.write(&length.to_be_bytes())?;
        file.write(part)?;
    }
    out.end(file)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    |source| ExportError::Write { path: path.to_owned(), source }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn remove(partial: &Path) -> Result<(), ExportError> {
    match std::fs::remove_dir_all(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(partial)(error)),
        _ => Ok(()),
    }
}

fn make_dir(dir: &Path) -> Result<(), ExportError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(at(dir))
}

/// A file that others cannot read: entries are in plain text here.
fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let mut file = new_file(path).map_err(at(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(path))
}

fn sync_dir(dir: &Path) -> Result<(), ExportError> {
    if cfg!(unix) { File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir)) } else { Ok(()) }
}

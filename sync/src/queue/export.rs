//! A copy of the queue as files that anybody can check and a courier can carry (PROTOCOL §9.20): the directory is
//! whole or it is not there.
//!
//! Everything is read in one snapshot, beside a running station, a few rows at a time; what lies on a bad page is left
//! out and named, and the rest is read on a new connection. It is written under another name and takes its own only when
//! every byte of it is on the disk; the manifest and its seal come last.

use super::error::{Fault, FaultCode, QueueError};
use super::file::QueueFile;
use super::rows;
use super::steady::Steady;
use super::{blob, check};
use lotgate_domain::canonical;
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::export::{self, ExportKind, FileEntry, Manifest, Range};
use lotgate_domain::ids::{Hash, StationId, TenantId};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, Statement as _, StatementError, event::ExportSeal};
use lotgate_domain::time::Timestamp;
use rusqlite::Row;
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
    /// What is not what was written, or cannot be read, and so is not in it; position 0 if it is no entry.
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

/// What is exported, and for whom.
pub(super) struct Source<'a> {
    pub(super) file: &'a QueueFile,
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
        let mut steady = Steady::new(self.file);
        let mut out = Output { dir: dir.to_owned(), files: Vec::new(), skipped: Vec::new() };
        let mut entries = Entries { station: self.station, file: None, ranges: Vec::new() };
        entries.write(&mut steady, &mut out)?;
        frames(&mut steady, ("identity", "certificates"), export::CERTIFICATES, &mut out)?;
        if self.kind != ExportKind::Recovered {
            blob::write_out(&mut steady, &mut out)?;
            frames(&mut steady, ("verdict", "statement"), export::VERDICTS, &mut out)?;
            frames(&mut steady, ("receipt", "statement"), export::RECEIPTS, &mut out)?;
            frames(&mut steady, ("log_recovered", "statement"), export::STATEMENTS, &mut out)?;
            checkpoints(&mut steady, &mut out)?;
            feed(&mut steady, &mut out)?;
        }
        drop(steady);
        let Output { mut files, skipped, .. } = out;
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
    skipped: Vec<Fault>,
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

impl Output {
    /// Goes along the columns of a table, in the order in which its rows came. Rows that cannot be read are left out,
    /// which is said once a table.
    pub(super) fn rows<T>(
        &mut self,
        steady: &mut Steady<'_>,
        (table, columns): (&str, &str),
        row: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        mut each: impl FnMut(&mut Self, T) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let bounds = steady.bounds(table)?;
        let mut unread = false;
        steady.walk::<_, ExportError>((table, columns), bounds, row, |_, found| {
            match found {
                Some(found) => each(self, found)?,
                None => unread = true,
            }
            Ok(true)
        })?;
        if unread {
            tracing::error!(table, "queue.table_unreadable");
            self.skip(FaultCode::File);
        }
        Ok(())
    }

    /// Notes that something is left out that is no entry.
    pub(super) fn skip(&mut self, code: FaultCode) {
        self.skipped.push(Fault { position: 0, epoch: 0, seq: 0, code });
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
}

/// An entry with the columns that say which one it is.
struct Kept {
    epoch: u64,
    seq: u64,
    hash: Hash,
    bytes: Vec<u8>,
}

impl Entries {
    fn write(&mut self, steady: &mut Steady<'_>, out: &mut Output) -> Result<(), ExportError> {
        let epochs = steady.read(rows::epochs)?.unwrap_or_default();
        let bounds = steady.bounds("operation")?;
        let kept = |row: &Row<'_>| {
            Ok(Kept { epoch: row.get(1)?, seq: row.get(2)?, hash: Hash(row.get(3)?), bytes: row.get(4)? })
        };
        let columns = ("operation", "epoch_n, seq, hash, entry");
        steady.walk::<_, ExportError>(columns, bounds, kept, |position, found| {
            let (epoch, seq, code) = match found {
                None => {
                    let (epoch, seq) = check::place(&epochs, position);
                    (epoch, seq, FaultCode::File)
                }
                Some(Kept { epoch, seq, hash, bytes }) => match Frame::read(&bytes) {
                    Err(_) => (epoch, seq, FaultCode::BadFrame),
                    Ok(_) if entry::hash(&bytes) != hash => (epoch, seq, FaultCode::ColumnsDiffer),
                    Ok(_) => return self.add(epoch, seq, &bytes, out).map(|()| true),
                },
            };
            out.skipped.push(Fault { position, epoch, seq, code });
            Ok(true)
        })?;
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
fn frames(
    steady: &mut Steady<'_>,
    column: (&str, &str),
    path: &str,
    out: &mut Output,
) -> Result<(), ExportError> {
    let mut file: Option<Growing> = None;
    out.rows(
        steady,
        column,
        |row| row.get::<_, Vec<u8>>(1),
        |out, bytes| {
            let growing = file.take().map_or_else(|| out.begin(path.to_owned()), Ok)?;
            file.insert(growing).write(&bytes)
        },
    )?;
    file.map_or(Ok(()), |file| out.end(file))
}

/// The signed notes, one empty line between two.
fn checkpoints(steady: &mut Steady<'_>, out: &mut Output) -> Result<(), ExportError> {
    let mut file: Option<Growing> = None;
    out.rows(
        steady,
        ("checkpoint", "note"),
        |row| row.get::<_, String>(1),
        |out, note| {
            if let Some(file) = &mut file {
                file.write(b"\n")?;
                return file.write(note.as_bytes());
            }
            file.insert(out.begin(export::CHECKPOINTS.to_owned())?).write(note.as_bytes())
        },
    )?;
    file.map_or(Ok(()), |file| out.end(file))
}

/// The newest page of reference data with its statement: a station keeps no other.
fn feed(steady: &mut Steady<'_>, out: &mut Output) -> Result<(), ExportError> {
    let row = |row: &Row<'_>| Ok([row.get::<_, Vec<u8>>(1)?, row.get(2)?]);
    out.rows(steady, ("reference_page", "statement, page"), row, |out, parts| {
        let mut file = out.begin(export::FEED.to_owned())?;
        for part in parts {
            let too_long = |_| at(Path::new(export::FEED))(io::ErrorKind::FileTooLarge.into());
            let length = u32::try_from(part.len()).map_err(too_long)?;
            file.write(&length.to_be_bytes())?;
            file.write(&part)?;
        }
        out.end(file)
    })
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

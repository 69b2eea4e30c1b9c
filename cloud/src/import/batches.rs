//! The entries of one stretch of an export, in batches as a station would push them.

use super::{ImportError, files};
use crate::head::LIMITS;
use lotgate_domain::entry::{Frame, MAX_FRAME};
use lotgate_domain::export::{Manifest, Range, entries_path};
use lotgate_domain::ids::{BootId, Epoch, Hash};
use lotgate_domain::operation::{self, ReadEntry};
use lotgate_domain::protocol::{StopCode, Stopped};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;
use uuid::Uuid;

/// Consecutive entries of one epoch.
pub(super) struct Batch {
    pub(super) epoch: Epoch,
    /// Seq of the first.
    pub(super) first: u64,
    /// What the first one comes after.
    pub(super) prev: Hash,
    pub(super) boot: BootId,
    /// Hash of each.
    pub(super) hashes: Vec<Hash>,
    /// Frames back to back.
    pub(super) entries: Vec<u8>,
}

/// A stretch that is being read.
pub(super) struct Batches<'a> {
    directory: &'a Path,
    manifest: &'a Manifest,
    range: &'a Range,
    file: Option<(String, BufReader<File>)>,
    /// Seq of the next entry.
    seq: u64,
    /// The epoch and the hash of the last entry, once there is one.
    after: Option<(Epoch, BootId, Hash)>,
    unreadable: bool,
    /// An entry that no longer fitted its batch.
    over: Option<Vec<u8>>,
}

impl<'a> Batches<'a> {
    pub(super) fn open(
        directory: &'a Path,
        manifest: &'a Manifest,
        range: &'a Range,
    ) -> Result<Self, ImportError> {
        if range.first == 0 || range.last < range.first || range.epoch == 0 {
            return Err(ImportError::Invalid("a stretch of entries counts from 1 upwards"));
        }
        let seq = range.first;
        let (file, after, over) = (None, None, None);
        Ok(Self { directory, manifest, range, file, seq, after, unreadable: false, over })
    }

    /// Where the stretch cannot be read on because its first entry has no envelope to say what it follows.
    pub(super) fn unreadable(&self) -> Option<Stopped> {
        self.unreadable.then_some(Stopped { seq: self.seq, code: StopCode::BrokenChain })
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, ImportError> {
        let Some(first) = self.next_entry()? else { return Ok(None) };
        let (epoch, boot, prev) = match self.after {
            Some(after) => after,
            None => match read_first(&first, self.range) {
                Some(read) => read,
                None => {
                    self.unreadable = true;
                    return Ok(None);
                }
            },
        };
        let mut batch = Batch { epoch, first: self.seq, prev, boot, hashes: Vec::new(), entries: Vec::new() };
        let mut next = Some(first);
        while let Some(entry) = next {
            if !fits(&batch, &entry) {
                self.over = Some(entry);
                break;
            }
            let hash = lotgate_domain::entry::hash(&entry);
            batch.hashes.push(hash);
            batch.entries.extend_from_slice(&entry);
            self.seq = self.seq.saturating_add(1);
            self.after = Some((epoch, boot, hash));
            next = self.next_entry()?;
        }
        Ok(Some(batch))
    }

    fn next_entry(&mut self) -> Result<Option<Vec<u8>>, ImportError> {
        if let Some(entry) = self.over.take() {
            return Ok(Some(entry));
        }
        if self.seq > self.range.last {
            return Ok(None);
        }
        if let Some((path, file)) = &mut self.file {
            if let Some(entry) = read_entry(path, file)? {
                return Ok(Some(entry));
            }
            self.file = None;
        }
        let path = entries_path(self.range.station, self.range.epoch, self.range.branch, self.seq);
        let listed = self.manifest.files.iter().any(|file| file.path == path);
        let place = files::place(self.directory, &path).filter(|_| listed);
        let place = place.ok_or_else(|| ImportError::Damaged(path.clone()))?;
        let file = File::open(&place).map_err(|source| ImportError::Unreadable { path: place, source })?;
        let mut file = BufReader::new(file);
        let entry = read_entry(&path, &mut file)?.ok_or_else(|| ImportError::Damaged(path.clone()))?;
        self.file = Some((path, file));
        Ok(Some(entry))
    }
}

fn fits(batch: &Batch, entry: &[u8]) -> bool {
    let bytes = batch.entries.len().saturating_add(entry.len());
    let count = batch.hashes.len();
    count == 0
        || (u64::try_from(bytes).is_ok_and(|bytes| bytes <= LIMITS.bytes)
            && u64::try_from(count).is_ok_and(|count| count < LIMITS.entries))
}

/// What the first entry of a stretch says: its epoch, its boot, and what it comes after.
fn read_first(entry: &[u8], range: &Range) -> Option<(Epoch, BootId, Hash)> {
    let frame = Frame::read(entry).ok()?;
    let ReadEntry { header, content, .. } = operation::read(&frame).ok()?;
    let boot = match content {
        operation::Content::Known(operation) => operation.at.boot,
        operation::Content::Body(..) | operation::Content::LaterVersion => BootId(Uuid::nil()),
    };
    (header.epoch.n == range.epoch && header.seq == range.first).then_some((header.epoch, boot, header.prev))
}

/// The next frame of a file; `None` at its end.
fn read_entry(path: &str, file: &mut BufReader<File>) -> Result<Option<Vec<u8>>, ImportError> {
    let damaged = || ImportError::Damaged(path.to_owned());
    let mut entry = vec![0; 4];
    let mut prefix = [0; 4];
    match file.read(&mut prefix).map_err(|_| damaged())? {
        0 => return Ok(None),
        read => file.read_exact(prefix.get_mut(read..).unwrap_or_default()).map_err(|_| damaged())?,
    }
    let rest = usize::try_from(u32::from_be_bytes(prefix)).ok().and_then(|n| n.checked_add(64));
    let rest = rest.filter(|rest| *rest <= MAX_FRAME).ok_or_else(damaged)?;
    entry.copy_from_slice(&prefix);
    entry.resize(rest.saturating_add(4), 0);
    file.read_exact(entry.get_mut(4..).unwrap_or_default()).map_err(|_| damaged())?;
    Ok(Some(entry))
}

//! The rollback anchor: the last entry known, kept outside the data directory (PROTOCOL §2).
//!
//! It is a lower bound: a queue ahead of it is fine, one behind it was put back. A thread of its own writes
//! it, so that no operation waits for its three fsyncs.

use super::error::OpenError;
use crate::secure::durable_write;
use lotgate_domain::ids::StationId;
use lotgate_domain::operation::body::ChainPoint;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const FILE: &str = "anchor.json";
/// After how many operations it is written.
const EVERY: u64 = 64;
/// After how long it is written if there were fewer.
const AFTER: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Anchor {
    v: u64,
    station: StationId,
    last: ChainPoint,
}

/// Reads the anchor; `None` if there is none.
pub(super) fn read(dir: &Path, station: Option<StationId>) -> Result<Option<ChainPoint>, OpenError> {
    let bytes = match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::Anchor(error)),
    };
    let anchor: Anchor = serde_json::from_slice(&bytes).map_err(|error| OpenError::Anchor(error.into()))?;
    if anchor.v == 1 && station.is_none_or(|station| station == anchor.station) {
        Ok(Some(anchor.last))
    } else {
        Err(OpenError::Foreign)
    }
}

/// Writes the anchor.
pub(super) fn write(dir: &Path, station: StationId, last: ChainPoint) -> io::Result<()> {
    durable_write(dir, FILE, &serde_json::to_vec(&Anchor { v: 1, station, last })?)
}

/// Writes the anchor every [`EVERY`] operations, [`AFTER`] some time, and at the end.
pub(super) struct AnchorKeeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    since: u64,
}

struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
}

struct Slot {
    latest: ChainPoint,
    written: Option<ChainPoint>,
    due: bool,
    closing: bool,
}

impl AnchorKeeper {
    /// Starts at `last`, which is written at once.
    pub(super) fn start(dir: PathBuf, station: StationId, last: ChainPoint) -> io::Result<Self> {
        write(&dir, station, last)?;
        let slot = Slot { latest: last, written: Some(last), due: false, closing: false };
        let shared = Arc::new(Shared { slot: Mutex::new(slot), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("queue-anchor".to_owned())
            .spawn(move || theirs.run(&dir, station))?;
        Ok(Self { shared, thread: Some(thread), since: 0 })
    }

    /// Says that `count` more operations are committed, the last of them `last`.
    pub(super) fn note(&mut self, last: ChainPoint, count: u64) {
        self.since = self.since.saturating_add(count);
        let mut slot = self.shared.lock();
        slot.latest = last;
        if self.since >= EVERY {
            self.since = 0;
            slot.due = true;
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for AnchorKeeper {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, dir: &Path, station: StationId) {
        loop {
            let waiting = |slot: &mut Slot| !slot.due && !slot.closing;
            let (mut slot, _) = self
                .changed
                .wait_timeout_while(self.lock(), AFTER, waiting)
                .unwrap_or_else(PoisonError::into_inner);
            slot.due = false;
            let (latest, closing) = (slot.latest, slot.closing);
            let known = slot.written == Some(latest);
            drop(slot);
            if !known {
                match write(dir, station, latest) {
                    Ok(()) => self.lock().written = Some(latest),
                    Err(error) => tracing::error!(%error, "the rollback anchor cannot be written"),
                }
            }
            if closing {
                break;
            }
        }
    }
}

//! The rollback anchor: the last entry known, kept outside the data directory (PROTOCOL §2).
//!
//! It is a lower bound: a queue ahead of it is fine, one behind it was put back. A thread of its own writes
//! it, so that no operation waits for its three fsyncs; on a disk that wants its writes in order there is none.

use super::error::OpenError;
use crate::secure::Places;
use lotgate_domain::ids::StationId;
use lotgate_domain::operation::body::ChainPoint;
use serde::{Deserialize, Serialize};
use std::io;
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
pub(super) fn read(places: &Places, station: Option<StationId>) -> Result<Option<ChainPoint>, OpenError> {
    let bytes = match places.storage.read(&places.secure.join(FILE)) {
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

/// Reads the anchor of `station`. One that is not what was written, or names another station, is as good as none.
pub(super) fn read_if_ours(places: &Places, station: StationId) -> Result<Option<ChainPoint>, OpenError> {
    match read(places, Some(station)) {
        Err(OpenError::Foreign) => Ok(None),
        Err(OpenError::Anchor(error)) if is_content(&error) => Ok(None),
        read => read,
    }
}

/// Whether there is an anchor, in whatever state.
pub(super) fn exists(places: &Places) -> bool {
    places.storage.exists(&places.secure.join(FILE))
}

/// Whether the file could be read and is not an anchor.
fn is_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Writes the anchor.
pub(super) fn write(places: &Places, station: StationId, last: ChainPoint) -> io::Result<()> {
    let json = serde_json::to_vec(&Anchor { v: 1, station, last })?;
    places.storage.write_durably(&places.secure, FILE, &json)
}

/// Writes the anchor every [`EVERY`] operations, [`AFTER`] some time, and at the end.
pub(super) struct AnchorKeeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    since: u64,
}

struct Shared {
    places: Places,
    station: StationId,
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
    pub(super) fn start(places: Places, station: StationId, last: ChainPoint) -> io::Result<Self> {
        write(&places, station, last)?;
        let in_order = places.storage.in_order();
        let slot = Slot { latest: last, written: Some(last), due: false, closing: false };
        let shared = Arc::new(Shared { places, station, slot: Mutex::new(slot), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = if in_order {
            None
        } else {
            let name = "queue-anchor".to_owned();
            Some(std::thread::Builder::new().name(name).spawn(move || theirs.run())?)
        };
        Ok(Self { shared, thread, since: 0 })
    }

    /// Says that an epoch was opened, which is written at once.
    pub(super) fn note_now(&mut self, last: ChainPoint) {
        self.note(last, EVERY);
    }

    /// Says that `count` more operations are committed, the last of them `last`.
    pub(super) fn note(&mut self, last: ChainPoint, count: u64) {
        self.since = self.since.saturating_add(count);
        let mut slot = self.shared.lock();
        slot.latest = last;
        if self.since < EVERY {
            return;
        }
        self.since = 0;
        slot.due = true;
        drop(slot);
        match self.thread {
            Some(_) => self.shared.changed.notify_one(),
            None => self.shared.write_latest(),
        }
    }
}

impl Drop for AnchorKeeper {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_one();
        match self.thread.take() {
            Some(thread) => drop(thread.join()),
            None => self.shared.write_latest(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut closing = false;
        while !closing {
            let waiting = |slot: &mut Slot| !slot.due && !slot.closing;
            let (slot, _) = self
                .changed
                .wait_timeout_while(self.lock(), AFTER, waiting)
                .unwrap_or_else(PoisonError::into_inner);
            closing = slot.closing;
            drop(slot);
            self.write_latest();
        }
    }

    fn write_latest(&self) {
        let mut slot = self.lock();
        slot.due = false;
        let latest = slot.latest;
        let known = slot.written == Some(latest);
        drop(slot);
        if known {
            return;
        }
        match write(&self.places, self.station, latest) {
            Ok(()) => self.lock().written = Some(latest),
            Err(error) => tracing::error!(%error, "the rollback anchor cannot be written"),
        }
    }
}

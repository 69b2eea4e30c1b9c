//! How the sync stands, in a file beside the queue, for `status` and `doctor` while the agent runs.

use super::SyncStatus;
use crate::engine::status::{Link, Status};
use crate::queue::Queue;
use crate::secure::Places;
use lotgate_domain::operation::Clock;
use lotgate_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

/// Name of the file, in the data directory.
pub const FILE: &str = "sync.json";
const VERSION: u32 = 1;
/// It is written no more often than this.
const EVERY: Duration = Duration::from_secs(1);
/// And at least this often, so that a reader can tell a running station from one that was killed.
const AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// What the file says. It is no record: it may be late by a second, and a killed station leaves its last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Version of the form: 1.
    pub v: u32,
    /// Wall clock when it was written.
    pub at: Timestamp,
    /// The process that wrote it.
    pub pid: u32,
    /// The way to the cloud.
    pub link: Link,
    /// Code of what is wrong, where something is.
    pub failure: Option<String>,
    /// When the next attempt is made, after a failure; wall clock.
    pub retry_at: Option<Timestamp>,
    /// Wall clock of the last good answer since the program started.
    pub last_contact_at: Option<Timestamp>,
    /// Codes of everything that needs a person.
    pub alarms: BTreeSet<String>,
    /// The cloud says that the station was revoked.
    pub revoked: bool,
    /// State of the wall clock.
    pub clock: Clock,
    /// Milliseconds that the wall clock is ahead of the trusted time; null if there is none.
    pub clock_offset_ms: Option<i64>,
}

impl Shown {
    fn new(status: &SyncStatus, queue: &Queue) -> Self {
        let (memory, reading) = (queue.state().borrow().clock, queue.clock());
        let SyncStatus { engine: Status { link, failure, retry_at, revoked, .. }, .. } = status;
        let until = |at: u64| i64::try_from(at.saturating_sub(reading.mono_ms)).unwrap_or(i64::MAX);
        Self {
            v: VERSION,
            at: reading.wall,
            pid: std::process::id(),
            link: *link,
            failure: failure.map(|code| code.as_str().to_owned()),
            retry_at: retry_at.map(|at| reading.wall.plus_ms(until(at))),
            last_contact_at: status.last_contact_at,
            alarms: status.alarms.clone(),
            revoked: *revoked,
            clock: memory.state(&reading),
            clock_offset_ms: memory.trusted_now(&reading).map(|now| reading.wall.ms_since(now)),
        }
    }
}

/// Reads what the station in this data directory last showed; `None` if it never did.
///
/// # Errors
/// The file system's; `InvalidData` for a file of another form.
pub fn read_status(data: &Path) -> io::Result<Option<Shown>> {
    let bytes = match std::fs::read(data.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let shown: Shown = serde_json::from_slice(&bytes)?;
    if shown.v == VERSION { Ok(Some(shown)) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Writes the file.
pub(super) struct StatusFile {
    places: Places,
}

impl StatusFile {
    pub(super) const fn new(places: Places) -> Self {
        Self { places }
    }

    /// Writes at once, after each change, and every minute; never more than once a second.
    pub(super) async fn follow(self, mut status: watch::Receiver<SyncStatus>, queue: &Queue) {
        loop {
            let shown = Shown::new(&status.borrow_and_update(), queue);
            if let Err(error) = self.write(&shown) {
                tracing::debug!(%error, "the status file could not be written");
            }
            tokio::time::sleep(EVERY).await;
            let changed = tokio::time::timeout(AT_LEAST_EVERY.saturating_sub(EVERY), status.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return std::future::pending().await;
            }
        }
    }

    /// Not synced: after a power cut nobody asks what the link was like.
    fn write(&self, shown: &Shown) -> io::Result<()> {
        let Places { data, storage, .. } = &self.places;
        let temporary = data.join(".sync.json.new");
        storage.write(&temporary, &serde_json::to_vec(shown)?)?;
        storage.rename(&temporary, &data.join(FILE))
    }
}

//! Whether the station was closed: a note in the secure directory, so that no loss of the queue makes a closed
//! station work again.

use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::protocol::HexBytes;
use lotgate_sync::secure::Places;
use serde::{Deserialize, Serialize};
use std::io;

const FILE: &str = "retired.json";

/// How far the end of a station has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Retirement {
    /// The cloud was asked, and its answer is not known: nothing may follow the last operation any more.
    Asked {
        /// The last operation.
        through: ChainPoint,
        /// Why, in people's words.
        reason: String,
    },
    /// The cloud closed the station.
    Retired {
        /// The last operation.
        through: ChainPoint,
        /// Why, in people's words.
        reason: String,
        /// The cloud's signed statement (`station.closed`), verified.
        statement: HexBytes,
    },
}

impl Retirement {
    /// The code that a station says instead of starting.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Asked { .. } => "retire_unanswered",
            Self::Retired { .. } => "station_retired",
        }
    }

    /// Reads the note; `None` for a station at work.
    ///
    /// # Errors
    /// The file system's; `InvalidData` if it is no such note.
    pub fn read(places: &Places) -> io::Result<Option<Self>> {
        match places.storage.read(&places.secure.join(FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the note, durably.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, places: &Places) -> io::Result<()> {
        places.storage.write_durably(&places.secure, FILE, &serde_json::to_vec(self)?)
    }

    /// Removes the note: the cloud said no.
    ///
    /// # Errors
    /// The file system's.
    pub fn withdraw(places: &Places) -> io::Result<()> {
        places.storage.remove(&places.secure.join(FILE))?;
        places.storage.sync_dir(&places.secure)
    }
}

//! The body of a push, before compression (PROTOCOL §9.13): u32 big-endian m ‖ m bytes JSON ‖ entries.

use super::After;
use crate::canonical::{self, CanonicalError};
use crate::entry::{Frame, FrameError};
use crate::ids::{BootId, Epoch};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a push says before its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushHeader {
    /// 1.
    pub v: u64,
    /// The epoch of every entry in the batch.
    pub epoch: Epoch,
    /// What the first entry comes after.
    pub after: After,
    /// How many entries follow.
    pub count: u64,
    /// The station's clock now.
    pub clock: PushClock,
    /// The last checkpoint that the station verified; null before the first.
    pub log: Option<LogSeen>,
}

/// How much of the tenant's log a station has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSeen {
    /// Generation of the checkpoint.
    pub generation: u64,
    /// Its size.
    pub size: u64,
}

/// The station's clock at the moment of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushClock {
    /// Wall clock.
    pub wall: Timestamp,
    /// Milliseconds since `boot`.
    pub mono_ms: u64,
    /// Which boot.
    pub boot: BootId,
}

/// A push: its header and its entries back to back, as they lie in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRequest {
    /// Header.
    pub header: PushHeader,
    /// Frames back to back.
    pub entries: Vec<u8>,
}

/// Why bytes are no push body.
#[derive(Debug, thiserror::Error)]
pub enum PushBodyError {
    /// Shorter than its prefix says.
    #[error("push body is cut short")]
    Short,
    /// The header is not as specified.
    #[error("push header is not as specified")]
    Header(#[source] serde_json::Error),
    /// Another version of the header than 1.
    #[error("push header of another version")]
    Version,
    /// A number past 2^53-1.
    #[error("push header holds a number past 2^53-1")]
    Number(#[from] CanonicalError),
    /// The entries are not `count` frames.
    #[error("push does not hold the entries that it announces")]
    Count,
    /// The bytes after the header are not frames.
    #[error("push holds bytes that are no entry")]
    Frame(#[from] FrameError),
}

impl PushRequest {
    /// Writes the body.
    ///
    /// # Errors
    /// [`PushBodyError::Header`] if the header cannot be written.
    pub fn write(&self) -> Result<Vec<u8>, PushBodyError> {
        let header = serde_json::to_vec(&self.header).map_err(PushBodyError::Header)?;
        let len = u32::try_from(header.len()).map_err(|_| PushBodyError::Short)?;
        let mut body = Vec::with_capacity(4 + header.len() + self.entries.len());
        body.extend_from_slice(&len.to_be_bytes());
        body.extend_from_slice(&header);
        body.extend_from_slice(&self.entries);
        Ok(body)
    }

    /// Reads a body. The entries are counted, not looked into.
    ///
    /// # Errors
    /// [`PushBodyError`].
    pub fn read(body: &[u8]) -> Result<Self, PushBodyError> {
        let (len, rest) = body.split_first_chunk::<4>().ok_or(PushBodyError::Short)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| PushBodyError::Short)?;
        let (header, entries) = rest.split_at_checked(len).ok_or(PushBodyError::Short)?;
        let header: PushHeader = serde_json::from_slice(header).map_err(PushBodyError::Header)?;
        if header.v != 1 {
            return Err(PushBodyError::Version);
        }
        canonical::check_numbers(&serde_json::to_value(&header).map_err(PushBodyError::Header)?)?;
        let request = Self { header, entries: entries.to_vec() };
        if u64::try_from(request.frames()?.len()).is_ok_and(|n| n == request.header.count) {
            Ok(request)
        } else {
            Err(PushBodyError::Count)
        }
    }

    /// The entries, one by one.
    ///
    /// # Errors
    /// [`FrameError`] where the bytes are not frames.
    pub fn frames(&self) -> Result<Vec<Frame<'_>>, FrameError> {
        let mut frames = Vec::new();
        let mut rest = self.entries.as_slice();
        while !rest.is_empty() {
            let (frame, after) = Frame::split_first(rest)?;
            frames.push(frame);
            rest = after;
        }
        Ok(frames)
    }
}

//! The chain of one station: each entry names the hash of the one before (PROTOCOL §1, §9.4).

use crate::ids::{Epoch, Hash};
use crate::operation::Header;
use serde::{Deserialize, Serialize};

/// Where a chain stands. Before the first entry: no epoch, seq 0, the hash of the station's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Epoch of the last entry.
    pub epoch: Option<Epoch>,
    /// Its position.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Why an entry does not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// Its number is not the next one.
    #[error("sequence number is not the next")]
    Gap,
    /// It names another hash than that of the entry before.
    #[error("previous hash differs")]
    Previous,
    /// Its epoch is neither the same nor a later one, or its count is 0.
    #[error("epoch does not follow")]
    Epoch,
    /// The first entry of an epoch is not `station.enrolled` (n = 1) or `epoch.opened`.
    #[error("epoch does not begin as it must")]
    Genesis,
}

impl Head {
    /// The head of a station that has written nothing yet.
    #[must_use]
    pub const fn genesis(certificate: Hash) -> Self {
        Self { epoch: None, seq: 0, hash: certificate }
    }

    /// The head after the entry with `header` and `hash`, if that entry follows this head.
    /// `certificate` is the hash of the station's certificate, which every epoch starts from.
    ///
    /// # Errors
    /// [`ChainBreak`].
    pub fn follow(&self, certificate: Hash, header: &Header, hash: Hash) -> Result<Self, ChainBreak> {
        let same_epoch = self.epoch == Some(header.epoch);
        let (seq, prev) = if same_epoch { (self.seq, self.hash) } else { (0, certificate) };
        let later = self.epoch.is_none_or(|epoch| header.epoch.n > epoch.n);
        if header.epoch.n == 0 || (!same_epoch && !later) {
            return Err(ChainBreak::Epoch);
        }
        if seq.checked_add(1) != Some(header.seq) {
            return Err(ChainBreak::Gap);
        }
        if prev != header.prev {
            return Err(ChainBreak::Previous);
        }
        let opens = if header.epoch.n == 1 { "station.enrolled" } else { "epoch.opened" };
        if header.seq == 1 && header.body.kind != opens {
            return Err(ChainBreak::Genesis);
        }
        Ok(Self { epoch: Some(header.epoch), seq: header.seq, hash })
    }
}

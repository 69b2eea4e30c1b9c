//! The store in memory, for simulations: one tenant's ledger.

use super::{Evidence, Leaf, Store, StoredEntry, verdict};
use crate::chain::Head;
use crate::ids::{Epoch, Hash, OperationId, SiteId, StationId};
use crate::statement::Receipt;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

type Place = (StationId, u64, u64);

/// One tenant's ledger in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: BTreeMap<Place, StoredEntry>,
    first_index: u64,
    /// Every leaf, in order of index.
    pub leaves: Vec<(StationId, Leaf)>,
    /// Every piece of evidence.
    pub evidence: Vec<(StationId, Evidence)>,
    /// Every receipt: station, leaf hash, bytes.
    pub receipts: Vec<(StationId, Hash, Vec<u8>)>,
    /// Blocked lots of each site with the cursor of the data that blocks them.
    pub blocked: BTreeMap<SiteId, verdict::BlockedLots>,
}

fn head_of(entry: &StoredEntry) -> Head {
    Head { epoch: Some(entry.epoch), seq: entry.seq, hash: entry.hash }
}

impl MemoryStore {
    /// A ledger whose log has `count` leaves of other kinds before its first operation.
    #[must_use]
    pub fn after_leaves(count: u64) -> Self {
        Self { first_index: count, ..Self::default() }
    }

    /// The entries of a station, in order of epoch and seq.
    pub fn entries(&self, station: StationId) -> impl Iterator<Item = &StoredEntry> {
        self.entries.range((station, 0, 0)..=(station, u64::MAX, u64::MAX)).map(|(_, entry)| entry)
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    async fn epoch_head(&mut self, station: StationId, n: u64) -> Result<Option<Head>, Infallible> {
        let range = (station, n, 0)..=(station, n, u64::MAX);
        Ok(self.entries.range(range).next_back().map(|(_, entry)| head_of(entry)))
    }

    async fn head(&mut self, station: StationId) -> Result<Option<Head>, Infallible> {
        Ok(self.entries(station).last().map(head_of))
    }

    async fn held(
        &mut self,
        station: StationId,
        epoch: Epoch,
        first: u64,
        last: u64,
    ) -> Result<Vec<(u64, Hash)>, Infallible> {
        if first > last {
            return Ok(Vec::new());
        }
        let range = (station, epoch.n, first)..=(station, epoch.n, last);
        let held = self.entries.range(range).filter(|(_, entry)| entry.epoch == epoch);
        Ok(held.map(|(_, entry)| (entry.seq, entry.hash)).collect())
    }

    async fn keep(&mut self, station: StationId, entries: &[StoredEntry]) -> Result<(), Infallible> {
        let places = entries.iter().map(|e| ((station, e.epoch.n, e.seq), e.clone()));
        self.entries.extend(places);
        Ok(())
    }

    async fn keep_evidence(&mut self, station: StationId, evidence: &[Evidence]) -> Result<(), Infallible> {
        for piece in evidence {
            if !self.evidence.iter().any(|(_, kept)| kept.entry.hash == piece.entry.hash) {
                self.evidence.push((station, piece.clone()));
            }
        }
        Ok(())
    }

    async fn ids_taken(&mut self, ids: &[OperationId]) -> Result<BTreeSet<OperationId>, Infallible> {
        let numbered = self.leaves.iter().filter_map(|(_, leaf)| match leaf {
            Leaf::Operation { entry, .. } => entry.id(),
            Leaf::Verdicts { .. } => None,
        });
        Ok(numbered.filter(|id| ids.contains(id)).collect())
    }

    async fn lots_blocked(
        &mut self,
        site: SiteId,
        lots: &[(String, String)],
    ) -> Result<verdict::BlockedLots, Infallible> {
        let blocked = self.blocked.get(&site).into_iter().flatten();
        Ok(blocked
            .filter(|(lot, _)| lots.contains(lot))
            .map(|(lot, cursor)| (lot.clone(), *cursor))
            .collect())
    }

    async fn next_index(&mut self) -> Result<u64, Infallible> {
        Ok(self.first_index.saturating_add(self.leaves.len().try_into().unwrap_or(u64::MAX)))
    }

    async fn append_leaves(&mut self, station: StationId, leaves: &[Leaf]) -> Result<(), Infallible> {
        self.leaves.extend(leaves.iter().map(|leaf| (station, leaf.clone())));
        Ok(())
    }

    async fn verdicts(
        &mut self,
        station: StationId,
        epoch: Epoch,
        first: u64,
        last: u64,
    ) -> Result<Vec<Vec<u8>>, Infallible> {
        let mut found = Vec::new();
        let mut covers = false;
        for (_, leaf) in self.leaves.iter().filter(|(of, _)| *of == station) {
            match leaf {
                Leaf::Operation { entry, .. } => {
                    covers |= entry.epoch == epoch && (first..=last).contains(&entry.seq);
                }
                Leaf::Verdicts { bytes, .. } => {
                    if std::mem::take(&mut covers) {
                        found.push(bytes.clone());
                    }
                }
            }
        }
        Ok(found)
    }

    async fn last_receipt(&mut self, station: StationId) -> Result<Option<(Hash, Vec<u8>)>, Infallible> {
        let last = self.receipts.iter().rev().find(|(of, ..)| *of == station);
        Ok(last.map(|(_, hash, bytes)| (*hash, bytes.clone())))
    }

    async fn keep_receipt(
        &mut self,
        station: StationId,
        _receipt: &Receipt,
        hash: Hash,
        bytes: &[u8],
    ) -> Result<(), Infallible> {
        self.receipts.push((station, hash, bytes.to_vec()));
        Ok(())
    }
}

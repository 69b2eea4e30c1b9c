//! The store in memory, for simulations: one tenant's ledger.

use super::ingest::Stretch;
use super::store::{
    Branch, Evidence, Held, Leaf, Place, Store, StoredEntry, StoredVerdicts, Tree, TreeRow, WaitingBatch,
};
use super::{Station, verdict};
use crate::chain::Head;
use crate::ids::{Hash, OperationId, SiteId, StationId};
use crate::merkle::proof::TreeHead;
use crate::merkle::{self, Frontier, NodeId};
use crate::statement::Receipt;
use crate::statement::event::LogRecovered;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// A receipt as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReceipt {
    /// Whose.
    pub station: StationId,
    /// What it goes through to.
    pub place: Place,
    /// Leaf hash.
    pub hash: Hash,
    /// Framed statement.
    pub bytes: Vec<u8>,
}

/// One tenant's ledger in memory. A clone is a backup of it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    /// What is known of the stations.
    pub stations: BTreeMap<StationId, Station>,
    entries: BTreeMap<(StationId, Place), StoredEntry>,
    waiting: Vec<WaitingBatch>,
    arrivals: u64,
    ids: BTreeSet<OperationId>,
    nodes: BTreeMap<NodeId, Hash>,
    frontier: Frontier,
    /// How often the log was restored.
    pub generation: u64,
    /// Every leaf, in order of index.
    pub leaves: Vec<Leaf>,
    /// How the tree stood after each append.
    pub rows: Vec<TreeRow>,
    /// Every piece of evidence.
    pub evidence: Vec<(StationId, Evidence)>,
    /// Every receipt.
    pub receipts: Vec<KeptReceipt>,
    /// `log.recovered` statements with their generation.
    pub recovered: Vec<(u64, Vec<u8>)>,
    /// Blocked lots of each site with the cursor of the data that blocks them.
    pub blocked: BTreeMap<SiteId, verdict::BlockedLots>,
}

impl MemoryStore {
    /// An empty ledger of these stations, in generation 1.
    #[must_use]
    pub fn new(stations: impl IntoIterator<Item = Station>) -> Self {
        let stations = stations.into_iter().map(|station| (station.id, station)).collect();
        Self { stations, generation: 1, ..Self::default() }
    }

    /// The entries of a station, in order of epoch, branch and seq.
    pub fn entries(&self, station: StationId) -> impl Iterator<Item = (Place, &StoredEntry)> {
        self.entries.iter().filter(move |((of, _), _)| *of == station).map(|((_, place), e)| (*place, e))
    }

    /// Starts the next generation of checkpoints with this statement; its leaf is appended by the caller.
    pub fn recover(&mut self, statement: &LogRecovered, bytes: Vec<u8>) {
        self.generation = statement.generation;
        self.recovered.push((statement.generation, bytes));
    }

    fn branch_entries(&self, station: StationId, n: u64) -> impl Iterator<Item = (Place, &StoredEntry)> {
        self.entries(station).filter(move |(place, _)| place.epoch_n == n)
    }

    fn hash_of(&self, id: NodeId) -> Option<Hash> {
        if id.level == 0 {
            self.leaves.get(usize::try_from(id.index).ok()?).map(Leaf::hash)
        } else {
            self.nodes.get(&id).copied()
        }
    }

    fn row(&self, row: Option<&TreeRow>) -> TreeRow {
        let empty = TreeRow {
            generation: self.generation,
            head: TreeHead { size: 0, root: merkle::fold(&[]) },
            batch: None,
            first_index: 0,
            previous_size: 0,
        };
        row.cloned().unwrap_or(empty)
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    async fn station(&mut self, station: StationId) -> Result<Option<Station>, Infallible> {
        Ok(self.stations.get(&station).cloned())
    }

    async fn branches(&mut self, station: StationId, n: u64) -> Result<Vec<Branch>, Infallible> {
        let mut branches: Vec<Branch> = Vec::new();
        for (place, entry) in self.branch_entries(station, n) {
            match branches.last_mut() {
                Some(branch) if branch.number == place.branch => branch.head = entry.head(),
                _ => branches.push(Branch { number: place.branch, first: place.seq, head: entry.head() }),
            }
        }
        Ok(branches)
    }

    async fn head(&mut self, station: StationId) -> Result<Option<Head>, Infallible> {
        let first_branch = self.entries(station).filter(|(place, _)| place.branch == 0);
        Ok(first_branch.last().map(|(_, entry)| entry.head()))
    }

    async fn held(
        &mut self,
        station: StationId,
        n: u64,
        first: u64,
        last: u64,
    ) -> Result<Vec<Held>, Infallible> {
        let mut held: Vec<Held> = self
            .branch_entries(station, n)
            .filter(|(place, _)| (first..=last).contains(&place.seq))
            .map(|(place, entry)| Held {
                branch: place.branch,
                seq: place.seq,
                epoch: entry.epoch.id,
                hash: entry.hash,
            })
            .collect();
        held.sort_by_key(|held| (held.seq, held.branch));
        Ok(held)
    }

    async fn entry(&mut self, station: StationId, place: Place) -> Result<Option<Vec<u8>>, Infallible> {
        // A branch has its own entries from its first seq on; before that the ones of an earlier branch count. A
        // branch that left another later one is looked for by the chain: its first entry names what it follows.
        let mut branch = place.branch;
        loop {
            if let Some(entry) = self.entries.get(&(station, Place { branch, ..place })) {
                return Ok(Some(entry.bytes.clone()));
            }
            let Some(first) = self
                .branch_entries(station, place.epoch_n)
                .find(|(of, _)| of.branch == branch)
                .filter(|(of, _)| of.seq > place.seq)
            else {
                return Ok(None);
            };
            let parent = self.branch_entries(station, place.epoch_n).find(|(of, entry)| {
                of.branch < branch
                    && of.seq.saturating_add(1) == first.0.seq
                    && entry.hash == first.1.entry.header.prev
            });
            let Some((of, _)) = parent else { return Ok(None) };
            branch = of.branch;
        }
    }

    async fn keep(&mut self, batch: &WaitingBatch, entries: &[StoredEntry]) -> Result<u64, Infallible> {
        for entry in entries {
            let place = Place { epoch_n: batch.epoch.n, branch: batch.branch, seq: entry.seq };
            self.entries.insert((batch.station, place), entry.clone());
        }
        self.arrivals = self.arrivals.saturating_add(1);
        self.waiting.push(WaitingBatch { arrival: self.arrivals, ..*batch });
        Ok(self.arrivals)
    }

    async fn keep_evidence(&mut self, station: StationId, evidence: &Evidence) -> Result<(), Infallible> {
        if !self.evidence.iter().any(|(of, kept)| *of == station && kept.hash == evidence.hash) {
            self.evidence.push((station, evidence.clone()));
        }
        Ok(())
    }

    async fn waiting(&mut self, most: u64) -> Result<Vec<WaitingBatch>, Infallible> {
        Ok(self.waiting.iter().take(usize::try_from(most).unwrap_or(usize::MAX)).copied().collect())
    }

    async fn waiting_entries(&mut self, batch: &WaitingBatch) -> Result<Vec<Vec<u8>>, Infallible> {
        let place = |seq| Place { epoch_n: batch.epoch.n, branch: batch.branch, seq };
        let range = (batch.station, place(batch.first))..=(batch.station, place(batch.last));
        Ok(self.entries.range(range).map(|(_, entry)| entry.bytes.clone()).collect())
    }

    async fn ids_taken(&mut self, ids: &[OperationId]) -> Result<BTreeSet<OperationId>, Infallible> {
        Ok(ids.iter().filter(|id| self.ids.contains(id)).copied().collect())
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

    async fn tree(&mut self) -> Result<Tree, Infallible> {
        Ok(Tree { generation: self.generation, frontier: self.frontier.clone() })
    }

    async fn append(
        &mut self,
        leaves: &[Leaf],
        nodes: &[(NodeId, Hash)],
        tree: &Tree,
        row: &TreeRow,
    ) -> Result<(), Infallible> {
        for leaf in leaves {
            if let Leaf::Operation { entry, .. } = leaf {
                self.ids.extend(entry.id());
            }
        }
        self.leaves.extend_from_slice(leaves);
        self.nodes.extend(nodes.iter().copied());
        self.frontier = tree.frontier.clone();
        if let Some((_, arrival)) = row.batch {
            self.waiting.retain(|batch| batch.arrival != arrival);
        }
        self.rows.push(row.clone());
        Ok(())
    }

    async fn last_answered_size(&mut self, station: StationId) -> Result<u64, Infallible> {
        let of_station = |row: &&TreeRow| row.batch.is_some_and(|(of, _)| of == station);
        Ok(self.rows.iter().rev().find(of_station).map_or(0, |row| row.head.size))
    }

    async fn numbered(&mut self, station: StationId, arrival: u64) -> Result<Option<TreeRow>, Infallible> {
        Ok(self.rows.iter().find(|row| row.batch == Some((station, arrival))).cloned())
    }

    async fn newest(&mut self) -> Result<TreeRow, Infallible> {
        Ok(TreeRow { generation: self.generation, ..self.row(self.rows.last()) })
    }

    async fn nodes(&mut self, nodes: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
        Ok(nodes.iter().filter_map(|id| self.hash_of(*id)).collect())
    }

    async fn verdicts(
        &mut self,
        station: StationId,
        n: u64,
        stretch: Stretch,
    ) -> Result<Vec<StoredVerdicts>, Infallible> {
        let found = self.leaves.iter().filter_map(|leaf| match leaf {
            Leaf::Verdicts { station: of, first, batch, bytes, .. } => {
                let last = first.seq.saturating_add(batch.count).saturating_sub(1);
                let covers = *of == station
                    && first.epoch_n == n
                    && first.branch == stretch.branch
                    && first.seq <= stretch.last
                    && last >= stretch.first;
                covers.then(|| StoredVerdicts {
                    first_index: batch.first,
                    count: batch.count,
                    first_seq: first.seq,
                    bytes: bytes.clone(),
                })
            }
            _ => None,
        });
        Ok(found.collect())
    }

    async fn last_receipt(&mut self, station: StationId) -> Result<Option<Hash>, Infallible> {
        Ok(self.receipts.iter().rev().find(|kept| kept.station == station).map(|kept| kept.hash))
    }

    async fn keep_receipt(
        &mut self,
        branch: u64,
        receipt: &Receipt,
        hash: Hash,
        bytes: &[u8],
    ) -> Result<(), Infallible> {
        let place = Place { epoch_n: receipt.epoch.n, branch, seq: receipt.through.seq };
        let station = receipt.station;
        self.receipts.push(KeptReceipt { station, place, hash, bytes: bytes.to_vec() });
        Ok(())
    }

    async fn receipt(
        &mut self,
        station: StationId,
        n: u64,
        stretch: Stretch,
    ) -> Result<Option<Vec<u8>>, Infallible> {
        let found = self.receipts.iter().rev().find(|kept| {
            kept.station == station
                && (kept.place.epoch_n, kept.place.branch) == (n, stretch.branch)
                && (stretch.first..=stretch.last).contains(&kept.place.seq)
        });
        Ok(found.map(|kept| kept.bytes.clone()))
    }

    async fn recovered(&mut self, generation: u64) -> Result<Vec<Vec<u8>>, Infallible> {
        let later = self.recovered.iter().filter(|(of, _)| *of > generation);
        Ok(later.map(|(_, bytes)| bytes.clone()).collect())
    }
}

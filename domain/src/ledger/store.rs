//! What the rules keep: the store that the cloud has on Postgres, and what lies in it.

use crate::chain::Head;
use crate::ids::{CertificateSerial, Epoch, EpochId, Hash, OperationId, SiteId, StationId};
use crate::merkle::proof::TreeHead;
use crate::merkle::{Frontier, NodeId};
use crate::operation::ReadEntry;
use crate::protocol::StopCode;
use crate::statement::{Receipt, VerdictBatch, VerdictException};
use std::collections::BTreeSet;
use std::future::Future;

use super::ingest::Stretch;
use super::{Station, verdict};

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Run of the chain.
    pub epoch: Epoch,
    /// Position in it.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
    /// The frame, byte for byte.
    pub bytes: Vec<u8>,
    /// As far as it is understood.
    pub entry: ReadEntry,
}

impl StoredEntry {
    /// The operation's id, where the envelope is understood.
    #[must_use]
    pub fn id(&self) -> Option<OperationId> {
        self.entry.content.id()
    }

    /// `body.type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.entry.header.body.kind
    }

    /// The chain after it.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { epoch: Some(self.epoch), seq: self.seq, hash: self.hash }
    }
}

/// A branch of an epoch. The first is 0; another begins where two entries claim one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// Its number.
    pub number: u64,
    /// Its first seq that is not of an earlier branch; 1 for the first branch.
    pub first: u64,
    /// Its last entry.
    pub head: Head,
}

/// An entry that is held, by place and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Of which branch.
    pub branch: u64,
    /// Place in the epoch.
    pub seq: u64,
    /// Its epoch's id: two branches from seq 1 on may differ in it.
    pub epoch: EpochId,
    /// Its hash.
    pub hash: Hash,
}

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the epoch.
    pub epoch_n: u64,
    /// Branch of the epoch.
    pub branch: u64,
    /// Position.
    pub seq: u64,
}

/// A fork as T1 found it: the first entry of a new branch and the one that held its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The place.
    pub seq: u64,
    /// The entry that was there.
    pub held: Hash,
    /// The first of the new branch.
    pub other: Hash,
}

/// Entries that were ingested and wait for their log indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingBatch {
    /// Counts arrivals of the tenant; given by the store.
    pub arrival: u64,
    /// Whose.
    pub station: StationId,
    /// The epoch.
    pub epoch: Epoch,
    /// The branch.
    pub branch: u64,
    /// First seq.
    pub first: u64,
    /// Last seq.
    pub last: u64,
    /// The station's clock was wrong by more than 300 s when the batch was pushed.
    pub skewed: bool,
    /// The batch begins a new branch.
    pub fork: Option<Fork>,
}

/// A leaf of the tenant's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// An operation, with what was made of it.
    Operation {
        /// Log index.
        index: u64,
        /// Whose.
        station: StationId,
        /// On which branch.
        branch: u64,
        /// The entry.
        entry: StoredEntry,
        /// What was not simply accepted.
        exception: Option<VerdictException>,
    },
    /// The verdicts of the operations directly before it.
    Verdicts {
        /// Log index.
        index: u64,
        /// Whose operations.
        station: StationId,
        /// Place of the first of them; they are consecutive.
        first: Place,
        /// What they say.
        batch: VerdictBatch,
        /// Leaf hash.
        hash: Hash,
        /// Framed statement.
        bytes: Vec<u8>,
    },
    /// A certificate.
    Certificate {
        /// Log index.
        index: u64,
        /// Which.
        serial: CertificateSerial,
        /// Leaf hash.
        hash: Hash,
    },
    /// Any other statement.
    Statement {
        /// Log index.
        index: u64,
        /// Its member `kind`.
        kind: &'static str,
        /// The station that it is about, if it is about one.
        station: Option<StationId>,
        /// Leaf hash.
        hash: Hash,
        /// Framed statement.
        bytes: Vec<u8>,
    },
}

impl Leaf {
    /// Its place in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        match self {
            Self::Operation { index, .. }
            | Self::Verdicts { index, .. }
            | Self::Certificate { index, .. }
            | Self::Statement { index, .. } => *index,
        }
    }

    /// Its leaf hash.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        match self {
            Self::Operation { entry, .. } => entry.hash,
            Self::Verdicts { hash, .. } | Self::Certificate { hash, .. } | Self::Statement { hash, .. } => {
                *hash
            }
        }
    }
}

/// The tenant's tree as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Generation of its checkpoints.
    pub generation: u64,
    /// Its right edge.
    pub frontier: Frontier,
}

/// How the tree stood after something was appended; one row for each T2 batch and for each other append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeRow {
    /// Generation of the checkpoint.
    pub generation: u64,
    /// Size and root.
    pub head: TreeHead,
    /// The batch that was numbered, if it was one: its station and arrival.
    pub batch: Option<(StationId, u64)>,
    /// Log index of the batch's first leaf.
    pub first_index: u64,
    /// The size that the station's batch before was answered with; 0 for its first.
    pub previous_size: u64,
}

/// A verdict batch as it is stored, with where its operations lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVerdicts {
    /// Log index of the first operation.
    pub first_index: u64,
    /// How many operations; the batch itself is the leaf after them.
    pub count: u64,
    /// Seq of the first operation.
    pub first_seq: u64,
    /// Framed statement.
    pub bytes: Vec<u8>,
}

/// An entry kept as evidence, never numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The entry, as it came.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub hash: Hash,
    /// Why it was not taken.
    pub code: StopCode,
}

/// What the rules keep. Every method works within the caller's one transaction for one tenant; which turns the
/// caller must hold is said in [`super`].
pub trait Store: Send {
    /// Why the store failed.
    type Error: Send;

    /// What the rules need to know of a station; `None` for none of the tenant's.
    fn station(
        &mut self,
        station: StationId,
    ) -> impl Future<Output = Result<Option<Station>, Self::Error>> + Send;

    /// The branches of the station's epoch numbered `n`, in order of number; none before its first entry.
    fn branches(
        &mut self,
        station: StationId,
        n: u64,
    ) -> impl Future<Output = Result<Vec<Branch>, Self::Error>> + Send;

    /// Head of the first branch of the station's latest epoch, which `GET /v1/head` tells.
    fn head(&mut self, station: StationId) -> impl Future<Output = Result<Option<Head>, Self::Error>> + Send;

    /// Entries held from seq `first` to `last` of epoch `n`, of every branch, in order of seq and branch.
    fn held(
        &mut self,
        station: StationId,
        n: u64,
        first: u64,
        last: u64,
    ) -> impl Future<Output = Result<Vec<Held>, Self::Error>> + Send;

    /// The frame held at a place. Entries before the first of a later branch lie in the branch that it left.
    fn entry(
        &mut self,
        station: StationId,
        place: Place,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, Self::Error>> + Send;

    /// Keeps entries of one branch, and the batch that they wait as; its `arrival` is given by the store and
    /// returned.
    fn keep(
        &mut self,
        batch: &WaitingBatch,
        entries: &[StoredEntry],
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Keeps evidence; the same bytes twice are kept once.
    fn keep_evidence(
        &mut self,
        station: StationId,
        evidence: &Evidence,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Batches that wait for their indexes, in order of arrival, `most` at most.
    fn waiting(&mut self, most: u64) -> impl Future<Output = Result<Vec<WaitingBatch>, Self::Error>> + Send;

    /// The frames of a waiting batch, in order.
    fn waiting_entries(
        &mut self,
        batch: &WaitingBatch,
    ) -> impl Future<Output = Result<Vec<Vec<u8>>, Self::Error>> + Send;

    /// Which of `ids` numbered operations of the tenant have already.
    fn ids_taken(
        &mut self,
        ids: &[OperationId],
    ) -> impl Future<Output = Result<BTreeSet<OperationId>, Self::Error>> + Send;

    /// Which of the lots (item, lot) the site's newest reference data does not release, each with the
    /// cursor of that data.
    fn lots_blocked(
        &mut self,
        site: SiteId,
        lots: &[(String, String)],
    ) -> impl Future<Output = Result<verdict::BlockedLots, Self::Error>> + Send;

    /// The tenant's tree; its size is the next free log index.
    fn tree(&mut self) -> impl Future<Output = Result<Tree, Self::Error>> + Send;

    /// Appends leaves, with the projections that come from them, the inner nodes that they complete, and how the
    /// tree stands then. A batch that `row` names does not wait any longer.
    fn append(
        &mut self,
        leaves: &[Leaf],
        nodes: &[(NodeId, Hash)],
        tree: &Tree,
        row: &TreeRow,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The size that the station's last numbered batch was answered with; 0 before its first.
    fn last_answered_size(
        &mut self,
        station: StationId,
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// The row of a numbered batch; `None` while it waits.
    fn numbered(
        &mut self,
        station: StationId,
        arrival: u64,
    ) -> impl Future<Output = Result<Option<TreeRow>, Self::Error>> + Send;

    /// How the tree stands, as a row.
    fn newest(&mut self) -> impl Future<Output = Result<TreeRow, Self::Error>> + Send;

    /// Hashes of nodes, in the order asked for; level 0 is a leaf.
    fn nodes(&mut self, nodes: &[NodeId]) -> impl Future<Output = Result<Vec<Hash>, Self::Error>> + Send;

    /// Verdict batches that cover any entry of a stretch of epoch `n`, in order of log index.
    fn verdicts(
        &mut self,
        station: StationId,
        n: u64,
        stretch: Stretch,
    ) -> impl Future<Output = Result<Vec<StoredVerdicts>, Self::Error>> + Send;

    /// Leaf hash of the station's last receipt. Waits for the tenant's turn, if the caller has it not: receipts
    /// are chained.
    fn last_receipt(
        &mut self,
        station: StationId,
    ) -> impl Future<Output = Result<Option<Hash>, Self::Error>> + Send;

    /// Keeps a receipt, for a head of `branch`.
    fn keep_receipt(
        &mut self,
        branch: u64,
        receipt: &Receipt,
        hash: Hash,
        bytes: &[u8],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The newest receipt for an entry of a stretch of the station's epoch `n`.
    fn receipt(
        &mut self,
        station: StationId,
        n: u64,
        stretch: Stretch,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, Self::Error>> + Send;

    /// Framed `log.recovered` statements of generations after `generation`, oldest first.
    fn recovered(
        &mut self,
        generation: u64,
    ) -> impl Future<Output = Result<Vec<Vec<u8>>, Self::Error>> + Send;
}

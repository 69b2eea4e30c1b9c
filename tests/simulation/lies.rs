//! A cloud that lies: what it says instead, and whether a station can tell.

use lotgate_domain::entry;
use lotgate_domain::ids::{Hash, StationId};
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::merkle::{self, Frontier, NodeId, Span};
use lotgate_domain::protocol::proof::{ConsistencyProof, LogProof, RangeProof};
use lotgate_domain::protocol::push::{PushHeader, PushRequest};
use lotgate_domain::protocol::{HexBytes, PushReply};
use lotgate_domain::statement::{
    self, Receipt, Statement as _, Through, Verdict, VerdictBatch, VerdictException,
};
use std::collections::BTreeMap;

use super::cloud::{Cloud, time};

/// What the cloud says that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Receipt and verdicts for entries that it did not store.
    NotStored,
    /// The same, without any proof.
    NotStoredNorProven,
    /// A range proof of other hashes.
    WrongRange,
    /// A consistency proof of other hashes.
    WrongConsistency,
    /// A checkpoint that is smaller than what the station said that it knows.
    OldCheckpoint,
    /// A log in which an old leaf is another.
    RewrittenLeaf,
    /// A signed verdict batch that does not stand in the log.
    WrongVerdict,
    /// A receipt for another entry.
    WrongReceipt,
    /// More than was ever written.
    AcceptedTooMuch,
    /// A feed of another hash.
    WrongFeed,
    /// A restore that the root key did not sign.
    ForgedRecovery,
}

impl Lie {
    pub(crate) const ALL: [Self; 11] = [
        Self::NotStored,
        Self::NotStoredNorProven,
        Self::WrongRange,
        Self::WrongConsistency,
        Self::OldCheckpoint,
        Self::RewrittenLeaf,
        Self::WrongVerdict,
        Self::WrongReceipt,
        Self::AcceptedTooMuch,
        Self::WrongFeed,
        Self::ForgedRecovery,
    ];

    /// Whether the entries of the push are not even looked at.
    pub(crate) const fn forgets(self) -> bool {
        matches!(self, Self::NotStored | Self::NotStoredNorProven)
    }
}

/// A log by its leaves, for what no honest store would give.
struct Log {
    nodes: BTreeMap<NodeId, Hash>,
    head: TreeHead,
}

impl Log {
    fn of(leaves: impl Iterator<Item = Hash>) -> Self {
        let (mut nodes, mut tree) = (BTreeMap::new(), Frontier::default());
        for leaf in leaves {
            nodes.insert(NodeId { level: 0, index: tree.size() }, leaf);
            tree.append(leaf, |id, hash| {
                nodes.insert(id, hash);
            });
        }
        Self { nodes, head: TreeHead { size: tree.size(), root: tree.root() } }
    }

    fn range(&self, first: u64, end: u64) -> Option<Vec<Hash>> {
        let ids = merkle::range_nodes(Span { first, end }, self.head.size)?;
        Some(ids.iter().map(|id| self.nodes[id]).collect())
    }

    fn consistency(&self, from: u64) -> Option<Vec<Hash>> {
        let spans = merkle::consistency_spans(from, self.head.size)?;
        let fold =
            |span: Span| merkle::fold(&span.cover().iter().map(|id| self.nodes[id]).collect::<Vec<_>>());
        Some(spans.into_iter().map(fold).collect())
    }
}

fn flip(hash: &mut Hash) {
    hash.0[7] ^= 0x10;
}

/// The answer to a push of which nothing was stored.
pub(crate) fn not_stored(
    cloud: &Cloud,
    station: StationId,
    push: &PushRequest,
    lie: Lie,
    now: u64,
) -> PushReply {
    let header = &push.header;
    let hash = entry::hash(push.frames().unwrap().last().unwrap().bytes());
    let through = Through { seq: header.after.seq + header.count, hash };
    let tenant = &cloud.tenant;
    let tree = cloud.tree();
    let batch = VerdictBatch {
        v: 1,
        kind: VerdictBatch::KIND.to_owned(),
        tenant: tenant.id,
        key: tenant.statement.public().key_id(),
        first: tree.size,
        count: header.count,
        exceptions: Vec::new(),
        supersedes: Vec::new(),
    };
    let batch = tenant.sign(&batch);
    let receipt = Receipt {
        v: 1,
        kind: Receipt::KIND.to_owned(),
        tenant: tenant.id,
        key: tenant.statement.public().key_id(),
        station,
        epoch: header.epoch,
        through,
        verdicts: vec![entry::hash(&batch)],
        previous: Hash::ZERO,
        time: time(now),
    };
    let log = Log::of(cloud.store.leaves.iter().map(lotgate_domain::ledger::Leaf::hash));
    let proof = LogProof {
        checkpoint: cloud.checkpoint(cloud.store.generation, tree),
        ranges: vec![RangeProof {
            first_seq: header.after.seq + 1,
            hashes: log.range(tree.size, tree.size).unwrap(),
            rest: Vec::new(),
        }],
        consistency: consistency(&log, header),
        recovered: Vec::new(),
    };
    let proven = lie == Lie::NotStored;
    PushReply {
        accepted_through: lotgate_domain::chain::Head {
            epoch: Some(header.epoch),
            seq: through.seq,
            hash: through.hash,
        },
        first_index: Some(tree.size),
        stopped: None,
        branch: 0,
        verdicts: if proven { vec![HexBytes(batch)] } else { Vec::new() },
        receipt: Some(HexBytes(tenant.sign(&receipt))),
        proof: proven.then_some(proof),
    }
}

fn consistency(log: &Log, header: &PushHeader) -> Vec<ConsistencyProof> {
    let from = header.log.map(|seen| seen.size).filter(|from| *from > 0 && *from < log.head.size);
    from.and_then(|from| Some(ConsistencyProof { from, hashes: log.consistency(from)? }))
        .into_iter()
        .collect()
}

/// Turns an honest answer into a lie that a station must refuse; false if there is nothing to lie about.
pub(crate) fn tell(lie: Lie, cloud: &Cloud, header: &PushHeader, reply: &mut PushReply, pick: u64) -> bool {
    let tenant = &cloud.tenant;
    let seen = header.log.filter(|seen| seen.generation == cloud.store.generation);
    if reply.verdicts.is_empty() {
        return false;
    }
    let Some(proof) = &mut reply.proof else { return false };
    let which = usize::try_from(pick).unwrap() % reply.verdicts.len();
    match lie {
        Lie::WrongRange => match proof.ranges[which].hashes.first_mut() {
            Some(hash) => flip(hash),
            None => return false,
        },
        Lie::WrongConsistency => {
            if seen.is_none() || proof.consistency.is_empty() {
                return false;
            }
            let hashes = proof.consistency.iter_mut().flat_map(|proof| &mut proof.hashes);
            hashes.for_each(flip);
        }
        Lie::OldCheckpoint => {
            let Some(seen) = seen else { return false };
            let mut rows = cloud.store.rows.iter().filter(|row| row.generation == seen.generation);
            let Some(row) = rows.rfind(|row| row.head.size < seen.size) else { return false };
            proof.checkpoint = cloud.checkpoint(row.generation, row.head);
        }
        Lie::RewrittenLeaf => return rewrite(cloud, header, reply, pick),
        Lie::WrongVerdict => {
            let bytes = &mut reply.verdicts[which].0;
            let mut batch =
                statement::read::<VerdictBatch>(bytes, tenant.id, &tenant.statement.public()).unwrap().value;
            let code = "policy_violation".to_owned();
            let worse = VerdictException { index: batch.first, verdict: Verdict::Flagged, code };
            if batch.exceptions.is_empty() {
                batch.exceptions.push(worse)
            } else {
                batch.exceptions.clear()
            }
            *bytes = tenant.sign(&batch);
        }
        Lie::WrongReceipt => {
            let Some(bytes) = &mut reply.receipt else { return false };
            let mut receipt =
                statement::read::<Receipt>(&bytes.0, tenant.id, &tenant.statement.public()).unwrap().value;
            flip(&mut receipt.through.hash);
            bytes.0 = tenant.sign(&receipt);
        }
        Lie::AcceptedTooMuch => {
            reply.accepted_through.seq += 5;
            reply.accepted_through.hash = Hash::ZERO;
        }
        Lie::NotStored | Lie::NotStoredNorProven | Lie::WrongFeed | Lie::ForgedRecovery => return false,
    }
    true
}

/// Everything proven, in a log of which one old leaf that the station has seen is another.
fn rewrite(cloud: &Cloud, header: &PushHeader, reply: &mut PushReply, pick: u64) -> bool {
    let Some(seen) = header.log.filter(|seen| seen.generation == cloud.store.generation) else {
        return false;
    };
    let Some(proof) = &mut reply.proof else { return false };
    let tenant = &cloud.tenant;
    let read = |bytes: &HexBytes| {
        statement::read::<VerdictBatch>(&bytes.0, tenant.id, &tenant.statement.public()).unwrap().value
    };
    let batches: Vec<VerdictBatch> = reply.verdicts.iter().map(read).collect();
    let of_push =
        |index: u64| batches.iter().any(|batch| (batch.first..=batch.first + batch.count).contains(&index));
    let old: Vec<u64> = (0..seen.size).filter(|index| !of_push(*index)).collect();
    let Some(rewritten) = old.get(usize::try_from(pick).unwrap() % old.len().max(1)) else { return false };
    let leaves = cloud.store.leaves.iter().map(|leaf| {
        let mut hash = leaf.hash();
        if leaf.index() == *rewritten {
            flip(&mut hash);
        }
        hash
    });
    let log = Log::of(leaves);
    proof.checkpoint = cloud.checkpoint(cloud.store.generation, log.head);
    for (range, batch) in proof.ranges.iter_mut().zip(&batches) {
        range.hashes = log.range(batch.first, batch.first + batch.count + 1).unwrap();
    }
    let froms: Vec<u64> = proof.consistency.iter().map(|proof| proof.from).chain([seen.size]).collect();
    proof.consistency = froms
        .into_iter()
        .filter(|from| *from < log.head.size)
        .filter_map(|from| Some(ConsistencyProof { from, hashes: log.consistency(from)? }))
        .collect();
    true
}

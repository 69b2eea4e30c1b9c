//! T2: gives what waits its log indexes, judges it, and signs verdicts and receipts (PROTOCOL §3, steps 3 to 5).

use super::store::{Leaf, Place, Store, StoredEntry, Tree, TreeRow, WaitingBatch};
use super::verdict::{self, Judgement, Standing};
use super::{Authority, LedgerError, Station};
use crate::entry::Frame;
use crate::ids::{CertificateSerial, Epoch, Hash, OperationId, StationId};
use crate::merkle::NodeId;
use crate::merkle::proof::TreeHead;
use crate::operation::{self, ReadEntry};
use crate::statement::event::ForkFound;
use crate::statement::{
    self, Receipt, Statement as _, StatementError, Through, VerdictBatch, VerdictException,
};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// The most exceptions of one verdict batch: with every code they fit a frame of 32 KiB.
const MAX_EXCEPTIONS: usize = 256;
/// How many batches one T2 takes at most; those that come later wait for the next.
pub const MOST_BATCHES: u64 = 16;

/// Batches that the caller ingested itself, by arrival: they need not be read again.
pub type Fresh = BTreeMap<u64, Vec<StoredEntry>>;

/// Numbers what waits, in order of arrival, at most [`MOST_BATCHES`]: each batch gets consecutive indexes, its
/// verdict leaf directly after it, and a receipt. The caller holds the tenant's turn. Returns how many there were.
///
/// # Errors
/// [`LedgerError`], but not `HeadMismatch`.
pub async fn number<S: Store>(
    store: &mut S,
    authority: &Authority<'_>,
    mut fresh: Fresh,
    now: Timestamp,
) -> Result<u64, LedgerError<S::Error>> {
    let waiting = store.waiting(MOST_BATCHES).await.map_err(LedgerError::Store)?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let mut tree = store.tree().await.map_err(LedgerError::Store)?;
    let mut count = 0;
    for batch in waiting {
        let entries = match fresh.remove(&batch.arrival) {
            Some(entries) => entries,
            None => read_again(store, &batch).await?,
        };
        number_batch(store, authority, &mut tree, &batch, entries, now).await?;
        count += 1;
    }
    Ok(count)
}

async fn read_again<S: Store>(
    store: &mut S,
    batch: &WaitingBatch,
) -> Result<Vec<StoredEntry>, LedgerError<S::Error>> {
    let frames = store.waiting_entries(batch).await.map_err(LedgerError::Store)?;
    let read = |bytes: Vec<u8>| {
        let frame = Frame::read(&bytes).ok()?;
        let entry = operation::read(&frame).ok()?;
        let (epoch, seq, hash) = (entry.header.epoch, entry.header.seq, entry.hash);
        Some(StoredEntry { epoch, seq, hash, bytes, entry })
    };
    frames.into_iter().map(read).collect::<Option<_>>().ok_or(LedgerError::Stored("a waiting entry"))
}

async fn number_batch<S: Store>(
    store: &mut S,
    authority: &Authority<'_>,
    tree: &mut Tree,
    batch: &WaitingBatch,
    entries: Vec<StoredEntry>,
    now: Timestamp,
) -> Result<(), LedgerError<S::Error>> {
    let Some(station) = store.station(batch.station).await.map_err(LedgerError::Store)? else {
        return Err(LedgerError::Stored("a waiting batch of an unknown station"));
    };
    let Some(through) = entries.last().map(|last| Through { seq: last.seq, hash: last.hash }) else {
        return Err(LedgerError::Stored("a waiting batch without entries"));
    };
    let previous_size = store.last_answered_size(station.id).await.map_err(LedgerError::Store)?;
    let judgements = judge(store, &station, batch, &entries).await?;
    let mut leaves = Vec::with_capacity(entries.len() + 2);
    let mut index = tree.frontier.size();
    if let Some(fork) = fork_found(authority, batch, index, now)? {
        leaves.push(fork);
        index = index.saturating_add(1);
    }
    let first_index = index;
    let verdicts = number_entries(authority, batch, entries, judgements, first_index, &mut leaves)?;
    grow(store, tree, &leaves, Some((station.id, batch.arrival)), first_index, previous_size).await?;
    make_receipt(store, authority, station.id, batch.epoch, batch.branch, through, verdicts, now).await?;
    Ok(())
}

/// Signs and keeps the receipt that everything of `epoch` on `branch` is held through a point.
#[expect(clippy::too_many_arguments, reason = "they are the members of a receipt")]
pub(super) async fn make_receipt<S: Store>(
    store: &mut S,
    authority: &Authority<'_>,
    station: StationId,
    epoch: Epoch,
    branch: u64,
    through: Through,
    verdicts: Vec<Hash>,
    now: Timestamp,
) -> Result<Vec<u8>, LedgerError<S::Error>> {
    let previous = store.last_receipt(station).await.map_err(LedgerError::Store)?;
    let receipt = Receipt {
        v: 1,
        kind: Receipt::KIND.to_owned(),
        tenant: authority.tenant,
        key: authority.key(),
        station,
        epoch,
        through,
        verdicts,
        previous: previous.unwrap_or(Hash::ZERO),
        time: now,
    };
    let bytes = statement::sign(&receipt, authority.keys)?;
    store
        .keep_receipt(branch, &receipt, crate::entry::hash(&bytes), &bytes)
        .await
        .map_err(LedgerError::Store)?;
    Ok(bytes)
}

/// What is made of each entry; `None` is accepted.
async fn judge<S: Store>(
    store: &mut S,
    station: &Station,
    batch: &WaitingBatch,
    entries: &[StoredEntry],
) -> Result<Vec<Judgement>, LedgerError<S::Error>> {
    let ids: Vec<OperationId> = entries.iter().filter_map(StoredEntry::id).collect();
    let mut taken = store.ids_taken(&ids).await.map_err(LedgerError::Store)?;
    let lots = verdict::lots_claimed(entries);
    let blocked = if lots.is_empty() {
        verdict::BlockedLots::default()
    } else {
        store.lots_blocked(station.site, &lots).await.map_err(LedgerError::Store)?
    };
    let branches = store.branches(station.id, batch.epoch.n).await.map_err(LedgerError::Store)?;
    let forked_from = branches.iter().filter(|branch| branch.number > 0).map(|branch| branch.first).min();
    let before = entry_at(store, batch, batch.first.saturating_sub(1)).await?;
    let opening = if batch.epoch.n > 1 && batch.first > 1 { entry_at(store, batch, 1).await? } else { None };
    let opening = opening.as_ref().or(entries.first().map(|entry| &entry.entry));
    let standing = Standing {
        station,
        blocked: &blocked,
        branch: batch.branch,
        forked_from,
        unconfirmed: batch.epoch.n > 1 && !opening.is_some_and(verdict::opens_as_planned),
        skewed: batch.skewed,
    };
    let mut previous = before.as_ref();
    let mut judgements = Vec::with_capacity(entries.len());
    for entry in entries {
        let reused = entry.id().is_some_and(|id| !taken.insert(id));
        judgements.push(verdict::judge(entry, previous, reused, &standing));
        previous = Some(&entry.entry);
    }
    Ok(judgements)
}

async fn entry_at<S: Store>(
    store: &mut S,
    batch: &WaitingBatch,
    seq: u64,
) -> Result<Option<ReadEntry>, LedgerError<S::Error>> {
    if seq == 0 {
        return Ok(None);
    }
    let place = Place { epoch_n: batch.epoch.n, branch: batch.branch, seq };
    let bytes = store.entry(batch.station, place).await.map_err(LedgerError::Store)?;
    Ok(bytes.and_then(|bytes| operation::read(&Frame::read(&bytes).ok()?).ok()))
}

/// The leaves of the operations and of the verdict batches after them; the hashes of those batches.
fn number_entries(
    authority: &Authority<'_>,
    batch: &WaitingBatch,
    entries: Vec<StoredEntry>,
    judgements: Vec<Judgement>,
    first_index: u64,
    leaves: &mut Vec<Leaf>,
) -> Result<Vec<Hash>, StatementError> {
    let mut verdicts = Vec::with_capacity(1);
    let (mut first, mut first_seq) = (first_index, batch.first);
    let mut index = first_index;
    let mut exceptions: Vec<VerdictException> = Vec::new();
    let mut left = entries.len();
    for (entry, judgement) in entries.into_iter().zip(judgements) {
        let exception = judgement.map(|(verdict, code)| VerdictException {
            index,
            verdict,
            code: code.as_str().to_owned(),
        });
        exceptions.extend(exception.clone());
        let seq = entry.seq;
        let (station, branch) = (batch.station, batch.branch);
        leaves.push(Leaf::Operation { index, station, branch, entry, exception });
        index = index.saturating_add(1);
        left = left.saturating_sub(1);
        if exceptions.len() < MAX_EXCEPTIONS && left > 0 {
            continue;
        }
        let statement = VerdictBatch {
            v: 1,
            kind: VerdictBatch::KIND.to_owned(),
            tenant: authority.tenant,
            key: authority.key(),
            first,
            count: index.saturating_sub(first),
            exceptions: std::mem::take(&mut exceptions),
            supersedes: Vec::new(),
        };
        let bytes = statement::sign(&statement, authority.keys)?;
        let hash = crate::entry::hash(&bytes);
        verdicts.push(hash);
        let place = Place { epoch_n: batch.epoch.n, branch, seq: first_seq };
        leaves.push(Leaf::Verdicts { index, station, first: place, batch: statement, hash, bytes });
        index = index.saturating_add(1);
        (first, first_seq) = (index, seq.saturating_add(1));
    }
    Ok(verdicts)
}

fn fork_found(
    authority: &Authority<'_>,
    batch: &WaitingBatch,
    index: u64,
    now: Timestamp,
) -> Result<Option<Leaf>, StatementError> {
    let Some(fork) = batch.fork else { return Ok(None) };
    let found = ForkFound {
        v: 1,
        kind: ForkFound::KIND.to_owned(),
        tenant: authority.tenant,
        key: authority.key(),
        station: batch.station,
        epoch_n: batch.epoch.n,
        seq: fork.seq,
        held: fork.held,
        other: fork.other,
        branch: batch.branch,
        time: now,
    };
    let bytes = statement::sign(&found, authority.keys)?;
    let hash = crate::entry::hash(&bytes);
    Ok(Some(Leaf::Statement { index, kind: ForkFound::KIND, station: Some(batch.station), hash, bytes }))
}

/// A leaf that is no operation, without its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Single {
    /// A certificate.
    Certificate {
        /// Which.
        serial: CertificateSerial,
        /// Leaf hash.
        hash: Hash,
    },
    /// A statement.
    Statement {
        /// Its member `kind`.
        kind: &'static str,
        /// The station that it is about.
        station: Option<StationId>,
        /// Framed.
        bytes: Vec<u8>,
    },
}

/// Appends leaves that are no operations, in order. The caller holds the tenant's turn. Returns how the tree
/// stands then.
///
/// # Errors
/// [`LedgerError::Store`].
pub async fn append<S: Store>(store: &mut S, singles: Vec<Single>) -> Result<TreeRow, LedgerError<S::Error>> {
    let mut tree = store.tree().await.map_err(LedgerError::Store)?;
    let first_index = tree.frontier.size();
    let leaves: Vec<Leaf> = (first_index..)
        .zip(singles)
        .map(|(index, single)| match single {
            Single::Certificate { serial, hash } => Leaf::Certificate { index, serial, hash },
            Single::Statement { kind, station, bytes } => {
                let hash = crate::entry::hash(&bytes);
                Leaf::Statement { index, kind, station, hash, bytes }
            }
        })
        .collect();
    grow(store, &mut tree, &leaves, None, first_index, 0).await
}

async fn grow<S: Store>(
    store: &mut S,
    tree: &mut Tree,
    leaves: &[Leaf],
    batch: Option<(StationId, u64)>,
    first_index: u64,
    previous_size: u64,
) -> Result<TreeRow, LedgerError<S::Error>> {
    let mut nodes: Vec<(NodeId, Hash)> = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        tree.frontier.append(leaf.hash(), |id, hash| nodes.push((id, hash)));
    }
    let head = TreeHead { size: tree.frontier.size(), root: tree.frontier.root() };
    let row = TreeRow { generation: tree.generation, head, batch, first_index, previous_size };
    store.append(leaves, &nodes, tree, &row).await.map_err(LedgerError::Store)?;
    Ok(row)
}

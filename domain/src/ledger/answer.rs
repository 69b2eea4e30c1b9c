//! What a push is answered with: verdicts, receipt and proof of what it touched (PROTOCOL §9.14).

use super::ingest::{Ingested, Stretch};
use super::store::{Store, StoredVerdicts, TreeRow};
use super::{Authority, LedgerError, number};
use crate::ids::{Hash, StationId};
use crate::merkle::{self, NodeId, Span};
use crate::protocol::proof::{ConsistencyProof, RangeProof};
use crate::protocol::push::PushHeader;
use crate::statement::Through;
use crate::time::Timestamp;

/// What a reply is made of; the checkpoint over `tree` is signed after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The tree that the proofs are for; `None` where the push touches nothing.
    pub tree: Option<TreeRow>,
    /// Verdict batches of every operation of the push that is held.
    pub verdicts: Vec<StoredVerdicts>,
    /// One for each of them.
    pub ranges: Vec<RangeProof>,
    /// From the sizes that the station may have seen last.
    pub consistency: Vec<ConsistencyProof>,
    /// `log.recovered` statements that the station has not seen.
    pub recovered: Vec<Vec<u8>>,
    /// The receipt through the last entry of the push that is held.
    pub receipt: Option<Vec<u8>>,
}

/// Reads what a push is answered with, once everything of it is numbered. Where the push brought something new
/// the tree is the one that its batch left, so that the trees of consecutive pushes only grow. A receipt is made
/// only where a push ends within what an earlier one had brought: every numbered batch has one for its end.
///
/// # Errors
/// [`LedgerError::Store`], [`LedgerError::Statement`]; [`LedgerError::Stored`] where the batch is not numbered yet.
pub async fn answer<S: Store>(
    store: &mut S,
    authority: &Authority<'_>,
    station: StationId,
    header: &PushHeader,
    ingested: &Ingested,
    now: Timestamp,
) -> Result<Answer, LedgerError<S::Error>> {
    let mut verdicts = Vec::new();
    let mut ends = Vec::new();
    for stretch in &ingested.touched {
        let found = store.verdicts(station, header.epoch.n, *stretch).await.map_err(LedgerError::Store)?;
        ends.resize(verdicts.len().saturating_add(found.len()), stretch.last);
        verdicts.extend(found);
    }
    let receipt = receipt(store, authority, station, header, ingested, now).await?;
    if verdicts.is_empty() {
        return Ok(Answer {
            tree: None,
            verdicts,
            ranges: Vec::new(),
            consistency: Vec::new(),
            recovered: Vec::new(),
            receipt,
        });
    }
    let tree = match &ingested.new {
        Some((batch, _)) => store
            .numbered(station, batch.arrival)
            .await
            .map_err(LedgerError::Store)?
            .ok_or(LedgerError::Stored("the batch is not numbered"))?,
        None => {
            let newest = store.newest().await.map_err(LedgerError::Store)?;
            let previous_size = store.last_answered_size(station).await.map_err(LedgerError::Store)?;
            TreeRow { previous_size, ..newest }
        }
    };
    let size = tree.head.size;
    let mut ranges = Vec::with_capacity(verdicts.len());
    for (batch, last) in verdicts.iter().zip(ends) {
        let end = batch.first_index.saturating_add(batch.count).saturating_add(1);
        let nodes = merkle::range_nodes(Span { first: batch.first_index, end }, size)
            .ok_or(LedgerError::Stored("a verdict batch lies beyond the tree"))?;
        let hashes = store.nodes(&nodes).await.map_err(LedgerError::Store)?;
        let rest = store.nodes(&after(batch, last)).await.map_err(LedgerError::Store)?;
        ranges.push(RangeProof { first_seq: batch.first_seq, hashes, rest });
    }
    let (consistency, recovered) = history(store, header, &tree).await?;
    Ok(Answer { tree: Some(tree), verdicts, ranges, consistency, recovered, receipt })
}

/// The leaves of the batch's operations after seq `last`.
fn after(batch: &StoredVerdicts, last: u64) -> Vec<NodeId> {
    let end = batch.first_index.saturating_add(batch.count);
    let held = last.saturating_add(1).saturating_sub(batch.first_seq);
    let first = batch.first_index.saturating_add(held).min(end);
    (first..end).map(|index| NodeId { level: 0, index }).collect()
}

async fn receipt<S: Store>(
    store: &mut S,
    authority: &Authority<'_>,
    station: StationId,
    header: &PushHeader,
    ingested: &Ingested,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, LedgerError<S::Error>> {
    let Some(last) = ingested.touched.last() else { return Ok(None) };
    let end = Stretch { branch: last.branch, first: last.last, last: last.last };
    let kept = store.receipt(station, header.epoch.n, end).await.map_err(LedgerError::Store)?;
    if kept.is_some() {
        return Ok(kept);
    }
    let through = Through { seq: ingested.through.seq, hash: ingested.through.hash };
    let made =
        number::make_receipt(store, authority, station, header.epoch, last.branch, through, Vec::new(), now);
    made.await.map(Some)
}

/// How the tree follows from what the station saw: in this generation from the sizes that it may hold, after a
/// restore from what was restored.
async fn history<S: Store>(
    store: &mut S,
    header: &PushHeader,
    tree: &TreeRow,
) -> Result<(Vec<ConsistencyProof>, Vec<Vec<u8>>), LedgerError<S::Error>> {
    let mut froms = Vec::new();
    let mut recovered = Vec::new();
    match header.log {
        Some(seen) if seen.generation < tree.generation => {
            // What the station saw may lie before everything that was lost: then it still has to stand.
            froms.push(seen.size);
            recovered = store.recovered(seen.generation).await.map_err(LedgerError::Store)?;
            froms.extend(recovered.iter().filter_map(|bytes| restored_size(bytes)));
        }
        Some(seen) => froms.extend([seen.size, tree.previous_size]),
        None => froms.push(tree.previous_size),
    }
    froms.retain(|from| *from > 0 && *from < tree.head.size);
    froms.sort_unstable();
    froms.dedup();
    let mut proofs = Vec::with_capacity(froms.len());
    for from in froms {
        if let Some(hashes) = consistency(store, from, tree.head.size).await? {
            proofs.push(ConsistencyProof { from, hashes });
        }
    }
    Ok((proofs, recovered))
}

/// The size that a `log.recovered` of our own names.
fn restored_size(bytes: &[u8]) -> Option<u64> {
    let frame = crate::entry::Frame::read(bytes).ok()?;
    let statement: crate::statement::event::LogRecovered = serde_json::from_slice(frame.json()).ok()?;
    Some(statement.restored.size)
}

/// The proof that the log of `size` begins with the log of `from`; `None` where `from` is larger.
///
/// # Errors
/// [`LedgerError::Store`].
pub async fn consistency<S: Store>(
    store: &mut S,
    from: u64,
    size: u64,
) -> Result<Option<Vec<Hash>>, LedgerError<S::Error>> {
    let Some(spans) = merkle::consistency_spans(from, size) else { return Ok(None) };
    let covers: Vec<Vec<NodeId>> = spans.into_iter().map(Span::cover).collect();
    let wanted: Vec<NodeId> = covers.iter().flatten().copied().collect();
    let mut found = store.nodes(&wanted).await.map_err(LedgerError::Store)?.into_iter();
    Ok(Some(
        covers
            .iter()
            .map(|cover| merkle::fold(&found.by_ref().take(cover.len()).collect::<Vec<_>>()))
            .collect(),
    ))
}

//! T1: takes the longest prefix of a push that is continuous, and leaves what is new waiting (PROTOCOL §3, steps
//! 1 and 2).

use super::prefix::Checked;
use super::store::{Evidence, Fork, Held, Store, StoredEntry, WaitingBatch};
use super::{LedgerError, Station};
use crate::chain::Head;
use crate::ids::{Epoch, Hash};
use crate::protocol::push::PushHeader;
use crate::protocol::{StopCode, Stopped};
use crate::time::Timestamp;

/// A station's clock may be this far from the cloud's, in milliseconds, before its operations are flagged.
pub const SKEW_MS: i64 = 300_000;

/// What became of the entries of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// The last entry of the push that is held now, new or known; where none is, what the push comes after.
    pub through: Head,
    /// The branch that it is on.
    pub branch: u64,
    /// The entries of the push that are held now.
    pub touched: Vec<Stretch>,
    /// What was new, as it waits, and its entries.
    pub new: Option<(WaitingBatch, Vec<StoredEntry>)>,
    /// Where the push ended early.
    pub stopped: Option<Stopped>,
}

/// Consecutive entries of one branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The branch.
    pub branch: u64,
    /// First seq.
    pub first: u64,
    /// Last seq.
    pub last: u64,
}

/// Where the walk along a push stands.
struct Walk {
    head: Head,
    branch: u64,
    new: Vec<StoredEntry>,
    fork: Option<Fork>,
    touched: Vec<Stretch>,
}

impl Walk {
    fn touch(&mut self, branch: u64, seq: u64) {
        self.branch = branch;
        match self.touched.last_mut() {
            Some(stretch) if stretch.branch == branch => stretch.last = seq,
            _ => self.touched.push(Stretch { branch, first: seq, last: seq }),
        }
    }
}

/// Takes the longest prefix of a push that is continuous, skipping what is held already. The first entry whose
/// place another one holds begins a new branch, to which the rest of the push belongs; nothing but a wrong
/// station signature or a broken chain ends the prefix. The caller holds the station's turn.
///
/// # Errors
/// [`LedgerError::HeadMismatch`], [`LedgerError::Store`].
pub async fn ingest<S: Store>(
    store: &mut S,
    station: &Station,
    header: &PushHeader,
    checked: Vec<Checked>,
    now: Timestamp,
) -> Result<Ingested, LedgerError<S::Error>> {
    let (epoch, after) = (header.epoch, header.after.seq);
    let branches = store.branches(station.id, epoch.n).await.map_err(LedgerError::Store)?;
    let count = u64::try_from(checked.len()).unwrap_or(u64::MAX);
    let held = store
        .held(station.id, epoch.n, after, after.saturating_add(count))
        .await
        .map_err(LedgerError::Store)?;
    let mut walk = begin::<S::Error>(station, header, &held)?;
    let mut stopped = None;
    for (place, entry) in (after.saturating_add(1)..).zip(checked) {
        if let Err(code) = step(&mut walk, station, header, &held, &branches, entry) {
            stopped = Some(Stopped { seq: place, code });
            break;
        }
    }
    let mut new = None;
    if let (Some(first), Some(last)) = (walk.new.first(), walk.new.last()) {
        let skew = now.ms_since(header.clock.wall);
        let mut batch = WaitingBatch {
            arrival: 0,
            station: station.id,
            epoch,
            branch: walk.branch,
            first: first.seq,
            last: last.seq,
            skewed: !(-SKEW_MS..=SKEW_MS).contains(&skew),
            fork: walk.fork,
        };
        batch.arrival = store.keep(&batch, &walk.new).await.map_err(LedgerError::Store)?;
        new = Some((batch, walk.new));
    }
    Ok(Ingested { through: walk.head, branch: walk.branch, touched: walk.touched, new, stopped })
}

/// The point that the first entry of the push must follow.
fn begin<E>(station: &Station, header: &PushHeader, held: &[Held]) -> Result<Walk, LedgerError<E>> {
    let after = header.after;
    let walk = |head, branch| Walk { head, branch, new: Vec::new(), fork: None, touched: Vec::new() };
    if after.seq == 0 {
        return if station.has_certificate(after.hash) {
            Ok(walk(Head::genesis(after.hash), 0))
        } else {
            Err(LedgerError::HeadMismatch)
        };
    }
    let point = held
        .iter()
        .find(|held| held.seq == after.seq && held.hash == after.hash && held.epoch == header.epoch.id)
        .ok_or(LedgerError::HeadMismatch)?;
    Ok(walk(Head { epoch: Some(header.epoch), seq: after.seq, hash: after.hash }, point.branch))
}

fn step(
    walk: &mut Walk,
    station: &Station,
    header: &PushHeader,
    held: &[Held],
    branches: &[super::Branch],
    entry: Checked,
) -> Result<(), StopCode> {
    let entry = of_epoch(header.epoch, entry?)?;
    let certificate = station.certificate_of(entry.entry.header.key).ok_or(StopCode::BrokenChain)?;
    walk.head =
        walk.head.follow(certificate, &entry.entry.header, entry.hash).map_err(|_| StopCode::BrokenChain)?;
    let at_place = held.iter().filter(|held| held.seq == entry.seq);
    if let Some(known) = at_place.clone().find(|held| held.hash == entry.hash) {
        walk.touch(known.branch, entry.seq);
        return Ok(());
    }
    if walk.new.is_empty() && !is_end(walk, branches, entry.seq) {
        let holder = at_place.min_by_key(|held| held.branch).map_or(Hash::ZERO, |held| held.hash);
        walk.fork = Some(Fork { seq: entry.seq, held: holder, other: entry.hash });
        walk.branch =
            branches.iter().map(|branch| branch.number).max().map_or(0, |most| most.saturating_add(1));
    }
    walk.touch(walk.branch, entry.seq);
    walk.new.push(entry);
    Ok(())
}

/// Whether an entry at `seq` continues the branch that the walk is on, rather than leaving it.
fn is_end(walk: &Walk, branches: &[super::Branch], seq: u64) -> bool {
    match branches.iter().find(|branch| branch.number == walk.branch) {
        Some(branch) => branch.head.seq.saturating_add(1) == seq,
        None => true,
    }
}

/// One epoch a batch (PROTOCOL §9.13).
fn of_epoch(epoch: Epoch, entry: StoredEntry) -> Checked {
    if entry.epoch == epoch { Ok(entry) } else { Err(StopCode::BrokenChain) }
}

/// What is kept of an entry that ended a push.
#[must_use]
pub fn evidence(bytes: &[u8], code: StopCode) -> Evidence {
    Evidence { bytes: bytes.to_vec(), hash: crate::entry::hash(bytes), code }
}

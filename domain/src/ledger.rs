//! The cloud's rules as pure functions over a small store (PROTOCOL §3).
//!
//! The flow of a push: [`prefix::check`] looks at each entry alone (this is what may run in parallel),
//! [`ingest`] takes the longest continuous prefix, [`apply`] numbers what is new and signs the verdict
//! batch, [`receipt`] signs how far the cloud holds the chain. The store is Postgres in the cloud and
//! [`memory::MemoryStore`] in simulations; the same scripts run through both
//! (`tests/tests/ledger_stores.rs`).

pub mod memory;
pub mod prefix;
pub mod verdict;

use crate::chain::Head;
use crate::entry::Frame;
use crate::ids::{Epoch, Hash, KeyId, OperationId, PublicKey, SiteId, StationId, TenantId};
use crate::operation::ReadEntry;
use crate::protocol::push::PushHeader;
use crate::protocol::{StopCode, Stopped};
use crate::signature::KeyPair;
use crate::statement::{
    self, Receipt, Statement as _, StatementError, Through, VerdictBatch, VerdictCode, VerdictException,
};
use crate::time::Timestamp;
use prefix::Checked;
use std::collections::BTreeSet;
use std::future::Future;

/// What the rules need to know of a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Whose.
    pub tenant: TenantId,
    /// Where.
    pub site: SiteId,
    /// Which.
    pub id: StationId,
    /// Its certified key.
    pub key: PublicKey,
    /// Hash of its certificate: what every epoch starts from.
    pub certificate: Hash,
    /// Certified for training.
    pub training: bool,
}

/// The key that signs verdicts and receipts, and whose it is.
#[derive(Debug)]
pub struct Authority<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// Its statement key.
    pub keys: &'a KeyPair,
}

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

/// A leaf of the tenant's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// An operation, with what was made of it.
    Operation {
        /// Log index.
        index: u64,
        /// The entry.
        entry: StoredEntry,
        /// What was not simply accepted.
        exception: Option<VerdictException>,
    },
    /// The verdicts of the operations directly before it.
    Verdicts {
        /// Log index.
        index: u64,
        /// What they say.
        batch: VerdictBatch,
        /// Leaf hash.
        hash: Hash,
        /// Framed statement.
        bytes: Vec<u8>,
    },
}

/// An entry kept as evidence: validly signed, but for a place that another entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The entry.
    pub entry: StoredEntry,
    /// Why it was not taken.
    pub code: StopCode,
}

/// What the rules keep. Every method works within the caller's one transaction for one tenant.
pub trait Store: Send {
    /// Why the store failed.
    type Error: Send;

    /// Head of the station's chain within the epoch numbered `n`.
    fn epoch_head(
        &mut self,
        station: StationId,
        n: u64,
    ) -> impl Future<Output = Result<Option<Head>, Self::Error>> + Send;

    /// Head of the station's latest epoch, which `GET /v1/head` tells.
    fn head(&mut self, station: StationId) -> impl Future<Output = Result<Option<Head>, Self::Error>> + Send;

    /// Hashes of the entries held from seq `first` to `last` of `epoch`, ascending; none if `last` is less.
    fn held(
        &mut self,
        station: StationId,
        epoch: Epoch,
        first: u64,
        last: u64,
    ) -> impl Future<Output = Result<Vec<(u64, Hash)>, Self::Error>> + Send;

    /// Keeps entries; they are not numbered yet.
    fn keep(
        &mut self,
        station: StationId,
        entries: &[StoredEntry],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Keeps evidence; the same entry twice is kept once.
    fn keep_evidence(
        &mut self,
        station: StationId,
        evidence: &[Evidence],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

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

    /// The next free log index of the tenant; the caller holds the tenant's turn.
    fn next_index(&mut self) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Appends leaves, with the projections that come from them.
    fn append_leaves(
        &mut self,
        station: StationId,
        leaves: &[Leaf],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Framed verdict batches that cover any of the seqs from `first` to `last` of `epoch`.
    fn verdicts(
        &mut self,
        station: StationId,
        epoch: Epoch,
        first: u64,
        last: u64,
    ) -> impl Future<Output = Result<Vec<Vec<u8>>, Self::Error>> + Send;

    /// Leaf hash and bytes of the station's last receipt.
    fn last_receipt(
        &mut self,
        station: StationId,
    ) -> impl Future<Output = Result<Option<(Hash, Vec<u8>)>, Self::Error>> + Send;

    /// Keeps a receipt.
    fn keep_receipt(
        &mut self,
        station: StationId,
        receipt: &Receipt,
        hash: Hash,
        bytes: &[u8],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Why a push could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError<E> {
    /// The cloud does not hold what the batch comes after: 409 with the cloud's head.
    #[error("batch comes after an entry that is not held")]
    HeadMismatch,
    /// The store failed.
    #[error("store failed")]
    Store(#[source] E),
    /// A statement could not be signed.
    #[error("statement could not be signed")]
    Statement(#[from] StatementError),
}

/// What became of the entries of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// How far the epoch is held now.
    pub through: Head,
    /// What was new.
    pub new: Vec<StoredEntry>,
    /// Where the push ended early.
    pub stopped: Option<Stopped>,
}

/// Takes the longest prefix of a push that is continuous, skipping what is held already; a second hash
/// at a place is kept as evidence and ends the push.
///
/// # Errors
/// [`LedgerError::HeadMismatch`], [`LedgerError::Store`].
pub async fn ingest<S: Store>(
    store: &mut S,
    station: &Station,
    header: &PushHeader,
    checked: Vec<Checked>,
) -> Result<Ingested, LedgerError<S::Error>> {
    let held_head = store.epoch_head(station.id, header.epoch.n).await.map_err(LedgerError::Store)?;
    let mut head = begin(store, station, header, held_head).await?;
    let first = header.after.seq.saturating_add(1);
    let last = header.after.seq.saturating_add(checked.len().try_into().unwrap_or(u64::MAX));
    let held = store.held(station.id, header.epoch, first, last).await.map_err(LedgerError::Store)?;
    let mut held = held.into_iter().peekable();
    let mut ingested = Ingested { through: held_head.unwrap_or(head), new: Vec::new(), stopped: None };
    let mut evidence = Vec::new();
    for (expected, entry) in (first..=last).zip(checked) {
        let here = held.next_if(|(seq, _)| *seq == expected).map(|(_, hash)| hash);
        let entry = match entry.and_then(|entry| of_epoch(header.epoch, entry)) {
            Ok(entry) => entry,
            Err(code) => {
                ingested.stopped = Some(Stopped { seq: expected, code });
                break;
            }
        };
        let next = head.follow(station.certificate, &entry.entry.header, entry.hash);
        let code = match (next, here) {
            _ if other_branch(&entry, expected, here, held_head) => StopCode::Forked,
            (Err(_), _) => StopCode::BrokenChain,
            (Ok(next), here) => {
                head = next;
                if here.is_none() {
                    ingested.new.push(entry);
                }
                continue;
            }
        };
        ingested.stopped = Some(Stopped { seq: expected, code });
        if code == StopCode::Forked {
            evidence.push(Evidence { entry, code });
        }
        break;
    }
    if let Some(last) = ingested.new.last() {
        ingested.through = Head { epoch: Some(last.epoch), seq: last.seq, hash: last.hash };
        store.keep(station.id, &ingested.new).await.map_err(LedgerError::Store)?;
    }
    if !evidence.is_empty() {
        store.keep_evidence(station.id, &evidence).await.map_err(LedgerError::Store)?;
    }
    Ok(ingested)
}

/// The head that the first entry of the push must follow.
async fn begin<S: Store>(
    store: &mut S,
    station: &Station,
    header: &PushHeader,
    held_head: Option<Head>,
) -> Result<Head, LedgerError<S::Error>> {
    let after = header.after;
    if after.seq == 0 {
        return if after.hash == station.certificate {
            Ok(Head::genesis(station.certificate))
        } else {
            Err(LedgerError::HeadMismatch)
        };
    }
    if held_head.and_then(|head| head.epoch) != Some(header.epoch) {
        return Err(LedgerError::HeadMismatch);
    }
    let held =
        store.held(station.id, header.epoch, after.seq, after.seq).await.map_err(LedgerError::Store)?;
    match held.as_slice() {
        [(_, hash)] if *hash == after.hash => {
            Ok(Head { epoch: Some(header.epoch), seq: after.seq, hash: after.hash })
        }
        _ => Err(LedgerError::HeadMismatch),
    }
}

/// One epoch a batch (PROTOCOL §9.13).
fn of_epoch(epoch: Epoch, entry: StoredEntry) -> Checked {
    if entry.epoch == epoch { Ok(entry) } else { Err(StopCode::BrokenChain) }
}

/// Whether another entry holds the place of `entry`: another hash at its seq, or another epoch of the same count.
fn other_branch(entry: &StoredEntry, expected: u64, here: Option<Hash>, held_head: Option<Head>) -> bool {
    let place_held = entry.seq == expected && here.is_some_and(|hash| hash != entry.hash);
    let other_epoch = held_head.is_some_and(|head| head.epoch != Some(entry.epoch));
    place_held || other_epoch
}

/// The most exceptions of one verdict batch: with every code they fit a frame of 32 KiB.
const MAX_EXCEPTIONS: usize = 256;

/// What numbering gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Log index of the first operation.
    pub first_index: u64,
    /// Leaf hashes of the verdict batches, in order of index: one, or more where one would not fit a frame.
    pub verdicts: Vec<Hash>,
    /// The epoch that the operations are of.
    pub epoch: Epoch,
    /// The last of them: the head of that epoch now.
    pub through: Through,
}

/// Numbers `new` with consecutive log indexes, judges each operation, and signs the verdict batch that is the
/// leaf directly after them. After 256 exceptions a batch ends and the next one begins. Nothing
/// to do gives `None`.
///
/// # Errors
/// [`LedgerError::Store`], [`LedgerError::Statement`].
pub async fn apply<S: Store>(
    store: &mut S,
    authority: &Authority<'_>,
    station: &Station,
    new: Vec<StoredEntry>,
) -> Result<Option<Applied>, LedgerError<S::Error>> {
    let Some(end) = new.last() else { return Ok(None) };
    let (epoch, through) = (end.epoch, Through { seq: end.seq, hash: end.hash });
    let ids: Vec<OperationId> = new.iter().filter_map(|e| e.entry.content.id()).collect();
    let mut taken = store.ids_taken(&ids).await.map_err(LedgerError::Store)?;
    let lots = verdict::lots_claimed(&new);
    let blocked = store.lots_blocked(station.site, &lots).await.map_err(LedgerError::Store)?;
    let first_index = store.next_index().await.map_err(LedgerError::Store)?;
    let mut verdicts = Vec::with_capacity(1);
    let mut judged = Vec::with_capacity(new.len());
    let mut first = first_index;
    let mut exceptions = 0;
    let mut new = new.into_iter().peekable();
    while let Some(entry) = new.next() {
        let reused = entry.entry.content.id().is_some_and(|id| !taken.insert(id));
        let code = verdict::judge(&entry.entry.content, station, reused, &blocked);
        exceptions += usize::from(code.is_some());
        judged.push((entry, code));
        if exceptions == MAX_EXCEPTIONS || new.peek().is_none() {
            let (leaves, hash) = number(authority, first, std::mem::take(&mut judged))?;
            first = first.saturating_add(leaves.len().try_into().unwrap_or(u64::MAX));
            store.append_leaves(station.id, &leaves).await.map_err(LedgerError::Store)?;
            verdicts.push(hash);
            exceptions = 0;
        }
    }
    Ok(Some(Applied { first_index, verdicts, epoch, through }))
}

/// The leaves from log index `first`: the operations and the batch of their verdicts, whose hash comes with them.
fn number(
    authority: &Authority<'_>,
    first: u64,
    judged: Vec<(StoredEntry, Option<VerdictCode>)>,
) -> Result<(Vec<Leaf>, Hash), StatementError> {
    let mut leaves = Vec::with_capacity(judged.len() + 1);
    let mut exceptions = Vec::new();
    let mut index = first;
    for (entry, code) in judged {
        let exception = code.map(|code| VerdictException {
            index,
            verdict: code.verdict(),
            code: code.as_str().to_owned(),
        });
        exceptions.extend(exception.clone());
        leaves.push(Leaf::Operation { index, entry, exception });
        index = index.saturating_add(1);
    }
    let batch = VerdictBatch {
        v: 1,
        kind: VerdictBatch::KIND.to_owned(),
        tenant: authority.tenant,
        key: authority.key(),
        first,
        count: index.saturating_sub(first),
        exceptions,
        supersedes: Vec::new(),
    };
    let bytes = statement::sign(&batch, authority.keys)?;
    let hash = crate::entry::hash(&bytes);
    leaves.push(Leaf::Verdicts { index, batch, hash, bytes });
    Ok((leaves, hash))
}

/// The receipt for what the cloud holds of the epoch that was pushed, `through` its head: the station's last
/// one again if that says so already, else a new one. `None` before the first entry.
///
/// # Errors
/// [`LedgerError::Store`], [`LedgerError::Statement`].
pub async fn receipt<S: Store>(
    store: &mut S,
    authority: &Authority<'_>,
    station: &Station,
    through: &Head,
    applied: Option<&Applied>,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, LedgerError<S::Error>> {
    let last = store.last_receipt(station.id).await.map_err(LedgerError::Store)?;
    let Head { epoch: Some(epoch), seq, hash } = *through else { return Ok(None) };
    let through = Through { seq, hash };
    if let Some((_, bytes)) = last.as_ref().filter(|(_, bytes)| says(bytes, epoch, through)) {
        return Ok(Some(bytes.clone()));
    }
    let receipt = Receipt {
        v: 1,
        kind: Receipt::KIND.to_owned(),
        tenant: authority.tenant,
        key: authority.key(),
        station: station.id,
        epoch,
        through,
        verdicts: applied.map(|applied| applied.verdicts.clone()).unwrap_or_default(),
        previous: last.map_or(Hash::ZERO, |(hash, _)| hash),
        time: now,
    };
    let bytes = statement::sign(&receipt, authority.keys)?;
    store
        .keep_receipt(station.id, &receipt, crate::entry::hash(&bytes), &bytes)
        .await
        .map_err(LedgerError::Store)?;
    Ok(Some(bytes))
}

/// Whether a receipt of our own goes through to this point. Its signature was made here.
fn says(receipt: &[u8], epoch: Epoch, through: Through) -> bool {
    Frame::read(receipt)
        .ok()
        .and_then(|frame| serde_json::from_slice::<Receipt>(frame.json()).ok())
        .is_some_and(|receipt| receipt.epoch == epoch && receipt.through == through)
}

impl Authority<'_> {
    fn key(&self) -> KeyId {
        self.keys.public().key_id()
    }
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
}

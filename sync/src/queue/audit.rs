//! The full check of a queue: every entry on every core, then what the cloud signed for them (`queue verify`).

use super::blob;
use super::check::{self, Checker, Keyring};
use super::error::{Fault, FaultCode, OpenError, QueueError, StorageError};
use super::file::QueueFile;
use super::identity::Identity;
use super::log::{self, Following, LogKnown, LogMark, ProvenVerdicts};
use super::rows::{self, EpochRow};
use super::standing::Standing;
use super::view::{QueueView, Verification};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::Hash;
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::protocol::proof::ConsistencyProof;
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{self, Receipt, Statement, VerdictBatch};
use rusqlite::{Connection, Row};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

/// Entries that one thread takes at once; short reads let a running writer fold its log in.
const CHUNK: u64 = 1_000;
/// Proofs that one thread takes at once.
const PROOFS: u64 = 16;
/// Blobs that one thread takes at once.
const BLOBS: u64 = 64;
/// More threads than this bring nothing: the disk is one.
const MOST_THREADS: usize = 16;

/// See [`QueueView::verify`].
pub(super) fn verify(view: &QueueView, mut progress: impl FnMut(u64)) -> Result<Verification, QueueError> {
    let mut found = Verification {
        entries: 0,
        epochs: 0,
        settled: 0,
        checkpoints: 0,
        proofs: 0,
        contradictions: log::contradictions(&view.connection).map_err(StorageError::from)?,
        first_fault: None,
    };
    let damaged = |error: QueueError| match error {
        QueueError::Open(error) => match &*error {
            OpenError::Damaged(fault) => Ok(*fault),
            _ => Err(QueueError::Open(error)),
        },
        error => Err(error),
    };
    let standing = match view.standing() {
        Ok(standing) => standing,
        Err(error) => {
            found.first_fault = Some(damaged(error)?);
            return Ok(found);
        }
    };
    let pool = Pool { file: &view.file, in_order: view.places.storage.in_order() };
    let audit = Audit { identity: &view.identity, keyring: Keyring::of(&view.identity), standing: &standing };
    let start = match check::start(&view.connection, &view.identity, &standing.epochs) {
        Ok(start) => start,
        Err(error) => {
            found.first_fault = Some(damaged(QueueError::Open(Arc::new(error)))?);
            return Ok(found);
        }
    };
    found.epochs = u64::try_from(standing.epochs.len()).unwrap_or(u64::MAX);
    found.settled = standing.position.saturating_sub(standing.queued()).saturating_sub(start.0);
    let entries = standing.position.saturating_sub(start.0);
    let chunk = |connection: &Connection, job| audit.check_chunk(connection, start, job);
    let looked_at = |jobs: u64| progress(jobs.saturating_mul(CHUNK).min(entries));
    found.first_fault = pool.run(entries.div_ceil(CHUNK), chunk, looked_at)?;
    let sound = found.first_fault.map_or(standing.position, |fault| fault.position.saturating_sub(1));
    found.entries = sound.saturating_sub(start.0).min(entries);
    if found.first_fault.is_none() {
        found.first_fault = audit.check_signed(&view.connection, &pool, &mut found)?;
    }
    Ok(found)
}

/// Threads with connections of their own.
struct Pool<'a> {
    file: &'a QueueFile,
    /// The disk wants its reads in order, one after the other.
    in_order: bool,
}

type Done = Result<(u64, Option<Fault>), QueueError>;

impl Pool<'_> {
    /// Does jobs 0, 1, … `jobs` − 1, each on any thread; gives the fault of the first job that has one. `done` is
    /// told how many are done.
    fn run(
        &self,
        jobs: u64,
        work: impl Fn(&Connection, u64) -> Result<Option<Fault>, QueueError> + Sync,
        mut done: impl FnMut(u64),
    ) -> Result<Option<Fault>, QueueError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = usize::try_from(jobs).unwrap_or(usize::MAX);
        let threads = if self.in_order { wanted.min(1) } else { cores.min(MOST_THREADS).min(wanted) };
        let (next, end) = (AtomicU64::new(0), AtomicU64::new(jobs));
        let (sender, results) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let sender = sender.clone();
                scope.spawn(|| self.work(&next, &end, &work, sender));
            }
            drop(sender);
            let (mut first, mut count): (Option<(u64, Fault)>, u64) = (None, 0);
            for result in results {
                let (job, fault) = result?;
                count = count.saturating_add(1);
                done(count);
                if let Some(fault) = fault.filter(|_| first.is_none_or(|(earlier, _)| job < earlier)) {
                    first = Some((job, fault));
                }
            }
            Ok(first.map(|(_, fault)| fault))
        })
    }

    /// One thread: takes the next job until there is none, or one found a fault.
    fn work(
        &self,
        next: &AtomicU64,
        end: &AtomicU64,
        work: impl Fn(&Connection, u64) -> Result<Option<Fault>, QueueError>,
        sender: mpsc::Sender<Done>,
    ) {
        let connection = match self.file.open_to_read() {
            Ok(connection) => connection,
            Err(error) => return drop(sender.send(Err(QueueError::Open(Arc::new(error))))),
        };
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= end.load(Ordering::Relaxed) {
                return;
            }
            let result = work(&connection, job).map(|fault| (job, fault));
            if !matches!(result, Ok((_, None))) {
                // What comes later is of no interest; what came before is still being looked at.
                end.fetch_min(job, Ordering::Relaxed);
            }
            if sender.send(result).is_err() {
                return;
            }
        }
    }
}

struct Audit<'a> {
    identity: &'a Identity,
    keyring: Keyring,
    standing: &'a Standing,
}

impl Audit<'_> {
    /// Checks one chunk of entries. It takes the entry before it by its columns: whether those are right is found
    /// by the chunk before.
    fn check_chunk(
        &self,
        connection: &Connection,
        start: (u64, Head),
        job: u64,
    ) -> Result<Option<Fault>, QueueError> {
        let before = start.0.saturating_add(job.saturating_mul(CHUNK));
        let mut limit = self.standing.position.saturating_sub(before).min(CHUNK);
        let last = before.saturating_add(limit) == self.standing.position;
        let snapshot = connection.unchecked_transaction().map_err(StorageError::from)?;
        let head =
            if job == 0 { Some(start.1) } else { check::head_at(&snapshot, &self.standing.epochs, before)? };
        let Some(head) = head else { return Ok(self.missing(&snapshot, before)?) };
        let mut checker = Checker::after(self.identity, &self.keyring, &self.standing.epochs, (before, head));
        let mut found = None;
        rows::operations_after(&snapshot, before, limit, |row| {
            found = checker.check(&row).err().map(|code| check::fault(&row, code));
            limit = limit.saturating_sub(1);
            Ok::<_, rusqlite::Error>(found.is_none())
        })
        .map_err(StorageError::from)?;
        if found.is_some_and(|fault| fault.code != FaultCode::Missing) {
            return Ok(found);
        }
        if found.is_some() || limit > 0 {
            return Ok(self.missing(&snapshot, checker.position().saturating_add(1))?);
        }
        let elsewhere = last && checker.head() != self.standing.head;
        Ok(elsewhere.then(|| file_fault(self.standing.position, FaultCode::BrokenChain)))
    }

    /// The entry at `position` is not there: a fault, unless it was pruned while we looked.
    fn missing(&self, connection: &Connection, position: u64) -> Result<Option<Fault>, StorageError> {
        let base = rows::base(connection)?.map_or(0, |(base, _)| base);
        Ok((base < position).then(|| file_fault(position, FaultCode::Missing)))
    }

    /// Checks what the cloud signed, and the file.
    fn check_signed(
        &self,
        connection: &Connection,
        pool: &Pool<'_>,
        found: &mut Verification,
    ) -> Result<Option<Fault>, QueueError> {
        let snapshot = connection.unchecked_transaction().map_err(StorageError::from)?;
        if let Some(fault) = self.check_receipts(&snapshot)? {
            return Ok(Some(fault));
        }
        if let Some(fault) = self.check_checkpoints(&snapshot, &mut found.checkpoints)? {
            return Ok(Some(fault));
        }
        if let Some(fault) = self.check_cover(&snapshot)? {
            return Ok(Some(fault));
        }
        found.proofs = count(&snapshot, "SELECT coalesce(max(rowid), 0) FROM range_proof")?;
        drop(snapshot);
        let proofs = |connection: &Connection, job| self.check_proofs(connection, job);
        let fault = pool.run(found.proofs.div_ceil(PROOFS), proofs, |_| {})?;
        if fault.is_some() {
            return Ok(fault);
        }
        let blobs = count(connection, "SELECT coalesce(max(rowid), 0) FROM blob")?;
        let whole = |connection: &Connection, job: u64| {
            let first = job.saturating_mul(BLOBS).saturating_add(1);
            let last = first.saturating_add(BLOBS).saturating_sub(1);
            let whole = blob::are_whole(connection, (first, last)).map_err(StorageError::from)?;
            Ok((!whole).then(|| file_fault(0, FaultCode::Blob)))
        };
        let fault = pool.run(blobs.div_ceil(BLOBS), whole, |_| {})?;
        if fault.is_some() {
            return Ok(fault);
        }
        let answer: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(StorageError::from)?;
        Ok((answer != "ok").then(|| file_fault(0, FaultCode::File)))
    }

    fn read<T: Statement>(&self, bytes: &[u8]) -> Option<statement::Signed<T>> {
        let trust = &self.identity.trust;
        statement::read(bytes, trust.tenant, &trust.statement).ok()
    }

    /// Each kept receipt is signed by the tenant for this station, and for an entry that is or was here.
    fn check_receipts(&self, connection: &Connection) -> Result<Option<Fault>, StorageError> {
        let mut statement =
            connection.prepare("SELECT statement, epoch_n, seq FROM receipt ORDER BY number")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (bytes, epoch, seq): (Vec<u8>, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let fault = Fault { position: 0, epoch, seq, code: FaultCode::Receipt };
            let Some(receipt) = self.read::<Receipt>(&bytes) else { return Ok(Some(fault)) };
            let receipt = receipt.value;
            let (seq_told, hash) = (receipt.through.seq, receipt.through.hash);
            let point = Head { epoch: Some(receipt.epoch), seq: seq_told, hash };
            let epochs = &self.standing.epochs;
            let held = check::position_of(connection, self.identity, epochs, &point)?.is_some()
                || check::was_pruned(connection, epochs, &point)?;
            if !held || receipt.station != self.identity.station || seq_told != seq {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }

    /// Each kept checkpoint is signed by the log key and follows the one before, over every restore that the
    /// root key signed.
    fn check_checkpoints(
        &self,
        connection: &Connection,
        counted: &mut u64,
    ) -> Result<Option<Fault>, StorageError> {
        let Some(restores) = self.restores(connection)? else {
            return Ok(Some(file_fault(0, FaultCode::Checkpoint)));
        };
        let mut restores = restores.into_iter().peekable();
        let mut known = LogKnown::default();
        let mut statement = connection
            .prepare("SELECT generation, size, root, note, proofs FROM checkpoint ORDER BY number")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let mark = mark(row)?;
            while let Some(restore) = restores.next_if(|restore| restore.generation <= mark.generation) {
                if restore.generation > known.generation {
                    if !known.is_next_restore(&restore) {
                        return Ok(Some(file_fault(0, FaultCode::Checkpoint)));
                    }
                    known = known.after_restore(&restore);
                }
            }
            let (note, proofs): (String, String) = (row.get(3)?, row.get(4)?);
            if !self.follows(known, mark, &note, &proofs) {
                return Ok(Some(file_fault(0, FaultCode::Checkpoint)));
            }
            known = known.after(mark);
            *counted = counted.saturating_add(1);
        }
        Ok(None)
    }

    fn follows(&self, known: LogKnown, mark: LogMark, note: &str, proofs: &str) -> bool {
        let trust = &self.identity.trust;
        let read = Checkpoint::read(note, trust.tenant, &trust.log);
        let same = read.is_ok_and(|checkpoint| LogMark::from(&checkpoint) == mark);
        let proofs: Result<Vec<ConsistencyProof>, _> = serde_json::from_str(proofs);
        same && proofs.is_ok_and(|proofs| known.follow(None, mark, &proofs) == Ok(Following::Grew))
    }

    /// The accepted restores, each verified; `None` if one is not.
    fn restores(&self, connection: &Connection) -> Result<Option<Vec<LogRecovered>>, StorageError> {
        let trust = &self.identity.trust;
        let mut statement =
            connection.prepare("SELECT generation, statement FROM log_recovered ORDER BY generation")?;
        let mut found = statement.query([])?;
        let mut restores = Vec::new();
        while let Some(row) = found.next()? {
            let (generation, bytes): (u64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let read = statement::read::<LogRecovered>(&bytes, trust.tenant, &trust.root);
            match read {
                Ok(signed) if signed.value.generation == generation => restores.push(signed.value),
                _ => return Ok(None),
            }
        }
        Ok(Some(restores))
    }

    /// Everything that is settled lies in a range that has a proof.
    fn check_cover(&self, connection: &Connection) -> Result<Option<Fault>, StorageError> {
        let mut statement = connection.prepare(
            "SELECT first_seq, count FROM range_proof WHERE epoch_n = ?1 ORDER BY first_seq, count",
        )?;
        for row in &self.standing.epochs {
            let mut proven = 0_u64;
            let mut found = statement.query([row.epoch.n])?;
            while let Some(range) = found.next()? {
                let (first, count): (u64, u64) = (range.get(0)?, range.get(1)?);
                if first > proven.saturating_add(1) {
                    break;
                }
                proven = proven.max(first.saturating_add(count).saturating_sub(1));
            }
            if proven < row.settled_through {
                let seq = proven.saturating_add(1);
                let position = row.position(seq).unwrap_or(0);
                return Ok(Some(Fault { position, epoch: row.epoch.n, seq, code: FaultCode::Unproven }));
            }
        }
        Ok(None)
    }

    /// Checks some of the proofs, each under the checkpoint that it came with, against the own entries.
    fn check_proofs(&self, connection: &Connection, job: u64) -> Result<Option<Fault>, QueueError> {
        let first = job.saturating_mul(PROOFS).saturating_add(1);
        let last = first.saturating_add(PROOFS).saturating_sub(1);
        let proofs = proofs(connection, first, last).map_err(StorageError::from)?;
        for proof in proofs {
            if !self.proven(connection, &proof).map_err(StorageError::from)? {
                let (epoch, seq) = (proof.epoch_n, proof.first_seq);
                let row = self.standing.epochs.iter().find(|row| row.epoch.n == epoch);
                let position = row.and_then(|row| row.position(seq)).unwrap_or(0);
                return Ok(Some(Fault { position, epoch, seq, code: FaultCode::LogProof }));
            }
        }
        Ok(None)
    }

    fn proven(&self, connection: &Connection, proof: &ProofRow) -> rusqlite::Result<bool> {
        let (Some(batch), Some(row)) =
            (self.read::<VerdictBatch>(&proof.statement), self.epoch(proof.epoch_n))
        else {
            return Ok(false);
        };
        let (Some(hashes), Some(rest)) = (hashes(&proof.hashes), hashes(&proof.rest)) else {
            return Ok(false);
        };
        let proven = ProvenVerdicts { batch, first_seq: proof.first_seq, hashes, rest };
        let same = proven.batch.hash == proof.verdict && proven.own_count() == proof.count;
        if !same || proof.mark.generation != proof.generation {
            return Ok(false);
        }
        let own = log::own_hashes(connection, row, proof.first_seq, proof.count)?;
        let Some(entries) = own.slice(proof.first_seq, proof.count) else {
            // The beginning was pruned, and only what is proven ever is.
            return Ok(
                proven.first_seq < own.first_seq || self.is_pruned(connection, row, proven.last_seq())?
            );
        };
        Ok(proven.stands(proof.mark.head, entries))
    }

    fn is_pruned(&self, connection: &Connection, row: &EpochRow, seq: u64) -> rusqlite::Result<bool> {
        let base = rows::base(connection)?;
        Ok(row.position(seq).zip(base).is_some_and(|(position, (base, _))| position <= base))
    }

    fn epoch(&self, n: u64) -> Option<&EpochRow> {
        self.standing.epochs.iter().find(|row| row.epoch.n == n)
    }
}

/// A range proof with what it is of and under.
struct ProofRow {
    verdict: Hash,
    generation: u64,
    epoch_n: u64,
    first_seq: u64,
    count: u64,
    hashes: Vec<u8>,
    rest: Vec<u8>,
    statement: Vec<u8>,
    mark: LogMark,
}

fn proofs(connection: &Connection, first: u64, last: u64) -> rusqlite::Result<Vec<ProofRow>> {
    connection
        .prepare_cached(
            "SELECT checkpoint.generation, size, root, verdict_hash, range_proof.generation, \
                    range_proof.epoch_n, range_proof.first_seq, range_proof.count, hashes, rest, statement \
             FROM range_proof JOIN checkpoint ON number = checkpoint JOIN verdict ON hash = verdict_hash \
             WHERE range_proof.rowid BETWEEN ?1 AND ?2 ORDER BY range_proof.rowid",
        )?
        .query_map([first, last], |row| {
            Ok(ProofRow {
                mark: mark(row)?,
                verdict: Hash(row.get(3)?),
                generation: row.get(4)?,
                epoch_n: row.get(5)?,
                first_seq: row.get(6)?,
                count: row.get(7)?,
                hashes: row.get(8)?,
                rest: row.get(9)?,
                statement: row.get(10)?,
            })
        })?
        .collect()
}

/// Generation, size and root from the first three columns.
fn mark(row: &Row<'_>) -> rusqlite::Result<LogMark> {
    let head = TreeHead { size: row.get(1)?, root: Hash(row.get(2)?) };
    Ok(LogMark { generation: row.get(0)?, head })
}

fn hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    bytes.chunks(32).map(|chunk| Hash::from_slice(chunk).ok()).collect()
}

fn count(connection: &Connection, sql: &str) -> Result<u64, StorageError> {
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn file_fault(position: u64, code: FaultCode) -> Fault {
    Fault { position, epoch: 0, seq: 0, code }
}

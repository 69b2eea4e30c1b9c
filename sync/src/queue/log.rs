//! What the station knows of the tenant's log: the last verified checkpoint, what may follow it, and what is
//! kept of all that (PROTOCOL §4).

use super::error::QueueError;
use super::rows::EpochRow;
use super::writer::Writer;
use super::{Draft, QueueAlarm, set_aside};
use lotgate_domain::ids::Hash;
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::{TreeHead, verify_consistency, verify_range};
use lotgate_domain::protocol::proof::ConsistencyProof;
use lotgate_domain::protocol::push::LogSeen;
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{Signed, VerdictBatch};
use rusqlite::{Connection, OptionalExtension as _, named_params};

/// After this many contradictions they are only counted: a cloud that goes on contradicting itself must not
/// fill the disk that operations need.
const MOST_CONTRADICTIONS: u64 = 1_000;
/// More of one side of a contradiction than this is kept by its hash alone.
const MOST_TOLD: usize = 262_144;

/// A verified checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogMark {
    /// Its generation.
    pub generation: u64,
    /// Size and root.
    pub head: TreeHead,
}

/// What the restores that were accepted since the last checkpoint left of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// What the present generation began with.
    pub head: TreeHead,
    /// The smallest size that any of them restored: up to it the log must be what it always was.
    pub common: u64,
}

/// What the station knows of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogKnown {
    /// The last verified checkpoint; `None` before the first.
    pub last: Option<LogMark>,
    /// The newest generation that was accepted, by a checkpoint or by a `log.recovered`; 0 before the first.
    pub generation: u64,
    /// Set where that generation has no checkpoint here yet, and one of an earlier generation is.
    pub restored: Option<Restored>,
}

/// Why a checkpoint does not follow what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFault {
    /// It is behind what the cloud was told, or of an earlier generation.
    WentBack,
    /// The log does not begin with what is known of it.
    Rewritten,
    /// There is no proof from what the cloud was told.
    Unproven,
}

/// What a checkpoint is to a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// The one that is known.
    Same,
    /// The log grew.
    Grew,
    /// An answer from before the last one: behind what is known, but not behind what the cloud was told.
    Overtaken,
    /// Of a generation that nothing was accepted for yet.
    LaterGeneration,
}

impl LogKnown {
    /// What is told to the cloud.
    #[must_use]
    pub fn seen(&self) -> Option<LogSeen> {
        self.last.map(|mark| LogSeen { generation: mark.generation, size: mark.head.size })
    }

    /// What an operation quotes.
    #[must_use]
    pub fn head(&self) -> Option<TreeHead> {
        self.last.map(|mark| mark.head)
    }

    /// The same after `checkpoint`.
    #[must_use]
    pub fn after(&self, checkpoint: LogMark) -> Self {
        Self { last: Some(checkpoint), generation: checkpoint.generation, restored: None }
    }

    /// The same after a restore that was accepted.
    #[must_use]
    pub fn after_restore(&self, recovered: &LogRecovered) -> Self {
        let head = recovered.restored;
        let common = self.restored.map_or(head.size, |earlier| earlier.common.min(head.size));
        let restored = self.last.map(|_| Restored { head, common });
        Self { last: self.last, generation: recovered.generation, restored }
    }

    /// Whether the tenant's root key has said that `recovered` follows: one generation after the other, each
    /// begun with no more than was known of the one before.
    #[must_use]
    pub fn is_next_restore(&self, recovered: &LogRecovered) -> bool {
        let next = self.generation.max(1).checked_add(1);
        let first_sight = self.generation == 0 && recovered.generation > 1;
        (next == Some(recovered.generation) || first_sight) && recovered.restored.size <= recovered.known.size
    }

    /// Whether a checkpoint, whose signature holds, follows what is known. `told` is what the request said.
    ///
    /// # Errors
    /// [`LogFault`].
    pub fn follow(
        &self,
        told: Option<LogSeen>,
        checkpoint: LogMark,
        proofs: &[ConsistencyProof],
    ) -> Result<Following, LogFault> {
        if checkpoint.generation < self.generation {
            return Err(LogFault::WentBack);
        }
        let Some(last) = self.last else { return Ok(Following::Grew) };
        if checkpoint.generation > self.generation {
            return Ok(Following::LaterGeneration);
        }
        if let Some(restored) = self.restored {
            grown(restored.head, checkpoint.head, proofs)?.then_some(()).ok_or(LogFault::Unproven)?;
            // What this station saw before the restore and the restore kept may not change under it.
            if last.head.size <= restored.common {
                grown(last.head, checkpoint.head, proofs)?.then_some(()).ok_or(LogFault::Unproven)?;
            }
            return Ok(Following::Grew);
        }
        let told = told.filter(|told| told.generation == checkpoint.generation).map_or(0, |told| told.size);
        if checkpoint.head.size < told {
            return Err(LogFault::WentBack);
        }
        if checkpoint.head.size < last.head.size {
            return Ok(Following::Overtaken);
        }
        if checkpoint.head.size == last.head.size {
            return if checkpoint.head == last.head { Ok(Following::Same) } else { Err(LogFault::Rewritten) };
        }
        match grown(last.head, checkpoint.head, proofs)? {
            true => Ok(Following::Grew),
            false if told == last.head.size => Err(LogFault::Unproven),
            false => Ok(Following::Overtaken),
        }
    }
}

/// Whether one of the proofs shows that the tree of `to` begins with that of `from`; false if none is from there.
fn grown(from: TreeHead, to: TreeHead, proofs: &[ConsistencyProof]) -> Result<bool, LogFault> {
    if from.size == to.size {
        return if from.root == to.root { Ok(true) } else { Err(LogFault::Rewritten) };
    }
    let empty = ConsistencyProof { from: 0, hashes: Vec::new() };
    let given = proofs.iter().find(|proof| proof.from == from.size);
    let Some(proof) = given.or((from.size == 0).then_some(&empty)) else { return Ok(false) };
    verify_consistency(from, to, &proof.hashes).map(|()| true).map_err(|_| LogFault::Rewritten)
}

/// A checkpoint that was found to follow what is known, with what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStep {
    /// What was known.
    pub known: LogKnown,
    /// The checkpoint.
    pub mark: LogMark,
    /// Its signed note.
    pub note: String,
    /// That it follows; empty where it is the one that is known.
    pub proofs: Vec<ConsistencyProof>,
}

/// Verdicts that stand in the log right after the own entries that they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenVerdicts {
    /// The signed batch.
    pub batch: Signed<VerdictBatch>,
    /// Seq of the first entry that it covers.
    pub first_seq: u64,
    /// What proves it under the checkpoint that came with it.
    pub hashes: Vec<Hash>,
    /// The last operations that it covers, by hash, as far as they are not own ones.
    pub rest: Vec<Hash>,
}

impl ProvenVerdicts {
    /// How many own entries it covers.
    #[must_use]
    pub fn own_count(&self) -> u64 {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        self.batch.value.count.saturating_sub(rest)
    }

    /// The last seq of them.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.first_seq.saturating_add(self.own_count()).saturating_sub(1)
    }

    /// Whether the own entries, the rest and the batch stand in the log.
    #[must_use]
    pub fn stands(&self, head: TreeHead, own: &[Hash]) -> bool {
        let leaves = own.iter().chain(&self.rest).copied().chain([self.batch.hash]);
        verify_range(head, self.batch.value.first, leaves, &self.hashes).is_ok()
    }
}

/// The hashes of own entries that lie side by side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnHashes {
    /// Seq of the first.
    pub first_seq: u64,
    /// One after the other.
    pub hashes: Vec<Hash>,
    /// How far the epoch is settled: what is not here and settled was pruned.
    pub settled_through: u64,
}

impl OwnHashes {
    /// The hashes of `count` entries from `first_seq` on, if all of them are here.
    #[must_use]
    pub fn slice(&self, first_seq: u64, count: u64) -> Option<&[Hash]> {
        let start = usize::try_from(first_seq.checked_sub(self.first_seq)?).ok()?;
        let end = start.checked_add(usize::try_from(count).ok()?)?;
        self.hashes.get(start..end)
    }
}

/// What the cloud said and what it contradicts, both as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Closed code.
    pub code: &'static str,
    /// What the cloud said.
    pub told: String,
    /// What it is held against.
    pub ours: String,
}

/// The log as the queue's file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LogStanding {
    pub(super) known: LogKnown,
    /// A restore that nobody has acknowledged.
    pub(super) recovered: bool,
    /// A contradiction that nobody has acknowledged.
    pub(super) contradicted: bool,
}

impl LogStanding {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let last = last_checkpoint(connection)?;
        let mut known = last.map_or_else(LogKnown::default, |mark| LogKnown::default().after(mark));
        for (generation, recovered) in restores_after(connection, known.generation)? {
            known = match recovered {
                Some(recovered) => known.after_restore(&recovered),
                None => LogKnown { generation, ..known },
            };
        }
        let restores: u64 = count(connection, "SELECT coalesce(max(generation), 0) FROM log_recovered")?;
        let contradictions = contradictions(connection)?;
        Ok(Self {
            known,
            recovered: restores > acknowledged(connection, QueueAlarm::LogRecovered)?,
            contradicted: contradictions > acknowledged(connection, QueueAlarm::ServerInconsistent)?,
        })
    }

    /// The alarms that follow.
    pub(super) fn alarms(&self) -> impl Iterator<Item = QueueAlarm> {
        let recovered = self.recovered.then_some(QueueAlarm::LogRecovered);
        recovered.into_iter().chain(self.contradicted.then_some(QueueAlarm::ServerInconsistent))
    }
}

impl Draft {
    /// The draft with the checkpoint that the station knows.
    pub(super) fn knowing(mut self, log: &LogKnown) -> Self {
        if let Some(knew) = &mut self.knew {
            knew.log = log.head();
        }
        self
    }
}

impl Writer {
    /// Keeps both sides of a contradiction as evidence.
    pub(super) fn keep_contradiction(&mut self, contradiction: &Contradiction) -> Result<(), QueueError> {
        let wall = self.composer.clock.read().wall;
        self.transact(|transaction, after| {
            let kept = count(transaction, "SELECT count(*) FROM contradiction")?;
            if kept < MOST_CONTRADICTIONS {
                transaction
                    .prepare_cached(
                        "INSERT INTO contradiction (code, told, ours, wall) VALUES (:code, :told, :ours, :wall)",
                    )?
                    .execute(named_params! {
                        ":code": contradiction.code,
                        ":told": bounded(&contradiction.told),
                        ":ours": bounded(&contradiction.ours),
                        ":wall": wall.unix_ms(),
                    })?;
            } else {
                transaction.execute(
                    "INSERT INTO contradiction_tally (id, more) VALUES (1, 1) \
                     ON CONFLICT (id) DO UPDATE SET more = more + 1",
                    [],
                )?;
            }
            after.log = LogStanding::load(transaction)?;
            Ok(())
        })
    }

    /// Ends an alarm of the log until there is news.
    pub(super) fn acknowledge(&mut self, alarm: QueueAlarm) -> Result<(), QueueError> {
        self.transact(|transaction, after| {
            let through = match alarm {
                QueueAlarm::LogRecovered => after.log.known.generation,
                QueueAlarm::ServerInconsistent => contradictions(transaction)?,
                QueueAlarm::QueueSetAside => set_aside::damages(transaction)?,
                // The others end by themselves, when what they tell of does.
                _ => return Ok(()),
            };
            acknowledge(transaction, alarm, through)?;
            after.log = LogStanding::load(transaction)?;
            after.damage = set_aside::damage(transaction)?;
            Ok(())
        })
    }
}

/// JSON that is short enough to be kept as it is, else its hash and length.
fn bounded(json: &str) -> String {
    if json.len() <= MOST_TOLD {
        return json.to_owned();
    }
    let hash = Hash::of(json.as_bytes());
    format!("{{\"bytes\":{},\"sha256\":\"{hash}\"}}", json.len())
}

/// The hashes of up to `count` entries of the epoch of `row` from seq `first_seq` on, as far as they are here.
pub(super) fn own_hashes(
    connection: &Connection,
    row: &EpochRow,
    first_seq: u64,
    count: u64,
) -> rusqlite::Result<OwnHashes> {
    let mut own = OwnHashes { first_seq, hashes: Vec::new(), settled_through: row.settled_through };
    // What no column can hold is nobody's, whoever names it.
    let last = first_seq.checked_add(count).and_then(|end| row.position(end.checked_sub(1)?));
    let places = row.position(first_seq).zip(last.filter(|last| i64::try_from(*last).is_ok()));
    let Some((first, last)) = places.filter(|_| count > 0) else { return Ok(own) };
    let mut statement = connection.prepare_cached(
        "SELECT seq, hash FROM operation WHERE position BETWEEN ?1 AND ?2 AND epoch_n = ?3 ORDER BY position",
    )?;
    let mut found = statement.query((first, last, row.epoch.n))?;
    while let Some(found) = found.next()? {
        if own.hashes.is_empty() {
            own.first_seq = found.get(0)?;
        }
        own.hashes.push(Hash(found.get(1)?));
    }
    Ok(own)
}

fn count(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// How many contradictions there were.
pub(super) fn contradictions(connection: &Connection) -> rusqlite::Result<u64> {
    count(
        connection,
        "SELECT (SELECT count(*) FROM contradiction) + coalesce((SELECT more FROM contradiction_tally), 0)",
    )
}

pub(super) fn acknowledged(connection: &Connection, alarm: QueueAlarm) -> rusqlite::Result<u64> {
    let through = connection
        .prepare_cached("SELECT through FROM acknowledgement WHERE alarm = ?1")?
        .query_row([alarm.as_str()], |row| row.get(0))
        .optional()?;
    Ok(through.unwrap_or(0))
}

pub(super) fn acknowledge(connection: &Connection, alarm: QueueAlarm, through: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO acknowledgement (alarm, through) VALUES (?1, ?2) \
             ON CONFLICT (alarm) DO UPDATE SET through = max(through, excluded.through)",
        )?
        .execute((alarm.as_str(), through))
        .map(|_| ())
}

fn last_checkpoint(connection: &Connection) -> rusqlite::Result<Option<LogMark>> {
    connection
        .prepare_cached("SELECT generation, size, root FROM checkpoint ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| {
            let head = TreeHead { size: row.get(1)?, root: Hash(row.get(2)?) };
            Ok(LogMark { generation: row.get(0)?, head })
        })
        .optional()
}

/// Accepted restores after `generation`, oldest first; their signatures were checked before they came here.
/// `None` for what lies there and cannot be read.
pub(super) fn restores_after(
    connection: &Connection,
    generation: u64,
) -> rusqlite::Result<Vec<(u64, Option<LogRecovered>)>> {
    connection
        .prepare_cached(
            "SELECT generation, statement FROM log_recovered WHERE generation > ?1 ORDER BY generation",
        )?
        .query_map([generation], |row| {
            let bytes: Vec<u8> = row.get(1)?;
            let frame = lotgate_domain::entry::Frame::read(&bytes).ok();
            Ok((row.get(0)?, frame.and_then(|frame| serde_json::from_slice(frame.json()).ok())))
        })?
        .collect()
}

pub(super) fn keep_restore(
    connection: &Connection,
    recovered: &Signed<LogRecovered>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO log_recovered (generation, hash, statement) VALUES (?1, ?2, ?3)")?
        .execute((recovered.value.generation, recovered.hash.as_bytes(), &recovered.bytes))
        .map(|_| ())
}

/// Keeps the checkpoint, unless it is the one that is `known`; gives its number.
pub(super) fn keep_checkpoint(
    connection: &Connection,
    step: &LogStep,
    known: LogKnown,
) -> rusqlite::Result<i64> {
    if known.last != Some(step.mark) {
        let proofs = serde_json::to_string(&step.proofs)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        connection
            .prepare_cached(
                "INSERT INTO checkpoint (generation, size, root, note, proofs) \
                 VALUES (:generation, :size, :root, :note, :proofs)",
            )?
            .execute(named_params! {
                ":generation": step.mark.generation,
                ":size": step.mark.head.size,
                ":root": step.mark.head.root.as_bytes(),
                ":note": step.note,
                ":proofs": proofs,
            })?;
    }
    connection.prepare_cached("SELECT max(number) FROM checkpoint")?.query_row([], |row| row.get(0))
}

/// Keeps what proves a verdict batch and its operations, once a generation.
pub(super) fn keep_range(
    connection: &Connection,
    verdicts: &ProvenVerdicts,
    epoch_n: u64,
    step: &LogStep,
    checkpoint: i64,
) -> rusqlite::Result<()> {
    let flat = |hashes: &[Hash]| -> Vec<u8> { hashes.iter().flat_map(|hash| hash.0).collect() };
    connection
        .prepare_cached(
            "INSERT INTO range_proof (verdict_hash, generation, checkpoint, epoch_n, first_seq, count, hashes, rest) \
             VALUES (:hash, :generation, :checkpoint, :epoch_n, :first_seq, :count, :hashes, :rest) \
             ON CONFLICT (verdict_hash, generation, count) DO NOTHING",
        )?
        .execute(named_params! {
            ":hash": verdicts.batch.hash.as_bytes(),
            ":generation": step.mark.generation,
            ":checkpoint": checkpoint,
            ":epoch_n": epoch_n,
            ":first_seq": verdicts.first_seq,
            ":count": verdicts.own_count(),
            ":hashes": flat(&verdicts.hashes),
            ":rest": flat(&verdicts.rest),
        })
        .map(|_| ())
}

impl From<&Checkpoint> for LogMark {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self { generation: checkpoint.generation, head: checkpoint.head }
    }
}

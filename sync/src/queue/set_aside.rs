//! What no chain goes on from, kept: queue files that could not be used, and the rest of an epoch that the cloud, or
//! a damaged entry, ended. Each is sent once as evidence (PROTOCOL §2, §3).

use super::error::QueueError;
use super::file::QueueFile;
use super::reader::Question;
use super::rows::{self, EpochRow};
use super::standing::Standing;
use super::steady::Steady;
use super::writer::Writer;
use super::{AppendError, Queue, QueueAlarm, log, pruning};
use crate::secure::Places;
use lotgate_domain::entry::MAX_FRAME;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::Epoch;
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, named_params};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Files beside the database that belong to it.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];
const ENDING: &str = ".set-aside";
/// Why the rest of an epoch was set aside here, and not by the cloud.
const DAMAGED: &str = "damaged";
/// The most places that cannot be read before what was found until then is given.
const TRIES: usize = 1_024;

/// Names of the queue files in the data directory that were set aside, oldest first.
///
/// # Errors
/// The file system's.
pub fn files(places: &Places) -> io::Result<Vec<String>> {
    let names = places.storage.list(&places.data)?;
    Ok(names.into_iter().filter(|name| name.starts_with("queue-") && name.ends_with(ENDING)).collect())
}

/// A name for the file that is set aside `now`: nothing of this name is there yet.
pub(super) fn new_name(places: &Places, now: Timestamp) -> String {
    // A colon is no letter of a file name on Windows.
    let time = now.to_string().replace(['-', ':', '.'], "");
    let name =
        |n: u32| if n == 1 { format!("queue-{time}{ENDING}") } else { format!("queue-{time}-{n}{ENDING}") };
    let taken = |name: &String| {
        let used = |ending: &&str| places.storage.exists(&places.data.join(format!("{name}{ending}")));
        ["", "-wal", "-shm"].iter().any(used)
    };
    (1..=u32::MAX).map(name).find(|name| !taken(name)).unwrap_or_else(|| name(1))
}

/// Moves the queue's file and what belongs to it to `name`. The file goes first, durably: alone under the old
/// name it would lack what its log holds, while a log alone is moved after it, by the next start if need be.
pub(super) fn move_to(places: &Places, name: &str) -> io::Result<()> {
    let file = places.queue_file();
    let to = places.data.join(name);
    rename_if_there(places, &file, &to)?;
    places.storage.sync_dir(&places.data)?;
    for ending in COMPANIONS {
        rename_if_there(places, &with_ending(&file, ending), &with_ending(&to, ending))?;
    }
    places.storage.sync_dir(&places.data)
}

/// Whether moving what is left to `name` would take the place of something that is kept there.
pub(super) fn would_replace(places: &Places, name: &str) -> bool {
    let (file, to) = (places.queue_file(), places.data.join(name));
    let there = |path: &Path, ending: &str| places.storage.exists(&with_ending(path, ending));
    COMPANIONS.iter().any(|ending| there(&file, ending) && there(&to, ending))
}

/// Whether the queue's log is there: without its file, it must not meet another one.
pub(super) fn has_stray_log(places: &Places) -> bool {
    let file = places.queue_file();
    COMPANIONS.iter().any(|ending| places.storage.exists(&with_ending(&file, ending)))
}

fn rename_if_there(places: &Places, from: &Path, to: &Path) -> io::Result<()> {
    match places.storage.rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn with_ending(path: &Path, ending: &str) -> std::path::PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Notes in a new queue that the file before it was set aside.
pub(super) fn note_file(
    connection: &Connection,
    name: &str,
    reason: EpochReason,
    code: &str,
) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT INTO set_aside (reason, code, file) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            (reason.as_str(), code, name),
        )
        .map(|_| ())
}

/// Entries that go to the cloud as evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceBatch {
    /// Closed code: why they come this way.
    pub reason: String,
    /// Their bytes as they lie in the queue, at most 32 KiB each.
    pub entries: Vec<Vec<u8>>,
    /// What to give back once the cloud has kept them.
    pub token: EvidenceToken,
}

/// How far one thing that was set aside was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceToken {
    number: i64,
    through: u64,
    ends: bool,
    /// That of the log when it was asked for: what a cloud kept before it was restored may be gone.
    generation: u64,
}

impl Queue {
    /// The next entries that were set aside and not yet kept by the cloud, of one kind, at most `max_bytes` (but
    /// one at least). `None`: there are none. What lies on a bad page is passed over; where nothing can be read of a
    /// file any more, it is noted as done.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn evidence(&self, max_bytes: u64) -> Result<Option<EvidenceBatch>, QueueError> {
        loop {
            let generation = self.state.borrow().log.generation;
            let found = self.ask(|reply| Question::Evidence { max_bytes, generation, reply }).await?;
            match found {
                Some(batch) if batch.entries.is_empty() => self.evidence_kept(batch.token).await?,
                found => return Ok(found),
            }
        }
    }

    /// Notes that the cloud has kept a batch; after a restore of the log was accepted in the meantime it notes nothing.
    ///
    /// # Errors
    /// [`QueueError`]; the batch comes again then.
    pub async fn evidence_kept(&self, token: EvidenceToken) -> Result<(), QueueError> {
        self.write(move |writer| writer.evidence_kept(token)).await.ok_or(QueueError::Closed)?
    }

    /// Takes everything of `epoch` after `seq` out of the chain, because the cloud ended it there with `code`: it is
    /// kept, no longer counted as queued, and sent once as evidence. Work goes on in a new epoch, unless one was
    /// opened since. Saying it again, or of a later entry, changes nothing; an earlier one takes more away, and then
    /// all of it is sent.
    ///
    /// # Errors
    /// [`QueueError`]; `Unknown` if there is no such place, `AlreadySettled` if the cloud signed for what comes
    /// after it.
    pub async fn set_aside_after(&self, epoch: Epoch, seq: u64, code: &str) -> Result<(), QueueError> {
        let code = code.to_owned();
        let aside =
            move |writer: &mut Writer| writer.set_aside_after(epoch, seq, EpochReason::Stopped, &code);
        self.write(aside).await.ok_or(QueueError::Closed)?
    }

    /// Takes the damaged entry `seq` of `epoch`, and what follows it there, out of the chain, so that later epochs
    /// are sent. Shown as [`super::QueueAlarm::QueueSetAside`] until acknowledged.
    pub(super) async fn set_aside_damaged(&self, epoch: Epoch, seq: u64) -> Result<(), QueueError> {
        tracing::error!(epoch = epoch.n, seq, "queue.damaged_set_aside");
        let (after, reason) = (seq.saturating_sub(1), EpochReason::QueueDamaged);
        let aside = move |writer: &mut Writer| writer.set_aside_after(epoch, after, reason, DAMAGED);
        self.write(aside).await.ok_or(QueueError::Closed)?
    }
}

impl Writer {
    fn evidence_kept(&mut self, token: EvidenceToken) -> Result<(), QueueError> {
        if token.generation != self.standing.log.known.generation {
            return Ok(());
        }
        let now = self.standing.clock.trusted_now(&self.composer.clock.read());
        let kept_at = token.ends.then(|| now.map_or(pruning::KEPT_SOMETIME, Timestamp::unix_ms));
        self.transact(|transaction, _| {
            transaction
                .execute(
                    "UPDATE set_aside SET kept_through = :through, kept_at = :at WHERE number = :number",
                    named_params! { ":through": token.through, ":at": kept_at, ":number": token.number },
                )
                .map(|_| ())
        })
    }

    fn set_aside_after(
        &mut self,
        epoch: Epoch,
        seq: u64,
        reason: EpochReason,
        code: &str,
    ) -> Result<(), QueueError> {
        let index = self.standing.epoch_index(epoch.n).ok_or(QueueError::Unknown)?;
        let row = self.standing.epochs.get(index).ok_or(QueueError::Unknown)?;
        if row.epoch != epoch || seq > self.standing.last_seq(index) {
            return Err(QueueError::Unknown);
        }
        if row.settled_through > seq {
            return Err(QueueError::AlreadySettled { epoch, seq });
        }
        if row.aside_after.is_some_and(|after| after <= seq) {
            return Ok(());
        }
        let is_present = index.saturating_add(1) == self.standing.epochs.len();
        let row = EpochRow { aside_after: Some(seq), ..*row };
        let code = code.to_owned();
        let mark = move |connection: &Connection, after: &mut Standing| -> rusqlite::Result<()> {
            rows::store_delivery(connection, &row)?;
            connection.execute(
                "INSERT INTO set_aside (reason, code, epoch_n, after_seq) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (epoch_n) DO UPDATE SET reason = excluded.reason, code = excluded.code, \
                   after_seq = excluded.after_seq, kept_through = 0, kept_at = NULL",
                (reason.as_str(), code, epoch.n, seq),
            )?;
            after.damage = damage(connection)?;
            if let Some(kept) = after.epochs.get_mut(index) {
                *kept = row;
            }
            after.refresh_delivery(connection)
        };
        if !is_present {
            return self.transact(|transaction, after| mark(transaction, after));
        }
        // Nothing may follow the stopped entry, so its epoch ends in the same transaction.
        match self.open_epoch_with(reason, mark) {
            Ok(_) => Ok(()),
            Err(AppendError::Storage(error)) => Err(QueueError::Storage(error)),
            Err(AppendError::Stopped(reason)) => Err(QueueError::Stopped(reason)),
            Err(error) => Err(QueueError::Epoch(Box::new(error))),
        }
    }
}

/// How many epochs were ended here by a damaged entry.
pub(super) fn damages(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM set_aside WHERE epoch_n IS NOT NULL AND code = ?1")?
        .query_row([DAMAGED], |row| row.get(0))
}

/// Whether more were than a person has taken notice of.
pub(super) fn damage(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(damages(connection)? > log::acknowledged(connection, QueueAlarm::QueueSetAside)?)
}

/// One row of the table.
struct Aside {
    number: i64,
    reason: String,
    file: Option<String>,
    tail: Option<(u64, u64)>,
    kept_through: u64,
}

fn next_aside(connection: &Connection) -> rusqlite::Result<Option<Aside>> {
    connection
        .prepare_cached(
            "SELECT number, reason, file, epoch_n, after_seq, kept_through FROM set_aside \
             WHERE kept_at IS NULL ORDER BY number LIMIT 1",
        )?
        .query_row([], |row| {
            let (epoch, after): (Option<u64>, Option<u64>) = (row.get(3)?, row.get(4)?);
            Ok(Aside {
                number: row.get(0)?,
                reason: row.get(1)?,
                file: row.get(2)?,
                tail: epoch.zip(after),
                kept_through: row.get(5)?,
            })
        })
        .optional()
}

/// The next entries of what was set aside first; a batch without entries says how far nothing can be read of it.
pub(super) fn next_evidence(
    connection: &Connection,
    places: &Places,
    own: &QueueFile,
    (max_bytes, generation): (u64, u64),
) -> Result<Option<EvidenceBatch>, QueueError> {
    let storage = |error: rusqlite::Error| QueueError::Storage(error.into());
    let Some(aside) = next_aside(connection).map_err(storage)? else { return Ok(None) };
    let (number, reason) = (aside.number, aside.reason.clone());
    let most = (aside.kept_through, max_bytes);
    let collected = match (&aside.file, aside.tail) {
        (Some(name), _) => {
            let file = QueueFile::new(places, places.data.join(name), own.key().clone());
            let mut steady = Steady::new(&file);
            // Foreign or unreadable: it stays where it is, and only the file itself can be shown.
            if is_readable(&file)? { collect(&mut steady, remains, most)? } else { Collected::nothing() }
        }
        (None, Some((n, after))) => {
            let epochs = rows::epochs(connection).map_err(storage)?;
            let last = rows::last(connection).map_err(storage)?.map_or(0, |last| last.position);
            let ranges = tail(&epochs, n, after, Some(last)).into_iter().collect();
            collect(&mut Steady::new(own), |_| Ok(ranges), most)?
        }
        (None, None) => Collected::nothing(),
    };
    let Collected { entries, through, ends } = collected;
    let token = EvidenceToken { number, through, ends, generation };
    Ok(Some(EvidenceBatch { reason, entries, token }))
}

/// Positions from one to another; to wherever the end is if that cannot be read.
type Positions = (u64, Option<u64>);

/// The positions of an epoch's entries after `after`.
fn tail(epochs: &[EpochRow], n: u64, after: u64, last: Option<u64>) -> Option<Positions> {
    let index = epochs.iter().position(|row| row.epoch.n == n)?;
    let start = epochs.get(index)?.position(after.saturating_add(1))?;
    let end = epochs.get(index.saturating_add(1)).map(|next| next.first_position.saturating_sub(1));
    Some((start, [end, last].into_iter().flatten().min()))
}

/// Whether anything can be read of a file that was set aside.
fn is_readable(file: &QueueFile) -> Result<bool, QueueError> {
    if !file.exists() {
        return Ok(false);
    }
    match file.check_header().and_then(|()| file.open_to_read()) {
        Ok(_) => Ok(true),
        Err(error) if error.is_the_files() => Ok(false),
        Err(error) => Err(QueueError::Open(Arc::new(error))),
    }
}

/// The positions in a file that no receipt covers. Where it cannot be read which those are: all, since the cloud keeps
/// each entry once.
fn remains(steady: &mut Steady<'_>) -> Result<Vec<Positions>, QueueError> {
    let (first, last) = steady.bounds("operation")?;
    let epochs = steady.read(rows::epochs)?.filter(|epochs| !epochs.is_empty());
    Ok(epochs.map_or(vec![(first, last)], |epochs| {
        epochs.iter().filter_map(|row| tail(&epochs, row.epoch.n, row.settled_through, last)).collect()
    }))
}

/// What was found, up to which position was looked, and whether that was the end.
struct Collected {
    entries: Vec<Vec<u8>>,
    through: u64,
    ends: bool,
}

impl Collected {
    fn nothing() -> Self {
        Self { entries: Vec::new(), through: 0, ends: true }
    }
}

/// Entries at `ranges` after position `kept`; only one that lies itself on a bad page is passed over.
fn collect<'a>(
    steady: &mut Steady<'a>,
    ranges: impl FnOnce(&mut Steady<'a>) -> Result<Vec<Positions>, QueueError>,
    (kept, max_bytes): (u64, u64),
) -> Result<Collected, QueueError> {
    let mut found = Collected { entries: Vec::new(), through: kept, ends: true };
    let (mut bytes, mut unread) = (0_u64, 0_usize);
    for (start, end) in ranges(steady)? {
        let first = start.max(kept.saturating_add(1));
        let entry = |row: &rusqlite::Row<'_>| row.get::<_, Vec<u8>>(1);
        found.ends = steady.walk::<_, QueueError>(
            ("operation", "entry"),
            (first, end),
            entry,
            |position, entry| {
                let entry = entry.filter(|entry| !entry.is_empty() && entry.len() <= MAX_FRAME);
                let size = entry.as_ref().map_or(0, |entry| u64::try_from(entry.len()).unwrap_or(u64::MAX));
                if !found.entries.is_empty() && bytes.saturating_add(size) > max_bytes {
                    return Ok(false);
                }
                (bytes, found.through) = (bytes.saturating_add(size), position);
                unread = unread.saturating_add(usize::from(entry.is_none()));
                found.entries.extend(entry);
                Ok(unread < TRIES)
            },
        )?;
        if !found.ends {
            break;
        }
    }
    Ok(found)
}

//! What no chain goes on from, kept: queue files that could not be used, and the rest of an epoch that the cloud, or
//! a damaged entry, ended. Each is sent once as evidence (PROTOCOL §2, §3).

use super::error::{OpenError, QueueError};
use super::file::QueueFile;
use super::reader::Question;
use super::rows::{self, EpochRow};
use super::standing::Standing;
use super::writer::Writer;
use super::{AppendError, Queue, QueueAlarm, log, pruning};
use crate::secure::{Places, QueueKey};
use lotgate_domain::entry::MAX_FRAME;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::Epoch;
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, named_params};
use std::io;
use std::path::Path;

/// Files beside the database that belong to it.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];
const ENDING: &str = ".set-aside";
/// Why the rest of an epoch was set aside here, and not by the cloud.
const DAMAGED: &str = "damaged";
/// The most places of a damaged file that are tried at once.
const TRIES: u64 = 4_096;

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
    /// one at least). `None`: there are none. Where nothing can be read of a file any more, it is noted as done.
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

/// The next entries of what was set aside first; a batch without entries says that nothing more can be read of it.
pub(super) fn next_evidence(
    connection: &Connection,
    places: &Places,
    key: &QueueKey,
    (max_bytes, generation): (u64, u64),
) -> Result<Option<EvidenceBatch>, QueueError> {
    let storage = |error: rusqlite::Error| QueueError::Storage(error.into());
    let Some(aside) = next_aside(connection).map_err(storage)? else { return Ok(None) };
    let (number, reason) = (aside.number, aside.reason.clone());
    let (entries, through, ends) = match (&aside.file, aside.tail) {
        (Some(name), _) => match open_file(places, key, name) {
            Ok(Some((file, remains))) => collect(&file, &remains, aside.kept_through, max_bytes),
            // Foreign or unreadable: it stays where it is, and only the file itself can be shown.
            Ok(None) => (Vec::new(), 0, true),
            Err(error) => return Err(QueueError::Open(std::sync::Arc::new(error))),
        },
        (None, Some((n, after))) => {
            let epochs = rows::epochs(connection).map_err(storage)?;
            let last = rows::last(connection).map_err(storage)?.map_or(0, |last| last.position);
            collect(connection, &tail(&epochs, n, after, last), aside.kept_through, max_bytes)
        }
        (None, None) => (Vec::new(), 0, true),
    };
    let token = EvidenceToken { number, through, ends, generation };
    Ok(Some(EvidenceBatch { reason, entries, token }))
}

/// The positions of an epoch's entries after `after`.
fn tail(epochs: &[EpochRow], n: u64, after: u64, last: u64) -> Vec<(u64, u64)> {
    let Some(index) = epochs.iter().position(|row| row.epoch.n == n) else { return Vec::new() };
    let next = epochs.get(index.saturating_add(1));
    let end = next.map_or(last, |next| next.first_position.saturating_sub(1));
    let start = epochs.get(index).and_then(|row| row.position(after.saturating_add(1)));
    start.map(|start| (start, end)).into_iter().collect()
}

type File = (Connection, Vec<(u64, u64)>);

/// A file that was set aside, and the positions in it that no receipt covers; `None` if it cannot be read.
fn open_file(places: &Places, key: &QueueKey, name: &str) -> Result<Option<File>, OpenError> {
    let file = QueueFile::new(places, places.data.join(name), key.clone());
    if !file.exists() {
        return Ok(None);
    }
    let opened = file.check_header().and_then(|()| file.open_to_read());
    let connection = match opened {
        Ok(connection) => connection,
        Err(error) if error.is_the_files() => return Ok(None),
        Err(error) => return Err(error),
    };
    let remains = (|| -> rusqlite::Result<Vec<(u64, u64)>> {
        let Some(last) = rows::last(&connection)? else { return Ok(Vec::new()) };
        let epochs = rows::epochs(&connection)?;
        let remains = |row: &EpochRow| tail(&epochs, row.epoch.n, row.settled_through, last.position);
        Ok(epochs.iter().flat_map(remains).collect())
    })();
    Ok(remains.ok().map(|remains| (connection, remains)))
}

/// Entries at `ranges` after position `kept`; one that cannot be read is passed over. Gives how far that went and
/// whether it was the end.
fn collect(
    connection: &Connection,
    ranges: &[(u64, u64)],
    kept: u64,
    max_bytes: u64,
) -> (Vec<Vec<u8>>, u64, bool) {
    let (mut entries, mut bytes, mut through, mut tries) = (Vec::new(), 0_u64, kept, 0_u64);
    for (start, end) in ranges {
        for position in (*start).max(kept.saturating_add(1))..=*end {
            tries = tries.saturating_add(1);
            let entry = rows::entry_at(connection, position).ok().flatten();
            let entry = entry.filter(|entry| entry.len() <= MAX_FRAME).unwrap_or_default();
            let size = u64::try_from(entry.len()).unwrap_or(u64::MAX);
            let full = !entries.is_empty() && bytes.saturating_add(size) > max_bytes;
            if full || (tries > TRIES && !entries.is_empty()) {
                return (entries, through, false);
            }
            if !entry.is_empty() {
                entries.push(entry);
            }
            (bytes, through) = (bytes.saturating_add(size), position);
        }
    }
    (entries, through, true)
}

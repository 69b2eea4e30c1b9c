//! Letting go of what the cloud confirmed long ago (PROTOCOL §2). The rules stand in the database itself, as a
//! trigger; here is only how far they let one go.

use super::Queue;
use super::error::QueueError;
use super::rows::{self, EpochRow};
use super::standing::Standing;
use super::writer::Writer;
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

/// The most operations that one transaction lets go of: no operation waits longer for its commit than for these.
const AT_ONCE: u64 = 1_000;

/// When the cloud kept something while no time could be trusted: later than any time. It counts from the next pruning.
pub(super) const KEPT_SOMETIME: i64 = i64::MAX;

/// What was let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// How many operations.
    pub operations: u64,
}

impl Queue {
    /// Removes the operations that the cloud confirmed longer ago than it could be restored to a time before them
    /// (and a week), and longer than the retention. Judged by the times that the cloud signed, and never past
    /// `now`, the trusted time. The last operation stays, and so do receipts and verdicts. Nothing goes as long as the
    /// cloud contradicts itself and nobody has acknowledged it (PROTOCOL §4).
    ///
    /// # Errors
    /// [`QueueError`]; what was removed until then is gone rightly.
    pub async fn prune(
        &self,
        now: Timestamp,
        restore_window_s: u64,
        retention_s: u64,
    ) -> Result<Pruned, QueueError> {
        let mut pruned = Pruned::default();
        loop {
            let step = move |writer: &mut Writer| writer.prune(now, restore_window_s, retention_s);
            let operations = self.write(step).await.ok_or(QueueError::Closed)??;
            pruned.operations = pruned.operations.saturating_add(operations);
            if operations < AT_ONCE {
                return Ok(pruned);
            }
        }
    }
}

impl Writer {
    fn prune(&mut self, now: Timestamp, restore_window_s: u64, retention_s: u64) -> Result<u64, QueueError> {
        if self.standing.log.contradicted {
            return Ok(0);
        }
        // Past a century nothing is ever old enough, and the sums stay within SQLite's integers.
        let seconds = |seconds: u64| i64::try_from(seconds.min(100 * 366 * 86_400)).unwrap_or(i64::MAX);
        let rule = (now.unix_ms(), seconds(restore_window_s), seconds(retention_s));
        self.transact(|transaction, after| {
            transaction.execute(
                "INSERT INTO pruning (id, at, restore_window_s, retention_s) VALUES (1, ?1, ?2, ?3) \
                 ON CONFLICT (id) DO UPDATE SET at = excluded.at, \
                   restore_window_s = excluded.restore_window_s, retention_s = excluded.retention_s",
                rule,
            )?;
            transaction.execute("UPDATE set_aside SET kept_at = ?1 WHERE kept_at > ?1", [rule.0])?;
            let Some(through) = through(transaction, after)? else { return Ok(0) };
            let removed = transaction.execute("DELETE FROM operation WHERE position <= ?1", [through])?;
            Ok(u64::try_from(removed).unwrap_or(u64::MAX))
        })
    }
}

/// The last position that may go now.
fn through(connection: &Connection, standing: &Standing) -> rusqlite::Result<Option<u64>> {
    let before: Option<Option<i64>> =
        connection.query_row("SELECT time FROM prunable_before", [], |row| row.get(0)).optional()?;
    let Some(before) = before.flatten() else { return Ok(None) };
    let Some(oldest) = rows::oldest(connection)? else { return Ok(None) };
    // What is settled last stays nameable: nothing after it goes, be it kept as evidence or not.
    let settled = standing.epochs.iter().rev().find_map(|row| row.position(row.settled_through));
    let most =
        [settled.unwrap_or(0), standing.position.saturating_sub(1), oldest.saturating_add(AT_ONCE - 1)];
    let most = most.into_iter().min().unwrap_or(0);
    let mut through = None;
    for (index, row) in standing.epochs.iter().enumerate() {
        let confirmed: Option<u64> = connection
            .prepare_cached("SELECT max(seq) FROM receipt WHERE epoch_n = ?1 AND time <= ?2")?
            .query_row((row.epoch.n, before), |row| row.get(0))?;
        let last = standing.last_seq(index);
        let seq = confirmed.unwrap_or(0).min(row.settled_through);
        // An answer proves a verdict batch by all of its entries: one that is not wholly settled stays whole.
        let mut seq = unsettled_batch(connection, row)?.map_or(seq, |first| seq.min(first.saturating_sub(1)));
        if row.aside_after == Some(seq) && kept_as_evidence(connection, row.epoch.n, before)? {
            seq = last;
        }
        through = row.position(seq).or(through);
        if seq < last {
            break;
        }
    }
    Ok(through.map(|through| through.min(most)).filter(|through| *through >= oldest))
}

/// The first seq of the first verdict batch that goes beyond what is settled.
fn unsettled_batch(connection: &Connection, row: &EpochRow) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached(
            "SELECT min(first_seq) FROM range_proof WHERE epoch_n = ?1 AND first_seq + count - 1 > ?2",
        )?
        .query_row((row.epoch.n, row.settled_through), |row| row.get(0))
}

fn kept_as_evidence(connection: &Connection, epoch_n: u64, before: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM set_aside WHERE epoch_n = ?1 AND kept_at <= ?2)")?
        .query_row((epoch_n, before), |row| row.get(0))
}

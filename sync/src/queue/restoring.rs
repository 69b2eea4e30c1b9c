//! Accepting that the cloud was restored from a backup: what it no longer holds is sent to it again (PROTOCOL §4).

use super::error::{QueueError, SettleError, StopReason};
use super::log::{self, LogStanding};
use super::rows::{self, EpochRow};
use super::writer::Writer;
use super::{QueueAlarm, check};
use lotgate_domain::chain::Head;
use lotgate_domain::statement::Signed;
use lotgate_domain::statement::event::LogRecovered;
use rusqlite::Connection;

impl Writer {
    /// Accepts restores of the cloud's log that the tenant's root key signed: what the cloud no longer holds,
    /// which is everything after `held`, is not settled any longer, and neither is what was proven only by leaves
    /// that the restored log lacks. What was pruned stays settled: nobody could send it again. What was set aside is
    /// sent as evidence once more. Those that were accepted before change nothing.
    pub(super) fn accept_recovery(
        &mut self,
        recovered: &[Signed<LogRecovered>],
        held: Head,
    ) -> Result<(), SettleError> {
        let standing = &self.standing.log;
        let (mut known, first_sight) = (standing.known, standing.known.last.is_none());
        let mut new = Vec::new();
        for statement in recovered {
            if statement.value.generation <= known.generation {
                continue;
            }
            if !known.is_next_restore(&statement.value) {
                return Err(SettleError::Inconsistent { seq: held.seq });
            }
            known = known.after_restore(&statement.value);
            new.push(statement);
        }
        if new.is_empty() {
            return Ok(());
        }
        let limits = self.held_through(held)?;
        self.transact(|transaction, after| {
            for statement in new {
                log::keep_restore(transaction, statement)?;
            }
            if first_sight {
                // A station that saw nothing of the log before has nothing that could have been lost.
                log::acknowledge(transaction, QueueAlarm::LogRecovered, known.generation)?;
            }
            let restores = log::restores_after(transaction, 0)?;
            let base = rows::base(transaction)?.map_or(0, |(position, _)| position);
            for (row, limit) in after.epochs.iter_mut().zip(limits) {
                let pruned = base.saturating_add(1).saturating_sub(row.first_position);
                let limit = limit.min(proven_through(transaction, row, &restores)?).max(pruned);
                if row.settled_through > limit {
                    row.settled_through = limit;
                    rows::store_delivery(transaction, row)?;
                }
            }
            send_evidence_again(transaction)?;
            after.log = LogStanding::load(transaction)?;
            after.refresh_delivery(transaction)
        })?;
        Ok(())
    }

    /// How far each epoch is held by a cloud whose head is `held`.
    fn held_through(&self, held: Head) -> Result<Vec<u64>, QueueError> {
        let connection =
            self.connection.as_ref().ok_or(QueueError::Stopped(self.stopped.unwrap_or(StopReason::Io)))?;
        let identity = &self.composer.identity;
        let position = check::position_of(connection, identity, &self.standing.epochs, &held)
            .map_err(|error| QueueError::Storage(error.into()))?;
        let limit = |row: &EpochRow| match held.epoch {
            Some(epoch) if row.epoch.n < epoch.n => u64::MAX,
            Some(epoch) if row.epoch == epoch && position.is_some() => held.seq,
            _ => 0,
        };
        Ok(self.standing.epochs.iter().map(limit).collect())
    }
}

/// Marks what was set aside as not kept: nobody can tell whether the backup has it, and the cloud keeps each entry
/// once. But for a tail of which something was pruned: that the cloud had it is all that covers the gap.
fn send_evidence_again(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute(
            "UPDATE set_aside SET kept_through = 0, kept_at = NULL \
             WHERE NOT EXISTS (SELECT 1 FROM base JOIN epoch ON epoch.n = set_aside.epoch_n \
                               WHERE base.position >= epoch.first_position + set_aside.after_seq)",
            [],
        )
        .map(|_| ())
}

/// How far the epoch of `row` is proven by verdict batches that every later restore of the log kept.
fn proven_through(
    connection: &Connection,
    row: &EpochRow,
    restores: &[(u64, Option<LogRecovered>)],
) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "SELECT range_proof.first_seq, range_proof.count, generation, verdict.first + verdict.count \
         FROM range_proof JOIN verdict ON hash = verdict_hash \
         WHERE range_proof.epoch_n = ?1 ORDER BY range_proof.first_seq, range_proof.count",
    )?;
    let mut found = statement.query([row.epoch.n])?;
    let mut proven = 0_u64;
    while let Some(range) = found.next()? {
        let (first, count, generation, index): (u64, u64, u64, u64) =
            (range.get(0)?, range.get(1)?, range.get(2)?, range.get(3)?);
        // One that cannot be read may have kept nothing.
        let kept = |(later, restore): &(u64, Option<LogRecovered>)| {
            *later <= generation || restore.as_ref().is_some_and(|restore| index < restore.restored.size)
        };
        if first <= proven.saturating_add(1) && restores.iter().all(kept) {
            proven = proven.max(first.saturating_add(count).saturating_sub(1));
        }
    }
    Ok(proven)
}

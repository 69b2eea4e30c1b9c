//! What the cloud's answers change: how far operations were sent, receipts, verdicts, reference data.

use super::error::{KeepPageError, QueueError, SettleError};
use super::log::{LogKnown, LogStep, ProvenVerdicts};
use super::rows::{self, EpochRow};
use super::standing;
use super::writer::Writer;
use super::{PageMark, Settled, Settlement, check, log};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::Epoch;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::statement::{FeedPoint, Receipt, Signed};
use rusqlite::{Connection, named_params};

impl Writer {
    /// Notes that everything of `epoch` through `seq` was handed to the network.
    pub(super) fn mark_sent(&mut self, epoch: Epoch, seq: u64) -> Result<(), QueueError> {
        let index = self.standing.epoch_index(epoch.n).ok_or(QueueError::Unknown)?;
        let row = self.standing.epochs.get(index).ok_or(QueueError::Unknown)?;
        if row.epoch != epoch || seq > self.standing.last_seq(index) {
            return Err(QueueError::Unknown);
        }
        if seq <= row.sent_through {
            return Ok(());
        }
        let row = EpochRow { sent_through: seq, ..*row };
        self.transact(|transaction, after| {
            rows::store_delivery(transaction, &row)?;
            if let Some(kept) = after.epochs.get_mut(index) {
                *kept = row;
            }
            after.refresh_delivery(transaction)
        })
    }

    /// Settles what is proven to stand in the log (PROTOCOL §4): of the epoch that was pushed, as far as the
    /// receipt goes and the proven verdicts follow each other without a gap. All of it is kept. A receipt that
    /// was overtaken is kept and settles nothing.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> Result<Settled, SettleError> {
        let receipt = &settlement.receipt.value;
        self.own_entry(receipt)?;
        let known = self.standing.log.known;
        // It was verified against what was known then; that may have changed, but for the same answer twice.
        let fits = |step: &LogStep| step.known == known || known.last == Some(step.mark);
        if !settlement.log.as_ref().is_none_or(fits) {
            return Err(SettleError::Overtaken);
        }
        let (index, row) = self.pushed_epoch(settlement)?;
        let through = settled_by(settlement, &row, self.standing.last_seq(index));
        let newly = through.saturating_sub(row.settled_through);
        let row = EpochRow {
            sent_through: row.sent_through.max(through),
            settled_through: row.settled_through.max(through),
            ..row
        };
        let reading = self.composer.clock.read();
        let through = self.transact(|transaction, after| {
            keep(transaction, settlement, known)?;
            if let Some(step) = &settlement.log {
                after.log.known = after.log.known.after(step.mark);
            }
            if newly > 0 {
                rows::store_delivery(transaction, &row)?;
                if let Some(kept) = after.epochs.get_mut(index) {
                    *kept = row;
                }
                after.refresh_delivery(transaction)?;
            }
            if after.clock.take_signed(receipt.time, reading) {
                after.mark_position = after.position;
                standing::store_clock(transaction, &after.clock, after.mark_position)?;
            }
            let position = row.position(row.settled_through);
            let hash = position.map(|position| rows::hash_at(transaction, position)).transpose()?.flatten();
            Ok(hash.map(|hash| ChainPoint { epoch: row.epoch, seq: row.settled_through, hash }))
        })?;
        let exceptions =
            settlement.verdicts.iter().map(|proven| proven.batch.value.exceptions.len()).sum::<usize>();
        Ok(Settled { through, newly, exceptions: u64::try_from(exceptions).unwrap_or(u64::MAX) })
    }

    /// The epoch that was pushed; the receipt must be for it or for a later one.
    fn pushed_epoch(&self, settlement: &Settlement) -> Result<(usize, EpochRow), SettleError> {
        let (epoch, receipt) = (settlement.epoch, &settlement.receipt.value);
        let inconsistent = SettleError::Inconsistent { seq: receipt.through.seq };
        let found = self.standing.epoch_index(epoch.n);
        let found = found.and_then(|index| Some((index, *self.standing.epochs.get(index)?)));
        let (index, row) = found.filter(|(_, row)| row.epoch == epoch).ok_or_else(|| inconsistent.clone())?;
        let fits = receipt.epoch == epoch || receipt.epoch.n > epoch.n;
        if fits { Ok((index, row)) } else { Err(inconsistent) }
    }

    /// Checks that the receipt is for an entry that is here.
    fn own_entry(&self, receipt: &Receipt) -> Result<(), SettleError> {
        let seq = receipt.through.seq;
        let identity = &self.composer.identity;
        if receipt.station != identity.station || receipt.tenant != identity.tenant {
            return Err(SettleError::Foreign);
        }
        let index = self.standing.epoch_index(receipt.epoch.n).ok_or(SettleError::Ahead { seq })?;
        let row = self.standing.epochs.get(index).ok_or(SettleError::Ahead { seq })?;
        if row.epoch != receipt.epoch || seq == 0 {
            return Err(SettleError::Inconsistent { seq });
        }
        if seq > self.standing.last_seq(index) {
            return Err(SettleError::Ahead { seq });
        }
        let connection = self
            .connection
            .as_ref()
            .ok_or(QueueError::Stopped(self.stopped.unwrap_or(super::StopReason::Io)))?;
        let point = Head { epoch: Some(receipt.epoch), seq, hash: receipt.through.hash };
        let held = check::position_of(connection, identity, &self.standing.epochs, &point)
            .map_err(|error| QueueError::Storage(error.into()))?;
        if held.is_some() { Ok(()) } else { Err(SettleError::Inconsistent { seq }) }
    }

    /// Keeps the newest page of reference data, or notes that the one that is here is still the newest.
    pub(super) fn keep_page(
        &mut self,
        point: &Signed<FeedPoint>,
        page: Option<&[u8]>,
    ) -> Result<(), KeepPageError> {
        let identity = &self.composer.identity;
        let value = &point.value;
        if value.site != identity.site.id || value.tenant != identity.tenant {
            return Err(KeepPageError::Foreign);
        }
        let known = self.standing.page;
        if known.is_some_and(|known| {
            value.cursor < known.cursor
                || value.time < known.time
                || (value.cursor == known.cursor && value.hash != known.hash)
        }) {
            return Err(KeepPageError::Inconsistent);
        }
        let same = known.is_some_and(|known| known.cursor == value.cursor);
        if !same && page.is_none() {
            return Err(KeepPageError::PageMissing);
        }
        let confirmed = self.composer.clock.read();
        let mark = PageMark { cursor: value.cursor, hash: value.hash, time: value.time, confirmed };
        self.transact(|transaction, after| {
            if let Some(page) = page.filter(|_| !same) {
                store_page(transaction, &mark, page)?;
            }
            confirm_page(transaction, &mark, after.log.known.generation, &point.bytes)?;
            after.page = Some(mark);
            after.clock.snapshot = Some(mark.time);
            Ok(())
        })?;
        Ok(())
    }
}

fn keep_receipt(connection: &Connection, receipt: &Signed<Receipt>) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO receipt (hash, epoch_n, seq, time, statement) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (hash) DO NOTHING",
        )?
        .execute((
            receipt.hash.as_bytes(),
            receipt.value.epoch.n,
            receipt.value.through.seq,
            receipt.value.time.unix_ms(),
            &receipt.bytes,
        ))
        .map(|_| ())
}

/// How far the settlement settles the epoch of `row`, whose last entry is `last_seq`.
fn settled_by(settlement: &Settlement, row: &EpochRow, last_seq: u64) -> u64 {
    if settlement.log.is_none() {
        return row.settled_through;
    }
    let receipt = &settlement.receipt.value;
    let most = if receipt.epoch == settlement.epoch { receipt.through.seq } else { last_seq };
    let mut proven = row.settled_through;
    // The batches come in order of seq; one that leaves a gap settles nothing.
    for verdicts in &settlement.verdicts {
        if verdicts.first_seq > proven.saturating_add(1) {
            break;
        }
        proven = proven.max(verdicts.last_seq());
    }
    // What was set aside while the answer was on its way stays out of the chain.
    proven.min(most).min(row.aside_after.unwrap_or(u64::MAX))
}

/// Keeps receipt, checkpoint, verdicts, and what proves them.
fn keep(connection: &Connection, settlement: &Settlement, known: LogKnown) -> rusqlite::Result<()> {
    keep_receipt(connection, &settlement.receipt)?;
    let Some(step) = &settlement.log else { return Ok(()) };
    let checkpoint = log::keep_checkpoint(connection, step, known)?;
    for proven in &settlement.verdicts {
        keep_verdicts(connection, proven, settlement.epoch.n)?;
        log::keep_range(connection, proven, settlement.epoch.n, step, checkpoint)?;
    }
    Ok(())
}

fn keep_verdicts(connection: &Connection, proven: &ProvenVerdicts, epoch_n: u64) -> rusqlite::Result<()> {
    let ProvenVerdicts { batch, first_seq, .. } = proven;
    let added = connection
        .prepare_cached(
            "INSERT INTO verdict (hash, first, count, epoch_n, first_seq, statement) \
             VALUES (:hash, :first, :count, :epoch_n, :first_seq, :statement) ON CONFLICT (hash) DO NOTHING",
        )?
        .execute(named_params! {
            ":hash": batch.hash.as_bytes(),
            ":first": batch.value.first,
            ":count": batch.value.count,
            ":epoch_n": epoch_n,
            ":first_seq": first_seq,
            ":statement": batch.bytes,
        })?;
    if added == 0 || batch.value.exceptions.is_empty() {
        return Ok(());
    }
    let exceptions = serde_json::to_string(&batch.value.exceptions)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached(
            "INSERT INTO verdict_exception (verdict_hash, log_index, verdict, code) \
             SELECT ?1, value ->> 'index', value ->> 'verdict', value ->> 'code' FROM json_each(?2) WHERE true \
             ON CONFLICT DO NOTHING",
        )?
        .execute((batch.hash.as_bytes(), exceptions))
        .map(|_| ())
}

/// Puts a new page in the place of the old one.
pub(super) fn store_page(connection: &Connection, mark: &PageMark, page: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO reference_page (id, cursor, generation, hash, time, statement, page, confirmed_wall, \
                                         confirmed_offset, confirmed_mono, confirmed_boot) \
             VALUES (1, :cursor, 0, :hash, :time, x'', :page, 0, 0, 0, zeroblob(16)) \
             ON CONFLICT (id) DO UPDATE SET \
               cursor = excluded.cursor, hash = excluded.hash, time = excluded.time, page = excluded.page",
        )?
        .execute(named_params! {
            ":cursor": mark.cursor,
            ":hash": mark.hash.as_bytes(),
            ":time": mark.time.unix_ms(),
            ":page": page,
        })
        .map(|_| ())
}

/// Notes the newest statement for the page and when it arrived.
pub(super) fn confirm_page(
    connection: &Connection,
    mark: &PageMark,
    generation: u64,
    statement: &[u8],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE reference_page SET time = :time, generation = :generation, statement = :statement, \
               confirmed_wall = :wall, \
               confirmed_offset = :offset, confirmed_mono = :mono, confirmed_boot = :boot",
        )?
        .execute(named_params! {
            ":time": mark.time.unix_ms(),
            ":generation": generation,
            ":statement": statement,
            ":wall": mark.confirmed.wall.unix_ms(),
            ":offset": mark.confirmed.offset_minutes,
            ":mono": mark.confirmed.mono_ms,
            ":boot": mark.confirmed.boot.0.into_bytes(),
        })
        .map(|_| ())
}

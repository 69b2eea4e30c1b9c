//! What the cloud's answers change: how far operations were sent, receipts, verdicts, reference data.

use super::check;
use super::error::{KeepPageError, QueueError, SettleError};
use super::rows::{self, EpochRow};
use super::standing;
use super::writer::Writer;
use super::{PageMark, Settled, Settlement};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::Epoch;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::statement::{FeedPoint, Receipt, Signed, Verdict, VerdictBatch};
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

    /// Settles through a receipt (PROTOCOL §9.16): only if it is for an own entry with the same hash. One that
    /// was overtaken is kept and changes nothing else.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> Result<Settled, SettleError> {
        let receipt = &settlement.receipt.value;
        let (index, row) = self.own_entry(receipt)?;
        let seq = receipt.through.seq;
        let newly = seq.saturating_sub(row.settled_through);
        let row = EpochRow {
            sent_through: row.sent_through.max(seq),
            settled_through: row.settled_through.max(seq),
            ..row
        };
        let reading = self.composer.clock.read();
        self.transact(|transaction, after| {
            keep_receipt(transaction, &settlement.receipt)?;
            let placed = place(receipt, &settlement.verdicts);
            for (verdicts, first_seq) in settlement.verdicts.iter().zip(placed) {
                keep_verdicts(transaction, verdicts, receipt.epoch.n, first_seq)?;
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
            Ok(())
        })?;
        let exceptions = settlement.verdicts.iter().map(|batch| batch.value.exceptions.len()).sum::<usize>();
        Ok(Settled {
            through: ChainPoint { epoch: receipt.epoch, seq, hash: receipt.through.hash },
            newly,
            exceptions: u64::try_from(exceptions).unwrap_or(u64::MAX),
        })
    }

    /// The epoch that the receipt is for, if its entry is in it.
    fn own_entry(&self, receipt: &Receipt) -> Result<(usize, EpochRow), SettleError> {
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
        if held.is_some() { Ok((index, *row)) } else { Err(SettleError::Inconsistent { seq }) }
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
            confirm_page(transaction, &mark, &point.bytes)?;
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
            "INSERT INTO receipt (hash, epoch_n, seq, statement) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (hash) DO NOTHING",
        )?
        .execute((receipt.hash.as_bytes(), receipt.value.epoch.n, receipt.value.through.seq, &receipt.bytes))
        .map(|_| ())
}

/// The first seq of each batch, as far as the receipt tells: its own batches end, one after the other, at
/// the entry that it goes through to.
fn place(receipt: &Receipt, verdicts: &[Signed<VerdictBatch>]) -> Vec<Option<u64>> {
    let mut first_seqs = vec![None; verdicts.len()];
    let mut end = receipt.through.seq;
    for hash in receipt.verdicts.iter().rev() {
        let Some(index) = verdicts.iter().position(|batch| batch.hash == *hash) else { break };
        let Some(start) = verdicts.get(index).and_then(|batch| end.checked_sub(batch.value.count)) else {
            break;
        };
        if let Some(first_seq) = first_seqs.get_mut(index) {
            *first_seq = Some(start.saturating_add(1));
        }
        end = start;
    }
    first_seqs
}

fn keep_verdicts(
    connection: &Connection,
    verdicts: &Signed<VerdictBatch>,
    epoch_n: u64,
    first_seq: Option<u64>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO verdict (hash, first, count, epoch_n, first_seq, statement) \
             VALUES (:hash, :first, :count, :epoch_n, :first_seq, :statement) \
             ON CONFLICT (hash) DO UPDATE SET \
               epoch_n = coalesce(epoch_n, excluded.epoch_n), first_seq = coalesce(first_seq, excluded.first_seq)",
        )?
        .execute(named_params! {
            ":hash": verdicts.hash.as_bytes(),
            ":first": verdicts.value.first,
            ":count": verdicts.value.count,
            ":epoch_n": first_seq.map(|_| epoch_n),
            ":first_seq": first_seq,
            ":statement": verdicts.bytes,
        })?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO verdict_exception (verdict_hash, log_index, verdict, code) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO NOTHING",
    )?;
    for exception in &verdicts.value.exceptions {
        let verdict = match exception.verdict {
            Verdict::Accepted => "accepted",
            Verdict::Flagged => "flagged",
            Verdict::Quarantined => "quarantined",
        };
        insert.execute((verdicts.hash.as_bytes(), exception.index, verdict, &exception.code))?;
    }
    Ok(())
}

/// Puts a new page in the place of the old one.
fn store_page(connection: &Connection, mark: &PageMark, page: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO reference_page (id, cursor, hash, time, statement, page, confirmed_wall, \
                                         confirmed_offset, confirmed_mono, confirmed_boot) \
             VALUES (1, :cursor, :hash, :time, x'', :page, 0, 0, 0, zeroblob(16)) \
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
fn confirm_page(connection: &Connection, mark: &PageMark, statement: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE reference_page SET time = :time, statement = :statement, confirmed_wall = :wall, \
               confirmed_offset = :offset, confirmed_mono = :mono, confirmed_boot = :boot",
        )?
        .execute(named_params! {
            ":time": mark.time.unix_ms(),
            ":statement": statement,
            ":wall": mark.confirmed.wall.unix_ms(),
            ":offset": mark.confirmed.offset_minutes,
            ":mono": mark.confirmed.mono_ms,
            ":boot": mark.confirmed.boot.0.into_bytes(),
        })
        .map(|_| ())
}

//! What the cloud makes of an operation (PROTOCOL §3, step 4).

use super::ingest::SKEW_MS;
use super::{Station, StoredEntry};
use crate::epoch::EpochReason;
use crate::operation::body::{Body, BodyError};
use crate::operation::{At, Clock, Content, Operation, ReadEntry};
use crate::statement::event::Closing;
use crate::statement::{Verdict, VerdictCode};
use std::collections::BTreeMap;

/// Lots (item, lot) that the newest reference data does not release, each with the cursor of that data.
pub type BlockedLots = BTreeMap<(String, String), u64>;

/// What was made of an operation; `None` is accepted.
pub type Judgement = Option<(Verdict, VerdictCode)>;

/// What is the same for every operation of a batch.
#[derive(Debug)]
pub struct Standing<'a> {
    /// Whose operations.
    pub station: &'a Station,
    /// Lots that may not be used.
    pub blocked: &'a BlockedLots,
    /// The branch that they are on.
    pub branch: u64,
    /// The first seq of the epoch that two entries claim, if its chain forked.
    pub forked_from: Option<u64>,
    /// The epoch was opened after rollback, loss or doubt, and nobody confirmed it.
    pub unconfirmed: bool,
    /// The station's clock was wrong by more than 300 s when it pushed them.
    pub skewed: bool,
}

/// The lots that the operations claim to be usable.
#[must_use]
pub fn lots_claimed(entries: &[StoredEntry]) -> Vec<(String, String)> {
    let mut lots: Vec<(String, String)> =
        entries.iter().filter_map(|entry| claimed_lot(known(&entry.entry)?)).collect();
    lots.sort();
    lots.dedup();
    lots
}

/// Whether this entry opens an epoch in a way that leaves no doubt.
#[must_use]
pub fn opens_as_planned(entry: &ReadEntry) -> bool {
    match known(entry).map(|operation| &operation.body) {
        Some(Body::EpochOpened { reason, .. }) => {
            EpochReason::parse(reason).is_some_and(EpochReason::is_planned)
        }
        _ => false,
    }
}

/// Judges one operation; `previous` is the entry before it in its epoch. The first code that applies is the one
/// that stands: what keeps it from being applied at all comes first.
#[must_use]
pub fn judge(
    entry: &StoredEntry,
    previous: Option<&ReadEntry>,
    id_reused: bool,
    standing: &Standing<'_>,
) -> Judgement {
    use Verdict::{Flagged, Quarantined};
    let operation = match &entry.entry.content {
        Content::LaterVersion | Content::Body(_, BodyError::UnknownType) => {
            return Some((Quarantined, VerdictCode::UnknownType));
        }
        Content::Body(_, BodyError::Invalid) => return Some((Quarantined, VerdictCode::InvalidBody)),
        Content::Known(operation) => operation,
    };
    let forked = standing.branch > 0 || standing.forked_from.is_some_and(|from| entry.seq >= from);
    if forked {
        return Some((Quarantined, VerdictCode::DependsOnUnapplied));
    }
    if let Some((closing, through)) = &standing.station.closed {
        let reported =
            through.is_some_and(|through| (entry.epoch.n, entry.seq) <= (through.epoch.n, through.seq));
        let flagged = *closing == Closing::Revoked && reported;
        return Some((if flagged { Flagged } else { Quarantined }, VerdictCode::StationRevoked));
    }
    let code = flag(operation, previous, id_reused, standing)?;
    Some((Flagged, code))
}

fn flag(
    operation: &Operation,
    previous: Option<&ReadEntry>,
    id_reused: bool,
    standing: &Standing<'_>,
) -> Option<VerdictCode> {
    if id_reused {
        return Some(VerdictCode::IdReused);
    }
    if !standing.station.training && simulated(&operation.body) {
        return Some(VerdictCode::SimulatedDevice);
    }
    if standing.unconfirmed {
        return Some(VerdictCode::EpochUnconfirmed);
    }
    let cursor = claimed_lot(operation).and_then(|lot| standing.blocked.get(&lot).copied());
    let knew = operation.knew.as_ref().map_or(0, |knew| knew.snapshot);
    match cursor {
        Some(cursor) if cursor > knew => return Some(VerdictCode::LotHeldSince),
        Some(_) => return Some(VerdictCode::PolicyViolation),
        None => {}
    }
    let before = previous.and_then(known).map(|operation| &operation.at);
    let doubtful = matches!(operation.at.clock, Clock::RolledBack | Clock::Accepted)
        || standing.skewed
        || before.is_some_and(|before| jumped(before, &operation.at));
    doubtful.then_some(VerdictCode::ClockRolledBack)
}

/// Whether the wall clock moved by more than 300 s against the monotonic clock of the same boot.
fn jumped(before: &At, at: &At) -> bool {
    let Some(passed) = at.mono_ms.checked_sub(before.mono_ms).and_then(|ms| i64::try_from(ms).ok()) else {
        return false;
    };
    let moved = at.wall.ms_since(before.wall).saturating_sub(passed);
    before.boot == at.boot && !(-SKEW_MS..=SKEW_MS).contains(&moved)
}

fn known(entry: &ReadEntry) -> Option<&Operation> {
    match &entry.content {
        Content::Known(operation) => Some(operation),
        Content::Body(..) | Content::LaterVersion => None,
    }
}

fn claimed_lot(operation: &Operation) -> Option<(String, String)> {
    match &operation.body {
        Body::ScanAccepted(scan) => Some((scan.item.clone(), scan.lot.clone())),
        Body::ScanRefused(_)
        | Body::ScanRepeated { .. }
        // A label says what was printed; its lot was claimed by the scan that it names.
        | Body::LabelQueued(_)
        | Body::LabelState(_)
        | Body::StationEnrolled { .. }
        | Body::EpochOpened { .. } => None,
    }
}

fn simulated(body: &Body) -> bool {
    match body {
        Body::ScanAccepted(scan) => scan.device.simulated,
        Body::ScanRefused(scan) => scan.device.simulated,
        Body::LabelQueued(label) => label.printer.simulated,
        Body::ScanRepeated { .. }
        | Body::LabelState(_)
        | Body::StationEnrolled { .. }
        | Body::EpochOpened { .. } => false,
    }
}

//! What the cloud makes of an operation (PROTOCOL §3, step 4).

use super::{Station, StoredEntry};
use crate::operation::body::{Body, BodyError};
use crate::operation::{Content, Operation};
use crate::statement::VerdictCode;
use std::collections::BTreeMap;

/// Lots (item, lot) that the newest reference data does not release, each with the cursor of that data.
pub type BlockedLots = BTreeMap<(String, String), u64>;

/// The lots that the operations claim to be usable.
#[must_use]
pub fn lots_claimed(entries: &[StoredEntry]) -> Vec<(String, String)> {
    let mut lots: Vec<(String, String)> = entries
        .iter()
        .filter_map(|entry| match &entry.entry.content {
            Content::Known(operation) => claimed_lot(operation),
            Content::Body(..) | Content::LaterVersion => None,
        })
        .collect();
    lots.sort();
    lots.dedup();
    lots
}

/// Judges one operation. `None` is accepted; the first code that applies is the one that stands.
#[must_use]
pub fn judge(
    content: &Content,
    station: &Station,
    id_reused: bool,
    blocked: &BlockedLots,
) -> Option<VerdictCode> {
    let operation = match content {
        Content::LaterVersion | Content::Body(_, BodyError::UnknownType) => {
            return Some(VerdictCode::UnknownType);
        }
        Content::Body(_, BodyError::Invalid) => return Some(VerdictCode::InvalidBody),
        Content::Known(operation) => operation,
    };
    if id_reused {
        return Some(VerdictCode::IdReused);
    }
    if !station.training && simulated(&operation.body) {
        return Some(VerdictCode::SimulatedDevice);
    }
    let cursor = claimed_lot(operation).and_then(|lot| blocked.get(&lot).copied());
    let knew = operation.knew.as_ref().map_or(0, |knew| knew.snapshot);
    cursor.map(|cursor| if cursor > knew { VerdictCode::LotHeldSince } else { VerdictCode::PolicyViolation })
}

fn claimed_lot(operation: &Operation) -> Option<(String, String)> {
    match &operation.body {
        Body::ScanAccepted(scan) => Some((scan.item.clone(), scan.lot.clone())),
        Body::ScanRefused(_)
        | Body::ScanRepeated { .. }
        | Body::StationEnrolled { .. }
        | Body::EpochOpened { .. } => None,
    }
}

fn simulated(body: &Body) -> bool {
    match body {
        Body::ScanAccepted(scan) => scan.device.simulated,
        Body::ScanRefused(scan) => scan.device.simulated,
        Body::ScanRepeated { .. } | Body::StationEnrolled { .. } | Body::EpochOpened { .. } => false,
    }
}

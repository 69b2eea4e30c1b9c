//! From a barcode reading to a lot, and whether that lot may be used (PROTOCOL §9.22; LOT-1, LOT-2, SCN-4).

use crate::barcode::{ErrorCode, Reading};
use crate::reference::{Lot, LotStatus, Snapshot};
use crate::time::Timestamp;
use jiff::civil::Date;

/// The most elements of a code that is looked at.
pub const MOST_ELEMENTS: usize = 100;

/// Why the station refuses a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanRefusal {
    /// The code itself is not right or not certain.
    Barcode(ErrorCode),
    /// It has more elements than any code on a container; with them, its operation might not fit an entry.
    TooManyElements,
    /// No reference data has been pulled yet, so no lot can be known.
    NoReferenceData,
    /// No lot, or more than one, goes by this code.
    UnknownLot,
    /// The code carries another expiry date than the reference data (211.101(c)).
    ExpiryMismatch,
    /// The lot is rejected (211.89).
    LotRejected,
    /// The lot is in quarantine (211.84).
    LotQuarantined,
    /// The lot is on hold.
    LotHeld,
    /// The last day of use has passed at the site (211.87).
    LotExpired,
}

impl ScanRefusal {
    /// The refusals that do not come from the barcode rules.
    pub const BESIDES_BARCODE: [Self; 8] = [
        Self::TooManyElements,
        Self::NoReferenceData,
        Self::UnknownLot,
        Self::ExpiryMismatch,
        Self::LotRejected,
        Self::LotQuarantined,
        Self::LotHeld,
        Self::LotExpired,
    ];

    /// The code as it stands in the operation and in the message catalogue.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Barcode(code) => code.as_str(),
            Self::TooManyElements => "too_many_elements",
            Self::NoReferenceData => "no_reference_data",
            Self::UnknownLot => "unknown_lot",
            Self::ExpiryMismatch => "expiry_mismatch",
            Self::LotRejected => "lot_rejected",
            Self::LotQuarantined => "lot_quarantined",
            Self::LotHeld => "lot_held",
            Self::LotExpired => "lot_expired",
        }
    }
}

/// What the station makes of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The lot that was recognised, if one was.
    pub lot: Option<&'a Lot>,
    /// Why it may not be used; `None` is accepted, and then there is a lot.
    pub refusal: Option<ScanRefusal>,
}

/// Decides on a reading. `now` is effective now (DESIGN §4, Time), so a clock set back opens nothing.
#[must_use]
pub fn decide<'a>(reading: &Reading, snapshot: Option<&'a Snapshot>, now: Timestamp) -> Decision<'a> {
    let refused = |lot, refusal| Decision { lot, refusal: Some(refusal) };
    if let Some(error) = &reading.error {
        return refused(None, ScanRefusal::Barcode(error.code));
    }
    if reading.elements.len() > MOST_ELEMENTS {
        return refused(None, ScanRefusal::TooManyElements);
    }
    let Some(snapshot) = snapshot else { return refused(None, ScanRefusal::NoReferenceData) };
    let Some(lot) = recognise(reading, snapshot) else { return refused(None, ScanRefusal::UnknownLot) };
    let today = now.civil_date(&snapshot.zone);
    let printed = reading.value("17").map(|yymmdd| crate::gs1::expiry_date(yymmdd, today));
    match interlock(lot, printed, today) {
        Some(refusal) => refused(Some(lot), refusal),
        None => Decision { lot: Some(lot), refusal: None },
    }
}

/// A scan is a lot by (01)+(10); by (10) alone only if exactly one lot has it; or by an entry equal to it
/// in the lot's codes.
fn recognise<'a>(reading: &Reading, snapshot: &'a Snapshot) -> Option<&'a Lot> {
    match (reading.value("01"), reading.value("10")) {
        (Some(gtin), Some(number)) => {
            snapshot.item_by_gtin(gtin).and_then(|item| snapshot.lot(&item.item, number))
        }
        (None, Some(number)) => {
            let mut lots = snapshot.lots_numbered(number);
            lots.next().filter(|_| lots.next().is_none())
        }
        (_, None) => None,
    }
    .or_else(|| snapshot.lot_by_code(&reading.text))
}

fn interlock(lot: &Lot, printed: Option<Option<Date>>, today: Date) -> Option<ScanRefusal> {
    if printed.is_some_and(|printed| printed != lot.expiry) {
        return Some(ScanRefusal::ExpiryMismatch);
    }
    match lot.status {
        LotStatus::Rejected => Some(ScanRefusal::LotRejected),
        LotStatus::Quarantine => Some(ScanRefusal::LotQuarantined),
        LotStatus::Hold => Some(ScanRefusal::LotHeld),
        LotStatus::Released => lot.expiry.filter(|expiry| today > *expiry).map(|_| ScanRefusal::LotExpired),
    }
}

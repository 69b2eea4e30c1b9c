//! From one scan to the body of its operation: accepted, or refused with a code (SCN-4, LOT-1, LOT-2).

use lotgate_devices::event::{DeviceInfo, Role, Transport};
use lotgate_domain::barcode::{self, Reading, SitePatterns};
use lotgate_domain::lot::{self, ScanRefusal};
use lotgate_domain::operation::body::{Body, Device, Element, ScanAccepted, ScanRefused, SnapshotLot};
use lotgate_domain::reference::{Lot, Snapshot};
use lotgate_domain::time::Timestamp;

/// What the station makes of one scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The operation's body.
    pub body: Body,
    /// Why it was refused; `None` if it was accepted.
    pub refusal: Option<&'static str>,
}

/// Decides on one scan. `now` is effective now; a code's short dates are read in the site's zone.
#[must_use]
pub fn decide(
    raw: &[u8],
    device: &DeviceInfo,
    site_codes: &SitePatterns,
    snapshot: Option<&Snapshot>,
    now: Timestamp,
) -> Outcome {
    let today = snapshot.map_or_else(|| now.utc_date(), |snapshot| now.civil_date(&snapshot.zone));
    let reading = barcode::read(raw, today, site_codes);
    let decision = lot::decide(&reading, snapshot, now);
    match (decision.lot, decision.refusal) {
        (Some(lot), None) => Outcome { body: accepted(raw, device, &reading, lot), refusal: None },
        (lot, refusal) => {
            let code = refusal.unwrap_or(ScanRefusal::UnknownLot).code();
            Outcome { body: refused(raw, device, &reading, lot, code), refusal: Some(code) }
        }
    }
}

fn accepted(raw: &[u8], device: &DeviceInfo, reading: &Reading, lot: &Lot) -> Body {
    Body::ScanAccepted(ScanAccepted {
        device: body_device(device),
        raw: hex::encode(raw),
        aim: reading.aim.clone(),
        symbology: reading.symbology.as_str().to_owned(),
        kind: reading.kind.as_str().to_owned(),
        elements: elements(reading),
        item: lot.item.clone(),
        lot: lot.lot.clone(),
        snapshot_lot: snapshot_lot(lot),
    })
}

fn refused(
    raw: &[u8],
    device: &DeviceInfo,
    reading: &Reading,
    lot: Option<&Lot>,
    code: &'static str,
) -> Body {
    Body::ScanRefused(ScanRefused {
        device: body_device(device),
        raw: hex::encode(raw),
        aim: reading.aim.clone(),
        symbology: reading.symbology.as_str().to_owned(),
        kind: reading.kind.as_str().to_owned(),
        elements: elements(reading),
        item: lot.map(|lot| lot.item.clone()),
        lot: lot.map(|lot| lot.lot.clone()),
        snapshot_lot: lot.map(snapshot_lot),
        code: code.to_owned(),
    })
}

/// None of those too many to fit the entry; the raw bytes hold them all.
fn elements(reading: &Reading) -> Vec<Element> {
    if reading.elements.len() > lot::MOST_ELEMENTS {
        return Vec::new();
    }
    reading.elements.iter().map(|e| Element { ai: e.ai.clone(), value: e.value.clone() }).collect()
}

fn snapshot_lot(lot: &Lot) -> SnapshotLot {
    SnapshotLot { status: lot.status, expiry: lot.expiry }
}

/// The device as the body of an operation names it.
pub(crate) fn body_device(device: &DeviceInfo) -> Device {
    Device {
        role: match device.role {
            Role::Scanner => "scanner",
            Role::Printer => "printer",
        }
        .to_owned(),
        transport: match device.transport {
            Transport::Serial => "serial",
            Transport::Tcp => "tcp",
        }
        .to_owned(),
        id: device.id.clone(),
        simulated: device.simulated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lotgate_domain::ids::Hash;
    use lotgate_domain::reference::{Item, LotStatus, ReferenceFile, render_page};

    fn device() -> DeviceInfo {
        DeviceInfo {
            role: Role::Scanner,
            transport: Transport::Serial,
            id: "/dev/x".to_owned(),
            simulated: true,
        }
    }

    fn snapshot() -> Snapshot {
        let lot = |lot: &str, status, codes: &[&str]| Lot {
            lot: lot.to_owned(),
            item: "A100".to_owned(),
            status,
            expiry: Some("2026-12-31".parse().unwrap()),
            codes: codes.iter().map(|&c| c.to_owned()).collect(),
        };
        let file = ReferenceFile {
            items: vec![Item {
                item: "A100".to_owned(),
                name: None,
                gtin: Some("04012345678901".to_owned()),
            }],
            lots: vec![
                lot("L1", LotStatus::Released, &["SITE-1"]),
                lot("L2", LotStatus::Hold, &[]),
                lot("L3", LotStatus::Quarantine, &[]),
                lot("L4", LotStatus::Rejected, &[]),
            ],
        };
        Snapshot::read(&render_page(&file, "Europe/Berlin").unwrap(), 3, Hash::ZERO).unwrap()
    }

    fn code(raw: &str, now: &str) -> Option<&'static str> {
        let snapshot = snapshot();
        let now = now.parse().unwrap();
        decide(raw.as_bytes(), &device(), &SitePatterns::default(), Some(&snapshot), now).refusal
    }

    const NOON: &str = "2026-11-22T12:00:00.000Z";

    #[test]
    fn a_released_lot_is_accepted_by_gtin_and_lot_by_lot_alone_and_by_site_code() {
        for raw in ["]C1010401234567890110L1", "]C1010401234567890110L1\u{1d}17261231", "]C0SITE-1", "SITE-1"]
        {
            let raw = raw.replace("\\u{1d}", "\u{1d}");
            assert_eq!(code(&raw, NOON), None, "{raw:?}");
        }
    }

    #[test]
    fn a_lot_that_may_not_be_used_is_refused_with_its_reason() {
        assert_eq!(code("]C1010401234567890110L2", NOON), Some("lot_held"));
        assert_eq!(code("]C1010401234567890110L3", NOON), Some("lot_quarantined"));
        assert_eq!(code("]C1010401234567890110L4", NOON), Some("lot_rejected"));
        assert_eq!(code("]C1010401234567890110L9", NOON), Some("unknown_lot"));
        assert_eq!(code("]C11726123010L1", NOON), Some("missing_partner"), "a date needs its GTIN");
        assert_eq!(code("]C101040123456789011726123010L1", NOON), Some("expiry_mismatch"));
    }

    #[test]
    fn the_last_day_of_use_ends_at_midnight_of_the_site() {
        let scan = "]C1010401234567890110L1";
        assert_eq!(code(scan, "2026-12-31T22:59:59.000Z"), None, "still the 31st in Berlin");
        assert_eq!(code(scan, "2026-12-31T23:00:00.000Z"), Some("lot_expired"));
    }

    #[test]
    fn a_code_of_endless_elements_is_refused_and_still_fits_an_operation() {
        let scan = format!("]d20104012345678901{}", "10A\u{1d}".repeat(1_700));
        assert_eq!(code(&scan, NOON), Some("too_many_elements"));
        let now = NOON.parse().unwrap();
        let outcome = decide(scan.as_bytes(), &device(), &SitePatterns::default(), None, now);
        let bytes = serde_json::to_vec(&outcome.body).unwrap();
        assert!(bytes.len() < lotgate_domain::entry::MAX_FRAME / 2, "{} bytes", bytes.len());
    }

    #[test]
    fn without_reference_data_nothing_is_accepted_and_what_was_read_is_kept() {
        let now = NOON.parse().unwrap();
        let outcome = decide(b"]C0\xff\x00", &device(), &SitePatterns::default(), None, now);
        assert_eq!(outcome.refusal, Some("no_reference_data"));
        assert_eq!(outcome.body.raw_hex(), Some("5d4330ff00"));
    }
}

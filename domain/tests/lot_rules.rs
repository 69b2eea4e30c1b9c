//! From a scan to a lot and to whether it may be used: the table of PROTOCOL §9.22 (LOT-1, LOT-2, SCN-4).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use jiff::civil::{Date, date};
use lotgate_domain::barcode::{self, SitePatterns};
use lotgate_domain::gs1::element_string::render;
use lotgate_domain::ids::Hash;
use lotgate_domain::lot::{ScanRefusal, decide};
use lotgate_domain::reference::{Item, Lot, LotStatus, ReferenceFile, Snapshot, render_page};
use lotgate_domain::time::Timestamp;

const GTIN: &str = "09506000134352";
const OTHER_GTIN: &str = "09506000134369";

fn lot(item: &str, number: &str, status: LotStatus, expiry: Option<Date>, codes: &[&str]) -> Lot {
    Lot {
        lot: number.to_owned(),
        item: item.to_owned(),
        status,
        expiry,
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
    }
}

fn snapshot(zone: &str) -> Snapshot {
    let item = |item: &str, gtin: Option<&str>| Item {
        item: item.to_owned(),
        name: None,
        gtin: gtin.map(str::to_owned),
    };
    let good = Some(date(2027, 2, 28));
    let file = ReferenceFile {
        items: vec![item("A", Some(GTIN)), item("B", Some(OTHER_GTIN)), item("C", None)],
        lots: vec![
            lot("A", "UNIQUE", LotStatus::Released, good, &["RM-1", "RM-1b", "https://example.com/x"]),
            lot("A", "TWICE", LotStatus::Released, good, &[]),
            lot("B", "TWICE", LotStatus::Hold, good, &["RM-2"]),
            lot("C", "NOGTIN", LotStatus::Released, None, &["UNIQUE"]),
            lot("A", "HELD", LotStatus::Hold, good, &[]),
            lot("A", "QUAR", LotStatus::Quarantine, good, &[]),
            lot("A", "REJ", LotStatus::Rejected, good, &[]),
            lot("A", "REJ-OLD", LotStatus::Rejected, Some(date(2020, 1, 1)), &[]),
            lot("A", "TODAY", LotStatus::Released, Some(date(2026, 11, 22)), &[]),
            lot("A", "YESTERDAY", LotStatus::Released, Some(date(2026, 11, 21)), &[]),
            lot("A", "OPEN", LotStatus::Released, None, &[]),
        ],
    };
    Snapshot::read(&render_page(&file, zone).unwrap(), 1, Hash::ZERO).unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    time("2026-11-22T12:00:00.000Z")
}

/// What a scan of `bytes` at `now` is: item and lot, and the code of the refusal.
fn scanned(snapshot: Option<&Snapshot>, bytes: &[u8], now: Timestamp) -> (String, &'static str) {
    let reading = barcode::read(bytes, now.utc_date(), &SitePatterns::default());
    let decision = decide(&reading, snapshot, now);
    let lot = decision.lot.map_or_else(String::new, |lot| format!("{}/{}", lot.item, lot.lot));
    (lot, decision.refusal.map_or("", ScanRefusal::code))
}

fn gs1(elements: &[(&str, &str)]) -> Vec<u8> {
    [b"]d2".as_slice(), &render(elements)].concat()
}

#[test]
fn a_lot_is_recognised_as_the_table_says() {
    let snapshot = snapshot("Europe/Berlin");
    let table: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("(01)+(10)", gs1(&[("01", GTIN), ("10", "UNIQUE")]), "A/UNIQUE", ""),
        ("(01)+(10) of one of two", gs1(&[("01", GTIN), ("10", "TWICE")]), "A/TWICE", ""),
        ("(01)+(10) of the other", gs1(&[("01", OTHER_GTIN), ("10", "TWICE")]), "B/TWICE", "lot_held"),
        ("(10)+(01)", gs1(&[("10", "UNIQUE"), ("01", GTIN)]), "A/UNIQUE", ""),
        ("(10) of another item", gs1(&[("01", OTHER_GTIN), ("10", "UNIQUE")]), "", "unknown_lot"),
        ("(10) of an item without a GTIN", gs1(&[("01", GTIN), ("10", "NOGTIN")]), "", "unknown_lot"),
        ("an unknown GTIN", gs1(&[("01", "09506000117843"), ("10", "UNIQUE")]), "", "unknown_lot"),
        ("another case", gs1(&[("01", GTIN), ("10", "unique")]), "", "unknown_lot"),
        ("(01) alone", gs1(&[("01", GTIN)]), "", "unknown_lot"),
        ("a code", b"RM-1".to_vec(), "A/UNIQUE", ""),
        ("the lot's other code", b"]C0RM-1b".to_vec(), "A/UNIQUE", ""),
        ("a code of a held lot", b"RM-2".to_vec(), "B/TWICE", "lot_held"),
        ("a code with a blank", b"RM-1 ".to_vec(), "", "unknown_lot"),
        ("a lot number in plain text", b"TODAY".to_vec(), "", "unknown_lot"),
        ("a code that is another lot's number", b"UNIQUE".to_vec(), "C/NOGTIN", ""),
        ("a Digital Link", format!("https://id.gs1.org/01/{GTIN}/10/UNIQUE").into_bytes(), "A/UNIQUE", ""),
        ("bytes that are no text", b"\xff\xfe".to_vec(), "", "unknown_lot"),
    ];
    for (why, bytes, lot, code) in table {
        assert_eq!(scanned(Some(&snapshot), &bytes, noon()), (lot.to_owned(), code), "{why}");
    }
}

#[test]
fn a_lot_number_alone_is_a_lot_only_if_exactly_one_has_it() {
    let snapshot = snapshot("UTC");
    let alone = |number: &str| {
        let mut reading =
            barcode::read(&gs1(&[("01", GTIN), ("10", number)]), noon().utc_date(), &SitePatterns::default());
        reading.elements.retain(|element| element.ai == "10");
        assert_eq!(reading.elements.len(), 1, "{reading:?}");
        let decision = decide(&reading, Some(&snapshot), noon());
        (decision.lot.map(|lot| lot.item.clone()), decision.refusal)
    };
    assert_eq!(alone("UNIQUE"), (Some("A".to_owned()), None));
    assert_eq!(alone("NOGTIN"), (Some("C".to_owned()), None), "an item without a GTIN is known by its lot");
    assert_eq!(alone("TWICE"), (None, Some(ScanRefusal::UnknownLot)), "two lots have this number");
    assert_eq!(alone("NONE"), (None, Some(ScanRefusal::UnknownLot)));
}

#[test]
fn status_and_expiry_are_judged_in_a_fixed_order() {
    let snapshot = snapshot("UTC");
    for (number, code) in [
        ("UNIQUE", ""),
        ("OPEN", ""),
        ("TODAY", ""),
        ("HELD", "lot_held"),
        ("QUAR", "lot_quarantined"),
        ("REJ", "lot_rejected"),
        ("REJ-OLD", "lot_rejected"),
        ("YESTERDAY", "lot_expired"),
    ] {
        let scan = gs1(&[("01", GTIN), ("10", number)]);
        assert_eq!(scanned(Some(&snapshot), &scan, noon()), (format!("A/{number}"), code));
    }
}

#[test]
fn a_printed_expiry_that_differs_from_the_reference_is_refused() {
    let snapshot = snapshot("UTC");
    for (number, printed, code) in [
        ("UNIQUE", "270228", ""),
        ("UNIQUE", "270200", ""),
        ("UNIQUE", "270227", "expiry_mismatch"),
        ("UNIQUE", "270300", "expiry_mismatch"),
        ("UNIQUE", "280200", "expiry_mismatch"),
        ("OPEN", "270228", "expiry_mismatch"),
        ("HELD", "270101", "expiry_mismatch"),
        ("HELD", "270228", "lot_held"),
        ("YESTERDAY", "261121", "lot_expired"),
        ("YESTERDAY", "261122", "expiry_mismatch"),
    ] {
        let scan = gs1(&[("01", GTIN), ("17", printed), ("10", number)]);
        let expected = (format!("A/{number}"), code);
        assert_eq!(scanned(Some(&snapshot), &scan, noon()), expected, "(17){printed}");
    }
}

#[test]
fn a_lot_may_be_used_until_its_last_day_ends_at_the_site() {
    for (zone, last, day) in [
        ("UTC", "2026-11-22T23:59:59.999Z", "TODAY"),
        ("Europe/Berlin", "2026-11-22T22:59:59.999Z", "TODAY"),
        ("Asia/Kolkata", "2026-11-22T18:29:59.999Z", "TODAY"),
        ("America/New_York", "2026-11-23T04:59:59.999Z", "TODAY"),
        ("Pacific/Kiritimati", "2026-11-22T09:59:59.999Z", "TODAY"),
        ("Pacific/Pago_Pago", "2026-11-23T10:59:59.999Z", "TODAY"),
        ("Pacific/Auckland", "2026-11-22T10:59:59.999Z", "TODAY"),
    ] {
        let snapshot = snapshot(zone);
        let scan = gs1(&[("01", GTIN), ("10", day)]);
        let last = time(last);
        assert_eq!(scanned(Some(&snapshot), &scan, last).1, "", "{zone}: the last moment");
        assert_eq!(
            scanned(Some(&snapshot), &scan, last.plus_ms(1)).1,
            "lot_expired",
            "{zone}: one moment later"
        );
    }
}

#[test]
fn a_day_with_a_clock_change_ends_when_it_ends_there() {
    for (zone, expiry, last) in [
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-29T21:59:59.999Z"),
        ("Europe/Berlin", date(2026, 10, 25), "2026-10-25T22:59:59.999Z"),
        ("America/New_York", date(2026, 3, 8), "2026-03-09T03:59:59.999Z"),
        ("America/New_York", date(2026, 11, 1), "2026-11-02T04:59:59.999Z"),
        ("Africa/Cairo", date(2026, 4, 23), "2026-04-23T21:59:59.999Z"),
        ("Australia/Lord_Howe", date(2026, 10, 4), "2026-10-04T12:59:59.999Z"),
    ] {
        let file = ReferenceFile {
            items: vec![Item { item: "A".to_owned(), name: None, gtin: Some(GTIN.to_owned()) }],
            lots: vec![lot("A", "L", LotStatus::Released, Some(expiry), &[])],
        };
        let snapshot = Snapshot::read(&render_page(&file, zone).unwrap(), 1, Hash::ZERO).unwrap();
        let scan = gs1(&[("01", GTIN), ("10", "L")]);
        let last = time(last);
        assert_eq!(scanned(Some(&snapshot), &scan, last).1, "", "{zone} {expiry}: the last moment");
        assert_eq!(scanned(Some(&snapshot), &scan, last.plus_ms(1)).1, "lot_expired", "{zone} {expiry}");
    }
}

#[test]
fn without_reference_data_and_with_a_wrong_code_nothing_is_a_lot() {
    let good = gs1(&[("01", GTIN), ("10", "UNIQUE")]);
    assert_eq!(scanned(None, &good, noon()), (String::new(), "no_reference_data"));
    let wrong = gs1(&[("01", "09506000134353"), ("10", "UNIQUE")]);
    let with_data = scanned(Some(&snapshot("UTC")), &wrong, noon());
    assert_eq!(with_data, scanned(None, &wrong, noon()), "what is wrong with the code comes first");
    assert!(
        ScanRefusal::BESIDES_BARCODE.iter().all(|refusal| refusal.code() != with_data.1),
        "{with_data:?}"
    );
    assert_eq!(with_data.0, "");
}

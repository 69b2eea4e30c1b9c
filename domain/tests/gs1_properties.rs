//! Properties of the barcode reader over random bytes and random valid scans.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use jiff::civil::{Date, date};
use lotgate_domain::barcode::{ErrorCode, Kind, Reading, SitePatterns, Symbology, read};
use lotgate_domain::gs1::element_string::render;
use proptest::prelude::*;

const CASES: &str = include_str!("data/gs1_cases.tsv");

fn scan(bytes: &[u8]) -> Reading {
    read(bytes, date(2026, 11, 22), &SitePatterns::default())
}

fn gs1(elements: &[(&str, &str)]) -> Reading {
    let mut bytes = b"]d2".to_vec();
    bytes.extend(render(elements));
    scan(&bytes)
}

fn pairs(reading: &Reading) -> Vec<(&str, &str)> {
    reading.elements.iter().map(|it| (it.ai.as_str(), it.value.as_str())).collect()
}

/// The GS1 check digit by the rule as people know it: from the right, three times every other digit.
fn with_check_digit(body: &str) -> String {
    let weighted = body.bytes().rev().enumerate();
    let sum: u32 =
        weighted.map(|(at, digit)| u32::from(digit - b'0') * if at % 2 == 0 { 3 } else { 1 }).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// Bytes that often come near to valid scans.
fn near_scans() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"]C1".to_vec()),
        Just(b"]d1".to_vec()),
        Just(b"0104012345678901".to_vec()),
        Just(b"17251231".to_vec()),
        Just(b"10LOT42".to_vec()),
        Just(b"21".to_vec()),
        Just(b"\x1d".to_vec()),
        Just(b"https://a/01/".to_vec()),
        Just(b"?17=%4".to_vec()),
        Just(b"+A123".to_vec()),
        Just(b"+$$".to_vec()),
        Just(b"(10)".to_vec()),
        Just("<GS>\u{241d}".as_bytes().to_vec()),
        "[0-9]{1,20}".prop_map(String::into_bytes),
        any::<Vec<u8>>(),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn check_reading(bytes: &[u8], now: Date) -> Result<(), TestCaseError> {
    let reading = read(bytes, now, &SitePatterns::default());
    prop_assert_eq!(&reading.raw, bytes, "every byte is kept");
    let aim = reading.aim.as_deref().unwrap_or_default().as_bytes();
    prop_assert_eq!([aim, reading.data()].concat(), bytes);
    prop_assert_eq!(reading.aim.is_none(), reading.symbology == Symbology::Unknown);
    if let Some(error) = &reading.error {
        prop_assert!(reading.elements.is_empty(), "a refused scan has no elements to use");
        let [start, end] = error.at.expect("a place");
        prop_assert!(start <= end && end <= reading.data().len(), "{}..{}", start, end);
        prop_assert_eq!(error.code == ErrorCode::Ambiguous, error.readings.len() >= 2);
    } else {
        prop_assert_eq!(reading.kind == Kind::Plain, reading.elements.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_give_a_reading_that_keeps_them(bytes in any::<Vec<u8>>(), year in -9999_i16..=9999) {
        check_reading(&bytes, date(year, 2, 28))?;
    }

    #[test]
    fn nearly_valid_bytes_give_a_reading_that_keeps_them(bytes in near_scans()) {
        check_reading(&bytes, date(2026, 11, 22))?;
    }

    #[test]
    fn a_valid_element_string_comes_back_as_it_was_written(
        body in "[0-9]{13}",
        lot in "[A-Z]{1,4}-[A-Z]{1,10}",
        serial in "[A-Za-z!\"%-'*-/:-?_]{1,20}",
        expiry in (0..100_u8, 1..=12_u8, 0..=28_u8),
    ) {
        let gtin = with_check_digit(&body);
        let expiry = format!("{:02}{:02}{:02}", expiry.0, expiry.1, expiry.2);
        let elements = [("01", gtin.as_str()), ("10", &lot), ("17", &expiry), ("21", &serial)];
        let reading = gs1(&elements);
        prop_assert_eq!(&reading.error, &None);
        prop_assert_eq!(pairs(&reading), elements);
        prop_assert_eq!(reading.value("10"), Some(lot.as_str()));
    }

    #[test]
    fn another_check_digit_is_refused(body in "[0-9]{13}", other in 1..10_u8) {
        let right = with_check_digit(&body);
        let digit = (right.as_bytes()[13] - b'0' + other) % 10;
        let wrong = format!("{body}{digit}");
        prop_assert_eq!(gs1(&[("01", &right)]).error, None);
        let error = gs1(&[("01", &wrong)]).error.expect("refused");
        prop_assert_eq!((error.code, error.at), (ErrorCode::WrongCheckDigit, Some([15, 16])));
    }

    #[test]
    fn the_order_of_elements_changes_nothing(line in 1..542_usize, rotate in 0..6_usize) {
        let row = CASES.lines().nth(line).expect("a row for each identifier");
        let readable = row.split('\t').nth(1).expect("the right scan");
        let parts = readable.split('(').skip(1);
        let mut elements: Vec<_> = parts.filter_map(|part| part.split_once(')')).collect();
        let by = rotate % elements.len();
        elements.rotate_left(by);
        let reading = gs1(&elements);
        prop_assert_eq!(&reading.error, &None);
        prop_assert_eq!(pairs(&reading), elements);
    }

    #[test]
    fn a_lost_separator_before_an_expiry_is_never_accepted(lot in "[A-Z0-9]{1,12}", month in 1..=12_u8) {
        let scan = scan(format!("]C1010401234567890110{lot}1727{month:02}00").as_bytes());
        prop_assert_eq!(scan.error.map(|error| error.code), Some(ErrorCode::Ambiguous));
    }
}

//! What has gone wrong with real scanners, printers and labels, each as a named case.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use jiff::civil::{Date, date};
use lotgate_domain::barcode::{
    Decoded, ErrorCode, Kind, Reading, SiteMeaning, SitePattern, SitePatterns, Symbology, TextEncoding,
    decode, read,
};
use lotgate_domain::gs1::{expiry_date, is_gtin14};

fn today() -> Date {
    date(2026, 11, 22)
}

fn scan(text: &str) -> Decoded {
    decode(text.as_bytes(), today())
}

/// The elements as `(01)…(10)…`, or the code of the error.
fn outcome(text: &str) -> String {
    let decoded = scan(text);
    match decoded.error {
        Some(error) => error.code.as_str().to_owned(),
        None => readable(&decoded.elements.unwrap_or_default()),
    }
}

fn readable(elements: &[lotgate_domain::barcode::Element]) -> String {
    elements.iter().map(|it| format!("({}){}", it.ai, it.value)).collect()
}

/// The readings of a scan that must be ambiguous.
fn readings(text: &str) -> Vec<(Kind, String)> {
    let error = scan(text).error.unwrap_or_else(|| panic!("{text:?} is ambiguous"));
    assert_eq!(error.code, ErrorCode::Ambiguous, "{text:?}");
    error.readings.iter().map(|it| (it.kind, readable(&it.elements))).collect()
}

fn reading(text: &str, site: &SitePatterns) -> Reading {
    read(text.as_bytes(), today(), site)
}

const GTIN: &str = "0104012345678901";

#[test]
fn a_gs1_128_without_the_separator_between_lot_and_serial_number_is_refused_with_both_readings() {
    assert_eq!(
        readings(&format!("]C1{GTIN}10LOT4221SN9")),
        [
            (Kind::Gs1ElementString, "(01)04012345678901(10)LOT4221SN9".to_owned()),
            (Kind::Gs1ElementString, "(01)04012345678901(10)LOT42(21)SN9".to_owned()),
        ]
    );
    assert_eq!(
        outcome(&format!("]C1{GTIN}10LOT42\u{1d}21SN9")),
        "(01)04012345678901(10)LOT42(21)SN9",
        "the same label printed right"
    );
}

#[test]
fn a_lot_that_swallowed_an_expiry_date_a_gtin_or_a_weight_is_ambiguous() {
    let tails = ["17251231", "15260100", "3103001250", "21100200300", "21SN917251231", "2112345678"];
    for tail in tails {
        let found = readings(&format!("]d2{GTIN}10LOT42{tail}"));
        assert_eq!(
            found[0].1,
            format!("(01)04012345678901(10)LOT42{tail}"),
            "the standard's own reading first"
        );
        assert!(found.len() > 1, "{tail}");
    }
    let found = readings("]d210A10104012345678901\u{1d}17251231");
    assert_eq!(found[1].1, "(10)A1(01)04012345678901(17)251231");
}

#[test]
fn ordinary_lots_that_contain_the_digits_of_an_identifier_are_accepted() {
    for lot in [
        "LOT42",
        "ABC1234",
        "A12134",
        "AB21CD34",
        "2021A5",
        "B0421A",
        "21",
        "2110",
        "1021",
        "LOT-21-7",
        "L2110A",
        "X17",
        "172512",
        "A1799",
        "20260117",
        "123456782190",
        "AB21123",
        "LOTA21123456",
        "10ABC",
        "A17251331",
        "2199",
    ] {
        let expected = format!("(01)04012345678901(10){lot}");
        assert_eq!(outcome(&format!("]C1{GTIN}10{lot}")), expected, "at the end");
        let more = outcome(&format!("]C1{GTIN}10{lot}\u{1d}21SN9"));
        assert_eq!(more, format!("{expected}(21)SN9"), "before a separator");
    }
}

#[test]
fn a_run_in_without_a_sign_is_read_as_the_standard_says() {
    for lot in ["12342156789", "LOT42211234567", "LOT42240X9", "LOT4291X"] {
        let expected = format!("(01)04012345678901(10){lot}");
        assert_eq!(outcome(&format!("]C1{GTIN}10{lot}")), expected, "no lot has that number: unknown_lot");
    }
}

#[test]
fn a_date_within_the_lot_is_not_ambiguous_when_the_scan_states_its_own() {
    assert_eq!(
        outcome(&format!("]d2{GTIN}1726123110LOT17251231")),
        "(01)04012345678901(17)261231(10)LOT17251231",
        "a second, different expiry cannot be meant"
    );
    assert_eq!(outcome(&format!("]d2{GTIN}10LOT17251231")), "ambiguous");
}

#[test]
fn a_separator_that_was_spelt_out_is_ambiguous() {
    for spelt in ["<GS>", "<gs>", "<FNC1>"] {
        let found = readings(&format!("]C1{GTIN}10LOT42{spelt}21SN9"));
        assert!(found.contains(&(Kind::Gs1ElementString, "(01)04012345678901(10)LOT42(21)SN9".to_owned())));
    }
    let found = readings(&format!("]C0{GTIN}10LOT42{{GS}}21SN9"));
    assert_eq!(found[1].1, "(01)04012345678901(10)LOT42(21)SN9");
}

#[test]
fn a_symbol_that_does_not_claim_gs1_but_looks_like_it_is_refused_with_both_readings() {
    for aim in ["]C0", "]d1", "]Q1", "]A0", "]L0", "]I0", ""] {
        let text = format!("{aim}{GTIN}1725123110LOT42");
        assert_eq!(
            readings(&text),
            [
                (Kind::Plain, String::new()),
                (Kind::Gs1ElementString, "(01)04012345678901(17)251231(10)LOT42".to_owned())
            ]
        );
        assert_eq!(scan(&text).kind, Kind::Plain, "the symbol's own claim");
    }
    assert_eq!(readings("]C0(01)04012345678901(10)LOT42")[1].1, "(01)04012345678901(10)LOT42");
    assert_eq!(
        readings("1725123110LOT42")[1].1,
        "(17)251231(10)LOT42",
        "no check digit, but a date and a lot"
    );
}

#[test]
fn a_data_matrix_printed_with_a_plain_group_separator_is_not_gs1() {
    assert_eq!(outcome(&format!("]d1\u{1d}{GTIN}10LOT42\u{1d}21SN9")), "ambiguous");
    assert_eq!(
        outcome(&format!("]d2\u{1d}{GTIN}10LOT42\u{1d}21SN9\u{1d}")),
        "(01)04012345678901(10)LOT42(21)SN9",
        "in a GS1 symbol a leading FNC1 sent as data and a trailing separator are harmless"
    );
}

#[test]
fn plain_codes_that_only_begin_like_gs1_stay_plain() {
    for text in [
        "]C0LOT42",
        "10LOT42",
        "]C017251231",
        "]C00104012345678902",
        "]A021SN9",
        "4012345678901",
        "ABC(10)X",
        "(10",
        "()",
    ] {
        let decoded = scan(text);
        assert_eq!((decoded.kind, decoded.error), (Kind::Plain, None), "{text:?}");
    }
}

#[test]
fn separators_where_none_is_needed_are_tolerated_and_two_in_a_row_are_not() {
    assert_eq!(outcome(&format!("]C1{GTIN}\u{1d}10LOT42")), "(01)04012345678901(10)LOT42");
    for text in [
        format!("]C1\u{1d}\u{1d}{GTIN}"),
        format!("]C1{GTIN}10A\u{1d}\u{1d}21B"),
        format!("]C1{GTIN}10A\u{1d}\u{1d}"),
    ] {
        assert_eq!(outcome(&text), "double_separator", "{text:?}");
    }
    assert_eq!(outcome("]C1"), "empty_scan");
    assert_eq!(outcome("]C1\u{1d}"), "empty_scan");
    assert_eq!(outcome(&format!("]C1{GTIN}10")), "empty_value");
    assert_eq!(outcome(&format!("]C1{GTIN}10\u{1d}21B")), "empty_value");
}

#[test]
fn a_place_counts_bytes_after_the_aim_identifier() {
    let error = scan("]C10104012345678902").error.expect("the check digit is wrong");
    assert_eq!(
        (error.code, error.ai.as_deref(), error.at),
        (ErrorCode::WrongCheckDigit, Some("01"), Some([15, 16]))
    );
    let error = scan(&format!("]C1{GTIN}17251331")).error.expect("month 13");
    assert_eq!(
        (error.code, error.ai.as_deref(), error.at),
        (ErrorCode::BadMonth, Some("17"), Some([20, 22]))
    );
    let error = scan(&format!("]C1{GTIN}10LÖT")).error.expect("Ö is not in set 82");
    assert_eq!((error.code, error.at), (ErrorCode::NotInSet82, Some([19, 20])));
    let error = scan(&format!("]C1{GTIN}8901")).error.expect("89 is not assigned");
    assert_eq!((error.code, error.ai, error.at), (ErrorCode::UnknownAi, None, Some([16, 20])));
}

#[test]
fn a_repeated_identifier_must_repeat_its_value() {
    assert_eq!(outcome(&format!("]C1{GTIN}10A\u{1d}10A")), "(01)04012345678901(10)A(10)A");
    assert_eq!(outcome(&format!("]C1{GTIN}10A\u{1d}10B")), "repeated_ai");
}

#[test]
fn a_signature_needs_a_serialised_key() {
    assert_eq!(outcome("]d2800309521141000007\u{1d}8030c2ln"), "missing_serial");
    assert_eq!(outcome("]d2800309521141000007X9\u{1d}8030c2ln"), "(8003)09521141000007X9(8030)c2ln");
}

#[test]
fn retail_symbols_become_gtins_of_fourteen_digits() {
    assert_eq!(outcome("]E05901234123457"), "(01)05901234123457");
    assert_eq!(outcome("]E496385074"), "(01)00000096385074");
    assert_eq!(outcome("]I115901234123454"), "(01)15901234123454");
    assert_eq!(outcome("]E05901234123458"), "wrong_check_digit");
    assert_eq!(outcome("]E0590123412345"), "too_short");
    assert_eq!(outcome("]E496385074X"), "not_a_digit");
    assert_eq!(outcome("]E3590123412345712"), "add_on_not_read");
    assert_eq!(scan("]I1123456").kind, Kind::Plain, "Interleaved 2 of 5 that is no ITF-14");
    assert_eq!(scan("]E05901234123457").symbology, Symbology::Ean13);
}

#[test]
fn dates_slide_with_the_century_and_day_00_is_the_end_of_the_month() {
    assert_eq!(expiry_date("280200", today()), Some(date(2028, 2, 29)));
    assert_eq!(expiry_date("770101", today()), Some(date(1977, 1, 1)));
    assert_eq!(expiry_date("760101", today()), Some(date(2076, 1, 1)));
    assert_eq!(expiry_date("000229", today()), Some(date(2000, 2, 29)), "2000 was a leap year");
    assert_eq!(expiry_date("000229", date(2080, 1, 1)), None, "2100 is none");
    assert_eq!(expiry_date("251301", today()), None);
    assert_eq!(expiry_date("2512", today()), None);
    assert!(is_gtin14("04012345678901") && !is_gtin14("04012345678902") && !is_gtin14("4012345678901"));
}

#[test]
fn the_sites_own_codes_are_read_by_prefix_and_never_hide_gs1_data() {
    let pattern = |prefix: &str, meaning| SitePattern { prefix: prefix.into(), meaning };
    let site = SitePatterns(vec![pattern("LOT:", SiteMeaning::Lot), pattern("01", SiteMeaning::Item)]);
    let lot = reading("]C0LOT:4711", &site);
    assert_eq!((lot.kind, lot.site_code(SiteMeaning::Lot)), (Kind::Site, Some("4711")));
    assert_eq!(lot.site_code(SiteMeaning::Item), None);
    let both = reading(GTIN, &site).error.expect("a site code that looks like GS1 data");
    assert_eq!(
        both.readings.iter().map(|it| it.kind).collect::<Vec<_>>(),
        [Kind::Site, Kind::Gs1ElementString]
    );
}

#[test]
fn bytes_that_are_not_utf8_are_kept_and_shown_as_latin1() {
    let reading = read(b"]C0LOT\xd6\x00", today(), &SitePatterns::default());
    assert_eq!((reading.text.as_str(), reading.encoding), ("LOTÖ\u{0}", TextEncoding::Latin1));
    assert_eq!((reading.raw.as_slice(), reading.data()), (&b"]C0LOT\xd6\x00"[..], &b"LOT\xd6\x00"[..]));
    assert_eq!(reading.aim.as_deref(), Some("]C0"));
}

#[test]
fn an_hibc_code_is_read_by_its_fields() {
    assert_eq!(outcome("]A0+A123BJC5D6E71G"), "(LIC)A123(PCN)BJC5D6E7(UOM)1");
    assert_eq!(outcome("+A123BJC5D6E71H"), "wrong_hibc_check_character");
    assert_eq!(scan("+A123BJC5D6E71G").kind, Kind::Hibc);
}

#[test]
fn the_json_of_a_decoded_scan_has_elements_or_an_error() {
    let right = serde_json::to_value(scan("]C10104012345678901")).expect("plain data");
    let expected = serde_json::json!({
        "symbology": "gs1_128", "kind": "gs1_element_string", "text": "0104012345678901",
        "elements": [{"ai": "01", "value": "04012345678901", "title": "GTIN"}],
    });
    assert_eq!(right, expected);
    let wrong = serde_json::to_value(scan("]C10104012345678902")).expect("plain data");
    let expected = serde_json::json!({
        "symbology": "gs1_128", "kind": "gs1_element_string", "text": "0104012345678902",
        "error": {"code": "wrong_check_digit", "ai": "01", "at": [15, 16]},
    });
    assert_eq!(wrong, expected);
}

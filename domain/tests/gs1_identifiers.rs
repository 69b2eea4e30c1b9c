//! Every GS1 application identifier has a right and a wrong scan (`data/gs1_cases.tsv`), and every partner
//! rule of the table is tried both ways.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use jiff::civil::{Date, date};
use lotgate_domain::barcode::{Decoded, ErrorCode, Kind, decode};
use lotgate_domain::gs1::element_string::render;
use lotgate_domain::gs1::table::{self, AiSpec};

const CASES: &str = include_str!("data/gs1_cases.tsv");

struct Case {
    ai: &'static str,
    right: Vec<(&'static str, &'static str)>,
    wrong: Vec<(&'static str, &'static str)>,
    code: &'static str,
}

fn cases() -> Vec<Case> {
    let rows = CASES.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        [ai, right, wrong, code] => Case { ai, right: elements(right), wrong: elements(wrong), code },
        _ => panic!("four columns: {line}"),
    })
    .collect()
}

/// `(01)…(10)…` as pairs.
fn elements(readable: &'static str) -> Vec<(&'static str, &'static str)> {
    let parts = readable.split('(').skip(1);
    parts.map(|part| part.split_once(')').expect("an identifier in parentheses")).collect()
}

fn today() -> Date {
    date(2026, 11, 22)
}

fn scan(elements: &[(&str, &str)]) -> Decoded {
    let mut scan = b"]d2".to_vec();
    scan.extend(render(elements));
    decode(&scan, today())
}

fn code(decoded: &Decoded) -> Option<ErrorCode> {
    decoded.error.as_ref().map(|error| error.code)
}

fn identifiers() -> BTreeSet<String> {
    table::rows().flat_map(AiSpec::identifiers).collect()
}

#[test]
fn the_cases_cover_every_identifier_of_the_table() {
    let all = identifiers();
    assert_eq!(all.len(), 541, "the identifiers that GS1 has assigned");
    let covered: BTreeSet<String> = cases().iter().map(|case| case.ai.to_owned()).collect();
    assert_eq!(covered, all);
    for case in cases() {
        assert_eq!(case.right.last().map(|it| it.0), Some(case.ai), "the identifier under test stands last");
        assert_eq!(case.wrong.last().map(|it| it.0), Some(case.ai), "the identifier under test stands last");
    }
}

#[test]
fn every_identifier_accepts_its_right_scan_as_written() {
    for case in cases() {
        let decoded = scan(&case.right);
        assert_eq!(decoded.error, None, "({})", case.ai);
        let read = decoded.elements.expect("a scan without error has elements");
        let read: Vec<(&str, &str)> = read.iter().map(|it| (it.ai.as_str(), it.value.as_str())).collect();
        assert_eq!(read, case.right, "({})", case.ai);
    }
}

#[test]
fn every_identifier_refuses_its_wrong_scan_at_the_wrong_place() {
    for case in cases() {
        let decoded = scan(&case.wrong);
        let error = decoded.error.expect("the wrong scan is refused");
        assert_eq!(error.code.as_str(), case.code, "({})", case.ai);
        assert_eq!(error.ai.as_deref(), Some(case.ai));
        let data = render(&case.wrong);
        let value = case.wrong.last().map_or(0, |it| it.1.len());
        let [start, end] = error.at.expect("a place");
        assert!(data.len() - value <= start && end <= data.len(), "({}) at {start}..{end}", case.ai);
        assert_eq!(decoded.elements, None, "a refused scan has no elements to use");
        assert_eq!(decoded.kind, Kind::Gs1ElementString);
    }
}

#[test]
fn every_required_partner_is_required() {
    for case in cases() {
        let spec = table::find(case.ai.as_bytes()).expect("a row");
        let alone = scan(&case.right[case.right.len() - 1..]);
        let expected = (!spec.requires.is_empty()).then_some(ErrorCode::MissingPartner);
        assert_eq!(code(&alone), expected, "({}) requires {:?}", case.ai, spec.requires);
    }
}

#[test]
fn every_alternative_group_of_required_partners_is_enough() {
    for case in cases() {
        let spec = table::find(case.ai.as_bytes()).expect("a row");
        for group in spec.requires.split(',').filter(|group| !group.is_empty()) {
            let mut elements: Vec<(&str, &str)> =
                group.split('+').filter_map(|it| sample(it, case.ai)).collect();
            elements.push(case.right[case.right.len() - 1]);
            let decoded = scan(&elements);
            let missing = decoded.error.is_some_and(|error| {
                error.code == ErrorCode::MissingPartner && error.ai.as_deref() == Some(case.ai)
            });
            assert!(!missing, "({}) has {group}", case.ai);
        }
    }
}

#[test]
fn every_excluded_partner_is_excluded() {
    for case in cases() {
        let spec = table::find(case.ai.as_bytes()).expect("a row");
        for excluded in spec.excludes.split(',').filter(|excluded| !excluded.is_empty()) {
            let Some(partner) = sample(excluded, case.ai) else {
                panic!("({}) excludes {excluded}, which nothing matches", case.ai)
            };
            let mut elements = vec![partner];
            elements.extend(&case.right);
            assert_eq!(
                code(&scan(&elements)),
                Some(ErrorCode::ExcludedPartner),
                "({}) with {partner:?}",
                case.ai
            );
        }
    }
}

/// The right element of the first identifier that fits the pattern and is not `not`.
fn sample(pattern: &str, not: &str) -> Option<(&'static str, &'static str)> {
    let fits = |ai: &str| {
        ai != not
            && ai.len() == pattern.len()
            && pattern.bytes().zip(ai.bytes()).all(|(expected, digit)| expected == b'n' || expected == digit)
    };
    cases().iter().filter(|case| fits(case.ai)).find_map(|case| case.right.last().copied())
}

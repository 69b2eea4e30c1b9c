//! When data can be read in two ways. Nothing is chosen: both readings are shown and the scan is refused.
//!
//! # Plain data that look like GS1
//! A symbol that does not say that it carries GS1 data (Code 128 `]C0`, Data Matrix `]d1`, a scanner without
//! AIM identifiers, …) is ambiguous when its data parse from end to end as valid elements and one of these
//! holds: an element has a right check digit; there are two or more elements with a date or a separator among
//! them; the identifiers stand in parentheses; a separator is spelt out (`<GS>`).
//!
//! # A missing separator
//! In a GS1 symbol the value of an element that needs a separator runs to the next separator or the end. It
//! is ambiguous when it can be cut in two so that the head is a valid value, the tail parses from end to end
//! as valid elements, all elements of the scan then fit together (partners, repeats), and the tail shows that
//! it is more than chance by beginning with
//! - an identifier whose value has a GS1 check digit, and it is right; or
//! - one of the date identifiers 11, 12, 13, 15, 16, 17 with a date; or
//! - 21 within a lot (10), or 10 within a serial number (21), when three characters or more follow that begin
//!   with a letter, and the head ends with a digit (`LOT42` `21` `SN9`) or has three characters or more
//!   (`ABC` `21` `XYZ`), or when eight digits or more follow a head with a letter and a digit at its end; or
//! - a measure (310n to 369n) after a head with a letter and a digit at its end (`LOT42` `3103` `001250`).
//!
//! A value with a spelt-out separator is ambiguous too if the data parse with a real one in its place.
//!
//! What this does not find: a tail of another identifier (240, 37, 91 …), and lots and serial numbers that
//! touch without such a sign (`1234` `21` `5678`). Ordinary lots contain such digits so often that refusing
//! them all would stop work. The value read is then the standard's own reading; a lot is looked up by its
//! exact number, so unless a lot bears just that number the scan is refused as an unknown lot. The price of
//! the rule: a lot whose own number ends in, say, `17251231` is refused unless the scan states an expiry of
//! its own.

use jiff::civil::Date;

use super::error::{PossibleReading, ScanError};
use super::{Element, Kind};
use crate::gs1::element_string::{self, Parsed, check_value};
use crate::gs1::table::{self, AiSpec};
use crate::gs1::{SEPARATOR, association};

/// Ways in which people and scanners write the separator when it has been lost as a byte.
const SPELT_SEPARATORS: [&[u8]; 7] =
    [b"<GS>", b"{GS}", b"[GS]", b"<FNC1>", b"{FNC1}", b"[FNC1]", "\u{241d}".as_bytes()];

/// The elements that plain data look like, if they look like GS1 data.
pub(super) fn elements_in_plain(data: &[u8], now: Date) -> Option<Vec<Element>> {
    if let Some(unwrapped) = without_parentheses(data) {
        return element_string::split(&unwrapped, now).ok().map(|parsed| Element::of_all(&parsed));
    }
    if let Some(separated) = with_separators(data) {
        return element_string::split(&separated, now).ok().map(|parsed| Element::of_all(&parsed));
    }
    let parsed = element_string::split(data, now).ok()?;
    let checked = parsed.iter().any(|element| element.spec.has_check_digit());
    let dated = parsed.iter().any(|element| element.spec.is_date());
    let separated = data.contains(&SEPARATOR);
    (checked || parsed.len() > 1 && (dated || separated)).then(|| Element::of_all(&parsed))
}

/// The refusal of an element string in which a separator seems to be missing.
pub(super) fn missing_separator(data: &[u8], elements: &[Parsed<'_>], now: Date) -> Option<ScanError> {
    for (at, element) in elements.iter().enumerate() {
        if element.spec.predefined {
            continue;
        }
        let mut others: Vec<Vec<Element>> = Vec::new();
        for cut in 1..element.value.len() {
            if let Some(reading) = cut_value(elements, at, cut, now) {
                others.push(reading);
            }
        }
        if with_separators(element.value).is_some() {
            others.extend(with_separators(data).and_then(|data| valid_elements(&data, now)));
        }
        if !others.is_empty() {
            let readings = std::iter::once(Element::of_all(elements))
                .chain(others)
                .map(|elements| PossibleReading { kind: Kind::Gs1ElementString, elements })
                .collect();
            let at = [element.start, element.end];
            return Some(ScanError::ambiguous(at, Some(element.ai.to_owned()), readings));
        }
    }
    None
}

/// The elements when the value of the one at `at` ends at `cut` and others begin there, if that is plausible.
fn cut_value(elements: &[Parsed<'_>], at: usize, cut: usize, now: Date) -> Option<Vec<Element>> {
    let element = elements.get(at)?;
    let (head, tail) = element.value.split_at_checked(cut)?;
    let (spec, ai_len) = table::find_prefix(tail)?;
    let value = tail.get(ai_len..)?;
    if !is_telling(element.ai, head, spec, value) || check_value(element.spec, head, now) != Ok(head.len()) {
        return None;
    }
    let tail = element_string::split(tail, now).ok()?;
    let mut reading = elements.to_vec();
    reading.splice(at..=at, std::iter::once(Parsed { value: head, ..*element }).chain(tail));
    association::check(&reading).ok()?;
    Some(Element::of_all(&reading))
}

/// Whether what follows `head` shows by its form that it is an element of its own.
fn is_telling(ai: &str, head: &[u8], next: &AiSpec, value: &[u8]) -> bool {
    if next.has_check_digit() || next.is_date() {
        return true;
    }
    let after_digit = head.last().is_some_and(u8::is_ascii_digit);
    let head_has_letter = head.iter().any(u8::is_ascii_alphabetic);
    let measure = next.predefined && next.first.starts_with('3');
    let lot_and_serial = matches!((ai, next.first), ("10", "21") | ("21", "10"));
    let lettered = value.len() >= 3 && value.first().is_some_and(u8::is_ascii_alphabetic);
    let number = value.len() >= 8 && value.iter().all(u8::is_ascii_digit);
    lot_and_serial && lettered && (after_digit || head.len() >= 3)
        || after_digit && head_has_letter && (measure || lot_and_serial && number)
}

fn valid_elements(data: &[u8], now: Date) -> Option<Vec<Element>> {
    let parsed = element_string::split(data, now).ok()?;
    association::check(&parsed).ok()?;
    Some(Element::of_all(&parsed))
}

/// The data with each spelt-out separator as a byte; `None` if there is none.
fn with_separators(data: &[u8]) -> Option<Vec<u8>> {
    let mut separated = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((first, after)) = rest.split_first() {
        let spelt = SPELT_SEPARATORS
            .iter()
            .find(|spelt| rest.get(..spelt.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(spelt)));
        match spelt {
            Some(spelt) => {
                separated.push(SEPARATOR);
                rest = rest.get(spelt.len()..).unwrap_or_default();
            }
            None => {
                separated.push(*first);
                rest = after;
            }
        }
    }
    (separated.len() < data.len()).then_some(separated)
}

/// Human-readable `(01)…(10)…` as an element string; `None` if the data do not begin that way.
fn without_parentheses(data: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(data.len());
    let mut rest = data;
    leading_identifier(rest)?;
    while let Some((first, after)) = rest.split_first() {
        if let Some((ai, value)) = leading_identifier(rest) {
            if !plain.is_empty() {
                plain.push(SEPARATOR);
            }
            plain.extend_from_slice(ai);
            rest = value;
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    Some(plain)
}

/// The identifier in parentheses that begins `data`, and what follows it.
fn leading_identifier(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = data.strip_prefix(b"(")?;
    let close = inner.iter().take(5).position(|byte| *byte == b')')?;
    let (ai, rest) = inner.split_at_checked(close)?;
    let known = table::find(ai).is_some();
    known.then(|| (ai, rest.get(1..).unwrap_or_default()))
}

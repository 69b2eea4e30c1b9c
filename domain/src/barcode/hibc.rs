//! Health Industry Bar Codes (ANSI/HIBC 2.6, supplier labelling standard): `+` data with a modulo 43 check
//! character.
//!
//! Primary `+` LIC PCN unit check; secondary `+$` lot, `+$+` serial number, `+$$` and `+$$+` with quantity
//! and date, or `+` and a Julian date, each closed by the primary's check character as link and a check of
//! its own; combined primary `/` secondary with further fields `/S` serial number, `/Q` quantity, `/14D`
//! expiry, `/16D` production.

use jiff::Span;
use jiff::civil::Date;

use super::Element;
use super::error::{ErrorCode, ScanError};
use crate::gs1::date::full_year;

/// The characters of HIBC in the order of their values.
const ALPHABET: &[u8; 43] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%";

/// The elements of an HIBC code; `None` when the data have not the form of one and are read as something
/// else.
///
/// # Errors
/// The check character or a date is wrong.
pub(super) fn read(data: &[u8], now: Date) -> Option<Result<Vec<Element>, ScanError>> {
    let (checked, check) = data.split_last().map(|(check, rest)| (rest, *check))?;
    let body = std::str::from_utf8(checked.strip_prefix(b"+")?).ok()?;
    let known = |byte: &u8| ALPHABET.contains(byte);
    if !data.iter().all(known) {
        return None;
    }
    let fields = match body.split_once('/') {
        Some((primary, secondary)) => combined(primary, secondary, now)?,
        None if body.starts_with(|first: char| first.is_ascii_alphabetic()) => primary(body).map(Ok)?,
        None => linked_secondary(body, now)?,
    };
    if check_character(checked) != Some(check) {
        return Some(Err(ScanError::new(ErrorCode::WrongHibcCheckCharacter, data.len() - 1, data.len())));
    }
    Some(fields.map_err(|BadDate| ScanError::new(ErrorCode::BadHibcDate, 1, data.len() - 1)))
}

/// A date field that is no date.
#[derive(Debug)]
struct BadDate;

type Fields = Result<Vec<Element>, BadDate>;

fn check_character(checked: &[u8]) -> Option<u8> {
    let sum =
        checked.iter().filter_map(|byte| ALPHABET.iter().position(|known| known == byte)).sum::<usize>();
    ALPHABET.get(sum % ALPHABET.len()).copied()
}

/// Labeler identification code, product number, unit of measure.
fn primary(body: &str) -> Option<Vec<Element>> {
    if !(6..=23).contains(&body.len()) || !body.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let (labeler, rest) = body.split_at_checked(4)?;
    let (product, unit) = rest.split_at_checked(rest.len() - 1)?;
    if !labeler.starts_with(|first: char| first.is_ascii_uppercase())
        || !unit.starts_with(|unit: char| unit.is_ascii_digit())
    {
        return None;
    }
    Some(vec![
        Element::new("LIC", labeler, "Labeler identification code"),
        Element::new("PCN", product, "Product or catalogue number"),
        Element::new("UOM", unit, "Unit of measure"),
    ])
}

fn combined(first: &str, rest: &str, now: Date) -> Option<Fields> {
    let mut elements = primary(first)?;
    for (at, field) in rest.split('/').enumerate() {
        let more = match (at, field.as_bytes()) {
            (0, [b'$' | b'0'..=b'9', ..]) => secondary(field, now)?,
            (_, [b'S', ..]) => Ok(vec![Element::new("SERIAL", field.get(1..)?, "Serial number")]),
            (_, [b'Q', ..]) => Ok(vec![Element::new("QUANTITY", field.get(1..)?, "Quantity")]),
            (_, [b'1', b'4', b'D', ..]) => full_date(field.get(3..)?).map(|day| vec![expiry(day)]),
            (_, [b'1', b'6', b'D', ..]) => full_date(field.get(3..)?)
                .map(|day| vec![Element::new("PRODUCTION", &day.to_string(), "Date of production")]),
            _ => return None,
        };
        match more {
            Ok(more) => elements.extend(more),
            Err(wrong) => return Some(Err(wrong)),
        }
    }
    Some(Ok(elements))
}

/// A secondary symbol by itself: the link character to its primary stands at the end.
fn linked_secondary(body: &str, now: Date) -> Option<Fields> {
    let (body, link) = body.split_at_checked(body.len().checked_sub(1)?)?;
    let fields = secondary(body, now)?;
    Some(fields.map(|mut elements| {
        elements.push(Element::new("LINK", link, "Link to the primary symbol"));
        elements
    }))
}

fn secondary(body: &str, now: Date) -> Option<Fields> {
    let (dated, last_ai, rest) = if let Some(rest) = body.strip_prefix("$$+") {
        (true, "SERIAL", rest)
    } else if let Some(rest) = body.strip_prefix("$$") {
        (true, "LOT", rest)
    } else if let Some(rest) = body.strip_prefix("$+") {
        (false, "SERIAL", rest)
    } else if let Some(rest) = body.strip_prefix('$') {
        (false, "LOT", rest)
    } else {
        let (julian, lot) = body.split_at_checked(5)?;
        return numeric(julian).then(|| Ok(with_last(vec![expiry(julian_date(julian, now)?)], "LOT", lot)));
    };
    if !dated {
        return Some(Ok(with_last(Vec::new(), last_ai, rest)));
    }
    let mut elements = Vec::new();
    let quantity_len = match rest.as_bytes().first()? {
        b'8' => 2,
        b'9' => 5,
        _ => 0,
    };
    let mut rest = rest;
    if quantity_len > 0 {
        let (quantity, after) = rest.get(1..)?.split_at_checked(quantity_len)?;
        if !numeric(quantity) {
            return None;
        }
        elements.push(Element::new("QUANTITY", quantity, "Quantity"));
        rest = after;
    }
    let (day, rest) = match date_field(rest, now)? {
        Ok(found) => found,
        Err(wrong) => return Some(Err(wrong)),
    };
    elements.extend(day.map(expiry));
    Some(Ok(with_last(elements, last_ai, rest)))
}

/// The date after `$$`, in the form that its first digit says, and what follows it.
fn date_field(text: &str, now: Date) -> Option<Result<(Option<Date>, &str), BadDate>> {
    let form = text.as_bytes().first().copied();
    let (skip, len) = match form {
        Some(b'0' | b'1') => (0, 4),
        Some(b'2' | b'3') => (1, 6),
        Some(b'4') => (1, 8),
        Some(b'5') => (1, 5),
        Some(b'6') => (1, 7),
        Some(b'7') => return Some(Ok((None, text.get(1..)?))),
        None => return Some(Ok((None, text))),
        Some(_) => return None,
    };
    let (field, rest) = text.get(skip..)?.split_at_checked(len)?;
    if !numeric(field) {
        return None;
    }
    let part = |from: usize| field.get(from..from + 2).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let day = match form {
        Some(b'0' | b'1') => month_end(full_year(part(2).into(), now), part(0)),
        Some(b'2') => Date::new(full_year(part(4).into(), now), part(0), part(2)).map_err(|_| BadDate),
        Some(b'5' | b'6') => julian_date(field.get(..5)?, now),
        _ => Date::new(full_year(part(0).into(), now), part(2), part(4)).map_err(|_| BadDate),
    };
    Some(day.map(|day| (Some(day), rest)))
}

fn month_end(year: i16, month: i8) -> Result<Date, BadDate> {
    Date::new(year, month, 1).map(Date::last_of_month).map_err(|_| BadDate)
}

/// Two digits of the year and the day of the year from 001.
fn julian_date(text: &str, now: Date) -> Result<Date, BadDate> {
    let year = text.get(..2).and_then(|year| year.parse().ok()).ok_or(BadDate)?;
    let day: i32 = text.get(2..).and_then(|day| day.parse().ok()).ok_or(BadDate)?;
    let first = Date::new(full_year(year, now), 1, 1).map_err(|_| BadDate)?;
    let date = first.checked_add(Span::new().days(day - 1)).map_err(|_| BadDate)?;
    if day > 0 && date.year() == first.year() { Ok(date) } else { Err(BadDate) }
}

fn full_date(text: &str) -> Result<Date, BadDate> {
    let number = |from: usize, to: usize| text.get(from..to).filter(|digits| numeric(digits));
    let year = number(0, 4).and_then(|year| year.parse().ok()).ok_or(BadDate)?;
    let month = number(4, 6).and_then(|month| month.parse().ok()).ok_or(BadDate)?;
    let day = number(6, 8).filter(|_| text.len() == 8).and_then(|day| day.parse().ok()).ok_or(BadDate)?;
    Date::new(year, month, day).map_err(|_| BadDate)
}

fn numeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn expiry(day: Date) -> Element {
    Element::new("EXPIRY", &day.to_string(), "Expiry")
}

fn with_last(mut elements: Vec<Element>, ai: &str, value: &str) -> Vec<Element> {
    if !value.is_empty() {
        let title = if ai == "LOT" { "Lot" } else { "Serial number" };
        elements.push(Element::new(ai, value, title));
    }
    elements
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn with_check(body: &str) -> String {
        let check = check_character(body.as_bytes()).expect("the alphabet has every sum");
        format!("{body}{}", char::from(check))
    }

    fn values(code: &str) -> Vec<(String, String)> {
        let elements = read(code.as_bytes(), date(2026, 11, 22)).expect("the form of an HIBC code");
        elements.expect("a valid code").into_iter().map(|it| (it.ai, it.value)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(ai, value)| ((*ai).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_worked_example_of_the_standard_has_its_check_character() {
        assert_eq!(with_check("+A123BJC5D6E71"), "+A123BJC5D6E71G", "worked example of ANSI/HIBC 2");
        let expected = pairs(&[("LIC", "A123"), ("PCN", "BJC5D6E7"), ("UOM", "1")]);
        assert_eq!(values("+A123BJC5D6E71G"), expected);
    }

    #[test]
    fn every_date_form_of_a_secondary_symbol_gives_the_same_day() {
        for date in ["3261231", "2123126", "426123107", "526365", "62636507", "1226"] {
            let code = with_check(&format!("+$${date}LOT42G"));
            let expected = pairs(&[("EXPIRY", "2026-12-31"), ("LOT", "LOT42"), ("LINK", "G")]);
            assert_eq!(values(&code), expected, "{date}");
        }
        assert_eq!(values(&with_check("+26365LOT42G"))[0].1, "2026-12-31");
    }

    #[test]
    fn a_combined_code_gives_primary_and_secondary_fields() {
        let code = with_check("+A123BJC5D6E71/$$8053261231LOT42/SX9/16D20260131");
        let expected = pairs(&[
            ("LIC", "A123"),
            ("PCN", "BJC5D6E7"),
            ("UOM", "1"),
            ("QUANTITY", "05"),
            ("EXPIRY", "2026-12-31"),
            ("LOT", "LOT42"),
            ("SERIAL", "X9"),
            ("PRODUCTION", "2026-01-31"),
        ]);
        assert_eq!(values(&code), expected);
    }

    #[test]
    fn a_wrong_check_character_and_a_wrong_date_are_refused() {
        let now = date(2026, 11, 22);
        let wrong = read(b"+A123BJC5D6E71H", now).expect("the form of an HIBC code");
        assert_eq!(wrong.map_err(|error| error.code), Err(ErrorCode::WrongHibcCheckCharacter));
        let wrong = read(with_check("+$$3261331LOT42G").as_bytes(), now).expect("the form of an HIBC code");
        assert_eq!(wrong.map_err(|error| error.code), Err(ErrorCode::BadHibcDate));
    }

    #[test]
    fn data_of_another_form_is_left_to_others() {
        for data in ["+", "+4", "+49 30 1234", "A123BJC5D6E71G", "+a123b1c", "+A1", "+$", "+/"] {
            let reading = read(data.as_bytes(), date(2026, 11, 22));
            assert!(reading.is_none(), "{data}: {reading:?}");
        }
    }
}

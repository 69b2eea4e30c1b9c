//! Element strings: identifiers and values one after the other, with separators where a length is not
//! predefined.
//!
//! One separator before the first identifier is tolerated (some scanners send the leading FNC1 as data), so
//! is one after a value of predefined length and one at the end. Two in a row are refused.

use jiff::civil::Date;

use super::table::{self, AiSpec};
use super::{Flaw, Gs1Error, SEPARATOR};
use crate::barcode::ErrorCode;

/// One identifier with its value, still in the bytes of the scan.
#[derive(Debug, Clone, Copy)]
pub struct Parsed<'a> {
    /// The identifier.
    pub ai: &'a str,
    /// Its row in the table.
    pub spec: &'static AiSpec,
    /// Its value.
    pub value: &'a [u8],
    /// Where the value begins in the data.
    pub start: usize,
    /// Where the value ends in the data.
    pub end: usize,
}

/// Cuts data into elements and checks each value by itself.
///
/// # Errors
/// The first thing that is wrong, with its place in `data`.
pub fn split(data: &[u8], now: Date) -> Result<Vec<Parsed<'_>>, Gs1Error> {
    let mut at = usize::from(data.first() == Some(&SEPARATOR));
    if at == data.len() {
        return Err(Gs1Error::new(ErrorCode::EmptyScan, None, 0, at));
    }
    let mut elements = Vec::with_capacity(4);
    while at < data.len() {
        let element = next(data, at, now)?;
        at = element.end + usize::from(data.get(element.end) == Some(&SEPARATOR));
        elements.push(element);
    }
    Ok(elements)
}

/// The data of a symbol with these identifiers and values, in this order, with a separator only where one is
/// needed. Nothing is checked.
#[must_use]
pub fn render(elements: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut open = false;
    for (ai, value) in elements {
        if open {
            data.push(SEPARATOR);
        }
        data.extend_from_slice(ai.as_bytes());
        data.extend_from_slice(value.as_bytes());
        open = table::find(ai.as_bytes()).is_none_or(|spec| !spec.predefined);
    }
    data
}

/// The element that begins at `at`.
fn next(data: &[u8], at: usize, now: Date) -> Result<Parsed<'_>, Gs1Error> {
    let rest = data.get(at..).unwrap_or_default();
    if rest.first() == Some(&SEPARATOR) {
        return Err(Gs1Error::new(ErrorCode::DoubleSeparator, None, at, at + 1));
    }
    let unknown = || Gs1Error::new(ErrorCode::UnknownAi, None, at, data.len().min(at + 4));
    let (spec, ai_len) = table::find_prefix(rest).ok_or_else(unknown)?;
    let (ai, rest) = rest.split_at_checked(ai_len).ok_or_else(unknown)?;
    let ai = std::str::from_utf8(ai).map_err(|_| unknown())?;
    let start = at + ai_len;

    let field = rest.iter().position(|byte| *byte == SEPARATOR).unwrap_or(rest.len());
    let field = if spec.predefined { field.min(spec.max_len()) } else { field };
    let field = rest.get(..field).unwrap_or_default();
    if field.is_empty() {
        return Err(Gs1Error::new(ErrorCode::EmptyValue, Some(ai), start, start));
    }
    let consumed = check_value(spec, field, now)
        .map_err(|flaw| Gs1Error::new(flaw.code, Some(ai), start + flaw.start, start + flaw.end))?;
    if consumed < field.len() {
        let end = start + field.len();
        return Err(Gs1Error::new(ErrorCode::TooLong, Some(ai), start + consumed, end));
    }
    Ok(Parsed { ai, spec, value: field, start, end: start + field.len() })
}

/// Checks a value against the components of its identifier; the number of bytes that they took.
///
/// # Errors
/// What is wrong and where in `value`.
pub fn check_value(spec: &AiSpec, value: &[u8], now: Date) -> Result<usize, Flaw> {
    let mut at = 0;
    for part in spec.components {
        let rest = value.get(at..).unwrap_or_default();
        let field = rest.get(..part.max).unwrap_or(rest);
        if field.is_empty() && part.optional {
            continue;
        }
        if field.len() < part.min {
            return Err(Flaw::new(ErrorCode::TooShort, at, value.len()));
        }
        part.set.check(field).map_err(|flaw| flaw.moved(at))?;
        for lint in part.lints {
            lint.check(field, now).map_err(|flaw| flaw.moved(at))?;
        }
        at += field.len();
    }
    Ok(at)
}

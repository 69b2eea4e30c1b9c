//! Checks on the form of a value: prefixes, closed alphabets, ranges, numbered pieces.

use std::cmp::Ordering;

use crate::barcode::ErrorCode;
use crate::gs1::Flaw;
use crate::gs1::charset::CharSet;

/// Length of the shortest GS1 company prefix.
const SHORTEST_PREFIX: usize = 4;

pub(super) fn check_company_prefix(value: &[u8]) -> Result<(), Flaw> {
    let Some(prefix) = value.get(..SHORTEST_PREFIX) else {
        return Err(Flaw::new(ErrorCode::TooShort, 0, value.len()));
    };
    match prefix.iter().position(|byte| !byte.is_ascii_digit()) {
        None => Ok(()),
        Some(at) => Err(Flaw::new(ErrorCode::BadCompanyPrefix, at, at + 1)),
    }
}

pub(super) fn check_company_prefix_after_digit(value: &[u8]) -> Result<(), Flaw> {
    match value.split_first() {
        Some((_, rest)) if !rest.is_empty() => check_company_prefix(rest).map_err(|flaw| flaw.moved(1)),
        _ => Err(Flaw::new(ErrorCode::TooShort, 0, value.len())),
    }
}

/// One character out of `allowed`.
pub(super) fn check_one_of(value: &[u8], allowed: &[u8], code: ErrorCode) -> Result<(), Flaw> {
    match value {
        [only] if allowed.contains(only) => Ok(()),
        _ => Err(Flaw::new(code, 0, value.len())),
    }
}

/// One character or more, all of them `only`.
pub(super) fn check_only(value: &[u8], only: u8, code: ErrorCode) -> Result<(), Flaw> {
    if !value.is_empty() && value.iter().all(|byte| *byte == only) {
        return Ok(());
    }
    Err(Flaw::new(code, 0, value.len()))
}

pub(super) fn check_importer_index(value: &[u8]) -> Result<(), Flaw> {
    match value {
        [only] if CharSet::Base64Url.contains(*only) => Ok(()),
        _ => Err(Flaw::new(ErrorCode::BadImporterIndex, 0, value.len())),
    }
}

pub(super) fn check_percent_encoding(value: &[u8]) -> Result<(), Flaw> {
    let mut at = 0;
    while let Some(rest) = value.get(at..).filter(|rest| !rest.is_empty()) {
        match rest {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => at += 3,
            [b'%', ..] => {
                return Err(Flaw::new(ErrorCode::BadPercentEncoding, at, value.len().min(at + 3)));
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// Ten digits not above `max`, in ten-millionths of a degree.
pub(super) fn check_degrees(value: &[u8], max: u64, code: ErrorCode) -> Result<(), Flaw> {
    if value.len() != 10 {
        let length = if value.len() < 10 { ErrorCode::TooShort } else { ErrorCode::TooLong };
        return Err(Flaw::new(length, 0, value.len()));
    }
    CharSet::Digits.check(value)?;
    let degrees = value.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    if degrees > max { Err(Flaw::new(code, 0, 10)) } else { Ok(()) }
}

pub(super) fn check_non_zero(value: &[u8]) -> Result<(), Flaw> {
    CharSet::Digits.check(value)?;
    if value.iter().all(|byte| *byte == b'0') {
        return Err(Flaw::new(ErrorCode::ZeroValue, 0, value.len()));
    }
    Ok(())
}

pub(super) fn check_no_leading_zero(value: &[u8]) -> Result<(), Flaw> {
    if value.first() == Some(&b'0') {
        return Err(Flaw::new(ErrorCode::LeadingZero, 0, 1));
    }
    CharSet::Digits.check(value)
}

pub(super) fn check_has_non_digit(value: &[u8]) -> Result<(), Flaw> {
    if value.iter().all(u8::is_ascii_digit) {
        return Err(Flaw::new(ErrorCode::DigitsOnly, 0, value.len()));
    }
    Ok(())
}

pub(super) fn check_piece_of_total(value: &[u8]) -> Result<(), Flaw> {
    CharSet::Digits.check(value)?;
    let half = value.len() / 2;
    if value.is_empty() || !value.len().is_multiple_of(2) {
        return Err(Flaw::new(ErrorCode::BadPieceLength, 0, value.len()));
    }
    let (piece, total) = value.split_at_checked(half).unwrap_or_default();
    let zero = |digits: &[u8]| digits.iter().all(|byte| *byte == b'0');
    if zero(piece) {
        Err(Flaw::new(ErrorCode::PieceIsZero, 0, half))
    } else if zero(total) {
        Err(Flaw::new(ErrorCode::PieceTotalIsZero, half, value.len()))
    } else if piece > total {
        Err(Flaw::new(ErrorCode::PieceBeyondTotal, 0, value.len()))
    } else {
        Ok(())
    }
}

pub(super) fn check_position_in_sequence(value: &[u8]) -> Result<(), Flaw> {
    let malformed = Flaw::new(ErrorCode::BadPosition, 0, value.len());
    let slash = value.iter().position(|byte| *byte == b'/').ok_or(malformed)?;
    let (position, rest) = value.split_at_checked(slash).ok_or(malformed)?;
    let end = rest.get(1..).unwrap_or_default();
    let number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !number(position) || !number(end) {
        return Err(malformed);
    }
    if position.first() == Some(&b'0') {
        return Err(Flaw::new(ErrorCode::LeadingZero, 0, slash));
    }
    if end.first() == Some(&b'0') {
        return Err(Flaw::new(ErrorCode::LeadingZero, slash + 1, value.len()));
    }
    let order = position.len().cmp(&end.len()).then_with(|| position.cmp(end));
    if order == Ordering::Greater {
        return Err(Flaw::new(ErrorCode::PositionBeyondEnd, 0, value.len()));
    }
    Ok(())
}

//! GS1 data: application identifiers, their rules, element strings and Digital Link URIs.
//!
//! The flow: [`element_string::split`] or [`digital_link::split`] cuts data into elements, each value is
//! checked against the formats of its identifier in [`table`] (character set, then each [`lint::Lint`]), and
//! [`association::check`] judges the elements together (required and excluded partners, repeats).
//!
//! Rules are those of the GS1 General Specifications as the GS1 Barcode Syntax Dictionary states them.
//! Positions are byte offsets in the data given, without an AIM identifier, as `[start, end)`.

pub mod association;
pub mod charset;
pub mod date;
pub mod digital_link;
pub mod element_string;
pub mod lint;
pub mod table;

use jiff::civil::Date;

use crate::barcode::ErrorCode;

/// The byte that stands for FNC1 between element strings in scanned data (ASCII group separator).
pub const SEPARATOR: u8 = 0x1d;

/// The last day that a six-digit date (identifiers 11 to 17) covers; day 00 is the last day of the month.
///
/// `now` gives the century: from 49 years back to 50 years ahead. `None` when `yymmdd` is no date.
#[must_use]
pub fn expiry_date(yymmdd: &str, now: Date) -> Option<Date> {
    date::expiry_date(yymmdd.as_bytes(), now).ok()
}

/// Whether this is a GTIN of 14 digits with its right check digit.
#[must_use]
pub fn is_gtin14(gtin: &str) -> bool {
    gtin.len() == 14 && lint::has_check_digit(gtin.as_bytes())
}

/// What is wrong in one value: a code and the bytes it concerns, counted from the start of that value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong.
    pub code: ErrorCode,
    /// First byte concerned.
    pub start: usize,
    /// One past the last byte concerned; equal to `start` when something is missing there.
    pub end: usize,
}

impl Flaw {
    pub(crate) const fn new(code: ErrorCode, start: usize, end: usize) -> Self {
        Self { code, start, end }
    }

    /// The same flaw of a value that begins `by` bytes further on.
    #[must_use]
    pub const fn moved(self, by: usize) -> Self {
        Self { code: self.code, start: self.start + by, end: self.end + by }
    }
}

/// What is wrong in an element string or a Digital Link URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gs1Error {
    /// What is wrong.
    pub code: ErrorCode,
    /// The application identifier concerned, when one was recognised.
    pub ai: Option<String>,
    /// The bytes concerned, `[start, end)` in the data.
    pub at: [usize; 2],
}

impl Gs1Error {
    pub(crate) fn new(code: ErrorCode, ai: Option<&str>, start: usize, end: usize) -> Self {
        Self { code, ai: ai.map(str::to_owned), at: [start, end] }
    }
}

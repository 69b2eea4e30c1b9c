//! North American coupon codes of identifiers 8110 and 8112: digit fields read from left to right.

use jiff::civil::Date;

use super::form::check_company_prefix;
use crate::barcode::ErrorCode;
use crate::gs1::charset::CharSet;
use crate::gs1::{Flaw, date};

/// Identifier 8110: funder, offer, value, up to three purchases, dates, serial number, retailer, flags.
pub(super) fn check(value: &[u8], now: Date) -> Result<(), Flaw> {
    CharSet::Digits.check(value)?;
    let mut fields = Fields { value, at: 0 };
    let prefix = fields.sized(b'0'..=b'6', 6)?;
    fields.company_prefix(prefix)?;
    fields.take(6)?;
    fields.sized(b'1'..=b'5', 0)?;
    purchase(&mut fields)?;
    if fields.option(b'1') {
        fields.one_of(b"0123")?;
        purchase(&mut fields)?;
        purchaser(&mut fields)?;
    }
    if fields.option(b'2') {
        purchase(&mut fields)?;
        purchaser(&mut fields)?;
    }
    let expiry = if fields.option(b'3') { Some(fields.date(now)?) } else { None };
    if fields.option(b'4') {
        let start = fields.date(now)?;
        if expiry.is_some_and(|expiry| start > expiry) {
            return Err(Flaw::new(ErrorCode::CouponDateOrder, fields.at - 14, fields.at));
        }
    }
    if fields.option(b'5') {
        fields.sized(b'0'..=b'9', 6)?;
    }
    if fields.option(b'6') {
        let retailer = fields.sized(b'1'..=b'7', 6)?;
        fields.company_prefix(retailer)?;
    }
    if fields.option(b'9') {
        fields.one_of(b"01256")?;
        fields.one_of(b"012")?;
        fields.one_of(b"0123456789")?;
        fields.one_of(b"01")?;
    }
    fields.finish()
}

/// Identifier 8112: format, funder, offer and serial number.
pub(super) fn check_positive_offer(value: &[u8]) -> Result<(), Flaw> {
    CharSet::Digits.check(value)?;
    let mut fields = Fields { value, at: 0 };
    fields.one_of(b"01")?;
    fields.sized(b'0'..=b'6', 6)?;
    fields.take(6)?;
    fields.sized(b'0'..=b'9', 6)?;
    fields.finish()
}

/// Requirement, requirement code and family code of one purchase.
fn purchase(fields: &mut Fields<'_>) -> Result<(), Flaw> {
    fields.sized(b'1'..=b'5', 0)?;
    fields.one_of(b"012349")?;
    fields.take(3).map(drop)
}

/// The company prefix of a further purchase; size 9 says that there is none.
fn purchaser(fields: &mut Fields<'_>) -> Result<(), Flaw> {
    if fields.rest().first() == Some(&b'9') {
        fields.at += 1;
        return Ok(());
    }
    let prefix = fields.sized(b'0'..=b'6', 6)?;
    fields.company_prefix(prefix)
}

struct Fields<'a> {
    value: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn rest(&self) -> &'a [u8] {
        self.value.get(self.at..).unwrap_or_default()
    }

    /// Steps over the digit that announces an optional field, if it is next.
    fn option(&mut self, digit: u8) -> bool {
        let present = self.rest().first() == Some(&digit);
        self.at += usize::from(present);
        present
    }

    fn digit(&mut self, allowed: impl Fn(u8) -> bool, code: ErrorCode) -> Result<u8, Flaw> {
        let Some(digit) = self.rest().first().copied() else {
            return Err(Flaw::new(ErrorCode::CouponFieldMissing, 0, self.value.len()));
        };
        if !allowed(digit) {
            return Err(Flaw::new(code, self.at, self.at + 1));
        }
        self.at += 1;
        Ok(digit)
    }

    fn one_of(&mut self, allowed: &[u8]) -> Result<(), Flaw> {
        self.digit(|digit| allowed.contains(&digit), ErrorCode::BadCouponField).map(drop)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Flaw> {
        let rest = self.rest();
        let Some(field) = rest.get(..len) else {
            let start = if rest.is_empty() { 0 } else { self.at };
            return Err(Flaw::new(ErrorCode::CouponFieldTooShort, start, self.value.len()));
        };
        self.at += len;
        Ok(field)
    }

    /// A digit that gives the length less `plus`, then that many digits.
    fn sized(&mut self, sizes: std::ops::RangeInclusive<u8>, plus: usize) -> Result<&'a [u8], Flaw> {
        let size = self.digit(|digit| sizes.contains(&digit), ErrorCode::BadCouponFieldLength)?;
        self.take(usize::from(size - b'0') + plus)
    }

    /// Checks the field just taken as a company prefix.
    fn company_prefix(&self, field: &[u8]) -> Result<(), Flaw> {
        check_company_prefix(field)
            .map_err(|_| Flaw::new(ErrorCode::BadCompanyPrefix, self.at - field.len(), self.at))
    }

    fn date(&mut self, now: Date) -> Result<&'a [u8], Flaw> {
        let field = self.take(6)?;
        match date::check_day(field, now) {
            Ok(()) => Ok(field),
            Err(_) => Err(Flaw::new(ErrorCode::BadCouponDate, self.at - 6, self.at)),
        }
    }

    fn finish(&self) -> Result<(), Flaw> {
        if self.rest().is_empty() {
            return Ok(());
        }
        Err(Flaw::new(ErrorCode::CouponTooLong, self.at, self.value.len()))
    }
}

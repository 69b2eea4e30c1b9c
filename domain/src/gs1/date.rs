//! Dates of six and eight digits, with the sliding century.

use jiff::civil::Date;

use super::Flaw;
use crate::barcode::ErrorCode;

/// The full year of a two-digit year: from 49 years before the year of `now` to 50 years after it.
#[must_use]
pub fn full_year(two_digits: i16, now: Date) -> i16 {
    let century = now.year() - now.year() % 100;
    let ahead = two_digits - now.year() % 100;
    if ahead >= 51 {
        century - 100 + two_digits
    } else if ahead > -50 {
        century + two_digits
    } else {
        century + 100 + two_digits
    }
}

/// The last day that a six-digit date covers: YYMMDD, where day 00 means the last day of the month.
///
/// # Errors
/// The flaw with its place in `yymmdd`: length, a byte that is no digit, month or day.
pub fn expiry_date(yymmdd: &[u8], now: Date) -> Result<Date, Flaw> {
    exact_digits(yymmdd, 6)?;
    let year = full_year(number(yymmdd.get(..2).unwrap_or_default()), now);
    month_and_day(year, yymmdd.get(2..).unwrap_or_default()).map_err(|flaw| flaw.moved(2))
}

/// A six-digit date whose day must be named.
pub(super) fn check_day(yymmdd: &[u8], now: Date) -> Result<(), Flaw> {
    expiry_date(yymmdd, now)?;
    if yymmdd.ends_with(b"00") { Err(Flaw::new(ErrorCode::BadDay, 4, 6)) } else { Ok(()) }
}

/// An eight-digit date, YYYYMMDD, whose day must be named.
pub(super) fn check_full_day(yyyymmdd: &[u8]) -> Result<(), Flaw> {
    exact_digits(yyyymmdd, 8)?;
    let year = number(yyyymmdd.get(..4).unwrap_or_default());
    month_and_day(year, yyyymmdd.get(4..).unwrap_or_default()).map_err(|flaw| flaw.moved(4))?;
    if yyyymmdd.ends_with(b"00") { Err(Flaw::new(ErrorCode::BadDay, 6, 8)) } else { Ok(()) }
}

/// Two digits not above `max` (an hour, a minute or a second), else `code`.
pub(super) fn check_two_digits(value: &[u8], max: i16, code: ErrorCode) -> Result<(), Flaw> {
    exact_digits(value, 2)?;
    if number(value) > max { Err(Flaw::new(code, 0, 2)) } else { Ok(()) }
}

/// Hours and minutes, HHMM.
pub(super) fn check_hour_minute(value: &[u8]) -> Result<(), Flaw> {
    let hour = value.get(..2).filter(|_| value.len() == 4);
    let (Some(hour), Some(minute)) = (hour, value.get(2..)) else {
        return exact_digits(value, 4);
    };
    check_two_digits(hour, 23, ErrorCode::BadHour)?;
    check_two_digits(minute, 59, ErrorCode::BadMinute).map_err(|flaw| flaw.moved(2))
}

fn exact_digits(value: &[u8], len: usize) -> Result<(), Flaw> {
    if value.len() < len {
        return Err(Flaw::new(ErrorCode::TooShort, 0, value.len()));
    }
    if value.len() > len {
        return Err(Flaw::new(ErrorCode::TooLong, 0, value.len()));
    }
    super::charset::CharSet::Digits.check(value)
}

fn month_and_day(year: i16, mmdd: &[u8]) -> Result<Date, Flaw> {
    let month = small(mmdd.get(..2).unwrap_or_default());
    let first = Date::new(year, month, 1).map_err(|_| Flaw::new(ErrorCode::BadMonth, 0, 2))?;
    match small(mmdd.get(2..).unwrap_or_default()) {
        0 => Ok(first.last_of_month()),
        day => Date::new(year, month, day).map_err(|_| Flaw::new(ErrorCode::BadDay, 2, 4)),
    }
}

fn number(digits: &[u8]) -> i16 {
    digits.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))
}

fn small(two_digits: &[u8]) -> i8 {
    two_digits.iter().fold(0_i8, |sum, digit| sum * 10 + digit.wrapping_sub(b'0').cast_signed())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_century_slides_with_the_year() {
        let now = date(2026, 11, 22);
        assert_eq!(full_year(76, now), 2076, "50 years ahead is still this century");
        assert_eq!(full_year(77, now), 1977, "51 years ahead is the last century");
        assert_eq!(full_year(0, now), 2000);
        assert_eq!(full_year(20, date(2069, 1, 1)), 2020, "49 years ago is this century");
        assert_eq!(full_year(19, date(2069, 1, 1)), 2119, "50 years ago is the next century");
        assert_eq!(full_year(99, date(2101, 1, 1)), 2099);
    }

    #[test]
    fn day_00_is_the_last_day_of_the_month() {
        let now = date(2026, 11, 22);
        assert_eq!(expiry_date(b"280200", now), Ok(date(2028, 2, 29)));
        assert_eq!(expiry_date(b"270200", now), Ok(date(2027, 2, 28)));
        assert_eq!(expiry_date(b"261231", now), Ok(date(2026, 12, 31)));
        assert_eq!(expiry_date(b"270229", now), Err(Flaw::new(ErrorCode::BadDay, 4, 6)));
        assert_eq!(expiry_date(b"271301", now), Err(Flaw::new(ErrorCode::BadMonth, 2, 4)));
    }
}

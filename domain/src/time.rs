//! Points in time as the wire writes them (PROTOCOL §9.1), and the end of a day in a site's zone.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Milliseconds since 1970-01-01T00:00:00Z; written `YYYY-MM-DDTHH:MM:SS.mmmZ`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not a time in the one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a time as YYYY-MM-DDTHH:MM:SS.mmmZ")]
pub struct ParseTimestampError;

impl Timestamp {
    const EARLIEST_MS: i64 = -62_167_219_200_000;
    /// 9999-12-30T21:59:59.999Z: the calendar library holds no later whole second in every zone.
    const LATEST_MS: i64 = 253_402_207_199_999;

    /// A time from milliseconds since 1970; held between 0000-01-01 and
    /// 9999-12-30, which have the text form.
    #[must_use]
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(Self::EARLIEST_MS, Self::LATEST_MS))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// This time plus `ms` milliseconds.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self::from_unix_ms(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; negative if `earlier` is later.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// This time as a person at a place with `zone` reads it.
    #[must_use]
    pub fn local(self, zone: &jiff::tz::TimeZone) -> LocalTime {
        let zoned = self.jiff().to_zoned(zone.clone());
        LocalTime {
            date: zoned.date(),
            time: zoned.strftime("%H:%M:%S").to_string(),
            zone: zoned.strftime("%Z").to_string(),
        }
    }

    /// The calendar day of this time in UTC.
    #[must_use]
    pub fn utc_date(self) -> jiff::civil::Date {
        self.civil_date(&jiff::tz::TimeZone::UTC)
    }

    /// The calendar day of this time in `zone`.
    #[must_use]
    pub fn civil_date(self, zone: &jiff::tz::TimeZone) -> jiff::civil::Date {
        zone.to_datetime(self.jiff()).date()
    }
}

/// A time on the wall of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTime {
    /// The day.
    pub date: jiff::civil::Date,
    /// `HH:MM:SS`.
    pub time: String,
    /// Abbreviation of the zone at that time: `CET`.
    pub zone: String,
}

/// Looks a zone up by its IANA name in the time-zone data that is part of the program.
#[must_use]
pub fn zone(name: &str) -> Option<jiff::tz::TimeZone> {
    jiff::tz::TimeZone::get(name).ok()
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.jiff())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let time: jiff::Timestamp = text.parse().map_err(|_| ParseTimestampError)?;
        let time = Self(time.as_millisecond());
        if time.to_string() == text { Ok(time) } else { Err(ParseTimestampError) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::ids::from_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_one_text_form() {
        for ms in [0, 1, -1, 946_684_800_000, 2_082_758_399_999, Timestamp::LATEST_MS, Timestamp::EARLIEST_MS]
        {
            let time = Timestamp::from_unix_ms(ms);
            assert_eq!(time.to_string().parse(), Ok(time), "{time}");
            assert_eq!(time.to_string().len(), 24, "{time}");
        }
        for bad in ["2026-11-22T12:00:00Z", "2026-11-22T12:00:00.0000Z", "2026-11-22T13:00:00.000+01:00", "x"]
        {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_day_is_that_of_the_zone() {
        let late: Timestamp = "2026-11-22T23:30:00.000Z".parse().unwrap();
        let berlin = zone("Europe/Berlin").unwrap();
        assert_eq!(late.civil_date(&berlin), jiff::civil::date(2026, 11, 23));
        assert_eq!(late.civil_date(&jiff::tz::TimeZone::UTC), jiff::civil::date(2026, 11, 22));
    }
}

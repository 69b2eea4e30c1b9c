//! The checks on the content of a value's component, beyond its characters and length.
//!
//! Verdicts and positions are those of the public GS1 Barcode Syntax Tests. The GS1 company prefix is checked
//! for its form only (at least four digits): no list of issued prefixes is consulted.

mod check_digit;
mod codes;
mod coupon;
mod form;

use jiff::civil::Date;

use super::{Flaw, date};
use crate::barcode::ErrorCode;

pub(crate) use check_digit::has_check_digit;

/// A check on the content of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lint {
    /// Modulo 10 check digit at the end (`csum`).
    CheckDigit,
    /// Modulo 1021 check character pair at the end (`csumalpha`).
    CheckPair,
    /// Begins with a GS1 company prefix (`gcppos1`).
    CompanyPrefix,
    /// A GS1 company prefix after the first character (`gcppos2`).
    CompanyPrefixAfterDigit,
    /// YYMMDD, day 00 allowed (`yymmd0`).
    DayOrMonth,
    /// YYMMDD (`yymmdd`).
    Day,
    /// YYYYMMDD (`yyyymmdd`).
    FullDay,
    /// Hour 00 to 23 (`hh`).
    Hour,
    /// Minute 00 to 59 (`mi`).
    Minute,
    /// Second 00 to 59 (`ss`).
    Second,
    /// HHMM (`hhmi`).
    HourMinute,
    /// Three-digit country code of ISO 3166 (`iso3166`).
    Country,
    /// The same or 999 (`iso3166999`).
    CountryOr999,
    /// Two-letter country code of ISO 3166 (`iso3166alpha2`).
    CountryLetters,
    /// Three-digit currency code of ISO 4217 (`iso4217`).
    Currency,
    /// Biological sex of ISO/IEC 5218 (`iso5218`).
    Sex,
    /// Each `%` begins a two-digit hexadecimal code (`pcenc`).
    PercentEncoding,
    /// Latitude, 0000000000 to 1800000000 (`latitude`).
    Latitude,
    /// Longitude, 0000000000 to 3600000000 (`longitude`).
    Longitude,
    /// 0 or 1 (`yesno`).
    YesNo,
    /// Hyphens only (`hyphen`).
    Hyphen,
    /// One character of the importer index (`importeridx`).
    ImporterIndex,
    /// Package type code of UN/ECE recommendation 21 and GS1 (`packagetype`).
    PackageType,
    /// Type of the carrier of a medical product's identification (`mediatype`).
    MediaType,
    /// Digits that are not all 0 (`nonzero`).
    NonZero,
    /// Winding direction 0, 1 or 9 (`winding`).
    Winding,
    /// Zeros only (`zero`).
    Zero,
    /// Piece number and number of pieces, each half the digits (`pieceoftotal`).
    PieceOfTotal,
    /// Position and end with `/` between (`posinseqslash`).
    PositionInSequence,
    /// International bank account number (`iban`).
    Iban,
    /// Digits that do not begin with 0 (`nozeroprefix`).
    NoLeadingZero,
    /// At least one character that is no digit (`hasnondigit`).
    HasNonDigit,
    /// North American coupon code (`couponcode`).
    Coupon,
    /// North American positive offer file coupon code (`couponposoffer`).
    CouponPositiveOffer,
}

impl Lint {
    /// Checks one component's value.
    ///
    /// # Errors
    /// What is wrong and where in `value`.
    pub fn check(self, value: &[u8], now: Date) -> Result<(), Flaw> {
        match self {
            Self::CheckDigit => check_digit::check(value),
            Self::CheckPair => check_digit::check_pair(value),
            Self::CompanyPrefix => form::check_company_prefix(value),
            Self::CompanyPrefixAfterDigit => form::check_company_prefix_after_digit(value),
            Self::DayOrMonth => date::expiry_date(value, now).map(drop),
            Self::Day => date::check_day(value, now),
            Self::FullDay => date::check_full_day(value),
            Self::Hour => date::check_two_digits(value, 23, ErrorCode::BadHour),
            Self::Minute => date::check_two_digits(value, 59, ErrorCode::BadMinute),
            Self::Second => date::check_two_digits(value, 59, ErrorCode::BadSecond),
            Self::HourMinute => date::check_hour_minute(value),
            Self::Country => codes::check_country(value, ErrorCode::UnknownCountry),
            Self::CountryOr999 if value == b"999" => Ok(()),
            Self::CountryOr999 => codes::check_country(value, ErrorCode::UnknownCountry),
            Self::CountryLetters => codes::check_country_letters(value),
            Self::Currency => codes::check_currency(value),
            Self::Sex => form::check_one_of(value, b"0129", ErrorCode::UnknownSexCode),
            Self::PercentEncoding => form::check_percent_encoding(value),
            Self::Latitude => form::check_degrees(value, 1_800_000_000, ErrorCode::BadLatitude),
            Self::Longitude => form::check_degrees(value, 3_600_000_000, ErrorCode::BadLongitude),
            Self::YesNo => form::check_one_of(value, b"01", ErrorCode::NotYesOrNo),
            Self::Hyphen => form::check_only(value, b'-', ErrorCode::NotAHyphen),
            Self::ImporterIndex => form::check_importer_index(value),
            Self::PackageType => codes::check_package_type(value),
            Self::MediaType => codes::check_media_type(value),
            Self::NonZero => form::check_non_zero(value),
            Self::Winding => form::check_one_of(value, b"019", ErrorCode::BadWinding),
            Self::Zero => form::check_only(value, b'0', ErrorCode::NotZero),
            Self::PieceOfTotal => form::check_piece_of_total(value),
            Self::PositionInSequence => form::check_position_in_sequence(value),
            Self::Iban => check_digit::check_iban(value),
            Self::NoLeadingZero => form::check_no_leading_zero(value),
            Self::HasNonDigit => form::check_has_non_digit(value),
            Self::Coupon => coupon::check(value, now),
            Self::CouponPositiveOffer => coupon::check_positive_offer(value),
        }
    }
}

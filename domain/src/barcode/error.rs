//! Why a scan cannot be used: a closed list of codes, the place, and for ambiguous data its readings.

use serde::{Deserialize, Serialize};

use super::{Element, Kind};

/// Why a scan cannot be used. Serialised in snake case; the text for people is in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The scan has no data (an AIM identifier alone counts as none).
    EmptyScan,
    /// The data can be read in more than one way; both are given and neither is chosen.
    Ambiguous,

    /// No application identifier begins here, or this one is not assigned.
    UnknownAi,
    /// A separator where an identifier is due: two in a row, or two at the start.
    DoubleSeparator,
    /// An identifier, a path element or a query parameter without a value.
    EmptyValue,
    /// A value, or a part of it, has too few characters.
    TooShort,
    /// A value has too many characters; often the separator after it is missing.
    TooLong,

    /// A character that is no digit where only digits are allowed.
    NotADigit,
    /// A character outside GS1 character set 82.
    NotInSet82,
    /// A character outside GS1 character set 39.
    NotInSet39,
    /// A character outside base 64 for URIs.
    NotInBase64url,
    /// Base 64 padding that is too long or not due at this length.
    Base64urlPadding,

    /// The GS1 check digit is wrong.
    WrongCheckDigit,
    /// The GS1 check character pair is wrong.
    WrongCheckPair,
    /// A GS1 company prefix does not begin with four digits.
    BadCompanyPrefix,
    /// The month is not 01 to 12.
    BadMonth,
    /// The month has no such day, or day 00 stands where a day must be named.
    BadDay,
    /// The hour is not 00 to 23.
    BadHour,
    /// The minute is not 00 to 59.
    BadMinute,
    /// The second is not 00 to 59.
    BadSecond,
    /// No country code of ISO 3166 in the form due here (three digits, 999 where allowed, or two letters).
    UnknownCountry,
    /// No three-digit currency code of ISO 4217.
    UnknownCurrency,
    /// No code of ISO/IEC 5218.
    UnknownSexCode,
    /// `%` is not followed by two hexadecimal digits.
    BadPercentEncoding,
    /// The latitude is out of range.
    BadLatitude,
    /// The longitude is out of range.
    BadLongitude,
    /// Neither 0 nor 1.
    NotYesOrNo,
    /// Something else than a hyphen.
    NotAHyphen,
    /// No importer index character.
    BadImporterIndex,
    /// No package type code.
    UnknownPackageType,
    /// No media type code.
    UnknownMediaType,
    /// A number that must not be zero is zero.
    ZeroValue,
    /// No winding direction.
    BadWinding,
    /// A digit that must be zero is not.
    NotZero,
    /// Piece number and total have not the same number of digits.
    BadPieceLength,
    /// The piece number is zero.
    PieceIsZero,
    /// The number of pieces is zero.
    PieceTotalIsZero,
    /// The piece number is greater than the number of pieces.
    PieceBeyondTotal,
    /// Not of the form position, slash, end.
    BadPosition,
    /// The position is greater than the end.
    PositionBeyondEnd,
    /// A number begins with zero that must not.
    LeadingZero,
    /// Digits only, where another character is due.
    DigitsOnly,
    /// The account number begins with no country code.
    BadIbanCountry,
    /// A character that no account number has.
    BadIbanCharacter,
    /// The check digits of the account number are wrong.
    WrongIbanCheckDigits,
    /// A field of a coupon code is missing.
    CouponFieldMissing,
    /// The length digit of a coupon field is not allowed.
    BadCouponFieldLength,
    /// A coupon field is shorter than it says.
    CouponFieldTooShort,
    /// A coupon field has a value that is not allowed.
    BadCouponField,
    /// A coupon's date is none.
    BadCouponDate,
    /// A coupon begins after it ends.
    CouponDateOrder,
    /// A coupon code goes on after its last field.
    CouponTooLong,

    /// An element needs a partner that is not in the scan.
    MissingPartner,
    /// Two elements exclude each other.
    ExcludedPartner,
    /// An identifier stands twice with different values; in a Digital Link URI, twice at all.
    RepeatedAi,
    /// A digital signature is over a key that lacks its serial part.
    MissingSerial,

    /// The Digital Link URI has a character that no URI has.
    BadLinkCharacter,
    /// The host of the Digital Link URI is missing or has a character that no host has.
    BadLinkHost,
    /// The qualifiers in the path do not belong to the key, or stand in the wrong order.
    BadLinkQualifiers,
    /// The identifier must not stand in the query of a Digital Link URI.
    NotALinkAttribute,
    /// The identifier in the query is a qualifier of the key and belongs in the path.
    BelongsInLinkPath,

    /// An EAN or UPC symbol with an add-on, which this version does not read.
    AddOnNotRead,
    /// The HIBC check character is wrong.
    WrongHibcCheckCharacter,
    /// A date in an HIBC code is none.
    BadHibcDate,
}

impl ErrorCode {
    /// Every code, in the order of declaration.
    pub const ALL: [Self; 64] = [
        Self::EmptyScan,
        Self::Ambiguous,
        Self::UnknownAi,
        Self::DoubleSeparator,
        Self::EmptyValue,
        Self::TooShort,
        Self::TooLong,
        Self::NotADigit,
        Self::NotInSet82,
        Self::NotInSet39,
        Self::NotInBase64url,
        Self::Base64urlPadding,
        Self::WrongCheckDigit,
        Self::WrongCheckPair,
        Self::BadCompanyPrefix,
        Self::BadMonth,
        Self::BadDay,
        Self::BadHour,
        Self::BadMinute,
        Self::BadSecond,
        Self::UnknownCountry,
        Self::UnknownCurrency,
        Self::UnknownSexCode,
        Self::BadPercentEncoding,
        Self::BadLatitude,
        Self::BadLongitude,
        Self::NotYesOrNo,
        Self::NotAHyphen,
        Self::BadImporterIndex,
        Self::UnknownPackageType,
        Self::UnknownMediaType,
        Self::ZeroValue,
        Self::BadWinding,
        Self::NotZero,
        Self::BadPieceLength,
        Self::PieceIsZero,
        Self::PieceTotalIsZero,
        Self::PieceBeyondTotal,
        Self::BadPosition,
        Self::PositionBeyondEnd,
        Self::LeadingZero,
        Self::DigitsOnly,
        Self::BadIbanCountry,
        Self::BadIbanCharacter,
        Self::WrongIbanCheckDigits,
        Self::CouponFieldMissing,
        Self::BadCouponFieldLength,
        Self::CouponFieldTooShort,
        Self::BadCouponField,
        Self::BadCouponDate,
        Self::CouponDateOrder,
        Self::CouponTooLong,
        Self::MissingPartner,
        Self::ExcludedPartner,
        Self::RepeatedAi,
        Self::MissingSerial,
        Self::BadLinkCharacter,
        Self::BadLinkHost,
        Self::BadLinkQualifiers,
        Self::NotALinkAttribute,
        Self::BelongsInLinkPath,
        Self::AddOnNotRead,
        Self::WrongHibcCheckCharacter,
        Self::BadHibcDate,
    ];

    /// The name as serialised, in operations and in the message catalogue.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EmptyScan => "empty_scan",
            Self::Ambiguous => "ambiguous",
            Self::UnknownAi => "unknown_ai",
            Self::DoubleSeparator => "double_separator",
            Self::EmptyValue => "empty_value",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::NotADigit => "not_a_digit",
            Self::NotInSet82 => "not_in_set82",
            Self::NotInSet39 => "not_in_set39",
            Self::NotInBase64url => "not_in_base64url",
            Self::Base64urlPadding => "base64url_padding",
            Self::WrongCheckDigit => "wrong_check_digit",
            Self::WrongCheckPair => "wrong_check_pair",
            Self::BadCompanyPrefix => "bad_company_prefix",
            Self::BadMonth => "bad_month",
            Self::BadDay => "bad_day",
            Self::BadHour => "bad_hour",
            Self::BadMinute => "bad_minute",
            Self::BadSecond => "bad_second",
            Self::UnknownCountry => "unknown_country",
            Self::UnknownCurrency => "unknown_currency",
            Self::UnknownSexCode => "unknown_sex_code",
            Self::BadPercentEncoding => "bad_percent_encoding",
            Self::BadLatitude => "bad_latitude",
            Self::BadLongitude => "bad_longitude",
            Self::NotYesOrNo => "not_yes_or_no",
            Self::NotAHyphen => "not_a_hyphen",
            Self::BadImporterIndex => "bad_importer_index",
            Self::UnknownPackageType => "unknown_package_type",
            Self::UnknownMediaType => "unknown_media_type",
            Self::ZeroValue => "zero_value",
            Self::BadWinding => "bad_winding",
            Self::NotZero => "not_zero",
            Self::BadPieceLength => "bad_piece_length",
            Self::PieceIsZero => "piece_is_zero",
            Self::PieceTotalIsZero => "piece_total_is_zero",
            Self::PieceBeyondTotal => "piece_beyond_total",
            Self::BadPosition => "bad_position",
            Self::PositionBeyondEnd => "position_beyond_end",
            Self::LeadingZero => "leading_zero",
            Self::DigitsOnly => "digits_only",
            Self::BadIbanCountry => "bad_iban_country",
            Self::BadIbanCharacter => "bad_iban_character",
            Self::WrongIbanCheckDigits => "wrong_iban_check_digits",
            Self::CouponFieldMissing => "coupon_field_missing",
            Self::BadCouponFieldLength => "bad_coupon_field_length",
            Self::CouponFieldTooShort => "coupon_field_too_short",
            Self::BadCouponField => "bad_coupon_field",
            Self::BadCouponDate => "bad_coupon_date",
            Self::CouponDateOrder => "coupon_date_order",
            Self::CouponTooLong => "coupon_too_long",
            Self::MissingPartner => "missing_partner",
            Self::ExcludedPartner => "excluded_partner",
            Self::RepeatedAi => "repeated_ai",
            Self::MissingSerial => "missing_serial",
            Self::BadLinkCharacter => "bad_link_character",
            Self::BadLinkHost => "bad_link_host",
            Self::BadLinkQualifiers => "bad_link_qualifiers",
            Self::NotALinkAttribute => "not_a_link_attribute",
            Self::BelongsInLinkPath => "belongs_in_link_path",
            Self::AddOnNotRead => "add_on_not_read",
            Self::WrongHibcCheckCharacter => "wrong_hibc_check_character",
            Self::BadHibcDate => "bad_hibc_date",
        }
    }
}

/// Why a scan cannot be used, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanError {
    /// What is wrong.
    pub code: ErrorCode,
    /// The application identifier concerned, if it is one element.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ai: Option<String>,
    /// The bytes concerned, `[start, end)` in the scan without its AIM identifier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<[usize; 2]>,
    /// For [`ErrorCode::Ambiguous`]: what the data can mean, at least two; otherwise empty.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub readings: Vec<PossibleReading>,
}

impl ScanError {
    pub(super) fn new(code: ErrorCode, start: usize, end: usize) -> Self {
        Self { code, ai: None, at: Some([start, end]), readings: Vec::new() }
    }

    pub(super) fn ambiguous(at: [usize; 2], ai: Option<String>, readings: Vec<PossibleReading>) -> Self {
        Self { code: ErrorCode::Ambiguous, ai, at: Some(at), readings }
    }
}

impl From<crate::gs1::Gs1Error> for ScanError {
    fn from(error: crate::gs1::Gs1Error) -> Self {
        Self { code: error.code, ai: error.ai, at: Some(error.at), readings: Vec::new() }
    }
}

/// One of the meanings of ambiguous data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PossibleReading {
    /// What the data would be.
    pub kind: Kind,
    /// Its elements; empty for [`Kind::Plain`], whose meaning is the text of the scan.
    pub elements: Vec<Element>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_codes_is_complete_and_in_order() {
        for (at, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(*code as usize, at, "{code:?}");
            let serialised = serde_json::to_string(code).expect("a unit variant");
            assert_eq!(serialised, format!("\"{}\"", code.as_str()), "{code:?}");
        }
        assert_eq!(ErrorCode::ALL.last(), Some(&ErrorCode::BadHibcDate), "the last code declared");
    }
}

//! EAN, UPC and ITF-14 symbols: digits that are a GTIN, brought to 14 digits.

use super::aim::Symbology;
use super::error::{ErrorCode, ScanError};
use crate::gs1::Flaw;
use crate::gs1::charset::CharSet;
use crate::gs1::lint::has_check_digit;

/// The GTIN-14 of a retail symbol; `None` when the symbology carries other data.
///
/// `]E0` holds 13 digits (ISO/IEC 15424: UPC-A and UPC-E in full), `]E4` holds 8. `]I1` is an ITF-14 only
/// with 14.
pub(super) fn gtin(symbology: Symbology, data: &[u8]) -> Option<Result<String, ScanError>> {
    let len = match symbology {
        Symbology::Ean13 => 13,
        Symbology::Ean8 => 8,
        Symbology::ItfChecked if data.len() == 14 => 14,
        Symbology::EanAddOn => return Some(Err(ScanError::new(ErrorCode::AddOnNotRead, 0, data.len()))),
        _ => return None,
    };
    Some(fourteen_digits(data, len).map_err(|flaw| {
        let mut error = ScanError::new(flaw.code, flaw.start, flaw.end);
        error.ai = Some("01".to_owned());
        error
    }))
}

fn fourteen_digits(data: &[u8], len: usize) -> Result<String, Flaw> {
    CharSet::Digits.check(data)?;
    if data.len() != len {
        let code = if data.len() > len { ErrorCode::TooLong } else { ErrorCode::TooShort };
        return Err(Flaw::new(code, 0, data.len()));
    }
    let wrong = Flaw::new(ErrorCode::WrongCheckDigit, len - 1, len);
    if !has_check_digit(data) {
        return Err(wrong);
    }
    let digits = std::str::from_utf8(data).map_err(|_| wrong)?;
    Ok(format!("{digits:0>14}"))
}

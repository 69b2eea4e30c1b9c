//! The four character sets of application identifier values.

use super::Flaw;
use crate::barcode::ErrorCode;

/// A character set of the GS1 General Specifications (section 7.11 and the Digital Signature standard).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CharSet {
    /// Digits 0 to 9 (`N`).
    Digits,
    /// The 82 characters of ISO/IEC 646 that GS1 allows in text (`X`).
    Set82,
    /// Digits, capital letters, `#`, `-` and `/` (`Y`).
    Set39,
    /// Base 64 for URIs, with or without padding (`Z`).
    Base64Url,
}

impl CharSet {
    /// Whether the byte belongs to the set; padding does not.
    #[must_use]
    pub const fn contains(self, byte: u8) -> bool {
        match self {
            Self::Digits => byte.is_ascii_digit(),
            Self::Set82 => matches!(byte, b'!' | b'"' | b'%'..=b'?' | b'A'..=b'Z' | b'_' | b'a'..=b'z'),
            Self::Set39 => matches!(byte, b'#' | b'-' | b'/' | b'0'..=b'9' | b'A'..=b'Z'),
            Self::Base64Url => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        }
    }

    /// Checks that every byte of `value` belongs to the set.
    ///
    /// # Errors
    /// The first byte that does not; for [`CharSet::Base64Url`] also padding that is too long or at a length
    /// that needs none.
    pub fn check(self, value: &[u8]) -> Result<(), Flaw> {
        let body = if matches!(self, Self::Base64Url) { without_padding(value)? } else { value };
        match body.iter().position(|byte| !self.contains(*byte)) {
            None => Ok(()),
            Some(at) => Err(Flaw::new(self.refusal(), at, at + 1)),
        }
    }

    const fn refusal(self) -> ErrorCode {
        match self {
            Self::Digits => ErrorCode::NotADigit,
            Self::Set82 => ErrorCode::NotInSet82,
            Self::Set39 => ErrorCode::NotInSet39,
            Self::Base64Url => ErrorCode::NotInBase64url,
        }
    }
}

fn without_padding(value: &[u8]) -> Result<&[u8], Flaw> {
    let pads = value.iter().rev().take_while(|byte| **byte == b'=').count();
    let len = value.len() - pads;
    if pads > 2 || (pads > 0 && !value.len().is_multiple_of(3)) {
        return Err(Flaw::new(ErrorCode::Base64urlPadding, len, value.len()));
    }
    Ok(value.get(..len).unwrap_or_default())
}

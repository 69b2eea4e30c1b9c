//! Check digits and check characters: GS1 modulo 10, GS1 modulo 1021 and the IBAN's modulo 97.

use crate::barcode::ErrorCode;
use crate::gs1::Flaw;
use crate::gs1::charset::CharSet;

use super::codes;

/// Whether the last digit is the GS1 check digit of the digits before it.
#[must_use]
pub(crate) fn has_check_digit(digits: &[u8]) -> bool {
    digits.split_last().is_some_and(|(last, body)| check_digit(body) == Some(*last))
}

/// The GS1 check digit (General Specifications 7.9.1) for the digits before it, or none when a byte is no
/// digit.
fn check_digit(body: &[u8]) -> Option<u8> {
    let mut sum = 0_u32;
    for (from_right, byte) in body.iter().rev().enumerate() {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        sum += u32::from(digit) * if from_right.is_multiple_of(2) { 3 } else { 1 };
    }
    u8::try_from((10 - sum % 10) % 10).ok().map(|digit| digit + b'0')
}

/// The last digit is the check digit of those before it.
pub(super) fn check(value: &[u8]) -> Result<(), Flaw> {
    CharSet::Digits.check(value)?;
    let Some((last, body)) = value.split_last() else {
        return Err(Flaw::new(ErrorCode::TooShort, 0, 0));
    };
    if check_digit(body) == Some(*last) {
        return Ok(());
    }
    Err(Flaw::new(ErrorCode::WrongCheckDigit, body.len(), value.len()))
}

/// Weights of the check character pair, from right to left: the prime numbers.
const PRIMES: [u32; 97] = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211, 223,
    227, 229, 233, 239, 241, 251, 257, 263, 269, 271, 277, 281, 283, 293, 307, 311, 313, 317, 331, 337, 347,
    349, 353, 359, 367, 373, 379, 383, 389, 397, 401, 409, 419, 421, 431, 433, 439, 443, 449, 457, 461, 463,
    467, 479, 487, 491, 499, 503, 509,
];

const SET_82: &[u8; 82] =
    b"!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

const SET_32: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// The last two characters are the check pair of those before them (General Specifications 7.9.5).
pub(super) fn check_pair(value: &[u8]) -> Result<(), Flaw> {
    let Some((body, pair)) = value.split_last_chunk::<2>() else {
        return Err(Flaw::new(ErrorCode::TooShort, 0, value.len()));
    };
    if body.len() > PRIMES.len() {
        return Err(Flaw::new(ErrorCode::TooLong, 0, value.len()));
    }
    let mut sum = 0_usize;
    for (at, byte) in body.iter().enumerate() {
        let Some(weight) = SET_82.iter().position(|known| known == byte) else {
            return Err(Flaw::new(ErrorCode::NotInSet82, at, at + 1));
        };
        let prime = PRIMES.get(body.len() - 1 - at).copied().unwrap_or_default();
        sum += weight * prime as usize;
    }
    let sum = sum % 1021;
    if Some(&pair[0]) == SET_32.get(sum >> 5) && Some(&pair[1]) == SET_32.get(sum & 31) {
        return Ok(());
    }
    Err(Flaw::new(ErrorCode::WrongCheckPair, body.len(), value.len()))
}

/// Country, length and the two check digits of an international bank account number (ISO 13616).
pub(super) fn check_iban(value: &[u8]) -> Result<(), Flaw> {
    let too_short = Flaw::new(ErrorCode::TooShort, 0, value.len());
    let Some((head, _)) = value.split_first_chunk::<4>() else {
        return Err(too_short);
    };
    codes::check_country_letters(&head[..2]).map_err(|_| Flaw::new(ErrorCode::BadIbanCountry, 0, 2))?;
    if value.len() > 34 {
        return Err(Flaw::new(ErrorCode::TooLong, 0, value.len()));
    }
    if value.len() <= 10 {
        return Err(too_short);
    }
    let rearranged = value.iter().enumerate().cycle().skip(4).take(value.len());
    let mut remainder = 0_u32;
    for (at, byte) in rearranged {
        let (shift, digit) = match byte {
            b'0'..=b'9' => (10, byte - b'0'),
            b'A'..=b'Z' => (100, byte - b'A' + 10),
            _ => return Err(Flaw::new(ErrorCode::BadIbanCharacter, at, at + 1)),
        };
        remainder = (remainder * shift + u32::from(digit)) % 97;
    }
    if remainder == 1 { Ok(()) } else { Err(Flaw::new(ErrorCode::WrongIbanCheckDigits, 2, 4)) }
}

//! Serials of containers.

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// In the place of a digit, in its order.
const LETTERS: &[u8; 10] = b"GHJKMNPQRS";
const LENGTH: u32 = 13;

/// A serial of 13 characters from 64 random bits: digits and capitals without I, L, O and U, so that none is taken
/// for another when it is read aloud or typed.
///
/// Eight digits in a row could be a date with its identifier (`17` `301231`), and a scanner that may have lost a
/// separator must then refuse the code. All such runs hold the seventh character; it becomes a letter.
#[must_use]
pub fn new_serial(random: [u8; 8]) -> String {
    let bits = u64::from_be_bytes(random);
    let digit = |place: u32| (bits >> (5 * (LENGTH - 1 - place))) & 31;
    let character =
        |of: &[u8], at: u64| usize::try_from(at).ok().and_then(|at| of.get(at)).map(|byte| char::from(*byte));
    let dated = (0..=LENGTH - 8).any(|start| (start..start + 8).all(|place| digit(place) < 10));
    (0..LENGTH)
        .filter_map(|place| character(if dated && place == 6 { LETTERS } else { ALPHABET }, digit(place)))
        .collect()
}

//! The strict verification itself, for a key that is seen once and for one that signs thousands of entries.

use super::{BadSignature, Context};
use crate::ids::{PublicKey, Signature};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use sha2::{Digest as _, Sha512};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, OnceLock};

/// Verifies one signature over `message`, given in parts.
pub(super) fn verify(key: &PublicKey, message: &[&[u8]], signature: &Signature) -> Result<(), BadSignature> {
    let (r, s) = halves(signature)?;
    let k = challenge(r, key, message);
    let point = EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &minus(key)?, &s);
    decide(r, point.compress())
}

/// A public key for many signatures, decided exactly as by [`super::verify`]. After the first few it makes itself
/// a table (about 220 KB, as long to make as ten signatures to verify), and every further one costs about
/// half. Threads may share it.
pub struct PreparedKey {
    key: PublicKey,
    minus_a: EdwardsPoint,
    seen: AtomicU32,
    multiples: OnceLock<Multiples>,
}

/// From this signature on a table has paid for itself.
const WORTH_A_TABLE: u32 = 11;

impl PreparedKey {
    /// Reads and checks `key`.
    ///
    /// # Errors
    /// [`BadSignature`] for a key that no signature verifies with: no point, not canonical, of small order.
    pub fn new(key: &PublicKey) -> Result<Self, BadSignature> {
        let minus_a = minus(key)?;
        Ok(Self { key: *key, minus_a, seen: AtomicU32::new(0), multiples: OnceLock::new() })
    }

    /// The key.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.key
    }

    /// Verifies `signature` over `message` in `context`.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(
        &self,
        context: Context,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let (r, point) = self.point(&context.parts(message), signature)?;
        decide(r, point.compress())
    }

    /// Verifies `signature` over bytes that carry their own domain separation, as [`super::verify_bytes`] does.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify_bytes(&self, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let (r, point) = self.point(&[bytes], signature)?;
        decide(r, point.compress())
    }

    /// Verifies signatures over as many messages; the answers stand in their order. Every signature is decided
    /// by its own equation, exactly as alone: what they share is one field inversion, no more. So this is not the
    /// batch verification that PROTOCOL §1 forbids.
    pub fn verify_each<'a>(
        &self,
        context: Context,
        signed: impl IntoIterator<Item = (&'a [u8], &'a Signature)>,
    ) -> Vec<Result<(), BadSignature>> {
        let (r, points): (Vec<_>, Vec<_>) = signed
            .into_iter()
            .map(|(message, signature)| match self.point(&context.parts(message), signature) {
                Ok((r, point)) => (Some(r), point),
                Err(BadSignature) => (None, EdwardsPoint::identity()),
            })
            .unzip();
        let points = EdwardsPoint::compress_batch_alloc(&points);
        r.into_iter().zip(points).map(|(r, point)| decide(r.ok_or(BadSignature)?, point)).collect()
    }

    fn point<'a>(
        &self,
        message: &[&[u8]],
        signature: &'a Signature,
    ) -> Result<(&'a [u8; 32], EdwardsPoint), BadSignature> {
        static BASE: LazyLock<Multiples> = LazyLock::new(|| Multiples::of(ED25519_BASEPOINT_POINT));
        let (r, s) = halves(signature)?;
        let k = challenge(r, &self.key, message);
        let Some(multiples) = self.multiples() else {
            return Ok((r, EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &self.minus_a, &s)));
        };
        let mut point = EdwardsPoint::identity();
        multiples.add_to(&mut point, &k);
        BASE.add_to(&mut point, &s);
        Ok((r, point))
    }

    fn multiples(&self) -> Option<&Multiples> {
        if let Some(made) = self.multiples.get() {
            return Some(made);
        }
        let worth = self.seen.fetch_add(1, Ordering::Relaxed) >= WORTH_A_TABLE;
        worth.then(|| self.multiples.get_or_init(|| Multiples::of(self.minus_a)))
    }
}

impl std::fmt::Debug for PreparedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PreparedKey({})", self.key)
    }
}

/// −A, where A is a canonical encoding of a point that is not of small order.
fn minus(key: &PublicKey) -> Result<EdwardsPoint, BadSignature> {
    let point = CompressedEdwardsY(key.0).decompress().ok_or(BadSignature)?;
    if is_canonical(&key.0) && !point.is_small_order() { Ok(-point) } else { Err(BadSignature) }
}

/// Whether the y coordinate of an encoded point is below p = 2^255 - 19. The only other non-canonical
/// encodings, a sign bit on x = 0, are of small order and refused as such.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    !(high & 0x7f == 0x7f && middle.iter().all(|b| *b == 0xff) && *low >= 0xed)
}

/// R as it is, and S if it is below the group order.
fn halves(signature: &Signature) -> Result<(&[u8; 32], Scalar), BadSignature> {
    let (r, s) = signature.0.split_first_chunk::<32>().ok_or(BadSignature)?;
    let s: [u8; 32] = s.try_into().map_err(|_| BadSignature)?;
    Ok((r, Option::from(Scalar::from_canonical_bytes(s)).ok_or(BadSignature)?))
}

/// k: SHA-512(R ‖ A ‖ message), reduced by the group order.
fn challenge(r: &[u8; 32], key: &PublicKey, message: &[&[u8]]) -> Scalar {
    let mut digest = Sha512::new();
    digest.update(r);
    digest.update(key.0);
    for part in message {
        digest.update(part);
    }
    Scalar::from_bytes_mod_order_wide(&digest.finalize().into())
}

/// `point` is \[k\](−A) + \[S\]B in its one canonical encoding. It must be R byte for byte: so R need not be
/// decompressed to be known as canonical, and is of small order only if it is one of eight encodings.
fn decide(r: &[u8; 32], point: CompressedEdwardsY) -> Result<(), BadSignature> {
    static SMALL_ORDER: LazyLock<[CompressedEdwardsY; 8]> =
        LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress()));
    if point.0 == *r && !SMALL_ORDER.contains(&point) { Ok(()) } else { Err(BadSignature) }
}

const DIGITS: usize = 43;
const HALF: i32 = 32;

/// 1 to 32 times 64^n of one point, for each n that a scalar has a digit for: a product is then a sum of one
/// entry a digit, without doublings. Variable time, for public values only.
struct Multiples(Vec<[EdwardsPoint; HALF as usize]>);

impl Multiples {
    fn of(point: EdwardsPoint) -> Self {
        let mut unit = point;
        let row = |_| {
            let mut multiple = EdwardsPoint::identity();
            let row = std::array::from_fn(|_| {
                multiple += unit;
                multiple
            });
            unit = multiple + multiple;
            row
        };
        Self((0..DIGITS).map(row).collect())
    }

    /// Adds `scalar` times the point to `sum`, by digits from −31 to 32 in base 64.
    fn add_to(&self, sum: &mut EdwardsPoint, scalar: &Scalar) {
        let mut carry = 0;
        for (row, digit) in self.0.iter().zip(base_64(scalar.as_bytes())) {
            let digit = digit + carry;
            carry = i32::from(digit > HALF);
            let digit = digit - carry * 2 * HALF;
            let place = digit.unsigned_abs().checked_sub(1).and_then(|place| usize::try_from(place).ok());
            let Some(multiple) = place.and_then(|place| row.get(place)) else { continue };
            if digit > 0 {
                *sum += multiple;
            } else {
                *sum -= multiple;
            }
        }
    }
}

/// The digits of a little-endian number in base 64, least first: three bytes hold four.
fn base_64(bytes: &[u8; 32]) -> impl Iterator<Item = i32> {
    bytes.chunks(3).flat_map(|chunk| {
        let word = chunk.iter().rev().fold(0, |word, byte| word << 8 | i32::from(*byte));
        [word & 63, word >> 6 & 63, word >> 12 & 63, word >> 18]
    })
}

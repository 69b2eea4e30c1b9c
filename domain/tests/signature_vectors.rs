//! The one verification function agrees with every case of `vectors/ed25519.json` and, on crafted signatures,
//! with a library's strict verification; a prepared key decides the same (PROTOCOL §1).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::VerifyingKey;
use lotgate_domain::ids::{PublicKey, Signature};
use lotgate_domain::signature::{BadSignature, Context, KeyPair, PreparedKey, verify, verify_bytes};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest as _, Sha512};
use std::collections::BTreeSet;

struct Case {
    name: String,
    key: PublicKey,
    message: Vec<u8>,
    signature: Signature,
    valid: bool,
    why: String,
}

fn cases() -> Vec<Case> {
    let file: Value = serde_json::from_str(include_str!("vectors/ed25519.json")).unwrap();
    let case = |case: &Value| {
        let text = |member: &str| case[member].as_str().unwrap().to_owned();
        Case {
            name: text("name"),
            key: text("public_key").parse().unwrap(),
            message: hex::decode(text("message")).unwrap(),
            signature: text("signature").parse().unwrap(),
            valid: case["valid"].as_bool().unwrap(),
            why: text("why"),
        }
    };
    file["cases"].as_array().unwrap().iter().map(case).collect()
}

#[test]
fn every_edge_case_is_decided_as_the_vector_file_says() {
    for Case { name, key, message, signature, valid, why } in cases() {
        assert_eq!(verify_bytes(&key, &message, &signature).is_ok(), valid, "{name}: {why}");
        assert_eq!(prepared(&key, &message, &signature).is_ok(), valid, "{name}, prepared key: {why}");
        assert_eq!(library(&key, &message, &signature), valid, "{name}, the library: {why}");
    }
}

/// The answer of a prepared key, which is the same before and after it has made its table.
fn prepared(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    let key = PreparedKey::new(key)?;
    let first = key.verify_bytes(message, signature);
    for n in 0..16 {
        assert_eq!(key.verify_bytes(message, signature), first, "{n}");
    }
    first
}

/// Strict verification by the library, A and R in canonical encoding besides.
fn library(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    let canonical = |bytes: &[u8; 32]| {
        CompressedEdwardsY(*bytes).decompress().is_some_and(|point| point.compress().0 == *bytes)
    };
    canonical(&key.0)
        && canonical(signature.r_bytes())
        && VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// A key a·B + T and a signature for it with R = r·B + U, where T and U are of small order: whether it holds
/// depends on k, and with a or r zero on the order alone. `shift` group orders are added to S.
fn crafted(a: u64, r: u64, torsion: (usize, usize), shift: u8, message: &[u8]) -> (PublicKey, Signature) {
    let (a, r) = (Scalar::from(a), Scalar::from(r));
    let key = (EdwardsPoint::mul_base(&a) + EIGHT_TORSION[torsion.0]).compress().0;
    let point = (EdwardsPoint::mul_base(&r) + EIGHT_TORSION[torsion.1]).compress().0;
    let digest = Sha512::new().chain_update(point).chain_update(key).chain_update(message).finalize();
    let mut s = (r + Scalar::from_bytes_mod_order_wide(&digest.into()) * a).to_bytes();
    let order = (-Scalar::ONE).to_bytes();
    for _ in 0..shift {
        let mut carry = 1;
        for (byte, add) in s.iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
    }
    (PublicKey(key), Signature::from_slice(&[point, s].concat()).unwrap())
}

fn small() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => Just(1), 8 => any::<u64>()]
}

#[test]
fn of_crafted_signatures_some_hold_and_all_are_decided_as_the_library_does() {
    let (mut held, mut refused) = (0, 0);
    for n in 0..64_u8 {
        let torsion = (usize::from(n / 8), usize::from(n % 8));
        for try_again in 0..6_u8 {
            let message = [n, try_again];
            let (key, signature) = crafted(5, 7, torsion, 0, &message);
            let ours = verify_bytes(&key, &message, &signature).is_ok();
            assert_eq!(ours, library(&key, &message, &signature), "{torsion:?}");
            assert_eq!(ours, prepared(&key, &message, &signature).is_ok(), "{torsion:?}, prepared key");
            held += u32::from(ours);
            refused += u32::from(!ours);
        }
    }
    assert!(held >= 20 && refused >= 200, "{held} hold, {refused} do not");
}

#[test]
fn a_key_that_nothing_verifies_with_cannot_be_prepared() {
    for point in EIGHT_TORSION {
        assert!(PreparedKey::new(&PublicKey(point.compress().0)).is_err(), "small order");
    }
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed + 3, 0x7f);
    assert!(CompressedEdwardsY(p).decompress().is_some(), "the y of 3, written as p + 3");
    assert!(PreparedKey::new(&PublicKey(p)).is_err(), "not canonical");
    let small_y = (0..=u8::MAX).map(|y| std::array::from_fn(|at| if at == 0 { y } else { 0 }));
    let off_the_curve = small_y.into_iter().find(|y| CompressedEdwardsY(*y).decompress().is_none()).unwrap();
    assert!(PreparedKey::new(&PublicKey(off_the_curve)).is_err(), "not a point");
}

proptest! {
    #[test]
    fn any_crafted_signature_is_decided_as_the_library_does(
        a in small(),
        r in small(),
        torsion in (0..8_usize, 0..8_usize),
        shift in prop_oneof![4 => Just(0), 1 => 1..4_u8],
        message in prop::collection::vec(any::<u8>(), 0..200),
        flip in prop::option::of(0..768_usize),
    ) {
        let (mut key, mut signature) = crafted(a, r, torsion, shift, &message);
        match flip {
            Some(bit @ 0..512) => signature.0[bit / 8] ^= 1 << (bit % 8),
            Some(bit) => key.0[bit / 8 - 64] ^= 1 << (bit % 8),
            None => {}
        }
        let ours = verify_bytes(&key, &message, &signature).is_ok();
        prop_assert_eq!(ours, library(&key, &message, &signature));
        prop_assert_eq!(ours, prepared(&key, &message, &signature).is_ok());
    }

    #[test]
    fn signatures_checked_together_are_decided_as_alone(
        seed in any::<[u8; 32]>(),
        kinds in prop::collection::vec((0..4_u8, any::<[u8; 8]>()), 0..30),
    ) {
        let keys = KeyPair::from_seed(&seed);
        let signed: Vec<([u8; 8], Signature)> = kinds
            .iter()
            .map(|(kind, message)| {
                let mut signature = keys.sign(Context::Operation, message);
                match kind {
                    0 => signature.0[63] |= 0xf0,
                    1 => signature.0[usize::from(message[0]) % 64] ^= 1,
                    2 => signature = keys.sign(Context::Receipt, message),
                    _ => {}
                }
                (*message, signature)
            })
            .collect();
        let key = PreparedKey::new(&keys.public()).unwrap();
        let items = signed.iter().map(|(message, signature)| (message.as_slice(), signature));
        let alone = |(message, signature): &([u8; 8], Signature)| {
            let one = key.verify(Context::Operation, message, signature);
            assert_eq!(one, verify(&keys.public(), Context::Operation, message, signature));
            one
        };
        let expected: Vec<_> = signed.iter().map(alone).collect();
        prop_assert_eq!(&key.verify_each(Context::Operation, items), &expected);
        for ((kind, _), decided) in kinds.iter().zip(expected) {
            prop_assert_eq!(decided.is_ok(), *kind == 3);
        }
    }
}

#[test]
fn the_vector_file_holds_every_family_of_edge_cases() {
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    for family in [
        "rfc8032_",
        "s_plus_l",
        "s_is_l",
        "small_order_a_identity",
        "small_order_a_order_8",
        "small_order_r_order_2",
        "small_order_both_",
        "non_canonical_a_y_p",
        "non_canonical_r_y_p",
        "non_canonical_a_x0_sign",
        "mixed_a_order_8_k_cancels",
        "mixed_a_order_8_cofactored_only",
        "mixed_a_reduced_k_holds",
        "mixed_a_unreduced_k_holds",
        "mixed_r_order_4",
        "mixed_both_cancel",
        "batch_order_8_",
        "other_message",
        "signature_bit_",
    ] {
        assert!(names.iter().any(|name| name.starts_with(family)), "no case {family}");
    }
    let valid = cases.iter().filter(|case| case.valid).count();
    assert!(valid >= 8 && cases.len() - valid >= 60, "{valid} of {} are valid", cases.len());
}

#[test]
fn no_flipped_bit_of_key_message_or_signature_verifies() {
    let case = cases().into_iter().find(|case| case.name == "rfc8032_7_1_test_3").unwrap();
    for bit in 0..256 {
        let mut key = case.key;
        key.0[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_bytes(&key, &case.message, &case.signature).is_err(), "bit {bit} of the key");
    }
    for bit in 0..512 {
        let mut signature = case.signature;
        signature.0[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_bytes(&case.key, &case.message, &signature).is_err(), "bit {bit} of the signature");
    }
    for bit in 0..case.message.len() * 8 {
        let mut message = case.message.clone();
        message[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_bytes(&case.key, &message, &case.signature).is_err(), "bit {bit} of the message");
    }
}

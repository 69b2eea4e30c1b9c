//! The one verification function agrees with every case of `vectors/ed25519.json` (PROTOCOL §1).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use lotgate_domain::ids::{PublicKey, Signature};
use lotgate_domain::signature::verify_bytes;
use serde_json::Value;
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

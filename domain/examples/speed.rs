//! What one entry costs to read and to verify, against bare strict verification by the library alone, measured
//! in one run: `cargo run --release -p lotgate-domain --example speed`.
#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]
#![allow(clippy::float_arithmetic, reason = "ratios of measured times")]
#![allow(clippy::unwrap_used, reason = "the entries are the golden ones")]

use ed25519_dalek::VerifyingKey;
use lotgate_domain::canonical;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::Hash;
use lotgate_domain::operation::{self, Content, Operation};
use lotgate_domain::signature::{Context, KeyPair, PreparedKey};
use serde_json::Value;
use std::hint::black_box;
use std::time::Instant;

const ENTRIES: u64 = 1_000;
const ROUNDS: u32 = 15;

fn main() {
    let keys = KeyPair::from_seed(&[0x11; 32]);
    let public = keys.public();
    let prepared = PreparedKey::new(&public).unwrap();
    let first = accepted();
    let operations: Vec<Operation> = (1..=ENTRIES).map(|seq| Operation { seq, ..first.clone() }).collect();
    let bytes: Vec<Vec<u8>> = operations.iter().map(|operation| operation.write(&keys).unwrap()).collect();
    let frames: Vec<Frame<'_>> = bytes.iter().map(|bytes| Frame::read(bytes).unwrap()).collect();
    let of_all = || frames.iter();

    let bare = microseconds(|| {
        for frame in of_all() {
            let key = VerifyingKey::from_bytes(&public.0).unwrap();
            let signature = ed25519_dalek::Signature::from_bytes(&frame.signature().0);
            key.verify_strict(&Context::Operation.message(frame.json()), &signature).unwrap();
        }
    });
    println!("one entry of {} bytes", bytes.iter().map(Vec::len).sum::<usize>() / bytes.len());
    let tell = |name: &str, took: f64| println!("{name:<44}{took:8.2} µs {:7.2} of bare", took / bare);
    tell("bare strict verification, key read each time", bare);
    tell("verify", microseconds(|| of_all().for_each(|f| f.verify(&public, Context::Operation).unwrap())));
    let fast = || of_all().for_each(|f| f.verify_prepared(&prepared, Context::Operation).unwrap());
    tell("verify, prepared key", microseconds(fast));
    let each =
        || frames.chunks(64).flat_map(|frames| Frame::verify_each(frames, &prepared, Context::Operation));
    tell("verify, prepared key, 64 frames together", microseconds(|| each().for_each(Result::unwrap)));
    let new = || {
        let key = PreparedKey::new(&public).unwrap();
        of_all().for_each(|f| f.verify_prepared(&key, Context::Operation).unwrap());
    };
    tell("verify, a new key for 1,000 entries", microseconds(new));
    let hash = |f: &Frame<'_>| assert_ne!(black_box(f.hash()), Hash::ZERO);
    tell("hash", microseconds(|| of_all().for_each(hash)));
    tell("read, hash included", microseconds(|| of_all().for_each(|f| drop(operation::read(f).unwrap()))));
    let by_value = || of_all().for_each(|f| drop(canonical::read(f.json())));
    tell("canonical read, JSON only", microseconds(by_value));
    tell("write", microseconds(|| operations.iter().for_each(|o| drop(canonical::write(o)))));
    tell("write and sign", microseconds(|| operations.iter().for_each(|o| drop(o.write(&keys)))));
}

/// The golden `scan.accepted` without a null member.
fn accepted() -> Operation {
    let file: Value = serde_json::from_str(include_str!("../tests/vectors/operations.json")).unwrap();
    let case = file.pointer("/cases/4/entry").and_then(Value::as_str).unwrap();
    let bytes = hex::decode(case).unwrap();
    match operation::read(&Frame::read(&bytes).unwrap()).unwrap().content {
        Content::Known(operation) => *operation,
        Content::Body(..) | Content::LaterVersion => unreachable!("the golden entry is known"),
    }
}

/// Microseconds for each of [`ENTRIES`], in the best of [`ROUNDS`].
fn microseconds(mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..ROUNDS).map(once).min().unwrap_or_default().as_secs_f64() * 1e6 / ENTRIES as f64
}

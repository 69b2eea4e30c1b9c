//! The fast ways of writing and reading agree with the slow and obvious ones, whatever the bytes
//! (PROTOCOL §1, §9.5): an independent RFC 8785 writer, and reading an entry part by part.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "a test fails by panicking, and shares its parts"
)]

#[path = "parts/any.rs"]
mod anything;

use lotgate_domain::canonical::{self, CanonicalError, MAX_INTEGER};
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::operation::body::Body;
use lotgate_domain::operation::{self, ALG, Content, EnvelopeError, Header, Operation};
use lotgate_domain::signature::{Context, KeyPair};
use proptest::prelude::*;
use serde::ser::SerializeMap as _;
use serde::{Deserialize as _, Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// RFC 8785 by the library, within the range of numbers that PROTOCOL §1 allows.
fn written_by_library(value: &Value) -> Option<Vec<u8>> {
    fn in_range(value: &Value) -> bool {
        match value {
            Value::Number(number) => number
                .as_i128()
                .is_some_and(|n| n.unsigned_abs() <= u128::from(MAX_INTEGER) && !number.is_f64()),
            Value::Array(values) => values.iter().all(in_range),
            Value::Object(members) => members.values().all(in_range),
            Value::Null | Value::Bool(_) | Value::String(_) => true,
        }
    }
    in_range(value).then(|| serde_json_canonicalizer::to_vec(value).unwrap())
}

fn read_by_library(bytes: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    (written_by_library(&value)? == bytes).then_some(value)
}

/// What an entry says, read part by part from a `Value` in the form that the library wrote.
fn read_by_parts(json: &[u8]) -> Result<(Header, Content), &'static str> {
    let value = read_by_library(json).ok_or("canonical")?;
    let header = Header::deserialize(&value).map_err(|_| "shape")?;
    if header.alg != ALG {
        return Err("algorithm");
    }
    if header.v != 1 {
        return Ok((header, Content::LaterVersion));
    }
    let envelope: Operation<Value> = canonical::shape(value.clone()).map_err(|_| "shape")?;
    let content = match Body::read(&envelope.body) {
        Ok(_) => Content::Known(Box::new(Operation::deserialize(&value).unwrap())),
        Err(error) => Content::Body(Box::new(envelope), error),
    };
    Ok((header, content))
}

fn read(json: &[u8]) -> Result<(Header, Content), &'static str> {
    let bytes = entry::sign(json, Context::Operation, &KeyPair::from_seed(&[7; 32])).unwrap();
    operation::read(&Frame::read(&bytes).unwrap()).map(|read| (read.header, read.content)).map_err(|error| {
        match error {
            EnvelopeError::Canonical(_) => "canonical",
            EnvelopeError::Shape(_) => "shape",
            EnvelopeError::Algorithm => "algorithm",
        }
    })
}

/// An object whose members are written in the order in which they stand.
struct AsTheyCome(Vec<(String, Value)>);

impl Serialize for AsTheyCome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Names that are hard to sort: escapes, equal beginnings, both sides of the surrogates.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{0,3}",
        "snapshot[a_l]{0,3}",
        "[ !\"#\\\\/\u{0}-\u{1f}\u{7f}a]{0,3}",
        "[a\u{7ff}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,3}",
        anything::text(),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let limit = i64::try_from(MAX_INTEGER).unwrap();
    let number = prop_oneof![
        any::<i32>().prop_map(|n| json!(n)),
        (limit - 1..=limit + 1).prop_map(|n| json!(n)),
        (-limit - 1..=-limit + 1).prop_map(|n| json!(n)),
        any::<u64>().prop_map(|n| json!(n)),
    ];
    let leaf = prop_oneof![
        2 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::Bool),
        1 => number,
        1 => any::<f64>().prop_map(|n| json!(n)),
        4 => name().prop_map(Value::String),
        6 => any::<u16>().prop_map(|n| json!(n)),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(name(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// One change of bytes: another value, one more, one less, or the end cut off.
fn change(bytes: &[u8], place: prop::sample::Index, kind: u8, new: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = place.index(bytes.len());
    match kind {
        0 => changed[at] = new,
        1 => changed.insert(at, new),
        2 => drop(changed.remove(at)),
        _ => changed.truncate(at),
    }
    changed
}

fn golden() -> Vec<Value> {
    [include_str!("vectors/operations.json"), include_str!("vectors/later_entries.json")]
        .iter()
        .flat_map(|file| serde_json::from_str::<Value>(file).unwrap()["cases"].as_array().unwrap().clone())
        .map(|case| serde_json::from_str(case["json"].as_str().unwrap()).unwrap())
        .collect()
}

/// Pointers of every value within `value`, itself left out.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), member)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (name, inner) in inner {
        let at = format!("{at}/{name}");
        places(inner, &at, found);
        found.push(at);
    }
}

/// Other spellings, some of which a reader by shape alone would take: objects as arrays, numbers as texts, a
/// variant as an object, a date in its other forms; and the number before.
fn respelled(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(members) => vec![members.values().cloned().collect()],
        Value::String(text) => vec![
            json!({text.clone(): null}),
            json!(text.to_uppercase()),
            json!(text.replace('-', "")),
            json!(format!("{text}T00:00:00")),
            Value::Null,
        ],
        Value::Number(number) => {
            vec![json!(number.as_i64().unwrap() - 1), json!(number.to_string()), json!(number.as_f64())]
        }
        Value::Null => vec![json!(""), json!([])],
        Value::Bool(_) | Value::Array(_) => vec![Value::Null, json!({}), json!([[]])],
    }
}

#[test]
fn every_other_spelling_of_every_member_is_read_as_part_by_part() {
    for value in golden() {
        let mut all = Vec::new();
        places(&value, "", &mut all);
        for place in all {
            for new in respelled(value.pointer(&place).unwrap()) {
                let mut changed = value.clone();
                *changed.pointer_mut(&place).unwrap() = new;
                let json = serde_json_canonicalizer::to_vec(&changed).unwrap();
                assert_eq!(read(&json), read_by_parts(&json), "{place}");
            }
        }
    }
}

#[test]
fn members_with_equal_beginnings_escapes_and_surrogates_are_sorted() {
    let plain = ["", " ", "!", "#", "/", "a", "snapshot", "snapshot_lot", "\u{7f}"];
    let escaped = ["\0", "\n", "\t", "\"", "\\"];
    let wide = ["\u{80}", "\u{d7ff}", "\u{10000}", "\u{10ffff}", "\u{e000}", "\u{ffff}"];
    let names = [plain.as_slice(), &escaped, &wide].concat();
    let members = names.iter().rev().map(|name| ((*name).to_owned(), Value::Null));
    let sorted = serde_json_canonicalizer::to_vec(&members.clone().collect::<Value>()).unwrap();
    assert_eq!(canonical::write(&AsTheyCome(members.collect())).unwrap(), sorted);
}

proptest! {
    #[test]
    fn the_writer_writes_what_the_library_writes(value in value()) {
        let ours = canonical::write(&value);
        match written_by_library(&value) {
            Some(bytes) => prop_assert_eq!(ours.unwrap(), bytes),
            None => prop_assert!(matches!(ours, Err(CanonicalError::Number))),
        }
    }

    #[test]
    fn members_are_sorted_from_any_order(
        members in prop::collection::btree_map(name(), value(), 0..30)
            .prop_map(|members: BTreeMap<_, _>| members.into_iter().collect::<Vec<_>>())
            .prop_shuffle(),
    ) {
        let sorted = written_by_library(&members.iter().cloned().collect::<Value>());
        prop_assert_eq!(canonical::write(&AsTheyCome(members)).ok(), sorted);
    }

    #[test]
    fn the_reader_takes_what_the_library_would_write_and_nothing_else(
        any_bytes in prop::collection::vec(any::<u8>(), 0..40),
        text in "[\\[\\]{}:,\"\\\\0-9eE.+u a-z-]{0,24}",
        value in value(),
        place in any::<prop::sample::Index>(),
        kind in 0u8..4,
        new in prop_oneof![any::<u8>(), prop::sample::select(b" \t\n\"\\{}[],:0u-+.eE".to_vec())],
    ) {
        let written = serde_json_canonicalizer::to_vec(&value).unwrap();
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        for bytes in [any_bytes, text.into_bytes(), change(&written, place, kind, new), written, pretty] {
            prop_assert_eq!(canonical::read(&bytes).ok(), read_by_library(&bytes));
        }
    }

    #[test]
    fn any_change_of_an_operation_is_read_as_part_by_part(
        operation in anything::operation(),
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        kind in 0u8..4,
        byte in prop_oneof![any::<u8>(), prop::sample::select(b" \"\\{}[],:0afn1-.".to_vec())],
        new in value(),
    ) {
        let json = canonical::write(&operation).unwrap();
        prop_assert_eq!(read(&json), read_by_parts(&json));
        let changed = change(&json, place, kind, byte);
        prop_assert_eq!(read(&changed), read_by_parts(&changed));

        let mut value = which.get(&golden()).clone();
        let mut all = Vec::new();
        places(&value, "", &mut all);
        *value.pointer_mut(place.get(&all).as_str()).unwrap() = new;
        let json = serde_json_canonicalizer::to_vec(&value).unwrap();
        prop_assert_eq!(read(&json), read_by_parts(&json));
    }
}

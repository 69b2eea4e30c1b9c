//! Whatever bytes come in: nothing panics, nothing has two spellings, and no change of an entry goes unseen
//! (PROTOCOL §1, §9.1–9.5, §9.9, §9.10, §9.13).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking, and shares its parts"
)]

#[path = "parts/any.rs"]
mod anything;

use lotgate_domain::certificate::Certificate;
use lotgate_domain::entry::{self, Frame, FrameError, MAX_FRAME};
use lotgate_domain::ids::{
    BootId, Epoch, EpochId, Hash, KeyId, OperationId, PublicKey, Signature, StationId, TenantId,
};
use lotgate_domain::operation::body::{Body, BodyError};
use lotgate_domain::operation::{self, Content, Operation};
use lotgate_domain::protocol::push::{PushBodyError, PushClock, PushHeader, PushRequest};
use lotgate_domain::protocol::request_signature::Parameters;
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{After, EnrolRequest, HexBytes, PushReply};
use lotgate_domain::reference::{Item, Lot, LotStatus, ReferenceFile, Snapshot, render_page};
use lotgate_domain::signature::{Context, KeyPair};
use lotgate_domain::statement::{self, FeedPoint, Receipt, VerdictBatch};
use lotgate_domain::time::Timestamp;
use lotgate_domain::{canonical, signature};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn keys() -> KeyPair {
    KeyPair::from_seed(&[7; 32])
}

/// What becomes of JSON that a station signed.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Known,
    InvalidBody,
    UnknownType,
    Later,
    Broken,
}

fn outcome_of_bytes(json: &[u8]) -> Outcome {
    let bytes = entry::sign(json, Context::Operation, &keys()).unwrap();
    match operation::read(&Frame::read(&bytes).unwrap()).map(|read| read.content) {
        Ok(Content::Known(operation)) => {
            assert_eq!(canonical::write(&operation).unwrap(), json, "what is known has one spelling");
            Outcome::Known
        }
        Ok(Content::Body(_, BodyError::Invalid)) => Outcome::InvalidBody,
        Ok(Content::Body(_, BodyError::UnknownType)) => Outcome::UnknownType,
        Ok(Content::LaterVersion) => Outcome::Later,
        Err(_) => Outcome::Broken,
    }
}

fn outcome(value: &Value) -> Outcome {
    match canonical::write(value) {
        Ok(json) => outcome_of_bytes(&json),
        Err(_) => Outcome::Broken,
    }
}

fn golden(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).unwrap();
    let cases = file["cases"].as_array().unwrap();
    cases.iter().map(|case| serde_json::from_str(case["json"].as_str().unwrap()).unwrap()).collect()
}

fn operations() -> Vec<Value> {
    golden(include_str!("vectors/operations.json"))
}

/// The pointers of all objects in `value`.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(at.to_owned());
            for (name, member) in members {
                objects(member, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                objects(value, &format!("{at}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn at_every_object(value: &Value, mut each: impl FnMut(&str, &Map<String, Value>)) {
    let mut found = Vec::new();
    objects(value, "", &mut found);
    for pointer in found {
        each(&pointer, value.pointer(&pointer).unwrap().as_object().unwrap());
    }
}

fn with(value: &Value, pointer: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Value {
    let mut changed = value.clone();
    change(changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap());
    changed
}

fn refused_as(pointer: &str) -> &'static [Outcome] {
    if pointer.starts_with("/body") { &[Outcome::InvalidBody, Outcome::Broken] } else { &[Outcome::Broken] }
}

#[test]
fn a_missing_member_is_refused_everywhere_even_where_it_may_be_null() {
    for value in operations() {
        assert_eq!(outcome(&value), Outcome::Known);
        at_every_object(&value, |pointer, members| {
            for name in members.keys() {
                let changed = with(&value, pointer, |members| drop(members.remove(name)));
                assert!(refused_as(pointer).contains(&outcome(&changed)), "{pointer}/{name} is missing");
            }
        });
    }
}

#[test]
fn an_unknown_member_is_refused_everywhere() {
    for value in operations() {
        at_every_object(&value, |pointer, _| {
            let changed = with(&value, pointer, |members| drop(members.insert("zz".to_owned(), Value::Null)));
            assert!(refused_as(pointer).contains(&outcome(&changed)), "{pointer}/zz is unknown");
        });
    }
}

#[test]
fn a_duplicate_member_is_refused_everywhere() {
    for value in operations() {
        let json = String::from_utf8(canonical::write(&value).unwrap()).unwrap();
        for (place, _) in json.match_indices('{') {
            let (before, after) = json.split_at(place + 1);
            let Some(first) = after.split_once(':').map(|(name, _)| name) else { continue };
            let twice = format!("{before}{first}:null,{after}");
            assert_eq!(outcome_of_bytes(twice.as_bytes()), Outcome::Broken, "{first} twice");
        }
    }
}

#[test]
fn every_member_has_one_spelling() {
    let set = |pointer: &'static str, new: Value| {
        let mut value = operations().swap_remove(4);
        *value.pointer_mut(pointer).unwrap() = new;
        outcome(&value)
    };
    let upper = |pointer: &'static str| {
        let text = operations()[4].pointer(pointer).unwrap().as_str().unwrap().to_uppercase();
        set(pointer, json!(text))
    };
    for pointer in
        ["/id", "/tenant", "/site", "/station", "/actor", "/at/boot", "/prev", "/program/config_sha256"]
    {
        assert_eq!(upper(pointer), Outcome::Broken, "{pointer} in upper case");
    }
    assert_eq!(upper("/body/raw"), Outcome::InvalidBody, "hex in upper case");
    for (pointer, bad) in [
        ("/alg", json!("Ed25519")),
        ("/alg", json!("ed448")),
        ("/key", json!("00")),
        ("/tenant", json!("018bcfe568007101 8101010101010101")),
        ("/tenant", json!("{018bcfe5-6800-7101-8101-010101010101}")),
        ("/at/wall", json!("2025-11-22T11:04:05Z")),
        ("/at/wall", json!("2025-11-22T12:04:05.123+01:00")),
        ("/at/wall", json!("2025-11-22T11:04:60.123Z")),
        ("/at/clock", json!("OK")),
        ("/at/mono_ms", json!("1")),
        ("/at/mono_ms", json!(-1)),
        ("/at/mono_ms", json!(1.5)),
        ("/at/mono_ms", json!(canonical::MAX_INTEGER + 1)),
        ("/seq", json!(null)),
        ("/v", json!("1")),
        ("/body", json!({"type": 0})),
        ("/body", json!({"type": null})),
        ("/body", json!([])),
    ] {
        assert_eq!(set(pointer, bad.clone()), Outcome::Broken, "{pointer} = {bad}");
    }
    for (pointer, bad) in [
        ("/body/snapshot_lot/status", json!("approved")),
        ("/body/snapshot_lot/expiry", json!("2027-12-31T00:00:00")),
        ("/body/raw", json!("0")),
        ("/body/raw", json!("0g")),
        ("/body/device/simulated", json!("false")),
        ("/body/elements", json!({})),
    ] {
        assert_eq!(set(pointer, bad.clone()), Outcome::InvalidBody, "{pointer} = {bad}");
    }
    assert_eq!(set("/body/type", json!("Scan.accepted")), Outcome::UnknownType);
    assert_eq!(set("/v", json!(2)), Outcome::Later);
}

#[test]
fn a_later_version_with_other_members_is_kept_by_its_header() {
    let mut value = operations().swap_remove(4);
    value["v"] = json!(2);
    for gone in ["id", "site", "at", "actor", "role", "reason", "knew", "state", "program"] {
        value.as_object_mut().unwrap().remove(gone);
    }
    value["people"] = json!([{"id": null}]);
    assert_eq!(outcome(&value), Outcome::Later);
    for fixed in ["v", "alg", "key", "tenant", "station", "epoch", "seq", "prev", "body"] {
        let changed = with(&value, "", |members| drop(members.remove(fixed)));
        assert_eq!(outcome(&changed), Outcome::Broken, "{fixed} stays in every version");
    }
}

#[test]
fn a_nonce_is_base64url_and_nothing_else() {
    let good = signature_input(false);
    assert!(Parameters::parse(&good, false).is_ok());
    for bad in ["AA\"A", "AA=", "AA A", "AA+/", "\u{fc}", "\\"] {
        let header = good.replace("AAAA-_", bad);
        assert!(Parameters::parse(&header, false).is_err(), "{header}");
    }
}

#[test]
fn names_are_sorted_by_utf_16_units() {
    let written = canonical::write(&json!({"\u{e000}": 1, "\u{10000}": 2, "a": 3, "": 4})).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), "{\"\":4,\"a\":3,\"\u{10000}\":2,\"\u{e000}\":1}");
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        assert!(canonical::read(deep.as_bytes()).is_err(), "{open}");
    }
}

#[test]
fn an_entry_may_be_32_kib_and_not_one_byte_more() {
    let longest = vec![b' '; MAX_FRAME - 68];
    assert_eq!(entry::sign(&longest, Context::Operation, &keys()).unwrap().len(), 32_768);
    let longer = vec![b' '; MAX_FRAME - 67];
    assert_eq!(entry::sign(&longer, Context::Operation, &keys()), Err(FrameError::Long));
    let mut announced = u32::try_from(longer.len()).unwrap().to_be_bytes().to_vec();
    announced.extend([0; MAX_FRAME]);
    assert_eq!(Frame::split_first(&announced).unwrap_err(), FrameError::Long);
}

fn push_header(seq: u64) -> PushHeader {
    let clock =
        PushClock { wall: Timestamp::from_unix_ms(0), mono_ms: 0, boot: BootId::from_parts(0, &[0; 10]) };
    let after = After { seq, hash: Hash::ZERO };
    PushHeader { v: 1, epoch: Epoch { n: 1, id: EpochId([0; 16]) }, after, count: 0, clock, log: None }
}

#[test]
fn a_push_header_of_another_version_count_or_size_is_refused() {
    let read = |header| PushRequest::read(&PushRequest { header, entries: Vec::new() }.write().unwrap());
    assert!(read(push_header(canonical::MAX_INTEGER)).is_ok());
    assert!(matches!(read(push_header(canonical::MAX_INTEGER + 1)), Err(PushBodyError::Number(_))));
    assert!(matches!(read(PushHeader { v: 2, ..push_header(0) }), Err(PushBodyError::Version)));
    assert!(matches!(read(PushHeader { count: 1, ..push_header(0) }), Err(PushBodyError::Count)));
    assert!(matches!(PushRequest::read(&[0, 0, 0, 9, b'{']), Err(PushBodyError::Short)));
}

fn page() -> Vec<u8> {
    let item = Item { item: "API-1".to_owned(), name: None, gtin: Some("09506000134352".to_owned()) };
    let lot = Lot {
        lot: "L1".to_owned(),
        item: "API-1".to_owned(),
        status: LotStatus::Hold,
        expiry: Some(jiff::civil::date(2027, 2, 28)),
        codes: vec!["RM-1".to_owned()],
    };
    render_page(&ReferenceFile { items: vec![item], lots: vec![lot] }, "Europe/Berlin").unwrap()
}

fn receipt() -> Vec<u8> {
    let cases: Value = serde_json::from_str(include_str!("vectors/statements.json")).unwrap();
    let case = cases["cases"].as_array().unwrap().iter().find(|case| case["name"] == "receipt").unwrap();
    hex::decode(case["entry"].as_str().unwrap()).unwrap()
}

fn signature_input(has_body: bool) -> String {
    let parameters = Parameters {
        created: 1_763_809_446,
        tenant: TenantId::from_parts(1, &[1; 10]),
        station: StationId::from_parts(2, &[2; 10]),
        key: keys().public().key_id(),
        nonce: Some("AAAA-_".to_owned()),
    };
    parameters.signature_input(has_body)
}

/// One change of bytes: another value, one more, one less, or the end cut off.
fn change(bytes: &[u8], place: prop::sample::Index, kind: u8, value: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = place.index(bytes.len());
    match kind {
        0 => changed[at] ^= value.max(1),
        1 => changed.insert(at, value),
        2 => drop(changed.remove(at)),
        _ => changed.truncate(at),
    }
    changed
}

fn json_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![any::<i32>().prop_map(|n| json!(n)), any::<u64>().prop_map(|n| json!(n >> 11))];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number,
        anything::text().prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(anything::text(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_operation_reads_back_as_it_was_written(operation in anything::operation()) {
        let bytes = operation.write(&keys()).unwrap();
        let frame = Frame::read(&bytes).unwrap();
        prop_assert!(frame.verify(&keys().public(), Context::Operation).is_ok());
        let read = operation::read(&frame).unwrap();
        prop_assert_eq!(read.hash, Hash::of_parts(&[&[0], &bytes]));
        prop_assert_eq!(read.header.body.kind.as_str(), operation.body.kind());
        prop_assert_eq!(read.content, Content::Known(Box::new(operation)));
    }

    #[test]
    fn any_change_of_an_entry_is_refused_or_seen(
        operation in anything::operation(),
        place in any::<prop::sample::Index>(),
        kind in 0u8..4,
        value in any::<u8>(),
    ) {
        let bytes = operation.write(&keys()).unwrap();
        let changed = change(&bytes, place, kind, value);
        prop_assume!(changed != bytes);
        if let Ok(frame) = Frame::read(&changed) {
            prop_assert_ne!(frame.hash(), entry::hash(&bytes));
            prop_assert!(frame.verify(&keys().public(), Context::Operation).is_err());
            let _ = operation::read(&frame);
        }
    }

    #[test]
    fn json_in_the_place_of_any_member_is_refused_or_has_one_spelling(
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        new in json_value(),
    ) {
        let value = which.get(&operations()).clone();
        let mut places = Vec::new();
        at_every_object(&value, |pointer, members| {
            places.extend(members.keys().map(|name| (pointer.to_owned(), name.clone())));
        });
        let (pointer, name) = place.get(&places);
        outcome(&with(&value, pointer, |members| drop(members.insert(name.clone(), new))));
    }

    #[test]
    fn split_first_never_reads_past_its_frame(bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0u32..160) {
        let mut announced = len.to_be_bytes().to_vec();
        announced.extend(&bytes);
        for bytes in [&bytes, &announced] {
            if let Ok((frame, rest)) = Frame::split_first(bytes) {
                prop_assert_eq!([frame.bytes(), rest].concat(), bytes.clone());
                prop_assert_eq!(frame.bytes().len(), frame.json().len() + 68);
                prop_assert_eq!(&frame.bytes()[4..frame.bytes().len() - 64], frame.json());
            }
            prop_assert_eq!(Frame::read(bytes).is_ok(), Frame::split_first(bytes).is_ok_and(|(_, r)| r.is_empty()));
        }
    }

    #[test]
    fn what_canonical_reads_it_writes_again(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        text in "[\\[\\]{}:,\"\\\\0-9eE.+u a-z-]{0,24}",
        value in json_value(),
        place in any::<prop::sample::Index>(),
        kind in 0u8..4,
        new in any::<u8>(),
    ) {
        let written = canonical::write(&value).unwrap();
        prop_assert_eq!(canonical::read(&written).unwrap(), value);
        for bytes in [bytes, text.into_bytes(), change(&written, place, kind, new)] {
            if let Ok(value) = canonical::read(&bytes) {
                prop_assert_eq!(canonical::write(&value).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn any_bytes_may_come_as_a_push(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        entries in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        kind in 0u8..4,
        new in any::<u8>(),
    ) {
        let good = PushRequest { header: push_header(3), entries: Vec::new() }.write().unwrap();
        let with_entries = [good.clone(), entries].concat();
        for bytes in [bytes, change(&good, place, kind, new), with_entries] {
            if let Ok(request) = PushRequest::read(&bytes) {
                prop_assert_eq!(u64::try_from(request.frames().unwrap().len()).unwrap(), request.header.count);
                prop_assert_eq!(PushRequest::read(&request.write().unwrap()).unwrap(), request);
            }
        }
    }

    #[test]
    fn a_time_and_an_id_have_one_spelling(
        any_text in ".{0,40}",
        time in "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}[.,][0-9]{0,4}(Z|z|[+-]00:00)?",
        instant in anything::time(),
        hex in "[0-9a-fA-F]{32}|[0-9a-f]{64}|[0-9a-f]{128}|[0-9a-fA-F-]{36}|\\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\}",
    ) {
        prop_assert_eq!(instant.to_string().parse(), Ok(instant));
        for text in [&any_text, &time, &hex] {
            if let Ok(read) = text.parse::<Timestamp>() { prop_assert_eq!(&read.to_string(), text); }
            if let Ok(read) = text.parse::<OperationId>() { prop_assert_eq!(&read.to_string(), text); }
            if let Ok(read) = text.parse::<Hash>() { prop_assert_eq!(&read.to_string(), text); }
            if let Ok(read) = text.parse::<KeyId>() { prop_assert_eq!(&read.to_string(), text); }
            if let Ok(read) = text.parse::<Signature>() { prop_assert_eq!(&read.to_string(), text); }
            let json = json!(text);
            prop_assert_eq!(serde_json::from_value::<OperationId>(json.clone()).ok(), text.parse().ok());
            prop_assert_eq!(serde_json::from_value::<PublicKey>(json.clone()).ok(), text.parse().ok());
            prop_assert_eq!(serde_json::from_value::<Timestamp>(json.clone()).ok(), text.parse().ok());
            if let Ok(HexBytes(bytes)) = serde_json::from_value(json) { prop_assert_eq!(&hex::encode(bytes), text); }
        }
    }

    #[test]
    fn any_bytes_may_come_as_reference_data(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        kind in 0u8..4,
        new in any::<u8>(),
    ) {
        let _ = Snapshot::read(&bytes, 1, Hash::ZERO);
        let changed = change(&page(), place, kind, new);
        if let Ok(snapshot) = Snapshot::read(&changed, 1, Hash::ZERO) {
            prop_assert!(snapshot.lot_count() <= 1);
        }
    }

    #[test]
    fn any_bytes_may_come_as_a_statement(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        kind in 0u8..4,
        new in any::<u8>(),
    ) {
        let tenant = TenantId::from_parts(1_700_000_000_000, &[1; 10]);
        let key = KeyPair::from_seed(&[0x11; 32]).public();
        let good = receipt();
        prop_assert!(statement::read::<Receipt>(&good, tenant, &key).is_ok());
        prop_assert!(statement::read::<FeedPoint>(&good, tenant, &key).is_err(), "another kind");
        prop_assert!(statement::read::<VerdictBatch>(&good, tenant, &key).is_err(), "another kind");
        let changed = change(&good, place, kind, new);
        prop_assume!(changed != good);
        for bytes in [bytes, changed] {
            prop_assert!(statement::read::<Receipt>(&bytes, tenant, &key).is_err());
            prop_assert!(statement::read::<Certificate>(&bytes, tenant, &key).is_err());
        }
    }

    #[test]
    fn signature_headers_have_one_spelling(
        any_text in ".{0,80}",
        has_body in any::<bool>(),
        place in any::<prop::sample::Index>(),
        kind in 0u8..4,
        new in 0x20u8..0x7f,
    ) {
        let good = signature_input(has_body);
        let changed = String::from_utf8_lossy(&change(good.as_bytes(), place, kind, new)).into_owned();
        for header in [any_text, good, changed] {
            if let Ok(parameters) = Parameters::parse(&header, has_body) {
                prop_assert_eq!(parameters.signature_input(has_body), header.clone());
                prop_assert_eq!(header.matches('"').count() % 2, 0, "a nonce holds no quotation mark: {}", header);
            }
        }
    }

    #[test]
    fn a_token_has_one_spelling(
        any_text in ".{0,80}",
        secret in any::<[u8; 32]>(),
        place in any::<prop::sample::Index>(),
        kind in 0u8..4,
        new in 0x20u8..0x7f,
    ) {
        let tenant = TenantId::from_parts(1, &[1; 10]);
        let token = EnrolToken { tenant, root_fingerprint: Hash::ZERO, secret };
        let line = token.line();
        prop_assert_eq!(line.parse(), Ok(token));
        let changed = String::from_utf8_lossy(&change(line.as_bytes(), place, kind, new)).into_owned();
        for text in [any_text, changed] {
            if let Ok(token) = text.parse::<EnrolToken>() {
                prop_assert_eq!(token.line(), text.trim_ascii());
            }
        }
    }

    #[test]
    fn no_key_signature_or_message_panics(
        key in any::<[u8; 32]>(),
        halves in any::<([u8; 32], [u8; 32])>(),
        message in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let signature = Signature::from_slice(&[halves.0, halves.1].concat()).unwrap();
        prop_assert!(signature::verify_bytes(&PublicKey(key), &message, &signature).is_err());
    }

    #[test]
    fn any_json_may_come_as_a_request_or_reply(value in json_value(), text in ".{0,80}") {
        for bytes in [serde_json::to_vec(&value).unwrap(), text.into_bytes()] {
            let _ = serde_json::from_slice::<EnrolRequest>(&bytes);
            let _ = serde_json::from_slice::<PushReply>(&bytes);
            let _ = serde_json::from_slice::<Operation<Value>>(&bytes);
        }
        prop_assert!(Body::read(&value).is_err(), "no body comes about by chance");
    }
}

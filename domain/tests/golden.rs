//! A released version's bytes never change: every body, statement, push body, signature base, enrolment proof
//! and feed page is written again from typed values and compared, byte for byte, with `vectors/*.json`, and read back.
//!
//! A case in those files is never edited. A new type, or a new version of one, is a new case; this test prints
//! what to add.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking, and shares its parts with no crate"
)]

#[path = "parts/labels.rs"]
mod labels;

use jiff::civil::date;
use lotgate_domain::certificate::{Certificate, KeyUse, Subject, SubjectType};
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::ids::{
    BootId, CertificateSerial, Epoch, EpochId, Hash, OperationId, PersonId, PublicKey, SiteId, StationId,
    TenantId,
};
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::operation::body::{
    Body, BodyError, ChainPoint, Device, Element, JobState, ScanAccepted, ScanRefused, SnapshotLot,
};
use lotgate_domain::operation::{
    self, ALG, Actor, At, Clock, Content, Knew, Operation, Program, Reason, ServerTime, State,
};
use lotgate_domain::protocol::push::{LogSeen, PushClock, PushHeader, PushRequest};
use lotgate_domain::protocol::request_signature::{BodyParts, Parameters, SignedParts, content_digest};
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{EnrolRequest, PUSH_CONTENT_TYPE};
use lotgate_domain::reference::{Item, Lot, LotStatus, ReferenceFile, feed_next, feed_start, render_page};
use lotgate_domain::signature::{self, Context, KeyPair};
use lotgate_domain::statement::event::{
    Closing, ExportSeal, ForkFound, KeyRotated, LogRecovered, StationClosed, TimeStatement,
};
use lotgate_domain::statement::{
    self, FeedPoint, Receipt, Statement, Through, Verdict, VerdictBatch, VerdictException,
};
use lotgate_domain::time::Timestamp;
use lotgate_domain::{canonical, protocol};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SEED: [u8; 32] = [0x11; 32];

fn keys() -> KeyPair {
    KeyPair::from_seed(&SEED)
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn tenant() -> TenantId {
    TenantId::from_parts(1_700_000_000_000, &[1; 10])
}

fn site() -> SiteId {
    SiteId::from_parts(1_700_000_000_000, &[2; 10])
}

fn station() -> StationId {
    StationId::from_parts(1_700_000_000_000, &[3; 10])
}

fn boot() -> BootId {
    BootId::from_parts(1_700_000_000_000, &[5; 10])
}

fn epoch(n: u64) -> Epoch {
    Epoch { n, id: EpochId([0xe0; 16]) }
}

fn operation(body: Body) -> Operation {
    Operation {
        v: 1,
        alg: ALG.to_owned(),
        key: keys().public().key_id(),
        id: OperationId::from_parts(1_763_809_445_123, &[4; 10]),
        tenant: tenant(),
        site: site(),
        station: station(),
        epoch: epoch(1),
        seq: 1,
        prev: Hash::of(b"certificate"),
        at: At {
            wall: time("2025-11-22T11:04:05.123Z"),
            offset_minutes: -330,
            mono_ms: 0,
            boot: boot(),
            server: None,
            clock: Clock::Unsynced,
        },
        actor: Actor::Station,
        role: None,
        reason: None,
        knew: None,
        state: State { before: None, after: None },
        program: Program {
            version: "0.1.0".to_owned(),
            build: "unreleased".to_owned(),
            config_sha256: Hash::of(b"configuration"),
        },
        body,
    }
}

/// Every member that can be null is not.
fn full(body: Body) -> Operation {
    let base = operation(body);
    Operation {
        epoch: epoch(2),
        seq: canonical::MAX_INTEGER,
        at: At {
            mono_ms: 86_400_001,
            server: Some(ServerTime { time: time("1999-12-31T23:59:59.999Z"), age_ms: 12 }),
            clock: Clock::RolledBack,
            ..base.at
        },
        actor: Actor::Person(PersonId::from_parts(1_700_000_000_000, &[6; 10])),
        role: Some("supervisor".to_owned()),
        reason: Some(Reason {
            code: "other".to_owned(),
            text: "Öl \"auf\"\nder Waage \u{1d} € \u{10348}".to_owned(),
        }),
        knew: Some(Knew {
            snapshot: 17,
            hash: Hash::of(b"feed"),
            age_ms: 3_600_000,
            log: Some(TreeHead { size: 4_096, root: Hash::of(b"root") }),
        }),
        state: State { before: Some(Hash::of(b"before")), after: Some(Hash::of(b"after")) },
        ..base
    }
}

fn device() -> Device {
    Device {
        role: "scanner".to_owned(),
        transport: "serial".to_owned(),
        id: "usb:0c2e:0b61:21034B0123".to_owned(),
        simulated: false,
    }
}

fn elements() -> Vec<Element> {
    [("01", "09506000134352"), ("17", "271231"), ("10", "LOT-7/ü")]
        .map(|(ai, value)| Element { ai: ai.to_owned(), value: value.to_owned() })
        .to_vec()
}

fn accepted() -> Body {
    Body::ScanAccepted(ScanAccepted {
        device: device(),
        raw: hex::encode(b"]d2010950600013435217271231\x1d10LOT-7"),
        aim: Some("]d2".to_owned()),
        symbology: "gs1_datamatrix".to_owned(),
        kind: "gs1_element_string".to_owned(),
        elements: elements(),
        item: "API-100".to_owned(),
        lot: "LOT-7".to_owned(),
        snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: Some(date(2027, 12, 31)) },
    })
}

fn refused(named: bool) -> Body {
    Body::ScanRefused(ScanRefused {
        device: Device { simulated: true, ..device() },
        raw: if named { hex::encode("LOT-8") } else { String::new() },
        aim: named.then(|| "]C0".to_owned()),
        symbology: "code128".to_owned(),
        kind: "plain".to_owned(),
        elements: Vec::new(),
        item: named.then(|| "API-100".to_owned()),
        lot: named.then(|| "LOT-8".to_owned()),
        snapshot_lot: named.then_some(SnapshotLot { status: LotStatus::Quarantine, expiry: None }),
        code: if named { "lot_quarantined" } else { "unknown_lot" }.to_owned(),
    })
}

fn operations() -> Vec<(&'static str, Operation)> {
    let enrolled =
        Body::StationEnrolled { certificate: Hash::of(b"certificate"), key_protection: "file".to_owned() };
    let point = |text: &[u8]| Some(ChainPoint { epoch: epoch(1), seq: 41, hash: Hash::of(text) });
    let opened = |last, anchor| Body::EpochOpened { reason: "rolled_back".to_owned(), last, anchor };
    let repeated = Body::ScanRepeated {
        of: OperationId::from_parts(1_763_809_445_123, &[7; 10]),
        count: 3,
        last_at: time("2025-11-22T11:04:09.000Z"),
    };
    vec![
        ("station.enrolled", operation(enrolled)),
        (
            "epoch.opened",
            Operation { epoch: epoch(2), ..operation(opened(point(b"last"), point(b"anchor"))) },
        ),
        ("epoch.opened, nothing known", Operation { epoch: epoch(2), ..operation(opened(None, None)) }),
        ("scan.accepted", operation(accepted())),
        ("scan.accepted, no member null", full(accepted())),
        ("scan.refused", operation(refused(true))),
        ("scan.refused, nothing recognised", operation(refused(false))),
        ("scan.repeated", operation(repeated)),
        ("label.queued", operation(labels::queued(false))),
        ("label.queued, no member null", full(labels::queued(true))),
        ("label.state, sending", operation(labels::state(JobState::Sending, None, None))),
        ("label.state, unknown", operation(labels::state(JobState::Unknown, None, Some("connection_lost")))),
        (
            "label.state, confirmed",
            operation(labels::state(JobState::Confirmed, Some("status_transition"), None)),
        ),
    ]
}

fn written(name: &str, json: &[u8], frame: &[u8]) -> Value {
    json!({
        "name": name,
        "seed": hex::encode(SEED),
        "json": std::str::from_utf8(json).unwrap(),
        "entry": hex::encode(frame),
        "hash": entry::hash(frame),
    })
}

/// Compares what is written now with the file, case by case.
fn compare(file: &str, name: &str, now: &[Value]) {
    let file: Value = serde_json::from_str(file).unwrap();
    let golden = file["cases"].as_array().unwrap();
    for case in now {
        let same_name = golden.iter().find(|old| old["name"] == case["name"]);
        let Some(old) = same_name else { panic!("{name} has no case yet for:\n{case}") };
        assert_eq!(old, case, "{name}: released bytes never change; write a new version instead");
    }
    assert_eq!(golden.len(), now.len(), "{name} holds a case that nothing writes any more");
}

#[test]
fn operations_keep_their_bytes() {
    let now: Vec<Value> = operations()
        .iter()
        .map(|(name, operation)| {
            written(name, &canonical::write(operation).unwrap(), &operation.write(&keys()).unwrap())
        })
        .collect();
    compare(include_str!("vectors/operations.json"), "operations.json", &now);
    let kinds: BTreeSet<_> = operations().iter().map(|(_, operation)| operation.body.kind()).collect();
    assert_eq!(kinds, BTreeSet::from(Body::TYPES), "every body type has a case");
}

#[test]
fn operations_read_back_from_their_golden_bytes() {
    let file: Value = serde_json::from_str(include_str!("vectors/operations.json")).unwrap();
    for (case, (name, operation)) in file["cases"].as_array().unwrap().iter().zip(operations()) {
        let bytes = hex::decode(case["entry"].as_str().unwrap()).unwrap();
        let frame = Frame::read(&bytes).unwrap();
        assert_eq!(frame.verify(&keys().public(), Context::Operation), Ok(()), "{name}");
        let read = operation::read(&frame).unwrap();
        assert_eq!(read.content, Content::Known(Box::new(operation)), "{name}");
        assert_eq!(json!(read.hash), case["hash"], "{name}");
    }
}

/// What a later program may write: kept by its header, not understood (PROTOCOL §9.5).
fn later_entries() -> Vec<(&'static str, Value)> {
    let base = serde_json::to_value(operation(accepted())).unwrap();
    let mut unknown_type = base.clone();
    unknown_type["body"] = json!({"type": "weight.captured", "net": {"value": "12.50", "unit": "g"}});
    let mut invalid_body = base.clone();
    invalid_body["body"]["lot"] = Value::Null;
    let mut later_version = base;
    later_version["v"] = json!(2);
    later_version["people"] = json!([null]);
    vec![("unknown type", unknown_type), ("invalid body", invalid_body), ("later version", later_version)]
}

#[test]
fn entries_that_are_not_understood_keep_their_bytes_and_are_kept() {
    let mut now = Vec::new();
    for (name, value) in later_entries() {
        let json = canonical::write(&value).unwrap();
        let bytes = entry::sign(&json, Context::Operation, &keys()).unwrap();
        let read = operation::read(&Frame::read(&bytes).unwrap()).unwrap();
        assert_eq!((read.header.seq, read.header.station), (1, station()), "{name}");
        match (name, read.content) {
            ("unknown type", Content::Body(_, BodyError::UnknownType))
            | ("invalid body", Content::Body(_, BodyError::Invalid))
            | ("later version", Content::LaterVersion) => {}
            (name, content) => panic!("{name} was read as {content:?}"),
        }
        now.push(written(name, &json, &bytes));
    }
    compare(include_str!("vectors/later_entries.json"), "later_entries.json", &now);
}

fn certificate(kind: SubjectType, key_use: KeyUse, id: String, public_key: PublicKey) -> Certificate {
    let of_site = kind != SubjectType::TenantKey;
    Certificate {
        v: 1,
        kind: "cert".to_owned(),
        tenant: tenant(),
        key: keys().public().key_id(),
        serial: CertificateSerial::from_parts(1_700_000_000_000, &[8; 10]),
        subject: Subject { kind, id, key_use, site: of_site.then(site) },
        public_key,
        hpke_key: (kind == SubjectType::Station).then_some(PublicKey([9; 32])),
        training: kind == SubjectType::Station,
        roles: if kind == SubjectType::Person { vec!["operator".to_owned()] } else { Vec::new() },
        not_before: time("2025-01-01T00:00:00.000Z"),
        not_after: of_site.then(|| time("2027-01-01T00:00:00.000Z")),
        previous: of_site.then(|| CertificateSerial::from_parts(1_600_000_000_000, &[8; 10])),
        issued_at: time("2025-01-01T00:00:00.001Z"),
    }
}

fn framed<T: Statement + PartialEq + std::fmt::Debug>(name: &str, value: &T) -> Value {
    let bytes = statement::sign(value, &keys()).unwrap();
    let read = statement::read::<T>(&bytes, tenant(), &keys().public()).unwrap();
    assert_eq!(read.value, *value, "{name} reads back");
    let mut case = written(name, &canonical::write(value).unwrap(), &bytes);
    case["context"] = json!(T::CONTEXT.prefix());
    case
}

#[test]
fn statements_keep_their_bytes_and_read_back() {
    let own = keys().public();
    let other = KeyPair::from_seed(&[0x22; 32]).public();
    let person = PersonId::from_parts(1_700_000_000_000, &[6; 10]).to_string();
    let key = own.key_id();
    let exception = |index, verdict, code: &str| VerdictException { index, verdict, code: code.to_owned() };
    let now = [
        framed("cert, root", &certificate(SubjectType::TenantKey, KeyUse::Root, key.to_string(), own)),
        framed(
            "cert, statement key",
            &certificate(SubjectType::TenantKey, KeyUse::Statement, other.key_id().to_string(), other),
        ),
        framed(
            "cert, station",
            &certificate(SubjectType::Station, KeyUse::Operation, station().to_string(), other),
        ),
        framed("cert, person", &certificate(SubjectType::Person, KeyUse::Esig, person, other)),
        framed(
            "verdict.batch",
            &VerdictBatch {
                v: 1,
                kind: "verdict.batch".to_owned(),
                tenant: tenant(),
                key,
                first: 7,
                count: 1_000,
                exceptions: vec![
                    exception(9, Verdict::Flagged, "lot_held_since"),
                    exception(11, Verdict::Quarantined, "unknown_type"),
                    exception(12, Verdict::Accepted, "resolved"),
                ],
                supersedes: vec![3],
            },
        ),
        framed(
            "receipt",
            &Receipt {
                v: 1,
                kind: "receipt".to_owned(),
                tenant: tenant(),
                key,
                station: station(),
                epoch: epoch(2),
                through: Through { seq: 1_000, hash: Hash::of(b"entry") },
                verdicts: vec![Hash::of(b"verdict")],
                previous: Hash::ZERO,
                time: time("2025-11-22T11:04:06.000Z"),
            },
        ),
        framed(
            "feed",
            &FeedPoint {
                v: 1,
                kind: "feed".to_owned(),
                tenant: tenant(),
                key,
                site: site(),
                cursor: 1,
                hash: Hash::of(b"feed"),
                time: time("2025-11-22T11:04:06.000Z"),
            },
        ),
    ];
    let now: Vec<_> = now.into_iter().chain(events()).collect();
    compare(include_str!("vectors/statements.json"), "statements.json", &now);
}

/// What is said of time, keys, stations and the log.
fn events() -> [Value; 6] {
    let (v, tenant, key, station) = (1, tenant(), keys().public().key_id(), station());
    let time = time("2025-11-22T11:04:06.000Z");
    let kind = str::to_owned;
    let serial = |n| CertificateSerial::from_parts(1_700_000_000_000, &[n; 10]);
    let tree = |size| TreeHead { size, root: Hash::of(b"root") };
    let entry = Hash::of(b"entry");
    let through = Some(ChainPoint { epoch: epoch(1), seq: 7, hash: entry });
    let restored = LogRecovered {
        v,
        kind: kind("log.recovered"),
        tenant,
        key,
        generation: 2,
        restored: tree(1_000),
        known: tree(1_200),
        reason: "disk of the database lost".to_owned(),
        people: ["A. Admin".to_owned(), "B. Quality".to_owned()],
        time,
    };
    let nonce = Hash::of(b"nonce");
    let other = Hash::of(b"another entry");
    [
        framed("time", &TimeStatement { v, kind: kind("time"), tenant, key, nonce, time }),
        framed(
            "fork.found",
            &ForkFound {
                v,
                kind: kind("fork.found"),
                tenant,
                key,
                station,
                epoch_n: 1,
                seq: 8,
                held: entry,
                other,
                branch: 1,
                time,
            },
        ),
        framed("log.recovered", &restored),
        framed(
            "station.closed",
            &StationClosed {
                v,
                kind: kind("station.closed"),
                tenant,
                key,
                station,
                closing: Closing::Revoked,
                through,
                reason: "stolen".to_owned(),
                time,
            },
        ),
        framed(
            "key.rotated",
            &KeyRotated {
                v,
                kind: kind("key.rotated"),
                tenant,
                key,
                previous: serial(1),
                certificate: serial(2),
                time,
            },
        ),
        framed(
            "export",
            &ExportSeal {
                v,
                kind: kind("export"),
                tenant,
                key,
                station: Some(station),
                manifest_sha256: Hash::of(b"manifest"),
                time,
            },
        ),
    ]
}

fn push_case(name: &str, epoch: Epoch, after: Through, entries: &[Vec<u8>], log: Option<LogSeen>) -> Value {
    let clock = PushClock { wall: time("2025-11-22T11:04:06.000Z"), mono_ms: 12_345, boot: boot() };
    let count = entries.len().try_into().unwrap();
    let request = PushRequest {
        header: PushHeader { v: 1, epoch, after, count, clock, log },
        entries: entries.concat(),
    };
    let body = request.write().unwrap();
    assert_eq!(PushRequest::read(&body).unwrap(), request, "{name} reads back");
    json!({"name": name, "bytes": hex::encode(&body)})
}

fn request_case(name: &str, parts: &SignedParts<'_>, nonce: Option<&str>) -> Value {
    let parameters = Parameters {
        created: 1_763_809_446,
        tenant: tenant(),
        station: station(),
        key: keys().public().key_id(),
        nonce: nonce.map(str::to_owned),
    };
    let input = parameters.signature_input(parts.body.is_some());
    assert_eq!(
        Parameters::parse(&input, parts.body.is_some()).as_ref(),
        Ok(&parameters),
        "{name} reads back"
    );
    let signature = parameters.sign(parts, &keys());
    assert_eq!(parameters.verify(parts, &signature, &keys().public()), Ok(()), "{name}");
    json!({"name": name, "base": parameters.base(parts), "signature_input": input, "signature": signature})
}

fn enrol_case() -> Value {
    let token =
        EnrolToken { tenant: tenant(), root_fingerprint: keys().public().fingerprint(), secret: [0xfb; 32] };
    let line = token.line();
    assert_eq!(line.parse(), Ok(token.clone()), "the token reads back");
    let (public_key, hpke_key) = (keys().public(), PublicKey([9; 32]));
    let message = EnrolRequest::proof_message(&line, &public_key, &hpke_key);
    let proof = keys().sign(Context::Enrol, &message);
    assert_eq!(signature::verify(&public_key, Context::Enrol, &message, &proof), Ok(()));
    json!({
        "name": "enrolment proof",
        "token": line,
        "token_sha256": token.sha256(),
        "public_key": public_key,
        "hpke_key": hpke_key,
        "message": hex::encode(message),
        "proof": proof,
    })
}

fn feed_case() -> Value {
    let item = |item: &str, gtin: Option<&str>| Item {
        item: item.to_owned(),
        name: None,
        gtin: gtin.map(str::to_owned),
    };
    let lot = Lot {
        lot: "LOT-7".to_owned(),
        item: "API-100".to_owned(),
        status: LotStatus::Released,
        expiry: Some(date(2027, 12, 31)),
        codes: vec!["RM-7".to_owned()],
    };
    let items = vec![item("API-100", Some("09506000134352")), item("Öl", None)];
    let page = render_page(&ReferenceFile { items, lots: vec![lot] }, "Europe/Berlin").unwrap();
    let before = feed_start(site());
    json!({
        "name": "feed page",
        "site": site(),
        "page": std::str::from_utf8(&page).unwrap(),
        "hash_0": before,
        "hash_1": feed_next(before, &page),
    })
}

#[test]
fn requests_keep_their_bytes_and_read_back() {
    let entries: Vec<_> =
        operations().into_iter().map(|(_, operation)| operation.write(&keys()).unwrap()).take(2).collect();
    let genesis = Through { seq: 0, hash: Hash::of(b"certificate") };
    let get = SignedParts {
        method: "GET",
        authority: "cloud.example:8443",
        path: protocol::FEED_PATH,
        query: "after=0",
        body: None,
    };
    let digest = content_digest(b"the compressed bytes");
    let body =
        BodyParts { content_digest: &digest, content_type: PUSH_CONTENT_TYPE, content_encoding: "zstd" };
    let post = SignedParts {
        method: "POST",
        authority: "cloud.example",
        path: protocol::OPERATIONS_PATH,
        query: "",
        body: Some(body),
    };
    let seen = Some(LogSeen { generation: 2, size: 1_000 });
    let now = [
        push_case("push, from the certificate", epoch(1), genesis, &entries, None),
        push_case("push, empty", epoch(2), Through { seq: 7, hash: Hash::of(b"entry") }, &[], seen),
        request_case("request without a body, no nonce yet", &get, None),
        request_case("request with a body", &post, Some("AAAAAAHAAAA_-0")),
        enrol_case(),
        feed_case(),
    ];
    compare(include_str!("vectors/requests.json"), "requests.json", &now);
}

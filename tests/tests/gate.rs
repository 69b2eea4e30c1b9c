//! The one gate: for every route that the router is built from, nobody passes without proof, nothing changes
//! without an audit row, and every reply carries a nonce. Over real HTTP, against real Postgres.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "gate/halves.rs"]
mod halves;
#[path = "gate/turns.rs"]
mod turns;

use axum::http::StatusCode;
use lotgate_cloud::enrol::REPEAT_MS;
use lotgate_cloud::gate::{self, Access, Caller};
use lotgate_cloud::nonce::NonceKeys;
use lotgate_cloud::reference::ImportReference;
use lotgate_cloud::routes::{Call, ROUTES, Route, Verb};
use lotgate_cloud::session::Session;
use lotgate_cloud::token::MakeToken;
use lotgate_domain::ids::Hash;
use lotgate_domain::protocol::request_signature::content_digest;
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{CloudApi as _, EnrolReply, HeadReply, MAX_DECOMPRESSED, PushReply};
use lotgate_domain::signature::KeyPair;
use lotgate_tests::cloud::{Attempt, Plant, Reply, Sent, compress};
use lotgate_tests::station_keys::{enrol_request, push_of};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const MINUTE_MS: i64 = 60_000;
const REPEATED: &str = "the request is as good as the one before";

fn routes_of(access: Access) -> impl Iterator<Item = Route> {
    ROUTES.into_iter().filter(move |route| route.access == access)
}

#[test]
fn every_route_but_the_time_asks_for_a_station_or_a_token() {
    let mut seen = Vec::new();
    for route in ROUTES {
        assert_ne!(route.access, Access::Program, "{}: the program's own work has no route", route.path);
        assert!(!seen.contains(&(route.path, route.method == Verb::Get)), "{} stands twice", route.path);
        seen.push((route.path, route.method == Verb::Get));
    }
    assert_eq!(routes_of(Access::Token).map(|route| route.call).collect::<Vec<_>>(), [Call::Enrol]);
    assert_eq!(routes_of(Access::Anyone).map(|route| route.call).collect::<Vec<_>>(), [Call::Time]);
}

#[tokio::test]
async fn no_route_of_a_station_passes_without_its_signature() {
    let plant = Plant::new("unsigned").await;
    for route in routes_of(Access::Station) {
        let path = route.path;
        let right = plant.attempt(route).sign();
        let without = |names: &[&str]| {
            let mut request = right.clone();
            request.headers.retain(|(name, _)| !names.contains(name));
            request
        };
        plant.assert_rejected(&without(&["signature", "signature-input"]), "bad_signature", path).await;
        plant.assert_rejected(&without(&["signature"]), "bad_signature", path).await;
        plant.assert_rejected(&without(&["signature-input"]), "bad_signature", path).await;
        for name in ["signature", "signature-input"] {
            let mut twice = right.clone();
            let value = twice.header(name).clone();
            twice.headers.push((if name == "signature" { "signature" } else { "signature-input" }, value));
            plant.assert_rejected(&twice, "bad_signature", &format!("{path}: {name} twice")).await;
        }

        let mut wrong = plant.attempt(route);
        wrong.signed_by = KeyPair::from_seed(&[9; 32]);
        plant.assert_rejected(&wrong.sign(), "bad_signature", &format!("{path}: another key")).await;
        wrong.key_id_of = KeyPair::from_seed(&[9; 32]);
        plant
            .assert_rejected(&wrong.sign(), "unknown_key", &format!("{path}: a key that nobody certified"))
            .await;
    }
}

#[tokio::test]
async fn a_key_of_another_tenant_opens_no_route() {
    let plant = Plant::new("other_tenant").await;
    let foreign = &plant.foreign;
    for route in routes_of(Access::Station) {
        let key = || KeyPair::from_seed(&foreign.keys.seed());
        let own = plant.caller(route).id;
        for (tenant, station, code, why) in [
            (plant.tenant, foreign.id, "unknown_key", "its station named in this tenant"),
            (plant.tenant, own, "unknown_key", "its key for this tenant's station"),
            (foreign.tenant, own, "unknown_key", "this tenant's station named in its tenant"),
        ] {
            let nonce = Some(plant.nonce(tenant, station));
            let attempt = Attempt {
                tenant,
                station,
                key_id_of: key(),
                signed_by: key(),
                nonce,
                ..plant.attempt(route)
            };
            plant.assert_rejected(&attempt.sign(), code, &format!("{}: {why}", route.path)).await;
        }
    }
    let own = Attempt {
        tenant: foreign.tenant,
        station: foreign.id,
        key_id_of: KeyPair::from_seed(&foreign.keys.seed()),
        signed_by: KeyPair::from_seed(&foreign.keys.seed()),
        nonce: Some(plant.nonce(foreign.tenant, foreign.id)),
        ..plant.attempt(ROUTES[2])
    };
    let reply = plant.send(&own.sign()).await;
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        (reply["stopped"].clone(), reply["accepted_through"]["seq"].clone()),
        (Value::Null, Value::Null),
        "this tenant's entries pushed by the other tenant's station come after a certificate that is not its own"
    );
    assert_eq!(reply["code"], "head_mismatch");
    let of_station = format!("SELECT count(*) FROM entry WHERE station_id = '{}'", plant.station.id);
    assert_eq!(plant.number(&of_station).await, 0);
}

#[tokio::test]
async fn an_old_nonce_and_somebody_elses_are_refused() {
    let plant = Plant::new("nonces").await;
    plant.clock.store(20 * MINUTE_MS, Ordering::SeqCst);
    let nonces = plant.cloud.nonces();
    for route in routes_of(Access::Station) {
        let own = plant.caller(route).id;
        let of =
            |minutes: i64| Some(nonces.issue(plant.tenant, own, plant.now().plus_ms(minutes * MINUTE_MS)));
        let foreign = Some(NonceKeys::new([3; 32], None).issue(plant.tenant, own, plant.now()));
        for (nonce, code, why) in [
            (None, "nonce_required", "none"),
            (of(-11), "nonce_expired", "eleven minutes old"),
            (of(1), "nonce_expired", "of a minute to come"),
            (Some(plant.nonce(plant.foreign.tenant, plant.foreign.id)), "nonce_expired", "another station's"),
            (foreign.clone(), "nonce_expired", "under a key that the cloud has not"),
            (Some("AAAA".to_owned()), "nonce_expired", "not a nonce"),
        ] {
            let attempt = Attempt { nonce, ..plant.attempt(route) };
            plant.assert_rejected(&attempt.sign(), code, &format!("{}: {why}", route.path)).await;
        }
        let attempt = Attempt { nonce: of(-10), ..plant.attempt(route) };
        assert_eq!(plant.send(&attempt.sign()).await.code(), "ok", "{}: ten minutes old", route.path);
    }
}

#[tokio::test]
async fn the_nonce_of_a_rejection_lets_the_repeated_request_pass() {
    let plant = Plant::new("challenge").await;
    for route in routes_of(Access::Station) {
        let first = Attempt { nonce: None, ..plant.attempt(route) };
        let rejected = plant.send(&first.sign()).await;
        assert_eq!(rejected.code(), "nonce_required");
        let second = Attempt { nonce: rejected.nonce, ..plant.attempt(route) };
        let passed = plant.send(&second.sign()).await;
        assert_eq!(passed.code(), "ok", "{}", route.path);
        let third = Attempt { nonce: passed.nonce, ..plant.attempt(route) };
        assert_eq!(
            plant.send(&third.sign()).await.code(),
            "ok",
            "{}: with the nonce of a good reply",
            route.path
        );
    }
}

#[tokio::test]
async fn a_request_changed_on_its_way_is_refused() {
    let plant = Plant::new("changed").await;
    for route in routes_of(Access::Station) {
        let path = route.path;
        let right = plant.attempt(route).sign();
        let changed = |change: &dyn Fn(&mut Sent)| {
            let mut request = right.clone();
            change(&mut request);
            request
        };
        let other_host = changed(&|r| *r.header("host") = "elsewhere".to_owned());
        plant.assert_rejected(&other_host, "bad_signature", &format!("{path}: host")).await;
        let query = changed(&|r| r.target = format!("{path}?after=7"));
        plant.assert_rejected(&query, "bad_signature", &format!("{path}: query")).await;
        let other = ROUTES.iter().find(|other| {
            other.access == Access::Station
                && other.path != path
                && (other.max_body > 0) == (route.max_body > 0)
        });
        if let Some(other) = other {
            let path_changed = changed(&|r| r.target = r.target.replace(path, other.path));
            plant.assert_rejected(&path_changed, "bad_signature", &format!("{path}: path")).await;
        }
        let swapped = if route.method == Verb::Get { "POST" } else { "GET" };
        plant
            .assert_rejected(&changed(&|r| r.method = swapped), "unknown_route", &format!("{path}: method"))
            .await;
        if route.max_body == 0 {
            let body = changed(&|r| r.body = b"not signed".to_vec());
            plant.assert_rejected(&body, "too_large", &format!("{path}: a body")).await;
            continue;
        }
        let body = changed(&|r| *r.body.last_mut().unwrap() ^= 1);
        plant.assert_rejected(&body, "digest_mismatch", &format!("{path}: body")).await;
        let digest = changed(&|r| *r.header("content-digest") = content_digest(b"other"));
        plant.assert_rejected(&digest, "digest_mismatch", &format!("{path}: digest")).await;
        let both = changed(&|r| {
            *r.body.last_mut().unwrap() ^= 1;
            *r.header("content-digest") = content_digest(&r.body.clone());
        });
        plant.assert_rejected(&both, "bad_signature", &format!("{path}: body and digest")).await;
        let none = changed(&|r| r.headers.retain(|(name, _)| *name != "content-digest"));
        plant.assert_rejected(&none, "bad_request", &format!("{path}: no digest")).await;
        for name in ["content-type", "content-encoding"] {
            let header = changed(&|r| *r.header(name) = "text/plain".to_owned());
            plant.assert_rejected(&header, "bad_signature", &format!("{path}: {name}")).await;
        }
    }
}

#[tokio::test]
async fn every_good_request_writes_one_audit_row_with_its_change() {
    let plant = Plant::new("audit").await;
    for route in ROUTES.into_iter().filter(|route| route.access != Access::Anyone) {
        let before = plant.number("SELECT count(*) FROM audit").await;
        let request = match route.access {
            Access::Station => plant.attempt(route).sign(),
            _ => Sent::enrolment(&serde_json::to_value(enrol_request(&plant.token(1000).await, 7)).unwrap()),
        };
        // The cloud's own: the token was made for it, the log grew behind it.
        let own = i64::from(route.access == Access::Token || route.call == Call::Push);
        // The row that is looked for is the newest.
        plant.clock.fetch_add(1, Ordering::SeqCst);
        assert_eq!(plant.send(&request).await.code(), "ok", "{}", route.path);
        let query = "SELECT actor, action, address, prior_hash, next_hash, detail::text FROM audit
            WHERE actor <> 'cloud' ORDER BY at DESC LIMIT 1";
        let row = plant.superuser.query_one(query, &[]).await.unwrap();
        let after = plant.number("SELECT count(*) FROM audit").await;
        assert_eq!(after, before + own + 1, "{}: one row", route.path);
        assert!(row.get::<_, String>("actor").starts_with("station:"), "{}", route.path);
        assert_eq!(row.get::<_, String>("address"), "127.0.0.1", "{}", route.path);
        let action: String = row.get("action");
        let (prior, next): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get("prior_hash"), row.get("next_hash"));
        match route.call {
            Call::Enrol => assert!(action == "station.enrolled" && prior.is_none() && next.is_some()),
            Call::Head => assert!(action == "head.shown" && prior == next && next.is_some()),
            Call::Feed => assert!(action == "feed.pulled" && prior == next && next.is_some()),
            Call::Heartbeat => assert!(action == "heartbeat.kept" && prior.is_none() && next.is_some()),
            Call::Evidence => assert!(action == "evidence.kept" && prior.is_none() && next.is_some()),
            Call::Rotate => {
                assert_eq!(
                    (action.as_str(), prior.as_deref()),
                    ("station.rotated", Some(&plant.moving.certificate.0[..]))
                );
                assert!(next.is_some() && next != prior, "the new certificate");
            }
            Call::Retire => {
                assert_eq!(
                    (action.as_str(), prior.as_deref()),
                    ("station.retired", Some(&plant.leaving.certificate.0[..]))
                );
                assert!(next.is_some() && next != prior, "the statement that ends it");
            }
            Call::Time => unreachable!("it leaves no row"),
            Call::Push => {
                assert_eq!(action, "operations.pushed");
                assert_eq!(
                    prior.as_deref(),
                    Some(plant.station.certificate.0.as_slice()),
                    "before the first entry"
                );
                assert_eq!(next.as_deref(), Some(plant.station.head().hash.0.as_slice()), "the last entry");
                let detail: Value = serde_json::from_str(&row.get::<_, String>("detail")).unwrap();
                assert_eq!((&detail["count"], &detail["through"]), (&json!(4), &json!(4)), "{detail}");
                assert_eq!(detail["evidence"], Value::Null, "{detail}");
            }
        }
    }
    assert_eq!(
        plant.number("SELECT count(*) FROM audit WHERE actor <> 'cloud' AND address IS NULL").await,
        5,
        "only the four enrolments and the push without HTTP have no address"
    );
}

#[tokio::test]
async fn the_audit_row_of_a_push_is_about_the_epoch_that_was_pushed_and_names_evidence() {
    let mut plant = Plant::new("audit_push").await;
    let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.station.id);
    let certificate = plant.station.certificate;
    let at = |plant: &Plant, seq| plant.station.after(seq).hash;
    let (held, head) = (at(&plant, 2), at(&plant, 4));
    let rest = plant.station.push(2, 4);
    let mut fork = plant.station.entries[..1].to_vec();
    session.push(plant.station.push(0, 2)).await.unwrap();

    let whole = (plant.station.epoch, plant.station.after(0), plant.station.after(1), plant.station.after(4));
    let mut bad = plant.station.entries[3].clone();
    *bad.last_mut().unwrap() ^= 1;
    let (bad_hash, forked_after) = (lotgate_domain::entry::hash(&bad), at(&plant, 1));
    plant.station.entries.truncate(1);
    plant.station.append_scan("A", "other branch");
    let branch = at(&plant, 2);
    fork.push(plant.station.entries[1].clone());
    plant.station.open_epoch(0xcc);
    let newer = plant.station.push_all();
    let opened = plant.station.head().hash;

    let mut rows = Vec::new();
    for (why, push, prior, next, evidence) in [
        ("a new epoch", newer, certificate, opened, None),
        ("the rest of the old one", rest.clone(), held, head, None),
        ("the same again", rest, head, head, None),
        ("a fork", push_of(whole.0, whole.1, &fork), forked_after, branch, None),
        ("only the fork again", push_of(whole.0, whole.2, &fork[1..]), branch, branch, None),
        ("a signature that is wrong", push_of(whole.0, whole.3, &[bad]), head, head, Some(bad_hash)),
    ] {
        plant.clock.fetch_add(1, Ordering::SeqCst);
        session.push(push).await.unwrap();
        rows.push((why, prior, next, evidence));
    }
    let query = format!(
        "SELECT prior_hash, next_hash, detail->>'evidence' FROM audit
        WHERE action = 'operations.pushed' AND actor = 'station:{}' ORDER BY at, id OFFSET 1",
        plant.station.id
    );
    let told = plant.superuser.query(&query, &[]).await.unwrap();
    assert_eq!(told.len(), rows.len());
    for ((why, prior, next, evidence), row) in rows.into_iter().zip(told) {
        assert_eq!(row.get::<_, &[u8]>(0), prior.0.as_slice(), "{why}: before");
        assert_eq!(row.get::<_, &[u8]>(1), next.0.as_slice(), "{why}: after");
        assert_eq!(row.get::<_, Option<String>>(2), evidence.map(|hash| hash.to_string()), "{why}: evidence");
    }
}

#[tokio::test]
async fn a_failing_audit_row_undoes_the_change() {
    let plant = Plant::new("audit_fails").await;
    let token = plant.token(1000).await;
    let request_to = |route: Route| match route.access {
        Access::Station => plant.attempt(route).sign(),
        _ => Sent::enrolment(&serde_json::to_value(enrol_request(&token, 7)).unwrap()),
    };
    plant
        .superuser
        .batch_execute(
            "CREATE FUNCTION no_audit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'disk on fire'; END$$;
             CREATE TRIGGER no_audit BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION no_audit()",
        )
        .await
        .unwrap();
    for route in ROUTES.into_iter().filter(|route| route.access != Access::Anyone) {
        plant.assert_rejected(&request_to(route), "internal", route.path).await;
    }
    let before = plant.rows().await;
    assert_eq!(plant.send(&plant.ask_time(Hash([7; 32]))).await.code(), "ok", "the time changes nothing");
    let program = Caller::Program { tenant: plant.tenant };
    let token_work = MakeToken { site: plant.site, training: true, ttl_ms: 1 };
    assert!(gate::pass(&plant.cloud, &program, token_work).await.is_err(), "the program's own work, too");
    let lots = json!({"items": [{"item": "B"}], "lots": []});
    let import = ImportReference { site: plant.site, file: serde_json::from_value(lots).unwrap() };
    assert!(gate::pass(&plant.cloud, &program, import).await.is_err(), "the program's own work, too");
    assert_eq!(plant.rows().await, before);
    plant.superuser.batch_execute("DROP TRIGGER no_audit ON audit").await.unwrap();
    for route in ROUTES.into_iter().filter(|route| route.access != Access::Anyone) {
        assert_eq!(plant.send(&request_to(route)).await.code(), "ok", "{}: {REPEATED}", route.path);
    }
}

#[tokio::test]
async fn every_reply_carries_a_nonce() {
    let plant = Plant::new("replies").await;
    let bare = |method, target: &str| Sent {
        method,
        target: target.to_owned(),
        headers: vec![("host", "cloud".to_owned())],
        body: Vec::new(),
    };
    for (method, target, code) in [
        ("GET", "/", "unknown_route"),
        ("GET", "/v1", "unknown_route"),
        ("POST", "/v1/head/", "unknown_route"),
        ("DELETE", "/v1/operations", "unknown_route"),
        ("GET", "/v1/head", "bad_signature"),
        ("POST", "/v1/enrol", "bad_request"),
        ("POST", "/v1/operations", "bad_request"),
    ] {
        plant.assert_rejected(&bare(method, target), code, target).await;
    }
    let mut no_cursor = plant.attempt(ROUTES[3]);
    no_cursor.query = "after=minus one".replace(' ', "+");
    plant.assert_rejected(&no_cursor.sign(), "bad_request", "a cursor that is no number").await;
}

#[tokio::test]
async fn a_token_enrols_one_station_and_gives_the_same_answer_to_it_for_a_day() {
    let plant = Plant::new("tokens").await;
    let token = plant.token(MINUTE_MS).await;
    let ask = |seed: u8| serde_json::to_value(enrol_request(&token, seed)).unwrap();

    let mut other_proof = ask(7);
    other_proof["proof"] = ask(8)["proof"].clone();
    plant.assert_rejected(&Sent::enrolment(&other_proof), "bad_signature", "a proof by another key").await;
    let mut other_hpke = ask(7);
    other_hpke["hpke_key"] = json!("00".repeat(32));
    plant
        .assert_rejected(&Sent::enrolment(&other_hpke), "bad_signature", "a key that the proof is not over")
        .await;
    let unknown = EnrolToken { secret: [0; 32], ..token.clone() };
    let unknown = serde_json::to_value(enrol_request(&unknown, 7)).unwrap();
    plant.assert_rejected(&Sent::enrolment(&unknown), "token_expired", "a token that nobody made").await;
    let elsewhere = EnrolToken { tenant: plant.foreign.tenant, ..token.clone() };
    let elsewhere = serde_json::to_value(enrol_request(&elsewhere, 7)).unwrap();
    plant.assert_rejected(&Sent::enrolment(&elsewhere), "token_expired", "in another tenant").await;
    for (member, value) in [
        ("token", json!("lgt1.x")),
        ("station_name", json!(" ")),
        ("program", json!("a\u{0}b")),
        ("more", json!(1)),
    ] {
        let mut bad = ask(7);
        bad[member] = value;
        plant.assert_rejected(&Sent::enrolment(&bad), "bad_request", member).await;
    }

    let first = plant.send(&Sent::enrolment(&ask(7))).await;
    assert_eq!(first.code(), "ok");
    let enrolled: EnrolReply = serde_json::from_slice(&first.body).unwrap();
    plant.assert_rejected(&Sent::enrolment(&ask(8)), "token_used", "another key").await;
    plant.clock.store(REPEAT_MS, Ordering::SeqCst);
    let again = plant.send(&Sent::enrolment(&ask(7))).await;
    let again: EnrolReply = serde_json::from_slice(&again.body).unwrap();
    assert_eq!(
        again.certificates, enrolled.certificates,
        "the same answer, though the token has ended since"
    );
    assert_eq!(again.site, enrolled.site);
    plant.clock.store(REPEAT_MS + 1, Ordering::SeqCst);
    plant.assert_rejected(&Sent::enrolment(&ask(7)), "token_used", "after a day").await;
    assert_eq!(plant.number("SELECT count(*) FROM station").await, 5, "four of the plant and one more");

    let late = plant.token(MINUTE_MS).await;
    plant.clock.fetch_add(MINUTE_MS + 1, Ordering::SeqCst);
    let late = serde_json::to_value(enrol_request(&late, 9)).unwrap();
    plant.assert_rejected(&Sent::enrolment(&late), "token_expired", "a minute too late").await;
}

#[tokio::test]
async fn a_cut_body_changes_nothing_and_the_whole_one_still_passes() {
    let plant = Plant::new("cut").await;
    let request = plant.attempt(ROUTES[2]).sign();
    let (bytes, before) = (request.bytes(), plant.rows().await);
    let body = bytes.len() - request.body.len();
    for end in [body - 4, body, body + 1, bytes.len() - 1] {
        let mut stream = TcpStream::connect(plant.address).await.unwrap();
        stream.write_all(&bytes[..end]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A connection that is reset is an answer, too.
        drop(stream.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "cut after {end} of {} bytes", bytes.len());
    }
    assert_eq!(plant.rows().await, before);
    assert_eq!(plant.send(&request).await.code(), "ok");
}

#[tokio::test]
async fn bodies_that_are_too_large_or_no_push_are_refused() {
    let plant = Plant::new("bodies").await;
    let with_body = |body: Vec<u8>| Attempt { body: Some(body), ..plant.attempt(ROUTES[2]) }.sign();
    let bomb = zstd::encode_all(vec![0; MAX_DECOMPRESSED + 1].as_slice(), 3).unwrap();
    plant.assert_rejected(&with_body(bomb), "too_large", "a bomb").await;
    plant.assert_rejected(&with_body(vec![7; MAX_DECOMPRESSED + 1]), "too_large", "a long body").await;
    plant.assert_rejected(&with_body(b"not zstd".to_vec()), "bad_request", "not zstd").await;
    let entry = plant.station.entries[0].clone();
    let many = push_of(plant.station.epoch, plant.station.after(0), &vec![entry; 1001]);
    plant.assert_rejected(&with_body(compress(&many)), "too_large", "1,001 entries").await;
    let mut miscounted = plant.station.push_all();
    miscounted.header.count += 1;
    plant
        .assert_rejected(&with_body(compress(&miscounted)), "bad_request", "fewer entries than announced")
        .await;
    let mut cut = plant.station.push_all().write().unwrap();
    cut.truncate(cut.len() - 1);
    let cut = zstd::encode_all(cut.as_slice(), 3).unwrap();
    plant.assert_rejected(&with_body(cut), "bad_request", "the last entry cut short").await;
    let other_type = Attempt { content_type: "application/json".to_owned(), ..plant.attempt(ROUTES[2]) };
    plant.assert_rejected(&other_type.sign(), "bad_request", "another content type, signed").await;
}

#[tokio::test]
async fn a_head_mismatch_tells_the_head_and_a_lost_reply_is_given_again() {
    let plant = Plant::new("replies_lost").await;
    let push = |from, to| {
        let body = Some(compress(&plant.station.push(from, to)));
        Attempt { body, ..plant.attempt(ROUTES[2]) }.sign()
    };
    let mismatch = plant.send(&push(2, 4)).await;
    assert_eq!(mismatch.code(), "head_mismatch");
    let problem: Value = serde_json::from_slice(&mismatch.body).unwrap();
    let head: HeadReply = serde_json::from_value(problem["head"].clone()).unwrap();
    assert_eq!((head.epoch, head.seq, head.hash), (None, 0, plant.station.certificate));
    assert_eq!((head.limits.entries, head.restore_window_s), (1000, 7));

    let read = |reply: &Reply| serde_json::from_slice::<PushReply>(&reply.body).unwrap();
    let first = read(&plant.send(&push(0, 3)).await);
    let again = read(&plant.send(&push(0, 3)).await);
    assert_eq!(
        (again.first_index, &again.verdicts, &again.receipt),
        (None, &first.verdicts, &first.receipt),
        "the same verdicts and the same receipt"
    );
    let of_log = |reply: &PushReply| {
        reply.proof.as_ref().map(|proof| (proof.checkpoint.clone(), proof.ranges.clone()))
    };
    assert_eq!(of_log(&again), of_log(&first), "proven in the same tree");
    let more = read(&plant.send(&push(0, 4)).await);
    assert_eq!(more.verdicts.len(), 2, "of the stored batch and of the new one");
    assert_eq!(more.verdicts[0], first.verdicts[0]);
    let head = plant.send(&plant.attempt(ROUTES[1]).sign()).await;
    let head: HeadReply = serde_json::from_slice(&head.body).unwrap();
    assert_eq!((head.seq, head.hash), (4, plant.station.head().hash));
}

#[tokio::test]
async fn without_the_database_the_answer_is_busy_and_afterwards_it_works_again() {
    let plant = Plant::new("gone").await;
    assert_eq!(plant.send(&plant.attempt(ROUTES[1]).sign()).await.code(), "ok");
    let role = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'lotgate_app' AND datname = current_database()";
    let name: String =
        plant.superuser.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    plant
        .superuser
        .batch_execute(&format!("REVOKE CONNECT ON DATABASE {name} FROM lotgate_app"))
        .await
        .unwrap();
    plant.superuser.query(role, &[]).await.unwrap();
    let reply = plant.send(&plant.attempt(ROUTES[1]).sign()).await;
    assert_eq!((reply.code().as_str(), reply.status), ("busy", StatusCode::SERVICE_UNAVAILABLE));
    plant.superuser.batch_execute(&format!("GRANT CONNECT ON DATABASE {name} TO lotgate_app")).await.unwrap();
    assert_eq!(plant.send(&plant.attempt(ROUTES[1]).sign()).await.code(), "ok");
}

#[tokio::test]
async fn the_feed_gives_page_after_page_and_then_only_where_it_stands() {
    let plant = Plant::new("feed").await;
    let lots = json!({"items": [{"item": "A"}], "lots": [{"lot": "L", "item": "A", "status": "hold"}]});
    let program = Caller::Program { tenant: plant.tenant };
    for changed in [true, false] {
        let import =
            ImportReference { site: plant.site, file: serde_json::from_value(lots.clone()).unwrap() };
        let imported = gate::pass(&plant.cloud, &program, import).await.unwrap();
        assert_eq!((imported.cursor, imported.changed), (2, changed), "the same data makes no new page");
    }
    let session = Session::of_station(Arc::clone(&plant.cloud), plant.tenant, plant.station.id);
    let mut hash = lotgate_domain::reference::feed_start(plant.site);
    for (after, cursor, is_page) in [(0, 1, true), (1, 2, true), (2, 2, false), (9, 2, false)] {
        let reply = session.feed(after).await.unwrap();
        let bytes = reply.statement.unwrap();
        let frame = lotgate_domain::entry::Frame::read(&bytes).unwrap();
        let point: Value = serde_json::from_slice(frame.json()).unwrap();
        assert_eq!(point["cursor"], json!(cursor), "after {after}");
        assert_eq!(reply.page.is_some(), is_page, "after {after}");
        if let Some(page) = reply.page {
            hash = lotgate_domain::reference::feed_next(hash, &page);
        }
        assert_eq!(point["hash"], json!(hash), "the chain of pages, after {after}");

        let attempt = Attempt { query: format!("after={after}"), ..plant.attempt(ROUTES[3]) };
        let mut zstd_asked = attempt.sign();
        zstd_asked.headers.push(("accept-encoding", "gzip, zstd".to_owned()));
        let (plain, packed) = (plant.send(&attempt.sign()).await, plant.send(&zstd_asked).await);
        assert_eq!(
            zstd::decode_all(packed.body.as_slice()).unwrap(),
            plain.body,
            "compressed only when asked"
        );
    }
}

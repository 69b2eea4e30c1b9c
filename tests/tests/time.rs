//! The signed time: for anybody, bound to the nonce, changing nothing, and not without end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use lotgate_cloud::database::DatabaseError;
use lotgate_cloud::error::Rejection;
use lotgate_cloud::gate::audit::Change;
use lotgate_cloud::gate::{self, Access, Caller, Mode, Passage, Work};
use lotgate_cloud::time::limit::FOR_ONE;
use lotgate_domain::ids::{Hash, PublicKey, TenantId};
use lotgate_domain::protocol::STATEMENT_CONTENT_TYPE;
use lotgate_domain::statement::event::TimeStatement;
use lotgate_domain::statement::{self, StatementError};
use lotgate_tests::cloud::Plant;
use serde_json::Value;
use std::sync::atomic::Ordering;

async fn statement_key(plant: &Plant) -> PublicKey {
    let query = "SELECT public_key FROM tenant_key WHERE key_use = 'statement' AND tenant_id = $1";
    let row = plant.superuser.query_one(query, &[&plant.tenant.0]).await.unwrap();
    PublicKey::from_slice(row.get(0)).unwrap()
}

#[tokio::test]
async fn the_time_is_signed_over_the_nonce_by_the_statement_key_and_changes_nothing() {
    let plant = Plant::new("time").await;
    let key = statement_key(&plant).await;
    let before = plant.rows().await;
    for (nonce, ms) in [(Hash([1; 32]), 0), (Hash([2; 32]), 123_456_789)] {
        plant.clock.store(ms, Ordering::SeqCst);
        let reply = plant.send(&plant.ask_time(nonce)).await;
        assert_eq!(reply.content_type.as_deref(), Some(STATEMENT_CONTENT_TYPE));
        let signed = statement::read::<TimeStatement>(&reply.body, plant.tenant, &key).unwrap();
        assert_eq!((signed.value.nonce, signed.value.time), (nonce, plant.now()));
        let foreign = statement::read::<TimeStatement>(&reply.body, plant.foreign.tenant, &key);
        assert!(matches!(foreign, Err(StatementError::Foreign)), "{foreign:?}");
    }
    assert_eq!(plant.rows().await, before, "not even an audit row");
}

#[tokio::test]
async fn another_form_of_the_question_and_an_unknown_tenant_are_refused() {
    let plant = Plant::new("time_bad").await;
    let right = plant.ask_time(Hash([1; 32]));
    for (target, code) in [
        ("/v1/time".to_owned(), "bad_request"),
        (format!("/v1/time?tenant={}", plant.tenant), "bad_request"),
        (right.target.to_uppercase().replace("/V1/TIME?TENANT", "/v1/time?tenant"), "bad_request"),
        (format!("{}00", right.target), "bad_request"),
        (
            right.target.replace(&plant.tenant.to_string(), &TenantId::from_parts(9, &[9; 10]).to_string()),
            "unknown_key",
        ),
    ] {
        let mut wrong = right.clone();
        wrong.target.clone_from(&target);
        plant.assert_rejected(&wrong, code, &target).await;
    }
    let mut posted = right;
    posted.method = "POST";
    plant.assert_rejected(&posted, "unknown_route", "another method").await;
}

#[tokio::test]
async fn one_address_is_answered_so_often_in_a_second_and_then_in_the_next() {
    let plant = Plant::new("time_often").await;
    let ask = plant.ask_time(Hash([1; 32]));
    for _ in 0..FOR_ONE {
        assert_eq!(plant.send(&ask).await.code(), "ok");
    }
    plant.assert_rejected(&ask, "rate_limited", "one too many").await;
    let problem: Value = serde_json::from_slice(&plant.send(&ask).await.body).unwrap();
    assert_eq!(problem["retry_after_ms"], 1_000, "{problem}");
    plant.clock.fetch_add(1_000, Ordering::SeqCst);
    assert_eq!(plant.send(&ask).await.code(), "ok", "the next second");
}

/// What an open route must not be able to do.
struct Forge;

impl Work for Forge {
    type Reply = ();
    const ACTION: &'static str = "forged";
    const ACCESS: Access = Access::Anyone;
    const MODE: Mode = Mode::Show;

    async fn run(self, passage: &Passage<'_>) -> Result<((), Change), Rejection> {
        let insert = "INSERT INTO site (tenant_id, site_id, name, zone, created_at)
            VALUES ($1, $1, 'forged', 'UTC', now())";
        passage.transaction.execute(insert, &[&passage.tenant.0]).await?;
        Ok(((), Change::default()))
    }
}

#[tokio::test]
async fn what_anybody_may_ask_cannot_change_anything_whatever_it_tries() {
    let plant = Plant::new("time_forged").await;
    let before = plant.rows().await;
    let anyone = Caller::Anyone { tenant: plant.tenant, address: None };
    let refused = gate::pass(&plant.cloud, &anyone, Forge).await.unwrap_err();
    let Rejection::Database(DatabaseError::Statement(error)) = &refused else { panic!("{refused:?}") };
    assert_eq!(
        error.code().map(tokio_postgres::error::SqlState::code),
        Some("25006"),
        "read-only transaction"
    );
    assert_eq!(plant.rows().await, before);
}

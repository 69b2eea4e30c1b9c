//! The ground that the database tests stand on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lotgate_tests::postgres::TestDatabase;
use tokio_postgres::{Client, NoTls};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn text(client: &Client, query: &str) -> String {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_app_role_is_no_superuser_bypasses_nothing_and_owns_nothing() {
    let database = TestDatabase::create("roles").unwrap();
    let app = connect(&database.app_url).await;
    let row = app
        .query_one(
            "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole,
                    has_database_privilege(current_database(), 'CREATE'),
                    has_database_privilege(current_database(), 'TEMP'),
                    has_schema_privilege('public', 'CREATE')
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await
        .unwrap();
    for (index, right) in
        ["superuser", "bypassrls", "createdb", "createrole", "create", "temp", "create in public"]
            .iter()
            .enumerate()
    {
        assert!(!row.get::<_, bool>(index), "lotgate_app has {right}");
    }
    let owner = connect(&database.owner_url).await;
    owner.batch_execute("CREATE TABLE t (i int)").await.expect("the owner makes tables");
    assert!(app.batch_execute("SELECT * FROM t").await.is_err(), "nothing is granted by itself");
}

#[tokio::test]
async fn a_commit_is_on_the_disk_before_it_returns() {
    let database = TestDatabase::create("durable").unwrap();
    let app = connect(&database.app_url).await;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(text(&app, &format!("SHOW {setting}")).await, "on", "{setting}");
    }
}

#[tokio::test]
async fn a_database_is_gone_with_its_connections_when_the_test_ends() {
    let kept = TestDatabase::create("kept").unwrap();
    let dropped = TestDatabase::create("dropped").unwrap();
    let open = connect(&dropped.app_url).await;
    let name = text(&open, "SELECT current_database()").await;
    drop(dropped);
    let looking_on = connect(&kept.superuser_url).await;
    let rows = looking_on.query("SELECT 1 FROM pg_database WHERE datname = $1", &[&name]).await.unwrap();
    assert!(rows.is_empty(), "{name} is still there");
}

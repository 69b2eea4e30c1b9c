//! Nothing of one tenant is visible to another, and what is append-only stays as it was written: proven for
//! every table that the catalogue lists, not for those that somebody remembered.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "isolation/weakened.rs"]
mod weakened;

use lotgate_cloud::crypto::{MasterKey, SealedFor};
use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::migrate::{self, APPEND_ONLY, WITHOUT_TENANT};
use lotgate_cloud::nonce::NonceKeys;
use lotgate_cloud::recovered::{Recover, ShowLog};
use lotgate_cloud::reference::ImportReference;
use lotgate_cloud::retire::Revoke;
use lotgate_cloud::session::Session;
use lotgate_cloud::tenant::CreateTenant;
use lotgate_cloud::token::MakeToken;
use lotgate_cloud::{Cloud, Settings};
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::{Hash, KeyId, PublicKey, TenantId};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::protocol::CloudApi as _;
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::signature::KeyPair;
use lotgate_tests::care::{adopt, evidence_of, heartbeat_of, rotate_request};
use lotgate_tests::postgres::TestDatabase;
use lotgate_tests::station_keys::{at, enrol};
use serde_json::json;
use std::sync::Arc;
use tokio_postgres::{Client, NoTls};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn settings(url: &str) -> Settings {
    Settings {
        database_url: url.to_owned(),
        connections: 2,
        master: MasterKey::new([1; 32]),
        nonces: NonceKeys::new([2; 32], None),
        restore_window_s: 0,
        clock: Arc::new(|| at(0)),
    }
}

/// Two tenants that have a row in every table.
struct TwoTenants {
    database: TestDatabase,
    superuser: Client,
    app: Client,
    tenants: [TenantId; 2],
    tables: Vec<String>,
}

impl TwoTenants {
    async fn new(name: &str) -> Self {
        let database = TestDatabase::create(name).unwrap();
        migrate::run(&database.owner_url).await.unwrap();
        let cloud = Cloud::open(settings(&database.app_url)).await.unwrap();
        let tenants = [1, 2].map(|n| TenantId::from_parts(n, &[n as u8; 10]));
        for (tenant, seed) in tenants.into_iter().zip([20, 21]) {
            fill(&cloud, tenant, seed).await;
        }
        let superuser = connect(&database.superuser_url).await;
        let app = connect(&database.app_url).await;
        let tables = texts(
            &superuser,
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
             AND relkind IN ('r', 'p') ORDER BY 1",
        )
        .await;
        assert!(tables.len() > 10, "the catalogue lists the tables: {tables:?}");
        Self { database, superuser, app, tenants, tables }
    }

    fn tables_of_tenants(&self) -> impl Iterator<Item = &String> {
        self.tables.iter().filter(|table| !WITHOUT_TENANT.contains(&table.as_str()))
    }
}

/// A row in every table, by the ways that the product has.
async fn fill(cloud: &Arc<Cloud>, tenant: TenantId, seed: u8) {
    let program = Caller::Program { tenant };
    let root = KeyPair::from_seed(&[seed; 32]);
    let recovery = Some([PublicKey([seed; 32]), PublicKey([seed ^ 0x80; 32])]);
    let (name, site, zone) = ("T".into(), "S".into(), "UTC".into());
    let create = CreateTenant { name, site, zone, root, recovery };
    let site = gate::pass(cloud, &program, create).await.unwrap();
    let lots = json!({"items": [{"item": "A"}], "lots": [{"lot": "L", "item": "A", "status": "hold"}]});
    let import = ImportReference { site, file: serde_json::from_value(lots).unwrap() };
    gate::pass(cloud, &program, import).await.unwrap();
    let token: EnrolToken =
        gate::pass(cloud, &program, MakeToken { site, training: true, ttl_ms: 1000 }).await.unwrap().token;
    let mut station = enrol(&Session::of_nobody(Arc::clone(cloud), None), &token, seed).await.unwrap();
    station.append_enrolled();
    // So many that the log has an inner node of its own row.
    for _ in 0..256 {
        station.append_scan("A", "L");
    }
    let session = Session::of_station(Arc::clone(cloud), tenant, station.id);
    session.push(station.push_all()).await.unwrap();
    session.heartbeat(heartbeat_of(&station)).await.unwrap();
    station.entries.truncate(1);
    station.append_scan("A", "other branch");
    session.heartbeat(heartbeat_of(&station)).await.unwrap();
    session.evidence(evidence_of(&station.entries)).await.unwrap();
    let reply = session.rotate(rotate_request(&station, seed + 1, "planned")).await.unwrap();
    adopt(&mut station, seed + 1, &reply);
    let revoke = Revoke { station: station.id, reason: "stolen".into() };
    gate::pass(cloud, &program, revoke).await.unwrap();
    let log = log_key(cloud, tenant).await;
    let head = TreeHead { size: 1 << 40, root: Hash([7; 32]) };
    let recover = Recover {
        root: KeyPair::from_seed(&[seed; 32]),
        restored: gate::pass(cloud, &program, ShowLog).await.unwrap().head.size,
        known: Checkpoint { tenant, generation: 1, head }.sign(&log),
        earlier: Vec::new(),
        reason: "restored".into(),
        people: ["A".into(), "B".into()],
    };
    gate::pass(cloud, &program, recover).await.unwrap();
    // What a crash between the two halves of a push leaves.
    as_tenant(
        cloud,
        tenant,
        "INSERT INTO waiting (tenant_id, station_id, epoch_n, epoch_id, branch, first_seq, last_seq, skewed)
         SELECT tenant_id, station_id, epoch_n, epoch_id, branch, seq, seq, false FROM entry LIMIT 1
         RETURNING station_id::text",
    )
    .await;
}

/// The first row of a statement of the app role in a tenant's context.
async fn as_tenant(cloud: &Cloud, tenant: TenantId, statement: &str) -> tokio_postgres::Row {
    let mut client = cloud.pool().get().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    gate::enter(&transaction, tenant).await.unwrap();
    let row = transaction.query_one(statement, &[]).await.unwrap();
    transaction.commit().await.unwrap();
    row
}

async fn log_key(cloud: &Cloud, tenant: TenantId) -> KeyPair {
    let query = "SELECT key_id, sealed_seed FROM tenant_key WHERE key_use = 'log'";
    let row = as_tenant(cloud, tenant, query).await;
    let key = KeyId::from_slice(row.get("key_id")).unwrap();
    let sealed_for = SealedFor { tenant, key_use: KeyUse::Log, key };
    MasterKey::new([1; 32]).open(sealed_for, row.get("sealed_seed")).unwrap()
}

async fn texts(client: &Client, query: &str) -> Vec<String> {
    client.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn every_table_of_the_catalogue_is_led_and_closed_by_its_tenant() {
    let without = WITHOUT_TENANT.map(|table| format!("'{table}'")).join(", ");
    let two = TwoTenants::new("catalogue").await;
    let su = &two.superuser;
    let none = |what: &str, rows: Vec<String>| assert_eq!(rows, Vec::<String>::new(), "{what}");
    none(
        "tables without forced row-level security",
        texts(
            su,
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
             AND relkind IN ('r', 'p') AND NOT (relrowsecurity AND relforcerowsecurity)",
        )
        .await,
    );
    let rule = "(tenant_id = (NULLIF(current_setting('lotgate.tenant'::text, true), ''::text))::uuid)";
    none(
        "tables whose only policy is not the tenant's, for reading and writing, for everybody",
        texts(
            su,
            &format!(
                "SELECT relname::text FROM pg_class c
                 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                   AND relname NOT IN ({without})
                   AND ((SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) <> 1 OR NOT EXISTS (
                     SELECT 1 FROM pg_policy p WHERE polrelid = c.oid AND polpermissive AND polcmd = '*'
                       AND polroles = '{{0}}'
                       AND pg_get_expr(polqual, polrelid) = $rule${rule}$rule$
                       AND pg_get_expr(polwithcheck, polrelid) = $rule${rule}$rule$))"
            ),
        )
        .await,
    );
    none(
        "primary keys and unique indexes that do not begin with the tenant",
        texts(
            su,
            &format!(
                "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                 WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT IN ({without})
                   AND i.indisunique AND a.attname <> 'tenant_id'"
            ),
        )
        .await,
    );
    none(
        "tables without a primary key",
        texts(
            su,
            "SELECT relname::text FROM pg_class c WHERE relnamespace = 'public'::regnamespace
             AND relkind IN ('r', 'p') AND NOT EXISTS (
               SELECT 1 FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p')",
        )
        .await,
    );
    none(
        "foreign keys that do not begin with the tenant on both sides",
        texts(
            su,
            "SELECT conname::text FROM pg_constraint k
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
             JOIN pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = k.confkey[1]
             WHERE contype = 'f' AND (a.attname <> 'tenant_id' OR f.attname <> 'tenant_id')",
        )
        .await,
    );
    none(
        "views, which could read with their owner's rights",
        texts(
            su,
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')",
        )
        .await,
    );
    none(
        "functions that run with their owner's rights or a caller's search path",
        texts(
            su,
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
             AND (prosecdef OR proconfig IS NULL OR NOT 'search_path=pg_catalog' = ANY(proconfig))",
        )
        .await,
    );
}

#[tokio::test]
async fn nothing_of_another_tenant_can_be_read_written_or_found_in_any_table() {
    let mut two = TwoTenants::new("tenants").await;
    let [own, other] = two.tenants;
    let tables: Vec<String> = two.tables_of_tenants().cloned().collect();
    for table in &tables {
        for tenant in two.tenants {
            let query = format!("SELECT count(*) FROM {table} WHERE tenant_id = '{tenant}'");
            assert!(number(&two.superuser, &query).await > 0, "{table} has a row of {tenant} to be found");
        }
        // Left over: what a connection of the pool carries after the transaction before.
        for (state, setting) in [
            ("never set", None),
            ("empty", Some(String::new())),
            ("left over", Some("committed".to_owned())),
            ("wrong", Some(own.to_string())),
        ] {
            let seen = rows_of(&mut two.app, table, other, setting.as_deref(), own).await;
            assert_eq!(seen, Ok(0), "{table}: rows of the other tenant seen with the setting {state}");
        }
        let malformed = rows_of(&mut two.app, table, other, Some("not a uuid"), own).await;
        assert!(malformed.is_err(), "{table}: a malformed setting is an error");
    }
}

/// How many rows of `tenant` a new transaction sees; `committed` leaves the setting over from one before.
async fn rows_of(
    app: &mut Client,
    table: &str,
    tenant: TenantId,
    setting: Option<&str>,
    own: TenantId,
) -> Result<i64, String> {
    if setting == Some("committed") {
        let before = app.transaction().await.unwrap();
        before.batch_execute(&format!("SET LOCAL lotgate.tenant = '{tenant}'")).await.unwrap();
        let seen: i64 = before.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0);
        assert!(seen > 0, "{table}: a tenant sees its own rows");
        before.commit().await.unwrap();
    }
    let transaction = app.transaction().await.unwrap();
    match setting {
        None | Some("committed") => {}
        Some(value) => {
            transaction.batch_execute(&format!("SET LOCAL lotgate.tenant = '{value}'")).await.unwrap()
        }
    }
    let query = format!("SELECT count(*) FILTER (WHERE tenant_id <> '{own}') FROM {table}");
    let seen = transaction.query_one(&query, &[]).await;
    seen.map(|row| row.get(0)).map_err(|error| error.to_string())
}

/// The SQLSTATE of what was refused; `ok` if it was done.
async fn state_of(client: &mut Client, statements: &[String]) -> String {
    let transaction = client.transaction().await.unwrap();
    for statement in statements {
        if let Err(error) = transaction.batch_execute(statement).await {
            return error.code().expect("an answer of the database").code().to_owned();
        }
    }
    "ok".to_owned()
}

const INSUFFICIENT_PRIVILEGE: &str = "42501";
const INVALID_UUID: &str = "22P02";

#[tokio::test]
async fn a_row_for_another_tenant_is_refused_before_it_could_collide_with_one() {
    let mut two = TwoTenants::new("writing").await;
    let [own, other] = two.tenants;
    let tables: Vec<String> = two.tables_of_tenants().cloned().collect();
    for table in &tables {
        // The very row that the other tenant has: if keys were looked at first, "duplicate" would tell of it.
        let query = format!(
            "SELECT format('INSERT INTO {table} SELECT (%L::{table}).*', t::text) FROM {table} t
            WHERE tenant_id = '{other}' LIMIT 1"
        );
        let copy = texts(&two.superuser, &query).await.remove(0);
        for (setting, expected) in [
            (String::new(), INSUFFICIENT_PRIVILEGE),
            (own.to_string(), INSUFFICIENT_PRIVILEGE),
            ("not a uuid".to_owned(), INVALID_UUID),
        ] {
            let set = format!("SET LOCAL lotgate.tenant = '{setting}'");
            assert_eq!(
                state_of(&mut two.app, &[set, copy.clone()]).await,
                expected,
                "{table}: the other tenant's row inserted with the setting {setting:?}"
            );
        }
        assert_eq!(
            state_of(&mut two.app, std::slice::from_ref(&copy)).await,
            INSUFFICIENT_PRIVILEGE,
            "{table}: with the setting left over"
        );
        let right = [format!("SET LOCAL lotgate.tenant = '{other}'"), copy];
        assert_eq!(state_of(&mut two.app, &right).await, "23505", "{table}: the row itself is a right one");
    }
}

#[tokio::test]
async fn no_row_of_the_other_tenant_can_be_changed_or_deleted_in_any_table() {
    let mut two = TwoTenants::new("changing").await;
    let [own, other] = two.tenants;
    let tables: Vec<String> = two.tables_of_tenants().cloned().collect();
    let (mut denied, mut unseen) = (0, 0);
    for table in &tables {
        // What the role may change at all; where that is nothing, any column stands for it.
        let query = format!(
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}'
               AND has_column_privilege('lotgate_app', '{table}', column_name, 'UPDATE')
             UNION ALL SELECT 'tenant_id' LIMIT 1"
        );
        let column = texts(&two.superuser, &query).await.remove(0);
        let rows = format!(
            "SELECT count(*) || ' ' || md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {table} t
             WHERE tenant_id = '{other}'"
        );
        let before = texts(&two.superuser, &rows).await;
        for change in [
            format!("DELETE FROM {table} WHERE tenant_id = '{other}'"),
            format!("UPDATE {table} SET {column} = {column} WHERE tenant_id = '{other}'"),
            format!("UPDATE {table} SET {column} = NULL WHERE tenant_id = '{other}'"),
        ] {
            for setting in ["", &own.to_string(), "left over", "not a uuid"] {
                let expected: &[&str] = match setting {
                    "not a uuid" => &[INSUFFICIENT_PRIVILEGE, INVALID_UUID],
                    _ => &[INSUFFICIENT_PRIVILEGE, "0 rows"],
                };
                let outcome = change_as(&mut two.app, &change, setting, other).await;
                assert!(expected.contains(&outcome.as_str()), "{change} with {setting:?}: {outcome}");
                denied += usize::from(outcome == INSUFFICIENT_PRIVILEGE);
                unseen += usize::from(outcome == "0 rows");
            }
        }
        assert_eq!(texts(&two.superuser, &rows).await, before, "{table}: the other tenant's rows");
    }
    assert!(denied > 0 && unseen > 0, "both ways are seen: {denied} denied, {unseen} without rows");
}

/// Commits a change under a setting: the SQLSTATE of its refusal, or how many rows it found.
async fn change_as(app: &mut Client, change: &str, setting: &str, other: TenantId) -> String {
    if setting == "left over" {
        let before = app.transaction().await.unwrap();
        before.batch_execute(&format!("SET LOCAL lotgate.tenant = '{other}'")).await.unwrap();
        before.commit().await.unwrap();
    }
    let transaction = app.transaction().await.unwrap();
    if setting != "left over" {
        transaction.batch_execute(&format!("SET LOCAL lotgate.tenant = '{setting}'")).await.unwrap();
    }
    match transaction.execute(change, &[]).await {
        Ok(rows) => {
            transaction.commit().await.unwrap();
            format!("{rows} rows")
        }
        Err(error) => error.code().expect("an answer of the database").code().to_owned(),
    }
}

#[tokio::test]
async fn the_other_tenants_keys_are_free_and_its_rows_cannot_be_referred_to() {
    let mut two = TwoTenants::new("existence").await;
    let (own, other) = (TenantId::from_parts(3, &[3; 10]), two.tenants[1]);
    let bare =
        format!("INSERT INTO tenant SELECT '{own}', name, root_fingerprint, created_at FROM tenant LIMIT 1");
    two.superuser.batch_execute(&bare).await.unwrap();
    let tables: Vec<String> = two.tables_of_tenants().cloned().collect();
    for table in &tables {
        // Where a row may refer to nothing, those that refer to something.
        let refers = texts(
            &two.superuser,
            &format!(
                "SELECT coalesce(string_agg(refers, ' OR '), 'true') FROM (
                    SELECT '(' || string_agg(attname || ' IS NOT NULL', ' AND ') || ')' AS refers
                    FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = conrelid AND attnum = ANY (conkey)
                    WHERE contype = 'f' AND conrelid = '{table}'::regclass AND confrelid <> 'tenant'::regclass
                    GROUP BY k.oid) one"
            ),
        )
        .await
        .remove(0);
        // The other tenant's row as one's own: that its key exists elsewhere must not show.
        let query = format!(
            "SELECT format('INSERT INTO {table} SELECT (%L::{table}).*', r::text)
            FROM (SELECT * FROM {table} WHERE tenant_id = '{other}' AND ({refers})) q,
                jsonb_populate_record(NULL::{table}, to_jsonb(q) || jsonb_build_object('tenant_id', '{own}')) r"
        );
        let inserts = texts(&two.superuser, &query).await;
        let parents = texts(
            &two.superuser,
            &format!(
                "SELECT confrelid::regclass::text FROM pg_constraint
                WHERE contype = 'f' AND conrelid = '{table}'::regclass AND confrelid <> 'tenant'::regclass"
            ),
        )
        .await;
        let expected = match (table.as_str(), parents.is_empty()) {
            ("tenant", _) => "23505",
            (_, true) => "ok",
            // A parent that only the other tenant has is no parent.
            (_, false) => "23503",
        };
        assert!(!inserts.is_empty(), "{table} has rows to try");
        for insert in inserts {
            let set = format!("SET LOCAL lotgate.tenant = '{own}'");
            // A foreign key is looked at before the transaction ends, also where it is deferred.
            let now = "SET CONSTRAINTS ALL IMMEDIATE".to_owned();
            assert_eq!(
                state_of(&mut two.app, &[set, insert, now]).await,
                expected,
                "{table}, child of {parents:?}"
            );
        }
    }
}

#[tokio::test]
async fn every_append_only_table_refuses_every_role() {
    let two = TwoTenants::new("append_only").await;
    let with_triggers = texts(
        &two.superuser,
        "SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'A'
         GROUP BY 1 HAVING count(*) = 2 ORDER BY 1",
    )
    .await;
    let mut append_only = APPEND_ONLY.map(str::to_owned).to_vec();
    append_only.sort();
    assert_eq!(with_triggers, append_only, "tables with both triggers, enabled always");

    let owner = connect(&two.database.owner_url).await;
    let superuser = connect(&two.database.superuser_url).await;
    let mut roles = [(two.app, "app", false), (owner, "owner", false), (superuser, "superuser", true)];
    for (client, role, may_replicate) in &mut roles {
        for table in APPEND_ONLY {
            let column = if table == "master_key" { "fingerprint" } else { "tenant_id" };
            let set = format!("SET LOCAL lotgate.tenant = '{}'", two.tenants[0]);
            for change in [
                format!("UPDATE {table} SET {column} = {column}"),
                format!("UPDATE {table} SET {column} = {column} WHERE false"),
                format!("DELETE FROM {table}"),
                format!("DELETE FROM {table} WHERE false"),
                format!("TRUNCATE {table} CASCADE"),
            ] {
                let state = state_of(client, &[set.clone(), change.clone()]).await;
                let expected = if *role == "app" { INSUFFICIENT_PRIVILEGE } else { "LG001" };
                assert_eq!(state, expected, "{role}: {change}");
                if *may_replicate {
                    let replica = "SET LOCAL session_replication_role = replica".to_owned();
                    let state = state_of(client, &[set.clone(), replica, change.clone()]).await;
                    assert_eq!(state, "LG001", "{role} as replica: {change}");
                }
            }
        }
        if !*may_replicate {
            let replica = "SET LOCAL session_replication_role = replica".to_owned();
            assert_eq!(state_of(client, &[replica]).await, INSUFFICIENT_PRIVILEGE, "{role}");
        }
    }
}

#[tokio::test]
async fn the_cloud_does_not_start_with_a_role_that_row_level_security_does_not_bind() {
    let database = TestDatabase::create("startup").unwrap();
    let old = Cloud::open(settings(&database.app_url)).await.unwrap_err();
    assert!(old.to_string().starts_with("schema_too_old: "), "{old}");
    migrate::run(&database.owner_url).await.unwrap();
    Cloud::open(settings(&database.app_url)).await.expect("the app role");

    let superuser = Cloud::open(settings(&database.superuser_url)).await.unwrap_err();
    assert!(superuser.to_string().starts_with("role_can_bypass: "), "{superuser}");
    let owner = Cloud::open(settings(&database.owner_url)).await.unwrap_err();
    assert!(owner.to_string().starts_with("role_owns: "), "{owner}");

    let su = connect(&database.superuser_url).await;
    let name = format!("bypass_{}", std::process::id());
    for (attribute, grant, expected) in [
        ("BYPASSRLS", "", "role_can_bypass: "),
        ("CREATEROLE", "", "role_can_bypass: "),
        ("NOBYPASSRLS", "lotgate_owner", "role_owns: "),
        ("NOBYPASSRLS", "pg_execute_server_program", "role_can_bypass: "),
        ("NOBYPASSRLS", "pg_write_server_files", "role_can_bypass: "),
        ("NOBYPASSRLS", "pg_read_server_files", "role_can_bypass: "),
    ] {
        let database_name = texts(&su, "SELECT current_database()::text").await.remove(0);
        let mut sql = format!(
            "CREATE ROLE {name} LOGIN {attribute}; GRANT CONNECT ON DATABASE {database_name} TO {name};"
        );
        if !grant.is_empty() {
            sql.push_str(&format!("GRANT {grant} TO {name};"));
        }
        su.batch_execute(&sql).await.unwrap();
        let url = database.app_url.replace("lotgate_app", &name);
        let refused = Cloud::open(settings(&url)).await.map(|_| ()).unwrap_err();
        su.batch_execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await.unwrap();
        assert!(refused.to_string().starts_with(expected), "{attribute} {grant}: {refused}");
    }
}

#[tokio::test]
async fn a_connection_goes_back_to_the_pool_without_its_tenant() {
    let database = TestDatabase::create("pool").unwrap();
    migrate::run(&database.owner_url).await.unwrap();
    let one = Settings { connections: 1, ..settings(&database.app_url) };
    let cloud = Cloud::open(one).await.unwrap();
    fill(&cloud, TenantId::from_parts(1, &[1; 10]), 20).await;
    let client = cloud.pool().get().await.unwrap();
    let row = client
        .query_one("SELECT current_setting('lotgate.tenant', true), count(*) FROM tenant", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, Option<String>>(0).unwrap_or_default(), "", "what the last passage left over");
    assert_eq!(row.get::<_, i64>(1), 0);
}

#[tokio::test]
async fn settings_of_the_database_cannot_weaken_a_connection() {
    let database = TestDatabase::create("settings").unwrap();
    migrate::run(&database.owner_url).await.unwrap();
    let su = connect(&database.superuser_url).await;
    let name = texts(&su, "SELECT current_database()::text").await.remove(0);
    for weak in [
        "default_transaction_isolation = 'serializable'",
        "synchronous_commit = off",
        "search_path = pg_temp",
    ] {
        su.batch_execute(&format!("ALTER DATABASE {name} SET {weak}")).await.unwrap();
    }
    let cloud = Cloud::open(settings(&database.app_url)).await.unwrap();
    let client = cloud.pool().get().await.unwrap();
    for (setting, expected) in [
        ("transaction_isolation", "read committed"),
        ("synchronous_commit", "on"),
        ("search_path", "public,pg_temp"),
    ] {
        let value: String = client.query_one(&format!("SHOW {setting}"), &[]).await.unwrap().get(0);
        assert_eq!(value, expected, "{setting}");
    }
}

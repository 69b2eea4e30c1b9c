//! What the cloud refuses to start on: rules that were weakened, a schema of another program, another master key.

use super::{connect, fill, settings, texts};
use lotgate_cloud::crypto::{MasterKey, SealError};
use lotgate_cloud::error::Rejection;
use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::startup::StartupError;
use lotgate_cloud::tenant::CreateTenant;
use lotgate_cloud::{Cloud, Settings, migrate};
use lotgate_domain::ids::TenantId;
use lotgate_domain::signature::KeyPair;
use lotgate_tests::postgres::TestDatabase;

const NO_OP: &str = "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog AS 'BEGIN RETURN coalesce(NEW, OLD); END'";

/// As in its migration, so that the cases after it are about themselves.
const ORIGINAL: &str = "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    RAISE EXCEPTION '% of append-only table % refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'LG001';
END
$$;";

/// What weakens a schema, what mends it, and how the refusal begins.
const WEAKENED: &[(&str, &str, &str)] = &[
    (
        "ALTER TABLE scan NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE scan FORCE ROW LEVEL SECURITY",
        "table_not_forced: ",
    ),
    (
        "CREATE POLICY more ON scan FOR SELECT USING (true)",
        "DROP POLICY more ON scan",
        "table_not_isolated: ",
    ),
    (
        "ALTER POLICY own_tenant ON lot USING (tenant_id IS NOT NULL)",
        "ALTER POLICY own_tenant ON lot
                USING (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)",
        "table_not_isolated: ",
    ),
    (
        "ALTER POLICY own_tenant ON lot WITH CHECK (true)",
        "ALTER POLICY own_tenant ON lot
                WITH CHECK (tenant_id = nullif(current_setting('lotgate.tenant', true), '')::uuid)",
        "table_not_isolated: ",
    ),
    (
        "CREATE TABLE more (tenant_id uuid); ALTER TABLE more ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "DROP TABLE more",
        "table_not_isolated: ",
    ),
    ("GRANT TRUNCATE ON lot TO lotgate_app", "REVOKE TRUNCATE ON lot FROM lotgate_app", "role_privileged: "),
    ("GRANT TRIGGER ON station TO PUBLIC", "REVOKE TRIGGER ON station FROM PUBLIC", "role_privileged: "),
    (
        "GRANT REFERENCES (name) ON tenant TO lotgate_app",
        "REVOKE REFERENCES (name) ON tenant FROM lotgate_app",
        "role_privileged: ",
    ),
    (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "role_privileged: ",
    ),
    (NO_OP, ORIGINAL, "table_not_append_only: "),
    (
        "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entry
                FOR EACH STATEMENT EXECUTE FUNCTION other();
             ALTER TABLE entry ENABLE ALWAYS TRIGGER append_only",
        "CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entry
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
             ALTER TABLE entry ENABLE ALWAYS TRIGGER append_only; DROP FUNCTION other()",
        "table_not_append_only: ",
    ),
    (
        "CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE ON entry
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
             ALTER TABLE entry ENABLE ALWAYS TRIGGER append_only",
        "CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entry
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
             ALTER TABLE entry ENABLE ALWAYS TRIGGER append_only",
        "table_not_append_only: ",
    ),
    (
        "ALTER TABLE entry DISABLE TRIGGER append_only",
        "ALTER TABLE entry ENABLE ALWAYS TRIGGER append_only",
        "table_not_append_only: ",
    ),
    (
        "GRANT DELETE ON audit TO lotgate_app",
        "REVOKE DELETE ON audit FROM lotgate_app",
        "table_not_append_only: ",
    ),
    (
        "INSERT INTO migration (name, sha256) VALUES ('9999_later', decode(repeat('00', 32), 'hex'))",
        "DELETE FROM migration WHERE name = '9999_later'",
        "schema_too_new: ",
    ),
    (
        "ALTER TABLE migration ADD COLUMN was bytea;
         UPDATE migration SET was = sha256, sha256 = decode(repeat('00', 32), 'hex') WHERE name = '0001_ledger'",
        "UPDATE migration SET sha256 = coalesce(was, sha256); ALTER TABLE migration DROP COLUMN was",
        "schema_changed: ",
    ),
];

#[tokio::test]
async fn the_cloud_does_not_start_on_a_schema_that_was_weakened_or_is_newer() {
    let database = TestDatabase::create("weakened").unwrap();
    migrate::run(&database.owner_url).await.unwrap();
    let owner = connect(&database.owner_url).await;
    Cloud::open(settings(&database.app_url)).await.expect("as migrated");
    let refused = async || Cloud::open(settings(&database.app_url)).await.map(|_| ()).unwrap_err();
    for (weaken, mend, code) in WEAKENED {
        owner.batch_execute(weaken).await.unwrap();
        let error: StartupError = refused().await;
        assert!(error.to_string().starts_with(code), "{weaken}: {error}");
        owner.batch_execute(mend).await.unwrap();
        Cloud::open(settings(&database.app_url)).await.unwrap_or_else(|error| panic!("{mend}: {error}"));
    }
}

#[tokio::test]
async fn default_privileges_of_the_database_give_the_app_role_nothing_more() {
    let grants = async |prepare: &str, name: &str| {
        let database = TestDatabase::create(name).unwrap();
        let owner = connect(&database.owner_url).await;
        owner.batch_execute(prepare).await.unwrap();
        migrate::run(&database.owner_url).await.unwrap();
        Cloud::open(settings(&database.app_url)).await.expect("fit to be served from");
        texts(
            &owner,
            "SELECT format('%s %s %s', relname, grantee::regrole, privilege_type) FROM pg_class, aclexplode(relacl)
                WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner
             UNION ALL SELECT format('schema %s %s', grantee::regrole, privilege_type)
                FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public'
             ORDER BY 1",
        )
        .await
    };
    let usual = grants("SELECT 1", "usual_grants").await;
    let generous = grants(
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO lotgate_app, PUBLIC;
         GRANT CREATE ON SCHEMA public TO lotgate_app, PUBLIC",
        "generous_grants",
    )
    .await;
    assert!(usual.iter().any(|grant| grant == "entry lotgate_app INSERT"), "{usual:?}");
    assert_eq!(generous, usual);
}

#[tokio::test]
async fn another_master_key_than_the_one_that_sealed_the_first_key_is_refused() {
    let database = TestDatabase::create("master_key").unwrap();
    migrate::run(&database.owner_url).await.unwrap();
    let with = |master: u8| Settings { master: MasterKey::new([master; 32]), ..settings(&database.app_url) };
    let late = Cloud::open(with(9)).await.expect("nothing is sealed yet");
    let first = Cloud::open(with(1)).await.unwrap();
    fill(&first, TenantId::from_parts(1, &[1; 10]), 20).await;

    let refused = Cloud::open(with(9)).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, StartupError::OtherMasterKey), "{refused:?}");
    assert!(refused.to_string().starts_with("master_key_changed: "), "{refused}");
    let tenant = TenantId::from_parts(2, &[2; 10]);
    let root = KeyPair::from_seed(&[21; 32]);
    let (name, site, zone) = ("T".into(), "S".into(), "UTC".into());
    let create = CreateTenant { name, site, zone, root, recovery: None };
    let refused = gate::pass(&late, &Caller::Program { tenant }, create).await.unwrap_err();
    assert!(matches!(refused, Rejection::Seal(SealError::OtherMaster)), "{refused:?}");

    let superuser = connect(&database.superuser_url).await;
    let kept = texts(&superuser, "SELECT encode(fingerprint, 'hex') FROM master_key").await;
    assert_eq!(kept, [MasterKey::new([1; 32]).fingerprint().to_string()], "one row, of the first");
    assert_eq!(
        texts(&superuser, "SELECT name FROM tenant").await.len(),
        1,
        "nothing was sealed under the other"
    );
    Cloud::open(with(1)).await.expect("the first still opens");
    fill(&first, tenant, 21).await;
}

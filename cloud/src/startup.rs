//! What is checked before any work: that row-level security and append-only hold for this role in this database.

use crate::crypto::MasterKey;
use crate::database::PoolSetupError;
use crate::migrate::{self, APPEND_ONLY, SchemaError, WITHOUT_TENANT};
use deadpool_postgres::PoolError;
use tokio_postgres::GenericClient;
use tokio_postgres::types::ToSql;

/// Why the cloud refuses to work. Its text begins with the code.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// There can be no connections.
    #[error(transparent)]
    Setup(#[from] PoolSetupError),
    /// The database gives no connection.
    #[error("database_unreachable: the database gives no connection")]
    Unreachable(#[source] PoolError),
    /// A query failed.
    #[error("database_failed: the database could not be checked")]
    Database(#[from] tokio_postgres::Error),
    /// The schema is not the program's.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The role is, or may become, one that row-level security does not bind.
    #[error(
        "role_can_bypass: role {role} is or can become {through}, which row-level security does not bind"
    )]
    RoleCanBypass {
        /// The role of the connection.
        role: String,
        /// The role with the power.
        through: String,
    },
    /// The role owns something, and so could switch row-level security off.
    #[error("role_owns: role {role} owns {what}, and could change the rules that bind it")]
    RoleOwns {
        /// The role of the connection.
        role: String,
        /// What it owns.
        what: String,
    },
    /// A table without forced row-level security.
    #[error("table_not_forced: row-level security is not forced on {0}")]
    NotForced(String),
    /// A table of tenants whose policy is not the tenant's, or not the only one.
    #[error("table_not_isolated: the one policy of {0} is not the tenant's")]
    NotIsolated(String),
    /// The role may do what its work never needs.
    #[error("role_privileged: role {role} may {what}")]
    RolePrivileged {
        /// The role of the connection.
        role: String,
        /// What it may do.
        what: String,
    },
    /// An append-only table without its triggers, or that the role may change.
    #[error("table_not_append_only: {0} could be changed")]
    NotAppendOnly(String),
    /// The tenants' keys are sealed under another master key.
    #[error(
        "master_key_changed: the tenants' keys are sealed under another master key than the configuration's"
    )]
    OtherMasterKey,
}

const ROLES: &str = "SELECT rolname::text FROM pg_roles
    WHERE (rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication OR rolname IN
            ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files'))
        AND pg_has_role(session_user, oid, 'MEMBER')
    ORDER BY rolname";

const OWNED: &str = "SELECT what FROM (
        SELECT 'table ' || relname AS what, relowner AS owner FROM pg_class
            WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'function ' || proname, proowner FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'schema public', nspowner FROM pg_namespace WHERE nspname = 'public'
        UNION ALL SELECT 'the database', datdba FROM pg_database WHERE datname = current_database()
    ) owned WHERE pg_has_role(session_user, owner, 'MEMBER') ORDER BY what LIMIT 1";

const NOT_FORCED: &str = "SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
      AND NOT (relrowsecurity AND relforcerowsecurity)
    ORDER BY relname LIMIT 1";

/// The expression of every table's policy, as Postgres writes it back.
const POLICY: &str = "(tenant_id = (NULLIF(current_setting('lotgate.tenant'::text, true), ''::text))::uuid)";

const NOT_ISOLATED: &str = "SELECT relname::text FROM pg_class t
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> ALL ($1::text[])
      AND ((SELECT count(*) FROM pg_policy WHERE polrelid = t.oid) <> 1
        OR NOT EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = t.oid AND polpermissive AND polcmd = '*'
             AND polroles = '{0}' AND pg_get_expr(polqual, polrelid) = $2
             AND pg_get_expr(polwithcheck, polrelid) = $2))
    ORDER BY relname LIMIT 1";

const PRIVILEGED: &str = "SELECT what FROM (
        SELECT 'truncate, refer to or put triggers on ' || relname AS what FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
              AND (has_table_privilege(session_user, oid, 'TRUNCATE, TRIGGER, REFERENCES')
                OR has_any_column_privilege(session_user, oid, 'REFERENCES'))
        UNION ALL SELECT 'create in schema public' WHERE has_schema_privilege(session_user, 'public', 'CREATE')
    ) privileged ORDER BY what LIMIT 1";

/// The types of trigger are bits of pg_trigger.h: 58 is before each UPDATE, DELETE and TRUNCATE as a statement, 27
/// before each UPDATE and DELETE of a row.
const NOT_APPEND_ONLY: &str = "SELECT name FROM unnest($1::text[]) AS name
    WHERE has_table_privilege(session_user, name, 'UPDATE, DELETE')
       OR has_any_column_privilege(session_user, name, 'UPDATE')
       OR (SELECT count(*) FROM pg_trigger JOIN pg_proc f ON f.oid = tgfoid
             WHERE tgrelid = name::regclass AND tgenabled = 'A' AND tgqual IS NULL AND tgattr = ''
               AND (tgname, tgtype) IN (('append_only', 58), ('append_only_row', 27))
               AND f.oid = to_regproc('public.refuse_change') AND f.prosrc = $2
               AND f.prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')) <> 2
    ORDER BY name LIMIT 1";

/// Checks the role, the schema and the tables.
///
/// # Errors
/// [`StartupError`], the first that applies.
pub async fn check<C: GenericClient>(client: &C) -> Result<(), StartupError> {
    let role: String = client.query_one("SELECT session_user::text", &[]).await?.try_get(0)?;
    if let Some(row) = client.query(ROLES, &[]).await?.first() {
        return Err(StartupError::RoleCanBypass { role, through: row.try_get(0)? });
    }
    if let Some(row) = client.query_opt(OWNED, &[]).await? {
        return Err(StartupError::RoleOwns { role, what: row.try_get(0)? });
    }
    migrate::compare(&migrate::recorded(client).await?)?;
    if let Some(row) = client.query_opt(NOT_FORCED, &[]).await? {
        return Err(StartupError::NotForced(row.try_get(0)?));
    }
    if let Some(row) = client.query_opt(NOT_ISOLATED, &[&WITHOUT_TENANT.as_slice(), &POLICY]).await? {
        return Err(StartupError::NotIsolated(row.try_get(0)?));
    }
    if let Some(row) = client.query_opt(PRIVILEGED, &[]).await? {
        return Err(StartupError::RolePrivileged { role, what: row.try_get(0)? });
    }
    let append_only: [&(dyn ToSql + Sync); 2] = [&APPEND_ONLY.as_slice(), &migrate::refuse_change_source()];
    if let Some(row) = client.query_opt(NOT_APPEND_ONLY, &append_only).await? {
        return Err(StartupError::NotAppendOnly(row.try_get(0)?));
    }
    Ok(())
}

/// Checks that the tenants' keys are sealed under `own`, if any key is.
///
/// # Errors
/// [`StartupError::OtherMasterKey`], the database's.
pub async fn check_master_key<C: GenericClient>(client: &C, own: &MasterKey) -> Result<(), StartupError> {
    match master_key(client).await? {
        Some(known) if known != own.fingerprint().0 => Err(StartupError::OtherMasterKey),
        _ => Ok(()),
    }
}

/// Fingerprint of the master key that seals the tenants' keys ([`MasterKey::fingerprint`]); `None` before the
/// first of them.
///
/// # Errors
/// The database's.
pub async fn master_key<C: GenericClient>(client: &C) -> Result<Option<Vec<u8>>, tokio_postgres::Error> {
    let row = client.query_opt("SELECT fingerprint FROM master_key", &[]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

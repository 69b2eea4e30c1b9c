//! What is checked before any work: that row-level security and append-only hold for this role in this database.

use crate::database::PoolSetupError;
use crate::migrate::{self, APPEND_ONLY, SchemaError};
use deadpool_postgres::PoolError;
use tokio_postgres::GenericClient;

/// Why the cloud refuses to work. Its text begins with the code.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// There can be no connections.
    #[error("database_url: there can be no connections")]
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
    /// An append-only table without its triggers, or that the role may change.
    #[error("table_not_append_only: {0} could be changed")]
    NotAppendOnly(String),
}

const ROLES: &str = "SELECT rolname::text FROM pg_roles
    WHERE (rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication) AND pg_has_role(session_user, oid, 'MEMBER')
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

const NOT_APPEND_ONLY: &str = "SELECT name FROM unnest($1::text[]) AS name
    WHERE has_table_privilege(session_user, name, 'UPDATE, DELETE, TRUNCATE, TRIGGER')
       OR has_any_column_privilege(session_user, name, 'UPDATE')
       OR (SELECT count(*) FROM pg_trigger WHERE tgrelid = name::regclass AND tgenabled = 'A'
             AND tgname IN ('append_only', 'append_only_row')) <> 2
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
    if let Some(row) = client.query_opt(NOT_APPEND_ONLY, &[&APPEND_ONLY.as_slice()]).await? {
        return Err(StartupError::NotAppendOnly(row.try_get(0)?));
    }
    Ok(())
}

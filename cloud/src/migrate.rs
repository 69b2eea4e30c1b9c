//! The schema: made by the owner role from frozen files, checked by everybody before work.

use crate::database::{self, PoolSetupError};
use lotgate_domain::ids::Hash;
use tokio_postgres::{Client, GenericClient, NoTls};

/// Every migration, in order. A released file never changes.
pub const MIGRATIONS: [(&str, &str); 3] = [
    ("0001_ledger", include_str!("../../migrations/cloud/0001_ledger.sql")),
    ("0002_isolation", include_str!("../../migrations/cloud/0002_isolation.sql")),
    ("0003_append_only", include_str!("../../migrations/cloud/0003_append_only.sql")),
];

/// The tables that are never changed, only added to.
pub const APPEND_ONLY: [&str; 16] = [
    "certificate",
    "station_key",
    "station_closing",
    "head_contradiction",
    "entry",
    "leaf",
    "tree",
    "node",
    "recovered",
    "verdict",
    "evidence",
    "receipt",
    "feed_page",
    "audit",
    "scan",
    "master_key",
];

/// The tables that belong to no tenant and hold nothing of any.
pub const WITHOUT_TENANT: [&str; 2] = ["migration", "master_key"];

/// The source of the function behind the triggers of the append-only tables, as Postgres keeps it.
#[must_use]
pub fn refuse_change_source() -> &'static str {
    let [.., (_, append_only)] = MIGRATIONS;
    append_only.split("$$").nth(1).unwrap_or_default()
}

/// The schema of the database is not the program's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// `lotgate-cloud migrate` has to run first.
    #[error("schema_too_old: the schema lacks {0}; run `lotgate-cloud migrate`")]
    TooOld(String),
    /// A newer program made the schema.
    #[error("schema_too_new: the schema holds {0}, which this program does not know; use the newer program")]
    TooNew(String),
    /// A migration was changed after it had been applied.
    #[error("schema_changed: {0} was applied from another file than this program has")]
    Changed(String),
}

/// The schema was not brought up to date. What was applied before the failure stays.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The URL does not name a database.
    #[error(transparent)]
    Setup(#[from] PoolSetupError),
    /// The database did not do what was asked.
    #[error("database")]
    Database(#[from] tokio_postgres::Error),
    /// The schema is of another program.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Brings the schema up to date as the owner role; returns the names of what was applied. Two at once take turns.
///
/// # Errors
/// [`MigrateError`].
pub async fn run(owner_url: &str) -> Result<Vec<&'static str>, MigrateError> {
    let (mut client, connection) = database::connection(owner_url)?.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let applied = apply(&mut client).await;
    drop(client);
    // Its error, if there is one, was the client's already.
    drop(connection.await);
    applied
}

async fn apply(client: &mut Client) -> Result<Vec<&'static str>, MigrateError> {
    // A large table, or another migration of it, may take longer than any request may.
    client.batch_execute("SET statement_timeout = 0; SET lock_timeout = 0").await?;
    client.batch_execute("SELECT pg_advisory_lock(hashtextextended('lotgate/migrate', 0))").await?;
    let mut applied = Vec::new();
    loop {
        let transaction = client.transaction().await?;
        let next = match compare(&recorded(&transaction).await?) {
            Ok(()) => return Ok(applied),
            Err(SchemaError::TooOld(name)) => MIGRATIONS.iter().find(|(known, _)| *known == name),
            Err(other) => return Err(other.into()),
        };
        let Some((name, sql)) = next else { return Ok(applied) };
        transaction.batch_execute(sql).await?;
        let record = "INSERT INTO migration (name, sha256) VALUES ($1, $2)";
        transaction.execute(record, &[name, &Hash::of(sql.as_bytes()).0.as_slice()]).await?;
        transaction.commit().await?;
        applied.push(*name);
    }
}

/// What the database says was applied, by name.
///
/// # Errors
/// The database's.
pub async fn recorded<C: GenericClient>(client: &C) -> Result<Vec<(String, Vec<u8>)>, tokio_postgres::Error> {
    let exists = client.query_one("SELECT to_regclass('public.migration') IS NOT NULL", &[]).await?;
    if !exists.try_get::<_, bool>(0)? {
        return Ok(Vec::new());
    }
    let rows = client.query("SELECT name, sha256 FROM migration ORDER BY name", &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Compares what was applied with what this program has.
///
/// # Errors
/// [`SchemaError`]; `TooOld` names the first that is missing.
pub fn compare(recorded: &[(String, Vec<u8>)]) -> Result<(), SchemaError> {
    if let Some((name, _)) =
        recorded.iter().find(|(name, _)| MIGRATIONS.iter().all(|(known, _)| known != name))
    {
        return Err(SchemaError::TooNew(name.clone()));
    }
    for (name, sql) in MIGRATIONS {
        let Some((_, sha256)) = recorded.iter().find(|(known, _)| known == name) else {
            return Err(SchemaError::TooOld(name.to_owned()));
        };
        if sha256.as_slice() != Hash::of(sql.as_bytes()).as_bytes() {
            return Err(SchemaError::Changed(name.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(String, Vec<u8>)> {
        MIGRATIONS
            .iter()
            .map(|(name, sql)| ((*name).to_owned(), Hash::of(sql.as_bytes()).0.to_vec()))
            .collect()
    }

    #[test]
    fn an_older_a_newer_and_a_changed_schema_are_told_apart() {
        assert_eq!(compare(&all()), Ok(()));
        assert_eq!(compare(&all()[..2]), Err(SchemaError::TooOld("0003_append_only".into())));
        assert_eq!(compare(&[]), Err(SchemaError::TooOld("0001_ledger".into())));
        let mut newer = all();
        newer.push(("0004_later".into(), vec![0; 32]));
        assert_eq!(compare(&newer), Err(SchemaError::TooNew("0004_later".into())));
        let mut changed = all();
        changed[1].1[0] ^= 1;
        assert_eq!(compare(&changed), Err(SchemaError::Changed("0002_isolation".into())));
    }

    #[test]
    fn the_list_is_the_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/cloud");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort();
        let listed: Vec<String> = MIGRATIONS.iter().map(|(name, _)| format!("{name}.sql")).collect();
        assert_eq!(files, listed);
    }
}

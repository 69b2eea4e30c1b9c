//! Connections, locks, and how values lie in columns.

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Transaction};
use lotgate_domain::time::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;

/// The database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No connection could be had.
    #[error("no connection")]
    Pool(#[from] PoolError),
    /// A statement failed.
    #[error("statement failed")]
    Statement(#[from] tokio_postgres::Error),
    /// A row does not read as what it must be.
    #[error("column {0} does not read")]
    Column(&'static str),
}

impl DatabaseError {
    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Pool(_) => true,
            Self::Column(_) => false,
            Self::Statement(error) => {
                error.is_closed()
                    || error.code().is_some_and(|code| {
                        [
                            SqlState::LOCK_NOT_AVAILABLE,
                            SqlState::QUERY_CANCELED,
                            SqlState::T_R_DEADLOCK_DETECTED,
                            SqlState::T_R_SERIALIZATION_FAILURE,
                            SqlState::ADMIN_SHUTDOWN,
                            SqlState::TOO_MANY_CONNECTIONS,
                            SqlState::DISK_FULL,
                        ]
                        .contains(code)
                    })
            }
        }
    }
}

/// There can be no connections to the database. Its text begins with the code.
#[derive(Debug, thiserror::Error)]
pub enum PoolSetupError {
    /// The URL does not name a database.
    #[error("database_url: not a database URL")]
    Url(#[source] tokio_postgres::Error),
    /// The connection would cross a network, where anybody could read and change what it carries.
    #[error(
        "database_not_local: {0} is neither a socket's directory nor loopback, and connections are not encrypted"
    )]
    NotLocal(String),
    /// The pool cannot be built.
    #[error("database_url: no pool of connections")]
    Build(#[from] deadpool_postgres::BuildError),
}

/// What every connection is opened with, whatever the database's own settings are: no name resolves to another
/// schema, a commit is durable when it returns, who waited for a turn sees what was committed in the meantime
/// (which a snapshot of the whole transaction would hide), nothing waits for ever, and no plan that was made for a
/// small table reads a large one from end to end.
const OPTIONS: &str = "-c search_path=public,pg_temp -c synchronous_commit=on \
     -c default_transaction_isolation=read\\ committed -c timezone=UTC -c lock_timeout=10s \
     -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s -c enable_seqscan=off -c jit=off";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a URL and adds what every connection is opened with.
///
/// # Errors
/// [`PoolSetupError`].
pub fn connection(url: &str) -> Result<tokio_postgres::Config, PoolSetupError> {
    let mut config: tokio_postgres::Config = url.parse().map_err(PoolSetupError::Url)?;
    if let Some(host) = remote_host(&config) {
        return Err(PoolSetupError::NotLocal(host));
    }
    let given = config.get_options().unwrap_or_default().to_owned();
    config.options(format!("{given} {OPTIONS}"));
    config.connect_timeout(CONNECT_TIMEOUT);
    config.application_name("lotgate-cloud");
    Ok(config)
}

/// The first host that is not this machine.
fn remote_host(config: &tokio_postgres::Config) -> Option<String> {
    let is_local = |name: &str| {
        name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    };
    let named = config.get_hosts().iter().find_map(|host| match host {
        Host::Tcp(name) if !is_local(name) => Some(name.clone()),
        _ => None,
    });
    let addressed = config.get_hostaddrs().iter().find(|address| !address.is_loopback());
    named.or_else(|| addressed.map(ToString::to_string))
}

/// A pool of at most `connections` connections; none is opened yet.
///
/// # Errors
/// [`PoolSetupError`].
pub fn pool(url: &str, connections: usize) -> Result<Pool, PoolSetupError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(connection(url)?, NoTls, recycling);
    Ok(Pool::builder(manager)
        .max_size(connections.max(1))
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(CONNECT_TIMEOUT))
        .create_timeout(Some(CONNECT_TIMEOUT))
        .build()?)
}

/// How long [`take_turn`] waits.
pub const TURN: Duration = Duration::from_secs(2);

/// Waits for the turn at `name`, until the end of the transaction, and for this and all further turns of the
/// transaction no longer than [`TURN`].
///
/// # Errors
/// [`DatabaseError`], when the turn does not come in time, too.
pub async fn take_turn(transaction: &Transaction<'_>, name: &str) -> Result<(), DatabaseError> {
    // In one statement and in this order: the lock is taken under the timeout that was set before it.
    let statement =
        "SELECT set_config('lock_timeout', $1, true), pg_advisory_xact_lock(hashtextextended($2, 0))";
    let statement = transaction.prepare_cached(statement).await?;
    let milliseconds = TURN.as_millis().to_string();
    transaction.execute(&statement, &[&milliseconds, &name]).await?;
    Ok(())
}

/// Waits for the turn at `name`, until the end of the transaction.
///
/// # Errors
/// [`DatabaseError`], when the turn does not come within the lock timeout, too.
pub async fn lock(transaction: &Transaction<'_>, name: &str) -> Result<(), DatabaseError> {
    let statement =
        transaction.prepare_cached("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").await?;
    transaction.execute(&statement, &[&name]).await?;
    Ok(())
}

/// A count as a column holds it. Nothing stored is ever larger; for a search it stands for "beyond all".
#[must_use]
pub fn big(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count as it was stored.
///
/// # Errors
/// [`DatabaseError::Column`] if it is negative.
pub fn count(value: i64, column: &'static str) -> Result<u64, DatabaseError> {
    u64::try_from(value).map_err(|_| DatabaseError::Column(column))
}

/// Text as a column of a projection holds it: Postgres has no NUL in text.
#[must_use]
pub fn text(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains('\0') { value.replace('\0', "\u{fffd}").into() } else { value.into() }
}

/// A time as a column holds it.
#[must_use]
pub fn to_system_time(time: Timestamp) -> SystemTime {
    let distance = Duration::from_millis(time.unix_ms().unsigned_abs());
    let there =
        if time.unix_ms() < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    there.unwrap_or(UNIX_EPOCH)
}

/// A time from a column or from the machine's clock, in whole milliseconds.
#[must_use]
pub fn from_system_time(time: SystemTime) -> Timestamp {
    let ms = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    };
    Timestamp::from_unix_ms(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_1970_survive_the_column() {
        for text in ["0000-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "2036-02-07T06:28:16.001Z"] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(from_system_time(to_system_time(time)), time);
        }
    }

    #[test]
    fn a_nul_never_reaches_a_text_column() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
        assert_eq!(text("plain"), "plain");
    }

    #[test]
    fn options_of_the_url_are_kept() {
        let config = connection("postgresql://a@localhost/d?options=-c%20work_mem%3D8MB").unwrap();
        let options = config.get_options().unwrap();
        assert!(options.starts_with("-c work_mem=8MB "), "{options}");
        assert!(options.contains("search_path=public,pg_temp"), "{options}");
        assert!(connection("nonsense").is_err());
    }

    #[test]
    fn a_database_beyond_this_machine_is_refused_while_connections_are_not_encrypted() {
        for local in
            ["%2Fvar%2Frun%2Fpostgresql", "localhost", "127.0.0.1:5433", "[::1]", "localhost,127.8.0.1"]
        {
            assert!(connection(&format!("postgresql://a@{local}/d")).is_ok(), "{local}");
        }
        for remote in [
            "postgresql://a@db.example/d",
            "postgresql://a@192.0.2.1/d",
            "postgresql://a@localhost,db.example/d",
            "postgresql://a@localhost.example/d",
            "host=localhost hostaddr=192.0.2.1 user=a",
        ] {
            let refused = connection(remote).map(|_| ()).unwrap_err().to_string();
            assert!(refused.starts_with("database_not_local: "), "{remote}: {refused}");
        }
    }
}

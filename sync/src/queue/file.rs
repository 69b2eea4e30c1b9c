//! The queue's file: how it is opened, keyed, checked and made (PROTOCOL §2).

use super::error::{OpenError, StorageError};
use crate::secure::QueueKey;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// SQLite before 3.51.3 can corrupt a write-ahead log when it is reset.
const OLDEST_SQLITE: i32 = 3_051_003;
/// "lotg": tells our files from other programs'.
const APPLICATION_ID: i32 = 0x6c6f_7467;
const PLAIN_HEADER: [u8; 16] = *b"SQLite format 3\0";

/// The schema, one step a version; a step never changes once it was released.
pub(super) const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/kiosk/0001_queue.sql")];

/// A queue's file and its key.
#[derive(Debug, Clone)]
pub(super) struct QueueFile {
    path: PathBuf,
    key: QueueKey,
}

impl QueueFile {
    pub(super) fn new(path: PathBuf, key: QueueKey) -> Self {
        Self { path, key }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for reading and checks that it is a queue that this program knows. Changes nothing: no
    /// recovery is written back, no checkpoint on closing.
    pub(super) fn open_to_read(&self) -> Result<Connection, OpenError> {
        self.check_header()?;
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(StorageError::from)?;
        check_known(&connection)?;
        Ok(connection)
    }

    /// Opens the file for writing, brings an older schema up to date, and reads every setting back.
    pub(super) fn open_to_write(&self) -> Result<Connection, OpenError> {
        self.check_header()?;
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        check_known(&connection)?;
        set_up_writer(&connection)?;
        migrate(&mut connection).map_err(StorageError::from)?;
        Ok(connection)
    }

    /// Makes a new, empty queue file at this path.
    pub(super) fn create(&self) -> Result<Connection, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = self.connect(flags)?;
        set_up_writer(&connection)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(StorageError::from)?;
        migrate(&mut connection).map_err(StorageError::from)?;
        Ok(connection)
    }

    fn check_header(&self) -> Result<(), OpenError> {
        let mut file = std::fs::File::open(&self.path).map_err(OpenError::Io)?;
        let mut header = [0; 16];
        match file.read_exact(&mut header) {
            Ok(()) if header == PLAIN_HEADER => Err(OpenError::NotEncrypted),
            Ok(()) => Ok(()),
            // SQLite would take an empty file for a new database.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(OpenError::KeyMismatch),
            Err(error) => Err(OpenError::Io(error)),
        }
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, OpenError> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(OpenError::SqliteTooOld(rusqlite::version_number()));
        }
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(StorageError::from)?;
        let hex = Zeroizing::new(hex::encode(self.key.bytes()));
        let key = Zeroizing::new(format!("PRAGMA key = \"x'{}'\"", hex.as_str()));
        connection.execute_batch(&key).map_err(StorageError::from)?;
        connection.execute_batch("PRAGMA cipher_log_level = NONE").map_err(StorageError::from)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(StorageError::from)?;
        connection.set_prepared_statement_cache_capacity(32);
        // A build without the cipher would take `key` for an unknown setting and write plain text.
        let cipher: Result<String, _> = connection.query_row("PRAGMA cipher_version", [], |row| row.get(0));
        if cipher.is_ok_and(|version| !version.is_empty()) {
            Ok(connection)
        } else {
            Err(OpenError::Setting("key"))
        }
    }
}

/// The first read shows whether the key fits; then whose file it is.
fn check_known(connection: &Connection) -> Result<(), OpenError> {
    let number = |pragma: &str| -> Result<i32, OpenError> {
        let value = connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0));
        value
            .map_err(StorageError::from)
            .map_err(|error| if error.is_not_a_database() { OpenError::KeyMismatch } else { error.into() })
    };
    if number("application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign);
    }
    let found = u32::try_from(number("user_version")?).map_err(|_| OpenError::Foreign)?;
    let known = known_version();
    if found > known { Err(OpenError::NewerVersion { found, known }) } else { Ok(()) }
}

fn known_version() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

fn set_up_writer(connection: &Connection) -> Result<(), OpenError> {
    // Checkpoints are the writer's own, after the answers; a growing log is cut back to 8 MiB.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF;
             PRAGMA recursive_triggers = ON;
             PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = 8388608;",
        )
        .map_err(StorageError::from)?;
    let mode: String =
        connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(StorageError::from)?;
    if mode != "wal" {
        return Err(OpenError::Setting("journal_mode"));
    }
    let settings = [
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("recursive_triggers", 1),
        ("wal_autocheckpoint", 0),
    ];
    for (pragma, wanted) in settings {
        let set: i64 = connection
            .query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
            .map_err(StorageError::from)?;
        if set != wanted {
            return Err(OpenError::Setting(pragma));
        }
    }
    Ok(())
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done: usize = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if done < MIGRATIONS.len() {
        for step in MIGRATIONS.iter().skip(done) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", known_version())?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::MIGRATIONS;
    use lotgate_domain::ids::Hash;

    #[test]
    fn released_migrations_are_frozen() {
        let frozen = ["bb4edaaf772590ce537f9fa3268f316b6c58ca0cea2166811f052ca32a58a8fe"];
        let hashes = MIGRATIONS.map(|sql| Hash::of(sql.as_bytes()).to_string());
        assert_eq!(hashes, frozen, "a released step never changes; add a new one");
    }
}

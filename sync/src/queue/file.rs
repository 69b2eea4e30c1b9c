//! The queue's file: how it is opened, keyed, checked and made (PROTOCOL §2).

use super::error::{OpenError, StorageError};
use crate::secure::{Places, QueueKey};
use crate::storage::Storage;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::PathBuf;
use std::sync::Arc;
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
    storage: Arc<dyn Storage>,
    path: PathBuf,
    key: QueueKey,
}

impl QueueFile {
    pub(super) fn new(places: &Places, path: PathBuf, key: QueueKey) -> Self {
        Self { storage: Arc::clone(&places.storage), path, key }
    }

    pub(super) fn key(&self) -> &QueueKey {
        &self.key
    }

    pub(super) fn exists(&self) -> bool {
        self.storage.exists(&self.path)
    }

    /// Opens the file for reading and checks that it is a queue that this program knows. Changes nothing: no
    /// recovery is written back, no checkpoint on closing.
    pub(super) fn open_to_read(&self) -> Result<Connection, OpenError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(StorageError::from)?;
        check_known(&connection)?;
        Ok(connection)
    }

    /// Opens the file for writing, brings an older schema up to date, and reads every setting back.
    pub(super) fn open_to_write(&self) -> Result<Connection, OpenError> {
        self.sync_log().map_err(OpenError::Io)?;
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        check_known(&connection)?;
        set_up_writer(&connection)?;
        #[cfg(feature = "fault-vfs")]
        if let Some(mode) = self.storage.turned_down() {
            connection.pragma_update(None, "synchronous", mode).map_err(StorageError::from)?;
        }
        migrate(&mut connection, &MIGRATIONS).map_err(StorageError::from)?;
        // The log has a name now; SQLite syncs it with the first commit, but does not look whether that worked.
        self.sync_names().map_err(OpenError::Io)?;
        Ok(connection)
    }

    /// Makes a new, empty queue file at this path.
    pub(super) fn create(&self) -> Result<Connection, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = self.connect(flags)?;
        set_up_writer(&connection)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(StorageError::from)?;
        migrate(&mut connection, &MIGRATIONS).map_err(StorageError::from)?;
        Ok(connection)
    }

    /// What is found from here on must be found by every later opening too. A process that was killed leaves
    /// operations in the log that were never synced, a failed sync leaves some that the system believes to be
    /// on the disk: so the log is written over itself and synced before anything in it is taken for committed.
    /// A log that was removed could come back with a power cut: [`Self::sync_names`] ends that.
    fn sync_log(&self) -> std::io::Result<()> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        match self.storage.rewrite(log.as_ref()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_names(&self) -> std::io::Result<()> {
        self.path.parent().map_or(Ok(()), |dir| self.storage.sync_dir(dir))
    }

    /// Tells a plain or empty file, which SQLite would take for a new database, from an encrypted one. Only for
    /// a process without a connection to the file: closing the file again would end its locks.
    pub(super) fn check_header(&self) -> Result<(), OpenError> {
        let header = self.storage.read_start(&self.path, PLAIN_HEADER.len()).map_err(OpenError::Io)?;
        if header == PLAIN_HEADER {
            Err(OpenError::NotEncrypted)
        } else if header.len() < PLAIN_HEADER.len() {
            Err(OpenError::KeyMismatch)
        } else {
            Ok(())
        }
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, OpenError> {
        prepare_cipher();
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(OpenError::SqliteTooOld(rusqlite::version_number()));
        }
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self.storage.vfs() {
            None => Connection::open_with_flags(&self.path, flags),
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.path, flags, vfs),
        };
        let connection = connection.map_err(StorageError::from)?;
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
/// Takes a key once before any other connection does: the first ones of a process, opened at the same moment by
/// several threads, can find the cipher half prepared and be refused their key.
fn prepare_cipher() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // What fails here fails again, and is told, where it is needed.
        if let Ok(connection) = Connection::open_in_memory() {
            let _ = connection.execute_batch("PRAGMA key = 'none'; SELECT count(*) FROM sqlite_schema");
        }
    });
}

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

/// Takes the steps that the file has not seen yet: all of them or none.
fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done: usize = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if done < steps.len() {
        for step in steps.iter().skip(done) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", steps.len())?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::{MIGRATIONS, QueueFile, migrate};
    use crate::secure::{Secure, SystemRandom};
    use crate::storage::fault::Disk;
    use lotgate_domain::ids::Hash;
    use rusqlite::Connection;

    #[test]
    fn released_migrations_are_frozen() {
        let frozen = ["7567336ee70b3fa16d906656cf2fbca142d4bf1095662f0f76807bd13057e82b"];
        let hashes = MIGRATIONS.map(|sql| Hash::of(sql.as_bytes()).to_string());
        assert_eq!(hashes, frozen, "a released step never changes; add a new one");
    }

    /// A step that rewrites what is there and adds to it.
    const NEXT: &str = "UPDATE probe SET filler = zeroblob(20000);
         CREATE TABLE later (id INTEGER PRIMARY KEY, filler BLOB) STRICT;
         INSERT INTO later VALUES (1, zeroblob(30000));";

    fn station(disk: &Disk) -> QueueFile {
        let places = disk.places("data");
        let secure = Secure::prepare(places.clone(), &SystemRandom).unwrap();
        QueueFile::new(&places, places.queue_file(), secure.queue_key().clone())
    }

    impl QueueFile {
        /// The file of any version.
        fn open_any(&self) -> Result<Connection, super::OpenError> {
            let connection = self.connect(super::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            super::set_up_writer(&connection)?;
            Ok(connection)
        }
    }

    fn old_file(seed: u64) -> (Disk, Connection) {
        let disk = Disk::new(seed);
        let connection = station(&disk).create().unwrap();
        connection.execute("INSERT INTO probe VALUES (1, zeroblob(9000))", []).unwrap();
        (disk, connection)
    }

    /// Bytes in the old table and in the new one, if there is one.
    fn contents(connection: &Connection) -> (i64, Option<i64>) {
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let whole: String = connection.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
        (number("SELECT length(filler) FROM probe").unwrap(), number("SELECT length(filler) FROM later").ok())
    }

    #[test]
    fn a_power_cut_during_a_migration_leaves_the_old_schema_or_the_new_one() {
        let steps = [&MIGRATIONS[..], &[NEXT]].concat();
        let mut seen = [false; 2];
        for n in 1.. {
            let (disk, mut connection) = old_file(n);
            disk.cut_power_at(n);
            let migrated = migrate(&mut connection, &steps);
            let cut = disk.is_off();
            assert!(migrated.is_ok() || cut, "{migrated:?}");
            drop(connection);
            disk.power_on();
            let mut connection = station(&disk).open_any().unwrap();
            let found = contents(&connection);
            assert!([(9_000, None), (20_000, Some(30_000))].contains(&found), "change {n}: {found:?}");
            assert!(found.1.is_some() || migrated.is_err(), "change {n}: it was done and is undone");
            seen[usize::from(found.1.is_some())] = true;
            migrate(&mut connection, &steps).unwrap();
            assert_eq!(contents(&connection), (20_000, Some(30_000)), "change {n}");
            if !cut {
                break;
            }
        }
        assert_eq!(seen, [true; 2], "old and new were both met");
    }

    #[test]
    fn a_disk_that_is_full_during_a_migration_leaves_the_old_schema_until_there_is_room() {
        let steps = [&MIGRATIONS[..], &[NEXT]].concat();
        for n in 1.. {
            let (disk, mut connection) = old_file(n);
            disk.fill_at(n);
            let migrated = migrate(&mut connection, &steps);
            disk.limit_space(None);
            if migrated.is_ok() {
                assert!(n > 5, "the disk was never full");
                break;
            }
            assert_eq!(contents(&connection), (9_000, None), "write {n}");
            migrate(&mut connection, &steps).unwrap();
            assert_eq!(contents(&connection), (20_000, Some(30_000)), "write {n}");
        }
    }
}

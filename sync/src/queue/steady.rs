//! Reading a file that has bad pages. The cipher never trusts a connection again that met a page which it cannot
//! decrypt: whatever is read on it from then on is zeros, with an error or without. So each thing is read on a
//! connection that met no bad page before, and only what lies on a bad page itself is passed over.

use super::error::{QueueError, StorageError};
use super::file::QueueFile;
use rusqlite::{Connection, Error, ErrorCode, Row};
use std::sync::Arc;

/// How many rows are read at once as long as all of them can be.
const AT_ONCE: u64 = 32;
/// Where the end of a table cannot be read: after so many places without a row it is taken to be there.
const LONGEST_GAP: u64 = 4_096;

/// Reads from one file, each on a connection that met no bad page before. As long as none is met, all of them are of
/// one snapshot.
pub(super) struct Steady<'a> {
    file: &'a QueueFile,
    connection: Option<Connection>,
}

impl<'a> Steady<'a> {
    pub(super) fn new(file: &'a QueueFile) -> Self {
        Self { file, connection: None }
    }

    /// What `work` reads; `None` if it lies on a bad page, or is not of its form.
    ///
    /// # Errors
    /// [`QueueError::Open`] if the file cannot be opened, [`QueueError::Storage`] if reading fails for another reason
    /// than what is in the file: it may work again.
    pub(super) fn read<T>(
        &mut self,
        work: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, QueueError> {
        loop {
            let (connection, is_fresh) = match self.connection.take() {
                Some(connection) => (connection, false),
                None => (self.open()?, true),
            };
            let done = work(&connection);
            match done {
                Ok(value) if is_sound(&connection) => {
                    self.connection = Some(connection);
                    return Ok(Some(value));
                }
                // A read that failed leaves a connection that trusts nothing, too: the error alone tells.
                Err(error) if !is_of_the_file(&error) => return Err(StorageError::from(error).into()),
                _ if is_fresh => return Ok(None),
                _ => {}
            }
        }
    }

    /// Goes along `columns` of a table, by rowid, which is column 0. `each` hears what `row` makes of a row, or `None`
    /// for one that cannot be read, and says whether to go on. Without a known last one, the gap that it ends with is
    /// told by its first place only. Gives whether it came to the end.
    ///
    /// # Errors
    /// As [`Self::read`], and those of `each`.
    pub(super) fn walk<T, E: From<QueueError>>(
        &mut self,
        (table, columns): (&str, &str),
        (first, last): (u64, Option<u64>),
        row: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        mut each: impl FnMut(u64, Option<T>) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let select = format!("SELECT rowid, {columns} FROM {table} WHERE rowid");
        let several = format!("{select} BETWEEN ?1 AND ?2 ORDER BY rowid");
        // A range would look at the row after it, too, which may lie on another page.
        let one = format!("{select} = ?1 AND ?1 = ?2");
        let read = |connection: &Connection, (first, last): (u64, u64)| {
            let mut statement = connection.prepare_cached(if first == last { &one } else { &several })?;
            let rows = statement.query_map((first, last), |found| Ok((found.get(0)?, Some(row(found)?))))?;
            rows.collect::<rusqlite::Result<Vec<(u64, Option<T>)>>>()
        };
        let (mut next, mut reached, mut gap) = (first, first, Vec::new());
        // Without the schema nothing can be found in any place.
        let known = self.read(|connection| connection.prepare_cached(&one).map(drop))?.is_some();
        gap.extend((!known).then_some(first));
        while known && last.map_or(next.saturating_sub(reached) < LONGEST_GAP, |last| next <= last) {
            let through = next.saturating_add(AT_ONCE - 1).min(last.unwrap_or(u64::MAX));
            let rows = match self.read(|connection| read(connection, (next, through)))? {
                Some(rows) => rows,
                None => self.one_by_one((next, through), read)?,
            };
            for (rowid, found) in rows {
                if found.is_none() && last.is_none() {
                    gap.push(rowid);
                    continue;
                }
                reached = rowid;
                let told = gap.drain(..).map(|rowid| (rowid, None)).chain([(rowid, found)]);
                for (rowid, found) in told {
                    if !each(rowid, found)? {
                        return Ok(false);
                    }
                }
            }
            next = through.saturating_add(1);
        }
        gap.first().map_or(Ok(true), |rowid| each(*rowid, None))
    }

    /// Rows between two rowids of which some cannot be read.
    fn one_by_one<T>(
        &mut self,
        (first, last): (u64, u64),
        read: impl Fn(&Connection, (u64, u64)) -> rusqlite::Result<Vec<(u64, Option<T>)>>,
    ) -> Result<Vec<(u64, Option<T>)>, QueueError> {
        let mut rows = Vec::new();
        for rowid in first..=last {
            match self.read(|connection| read(connection, (rowid, rowid)))? {
                Some(found) => rows.extend(found),
                None => rows.push((rowid, None)),
            }
        }
        Ok(rows)
    }

    /// The first and the last rowid of a table; where they cannot be read, 1 and nothing.
    pub(super) fn bounds(&mut self, table: &str) -> Result<(u64, Option<u64>), QueueError> {
        let mut end = |which: &str, else_: u64| {
            let select = format!("SELECT coalesce({which}(rowid), {else_}) FROM {table}");
            self.read(|connection| connection.query_row(&select, [], |row| row.get::<_, u64>(0)))
        };
        Ok((end("min", 1)?.unwrap_or(1), end("max", 0)?))
    }

    fn open(&self) -> Result<Connection, QueueError> {
        let connection = self.file.open_to_read().map_err(|error| QueueError::Open(Arc::new(error)))?;
        connection.execute_batch("BEGIN").map_err(StorageError::from)?;
        Ok(connection)
    }
}

/// Whether a connection met no bad page yet.
pub(super) fn is_sound(connection: &Connection) -> bool {
    // Prepared anew each time: the answer is fixed when the statement is.
    let status = connection.query_row("PRAGMA cipher_status", [], |row| row.get::<_, String>(0));
    status.is_ok_and(|status| status == "1")
}

/// Whether what is in the file is at fault, and not the reading of it.
fn is_of_the_file(error: &Error) -> bool {
    match error {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => true,
        error => {
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Steady;
    use crate::queue::error::QueueError;
    use crate::queue::file::QueueFile;
    use crate::secure::{Secure, SystemRandom};
    use crate::storage::fault::Disk;
    use rusqlite::Connection;

    const ROWS: u64 = 200;
    const PAGE: usize = 4_096;

    /// A file with a table whose rows take a page each, in part with one overflow page.
    fn filled(disk: &Disk) -> QueueFile {
        let places = disk.places("data");
        let secure = Secure::prepare(places.clone(), &SystemRandom).unwrap();
        let file = QueueFile::new(&places, places.queue_file(), secure.queue_key().clone());
        let connection = file.create().unwrap();
        connection
            .execute_batch(&format!(
                "INSERT INTO epoch VALUES (1, zeroblob(16), 1, zeroblob(32), NULL);
                 WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS})
                 INSERT INTO receipt SELECT n, randomblob(32), 1, n, 0, randomblob(CASE n % 3 WHEN 0 THEN 6900 \
                   ELSE 2900 END) FROM n;
                 PRAGMA wal_checkpoint(TRUNCATE);"
            ))
            .unwrap();
        file
    }

    fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Vec<u8>> {
        row.get(1)
    }

    fn walk(file: &QueueFile) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut steady = Steady::new(file);
        let bounds = steady.bounds("receipt").unwrap();
        let mut found = Vec::new();
        let ended = steady.walk::<_, QueueError>(("receipt", "statement"), bounds, row, |rowid, bytes| {
            found.push((rowid, bytes));
            Ok(true)
        });
        assert!(ended.unwrap());
        found
    }

    /// Pages of the table's rows, with the row of each.
    fn pages(connection: &Connection) -> Vec<(usize, u64)> {
        let select = "SELECT pageno, path FROM dbstat WHERE name = 'receipt' AND pagetype <> 'internal' \
                      ORDER BY path";
        let mut statement = connection.prepare(select).unwrap();
        let found = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).unwrap();
        let found: Vec<(usize, String)> = found.map(Result::unwrap).collect();
        let mut leaf = 0;
        let number = |(page, path): (usize, String)| {
            leaf += u64::from(!path.contains('+'));
            (page, leaf)
        };
        found.into_iter().map(number).collect()
    }

    #[test]
    fn a_bad_page_takes_only_the_rows_that_lie_on_it() {
        let disk = Disk::new(1);
        let file = filled(&disk);
        let whole = walk(&file);
        assert_eq!(whole.len() as u64, ROWS);
        let pages = pages(&file.open_to_read().unwrap());
        assert!(pages.len() as u64 > ROWS && pages.last().unwrap().1 == ROWS, "a row lies on each");
        for (page, row) in pages.into_iter().step_by(5) {
            let offset = (page - 1) * PAGE + 2_000;
            assert!(disk.corrupt("data/queue.db", offset));
            let found = walk(&file);
            disk.corrupt("data/queue.db", offset);
            let expected: Vec<_> =
                whole.iter().map(|(n, bytes)| (*n, bytes.clone().filter(|_| *n != row))).collect();
            assert!(found == expected, "page {page} of row {row}");
        }
    }

    #[test]
    fn a_disk_that_cannot_be_read_is_no_bad_page() {
        let disk = Disk::new(2);
        let file = filled(&disk);
        let mut steady = Steady::new(&file);
        let bounds = steady.bounds("receipt").unwrap();
        disk.cut_power();
        let walked = steady.walk::<_, QueueError>(("receipt", "statement"), bounds, row, |_, _| Ok(true));
        assert!(
            matches!(walked, Err(QueueError::Storage(_))),
            "it would be passed over for ever: {walked:?}"
        );
        assert!(matches!(Steady::new(&file).bounds("receipt"), Err(QueueError::Open(_))));
    }
}

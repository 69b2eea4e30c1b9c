//! Which database library the program is built on; for `--version` and `doctor`.

/// Versions of the database library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryVersions {
    /// SQLite inside SQLCipher.
    pub sqlite: String,
    /// SQLCipher; empty if the library does not say.
    pub sqlcipher: String,
}

/// Asks the library itself, not the build.
#[must_use]
pub fn library_versions() -> LibraryVersions {
    let cipher = || -> rusqlite::Result<String> {
        rusqlite::Connection::open_in_memory()?.query_row("PRAGMA cipher_version", [], |row| row.get(0))
    };
    LibraryVersions { sqlite: rusqlite::version().to_owned(), sqlcipher: cipher().unwrap_or_default() }
}

//! Where the file is, and how a session opens it.
//!
//! Pragmas are set before any transaction begins: inside one, `foreign_keys` does nothing and says nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use branchline_core::ports::DatabaseError;
use rusqlite::{Connection, OpenFlags};

use super::error::failed;
use super::schema::Cache;
use crate::Omitted;

/// How long SQLite itself waits for a lock before it says busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a lock is asked for.
const LOCK_TRIES: u32 = 3;

/// Bytes beyond which the WAL file is cut down again after a large apply.
const WAL_BYTES_KEPT: u32 = 64 << 20;

const READ_PRAGMAS: &str =
    "PRAGMA query_only = ON; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;";

const PACK_PRAGMAS: &str =
    "PRAGMA temp_store = FILE; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;";

/// `synchronous = FULL`: a receipt says that the rows are there, also after a power cut. The page cache is 8 MiB.
const WRITE_PRAGMAS: &str = "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = FILE;
    PRAGMA main.cache_size = -8192;
    PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;";

/// The file of an application database.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Its catalogue, as it was last read.
    pub(super) catalogue: Cache,
}

impl Place {
    /// Reads `sqlite:PATH`.
    pub(super) fn parse(url: &str) -> Result<Self, DatabaseError> {
        let refused = |reason: &str| Err(DatabaseError::Url { reason: reason.to_owned() });
        let Some(path) = url.strip_prefix("sqlite:") else {
            return refused("it does not begin with sqlite:");
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        // A URL's path begins with a slash, a Windows path with its drive: sqlite:///C:/shop.db is C:/shop.db.
        let path = path.strip_prefix('/').filter(|rest| has_drive(rest)).unwrap_or(path);
        if path.is_empty() {
            return refused("it names no file; write sqlite:path/to/file.db");
        }
        if path.contains('\0') {
            return refused("a path cannot hold NUL");
        }
        if path.eq_ignore_ascii_case(":memory:") {
            return refused("a database in memory is nobody else's; write sqlite:path/to/file.db");
        }
        // SQLite would read a name such as file:x?mode=memory as a URI of its own.
        let path = if path.starts_with("file:") { Path::new(".").join(path) } else { PathBuf::from(path) };
        Ok(Self { path, catalogue: Cache::default() })
    }

    /// The same file, without columns that the settings leave out.
    pub(super) fn omitting(self, omitted: Vec<Omitted>) -> Self {
        Self { catalogue: Cache::omitting(omitted), ..self }
    }

    /// Asks something on a connection of its own. None is kept between two questions: a file that is put back from a copy
    /// while a connection is open would be read together with what was written to the old one.
    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        question(&open_for_reading(self)?)
    }

    fn unreachable(&self, message: impl Into<String>) -> DatabaseError {
        DatabaseError::Unreachable { address: self.path.display().to_string(), message: message.into() }
    }
}

fn has_drive(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':'
}

/// Checks that the file is a database that we may write, and switches it to WAL where that can be done now.
pub(super) fn check(place: &Place) -> Result<(), DatabaseError> {
    let metadata = std::fs::metadata(&place.path).map_err(|error| place.unreachable(error.to_string()))?;
    if metadata.is_dir() {
        return Err(place.unreachable("it is a folder, not a file"));
    }
    if metadata.permissions().readonly() || folder_is_read_only(&place.path) {
        return Err(DatabaseError::ReadOnly);
    }
    let connection = open_for_writing(place)?;
    let count: Result<i64, _> =
        connection.query_row("SELECT count(*) FROM main.sqlite_schema", [], |row| row.get(0));
    count.map_err(|error| unreadable(place, error))?;
    if connection.is_readonly("main").map_err(failed)? {
        return Err(DatabaseError::ReadOnly);
    }
    switch_to_wal(&connection)
}

/// SQLite makes its journal beside the file. Elsewhere than on Unix a folder's read-only mark means nothing.
fn folder_is_read_only(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    cfg!(unix) && std::fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().readonly())
}

fn unreadable(place: &Place, error: rusqlite::Error) -> DatabaseError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            place.unreachable("it is not a SQLite database, or is encrypted")
        }
        Some(rusqlite::ErrorCode::CannotOpen) => place.unreachable("it cannot be opened"),
        _ => failed(error),
    }
}

fn switch_to_wal(connection: &Connection) -> Result<(), DatabaseError> {
    let mode = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0));
    if mode("PRAGMA main.journal_mode").map_err(failed)? == "wal" {
        return Ok(());
    }
    match mode("PRAGMA main.journal_mode = WAL").map_err(failed) {
        Ok(_) => Ok(()),
        Err(DatabaseError::Busy { message }) => {
            tracing::warn!(%message, "the database is in use and not in WAL mode: snapshots make its writers wait");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A connection that only reads.
pub(super) fn open_for_reading(place: &Place) -> Result<Connection, DatabaseError> {
    // Not read-only: the first reader of a WAL file that was left behind has to recover it.
    let connection = open(place)?;
    connection.execute_batch(READ_PRAGMAS).map_err(|error| unreadable(place, error))?;
    Ok(connection)
}

/// A connection that reads a position: it reads the shop's tables, and writes to temporary tables of its own.
///
/// # Errors
/// [`DatabaseError::Busy`] where the file is not in WAL mode and cannot be switched now: a snapshot would keep the pack
/// itself from writing.
pub(super) fn open_for_packing(place: &Place) -> Result<Connection, DatabaseError> {
    let connection = open(place)?;
    connection.execute_batch(PACK_PRAGMAS).map_err(|error| unreadable(place, error))?;
    switch_to_wal(&connection)?;
    let mode: String =
        connection.query_row("PRAGMA main.journal_mode", [], |row| row.get(0)).map_err(failed)?;
    if mode == "wal" {
        return Ok(connection);
    }
    let message =
        format!("the file is in {mode} mode, and in use; changes are packed once it is in WAL mode");
    Err(DatabaseError::Busy { message })
}

/// A connection that applies, or writes to the ledger.
pub(super) fn open_for_writing(place: &Place) -> Result<Connection, DatabaseError> {
    let connection = open(place)?;
    connection.execute_batch(WRITE_PRAGMAS).map_err(|error| unreadable(place, error))?;
    connection
        .pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)
        .map_err(|error| unreadable(place, error))?;
    Ok(connection)
}

fn open(place: &Place) -> Result<Connection, DatabaseError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(&place.path, flags).map_err(|error| unreadable(place, error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    Ok(connection)
}

/// Runs what needs a lock; it is busy only after three tries, each as long as SQLite waits.
pub(super) fn three_times(mut work: impl FnMut() -> Result<(), DatabaseError>) -> Result<(), DatabaseError> {
    let mut tries = 1;
    loop {
        match work() {
            Err(DatabaseError::Busy { .. }) if tries < LOCK_TRIES => tries += 1,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_as_they_are() {
        for (url, path) in [
            ("sqlite:shop.db", "shop.db"),
            ("sqlite:/srv/shop.db", "/srv/shop.db"),
            ("sqlite:///srv/shop.db", "/srv/shop.db"),
            ("sqlite:C:\\Shop Data\\shop.db", "C:\\Shop Data\\shop.db"),
            ("sqlite:///C:/shop.db", "C:/shop.db"),
            ("sqlite:50%20off?.db", "50%20off?.db"),
            ("sqlite:file:x?mode=memory", "./file:x?mode=memory"),
        ] {
            assert_eq!(Place::parse(url).unwrap().path, PathBuf::from(path), "{url}");
        }
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for url in ["sqlite:", "sqlite://", "sqlite::memory:", "sqlite:a\0b", "mysql://x"] {
            assert!(matches!(Place::parse(url), Err(DatabaseError::Url { .. })), "{url:?}");
        }
    }
}

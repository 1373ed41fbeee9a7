//! Opening `state.db`: who may read the file, and how lasting a commit is.
//!
//! * WAL, so that a command line reads while `serve` writes; `synchronous=FULL`, so that a commit is on disk when
//!   it answers (and `fullfsync`, without which macOS only asks the drive nicely).
//! * The file is made with mode 0600 before SQLite sees it; its `-wal` and `-shm` take the mode from it.
//! * A writer brings the tables to the current version; a reader refuses another version.

use std::path::Path;
use std::time::Duration;

use branchline_core::ports::StateError;
use rusqlite::{Connection, OpenFlags};

use crate::table::{InTable, broken};
use crate::{migrations, platform};

/// The file's name in its folder.
pub(crate) const FILE_NAME: &str = "state.db";

/// What messages name where no one table is meant.
pub(crate) const WHOLE: &str = "(all)";

/// How long a statement waits for another process's commit; commits here take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const WRITER_SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA foreign_keys = ON;
    PRAGMA trusted_schema = OFF;";

const READER_SETTINGS: &str = "
    PRAGMA query_only = ON;
    PRAGMA trusted_schema = OFF;";

/// Opens to read and write; makes the folder, the file and the tables where they are missing.
pub(crate) fn open(folder: &Path) -> Result<Connection, StateError> {
    let file = folder.join(FILE_NAME);
    platform::make_private_folder(folder).map_err(|error| unusable(folder, &error))?;
    platform::make_private_file(&file).map_err(|error| unusable(&file, &error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&file, flags).in_table(WHOLE)?;
    connection.busy_timeout(BUSY_TIMEOUT).in_table(WHOLE)?;
    // Looked at first: a file that a newer version wrote is not so much as switched to another journal.
    migrations::refuse_foreign(&connection)?;
    connection.execute_batch(WRITER_SETTINGS).in_table(WHOLE)?;
    migrations::migrate(&mut connection)?;
    Ok(connection)
}

/// Opens to read, beside a process that writes.
pub(crate) fn open_to_read(folder: &Path) -> Result<Connection, StateError> {
    let file = folder.join(FILE_NAME);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&file, flags)
        .map_err(|error| broken(WHOLE, format_args!("{}: {error}", file.display())))?;
    connection.busy_timeout(BUSY_TIMEOUT).in_table(WHOLE)?;
    connection.execute_batch(READER_SETTINGS).in_table(WHOLE)?;
    migrations::refuse_other_version(&connection)?;
    Ok(connection)
}

fn unusable(path: &Path, error: &std::io::Error) -> StateError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StateError::DiskFull,
        _ => StateError::Broken { message: format!("{}: {error}", path.display()) },
    }
}

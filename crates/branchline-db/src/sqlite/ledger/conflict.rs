//! `branchline_conflict`: two versions of one row that were made without knowledge of each other. Rows are only added.
//!
//! Both images are kept as they would stand in a backup, with their versions; of a row that is not there the image is
//! NULL, and of one that no pack had stamped there is no version. When it was decided is told by the record of the
//! backup.

use branchline_core::ports::DatabaseError;
use rusqlite::Connection;

use super::super::error::failed;

pub(in super::super) const NAME: &str = "branchline_conflict";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_conflict (
    id INTEGER PRIMARY KEY,
    table_name TEXT NOT NULL,
    key TEXT NOT NULL,
    backup TEXT NOT NULL,
    source TEXT NOT NULL,
    verdict TEXT NOT NULL,
    ours BLOB,
    ours_at INTEGER,
    theirs BLOB NOT NULL
)";
const COUNT: &str = "SELECT count(*) FROM main.branchline_conflict";

/// How many are on record.
pub(in super::super) fn count(connection: &Connection) -> Result<u64, DatabaseError> {
    let count: i64 = connection.query_row(COUNT, [], |row| row.get(0)).map_err(failed)?;
    Ok(count.unsigned_abs())
}

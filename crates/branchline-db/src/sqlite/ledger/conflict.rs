//! `branchline_conflict`: two versions of one row that were made without knowledge of each other. Rows are only added.
//!
//! Both images are kept as they would stand in a backup, with their versions; of a row that is not there the image is
//! NULL, and of one that no pack had stamped there is no version. When it was decided is told by the record of the
//! backup.

use branchline_core::id::{BackupId, ServerId};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;
use rusqlite::{Connection, params};

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

const ADD: &str = "INSERT INTO main.branchline_conflict
    (table_name, key, backup, source, verdict, ours, ours_at, theirs) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// A conflict that was decided.
#[derive(Debug)]
pub(in super::super) struct Conflict<'a> {
    pub(in super::super) table: &'a TableName,
    pub(in super::super) key: &'a str,
    /// The backup that brought the other side.
    pub(in super::super) backup: BackupId,
    pub(in super::super) source: &'a ServerId,
    /// What was decided: `take_over`, `keep` or `take_as_ours`.
    pub(in super::super) verdict: &'a str,
    pub(in super::super) ours: Option<Vec<u8>>,
    /// When our change was made, where no pack had stamped it.
    pub(in super::super) ours_at: Option<i64>,
    pub(in super::super) theirs: Vec<u8>,
}

/// Puts a conflict on record.
pub(in super::super) fn add(connection: &Connection, conflict: &Conflict<'_>) -> Result<(), DatabaseError> {
    let values = params![
        conflict.table.as_str(),
        conflict.key,
        conflict.backup.to_string(),
        conflict.source.as_str(),
        conflict.verdict,
        conflict.ours,
        conflict.ours_at,
        conflict.theirs,
    ];
    connection.execute(ADD, values).map(drop).map_err(failed)
}

/// How many are on record.
pub(in super::super) fn count(connection: &Connection) -> Result<u64, DatabaseError> {
    let count: i64 = connection.query_row(COUNT, [], |row| row.get(0)).map_err(failed)?;
    Ok(count.unsigned_abs())
}

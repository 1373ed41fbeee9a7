//! `branchline_change`: the change log. Triggers write to it, a pack consumes it.
//!
//! | column | |
//! |---|---|
//! | `table_id` | the table, as `captured` numbers it |
//! | `at` | when, in microseconds, later than the ledger's clock; 0 for a row that was there before its table was captured |
//! | `k0` … `k7` | the key's values as they are: the columns have no type, and so change nothing |
//! | `victim` | 1 where the row may have been replaced by another one: only if it is gone at the pack was it changed |
//! | `was_life`, `was_generation` | the dot that the change had in the life before |
//!
//! Whether a change is an update or a deletion is not noted: the pack looks whether the row is there.

use branchline_core::ports::DatabaseError;
use branchline_core::version::ChangeTime;
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::super::error::failed;

pub(in super::super) const NAME: &str = "branchline_change";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_change (
    id INTEGER PRIMARY KEY,
    table_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    k0, k1, k2, k3, k4, k5, k6, k7,
    victim INTEGER,
    was_life INTEGER,
    was_generation INTEGER
)";

/// The time of a change that is made now. It stands in the triggers too: nothing in it is newer than SQLite 3.8.
pub(in super::super) const NOW: &str =
    "(SELECT max(CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER),
    clock + 1) FROM branchline_capture)";

const IS_EMPTY: &str = "SELECT NOT EXISTS (SELECT 1 FROM main.branchline_change)";
const COUNT: &str = "SELECT count(*) FROM main.branchline_change";
const CLEAR: &str = "DELETE FROM main.branchline_change";
const FORGET_TABLE: &str = "DELETE FROM main.branchline_change WHERE table_id = ?1";
const SET_WAS: &str = "UPDATE main.branchline_change SET was_life = ?1, was_generation = ?2
    WHERE was_life IS NULL AND at <= ?3";
const LAST: &str = "SELECT max(at) FROM main.branchline_change";

/// Whether nothing waits for a pack.
pub(in super::super) fn is_empty(connection: &Connection) -> Result<bool, DatabaseError> {
    connection.query_row(IS_EMPTY, [], |row| row.get(0)).map_err(failed)
}

/// How many entries wait.
pub(in super::super) fn count(connection: &Connection) -> Result<u64, DatabaseError> {
    let count: i64 = connection.query_row(COUNT, [], |row| row.get(0)).map_err(failed)?;
    Ok(count.unsigned_abs())
}

/// Notes changes that are made now; each key's values as they are stored.
pub(in super::super) fn note_now(
    connection: &Connection,
    table: i64,
    keys: &[Vec<Value>],
) -> Result<(), DatabaseError> {
    let Some(first) = keys.first() else { return Ok(()) };
    let names: Vec<String> = (0..first.len()).map(|place| format!("k{place}")).collect();
    let values: Vec<String> = (0..first.len()).map(|place| format!("?{}", place + 2)).collect();
    let (names, values) = (names.join(", "), values.join(", "));
    let sql =
        format!("INSERT INTO main.branchline_change (table_id, at, {names}) VALUES (?1, {NOW}, {values})");
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let table = Value::Integer(table);
    for key in keys {
        statement.execute(params_from_iter(std::iter::once(&table).chain(key))).map_err(failed)?;
    }
    Ok(())
}

/// Removes all entries.
pub(in super::super) fn clear(connection: &Connection) -> Result<(), DatabaseError> {
    connection.execute(CLEAR, []).map(drop).map_err(failed)
}

/// Removes the entries of a table.
pub(in super::super) fn forget_table(connection: &Connection, table: i64) -> Result<(), DatabaseError> {
    connection.execute(FORGET_TABLE, params![table]).map(drop).map_err(failed)
}

/// The time of the latest entry.
pub(in super::super) fn last(connection: &Connection) -> Result<ChangeTime, DatabaseError> {
    let last: Option<i64> = connection.query_row(LAST, [], |row| row.get(0)).map_err(failed)?;
    Ok(ChangeTime::from_micros(last.unwrap_or_default().cast_unsigned()))
}

/// Says of all entries up to then which dot they had in the life before; answers how many.
pub(in super::super) fn set_was(
    connection: &Connection,
    life: i64,
    generation: i64,
    until: ChangeTime,
) -> Result<u64, DatabaseError> {
    let until = i64::try_from(until.micros()).unwrap_or(i64::MAX);
    let changed = connection.execute(SET_WAS, params![life, generation, until]).map_err(failed)?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

//! Branchline's own tables in the shop's file: whatever must commit together with the shop's rows.
//!
//! | table | holds |
//! |---|---|
//! | `branchline_migrations` | the versions of these tables, each with its number |
//! | `branchline_meta` | the database's name, epoch and generation (`meta`) |
//! | `branchline_applied` | one row for each backup that was applied here, with its receipt (`applied`) |
//!
//! Their declarations use nothing that SQLite 3.8 lacks: the shop's program opens the same file, and an engine that
//! cannot read one declaration refuses the whole file. Migrations are only ever added.

pub(super) mod applied;
pub(super) mod meta;

use branchline_core::ports::{DatabaseError, Ledger};
use rusqlite::{Connection, params};

use super::connect::three_times;
use super::error::failed;

const MIGRATIONS_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS main.branchline_migrations (version INTEGER PRIMARY KEY)";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM main.branchline_migrations";
const ADD_VERSION: &str = "INSERT INTO main.branchline_migrations (version) VALUES (?1)";
const IS_THERE: &str =
    "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = 'branchline_migrations'";
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Each one's statements, in the order of their versions, from 1.
const MIGRATIONS: [&[&str]; 1] = [&[meta::TABLE, meta::FIRST_ROW, applied::TABLE]];

/// Makes or completes the ledger's tables, in a transaction of its own.
pub(super) fn ensure(connection: &Connection) -> Result<(), DatabaseError> {
    if version(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    three_times(|| connection.execute_batch(BEGIN).map_err(failed))?;
    let result = migrate(connection);
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    result.and(connection.execute_batch(end).map_err(failed))
}

/// What the ledger says of the database's life.
pub(super) fn read(connection: &Connection) -> Result<Ledger, DatabaseError> {
    ensure(connection)?;
    meta::read(connection)
}

/// The version of the ledger that is there; 0 where there is none.
fn version(connection: &Connection) -> Result<usize, DatabaseError> {
    let is_there: bool = connection.query_row(IS_THERE, [], |row| row.get(0)).map_err(failed)?;
    if !is_there {
        return Ok(0);
    }
    let version: u32 = connection.query_row(VERSION, [], |row| row.get(0)).map_err(failed)?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        let engine = "this database's ledger was made by a newer branchline:".to_owned();
        return Err(DatabaseError::Version { engine, version: version.to_string() });
    }
    Ok(version)
}

fn migrate(connection: &Connection) -> Result<(), DatabaseError> {
    // Read again under the lock: another process may have done it meanwhile.
    let done = version(connection)?;
    connection.execute_batch(MIGRATIONS_TABLE).map_err(failed)?;
    for (place, statements) in MIGRATIONS.iter().enumerate().skip(done) {
        for statement in *statements {
            connection.execute_batch(statement).map_err(failed)?;
        }
        connection
            .execute(ADD_VERSION, params![i64::try_from(place + 1).unwrap_or(i64::MAX)])
            .map_err(failed)?;
    }
    Ok(())
}

//! `branchline_meta`: one row that names this copy of the database and tells its epoch and generation.

use branchline_core::id::{Epoch, Generation};
use branchline_core::ports::{DatabaseError, Ledger};
use rusqlite::{Connection, params};

use super::super::error::failed;

pub(in super::super) const NAME: &str = "branchline_meta";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    database_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    generation INTEGER NOT NULL
)";
pub(super) const FIRST_ROW: &str = "INSERT INTO main.branchline_meta (one, database_id, epoch, generation)
    VALUES (1, lower(hex(randomblob(16))), 1, 0)";
const SET_PLACE: &str = "UPDATE main.branchline_meta SET epoch = ?1, generation = ?2 WHERE one = 1";
const READ: &str = "SELECT database_id, epoch, generation FROM main.branchline_meta WHERE one = 1";

pub(in super::super) fn read(connection: &Connection) -> Result<Ledger, DatabaseError> {
    let ledger = connection.query_row(READ, [], |row| {
        Ok(Ledger {
            database_id: row.get(0)?,
            epoch: Epoch::new(row.get::<_, i64>(1)?.cast_unsigned()),
            generation: Generation::new(row.get::<_, i64>(2)?.cast_unsigned()),
            engine: format!("SQLite {}", rusqlite::version()),
        })
    });
    ledger.map_err(failed)
}

/// Puts down the life and its last generation.
pub(in super::super) fn set_place(
    connection: &Connection,
    epoch: Epoch,
    generation: Generation,
) -> Result<(), DatabaseError> {
    let place = params![epoch.value().cast_signed(), generation.value().cast_signed()];
    connection.execute(SET_PLACE, place).map(drop).map_err(failed)
}

//! `branchline_capture`: one row that says whose changes are captured, and how far the clock went.
//!
//! The triggers read the clock, and nothing else of the ledger. `schema_version` is SQLite's number of the schema that
//! was found in step with the triggers: while it is the same, nothing has to be looked at.

use branchline_core::id::{Generation, ServerId};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;
use branchline_core::version::{ChangeTime, Life};
use rusqlite::{Connection, params};

use super::super::error::failed;
use super::{has_table, life, meta};

pub(in super::super) const NAME: &str = "branchline_capture";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_capture (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    server TEXT NOT NULL,
    clock INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    left_out TEXT NOT NULL
)";
const ADD: &str = "INSERT INTO main.branchline_capture (one, server, clock, schema_version, left_out) VALUES (1, ?1, 0, -1, '')";
const READ: &str =
    "SELECT server, clock, schema_version, left_out FROM main.branchline_capture WHERE one = 1";
const SET_SCHEMA: &str =
    "UPDATE main.branchline_capture SET schema_version = ?1, left_out = ?2 WHERE one = 1";
const RAISE_CLOCK: &str = "UPDATE main.branchline_capture SET clock = max(clock, ?1) WHERE one = 1";

/// How capture stands in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Standing {
    /// This database's life.
    pub(in super::super) own: Life,
    /// The generation of the last pack.
    pub(in super::super) generation: Generation,
    /// No version here is later.
    pub(in super::super) clock: ChangeTime,
    /// The schema that the triggers are in step with.
    pub(in super::super) schema_version: i64,
    /// Tables that the settings leave out, sorted.
    pub(in super::super) left_out: Vec<TableName>,
}

/// How capture stands; nothing where it is not installed.
pub(in super::super) fn read(connection: &Connection) -> Result<Option<Standing>, DatabaseError> {
    if !has_table(connection, NAME)? {
        return Ok(None);
    }
    let mut statement = connection.prepare(READ).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
    let broken = || DatabaseError::Failed {
        sqlstate: "LEDGER".to_owned(),
        message: "the row of branchline_capture is not ours".to_owned(),
    };
    let server: ServerId = row.get::<_, String>(0).map_err(failed)?.parse().map_err(|_| broken())?;
    let left_out: String = row.get(3).map_err(failed)?;
    let left_out = left_out.lines().map(TableName::new).collect::<Result<Vec<_>, _>>();
    let ledger = meta::read(connection)?;
    Ok(Some(Standing {
        own: Life::new(server, ledger.epoch),
        generation: ledger.generation,
        clock: ChangeTime::from_micros(row.get::<_, i64>(1).map_err(failed)?.cast_unsigned()),
        schema_version: row.get(2).map_err(failed)?,
        left_out: left_out.map_err(|_| broken())?,
    }))
}

/// Begins to capture for that life.
pub(in super::super) fn add(connection: &Connection, own: &Life) -> Result<(), DatabaseError> {
    connection.execute(ADD, params![own.server.as_str()]).map_err(failed)?;
    meta::set_place(connection, own.epoch, Generation::new(0))?;
    life::number(connection, own).map(drop)
}

/// Puts down which schema the triggers are in step with, and what the settings leave out. A name holds no line break.
pub(in super::super) fn set_schema(
    connection: &Connection,
    version: i64,
    left_out: &[TableName],
) -> Result<(), DatabaseError> {
    let names: Vec<_> = left_out.iter().map(TableName::as_str).collect();
    connection.execute(SET_SCHEMA, params![version, names.join("\n")]).map(drop).map_err(failed)
}

/// Brings the clock up to that time.
pub(in super::super) fn raise_clock(connection: &Connection, to: ChangeTime) -> Result<(), DatabaseError> {
    connection.execute(RAISE_CLOCK, params![to.micros().cast_signed()]).map(drop).map_err(failed)
}

//! `branchline_held`: rows that could not be applied, kept until they can be.
//!
//! A row is kept as it stands in a backup of its own: its line, and the columns of that line (`columns`, a line each:
//! the logical type, a space, the name). A newer version of the same row takes its place. `since` is when the backup
//! that brought it was recorded; the ledger's own clock is the node's.

use std::str::FromStr;

use branchline_core::code::Code;
use branchline_core::id::Generation;
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{DatabaseError, HeldRow};
use branchline_core::schema::TableName;
use branchline_core::version::Dot;
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::super::error::failed;
use super::life::Lives;

pub(in super::super) const NAME: &str = "branchline_held";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_held (
    id INTEGER PRIMARY KEY,
    table_name TEXT NOT NULL,
    key TEXT NOT NULL,
    readable TEXT NOT NULL,
    life INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    time INTEGER NOT NULL,
    was_life INTEGER,
    was_generation INTEGER,
    source TEXT NOT NULL,
    backup TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    columns TEXT NOT NULL,
    line BLOB NOT NULL,
    UNIQUE (table_name, key)
)";
const ALL: &str =
    "SELECT h.table_name, h.readable, h.life, h.generation, h.time, h.was_life, h.was_generation,
    h.source, h.backup, h.reason, h.code, a.applied_at FROM main.branchline_held AS h
    LEFT JOIN main.branchline_applied AS a ON a.backup = h.backup ORDER BY h.id";
const LOWEST: &str = "SELECT life, min(generation) FROM main.branchline_held GROUP BY life";
const FORGET_TABLE: &str = "DELETE FROM main.branchline_held WHERE table_name = ?1";

/// All of them, in the order in which they came.
pub(in super::super) fn all(connection: &Connection, lives: &Lives) -> Result<Vec<HeldRow>, DatabaseError> {
    let mut statement = connection.prepare(ALL).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut held = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        held.push(HeldRow {
            table: TableName::new(text(row, 0)?).map_err(|_| broken())?,
            key: text(row, 1)?,
            version: lives.version(row, 2)?.ok_or_else(broken)?,
            source: parsed(row, 7)?,
            backup: parsed(row, 8)?,
            reason: text(row, 9)?,
            code: Code::parse(&text(row, 10)?).ok_or_else(broken)?,
            since: parsed::<Timestamp>(row, 11)?,
        });
    }
    Ok(held)
}

/// What is held of `knowledge` without the held rows: of a life that has some, what lies below the lowest of them.
pub(in super::super) fn without_held(
    connection: &Connection,
    lives: &Lives,
    knowledge: Knowledge,
) -> Result<Knowledge, DatabaseError> {
    let mut statement = connection.prepare(LOWEST).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut lowest = Knowledge::new();
    while let Some(row) = rows.next().map_err(failed)? {
        if let Some(dot) = lives.dot(row, 0)? {
            lowest.add(dot);
        }
    }
    if lowest.is_empty() {
        return Ok(knowledge);
    }
    let below = knowledge.into_iter().filter_map(|(life, held)| match lowest.generation(&life) {
        None => Some(Dot::new(life, held)),
        Some(lowest) => {
            let below = lowest.value().checked_sub(1)?.min(held.value());
            Some(Dot::new(life, Generation::new(below)))
        }
    });
    Ok(below.map(|dot| (dot.life, dot.generation)).collect())
}

/// Forgets what is held of a table.
pub(in super::super) fn forget_table(
    connection: &Connection,
    table: &TableName,
) -> Result<(), DatabaseError> {
    connection.execute(FORGET_TABLE, params![table.as_str()]).map(drop).map_err(failed)
}

fn text(row: &Row<'_>, place: usize) -> Result<String, DatabaseError> {
    row.get(place).map_err(failed)
}

fn parsed<T: FromStr>(row: &Row<'_>, place: usize) -> Result<T, DatabaseError> {
    text(row, place)?.parse().map_err(|_| broken())
}

fn broken() -> DatabaseError {
    DatabaseError::Failed {
        sqlstate: "LEDGER".to_owned(),
        message: "a row of branchline_held is not ours".to_owned(),
    }
}

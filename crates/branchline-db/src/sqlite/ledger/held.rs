//! `branchline_held`: rows that could not be applied, kept until they can be.
//!
//! A row is kept as it stands in a backup of its own: its line, and the columns of that line (`columns`, a line each:
//! the logical type, a tab, the name). A newer version of the same row takes its place. What the source knew when it
//! sealed the backup is kept too (`branchline_held_known`), because the row is decided anew when it is tried again.
//! Where `key_columns` is given, the table did not fit when the row came, or does not any more: its key is not yet what it
//! is to the table here, and these are the columns of the key that it came with, a line each. Such a row is tried again
//! once the table fits.
//! `since` is when the backup that brought it was recorded: what time it is, only the node knows.

use std::str::FromStr;

use branchline_core::backup::ColumnSummary;
use branchline_core::code::Code;
use branchline_core::id::{BackupId, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{DatabaseError, HeldRow};
use branchline_core::schema::{ColumnName, TableName};
use branchline_core::version::{Dot, Version};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::super::error::failed;
use super::life::{self, Lives};

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
pub(in super::super) const KNOWN_NAME: &str = "branchline_held_known";
pub(super) const KNOWN_TABLE: &str = "CREATE TABLE main.branchline_held_known (
    backup TEXT NOT NULL,
    life INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (backup, life)
)";
/// A migration of its own.
pub(super) const ADD_KEY_COLUMNS: &str = "ALTER TABLE main.branchline_held ADD COLUMN key_columns TEXT";
const ALL: &str =
    "SELECT h.table_name, h.readable, h.life, h.generation, h.time, h.was_life, h.was_generation,
    h.source, h.backup, h.reason, h.code, a.applied_at FROM main.branchline_held AS h
    LEFT JOIN main.branchline_applied AS a ON a.backup = h.backup ORDER BY h.id";
const VERSIONS: &str = "SELECT life, generation, time, was_life, was_generation FROM main.branchline_held";
const LINES: &str =
    "SELECT id, table_name, life, generation, time, was_life, was_generation, source, backup, columns,
    line, key, key_columns FROM main.branchline_held WHERE {which} ORDER BY id";
const PUT: &str = "INSERT OR REPLACE INTO main.branchline_held (table_name, key, readable, life, generation, time, was_life,
    was_generation, source, backup, code, reason, columns, line, key_columns)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
const SET_REASON: &str = "UPDATE main.branchline_held SET code = ?2, reason = ?3 WHERE id = ?1";
const SET_LINE: &str = "UPDATE main.branchline_held SET line = ?2 WHERE id = ?1";
const REMOVE: &str = "DELETE FROM main.branchline_held WHERE id = ?1";
const ADD_KNOWN: &str =
    "INSERT OR IGNORE INTO main.branchline_held_known (backup, life, generation) VALUES (?1, ?2, ?3)";
const KNOWN: &str = "SELECT life, generation FROM main.branchline_held_known WHERE backup = ?1";
const FORGET_KNOWN: &str = "DELETE FROM main.branchline_held_known
    WHERE backup NOT IN (SELECT backup FROM main.branchline_held)";
/// No key that a table has ends like that.
const UNSETTLE: &str = "UPDATE main.branchline_held SET key_columns = ?2, key = key || ' of ' || backup
    WHERE table_name = ?1 AND key_columns IS NULL";
const SET_KEY: &str =
    "UPDATE main.branchline_held SET key = ?2, readable = ?3, key_columns = NULL WHERE id = ?1";

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

/// A row that is to be held.
#[derive(Debug)]
pub(in super::super) struct Holding<'a> {
    pub(in super::super) table: &'a TableName,
    pub(in super::super) key: String,
    pub(in super::super) readable: String,
    pub(in super::super) version: Version,
    pub(in super::super) source: &'a ServerId,
    pub(in super::super) backup: BackupId,
    pub(in super::super) code: Code,
    pub(in super::super) reason: String,
    pub(in super::super) columns: String,
    /// The columns of its key, where its table does not fit.
    pub(in super::super) key_columns: Option<String>,
    pub(in super::super) line: Vec<u8>,
}

/// Holds a row, in the place of one with the same key; `theirs` is what its source knew.
pub(in super::super) fn put(
    connection: &Connection,
    row: &Holding<'_>,
    theirs: &Knowledge,
) -> Result<(), DatabaseError> {
    let dot = &row.version.dot;
    let was = row.version.was.as_ref();
    let was_life = was.map(|was| life::number(connection, &was.life)).transpose()?;
    let backup = row.backup.to_string();
    let values = params![
        row.table.as_str(),
        row.key,
        row.readable,
        life::number(connection, &dot.life)?,
        dot.generation.value().cast_signed(),
        row.version.time.micros().cast_signed(),
        was_life,
        was.map(|was| was.generation.value().cast_signed()),
        row.source.as_str(),
        backup,
        row.code.to_string(),
        row.reason,
        row.columns,
        row.line,
        row.key_columns,
    ];
    connection.execute(PUT, values).map_err(failed)?;
    for (known, generation) in theirs.iter() {
        let number = life::number(connection, known)?;
        let generation = generation.value().cast_signed();
        connection.execute(ADD_KNOWN, params![backup, number, generation]).map_err(failed)?;
    }
    Ok(())
}

/// Says why a row is held now.
pub(in super::super) fn set_reason(
    connection: &Connection,
    id: i64,
    code: Code,
    reason: &str,
) -> Result<(), DatabaseError> {
    connection.execute(SET_REASON, params![id, code.to_string(), reason]).map(drop).map_err(failed)
}

/// A row that is held, as it is to be tried again.
#[derive(Debug)]
pub(in super::super) struct HeldLine {
    pub(in super::super) id: i64,
    pub(in super::super) table: TableName,
    /// Its key's text.
    pub(in super::super) key: String,
    pub(in super::super) version: Version,
    pub(in super::super) source: ServerId,
    pub(in super::super) backup: BackupId,
    pub(in super::super) columns: String,
    pub(in super::super) line: Vec<u8>,
    /// The columns of the key that it came with, where its table did not fit.
    pub(in super::super) key_columns: Option<String>,
}

impl HeldLine {
    /// The columns of its line; nothing where they cannot be read.
    pub(in super::super) fn columns(&self) -> Option<Vec<ColumnSummary>> {
        let column = |line: &str| {
            let (logical_type, name) = line.split_once('\t')?;
            let name = ColumnName::new(name).ok()?;
            Some(ColumnSummary { name, logical_type: logical_type.parse().ok()? })
        };
        self.columns.lines().map(column).collect()
    }
}

/// Puts another line in the place of a held row's.
pub(in super::super) fn set_line(connection: &Connection, id: i64, line: &[u8]) -> Result<(), DatabaseError> {
    connection.execute(SET_LINE, params![id, line]).map(drop).map_err(failed)
}

/// Those whose tables fitted, in the order in which they came.
pub(in super::super) fn lines(
    connection: &Connection,
    lives: &Lives,
) -> Result<Vec<HeldLine>, DatabaseError> {
    read_lines(connection, lives, "key_columns IS NULL", &[])
}

/// Those whose tables did not fit, in the order in which they came.
pub(in super::super) fn unfit(
    connection: &Connection,
    lives: &Lives,
) -> Result<Vec<HeldLine>, DatabaseError> {
    read_lines(connection, lives, "key_columns IS NOT NULL", &[])
}

/// The one that is held under a key of a table that fits, if one is.
pub(in super::super) fn of_key(
    connection: &Connection,
    lives: &Lives,
    table: &TableName,
    key: &str,
) -> Result<Option<HeldLine>, DatabaseError> {
    let which = "key_columns IS NULL AND table_name = ?1 AND key = ?2";
    Ok(read_lines(connection, lives, which, &[table.as_str(), key])?.pop())
}

fn read_lines(
    connection: &Connection,
    lives: &Lives,
    which: &str,
    values: &[&str],
) -> Result<Vec<HeldLine>, DatabaseError> {
    let mut statement = connection.prepare(&LINES.replace("{which}", which)).map_err(failed)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(failed)?;
    let mut held = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        held.push(HeldLine {
            id: row.get(0).map_err(failed)?,
            table: TableName::new(text(row, 1)?).map_err(|_| broken())?,
            key: text(row, 11)?,
            version: lives.version(row, 2)?.ok_or_else(broken)?,
            source: parsed(row, 7)?,
            backup: parsed(row, 8)?,
            columns: text(row, 9)?,
            line: row.get(10).map_err(failed)?,
            key_columns: row.get(12).map_err(failed)?,
        });
    }
    Ok(held)
}

/// What the source of a backup knew when it sealed it.
pub(in super::super) fn known(
    connection: &Connection,
    lives: &Lives,
    backup: BackupId,
) -> Result<Knowledge, DatabaseError> {
    let mut statement = connection.prepare(KNOWN).map_err(failed)?;
    let mut rows = statement.query(params![backup.to_string()]).map_err(failed)?;
    let mut known = Knowledge::new();
    while let Some(row) = rows.next().map_err(failed)? {
        if let Some(dot) = lives.dot(row, 0)? {
            known.add(dot);
        }
    }
    Ok(known)
}

/// Holds a row no more.
pub(in super::super) fn remove(connection: &Connection, id: i64) -> Result<(), DatabaseError> {
    connection.execute(REMOVE, params![id]).map(drop).map_err(failed)
}

/// Forgets what sources knew of whom nothing is held any more.
pub(in super::super) fn forget_known(connection: &Connection) -> Result<(), DatabaseError> {
    connection.execute(FORGET_KNOWN, []).map(drop).map_err(failed)
}

/// The dots of all held rows: what may not be claimed to a peer.
pub(in super::super) fn dots(connection: &Connection, lives: &Lives) -> Result<Vec<Dot>, DatabaseError> {
    let mut statement = connection.prepare(VERSIONS).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        versions.extend(lives.version(row, 0)?);
    }
    Ok(versions.iter().flat_map(Version::dots).cloned().collect())
}

/// Says that the rows of a table do not fit any more: it is gone, or its key is another one. `key_columns` are those that
/// it had, a line each.
pub(in super::super) fn unsettle(
    connection: &Connection,
    table: &TableName,
    key_columns: &str,
) -> Result<(), DatabaseError> {
    connection.execute(UNSETTLE, params![table.as_str(), key_columns]).map(drop).map_err(failed)
}

/// Says what a row's key is to its table, now that it fits.
pub(in super::super) fn set_key(
    connection: &Connection,
    id: i64,
    key: &str,
    readable: &str,
) -> Result<(), DatabaseError> {
    connection.execute(SET_KEY, params![id, key, readable]).map(drop).map_err(failed)
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

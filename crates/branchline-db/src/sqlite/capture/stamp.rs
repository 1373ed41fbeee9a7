//! Gives the changes in the log the next generation.
//!
//! What a log comes to is computed into a temporary table, `temp.branchline_stamped`, a row for each key: on the
//! connection that writes the stamps and, from the same moment, on the one that reads at the position. So both know the
//! same versions, though the reader cannot see what the writer wrote.
//!
//! * A key that was changed several times has the time of the last change, and is later than the version before it.
//! * Whether a row is a deletion is found out by looking for it.
//! * A row that was only noted as a victim and is still there was not changed.
//! * A row whose key holds a NULL is stamped like any other, so that the reader can refuse it by name.
//!
//! Costs what the log costs: no table is read but by its key.

use branchline_core::id::Generation;
use branchline_core::ports::DatabaseError;
use branchline_core::version::{ChangeTime, Dot};
use rusqlite::{Connection, params};

use super::super::error::failed;
use super::super::ident::Ident;
use super::super::key::{columns_of_noted, text_of_noted};
use super::super::ledger::captured::{self, CapturedTable};
use super::super::ledger::standing::{self, Standing};
use super::super::ledger::version::{COLUMNS, REPLACING};
use super::super::ledger::{change, knowledge, life, meta};

const MAKE: &str = "CREATE TEMP TABLE IF NOT EXISTS branchline_stamped (
        table_id INTEGER NOT NULL,
        key TEXT NOT NULL,
        at INTEGER NOT NULL,
        was_life INTEGER,
        was_generation INTEGER,
        is_victim INTEGER NOT NULL,
        deleted INTEGER,
        time INTEGER,
        k0, k1, k2, k3, k4, k5, k6, k7,
        PRIMARY KEY (table_id, key)
    ) WITHOUT ROWID;
    DELETE FROM temp.branchline_stamped;";
const TABLES: &str = "SELECT DISTINCT table_id FROM temp.branchline_stamped";
const TIME: &str = "UPDATE temp.branchline_stamped AS s SET time = max(s.at, coalesce(
    (SELECT v.time + 1 FROM main.branchline_version AS v WHERE v.table_id = s.table_id AND v.key = s.key), 0))";
const LEAVE_VICTIMS: &str = "DELETE FROM temp.branchline_stamped WHERE is_victim AND NOT deleted";
const SUMMARY: &str = "SELECT count(*), coalesce(max(time), 0) FROM temp.branchline_stamped";

/// What the log comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Stamped {
    /// Rows that changed.
    pub(in super::super) rows: u64,
    /// The time of the latest change.
    pub(in super::super) last: ChangeTime,
}

/// Computes what the log comes to, on this connection and for the moment that it sees.
pub(in super::super) fn compute(connection: &Connection) -> Result<Stamped, DatabaseError> {
    connection.execute_batch(MAKE).map_err(failed)?;
    connection.execute(&gather(), []).map_err(failed)?;
    let captured = captured::all(connection)?;
    let mut statement = connection.prepare(TABLES).map_err(failed)?;
    let changed = statement.query_map([], |row| row.get(0)).map_err(failed)?;
    let changed = changed.collect::<rusqlite::Result<Vec<i64>>>().map_err(failed)?;
    for table in captured.iter().filter(|table| changed.contains(&table.id)) {
        connection.execute(&look_for_rows(table), params![table.id]).map_err(failed)?;
    }
    connection.execute(LEAVE_VICTIMS, []).map_err(failed)?;
    connection.execute(TIME, []).map_err(failed)?;
    let (rows, last): (i64, i64) =
        connection.query_row(SUMMARY, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let noted = change::last(connection)?;
    let last = ChangeTime::from_micros(last.cast_unsigned()).max(noted);
    Ok(Stamped { rows: rows.unsigned_abs(), last })
}

/// Writes the stamps, under the write lock, and consumes the log.
pub(super) fn write(connection: &Connection, standing: &Standing) -> Result<(), DatabaseError> {
    let stamped = compute(connection)?;
    if stamped.rows > 0 {
        let generation = standing.generation.next();
        let own = life::number(connection, &standing.own)?;
        let sql = format!(
            "INSERT INTO main.branchline_version ({COLUMNS}, {keys})
             SELECT table_id, key, ?1, ?2, time, was_life, was_generation, deleted, {keys}
             FROM temp.branchline_stamped WHERE true {REPLACING}",
            keys = columns_of_noted(""),
        );
        connection.execute(&sql, params![own, signed(generation)]).map_err(failed)?;
        let held = [Dot::new(standing.own.clone(), generation)];
        let held = held.into_iter().map(|dot| (dot.life, dot.generation)).collect();
        knowledge::join(connection, &held)?;
        meta::set_place(connection, standing.own.epoch, generation)?;
    }
    standing::raise_clock(connection, stamped.last)?;
    change::clear(connection)
}

fn signed(generation: Generation) -> i64 {
    generation.value().cast_signed()
}

/// One row for each key. With `max(at)` alone, the other columns are those of the latest entry. A change was packed in the
/// life before only if nothing was written on top of it.
fn gather() -> String {
    format!(
        "INSERT INTO temp.branchline_stamped
             (table_id, key, at, was_life, was_generation, is_victim, {keys})
         SELECT c.table_id, {text}, max(c.at), CASE WHEN count(c.was_life) = count(*) THEN c.was_life END,
             CASE WHEN count(c.was_life) = count(*) THEN c.was_generation END, sum(c.victim IS NULL) = 0, {noted}
         FROM main.branchline_change AS c JOIN main.branchline_captured AS t ON t.id = c.table_id GROUP BY 1, 2",
        keys = columns_of_noted(""),
        text = text_of_noted("t.key_form", "c."),
        noted = columns_of_noted("c."),
    )
}

fn look_for_rows(table: &CapturedTable) -> String {
    format!(
        "UPDATE temp.branchline_stamped AS s SET deleted = NOT EXISTS (SELECT 1 FROM main.{} AS t WHERE {})
         WHERE s.table_id = ?1",
        Ident(table.name.as_str()),
        table.has_noted_key("t", "s"),
    )
}

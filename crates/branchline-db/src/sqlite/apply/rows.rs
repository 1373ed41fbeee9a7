//! Updates and inserts the staged rows of one table, a statement for each.

use branchline_core::ports::{DatabaseError, TableMerge};
use rusqlite::Connection;

use super::super::error::{failed, refused};
use super::super::schema::Catalogue;
use super::plan::TablePlan;
use super::unique_swap::Leaving;
use super::{statement, unique_swap};
use crate::stages::Stages;

/// Brings the rows of a plan in; `leaving` are rows of its table that are about to be removed.
pub(super) fn merge(
    connection: &Connection,
    catalogue: &Catalogue,
    plan: &TablePlan,
    leaving: Leaving<'_>,
    stages: &mut Stages,
) -> Result<TableMerge, DatabaseError> {
    if plan.rows == 0 {
        return Ok(TableMerge::default());
    }
    let is_empty = is_empty(connection, plan)?;
    let there = if is_empty { Matched::default() } else { matched(connection, plan)? };
    stages.end("compare");
    if there.differing > 0 || (!matches!(leaving, Leaving::Nothing) && !is_empty) {
        let released = unique_swap::release(connection, catalogue, plan, leaving)?;
        // A placeholder may happen to be the very value that a row is to have.
        let expected = if released { matched(connection, plan)?.differing } else { there.differing };
        if let Some(update) = statement::update(plan) {
            expect_rows(plan, expected, execute(connection, plan, &update)?)?;
        }
        stages.end("update");
    }
    let missing = plan.rows.saturating_sub(there.rows);
    if missing > 0 {
        expect_rows(plan, missing, execute(connection, plan, &statement::insert(plan, is_empty))?)?;
        stages.end("insert");
    }
    let unchanged = there.rows.saturating_sub(there.differing);
    Ok(TableMerge { inserted: missing, updated: there.differing, unchanged, ..TableMerge::default() })
}

/// What of the backup's rows the target has.
#[derive(Debug, Clone, Copy, Default)]
struct Matched {
    /// Rows with the same key.
    rows: u64,
    /// Those of them that differ elsewhere.
    differing: u64,
}

fn matched(connection: &Connection, plan: &TablePlan) -> Result<Matched, DatabaseError> {
    let counted = connection.query_row(&statement::count_matched(plan), [], |row| {
        let (rows, differing): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(Matched { rows: rows.unsigned_abs(), differing: differing.unsigned_abs() })
    });
    counted.map_err(failed)
}

/// Whether the target's table has no rows.
pub(super) fn is_empty(connection: &Connection, plan: &TablePlan) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", statement::target_table(plan));
    connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)
}

/// A trigger of the shop may keep a row from being written without a word (`RAISE(IGNORE)`): it would be lost.
fn expect_rows(plan: &TablePlan, expected: u64, written: u64) -> Result<(), DatabaseError> {
    if written == expected {
        return Ok(());
    }
    Err(DatabaseError::Constraint {
        table: plan.name.to_string(),
        constraint: "TRIGGER".to_owned(),
        detail: format!("{expected} rows were to be written, and a trigger let {written} through"),
    })
}

/// Runs a statement that writes to the plan's table, and counts its rows.
pub(super) fn execute(connection: &Connection, plan: &TablePlan, sql: &str) -> Result<u64, DatabaseError> {
    let changed = connection.execute(sql, []).map_err(|error| refused(error, &plan.name))?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

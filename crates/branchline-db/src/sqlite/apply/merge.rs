//! Brings the staged rows into the shop's tables, under the write lock.

use std::time::Duration;

use branchline_core::ports::{DatabaseError, ForeignKeyCheck, MergeReport, TableMerge};
use branchline_core::schema::{TableName, parents_first};
use rusqlite::Connection;

use super::super::connect::three_times;
use super::super::error::{failed, refused};
use super::super::ledger;
use super::super::schema::{self, Catalogue};
use super::plan::TablePlan;
use super::{Work, foreign_keys, mirror, spelling, statement, unique_swap};
use crate::stages::Stages;

/// Takes the write lock at the beginning: a lock that is asked for later can fail at once.
const BEGIN_IMMEDIATE: &str = "BEGIN IMMEDIATE";
const DEFER: &str = "PRAGMA defer_foreign_keys = ON";

/// Stages of the report during which the lock is held.
const LOCKED: [&str; 5] = ["compare", "update", "insert", "check", "delete"];

/// Merges everything; the caller rolls back where it fails.
pub(super) fn run(work: &mut Work) -> Result<MergeReport, DatabaseError> {
    let Work { connection, request, catalogue, schema_version, plans, stages, .. } = work;
    three_times(|| connection.execute_batch(BEGIN_IMMEDIATE).map_err(failed))?;
    stages.end("wait");
    connection.execute_batch(DEFER).map_err(failed)?;
    if schema::version(connection)? != *schema_version {
        let message = "somebody changed the schema while rows were staged".to_owned();
        return Err(DatabaseError::Busy { message });
    }
    ledger::applied::check_place(connection, request)?;
    let mut tables = vec![TableMerge::default(); plans.len()];
    let order = in_order(catalogue, plans);
    if spelling::adopt(connection, catalogue, plans)? {
        stages.end("compare");
    }
    for &place in &order {
        tables[place] = merge_table(connection, catalogue, &plans[place], request.mirror, stages)?;
    }
    foreign_keys::check(connection, catalogue, plans, request.mirror)?;
    stages.end("check");
    if request.mirror {
        mirror::check(connection, catalogue, plans)?;
        let removed = mirror::remove(connection, plans, order.iter().rev().copied())?;
        for (table, removed) in tables.iter_mut().zip(removed) {
            table.deleted = removed;
        }
        stages.end("delete");
    }
    let stages = stages.report();
    let locked_for: Duration =
        stages.iter().filter(|(name, _)| LOCKED.contains(name)).map(|(_, taken)| *taken).sum();
    // SQLite counts broken keys row by row; the joins are there to say which row it is.
    Ok(MergeReport {
        tables,
        foreign_keys: ForeignKeyCheck::RowByRow,
        locked_for,
        stages,
        knowledge: None,
        held: Vec::new(),
        released: 0,
        day: Vec::new(),
    })
}

/// The places of the plans, parents before children.
fn in_order(catalogue: &Catalogue, plans: &[TablePlan]) -> Vec<usize> {
    let tables = plans.iter().filter_map(|plan| catalogue.schema.table(&plan.name));
    let groups = parents_first(tables);
    let place = |name: &TableName| plans.iter().position(|plan| plan.name == *name);
    groups.iter().flat_map(|group| &group.tables).filter_map(place).collect()
}

fn merge_table(
    connection: &Connection,
    catalogue: &Catalogue,
    plan: &TablePlan,
    mirror: bool,
    stages: &mut Stages,
) -> Result<TableMerge, DatabaseError> {
    if plan.rows == 0 {
        return Ok(TableMerge::default());
    }
    let is_empty = is_empty(connection, plan)?;
    let there = if is_empty { Matched::default() } else { matched(connection, plan)? };
    stages.end("compare");
    if there.differing > 0 || (mirror && !is_empty) {
        let released = unique_swap::release(connection, catalogue, plan, mirror)?;
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

fn is_empty(connection: &Connection, plan: &TablePlan) -> Result<bool, DatabaseError> {
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

//! Brings the staged rows into the shop's tables, under the write lock.

use std::time::Duration;

use branchline_core::ports::{DatabaseError, ForeignKeyCheck, MergeReport, TableMerge};
use branchline_core::schema::{TableName, parents_first};
use rusqlite::{Connection, params};

use super::super::connect::three_times;
use super::super::error::{failed, refused};
use super::super::ledger;
use super::super::schema::{self, Catalogue};
use super::plan::TablePlan;
use super::{Work, foreign_keys, mirror, statement, unique_swap};
use crate::stages::Stages;

/// Takes the write lock at the beginning: a lock that is asked for later can fail at once.
const BEGIN_IMMEDIATE: &str = "BEGIN IMMEDIATE";
const DEFER: &str = "PRAGMA defer_foreign_keys = ON";
const HAS_TRIGGERS: &str =
    "SELECT count(*) FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE";

/// Stages of the report during which the lock is held.
const LOCKED: [&str; 4] = ["update", "insert", "check", "delete"];

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
    for &place in &order {
        tables[place] = merge_table(connection, catalogue, &plans[place], request.mirror, stages)?;
    }
    foreign_keys::check(connection, catalogue, plans, request.mirror)?;
    stages.end("check");
    if request.mirror {
        mirror::check(connection, catalogue, plans)?;
        for &place in order.iter().rev() {
            tables[place].deleted = mirror::remove(connection, &plans[place])?;
        }
        stages.end("delete");
    }
    let stages = stages.report();
    let locked_for: Duration =
        stages.iter().filter(|(name, _)| LOCKED.contains(name)).map(|(_, taken)| *taken).sum();
    // SQLite counts broken keys row by row; the joins are there to say which row it is.
    Ok(MergeReport { tables, foreign_keys: ForeignKeyCheck::RowByRow, locked_for, stages })
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
    let has_triggers = connection.query_row(HAS_TRIGGERS, params![plan.name.as_str()], |row| row.get(0));
    let has_triggers: bool = has_triggers.map_err(failed)?;
    let is_empty = is_empty(connection, plan)?;
    let mut updated = 0;
    if !is_empty {
        updated = update(connection, catalogue, plan, mirror, has_triggers)?;
        stages.end("update");
    }
    let inserted = execute(connection, plan, &statement::insert(plan, is_empty))?;
    if has_triggers {
        check_all_are_there(connection, plan)?;
    }
    stages.end("insert");
    let unchanged = plan.rows.saturating_sub(inserted).saturating_sub(updated);
    Ok(TableMerge { inserted, updated, unchanged, deleted: 0 })
}

/// Updates the rows that differ, and counts them. A trigger may keep a row from it, as in `check_all_are_there`.
fn update(
    connection: &Connection,
    catalogue: &Catalogue,
    plan: &TablePlan,
    mirror: bool,
    has_triggers: bool,
) -> Result<u64, DatabaseError> {
    let differed = unique_swap::release(connection, catalogue, plan, mirror)?;
    let Some(sql) = statement::update(plan) else { return Ok(0) };
    let expected = if has_triggers { count_differing(connection, plan)? } else { 0 };
    let updated = execute(connection, plan, &sql)?;
    if updated < expected {
        return Err(DatabaseError::Constraint {
            table: plan.name.to_string(),
            constraint: "TRIGGER".to_owned(),
            detail: format!("a trigger kept {} rows from being updated", expected - updated),
        });
    }
    Ok(differed.unwrap_or(updated))
}

/// How many rows of the target differ from the backup's.
pub(super) fn count_differing(connection: &Connection, plan: &TablePlan) -> Result<u64, DatabaseError> {
    let Some(sql) = statement::count_of_differing(plan) else { return Ok(0) };
    let count: i64 = connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)?;
    Ok(count.unsigned_abs())
}

fn is_empty(connection: &Connection, plan: &TablePlan) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", statement::target_table(plan));
    connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)
}

/// A trigger of the shop may leave a row out without a word (`RAISE(IGNORE)`): it would be lost.
fn check_all_are_there(connection: &Connection, plan: &TablePlan) -> Result<(), DatabaseError> {
    let mut statement = connection.prepare(&statement::first_missing(plan)).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else { return Ok(()) };
    let number: i64 = row.get(0).map_err(failed)?;
    Err(DatabaseError::Constraint {
        table: plan.name.to_string(),
        constraint: "TRIGGER".to_owned(),
        detail: format!("a trigger left out row {number} of the backup"),
    })
}

/// Runs a statement that writes to the plan's table, and counts its rows.
pub(super) fn execute(connection: &Connection, plan: &TablePlan, sql: &str) -> Result<u64, DatabaseError> {
    let changed = connection.execute(sql, []).map_err(|error| refused(error, &plan.name))?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

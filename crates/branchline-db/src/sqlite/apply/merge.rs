//! Brings the staged rows into the shop's tables, under the write lock.

use std::time::Duration;

use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{DatabaseError, ForeignKeyCheck, MergeReport, TableMerge};
use branchline_core::schema::{TableName, parents_first};
use rusqlite::Connection;

use super::super::connect::three_times;
use super::super::error::{failed, refused};
use super::super::ledger::life::Lives;
use super::super::ledger::{self, knowledge, standing};
use super::super::schema::{self, Catalogue};
use super::plan::TablePlan;
use super::unique_swap::Leaving;
use super::versions::Versioned;
use super::{Work, absence, decide, foreign_keys, mirror, removal, spelling, statement, unique_swap};
use crate::stages::Stages;

/// Takes the write lock at the beginning: a lock that is asked for later can fail at once.
const BEGIN_IMMEDIATE: &str = "BEGIN IMMEDIATE";
const DEFER: &str = "PRAGMA defer_foreign_keys = ON";

/// Stages of the report during which the lock is held.
const LOCKED: [&str; 7] = ["compare", "decide", "update", "insert", "check", "delete", "record"];

/// Merges everything; the caller rolls back where it fails.
pub(super) fn run(work: &mut Work) -> Result<MergeReport, DatabaseError> {
    let Work { connection, request, catalogue, schema_version, plans, removals, lives, stages, .. } = work;
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
    let has_forms = spelling::adopt(connection, catalogue, plans)?;
    if spelling::adopt_keys(connection, removals)? || has_forms {
        stages.end("compare");
    }
    let versioned = Versioned::begin(connection, request, lives)?;
    let mut renewed = Vec::new();
    if let Some(versioned) = &versioned {
        renewed = decide_all(versioned, catalogue, plans, removals, &mut tables)?;
        stages.end("decide");
    }
    let was_empty = plans.iter().map(|plan| is_empty(connection, plan)).collect::<Result<Vec<_>, _>>()?;
    for &place in &order {
        let leaving = match removals.get(place) {
            Some(removals) if removals.rows > 0 => Leaving::Staged(removals),
            _ if request.mirror => Leaving::NotStaged,
            _ => Leaving::Nothing,
        };
        let merged = merge_table(connection, catalogue, &plans[place], leaving, stages)?;
        let table = &mut tables[place];
        table.inserted = merged.inserted;
        table.updated = merged.updated;
        table.unchanged += merged.unchanged;
    }
    let removed = removal::remove(connection, removals, order.iter().rev().copied())?;
    for (table, removed) in tables.iter_mut().zip(removed) {
        table.deleted = removed.gone;
        table.unchanged += removed.missing;
    }
    stages.end("delete");
    foreign_keys::check(connection, catalogue, plans, request.mirror && versioned.is_none())?;
    stages.end("check");
    if request.mirror && versioned.is_none() {
        mirror::check(connection, catalogue, plans)?;
        let removed = mirror::remove(connection, plans, order.iter().rev().copied())?;
        for (table, removed) in tables.iter_mut().zip(removed) {
            table.deleted += removed;
        }
        stages.end("delete");
    }
    let knowledge = match &versioned {
        Some(versioned) => Some(put_down(versioned, plans, removals, &renewed, &was_empty)?),
        None => held_here(connection)?,
    };
    stages.end("record");
    let stages = stages.report();
    let locked_for: Duration =
        stages.iter().filter(|(name, _)| LOCKED.contains(name)).map(|(_, taken)| *taken).sum();
    // SQLite counts broken keys row by row; the joins are there to say which row it is.
    Ok(MergeReport {
        tables,
        foreign_keys: ForeignKeyCheck::RowByRow,
        locked_for,
        stages,
        knowledge,
        held: Vec::new(),
        released: 0,
        day: Vec::new(),
    })
}

/// Decides every staged row, and what becomes of rows that a full backup does not hold; answers plans of those that
/// count as changes made here.
fn decide_all(
    versioned: &Versioned<'_>,
    catalogue: &Catalogue,
    plans: &mut [TablePlan],
    removals: &mut [TablePlan],
    tables: &mut [TableMerge],
) -> Result<Vec<TablePlan>, DatabaseError> {
    versioned.raise_clock()?;
    let mut renewed = Vec::new();
    let first_free = plans.len() + removals.len();
    for ((plan, removals), count) in plans.iter_mut().zip(removals).zip(tables) {
        let Some(table) = versioned.table(plan)? else { continue };
        renewed.extend(absence::table(versioned, plan, removals, &table, first_free + plan.place)?);
        decide::table(versioned, catalogue, plan, &table, false, count)?;
        decide::table(versioned, catalogue, removals, &table, true, count)?;
    }
    Ok(renewed)
}

/// Puts down what went in; answers all that is held here now.
fn put_down(
    versioned: &Versioned<'_>,
    plans: &[TablePlan],
    removals: &[TablePlan],
    renewed: &[TablePlan],
    was_empty: &[bool],
) -> Result<Knowledge, DatabaseError> {
    for ((plan, removals), &was_empty) in plans.iter().zip(removals).zip(was_empty) {
        let Some(table) = versioned.table(plan)? else { continue };
        if plan.rows > 0 {
            versioned.put_rows(plan, &table, was_empty)?;
        }
        versioned.put_removals(removals, &table)?;
    }
    versioned.forget_taken()?;
    for plan in plans {
        if let Some(table) = versioned.table(plan)? {
            versioned.note_as_ours(plan, &table)?;
        }
    }
    for plan in renewed {
        if let Some(table) = versioned.table(plan)? {
            versioned.note(plan, &table, "true")?;
        }
    }
    versioned.learn()
}

/// All that is held here, where changes are captured.
fn held_here(connection: &Connection) -> Result<Option<Knowledge>, DatabaseError> {
    if standing::read(connection)?.is_none() {
        return Ok(None);
    }
    knowledge::read(connection, &Lives::read(connection)?).map(Some)
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

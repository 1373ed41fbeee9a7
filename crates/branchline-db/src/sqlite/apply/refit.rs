//! Held rows of tables that did not fit when they came: once the table fits, their keys are what they are to it, and they
//! are tried again like all that are held (`retry`).
//!
//! Their lines are staged, each in the types that its columns have here now, and the texts of their keys are read back. A
//! row that a column of the key cannot hold stays as it was, with that reason. Where a row is held under the same key
//! already, the core decides between the two.

use branchline_core::backup::TableSummary;
use branchline_core::code::Explain;
use branchline_core::digest::Digest;
use branchline_core::merge::{LocalRow, Parties, decide_held};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ColumnName, TableName};
use rusqlite::{Connection, params};

use super::super::error::failed;
use super::super::ledger::conflict::{self, Conflict};
use super::super::ledger::held::{self, HeldLine};
use super::super::ledger::standing;
use super::super::schema::Catalogue;
use super::plan::{self, Staged, TablePlan};
use super::stage::{self, StagedLives};
use super::staging::Stager;
use super::statement::stage_table;
use super::unfit::why;
use super::versions::{Versioned, VersionedTable, staged_key};
use super::{decide, images};

const FORGET_EARLY: &str = "DELETE FROM branchline_stage.early WHERE place IN (?1, ?2)";

/// Looks at all of them; `first_free` is a place on the stage that no table has.
pub(super) fn all(
    versioned: &Versioned<'_>,
    catalogue: &Catalogue,
    lives: &mut StagedLives,
    first_free: usize,
) -> Result<(), DatabaseError> {
    let held = held::unfit(versioned.connection, &versioned.lives)?;
    if held.is_empty() {
        return Ok(());
    }
    let left_out = standing::read(versioned.connection)?.map(|standing| standing.left_out);
    let mut left_out = left_out.unwrap_or_default();
    left_out.extend(versioned.request.left_out.iter().cloned());
    for group in groups(held) {
        let Some(summary) = summary(&group[0]) else { continue };
        if left_out.contains(&summary.name) {
            continue;
        }
        let staged = Staged { marked: true, holds: true };
        match plan::of_table(catalogue, first_free, &summary, staged) {
            // A table with more key columns than the log has room for is never captured, and its rows stay held.
            Ok(plan) => {
                if let Some(captured) = versioned.captured(&summary.name) {
                    let base_here = versioned.lives.get(captured.base)?;
                    let in_part = versioned.is_in_part(captured);
                    let table = VersionedTable { captured, base: base_here, base_here, in_part };
                    settle(versioned, lives, plan, &table, &group)?;
                }
            }
            Err(error) => {
                if let Some(why) = why(catalogue, &summary, &error) {
                    for line in &group {
                        held::set_reason(versioned.connection, line.id, why.code, &why.reason)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Rows of one table with the same columns together.
fn groups(held: Vec<HeldLine>) -> Vec<Vec<HeldLine>> {
    let mut groups: Vec<Vec<HeldLine>> = Vec::new();
    for line in held {
        let same = |group: &&mut Vec<HeldLine>| {
            let first = &group[0];
            (&first.table, &first.columns, &first.key_columns)
                == (&line.table, &line.columns, &line.key_columns)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(line),
            None => groups.push(vec![line]),
        }
    }
    groups
}

/// The table of held rows as their backup described it; nothing where that cannot be read.
fn summary(held: &HeldLine) -> Option<TableSummary> {
    let key = held.key_columns.as_deref()?.lines().map(ColumnName::new);
    Some(TableSummary {
        name: TableName::new(held.table.as_str()).ok()?,
        columns: held.columns()?,
        key: key.collect::<Result<_, _>>().ok()?,
        fingerprint: Digest::of(&[]),
        rows: 0,
        deletions: 0,
        base: None,
        versioned: true,
        filtered: false,
    })
}

/// Gives the rows of a table the keys that they have here.
fn settle(
    versioned: &Versioned<'_>,
    lives: &mut StagedLives,
    mut plan: TablePlan,
    table: &VersionedTable<'_>,
    group: &[HeldLine],
) -> Result<(), DatabaseError> {
    let connection = versioned.connection;
    let mut removals = plan.of_removals(plan.place + 1);
    stage::make(connection, [&plan, &removals])?;
    let mut stager = Stager::new(connection, &mut plan, Some(&mut removals), lives)?;
    let mut staged = Vec::new();
    for line in group {
        match stager.row(&line.line, Some(&line.version)) {
            Ok((n, is_removal)) => staged.push((line, n, is_removal)),
            Err(error @ (DatabaseError::ValueNotHeld { .. } | DatabaseError::Row { .. })) => {
                held::set_reason(connection, line.id, error.code(), &error.to_string())?;
            }
            Err(error) => return Err(error),
        }
    }
    drop(stager);
    for (line, n, is_removal) in staged {
        let (key, readable) = key_of(connection, if is_removal { &removals } else { &plan }, table, n)?;
        if let Some(other) = held::of_key(connection, &versioned.lives, &line.table, &key)? {
            // What lost is held no more.
            if !wins(versioned, line, &other)? {
                held::remove(connection, line.id)?;
                continue;
            }
            held::remove(connection, other.id)?;
        }
        held::set_key(connection, line.id, &key, &readable)?;
    }
    for plan in [&plan, &removals] {
        connection.execute_batch(&format!("DROP TABLE {}", stage_table(plan))).map_err(failed)?;
    }
    let places = [plan.place, removals.place].map(|place| i64::try_from(place).unwrap_or(i64::MAX));
    connection.execute(FORGET_EARLY, places).map(drop).map_err(failed)
}

/// The text of a staged key, and the key as people read it.
fn key_of(
    connection: &Connection,
    plan: &TablePlan,
    table: &VersionedTable<'_>,
    n: i64,
) -> Result<(String, String), DatabaseError> {
    let values: Vec<_> = (0..plan.columns.len()).map(|place| format!("s.c{place}")).collect();
    let sql = format!(
        "SELECT {}, {} FROM {} AS s WHERE s.n = ?1",
        staged_key(plan, table),
        values.join(", "),
        stage_table(plan)
    );
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let mut rows = statement.query(params![n]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else {
        return Err(super::out_of_order("refit: a row that was staged is gone"));
    };
    let readable = images::readable_key(plan, &images::values(plan, row, 1)?);
    Ok((row.get(0).map_err(failed)?, readable))
}

/// Whether a row stays where another is held under the same key: as if the later had come while the other was held.
fn wins(versioned: &Versioned<'_>, line: &HeldLine, other: &HeldLine) -> Result<bool, DatabaseError> {
    let connection = versioned.connection;
    let is_later = line.id > other.id;
    let (held, incoming) = if is_later { (other, line) } else { (line, other) };
    let theirs = held::known(connection, &versioned.lives, incoming.backup)?;
    let ours = versioned.first_origin().parties.clone();
    let parties = Parties { theirs, receiver_behind: false, ..ours };
    let local = LocalRow { present: true, version: Some(held.version.clone()), ..LocalRow::default() };
    let verdict = decide_held(&incoming.version, &local, &parties.own, &parties);
    if verdict.is_conflict() {
        let conflict = Conflict {
            table: &incoming.table,
            key: &incoming.key,
            backup: incoming.backup,
            source: &incoming.source,
            verdict: decide::name(verdict),
            ours: Some(held.line.clone()),
            ours_at: None,
            theirs: incoming.line.clone(),
        };
        conflict::add(connection, &conflict)?;
    }
    Ok(verdict.takes() == is_later)
}

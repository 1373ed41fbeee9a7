//! Removes the rows whose keys stand on the stage for that, children before their parents.
//!
//! Rows are counted before the first is removed and after the last: a cascade may be faster than we are, and SQLite
//! does not count what it removes. Each is found by its key.

use branchline_core::ports::DatabaseError;
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ident::Ident;
use super::plan::TablePlan;
use super::rows::execute;
use super::stage::Removal;
use super::statement::{missing, same_key, stage_table, target_table};

/// What became of the keys of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Removed {
    /// Rows that were there and are gone.
    pub(super) gone: u64,
    /// Rows that the backup lists and that were not there.
    pub(super) missing: u64,
}

/// Removes them, table by table in the order given; answers by place, or says at which place it failed.
pub(super) fn remove(
    connection: &Connection,
    removals: &[TablePlan],
    order: impl Iterator<Item = usize>,
) -> Result<Vec<Removed>, (usize, DatabaseError)> {
    let mut found = Vec::with_capacity(removals.len());
    for (place, plan) in removals.iter().enumerate() {
        found.push(Found::count(connection, plan).map_err(|error| (place, error))?);
    }
    // Where rows carry no marks there is nothing to remove.
    for place in order.filter(|place| found.get(*place).is_some_and(|found| found.there > 0)) {
        execute(connection, &removals[place], &delete(&removals[place])).map_err(|error| (place, error))?;
    }
    let mut removed = Vec::with_capacity(removals.len());
    for (place, (plan, before)) in removals.iter().zip(found).enumerate() {
        let after = Found::count(connection, plan).map_err(|error| (place, error))?;
        removed.push(Removed { gone: before.there.saturating_sub(after.there), missing: before.missing });
    }
    Ok(removed)
}

/// What of the keys is here.
struct Found {
    there: u64,
    missing: u64,
}

impl Found {
    fn count(connection: &Connection, plan: &TablePlan) -> Result<Self, DatabaseError> {
        if plan.rows == 0 {
            return Ok(Self { there: 0, missing: 0 });
        }
        Ok(Self { there: count_there(connection, plan)?, missing: count_missing(connection, plan)? })
    }
}

/// How many of the keys on the stage are here.
fn count_there(connection: &Connection, plan: &TablePlan) -> Result<u64, DatabaseError> {
    let sql = format!(
        "SELECT count(*) FROM {} AS s CROSS JOIN {} AS t WHERE {}",
        stage_table(plan),
        target_table(plan),
        same_key(plan, "t", "s"),
    );
    connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs).map_err(failed)
}

/// How many of the keys that the backup lists are not here.
fn count_missing(connection: &Connection, plan: &TablePlan) -> Result<u64, DatabaseError> {
    let sql = format!(
        "SELECT count(*) FROM {} AS s WHERE {} AND {}",
        stage_table(plan),
        Removal::LISTED,
        missing(plan),
    );
    connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs).map_err(failed)
}

/// Removes the rows of a plan.
pub(super) fn delete(plan: &TablePlan) -> String {
    let key = |alias: &str| {
        let columns =
            plan.key.iter().map(|&place| format!("{alias}{}", Ident(plan.columns[place].name.as_str())));
        columns.collect::<Vec<_>>().join(", ")
    };
    format!(
        "DELETE FROM {t} WHERE ({}) IN (SELECT {} FROM {} AS s CROSS JOIN {t} AS t WHERE {})",
        key(""),
        key("t."),
        stage_table(plan),
        same_key(plan, "t", "s"),
        t = target_table(plan),
    )
}

/// Removes one row of a plan, by its number.
pub(super) fn delete_one(plan: &TablePlan) -> String {
    let all = delete(plan);
    let inner = all.strip_suffix(')').unwrap_or(&all);
    format!("{inner} AND s.n = ?1)")
}

/// Whether a row of a plan, by its number, is here.
pub(super) fn is_there(plan: &TablePlan) -> String {
    format!(
        "SELECT EXISTS (SELECT 1 FROM {} AS s CROSS JOIN {} AS t WHERE {} AND s.n = ?1)",
        stage_table(plan),
        target_table(plan),
        same_key(plan, "t", "s"),
    )
}

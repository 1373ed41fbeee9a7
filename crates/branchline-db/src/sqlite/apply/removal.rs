//! Removes the rows whose keys stand on the stage for that, children before their parents.
//!
//! Rows are counted before the first is removed and after the last: a cascade may be faster than we are, and SQLite
//! does not count what it removes. Each is found by its key.

use branchline_core::ports::DatabaseError;
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ident::Ident;
use super::merge::execute;
use super::plan::TablePlan;
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

/// Removes them, table by table in the order given; answers by place.
pub(super) fn remove(
    connection: &Connection,
    removals: &[TablePlan],
    order: impl Iterator<Item = usize>,
) -> Result<Vec<Removed>, DatabaseError> {
    let there = |plan: &TablePlan| if plan.rows == 0 { Ok(0) } else { count_there(connection, plan) };
    let before = removals.iter().map(there).collect::<Result<Vec<_>, _>>()?;
    let not_there = |plan: &TablePlan| if plan.rows == 0 { Ok(0) } else { count_missing(connection, plan) };
    let missing = removals.iter().map(not_there).collect::<Result<Vec<_>, DatabaseError>>()?;
    // Where rows carry no marks there is nothing to remove.
    let has_some = |place: &usize| before.get(*place).is_some_and(|&rows| rows > 0);
    for plan in order.filter(has_some).map(|place| &removals[place]) {
        execute(connection, plan, &delete(plan))?;
    }
    let removed = |((plan, before), missing): ((_, u64), _)| {
        Ok(Removed { gone: before.saturating_sub(there(plan)?), missing })
    };
    removals.iter().zip(before).zip(missing).map(removed).collect()
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

fn delete(plan: &TablePlan) -> String {
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

//! A mirror removes the rows of its tables that the backup does not hold.
//!
//! Before the first is removed: nothing outside the backup's tables may point at one of them. Rows of the backup
//! itself were checked already (`foreign_keys`). Children go before their parents; where a table points at itself, or
//! tables at each other, a cascade may be faster than we are, and SQLite does not count what it removes. So rows are
//! counted in every table before the first is removed, and after the last.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ForeignKey, Table, TableName};
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ident::Ident;
use super::super::schema::Catalogue;
use super::plan::TablePlan;
use super::rows::execute;
use super::statement::{not_staged, target_table};

/// Refuses where a row of a table outside the backup points at a row that would be removed.
pub(super) fn check(
    connection: &Connection,
    catalogue: &Catalogue,
    plans: &[TablePlan],
) -> Result<(), DatabaseError> {
    let find = |name: &TableName| plans.iter().find(|plan| plan.name == *name);
    for child in catalogue.schema.tables().filter(|table| find(&table.name).is_none()) {
        for key in &child.foreign_keys {
            let Some(plan) = find(&key.target) else { continue };
            let sql = points_at_what_goes(child, key, plan);
            if connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)? {
                return Err(refusal(child, key));
            }
        }
    }
    Ok(())
}

fn points_at_what_goes(child: &Table, key: &ForeignKey, plan: &TablePlan) -> String {
    let pairs = key.target_columns.iter().zip(&key.columns);
    let same = pairs.map(|(target, &place)| {
        format!("t.{} = c.{}", Ident(target.as_str()), Ident(child.columns[place].name.as_str()))
    });
    format!(
        "SELECT EXISTS (SELECT 1 FROM main.{} AS c JOIN {} AS t ON {} WHERE {})",
        Ident(child.name.as_str()),
        target_table(plan),
        same.collect::<Vec<_>>().join(" AND "),
        not_staged(plan, "t"),
    )
}

fn refusal(child: &Table, key: &ForeignKey) -> DatabaseError {
    if key.cascades {
        return DatabaseError::MirrorCascade { table: key.target.clone(), child: child.name.clone() };
    }
    DatabaseError::ForeignKey {
        table: child.name.to_string(),
        constraint: key.name.clone(),
        detail: format!("a row here points at a row of {} that the backup does not hold", key.target),
    }
}

/// Removes the rows that the backup does not hold, in the order given, and counts them, by the plan's place.
pub(super) fn remove(
    connection: &Connection,
    plans: &[TablePlan],
    order: impl Iterator<Item = usize>,
) -> Result<Vec<u64>, DatabaseError> {
    let too_many = |plan| count_not_staged(connection, plan);
    let before = plans.iter().map(too_many).collect::<Result<Vec<_>, _>>()?;
    for plan in order.filter(|&place| before[place] > 0).map(|place| &plans[place]) {
        let sql = format!("DELETE FROM {} AS t WHERE {}", target_table(plan), not_staged(plan, "t"));
        execute(connection, plan, &sql)?;
    }
    // What a trigger of the shop kept is still there.
    let removed = |(plan, before): (_, u64)| match before {
        0 => Ok(0),
        before => Ok(before.saturating_sub(count_not_staged(connection, plan)?)),
    };
    plans.iter().zip(before).map(removed).collect()
}

fn count_not_staged(connection: &Connection, plan: &TablePlan) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT count(*) FROM {} AS t WHERE {}", target_table(plan), not_staged(plan, "t"));
    let count: i64 = connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)?;
    Ok(count.unsigned_abs())
}

//! A mirror removes the rows of its tables that the backup does not hold.
//!
//! Before the first is removed: nothing outside the backup's tables may point at one of them. Rows of the backup
//! itself were checked already (`foreign_keys`). Children go before their parents, so that what is removed is
//! counted in its own table and no cascade runs.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ForeignKey, Table, TableName};
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ident::Ident;
use super::super::schema::Catalogue;
use super::merge::execute;
use super::plan::TablePlan;
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

/// Removes the rows that the backup does not hold, and counts them.
pub(super) fn remove(connection: &Connection, plan: &TablePlan) -> Result<u64, DatabaseError> {
    let sql = format!("DELETE FROM {} AS t WHERE {}", target_table(plan), not_staged(plan, "t"));
    execute(connection, plan, &sql)
}

//! Every row of the backup points at a row that is there, and that will stay.
//!
//! SQLite counts broken keys by itself and refuses the commit, but names none, and counts nothing where the rows
//! that point were written while the shop's program had foreign keys off. So each key is checked by one join over
//! the staged rows, before anything is removed: where a mirror removes what the backup does not hold, a row may only
//! point at what the backup holds.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ColumnName, ForeignKey, Table};
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ident::Ident;
use super::super::schema::Catalogue;
use super::plan::TablePlan;
use super::statement::{same_key, stage_table, target_table};

/// Checks the foreign keys of all staged rows.
pub(super) fn check(
    connection: &Connection,
    catalogue: &Catalogue,
    plans: &[TablePlan],
    mirror: bool,
) -> Result<(), DatabaseError> {
    for plan in plans.iter().filter(|plan| plan.rows > 0) {
        let Some((table, _)) = catalogue.find(&plan.name) else { continue };
        for key in &table.foreign_keys {
            let sql = first_orphan(plan, table, key, if mirror { plans } else { &[] });
            let mut statement = connection.prepare(&sql).map_err(failed)?;
            let mut rows = statement.query([]).map_err(failed)?;
            if let Some(row) = rows.next().map_err(failed)? {
                let number: i64 = row.get(0).map_err(failed)?;
                return Err(DatabaseError::ForeignKey {
                    table: plan.name.to_string(),
                    constraint: key.name.clone(),
                    detail: format!("row {number} of the backup points at no row of {}", key.target),
                });
            }
        }
    }
    Ok(())
}

/// The number of the first staged row that points at nothing. A NULL in any column of the key points nowhere.
fn first_orphan(plan: &TablePlan, table: &Table, key: &ForeignKey, mirrored: &[TablePlan]) -> String {
    let staged: Vec<_> = key.columns.iter().map(|&place| plan.staged(place)).collect();
    let pointers: Vec<String> = staged
        .iter()
        .zip(&key.columns)
        .map(|(staged, &place)| match staged {
            Some(column) => format!("s.c{column}"),
            None => format!("t.{}", Ident(table.columns[place].name.as_str())),
        })
        .collect();
    let mut from = format!("{} AS s", stage_table(plan));
    if staged.iter().any(Option::is_none) {
        // A column that the backup does not bring: its default, or what was there.
        from.push_str(&format!(" JOIN {} AS t ON {}", target_table(plan), same_key(plan, "t", "s")));
    }
    let set: Vec<_> = pointers.iter().map(|pointer| format!("{pointer} IS NOT NULL")).collect();
    let found = parent(key, &pointers, mirrored);
    format!("SELECT s.n FROM {from} WHERE {} AND NOT ({found}) LIMIT 1", set.join(" AND "))
}

/// That the row that is pointed at is there.
fn parent(key: &ForeignKey, pointers: &[String], mirrored: &[TablePlan]) -> String {
    let by_name = |name: &ColumnName| Ident(name.as_str()).to_string();
    let target = Ident(key.target.as_str());
    let in_target: Vec<_> = key.target_columns.iter().map(by_name).collect();
    let mut found =
        format!("EXISTS (SELECT 1 FROM main.{target} AS p WHERE {}", equal("p", &in_target, pointers));
    if let Some(plan) = mirrored.iter().find(|plan| plan.name == key.target) {
        let stays = format!(
            " AND EXISTS (SELECT 1 FROM {} AS q WHERE {})",
            stage_table(plan),
            same_key(plan, "p", "q")
        );
        found.push_str(&stays);
    }
    found + ")"
}

/// The target's column stands first: its affinity and collation decide, as they do when SQLite checks.
fn equal(alias: &str, columns: &[String], pointers: &[String]) -> String {
    let pairs = columns.iter().zip(pointers);
    pairs.map(|(column, pointer)| format!("{alias}.{column} = {pointer}")).collect::<Vec<_>>().join(" AND ")
}

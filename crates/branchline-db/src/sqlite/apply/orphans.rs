//! Staged rows that would point at nothing, found before anything is written: they are held, and what hangs on them is
//! found the next time round.
//!
//! A parent is there where its table has it, or the stage does. One that is about to be removed counts as there: it is
//! the removal that is held then (`blocks`).

use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ForeignKey, Table};
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ident::{Ident, collate};
use super::super::schema::Catalogue;
use super::holds::{Cause, Fault};
use super::plan::TablePlan;
use super::statement::{same_key, stage_table, target_table};

/// Finds them all.
pub(super) fn find(
    connection: &Connection,
    catalogue: &Catalogue,
    plans: &[TablePlan],
) -> Result<Vec<Fault>, DatabaseError> {
    let mut faults = Vec::new();
    for (index, plan) in plans.iter().enumerate().filter(|(_, plan)| plan.rows > 0) {
        let Some((table, _)) = catalogue.find(&plan.name) else { continue };
        for key in &table.foreign_keys {
            let mut statement = connection.prepare(&orphans(plan, table, key, plans)).map_err(failed)?;
            let mut rows = statement.query([]).map_err(failed)?;
            while let Some(row) = rows.next().map_err(failed)? {
                let n: i64 = row.get(0).map_err(failed)?;
                let error = DatabaseError::ForeignKey {
                    table: plan.name.to_string(),
                    constraint: key.name.clone(),
                    detail: format!("it points at no row of {}", key.target),
                };
                faults.push(Fault { index, is_removal: false, n, cause: Cause::Refused(error) });
            }
        }
    }
    Ok(faults)
}

fn orphans(plan: &TablePlan, table: &Table, key: &ForeignKey, plans: &[TablePlan]) -> String {
    let staged: Vec<_> = key.columns.iter().map(|&place| plan.staged(place)).collect();
    let pointers = staged.iter().zip(&key.columns).map(|(staged, &place)| match staged {
        Some(column) => format!("s.c{column}"),
        None => format!("t.{}", Ident(table.columns[place].name.as_str())),
    });
    let pointers: Vec<_> = pointers.collect();
    let mut from = format!("{} AS s", stage_table(plan));
    if staged.iter().any(Option::is_none) {
        // A column that the backup does not bring: what was there; a row that is new points nowhere by it.
        from.push_str(&format!(" JOIN {} AS t ON {}", target_table(plan), same_key(plan, "t", "s")));
    }
    let set: Vec<_> = pointers.iter().map(|pointer| format!("{pointer} IS NOT NULL")).collect();
    let mut found = vec![here(key, &pointers, plans)];
    found.extend(plans.iter().filter(|parent| parent.name == key.target).filter_map(|parent| {
        let columns = staged_target(parent, key)?;
        let same = columns.iter().zip(&pointers).map(|(column, pointer)| format!("x.{column} = {pointer}"));
        let same: Vec<_> = same.collect();
        Some(format!("EXISTS (SELECT 1 FROM {} AS x WHERE {})", stage_table(parent), same.join(" AND ")))
    }));
    format!("SELECT s.n FROM {from} WHERE {} AND NOT ({})", set.join(" AND "), found.join(" OR "))
}

/// That the row that is pointed at is here, and keeps the value that is pointed at.
fn here(key: &ForeignKey, pointers: &[String], plans: &[TablePlan]) -> String {
    let same = key.target_columns.iter().zip(pointers);
    let same: Vec<_> =
        same.map(|(column, pointer)| format!("p.{} = {pointer}", Ident(column.as_str()))).collect();
    let mut sql = format!(
        "EXISTS (SELECT 1 FROM main.{} AS p WHERE {}",
        Ident(key.target.as_str()),
        same.join(" AND ")
    );
    for parent in plans.iter().filter(|parent| parent.name == key.target) {
        let is_key = |name: &branchline_core::schema::ColumnName| {
            parent.key.iter().any(|&column| parent.columns[column].name == *name)
        };
        if !key.target_columns.iter().all(is_key) && staged_target(parent, key).is_some() {
            let own = same_key(parent, "p", "own");
            sql.push_str(&format!(
                " AND NOT EXISTS (SELECT 1 FROM {} AS own WHERE {own})",
                stage_table(parent)
            ));
        }
    }
    sql + ")"
}

/// The staged columns that a foreign key points at, each with the collation by which it is found; nothing where not
/// all of them are staged.
fn staged_target(parent: &TablePlan, key: &ForeignKey) -> Option<Vec<String>> {
    let column = |name: &branchline_core::schema::ColumnName| {
        let place = parent.columns.iter().position(|column| column.name == *name)?;
        let at = parent.key.iter().position(|&column| column == place);
        let collation = at.and_then(|at| parent.key_collations[at].as_deref());
        Some(format!("c{place}{}", collate(collation)))
    };
    key.target_columns.iter().map(column).collect()
}

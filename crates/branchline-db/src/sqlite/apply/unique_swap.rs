//! Unique values that change hands between rows.
//!
//! SQLite checks a unique key after each row and cannot put that off, so two rows that swap their values cannot be
//! updated one after the other. The rows that stand in the way (their value is wanted by another row of the backup,
//! and they themselves get another one, or are about to be removed) are given a placeholder first: NULL
//! where the column takes it, else a value that nobody else has. SQLite's columns take values of any class, so there
//! is always one, unless the table is STRICT with whole numbers (a random one then), or a rule of the shop refuses
//! it: that is [`DatabaseError::UniqueSwap`], and everything is rolled back.
//!
//! Not looked at: unique keys of which the backup brings only some columns, partial ones, and those over expressions
//! or generated columns. A swap there is refused as a unique conflict.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ColumnName, UniqueKey};
use rusqlite::Connection;

use super::super::affinity::{Affinity, ColumnForm};
use super::super::error::{failed, is_constraint};
use super::super::ident::{Ident, collate};
use super::super::schema::Catalogue;
use super::plan::TablePlan;
use super::statement::{not_staged, or_abort, same_key, stage_table, target_table};

/// Which rows of the table are about to be removed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leaving<'a> {
    /// None.
    Nothing,
    /// Those that the backup does not hold.
    NotStaged,
    /// Those whose keys stand on the stage for that.
    Staged(&'a TablePlan),
}

/// Gives placeholders to the rows that stand in the way; answers whether there were some.
pub(super) fn release(
    connection: &Connection,
    catalogue: &Catalogue,
    plan: &TablePlan,
    leaving: Leaving<'_>,
) -> Result<bool, DatabaseError> {
    let mut released = false;
    let Some((table, form)) = catalogue.find(&plan.name) else { return Ok(released) };
    for (unique, collations) in table.unique_keys.iter().zip(&form.unique_collations) {
        let Some(columns) =
            unique.columns.iter().map(|&place| plan.staged(place)).collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        // The key never changes, so a column of it cannot carry the placeholder.
        let free: Vec<usize> = columns.iter().copied().filter(|column| !plan.key.contains(column)).collect();
        let nullable = free.iter().copied().find(|&column| plan.columns[column].nullable);
        let Some(carrier) = nullable.or(free.first().copied()) else { continue };
        let in_the_way = in_the_way(plan, &columns, collations, leaving);
        if !exists(connection, &in_the_way)? {
            continue;
        }
        if is_followed(catalogue, plan, unique) {
            return Err(changes_hands(plan, unique));
        }
        released = true;
        connection.execute(&placeholder(plan, carrier, &in_the_way), []).map_err(|error| {
            if is_constraint(&error) { changes_hands(plan, unique) } else { failed(error) }
        })?;
    }
    Ok(released)
}

/// The keys of the target's rows that stand in the way (alias `r`).
fn in_the_way(plan: &TablePlan, columns: &[usize], collations: &[String], leaving: Leaving<'_>) -> String {
    let same_value = |staged: &str| {
        let same = columns.iter().zip(collations).map(|(&column, collation)| {
            let name = Ident(plan.columns[column].name.as_str());
            format!("r.{name} = {staged}.c{column}{}", collate(Some(collation)))
        });
        same.collect::<Vec<_>>().join(" AND ")
    };
    let key: Vec<_> =
        plan.key.iter().map(|&column| format!("r.{}", Ident(plan.columns[column].name.as_str()))).collect();
    let stage = stage_table(plan);
    let changes = format!(
        "EXISTS (SELECT 1 FROM {stage} AS own WHERE {} AND ({}) IS NOT TRUE)",
        same_key(plan, "r", "own"),
        same_value("own"),
    );
    let goes = match leaving {
        Leaving::Nothing => String::new(),
        Leaving::NotStaged => format!(" OR {}", not_staged(plan, "r")),
        Leaving::Staged(removals) => format!(" OR NOT ({})", not_staged(removals, "r")),
    };
    // CROSS JOIN: from the staged rows to the target's, by its unique index, and not the other way round.
    format!(
        "SELECT {} FROM {stage} AS s CROSS JOIN {} AS r WHERE {} AND NOT ({}) AND ({changes}{goes})",
        key.join(", "),
        target_table(plan),
        same_value("s"),
        same_key(plan, "r", "s"),
    )
}

fn placeholder(plan: &TablePlan, carrier: usize, in_the_way: &str) -> String {
    let key: Vec<_> =
        plan.key.iter().map(|&column| Ident(plan.columns[column].name.as_str()).to_string()).collect();
    let column = &plan.columns[carrier];
    let value = if column.nullable { "NULL" } else { value_of_nobody(column.form) };
    format!(
        "UPDATE {}{} SET {} = {value} WHERE ({}) IN ({in_the_way})",
        or_abort(plan),
        target_table(plan),
        Ident(column.name.as_str()),
        key.join(", "),
    )
}

/// An expression for a value that no row has.
fn value_of_nobody(form: ColumnForm) -> &'static str {
    match (form.affinity, form.strict) {
        (Affinity::Text, _) => "'branchline:' || hex(randomblob(16))",
        (Affinity::Integer, true) => "random()",
        (Affinity::Real, true) => "random() * 1e280",
        _ => "randomblob(16)",
    }
}

/// Whether rows that point at this unique key are changed along with it: they would follow the placeholder.
fn is_followed(catalogue: &Catalogue, plan: &TablePlan, unique: &UniqueKey) -> bool {
    let is_in_key = |name: &ColumnName| {
        plan.columns.iter().any(|c| c.name == *name && unique.columns.contains(&c.target))
    };
    catalogue.schema.tables().filter_map(|table| catalogue.find(&table.name)).any(|(table, form)| {
        table.foreign_keys.iter().zip(&form.cascades_on_update).any(|(key, &follows)| {
            follows && key.target == plan.name && key.target_columns.iter().any(is_in_key)
        })
    })
}

fn exists(connection: &Connection, select: &str) -> Result<bool, DatabaseError> {
    connection.query_row(&format!("SELECT EXISTS ({select})"), [], |row| row.get(0)).map_err(failed)
}

fn changes_hands(plan: &TablePlan, unique: &UniqueKey) -> DatabaseError {
    DatabaseError::UniqueSwap { table: plan.name.clone(), constraint: unique.name.clone() }
}

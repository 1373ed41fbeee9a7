//! The SQL of an apply, made from a plan.
//!
//! Names of the shop come in through `Ident` alone; names on the stage are ours. Aliases: `t` is the target's row,
//! `s` the staged one.

use super::super::affinity::Affinity;
use super::super::ident::{Ident, collate};
use super::plan::TablePlan;

/// The table of a plan on the stage.
pub(super) fn stage_table(plan: &TablePlan) -> String {
    format!("branchline_stage.r{}", plan.place)
}

/// The target's table.
pub(super) fn target_table(plan: &TablePlan) -> String {
    format!("main.{}", Ident(plan.name.as_str()))
}

pub(super) fn create_stage(plan: &TablePlan) -> String {
    let mut sql = format!("CREATE TABLE {} (n INTEGER PRIMARY KEY", stage_table(plan));
    for (place, column) in plan.columns.iter().enumerate() {
        sql.push_str(&format!(", c{place} {}", column.form.affinity.declaration()));
    }
    if plan.marked {
        for column in MARK_COLUMNS {
            sql.push_str(&format!(", {column} INTEGER"));
        }
    }
    sql + ")"
}

/// What stands on the stage after the values of a row that carries a mark: its version (the lives by their places in
/// the apply's list), and what is done with it (`marks`).
pub(super) const MARK_COLUMNS: [&str; 6] =
    ["life", "generation", "time", "was_life", "was_generation", "kind"];

pub(super) fn insert_into_stage(plan: &TablePlan) -> String {
    let marks = if plan.marked { MARK_COLUMNS.len() } else { 0 };
    let parameters: Vec<_> =
        (1..=plan.columns.len() + 1 + marks).map(|number| format!("?{number}")).collect();
    format!("INSERT INTO {} VALUES ({})", stage_table(plan), parameters.join(", "))
}

pub(super) fn index_stage(plan: &TablePlan) -> String {
    let place = plan.place;
    let columns = plan.key.iter().zip(&plan.key_collations);
    let columns: Vec<_> =
        columns.map(|(column, collation)| format!("c{column}{}", collate(collation.as_deref()))).collect();
    format!("CREATE UNIQUE INDEX branchline_stage.k{place} ON r{place} ({})", columns.join(", "))
}

/// That a row of the target (alias `target`) and a staged one (alias `staged`) have the same key.
pub(super) fn same_key(plan: &TablePlan, target: &str, staged: &str) -> String {
    let same = |(column, collation): (&usize, &Option<String>)| {
        let name = Ident(plan.columns[*column].name.as_str());
        format!("{target}.{name} = {staged}.c{column}{}", collate(collation.as_deref()))
    };
    plan.key.iter().zip(&plan.key_collations).map(same).collect::<Vec<_>>().join(" AND ")
}

/// The same, for a query that is to go through the staged rows and look the target's up: without the `+`, SQLite may go
/// through the whole table of the shop, and look the staged rows up.
pub(super) fn same_key_from_stage(plan: &TablePlan, target: &str, staged: &str) -> String {
    let same = |(column, collation): (&usize, &Option<String>)| {
        let name = Ident(plan.columns[*column].name.as_str());
        format!("{target}.{name} = (+{staged}.c{column}){}", collate(collation.as_deref()))
    };
    plan.key.iter().zip(&plan.key_collations).map(same).collect::<Vec<_>>().join(" AND ")
}

/// Updates the rows that differ in any column that the backup brings; nothing where it brings the key alone.
pub(super) fn update(plan: &TablePlan) -> Option<String> {
    let sets: Vec<_> = written(plan)
        .map(|place| format!("{} = s.c{place}", Ident(plan.columns[place].name.as_str())))
        .collect();
    Some(format!(
        "UPDATE {}{} AS t SET {} FROM {} AS s WHERE {} AND {}",
        or_abort(plan),
        target_table(plan),
        sets.join(", "),
        stage_table(plan),
        same_key_from_stage(plan, "t", "s"),
        differ(plan)?,
    ))
}

/// Counts the rows that the target has, and those of them that [`update`] would update.
///
/// The inner LIMIT keeps the two queries apart: as one it would name every column inside of an aggregate, and SQLite
/// allows 2,000 such terms.
pub(super) fn count_matched(plan: &TablePlan) -> String {
    let differ = differ(plan).unwrap_or_else(|| "FALSE".to_owned());
    format!(
        "SELECT count(*), count(CASE WHEN d THEN 1 END) FROM (SELECT {differ} AS d FROM {} AS s CROSS JOIN {} AS t WHERE {} LIMIT -1)",
        stage_table(plan),
        target_table(plan),
        same_key(plan, "t", "s"),
    )
}

/// The columns that an update writes, as places in the plan's columns.
fn written(plan: &TablePlan) -> impl Iterator<Item = usize> {
    let in_key = |place: usize| plan.key.iter().position(|&column| column == place);
    (0..plan.columns.len()).filter(move |&place| in_key(place).is_none_or(|at| plan.key_may_differ(at)))
}

/// That a row of the target and a staged one of the same key differ; nothing where they cannot.
///
/// Texts are compared byte by byte, whatever the column's collation, and values of untyped columns by their storage
/// class as well: 1 and 1.0 are equal to SQLite and different to the shop. One row-value comparison, because a chain
/// of ORs ends at a depth of 1,000.
pub(super) fn differ(plan: &TablePlan) -> Option<String> {
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for place in written(plan) {
        let column = &plan.columns[place];
        let name = Ident(column.name.as_str());
        here.push(format!("t.{name} COLLATE BINARY"));
        there.push(format!("s.c{place}"));
        if column.form.affinity == Affinity::Blob {
            here.push(format!("typeof(t.{name})"));
            there.push(format!("typeof(s.c{place})"));
        }
    }
    if here.is_empty() {
        return None;
    }
    Some(format!("({}) IS NOT ({})", here.join(", "), there.join(", ")))
}

/// Inserts the rows that are missing; all of them where the target `is_empty`.
pub(super) fn insert(plan: &TablePlan, is_empty: bool) -> String {
    let names: Vec<_> = plan.columns.iter().map(|column| Ident(column.name.as_str()).to_string()).collect();
    let values: Vec<_> = (0..plan.columns.len()).map(|place| format!("s.c{place}")).collect();
    let missing = if is_empty { String::new() } else { format!(" WHERE {}", missing(plan)) };
    format!(
        "INSERT {}INTO {} ({}) SELECT {} FROM {} AS s{missing}",
        or_abort(plan),
        target_table(plan),
        names.join(", "),
        values.join(", "),
        stage_table(plan),
    )
}

/// The statements that bring in one row, by its number.
pub(super) fn one(plan: &TablePlan) -> Vec<String> {
    let statements = update(plan).into_iter().chain([insert(plan, false)]);
    statements.map(|sql| format!("{sql} AND s.n = ?1")).collect()
}

/// Whether a row, by its number, is not here.
pub(super) fn is_missing(plan: &TablePlan) -> String {
    format!("SELECT EXISTS (SELECT 1 FROM {} AS s WHERE s.n = ?1 AND {})", stage_table(plan), missing(plan))
}

/// That a staged row (alias `s`) has no row of its key here.
pub(super) fn missing(plan: &TablePlan) -> String {
    format!("NOT EXISTS (SELECT 1 FROM {} AS t WHERE {})", target_table(plan), same_key(plan, "t", "s"))
}

/// That the row of the target with alias `target` is not on the stage.
pub(super) fn not_staged(plan: &TablePlan, target: &str) -> String {
    format!("NOT EXISTS (SELECT 1 FROM {} AS own WHERE {})", stage_table(plan), same_key(plan, target, "own"))
}

/// `OR ABORT ` overrules the declaration's own conflict clauses. Only where there are some: it would overrule those
/// in the shop's triggers as well.
pub(super) fn or_abort(plan: &TablePlan) -> &'static str {
    if plan.overrule_conflicts { "OR ABORT " } else { "" }
}

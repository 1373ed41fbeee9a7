//! Removes the rows whose keys stand on the stage for that, children before their parents.
//!
//! Rows are counted before the first is removed and after the last: a cascade may be faster than we are, and SQLite
//! does not count what it removes. Each is found by its key.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ident::Ident;
use super::super::schema::{Catalogue, OnDelete};
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

/// A removal, counted from before the first row was written.
pub(super) struct Removals<'a> {
    connection: &'a Connection,
    plans: &'a [TablePlan],
    /// What of their keys was here.
    found: Vec<Found>,
}

/// A failure, with the place of its plan.
pub(super) type Failed = (usize, DatabaseError);

impl<'a> Removals<'a> {
    /// Counts what is here.
    pub(super) fn count(connection: &'a Connection, plans: &'a [TablePlan]) -> Result<Self, Failed> {
        let found = |(place, plan)| Found::count(connection, plan).map_err(|error| (place, error));
        let found = plans.iter().enumerate().map(found).collect::<Result<_, _>>()?;
        Ok(Self { connection, plans, found })
    }

    /// Removes the rows of tables with unique indexes that no placeholder can free (`unique_swap` looks at the others
    /// only), so that what comes in can have their values. Only where nothing follows a deletion at once.
    pub(super) fn remove_early(&self, catalogue: &Catalogue) -> Result<(), Failed> {
        for place in 0..self.plans.len() {
            let name = &self.plans[place].name;
            let is_odd = catalogue.find(name).is_some_and(|(_, form)| !form.odd_uniques.is_empty());
            if is_odd && !is_followed(catalogue, name) {
                self.remove_of(place)?;
            }
        }
        Ok(())
    }

    /// Removes the rows, table by table in the order given; answers by place.
    pub(super) fn remove(&self, order: impl Iterator<Item = usize>) -> Result<Vec<Removed>, Failed> {
        order.into_iter().try_for_each(|place| self.remove_of(place))?;
        let mut removed = Vec::with_capacity(self.plans.len());
        for (place, (plan, before)) in self.plans.iter().zip(&self.found).enumerate() {
            let after = Found::count(self.connection, plan).map_err(|error| (place, error))?;
            removed.push(Removed { gone: before.there.saturating_sub(after.there), missing: before.missing });
        }
        Ok(removed)
    }

    /// Where rows carry no marks there is nothing to remove.
    fn remove_of(&self, place: usize) -> Result<(), Failed> {
        let Some(plan) = self.plans.get(place).filter(|_| self.found[place].there > 0) else { return Ok(()) };
        execute(self.connection, plan, &delete(plan)).map(drop).map_err(|error| (place, error))
    }
}

/// Whether something happens at once to rows that point at a row of the table which is deleted.
fn is_followed(catalogue: &Catalogue, name: &TableName) -> bool {
    catalogue.schema.tables().filter_map(|table| catalogue.find(&table.name)).any(|(table, form)| {
        let mut keys = table.foreign_keys.iter().zip(&form.on_delete);
        keys.any(|(key, &action)| key.target == *name && action != OnDelete::Nothing)
    })
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

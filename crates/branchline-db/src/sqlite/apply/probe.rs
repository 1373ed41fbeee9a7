//! Tries the staged rows of one table one by one, to find those that a rule of the shop's schema refuses.
//!
//! Only where a statement over all of them failed: it says which rule, and not which row. All of it is taken back.

use branchline_core::ports::DatabaseError;
use rusqlite::{Connection, params};

use super::super::error::{failed, refused};
use super::super::schema::Catalogue;
use super::plan::TablePlan;
use super::statement::stage_table;
use super::unique_swap::Leaving;
use super::{removal, statement, unique_swap};

/// The numbers of the rows that cannot be written, each with the reason.
pub(super) fn find(
    connection: &Connection,
    catalogue: &Catalogue,
    plan: &TablePlan,
    is_removal: bool,
    leaving: Leaving<'_>,
) -> Result<Vec<(i64, DatabaseError)>, DatabaseError> {
    let list = format!("SELECT n FROM {} ORDER BY n", stage_table(plan));
    let mut statement = connection.prepare(&list).map_err(failed)?;
    let numbers = statement.query_map([], |row| row.get(0)).map_err(failed)?;
    let numbers = numbers.collect::<rusqlite::Result<Vec<i64>>>().map_err(failed)?;
    connection.execute_batch("SAVEPOINT branchline_probe").map_err(failed)?;
    let result = find_in(connection, catalogue, plan, is_removal, leaving, &numbers);
    let end = "ROLLBACK TO branchline_probe; RELEASE branchline_probe";
    connection.execute_batch(end).map_err(failed)?;
    result
}

fn find_in(
    connection: &Connection,
    catalogue: &Catalogue,
    plan: &TablePlan,
    is_removal: bool,
    leaving: Leaving<'_>,
    numbers: &[i64],
) -> Result<Vec<(i64, DatabaseError)>, DatabaseError> {
    if !is_removal {
        match unique_swap::release(connection, catalogue, plan, leaving) {
            // Without placeholders a row that swaps is refused like any other that stands in the way.
            Ok(_) | Err(DatabaseError::UniqueSwap { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let one = if is_removal { vec![removal::delete_one(plan)] } else { statement::one(plan) };
    let mut found = Vec::new();
    for &n in numbers {
        connection.execute_batch("SAVEPOINT branchline_row").map_err(failed)?;
        let written = write(connection, plan, &one, n, is_removal);
        let end = match &written {
            Ok(()) => "RELEASE branchline_row",
            Err(_) => "ROLLBACK TO branchline_row; RELEASE branchline_row",
        };
        connection.execute_batch(end).map_err(failed)?;
        match written {
            Ok(()) => {}
            Err(error) if super::merge::is_about_a_row(&error) => found.push((n, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn write(
    connection: &Connection,
    plan: &TablePlan,
    one: &[String],
    n: i64,
    is_removal: bool,
) -> Result<(), DatabaseError> {
    for sql in one {
        connection.execute(sql, params![n]).map_err(|error| refused(error, &plan.name))?;
    }
    let check = if is_removal { removal::is_there(plan) } else { statement::is_missing(plan) };
    // A trigger of the shop that leaves a row out says nothing.
    if connection.query_row(&check, params![n], |row| row.get(0)).map_err(failed)? {
        return Err(DatabaseError::Constraint {
            table: plan.name.to_string(),
            constraint: "TRIGGER".to_owned(),
            detail: "a trigger did not let it through".to_owned(),
        });
    }
    Ok(())
}

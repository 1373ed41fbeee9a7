//! The stage: a temporary database on disk, attached to the session under a name of ours.
//!
//! Table `r0` holds the rows of the backup's first table: `n` is a row's number in it, `c0`, `c1` … its values, under
//! the affinities of the target's columns, so that a value that stays as it is here stays so there.
//! SQLite removes the file when the session ends, however it ends; it has no journal, because nothing in it is ever
//! taken back: a merge writes to it (`spelling`), and one that is rolled back leaves it unreadable, and the session
//! good for nothing but its end. Memory: a page cache of 8 MiB.

use branchline_core::backup::RowBatch;
use branchline_core::backup::v1::RowReader;
use branchline_core::ports::DatabaseError;
use branchline_core::value::{Value, convert};
use rusqlite::{Connection, Statement};

use super::super::error::{failed, is_constraint};
use super::super::stored::Stored;
use super::plan::{PlannedColumn, TablePlan};
use super::statement;

const ATTACH: &str = "ATTACH '' AS branchline_stage;
    PRAGMA branchline_stage.journal_mode = OFF;
    PRAGMA branchline_stage.synchronous = OFF;
    PRAGMA branchline_stage.cache_size = -8192;";

/// Gives back the stage's pages before the merge reads others. As `rusqlite` builds SQLite, all caches of a process
/// count as one: where one is over its size, the others keep nothing, and each look-up reads its pages anew.
const SHRINK: &str = "PRAGMA shrink_memory";

/// Attaches the stage, makes its tables, and opens the transaction in which rows are put on it. That transaction
/// touches no other database, and so takes no lock of the shop's.
pub(super) fn create(connection: &Connection, plans: &[TablePlan]) -> Result<(), DatabaseError> {
    connection.execute_batch(ATTACH).map_err(failed)?;
    connection.execute_batch(super::BEGIN).map_err(failed)?;
    for plan in plans {
        connection.execute_batch(&statement::create_stage(plan)).map_err(failed)?;
    }
    Ok(())
}

/// Puts rows on the stage, each value checked against the column that it is for.
pub(super) fn rows(
    connection: &Connection,
    plan: &mut TablePlan,
    batch: &RowBatch,
) -> Result<(), DatabaseError> {
    let reader = RowReader::new(&plan.name, &plan.summaries);
    let mut insert = connection.prepare(&statement::insert_into_stage(plan)).map_err(failed)?;
    let mut values: Vec<Value<'_>> = Vec::with_capacity(plan.columns.len());
    for object in batch.objects() {
        plan.rows += 1;
        let row = plan.rows;
        let unreadable = |error| DatabaseError::Row { table: plan.name.clone(), error };
        reader.read(object, row, &mut values).map_err(unreadable)?;
        insert.raw_bind_parameter(1, row.cast_signed()).map_err(failed)?;
        for (place, (value, column)) in values.drain(..).zip(&plan.columns).enumerate() {
            let not_held = |reason| DatabaseError::ValueNotHeld {
                table: plan.name.clone(),
                column: column.name.to_string(),
                row,
                reason,
            };
            if value == Value::Null && plan.key.contains(&place) {
                return Err(not_held("a key cannot be NULL".to_owned()));
            }
            bind(&mut insert, place + 2, value, column).map_err(|refusal| match refusal {
                Refusal::NotHeld(reason) => not_held(reason),
                Refusal::Failed(error) => failed(error),
            })?;
        }
        insert.raw_execute().map_err(failed)?;
    }
    Ok(())
}

/// Why a value is not on the stage.
enum Refusal {
    NotHeld(String),
    Failed(rusqlite::Error),
}

fn bind(
    insert: &mut Statement<'_>,
    parameter: usize,
    value: Value<'_>,
    column: &PlannedColumn,
) -> Result<(), Refusal> {
    let value =
        convert(value, &column.from, &column.to).map_err(|error| Refusal::NotHeld(error.to_string()))?;
    let kind = value.kind();
    let stored = Stored::for_column(value, &column.from, column.form).ok_or_else(|| {
        let affinity = column.form.affinity;
        Refusal::NotHeld(format!(
            "SQLite would change this value ({kind:?}) in a column of {affinity:?} affinity"
        ))
    })?;
    insert.raw_bind_parameter(parameter, stored).map_err(Refusal::Failed)
}

/// Ends the staging: rows are found by their keys from here on, and two with one key are refused.
pub(super) fn finish(connection: &Connection, plans: &[TablePlan]) -> Result<(), DatabaseError> {
    for plan in plans {
        connection.execute_batch(&statement::index_stage(plan)).map_err(|error| {
            if !is_constraint(&error) {
                return failed(error);
            }
            DatabaseError::Unique {
                table: plan.name.to_string(),
                constraint: "PRIMARY KEY".to_owned(),
                detail: "two rows of the backup have the same key here".to_owned(),
            }
        })?;
    }
    connection.execute_batch(super::COMMIT).map_err(failed)?;
    connection.execute_batch(SHRINK).map_err(failed)
}

//! The stage: a temporary database on disk, attached to the session under a name of ours.
//!
//! Table `r0` holds the rows of the backup's first table: `n` is a row's number in it, `c0`, `c1` … its values, under
//! the affinities of the target's columns, so that a value that stays as it is here stays so there.
//! Where rows carry marks, their versions stand beside the values, and deletions on a table of their own (`r7` …), with
//! the key's columns alone.
//! SQLite removes the file when the session ends, however it ends; it has no journal, because nothing in it is ever
//! taken back: a merge writes to it (`spelling`), and one that is rolled back leaves it unreadable, and the session
//! good for nothing but its end. Memory: a page cache of 8 MiB.

use branchline_core::backup::RowBatch;
use branchline_core::backup::v1::{Deletion, RowMark, RowReader};
use branchline_core::ports::DatabaseError;
use branchline_core::value::{Value, convert};
use branchline_core::version::{Life, Version};
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
pub(super) fn create<'a>(
    connection: &Connection,
    plans: impl IntoIterator<Item = &'a TablePlan>,
) -> Result<(), DatabaseError> {
    connection.execute_batch(ATTACH).map_err(failed)?;
    connection.execute_batch(super::BEGIN).map_err(failed)?;
    for plan in plans {
        connection.execute_batch(&statement::create_stage(plan)).map_err(failed)?;
    }
    Ok(())
}

/// Puts rows on the stage, each value checked against the column that it is for; deletions beside them.
pub(super) fn rows(
    connection: &Connection,
    plan: &mut TablePlan,
    mut removals: Option<&mut TablePlan>,
    lives: &mut StagedLives,
    batch: &RowBatch,
) -> Result<(), DatabaseError> {
    let reader = RowReader::new(&plan.name, &plan.summaries);
    let mut insert = connection.prepare(&statement::insert_into_stage(plan)).map_err(failed)?;
    let remove =
        removals.as_ref().map(|removals| connection.prepare(&statement::insert_into_stage(removals)));
    let mut remove = remove.transpose().map_err(failed)?;
    let mut values: Vec<Value<'_>> = Vec::with_capacity(plan.columns.len());
    for object in batch.objects() {
        let row = plan.rows + removals.as_ref().map_or(0, |removals| removals.rows) + 1;
        let unreadable = |error| DatabaseError::Row { table: plan.name.clone(), error };
        let mark = if plan.marked {
            reader.read_marked(object, row, &plan.key, &mut values).map_err(unreadable)?
        } else {
            reader.read(object, row, &mut values).map_err(unreadable)?;
            RowMark::default()
        };
        if let (Some(deletion), Some(removals), Some(remove)) =
            (mark.deletion, removals.as_mut(), remove.as_mut())
        {
            let keys = plan.key.iter().map(|&place| values[place].clone()).collect::<Vec<_>>();
            put(remove, removals, row, keys.into_iter())?;
            let kind = match deletion {
                Deletion::Deleted => Removal::Deleted,
                Deletion::OutOfScope => Removal::OutOfScope,
            };
            let first = removals.columns.len() + 2;
            bind_mark(remove, first, mark.version.as_ref(), Some(kind as i64), lives).map_err(failed)?;
            remove.raw_execute().map_err(failed)?;
            removals.rows += 1;
            continue;
        }
        put(&mut insert, plan, row, values.drain(..))?;
        if plan.marked {
            let first = plan.columns.len() + 2;
            bind_mark(&mut insert, first, mark.version.as_ref(), None, lives).map_err(failed)?;
        }
        insert.raw_execute().map_err(failed)?;
        plan.rows += 1;
    }
    Ok(())
}

/// Binds a row's number and values.
fn put<'a>(
    insert: &mut Statement<'_>,
    plan: &TablePlan,
    row: u64,
    values: impl Iterator<Item = Value<'a>>,
) -> Result<(), DatabaseError> {
    insert.raw_bind_parameter(1, row.cast_signed()).map_err(failed)?;
    for (place, (value, column)) in values.zip(&plan.columns).enumerate() {
        let not_held = |reason| DatabaseError::ValueNotHeld {
            table: plan.name.clone(),
            column: column.name.to_string(),
            row,
            reason,
        };
        if value == Value::Null && plan.key.contains(&place) {
            return Err(not_held("a key cannot be NULL".to_owned()));
        }
        bind(insert, place + 2, value, column).map_err(|refusal| match refusal {
            Refusal::NotHeld(reason) => not_held(reason),
            Refusal::Failed(error) => failed(error),
        })?;
    }
    Ok(())
}

fn bind_mark(
    insert: &mut Statement<'_>,
    first: usize,
    version: Option<&Version>,
    kind: Option<i64>,
    lives: &mut StagedLives,
) -> rusqlite::Result<()> {
    let was = version.and_then(|version| version.was.as_ref());
    let dots = [version.map(|version| &version.dot), was];
    let [(life, generation), (was_life, was_generation)] = dots.map(|dot| {
        (dot.map(|dot| lives.place(&dot.life)), dot.map(|dot| dot.generation.value().cast_signed()))
    });
    let time = version.map(|version| version.time.micros().cast_signed());
    for (at, value) in [life, generation, time, was_life, was_generation, kind].into_iter().enumerate() {
        insert.raw_bind_parameter(first + at, value)?;
    }
    Ok(())
}

/// The lives that staged versions speak of. The ledger numbers them only under the write lock.
#[derive(Debug, Default)]
pub(super) struct StagedLives(Vec<Life>);

impl StagedLives {
    fn place(&mut self, life: &Life) -> i64 {
        let known = self.0.iter().position(|known| known == life);
        let place = known.unwrap_or_else(|| {
            self.0.push(life.clone());
            self.0.len() - 1
        });
        i64::try_from(place).unwrap_or(i64::MAX)
    }

    /// The life at that place.
    pub(super) fn get(&self, place: i64) -> Option<&Life> {
        self.0.get(usize::try_from(place).ok()?)
    }

    /// All of them, each with its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Life)> {
        (0..).zip(&self.0)
    }
}

/// Why a row is removed, as the stage says it in `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// The backup says that it was deleted: a tombstone is left.
    Deleted = 0,
    /// A full backup does not hold it, and its source knew it: nothing is left.
    Absent = 1,
    /// It left what the two servers share: nothing is left.
    OutOfScope = 2,
    /// A mirror does not hold it, and its source never knew it: that is a deletion made here.
    Mirrored = 3,
}

impl Removal {
    /// Whether the backup lists the row itself, as a condition on the stage.
    pub(super) const LISTED: &'static str = "s.kind IN (0, 2)";
    /// Whether the row goes with what the ledger knows of it, and leaves no tombstone.
    pub(super) const FORGOTTEN: &'static str = "s.kind IN (1, 2)";
    /// Whether the removal is the backup's, and no change made here.
    pub(super) const OF_THE_BACKUP: &'static str = "s.kind IN (0, 1, 2)";
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
pub(super) fn finish<'a>(
    connection: &Connection,
    plans: impl IntoIterator<Item = &'a TablePlan>,
) -> Result<(), DatabaseError> {
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

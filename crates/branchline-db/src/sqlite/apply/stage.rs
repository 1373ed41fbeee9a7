//! The stage: a temporary database on disk, attached to the session under a name of ours.
//!
//! Table `r0` holds the rows of the backup's first table: `n` is a row's number in it, `c0`, `c1` … its values, under
//! the affinities of the target's columns, so that a value that stays as it is here stays so there.
//! Where rows carry marks, their versions stand beside the values, and deletions on a table of their own (`r7` …), with
//! the key's columns alone.
//! SQLite removes the file when the session ends, however it ends; it has no journal, because nothing in it is ever
//! taken back: a merge writes to it (`spelling`), and one that is rolled back leaves it unreadable, and the session
//! good for nothing but its end. Memory: a page cache of 8 MiB.

use branchline_core::ports::DatabaseError;
use branchline_core::version::Life;
use rusqlite::Connection;

use super::super::error::{failed, is_constraint};
use super::plan::TablePlan;
use super::statement;

const ATTACH: &str = "ATTACH '' AS branchline_stage;
    PRAGMA branchline_stage.journal_mode = OFF;
    PRAGMA branchline_stage.synchronous = OFF;
    PRAGMA branchline_stage.cache_size = -8192;";

/// Gives back the stage's pages before the merge reads others. As `rusqlite` builds SQLite, all caches of a process
/// count as one: where one is over its size, the others keep nothing, and each look-up reads its pages anew.
const SHRINK: &str = "PRAGMA shrink_memory";

/// Rows that cannot go in, as was seen when they were staged: with the line that they stand in.
const EARLY: &str = "CREATE TABLE branchline_stage.early
    (place INTEGER, n INTEGER, code TEXT, reason TEXT, line BLOB, PRIMARY KEY (place, n)) WITHOUT ROWID";

/// Attaches the stage, makes its tables, and opens the transaction in which rows are put on it. That transaction
/// touches no other database, and so takes no lock of the shop's.
pub(super) fn create<'a>(
    connection: &Connection,
    plans: impl IntoIterator<Item = &'a TablePlan>,
) -> Result<(), DatabaseError> {
    connection.execute_batch(ATTACH).map_err(failed)?;
    connection.execute_batch(super::BEGIN).map_err(failed)?;
    connection.execute_batch(EARLY).map_err(failed)?;
    make(connection, plans)
}

/// Makes the tables of plans.
pub(super) fn make<'a>(
    connection: &Connection,
    plans: impl IntoIterator<Item = &'a TablePlan>,
) -> Result<(), DatabaseError> {
    for plan in plans {
        connection.execute_batch(&statement::create_stage(plan)).map_err(failed)?;
    }
    Ok(())
}

/// The lives that staged versions speak of. The ledger numbers them only under the write lock.
#[derive(Debug, Default)]
pub(super) struct StagedLives(Vec<Life>);

impl StagedLives {
    /// The place of a life.
    pub(super) fn place(&mut self, life: &Life) -> i64 {
        let known = self.0.iter().position(|known| known == life);
        let place = known.unwrap_or_else(|| {
            self.0.push(life.clone());
            self.0.len() - 1
        });
        i64::try_from(place).unwrap_or(i64::MAX)
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
    /// The backup says that it was deleted, and that counts as a change made here.
    AsOurs = 4,
}

impl Removal {
    /// Whether the backup lists the row itself, as a condition on the stage.
    pub(super) const LISTED: &'static str = "s.kind IN (0, 2, 4)";
    /// Whether the row goes with what the ledger knows of it, and leaves no tombstone.
    pub(super) const FORGOTTEN: &'static str = "s.kind IN (1, 2)";
    /// Whether the source has the row no more, or shares it no more.
    pub(super) const TOLD: &'static str = "s.kind IN (0, 1, 2)";
    /// Whether the removal is the backup's, and no change made here.
    pub(super) const OF_THE_BACKUP: &'static str = "s.kind IN (0, 1, 2, 4)";
}

/// Ends the staging: rows are found by their keys from here on, and two with one key are refused.
pub(super) fn finish<'a>(
    connection: &Connection,
    plans: impl IntoIterator<Item = &'a TablePlan>,
) -> Result<(), DatabaseError> {
    index(connection, plans)?;
    connection.execute_batch(super::COMMIT).map_err(failed)?;
    connection.execute_batch(SHRINK).map_err(failed)
}

/// Makes rows of plans be found by their keys.
pub(super) fn index<'a>(
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
    Ok(())
}

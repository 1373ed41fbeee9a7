//! `branchline_version`: the versions of rows that changed since their table was captured, and tombstones.
//!
//! | column | |
//! |---|---|
//! | `table_id`, `key` | the row, by its key's one text (`super::super::key`) |
//! | `life`, `generation`, `time` | its version |
//! | `was_life`, `was_generation` | the dot that the change had in the life before |
//! | `deleted` | 1 for a tombstone |
//! | `k0` … `k7` | the key's values, by which the row is found and a deletion is written |
//!
//! A row of a captured table that has none here belongs to the base of its table.

use branchline_core::knowledge::Knowledge;
use branchline_core::ports::DatabaseError;
use branchline_core::version::Dot;
use rusqlite::{Connection, params};

use super::super::error::failed;
use super::life::Lives;

pub(in super::super) const NAME: &str = "branchline_version";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_version (
    id INTEGER PRIMARY KEY,
    table_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    life INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    time INTEGER NOT NULL,
    was_life INTEGER,
    was_generation INTEGER,
    deleted INTEGER NOT NULL,
    k0, k1, k2, k3, k4, k5, k6, k7,
    UNIQUE (table_id, key)
)";
pub(super) const BY_GENERATION: &str =
    "CREATE INDEX main.branchline_version_by_generation ON branchline_version (table_id, life, generation)";
pub(super) const TOMBSTONES: &str = "CREATE INDEX main.branchline_version_tombstones ON branchline_version (life, generation) WHERE deleted = 1";

/// What follows an `INSERT … SELECT` of all columns but the number, so that it replaces the version that is there.
/// A `SELECT` needs a `WHERE` before it.
pub(in super::super) const REPLACING: &str = "ON CONFLICT (table_id, key) DO UPDATE SET life = excluded.life,
    generation = excluded.generation, time = excluded.time, was_life = excluded.was_life,
    was_generation = excluded.was_generation, deleted = excluded.deleted, k0 = excluded.k0, k1 = excluded.k1,
    k2 = excluded.k2, k3 = excluded.k3, k4 = excluded.k4, k5 = excluded.k5, k6 = excluded.k6, k7 = excluded.k7";
/// The columns of a version, in the order of an `INSERT`; the key's values follow.
pub(in super::super) const COLUMNS: &str =
    "table_id, key, life, generation, time, was_life, was_generation, deleted";

const TOMBSTONES_COUNT: &str = "SELECT count(*) FROM main.branchline_version WHERE deleted = 1";
const FORGET_TABLE: &str = "DELETE FROM main.branchline_version WHERE table_id = ?1";
const HAS_TABLE: &str = "SELECT EXISTS (SELECT 1 FROM main.branchline_version WHERE table_id = ?1)";

/// Tombstones that everybody knows by one dot: by their own, or by the one that they had in the life before.
const TO_PURGE: &str = "SELECT v.id, v.life, v.generation FROM main.branchline_version AS v
    WHERE v.deleted = 1 AND v.life = ?1 AND v.generation <= ?2
    UNION SELECT v.id, v.life, v.generation FROM main.branchline_version AS v
    WHERE v.deleted = 1 AND v.was_life = ?1 AND v.was_generation <= ?2";
const REMOVE: &str = "DELETE FROM main.branchline_version WHERE id = ?1";

/// Tombstones that are gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct Purged {
    /// How many.
    pub(in super::super) rows: u64,
    /// The join of their dots.
    pub(in super::super) dots: Knowledge,
}

/// Removes the tombstones that whoever holds that dot knows.
pub(in super::super) fn purge(connection: &Connection, known: &Dot) -> Result<Purged, DatabaseError> {
    let lives = Lives::read(connection)?;
    let Some(life) = lives.find(&known.life) else { return Ok(Purged::default()) };
    let mut list = connection.prepare(TO_PURGE).map_err(failed)?;
    let mut rows = list.query(params![life, known.generation.value().cast_signed()]).map_err(failed)?;
    let mut purged = Purged::default();
    let mut numbers: Vec<i64> = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        numbers.push(row.get(0).map_err(failed)?);
        if let Some(dot) = lives.dot(row, 1)? {
            purged.dots.add(dot);
        }
    }
    let mut remove = connection.prepare(REMOVE).map_err(failed)?;
    for number in numbers {
        remove.execute(params![number]).map_err(failed)?;
        purged.rows += 1;
    }
    Ok(purged)
}

/// How many tombstones are kept.
pub(in super::super) fn tombstones(connection: &Connection) -> Result<u64, DatabaseError> {
    let count: i64 = connection.query_row(TOMBSTONES_COUNT, [], |row| row.get(0)).map_err(failed)?;
    Ok(count.unsigned_abs())
}

/// Whether any row of a table has a version.
pub(in super::super) fn has_table(connection: &Connection, table: i64) -> Result<bool, DatabaseError> {
    connection.query_row(HAS_TABLE, params![table], |row| row.get(0)).map_err(failed)
}

/// Removes the versions of a table.
pub(in super::super) fn forget_table(connection: &Connection, table: i64) -> Result<(), DatabaseError> {
    connection.execute(FORGET_TABLE, params![table]).map(drop).map_err(failed)
}

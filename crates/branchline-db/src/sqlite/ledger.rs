//! Branchline's own tables in the shop's file: whatever must commit together with the shop's rows.
//!
//! | table | holds |
//! |---|---|
//! | `branchline_migrations` | the versions of these tables, each with its number |
//! | `branchline_meta` | the database's name, epoch and generation (`meta`) |
//! | `branchline_applied` | one row for each backup that was applied here, with its receipt (`applied`) |
//!
//! These are made when they are first needed. Only where changes are captured there are besides:
//!
//! | table | holds |
//! |---|---|
//! | `branchline_capture` | one row: whose database this is, its clock, which schema is captured (`standing`) |
//! | `branchline_life` | the lives that the other tables speak of, by number (`life`) |
//! | `branchline_knowledge`, `branchline_seen`, `branchline_purged` | generations by life (`knowledge`) |
//! | `branchline_captured` | the tables that are captured (`captured`) |
//! | `branchline_change` | the change log: what the triggers noted and no pack has stamped (`change`) |
//! | `branchline_version` | the version of each row that changed, and tombstones (`version`) |
//! | `branchline_held`, `branchline_held_known` | rows that could not go in (`held`) |
//! | `branchline_conflict` | conflicts, with both images (`conflict`) |
//! | `branchline_scope`, `branchline_in_scope` | what peers were sent of tables that filters keep rows of back (`scope`) |
//!
//! Their declarations use nothing that SQLite 3.8 lacks: the shop's program opens the same file, and an engine that
//! cannot read one declaration refuses the whole file. Migrations are only ever added. None has an `AUTOINCREMENT`,
//! which would leave a table of SQLite's behind that nobody can drop (`docs/decisions/0017-no-autoincrement.md`).

pub(super) mod applied;
pub(super) mod captured;
pub(super) mod change;
pub(super) mod conflict;
pub(super) mod held;
pub(super) mod knowledge;
pub(super) mod life;
pub(super) mod meta;
pub(super) mod scope;
pub(super) mod standing;
pub(super) mod version;

use branchline_core::ports::{DatabaseError, Ledger};
use rusqlite::{Connection, params};

use super::connect::three_times;
use super::error::failed;

const MIGRATIONS_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS main.branchline_migrations (version INTEGER PRIMARY KEY)";
const VERSIONS: &str = "SELECT version FROM main.branchline_migrations ORDER BY version";
const ADD_VERSION: &str = "INSERT INTO main.branchline_migrations (version) VALUES (?1)";
const HAS_TABLE: &str = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?1";
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Which tables of the ledger are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// What every database has that was applied to.
    Base,
    /// What capture needs, the base too.
    Capture,
}

/// A step from one version of the ledger to the next: its statements, and the part that they belong to.
struct Migration {
    part: Part,
    statements: &'static [&'static str],
}

/// In the order of their versions, from 1.
static MIGRATIONS: [Migration; 5] = [
    Migration { part: Part::Base, statements: &[meta::TABLE, meta::FIRST_ROW, applied::TABLE] },
    Migration { part: Part::Base, statements: &[applied::ADD_METADATA] },
    Migration {
        part: Part::Capture,
        statements: &[
            life::TABLE,
            standing::TABLE,
            knowledge::TABLE,
            knowledge::SEEN_TABLE,
            knowledge::PURGED_TABLE,
            captured::TABLE,
            change::TABLE,
            version::TABLE,
            version::BY_GENERATION,
            version::TOMBSTONES,
            held::TABLE,
            held::KNOWN_TABLE,
            conflict::TABLE,
        ],
    },
    Migration { part: Part::Capture, statements: &[held::ADD_KEY_COLUMNS] },
    Migration {
        part: Part::Capture,
        statements: &[captured::ADD_IN_PART, scope::TABLE, scope::ROWS_TABLE, scope::OPEN],
    },
];

/// Every table, those that others speak of last.
pub(super) const TABLES: [&str; 16] = [
    scope::ROWS_NAME,
    scope::NAME,
    conflict::NAME,
    held::KNOWN_NAME,
    held::NAME,
    version::NAME,
    change::NAME,
    captured::NAME,
    knowledge::PURGED_NAME,
    knowledge::SEEN_NAME,
    knowledge::NAME,
    standing::NAME,
    life::NAME,
    applied::NAME,
    meta::NAME,
    "branchline_migrations",
];

/// Makes or completes the base of the ledger, in a transaction of its own.
pub(super) fn ensure(connection: &Connection) -> Result<(), DatabaseError> {
    // Where changes are captured already, what capture needs is completed as well.
    let part = if has_table(connection, standing::NAME)? { Part::Capture } else { Part::Base };
    if missing(connection, part)?.is_empty() {
        return Ok(());
    }
    three_times(|| connection.execute_batch(BEGIN).map_err(failed))?;
    let result = migrate(connection, part);
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    result.and(connection.execute_batch(end).map_err(failed))
}

/// Makes or completes a part of the ledger, in the caller's transaction.
pub(super) fn migrate(connection: &Connection, part: Part) -> Result<(), DatabaseError> {
    // Read under the lock: another process may have done it meanwhile.
    let missing = missing(connection, part)?;
    connection.execute_batch(MIGRATIONS_TABLE).map_err(failed)?;
    for (version, migration) in missing {
        for statement in migration.statements {
            connection.execute_batch(statement).map_err(failed)?;
        }
        connection.execute(ADD_VERSION, params![version]).map_err(failed)?;
    }
    Ok(())
}

/// Whether a part of the ledger is there as this program makes it.
pub(super) fn is_complete(connection: &Connection, part: Part) -> Result<bool, DatabaseError> {
    missing(connection, part).map(|missing| missing.is_empty())
}

/// Whether a table of the ledger is there.
pub(super) fn has_table(connection: &Connection, name: &str) -> Result<bool, DatabaseError> {
    connection.query_row(HAS_TABLE, params![name], |row| row.get(0)).map_err(failed)
}

/// What the ledger says of the database's life.
pub(super) fn read(connection: &Connection) -> Result<Ledger, DatabaseError> {
    ensure(connection)?;
    meta::read(connection)
}

/// The migrations that a part of the ledger still lacks, with their versions.
fn missing(connection: &Connection, part: Part) -> Result<Vec<(u32, &'static Migration)>, DatabaseError> {
    let mut done = Vec::new();
    if has_table(connection, "branchline_migrations")? {
        let mut statement = connection.prepare(VERSIONS).map_err(failed)?;
        let versions = statement.query_map([], |row| row.get(0)).map_err(failed)?;
        done = versions.collect::<rusqlite::Result<Vec<u32>>>().map_err(failed)?;
    }
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if let Some(version) = done.iter().find(|version| **version > known) {
        let engine = "this database's ledger was made by a newer branchline:".to_owned();
        return Err(DatabaseError::Version { engine, version: version.to_string() });
    }
    let is_wanted = |migration: &Migration| part == Part::Capture || migration.part == Part::Base;
    let versions =
        (1..).zip(&MIGRATIONS).filter(|(version, migration)| is_wanted(migration) && !done.contains(version));
    Ok(versions.collect())
}

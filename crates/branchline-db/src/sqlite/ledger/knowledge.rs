//! `branchline_knowledge`, `branchline_seen`, `branchline_purged`: of each life the highest generation that is held here;
//! the highest that any row here ever had; and that of which a tombstone was purged here or at somebody whose full backup
//! was applied here.

use branchline_core::id::Generation;
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::DatabaseError;
use rusqlite::{Connection, params};

use super::super::error::failed;
use super::life::{self, Lives};

pub(in super::super) const NAME: &str = "branchline_knowledge";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_knowledge (
    life INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL
)";
pub(in super::super) const PURGED_NAME: &str = "branchline_purged";
pub(super) const PURGED_TABLE: &str = "CREATE TABLE main.branchline_purged (
    life INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL
)";
pub(in super::super) const SEEN_NAME: &str = "branchline_seen";
pub(super) const SEEN_TABLE: &str = "CREATE TABLE main.branchline_seen (
    life INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL
)";
const READ_SEEN: &str = "SELECT life, generation FROM main.branchline_seen";
const READ: &str = "SELECT life, generation FROM main.branchline_knowledge";
const READ_PURGED: &str = "SELECT life, generation FROM main.branchline_purged";
const JOIN: &str = "INSERT INTO main.branchline_knowledge (life, generation) VALUES (?1, ?2)
    ON CONFLICT (life) DO UPDATE SET generation = max(generation, excluded.generation)";
const JOIN_PURGED: &str = "INSERT INTO main.branchline_purged (life, generation) VALUES (?1, ?2)
    ON CONFLICT (life) DO UPDATE SET generation = max(generation, excluded.generation)";

/// All that is held here, held rows too.
pub(in super::super) fn read(connection: &Connection, lives: &Lives) -> Result<Knowledge, DatabaseError> {
    read_from(connection, READ, lives)
}

/// The join of the dots of tombstones that were purged.
pub(in super::super) fn read_purged(
    connection: &Connection,
    lives: &Lives,
) -> Result<Knowledge, DatabaseError> {
    read_from(connection, READ_PURGED, lives)
}

/// Of each life the highest generation that any row here had; more than is held where a sender held rows back.
pub(in super::super) fn read_seen(
    connection: &Connection,
    lives: &Lives,
) -> Result<Knowledge, DatabaseError> {
    read_from(connection, READ_SEEN, lives)
}

/// Takes in what came here: a query of lives, by their numbers, and generations.
pub(in super::super) fn join_seen(connection: &Connection, seen: &str) -> Result<(), DatabaseError> {
    let sql = format!(
        "INSERT INTO main.branchline_seen (life, generation) SELECT * FROM ({seen}) WHERE true
         ON CONFLICT (life) DO UPDATE SET generation = max(generation, excluded.generation)"
    );
    connection.execute(&sql, []).map(drop).map_err(failed)
}

/// Takes in what is held now.
pub(in super::super) fn join(connection: &Connection, held: &Knowledge) -> Result<(), DatabaseError> {
    join_into(connection, JOIN, held)
}

/// Takes in what was purged.
pub(in super::super) fn join_purged(
    connection: &Connection,
    purged: &Knowledge,
) -> Result<(), DatabaseError> {
    join_into(connection, JOIN_PURGED, purged)
}

fn read_from(connection: &Connection, sql: &str, lives: &Lives) -> Result<Knowledge, DatabaseError> {
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut knowledge = Knowledge::new();
    while let Some(row) = rows.next().map_err(failed)? {
        if let Some(dot) = lives.dot(row, 0)? {
            knowledge.add(dot);
        }
    }
    Ok(knowledge)
}

fn join_into(connection: &Connection, sql: &str, knowledge: &Knowledge) -> Result<(), DatabaseError> {
    let mut statement = connection.prepare(sql).map_err(failed)?;
    for (life, generation) in knowledge.iter() {
        let number = life::number(connection, life)?;
        statement.execute(params![number, Generation::value(generation).cast_signed()]).map_err(failed)?;
    }
    Ok(())
}

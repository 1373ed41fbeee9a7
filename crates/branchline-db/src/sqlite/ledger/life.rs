//! `branchline_life`: the lives that the other tables of the ledger speak of. Rows are only added.

use std::collections::HashMap;

use branchline_core::id::{Epoch, Generation};
use branchline_core::ports::DatabaseError;
use branchline_core::version::{ChangeTime, Dot, Life, Version};
use rusqlite::{Connection, Row, params};

use super::super::error::failed;

pub(in super::super) const NAME: &str = "branchline_life";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_life (
    id INTEGER PRIMARY KEY,
    server TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    UNIQUE (server, epoch)
)";
const ADD: &str = "INSERT OR IGNORE INTO main.branchline_life (server, epoch) VALUES (?1, ?2)";
const FIND: &str = "SELECT id FROM main.branchline_life WHERE server = ?1 AND epoch = ?2";
const ALL: &str = "SELECT id, server, epoch FROM main.branchline_life";

/// The number of a life; it gets one where it has none. Needs the write lock.
pub(in super::super) fn number(connection: &Connection, life: &Life) -> Result<i64, DatabaseError> {
    let named = params![life.server.as_str(), life.epoch.value().cast_signed()];
    connection.execute(ADD, named).map_err(failed)?;
    connection.query_row(FIND, named, |row| row.get(0)).map_err(failed)
}

/// The lives of a ledger, by their numbers.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Lives(HashMap<i64, Life>);

impl Lives {
    /// Reads them all.
    pub(in super::super) fn read(connection: &Connection) -> Result<Self, DatabaseError> {
        let mut statement = connection.prepare(ALL).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut lives = HashMap::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let server: String = row.get(1).map_err(failed)?;
            let epoch = row.get::<_, i64>(2).map_err(failed)?.cast_unsigned();
            let life = Life::new(server.parse().map_err(|_| broken())?, Epoch::new(epoch));
            lives.insert(row.get(0).map_err(failed)?, life);
        }
        Ok(Self(lives))
    }

    /// The life of that number.
    pub(in super::super) fn get(&self, number: i64) -> Result<&Life, DatabaseError> {
        self.0.get(&number).ok_or_else(broken)
    }

    /// All of them, each with its number.
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (i64, &Life)> {
        self.0.iter().map(|(number, life)| (*number, life))
    }

    /// The number of a life, where it has one.
    pub(in super::super) fn find(&self, life: &Life) -> Option<i64> {
        self.0.iter().find(|(_, known)| *known == life).map(|(number, _)| *number)
    }

    /// The dot in two columns of a row, from `first` on; nothing where the first is NULL.
    pub(in super::super) fn dot(&self, row: &Row<'_>, first: usize) -> Result<Option<Dot>, DatabaseError> {
        let Some(life) = row.get::<_, Option<i64>>(first).map_err(failed)? else { return Ok(None) };
        let generation = row.get::<_, i64>(first + 1).map_err(failed)?.cast_unsigned();
        Ok(Some(Dot::new(self.get(life)?.clone(), Generation::new(generation))))
    }

    /// The version in five columns of a row, from `first` on: life, generation, time, the life and the generation
    /// before; nothing where the first is NULL.
    pub(in super::super) fn version(
        &self,
        row: &Row<'_>,
        first: usize,
    ) -> Result<Option<Version>, DatabaseError> {
        let Some(dot) = self.dot(row, first)? else { return Ok(None) };
        let time = row.get::<_, i64>(first + 2).map_err(failed)?.cast_unsigned();
        Ok(Some(Version { dot, time: ChangeTime::from_micros(time), was: self.dot(row, first + 3)? }))
    }
}

fn broken() -> DatabaseError {
    DatabaseError::Failed {
        sqlstate: "LEDGER".to_owned(),
        message: "a row of the ledger names a life that is not ours".to_owned(),
    }
}

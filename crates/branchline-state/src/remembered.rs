//! The table `remembered`: one row with what is remembered of the application database, to tell a copy that was put
//! back from the one that was sent from.

use branchline_core::id::{Epoch, Generation};
use branchline_core::lineage::Remembered;
use branchline_core::ports::StateError;
use branchline_core::version::ChangeTime;
use rusqlite::{Connection, params};

use crate::table::{self, Fields, InTable, integer};

const TABLE: table::Table = "remembered";

const PUT: &str = "
    INSERT INTO remembered (one, database, epoch, generation, clock, packed_at) VALUES (1, ?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (one) DO UPDATE SET database = excluded.database, epoch = excluded.epoch,
        generation = excluded.generation, clock = excluded.clock, packed_at = excluded.packed_at";
const ONE: &str = "SELECT * FROM remembered WHERE one = 1";

/// Remembers the database as it is now.
pub(crate) fn put(connection: &Connection, remembered: &Remembered) -> Result<(), StateError> {
    let parameters = params![
        remembered.database,
        integer(TABLE, remembered.epoch.value())?,
        integer(TABLE, remembered.generation.value())?,
        integer(TABLE, remembered.clock.micros())?,
        integer(TABLE, remembered.packed_at.micros())?,
    ];
    connection.execute(PUT, parameters).in_table(TABLE).map(|_| ())
}

/// What is remembered, if anything is.
pub(crate) fn one(connection: &Connection) -> Result<Option<Remembered>, StateError> {
    table::first(connection, TABLE, ONE, [], read)
}

fn read(fields: &Fields<'_>) -> Result<Remembered, StateError> {
    Ok(Remembered {
        database: fields.value("database")?,
        epoch: Epoch::new(fields.number("epoch")?),
        generation: Generation::new(fields.number("generation")?),
        clock: ChangeTime::from_micros(fields.number("clock")?),
        packed_at: ChangeTime::from_micros(fields.number("packed_at")?),
    })
}

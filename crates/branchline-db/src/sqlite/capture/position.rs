//! Takes a position: a snapshot that stays open, and the stamps of all changes that it shows.
//!
//! 1. The triggers are brought in step with the catalogue, where somebody changed it, in a transaction of its own.
//! 2. The reader begins. Where its log is empty there is nothing to stamp, and the write lock is not asked for.
//! 3. Else the writer takes the write lock, and the reader begins anew while it is held: both see the same moment,
//!    whatever the shop's program commits next. The writer stamps, consumes the log, and commits; that is as long as the
//!    shop's program waits. In WAL mode the reader holds nobody up.
//! 4. The reader computes for itself which stamps the writer gave: its snapshot is from before they were written.

use branchline_core::pack::{Position, seen_in};
use branchline_core::ports::DatabaseError;
use branchline_core::version::Dot;
use rusqlite::Connection;

use super::super::connect::{self, Place, three_times};
use super::super::error::failed;
use super::super::ledger::life::Lives;
use super::super::ledger::standing::{self, Standing};
use super::super::ledger::{change, held, knowledge};
use super::super::{key, schema};
use super::attach::{self, BEGIN_IMMEDIATE};
use super::stamp;

const BEGIN: &str = "BEGIN DEFERRED";
const ROLLBACK: &str = "ROLLBACK";

/// How often a schema may change just before the position is taken.
const TRIES: u32 = 3;

/// Takes a position on `reader`, whose transaction stays open.
pub(super) fn take(place: &Place, reader: &Connection) -> Result<Position, DatabaseError> {
    let writer = connect::open_for_writing(place)?;
    key::register(reader)?;
    key::register(&writer)?;
    for _ in 0..TRIES {
        attach::keep_in_step(&writer)?;
        let Some(standing) = begin(reader)? else { continue };
        if change::is_empty(reader)? {
            return describe(reader, &standing);
        }
        reader.execute_batch(ROLLBACK).map_err(failed)?;
        three_times(|| writer.execute_batch(BEGIN_IMMEDIATE).map_err(failed))?;
        let Some(standing) = begin(reader)? else {
            writer.execute_batch(ROLLBACK).map_err(failed)?;
            continue;
        };
        let written = stamp::write(&writer, &standing);
        let end = if written.is_ok() { "COMMIT" } else { ROLLBACK };
        let ended = three_times(|| writer.execute_batch(end).map_err(failed));
        written.and(ended)?;
        return describe(reader, &standing);
    }
    Err(DatabaseError::Busy { message: "somebody changes the schema again and again".to_owned() })
}

/// Begins to read; nothing, and no transaction, where the triggers are not in step with the schema.
fn begin(reader: &Connection) -> Result<Option<Standing>, DatabaseError> {
    reader.execute_batch(BEGIN).map_err(failed)?;
    let standing = standing::read(reader)?.ok_or(DatabaseError::NotAttached)?;
    if standing.schema_version == schema::version(reader)? {
        return Ok(Some(standing));
    }
    reader.execute_batch(ROLLBACK).map_err(failed)?;
    Ok(None)
}

/// The position, as it stands after the stamps.
fn describe(reader: &Connection, standing: &Standing) -> Result<Position, DatabaseError> {
    let stamped = stamp::compute(reader)?;
    let lives = Lives::read(reader)?;
    let generation = if stamped.rows > 0 { standing.generation.next() } else { standing.generation };
    let mut held_here = knowledge::read(reader, &lives)?;
    held_here.add(Dot::new(standing.own.clone(), generation));
    let held_back = held::dots(reader, &lives)?;
    let passed_on = held_here.without(&held_back);
    Ok(Position {
        own: standing.own.clone(),
        generation,
        seen: seen_in(&held_here, &knowledge::read_seen(reader, &lives)?, &held_back),
        purged: knowledge::read_purged(reader, &lives)?.up_to(&passed_on),
        knowledge: passed_on,
        clock: standing.clock.max(stamped.last),
        day: Vec::new(),
    })
}

//! Changes to the ledger's own records, each in one transaction.

use std::collections::BTreeSet;

use branchline_core::id::{Epoch, Generation};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{Amendment, DatabaseError, HashSpec};
use branchline_core::version::{ChangeTime, Dot, Life};
use rusqlite::Connection;

use super::super::compare;
use super::super::ledger::standing::{self, Standing};
use super::super::ledger::{self, captured, change, knowledge, life, meta, scope, version};
use super::super::schema;
use super::attach::locked;

/// Carries the amendment out; answers how many records it changed.
pub(super) fn amend(connection: &Connection, amendment: &Amendment) -> Result<u64, DatabaseError> {
    if standing::read(connection)?.is_none() {
        return Err(DatabaseError::NotAttached);
    }
    locked(connection, || {
        let standing = standing::read(connection)?.ok_or(DatabaseError::NotAttached)?;
        ledger::migrate(connection, ledger::Part::Capture)?;
        match amendment {
            Amendment::Purge { known_to_all } => purge(connection, known_to_all),
            Amendment::BeginLife { epoch, packed, carried_until, clock } => {
                begin_life(connection, &standing, *epoch, (*packed, *carried_until), *clock)
            }
            Amendment::ConfirmScope { peer } => scope::confirm(connection, peer),
            Amendment::CountAsChanged { spec, keys } => count_as_changed(connection, spec, keys),
            Amendment::SetCompareDue { tables, due } => captured::set_compare_due(connection, tables, *due),
        }
    })
}

/// The dots of what goes are remembered: whoever's knowledge is behind them may lack a deletion.
fn purge(connection: &Connection, known_to_all: &Knowledge) -> Result<u64, DatabaseError> {
    let mut removed = 0;
    let mut purged = Knowledge::new();
    for (life, generation) in known_to_all.iter() {
        let gone = version::purge(connection, &Dot::new(life.clone(), generation))?;
        removed += gone.rows;
        purged.join(&gone.dots);
    }
    knowledge::join_purged(connection, &purged)?;
    Ok(removed)
}

fn count_as_changed(
    connection: &Connection,
    spec: &HashSpec,
    keys: &BTreeSet<String>,
) -> Result<u64, DatabaseError> {
    let captured = captured::all(connection)?;
    let known = captured.iter().find(|known| known.name == spec.table);
    let known = known.ok_or_else(|| DatabaseError::TableUnknown { table: spec.table.clone() })?;
    let changed = compare::stored_keys(connection, &schema::read(connection)?, spec, keys)?;
    change::note_now(connection, known.id, &changed)?;
    Ok(changed.len() as u64)
}

/// What lies in the log was carried by the first pack after the copy was made, if there was one.
fn begin_life(
    connection: &Connection,
    standing: &Standing,
    epoch: Epoch,
    (packed, carried_until): (Generation, ChangeTime),
    clock: ChangeTime,
) -> Result<u64, DatabaseError> {
    let before = life::number(connection, &standing.own)?;
    let marked = if packed > standing.generation {
        change::set_was(connection, before, standing.generation.next().value().cast_signed(), carried_until)?
    } else {
        0
    };
    let own = Life::new(standing.own.server.clone(), epoch);
    meta::set_place(connection, epoch, Generation::new(0))?;
    standing::raise_clock(connection, clock)?;
    scope::open_all(connection)?;
    knowledge::join(connection, &[(own, Generation::new(0))].into_iter().collect())?;
    Ok(marked)
}

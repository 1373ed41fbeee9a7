//! What goes to a peer that filters keep rows from, of the tables that it does not get whole.
//!
//! Parents first, for each such table:
//!
//! 1. Candidates are gathered: what the plan takes by version; rows whose parent may have come into scope or left it; rows
//!    of which it is open whether the peer has them. Where the table's scope is another one than it was packed under, or all
//!    is to go, each row is one, and each that the peer has.
//! 2. Of each it is found out whether it is here, whether it is in scope, and whether the peer has it.
//! 3. That decides what goes (`search`):
//!
//! | the row | goes |
//! |---|---|
//! | is here and in scope | if the plan takes it by its version, or the peer has it not and gets rows of its maker |
//! | is here and out of scope | as one that left, if the peer has it, and did not make it so itself |
//! | is gone | as a deletion, or where no tombstone tells of it as one that left, if the peer has it |
//!
//! So nothing is told of a row that the peer never had, not even its key. Once the table was read to its end, what the peer
//! was sent is written to the ledger (`ledger::scope`), before the backup can be sealed. Where the table is shared in part
//! already, a row that is gone without a tombstone may have left by another server's filter: nothing is told of it.
//!
//! All of it is in a temporary table, on disk where it is large. It costs what the candidates cost.

mod search;

use std::collections::{BTreeMap, BTreeSet};

use branchline_core::pack::{PackPlan, ScopedPeer, Selection};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::parents_first;
use rusqlite::params;

use super::super::super::connect;
use super::super::super::error::failed;
use super::super::super::key::columns_of_noted;
use super::super::super::ledger::captured::CapturedTable;
use super::super::super::ledger::scope::{self, Entries};
use super::super::super::scope::ScopeSql;
use super::super::attach::locked;
use super::Reader;
use search::{IS_THERE, Search};

const MAKE: &str = "CREATE TEMP TABLE IF NOT EXISTS branchline_candidate (
        table_id INTEGER NOT NULL,
        key TEXT NOT NULL,
        present INTEGER,
        inside INTEGER,
        there INTEGER,
        kind INTEGER,
        k0, k1, k2, k3, k4, k5, k6, k7,
        PRIMARY KEY (table_id, key)
    ) WITHOUT ROWID;
    DELETE FROM temp.branchline_candidate;
    CREATE TEMP TABLE IF NOT EXISTS branchline_gets (life INTEGER PRIMARY KEY);
    DELETE FROM temp.branchline_gets;
    CREATE TEMP TABLE IF NOT EXISTS branchline_known (life INTEGER PRIMARY KEY, generation INTEGER NOT NULL);
    DELETE FROM temp.branchline_known;";
const ADD_GETS: &str = "INSERT INTO temp.branchline_gets (life) VALUES (?1)";
const ADD_KNOWN: &str = "INSERT INTO temp.branchline_known (life, generation) VALUES (?1, ?2)";
const HAS_SOMETHING: &str =
    "SELECT EXISTS (SELECT 1 FROM temp.branchline_candidate WHERE table_id = ?1 AND kind <= 2)";
const HAS_SETTLED: &str =
    "SELECT EXISTS (SELECT 1 FROM temp.branchline_candidate WHERE table_id = ?1 AND kind > 2)";

pub(super) use search::{DELETED, GOES, LEFT};

/// What was found for a plan.
#[derive(Debug)]
pub(super) struct Prepared {
    plan: PackPlan,
    /// The digests of the scopes of captured tables, by number.
    digests: BTreeMap<i64, String>,
    /// The tables that are named: those of which something goes, and those of which the peer does not know yet that rows
    /// are kept back. It has to know before it lacks the first: else its own full backup would say that those were deleted.
    named: BTreeSet<i64>,
}

impl Prepared {
    /// Whether it was found for that plan.
    pub(super) fn is_for(&self, plan: &PackPlan) -> bool {
        self.plan == *plan
    }

    /// Whether a table is named.
    pub(super) fn names(&self, table: &CapturedTable) -> bool {
        self.named.contains(&table.id)
    }
}

/// Finds what goes to the peer.
pub(super) fn prepare(
    reader: &Reader,
    plan: &PackPlan,
    peer: &ScopedPeer,
) -> Result<Prepared, DatabaseError> {
    let scope = ScopeSql { catalogue: &reader.begun.catalogue, scope: &peer.scope };
    scope.check(&reader.connection)?;
    reader.connection.execute_batch(MAKE).map_err(failed)?;
    for (number, _) in reader.lives.iter().filter(|(_, life)| plan.gets(life)) {
        reader.connection.execute(ADD_GETS, params![number]).map_err(failed)?;
    }
    for (life, generation) in plan.acknowledged.iter() {
        let Some(number) = reader.lives.find(life) else { continue };
        let known = params![number, generation.value().cast_signed()];
        reader.connection.execute(ADD_KNOWN, known).map_err(failed)?;
    }
    let before = scope::packed(&reader.connection, &peer.peer)?;
    let order = parents_first(reader.begun.catalogue.schema.syncable());
    let in_scope = order.iter().flat_map(|group| &group.tables).filter(|name| peer.scope.of(name).is_some());
    let mut prepared = Prepared { plan: plan.clone(), digests: BTreeMap::new(), named: BTreeSet::new() };
    let mut found = Found::default();
    for name in in_scope {
        let Some(table) = reader.captured.iter().find(|table| table.name == *name) else { continue };
        let (digest, packed) = (scope.digest(name)?, before.get(&table.id));
        let is_first = packed.is_none();
        let is_changed = packed.is_none_or(|packed| packed.digest != digest);
        let search = Search { reader, plan, peer, scope, table, is_first };
        search.gather(is_changed || plan.selection == Selection::Full)?;
        search.look()?;
        search.decide()?;
        if packed.is_none_or(|packed| !packed.is_told) || has_something(reader, table)? {
            prepared.named.insert(table.id);
        } else if is_changed {
            found.digests.push((table.id, digest.clone()));
        }
        if reader.connection.query_row(HAS_SETTLED, params![table.id], |row| row.get(0)).map_err(failed)? {
            found.settled.push(table.id);
        }
        prepared.digests.insert(table.id, digest);
    }
    found.whole = before.into_keys().filter(|id| !prepared.digests.contains_key(id)).collect();
    found.note(reader, peer)?;
    Ok(prepared)
}

/// What is found out besides what goes, and holds whatever becomes of the backup.
#[derive(Default)]
struct Found {
    /// The digests of changed scopes of tables that are not named.
    digests: Vec<(i64, String)>,
    /// Tables with rows of which is known now that the peer has them.
    settled: Vec<i64>,
    /// Tables that the peer gets whole from now on.
    whole: Vec<i64>,
}

impl Found {
    fn note(&self, reader: &Reader, peer: &ScopedPeer) -> Result<(), DatabaseError> {
        if self.digests.is_empty() && self.settled.is_empty() && self.whole.is_empty() {
            return Ok(());
        }
        let writer = connect::open_for_writing(&reader.place)?;
        let sql = of_candidates("kind > 2");
        let mut settled = reader.connection.prepare(&sql).map_err(failed)?;
        locked(&writer, || {
            for table in &self.settled {
                let mut entries = Entries::new(&writer, &peer.peer, *table)?;
                let mut rows = settled.query(params![table]).map_err(failed)?;
                while let Some(row) = rows.next().map_err(failed)? {
                    let is_there = row.get::<_, i64>(0).map_err(failed)? == IS_THERE;
                    entries.put(if is_there { scope::THERE } else { scope::STAYS }, row, 1)?;
                }
            }
            for (table, digest) in &self.digests {
                scope::set_packed(&writer, &peer.peer, *table, digest, false)?;
            }
            self.whole.iter().try_for_each(|table| scope::forget(&writer, &peer.peer, *table))
        })
    }
}

/// The candidates of a table for which something holds: what becomes of each, what was known of it, the text of its
/// key, and its values.
fn of_candidates(which: &str) -> String {
    format!(
        "SELECT kind, there, key, {} FROM temp.branchline_candidate WHERE table_id = ?1 AND {which}",
        columns_of_noted(""),
    )
}

/// Whether anything of a table goes.
fn has_something(reader: &Reader, table: &CapturedTable) -> Result<bool, DatabaseError> {
    reader.connection.query_row(HAS_SOMETHING, params![table.id], |row| row.get(0)).map_err(failed)
}

/// Writes down what goes of a table that was read to its end.
pub(super) fn enter(
    reader: &Reader,
    prepared: &Prepared,
    peer: &ScopedPeer,
    table: &CapturedTable,
) -> Result<(), DatabaseError> {
    let writer = connect::open_for_writing(&reader.place)?;
    let sql = of_candidates("kind <= 2");
    let mut going = reader.connection.prepare(&sql).map_err(failed)?;
    locked(&writer, || {
        scope::reopen(&writer, &peer.peer, table.id)?;
        let mut entries = Entries::new(&writer, &peer.peer, table.id)?;
        let mut rows = going.query(params![table.id]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            match row.get::<_, i64>(0).map_err(failed)? {
                GOES => entries.comes(row, 1)?,
                _ => entries.leaves(row, 1)?,
            }
        }
        match prepared.digests.get(&table.id) {
            Some(digest) => scope::set_packed(&writer, &peer.peer, table.id, digest, true),
            None => Ok(()),
        }
    })
}

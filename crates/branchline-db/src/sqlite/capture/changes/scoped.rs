//! What goes to a peer that filters keep rows from, of the tables that it does not get whole.
//!
//! Parents first, for each such table:
//!
//! 1. Candidates are gathered: what the plan takes by version; rows whose parent may have come into scope or left it; rows
//!    of which it is open whether the peer has them. Where the table's scope is another one than it was packed under, or all
//!    is to go, each row is one, and each that the peer was sent.
//! 2. Of each it is found out whether it is here, whether it is in scope, and whether the peer has it.
//! 3. That decides what goes:
//!
//! | the row | goes |
//! |---|---|
//! | is here and in scope | if the plan takes it by its version, or the peer has it not and gets rows of its maker |
//! | is here and out of scope | as one that left, if the peer was sent it |
//! | is gone | as a deletion, or where no tombstone tells of it as one that left, if the peer was sent it |
//!
//! So nothing is told of a row that was never sent, not even its key. Once the table was read to its end, what the peer was
//! sent is written to the ledger (`ledger::scope`), before the backup can be sealed.
//!
//! All of it is in a temporary table, on disk where it is large. It costs what the candidates cost.

use std::collections::BTreeMap;

use branchline_core::pack::{PackPlan, ScopedPeer, Selection};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{TableName, parents_first};
use rusqlite::params;

use super::super::super::connect::{self, Place};
use super::super::super::error::failed;
use super::super::super::ident::Ident;
use super::super::super::key::columns_of_noted;
use super::super::super::ledger::captured::CapturedTable;
use super::super::super::ledger::scope::{self, Entries};
use super::super::super::scope::{ScopeSql, points_at};
use super::super::attach::locked;
use super::Reader;

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
    DELETE FROM temp.branchline_gets;";
const ADD_GETS: &str = "INSERT INTO temp.branchline_gets (life) VALUES (?1)";
const HAS_SOMETHING: &str =
    "SELECT EXISTS (SELECT 1 FROM temp.branchline_candidate WHERE table_id = ?1 AND kind IS NOT NULL)";

/// The row goes.
pub(super) const GOES: i64 = 0;
/// Its deletion goes.
pub(super) const DELETED: i64 = 1;
/// That it left the scope goes.
pub(super) const LEFT: i64 = 2;

/// What was found for a plan.
#[derive(Debug)]
pub(super) struct Prepared {
    plan: PackPlan,
    /// The digests of the scopes of captured tables, by number.
    digests: BTreeMap<i64, String>,
}

impl Prepared {
    /// Whether it was found for that plan.
    pub(super) fn is_for(&self, plan: &PackPlan) -> bool {
        self.plan == *plan
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
    let before = scope::digests(&reader.connection, &peer.peer)?;
    let order = parents_first(reader.begun.catalogue.schema.syncable());
    let in_scope = order.iter().flat_map(|group| &group.tables).filter(|name| peer.scope.of(name).is_some());
    let mut prepared = Prepared { plan: plan.clone(), digests: BTreeMap::new() };
    let mut settled = Vec::new();
    for name in in_scope {
        let Some(table) = reader.captured.iter().find(|table| table.name == *name) else { continue };
        let digest = scope.digest(name)?;
        let is_changed = before.get(&table.id) != Some(&digest);
        let search = Search { reader, plan, peer, scope, table };
        search.gather(is_changed || plan.selection == Selection::Full)?;
        search.look()?;
        search.decide()?;
        if is_changed && !has_something(reader, table)? {
            settled.push((table.id, digest.clone()));
        }
        prepared.digests.insert(table.id, digest);
    }
    let whole: Vec<i64> = before.keys().filter(|id| !prepared.digests.contains_key(id)).copied().collect();
    if !settled.is_empty() || !whole.is_empty() {
        note(&reader.place, peer, &settled, &whole)?;
    }
    Ok(prepared)
}

/// Whether anything of a table goes.
pub(super) fn has_something(reader: &Reader, table: &CapturedTable) -> Result<bool, DatabaseError> {
    reader.connection.query_row(HAS_SOMETHING, params![table.id], |row| row.get(0)).map_err(failed)
}

/// Writes down under which scope tables were packed of which nothing goes, and forgets those that are whole now.
fn note(
    place: &Place,
    peer: &ScopedPeer,
    settled: &[(i64, String)],
    whole: &[i64],
) -> Result<(), DatabaseError> {
    let writer = connect::open_for_writing(place)?;
    locked(&writer, || {
        for (table, digest) in settled {
            scope::set_digest(&writer, &peer.peer, *table, digest)?;
        }
        whole.iter().try_for_each(|table| scope::forget(&writer, &peer.peer, *table))
    })
}

/// Writes down what goes of a table that was read to its end.
pub(super) fn enter(
    reader: &Reader,
    prepared: &Prepared,
    peer: &ScopedPeer,
    table: &CapturedTable,
) -> Result<(), DatabaseError> {
    let writer = connect::open_for_writing(&reader.place)?;
    let sql = format!(
        "SELECT key, kind, {} FROM temp.branchline_candidate WHERE table_id = ?1 AND kind IS NOT NULL",
        columns_of_noted(""),
    );
    let mut going = reader.connection.prepare(&sql).map_err(failed)?;
    locked(&writer, || {
        let mut entries = Entries::begin(&writer, &peer.peer, table.id)?;
        let mut rows = going.query(params![table.id]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let key: String = row.get(0).map_err(failed)?;
            match row.get::<_, i64>(1).map_err(failed)? {
                GOES => entries.comes(&key, row, 2)?,
                _ => entries.leaves(&key)?,
            }
        }
        match prepared.digests.get(&table.id) {
            Some(digest) => scope::set_digest(&writer, &peer.peer, table.id, digest),
            None => Ok(()),
        }
    })
}

/// The search in one table.
struct Search<'a> {
    reader: &'a Reader,
    plan: &'a PackPlan,
    peer: &'a ScopedPeer,
    scope: ScopeSql<'a>,
    table: &'a CapturedTable,
}

impl Search<'_> {
    fn gather(&self, everything: bool) -> Result<(), DatabaseError> {
        let (id, keys) = (self.table.id, columns_of_noted(""));
        let entries = format!(
            "SELECT table_id, key, {keys} FROM main.branchline_in_scope WHERE peer = ?1 AND table_id = {id}"
        );
        if everything {
            self.add(&self.rows(&self.target(), "true"), &[])?;
            return self.add(&entries, &[self.peer.peer.as_str()]);
        }
        self.add(&format!("{entries} AND state <> 1"), &[self.peer.peer.as_str()])?;
        if self.reader.takes_own(self.plan) {
            let stamped = "temp.branchline_stamped WHERE table_id";
            self.add(&format!("SELECT table_id, key, {keys} FROM {stamped} = {id}"), &[])?;
        }
        self.add(
            &format!(
                "SELECT v.table_id, v.key, {} FROM temp.branchline_floor AS f
                 CROSS JOIN main.branchline_version AS v
                 WHERE v.table_id = {id} AND v.life = f.life AND v.generation > f.above",
                columns_of_noted("v."),
            ),
            &[],
        )?;
        if self.reader.takes_base(self.table, self.plan)? {
            let is_base = format!(
                "NOT EXISTS (SELECT 1 FROM main.branchline_version AS v WHERE v.table_id = {id} AND v.key = {})",
                self.table.key_text("t"),
            );
            self.add(&self.rows(&self.target(), &is_base), &[])?;
        }
        self.gather_children()
    }

    /// Rows whose parent may have come into scope or left it: not those of a parent that is in scope and at the peer.
    fn gather_children(&self) -> Result<(), DatabaseError> {
        let schema = &self.reader.begun.catalogue.schema;
        let Some((table, rows)) = schema.table(&self.table.name).zip(self.peer.scope.of(&self.table.name))
        else {
            return Ok(());
        };
        for key in &rows.parents {
            let Some(parent) = self.captured(&key.target) else { continue };
            let from = format!(
                "temp.branchline_candidate AS c CROSS JOIN main.{} AS p CROSS JOIN {}",
                Ident(key.target.as_str()),
                self.target(),
            );
            let which = format!(
                "c.table_id = {} AND c.present AND NOT (c.inside AND c.there IS 1) AND {} AND {}",
                parent.id,
                parent.has_noted_key("p", "c"),
                points_at(table, key, "t", "p"),
            );
            self.add(&self.rows(&from, &which), &[])?;
        }
        Ok(())
    }

    /// Finds out whether each is here and in scope, and whether the peer has it.
    fn look(&self) -> Result<(), DatabaseError> {
        let (id, same) = (self.table.id, self.table.has_noted_key("t", "c"));
        let sql = format!(
            "UPDATE temp.branchline_candidate AS c SET
                 present = EXISTS (SELECT 1 FROM {} WHERE {same}),
                 inside = EXISTS (SELECT 1 FROM {} AS t WHERE {same} AND {}),
                 there = (SELECT e.state = 1 FROM main.branchline_in_scope AS e
                     WHERE e.peer = ?1 AND e.table_id = {id} AND e.key = c.key)
             WHERE c.table_id = {id}",
            self.target(),
            self.scope.source(&self.table.name),
            self.scope.has_parents(&self.table.name, "t")?,
        );
        self.execute(&sql, &[self.peer.peer.as_str()])
    }

    fn decide(&self) -> Result<(), DatabaseError> {
        let (id, taken, gets) = (self.table.id, self.is_taken()?, self.is_got()?);
        let sql = format!(
            "UPDATE temp.branchline_candidate AS c SET kind = CASE
                 WHEN c.inside THEN CASE WHEN {taken} OR (c.there IS NOT 1 AND {gets}) THEN {GOES} END
                 WHEN c.there IS NULL THEN NULL
                 WHEN c.present THEN {LEFT}
                 WHEN {} THEN CASE WHEN {taken} OR {gets} THEN {DELETED} END
                 ELSE {LEFT} END
             WHERE c.table_id = {id}",
            by_version("s.deleted", "v.deleted", "0"),
        );
        self.execute(&sql, &[])
    }

    /// Whether the plan takes a candidate by its version.
    fn is_taken(&self) -> Result<String, DatabaseError> {
        if self.plan.selection == Selection::Full {
            return Ok("true".to_owned());
        }
        let above = "EXISTS (SELECT 1 FROM temp.branchline_floor AS f
            WHERE f.life = v.life AND v.generation > f.above)";
        let own = self.reader.takes_own(self.plan).to_string();
        let base = self.reader.takes_base(self.table, self.plan)?.to_string();
        Ok(by_version(&own, above, &base))
    }

    /// Whether the peer gets rows of a candidate's maker at all.
    fn is_got(&self) -> Result<String, DatabaseError> {
        let own = self.plan.gets(&self.reader.begun.position.own).to_string();
        let base = self.plan.gets(self.reader.lives.get(self.table.base)?).to_string();
        let got = "EXISTS (SELECT 1 FROM temp.branchline_gets AS g WHERE g.life = v.life)";
        Ok(by_version(&own, got, &base))
    }

    /// The keys of rows (alias `t`).
    fn rows(&self, from: &str, which: &str) -> String {
        let names: Vec<_> =
            self.table.key_columns().iter().map(|name| format!("t.{}", Ident(name))).collect();
        let unused = vec!["NULL"; super::super::super::key::KEY_COLUMNS_MAX - names.len()];
        let keys: Vec<_> = names.iter().map(String::as_str).chain(unused).collect();
        format!(
            "SELECT {}, {}, {} FROM {from} WHERE {which}",
            self.table.id,
            self.table.key_text("t"),
            keys.join(", "),
        )
    }

    fn target(&self) -> String {
        format!("main.{} AS t", Ident(self.table.name.as_str()))
    }

    fn captured(&self, name: &TableName) -> Option<&CapturedTable> {
        self.reader.captured.iter().find(|table| table.name == *name)
    }

    fn add(&self, keys: &str, parameters: &[&str]) -> Result<(), DatabaseError> {
        let columns = columns_of_noted("");
        let sql =
            format!("INSERT OR IGNORE INTO temp.branchline_candidate (table_id, key, {columns}) {keys}");
        self.execute(&sql, parameters)
    }

    fn execute(&self, sql: &str, parameters: &[&str]) -> Result<(), DatabaseError> {
        let parameters = rusqlite::params_from_iter(parameters);
        self.reader.connection.execute(sql, parameters).map(drop).map_err(failed)
    }
}

/// An expression over a candidate (alias `c`): one where this position stamped it (`s`), one where it has a version (`v`),
/// one where it is of the base.
fn by_version(stamped: &str, versioned: &str, base: &str) -> String {
    format!(
        "coalesce((SELECT {stamped} FROM temp.branchline_stamped AS s
             WHERE s.table_id = c.table_id AND s.key = c.key),
         (SELECT {versioned} FROM main.branchline_version AS v
             WHERE v.table_id = c.table_id AND v.key = c.key), {base})"
    )
}

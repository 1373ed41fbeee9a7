//! What goes to a peer that filters keep rows from, of the tables that it does not get whole.
//!
//! Parents first, for each such table:
//!
//! 1. Candidates are gathered: what the plan takes by version; rows whose parent may have come into scope or left it; rows
//!    of which it is open whether the peer has them. Where the table's scope is another one than it was packed under, or all
//!    is to go, each row is one, and each that the peer has.
//! 2. Of each it is found out whether it is here, whether it is in scope, and whether the peer has it. Where the peer gets a
//!    part of the table for the first time, and said that it holds something, it has the rows whose versions it knows.
//! 3. That decides what goes:
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

use std::collections::{BTreeMap, BTreeSet};

use branchline_core::pack::{PackPlan, ScopedPeer, Selection};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{TableName, parents_first};
use branchline_core::version::Dot;
use rusqlite::params;

use super::super::super::connect;
use super::super::super::error::failed;
use super::super::super::ident::Ident;
use super::super::super::key::columns_of_noted;
use super::super::super::ledger::captured::CapturedTable;
use super::super::super::ledger::scope::{self, CAME, Entries, STAYS as STAYS_THERE, THERE};
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
    DELETE FROM temp.branchline_gets;
    CREATE TEMP TABLE IF NOT EXISTS branchline_known (life INTEGER PRIMARY KEY, generation INTEGER NOT NULL);
    DELETE FROM temp.branchline_known;";
const ADD_GETS: &str = "INSERT INTO temp.branchline_gets (life) VALUES (?1)";
const ADD_KNOWN: &str = "INSERT INTO temp.branchline_known (life, generation) VALUES (?1, ?2)";
const HAS_SOMETHING: &str =
    "SELECT EXISTS (SELECT 1 FROM temp.branchline_candidate WHERE table_id = ?1 AND kind <= 2)";
const HAS_SETTLED: &str =
    "SELECT EXISTS (SELECT 1 FROM temp.branchline_candidate WHERE table_id = ?1 AND kind > 2)";

/// The row goes.
pub(super) const GOES: i64 = 0;
/// Its deletion goes.
pub(super) const DELETED: i64 = 1;
/// That it left the scope goes.
pub(super) const LEFT: i64 = 2;
/// Nothing goes: the row is at the peer, and in scope.
const IS_THERE: i64 = 3;
/// Nothing goes: the row is at the peer, which made it out of its scope.
const STAYS: i64 = 4;

/// In the place of a state: the row is known to be at the peer, and no entry says so.
const KNOWN: i64 = 20;

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

/// The candidates of a table for which something holds: what becomes of each, the text of its key, and its values.
fn of_candidates(which: &str) -> String {
    format!(
        "SELECT kind, key, {} FROM temp.branchline_candidate WHERE table_id = ?1 AND {which}",
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

/// The search in one table.
struct Search<'a> {
    reader: &'a Reader,
    plan: &'a PackPlan,
    peer: &'a ScopedPeer,
    scope: ScopeSql<'a>,
    table: &'a CapturedTable,
    /// Whether the peer gets a part of the table for the first time.
    is_first: bool,
}

impl Search<'_> {
    fn gather(&self, everything: bool) -> Result<(), DatabaseError> {
        let (id, keys) = (self.table.id, columns_of_noted(""));
        let entries = format!(
            "SELECT table_id, key, {keys} FROM main.branchline_in_scope WHERE peer = ?1 AND table_id = {id}"
        );
        if everything {
            self.add(&self.rows(&self.target(), "true"), &[])?;
            self.add(&entries, &[self.peer.peer.as_str()])?;
            return if self.knows_some() { self.gather_by_version(" AND v.deleted") } else { Ok(()) };
        }
        self.add(&format!("{entries} AND state < 10"), &[self.peer.peer.as_str()])?;
        self.gather_by_version("")?;
        if self.reader.takes_base(self.table, self.plan)? {
            let is_base = format!(
                "NOT EXISTS (SELECT 1 FROM main.branchline_version AS v WHERE v.table_id = {id} AND v.key = {})",
                self.table.key_text("t"),
            );
            self.add(&self.rows(&self.target(), &is_base), &[])?;
        }
        self.gather_children()
    }

    /// What the plan takes by version, as far as something holds (`v`).
    fn gather_by_version(&self, and: &str) -> Result<(), DatabaseError> {
        let (id, keys) = (self.table.id, columns_of_noted("v."));
        let keys = format!("SELECT v.table_id, v.key, {keys} FROM");
        if self.reader.takes_own(self.plan) {
            self.add(&format!("{keys} temp.branchline_stamped AS v WHERE v.table_id = {id}{and}"), &[])?;
        }
        let above = match self.plan.selection {
            Selection::Full => format!("main.branchline_version AS v WHERE v.table_id = {id}"),
            Selection::Above(_) => format!(
                "temp.branchline_floor AS f CROSS JOIN main.branchline_version AS v
                 WHERE v.table_id = {id} AND v.life = f.life AND v.generation > f.above"
            ),
        };
        self.add(&format!("{keys} {above}{and}"), &[])
    }

    /// Whether it can be told by versions what the peer has: it got all of the table until now, and said what it holds.
    fn knows_some(&self) -> bool {
        self.is_first && !self.plan.acknowledged.is_empty()
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
                "c.table_id = {} AND c.present AND NOT (c.inside AND c.there IS {}) AND {} AND {}",
                parent.id,
                scope::THERE,
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
                 there = coalesce((SELECT CASE WHEN e.state IN (2, 3) THEN 0 ELSE e.state END
                     FROM main.branchline_in_scope AS e
                     WHERE e.peer = ?1 AND e.table_id = {id} AND e.key = c.key), {})
             WHERE c.table_id = {id}",
            self.target(),
            self.scope.source(&self.table.name),
            self.scope.has_parents(&self.table.name, "t")?,
            self.known()?,
        );
        self.execute(&sql, &[self.peer.peer.as_str()])
    }

    /// What is known of a candidate that has no entry. What this position stamps is known by the version that it had before;
    /// of a row that is gone it cannot be told any more, and its deletion goes, as it went before.
    fn known(&self) -> Result<String, DatabaseError> {
        if !self.knows_some() {
            return Ok("NULL".to_owned());
        }
        let base = self.reader.lives.get(self.table.base)?;
        let knows_base = self.plan.acknowledged.has(&Dot::base(base.clone()));
        let is_known = |life: &str, generation: &str| {
            format!(
                "EXISTS (SELECT 1 FROM temp.branchline_known AS k
                     WHERE k.life = {life} AND {generation} <= k.generation)"
            )
        };
        Ok(format!(
            "coalesce((SELECT CASE WHEN s.deleted THEN {KNOWN} END FROM temp.branchline_stamped AS s
                 WHERE s.table_id = c.table_id AND s.key = c.key),
             (SELECT CASE WHEN v.deleted THEN {KNOWN}
                 WHEN {} OR {} THEN CASE WHEN {} THEN {CAME} ELSE {KNOWN} END ELSE -1 END
                 FROM main.branchline_version AS v WHERE v.table_id = c.table_id AND v.key = c.key),
             CASE WHEN {knows_base} AND NOT EXISTS (SELECT 1 FROM temp.branchline_stamped AS s
                 WHERE s.table_id = c.table_id AND s.key = c.key)
                 THEN CASE WHEN {} THEN {CAME} ELSE {KNOWN} END END)",
            is_known("v.life", "v.generation"),
            is_known("v.was_life", "v.was_generation"),
            self.is_of_peer("v.life"),
            base.server == self.peer.peer,
        ))
    }

    /// Whether a life, by its number, is the peer's.
    fn is_of_peer(&self, life: &str) -> String {
        let lives = self.reader.lives.iter().filter(|(_, life)| life.server == self.peer.peer);
        let numbers: Vec<_> = lives.map(|(number, _)| number.to_string()).collect();
        format!("{life} IN ({})", numbers.join(", "))
    }

    fn decide(&self) -> Result<(), DatabaseError> {
        let (id, taken, gets) = (self.table.id, self.is_taken()?, self.is_got()?);
        let base = self.reader.lives.get(self.table.base)?;
        let is_its_own =
            by_version("false", &self.is_of_peer("v.life"), &(base.server == self.peer.peer).to_string());
        let untold = if self.reader.in_part.contains(&id) { "NULL".to_owned() } else { LEFT.to_string() };
        let sql = format!(
            "UPDATE temp.branchline_candidate AS c SET kind = CASE
                 WHEN c.inside THEN CASE
                     WHEN {taken} OR ((c.there IS NULL OR c.there <= 0) AND {gets}) THEN {GOES}
                     WHEN c.there <> {THERE} THEN {IS_THERE} END
                 WHEN c.there IS NULL OR c.there < 0 THEN NULL
                 WHEN c.present AND c.there IN ({CAME}, {STAYS_THERE}) AND {is_its_own} THEN
                     CASE c.there WHEN {CAME} THEN {STAYS} END
                 WHEN c.present THEN {LEFT}
                 WHEN {} THEN CASE WHEN {taken} OR {gets} THEN {DELETED} END
                 ELSE {untold} END
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

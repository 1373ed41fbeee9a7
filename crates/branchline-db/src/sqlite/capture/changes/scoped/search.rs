//! Finds in one table what goes to a peer that does not get it whole.
//!
//! What is known of a row at the peer comes from its entry (`ledger::scope`). Where the peer gets a part of the table for the
//! first time, and said that it holds something, there is no entry, and it has the rows whose versions it knows. What of
//! these it made itself counts as come from it.
//!
//! A candidate is a row of `temp.branchline_candidate` (alias `c`): `present` says whether the row is here, `inside` whether it
//! is in scope, `there` what is known of it at the peer, `kind` what becomes of it.

use branchline_core::pack::{PackPlan, ScopedPeer, Selection};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;
use branchline_core::version::Dot;

use super::super::super::super::error::failed;
use super::super::super::super::ident::Ident;
use super::super::super::super::key::{KEY_COLUMNS_MAX, columns_of_noted};
use super::super::super::super::ledger::captured::CapturedTable;
use super::super::super::super::ledger::scope::{self, CAME, STAYS as STAYS_THERE, THERE};
use super::super::super::super::scope::{ScopeSql, points_at};
use super::super::Reader;

/// The row goes.
pub(in super::super) const GOES: i64 = 0;
/// Its deletion goes.
pub(in super::super) const DELETED: i64 = 1;
/// That it left the scope goes.
pub(in super::super) const LEFT: i64 = 2;
/// Nothing goes: the row is at the peer, and in scope.
pub(super) const IS_THERE: i64 = 3;
/// Nothing goes: the row is at the peer, which made it out of its scope.
const STAYS: i64 = 4;

/// In the place of a state: the row is known to be at the peer, and no entry says so.
const KNOWN: i64 = 20;

/// The search in one table.
pub(super) struct Search<'a> {
    pub(super) reader: &'a Reader,
    pub(super) plan: &'a PackPlan,
    pub(super) peer: &'a ScopedPeer,
    pub(super) scope: ScopeSql<'a>,
    pub(super) table: &'a CapturedTable,
    /// Whether the peer gets a part of the table for the first time.
    pub(super) is_first: bool,
}

impl Search<'_> {
    pub(super) fn gather(&self, everything: bool) -> Result<(), DatabaseError> {
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
    pub(super) fn look(&self) -> Result<(), DatabaseError> {
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

    pub(super) fn decide(&self) -> Result<(), DatabaseError> {
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
        let unused = vec!["NULL"; KEY_COLUMNS_MAX - names.len()];
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

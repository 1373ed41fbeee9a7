//! Removals that other rows here prevent, found before anything is written.
//!
//! | a row that points at one that is to be removed | |
//! |---|---|
//! | is to be removed too | does not count |
//! | comes in with the backup | keeps it here |
//! | by a key without an action | keeps it here |
//! | by a key with one, and its source did not know it as it is | keeps it here |
//! | by a key with one, at a row that only left what is shared | keeps it here: what happened to it would travel back |
//! | by `ON DELETE CASCADE`, and its source knew it | goes along, and what points at it is looked at in its turn |
//!
//! Rows that go along are kept on the stage (`x0` …) with the removal that takes them, so that all that hangs on a
//! removal which is held stays too. Where nothing is versioned, a cascade takes what it takes.

use branchline_core::knowledge::Knowledge;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ForeignKey, Table, TableName};
use branchline_core::version::Dot;
use rusqlite::{Connection, Row, params_from_iter, types::Value};

use super::super::error::failed;
use super::super::ident::{Ident, collate};
use super::super::ledger::captured::CapturedTable;
use super::super::schema::{Catalogue, OnDelete, TableForm};
use super::decide::pending;
use super::holds::{Cause, Fault};
use super::plan::TablePlan;
use super::stage::Removal;
use super::statement::{not_staged, same_key, stage_table};
use super::versions::Versioned;

/// Finds the removals that cannot be carried out.
pub(super) fn find(
    connection: &Connection,
    catalogue: &Catalogue,
    versioned: Option<&Versioned<'_>>,
    plans: &[TablePlan],
    removals: &[TablePlan],
) -> Result<Vec<Fault>, DatabaseError> {
    if removals.iter().all(|plan| plan.rows == 0) {
        return Ok(Vec::new());
    }
    let mut search =
        Search { connection, catalogue, versioned, plans, removals, along: Vec::new(), faults: Vec::new() };
    let result = search.run();
    for along in &search.along {
        connection.execute_batch(&format!("DROP TABLE {}", along.stage)).map_err(failed)?;
    }
    result.map(|()| search.faults)
}

/// Rows of one table that go along.
struct Along {
    table: TableName,
    /// Their table on the stage: the key (`c0` …), and the removal that takes them.
    stage: String,
    /// The key's columns with their collations.
    key: Vec<(String, Option<String>)>,
}

/// Rows that are to be removed: those that a plan lists, or some that go along.
struct Going {
    table: TableName,
    stage: String,
    /// That a row of the table (`t`) is one of these (`s`).
    same: String,
    /// The removal that takes them, as two expressions: the plan's place and the row's number.
    root: (String, &'static str),
    /// What kind of removal it is, as an expression.
    kind: &'static str,
}

struct Search<'a> {
    connection: &'a Connection,
    catalogue: &'a Catalogue,
    versioned: Option<&'a Versioned<'a>>,
    plans: &'a [TablePlan],
    removals: &'a [TablePlan],
    along: Vec<Along>,
    faults: Vec<Fault>,
}

impl Search<'_> {
    fn run(&mut self) -> Result<(), DatabaseError> {
        let listed = self.removals.iter().enumerate().filter(|(_, plan)| plan.rows > 0);
        let mut waiting: Vec<Going> = listed
            .map(|(index, plan)| Going {
                table: plan.name.clone(),
                stage: stage_table(plan),
                same: same_key(plan, "t", "s"),
                root: (index.to_string(), "s.n"),
                kind: "s.kind",
            })
            .collect();
        while let Some(going) = waiting.pop() {
            let children: Vec<TableName> =
                self.catalogue.schema.tables().map(|table| table.name.clone()).collect();
            for name in children {
                let Some((child, form)) = self.catalogue.find(&name) else { continue };
                for (place, key) in child.foreign_keys.iter().enumerate() {
                    if key.target == going.table && self.look_at(&going, child, form, place, key)? {
                        waiting.extend(self.going_along(&name));
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at the rows that point by one key; answers whether rows go along that were not known to.
    fn look_at(
        &mut self,
        going: &Going,
        child: &Table,
        form: &TableForm,
        place: usize,
        key: &ForeignKey,
    ) -> Result<bool, DatabaseError> {
        self.look_at_staged(going, child, key)?;
        let known = self.versioned.and_then(|versioned| Some((versioned, versioned.captured(&child.name)?)));
        let sql = self.pointing(going, child, form, key, known.map(|(_, captured)| captured));
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut along = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let (index, n): (i64, i64) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
            let is_known = match known {
                Some((versioned, captured)) => {
                    is_known(versioned, captured, self.theirs(versioned, index), row)?
                }
                None => true,
            };
            let kind: Option<i64> = row.get(KIND_PLACE).map_err(failed)?;
            let only_leaves = self.versioned.is_some() && kind == LEAVES;
            if !key.cascades {
                self.add(index, n, prevented(child, key));
            } else if only_leaves || !is_known {
                let error =
                    DatabaseError::MirrorCascade { table: key.target.clone(), child: child.name.clone() };
                self.add(index, n, error);
            } else if form.on_delete[place] == OnDelete::Delete {
                let mut values = vec![Value::Integer(index), Value::Integer(n)];
                for at in 0..child.key.len() {
                    values.push(row.get(FIRST_KEY + at).map_err(failed)?);
                }
                along.push(values);
            }
        }
        self.take_along(child, form, along)
    }

    fn theirs<'v>(&self, versioned: &'v Versioned<'_>, index: i64) -> &'v Knowledge {
        let index = usize::try_from(index).unwrap_or_default();
        &versioned.origin(&self.removals[index]).parties.theirs
    }

    /// Rows of the backup that point at what is to be removed.
    fn look_at_staged(
        &mut self,
        going: &Going,
        child: &Table,
        key: &ForeignKey,
    ) -> Result<(), DatabaseError> {
        for plan in self.plans.iter().filter(|plan| plan.name == child.name && plan.rows > 0) {
            let staged = key.columns.iter().map(|&place| plan.staged(place)).collect::<Option<Vec<_>>>();
            let Some(staged) = staged else { continue };
            let same = key.target_columns.iter().zip(staged);
            let same: Vec<_> =
                same.map(|(target, column)| format!("t.{} = x.c{column}", Ident(target.as_str()))).collect();
            let sql = format!(
                "SELECT DISTINCT {}, {} FROM {} AS s CROSS JOIN main.{} AS t CROSS JOIN {} AS x WHERE {} AND {}",
                going.root.0,
                going.root.1,
                going.stage,
                Ident(going.table.as_str()),
                stage_table(plan),
                going.same,
                same.join(" AND "),
            );
            let mut statement = self.connection.prepare(&sql).map_err(failed)?;
            let mut rows = statement.query([]).map_err(failed)?;
            while let Some(row) = rows.next().map_err(failed)? {
                let (index, n) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
                self.add(index, n, prevented(child, key));
            }
        }
        Ok(())
    }

    /// The rows here that point and are neither to be removed nor staged with another pointer: the removal, the facts
    /// of the row, its key.
    fn pointing(
        &self,
        going: &Going,
        child: &Table,
        form: &TableForm,
        key: &ForeignKey,
        captured: Option<&CapturedTable>,
    ) -> String {
        let pairs = key.target_columns.iter().zip(&key.columns);
        let mut which: Vec<_> = pairs
            .map(|(target, &place)| {
                format!("t.{} = c.{}", Ident(target.as_str()), Ident(child.columns[place].name.as_str()))
            })
            .collect();
        which.push(going.same.clone());
        for plan in self.removals.iter().filter(|plan| plan.name == child.name) {
            which.push(not_staged(plan, "c"));
        }
        for plan in self.plans.iter().filter(|plan| plan.name == child.name && plan.rows > 0) {
            if key.columns.iter().all(|&place| plan.staged(place).is_some()) {
                which.push(not_staged(plan, "c"));
            }
        }
        for along in self.along.iter().filter(|along| along.table == child.name) {
            which.push(format!(
                "NOT EXISTS (SELECT 1 FROM {} AS x WHERE {})",
                along.stage,
                along.same("c", "x")
            ));
        }
        let (facts, joins) = match captured {
            None => ("NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL".to_owned(), String::new()),
            Some(captured) => {
                let (id, text) = (captured.id, captured.key_text("c"));
                let joins = format!(
                    " LEFT JOIN main.branchline_version AS v ON v.table_id = {id} AND v.key = {text}
                      LEFT JOIN temp.branchline_stamped AS p ON p.table_id = {id} AND p.key = {text}"
                );
                let facts = "v.life, v.generation, v.time, v.was_life, v.was_generation, p.time, p.was_life, p.was_generation";
                (facts.to_owned(), joins)
            }
        };
        let names: Vec<_> = key_of(child, form).into_iter().map(|(name, _)| format!("c.{name}")).collect();
        format!(
            "SELECT {}, {}, {facts}, {}, {} FROM {} AS s CROSS JOIN main.{} AS t CROSS JOIN main.{} AS c{joins} WHERE {}",
            going.root.0,
            going.root.1,
            going.kind,
            names.join(", "),
            going.stage,
            Ident(going.table.as_str()),
            Ident(child.name.as_str()),
            which.join(" AND "),
        )
    }

    fn take_along(
        &mut self,
        child: &Table,
        form: &TableForm,
        rows: Vec<Vec<Value>>,
    ) -> Result<bool, DatabaseError> {
        if rows.is_empty() {
            return Ok(false);
        }
        let known = self.along.iter().position(|along| along.table == child.name);
        let place = match known {
            Some(place) => place,
            None => {
                let stage = format!("branchline_stage.x{}", self.along.len());
                let along = Along { table: child.name.clone(), stage, key: key_of(child, form) };
                self.connection.execute_batch(&along.create()).map_err(failed)?;
                self.along.push(along);
                self.along.len() - 1
            }
        };
        let parameters: Vec<_> = (1..=child.key.len() + 2).map(|number| format!("?{number}")).collect();
        let sql =
            format!("INSERT OR IGNORE INTO {} VALUES ({})", self.along[place].stage, parameters.join(", "));
        let mut insert = self.connection.prepare(&sql).map_err(failed)?;
        let mut added = 0;
        for values in rows {
            added += insert.execute(params_from_iter(values)).map_err(failed)?;
        }
        Ok(added > 0)
    }

    fn going_along(&self, table: &TableName) -> Option<Going> {
        let along = self.along.iter().find(|along| along.table == *table)?;
        Some(Going {
            table: table.clone(),
            stage: along.stage.clone(),
            same: along.same("t", "s"),
            root: ("s.place".to_owned(), "s.n"),
            kind: "NULL",
        })
    }

    fn add(&mut self, index: i64, n: i64, error: DatabaseError) {
        let index = usize::try_from(index).unwrap_or_default();
        self.faults.push(Fault { index, is_removal: true, n, cause: Cause::Refused(error) });
    }
}

/// The place of the key in the query of rows that point.
const FIRST_KEY: usize = 11;
/// The place of the kind of removal in it.
const KIND_PLACE: usize = 10;
/// The kind of a row that left what the two servers share.
const LEAVES: Option<i64> = Some(Removal::OutOfScope as i64);

impl Along {
    fn create(&self) -> String {
        let columns: Vec<_> = (0..self.key.len()).map(|place| format!("c{place}")).collect();
        let unique = self
            .key
            .iter()
            .enumerate()
            .map(|(place, (_, collation))| format!("c{place}{}", collate(collation.as_deref())));
        let unique: Vec<_> = unique.collect();
        format!(
            "CREATE TABLE {} (place, n, {}, UNIQUE ({}))",
            self.stage,
            columns.join(", "),
            unique.join(", ")
        )
    }

    fn same(&self, row: &str, along: &str) -> String {
        let same = self.key.iter().enumerate().map(|(place, (name, collation))| {
            format!("{row}.{name} = {along}.c{place}{}", collate(collation.as_deref()))
        });
        same.collect::<Vec<_>>().join(" AND ")
    }
}

fn key_of(table: &Table, form: &TableForm) -> Vec<(String, Option<String>)> {
    let names = table.key_names().map(|name| Ident(name.as_str()).to_string());
    names.zip(form.key_collations.iter().cloned()).collect()
}

/// Whether the source of a removal knew the row as it is here, in the facts from the third column on.
fn is_known(
    versioned: &Versioned<'_>,
    captured: &CapturedTable,
    theirs: &Knowledge,
    row: &Row<'_>,
) -> Result<bool, DatabaseError> {
    if let Some(pending) = pending(versioned, row, 7)? {
        return Ok(pending.was.is_some_and(|was| theirs.has(&was)));
    }
    match versioned.lives.version(row, 2)? {
        Some(version) => Ok(theirs.knows(&version)),
        None => Ok(theirs.has(&Dot::base(versioned.lives.get(captured.base)?.clone()))),
    }
}

fn prevented(child: &Table, key: &ForeignKey) -> DatabaseError {
    DatabaseError::ForeignKey {
        table: child.name.to_string(),
        constraint: key.name.clone(),
        detail: format!("a row of it points at a row of {} that is to be removed", key.target),
    }
}

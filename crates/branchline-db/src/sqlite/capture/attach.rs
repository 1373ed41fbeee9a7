//! Puts the triggers on the shop's tables, and keeps them in step with the catalogue.
//!
//! Whether anything has to be done is told by SQLite's own number of the schema, which every change of it raises. Then:
//!
//! | a table | becomes |
//! |---|---|
//! | that is new | captured; but for the first time, its rows count as changes, because they reached nobody yet |
//! | that was rebuilt by copy, drop and rename | its triggers are gone: they are made again, and a compare is due |
//! | whose columns changed | its triggers are made again: those that were there have noted everything meanwhile |
//! | whose unique keys grew | the same, and a compare is due: rows replaced under the new key were not noted |
//! | whose key changed | one that is dropped and one that is new |
//! | that is gone, or that the settings leave out | captured no more: its versions and its log go, and what is held of it waits until it is back |
//!
//! Everything happens in the caller's transaction, under the write lock. Tables with more key columns than the log has
//! room for are never captured.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use branchline_core::ports::{AttachReport, AttachRequest, DatabaseError};
use branchline_core::schema::{Table, TableName};
use branchline_core::version::Life;
use branchline_core::{id::Generation, knowledge::Knowledge};
use rusqlite::{Connection, params};

use super::super::connect::three_times;
use super::super::error::failed;
use super::super::ident::Ident;
use super::super::ledger::captured::{self, CapturedTable};
use super::super::ledger::standing::{self, Standing};
use super::super::ledger::{self, change, held, knowledge, life, scope, version};
use super::super::schema::{self, Catalogue, TableForm};
use super::triggers::{self, Declared, InstalledTrigger};

/// Takes the write lock.
pub(super) const BEGIN_IMMEDIATE: &str = "BEGIN IMMEDIATE";

/// Installs capture, or brings what is installed in step.
pub(in super::super) fn attach(
    connection: &Connection,
    request: &AttachRequest,
) -> Result<AttachReport, DatabaseError> {
    let mut left_out = request.except.clone();
    left_out.sort();
    left_out.dedup();
    if let Some(found) = standing::read(connection)? {
        check_server(&found, request)?;
        let is_in_step = found.schema_version == schema::version(connection)? && found.left_out == left_out;
        if is_in_step && ledger::is_complete(connection, ledger::Part::Capture)? {
            let captured = captured::all(connection)?.len();
            return Ok(AttachReport { captured: captured as u64, ..AttachReport::default() });
        }
    }
    locked(connection, || {
        ledger::migrate(connection, ledger::Part::Capture)?;
        match standing::read(connection)? {
            Some(found) => {
                check_server(&found, request)?;
                bring_in_step(connection, &found, &left_out)
            }
            None => {
                let own = Life::new(request.server.clone(), request.epoch);
                standing::add(connection, &own)?;
                let held: Knowledge = [(own, Generation::new(0))].into_iter().collect();
                knowledge::join(connection, &held)?;
                let begun = standing::read(connection)?.ok_or(DatabaseError::NotAttached)?;
                Step::new(connection, &begun, left_out)?.take(true)
            }
        }
    })
}

/// Brings capture in step where the schema is another one than it was; in a transaction of its own.
pub(in super::super) fn keep_in_step(connection: &Connection) -> Result<(), DatabaseError> {
    let is_in_step = |found: &Standing| -> Result<bool, DatabaseError> {
        Ok(found.schema_version == schema::version(connection)?
            && ledger::is_complete(connection, ledger::Part::Capture)?)
    };
    match standing::read(connection)? {
        Some(found) if !is_in_step(&found)? => locked(connection, || {
            ledger::migrate(connection, ledger::Part::Capture)?;
            let Some(found) = standing::read(connection)? else { return Ok(()) };
            let left_out = found.left_out.clone();
            bring_in_step(connection, &found, &left_out).map(drop)
        }),
        _ => Ok(()),
    }
}

/// Runs `work` in a transaction that takes the write lock at its beginning.
pub(super) fn locked<T>(
    connection: &Connection,
    work: impl FnOnce() -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    three_times(|| connection.execute_batch(BEGIN_IMMEDIATE).map_err(failed))?;
    let result = work();
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = three_times(|| connection.execute_batch(end).map_err(failed));
    let value = result?;
    ended.map(|()| value)
}

fn check_server(found: &Standing, request: &AttachRequest) -> Result<(), DatabaseError> {
    if found.own.server == request.server {
        return Ok(());
    }
    Err(DatabaseError::Attached { server: found.own.server.clone() })
}

fn bring_in_step(
    connection: &Connection,
    found: &Standing,
    left_out: &[TableName],
) -> Result<AttachReport, DatabaseError> {
    ledger::migrate(connection, ledger::Part::Capture)?;
    Step::new(connection, found, left_out.to_vec())?.take(false)
}

/// What there is and what there should be.
struct Step<'a> {
    connection: &'a Connection,
    /// The number of our life.
    own: i64,
    left_out: Vec<TableName>,
    catalogue: Catalogue,
    captured: BTreeMap<TableName, CapturedTable>,
    installed: BTreeMap<String, InstalledTrigger>,
    declared: HashMap<String, Declared>,
    report: AttachReport,
}

impl<'a> Step<'a> {
    fn new(
        connection: &'a Connection,
        standing: &Standing,
        left_out: Vec<TableName>,
    ) -> Result<Self, DatabaseError> {
        let captured = captured::all(connection)?.into_iter().map(|table| (table.name.clone(), table));
        Ok(Self {
            connection,
            own: life::number(connection, &standing.own)?,
            left_out,
            catalogue: schema::read(connection)?,
            captured: captured.collect(),
            installed: triggers::installed(connection)?,
            declared: triggers::declared(connection)?,
            report: AttachReport::default(),
        })
    }

    /// `first` where nothing was captured before: rows that are there are the base then.
    fn take(mut self, first: bool) -> Result<AttachReport, DatabaseError> {
        let names: Vec<TableName> =
            self.catalogue.schema.syncable().map(|table| table.name.clone()).collect();
        let mut wanted = BTreeSet::new();
        for name in names {
            let Some((table, form)) = self.catalogue.find(&name) else { continue };
            if !self.left_out.contains(&name) && triggers::shape_of(table, form).is_some() {
                wanted.insert(name);
            }
        }
        let gone: Vec<CapturedTable> =
            self.captured.values().filter(|table| !wanted.contains(&table.name)).cloned().collect();
        for table in gone {
            self.remove(&table)?;
            self.report.removed.push(table.name);
        }
        for name in &wanted {
            match self.captured.get(name).cloned() {
                Some(table) => self.mend(&table)?,
                None => {
                    self.add(name, first)?;
                    self.report.added.push(name.clone());
                }
            }
        }
        self.report.captured = wanted.len() as u64;
        let version = schema::version(self.connection)?;
        standing::set_schema(self.connection, version, &self.left_out)?;
        Ok(self.report)
    }

    fn table(&self, name: &TableName) -> Result<(&Table, &TableForm), DatabaseError> {
        self.catalogue.find(name).ok_or_else(|| DatabaseError::TableUnknown { table: name.clone() })
    }

    fn declared(&self, table: &Table) -> Result<Declared, DatabaseError> {
        let declared = self.declared.get(table.name.as_str()).copied();
        declared.ok_or_else(|| DatabaseError::TableUnknown { table: table.name.clone() })
    }

    fn add(&self, name: &TableName, first: bool) -> Result<(), DatabaseError> {
        let (table, form) = self.table(name)?;
        let shape = triggers::shape_of(table, form)
            .ok_or_else(|| DatabaseError::TableUnknown { table: name.clone() })?;
        let id = captured::add(self.connection, name, self.own, &shape)?;
        self.create_triggers(id, table, form)?;
        if !first {
            self.note_rows(id, table)?;
        }
        Ok(())
    }

    /// Notes every row of a table as a change that has no time: it loses against any that was captured.
    fn note_rows(&self, id: i64, table: &Table) -> Result<(), DatabaseError> {
        let noted: Vec<_> = (0..table.key.len()).map(|place| format!("k{place}")).collect();
        let key: Vec<_> = table.key_names().map(|name| Ident(name.as_str()).to_string()).collect();
        let sql = format!(
            "INSERT INTO main.branchline_change (table_id, at, {}) SELECT ?1, 0, {} FROM main.{}",
            noted.join(", "),
            key.join(", "),
            Ident(table.name.as_str()),
        );
        self.connection.execute(&sql, params![id]).map(drop).map_err(failed)
    }

    /// Makes the triggers of a captured table again where they are not as they should be.
    fn mend(&mut self, found: &CapturedTable) -> Result<(), DatabaseError> {
        let (table, form) = self.table(&found.name)?;
        let Some(shape) = triggers::shape_of(table, form) else { return Ok(()) };
        let expected = triggers::of(found.id, table, form, self.declared(table)?);
        let is_as_expected = |(name, sql): (&String, &String)| {
            self.installed.get(name).is_some_and(|there| there.sql == *sql && same(&there.table, &found.name))
        };
        if expected.iter().all(is_as_expected) {
            if shape != found.shape {
                captured::set_shape(self.connection, found.id, &shape, false)?;
            }
            return Ok(());
        }
        let is_intact = triggers::names(found.id, !found.shape.unique_keys.is_empty())
            .iter()
            .all(|name| self.installed.get(name).is_some_and(|there| same(&there.table, &found.name)));
        if !is_intact {
            self.report.mended.push(found.name.clone());
        }
        let has_other_key =
            (&shape.key_form, &shape.key_columns) != (&found.shape.key_form, &found.shape.key_columns);
        if has_other_key && !is_intact {
            self.remove(found)?;
            return self.add(&found.name, false);
        }
        let has_new_unique =
            shape.unique_keys.lines().any(|key| !found.shape.unique_keys.lines().any(|known| known == key));
        self.drop_triggers(found.id)?;
        let (table, form) = self.table(&found.name)?;
        self.create_triggers(found.id, table, form)?;
        captured::set_shape(self.connection, found.id, &shape, !is_intact || has_new_unique)
    }

    fn remove(&self, table: &CapturedTable) -> Result<(), DatabaseError> {
        self.drop_triggers(table.id)?;
        change::forget_table(self.connection, table.id)?;
        version::forget_table(self.connection, table.id)?;
        held::unsettle(self.connection, &table.name, &table.shape.key_columns)?;
        scope::forget_table(self.connection, table.id)?;
        captured::remove(self.connection, table.id)
    }

    fn create_triggers(&self, id: i64, table: &Table, form: &TableForm) -> Result<(), DatabaseError> {
        let declared = self.declared(table)?;
        for sql in triggers::of(id, table, form, declared).values() {
            self.connection.execute_batch(sql).map_err(failed)?;
        }
        Ok(())
    }

    /// Also from a table that took them along when it was renamed.
    fn drop_triggers(&self, id: i64) -> Result<(), DatabaseError> {
        for name in triggers::names(id, true).iter().filter(|name| self.installed.contains_key(*name)) {
            self.connection.execute_batch(&format!("DROP TRIGGER main.{name}")).map_err(failed)?;
        }
        Ok(())
    }
}

/// SQLite tells names apart without the case of ASCII letters.
fn same(name: &str, table: &TableName) -> bool {
    name.eq_ignore_ascii_case(table.as_str())
}

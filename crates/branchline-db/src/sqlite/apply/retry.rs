//! Held rows are tried again with each backup that comes: they are staged beside its rows, as rows of the backup that
//! brought them, and decided by what their source knew then.
//!
//! What is held here counts as known to us; of these rows themselves our knowledge says nothing. Where a row of the
//! backup has the same key as a held one, only one of the two is left by now (`beside`).

use std::collections::HashMap;

use branchline_core::backup::TableSummary;
use branchline_core::digest::Digest;
use branchline_core::ports::{DatabaseError, OnError};
use branchline_core::schema::TableName;
use rusqlite::{Connection, params};

use super::super::error::failed;
use super::super::ledger::held::{self, HeldLine};
use super::super::schema::Catalogue;
use super::decide::decided_table;
use super::plan::{self, Staged, TablePlan};
use super::stage::{self, StagedLives};
use super::staging::Stager;
use super::statement::stage_table;
use super::versions::Versioned;

/// Held rows that are on the stage.
#[derive(Debug)]
pub(super) struct Retried {
    /// By the place of their table on the stage and their number, their numbers in the ledger.
    rows: HashMap<(usize, i64), i64>,
    /// The plans that hold them begin here.
    first: usize,
}

impl Retried {
    /// None, beside so many plans of the backup itself.
    pub(super) fn none(of_the_backup: usize) -> Self {
        Self { rows: HashMap::new(), first: of_the_backup }
    }

    /// The number in the ledger of a staged row, where it was held before.
    pub(super) fn held(&self, plan: &TablePlan, n: i64) -> Option<i64> {
        self.rows.get(&(plan.place, n)).copied()
    }
}

/// What is on the stage, and gets more.
pub(super) struct Stage<'a> {
    pub(super) connection: &'a Connection,
    pub(super) catalogue: &'a Catalogue,
    pub(super) plans: &'a mut Vec<TablePlan>,
    pub(super) removals: &'a mut Vec<TablePlan>,
    pub(super) lives: &'a mut StagedLives,
}

impl Stage<'_> {
    /// Stages what is held, unless all of the backup is to go in or nothing.
    pub(super) fn restage(
        &mut self,
        versioned: &mut Versioned<'_>,
        retried: &mut Retried,
    ) -> Result<(), DatabaseError> {
        if versioned.request.on_error != OnError::Hold {
            return Ok(());
        }
        for group in groups(held::lines(self.connection, &versioned.lives)?) {
            let first = &group[0];
            let theirs = held::known(self.connection, &versioned.lives, first.backup)?;
            let origin = versioned.add_origin(theirs, first.source.clone(), first.backup);
            self.group(&group, origin, retried)?;
        }
        Ok(())
    }

    /// Stages rows of one table and one backup; those of a table that they do not fit any more stay held.
    fn group(
        &mut self,
        group: &[HeldLine],
        origin: usize,
        retried: &mut Retried,
    ) -> Result<(), DatabaseError> {
        let next = self.plans.iter().chain(&*self.removals).map(|plan| plan.place + 1).max().unwrap_or(0);
        let Some(summary) = summary(self.catalogue, &group[0]) else { return Ok(()) };
        let staged = Staged { marked: true, holds: true };
        let Ok(mut plan) = plan::of_table(self.catalogue, next, &summary, staged) else { return Ok(()) };
        plan.origin = origin;
        let mut removals = plan.of_removals(next + 1);
        stage::make(self.connection, [&plan, &removals])?;
        let mut stager = Stager::new(self.connection, &mut plan, Some(&mut removals), self.lives)?;
        for held in group {
            // A key that its column does not hold any more: the row waits for another change of the table.
            let Ok((n, is_removal)) = stager.row(&held.line, Some(&held.version)) else { continue };
            retried.rows.insert((if is_removal { next + 1 } else { next }, n), held.id);
        }
        drop(stager);
        stage::index(self.connection, [&plan, &removals])?;
        self.plans.push(plan);
        self.removals.push(removals);
        Ok(())
    }
}

/// Ends the retry: rows that went in are held no more, nor are those that were decided to be old or lost a conflict.
/// Answers how many went in.
pub(super) fn release(
    connection: &Connection,
    retried: &Retried,
    plans: &[TablePlan],
    removals: &[TablePlan],
) -> Result<u64, DatabaseError> {
    let mut released = 0;
    for plan in plans.iter().skip(retried.first).chain(removals.iter().skip(retried.first)) {
        for n in numbers(connection, &format!("SELECT n FROM {}", stage_table(plan)))? {
            if let Some(id) = retried.held(plan, n) {
                held::remove(connection, id)?;
                released += 1;
            }
        }
    }
    held::forget_known(connection)?;
    Ok(released)
}

/// Forgets the rows of a plan that were just decided not to go in.
pub(super) fn forget_decided(
    connection: &Connection,
    retried: &Retried,
    plan: &TablePlan,
    had_rows: bool,
) -> Result<(), DatabaseError> {
    if !had_rows {
        return Ok(());
    }
    let sql = format!("SELECT n FROM {} WHERE verdict IN ('old', 'same', 'keep')", decided_table(plan));
    for n in numbers(connection, &sql)? {
        if let Some(id) = retried.held(plan, n) {
            held::remove(connection, id)?;
        }
    }
    Ok(())
}

fn numbers(connection: &Connection, sql: &str) -> Result<Vec<i64>, DatabaseError> {
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let rows = statement.query_map(params![], |row| row.get(0)).map_err(failed)?;
    rows.collect::<rusqlite::Result<Vec<i64>>>().map_err(failed)
}

/// Rows of one table, one backup and the same columns together.
fn groups(held: Vec<HeldLine>) -> Vec<Vec<HeldLine>> {
    let mut groups: Vec<Vec<HeldLine>> = Vec::new();
    for line in held {
        let same = |group: &&mut Vec<HeldLine>| {
            let first = &group[0];
            (&first.table, first.backup, &first.columns) == (&line.table, line.backup, &line.columns)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(line),
            None => groups.push(vec![line]),
        }
    }
    groups
}

/// The table of held rows as a backup would describe it; nothing where the table is gone.
fn summary(catalogue: &Catalogue, held: &HeldLine) -> Option<TableSummary> {
    let table = catalogue.schema.table(&held.table)?;
    Some(TableSummary {
        name: TableName::new(held.table.as_str()).ok()?,
        columns: held.columns()?,
        key: table.key_names().cloned().collect(),
        fingerprint: Digest::of(&[]),
        rows: 0,
        deletions: 0,
        base: None,
        versioned: true,
        filtered: false,
    })
}

//! Held rows are tried again with each backup that comes: they are staged beside its rows, as rows of the backup that
//! brought them, and decided by what their source knew then.
//!
//! What is held here counts as known to us, but for these rows themselves: for them we know only what lies below the
//! lowest that is held of each life. A held row with the same key as a row of the backup waits for the next time.

use std::collections::HashMap;

use branchline_core::backup::{ColumnSummary, TableSummary};
use branchline_core::digest::Digest;
use branchline_core::merge::Parties;
use branchline_core::ports::{ApplyRequest, DatabaseError, OnError};
use branchline_core::schema::{ColumnName, TableName};
use rusqlite::{Connection, params};

use super::super::error::failed;
use super::super::ident::collate;
use super::super::ledger::held::{self, HeldLine};
use super::super::ledger::life::Lives;
use super::super::ledger::{knowledge, standing};
use super::super::schema::Catalogue;
use super::decide::decided_table;
use super::plan::{self, Staged, TablePlan};
use super::stage::{self, StagedLives};
use super::staging::Stager;
use super::statement::stage_table;
use super::versions::Origin;

/// Held rows that are on the stage.
#[derive(Debug, Default)]
pub(super) struct Retried {
    /// By the place of their table on the stage and their number, their numbers in the ledger.
    rows: HashMap<(usize, i64), i64>,
    /// The plans that hold them begin here.
    first: usize,
}

impl Retried {
    /// The number in the ledger of a staged row, where it was held before.
    pub(super) fn held(&self, plan: &TablePlan, n: i64) -> Option<i64> {
        self.rows.get(&(plan.place, n)).copied()
    }
}

/// What is on the stage, and may get more.
pub(super) struct Stage<'a> {
    pub(super) connection: &'a Connection,
    pub(super) catalogue: &'a Catalogue,
    pub(super) plans: &'a mut Vec<TablePlan>,
    pub(super) removals: &'a mut Vec<TablePlan>,
    pub(super) lives: &'a mut StagedLives,
}

/// Stages what is held; answers where it is, and the backups that it came with.
pub(super) fn restage(
    stage: &mut Stage<'_>,
    request: &ApplyRequest,
) -> Result<(Retried, Vec<Origin>), DatabaseError> {
    let mut retried = Retried { first: stage.plans.len(), ..Retried::default() };
    let mut origins = Vec::new();
    let standing = standing::read(stage.connection)?;
    let (Some(standing), true) = (standing, request.context.is_some() && request.on_error == OnError::Hold)
    else {
        return Ok((retried, origins));
    };
    let lives = Lives::read(stage.connection)?;
    let held = held::lines(stage.connection, &lives)?;
    if held.is_empty() {
        return Ok((retried, origins));
    }
    let ours = knowledge::read(stage.connection, &lives)?;
    let ours = held::without_held(stage.connection, &lives, ours)?;
    for group in groups(held) {
        let first = &group[0];
        let known = origins.iter().position(|origin: &Origin| origin.backup == first.backup);
        let origin = match known {
            Some(place) => place,
            None => {
                let theirs = held::known(stage.connection, &lives, first.backup)?;
                let parties = Parties { own: standing.own.clone(), ours: ours.clone(), theirs };
                origins.push(Origin { parties, source: first.source.clone(), backup: first.backup });
                origins.len() - 1
            }
        };
        stage.group(&group, origin + 1, &mut retried)?;
    }
    Ok((retried, origins))
}

impl Stage<'_> {
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

    /// Leaves out held rows whose keys the backup brings.
    pub(super) fn yield_to_backup(&mut self, retried: &Retried) -> Result<(), DatabaseError> {
        for at in retried.first..self.plans.len() {
            for other in 0..retried.first {
                if self.plans[other].name != self.plans[at].name {
                    continue;
                }
                let brought = [&self.plans[other], &self.removals[other]];
                let gone = leave(self.connection, &self.plans[at], brought)?;
                let gone_too = leave(self.connection, &self.removals[at], brought)?;
                self.plans[at].rows -= gone;
                self.removals[at].rows -= gone_too;
            }
        }
        Ok(())
    }
}

/// Takes the rows off the stage whose keys are brought; answers how many.
fn leave(connection: &Connection, plan: &TablePlan, brought: [&TablePlan; 2]) -> Result<u64, DatabaseError> {
    let mut left = 0;
    for brought in brought.into_iter().filter(|brought| brought.rows > 0 && plan.rows > 0) {
        let same = plan.key.iter().zip(&brought.key).zip(&brought.key_collations);
        let same = same.map(|((here, there), collation)| {
            format!("o.c{there} = s.c{here}{}", collate(collation.as_deref()))
        });
        let same: Vec<_> = same.collect();
        let sql = format!(
            "DELETE FROM {stage} WHERE n IN (SELECT s.n FROM {stage} AS s CROSS JOIN {} AS o WHERE {})",
            stage_table(brought),
            same.join(" AND "),
            stage = stage_table(plan),
        );
        left += connection.execute(&sql, []).map_err(failed)?;
    }
    Ok(u64::try_from(left).unwrap_or(u64::MAX))
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
    let column = |line: &str| {
        let (logical_type, name) = line.split_once('\t')?;
        Some(ColumnSummary { name: ColumnName::new(name).ok()?, logical_type: logical_type.parse().ok()? })
    };
    Some(TableSummary {
        name: TableName::new(held.table.as_str()).ok()?,
        columns: held.columns.lines().map(column).collect::<Option<_>>()?,
        key: table.key_names().cloned().collect(),
        fingerprint: Digest::of(&[]),
        rows: 0,
        deletions: 0,
        base: None,
        versioned: true,
        filtered: false,
    })
}

//! Brings the staged rows into the shop's tables, under the write lock.

use std::collections::BTreeMap;
use std::time::Duration;

use branchline_core::backup::BackupType;
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{
    ApplyRequest, DatabaseError, ForeignKeyCheck, HeldReport, MergeReport, OnError, TableMerge,
};
use branchline_core::schema::{TableName, parents_first};
use rusqlite::Connection;

use super::super::connect::three_times;
use super::super::day;
use super::super::error::failed;
use super::super::ledger::life::Lives;
use super::super::ledger::{self, knowledge, standing};
use super::super::schema::{self, Catalogue};
use super::holds::{Cause, Fault, Staged};
use super::plan::TablePlan;
use super::quiet::Quiet;
use super::removal::Removals;
use super::retry::{Retried, Stage};
use super::spelling::Search;
use super::unique_swap::Leaving;
use super::versions::Versioned;
use super::{
    Work, absence, beside, blocks, conflicts, decide, foreign_keys, holds, mirror, probe, refit, retry, rows,
    spelling,
};
use crate::stages::Stages;

/// Takes the write lock at the beginning: a lock that is asked for later can fail at once.
const BEGIN_IMMEDIATE: &str = "BEGIN IMMEDIATE";
const DEFER: &str = "PRAGMA defer_foreign_keys = ON";

/// Stages of the report during which the lock is held.
const LOCKED: [&str; 7] = ["compare", "decide", "update", "insert", "check", "delete", "record"];

/// Merges everything; the caller rolls back where it fails.
pub(super) fn run(work: &mut Work) -> Result<MergeReport, DatabaseError> {
    let Work {
        connection, request, catalogue, schema_version, plans, removals, lives, unfit, stages, ..
    } = work;
    three_times(|| connection.execute_batch(BEGIN_IMMEDIATE).map_err(failed))?;
    stages.end("wait");
    connection.execute_batch(DEFER).map_err(failed)?;
    if schema::version(connection)? != *schema_version {
        let message = "somebody changed the schema while rows were staged".to_owned();
        return Err(DatabaseError::Busy { message });
    }
    ledger::applied::check_place(connection, request)?;
    let of_the_backup = plans.len();
    let search = if request.context.is_some() && request.backup_type != BackupType::Full {
        Search::Variants
    } else {
        Search::AllRows
    };
    let has_forms = spelling::adopt(connection, catalogue, plans, search)?;
    if spelling::adopt_keys(connection, removals, search)? || has_forms {
        stages.end("compare");
    }
    let mut tables = vec![TableMerge::default(); of_the_backup];
    let mut versioned = Versioned::begin(connection, request)?;
    let mut retried = Retried::none(of_the_backup);
    let mut of_unfit = Vec::new();
    if let Some(versioned) = &mut versioned {
        versioned.number_lives(lives)?;
        refit::all(versioned, catalogue, lives, 2 * of_the_backup)?;
    }
    let unfit_tables = unfit.keep(versioned.as_ref(), &mut of_unfit)?;
    if let Some(versioned) = &mut versioned {
        beside::settle(versioned, plans, removals, &mut tables)?;
        let mut stage = Stage { connection, catalogue, plans, removals, lives };
        stage.restage(versioned, &mut retried)?;
        versioned.number_lives(lives)?;
        spelling::adopt(connection, catalogue, &plans[of_the_backup..], Search::Variants)?;
        spelling::adopt_keys(connection, &removals[of_the_backup..], Search::Variants)?;
        tables.resize(plans.len(), TableMerge::default());
    }
    let mut merge = Merge { connection, request, catalogue, versioned: versioned.as_ref(), stages };
    let mut outcome = merge.carry_out(plans, removals, &retried, &mut tables)?;
    tables.truncate(of_the_backup);
    outcome.held.extend(of_unfit);
    outcome.held.truncate(holds::NAMED_MAX);
    let close = request.context.as_ref().and_then(|context| context.day.as_ref());
    let day = close.map_or_else(|| Ok(Vec::new()), |close| day::check(connection, catalogue, close))?;
    let stages = stages.report();
    let locked_for: Duration =
        stages.iter().filter(|(name, _)| LOCKED.contains(name)).map(|(_, taken)| *taken).sum();
    // SQLite counts broken keys row by row; the joins are there to say which row it is.
    Ok(MergeReport {
        tables: unfit.join(&tables, &unfit_tables),
        foreign_keys: ForeignKeyCheck::RowByRow,
        locked_for,
        stages,
        knowledge: outcome.knowledge,
        held: outcome.held,
        released: outcome.released,
        day,
    })
}

/// What came of it, besides the rows.
struct Outcome {
    knowledge: Option<Knowledge>,
    held: Vec<HeldReport>,
    released: u64,
}

/// A merge under the write lock.
struct Merge<'a> {
    connection: &'a Connection,
    request: &'a ApplyRequest,
    catalogue: &'a Catalogue,
    versioned: Option<&'a Versioned<'a>>,
    stages: &'a mut Stages,
}

/// A table that could not be written.
struct Failure {
    index: usize,
    is_removal: bool,
    error: DatabaseError,
}

impl Merge<'_> {
    fn carry_out(
        &mut self,
        plans: &mut [TablePlan],
        removals: &mut [TablePlan],
        retried: &Retried,
        tables: &mut [TableMerge],
    ) -> Result<Outcome, DatabaseError> {
        let mut renewed = BTreeMap::new();
        let mut held = Vec::new();
        if let Some(versioned) = self.versioned {
            renewed = decide_all(versioned, self.catalogue, plans, removals, retried, tables)?;
        }
        let mut staged = Staged { plans, removals, renewed: &mut renewed, tables, reports: &mut held };
        self.settle(retried, &mut staged)?;
        self.stages.end("decide");
        if let Some(versioned) = self.versioned {
            record_won(versioned, self.catalogue, &mut staged)?;
        }
        let empty = |plan: &TablePlan| rows::is_empty(self.connection, plan);
        let was_empty = staged.plans.iter().map(empty).collect::<Result<Vec<_>, _>>()?;
        self.write_or_hold(retried, &mut staged)?;
        let Staged { plans, removals, tables, renewed, .. } = staged;
        let mirrors = self.request.mirror && self.versioned.is_none();
        foreign_keys::check(self.connection, self.catalogue, plans, mirrors)?;
        self.stages.end("check");
        if mirrors {
            self.mirror(plans, tables)?;
        }
        let mut released = 0;
        let knowledge = match self.versioned {
            Some(versioned) => {
                let held = put_down(versioned, plans, removals, renewed, &was_empty)?;
                released = retry::release(self.connection, retried, plans, removals)?;
                Some(held)
            }
            None => held_here(self.connection)?,
        };
        self.stages.end("record");
        Ok(Outcome { knowledge, held, released })
    }

    /// Whether rows that cannot go in are held.
    fn holds(&self) -> bool {
        self.versioned.is_some() && self.request.on_error == OnError::Hold
    }

    /// Holds what cannot go in, or refuses all of it.
    fn settle(&self, retried: &Retried, staged: &mut Staged<'_>) -> Result<(), DatabaseError> {
        if let (Some(versioned), true) = (self.versioned, self.holds()) {
            return holds::settle(versioned, self.catalogue, retried, staged);
        }
        let Staged { plans, removals, .. } = staged;
        let faults = blocks::find(self.connection, self.catalogue, self.versioned, plans, removals)?;
        faults.into_iter().next().map_or(Ok(()), |fault| Err(holds::refusal(fault)))
    }

    /// Writes all rows. What only shows when it is written is found row by row, and held; then all of it is written
    /// anew. Nothing on the stage changes between a savepoint and its end: the stage cannot be rolled back.
    fn write_or_hold(&mut self, retried: &Retried, staged: &mut Staged<'_>) -> Result<(), DatabaseError> {
        loop {
            self.connection.execute_batch("SAVEPOINT branchline_rows").map_err(failed)?;
            let before = staged.tables.to_vec();
            let Err(failure) = self.write(staged) else {
                return self.connection.execute_batch("RELEASE branchline_rows").map_err(failed);
            };
            let versioned = self.versioned.filter(|_| self.holds() && staged.plans[failure.index].holds);
            let Some(versioned) = versioned.filter(|_| is_about_a_row(&failure.error)) else {
                return Err(failure.error);
            };
            staged.tables.copy_from_slice(&before);
            self.connection.execute_batch("ROLLBACK TO branchline_rows").map_err(failed)?;
            let leaving = leaving(self.request, staged.removals, failure.index);
            let (index, is_removal) = (failure.index, failure.is_removal);
            let plan = if is_removal { &staged.removals[index] } else { &staged.plans[index] };
            let refused = probe::find(self.connection, self.catalogue, plan, is_removal, leaving)?;
            self.connection.execute_batch("RELEASE branchline_rows").map_err(failed)?;
            if refused.is_empty() {
                return Err(failure.error);
            }
            let fault = |(n, error)| Fault { index, is_removal, n, cause: Cause::Refused(error) };
            holds::hold(versioned, retried, staged, refused.into_iter().map(fault).collect())?;
            holds::settle(versioned, self.catalogue, retried, staged)?;
        }
    }

    fn write(&mut self, staged: &mut Staged<'_>) -> Result<(), Failure> {
        let order = in_order(self.catalogue, staged.plans);
        let of_removal = |(index, error)| Failure { index, is_removal: true, error };
        let removals = Removals::count(self.connection, staged.removals).map_err(of_removal)?;
        removals.remove_early(self.catalogue).map_err(of_removal)?;
        for &index in &order {
            let leaving = leaving(self.request, staged.removals, index);
            let plan = &staged.plans[index];
            let of_plan = |error| Failure { index, is_removal: false, error };
            let quiet = self.begin_quiet(plan).map_err(of_plan)?;
            let merged = rows::merge(self.connection, self.catalogue, plan, leaving, self.stages);
            let merged = merged.map_err(of_plan)?;
            staged.plans[index].is_noted = quiet.is_none();
            if let Some(quiet) = quiet {
                quiet.end(self.connection).map_err(of_plan)?;
            }
            let table = &mut staged.tables[index];
            table.inserted = merged.inserted;
            table.updated = merged.updated;
            table.unchanged += merged.unchanged;
        }
        let removed = removals.remove(order.iter().rev().copied()).map_err(of_removal)?;
        for (table, removed) in staged.tables.iter_mut().zip(removed) {
            table.deleted = removed.gone;
            table.unchanged += removed.missing;
        }
        self.stages.end("delete");
        Ok(())
    }

    fn begin_quiet(&self, plan: &TablePlan) -> Result<Option<Quiet>, DatabaseError> {
        let Some(versioned) = self.versioned else { return Ok(None) };
        match versioned.table(plan)? {
            Some(table) => Quiet::begin(self.connection, plan, &table),
            None => Ok(None),
        }
    }

    fn mirror(&mut self, plans: &[TablePlan], tables: &mut [TableMerge]) -> Result<(), DatabaseError> {
        mirror::check(self.connection, self.catalogue, plans)?;
        let order = in_order(self.catalogue, plans);
        let removed = mirror::remove(self.connection, plans, order.iter().rev().copied())?;
        for (table, removed) in tables.iter_mut().zip(removed) {
            table.deleted += removed;
        }
        self.stages.end("delete");
        Ok(())
    }
}

/// Which rows of a plan's table are about to be removed.
fn leaving<'a>(request: &ApplyRequest, removals: &'a [TablePlan], index: usize) -> Leaving<'a> {
    match removals.get(index) {
        Some(removals) if removals.rows > 0 => Leaving::Staged(removals),
        None if request.mirror => Leaving::NotStaged,
        _ => Leaving::Nothing,
    }
}

/// Whether a failure is one row's, and not the database's.
pub(super) fn is_about_a_row(error: &DatabaseError) -> bool {
    use DatabaseError as E;
    matches!(error, E::Unique { .. } | E::Constraint { .. } | E::ForeignKey { .. } | E::UniqueSwap { .. })
}

/// Puts the conflicts on record that theirs won, now that it is clear which rows go in.
fn record_won(
    versioned: &Versioned<'_>,
    catalogue: &Catalogue,
    staged: &mut Staged<'_>,
) -> Result<(), DatabaseError> {
    for index in 0..staged.plans.len() {
        for (plan, is_removal) in [(&staged.plans[index], false), (&staged.removals[index], true)] {
            let Some(table) = versioned.table(plan)?.filter(|_| plan.rows > 0) else { continue };
            let won = conflicts::record(versioned, catalogue, plan, &table, conflicts::WON, is_removal)?;
            staged.tables[index].conflicts += won;
        }
    }
    Ok(())
}

/// Decides every staged row, and what becomes of rows that a full backup does not hold; answers plans of those that
/// count as changes made here, by the places of their tables' plans.
fn decide_all(
    versioned: &Versioned<'_>,
    catalogue: &Catalogue,
    plans: &mut [TablePlan],
    removals: &mut [TablePlan],
    retried: &Retried,
    tables: &mut [TableMerge],
) -> Result<BTreeMap<usize, TablePlan>, DatabaseError> {
    versioned.raise_clock()?;
    let mut renewed = BTreeMap::new();
    let first_free = plans.iter().chain(&*removals).map(|plan| plan.place + 1).max().unwrap_or(0);
    for (index, ((plan, removals), count)) in plans.iter_mut().zip(removals).zip(tables).enumerate() {
        let Some(table) = versioned.table(plan)? else { continue };
        if let Some(plan) = absence::table(versioned, plan, removals, &table, first_free + index)? {
            renewed.insert(index, plan);
        }
        for (plan, is_removal) in [(plan, false), (removals, true)] {
            let had_rows = plan.rows > 0;
            decide::table(versioned, catalogue, plan, &table, is_removal, count)?;
            retry::forget_decided(versioned.connection, retried, plan, had_rows)?;
        }
    }
    Ok(renewed)
}

/// Puts down what went in; answers all that is held here now.
fn put_down(
    versioned: &Versioned<'_>,
    plans: &[TablePlan],
    removals: &[TablePlan],
    renewed: &BTreeMap<usize, TablePlan>,
    was_empty: &[bool],
) -> Result<Knowledge, DatabaseError> {
    for ((plan, removals), &was_empty) in plans.iter().zip(removals).zip(was_empty) {
        let Some(table) = versioned.table(plan)? else { continue };
        if plan.rows > 0 {
            versioned.put_rows(plan, &table, was_empty)?;
        }
        versioned.put_removals(removals, &table)?;
    }
    versioned.forget_taken()?;
    for plan in plans {
        if let Some(table) = versioned.table(plan)? {
            versioned.note_as_ours(plan, &table)?;
        }
    }
    for plan in removals {
        if let Some(table) = versioned.table(plan)? {
            versioned.note_removals_as_ours(plan, &table)?;
        }
    }
    for plan in renewed.values() {
        if let Some(table) = versioned.table(plan)? {
            versioned.note(plan, &table, "true")?;
        }
    }
    versioned.learn()
}

/// All that is held here, where changes are captured.
fn held_here(connection: &Connection) -> Result<Option<Knowledge>, DatabaseError> {
    if standing::read(connection)?.is_none() {
        return Ok(None);
    }
    knowledge::read(connection, &Lives::read(connection)?).map(Some)
}

/// The places of the plans, parents before children.
fn in_order(catalogue: &Catalogue, plans: &[TablePlan]) -> Vec<usize> {
    let tables = plans.iter().filter_map(|plan| catalogue.schema.table(&plan.name));
    let groups = parents_first(tables);
    let places = |name: &TableName| -> Vec<usize> {
        plans.iter().enumerate().filter(|(_, plan)| plan.name == *name).map(|(place, _)| place).collect()
    };
    groups.iter().flat_map(|group| &group.tables).flat_map(places).collect()
}

//! Rows that cannot go in are held, with what hangs on them, and the rest goes in.
//!
//! Found before anything is written: rows that were marked when they were staged, rows that would point at nothing
//! (`orphans`), rows whose unique value is taken (`clashes`), removals that other rows prevent (`blocks`). Each that is
//! held leaves the stage, which may leave others without a parent or with a value in their way, so all of it is looked at
//! again until nothing is found. What only shows when it is written is found by `probe`.
//!
//! A removal of a row that a full backup does not hold cannot be held: nobody said that it was deleted. What keeps it
//! here is unknown to the source, so it counts as a change made here, and travels there with it.

use std::collections::{BTreeMap, BTreeSet};

use branchline_core::backup::ColumnSummary;
use branchline_core::backup::v1::Deletion;
use branchline_core::code::{Code, Explain};
use branchline_core::ports::{DatabaseError, HeldReport, TableMerge};
use rusqlite::params;

use super::super::error::failed;
use super::super::ledger::held::{self, Holding};
use super::super::schema::Catalogue;
use super::plan::TablePlan;
use super::retry::Retried;
use super::stage::Removal;
use super::statement::stage_table;
use super::versions::{Versioned, staged_key};
use super::{blocks, clashes, images, orphans};

/// Rows of a backup that a report names.
pub(super) const NAMED_MAX: usize = 100;

const EARLY: &str = "SELECT n, code, reason, line FROM branchline_stage.early WHERE place = ?1 ORDER BY n";

/// A staged row that cannot go in.
#[derive(Debug)]
pub(super) struct Fault {
    /// The place of its plan.
    pub(super) index: usize,
    /// Whether it is a removal.
    pub(super) is_removal: bool,
    /// Its number.
    pub(super) n: i64,
    pub(super) cause: Cause,
}

/// Why it cannot.
#[derive(Debug)]
pub(super) enum Cause {
    /// A rule is in the way.
    Refused(DatabaseError),
    /// It was marked when it was staged: its line says more than the stage holds.
    Early { code: Code, reason: String, line: Vec<u8> },
}

impl Cause {
    fn code(&self) -> Code {
        match self {
            Self::Refused(error) => error.code(),
            Self::Early { code, .. } => *code,
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Refused(error) => error.to_string(),
            Self::Early { reason, .. } => reason.clone(),
        }
    }
}

/// What is on the stage, and what is said of it in the end.
pub(super) struct Staged<'a> {
    pub(super) plans: &'a mut [TablePlan],
    pub(super) removals: &'a mut [TablePlan],
    /// By the place of a plan, the rows that count as changes made here; only where the backup is full.
    pub(super) renewed: &'a mut BTreeMap<usize, TablePlan>,
    pub(super) tables: &'a mut [TableMerge],
    pub(super) reports: &'a mut Vec<HeldReport>,
}

/// Holds what can be told before anything is written.
pub(super) fn settle(
    versioned: &Versioned<'_>,
    catalogue: &Catalogue,
    retried: &Retried,
    staged: &mut Staged<'_>,
) -> Result<(), DatabaseError> {
    let connection = versioned.connection;
    let mut faults = early(versioned, staged.plans)?;
    loop {
        hold(versioned, retried, staged, faults)?;
        faults = orphans::find(connection, catalogue, staged.plans)?;
        faults.extend(clashes::find(connection, catalogue, staged.plans, staged.removals)?);
        faults.extend(blocks::find(connection, catalogue, Some(versioned), staged.plans, staged.removals)?);
        if faults.is_empty() {
            return Ok(());
        }
        if let Some(fault) = faults.iter().position(|fault| !staged.plans[fault.index].holds) {
            // A table that is not captured here has no place to hold its rows in.
            return Err(refusal(faults.swap_remove(fault)));
        }
    }
}

/// The error of a fault that cannot be held.
pub(super) fn refusal(fault: Fault) -> DatabaseError {
    match fault.cause {
        Cause::Refused(error) => error,
        Cause::Early { reason, .. } => DatabaseError::Failed { sqlstate: "HELD".to_owned(), message: reason },
    }
}

/// Rows that were marked when they were staged, and that should go in.
fn early(versioned: &Versioned<'_>, plans: &[TablePlan]) -> Result<Vec<Fault>, DatabaseError> {
    let mut faults = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        let mut statement = versioned.connection.prepare(EARLY).map_err(failed)?;
        let place = i64::try_from(plan.place).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![place]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let code: String = row.get(1).map_err(failed)?;
            let cause = Cause::Early {
                code: Code::parse(&code).unwrap_or(Code::VALUE_NOT_HELD),
                reason: row.get(2).map_err(failed)?,
                line: row.get(3).map_err(failed)?,
            };
            faults.push(Fault { index, is_removal: false, n: row.get(0).map_err(failed)?, cause });
        }
    }
    Ok(faults)
}

/// Holds these rows: they leave the stage.
pub(super) fn hold(
    versioned: &Versioned<'_>,
    retried: &Retried,
    staged: &mut Staged<'_>,
    faults: Vec<Fault>,
) -> Result<(), DatabaseError> {
    let mut seen = BTreeSet::new();
    for fault in faults {
        if seen.insert((fault.index, fault.is_removal, fault.n)) {
            hold_one(versioned, retried, staged, &fault)?;
        }
    }
    Ok(())
}

fn hold_one(
    versioned: &Versioned<'_>,
    retried: &Retried,
    staged: &mut Staged<'_>,
    fault: &Fault,
) -> Result<(), DatabaseError> {
    let plan = if fault.is_removal { &staged.removals[fault.index] } else { &staged.plans[fault.index] };
    let Some(found) = StagedRow::read(versioned, &staged.plans[fault.index], plan, fault)? else {
        // It left before: a row that was decided to be old is not held for what it would lack.
        return Ok(());
    };
    if fault.is_removal && !found.is_listed {
        if let Some(renewed) = staged.renewed.get_mut(&fault.index) {
            copy_key(versioned, plan, renewed, fault.n)?;
            renewed.rows += 1;
        }
    } else if let Some(id) = retried.held(plan, fault.n) {
        held::set_reason(versioned.connection, id, fault.cause.code(), &fault.cause.reason())?;
    } else {
        staged.tables[fault.index].held += 1;
        if staged.reports.len() < NAMED_MAX {
            staged.reports.push(HeldReport {
                table: plan.name.clone(),
                key: found.holding.readable.clone(),
                code: fault.cause.code(),
                reason: fault.cause.reason(),
            });
        }
        let theirs = &versioned.origin(plan).parties.theirs;
        held::put(versioned.connection, &found.holding, theirs)?;
    }
    let sql = format!("DELETE FROM {} WHERE n = ?1", stage_table(plan));
    versioned.connection.execute(&sql, params![fault.n]).map_err(failed)?;
    let plan =
        if fault.is_removal { &mut staged.removals[fault.index] } else { &mut staged.plans[fault.index] };
    plan.rows -= 1;
    Ok(())
}

/// Copies a key from the rows that are to be removed to those that count as changes made here.
fn copy_key(
    versioned: &Versioned<'_>,
    from: &TablePlan,
    to: &TablePlan,
    n: i64,
) -> Result<(), DatabaseError> {
    let columns: Vec<_> = (0..from.key.len()).map(|place| format!("c{place}")).collect();
    let columns = columns.join(", ");
    let sql = format!(
        "INSERT INTO {} ({columns}) SELECT {columns} FROM {} WHERE n = ?1",
        stage_table(to),
        stage_table(from)
    );
    versioned.connection.execute(&sql, params![n]).map(drop).map_err(failed)
}

/// A staged row that is to be held.
struct StagedRow<'a> {
    /// Whether the backup lists it.
    is_listed: bool,
    holding: Holding<'a>,
}

impl<'a> StagedRow<'a> {
    /// Reads it; `rows` is the plan of the table's rows, `plan` that of the row itself.
    fn read(
        versioned: &'a Versioned<'_>,
        rows: &'a TablePlan,
        plan: &'a TablePlan,
        fault: &Fault,
    ) -> Result<Option<Self>, DatabaseError> {
        let Some(table) = versioned.table(plan)? else { return Ok(None) };
        let values: Vec<_> = (0..plan.columns.len()).map(|place| format!("s.c{place}")).collect();
        let sql = format!(
            "SELECT {}, s.kind, s.life, s.generation, s.time, s.was_life, s.was_generation, {} FROM {} AS s WHERE s.n = ?1",
            staged_key(plan, &table),
            values.join(", "),
            stage_table(plan),
        );
        let mut statement = versioned.connection.prepare(&sql).map_err(failed)?;
        let mut found = statement.query(params![fault.n]).map_err(failed)?;
        let Some(row) = found.next().map_err(failed)? else { return Ok(None) };
        let kind: Option<i64> = row.get(1).map_err(failed)?;
        let version = versioned.staged_version(row, 2, &table)?;
        let origin = versioned.origin(plan);
        let (columns, line) = match &fault.cause {
            Cause::Early { line, .. } => (rows.summaries.clone(), line.clone()),
            Cause::Refused(_) => {
                let deletion = fault.is_removal.then_some(match kind {
                    Some(kind) if kind == Removal::OutOfScope as i64 => Deletion::OutOfScope,
                    _ => Deletion::Deleted,
                });
                let staged = images::values(plan, row, FIRST_VALUE)?;
                let values = images::whole(rows, staged, fault.is_removal);
                (images::columns(rows), images::line(rows, version.clone(), deletion, &values)?)
            }
        };
        let holding = Holding {
            table: &plan.name,
            key: row.get(0).map_err(failed)?,
            readable: images::readable_key(plan, &images::values(plan, row, FIRST_VALUE)?),
            version,
            source: &origin.source,
            backup: origin.backup,
            code: fault.cause.code(),
            reason: fault.cause.reason(),
            columns: written(&columns),
            key_columns: None,
            line,
        };
        let is_absent = |kind: i64| kind == Removal::Absent as i64 || kind == Removal::Mirrored as i64;
        Ok(Some(Self { is_listed: !fault.is_removal || !kind.is_some_and(is_absent), holding }))
    }
}

/// The place of a staged row's values in the query.
const FIRST_VALUE: usize = 7;

/// Columns as the ledger keeps them: a line each.
pub(super) fn written(columns: &[ColumnSummary]) -> String {
    let lines: Vec<_> =
        columns.iter().map(|column| format!("{}\t{}", column.logical_type, column.name)).collect();
    lines.join("\n")
}

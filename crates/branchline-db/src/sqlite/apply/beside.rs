//! What comes in for the key of a held row is held against that row first, as if it were here.
//!
//! What is not taken leaves the stage. What is taken makes us forget the held row, and is decided against the row that is
//! here as one of which our knowledge says nothing. Conflicts are put on record with the held row as our image.
//!
//! A full backup that does not hold the row, though its source knew its version, says that it was deleted since: the
//! held row becomes its own deletion, in the same version, and is tried again as such. It is not simply forgotten:
//! something here may stand in the deletion's way as well.

use std::collections::HashMap;

use branchline_core::backup::BackupType;
use branchline_core::backup::v1::{Deletion, RowMark, RowReader, RowWriter};
use branchline_core::backup::{ColumnSummary, TableSummary};
use branchline_core::merge::{
    Absence, LocalRow, Parties, Verdict, decide_absent, decide_beside_held, decide_leaving,
};
use branchline_core::ports::{DatabaseError, TableMerge};
use branchline_core::schema::{ColumnName, TableName};
use branchline_core::value::Value;
use rusqlite::params;

use super::super::error::failed;
use super::super::ledger::conflict::{self, Conflict};
use super::super::ledger::held::{self, HeldLine};
use super::plan::TablePlan;
use super::stage::Removal;
use super::statement::stage_table;
use super::versions::{Versioned, VersionedTable, staged_key};
use super::{decide, images};

/// Settles the rows of the backup with those that are held.
pub(super) fn settle(
    versioned: &mut Versioned<'_>,
    plans: &mut [TablePlan],
    removals: &mut [TablePlan],
    tables: &mut [TableMerge],
) -> Result<(), DatabaseError> {
    let held = held::lines(versioned.connection, &versioned.lives)?;
    if held.is_empty() {
        return Ok(());
    }
    for (index, count) in tables.iter_mut().enumerate() {
        let of_table = held.iter().filter(|held| held.table == plans[index].name);
        let mut by_key: HashMap<&str, &HeldLine> = of_table.map(|held| (held.key.as_str(), held)).collect();
        if by_key.is_empty() {
            continue;
        }
        for is_removal in [false, true] {
            let met = meet(versioned, &plans[index], &removals[index], is_removal, &mut by_key)?;
            let plan = if is_removal { &mut removals[index] } else { &mut plans[index] };
            leave(versioned, plan, &met.dropped)?;
            count.superseded += met.dropped.len() as u64;
            count.conflicts += met.conflicts;
            for n in met.replacing {
                versioned.replace_held(plan, n);
            }
        }
        for held in by_key.into_values() {
            become_deletion(versioned, &plans[index], held)?;
        }
    }
    held::forget_known(versioned.connection)
}

/// What came of the rows of one plan.
#[derive(Default)]
struct Met {
    /// Rows that are not taken.
    dropped: Vec<i64>,
    /// Rows in whose place nothing is held any more.
    replacing: Vec<i64>,
    conflicts: u64,
}

/// Holds the rows of a plan against the held rows of their keys, which are taken out of `by_key`.
fn meet(
    versioned: &Versioned<'_>,
    rows: &TablePlan,
    removals: &TablePlan,
    is_removal: bool,
    by_key: &mut HashMap<&str, &HeldLine>,
) -> Result<Met, DatabaseError> {
    let plan = if is_removal { removals } else { rows };
    let mut met = Met::default();
    let Some(table) = versioned.table(plan)?.filter(|_| plan.rows > 0) else { return Ok(met) };
    let values: Vec<_> = (0..plan.columns.len()).map(|place| format!("s.c{place}")).collect();
    let sql = format!(
        "SELECT s.n, {}, s.kind, s.life, s.generation, s.time, s.was_life, s.was_generation, {} FROM {} AS s",
        staged_key(plan, &table),
        values.join(", "),
        stage_table(plan),
    );
    let mut statement = versioned.connection.prepare(&sql).map_err(failed)?;
    let mut found = statement.query([]).map_err(failed)?;
    while let Some(row) = found.next().map_err(failed)? {
        let key: String = row.get(1).map_err(failed)?;
        let Some(held) = by_key.remove(key.as_str()) else { continue };
        let n: i64 = row.get(0).map_err(failed)?;
        let incoming = versioned.staged_version(row, 3, &table)?;
        let deletion = match row.get::<_, Option<i64>>(2).map_err(failed)? {
            Some(kind) if kind == Removal::OutOfScope as i64 => Some(Deletion::OutOfScope),
            _ => is_removal.then_some(Deletion::Deleted),
        };
        let values = images::whole(rows, images::values(plan, row, FIRST_VALUE)?, is_removal);
        // Written in the version of the held row, the lines of equal rows are equal.
        let same = images::line(rows, held.version.clone(), deletion, &values)? == held.line;
        let parties = &versioned.origin(plan).parties;
        if deletion.is_none() && is_leaving(rows, held) {
            // It could not leave, and is in the scope again: what comes in is decided like any other row.
            held::remove(versioned.connection, held.id)?;
            continue;
        }
        let verdict = match deletion {
            Some(Deletion::OutOfScope) => leaving_beside(held, &table, parties),
            _ => decide_beside_held(&incoming, &held.version, same, parties),
        };
        if verdict.is_conflict() {
            let conflict = Conflict {
                table: &plan.name,
                key: &key,
                backup: versioned.request.backup,
                source: &versioned.request.source,
                verdict: decide::name(verdict),
                ours: Some(held.line.clone()),
                ours_at: None,
                theirs: images::line(rows, incoming, deletion, &values)?,
            };
            conflict::add(versioned.connection, &conflict)?;
            met.conflicts += 1;
        }
        if verdict.takes() {
            held::remove(versioned.connection, held.id)?;
            met.replacing.push(n);
        } else {
            met.dropped.push(n);
        }
    }
    Ok(met)
}

/// A row that left what the two servers share: what is held of it goes as well, if the sender knew it.
fn leaving_beside(held: &HeldLine, table: &VersionedTable<'_>, parties: &Parties) -> Verdict {
    let local = LocalRow { present: true, version: Some(held.version.clone()), ..LocalRow::default() };
    decide_leaving(&local, table.base_here, parties)
}

/// The place of a staged row's values in the query.
const FIRST_VALUE: usize = 8;

/// Takes rows off the stage.
fn leave(versioned: &Versioned<'_>, plan: &mut TablePlan, numbers: &[i64]) -> Result<(), DatabaseError> {
    let sql = format!("DELETE FROM {} WHERE n = ?1", stage_table(plan));
    let mut statement = versioned.connection.prepare(&sql).map_err(failed)?;
    for n in numbers {
        statement.execute(params![n]).map_err(failed)?;
        plan.rows -= 1;
    }
    Ok(())
}

/// Turns a held row into its deletion, where a full backup lacks it and its source knew it.
fn become_deletion(
    versioned: &Versioned<'_>,
    plan: &TablePlan,
    held: &HeldLine,
) -> Result<(), DatabaseError> {
    let request = versioned.request;
    let is_whole = |summary: &TableSummary| summary.name == plan.name && !summary.filtered;
    if request.backup_type != BackupType::Full || !request.tables.iter().any(is_whole) {
        return Ok(());
    }
    let Some(VersionedTable { base_here, .. }) = versioned.table(plan)? else { return Ok(()) };
    let local = LocalRow { present: true, version: Some(held.version.clone()), ..LocalRow::default() };
    if decide_absent(&local, base_here, &versioned.origin(plan).parties) != Absence::Remove {
        return Ok(());
    }
    let key: Vec<&ColumnName> = plan.key.iter().map(|&column| &plan.columns[column].name).collect();
    let Some(line) = deletion_of(&plan.name, &key, held) else { return Ok(()) };
    held::set_line(versioned.connection, held.id, &line)
}

/// Whether what is held is that a row left what the two servers share.
fn is_leaving(plan: &TablePlan, held: &HeldLine) -> bool {
    let Some(columns) = held.columns() else { return false };
    let place = |name: &_| columns.iter().position(|column| column.name == *name);
    let key = plan.key.iter().map(|&column| place(&plan.columns[column].name)).collect::<Option<Vec<_>>>();
    let mut values = Vec::new();
    let mark = key.and_then(|key| {
        RowReader::new(&plan.name, &columns).read_marked(&held.line, 1, &key, &mut values).ok()
    });
    mark.is_some_and(|mark| mark.deletion == Some(Deletion::OutOfScope))
}

/// The line of a held row's deletion; nothing where it is one already, or cannot be read any more.
pub(super) fn deletion_of(table: &TableName, key: &[&ColumnName], held: &HeldLine) -> Option<Vec<u8>> {
    let columns: Vec<ColumnSummary> = held.columns()?;
    let place = |name: &ColumnName| columns.iter().position(|column| column.name == *name);
    let key: Vec<usize> = key.iter().map(|name| place(name)).collect::<Option<_>>()?;
    let mut values = Vec::new();
    let reader = RowReader::new(table, &columns);
    let mark = reader.read_marked(&held.line, 1, &key, &mut values).ok()?;
    if mark.deletion.is_some() {
        return None;
    }
    for (place, value) in values.iter_mut().enumerate() {
        if !key.contains(&place) {
            *value = Value::Null;
        }
    }
    let mark = RowMark { version: Some(held.version.clone()), deletion: Some(Deletion::Deleted) };
    let mut writer = RowWriter::new(table, &columns);
    writer.marked(&mark, &values).ok()?;
    Some(images::only_line(&mut writer))
}

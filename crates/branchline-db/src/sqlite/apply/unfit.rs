//! Tables of a backup that do not fit here: all their rows are held, and the rest of the backup goes in.
//!
//! What fits is asked of the core ([`Misfit`]). The rows of the others are not staged like those of a table here, whose
//! columns they have not: their lines wait in one table of the stage, and go into the ledger under their keys as they
//! came, until the table fits (`refit`).
//!
//! A row that was known here before is not held: it came then, and went in or was held then. Where a row of the same key
//! is held already, the core decides which of the two stays. Of rows here that a full backup lacks nothing can be said while
//! their table does not fit: a compare is due then.

use std::collections::HashMap;

use branchline_core::backup::v1::UnfitReader;
use branchline_core::backup::{BackupType, RowBatch, TableSummary};
use branchline_core::merge::{Absence, LocalRow, decide_absent, decide_beside_held};
use branchline_core::ports::{ApplyRequest, DatabaseError, HeldReport, OnError, TableMerge};
use branchline_core::schema::{ColumnName, Exclusion, TableName};
use branchline_core::version::{Dot, Version};
use rusqlite::{Connection, params};

use super::super::error::failed;
use super::super::ident::Ident;
use super::super::ledger::conflict::{self, Conflict};
use super::super::ledger::held::{self, HeldLine, Holding};
use super::super::ledger::{captured, standing};
use super::super::schema::Catalogue;
use super::beside::deletion_of;
use super::holds::{NAMED_MAX, written};
use super::plan::{self, Staged, TablePlan};
use super::stage::StagedLives;
use super::versions::Versioned;
use super::{decide, out_of_order};
use crate::misfit::Why;

/// `life` and `was_life` are places among the staged lives.
const CREATE: &str =
    "CREATE TABLE branchline_stage.unfit (place INTEGER, n INTEGER, key TEXT NOT NULL, life INTEGER,
    generation INTEGER, time INTEGER, was_life INTEGER, was_generation INTEGER, line BLOB NOT NULL,
    PRIMARY KEY (place, n), UNIQUE (place, key))";
const ADD: &str = "INSERT INTO branchline_stage.unfit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const IS_THERE: &str = "SELECT 1 FROM branchline_stage.unfit WHERE place = ?1 AND key = ?2";
const ALL: &str = "SELECT life, generation, time, was_life, was_generation, key, line
    FROM branchline_stage.unfit WHERE place = ?1 ORDER BY n";

/// What the ledger says of the tables here, where rows can be held.
#[derive(Debug)]
pub(super) struct Home {
    captured: Vec<TableName>,
    left_out: Vec<TableName>,
}

impl Home {
    /// Reads it; nothing where no row of the backup can be held.
    pub(super) fn read(
        connection: &Connection,
        request: &ApplyRequest,
    ) -> Result<Option<Self>, DatabaseError> {
        if request.context.is_none() || request.on_error != OnError::Hold {
            return Ok(None);
        }
        let Some(standing) = standing::read(connection)? else { return Ok(None) };
        let left_out = [standing.left_out, request.left_out.clone()].concat();
        Ok(Some(Self { captured: captured::names(connection)?, left_out }))
    }
}

/// Why a table that was refused with that error does not fit; nothing where the error is about something else.
pub(super) fn why(catalogue: &Catalogue, summary: &TableSummary, error: &DatabaseError) -> Option<Why> {
    use DatabaseError as E;
    let is_about_the_table = matches!(
        error,
        E::TableUnknown { .. } | E::TableNotSyncable { .. } | E::Scope(_) | E::ForeignKey { .. }
    );
    is_about_the_table.then(|| Why::of(&catalogue.schema, summary, error))
}

/// Where the rows of a table of the request go.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// To the stage, as the table of that place.
    Fits(usize),
    /// Into the ledger.
    Unfit(usize),
}

/// The tables of a backup that do not fit.
#[derive(Debug, Default)]
pub(super) struct Unfit {
    ways: Vec<Way>,
    tables: Vec<UnfitTable>,
}

#[derive(Debug)]
struct UnfitTable {
    summary: TableSummary,
    why: Why,
    reader: UnfitReader,
    rows: u64,
}

/// Fits the tables of a request, and takes those that do not fit out of it, where their rows may be held.
pub(super) fn divide(
    catalogue: &Catalogue,
    request: &mut ApplyRequest,
    home: Option<&Home>,
) -> Result<(Vec<TablePlan>, Unfit), DatabaseError> {
    let marked = request.context.is_some();
    let (mut plans, mut unfit) = (Vec::new(), Unfit::default());
    for summary in std::mem::take(&mut request.tables) {
        let has_versions = summary.base.is_some();
        let holds = has_versions && home.is_some_and(|home| home.captured.contains(&summary.name));
        let fitted = if home.is_some_and(|home| home.left_out.contains(&summary.name)) {
            let reason = Exclusion::ByChoice.to_string();
            Err(DatabaseError::TableNotSyncable { table: summary.name.clone(), reason })
        } else {
            plan::of_table(catalogue, plans.len(), &summary, Staged { marked, holds })
        };
        match fitted {
            Ok(plan) => {
                unfit.ways.push(Way::Fits(plans.len()));
                plans.push(plan);
                request.tables.push(summary);
            }
            Err(error) => {
                let why = why(catalogue, &summary, &error);
                // A row without a version has no name to be held by.
                let Some(why) = why.filter(|_| home.is_some() && has_versions) else { return Err(error) };
                unfit.ways.push(Way::Unfit(unfit.tables.len()));
                let reader = UnfitReader::new(&summary);
                unfit.tables.push(UnfitTable { summary, why, reader, rows: 0 });
            }
        }
    }
    Ok((plans, unfit))
}

impl Unfit {
    /// The place among the tables that fit of a table of the request; nothing where its rows are held.
    pub(super) fn fitting(&self, place: usize) -> Result<Option<usize>, DatabaseError> {
        match self.ways.get(place) {
            Some(Way::Fits(place)) => Ok(Some(*place)),
            Some(Way::Unfit(_)) => Ok(None),
            None => Err(out_of_order("stage: there is no such table")),
        }
    }

    /// Makes room for their lines.
    pub(super) fn create(&self, connection: &Connection) -> Result<(), DatabaseError> {
        if self.tables.is_empty() { Ok(()) } else { connection.execute_batch(CREATE).map_err(failed) }
    }

    /// Takes rows of the table at `place` of the request.
    pub(super) fn take(
        &mut self,
        connection: &Connection,
        lives: &mut StagedLives,
        place: usize,
        batch: &RowBatch,
    ) -> Result<(), DatabaseError> {
        let Some(Way::Unfit(place)) = self.ways.get(place).copied() else { return Ok(()) };
        let table = &mut self.tables[place];
        let mut add = connection.prepare(ADD).map_err(failed)?;
        for object in batch.objects() {
            table.rows += 1;
            let unreadable = |error| DatabaseError::Row { table: table.summary.name.clone(), error };
            let row = table.reader.read(object, table.rows).map_err(unreadable)?;
            let base = || table.summary.base.clone().map(Version::base);
            let version = row.mark.version.or_else(base);
            let version = version.ok_or_else(|| out_of_order("stage: a row without a version"))?;
            let mut of = |dot: &Dot| (lives.place(&dot.life), dot.generation.value().cast_signed());
            let (life, generation) = of(&version.dot);
            let was = version.was.as_ref().map(of);
            let values = params![
                i64::try_from(place).unwrap_or(i64::MAX),
                table.rows.cast_signed(),
                row.key,
                life,
                generation,
                version.time.micros().cast_signed(),
                was.map(|(life, _)| life),
                was.map(|(_, generation)| generation),
                object,
            ];
            add.execute(values).map_err(|error| {
                if !super::super::error::is_constraint(&error) {
                    return failed(error);
                }
                DatabaseError::Unique {
                    table: table.summary.name.to_string(),
                    constraint: "PRIMARY KEY".to_owned(),
                    detail: format!("two rows of the backup have the key {}", row.key),
                }
            })?;
        }
        Ok(())
    }

    /// Holds what was taken. Answers what a report says of each of these tables.
    pub(super) fn keep(
        &self,
        versioned: Option<&Versioned<'_>>,
        reports: &mut Vec<HeldReport>,
    ) -> Result<Vec<TableMerge>, DatabaseError> {
        let mut counts = vec![TableMerge::default(); self.tables.len()];
        if self.tables.is_empty() {
            return Ok(counts);
        }
        let versioned = versioned.ok_or_else(|| out_of_order("held rows, but no changes"))?;
        let held = held::unfit(versioned.connection, &versioned.lives)?;
        for (place, (table, count)) in self.tables.iter().zip(&mut counts).enumerate() {
            let of_table = held.iter().filter(|held| held.table == table.summary.name);
            let by_key = of_table.map(|held| (held.key.as_str(), held)).collect();
            if versioned.request.backup_type == BackupType::Full && !table.summary.filtered {
                table.turn_into_deletions(versioned, place, &by_key)?;
            }
            table.keep(versioned, place, &by_key, count, reports)?;
        }
        if versioned.request.backup_type == BackupType::Full {
            let whole = self.tables.iter().filter(|table| !table.summary.filtered);
            let mut due = Vec::new();
            for name in whole.map(|table| &table.summary.name) {
                if versioned.captured(name).is_some() && !is_empty(versioned.connection, name)? {
                    due.push(name.clone());
                }
            }
            captured::set_compare_due(versioned.connection, &due, true)?;
        }
        Ok(counts)
    }

    /// The counts of all tables of the request, in its order.
    pub(super) fn join(&self, fitting: &[TableMerge], unfit: &[TableMerge]) -> Vec<TableMerge> {
        let counted = |way: &Way| match way {
            Way::Fits(place) => fitting.get(*place).copied().unwrap_or_default(),
            Way::Unfit(place) => unfit.get(*place).copied().unwrap_or_default(),
        };
        self.ways.iter().map(counted).collect()
    }
}

fn is_empty(connection: &Connection, table: &TableName) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM main.{})", Ident(table.as_str()));
    connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)
}

impl UnfitTable {
    /// Held rows that a full backup lacks, and that its source knew, were deleted there: what is held from now on is the
    /// deletion. What came from another source, or with other columns, may write the same key in another way, and stays.
    fn turn_into_deletions(
        &self,
        versioned: &Versioned<'_>,
        place: usize,
        by_key: &HashMap<&str, &HeldLine>,
    ) -> Result<(), DatabaseError> {
        let (connection, origin) = (versioned.connection, versioned.first_origin());
        let mut is_there = connection.prepare(IS_THERE).map_err(failed)?;
        let mut reader = UnfitReader::new(&self.summary);
        let (columns, key_columns) = (written(&self.summary.columns), self.key_columns());
        let key: Vec<&ColumnName> = self.summary.key.iter().collect();
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        for (held_key, held) in by_key {
            let is_of_this_source = held.source == origin.source && held.columns == columns;
            if !is_of_this_source || held.key_columns.as_deref() != Some(key_columns.as_str()) {
                continue;
            }
            let is_as_it_came = reader.read(&held.line, 1).is_ok_and(|read| read.key == *held_key);
            if !is_as_it_came || is_there.exists(params![place, held_key]).map_err(failed)? {
                continue;
            }
            let local =
                LocalRow { present: true, version: Some(held.version.clone()), ..LocalRow::default() };
            // The base does not matter for a row that has a version.
            if decide_absent(&local, &origin.parties.own, &origin.parties) != Absence::Remove {
                continue;
            }
            if let Some(line) = deletion_of(&self.summary.name, &key, held) {
                held::set_line(connection, held.id, &line)?;
            }
        }
        Ok(())
    }

    /// The columns of its key as it came, a line each.
    fn key_columns(&self) -> String {
        self.summary.key.iter().map(ColumnName::as_str).collect::<Vec<_>>().join("\n")
    }

    fn keep(
        &self,
        versioned: &Versioned<'_>,
        place: usize,
        by_key: &HashMap<&str, &HeldLine>,
        count: &mut TableMerge,
        reports: &mut Vec<HeldReport>,
    ) -> Result<(), DatabaseError> {
        let connection = versioned.connection;
        let (request, parties) = (versioned.request, &versioned.first_origin().parties);
        let columns = written(&self.summary.columns);
        let key_columns = self.key_columns();
        let mut statement = connection.prepare(ALL).map_err(failed)?;
        let mut rows = statement.query(params![i64::try_from(place).unwrap_or(i64::MAX)]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let version = versioned.version_of_staged(row, 0)?;
            let version = version.ok_or_else(|| out_of_order("a held row without a version"))?;
            let (key, line): (String, Vec<u8>) = (row.get(5).map_err(failed)?, row.get(6).map_err(failed)?);
            if parties.ours.knows(&version) {
                count.superseded += 1;
                continue;
            }
            if let Some(held) = by_key.get(key.as_str()) {
                let verdict = decide_beside_held(&version, &held.version, line == held.line, parties);
                if verdict.is_conflict() {
                    let conflict = Conflict {
                        table: &self.summary.name,
                        key: &key,
                        backup: request.backup,
                        source: &request.source,
                        verdict: decide::name(verdict),
                        ours: Some(held.line.clone()),
                        ours_at: None,
                        theirs: line.clone(),
                    };
                    conflict::add(connection, &conflict)?;
                    count.conflicts += 1;
                }
                if !verdict.takes() {
                    count.superseded += 1;
                    continue;
                }
            }
            count.held += 1;
            let (code, reason) = (self.why.code, self.why.reason.clone());
            if reports.len() < NAMED_MAX {
                let (table, reason) = (self.summary.name.clone(), reason.clone());
                reports.push(HeldReport { table, key: key.clone(), code, reason });
            }
            let holding = Holding {
                table: &self.summary.name,
                readable: key.clone(),
                key,
                version,
                source: &request.source,
                backup: request.backup,
                code,
                reason,
                columns: columns.clone(),
                key_columns: Some(key_columns.clone()),
                line,
            };
            held::put(connection, &holding, &parties.theirs)?;
        }
        Ok(())
    }
}

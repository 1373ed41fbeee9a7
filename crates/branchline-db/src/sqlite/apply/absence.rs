//! What a full backup does not hold: decided row by row, before anything leaves the stage.
//!
//! A row here that the backup lacks was deleted at the source where the source knew it, and counts as a change made
//! here where it did not and may have purged a deletion of it (`branchline_core::merge`). The same holds for tombstones,
//! and for deletions that wait in the log. Rows that go are put with those that are to be removed; rows that count as
//! new are noted once everything went in. Where a filter keeps rows back, absence says nothing.
//!
//! A mirror removes the other rows too. That is a deletion made here, which travels.

use branchline_core::backup::BackupType;
use branchline_core::merge::{Absence, LocalRow, decide_absent};
use branchline_core::ports::DatabaseError;
use rusqlite::Row;

use super::super::error::failed;
use super::super::ident::{Ident, collate};
use super::decide::pending;
use super::plan::TablePlan;
use super::stage::Removal;
use super::statement::{create_stage, not_staged, stage_table, target_table};
use super::versions::{Versioned, VersionedTable};

/// Decides what becomes of the rows that the backup does not hold. Those that go are added to `removals`; answers a
/// plan for those that count as new, whose table on the stage is made under `place`; nothing where absence says nothing.
pub(super) fn table(
    versioned: &Versioned<'_>,
    plan: &TablePlan,
    removals: &mut TablePlan,
    table: &VersionedTable<'_>,
    place: usize,
) -> Result<Option<TablePlan>, DatabaseError> {
    let request = versioned.request;
    let summary = request.tables.iter().find(|summary| summary.name == plan.name);
    let is_whole =
        request.backup_type == BackupType::Full && summary.is_some_and(|summary| !summary.filtered);
    if !is_whole {
        return Ok(None);
    }
    let connection = versioned.connection;
    let mut renewed = plan.of_removals(place);
    connection.execute_batch(&create_stage(&renewed)).map_err(failed)?;
    let absent = Absent { versioned, plan, removals, table };
    let mut statement = connection.prepare(&absent.query()).map_err(failed)?;
    let mut remove = connection.prepare(&add_key(removals)).map_err(failed)?;
    let mut renew = connection.prepare(&add_key(&renewed)).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut removed = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        let local = absent.local(row)?;
        let kind = match decide_absent(&local, table.base_here, &versioned.origin(plan).parties) {
            Absence::Remove => Removal::Absent,
            Absence::CountsAsNew | Absence::Stays if request.mirror && local.present => Removal::Mirrored,
            Absence::CountsAsNew => {
                renewed.rows += 1;
                bind_key(&mut renew, plan, row, None)?;
                continue;
            }
            Absence::Stays => continue,
        };
        bind_key(&mut remove, plan, row, Some(kind as i64))?;
        removed += 1;
    }
    removals.rows += removed;
    Ok(Some(renewed))
}

/// Where the key begins in the query.
const FIRST_KEY: usize = 9;

struct Absent<'a> {
    versioned: &'a Versioned<'a>,
    plan: &'a TablePlan,
    removals: &'a TablePlan,
    table: &'a VersionedTable<'a>,
}

impl Absent<'_> {
    fn local(&self, row: &Row<'_>) -> Result<LocalRow, DatabaseError> {
        Ok(LocalRow {
            present: row.get(0).map_err(failed)?,
            version: self.versioned.lives.version(row, 1)?,
            pending: pending(self.versioned, row, 6)?,
            ..LocalRow::default()
        })
    }

    /// Rows, then tombstones, then deletions that wait: whether the row is here, its version, the change that waits,
    /// the key.
    fn query(&self) -> String {
        let (id, text) = (self.table.captured.id, self.table.captured.key_text("t"));
        let facts = "v.life, v.generation, v.time, v.was_life, v.was_generation, p.time, p.was_life, p.was_generation";
        let names: Vec<_> = self
            .plan
            .key
            .iter()
            .map(|&place| format!("t.{}", Ident(self.plan.columns[place].name.as_str())))
            .collect();
        let noted = |row: &str| {
            let columns: Vec<_> = (0..self.plan.key.len()).map(|place| format!("{row}.k{place}")).collect();
            columns.join(", ")
        };
        format!(
            "SELECT 1, {facts}, {} FROM {} AS t
                 LEFT JOIN main.branchline_version AS v ON v.table_id = {id} AND v.key = {text}
                 LEFT JOIN temp.branchline_stamped AS p ON p.table_id = {id} AND p.key = {text}
                 WHERE {} AND {}
             UNION ALL SELECT 0, {facts}, {} FROM main.branchline_version AS v
                 LEFT JOIN temp.branchline_stamped AS p ON p.table_id = {id} AND p.key = v.key
                 WHERE v.table_id = {id} AND v.deleted = 1 AND p.deleted IS NOT 0 AND {}
             UNION ALL SELECT 0, {facts}, {} FROM temp.branchline_stamped AS p
                 LEFT JOIN main.branchline_version AS v ON v.table_id = {id} AND v.key = p.key
                 WHERE p.table_id = {id} AND p.deleted AND v.deleted IS NOT 1 AND {}",
            names.join(", "),
            target_table(self.plan),
            not_staged(self.plan, "t"),
            not_staged(self.removals, "t"),
            noted("v"),
            self.not_brought("v"),
            noted("p"),
            self.not_brought("p"),
        )
    }

    /// That the backup brings nothing for the noted key of a row.
    fn not_brought(&self, noted: &str) -> String {
        let none = |plan: &TablePlan| {
            let same = plan.key.iter().zip(&plan.key_collations).enumerate();
            let same = same.map(|(at, (column, collation))| {
                format!("s.c{column} = {noted}.k{at}{}", collate(collation.as_deref()))
            });
            let same: Vec<_> = same.collect();
            format!("NOT EXISTS (SELECT 1 FROM {} AS s WHERE {})", stage_table(plan), same.join(" AND "))
        };
        format!("{} AND {}", none(self.plan), none(self.removals))
    }
}

/// Adds a key to a table of keys; its number is the next one.
fn add_key(plan: &TablePlan) -> String {
    let columns: Vec<_> = (0..plan.key.len()).map(|place| format!("c{place}")).collect();
    let values: Vec<_> = (0..plan.key.len()).map(|place| format!("?{}", place + 2)).collect();
    format!(
        "INSERT INTO {} (kind, {}) VALUES (?1, {})",
        stage_table(plan),
        columns.join(", "),
        values.join(", ")
    )
}

fn bind_key(
    insert: &mut rusqlite::Statement<'_>,
    plan: &TablePlan,
    row: &Row<'_>,
    kind: Option<i64>,
) -> Result<(), DatabaseError> {
    insert.raw_bind_parameter(1, kind).map_err(failed)?;
    for place in 0..plan.key.len() {
        let value = row.get_ref(FIRST_KEY + place).map_err(failed)?;
        insert
            .raw_bind_parameter(place + 2, rusqlite::types::ToSqlOutput::Borrowed(value))
            .map_err(failed)?;
    }
    insert.raw_execute().map(drop).map_err(failed)
}

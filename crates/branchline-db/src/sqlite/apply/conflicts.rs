//! Puts conflicts on record, with both images, before anything of them is overwritten.

use branchline_core::backup::v1::{Deletion, RowMark};
use branchline_core::ports::DatabaseError;
use rusqlite::{Row, params};

use super::super::error::failed;
use super::super::ledger::conflict::{self, Conflict};
use super::super::rows::TableRows;
use super::super::schema::Catalogue;
use super::decide::decided_table;
use super::images;
use super::plan::TablePlan;
use super::statement::{same_key, stage_table, target_table};
use super::versions::{Versioned, VersionedTable, staged_key};

/// The verdict of a conflict that ours won.
pub(super) const LOST: &str = "('keep')";
/// The verdicts of conflicts that theirs won.
pub(super) const WON: &str = "('take_over', 'take_as_ours')";

/// Places of what stands before the images.
const FIRST_IMAGE: usize = 14;

/// Records the conflicts of a plan that were decided in a certain way, as far as their rows stand on the stage; answers
/// how many.
pub(super) fn record(
    versioned: &Versioned<'_>,
    catalogue: &Catalogue,
    plan: &TablePlan,
    table: &VersionedTable<'_>,
    verdicts: &str,
    is_removal: bool,
) -> Result<u64, DatabaseError> {
    let connection = versioned.connection;
    let ours = TableRows::new(catalogue, &plan.name, 0)?;
    let (id, text) = (table.captured.id, staged_key(plan, table));
    let theirs: Vec<_> = (0..plan.columns.len()).map(|place| format!("s.c{place}")).collect();
    let sql = format!(
        "SELECT d.verdict, {text}, s.life, s.generation, s.time, s.was_life, s.was_generation,
             v.life, v.generation, v.time, v.was_life, v.was_generation, p.time, s.n, {}
         FROM {} AS d CROSS JOIN {} AS s
             LEFT JOIN main.branchline_version AS v ON v.table_id = {id} AND v.key = {text}
             LEFT JOIN temp.branchline_stamped AS p ON p.table_id = {id} AND p.key = {text}
         WHERE s.n = d.n AND d.verdict IN {verdicts}",
        theirs.join(", "),
        decided_table(plan),
        stage_table(plan),
    );
    let images = Images { versioned, plan, table, ours, is_removal };
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let origin = versioned.origin(plan);
    let mut met = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        let (verdict, key): (String, String) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
        let ours = images.ours(row)?;
        if verdict == "take_as_ours" && ours.is_none() {
            // Nothing was here: the sender is behind, and nobody was overruled.
            continue;
        }
        let conflict = Conflict {
            table: &plan.name,
            key: &key,
            backup: origin.backup,
            source: &origin.source,
            verdict: &verdict,
            ours,
            ours_at: row.get(12).map_err(failed)?,
            theirs: images.theirs(row)?,
        };
        conflict::add(connection, &conflict)?;
        met += 1;
    }
    Ok(met)
}

/// The two images of a row.
struct Images<'a> {
    versioned: &'a Versioned<'a>,
    plan: &'a TablePlan,
    table: &'a VersionedTable<'a>,
    ours: TableRows<'a>,
    is_removal: bool,
}

impl Images<'_> {
    /// The row here; nothing where it is not here. A query of its own: together two images may have too many columns.
    fn ours(&self, row: &Row<'_>) -> Result<Option<Vec<u8>>, DatabaseError> {
        let sql = format!(
            "SELECT {} FROM {} AS s CROSS JOIN {} AS t WHERE {} AND s.n = ?1",
            self.ours.select("t"),
            stage_table(self.plan),
            target_table(self.plan),
            same_key(self.plan, "t", "s"),
        );
        let n: i64 = row.get(13).map_err(failed)?;
        let mut statement = self.versioned.connection.prepare(&sql).map_err(failed)?;
        let mut found = statement.query(params![n]).map_err(failed)?;
        let Some(here) = found.next().map_err(failed)? else { return Ok(None) };
        // A change that waits has no version yet.
        let is_pending = row.get::<_, Option<i64>>(12).map_err(failed)?.is_some();
        let version = if is_pending { None } else { self.versioned.lives.version(row, 7)? };
        let mut writer = self.ours.writer();
        self.ours.write(&RowMark { version, deletion: None }, here, &mut writer)?;
        Ok(Some(images::only_line(&mut writer)))
    }

    /// The row of the backup, in the types of the table here.
    fn theirs(&self, row: &Row<'_>) -> Result<Vec<u8>, DatabaseError> {
        let values = images::values(self.plan, row, FIRST_IMAGE)?;
        let version = self.versioned.staged_version(row, 2, self.table)?;
        images::line(self.plan, version, self.is_removal.then_some(Deletion::Deleted), &values)
    }
}

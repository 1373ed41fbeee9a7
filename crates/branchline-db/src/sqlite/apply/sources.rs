//! What the source of a backup has of tables that filters keep rows of back from it: for the next pack for it.
//!
//! It has the rows that came from it and went in here. It has no more those that it deleted. A row that left for us by a
//! filter of its own it has still; but it is gone here without a trace, and must not be taken out there for that.

use branchline_core::ports::DatabaseError;
use rusqlite::params;

use super::super::error::failed;
use super::super::ledger::scope;
use super::decide::decided_table;
use super::plan::TablePlan;
use super::stage::Removal;
use super::statement::stage_table;
use super::versions::{Versioned, VersionedTable, staged_key};

impl Versioned<'_> {
    /// Where the source does not get the table whole: it has the rows that came from it.
    pub(super) fn enter(&self, plan: &TablePlan, table: &VersionedTable<'_>) -> Result<(), DatabaseError> {
        self.enter_those(plan, table, "true")
    }

    /// The same of rows that did not go in, though they were news: the row here is equal, or outranks them.
    pub(super) fn enter_kept(
        &self,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
    ) -> Result<(), DatabaseError> {
        let news = format!(
            "s.n IN (SELECT d.n FROM {} AS d WHERE d.verdict IN ('same', 'keep') AND d.news)",
            decided_table(plan)
        );
        self.enter_those(plan, table, &news)
    }

    fn enter_those(
        &self,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
        which: &str,
    ) -> Result<(), DatabaseError> {
        let (id, source) = (table.captured.id, &self.origin(plan).source);
        if !scope::has_scope(self.connection, source, id)? {
            return Ok(());
        }
        let places: Vec<_> = (0..plan.key.len()).map(|place| format!("k{place}")).collect();
        let values: Vec<_> = plan.key.iter().map(|place| format!("s.c{place}")).collect();
        let sql = scope::came(
            &places.join(", "),
            &format!("{}, {}", staged_key(plan, table), values.join(", ")),
            &stage_table(plan),
            which,
        );
        self.connection.execute(&sql, params![source.as_str(), id]).map(drop).map_err(failed)
    }

    /// The source has no more what it deleted. What left for us it has; yet that it is gone here is no news for it.
    pub(super) fn strike(&self, plan: &TablePlan, table: &VersionedTable<'_>) -> Result<(), DatabaseError> {
        let (id, source) = (table.captured.id, &self.origin(plan).source);
        if !scope::has_scope(self.connection, source, id)? {
            return Ok(());
        }
        let keys = format!(
            "SELECT {} FROM {} AS s WHERE {}",
            staged_key(plan, table),
            stage_table(plan),
            Removal::TOLD
        );
        self.connection.execute(&scope::struck(&keys), params![source.as_str(), id]).map(drop).map_err(failed)
    }
}

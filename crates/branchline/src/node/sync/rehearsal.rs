//! A rehearsed sync: what would be sent, and what the peers would make of it. Nothing is packed, and nothing is written.

use branchline_core::backup::{BackupType, TableSummary};
use branchline_core::ports::CaptureState;
use branchline_core::schema::Schema;

use super::{Target, Wish, outcome};
use crate::api::v1::{PlannedTable, Problem, SyncAnswer, SyncOutcome};
use crate::node::Node;
use crate::node::progress::ProgressSink;
use crate::stages::pack::tables_in_order;
use crate::stages::plan::{fits, misfit};

impl Node {
    /// Says what would be sent, and what the peers would make of it. For a mirror the rows that would be removed are
    /// counted by comparing.
    pub(super) async fn rehearse(
        &self,
        targets: Vec<Target>,
        wish: Wish,
        progress: &ProgressSink,
    ) -> Result<SyncAnswer, Problem> {
        let database = self.database().await?;
        let captured = database.capture().look().await?;
        let whole = database.schema().await?;
        let schema = self.restrict(whole.clone());
        let mut outcomes = Vec::new();
        for target in targets {
            if let Some(captured) = &captured
                && let Some(outcome) = self.rehearse_increment(&target, captured, &whole, wish).await?
            {
                outcomes.push(outcome);
                continue;
            }
            let there = target.hello.as_ref().ok().and_then(|hello| hello.schema.as_ref());
            // Rows with versions are held where they cannot go in; others are refused with all of the backup.
            let holds =
                captured.is_some() && target.hello.as_ref().is_ok_and(|hello| hello.standing.is_some());
            let mut planned: Vec<_> = planned_tables(&schema, there, holds).collect();
            if wish.mirror && there.is_some() {
                let compared = self.compare(target.peer.id.as_str(), &[], false, progress).await?;
                for table in &mut planned {
                    let found = compared.tables.iter().find(|compared| compared.table == table.table);
                    table.removed = found.map(|compared| compared.missing_here);
                }
            }
            let unreachable = target.hello.as_ref().err().map(|error| Problem::of(error));
            let mut problem = unreachable;
            if captured.is_none() && problem.is_none() {
                problem = self.refuse_unfiltered(&target.peer.id).await.err();
            }
            let problem = problem.or_else(|| first_obstacle(&schema, there.filter(|_| !holds)?));
            let rows = planned.iter().map(|table| table.rows).sum();
            let planned_outcome = outcome::outcome(&target, None, "planned", problem);
            let backup_type = Some(BackupType::Full.to_string());
            outcomes.push(SyncOutcome { planned, rows, backup_type, ..planned_outcome });
        }
        Ok(SyncAnswer { peers: outcomes })
    }

    /// Where an increment would go, what it brings is known once it is packed: the changes that wait are counted.
    async fn rehearse_increment(
        &self,
        target: &Target,
        captured: &CaptureState,
        schema: &Schema,
        wish: Wish,
    ) -> Result<Option<SyncOutcome>, Problem> {
        let acknowledged = self.memory.acknowledged(&target.peer.id).await?;
        let full = wish.mirror
            || wish.backup_type == Some(BackupType::Full)
            || acknowledged.previous(captured.own.epoch).is_none()
            || acknowledged.scope.frees(&self.scope_for(schema, &target.peer.id).mark())
            || !captured.purged.is_within(&acknowledged.knowledge);
        if full {
            return Ok(None);
        }
        let unreachable = target.hello.as_ref().err().map(|error| Problem::of(error));
        let planned = outcome::outcome(target, None, "planned", unreachable);
        let backup_type = Some(BackupType::Incremental.to_string());
        Ok(Some(SyncOutcome { rows: captured.pending, backup_type, ..planned }))
    }
}

/// The first reason for which the peer would refuse the whole backup.
fn first_obstacle(schema: &Schema, there: &Schema) -> Option<Problem> {
    let summaries =
        tables_in_order(schema).into_iter().filter_map(|name| schema.table(&name)).map(TableSummary::of);
    let error = summaries.filter_map(|summary| fits(&summary, there).err()).next()?;
    Some(Problem::of(&error).with_data("Nothing was sent, and the peer would refuse all of it."))
}

fn planned_tables<'a>(
    schema: &'a Schema,
    there: Option<&'a Schema>,
    holds: bool,
) -> impl Iterator<Item = PlannedTable> + 'a {
    let tables = tables_in_order(schema);
    let sent = tables.into_iter().filter_map(|name| schema.table(&name)).map(move |table| {
        let summary = TableSummary::of(table);
        let obstacle = there.and_then(|there| {
            if holds {
                misfit(&summary, there).map(|misfit| format!("its rows would be held there: {misfit}"))
            } else {
                fits(&summary, there).err().map(|error| error.to_string())
            }
        });
        PlannedTable { table: table.name.to_string(), rows: table.rows_estimated, removed: None, obstacle }
    });
    let kept = schema.tables().filter_map(|table| {
        let reason = table.excluded.as_ref()?;
        Some(PlannedTable {
            table: table.name.to_string(),
            rows: 0,
            removed: None,
            obstacle: Some(format!("stays here: {reason}")),
        })
    });
    sent.chain(kept)
}

//! Held rows are tried again, after what the backup itself brought: what they lacked may be here now.
//!
//! The rows of each backup that they came with are a pass of their own, because what its sender knew decides for them.
//! Backups are tried in turn until a round lets nothing in any more. A row that goes in, or that turns out to be
//! overruled, leaves the ledger; one that still cannot stays with its new reason.

use std::collections::BTreeMap;

use branchline_core::backup::{ColumnSummary, RowBatch, TableSummary};
use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::merge::Parties;
use branchline_core::ports::{DatabaseError, OnError, TableMerge};
use branchline_core::schema::{ColumnName, LogicalType, TableName, parents_first};

use super::pass::{Care, Origin, Pass};
use super::stage::{self, Staging};
use super::standing::Standing;
use super::{Target, fit, sequences, slots};
use crate::postgres::ledger::{Lives, broken, knowledge};
use crate::postgres::schema::Catalogue;
use crate::postgres::session::Session;

const HELD: &str = "
    SELECT backup::text, source, table_name, columns, types, key_columns, known_lives, known_generations, line, key
      FROM branchline.held ORDER BY since, backup, table_name, life, generation, key";

/// What went in or was overruled is held no more.
const LET_GO: &str = "
    DELETE FROM branchline.held AS h USING pg_temp.branchline_fact AS f, branchline.captured AS c
     WHERE f.place = ANY ($1) AND f.class <> 'held' AND c.id = f.table_id AND h.table_name = c.name AND h.key = f.key
       AND h.backup = $2::text::uuid";
const WENT_IN: &str = "
    SELECT count(*) FROM pg_temp.branchline_fact AS f JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
     WHERE f.place = ANY ($1) AND d.verdict IN (2, 3, 5)";

/// Rows of one backup that are held.
#[derive(Debug)]
struct Batch {
    backup: BackupId,
    source: ServerId,
    theirs: Knowledge,
    tables: Vec<HeldTable>,
}

/// Held lines of one table that have the same columns.
#[derive(Debug)]
struct HeldTable {
    summary: TableSummary,
    lines: RowBatch,
}

/// Tries all held rows; answers how many went in.
pub(crate) async fn try_all(
    session: &Session,
    catalogue: &Catalogue,
    standing: &Standing,
    care: Care,
    mut slot: usize,
) -> Result<u64, DatabaseError> {
    let mut released = 0;
    loop {
        let mut went_in = 0;
        for batch in read(session, &standing.lives).await? {
            let (tables, lines) = batch.targets(catalogue, slot);
            slot += tables.len();
            went_in += batch.try_again(session, catalogue, standing, care, tables, lines).await?;
        }
        released += went_in;
        if went_in == 0 {
            return Ok(released);
        }
    }
}

async fn read(session: &Session, lives: &Lives) -> Result<Vec<Batch>, DatabaseError> {
    let mut batches: Vec<Batch> = Vec::new();
    for row in session.rows_kept(HELD, &[]).await? {
        let backup = row.get::<_, &str>(0).parse().map_err(|_| broken("a backup id"))?;
        let source = row.get::<_, &str>(1).parse().map_err(|_| broken("a server id"))?;
        let summary = summary(row.get(2), row.get(3), row.get(4), row.get(5))?;
        if batches.last().is_none_or(|batch| batch.backup != backup) {
            let theirs = knowledge::of_columns(lives, row.get(6), row.get(7))?;
            batches.push(Batch { backup, source, theirs, tables: Vec::new() });
        }
        let Some(batch) = batches.last_mut() else { continue };
        batch.take(summary, row.get::<_, &str>(8));
    }
    Ok(batches)
}

/// The table of a line as its sender described it.
fn summary(
    table: &str,
    columns: Vec<String>,
    types: Vec<String>,
    key: Vec<String>,
) -> Result<TableSummary, DatabaseError> {
    let name = |text: String| ColumnName::new(text).map_err(|_| broken("the name of a column"));
    let column = |(text, logical): (String, String)| {
        let logical_type: LogicalType = logical.parse().map_err(|_| broken("a logical type"))?;
        Ok(ColumnSummary { name: name(text)?, logical_type })
    };
    Ok(TableSummary {
        name: TableName::new(table).map_err(|_| broken("the name of a table"))?,
        columns: columns.into_iter().zip(types).map(column).collect::<Result<_, DatabaseError>>()?,
        key: key.into_iter().map(name).collect::<Result<_, _>>()?,
        fingerprint: Digest::of(&[]),
        rows: 0,
        deletions: 0,
        base: None,
        versioned: true,
        // Which of the deletions are of rows that left the scope, the stage finds out as well.
        filtered: true,
    })
}

impl Batch {
    fn take(&mut self, summary: TableSummary, line: &str) {
        let same = |table: &HeldTable| {
            table.summary.name == summary.name && table.summary.columns == summary.columns
        };
        let place = self.tables.iter().position(same).unwrap_or_else(|| {
            self.tables.push(HeldTable { summary, lines: RowBatch::default() });
            self.tables.len() - 1
        });
        let table = &mut self.tables[place];
        table.lines.lines.extend_from_slice(line.as_bytes());
        table.lines.lines.push(b'\n');
        table.lines.rows += 1;
        table.summary.rows += 1;
        // Which of them are deletions nobody counted: the stage finds out.
        table.summary.deletions += 1;
    }

    /// The tables that are here and fit, parents first; rows of others stay where they are.
    fn targets(self: &Batch, catalogue: &Catalogue, first_slot: usize) -> (Vec<Target>, Vec<&HeldTable>) {
        let described = self.tables.iter().filter_map(|held| catalogue.schema().table(&held.summary.name));
        let order: BTreeMap<TableName, usize> = parents_first(described)
            .into_iter()
            .flat_map(|group| group.tables)
            .enumerate()
            .map(|(place, name)| (name, place))
            .collect();
        let mut held: Vec<&HeldTable> = self.tables.iter().collect();
        held.sort_by_key(|held| order.get(&held.summary.name).copied());
        let (mut targets, mut lines) = (Vec::new(), Vec::new());
        for held in held {
            let slot = first_slot + targets.len();
            match fit::target(catalogue, &held.summary, slot, OnError::Hold) {
                Ok(target) => {
                    targets.push(target);
                    lines.push(held);
                }
                Err(error) => {
                    tracing::debug!(table = %held.summary.name, %error, "held rows still do not fit");
                }
            }
        }
        (targets, lines)
    }

    async fn try_again(
        &self,
        session: &Session,
        catalogue: &Catalogue,
        main: &Standing,
        care: Care,
        tables: Vec<Target>,
        lines: Vec<&HeldTable>,
    ) -> Result<u64, DatabaseError> {
        stage::create(session, &tables).await?;
        let summaries = lines.iter().map(|held| &held.summary);
        let mut staging = Staging::of(summaries);
        for (place, held) in lines.iter().enumerate() {
            staging.take(session, &tables, place, &held.lines).await?;
        }
        staging.finish(session, &tables).await?;
        stage::analyse(session, &tables).await?;
        let mut standing = main.clone();
        let purged = knowledge::purged(session, &main.lives).await?;
        standing.parties = Parties::new(
            main.parties.own.clone(),
            main.parties.ours.clone(),
            self.theirs.clone(),
            &purged,
            &Knowledge::new(),
        );
        standing.watch(&tables, &self.source)?;
        let pass = Pass {
            session,
            catalogue,
            tables: &tables,
            origin: Origin {
                backup: self.backup,
                source: self.source.clone(),
                mirror: false,
                on_error: OnError::Hold,
                held_before: true,
            },
            lives: staging.lives(),
            care,
        };
        let mut counts: Vec<TableMerge> =
            (0..tables.len()).map(|place| staging.counted(place, &tables[place])).collect();
        pass.run(Some(&mut standing), &mut counts).await?;
        sequences::advance(session, &tables).await?;
        let places = slots(&tables);
        session.rows_kept(LET_GO, &[&places, &self.backup.to_string()]).await?;
        Ok(session.row_kept(WENT_IN, &[&places]).await?.get::<_, i64>(0).unsigned_abs())
    }
}

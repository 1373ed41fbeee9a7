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
use super::refusals::Refusals;
use super::stage::{self, Staging};
use super::standing::Standing;
use super::{Target, fit, native, sequences, slots};
use crate::postgres::ledger::{Lives, broken, held, knowledge};
use crate::postgres::schema::Catalogue;
use crate::postgres::session::Session;

const HELD: &str = "
    SELECT backup::text, source, table_name, columns, types, key_columns, known_lives, known_generations, line, key
      FROM branchline.held WHERE NOT unfit ORDER BY since, backup, table_name, life, generation, key";

/// What went in or was overruled is held no more.
const LET_GO: &str = "
    DELETE FROM branchline.held AS h USING pg_temp.branchline_fact AS f, branchline.captured AS c
     WHERE f.place = ANY ($1) AND f.class <> 'held' AND c.id = f.table_id AND h.table_name = c.name AND h.key = f.key
       AND NOT h.unfit AND h.backup = $2::text::uuid";
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
pub(crate) struct HeldTable {
    pub(crate) summary: TableSummary,
    pub(crate) lines: RowBatch,
}

impl HeldTable {
    /// None as yet.
    pub(crate) fn new(summary: TableSummary) -> Self {
        Self { summary, lines: RowBatch::default() }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, line: &str) {
        self.lines.lines.extend_from_slice(line.as_bytes());
        self.lines.lines.push(b'\n');
        self.lines.rows += 1;
        self.summary.rows += 1;
        // Which of them are deletions nobody counted: the stage finds out.
        self.summary.deletions += 1;
    }

    /// Takes the line at that place out.
    pub(crate) fn remove(&mut self, place: usize) {
        let before: usize = self.lines.objects().take(place).map(|line| line.len() + 1).sum();
        let Some(line) = self.lines.objects().nth(place).map(<[u8]>::len) else { return };
        self.lines.lines.drain(before..before + line + 1);
        self.lines.rows -= 1;
        self.summary.rows -= 1;
        self.summary.deletions -= 1;
    }
}

/// Tries all held rows; answers how many went in.
pub(crate) async fn try_all(
    session: &Session,
    catalogue: &Catalogue,
    standing: &Standing,
    (care, refusals): (Care, &Refusals),
    mut slot: usize,
) -> Result<u64, DatabaseError> {
    let mut released = 0;
    loop {
        let mut went_in = 0;
        for batch in read(session, &standing.lives).await? {
            let (tables, lines) = batch.targets(catalogue, slot);
            slot += tables.len();
            session.run("SAVEPOINT retry").await?;
            let staging = match stage_lines(session, &tables, &lines).await {
                Ok(staging) => staging,
                Err(DatabaseError::ValueNotHeld { table, .. } | DatabaseError::Row { table, .. }) => {
                    // A column was changed since they were held: which of the rows it holds is found out next time.
                    session.run("ROLLBACK TO SAVEPOINT retry; RELEASE SAVEPOINT retry").await?;
                    held::unsettle(session, &table).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            session.run("RELEASE SAVEPOINT retry").await?;
            went_in +=
                batch.try_again(session, catalogue, standing, (care, refusals), &tables, &staging).await?;
        }
        released += went_in;
        if went_in == 0 {
            return Ok(released);
        }
    }
}

/// Stages the lines of a batch, each table's by itself.
async fn stage_lines(
    session: &Session,
    tables: &[Target],
    lines: &[&HeldTable],
) -> Result<Staging, DatabaseError> {
    stage::create(session, tables).await?;
    let mut staging = Staging::of(lines.iter().map(|held| &held.summary));
    for (place, held) in lines.iter().enumerate() {
        staging.take(session, tables, place, &held.lines).await?;
    }
    staging.finish(session, tables).await?;
    native::check(session, tables).await?;
    Ok(staging)
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
pub(crate) fn summary(
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
            self.tables.push(HeldTable::new(summary));
            self.tables.len() - 1
        });
        self.tables[place].add(line);
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
        (care, refusals): (Care, &Refusals),
        tables: &[Target],
        staging: &Staging,
    ) -> Result<u64, DatabaseError> {
        stage::analyse(session, tables).await?;
        let mut standing = main.clone();
        let purged = knowledge::purged(session, &main.lives).await?;
        standing.parties = Parties::new(
            main.parties.own.clone(),
            main.parties.ours.clone(),
            self.theirs.clone(),
            &purged,
            &Knowledge::new(),
        );
        standing.watch(tables, &self.source)?;
        let pass = Pass {
            session,
            catalogue,
            tables,
            origin: Origin {
                backup: self.backup,
                source: self.source.clone(),
                mirror: false,
                on_error: OnError::Hold,
                held_before: true,
            },
            lives: staging.lives(),
            care,
            refusals,
        };
        let mut counts: Vec<TableMerge> =
            (0..tables.len()).map(|place| staging.counted(place, &tables[place])).collect();
        pass.run(Some(&mut standing), &mut counts).await?;
        sequences::advance(session, tables).await?;
        let places = slots(tables);
        session.rows_kept(LET_GO, &[&places, &self.backup.to_string()]).await?;
        Ok(session.row_kept(WENT_IN, &[&places]).await?.get::<_, i64>(0).unsigned_abs())
    }
}

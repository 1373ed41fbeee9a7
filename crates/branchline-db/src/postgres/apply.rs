//! Applying one backup in one transaction.
//!
//! 1. [`PostgresApply::begin`] fits every table of the backup into the catalogue, asks for every right that will be
//!    needed, and opens the transaction (read committed).
//! 2. [`stage`] copies rows into temporary tables, which lock nothing of the shop. A large table that is empty
//!    here and whose owner we are is filled directly ([`bulk`]).
//!    Two rows of one key, and values that PostgreSQL would round ([`native`]), are refused once all is staged.
//! 3. [`fit`] holds the tables' definitions, which must still be those of the beginning. [`merge`] updates what differs and inserts what is missing, one statement for each group of tables that
//!    reach each other by foreign keys, so that even keys that cannot be deferred are checked when all is there.
//!    A row that a trigger of the shop dropped or re-keyed is refused ([`triggers`]).
//!    Unique values that change hands are parked first ([`unique_swap`]); a mirror removes last ([`mirror`]).
//! 4. Sequences are advanced ([`sequences`]), every deferred constraint is checked, the ledger's row is written,
//!    and all of it commits or nothing does. Only a sequence that was advanced stays so.
//!
//! Locks are taken by table name and, of rows, in key order; `lock_timeout` is below `deadlock_timeout`, so that
//! this session gives way to the shop's. A merge that lost a lock is tried again from its staged rows, three
//! times at most.

mod bulk;
mod fit;
mod merge;
mod mirror;
mod native;
mod sequences;
mod stage;
mod strip;
mod triggers;
mod unique_swap;

use std::time::{Duration, Instant};

use branchline_core::backup::RowBatch;
use branchline_core::ports::{
    Apply, ApplyRequest, BoxFuture, DatabaseError, ForeignKeyCheck, MergeReport, TableMerge,
};
use branchline_core::schema::{Table, parents_first};

use super::error::is_contention;
use super::ledger;
use super::schema::{Catalogue, Relation};
use super::session::Session;
use crate::stages::Stages;
use bulk::Bulk;
use stage::Staging;
use triggers::Triggers;

/// How often a merge is begun before the database counts as busy.
const ATTEMPTS_MAX: u32 = 3;

/// A session that applies one backup.
#[derive(Debug)]
pub(crate) struct PostgresApply {
    session: Session,
    request: ApplyRequest,
    catalogue: Catalogue,
    tables: Vec<Target>,
    staging: Staging,
    bulk: Bulk,
    stages: Stages,
    locked_since: Option<Instant>,
}

/// One table of the backup, at this database.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) table: Table,
    pub(crate) relation: Relation,
    /// For each column of the backup, the column's place in the table.
    pub(crate) places: Vec<usize>,
    /// Where its rows are copied to.
    pub(crate) load: Load,
    /// Rows that the backup says it has.
    pub(crate) rows: u64,
}

/// Where the rows of a table are copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Load {
    /// A temporary table of this name, in SQL.
    Staged(String),
    /// The table itself, which is empty and locked.
    Direct,
}

impl Target {
    /// The table that its rows are copied into, in SQL.
    pub(crate) fn filled(&self) -> String {
        match &self.load {
            Load::Staged(name) => name.clone(),
            Load::Direct => self.relation.name.to_string(),
        }
    }

    /// The temporary table, where its rows are staged.
    pub(crate) fn staged(&self) -> Option<&str> {
        match &self.load {
            Load::Staged(name) => Some(name),
            Load::Direct => None,
        }
    }
}

impl PostgresApply {
    pub(crate) async fn begin(session: Session, request: ApplyRequest) -> Result<Self, DatabaseError> {
        session.check_writable().await?;
        ledger::ensure(&session).await?;
        session.run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
        session.yield_to_others().await?;
        session.commit_durably().await?;
        let catalogue = Catalogue::read(&session).await?;
        let mut tables = fit::targets(&catalogue, &request)?;
        fit::check_rights(&session, &tables, request.mirror).await?;
        let mut locked_since = None;
        let bulk = bulk::prepare(&session, &mut tables, &mut locked_since).await?;
        stage::create(&session, &tables).await?;
        let staging = Staging::new(&tables, &request);
        let stages = Stages::start();
        Ok(Self { session, request, catalogue, tables, staging, bulk, stages, locked_since })
    }

    async fn merge_all(&mut self) -> Result<MergeReport, DatabaseError> {
        self.staging.finish(&self.session, &self.tables).await?;
        stage::analyse(&self.session, &self.tables).await?;
        native::check(&self.session, &self.tables).await?;
        stage::check_keys(&self.session, &self.tables).await?;
        self.stages.end("stage");
        // Before the merge: triggers of the tables that are merged may look rows up here, or rely on a unique key.
        self.bulk.rebuild_indexes(&self.session).await?;
        self.stages.end("indexes");
        // tidy: allow(clock): it measures how long locks were held, and decides nothing
        self.locked_since.get_or_insert_with(Instant::now);
        let counts = self.merge_with_retries().await?;
        self.session.as_shop().await?;
        self.session.run("SET CONSTRAINTS ALL IMMEDIATE").await?;
        self.session.as_ourselves().await?;
        self.bulk.restore_foreign_keys(&self.session).await?;
        self.stages.end("foreign keys");
        sequences::advance(&self.session, &self.tables).await?;
        self.stages.end("sequences");
        let checked_by_join = self.bulk.took_foreign_keys_off();
        Ok(MergeReport {
            tables: counts,
            foreign_keys: if checked_by_join { ForeignKeyCheck::ByJoin } else { ForeignKeyCheck::RowByRow },
            locked_for: self.locked_since.map_or(Duration::ZERO, |since| since.elapsed()),
            stages: self.stages.report(),
            knowledge: None,
            held: Vec::new(),
            released: 0,
            day: Vec::new(),
        })
    }

    /// Merges from the staged rows; a lock that was lost costs the merge, not the staging.
    async fn merge_with_retries(&mut self) -> Result<Vec<TableMerge>, DatabaseError> {
        let mut attempt = 1;
        loop {
            self.session.run("SAVEPOINT merge").await?;
            let stripped = self.bulk.clone();
            let failed = match self.merge_once().await {
                Ok(counts) => {
                    self.session.run("RELEASE SAVEPOINT merge").await?;
                    return Ok(counts);
                }
                Err(failed) => failed,
            };
            if !matches!(failed, DatabaseError::Busy { .. }) || attempt == ATTEMPTS_MAX {
                return Err(failed);
            }
            self.session.run("ROLLBACK TO SAVEPOINT merge; RELEASE SAVEPOINT merge").await?;
            self.bulk = stripped;
            attempt += 1;
        }
    }

    async fn merge_once(&mut self) -> Result<Vec<TableMerge>, DatabaseError> {
        let Self { session, tables, bulk, stages, request, catalogue, staging, .. } = self;
        fit::hold_definitions(session, tables).await?;
        session.run("SET CONSTRAINTS ALL DEFERRED").await?;
        bulk.strip_for_merge(session, tables).await?;
        let mut counts: Vec<TableMerge> =
            (0..tables.len()).map(|place| staging.counted(place, &tables[place])).collect();
        let groups = parents_first(
            tables.iter().filter(|target| target.staged().is_some()).map(|target| &target.table),
        );
        let oids: Vec<u32> = tables.iter().map(|target| target.relation.oid).collect();
        let triggers = Triggers::read(session, &oids).await?;
        for group in &groups {
            let members = merge::members(tables, group);
            unique_swap::park(session, &members, request.mirror, &mut counts).await?;
            merge::group(session, &members, &triggers, &mut counts).await?;
        }
        stages.end("merge");
        if request.mirror {
            mirror::check(session, catalogue, tables).await?;
            for group in groups.iter().rev() {
                mirror::remove(session, &merge::members(tables, group), &mut counts).await?;
            }
            stages.end("mirror");
        }
        Ok(counts)
    }
}

impl Apply for PostgresApply {
    fn stage(&mut self, place: usize, batch: RowBatch) -> BoxFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async move { self.staging.take(&self.session, &self.tables, place, &batch).await })
    }

    fn merge(&mut self) -> BoxFuture<'_, Result<MergeReport, DatabaseError>> {
        Box::pin(self.merge_all())
    }

    fn record<'a>(
        &'a mut self,
        receipt: &'a [u8],
        now: jiff::Timestamp,
    ) -> BoxFuture<'a, Result<(), DatabaseError>> {
        Box::pin(ledger::record(&self.session, &self.request, receipt, now))
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>> {
        Box::pin(async move {
            let Self { session, .. } = *self;
            session.run("COMMIT").await?;
            session.close().await;
            Ok(())
        })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>> {
        Box::pin(async move {
            let Self { session, staging, .. } = *self;
            // Ends a COPY that is under way: the server would take a ROLLBACK for its data.
            drop(staging);
            session.run("ROLLBACK").await?;
            session.close().await;
            Ok(())
        })
    }
}

/// Whether an error of the driver may be gone when the work is tried again.
pub(crate) fn may_pass(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(is_contention)
}

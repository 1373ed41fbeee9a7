//! Applying one backup in one transaction.
//!
//! 1. [`PostgresApply::begin`] fits every table of the backup into the catalogue, asks for every right that will be
//!    needed, and opens the transaction (read committed).
//! 2. [`stage`] copies rows into temporary tables, which lock nothing of the shop. A large table that is empty
//!    here and whose owner we are is filled directly ([`bulk`]).
//!    Two rows of one key, and values that PostgreSQL would round ([`native`]), are refused once all is staged.
//! 3. Where versions decide, the apply waits for its turn ([`crate::postgres::ledger::hold`]) and reads how we stand to the
//!    backup ([`standing`]).
//! 4. [`fit`] holds the tables' definitions, which must still be those of the beginning. A [`pass`] brings the rows in:
//!    what is known here of each row is gathered ([`facts`], [`absence`]), the core decides ([`verdicts`]), conflicts are
//!    recorded ([`conflicts`]), what cannot go in is held ([`holds`]). [`merge`] updates what differs and inserts what is
//!    missing, one statement for each group of tables that reach each other by foreign keys, so that even keys that
//!    cannot be deferred are checked when all is there; [`deletions`] go last, children first.
//!    A row that a trigger of the shop dropped or re-keyed is refused ([`triggers`]).
//!    Unique values that change hands are parked first ([`unique_swap`]); a mirror removes last ([`mirror`]).
//!    Rows that were held before are tried again ([`releases`]).
//! 5. Every deferred constraint is checked, versions and knowledge are written ([`versions`]), sequences are advanced
//!    ([`sequences`]), the ledger's row is written, and all of it commits or nothing does. Only a sequence that was
//!    advanced stays so.
//!
//! Locks are taken by table name and, of rows, in key order; `lock_timeout` is below `deadlock_timeout`, so that
//! this session gives way to the shop's. A merge that lost a lock is tried again from its staged rows, three
//! times at most.

mod absence;
mod bulk;
mod cascades;
mod column;
mod conflicts;
mod deletions;
mod facts;
mod fit;
mod hold_checks;
mod holds;
mod mark;
mod merge;
mod mirror;
mod native;
mod pass;
mod releases;
mod sequences;
mod stage;
mod standing;
mod strip;
mod triggers;
mod unique_swap;
mod verdicts;
mod versions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline_core::backup::{RowBatch, TableSummary};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{
    Apply, ApplyRequest, BoxFuture, DatabaseError, ForeignKeyCheck, HeldReport, MergeReport, OnError,
    TableMerge,
};
use branchline_core::schema::Table;

pub(crate) use mirror::reference;

use super::day;
use super::error::is_contention;
use super::ledger;
use super::schema::{Catalogue, Relation};
use super::session::Session;
use super::sessions::{Fingerprint, Sessions};
use crate::stages::Stages;
use bulk::Bulk;
use cascades::APPLYING;
use pass::{Care, Origin, Pass};
use stage::Staging;
use standing::Standing;

/// How often a merge is begun before the database counts as busy.
const ATTEMPTS_MAX: u32 = 3;

/// A session that applies one backup.
#[derive(Debug)]
pub(crate) struct PostgresApply {
    sessions: Arc<Sessions>,
    session: Session,
    request: ApplyRequest,
    catalogue: Arc<Catalogue>,
    fingerprint: Fingerprint,
    tables: Vec<Target>,
    staging: Staging,
    bulk: Bulk,
    stages: Stages,
    locked_since: Option<Instant>,
    /// How we stand to the backup, once it is our turn and where versions decide.
    standing: Option<Standing>,
}

/// One table of the backup, at this database.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) table: Table,
    pub(crate) relation: Relation,
    /// For each column of the backup, the column's place in the table; nothing for one that is missing here.
    pub(crate) brought: Vec<Option<usize>>,
    /// The places of the columns that are brought.
    pub(crate) places: Vec<usize>,
    /// Where its rows are copied to.
    pub(crate) load: Load,
    /// Its number among all tables of an apply, which names its temporary tables.
    pub(crate) slot: usize,
    /// Rows that the backup says it has.
    pub(crate) rows: u64,
    /// Deletions that it says it has.
    pub(crate) deletions: u64,
    /// Whether any of its rows has a version of its own.
    pub(crate) versioned: bool,
    /// Whether rows are staged with what they say of themselves ([`mark`]).
    pub(crate) marked: bool,
    /// Whether rows that cannot go in are held.
    pub(crate) holds: bool,
    /// How the backup describes it.
    pub(crate) came: TableSummary,
}

/// The slots of tables, as queries take them.
pub(crate) fn slots<'a>(tables: impl IntoIterator<Item = &'a Target>) -> Vec<i32> {
    tables.into_iter().map(|target| i32::try_from(target.slot).unwrap_or(i32::MAX)).collect()
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

    /// Whether its deletions are staged with what they say of the scope: it may be that they only left it.
    pub(crate) fn tells_leaving(&self) -> bool {
        self.marked && self.came.filtered && self.deletions > 0 && self.load != Load::Direct
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
    pub(crate) async fn begin(sessions: Arc<Sessions>, request: ApplyRequest) -> Result<Self, DatabaseError> {
        let session = sessions.take().await?;
        session.check_writable().await?;
        ledger::ensure(&session).await?;
        session.run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
        session.yield_to_others().await?;
        session.commit_durably().await?;
        let (fingerprint, catalogue) = sessions.catalogue(&session).await?;
        let mut tables = fit::targets(&catalogue, &request)?;
        fit::check_rights(&session, &tables, request.mirror).await?;
        let mut locked_since = None;
        let mut standing = None;
        if request.context.is_some() {
            session.run(APPLYING).await?;
            // What is filled directly must be decided before it is staged.
            if tables.iter().any(bulk::is_large) {
                ledger::hold(&session).await?;
                standing = Standing::read(&session, &request, &tables).await?;
            }
        }
        let suits = Self::directly(&session, &request, standing.as_ref()).await?;
        let bulk = bulk::prepare(&session, &mut tables, &suits, &mut locked_since).await?;
        stage::create(&session, &tables).await?;
        let staging = Staging::of(&request.tables);
        let stages = Stages::start();
        Ok(Self {
            sessions,
            session,
            request,
            catalogue,
            fingerprint,
            tables,
            staging,
            bulk,
            stages,
            locked_since,
            standing,
        })
    }

    /// Which tables may be filled directly, as far as versions go.
    async fn directly(
        session: &Session,
        request: &ApplyRequest,
        standing: Option<&Standing>,
    ) -> Result<Vec<bool>, DatabaseError> {
        let mut suits = Vec::with_capacity(request.tables.len());
        for (place, summary) in request.tables.iter().enumerate() {
            suits.push(match standing {
                Some(standing) => standing.takes_all(session, place, summary).await?,
                None => summary.deletions == 0,
            });
        }
        Ok(suits)
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
        self.take_turn().await?;
        // tidy: allow(clock): it measures how long locks were held, and decides nothing
        self.locked_since.get_or_insert_with(Instant::now);
        let merged = self.merge_with_retries().await?;
        let knowledge = self.write_ledger().await?;
        sequences::advance(&self.session, &self.tables).await?;
        self.stages.end("sequences");
        let close = self.request.context.as_ref().and_then(|context| context.day.as_ref());
        let day = match close {
            Some(close) => day::check(&self.session, &self.catalogue, close).await?,
            None => Vec::new(),
        };
        let checked_by_join = self.bulk.took_foreign_keys_off();
        Ok(MergeReport {
            tables: merged.counts,
            foreign_keys: if checked_by_join { ForeignKeyCheck::ByJoin } else { ForeignKeyCheck::RowByRow },
            locked_for: self.locked_since.map_or(Duration::ZERO, |since| since.elapsed()),
            stages: self.stages.report(),
            knowledge,
            held: merged.held,
            released: merged.released,
            day,
        })
    }

    /// Waits until no pack and no other apply is under way, and reads how we stand to the backup.
    async fn take_turn(&mut self) -> Result<(), DatabaseError> {
        if self.request.context.is_some() && self.standing.is_none() {
            ledger::hold(&self.session).await?;
            self.standing = Standing::read(&self.session, &self.request, &self.tables).await?;
        }
        if let Some(standing) = &mut self.standing {
            standing.number(&self.session, self.staging.lives()).await?;
        }
        self.stages.end("turn");
        Ok(())
    }

    /// What is left to write once no trigger of the shop's will fire any more; answers all that is held here then.
    async fn write_ledger(&mut self) -> Result<Option<Knowledge>, DatabaseError> {
        let Self { session, standing: Some(standing), request, .. } = self else {
            return standing::knowledge_here(&self.session).await;
        };
        let after = versions::after(standing);
        versions::clean_log(session, after).await?;
        absence::write(session, after).await?;
        let held = versions::join_knowledge(session, standing, request.backup_type).await?;
        self.stages.end("ledger");
        Ok(Some(held))
    }

    /// Merges from the staged rows; a lock that was lost costs the merge, not the staging. So does a row that somebody
    /// else put in between our look and our insert. What the database refuses is looked for and held, where it may be.
    async fn merge_with_retries(&mut self) -> Result<Merged, DatabaseError> {
        let mut attempt = 1;
        let mut care = Care::Trusting;
        loop {
            self.session.run("SAVEPOINT merge").await?;
            let stripped = self.bulk.clone();
            let failed = match self.merge_once(care).await {
                Ok(merged) => {
                    self.session.run("RELEASE SAVEPOINT merge").await?;
                    return Ok(merged);
                }
                Err(failed) => failed,
            };
            let by_versions = self.standing.is_some();
            let holds = by_versions && self.request.on_error == OnError::Hold;
            match failed {
                DatabaseError::Unique { .. } | DatabaseError::ForeignKey { .. }
                    if holds && care == Care::Trusting =>
                {
                    care = Care::Looking;
                }
                DatabaseError::Busy { .. } if attempt < ATTEMPTS_MAX => attempt += 1,
                DatabaseError::Unique { .. } if by_versions && attempt < ATTEMPTS_MAX => attempt += 1,
                failed => return Err(failed),
            }
            self.session.run("ROLLBACK TO SAVEPOINT merge; RELEASE SAVEPOINT merge").await?;
            self.bulk = stripped;
        }
    }

    async fn merge_once(&mut self, care: Care) -> Result<Merged, DatabaseError> {
        let Self { session, tables, bulk, stages, request, catalogue, staging, fingerprint, .. } = self;
        fit::hold_definitions(session, tables, fingerprint).await?;
        session.run("SET CONSTRAINTS ALL DEFERRED").await?;
        bulk.strip_for_merge(session, tables).await?;
        let mut counts: Vec<TableMerge> =
            (0..tables.len()).map(|place| staging.counted(place, &tables[place])).collect();
        let mut standing = self.standing.clone();
        let pass = Pass {
            session,
            catalogue,
            tables,
            origin: Origin {
                backup: request.backup,
                source: request.source.clone(),
                mirror: request.mirror,
                on_error: request.on_error,
                held_before: false,
            },
            lives: staging.lives(),
            care,
        };
        let held = pass.run(standing.as_mut(), &mut counts).await?;
        stages.end("merge");
        let released = match &standing {
            Some(standing) => releases::try_all(session, catalogue, standing, care, tables.len()).await?,
            None => 0,
        };
        session.as_shop().await?;
        session.run("SET CONSTRAINTS ALL IMMEDIATE").await?;
        session.as_ourselves().await?;
        bulk.restore_foreign_keys(session).await?;
        stages.end("foreign keys");
        Ok(Merged { counts, held, released })
    }
}

/// What the passes of an apply did.
#[derive(Debug)]
struct Merged {
    counts: Vec<TableMerge>,
    held: Vec<HeldReport>,
    released: u64,
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
            let Self { sessions, session, .. } = *self;
            session.run("COMMIT").await?;
            sessions.keep(session).await;
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

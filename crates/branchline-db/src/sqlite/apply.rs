//! One backup into one SQLite file, in one transaction.
//!
//! 1. `plan`: every table of the backup is fitted into the target's, before anything is written. Of tables that do not fit
//!    all rows are held, where rows may be (`unfit`), and tried again once they do (`refit`).
//! 2. `stage`: rows are checked value by value and put into a temporary database on disk, attached to the session. No
//!    lock on the shop's file is held; its program reads and writes as it likes.
//! 3. `merge`: `BEGIN IMMEDIATE` takes the one write lock. Staged texts of typed columns take the spelling that equal
//!    values have here already (`spelling`). For each table, parents first: unique values that change
//!    hands are released (`unique_swap`), rows that differ are updated, rows that are missing inserted. Then foreign
//!    keys are checked (`foreign_keys`), and a mirror removes what the backup does not hold (`mirror`).
//! 4. The receipt is recorded, and all of it commits at once.
//!
//! Invariants: nothing of the shop's is written before `merge`; whatever fails, is dropped or is aborted is rolled
//! back whole; no statement here ever replaces a row (`INSERT OR REPLACE` would delete another one in silence, and
//! a declaration's own `ON CONFLICT REPLACE` is overruled).
//!
//! Foreign keys are on in this session, whatever the shop's program does, and deferred to the end. Rows of the shop
//! that were broken before are left alone; rows of the backup must hold.

mod absence;
mod beside;
mod blocks;
mod clashes;
mod conflicts;
mod decide;
mod foreign_keys;
mod holds;
mod images;
mod merge;
mod mirror;
mod orphans;
mod plan;
mod probe;
mod quiet;
mod refit;
mod removal;
mod retry;
mod rows;
mod sources;
mod spelling;
mod stage;
mod staging;
mod statement;
mod unfit;
mod unique_swap;
mod variants;
mod versions;

use std::sync::Arc;

use branchline_core::backup::RowBatch;
use branchline_core::ports::{Apply, ApplyRequest, BoxFuture, DatabaseError, MergeReport};
use rusqlite::Connection;

use super::capture;
use super::connect::{self, Place, three_times};
use super::error::failed;
use super::schema::{self, Catalogue};
use super::thread::{Reply, Requests, Serve, Session, answer};
use super::{key, ledger};
use crate::stages::Stages;
use plan::TablePlan;
use stage::StagedLives;
use staging::Stager;
use unfit::{Home, Unfit};

const BEGIN: &str = "BEGIN DEFERRED";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// A session that applies one backup.
pub(super) struct SqliteApply {
    session: Session<Request>,
}

/// What is asked of the session's thread.
enum Request {
    Stage { place: usize, batch: RowBatch, reply: Reply<()> },
    Merge { reply: Reply<MergeReport> },
    Record { receipt: Vec<u8>, now: jiff::Timestamp, reply: Reply<()> },
    Commit { reply: Reply<()> },
    Abort { reply: Reply<()> },
}

impl SqliteApply {
    /// Opens the session: fits the tables and makes the stage.
    pub(super) async fn open(place: Arc<Place>, request: ApplyRequest) -> Result<Self, DatabaseError> {
        let to_open = Arc::clone(&place);
        let begin = move |connection| {
            let work = Work::begin(connection, &place, request)?;
            Ok(((), Box::new(move |requests| serve(work, requests)) as Serve<Request>))
        };
        let (session, ()) = Session::start(move || connect::open_for_writing(&to_open), begin).await?;
        Ok(Self { session })
    }
}

impl Apply for SqliteApply {
    fn stage(&mut self, place: usize, batch: RowBatch) -> BoxFuture<'_, Result<(), DatabaseError>> {
        Box::pin(self.session.ask(move |reply| Request::Stage { place, batch, reply }))
    }

    fn merge(&mut self) -> BoxFuture<'_, Result<MergeReport, DatabaseError>> {
        Box::pin(self.session.ask(|reply| Request::Merge { reply }))
    }

    fn record<'a>(
        &'a mut self,
        receipt: &'a [u8],
        now: jiff::Timestamp,
    ) -> BoxFuture<'a, Result<(), DatabaseError>> {
        let receipt = receipt.to_vec();
        Box::pin(self.session.ask(move |reply| Request::Record { receipt, now, reply }))
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>> {
        Box::pin(async move { self.session.ask(|reply| Request::Commit { reply }).await })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>> {
        Box::pin(async move { self.session.ask(|reply| Request::Abort { reply }).await })
    }
}

fn serve(mut work: Work, mut requests: Requests<Request>) {
    while let Some(request) = requests.blocking_recv() {
        match request {
            Request::Stage { place, batch, reply } => answer(reply, work.stage(place, &batch)),
            Request::Merge { reply } => answer(reply, work.merge()),
            Request::Record { receipt, now, reply } => answer(reply, work.record(&receipt, now)),
            Request::Commit { reply } => return answer(reply, work.commit()),
            Request::Abort { reply } => return answer(reply, work.roll_back()),
        }
    }
}

/// How far an apply has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Staging,
    Merged,
    Recorded,
    Failed,
}

/// What the thread of an apply owns.
struct Work {
    connection: Connection,
    request: ApplyRequest,
    catalogue: Arc<Catalogue>,
    schema_version: i64,
    plans: Vec<TablePlan>,
    /// For each of them, the rows that are to be removed; empty where rows carry no marks.
    removals: Vec<TablePlan>,
    /// Tables of the backup that are not among those, because they do not fit.
    unfit: Unfit,
    /// The lives that staged versions speak of.
    lives: StagedLives,
    stages: Stages,
    step: Step,
}

impl Work {
    fn begin(
        connection: Connection,
        place: &Place,
        mut request: ApplyRequest,
    ) -> Result<Self, DatabaseError> {
        let stages = Stages::start();
        ledger::ensure(&connection)?;
        key::register(&connection)?;
        capture::attach::keep_in_step(&connection)?;
        connection.execute_batch(BEGIN).map_err(failed)?;
        let schema_version = schema::version(&connection)?;
        let catalogue = place.catalogue.read(&connection)?;
        ledger::applied::check_place(&connection, &request)?;
        connection.execute_batch(COMMIT).map_err(failed)?;
        let marked = request.context.is_some();
        let home = Home::read(&connection, &request)?;
        let (plans, unfit) = unfit::divide(&catalogue, &mut request, home.as_ref())?;
        let first = plans.len();
        let removals = plans.iter().enumerate().filter(|_| marked);
        let removals: Vec<_> = removals.map(|(place, plan)| plan.of_removals(first + place)).collect();
        stage::create(&connection, plans.iter().chain(&removals))?;
        unfit.create(&connection)?;
        let lives = StagedLives::default();
        let step = Step::Staging;
        Ok(Self {
            connection,
            request,
            catalogue,
            schema_version,
            plans,
            removals,
            unfit,
            lives,
            stages,
            step,
        })
    }

    fn stage(&mut self, place: usize, batch: &RowBatch) -> Result<(), DatabaseError> {
        self.expect(Step::Staging)?;
        let result = self.take(place, batch);
        self.step = if result.is_ok() { Step::Staging } else { Step::Failed };
        result
    }

    fn take(&mut self, place: usize, batch: &RowBatch) -> Result<(), DatabaseError> {
        let Some(place) = self.unfit.fitting(place)? else {
            return self.unfit.take(&self.connection, &mut self.lives, place, batch);
        };
        let plan = &mut self.plans[place];
        let removals = self.removals.get_mut(place);
        Stager::new(&self.connection, plan, removals, &mut self.lives)?.rows(batch)
    }

    fn merge(&mut self) -> Result<MergeReport, DatabaseError> {
        self.expect(Step::Staging)?;
        self.stages.end("stage");
        // Until it is over: an error on the way out of here leaves the session good for nothing but its end.
        self.step = Step::Failed;
        stage::finish(&self.connection, self.plans.iter().chain(&self.removals))?;
        self.stages.end("index");
        let report = merge::run(self);
        match &report {
            Ok(_) => self.step = Step::Merged,
            // The lock goes at once, and not when the session is dropped.
            Err(_) => self.roll_back()?,
        }
        report
    }

    fn record(&mut self, receipt: &[u8], now: jiff::Timestamp) -> Result<(), DatabaseError> {
        self.expect(Step::Merged)?;
        ledger::applied::add(&self.connection, &self.request, receipt, now)?;
        self.step = Step::Recorded;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DatabaseError> {
        self.expect(Step::Recorded)?;
        let result = three_times(|| self.connection.execute_batch(COMMIT).map_err(commit_failed));
        if result.is_err() {
            self.roll_back()?;
        }
        result
    }

    fn roll_back(&mut self) -> Result<(), DatabaseError> {
        self.step = Step::Failed;
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch(ROLLBACK).map_err(failed)
    }

    fn expect(&self, step: Step) -> Result<(), DatabaseError> {
        if self.step == step {
            return Ok(());
        }
        Err(out_of_order(&format!("the apply is {:?}, and {step:?} was expected", self.step)))
    }
}

/// A deferred foreign key is the one rule that a commit can break, and SQLite does not say which.
fn commit_failed(error: rusqlite::Error) -> DatabaseError {
    if !super::error::is_constraint(&error) {
        return failed(error);
    }
    DatabaseError::ForeignKey {
        table: "?".to_owned(),
        constraint: "FOREIGN KEY".to_owned(),
        detail: "a row that is not of the backup would point at nothing".to_owned(),
    }
}

fn out_of_order(what: &str) -> DatabaseError {
    DatabaseError::Failed { sqlstate: "ORDER".to_owned(), message: what.to_owned() }
}

#[cfg(test)]
mod tests;

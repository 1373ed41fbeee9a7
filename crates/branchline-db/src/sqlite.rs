//! SQLite, by `rusqlite` with its own copy of the engine.
//!
//! # How it stands beside the shop's program
//! * The file is opened by each session anew, and belongs to no session longer than that. Each session is one OS
//!   thread behind a bounded channel (`thread`); the engine's calls block that thread and no other. One connection more
//!   is kept for what is asked several times a second, and holds no lock between two questions.
//! * The file is switched to WAL once, at the first [`SqliteDatabase::connect`], if it is not in WAL already and
//!   nobody holds it at that moment: without WAL a snapshot would make the shop's writes wait. WAL stays when we
//!   are gone, is kept in the file, and every SQLite since 3.7 (2010) reads it.
//! * The shop's triggers fire for what an apply writes, also where they see a placeholder for a moment
//!   (`apply::unique_swap`). A trigger that rewrites what was just written makes rows that `compare` will name.
//! * The shop's program may have an older engine: the ledger's tables use nothing newer than SQLite 3.8.
//!
//! # Types
//! SQLite's types belong to values, not to columns. `affinity` says which logical type a declared type gives, and
//! which values a column would change on the way in; such values are refused by name, never converted silently.

mod affinity;
mod apply;
mod capture;
mod compare;
mod connect;
mod day;
mod error;
mod ident;
mod key;
mod ledger;
mod rows;
mod schema;
mod scope;
mod snapshot;
mod stored;
mod thread;

use std::sync::Arc;

use branchline_core::id::{BackupId, ServerId};
use branchline_core::ports::{
    AppliedRecord, Apply, ApplyRequest, BoxFuture, Capture, Database, DatabaseError, Ledger, Snapshot,
};
use branchline_core::schema::Schema;
use rusqlite::Connection;

use crate::Omitted;
use connect::Place;

/// One SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteDatabase {
    place: Arc<Place>,
}

impl SqliteDatabase {
    /// Checks that `url` (`sqlite:PATH`) names a SQLite file that can be written.
    ///
    /// `PATH` is relative or absolute, taken as it is: no `%` escapes, no `?` options. `sqlite:///absolute` is the
    /// same as `sqlite:/absolute`.
    ///
    /// # Errors
    /// Where the URL names no file, the file is not there or is no database, or it or its folder is read-only.
    pub async fn connect(url: &str) -> Result<Self, DatabaseError> {
        Self::connect_omitting(url, Vec::new()).await
    }

    /// The same, without columns that never leave and that nothing is written to.
    ///
    /// # Errors
    /// As for [`SqliteDatabase::connect`].
    pub async fn connect_omitting(url: &str, omitted: Vec<Omitted>) -> Result<Self, DatabaseError> {
        let place = Arc::new(Place::parse(url)?.omitting(omitted));
        let checked = Arc::clone(&place);
        thread::run(move || connect::check(&checked)).await?;
        Ok(Self { place })
    }

    /// Runs `work` on a connection of its own.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let place = Arc::clone(&self.place);
        thread::run(move || work(&connect::open_for_writing(&place)?)).await
    }
}

impl Database for SqliteDatabase {
    fn schema(&self) -> BoxFuture<'_, Result<Schema, DatabaseError>> {
        let place = Arc::clone(&self.place);
        Box::pin(self.with(move |connection| Ok(place.catalogue.read_anew(connection)?.schema)))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Box<dyn Snapshot>, DatabaseError>> {
        Box::pin(async move {
            let session = snapshot::SqliteSnapshot::open(Arc::clone(&self.place)).await?;
            Ok(Box::new(session) as Box<dyn Snapshot>)
        })
    }

    fn begin_apply(&self, request: ApplyRequest) -> BoxFuture<'_, Result<Box<dyn Apply>, DatabaseError>> {
        Box::pin(async move {
            let session = apply::SqliteApply::open(Arc::clone(&self.place), request).await?;
            Ok(Box::new(session) as Box<dyn Apply>)
        })
    }

    fn ledger(&self) -> BoxFuture<'_, Result<Ledger, DatabaseError>> {
        Box::pin(self.with(ledger::read))
    }

    fn applied(&self, backup: BackupId) -> BoxFuture<'_, Result<Option<AppliedRecord>, DatabaseError>> {
        Box::pin(self.with(move |connection| ledger::applied::find(connection, backup)))
    }

    fn last_applied(&self, source: ServerId) -> BoxFuture<'_, Result<Option<AppliedRecord>, DatabaseError>> {
        Box::pin(self.with(move |connection| ledger::applied::last_of(connection, &source)))
    }

    fn capture(&self) -> &dyn Capture {
        self
    }
}

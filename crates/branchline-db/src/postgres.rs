//! PostgreSQL 13 and later, over `tokio-postgres`.
//!
//! Every call has a session of its own: a connection with pinned settings, so that a database's or
//! role's defaults change nothing. A few are kept for the next calls (`sessions`). A snapshot is one repeatable-read transaction that reads by COPY; an apply is
//! one read-committed transaction that stages by COPY and merges in sets. No right of a superuser is needed; a
//! right that is missing is named with its GRANT. The ledger is the schema `branchline` beside the shop's own.

mod apply;
mod capture;
mod compare;
mod connect;
mod copy;
mod day;
mod error;
mod ident;
mod ledger;
mod row_scope;
mod schema;
mod session;
mod sessions;
mod snapshot;
mod table_reader;
mod text;

use std::sync::Arc;

use branchline_core::id::{BackupId, ServerId};
use branchline_core::ports::{
    AppliedRecord, Apply, ApplyRequest, BoxFuture, Capture, Database, DatabaseError, Ledger, Snapshot,
};
use branchline_core::schema::Schema;

use apply::PostgresApply;
use connect::Target;
use session::Session;
use sessions::Sessions;
use snapshot::PostgresSnapshot;

/// One PostgreSQL database.
#[derive(Debug)]
pub struct PostgresDatabase {
    sessions: Arc<Sessions>,
}

impl PostgresDatabase {
    /// Opens the database that `url` names, and checks that it answers.
    ///
    /// # Errors
    /// Where the URL cannot be understood, the server does not answer or let us in, or is older than version 13.
    pub async fn connect(url: &str) -> Result<Self, DatabaseError> {
        let target = Target::parse(url)?;
        Session::open(&target).await?.close().await;
        Ok(Self { sessions: Arc::new(Sessions::new(target)) })
    }
}

impl Database for PostgresDatabase {
    fn schema(&self) -> BoxFuture<'_, Result<Schema, DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.take().await?;
            let (_, catalogue) = self.sessions.catalogue(&session).await?;
            self.sessions.keep(session).await;
            Ok(catalogue.schema().clone())
        })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Box<dyn Snapshot>, DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.open().await?;
            let snapshot: Box<dyn Snapshot> =
                Box::new(PostgresSnapshot::begin(&self.sessions, session).await?);
            Ok(snapshot)
        })
    }

    fn begin_apply(&self, request: ApplyRequest) -> BoxFuture<'_, Result<Box<dyn Apply>, DatabaseError>> {
        Box::pin(async move {
            let apply = PostgresApply::begin(Arc::clone(&self.sessions), request).await?;
            let apply: Box<dyn Apply> = Box::new(apply);
            Ok(apply)
        })
    }

    fn ledger(&self) -> BoxFuture<'_, Result<Ledger, DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.take().await?;
            ledger::ensure(&session).await?;
            let found = ledger::read(&session).await?;
            self.sessions.keep(session).await;
            Ok(found)
        })
    }

    fn applied(&self, backup: BackupId) -> BoxFuture<'_, Result<Option<AppliedRecord>, DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.take().await?;
            ledger::ensure(&session).await?;
            let found = ledger::applied(&session, backup).await?;
            self.sessions.keep(session).await;
            Ok(found)
        })
    }

    fn last_applied(&self, source: ServerId) -> BoxFuture<'_, Result<Option<AppliedRecord>, DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.take().await?;
            ledger::ensure(&session).await?;
            let found = ledger::last_applied(&session, &source).await?;
            self.sessions.keep(session).await;
            Ok(found)
        })
    }

    fn capture(&self) -> &dyn Capture {
        self
    }
}

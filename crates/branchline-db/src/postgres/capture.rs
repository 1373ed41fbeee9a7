//! Capture: triggers note keys in the change log, a pack stamps them with versions and reads the rows.
//!
//! | file | |
//! |---|---|
//! | `key` | the text of a key, and back |
//! | `triggers` | what is installed on a table |
//! | `identity` | what became of the tables, and what is to be done |
//! | `attach`, `detach` | doing it, and taking it out again |
//! | `stamp`, `changes` | taking a position, and reading from it |
//! | `in_scope` | which rows go to, and leave, a peer that filters keep rows from |
//! | `look`, `amend` | the ledger's own records |

mod amend;
mod attach;
mod changes;
mod detach;
mod identity;
mod in_scope;
pub(crate) mod key;
mod look;
mod stamp;
mod triggers;

use branchline_core::id::Generation;
use branchline_core::pack::PackRequest;
use branchline_core::ports::{
    Amendment, AttachReport, AttachRequest, BoxFuture, Capture, CaptureState, Changes, DatabaseError,
};
use branchline_core::version::{ChangeTime, Dot, Version};
use tokio_postgres::Row;

use super::PostgresDatabase;
use super::day;
use super::ledger::{self, Lives, unsigned};
use super::session::Session;
use changes::PostgresChanges;

/// Bytes of the text of a key; an index takes no longer one. Rows with such keys are found by a compare.
pub(crate) const KEY_BYTES_MAX: i32 = 2000;

/// Whether the log holds anything. Written so that it needs no look at whether there is a log.
const HAS_CHANGES: &str =
    "SELECT EXISTS (SELECT FROM branchline.change) OR EXISTS (SELECT FROM branchline.missed)";
const HAS_LOG: &str = "SELECT to_regclass('branchline.change') IS NOT NULL";

impl Capture for PostgresDatabase {
    fn attach(&self, request: AttachRequest) -> BoxFuture<'_, Result<AttachReport, DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.open().await?;
            session.check_writable().await?;
            ledger::ensure(&session).await?;
            let (_, catalogue) = self.sessions.catalogue(&session).await?;
            let report = attach::attach(&session, &catalogue, &request).await;
            session.close().await;
            report
        })
    }

    fn detach(&self) -> BoxFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.open().await?;
            session.check_writable().await?;
            self.sessions.forget().await;
            let done = detach::detach(&session).await;
            session.close().await;
            done
        })
    }

    fn look(&self) -> BoxFuture<'_, Result<Option<CaptureState>, DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.take().await?;
            let state = if has_log(&session).await? {
                ledger::ensure(&session).await?;
                look::look(&session).await?
            } else {
                None
            };
            self.sessions.keep(session).await;
            Ok(state)
        })
    }

    fn pack(&self, request: PackRequest) -> BoxFuture<'_, Result<Box<dyn Changes>, DatabaseError>> {
        Box::pin(async move {
            let mut taken = stamp::take(&self.sessions).await?;
            if let Some((day, tables)) = &request.day {
                taken.position.day = day::totals(&taken.reader, &taken.catalogue, day, tables).await?;
            }
            let changes: Box<dyn Changes> = Box::new(PostgresChanges::of(taken));
            Ok(changes)
        })
    }

    fn has_changes(&self) -> BoxFuture<'_, Result<bool, DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.take().await?;
            let found = if has_log(&session).await? {
                session.row_kept(HAS_CHANGES, &[]).await?.get(0)
            } else {
                false
            };
            self.sessions.keep(session).await;
            Ok(found)
        })
    }

    fn amend(&self, amendment: Amendment) -> BoxFuture<'_, Result<u64, DatabaseError>> {
        Box::pin(async move {
            let session = self.sessions.take().await?;
            ledger::ensure(&session).await?;
            let changed = amend::amend(&session, &amendment).await?;
            self.sessions.keep(session).await;
            Ok(changed)
        })
    }
}

async fn has_log(session: &Session) -> Result<bool, DatabaseError> {
    Ok(session.row_kept(HAS_LOG, &[]).await?.get(0))
}

/// The version in five columns from `first` on: life, generation, time, and the life and generation before.
pub(crate) fn version_of(row: &Row, first: usize, lives: &Lives) -> Result<Option<Version>, DatabaseError> {
    let dot = |life: usize, generation: usize| -> Result<Option<Dot>, DatabaseError> {
        let Some(id) = row.get::<_, Option<i32>>(life) else { return Ok(None) };
        let generation = Generation::new(unsigned(row, generation));
        Ok(Some(Dot::new(lives.life(id)?.clone(), generation)))
    };
    let Some(made) = dot(first, first + 1)? else { return Ok(None) };
    let time = ChangeTime::from_micros(unsigned(row, first + 2));
    Ok(Some(Version { dot: made, time, was: dot(first + 3, first + 4)? }))
}

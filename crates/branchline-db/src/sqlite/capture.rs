//! Capture: what the shop's program changes is noted by triggers, stamped by a pack, and read at that position.
//!
//! | module | |
//! |---|---|
//! | `triggers` | the triggers, as SQL for whatever engine the shop's program has |
//! | `attach`, `detach` | puts them on the shop's tables, keeps them in step with the catalogue, takes them off |
//! | `look` | how it stands |
//! | `stamp` | gives the changes in the log the next generation |
//! | `position` | takes a position: a snapshot, and the stamps of what it shows |
//! | `changes` | reads at a position what a peer lacks |
//! | `amend` | purges tombstones, begins a new life, marks tables for a compare |
//!
//! What is kept is in the ledger (`super::ledger`). What SQLite cannot promise here is told in `docs/sqlite.md`: above
//! all that a trigger runs inside the shop's own statement, and fails it where it fails.

mod amend;
pub(super) mod attach;
mod changes;
mod detach;
mod look;
mod position;
pub(super) mod stamp;
pub(super) mod triggers;

use std::sync::Arc;

use branchline_core::pack::PackRequest;
use branchline_core::ports::{
    Amendment, AttachReport, AttachRequest, BoxFuture, Capture, CaptureState, Changes, DatabaseError,
};

use super::{SqliteDatabase, thread};

impl Capture for SqliteDatabase {
    fn attach(&self, request: AttachRequest) -> BoxFuture<'_, Result<AttachReport, DatabaseError>> {
        Box::pin(self.with(move |connection| attach::attach(connection, &request)))
    }

    fn detach(&self) -> BoxFuture<'_, Result<(), DatabaseError>> {
        Box::pin(self.with(detach::detach))
    }

    fn look(&self) -> BoxFuture<'_, Result<Option<CaptureState>, DatabaseError>> {
        let place = Arc::clone(&self.place);
        Box::pin(thread::run(move || place.ask(look::look)))
    }

    fn pack(&self, request: PackRequest) -> BoxFuture<'_, Result<Box<dyn Changes>, DatabaseError>> {
        Box::pin(async move {
            let session = changes::SqliteChanges::open(Arc::clone(&self.place), request).await?;
            Ok(Box::new(session) as Box<dyn Changes>)
        })
    }

    fn has_changes(&self) -> BoxFuture<'_, Result<bool, DatabaseError>> {
        let place = Arc::clone(&self.place);
        Box::pin(thread::run(move || place.ask(look::has_changes)))
    }

    fn amend(&self, amendment: Amendment) -> BoxFuture<'_, Result<u64, DatabaseError>> {
        Box::pin(self.with(move |connection| amend::amend(connection, &amendment)))
    }
}

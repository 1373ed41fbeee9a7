//! Capture.

use branchline_core::pack::PackRequest;
use branchline_core::ports::{
    Amendment, AttachReport, AttachRequest, BoxFuture, Capture, CaptureState, Changes, DatabaseError,
};

use super::PostgresDatabase;

impl Capture for PostgresDatabase {
    fn attach(&self, _request: AttachRequest) -> BoxFuture<'_, Result<AttachReport, DatabaseError>> {
        Box::pin(async { Err(DatabaseError::NotAttached) })
    }

    fn detach(&self) -> BoxFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async { Err(DatabaseError::NotAttached) })
    }

    fn look(&self) -> BoxFuture<'_, Result<Option<CaptureState>, DatabaseError>> {
        Box::pin(async { Ok(None) })
    }

    fn pack(&self, _request: PackRequest) -> BoxFuture<'_, Result<Box<dyn Changes>, DatabaseError>> {
        Box::pin(async { Err(DatabaseError::NotAttached) })
    }

    fn has_changes(&self) -> BoxFuture<'_, Result<bool, DatabaseError>> {
        Box::pin(async { Ok(false) })
    }

    fn amend(&self, _amendment: Amendment) -> BoxFuture<'_, Result<u64, DatabaseError>> {
        Box::pin(async { Err(DatabaseError::NotAttached) })
    }
}

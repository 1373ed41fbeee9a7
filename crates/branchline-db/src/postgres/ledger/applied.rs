//! Backups that were applied: each with the bytes of its receipt, so that a repeat gets the same answer.
//!
//! Written in the transaction of the rows. One place in a chain is taken once: a second backup in it is a fork.

use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, Epoch, Sequence, ServerId};
use branchline_core::ports::{AppliedRecord, ApplyRequest, DatabaseError};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::{broken, signed, unsigned};
use crate::postgres::session::Session;

const APPLIED: &str = "
    SELECT backup::text, source, epoch, sequence, checksum, receipt, metadata FROM branchline.applied
     WHERE backup = $1::text::uuid";
const LAST_APPLIED: &str = "
    SELECT backup::text, source, epoch, sequence, checksum, receipt, metadata FROM branchline.applied
     WHERE source = $1 ORDER BY epoch DESC, sequence DESC LIMIT 1";
const RECORD: &str = "
    INSERT INTO branchline.applied (backup, source, epoch, sequence, checksum, receipt, applied_at, metadata)
    VALUES ($1::text::uuid, $2, $3, $4, $5, $6, $7::text::timestamptz, $8)";

/// The record of a backup.
pub(crate) async fn applied(
    session: &Session,
    backup: BackupId,
) -> Result<Option<AppliedRecord>, DatabaseError> {
    let rows = session.rows_kept(APPLIED, &[&backup.to_string()]).await?;
    rows.first().map(record_of).transpose()
}

/// The record of the last backup of a server.
pub(crate) async fn last_applied(
    session: &Session,
    source: &ServerId,
) -> Result<Option<AppliedRecord>, DatabaseError> {
    let rows = session.rows_kept(LAST_APPLIED, &[&source.as_str()]).await?;
    rows.first().map(record_of).transpose()
}

/// Records a backup, in the transaction that is open.
pub(crate) async fn record(
    session: &Session,
    request: &ApplyRequest,
    receipt: &[u8],
    now: jiff::Timestamp,
) -> Result<(), DatabaseError> {
    let (backup, source) = (request.backup.to_string(), request.source.as_str());
    let (epoch, sequence) = (signed(request.epoch.value()), signed(request.sequence.value()));
    let (checksum, now) = (request.checksum.to_string(), now.to_string());
    let metadata = request.metadata.to_string();
    let written = session
        .execute_raw(RECORD, &[&backup, &source, &epoch, &sequence, &checksum, &receipt, &now, &metadata])
        .await;
    let Err(error) = written else { return Ok(()) };
    let report = error.as_db_error().filter(|report| *report.code() == SqlState::UNIQUE_VIOLATION);
    Err(match report.and_then(|report| report.constraint()) {
        Some("applied_place") => {
            DatabaseError::Forked { source_id: request.source.clone(), backup: request.backup }
        }
        // The very same backup: another process applied it while we did. Asked again, it has its receipt.
        Some(_) => DatabaseError::Busy { message: "another process applied the same backup".to_owned() },
        None => session.fault(&error),
    })
}

fn record_of(row: &Row) -> Result<AppliedRecord, DatabaseError> {
    Ok(AppliedRecord {
        backup: row.get::<_, String>(0).parse().map_err(|_| broken("a backup id"))?,
        source: row.get::<_, String>(1).parse().map_err(|_| broken("a server id"))?,
        epoch: Epoch::new(unsigned(row, 2)),
        sequence: Sequence::new(unsigned(row, 3)),
        checksum: row.get::<_, String>(4).parse::<Digest>().map_err(|_| broken("a checksum"))?,
        receipt: row.get(5),
        metadata: row
            .get::<_, Option<&str>>(6)
            .map(str::parse)
            .transpose()
            .map_err(|_| broken("the digest of metadata"))?,
    })
}

//! `branchline_applied`: the backups that were applied here, in the order in which they were.
//!
//! A place in the chain (`source`, `epoch`, `sequence`) is taken once. Whoever comes with another backup for it is a
//! fork; whoever comes with the same backup gets the receipt that is stored.

use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, Epoch, Sequence, ServerId};
use branchline_core::ports::{AppliedRecord, ApplyRequest, DatabaseError};
use rusqlite::{Connection, Row, params};

use super::super::error::failed;

pub(in super::super) const NAME: &str = "branchline_applied";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_applied (
    place INTEGER PRIMARY KEY,
    backup TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    backup_type TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    receipt BLOB NOT NULL,
    applied_at TEXT NOT NULL,
    UNIQUE (source, epoch, sequence)
)";
/// The digest of a backup's metadata, which the next of its chain names; unknown for those that came before.
pub(super) const ADD_METADATA: &str = "ALTER TABLE main.branchline_applied ADD COLUMN metadata BLOB";
const FIND: &str =
    "SELECT backup, source, epoch, sequence, checksum, receipt, metadata FROM main.branchline_applied
    WHERE backup = ?1";
const LAST_OF: &str =
    "SELECT backup, source, epoch, sequence, checksum, receipt, metadata FROM main.branchline_applied
    WHERE source = ?1 ORDER BY epoch DESC, sequence DESC LIMIT 1";
const TAKEN: &str =
    "SELECT count(*), count(CASE WHEN backup = ?1 AND checksum = ?2 AND source = ?3 AND epoch = ?4
    AND sequence = ?5 THEN 1 END) FROM main.branchline_applied
    WHERE backup = ?1 OR (source = ?3 AND epoch = ?4 AND sequence = ?5)";
const ADD: &str = "INSERT INTO main.branchline_applied
    (backup, source, backup_type, epoch, generation, sequence, checksum, receipt, applied_at,
    metadata) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// The record of a backup; a database without a ledger has none.
pub(in super::super) fn find(
    connection: &Connection,
    backup: BackupId,
) -> Result<Option<AppliedRecord>, DatabaseError> {
    one(connection, FIND, &backup.to_string())
}

/// The record of the backup of `source` that stands last in its chain, in whatever order they were applied.
pub(in super::super) fn last_of(
    connection: &Connection,
    source: &ServerId,
) -> Result<Option<AppliedRecord>, DatabaseError> {
    one(connection, LAST_OF, source.as_str())
}

/// Refuses a backup whose place in the chain, or whose name, another one took.
pub(in super::super) fn check_place(
    connection: &Connection,
    request: &ApplyRequest,
) -> Result<(), DatabaseError> {
    let backup = request.backup.to_string();
    let place = params![
        backup,
        request.checksum.as_bytes(),
        request.source.as_str(),
        signed(request.epoch.value()),
        signed(request.sequence.value()),
    ];
    let taken = connection.query_row(TAKEN, place, |row| Ok((row.get(0)?, row.get(1)?)));
    match taken.map_err(failed)? {
        (0_i64, _) => Ok(()),
        (1, 1_i64) => {
            let message =
                format!("backup {backup} was applied meanwhile by another process; its receipt is stored");
            Err(DatabaseError::Busy { message })
        }
        _ => Err(DatabaseError::Forked { source_id: request.source.clone(), backup: request.backup }),
    }
}

/// Adds the record, in the transaction that holds the backup's rows.
pub(in super::super) fn add(
    connection: &Connection,
    request: &ApplyRequest,
    receipt: &[u8],
    now: jiff::Timestamp,
) -> Result<(), DatabaseError> {
    let values = params![
        request.backup.to_string(),
        request.source.as_str(),
        request.backup_type.as_str(),
        signed(request.epoch.value()),
        signed(request.generation.value()),
        signed(request.sequence.value()),
        request.checksum.as_bytes(),
        receipt,
        now.to_string(),
        request.metadata.as_bytes(),
    ];
    connection.execute(ADD, values).map(drop).map_err(failed)
}

fn one(connection: &Connection, sql: &str, parameter: &str) -> Result<Option<AppliedRecord>, DatabaseError> {
    if !super::has_table(connection, NAME)? {
        return Ok(None);
    }
    super::ensure(connection)?;
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let mut rows = statement.query(params![parameter]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
    record(row).map(Some)
}

fn record(row: &Row<'_>) -> Result<AppliedRecord, DatabaseError> {
    let broken = || DatabaseError::Failed {
        sqlstate: "LEDGER".to_owned(),
        message: "a row of branchline_applied is not ours".to_owned(),
    };
    let text = |place: usize| row.get::<_, String>(place).map_err(failed);
    let number = |place: usize| row.get::<_, i64>(place).map(i64::cast_unsigned).map_err(failed);
    Ok(AppliedRecord {
        backup: text(0)?.parse().map_err(|_| broken())?,
        source: text(1)?.parse().map_err(|_| broken())?,
        epoch: Epoch::new(number(2)?),
        sequence: Sequence::new(number(3)?),
        checksum: Digest::from_bytes(row.get(4).map_err(failed)?),
        metadata: row.get::<_, Option<_>>(6).map_err(failed)?.map(Digest::from_bytes),
        receipt: row.get(5).map_err(failed)?,
    })
}

/// SQLite's integers are signed; what does not fit keeps its bits.
fn signed(value: u64) -> i64 {
    value.cast_signed()
}

//! The table `receipts`: signed answers to backups, those made here and those received. They outlive their peer.

use branchline_core::id::BackupId;
use branchline_core::ports::{ReceiptRecord, StateError};
use rusqlite::{Connection, named_params, params};

use crate::table::{self, Fields, InTable};

const TABLE: table::Table = "receipts";

const PUT: &str = "
    INSERT INTO receipts (backup, source, server, processed_at, success, document)
    VALUES (:backup, :source, :server, :processed_at, :success, :document)
    ON CONFLICT (backup) DO UPDATE SET
        source = excluded.source, server = excluded.server, processed_at = excluded.processed_at,
        success = excluded.success, document = excluded.document";
const NEWEST: &str = "SELECT * FROM receipts ORDER BY processed_at DESC, backup DESC LIMIT ?1";
const ONE: &str = "SELECT * FROM receipts WHERE backup = ?1";

/// Puts a receipt, replacing one for the same backup.
pub(crate) fn put(connection: &Connection, receipt: &ReceiptRecord) -> Result<(), StateError> {
    let parameters = named_params! {
        ":backup": receipt.backup.to_string(),
        ":source": receipt.source.as_str(),
        ":server": receipt.server.as_str(),
        ":processed_at": receipt.processed_at.as_microsecond(),
        ":success": receipt.success,
        ":document": receipt.document,
    };
    connection.execute(PUT, parameters).in_table(TABLE).map(|_| ())
}

/// The newest receipts, the newest first.
pub(crate) fn newest(connection: &Connection, count: u32) -> Result<Vec<ReceiptRecord>, StateError> {
    table::all(connection, TABLE, NEWEST, params![count], read)
}

/// The receipt for one backup.
pub(crate) fn one(connection: &Connection, backup: BackupId) -> Result<Option<ReceiptRecord>, StateError> {
    table::first(connection, TABLE, ONE, params![backup.to_string()], read)
}

fn read(fields: &Fields<'_>) -> Result<ReceiptRecord, StateError> {
    Ok(ReceiptRecord {
        backup: fields.parsed("backup")?,
        source: fields.parsed("source")?,
        server: fields.parsed("server")?,
        processed_at: fields.time("processed_at")?,
        success: fields.value("success")?,
        document: fields.value("document")?,
    })
}

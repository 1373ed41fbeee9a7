//! Turns what the core knows into what answers say.

use branchline_core::backup::TableSummary;
use branchline_core::backup::v1::VerifiedBackup;
use branchline_core::peer::{Activity, Peer};
use branchline_core::ports::{CaptureState, HeldRow, OutboxEntry, ReceiptRecord};
use branchline_core::receipt::v1::parse;
use branchline_core::schema::Table;

use crate::api::v1::{
    BackupAnswer, CaptureAnswer, ColumnAnswer, FileAnswer, HeldRowAnswer, OutboxAnswer, PeerAnswer,
    PlannedTable, TableAnswer,
};

/// A peer, how many backups wait for it, and the filters for it in words.
pub(super) fn peer(peer: &Peer, waiting: u64, filters: Vec<String>) -> PeerAnswer {
    PeerAnswer {
        id: peer.id.to_string(),
        name: peer.name.clone(),
        key_id: peer.key.to_string(),
        addresses: peer.addresses.iter().map(ToString::to_string).collect(),
        activity: match peer.activity {
            Activity::Active => "active".to_owned(),
            Activity::Paused => "paused".to_owned(),
        },
        added_at: peer.added_at.to_string(),
        last_seen: peer.last_seen.map(|at| at.to_string()),
        write: peer.grant.write,
        mirror: peer.grant.mirror,
        relay: peer.relay,
        acknowledged: None,
        tables: peer.grant.tables.iter().map(ToString::to_string).collect(),
        filters,
        waiting,
    }
}

pub(super) fn outbox(entry: &OutboxEntry) -> OutboxAnswer {
    OutboxAnswer {
        backup: entry.backup.to_string(),
        peer: entry.peer.to_string(),
        backup_type: entry.backup_type.to_string(),
        rows: entry.record_count,
        document_bytes: entry.document_bytes(),
        created_at: entry.created_at.to_string(),
        attempts: entry.attempts,
        not_before: entry.not_before.map(|at| at.to_string()),
        last_error: entry.last_error.as_ref().map(|(code, message)| format!("{code} {message}")),
    }
}

pub(super) fn receipt(record: &ReceiptRecord, whole: bool) -> BackupAnswer {
    BackupAnswer {
        backup: record.backup.to_string(),
        source: record.source.to_string(),
        server: record.server.to_string(),
        processed_at: record.processed_at.to_string(),
        success: record.success,
        rows: parse(&record.document).map_or(0, |receipt| receipt.records_processed),
        receipt: whole.then(|| json(&record.document)).flatten(),
    }
}

/// A document as a JSON value; nothing where it is none, which only a damaged state can bring about.
pub(super) fn json(document: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(document).ok()
}

/// A table, and whether a compare of it is due where its changes are captured.
pub(super) fn table(table: &Table, due: Option<bool>) -> TableAnswer {
    let column = |column: &branchline_core::schema::Column| ColumnAnswer {
        name: column.name.to_string(),
        logical_type: column.logical_type.to_string(),
        native_type: column.native_type.clone(),
        generated: column.generated,
        omitted: column.omitted,
    };
    TableAnswer {
        name: table.name.to_string(),
        syncs: table.excluded.is_none(),
        reason: table.excluded.as_ref().map(ToString::to_string),
        captured: due.is_some(),
        compare_due: due.is_some_and(|due| due),
        in_part_for: Vec::new(),
        rows_estimated: table.rows_estimated,
        key: table.key_names().map(ToString::to_string).collect(),
        columns: table.columns.iter().map(column).collect(),
        fingerprint: table.fingerprint().to_string(),
    }
}

pub(super) fn planned(table: &TableSummary) -> PlannedTable {
    let removed = (table.deletions > 0).then_some(table.deletions);
    PlannedTable { table: table.name.to_string(), rows: table.rows, removed, obstacle: None }
}

pub(super) fn capture(state: &CaptureState) -> CaptureAnswer {
    let due = state.tables.iter().filter(|(_, due)| **due);
    CaptureAnswer {
        server: state.own.server.to_string(),
        epoch: state.own.epoch.value(),
        generation: state.generation.value(),
        tables: state.tables.len() as u64,
        pending: state.pending,
        tombstones: state.tombstones,
        held: state.held.len() as u64,
        conflicts: state.conflicts,
        ledger_bytes: state.ledger_bytes,
        compare_due: due.map(|(table, _)| table.to_string()).collect(),
    }
}

pub(super) fn held(row: &HeldRow) -> HeldRowAnswer {
    HeldRowAnswer {
        table: row.table.to_string(),
        key: row.key.clone(),
        source: row.source.to_string(),
        made_by: row.version.dot.life.server.to_string(),
        backup: row.backup.to_string(),
        code: row.code.to_string(),
        reason: row.reason.clone(),
        since: row.since.to_string(),
    }
}

/// What a verified file says of itself.
#[must_use]
pub fn file(
    path: &str,
    backup: &VerifiedBackup,
    document_bytes: u64,
    key_pinned: Option<bool>,
) -> FileAnswer {
    let metadata = backup.metadata();
    FileAnswer {
        path: path.to_owned(),
        backup: metadata.backup_id.to_string(),
        source: metadata.source.to_string(),
        source_key_id: metadata.source_key.key_id().to_string(),
        target: metadata.target.to_string(),
        backup_type: metadata.backup_type.to_string(),
        created_at: metadata.created_at.to_string(),
        rows: metadata.record_count,
        data_bytes: metadata.data_bytes,
        document_bytes,
        tables: metadata.tables.iter().map(planned).collect(),
        key_pinned,
    }
}

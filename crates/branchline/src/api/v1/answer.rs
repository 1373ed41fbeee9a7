//! What a node answers. Each call has one answer of its name.

use serde::{Deserialize, Serialize};

use super::capture::{AcknowledgedAnswer, AttachAnswer, CaptureAnswer, HeldAnswer};
use super::days::{ClosedDay, DaysAnswer};

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each answers the command of its name")]
pub enum Answer {
    Id(IdAnswer),
    Invite(InviteAnswer),
    Join(JoinAnswer),
    Peers(PeersAnswer),
    Peer(PeerAnswer),
    Changed(ChangedAnswer),
    Ping(PingAnswer),
    Tables(TablesAnswer),
    Attach(AttachAnswer),
    Held(HeldAnswer),
    Days(DaysAnswer),
    Sync(SyncAnswer),
    Status(Box<StatusAnswer>),
    Backups(BackupsAnswer),
    Backup(Box<BackupAnswer>),
    File(FileAnswer),
    Import(ImportAnswer),
    Compare(CompareAnswer),
    Schedule(super::ScheduleAnswer),
}

/// Who this server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct IdAnswer {
    pub server: String,
    pub name: String,
    /// The fingerprint of its key, to be read to the other side.
    pub key_id: String,
    /// SHA-256 of its SPKI in base64, as `curl --pinnedpubkey sha256//…` takes it.
    pub pin: String,
    pub addresses: Vec<String>,
}

/// An invitation that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct InviteAnswer {
    pub invitation: String,
    pub server: Option<String>,
    pub expires_at: String,
}

/// An invitation that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct JoinAnswer {
    pub peer: String,
    pub name: String,
    pub key_id: String,
    pub address: String,
    pub words: String,
}

/// All peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct PeersAnswer {
    pub peers: Vec<PeerAnswer>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct PeerAnswer {
    pub id: String,
    pub name: String,
    pub key_id: String,
    pub addresses: Vec<String>,
    /// `active` or `paused`.
    pub activity: String,
    pub added_at: String,
    pub last_seen: Option<String>,
    /// Whether it may send backups to be applied here.
    pub write: bool,
    /// Whether it may ask for rows to be removed here.
    pub mirror: bool,
    /// Whether what others made is passed on to it.
    #[serde(default)]
    pub relay: bool,
    /// How far it is with the changes of this server; nothing where they are not captured.
    #[serde(default)]
    pub acknowledged: Option<AcknowledgedAnswer>,
    /// The filters that keep rows from it, in words.
    #[serde(default)]
    pub filters: Vec<String>,
    /// Tables that it may write; all, where it is empty.
    pub tables: Vec<String>,
    /// Backups that wait for it.
    pub waiting: u64,
}

/// Something was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedAnswer {
    /// What, in one sentence.
    pub message: String,
}

/// A peer was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct PingAnswer {
    pub peer: String,
    /// The address that answered with the pinned key.
    pub path: String,
    pub millis: u64,
    pub producer: String,
    pub protocol: String,
    /// By how much the peer's clock is ahead of ours, in milliseconds.
    pub clock_ahead_millis: i64,
    pub tables: u64,
}

/// All tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct TablesAnswer {
    pub engine: String,
    /// Whether changes of this database are captured.
    #[serde(default)]
    pub attached: bool,
    pub tables: Vec<TableAnswer>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct TableAnswer {
    pub name: String,
    pub syncs: bool,
    /// Why it does not.
    pub reason: Option<String>,
    /// Whether its changes are captured.
    #[serde(default)]
    pub captured: bool,
    /// Whether changes may have been missed, so that a compare is due.
    #[serde(default)]
    pub compare_due: bool,
    /// Peers that do not get it whole, because filters keep rows of it back.
    #[serde(default)]
    pub in_part_for: Vec<String>,
    pub rows_estimated: u64,
    pub key: Vec<String>,
    pub columns: Vec<ColumnAnswer>,
    pub fingerprint: String,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct ColumnAnswer {
    pub name: String,
    pub logical_type: String,
    pub native_type: String,
    pub generated: bool,
    /// Whether the settings keep it here.
    #[serde(default)]
    pub omitted: bool,
}

/// What a sync did, peer by peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// One for each peer, in the order of their ids.
    pub peers: Vec<SyncOutcome>,
}

/// What a sync did with one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct SyncOutcome {
    pub peer: String,
    /// `delivered`, `refused`, `waiting` (safe in the outbox), `in_step` (there is nothing new for it) or `planned` (a dry
    /// run).
    pub state: String,
    pub backup: Option<String>,
    /// `full` or `incremental`.
    #[serde(default)]
    pub backup_type: Option<String>,
    /// Whether it was a backup that had waited already.
    pub resumed: bool,
    pub created_at: Option<String>,
    pub rows: u64,
    /// Bytes of the whole document as it travels.
    pub document_bytes: u64,
    /// Bytes that were sent now.
    pub sent_bytes: u64,
    /// Bytes of the data before compression.
    pub data_bytes: u64,
    pub path: Option<String>,
    /// The receipt, as the peer signed it.
    pub receipt: Option<serde_json::Value>,
    pub stages: Vec<StageAnswer>,
    pub planned: Vec<PlannedTable>,
    /// What was sent to it before that in the same sync: a backup that had waited.
    #[serde(default)]
    pub before: Vec<Self>,
    pub problem: Option<super::Problem>,
}

/// How long a stage took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct StageAnswer {
    pub stage: String,
    pub millis: u64,
}

/// What would be sent of one table, or what a backup holds of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct PlannedTable {
    pub table: String,
    pub rows: u64,
    /// Rows that the peer has and this backup would remove, where a mirror is asked for.
    #[serde(default)]
    pub removed: Option<u64>,
    /// Why the peer would refuse it or hold its rows, or why it stays at home.
    pub obstacle: Option<String>,
}

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct StatusAnswer {
    pub server: String,
    pub name: String,
    pub producer: String,
    /// Whether a `serve` answers this.
    pub serving: bool,
    pub listening: Option<String>,
    pub engine: Option<String>,
    pub epoch: Option<u64>,
    /// How capture stands; nothing where changes are not captured.
    #[serde(default)]
    pub capture: Option<CaptureAnswer>,
    pub tables_syncing: Option<u64>,
    pub tables_excluded: Option<u64>,
    pub peers: Vec<PeerAnswer>,
    pub outbox: Vec<OutboxAnswer>,
    pub invitations_open: u64,
    pub disk_free_bytes: u64,
    pub last_receipts: Vec<BackupAnswer>,
    pub warnings: Vec<WarningAnswer>,
}

/// A backup that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct OutboxAnswer {
    pub backup: String,
    pub peer: String,
    pub backup_type: String,
    pub rows: u64,
    pub document_bytes: u64,
    pub created_at: String,
    pub attempts: u32,
    pub not_before: Option<String>,
    pub last_error: Option<String>,
}

/// Something that a person should know, with what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct WarningAnswer {
    pub code: String,
    pub message: String,
    pub fix: String,
}

/// Backups and receipts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct BackupsAnswer {
    pub waiting: Vec<OutboxAnswer>,
    pub settled: Vec<BackupAnswer>,
}

/// A backup and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct BackupAnswer {
    pub backup: String,
    pub source: String,
    /// Who answered for it.
    pub server: String,
    pub processed_at: String,
    pub success: bool,
    pub rows: u64,
    pub receipt: Option<serde_json::Value>,
}

/// A file that was looked at or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct FileAnswer {
    pub path: String,
    pub backup: String,
    pub source: String,
    pub source_key_id: String,
    pub target: String,
    pub backup_type: String,
    pub created_at: String,
    pub rows: u64,
    pub data_bytes: u64,
    pub document_bytes: u64,
    pub tables: Vec<PlannedTable>,
    /// Whether the key is the one pinned for the source here; nothing, where the source is not known here.
    pub key_pinned: Option<bool>,
}

/// A backup that was applied from a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct ImportAnswer {
    pub file: FileAnswer,
    /// Nothing after a dry run.
    pub receipt: Option<serde_json::Value>,
    /// Where the receipt lies, to be carried back.
    pub receipt_path: Option<String>,
}

/// What two databases have in common and what not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct CompareAnswer {
    pub peer: String,
    /// Whether nothing differs in what the two share.
    pub equal: bool,
    pub tables: Vec<TableComparison>,
    /// Tables that only one side has, or whose keys differ, with the reason.
    pub not_shared: Vec<PlannedTable>,
    pub rows_here: u64,
    pub rows_there: u64,
    pub missing_here: u64,
    pub missing_there: u64,
    pub different: u64,
    /// Rows here that were different or missing there, and now count as changed.
    pub counted_as_changed: u64,
    pub millis: u64,
}

/// One table, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct TableComparison {
    pub table: String,
    pub equal: bool,
    pub rows_here: u64,
    pub rows_there: u64,
    pub missing_here: u64,
    pub missing_there: u64,
    pub different: u64,
    pub counted_as_changed: u64,
    pub named: Vec<NamedRow>,
    /// Columns that only one side has; they are not compared.
    pub columns_not_shared: Vec<String>,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct NamedRow {
    /// `missing_here`, `missing_there` or `different`.
    pub how: String,
    pub key: String,
}

/// What the demo did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct DemoAnswer {
    pub database: String,
    pub folder: Option<String>,
    pub servers: Vec<DemoServer>,
    pub days: Vec<ClosedDay>,
    pub comparisons: Vec<DemoComparison>,
    pub equal: bool,
    pub millis: u64,
}

/// One server of the demo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct DemoServer {
    pub server: String,
    pub key_id: String,
    pub database: String,
    pub rows_before: u64,
    pub rows_after: u64,
    pub syncs: Vec<SyncOutcome>,
}

/// Two databases of the demo, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct DemoComparison {
    pub a: String,
    pub b: String,
    pub equal: bool,
    pub rows: u64,
}

//! What a node answers about capture: what is installed, how it stands, what is held, how far peers are.

use serde::{Deserialize, Serialize};

/// Capture was installed, or brought in step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct AttachAnswer {
    pub server: String,
    pub epoch: u64,
    /// Whether a new life of the database was begun.
    pub new_life: bool,
    /// Tables that are captured.
    pub captured: u64,
    /// Tables that are captured now and were not before.
    pub added: Vec<String>,
    /// Tables of which changes may have been missed: a compare finds them.
    pub mended: Vec<String>,
    /// Tables that are captured no more.
    pub removed: Vec<String>,
}

/// Rows that are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct HeldAnswer {
    pub rows: Vec<HeldRowAnswer>,
}

/// A row that came in and could not go in yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct HeldRowAnswer {
    pub table: String,
    pub key: String,
    /// Who sent it.
    pub source: String,
    /// Who made it what it is.
    pub made_by: String,
    pub backup: String,
    pub code: String,
    pub reason: String,
    pub since: String,
}

/// How capture stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct CaptureAnswer {
    /// Whose changes are captured.
    pub server: String,
    pub epoch: u64,
    pub generation: u64,
    pub tables: u64,
    /// Changes that no pack has taken yet.
    pub pending: u64,
    /// Deletions that are kept until every peer has them.
    pub tombstones: u64,
    pub held: u64,
    pub conflicts: u64,
    pub ledger_bytes: u64,
    /// Tables of which changes may have been missed.
    pub compare_due: Vec<String>,
}

/// How far a peer is with the changes of this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct AcknowledgedAnswer {
    /// It holds this server's changes up to this generation; nothing where it has none yet.
    pub generation: Option<u64>,
    /// Whether the next backup to it must be a full one.
    pub needs_full: bool,
    /// Changes and rows that wait for it: those in its outbox, and those that no pack has taken yet.
    pub waiting_changes: u64,
    /// Whether it is so far behind that deletions are kept for it no longer.
    pub past_budget: bool,
}

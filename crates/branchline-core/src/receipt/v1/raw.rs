//! The receipt as serde sees it. The first members are those of the Sync Result, in its order.

use serde::{Deserialize, Serialize};

use super::day::RawDay;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawReceipt {
    pub(super) success: bool,
    pub(super) server_id: String,
    pub(super) processed_at: String,
    pub(super) records_processed: u64,
    pub(super) errors: Vec<RawFault>,
    pub(super) warnings: Vec<String>,
    pub(super) checksum: String,
    pub(super) receipt_version: u32,
    pub(super) server_key: String,
    pub(super) backup_id: String,
    pub(super) source_server_id: String,
    pub(super) backup_type: String,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
    pub(super) unchanged: u64,
    pub(super) merged: u64,
    pub(super) superseded: u64,
    pub(super) held: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) released: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) held_rows: Vec<RawHeld>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) day: Option<RawDay>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) standing: Option<RawStanding>,
    pub(super) tables: Vec<RawTable>,
    pub(super) foreign_keys: String,
    pub(super) locked_millis: u64,
    pub(super) stages: Vec<RawStage>,
    /// Written by hand, because it is not part of what is signed.
    #[serde(default, skip_serializing)]
    #[allow(dead_code, reason = "read so that it is known, and taken from the bytes themselves")]
    pub(super) signature: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawFault {
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawTable {
    pub(super) name: String,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
    pub(super) unchanged: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) merged: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) superseded: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) held: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawHeld {
    pub(super) table: String,
    pub(super) key: String,
    pub(super) code: String,
    pub(super) reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawStanding {
    pub(super) epoch: u64,
    pub(super) sealed: u64,
    pub(super) knowledge: Vec<RawKnown>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawKnown {
    pub(super) server: String,
    pub(super) epoch: u64,
    pub(super) generation: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawStage {
    pub(super) stage: String,
    pub(super) millis: u64,
}

/// Counts that came later are left out where they are zero.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

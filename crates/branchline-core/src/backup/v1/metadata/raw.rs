//! M as serde sees it: texts and numbers, to be turned into types by hand.

use serde::{Deserialize, Serialize};

use super::day::RawDay;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawMetadata {
    pub(super) format_version: u32,
    pub(super) min_reader: u32,
    pub(super) producer: String,
    pub(super) backup_id: String,
    pub(super) source_server_id: String,
    pub(super) source_key: String,
    pub(super) target_server_id: String,
    pub(super) backup_type: String,
    pub(super) created_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data_range: Option<RawRange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) day: Option<RawDay>,
    pub(super) record_count: u64,
    pub(super) checksum: String,
    pub(super) data_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) clock: Option<u64>,
    pub(super) epoch: u64,
    pub(super) generation: u64,
    pub(super) sequence: u64,
    #[serde(default)]
    pub(super) previous: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target_epoch: Option<u64>,
    pub(super) knowledge: Vec<RawKnown>,
    pub(super) covers: Vec<RawKnown>,
    pub(super) purged: Vec<RawKnown>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) mirror: bool,
    pub(super) tables: Vec<RawTable>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawRange {
    pub(super) start_date: String,
    pub(super) end_date: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawKnown {
    pub(super) server: String,
    pub(super) epoch: u64,
    pub(super) generation: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawLife {
    pub(super) server: String,
    pub(super) epoch: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawTable {
    pub(super) name: String,
    pub(super) rows: u64,
    pub(super) deletions: u64,
    pub(super) key: Vec<String>,
    pub(super) fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<RawLife>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) versioned: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) filtered: bool,
    pub(super) columns: Vec<RawColumn>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawColumn {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) logical_type: String,
}

//! `backups verify`: checks a file's signature and checksum, with nothing but the file.
//!
//! The key is the one inside the file, so this proves that the file is whole and who says that he made it; that it
//! was he, only the pinned key at the receiver proves, or two people who compare the key id.

use std::path::Path;

use branchline_core::backup::TableSummary;
use branchline_core::backup::v1::Expectation;

use super::super::done::{Done, Failure};
use super::super::json;
use crate::api::v1::{FileAnswer, PlannedTable};
use crate::stages::verify::verify_path;

pub(super) fn run(file: &Path) -> Result<Done, Failure> {
    let anybody = Expectation { target: None, source: None, data_bytes_max: u64::MAX, signature: None };
    let verified = verify_path(file, anybody)?;
    let metadata = verified.metadata();
    let planned = |table: &TableSummary| PlannedTable { table: table.name.to_string(), rows: table.rows, obstacle: None };
    let answer = FileAnswer {
        path: file.display().to_string(),
        backup: metadata.backup_id.to_string(),
        source: metadata.source.to_string(),
        source_key_id: metadata.source_key.key_id().to_string(),
        target: metadata.target.to_string(),
        backup_type: metadata.backup_type.to_string(),
        created_at: metadata.created_at.to_string(),
        rows: metadata.record_count,
        data_bytes: metadata.data_bytes,
        document_bytes: std::fs::metadata(file).map_or(0, |file| file.len()),
        tables: metadata.tables.iter().map(planned).collect(),
        key_pinned: None,
    };
    let said = format!("The signature and the checksum hold.\n\n{}", super::described_file(&answer));
    let next = format!("branchline backups import {} --dry-run   # on {}", file.display(), answer.target);
    Ok(Done::new(json::of(&answer), said).next(next))
}

//! M: what a backup says of itself, in JSON.
//!
//! Members that a reader does not know are passed over, so that a later minor version may add some; duplicates
//! are refused wherever they stand. The order of the members is the order of [`RawMetadata`].

mod day;
mod raw;

use std::collections::BTreeSet;

use data_encoding::BASE64;

use super::FORMAT_VERSION;
use super::error::FormatError;
use super::json;
use crate::backup::{ColumnSummary, DataRange, Metadata, TableSummary};
use crate::id::{Epoch, Generation, Sequence};
use crate::knowledge::Knowledge;
use crate::limits::{JSON_DEPTH_MAX, METADATA_BYTES_MAX, TABLE_COLUMNS_MAX, TABLES_MAX};
use crate::schema::{ColumnName, TableName};
use crate::signing::PublicKey;
use crate::version::{ChangeTime, Dot, Life};

use raw::{RawColumn, RawKnown, RawLife, RawMetadata, RawRange, RawTable};

/// Writes M.
///
/// # Errors
/// Where it is over its bounds.
pub fn write_metadata(metadata: &Metadata) -> Result<Vec<u8>, FormatError> {
    check_counts(metadata)?;
    let bytes = serde_json::to_vec(&to_raw(metadata)).map_err(|error| unreadable(&error))?;
    if bytes.len() > METADATA_BYTES_MAX { Err(FormatError::MetadataTooLarge) } else { Ok(bytes) }
}

/// Reads M.
///
/// # Errors
/// Where it is not what a backup of a version that we read says of itself.
pub fn parse_metadata(bytes: &[u8]) -> Result<Metadata, FormatError> {
    if bytes.len() > METADATA_BYTES_MAX {
        return Err(FormatError::MetadataTooLarge);
    }
    let shape =
        json::check(bytes).map_err(|_| FormatError::Malformed { what: "the metadata are not JSON" })?;
    if shape.duplicates {
        return Err(FormatError::DuplicateMember { place: "the metadata" });
    }
    if shape.depth > JSON_DEPTH_MAX {
        return Err(FormatError::TooDeep { place: "the metadata" });
    }
    let raw: RawMetadata = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
    if raw.min_reader > FORMAT_VERSION {
        return Err(FormatError::VersionTooNew { needed: raw.min_reader });
    }
    let metadata = from_raw(raw)?;
    check_counts(&metadata)?;
    Ok(metadata)
}

fn unreadable(error: &serde_json::Error) -> FormatError {
    FormatError::Metadata { reason: error.to_string() }
}

fn field<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, FormatError> {
    text.parse().map_err(|_| FormatError::Metadata { reason: format!("{name} is not valid") })
}

/// Checks what the types cannot say: bounds, names that stand twice, keys that are columns, sums.
fn check_counts(metadata: &Metadata) -> Result<(), FormatError> {
    if metadata.tables.len() > TABLES_MAX {
        return Err(FormatError::TooManyTables { tables: metadata.tables.len() });
    }
    let wrong = |reason: &str| FormatError::Metadata { reason: reason.to_owned() };
    let mut names = BTreeSet::new();
    let mut total = 0_u64;
    for table in &metadata.tables {
        if table.columns.len() > TABLE_COLUMNS_MAX {
            return Err(FormatError::TooManyColumns {
                table: table.name.clone(),
                columns: table.columns.len(),
            });
        }
        if !names.insert(&table.name) {
            return Err(FormatError::DuplicateMember { place: "the list of tables" });
        }
        let columns: BTreeSet<&ColumnName> = table.columns.iter().map(|column| &column.name).collect();
        if columns.len() != table.columns.len() {
            return Err(FormatError::DuplicateMember { place: "the list of columns" });
        }
        if table.key.is_empty() || !table.key.iter().all(|name| columns.contains(name)) {
            return Err(wrong("a table's key is not among its columns"));
        }
        let rows = table.rows.checked_add(table.deletions).and_then(|rows| total.checked_add(rows));
        total = rows.ok_or_else(|| wrong("counts are too large"))?;
    }
    if total == metadata.record_count {
        Ok(())
    } else {
        Err(FormatError::RecordCount { said: metadata.record_count, found: total })
    }
}

fn to_raw(metadata: &Metadata) -> RawMetadata {
    RawMetadata {
        format_version: FORMAT_VERSION,
        min_reader: metadata.min_reader,
        producer: metadata.producer.clone(),
        backup_id: metadata.backup_id.to_string(),
        source_server_id: metadata.source.to_string(),
        source_key: BASE64.encode(metadata.source_key.as_bytes()),
        target_server_id: metadata.target.to_string(),
        backup_type: metadata.backup_type.to_string(),
        created_at: metadata.created_at.to_string(),
        data_range: metadata
            .data_range
            .map(|range| RawRange { start_date: range.start.to_string(), end_date: range.end.to_string() }),
        day: metadata.day.as_ref().map(day::to_raw),
        record_count: metadata.record_count,
        checksum: metadata.checksum.to_string(),
        data_bytes: metadata.data_bytes,
        clock: metadata.clock.map(ChangeTime::micros),
        epoch: metadata.epoch.value(),
        generation: metadata.generation.value(),
        sequence: metadata.sequence.value(),
        previous: metadata.previous.map(|digest| digest.to_string()),
        target_epoch: metadata.target_epoch.map(Epoch::value),
        knowledge: knowledge_to_raw(&metadata.knowledge),
        covers: knowledge_to_raw(&metadata.covers),
        purged: knowledge_to_raw(&metadata.purged),
        mirror: metadata.mirror,
        tables: metadata.tables.iter().map(table_to_raw).collect(),
    }
}

fn table_to_raw(table: &TableSummary) -> RawTable {
    let column = |column: &ColumnSummary| RawColumn {
        name: column.name.to_string(),
        logical_type: column.logical_type.to_string(),
    };
    RawTable {
        name: table.name.to_string(),
        rows: table.rows,
        deletions: table.deletions,
        key: table.key.iter().map(ToString::to_string).collect(),
        fingerprint: table.fingerprint.to_string(),
        base: table
            .base
            .as_ref()
            .map(|life| RawLife { server: life.server.to_string(), epoch: life.epoch.value() }),
        versioned: table.versioned,
        filtered: table.filtered,
        columns: table.columns.iter().map(column).collect(),
    }
}

fn knowledge_to_raw(knowledge: &Knowledge) -> Vec<RawKnown> {
    let known = |(life, generation): (&Life, Generation)| RawKnown {
        server: life.server.to_string(),
        epoch: life.epoch.value(),
        generation: generation.value(),
    };
    knowledge.iter().map(known).collect()
}

fn from_raw(raw: RawMetadata) -> Result<Metadata, FormatError> {
    let range = |range: RawRange| {
        let start = field(&range.start_date, "dataRange.startDate")?;
        Ok::<_, FormatError>(DataRange { start, end: field(&range.end_date, "dataRange.endDate")? })
    };
    let data_range = raw.data_range.map(range).transpose()?;
    Ok(Metadata {
        source: field(&raw.source_server_id, "sourceServerId")?,
        source_key: key_of(&raw.source_key)?,
        target: field(&raw.target_server_id, "targetServerId")?,
        backup_type: field(&raw.backup_type, "backupType")?,
        created_at: field(&raw.created_at, "createdAt")?,
        data_range,
        day: raw.day.map(|raw| day::from_raw(raw, data_range)).transpose()?,
        record_count: raw.record_count,
        checksum: field(&raw.checksum, "checksum")?,
        backup_id: field(&raw.backup_id, "backupId")?,
        epoch: Epoch::new(raw.epoch),
        generation: Generation::new(raw.generation),
        sequence: Sequence::new(raw.sequence),
        previous: raw.previous.map(|text| field(&text, "previous")).transpose()?,
        target_epoch: raw.target_epoch.map(Epoch::new),
        knowledge: knowledge_from_raw(&raw.knowledge)?,
        covers: knowledge_from_raw(&raw.covers)?,
        purged: knowledge_from_raw(&raw.purged)?,
        clock: raw.clock.map(ChangeTime::from_micros),
        data_bytes: raw.data_bytes,
        tables: raw.tables.into_iter().map(table_from_raw).collect::<Result<_, _>>()?,
        mirror: raw.mirror,
        producer: raw.producer,
        min_reader: raw.min_reader,
    })
}

fn key_of(text: &str) -> Result<PublicKey, FormatError> {
    let bytes = BASE64.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(PublicKey::from_bytes)
        .ok_or_else(|| FormatError::Metadata { reason: "sourceKey is not valid".into() })
}

fn table_from_raw(raw: RawTable) -> Result<TableSummary, FormatError> {
    let name = TableName::new(raw.name)?;
    let column = |column: RawColumn| {
        let column_name = ColumnName::new(column.name)?;
        let logical_type = column.logical_type.parse().map_err(|_| FormatError::UnknownType {
            table: name.clone(),
            column: column_name.clone(),
            found: column.logical_type.chars().take(80).collect(),
        })?;
        Ok(ColumnSummary { name: column_name, logical_type })
    };
    let columns = raw.columns.into_iter().map(column).collect::<Result<_, FormatError>>()?;
    let key = raw.key.into_iter().map(ColumnName::new).collect::<Result<_, _>>()?;
    let fingerprint = field(&raw.fingerprint, "a table's fingerprint")?;
    let base = |life: RawLife| {
        Ok::<_, FormatError>(Life::new(field(&life.server, "a table's base")?, Epoch::new(life.epoch)))
    };
    Ok(TableSummary {
        base: raw.base.map(base).transpose()?,
        versioned: raw.versioned,
        filtered: raw.filtered,
        columns,
        key,
        fingerprint,
        rows: raw.rows,
        deletions: raw.deletions,
        name: name.clone(),
    })
}

fn knowledge_from_raw(raw: &[RawKnown]) -> Result<Knowledge, FormatError> {
    let mut knowledge = Knowledge::new();
    for known in raw {
        let life = Life::new(field(&known.server, "a server in knowledge")?, Epoch::new(known.epoch));
        if knowledge.generation(&life).is_some() {
            return Err(FormatError::DuplicateMember { place: "knowledge" });
        }
        knowledge.add(Dot::new(life, Generation::new(known.generation)));
    }
    Ok(knowledge)
}

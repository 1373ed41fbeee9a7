//! A backup held in memory, as a claim makes it, changes it and applies it.

use std::collections::BTreeMap;

use branchline_core::backup::v1::RowWriter;
use branchline_core::backup::{BackupType, ColumnSummary, RowBatch, TableSummary};
use branchline_core::compare::{TableHashes, shared_spec};
use branchline_core::digest::Digest;
use branchline_core::id::{Epoch, Generation, Sequence};
use branchline_core::ports::{
    Apply, ApplyRequest, Database, DatabaseError, HashSpec, MergeReport, OnError, TableMerge,
};
use branchline_core::schema::{ColumnName, LogicalType, Schema, TableName, parents_first};
use branchline_core::value::Value;

use super::worked;
use crate::state::{backup_id, server_id};

/// Buckets of a claim's hashes: few, so that rows share them.
const BUCKETS: u32 = 16;

/// Tables and their rows, ready to be applied.
#[derive(Debug, Clone)]
pub struct TestBackup {
    /// Its tables, parents first.
    pub tables: Vec<TableSummary>,
    /// Rows, each batch with the place of its table.
    pub batches: Vec<(usize, RowBatch)>,
    /// Its place in the chain, which also makes its name.
    pub sequence: u8,
    /// Whether rows that it does not hold are removed.
    pub mirror: bool,
}

impl TestBackup {
    /// All tables of `database` that can be in a backup.
    pub async fn of(database: &dyn Database) -> Self {
        let schema = worked(database.schema().await);
        let names: Vec<_> = schema.syncable().map(|table| table.name.to_string()).collect();
        Self::of_tables(database, &names.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// Some tables of `database`.
    pub async fn of_tables(database: &dyn Database, names: &[&str]) -> Self {
        let mut snapshot = worked(database.snapshot().await);
        let tables = in_order(snapshot.schema(), names);
        let mut backup = Self { tables, batches: Vec::new(), sequence: 1, mirror: false };
        for place in 0..backup.tables.len() {
            let name = backup.tables[place].name.clone();
            worked(snapshot.open(&name).await);
            while let Some(batch) = worked(snapshot.next().await) {
                backup.tables[place].rows += batch.rows;
                backup.batches.push((place, batch));
            }
        }
        worked(snapshot.close().await);
        backup
    }

    /// One table with the rows that are given, under columns that are given: what no source would send.
    #[must_use]
    pub fn of_rows(
        table: &str,
        key: &[&str],
        columns: &[(&str, LogicalType)],
        rows: &[&[Value<'_>]],
    ) -> Self {
        let column = |(name, logical_type): &(&str, LogicalType)| ColumnSummary {
            name: column_name(name),
            logical_type: logical_type.clone(),
        };
        let columns: Vec<_> = columns.iter().map(column).collect();
        let mut writer = RowWriter::new(&table_name(table), &columns);
        for row in rows {
            writer.row(row).expect("a row that can be written");
        }
        let summary = TableSummary {
            name: table_name(table),
            columns,
            key: key.iter().map(|name| column_name(name)).collect(),
            fingerprint: Digest::of(table.as_bytes()),
            rows: rows.len() as u64,
            deletions: 0,
            base: None,
            versioned: false,
            filtered: false,
        };
        Self { tables: vec![summary], batches: vec![(0, writer.take())], sequence: 1, mirror: false }
    }

    /// With another place in the chain.
    #[must_use]
    pub fn at(mut self, sequence: u8) -> Self {
        self.sequence = sequence;
        self
    }

    /// As a mirror.
    #[must_use]
    pub fn mirrored(mut self) -> Self {
        self.mirror = true;
        self
    }

    /// With lines in the place of those of the first batch.
    #[must_use]
    pub fn with_lines(mut self, lines: &str) -> Self {
        let rows = lines.lines().count() as u64;
        self.batches = vec![(0, RowBatch { rows, lines: lines.as_bytes().to_vec(), ..RowBatch::default() })];
        self
    }

    /// What is asked of the target.
    #[must_use]
    pub fn request(&self) -> ApplyRequest {
        ApplyRequest {
            backup: backup_id(self.sequence),
            source: server_id("STORE-001"),
            backup_type: BackupType::Full,
            epoch: Epoch::new(1),
            generation: Generation::new(self.sequence.into()),
            sequence: Sequence::new(self.sequence.into()),
            checksum: Digest::of(&[self.sequence]),
            tables: self.tables.clone(),
            mirror: self.mirror,
            metadata: Digest::of(&[self.sequence, self.sequence]),
            context: None,
            on_error: OnError::Reject,
            left_out: Vec::new(),
        }
    }

    /// Opens a session and stages all rows.
    ///
    /// # Errors
    /// What the target refuses.
    pub async fn staged(&self, target: &dyn Database) -> Result<Box<dyn Apply>, DatabaseError> {
        let mut apply = target.begin_apply(self.request()).await?;
        for (place, batch) in &self.batches {
            apply.stage(*place, batch.clone()).await?;
        }
        Ok(apply)
    }

    /// Applies it, receipt and commit included.
    ///
    /// # Errors
    /// What the target refuses.
    pub async fn apply(&self, target: &dyn Database) -> Result<MergeReport, DatabaseError> {
        let mut apply = self.staged(target).await?;
        let report = apply.merge().await?;
        apply.record(&self.receipt(), jiff::Timestamp::UNIX_EPOCH).await?;
        apply.commit().await?;
        Ok(report)
    }

    /// The bytes that stand for its receipt.
    #[must_use]
    pub fn receipt(&self) -> Vec<u8> {
        format!("receipt {}", self.sequence).into_bytes()
    }

    /// What the report says of one table.
    #[must_use]
    pub fn merged(&self, report: &MergeReport, table: &str) -> TableMerge {
        let place = self.tables.iter().position(|summary| summary.name.as_str() == table);
        report.tables[place.expect("a table of the backup")]
    }
}

fn in_order(schema: &Schema, names: &[&str]) -> Vec<TableSummary> {
    let chosen: Vec<_> = names.iter().map(|name| schema.table(&table_name(name)).expect("a table")).collect();
    let groups = parents_first(chosen);
    let tables = groups.iter().flat_map(|group| &group.tables).filter_map(|name| schema.table(name));
    tables.map(TableSummary::of).collect()
}

/// Counts and hashes of every table of a database.
pub async fn hashes_of(database: &dyn Database) -> BTreeMap<TableName, TableHashes> {
    let mut snapshot = worked(database.snapshot().await);
    let specs = specs_of(snapshot.schema());
    let mut hashes = BTreeMap::new();
    for spec in specs {
        hashes.insert(spec.table.clone(), worked(snapshot.hashes(&spec).await));
    }
    worked(snapshot.close().await);
    hashes
}

/// How each table of a schema is hashed by itself.
#[must_use]
pub fn specs_of(schema: &Schema) -> Vec<HashSpec> {
    let spec =
        |table| HashSpec { buckets: BUCKETS, ..shared_spec(table, table).expect("a table with a key") };
    schema.syncable().map(spec).collect()
}

/// How each table is hashed that two schemas share, in the types that they share.
#[must_use]
pub fn shared_specs(here: &Schema, there: &Schema) -> Vec<HashSpec> {
    let spec = |table: &branchline_core::schema::Table| {
        Some(HashSpec { buckets: BUCKETS, ..shared_spec(table, there.table(&table.name)?).ok()? })
    };
    here.syncable().filter_map(spec).collect()
}

/// A table's name.
#[must_use]
pub fn table_name(text: &str) -> TableName {
    TableName::new(text).expect("a table's name")
}

/// A column's name.
#[must_use]
pub fn column_name(text: &str) -> ColumnName {
    ColumnName::new(text).expect("a column's name")
}

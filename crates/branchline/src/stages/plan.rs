//! Plans: holds a verified backup against what its sender may write here and what the tables here can hold, before
//! anything is staged. [`super::apply`] carries the plan out.
//!
//! What a peer may not write is refused with the whole backup. Of a table that does not fit all rows are held, where they
//! have versions to be held by (`skew` in the core): the database adapter finds out the same when it fits the tables.

use branchline_core::backup::TableSummary;
use branchline_core::backup::v1::VerifiedBackup;
use branchline_core::code::{Code, Explain};
use branchline_core::peer::{Activity, Peer};
use branchline_core::ports::{ApplyRequest, MergeContext, OnError};
use branchline_core::schema::{ColumnName, Exclusion, LogicalType, Schema, ScopeError, TableName, fit};
use branchline_core::skew::Misfit;

/// A verified backup that fits. Made by [`plan`] alone.
#[derive(Debug, Clone)]
pub struct Plan {
    backup: VerifiedBackup,
    /// Tables that the settings leave out.
    left_out: Vec<TableName>,
    /// Tables of the backup whose rows are all held, with the reason.
    held: Vec<(TableName, Misfit)>,
}

/// Why a verified backup is not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub enum PlanError {
    /// The peer may not write here.
    #[error("{peer} may not write here")]
    WriteNotGranted { peer: String },
    /// The peer may not write that table.
    #[error("{peer} may not write table {table} here")]
    TableNotGranted { peer: String, table: TableName },
    /// The peer may not have rows removed.
    #[error("{peer} may not have rows removed here")]
    MirrorNotGranted { peer: String },
    /// The peer is paused.
    #[error("{peer} is paused")]
    Paused { peer: String },
    /// A table does not fit here.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// A table lacks a column here, and a row that has a value in it cannot be held.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

impl Explain for PlanError {
    fn code(&self) -> Code {
        match self {
            Self::WriteNotGranted { .. } | Self::TableNotGranted { .. } | Self::MirrorNotGranted { .. } => {
                Code::NOT_GRANTED
            }
            Self::Paused { .. } => Code::PEER_PAUSED,
            Self::Misfit(misfit) => misfit.code(),
            Self::Scope(error) => error.code(),
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::MirrorNotGranted { peer } => {
                format!("on the receiving server: branchline peers grant {peer} --mirror yes")
            }
            Self::WriteNotGranted { peer } => {
                format!("on the receiving server: branchline peers grant {peer} --write yes")
            }
            _ => self.code().entry().hint.to_owned(),
        }
    }
}

impl Plan {
    /// The backup.
    #[must_use]
    pub fn backup(&self) -> &VerifiedBackup {
        &self.backup
    }

    /// The tables whose rows are all held, with the reason.
    #[must_use]
    pub fn held(&self) -> &[(TableName, Misfit)] {
        &self.held
    }

    /// What the database is asked to apply.
    #[must_use]
    pub fn request(&self) -> ApplyRequest {
        let metadata = self.backup.metadata();
        let context = metadata.clock.map(|clock| MergeContext {
            knowledge: metadata.knowledge.clone(),
            covers: metadata.covers.clone(),
            purged: metadata.purged.clone(),
            clock,
            day: metadata.day.clone(),
        });
        // What is held is named by its version; rows without one go in together or not at all.
        let on_error = if context.is_some() { OnError::Hold } else { OnError::Reject };
        ApplyRequest {
            backup: metadata.backup_id,
            source: metadata.source.clone(),
            backup_type: metadata.backup_type,
            epoch: metadata.epoch,
            generation: metadata.generation,
            sequence: metadata.sequence,
            checksum: metadata.checksum,
            tables: metadata.tables.clone(),
            mirror: metadata.mirror,
            metadata: self.backup.metadata_digest(),
            context,
            on_error,
            left_out: self.left_out.clone(),
        }
    }
}

/// Plans a verified backup.
///
/// # Errors
/// The first reason why it is not applied.
pub fn plan(backup: VerifiedBackup, from: &Peer, schema: &Schema) -> Result<Plan, PlanError> {
    let metadata = backup.metadata();
    let peer = || from.id.to_string();
    if from.activity == Activity::Paused {
        return Err(PlanError::Paused { peer: peer() });
    }
    if !from.grant.write {
        return Err(PlanError::WriteNotGranted { peer: peer() });
    }
    if metadata.mirror && !from.grant.mirror {
        return Err(PlanError::MirrorNotGranted { peer: peer() });
    }
    let mut held = Vec::new();
    for table in &metadata.tables {
        if !from.grant.covers(&table.name) {
            return Err(PlanError::TableNotGranted { peer: peer(), table: table.name.clone() });
        }
        if metadata.clock.is_none() {
            fits(table, schema)?;
        } else if let Some(misfit) = misfit(table, schema) {
            held.push((table.name.clone(), misfit));
        }
    }
    let counted = metadata.day.iter().flat_map(|close| &close.totals).map(|totals| &totals.table.table);
    if let Some(table) = counted.into_iter().find(|table| !from.grant.covers(table)) {
        return Err(PlanError::TableNotGranted { peer: peer(), table: table.clone() });
    }
    let left_out = schema.tables().filter(|table| table.excluded == Some(Exclusion::ByChoice));
    let left_out = left_out.map(|table| table.name.clone()).collect();
    Ok(Plan { backup, left_out, held })
}

/// Why all rows of a table of a backup would be held, where they have versions.
#[must_use]
pub fn misfit(summary: &TableSummary, schema: &Schema) -> Option<Misfit> {
    Misfit::of(schema, &summary.name, &columns(summary), &summary.key)
}

/// Whether one table of a backup fits into a schema, whatever its rows hold.
///
/// # Errors
/// The reason why it does not.
pub fn fits(summary: &TableSummary, schema: &Schema) -> Result<(), PlanError> {
    if let Some(misfit) = misfit(summary, schema) {
        return Err(misfit.into());
    }
    if let Some(table) = schema.table(&summary.name) {
        fit(table, &columns(summary), &summary.key)?;
    }
    Ok(())
}

fn columns(summary: &TableSummary) -> Vec<(ColumnName, LogicalType)> {
    summary.columns.iter().map(|column| (column.name.clone(), column.logical_type.clone())).collect()
}

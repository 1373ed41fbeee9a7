//! Plans: holds a verified backup against what its sender may write here and what the tables here can hold, before
//! anything is staged. `--dry-run` prints the plan; [`super::apply`] carries it out.

use branchline_core::backup::TableSummary;
use branchline_core::backup::v1::VerifiedBackup;
use branchline_core::code::{Code, Explain};
use branchline_core::peer::{Activity, Peer};
use branchline_core::ports::{ApplyRequest, MergeContext, OnError};
use branchline_core::schema::{Schema, ScopeError, TableName, fit};

/// A verified backup that fits. Made by [`plan`] alone.
#[derive(Debug, Clone)]
pub struct Plan {
    backup: VerifiedBackup,
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
    /// There is no such table.
    #[error("there is no table {table} here")]
    TableUnknown { table: TableName },
    /// The table cannot be part of a backup here.
    #[error("table {table} cannot be part of a backup here: {reason}")]
    TableNotSyncable { table: TableName, reason: String },
    /// It does not fit.
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
            Self::TableUnknown { .. } => Code::TABLE_UNKNOWN,
            Self::TableNotSyncable { .. } => Code::TABLE_NOT_SYNCABLE,
            Self::Scope(ScopeError::ColumnMissing { .. } | ScopeError::ColumnNeeded { .. }) => {
                Code::COLUMN_UNKNOWN
            }
            Self::Scope(ScopeError::KeyDiffers { .. }) => Code::KEY_DIFFERS,
            Self::Scope(_) => Code::TYPE_NOT_HELD,
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
    for table in &metadata.tables {
        if !from.grant.covers(&table.name) {
            return Err(PlanError::TableNotGranted { peer: peer(), table: table.name.clone() });
        }
        fits(table, schema)?;
    }
    let counted = metadata.day.iter().flat_map(|close| &close.totals).map(|totals| &totals.table.table);
    if let Some(table) = counted.into_iter().find(|table| !from.grant.covers(table)) {
        return Err(PlanError::TableNotGranted { peer: peer(), table: table.clone() });
    }
    Ok(Plan { backup })
}

/// Whether one table of a backup fits into a schema.
///
/// # Errors
/// The first reason why it does not.
pub fn fits(summary: &TableSummary, schema: &Schema) -> Result<(), PlanError> {
    let name = || summary.name.clone();
    let table = schema.table(&summary.name).ok_or_else(|| PlanError::TableUnknown { table: name() })?;
    if let Some(reason) = &table.excluded {
        return Err(PlanError::TableNotSyncable { table: name(), reason: reason.to_string() });
    }
    let columns: Vec<_> =
        summary.columns.iter().map(|column| (column.name.clone(), column.logical_type.clone())).collect();
    fit(table, &columns, &summary.key)?;
    Ok(())
}

//! Whether a verified backup is the next one of its chain, a repeat, or neither.
//!
//! | it is | answer |
//! |---|---|
//! | applied already | its first receipt |
//! | another one of the same name | a fork: an alarm |
//! | older than the last one applied of its source's epoch | refused: it would set rows back |
//! | a full one | the next: it starts a chain at any later place |
//! | an increment | the next, where it names the last one applied as the one before, and is for the life of this database |
//!
//! That another backup took its place in the chain is found by the ledger, in the transaction that applies it.

use branchline_core::backup::v1::VerifiedBackup;
use branchline_core::backup::{BackupType, Metadata};
use branchline_core::code::{Code, Explain};
use branchline_core::id::{BackupId, Epoch, Sequence};
use branchline_core::ports::{AppliedRecord, Database, DatabaseError};
use branchline_core::receipt::v1::{ReceiptError, parse};

use crate::stages::receipt::Applied;

/// The receipt of a backup that was applied before; nothing where it is the next one of its chain. `epoch` is that of the
/// database here.
pub(super) async fn applied_before(
    database: &dyn Database,
    verified: &VerifiedBackup,
    epoch: Epoch,
) -> Result<Option<Applied>, RepeatError> {
    let metadata = verified.metadata();
    let Some(record) = database.applied(metadata.backup_id).await? else {
        let last = database.last_applied(metadata.source.clone()).await?;
        follows(metadata, last.filter(|last| last.epoch == metadata.epoch).as_ref(), epoch)?;
        return Ok(None);
    };
    let other = record.metadata.is_some_and(|digest| digest != verified.metadata_digest());
    if record.checksum != metadata.checksum || other {
        return Err(RepeatError::Forked { backup: metadata.backup_id });
    }
    let receipt = parse(&record.receipt)?;
    Ok(Some(Applied { receipt, document: record.receipt }))
}

/// Whether a backup is the next one after the last that was applied of its source's epoch.
fn follows(metadata: &Metadata, last: Option<&AppliedRecord>, epoch: Epoch) -> Result<(), RepeatError> {
    if let Some(later) = last.filter(|last| last.sequence > metadata.sequence) {
        return Err(RepeatError::Superseded { by: later.backup });
    }
    if metadata.backup_type == BackupType::Full {
        return Ok(());
    }
    // It leaves out what this database had when it was sealed: one that was restored since lacks it.
    if let Some(meant) = metadata.target_epoch.filter(|meant| *meant != epoch) {
        return Err(RepeatError::OtherLife { meant, epoch });
    }
    match last {
        Some(last) if last.metadata.is_some() && last.metadata == metadata.previous => Ok(()),
        _ => Err(RepeatError::Gap { sequence: metadata.sequence, last: last.map(|last| last.sequence) }),
    }
}

/// Why a backup is not the next one of its chain.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepeatError {
    /// A later one was applied: this one would set rows back.
    #[error("backup {by} of the same server, which is later, was applied here already")]
    Superseded { by: BackupId },
    /// It goes on from one that was not applied here.
    #[error(
        "the backup is number {sequence} of its chain and goes on from one that is missing here ({})",
        .last.map_or_else(|| "none was applied yet".to_owned(), |last| format!("the last one applied is number {last}"))
    )]
    Gap { sequence: Sequence, last: Option<Sequence> },
    /// It is for a life before.
    #[error("the backup is for epoch {meant} of the database here, which has begun epoch {epoch} since")]
    OtherLife { meant: Epoch, epoch: Epoch },
    /// Another one of the same name was applied.
    #[error("another backup called {backup} was applied here")]
    Forked { backup: BackupId },
    /// The ledger cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The ledger's receipt cannot be read.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}

impl Explain for RepeatError {
    fn code(&self) -> Code {
        match self {
            Self::Superseded { .. } => Code::BACKUP_SUPERSEDED,
            Self::Gap { .. } | Self::OtherLife { .. } => Code::CHAIN_GAP,
            Self::Forked { .. } => Code::LEDGER_FORKED,
            Self::Database(error) => error.code(),
            Self::Receipt(error) => error.code(),
        }
    }
}

//! Answers: makes and signs receipts, for what was applied and for what was refused.

use std::time::Duration;

use branchline_core::backup::Metadata;
use branchline_core::backup::v1::VerifiedBackup;
use branchline_core::code::Explain;
use branchline_core::id::ServerId;
use branchline_core::ports::{ForeignKeyCheck, MergeReport, ReceiptRecord, Signer, SignerError};
use branchline_core::receipt::v1::seal_receipt;
use branchline_core::receipt::{Receipt, ReceiptFault, StageTime, TableReceipt};
use jiff::Timestamp;

/// What the spec's own example says where rows were there already.
const DUPLICATES_SKIPPED: &str = "Some records were duplicates and skipped";

/// A receipt, and the document in which it was signed.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The receipt.
    pub receipt: Receipt,
    /// The signed document.
    pub document: Vec<u8>,
}

impl Applied {
    /// The record that the state keeps.
    #[must_use]
    pub fn record(&self) -> ReceiptRecord {
        record_of(&self.receipt, self.document.clone())
    }
}

/// The state's record of a receipt.
#[must_use]
pub fn record_of(receipt: &Receipt, document: Vec<u8>) -> ReceiptRecord {
    ReceiptRecord {
        backup: receipt.backup,
        source: receipt.source.clone(),
        server: receipt.server.clone(),
        processed_at: receipt.processed_at,
        success: receipt.success,
        document,
    }
}

/// Makes receipts in one server's name.
pub struct Maker<'a> {
    /// Who answers.
    pub server: &'a ServerId,
    /// What signs.
    pub signer: &'a dyn Signer,
}

impl Maker<'_> {
    /// The receipt of a backup that was merged.
    ///
    /// # Errors
    /// Where the key cannot be used.
    pub fn success(
        &self,
        backup: &VerifiedBackup,
        report: &MergeReport,
        staged_for: Duration,
        now: Timestamp,
    ) -> Result<Applied, SignerError> {
        let metadata = backup.metadata();
        let mut receipt = self.empty(metadata, now);
        receipt.success = true;
        receipt.records_processed = metadata.record_count;
        let table = |(summary, merge): (
            &branchline_core::backup::TableSummary,
            &branchline_core::ports::TableMerge,
        )| {
            TableReceipt {
                table: summary.name.clone(),
                inserted: merge.inserted,
                updated: merge.updated,
                deleted: merge.deleted,
                unchanged: merge.unchanged,
            }
        };
        receipt.tables = metadata.tables.iter().zip(&report.tables).map(table).collect();
        if receipt.totals().unchanged > 0 {
            receipt.warnings.push(DUPLICATES_SKIPPED.to_owned());
        }
        receipt.foreign_keys = match report.foreign_keys {
            ForeignKeyCheck::RowByRow => "row by row".to_owned(),
            ForeignKeyCheck::ByJoin => "by join".to_owned(),
        };
        receipt.locked_for = report.locked_for;
        let stage =
            |(stage, took): &(&'static str, Duration)| StageTime { stage: (*stage).to_owned(), took: *took };
        receipt.stages = std::iter::once(StageTime { stage: "stage".to_owned(), took: staged_for })
            .chain(report.stages.iter().filter(|(name, _)| *name != "stage").map(stage))
            .collect();
        self.sign(receipt)
    }

    /// The receipt of a backup of which nothing was applied.
    ///
    /// # Errors
    /// Where the key cannot be used.
    pub fn refusal(
        &self,
        metadata: &Metadata,
        error: &dyn Explain,
        now: Timestamp,
    ) -> Result<Applied, SignerError> {
        let mut receipt = self.empty(metadata, now);
        receipt.errors = vec![ReceiptFault { code: error.code(), message: error.to_string() }];
        self.sign(receipt)
    }

    fn empty(&self, metadata: &Metadata, now: Timestamp) -> Receipt {
        Receipt {
            success: false,
            server: self.server.clone(),
            server_key: self.signer.public_key(),
            processed_at: now,
            backup: metadata.backup_id,
            source: metadata.source.clone(),
            backup_type: metadata.backup_type,
            records_processed: 0,
            checksum: metadata.checksum,
            errors: Vec::new(),
            warnings: Vec::new(),
            tables: Vec::new(),
            foreign_keys: String::new(),
            locked_for: Duration::ZERO,
            stages: Vec::new(),
        }
    }

    fn sign(&self, receipt: Receipt) -> Result<Applied, SignerError> {
        let document = seal_receipt(&receipt, self.signer)?;
        Ok(Applied { receipt, document })
    }
}

//! Answers: makes and signs receipts, for what was applied and for what was refused.

use std::time::Duration;

use branchline_core::backup::Metadata;
use branchline_core::backup::v1::VerifiedBackup;
use branchline_core::code::{Code, Explain};
use branchline_core::id::{Epoch, Sequence, ServerId};
use branchline_core::ports::{
    BoxFuture, ForeignKeyCheck, MergeReport, ReceiptRecord, Signer, SignerError, StateError,
};
use branchline_core::receipt::v1::seal_receipt;
use branchline_core::receipt::{DayReceipt, Receipt, ReceiptFault, ReceiptTotals, StageTime, TableReceipt};
use branchline_core::standing::Standing;
use branchline_core::version::Life;
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

/// Tells the last place in the chain to a peer that is given out.
pub trait Sealing: Send + Sync {
    /// That place; 0 where none is. Where something is being packed at this moment, the one after it.
    fn sealed(&self) -> BoxFuture<'_, Result<Sequence, StateError>>;
}

/// What a receipt tells of an apply besides what the database reports.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// How long staging took.
    pub staged_for: Duration,
    /// What was sealed for the source when everything was merged.
    pub sealed: Sequence,
    /// When it was done.
    pub now: Timestamp,
}

/// Makes receipts in one server's name.
pub struct Maker<'a> {
    /// Who answers.
    pub server: &'a ServerId,
    /// The epoch of its database.
    pub epoch: Epoch,
    /// What it has sealed for whom it answers.
    pub sealing: &'a dyn Sealing,
    /// What signs.
    pub signer: &'a dyn Signer,
}

impl Maker<'_> {
    /// The receipt of a backup that was merged, all of it but the rows that are held.
    ///
    /// # Errors
    /// Where the key cannot be used.
    pub fn applied(
        &self,
        backup: &VerifiedBackup,
        report: &MergeReport,
        circumstances: Circumstances,
    ) -> Result<Applied, SignerError> {
        let metadata = backup.metadata();
        let Circumstances { staged_for, sealed, now } = circumstances;
        let mut receipt = self.empty(metadata, now);
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
                superseded: merge.superseded,
                merged: merge.conflicts,
                held: merge.held,
            }
        };
        receipt.tables = metadata.tables.iter().zip(&report.tables).map(table).collect();
        let totals = receipt.totals();
        receipt.success = totals.held == 0;
        receipt.records_processed = metadata.record_count.saturating_sub(totals.held);
        receipt.errors.extend(held_fault(report, totals.held));
        receipt.warnings = warnings(&totals, report.released);
        receipt.held.clone_from(&report.held);
        receipt.released = report.released;
        receipt.day = metadata.day.as_ref().map(|close| DayReceipt::of(close, &report.day));
        receipt.standing = report.knowledge.as_ref().map(|knowledge| Standing {
            life: Life::new(self.server.clone(), self.epoch),
            knowledge: knowledge.clone(),
            sealed,
        });
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
            held: Vec::new(),
            released: 0,
            day: None,
            standing: None,
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

fn held_fault(report: &MergeReport, held: u64) -> Option<ReceiptFault> {
    if held == 0 {
        return None;
    }
    let rows = if held == 1 { "1 row is".to_owned() } else { format!("{held} rows are") };
    let first = report.held.first();
    let named = first.map(|row| format!("; the first: {} {}: {}", row.table, row.key, row.reason));
    let message = format!("{rows} held, the rest is applied{}", named.unwrap_or_default());
    Some(ReceiptFault { code: Code::ROWS_HELD, message })
}

fn warnings(totals: &ReceiptTotals, released: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if totals.unchanged > 0 {
        warnings.push(DUPLICATES_SKIPPED.to_owned());
    }
    if totals.merged > 0 {
        let rows = if totals.merged == 1 { "1 row".to_owned() } else { format!("{} rows", totals.merged) };
        warnings.push(format!(
            "{rows} had been changed on both sides; the newest change won, and both are recorded"
        ));
    }
    if released > 0 {
        let rows = if released == 1 { "1 row".to_owned() } else { format!("{released} rows") };
        warnings.push(format!("{rows} that had been held went in"));
    }
    warnings
}

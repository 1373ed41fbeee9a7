//! The receipt: the signed answer to a backup.
//!
//! It is the Sync Result that was asked for (`success`, `serverId`, `processedAt`, `recordsProcessed`, `errors`,
//! `warnings`, `checksum`), with what a family with money in every row wants to know besides. `success` is true
//! only if every row of the backup is in the target, superseded there, or the loser of a recorded conflict. Where some
//! rows are held it is false, and the rest is applied all the same ([`Receipt::is_applied`]).

mod day;
pub mod v1;

pub use day::{DayReceipt, DaySum, DayTableReceipt};

use std::time::Duration;

use jiff::Timestamp;

use crate::backup::BackupType;
use crate::code::Code;
use crate::digest::Digest;
use crate::id::{BackupId, ServerId};
use crate::ports::HeldReport;
use crate::schema::TableName;
use crate::signing::PublicKey;
use crate::standing::Standing;

/// The answer to a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whether every row of the backup was dealt with for good.
    pub success: bool,
    /// Who answers.
    pub server: ServerId,
    /// The key that it signs with.
    pub server_key: PublicKey,
    /// When it was done.
    pub processed_at: Timestamp,
    /// The backup that is answered.
    pub backup: BackupId,
    /// Who made it.
    pub source: ServerId,
    /// What it brought.
    pub backup_type: BackupType,
    /// How many rows of it were dealt with; none where it was refused.
    pub records_processed: u64,
    /// The checksum that was verified.
    pub checksum: Digest,
    /// Why it was refused.
    pub errors: Vec<ReceiptFault>,
    /// What a person should know although it went well.
    pub warnings: Vec<String>,
    /// What was done to each table.
    pub tables: Vec<TableReceipt>,
    /// Rows of the backup that are held, the first hundred; all are counted in `tables`.
    pub held: Vec<HeldReport>,
    /// Rows that were held before and went in with this backup.
    pub released: u64,
    /// The business day that the backup closed, at its source and here.
    pub day: Option<DayReceipt>,
    /// What the server that answers says of the changes that it holds; nothing where it captures none.
    pub standing: Option<Standing>,
    /// How foreign keys were checked: `row by row` or `by join`.
    pub foreign_keys: String,
    /// How long the shop's rows or tables were locked.
    pub locked_for: Duration,
    /// Where the time went.
    pub stages: Vec<StageTime>,
}

/// Why a backup was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFault {
    /// The stable code.
    pub code: Code,
    /// In words.
    pub message: String,
}

/// What was done to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReceipt {
    /// The table.
    pub table: TableName,
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that were there and differed.
    pub updated: u64,
    /// Rows that were removed.
    pub deleted: u64,
    /// Rows that were there and equal.
    pub unchanged: u64,
    /// Rows that did not go in, because what is there is newer or was known before.
    pub superseded: u64,
    /// Conflicts that were decided and recorded.
    pub merged: u64,
    /// Rows that are held.
    pub held: u64,
}

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTime {
    /// The stage's name.
    pub stage: String,
    /// How long it took.
    pub took: Duration,
}

/// Sums over a receipt's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiptTotals {
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that were there and differed.
    pub updated: u64,
    /// Rows that were removed.
    pub deleted: u64,
    /// Rows that were there and equal.
    pub unchanged: u64,
    /// Rows that did not go in, because what is there is newer or was known before.
    pub superseded: u64,
    /// Conflicts that were decided and recorded.
    pub merged: u64,
    /// Rows that are held.
    pub held: u64,
}

impl Receipt {
    /// Whether the backup was applied: wholly, or all of it but the rows that are held.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.success || self.totals().held > 0
    }

    /// Sums over all tables.
    #[must_use]
    pub fn totals(&self) -> ReceiptTotals {
        self.tables.iter().fold(ReceiptTotals::default(), |sum, table| ReceiptTotals {
            inserted: sum.inserted + table.inserted,
            updated: sum.updated + table.updated,
            deleted: sum.deleted + table.deleted,
            unchanged: sum.unchanged + table.unchanged,
            superseded: sum.superseded + table.superseded,
            merged: sum.merged + table.merged,
            held: sum.held + table.held,
        })
    }
}

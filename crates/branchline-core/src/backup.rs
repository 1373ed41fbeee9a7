//! The backup: the signed JSON document that travels from server to server.
//!
//! ```text
//! {"metadata":M,"data":D,"signature":S}
//! ```
//! This module holds what a backup *is*; [`v1`] holds how it is written. `docs/backup-format.md` tells the same
//! to people who write other programs.

pub mod v1;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::day::DayClose;
use crate::digest::Digest;
use crate::id::{BackupId, Epoch, Generation, Sequence, ServerId};
use crate::knowledge::Knowledge;
use crate::schema::{ColumnName, LogicalType, Table, TableName};
use crate::signing::PublicKey;
use crate::version::{ChangeTime, Life};

/// What a backup brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackupType {
    /// Every row of its tables.
    Full,
    /// What changed since the one before.
    Incremental,
    /// What changed in a business day.
    DailyTransactions,
}

/// A text that is not a backup type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a backup type is full, incremental or daily_transactions")]
pub struct BackupTypeError;

impl BackupType {
    /// The type as it stands in metadata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::DailyTransactions => "daily_transactions",
        }
    }
}

impl fmt::Display for BackupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for BackupType {
    type Err = BackupTypeError;

    fn from_str(text: &str) -> Result<Self, BackupTypeError> {
        [Self::Full, Self::Incremental, Self::DailyTransactions]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or(BackupTypeError)
    }
}

/// How a document is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Three zstd frames.
    #[default]
    Zstd,
    /// Three gzip members.
    Gzip,
    /// Not at all: what a person writes by hand.
    Plain,
}

impl Codec {
    /// The end of a file's name.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Zstd => "json.zst",
            Self::Gzip => "json.gz",
            Self::Plain => "json",
        }
    }

    /// Tells the codec by a document's first bytes.
    #[must_use]
    pub fn detect(first_bytes: &[u8]) -> Option<Self> {
        match first_bytes {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [b'{', ..] => Some(Self::Plain),
            _ => None,
        }
    }
}

/// What a backup says of itself: M, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The server that made it.
    pub source: ServerId,
    /// The key that the source signs with, so that a file can be verified by itself; a receiver pins it.
    pub source_key: PublicKey,
    /// The server it is for.
    pub target: ServerId,
    /// What it brings.
    pub backup_type: BackupType,
    /// When it was made, by the source's clock.
    pub created_at: Timestamp,
    /// The span of business time that it is about, where it is about one.
    pub data_range: Option<DataRange>,
    /// The business day that it closes, and what that came to; only with a range.
    pub day: Option<DayClose>,
    /// How many rows and deletions it holds.
    pub record_count: u64,
    /// SHA-256 of D.
    pub checksum: Digest,
    /// Its name.
    pub backup_id: BackupId,
    /// The source database's life.
    pub epoch: Epoch,
    /// The source's generation when it was made.
    pub generation: Generation,
    /// Its place in the chain of this pair and direction.
    pub sequence: Sequence,
    /// The digest of the metadata before it in the chain; nothing where it starts one.
    pub previous: Option<Digest>,
    /// The target database's life as the source knew it; nothing where it knew none. An increment for another life is
    /// of no use.
    pub target_epoch: Option<Epoch>,
    /// All that the source knew.
    pub knowledge: Knowledge,
    /// What the target may claim to know once it has applied this.
    pub covers: Knowledge,
    /// The join of the tombstones that the source has purged.
    pub purged: Knowledge,
    /// The source's clock, where it captures changes: no version in the backup is later.
    pub clock: Option<ChangeTime>,
    /// Bytes of D.
    pub data_bytes: u64,
    /// The tables that are present, in the order in which they stand in D.
    pub tables: Vec<TableSummary>,
    /// Whether the source asks for rows that this does not hold to be removed from its tables.
    pub mirror: bool,
    /// The program that made it, with its version.
    pub producer: String,
    /// The lowest version of this format that a reader must know.
    pub min_reader: u32,
}

/// A span of business time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRange {
    /// Its first instant.
    pub start: Timestamp,
    /// Its last instant.
    pub end: Timestamp,
}

/// What a backup says of one of its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    /// The table.
    pub name: TableName,
    /// The columns of its rows, in the order in which the source writes them.
    pub columns: Vec<ColumnSummary>,
    /// The columns of its primary key.
    pub key: Vec<ColumnName>,
    /// The fingerprint of the source's table.
    pub fingerprint: Digest,
    /// How many rows follow.
    pub rows: u64,
    /// How many deletions follow.
    pub deletions: u64,
    /// The life whose base the rows without a version belong to; nothing where the source captures no changes.
    pub base: Option<Life>,
    /// Whether rows carry versions: at least one does.
    pub versioned: bool,
    /// Whether a filter keeps rows back, so that a row's absence says nothing even in a full backup.
    pub filtered: bool,
}

/// One column of a backup's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSummary {
    /// Its name.
    pub name: ColumnName,
    /// What its values are.
    pub logical_type: LogicalType,
}

impl TableSummary {
    /// The summary of a table whose rows are about to be written; counts are zero.
    #[must_use]
    pub fn of(table: &Table) -> Self {
        let column = |column: &crate::schema::Column| ColumnSummary {
            name: column.name.clone(),
            logical_type: column.logical_type.clone(),
        };
        Self {
            name: table.name.clone(),
            columns: table.travelling().map(column).collect(),
            key: table.key_names().cloned().collect(),
            fingerprint: table.fingerprint(),
            rows: 0,
            deletions: 0,
            base: None,
            versioned: false,
            filtered: false,
        }
    }
}

/// Rows of one table as they stand in D, to be carried across a port as one.
///
/// `lines` holds one line a row or deletion: its object, then an optional comma, then LF. At most
/// [`BATCH_BYTES`](crate::limits::BATCH_BYTES), or one larger row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowBatch {
    /// How many lines.
    pub rows: u64,
    /// How many of them are deletions, as whoever wrote them counted; a decoder does not look into rows.
    pub deletions: u64,
    /// How many of them carry a version, as whoever wrote them counted.
    pub versioned: u64,
    /// Their lines.
    pub lines: Vec<u8>,
}

impl RowBatch {
    /// The rows' objects, without commas and line ends.
    pub fn objects(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.lines.as_slice();
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest)?;
            let line = &rest[..end];
            rest = &rest[end + 1..];
            Some(line.strip_suffix(b",").unwrap_or(line))
        })
    }
}

//! Application databases: reading a snapshot, applying a backup, proving equality.
//!
//! The order of an apply: [`Database::begin_apply`] opens a session; [`Apply::stage`] takes rows, outside any
//! lock on the shop's tables; [`Apply::merge`] brings them in, with foreign keys checked; [`Apply::record`] puts
//! the signed receipt into the ledger; [`Apply::commit`]. Whatever is dropped before leaves nothing behind.

use std::time::Duration;

use super::{BoxFuture, Capture};
use crate::backup::v1::RowError;
use crate::backup::{BackupType, RowBatch, TableSummary};
use crate::code::{Code, Explain};
use crate::compare::{RowDigest, TableHashes};
use crate::day::{DayCheck, DayClose};
use crate::digest::Digest;
use crate::id::{BackupId, Epoch, Generation, Sequence, ServerId};
use crate::knowledge::Knowledge;
use crate::schema::{ColumnName, LogicalType, OmissionError, Schema, ScopeError, TableName};
use crate::scope::PeerScope;
use crate::version::ChangeTime;

/// One application database.
pub trait Database: Send + Sync {
    /// Reads the catalogue.
    fn schema(&self) -> BoxFuture<'_, Result<Schema, DatabaseError>>;

    /// Opens a snapshot: all that is read through it is of one moment, and nothing waits for it.
    fn snapshot(&self) -> BoxFuture<'_, Result<Box<dyn Snapshot>, DatabaseError>>;

    /// Opens a session that can apply one backup.
    fn begin_apply(&self, request: ApplyRequest) -> BoxFuture<'_, Result<Box<dyn Apply>, DatabaseError>>;

    /// Reads the ledger's own record of this database's life; makes the ledger where it is missing.
    fn ledger(&self) -> BoxFuture<'_, Result<Ledger, DatabaseError>>;

    /// The record of a backup that was applied here, if it was.
    fn applied(&self, backup: BackupId) -> BoxFuture<'_, Result<Option<AppliedRecord>, DatabaseError>>;

    /// The last backup of `source` that was applied here.
    fn last_applied(&self, source: ServerId) -> BoxFuture<'_, Result<Option<AppliedRecord>, DatabaseError>>;

    /// Its changes. The seventh call: what changes are about is a port of its own.
    fn capture(&self) -> &dyn Capture;
}

/// What the ledger says of the database's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// A name for this copy of the database, made with the ledger.
    pub database_id: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// The last generation that was packed.
    pub generation: Generation,
    /// The engine and its version, such as `PostgreSQL 15.18`.
    pub engine: String,
}

/// A read-only view of one moment.
pub trait Snapshot: Send {
    /// The catalogue at that moment.
    fn schema(&self) -> &Schema;

    /// Begins to read a table: the columns that travel, in catalogue order, in no particular order of rows.
    fn open<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<(), DatabaseError>>;

    /// The next rows of the table that was opened; nothing once all were given.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>, DatabaseError>>;

    /// Counts and hashes the rows of a table, bucket by bucket.
    fn hashes<'a>(&'a mut self, spec: &'a HashSpec) -> BoxFuture<'a, Result<TableHashes, DatabaseError>>;

    /// The keys and digests of the rows in some buckets (sorted by key).
    fn row_digests<'a>(
        &'a mut self,
        spec: &'a HashSpec,
        buckets: &'a [u32],
    ) -> BoxFuture<'a, Result<Vec<RowDigest>, DatabaseError>>;

    /// Ends the snapshot in order; one that is dropped ends all the same.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>>;
}

/// What of a table is hashed, and how: the same on both sides of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashSpec {
    /// The table.
    pub table: TableName,
    /// The columns that both sides have, sorted by name, each with the type under which they compare.
    pub columns: Vec<(ColumnName, LogicalType)>,
    /// The key's columns, in the key's order, all of them in `columns`.
    pub key: Vec<ColumnName>,
    /// How many buckets: a power of two.
    pub buckets: u32,
    /// Which rows are hashed, where filters keep some from the other side; each side has its own.
    pub scope: PeerScope,
}

/// Which backup is to be applied, and how.
#[derive(Debug, Clone)]
pub struct ApplyRequest {
    /// Its name.
    pub backup: BackupId,
    /// Who made it.
    pub source: ServerId,
    /// What it brings.
    pub backup_type: BackupType,
    /// The source database's life.
    pub epoch: Epoch,
    /// The source's generation.
    pub generation: Generation,
    /// Its place in the chain.
    pub sequence: Sequence,
    /// The checksum of its data.
    pub checksum: Digest,
    /// Its tables, in the order of its data.
    pub tables: Vec<TableSummary>,
    /// Whether rows that it does not hold are removed from its tables.
    pub mirror: bool,
    /// The digest of its metadata: what the next backup of its chain names as the one before.
    pub metadata: Digest,
    /// How it is merged by versions; nothing for a backup of a server that captures no changes, whose rows simply go
    /// in. Such rows count as changes made here where changes are captured here.
    pub context: Option<MergeContext>,
    /// What is done with rows that cannot go in.
    pub on_error: OnError,
    /// Tables that the settings leave out here: their rows do not go in, those that are held among them.
    pub left_out: Vec<TableName>,
}

/// What merging by versions needs to know of the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeContext {
    /// All that the source held when it sealed the backup.
    pub knowledge: Knowledge,
    /// What we may claim to know once it is applied.
    pub covers: Knowledge,
    /// The join of the dots of tombstones that the source purged.
    pub purged: Knowledge,
    /// The source's clock.
    pub clock: ChangeTime,
    /// The business day that the backup closes, and what that came to at the source.
    pub day: Option<DayClose>,
}

/// What is done with rows that cannot go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Nothing of the backup goes in.
    Reject,
    /// They are held with what hangs on them, the rest goes in, and the receipt says `success: false`.
    #[default]
    Hold,
}

/// A session that applies one backup in one transaction.
pub trait Apply: Send {
    /// Takes rows of the table at `place` in the request; tables come in the request's order.
    fn stage(&mut self, place: usize, batch: RowBatch) -> BoxFuture<'_, Result<(), DatabaseError>>;

    /// Brings the staged rows in and checks every constraint; nothing is visible to others yet.
    fn merge(&mut self) -> BoxFuture<'_, Result<MergeReport, DatabaseError>>;

    /// Puts the signed receipt into the ledger, in the same transaction.
    fn record<'a>(
        &'a mut self,
        receipt: &'a [u8],
        now: jiff::Timestamp,
    ) -> BoxFuture<'a, Result<(), DatabaseError>>;

    /// Makes all of it lasting.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>>;

    /// Takes all of it back.
    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>>;
}

/// What a merge did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeReport {
    /// For each table of the request, in its order.
    pub tables: Vec<TableMerge>,
    /// How foreign keys were checked.
    pub foreign_keys: ForeignKeyCheck,
    /// How long rows or tables of the shop were locked, up to the end of the merge.
    pub locked_for: Duration,
    /// Where the time went: a stage's name and how long it took.
    pub stages: Vec<(&'static str, Duration)>,
    /// All that is held here after it; nothing where no changes are captured here.
    pub knowledge: Option<Knowledge>,
    /// Rows of this backup that are held, the first hundred by name; all are counted in `tables`.
    pub held: Vec<HeldReport>,
    /// Rows that were held before and went in now.
    pub released: u64,
    /// The business day that the backup closes, at its source and here, once the backup is in.
    pub day: Vec<DayCheck>,
}

/// A row that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldReport {
    /// The table.
    pub table: TableName,
    /// Its key, as people read it.
    pub key: String,
    /// Why.
    pub code: Code,
    /// In words.
    pub reason: String,
}

/// What a merge did to one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableMerge {
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that were there and differed.
    pub updated: u64,
    /// Rows that were there and equal.
    pub unchanged: u64,
    /// Rows that were removed: deletions of the backup, what a full backup shows to have been deleted, and what a
    /// mirror removes.
    pub deleted: u64,
    /// Rows of the backup that did not go in, because what is here is newer or was known before.
    pub superseded: u64,
    /// Conflicts that were decided and recorded.
    pub conflicts: u64,
    /// Rows of the backup that are held.
    pub held: u64,
}

/// How foreign keys were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignKeyCheck {
    /// By the database, row by row.
    RowByRow,
    /// Taken off for the load and put back, validated by one join each.
    ByJoin,
}

/// A record of the ledger: one backup that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedRecord {
    /// Its name.
    pub backup: BackupId,
    /// Who made it.
    pub source: ServerId,
    /// The source database's life.
    pub epoch: Epoch,
    /// Its place in the chain.
    pub sequence: Sequence,
    /// The checksum of its data.
    pub checksum: Digest,
    /// The digest of its metadata; nothing where it was applied before that was recorded.
    pub metadata: Option<Digest>,
    /// The signed receipt, as it was sent.
    pub receipt: Vec<u8>,
}

/// What a database refuses or fails at.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub enum DatabaseError {
    /// The URL cannot be understood.
    #[error("the database URL cannot be understood: {reason}")]
    Url { reason: String },
    /// The server does not answer, or does not let us in.
    #[error("the database at {address} cannot be reached: {message}")]
    Unreachable { address: String, message: String },
    /// It takes no writes.
    #[error("the database can only be read")]
    ReadOnly,
    /// The role lacks a right.
    #[error("the role may not {action}; let the owner run: {grant}")]
    PrivilegeMissing { action: String, grant: String },
    /// The engine is too old or too new.
    #[error("{engine} {version} is not supported")]
    Version { engine: String, version: String },
    /// A table that is not in the catalogue.
    #[error("there is no table {table} here")]
    TableUnknown { table: TableName },
    /// A table that cannot be part of a backup.
    #[error("table {table} cannot be part of a backup: {reason}")]
    TableNotSyncable { table: TableName, reason: String },
    /// A backup's table does not fit the target's.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// Columns that the settings leave out cannot be left out.
    #[error(transparent)]
    Omission(#[from] OmissionError),
    /// A value that the target's column cannot hold.
    #[error("column {column} of table {table} cannot hold a value of row {row}: {reason}")]
    ValueNotHeld { table: TableName, column: String, row: u64, reason: String },
    /// Another row has the unique value.
    #[error("unique key {constraint} of table {table}: {detail}")]
    Unique { table: String, constraint: String, detail: String },
    /// A row points at nothing.
    #[error("foreign key {constraint} of table {table}: {detail}")]
    ForeignKey { table: String, constraint: String, detail: String },
    /// A NOT NULL, a CHECK or an exclusion is broken.
    #[error("rule {constraint} of table {table}: {detail}")]
    Constraint { table: String, constraint: String, detail: String },
    /// Unique values change hands in a way that this role cannot carry out.
    #[error("unique key {constraint} of table {table} changes hands between rows")]
    UniqueSwap { table: TableName, constraint: String },
    /// A mirror would remove rows outside the backup.
    #[error(
        "removing rows of {table} would remove or change rows of {child}, which the backup does not hold"
    )]
    MirrorCascade { table: TableName, child: TableName },
    /// A row at the source cannot be carried.
    #[error("row {row} of table {table} cannot be carried: {reason}")]
    RowNotEncodable { table: TableName, row: String, reason: String },
    /// A row at the source is over the limit.
    #[error("row {row} of table {table} is larger than 16 MiB")]
    RowTooLarge { table: TableName, row: String },
    /// A row of the backup cannot be read.
    #[error("table {table}: {error}")]
    Row { table: TableName, error: RowError },
    /// The same place in the chain was taken by another backup.
    #[error("backup {backup} of {source_id} has a place in the chain that another backup took")]
    Forked { source_id: ServerId, backup: BackupId },
    /// Changes are not captured here.
    #[error("changes are not captured in this database")]
    NotAttached,
    /// Another server's capture is installed.
    #[error("changes of this database are captured for {server}")]
    Attached { server: ServerId },
    /// The condition of a filter cannot be asked of its table.
    #[error("the filter of table {table} cannot be used: {message}")]
    FilterInvalid { table: TableName, message: String },
    /// A lock was not to be had in time, three times.
    #[error("the database was busy: {message}")]
    Busy { message: String },
    /// The work was stopped.
    #[error("the work was stopped")]
    Interrupted,
    /// Anything else that the database said.
    #[error("the database failed ({sqlstate}): {message}")]
    Failed { sqlstate: String, message: String },
}

impl Explain for DatabaseError {
    fn code(&self) -> Code {
        match self {
            Self::Url { .. } => Code::DATABASE_URL_INVALID,
            Self::Unreachable { .. } => Code::DATABASE_UNREACHABLE,
            Self::ReadOnly => Code::DATABASE_READ_ONLY,
            Self::PrivilegeMissing { .. } => Code::PRIVILEGE_MISSING,
            Self::Version { .. } => Code::DATABASE_VERSION,
            Self::TableUnknown { .. } => Code::TABLE_UNKNOWN,
            Self::TableNotSyncable { .. } => Code::TABLE_NOT_SYNCABLE,
            Self::Scope(scope) => scope.code(),
            Self::Omission(_) => Code::SETTINGS_INVALID,
            Self::ValueNotHeld { .. } => Code::VALUE_NOT_HELD,
            Self::Unique { .. } => Code::UNIQUE_CONFLICT,
            Self::ForeignKey { .. } => Code::FOREIGN_KEY_BROKEN,
            Self::Constraint { .. } => Code::CONSTRAINT_BROKEN,
            Self::UniqueSwap { .. } => Code::GROUP_NOT_MERGEABLE,
            Self::MirrorCascade { .. } => Code::MIRROR_CASCADE,
            Self::RowNotEncodable { .. } => Code::ROW_NOT_ENCODABLE,
            Self::RowTooLarge { .. } => Code::ROW_TOO_LARGE,
            Self::Row { error, .. } => error.code(),
            Self::Forked { .. } => Code::LEDGER_FORKED,
            Self::NotAttached => Code::NOT_ATTACHED,
            Self::Attached { .. } => Code::ATTACHED_BY_ANOTHER,
            Self::FilterInvalid { .. } => Code::FILTER_INVALID,
            Self::Busy { .. } => Code::DATABASE_BUSY,
            Self::Interrupted => Code::INTERRUPTED,
            Self::Failed { .. } => Code::DATABASE_FAILED,
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::PrivilegeMissing { grant, .. } => grant.clone(),
            Self::Omission(_) => "correct `except_columns` of [database] in the settings".to_owned(),
            _ => self.code().entry().hint.to_owned(),
        }
    }
}

//! Capture: changes of the shop's rows, from the trigger that notes them to the backup that carries them.
//!
//! [`Capture::attach`] installs triggers that note the key of each change in the change log. [`Capture::pack`] takes a
//! position: it stamps all changes that one snapshot shows with the next generation, and gives the snapshot, from which
//! the rows that a peer lacks are read. So nothing that commits late is missed, nothing waits for a long transaction,
//! and a child never travels without its parent. Versions, knowledge, tombstones, held rows and conflicts are in the
//! ledger: they commit together with the shop's rows.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{BoxFuture, DatabaseError};
use crate::backup::RowBatch;
use crate::id::{BackupId, Epoch, ServerId};
use crate::knowledge::Knowledge;
use crate::pack::{PackPlan, PackRequest, Position};
use crate::schema::{Schema, TableName};
use crate::version::{ChangeTime, Life, Version};

/// The change log and the versions of one application database.
pub trait Capture: Send + Sync {
    /// Installs capture, or brings what is installed in step with the catalogue: new tables are taken in, rebuilt ones
    /// get their triggers again and are marked for a compare. Changes nothing where all is as it should be.
    ///
    /// # Errors
    /// [`DatabaseError::PrivilegeMissing`] with the GRANT; [`DatabaseError::Attached`] where another server's capture is
    /// installed.
    fn attach(&self, request: AttachRequest) -> BoxFuture<'_, Result<AttachReport, DatabaseError>>;

    /// Takes out everything of ours, the ledger too: the schema is as it was found.
    fn detach(&self) -> BoxFuture<'_, Result<(), DatabaseError>>;

    /// How capture stands; nothing where it is not installed.
    fn look(&self) -> BoxFuture<'_, Result<Option<CaptureState>, DatabaseError>>;

    /// Takes a position. Tables that the catalogue no longer has as they were attached are brought in step first, as
    /// [`Capture::attach`] does.
    ///
    /// # Errors
    /// [`DatabaseError::NotAttached`].
    fn pack(&self, request: PackRequest) -> BoxFuture<'_, Result<Box<dyn Changes>, DatabaseError>>;

    /// Whether the change log holds anything; cheap enough to be asked several times a second.
    fn has_changes(&self) -> BoxFuture<'_, Result<bool, DatabaseError>>;

    /// Changes the ledger's own records, in one transaction.
    fn amend(&self, amendment: Amendment) -> BoxFuture<'_, Result<u64, DatabaseError>>;
}

/// What is to be captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachRequest {
    /// Whose database this is.
    pub server: ServerId,
    /// The epoch to begin with, where nothing is installed yet: later than any that this server had.
    pub epoch: Epoch,
    /// Tables that stay out: those that the settings leave out.
    pub except: Vec<TableName>,
}

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttachReport {
    /// Tables that are captured now and were not before.
    pub added: Vec<TableName>,
    /// Tables whose triggers were missing or not ours any more, and are again: changes may have been missed.
    pub mended: Vec<TableName>,
    /// Tables that are captured no more.
    pub removed: Vec<TableName>,
    /// All tables that are captured.
    pub captured: u64,
}

/// How capture stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureState {
    /// This database's life.
    pub own: Life,
    /// The generation of the last pack.
    pub generation: crate::id::Generation,
    /// All that is held here, held rows too: what a receipt says.
    pub knowledge: Knowledge,
    /// The join of the dots of tombstones that were purged.
    pub purged: Knowledge,
    /// The clock of the versions here.
    pub clock: ChangeTime,
    /// The tables that are captured; of each whether a compare is due, because changes may have been missed.
    pub tables: BTreeMap<TableName, bool>,
    /// Changes in the log.
    pub pending: u64,
    /// Tombstones that are kept.
    pub tombstones: u64,
    /// Rows that are held.
    pub held: Vec<HeldRow>,
    /// Conflicts on record.
    pub conflicts: u64,
    /// Bytes that the log, the versions and the rest of the ledger take up.
    pub ledger_bytes: u64,
}

/// A row that could not be applied, kept until it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRow {
    /// The table.
    pub table: TableName,
    /// Its key, as people read it.
    pub key: String,
    /// Its version.
    pub version: Version,
    /// Who sent it.
    pub source: ServerId,
    /// In which backup.
    pub backup: BackupId,
    /// Why it is held, in words.
    pub reason: String,
    /// The code of the reason.
    pub code: crate::code::Code,
    /// Since when.
    pub since: Timestamp,
}

/// A position that was taken, with the snapshot to read from. Nothing of the shop's waits for it.
pub trait Changes: Send {
    /// The catalogue at that moment.
    fn schema(&self) -> &Schema;

    /// The position.
    fn position(&self) -> &Position;

    /// The captured tables that have something for that plan; for a full one all of them. In no particular order.
    fn tables<'a>(
        &'a mut self,
        plan: &'a PackPlan,
    ) -> BoxFuture<'a, Result<Vec<TableChanges>, DatabaseError>>;

    /// Begins to read a table: the rows and tombstones that the plan takes, each with its version. No-op changes are
    /// left out where they can be told.
    fn open<'a>(
        &'a mut self,
        table: &'a TableName,
        plan: &'a PackPlan,
    ) -> BoxFuture<'a, Result<(), DatabaseError>>;

    /// The next rows of the table that was opened; nothing once all were given.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>, DatabaseError>>;

    /// Ends the snapshot in order; one that is dropped ends all the same, but then what was read for a peer that filters
    /// keep rows from must not be sent: which rows were read for it is on record only after this.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>>;
}

/// A table that has something to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChanges {
    /// The table.
    pub table: TableName,
    /// The life whose base its unversioned rows belong to.
    pub base: Life,
    /// Whether rows of it may be kept back: from this peer by a filter here, or from this server by one where they come from.
    /// That a row is not in a full backup says nothing then.
    pub filtered: bool,
}

/// A change to the ledger's own records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amendment {
    /// Removes the tombstones that everybody in `known_to_all` knows; gives how many.
    Purge {
        /// What every peer knows, by the rule of [`purgeable`](crate::pack::purgeable).
        known_to_all: Knowledge,
    },
    /// Begins a new life: the database was restored from a copy or cloned. Changes in the log that a pack of the life
    /// before carried (`packed`: its last generation, as the state remembers it) say so; what the shop has changed since
    /// the copy was put back no pack has carried.
    BeginLife {
        /// The new epoch.
        epoch: Epoch,
        /// The last generation that was packed in the life before.
        packed: crate::id::Generation,
        /// When that was, by the wall clock: later changes in the log were made in the copy.
        carried_until: ChangeTime,
        /// The clock goes on from here.
        clock: ChangeTime,
    },
    /// The backup that was sealed last for a peer that filters keep rows from was applied there: it has the rows that this
    /// brought, and no more those that it took out. Until then either may be there or not.
    ConfirmScope {
        /// The peer.
        peer: ServerId,
    },
    /// Marks tables for a compare, or takes the mark away.
    SetCompareDue {
        /// The tables.
        tables: Vec<TableName>,
        /// Whether one is due.
        due: bool,
    },
}

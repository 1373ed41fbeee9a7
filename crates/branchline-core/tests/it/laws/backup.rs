//! A backup on its way, and its receipt, as far as the rules look at them.

use branchline_core::digest::Digest;
use branchline_core::id::{Epoch, Sequence};
use branchline_core::knowledge::Knowledge;
use branchline_core::standing::{Packed, Standing};
use branchline_core::version::{ChangeTime, Life, Version};

use super::ledger::{Image, TABLES};
use super::record::Marks;

/// A row or deletion in a backup.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) key: usize,
    pub(super) image: Image,
    pub(super) version: Version,
}

/// The backup.
#[derive(Debug)]
pub(super) struct Backup {
    pub(super) source: usize,
    pub(super) target: usize,
    /// The source's life.
    pub(super) epoch: Epoch,
    /// The target's life, as the source knew it.
    pub(super) target_epoch: Option<Epoch>,
    /// Its place in the chain.
    pub(super) sequence: Sequence,
    /// What names its metadata.
    pub(super) metadata: Digest,
    /// The backup that it goes on from.
    pub(super) previous: Option<Digest>,
    /// For the story: what it builds on.
    pub(super) above: Knowledge,
    /// What the source remembers of it: what it covers, and whether what it lacks is gone.
    pub(super) packed: Packed,
    pub(super) rows: Vec<Sent>,
    /// The life whose base each table of the source holds.
    pub(super) bases: [Life; TABLES],
    pub(super) knowledge: Knowledge,
    pub(super) purged: Knowledge,
    pub(super) clock: ChangeTime,
    /// For the judge: what went from the source without a trace.
    pub(super) gone: Marks,
}

/// The last backup of a peer that was applied in a database.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    pub(super) epoch: Epoch,
    pub(super) sequence: Sequence,
    pub(super) metadata: Digest,
    /// What was answered.
    pub(super) receipt: Standing,
}

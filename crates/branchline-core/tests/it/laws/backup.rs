//! A backup on its way, as far as the rules look at it.

use branchline_core::id::Epoch;
use branchline_core::knowledge::Knowledge;
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
    /// The lives of source and target when it was sealed: where one of them changes, a new chain begins.
    pub(super) chain: (Epoch, Epoch),
    /// Its place in the chain, from 1.
    pub(super) sequence: u32,
    /// Whether what it lacks is gone.
    pub(super) full: bool,
    pub(super) rows: Vec<Sent>,
    /// The life whose base each table of the source holds.
    pub(super) bases: [Life; TABLES],
    /// What it builds on: what the target knows is left out.
    pub(super) above: Knowledge,
    pub(super) covers: Knowledge,
    pub(super) knowledge: Knowledge,
    /// For the source: it does not travel.
    pub(super) seen: Knowledge,
    pub(super) purged: Knowledge,
    pub(super) clock: ChangeTime,
    /// For the judge: what went from the source without a trace.
    pub(super) gone: Marks,
}

//! The rules, each of which can be left out of a world, so that a test can show which case needs it.
//!
//! Nothing in the code under test knows of this. A rule is left out by what the world hands to the real functions (a
//! horizon that is empty, a receiver that claims more than the plan covers) or by what it makes of their answers.

/// A rule of merging, packing, restoring or holding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A receiver claims only what the backup covers.
    Covers,
    /// A tombstone stays while something may be on its way that a peer sealed before it had it.
    PurgeWaits,
    /// A restored database begins a new epoch.
    Epoch,
    /// A row that a full backup lacks and its sender knew is removed.
    FullRemoves,
    /// After a restore both sides of a pair give whatever the other lacks.
    GiveAllBack,
    /// They do so until the other has all that is owed.
    OwedToTheEnd,
    /// What was sealed for another life is dropped and refused.
    Chain,
    /// What the sender of a full backup has purged counts as purged here.
    Horizon,
    /// What a full backup lacks and its sender never knew counts as new where the receiver is behind.
    AbsentCountsAsNew,
    /// What comes from a sender that is behind, for a key that is not here, counts as new.
    BehindCountsAsNew,
    /// A change that was not packed yet is in nobody's knowledge.
    PendingUnknown,
    /// Of two rows of two bases that differ the one that comes in counts as a change made here.
    BaseCountsAsNew,
    /// A change where a deletion may be forgotten is stamped later than it.
    StampedAfterForgotten,
    /// What a server that holds rows tells its peers of its knowledge ends before them.
    HeldLowers,
    /// What comes in beside a held row is decided against that first.
    HeldYields,
}

/// Those in force.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    left_out: Option<Rule>,
}

impl Rules {
    /// All of them.
    pub(super) const fn all() -> Self {
        Self { left_out: None }
    }

    /// All but one.
    pub(super) const fn without(rule: Rule) -> Self {
        Self { left_out: Some(rule) }
    }

    /// Whether it is in force.
    pub(super) fn hold(self, rule: Rule) -> bool {
        self.left_out != Some(rule)
    }
}

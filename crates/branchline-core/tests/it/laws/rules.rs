//! The rules, each of which can be left out of a world, so that a test can show which case needs it.
//!
//! Nothing in the code under test knows of this. A rule is left out by what the world hands to the real functions (a
//! horizon that is empty, a receiver that claims more than the plan covers) or by what it makes of their answers.

/// A rule of merging, packing, restoring or holding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A receiver claims only what the backup covers.
    Covers,
    /// A tombstone stays until we have all that each peer had when it acknowledged it.
    PurgeWaits,
    /// A restored database begins a new epoch.
    Epoch,
    /// What a full backup lacks and its sender knew is removed.
    FullRemoves,
    /// After a restore both sides of a pair give whatever the other lacks.
    GiveAllBack,
    /// What was sealed before a restore is refused after it.
    Chain,
    /// An increment is refused where what it builds on is not held.
    BuildsOn,
    /// What the sender of a full backup has purged counts as purged here.
    Horizon,
    /// What a full backup lacks and its sender never knew counts as new where the receiver is behind.
    AbsentCountsAsNew,
    /// What comes from a sender that is behind, for a key that is not here, counts as new.
    BehindCountsAsNew,
    /// A change that was not packed yet is in nobody's knowledge.
    PendingUnknown,
    /// Two rows of two bases that differ: the one that comes in counts as a change made here.
    BaseCountsAsNew,
    /// What a server that holds rows tells its peers of its knowledge ends before them.
    HeldLowers,
    /// A row made on top of a held one, or that outranks it, takes its place.
    HeldYields,
    /// A full backup says nothing of the keys of held rows.
    HeldUnsaid,
    /// A held row is dropped where a full backup lacks it and its sender knew it.
    HeldRemoved,
    /// A version is later than what it follows: an apply raises the clock.
    ClockFollows,
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

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
    /// An apply raises the clock, so that what counts as new is later than all that the sender has heard of.
    ClockFollows,
    /// A change where a deletion may be forgotten is stamped later than it.
    StampedAfterForgotten,
    /// What was decided against a held row is not claimed either.
    HeldStandsFor,
    /// A horizon is told as far as what is known.
    HorizonAsKnown,
    /// Tombstones go by what may be told, not by what is held.
    PurgeAsTold,
    /// What was seen beyond what is known is sent.
    SeenIsSent,
    /// What is owed is owed until the peer has all of it.
    OwedToTheEnd,
}

impl Rule {
    /// All of them.
    pub(super) const ALL: [Self; 22] = [
        Self::Covers,
        Self::PurgeWaits,
        Self::Epoch,
        Self::FullRemoves,
        Self::GiveAllBack,
        Self::Chain,
        Self::Horizon,
        Self::AbsentCountsAsNew,
        Self::BehindCountsAsNew,
        Self::PendingUnknown,
        Self::BaseCountsAsNew,
        Self::HeldLowers,
        Self::HeldYields,
        Self::HeldUnsaid,
        Self::HeldRemoved,
        Self::ClockFollows,
        Self::StampedAfterForgotten,
        Self::HeldStandsFor,
        Self::HorizonAsKnown,
        Self::PurgeAsTold,
        Self::SeenIsSent,
        Self::OwedToTheEnd,
    ];
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

//! What becomes of an incoming row, and of a row that a full backup does not hold: decided by knowledge alone.
//!
//! | the row here | incoming version | verdict |
//! |---|---|---|
//! | never seen | known | [`Verdict::Old`]: absent here means that it was deleted here |
//! | never seen | new | [`Verdict::Take`] |
//! | the same version | the same version | [`Verdict::Same`] |
//! | other | known | [`Verdict::Old`] |
//! | known to the sender | new | [`Verdict::Take`]: the sender made its row on top of ours |
//! | unknown to the sender | new | a conflict: the later one wins ([`Verdict::TakeOver`], [`Verdict::Keep`]) |
//! | both were there before changes were captured | | equal: [`Verdict::Same`]; else [`Verdict::TakeAsOurs`] |
//!
//! Clocks only rank the two sides of a conflict. A conflict is recorded with both images, whatever decided it.

use crate::knowledge::Knowledge;
use crate::version::{ChangeTime, Dot, Life, Version};

/// What is known here of the row with an incoming row's key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalRow {
    /// Whether the row is in its table.
    pub present: bool,
    /// Its version in the ledger, or that of its tombstone; nothing for a row of the base and one never seen.
    pub version: Option<Version>,
    /// A change of it that no pack has stamped yet.
    pub pending: Option<Pending>,
    /// Whether what comes in equals what is here in all columns that come in, or both are deleted.
    pub same: bool,
}

/// A change in the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// When it was made: later than the row's version.
    pub time: ChangeTime,
    /// The dot that it had in the life before, where a pack of that life carried it.
    pub was: Option<Dot>,
}

/// Who knew what when a backup was sealed and when it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parties {
    /// Our life now.
    pub own: Life,
    /// All that is held here.
    pub ours: Knowledge,
    /// All that the sender held when it sealed the backup.
    pub theirs: Knowledge,
}

/// What becomes of an incoming row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was held here before: nothing is done.
    Old,
    /// It is here in this very version: nothing is done.
    Same,
    /// It goes in, and overrules nothing.
    Take,
    /// A conflict: it goes in.
    TakeOver,
    /// A conflict: ours stays.
    Keep,
    /// A conflict of two rows that were there before changes were captured: it goes in, and counts as a change made
    /// here, so that both servers come to the same row.
    TakeAsOurs,
}

impl Verdict {
    /// Whether the incoming row goes in.
    #[must_use]
    pub const fn takes(self) -> bool {
        matches!(self, Self::Take | Self::TakeOver | Self::TakeAsOurs)
    }

    /// Whether a conflict is recorded.
    #[must_use]
    pub const fn is_conflict(self) -> bool {
        matches!(self, Self::TakeOver | Self::Keep | Self::TakeAsOurs)
    }
}

/// What becomes of a row that a full backup of its table does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Absence {
    /// The sender held this version and has the row no more: it was deleted there.
    Remove,
    /// The sender never held it, and may have purged a deletion that is concurrent with it: it is stamped anew, as a
    /// change made here.
    CountsAsNew,
    /// It stays as it is: it reaches the sender by itself.
    Stays,
}

/// The version of a row here, as far as it has one. `base` is the life whose base its table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    NeverSeen,
    Pending(Pending),
    Stamped(Version),
}

fn standing(local: &LocalRow, base: &Life) -> Standing {
    match (&local.pending, &local.version) {
        (Some(pending), _) => Standing::Pending(pending.clone()),
        (None, Some(version)) => Standing::Stamped(version.clone()),
        (None, None) if local.present => Standing::Stamped(Version::base(base.clone())),
        (None, None) => Standing::NeverSeen,
    }
}

/// Decides what becomes of a row that comes in with that version. `base` is the life whose base the table here holds.
#[must_use]
pub fn decide(incoming: &Version, local: &LocalRow, base: &Life, parties: &Parties) -> Verdict {
    let known = parties.ours.knows(incoming);
    let mine = match standing(local, base) {
        Standing::NeverSeen if known => return Verdict::Old,
        Standing::NeverSeen => return Verdict::Take,
        Standing::Pending(_) if known => return Verdict::Old,
        Standing::Pending(pending) => {
            if pending.was.as_ref().is_some_and(|was| parties.theirs.has(was)) {
                return Verdict::Take;
            }
            // What the next pack will stamp it with, as far as ranking goes.
            Version { dot: Dot::base(parties.own.clone()), time: pending.time, was: None }
        }
        Standing::Stamped(mine) if mine.dot == incoming.dot => return Verdict::Same,
        Standing::Stamped(_) if known => return Verdict::Old,
        Standing::Stamped(mine) if parties.theirs.knows(&mine) => return Verdict::Take,
        Standing::Stamped(mine) => mine,
    };
    let both_of_the_base = [&mine, incoming].iter().all(|version| version.time == ChangeTime::default());
    match (both_of_the_base, local.same) {
        (true, true) => Verdict::Same,
        (true, false) => Verdict::TakeAsOurs,
        (false, _) if incoming.rank(&mine).is_gt() => Verdict::TakeOver,
        (false, _) => Verdict::Keep,
    }
}

/// Decides what becomes of a row here that a full backup of its table does not hold.
#[must_use]
pub fn decide_absent(local: &LocalRow, base: &Life, parties: &Parties) -> Absence {
    match standing(local, base) {
        Standing::NeverSeen => Absence::Stays,
        Standing::Pending(pending) => {
            if pending.was.as_ref().is_some_and(|was| parties.theirs.has(was)) {
                Absence::Remove
            } else {
                Absence::Stays
            }
        }
        Standing::Stamped(mine) if parties.theirs.knows(&mine) => Absence::Remove,
        Standing::Stamped(mine) if mine.time == ChangeTime::default() => Absence::Stays,
        Standing::Stamped(_) => Absence::CountsAsNew,
    }
}

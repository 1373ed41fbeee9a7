//! What becomes of an incoming row, and of a row that a full backup does not hold: decided by knowledge alone.
//!
//! | the row here | incoming version | verdict |
//! |---|---|---|
//! | not here at all | known | [`Verdict::Old`]: it was deleted here; [`Verdict::Take`] in a [part](LocalRow::in_part) |
//! | not here at all | new | [`Verdict::Take`]; from a sender that is behind [`Verdict::TakeAsOurs`] |
//! | the same version | the same version | [`Verdict::Same`] |
//! | other | known | [`Verdict::Old`] |
//! | known to the sender | new | [`Verdict::Take`]: the sender made its row on top of ours |
//! | unknown to the sender, equal | new | the later version stays: [`Verdict::Take`], [`Verdict::Same`] |
//! | unknown to the sender | new | a conflict: the later one wins ([`Verdict::TakeOver`], [`Verdict::Keep`]) |
//! | both were there before changes were captured | | equal: [`Verdict::Same`]; else [`Verdict::TakeAsOurs`] |
//!
//! Clocks only rank the two sides of a conflict. A conflict is recorded with both images, whatever decided it.
//!
//! Where both versions are known to the other side, each side was told of the other's by a server that does not relay, and
//! what came after them has not arrived, or was lost in a restore: the later one stays.
//!
//! *Behind* is who does not know all deletions whose tombstones the other side has purged. A row that only the one that
//! is behind has may be concurrent with such a deletion, whose time nobody here can tell any more. It counts as a
//! change made here and now, so that it outranks the deletion wherever a tombstone is left
//! (`docs/decisions/0016-what-only-the-one-behind-has-counts-as-new.md`).

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
    /// Whether its table is shared in part: a filter keeps rows of it back, here or where they came from. Such a row may be
    /// known and not here, because it was out of scope when its change was told.
    pub in_part: bool,
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
    /// All that is held here, held rows too.
    pub ours: Knowledge,
    /// All that the sender held when it sealed the backup, its held rows excepted.
    pub theirs: Knowledge,
    /// Whether the sender may lack a deletion whose tombstone was purged here.
    pub sender_behind: bool,
    /// Whether we may lack a deletion whose tombstone the sender purged.
    pub receiver_behind: bool,
}

impl Parties {
    /// Who knew what; `purged_here` and `purged_there` are the joins of the dots of purged tombstones, ours before the
    /// backup is applied and the sender's when it sealed it.
    #[must_use]
    pub fn new(
        own: Life,
        ours: Knowledge,
        theirs: Knowledge,
        purged_here: &Knowledge,
        purged_there: &Knowledge,
    ) -> Self {
        let sender_behind = !purged_here.is_within(&theirs);
        let receiver_behind = !purged_there.is_within(&ours);
        Self { own, ours, theirs, sender_behind, receiver_behind }
    }
}

/// What becomes of an incoming row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was held here before: nothing is done.
    Old,
    /// It is here already, in this very version or in one that outranks it: nothing is done.
    Same,
    /// It goes in, and overrules nothing.
    Take,
    /// A conflict: it goes in.
    TakeOver,
    /// A conflict: ours stays.
    Keep,
    /// It goes in, and counts as a change made here, so that all servers come to the same row. A conflict where a row
    /// is here: both were there before changes were captured. Where none is here, the sender is behind.
    TakeAsOurs,
}

impl Verdict {
    /// Whether the incoming row goes in.
    #[must_use]
    pub const fn takes(self) -> bool {
        matches!(self, Self::Take | Self::TakeOver | Self::TakeAsOurs)
    }

    /// Whether a conflict is recorded, where there are two images to record.
    #[must_use]
    pub const fn is_conflict(self) -> bool {
        matches!(self, Self::TakeOver | Self::Keep | Self::TakeAsOurs)
    }
}

/// What becomes of a row that a full backup of its table does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Absence {
    /// The sender held this version and has the row no more: it was deleted there. Where something else here forbids
    /// the removal, the row counts as new.
    Remove,
    /// The sender never held it, and may have purged a deletion that is concurrent with it: it is stamped anew, as a
    /// change made here.
    CountsAsNew,
    /// It stays as it is: a row reaches the sender by itself, and a tombstone goes when nobody needs it any more.
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
    weigh(incoming, parties.ours.knows(incoming), local, base, parties)
}

/// Decides what becomes of a held row that is tried again. Our knowledge has counted it since it came, so that it says
/// nothing about it. `parties` are those of the backup that brought it, with our side as it is now.
#[must_use]
pub fn decide_held(held: &Version, local: &LocalRow, base: &Life, parties: &Parties) -> Verdict {
    weigh(held, false, local, base, parties)
}

/// What comes in for the key of a held row is decided against the held row first, as if that were here. Only what is taken
/// goes on to the row that is here, and the held row is dropped: it is overruled before it went in.
#[must_use]
pub fn decide_beside_held(incoming: &Version, held: &Version, same: bool, parties: &Parties) -> Verdict {
    if incoming.was.as_ref() == Some(&held.dot) {
        // The pack of the life before that carried this change carried what is held: the same, or what came after it.
        return Verdict::Same;
    }
    let held = LocalRow { present: true, version: Some(held.clone()), same, ..LocalRow::default() };
    decide(incoming, &held, &parties.own, parties)
}

fn weigh(incoming: &Version, known: bool, local: &LocalRow, base: &Life, parties: &Parties) -> Verdict {
    let (mine, known_to_sender) = match standing(local, base) {
        // A sender that knows all deletions that are forgotten here, and has the row, has it because it lives.
        Standing::NeverSeen if known && local.in_part && !parties.sender_behind => return Verdict::Take,
        Standing::NeverSeen if known => return Verdict::Old,
        Standing::NeverSeen if parties.sender_behind => return Verdict::TakeAsOurs,
        Standing::NeverSeen => return Verdict::Take,
        Standing::Stamped(mine) if mine.dot == incoming.dot => return Verdict::Same,
        Standing::Stamped(mine) => {
            let known_to_sender = parties.theirs.knows(&mine);
            (mine, known_to_sender)
        }
        Standing::Pending(Pending { time, was }) => {
            let known_to_sender = was.as_ref().is_some_and(|was| parties.theirs.has(was));
            // What the next pack will stamp it with, as far as ranking goes.
            (Version { dot: Dot::base(parties.own.clone()), time, was }, known_to_sender)
        }
    };
    let both_of_the_base = [&mine, incoming].iter().all(|version| version.time == ChangeTime::default());
    let outranks = incoming.rank(&mine).is_gt();
    match (known, known_to_sender) {
        // Each side knows the version of the other and has another one: one of them was told so by a server that does
        // not relay, and what came after it has not arrived yet, or never will.
        (true, true) if outranks => Verdict::Take,
        (true, _) => Verdict::Old,
        (false, true) => Verdict::Take,
        (false, false) if both_of_the_base => {
            if local.same {
                Verdict::Same
            } else {
                Verdict::TakeAsOurs
            }
        }
        (false, false) => match (outranks, local.same) {
            (true, true) => Verdict::Take,
            (true, false) => Verdict::TakeOver,
            (false, true) => Verdict::Same,
            (false, false) => Verdict::Keep,
        },
    }
}

/// Decides what becomes of the row here when it left what the two servers share
/// ([`Deletion::OutOfScope`](crate::backup::v1::Deletion::OutOfScope)): it is taken out ([`Verdict::Take`]) where the
/// sender has all that was made of it, and stays ([`Verdict::Old`]) where it has not, for then it travels to the sender.
#[must_use]
pub fn decide_leaving(local: &LocalRow, base: &Life, parties: &Parties) -> Verdict {
    match standing(local, base) {
        Standing::Stamped(mine) if local.present && parties.theirs.knows(&mine) => Verdict::Take,
        Standing::Pending(Pending { was: Some(was), .. }) if local.present && parties.theirs.has(&was) => {
            Verdict::Take
        }
        _ => Verdict::Old,
    }
}

/// Decides what becomes of a row or tombstone here that a full backup of its table does not hold.
#[must_use]
pub fn decide_absent(local: &LocalRow, base: &Life, parties: &Parties) -> Absence {
    let known = match standing(local, base) {
        Standing::NeverSeen => return Absence::Stays,
        Standing::Pending(pending) => pending.was.is_some_and(|was| parties.theirs.has(&was)),
        Standing::Stamped(mine) => parties.theirs.knows(&mine),
    };
    match (known, parties.receiver_behind) {
        (true, _) if local.present => Absence::Remove,
        (false, true) => Absence::CountsAsNew,
        // A tombstone says the same as the row's absence, and others may still need it from us.
        (true, _) | (false, false) => Absence::Stays,
    }
}

#[cfg(test)]
mod tests;

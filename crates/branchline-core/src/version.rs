//! Versions: who made a row what it is, and when. A version travels with its row and is never the time of apply.
//!
//! | term | meaning |
//! |---|---|
//! | life | one epoch of one server's application database |
//! | dot | a life and a generation: "one of the changes that this life's n-th pack stamped" |
//! | base | generation 0: a row that was there before changes were captured, and that has no version of its own |
//! | time | microseconds since 1970 by a hybrid logical clock: wall time, but always later than what it follows |
//!
//! A base row is known to whoever knows its life at all. The time only ranks the two sides of a conflict; that of
//! base rows is 0, so that any captured change outranks them. Two versions that lie at the same time are ranked by
//! the lives in which they were written, so that every server ranks them alike, whichever dot it has a change under.

use std::cmp::Ordering;
use std::fmt;

use crate::id::{Epoch, Generation, ServerId};

/// One epoch of one server's application database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// The server.
    pub server: ServerId,
    /// Its epoch.
    pub epoch: Epoch,
}

impl Life {
    /// The life of that server's epoch.
    #[must_use]
    pub const fn new(server: ServerId, epoch: Epoch) -> Self {
        Self { server, epoch }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.epoch)
    }
}

/// The changes that one pack of one life stamped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Which life.
    pub life: Life,
    /// Which pack; 0 is the base.
    pub generation: Generation,
}

impl Dot {
    /// The dot of that life's generation.
    #[must_use]
    pub const fn new(life: Life, generation: Generation) -> Self {
        Self { life, generation }
    }

    /// The rows that were there before that life captured changes.
    #[must_use]
    pub const fn base(life: Life) -> Self {
        Self { life, generation: Generation::new(0) }
    }
}

/// Microseconds since 1970-01-01T00:00:00Z by a hybrid logical clock; 0 is before everything that was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ChangeTime(u64);

impl ChangeTime {
    /// That many microseconds since 1970.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The next moment that the clock can tell.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Who made a row what it is, and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    /// Who, and in which pack.
    pub dot: Dot,
    /// When.
    pub time: ChangeTime,
    /// The dot that this same change had in the life before, where the database was restored from a copy in which
    /// the change was not packed yet, and a pack of the life before had carried it.
    pub was: Option<Dot>,
}

impl Version {
    /// The version of rows that were there before that life captured changes.
    #[must_use]
    pub const fn base(life: Life) -> Self {
        Self { dot: Dot::base(life), time: ChangeTime::from_micros(0), was: None }
    }

    /// Which of two versions wins where neither was made with knowledge of the other: the later one. One change under
    /// two dots, before and after a restore, is equal to itself.
    #[must_use]
    pub fn rank(&self, other: &Self) -> Ordering {
        (self.time, self.written_in()).cmp(&(other.time, other.written_in()))
    }

    /// The dots that the change has and had.
    pub fn dots(&self) -> impl Iterator<Item = &Dot> {
        [Some(&self.dot), self.was.as_ref()].into_iter().flatten()
    }

    /// The life in which the change was made, as far as is known.
    fn written_in(&self) -> &Life {
        self.was.as_ref().map_or(&self.dot.life, |was| &was.life)
    }
}

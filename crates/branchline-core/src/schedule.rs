//! What a server does by itself, and when: the entries of its schedule, and what became of their runs.
//!
//! | term | meaning |
//! |---|---|
//! | entry | a name, what is done, with which peers, and its times; as the settings say it |
//! | [`Cadence`] | the times of an entry: read from text, told in words, computed in a time zone |
//! | run | one time that an entry is carried out |
//! | served | times up to a moment are served: they were run, or were before the entry came to be |
//! | owed | peers that a run could not serve yet, because an older backup still waits for them |
//!
//! Nothing here waits or looks at a clock. [`Cadence::due`] says which time is due, [`Pace`] how long to wait until the
//! change log is looked at again. Invariant: however many times of an entry were missed while the server was off,
//! they are caught up by one run.

mod cadence;
mod pace;
mod phrase;
mod words;

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use crate::backup::BackupType;
use crate::code::Code;
use crate::id::ServerId;

pub use cadence::{Cadence, CadenceError};
pub use pace::Pace;

/// By how much the clock may be set back without a time being run twice.
const SERVED_AHEAD_MAX: SignedDuration = SignedDuration::from_hours(1);

/// The name of an entry: 1 to 64 characters of one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleName(String);

/// A text that is not a name of an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to {} characters of one line", ScheduleName::CHARACTERS_MAX)]
pub struct ScheduleNameError;

impl ScheduleName {
    /// The longest name, in characters.
    pub const CHARACTERS_MAX: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScheduleName {
    type Err = ScheduleNameError;

    fn from_str(text: &str) -> Result<Self, ScheduleNameError> {
        let name = text.trim();
        let fits = (1..=Self::CHARACTERS_MAX).contains(&name.chars().count());
        if fits && !name.chars().any(char::is_control) {
            Ok(Self(name.to_owned()))
        } else {
            Err(ScheduleNameError)
        }
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScheduleKind {
    /// Sends every row.
    Full,
    /// Sends what changed since the last time.
    Incremental,
    /// Sends what changed in the business day.
    DailyTransactions,
    /// Compares this database with a peer's.
    Compare,
    /// Sends each change as soon as it is there.
    Live,
}

impl ScheduleKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Full, Self::Incremental, Self::DailyTransactions, Self::Compare, Self::Live];

    /// The kind as it stands in the settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::DailyTransactions => "daily_transactions",
            Self::Compare => "compare",
            Self::Live => "live",
        }
    }

    /// The type of the backup that it sends; nothing where it sends none.
    #[must_use]
    pub const fn backup_type(self) -> Option<BackupType> {
        match self {
            Self::Full => Some(BackupType::Full),
            Self::Incremental | Self::Live => Some(BackupType::Incremental),
            Self::DailyTransactions => Some(BackupType::DailyTransactions),
            Self::Compare => None,
        }
    }
}

/// An entry of the schedule.
#[derive(Debug, Clone)]
pub struct ScheduleEntry {
    name: ScheduleName,
    kind: ScheduleKind,
    cadence: Option<Cadence>,
    peers: Vec<ServerId>,
}

/// Why parts make no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleEntryError {
    /// Nothing says when.
    #[error("it must be said when: only an entry of kind live has no times")]
    TimesMissing,
    /// Times for what has none.
    #[error("an entry of kind live has no times: it sends whenever something changes")]
    TimesForLive,
}

impl ScheduleEntry {
    /// Makes an entry; `peers` are all, where it is empty.
    ///
    /// # Errors
    /// Where times are missing, or are said for an entry of kind live.
    pub fn new(
        name: ScheduleName,
        kind: ScheduleKind,
        cadence: Option<Cadence>,
        peers: Vec<ServerId>,
    ) -> Result<Self, ScheduleEntryError> {
        match (kind, &cadence) {
            (ScheduleKind::Live, Some(_)) => Err(ScheduleEntryError::TimesForLive),
            (ScheduleKind::Live, None) | (_, Some(_)) => Ok(Self { name, kind, cadence, peers }),
            (_, None) => Err(ScheduleEntryError::TimesMissing),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ScheduleName {
        &self.name
    }

    /// What it does.
    #[must_use]
    pub fn kind(&self) -> ScheduleKind {
        self.kind
    }

    /// When; nothing where it is of kind live.
    #[must_use]
    pub fn cadence(&self) -> Option<&Cadence> {
        self.cadence.as_ref()
    }

    /// With which peers; with all, where it is empty.
    #[must_use]
    pub fn peers(&self) -> &[ServerId] {
        &self.peers
    }

    /// The next times after a moment, `count` at most; none where it is of kind live.
    #[must_use]
    pub fn next_runs(&self, after: Timestamp, zone: &TimeZone, count: usize) -> Vec<Zoned> {
        let Some(cadence) = &self.cadence else { return Vec::new() };
        let next = |last: &Timestamp| cadence.next_after(*last, zone);
        std::iter::successors(cadence.next_after(after, zone), next)
            .take(count)
            .map(|time| time.to_zoned(zone.clone()))
            .collect()
    }

    /// What it does and when, as one text. What is remembered of an entry with another definition is not of this one.
    #[must_use]
    pub fn definition(&self) -> String {
        match &self.cadence {
            Some(cadence) => format!("{} {}", self.kind.as_str(), cadence.as_str()),
            None => self.kind.as_str().to_owned(),
        }
    }
}

/// What is remembered of an entry, so that a missed run is caught up after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRecord {
    /// Which entry.
    pub name: ScheduleName,
    /// What it was when this was written; see [`ScheduleEntry::definition`].
    pub definition: String,
    /// Times up to here are served.
    pub served_until: Timestamp,
    /// The last run that came to an end.
    pub last: Option<ScheduleRun>,
    /// Peers that the last run still owes what it is for.
    pub owed: Vec<ServerId>,
}

impl ScheduleRecord {
    /// What is to be remembered from now on, where that is not `known`: an entry that is new, or another one of the same
    /// name, has missed nothing yet; and what was written by a clock that was far ahead would make it wait until then.
    #[must_use]
    pub fn renewed(known: Option<&Self>, entry: &ScheduleEntry, now: Timestamp) -> Option<Self> {
        let definition = entry.definition();
        let same = known.filter(|known| known.definition == definition);
        if same.is_some_and(|same| same.served_until.duration_since(now) <= SERVED_AHEAD_MAX) {
            return None;
        }
        let (last, owed) = same.map(|same| (same.last.clone(), same.owed.clone())).unwrap_or_default();
        Some(Self { name: entry.name.clone(), definition, served_until: now, last, owed })
    }
}

/// A run that came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRun {
    /// The time that it served; of several missed ones the last.
    pub due_at: Timestamp,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What it came to.
    pub outcome: RunOutcome,
    /// What there is to say about that, with its code where it went wrong.
    pub remark: Option<(Option<Code>, String)>,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunOutcome {
    /// All of it is done.
    Done,
    /// There was nobody to do it with.
    Nobody,
    /// It waits in the outbox, and goes on by itself.
    Waiting,
    /// Rows differ.
    Differs,
    /// It failed.
    Failed,
}

impl RunOutcome {
    /// All outcomes, the best first.
    pub const ALL: [Self; 5] = [Self::Done, Self::Nobody, Self::Waiting, Self::Differs, Self::Failed];

    /// The outcome in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Nobody => "nobody",
            Self::Waiting => "waiting",
            Self::Differs => "differs",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests;

//! The times of an entry of the schedule.
//!
//! They are written in words (`22:30`, `Monday to Saturday at 13:00, 22:30`, `every 15 minutes`) or as a cron expression
//! of five fields. Both become cron patterns of which each has one hour and one minute wherever that can be, because
//! only such a pattern goes through the change to and from daylight saving as a person means it:
//!
//! * a time that the clock skips (02:30 in spring) is run right after the skip,
//! * a time that comes twice (02:30 in autumn) is run once, the first time,
//! * what goes by the interval (`every 15 minutes`) or by a larger pattern follows the clock on the wall: what is skipped
//!   is left out, and what comes twice is run twice.
//!
//! Limits: at most [`TIMES_MAX`] times of day; a pattern that never comes, such as 30 February, is refused.

use std::str::FromStr;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::phrase::{self, Phrase};

/// Times of day of one entry: one for each minute of two hours, and far more than anybody writes.
const TIMES_MAX: usize = 120;

/// The times of an entry.
#[derive(Debug, Clone)]
pub struct Cadence {
    text: String,
    pub(super) phrase: Phrase,
    patterns: Vec<Cron>,
}

/// Why a text says no times.
#[derive(Debug, thiserror::Error)]
pub enum CadenceError {
    /// It is neither words nor a cron expression.
    #[error("it says no times that can be understood")]
    Unreadable,
    /// A day or an interval, but no time of day.
    #[error("it does not say at what time of day")]
    TimeMissing,
    /// Minutes that do not come out even.
    #[error("an interval of minutes is one of 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 and 60")]
    Minutes,
    /// Hours that do not come out even.
    #[error("an interval of hours is one of 1, 2, 3, 4, 6, 8, 12 and 24")]
    Hours,
    /// More times of day than an entry may have.
    #[error("it names more than {TIMES_MAX} times of day")]
    TooMany,
    /// A cron expression with a fault in it.
    #[error("the cron expression is wrong: {0}")]
    Cron(CronError),
    /// A cron expression of a day that no year has.
    #[error("the cron expression names a time that never comes")]
    Never,
}

impl Cadence {
    /// The text that it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after a moment. Nothing in a calendar that ends before the next one.
    #[must_use]
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let after = after.to_zoned(zone.clone());
        // Nothing but the end of the calendar makes the search fail: that there is a time was seen when this was read.
        let next = |pattern: &Cron| pattern.find_next_occurrence(&after, false).ok();
        self.patterns.iter().filter_map(next).map(|found| found.timestamp()).min()
    }

    /// The time that is due: the last one of those that have come and are not served. Times up to `served_until` are
    /// served.
    #[must_use]
    pub fn due(&self, served_until: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let first = self.next_after(served_until, zone)?;
        if first > now {
            return None;
        }
        let moment = now.to_zoned(zone.clone());
        let last = |pattern: &Cron| pattern.find_previous_occurrence(&moment, true).ok();
        let last = self.patterns.iter().filter_map(last).map(|found: Zoned| found.timestamp()).max();
        // In an hour that comes twice the search backwards may find what is served.
        Some(last.filter(|last| *last > first && *last <= now).unwrap_or(first))
    }
}

impl FromStr for Cadence {
    type Err = CadenceError;

    fn from_str(text: &str) -> Result<Self, CadenceError> {
        let text = text.trim();
        let phrase = if phrase::looks_like_cron(text) {
            Phrase::of_cron(parse_cron(text)?)
        } else {
            text.parse::<Phrase>()?
        };
        let patterns = phrase.patterns();
        if patterns.len() > TIMES_MAX {
            return Err(CadenceError::TooMany);
        }
        let patterns: Vec<Cron> =
            patterns.iter().map(|pattern| parse_cron(pattern)).collect::<Result<_, _>>()?;
        let cadence = Self { text: text.to_owned(), phrase, patterns };
        // Any moment will do to see that it ever comes.
        if cadence.next_after(Timestamp::UNIX_EPOCH, &TimeZone::UTC).is_none() {
            return Err(CadenceError::Never);
        }
        Ok(cadence)
    }
}

fn parse_cron(text: &str) -> Result<Cron, CadenceError> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).map_err(CadenceError::Cron)
}

//! What a node answers about its schedule.

use serde::{Deserialize, Serialize};

/// What is done by itself, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleAnswer {
    /// The zone in which times are meant; nothing where the system's has no name.
    pub time_zone: Option<String>,
    /// Whether a `serve` answers this: without one nothing is done by itself.
    pub serving: bool,
    /// The entries, in the order of the settings.
    pub entries: Vec<ScheduleEntryAnswer>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct ScheduleEntryAnswer {
    pub name: String,
    /// `full`, `incremental`, `daily_transactions`, `compare` or `live`.
    pub kind: String,
    /// The times as the settings say them; nothing for `live`.
    pub at: Option<String>,
    /// All active peers, where it is empty.
    pub peers: Vec<String>,
    /// When, what and with whom, in one sentence.
    pub words: String,
    /// The next five; none for `live`.
    pub next_runs: Vec<RunTime>,
    /// A time that has come and was not served yet: it was missed, or is being served at this moment.
    pub due: Option<RunTime>,
    pub last_run: Option<ScheduleRunAnswer>,
    /// Peers that the last run could not serve yet.
    pub owed: Vec<String>,
    /// What keeps the entry from doing all that it says.
    pub problem: Option<super::Problem>,
}

/// A moment, and what the clock in the shop shows then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTime {
    /// In UTC.
    pub at: String,
    /// In the shop's zone, such as `2026-11-30T22:30:00+01:00`.
    pub local: String,
}

/// A run that came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub struct ScheduleRunAnswer {
    /// The time that it served; of several missed ones the last.
    pub due: RunTime,
    pub started: RunTime,
    pub millis: u64,
    /// `done`, `nobody`, `waiting`, `differs` or `failed`.
    pub outcome: String,
    pub code: Option<String>,
    pub remark: Option<String>,
}

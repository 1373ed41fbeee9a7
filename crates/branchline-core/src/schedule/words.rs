//! Tells an entry of the schedule in words: when, what, and with whom.

use std::collections::BTreeSet;

use jiff::civil::Time;

use super::phrase::{DAYS, Phrase};
use super::{Cadence, ScheduleEntry, ScheduleKind};

impl ScheduleEntry {
    /// The entry in one sentence: `every day at 22:30, a daily backup to CENTRAL-HQ`.
    #[must_use]
    pub fn words(&self) -> String {
        let peers = match self.peers() {
            [] => "all peers".to_owned(),
            some => listed(some.iter().map(ToString::to_string)),
        };
        let what = match self.kind() {
            ScheduleKind::Full => format!("a full backup to {peers}"),
            ScheduleKind::Incremental => format!("an incremental backup to {peers}"),
            ScheduleKind::DailyTransactions => format!("a daily backup to {peers}"),
            ScheduleKind::Compare => format!("a comparison with {peers}"),
            ScheduleKind::Live => format!("the change to {peers}"),
        };
        match self.cadence() {
            Some(cadence) => format!("{}, {what}", cadence.words()),
            None => format!("as soon as something changes, {what}"),
        }
    }
}

impl Cadence {
    /// The times in words: `every day at 22:30`, `Monday to Saturday at 13:00 and 22:30`, `every 15 minutes`.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.phrase {
            Phrase::Times { days, times } => {
                let times = listed(times.iter().map(|time: &Time| time.strftime("%H:%M").to_string()));
                format!("{} at {times}", days_in_words(days))
            }
            Phrase::EveryMinutes(1) => "every minute".to_owned(),
            Phrase::EveryMinutes(60) | Phrase::EveryHours(1) => "every hour".to_owned(),
            Phrase::EveryMinutes(step) => format!("every {step} minutes"),
            Phrase::EveryHours(step) => format!("every {step} hours"),
            Phrase::Cron(cron) => told_by_croner(&cron.describe()),
        }
    }
}

/// croner's sentence as a part of ours: `At every 15 minutes, of hour 9-17.` is `every 15 minutes, of hour 9-17`.
fn told_by_croner(sentence: &str) -> String {
    let told = sentence.trim_end_matches('.');
    let told = told.strip_prefix("At ").filter(|rest| rest.starts_with("every ")).unwrap_or(told);
    let mut letters = told.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn days_in_words(days: &BTreeSet<u8>) -> String {
    let name = |day: u8| DAYS[usize::from(day % 7)];
    if days.is_empty() {
        return "every day".to_owned();
    }
    // Three or more days in a row, over the end of the week too, are a span: it begins where the day before is not named.
    let first = days.iter().copied().find(|day| !days.contains(&((day + 6) % 7)));
    if let (Some(first), Ok(count @ 3..)) = (first, u8::try_from(days.len()))
        && (0..count).all(|step| days.contains(&((first + step) % 7)))
    {
        return format!("{} to {}", name(first), name(first + count - 1));
    }
    // The week begins on Monday.
    let mut in_order: Vec<u8> = days.iter().copied().collect();
    in_order.sort_by_key(|day| (day + 6) % 7);
    format!("every {}", listed(in_order.into_iter().map(|day| name(day).to_owned())))
}

/// `A`, `A and B`, `A, B and C`.
fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => items.concat(),
    }
}

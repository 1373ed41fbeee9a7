//! What an entry's times are, as a value: read from words, or recognised in a cron expression.
//!
//! ```text
//! words     [DAY | DAY to DAY | every day]… [at] HH:MM[, HH:MM]…
//!           every minute | every N minutes | every hour | every N hours
//! DAY       Monday, mon, …
//! ```
//! Commas, `every`, `at`, `on` and `and` may stand or be left out, so that the words in which an entry is told can be
//! written in the settings as well.

use std::collections::BTreeSet;
use std::str::FromStr;

use croner::Cron;
use jiff::civil::Time;

use super::CadenceError;

/// Minutes after which an hour comes out even.
const EVEN_MINUTES: [u16; 12] = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60];
/// Hours after which a day comes out even.
const EVEN_HOURS: [u16; 8] = [1, 2, 3, 4, 6, 8, 12, 24];

/// The days of the week as cron counts them.
pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The times of an entry, in the form in which they are told.
#[derive(Debug, Clone)]
pub(super) enum Phrase {
    /// Each of these times on each of these days, by their place in [`DAYS`]; on all, where none is named.
    Times { days: BTreeSet<u8>, times: BTreeSet<Time> },
    /// Every so many minutes, from the full hour.
    EveryMinutes(u16),
    /// Every so many hours, from midnight.
    EveryHours(u16),
    /// A cron expression that is none of these.
    Cron(Box<Cron>),
}

/// Whether a text can only be meant as a cron expression.
pub(super) fn looks_like_cron(text: &str) -> bool {
    let mut fields = text.split_whitespace();
    let first = fields.next().unwrap_or_default();
    let of_cron = |next: char| next.is_ascii_digit() || "*/,-".contains(next);
    !text.contains(':') && first.chars().all(of_cron) && (text.contains('*') || fields.count() >= 4)
}

impl Phrase {
    /// What a cron expression says, where it says something simple.
    pub(super) fn of_cron(cron: Cron) -> Self {
        Self::recognised(&cron).unwrap_or_else(|| Self::Cron(Box::new(cron)))
    }

    fn recognised(cron: &Cron) -> Option<Self> {
        let pattern = &cron.pattern;
        let fields: Vec<&str> = pattern.as_str().split_whitespace().collect();
        let [minutes, hours, ..] = fields[..] else { return None };
        let whole_year = pattern.is_dom_wildcard() && fields[3] == "*";
        if !whole_year || pattern.matches_dom_and_dow() || pattern.days_of_week.has_modifiers() {
            return None;
        }
        if let (Some(minutes), Some(hours)) = (numbers(minutes), numbers(hours)) {
            let each_hour =
                |hour: i8| minutes.iter().filter_map(move |minute| Time::new(hour, *minute, 0, 0).ok());
            let times = hours.iter().flat_map(|hour| each_hour(*hour)).collect();
            let days = pattern.days_of_week.values().into_iter().filter_map(|day| u8::try_from(day).ok());
            let days = if pattern.is_dow_wildcard() { BTreeSet::new() } else { days.collect() };
            return Some(Self::Times { days, times });
        }
        let step = |field: &str| field.strip_prefix("*/")?.parse::<u16>().ok();
        match (minutes, hours, pattern.is_dow_wildcard()) {
            (_, _, false) => None,
            ("*", "*", _) => Some(Self::EveryMinutes(1)),
            ("0", "*", _) => Some(Self::EveryHours(1)),
            ("0", hours, _) => step(hours).filter(|step| EVEN_HOURS.contains(step)).map(Self::EveryHours),
            (minutes, "*", _) => {
                step(minutes).filter(|step| EVEN_MINUTES.contains(step)).map(Self::EveryMinutes)
            }
            _ => None,
        }
    }

    /// The cron expressions that mean the same, each with one time of day where it has times of day.
    pub(super) fn patterns(&self) -> Vec<String> {
        match self {
            Self::Times { days, times } => {
                let days: Vec<String> = days.iter().map(u8::to_string).collect();
                let days = if days.is_empty() { "*".to_owned() } else { days.join(",") };
                times.iter().map(|time| format!("{} {} * * {days}", time.minute(), time.hour())).collect()
            }
            Self::EveryMinutes(60) | Self::EveryHours(1) => vec!["0 * * * *".to_owned()],
            Self::EveryMinutes(step) => vec![format!("*/{step} * * * *")],
            Self::EveryHours(24) => vec!["0 0 * * *".to_owned()],
            Self::EveryHours(step) => vec![format!("0 */{step} * * *")],
            Self::Cron(cron) => vec![cron.pattern.as_str().to_owned()],
        }
    }
}

/// The numbers of a list in a field of a cron expression; nothing where it is something else.
fn numbers(field: &str) -> Option<Vec<i8>> {
    field.split(',').map(|number| number.parse().ok()).collect()
}

impl FromStr for Phrase {
    type Err = CadenceError;

    fn from_str(text: &str) -> Result<Self, CadenceError> {
        let text = text.to_lowercase().replace(',', " ");
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [] => Err(CadenceError::Unreadable),
            ["every", "minute"] => Ok(Self::EveryMinutes(1)),
            ["every", "hour"] => Ok(Self::EveryHours(1)),
            ["every", count, "minute" | "minutes"] => {
                even(count, &EVEN_MINUTES).map(Self::EveryMinutes).ok_or(CadenceError::Minutes)
            }
            ["every", count, "hour" | "hours"] => {
                even(count, &EVEN_HOURS).map(Self::EveryHours).ok_or(CadenceError::Hours)
            }
            _ => days_and_times(&words),
        }
    }
}

fn even(count: &str, known: &[u16]) -> Option<u16> {
    count.parse().ok().filter(|count| known.contains(count))
}

fn days_and_times(words: &[&str]) -> Result<Phrase, CadenceError> {
    let (mut days, mut times) = (BTreeSet::new(), BTreeSet::new());
    let (mut last_day, mut to) = (None, false);
    for word in words {
        if matches!(*word, "every" | "day" | "at" | "on" | "and") {
            continue;
        }
        if matches!(*word, "to" | "-") && last_day.is_some() && !to {
            to = true;
            continue;
        }
        if let Some(time) = time_of_day(word) {
            times.insert(time);
            continue;
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = day(first).zip(day(last)).ok_or(CadenceError::Unreadable)?;
        let from = if to { last_day.unwrap_or(first) } else { first };
        days.extend(span_of_days(from, last));
        (last_day, to) = (Some(last), false);
    }
    if to {
        return Err(CadenceError::Unreadable);
    }
    if times.is_empty() {
        return Err(CadenceError::TimeMissing);
    }
    if days.len() == DAYS.len() {
        days.clear();
    }
    Ok(Phrase::Times { days, times })
}

/// `22:30`, `7:05`.
fn time_of_day(word: &str) -> Option<Time> {
    let (hour, minute) = word.split_once(':')?;
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let right = digits.contains(&text.len()) && text.bytes().all(|next| next.is_ascii_digit());
        if right { text.parse().ok() } else { None }
    };
    Time::new(number(hour, 1..=2)?, number(minute, 2..=2)?, 0, 0).ok()
}

/// `monday`, `mon`, `tues`, as a place in [`DAYS`].
fn day(word: &str) -> Option<u8> {
    const LETTERS_MIN: usize = 3;
    let of = |name: &str| word.len() >= LETTERS_MIN && name.to_lowercase().starts_with(word);
    DAYS.iter().position(|name| of(name)).and_then(|place| u8::try_from(place).ok())
}

/// The days from one to another, over the end of the week where need be.
fn span_of_days(first: u8, last: u8) -> impl Iterator<Item = u8> {
    let length = (last + 7 - first) % 7;
    (0..=length).map(move |step| (first + step) % 7)
}

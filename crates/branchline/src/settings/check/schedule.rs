//! The checks of the schedule: the shop's time zone, and each `[[schedule]]`.
//!
//! What is missing in an entry is shown at its `[[schedule]]`. Whether its peers are known is not a matter of the
//! settings: they may be paired later, and `schedule list` says which ones are not.

use branchline_core::id::ServerId;
use branchline_core::schedule::{Cadence, ScheduleEntry, ScheduleEntryError, ScheduleKind, ScheduleName};
use jiff::tz::TimeZone;

use super::Check;
use crate::settings::keys;
use crate::settings::raw::{Content, RawEntry};

/// What is written where a time is meant.
const TIMES_EXAMPLES: &str = "for example  at = \"22:30\"  or  at = \"Monday to Saturday at 22:30\"  or  at = \"every 15 minutes\"  or, as cron,  at = \"30 22 * * 1-6\"";

impl Check<'_> {
    pub(super) fn time_zone(&mut self) -> TimeZone {
        let Some((name, place)) = self.text("server.time_zone") else { return TimeZone::system() };
        match TimeZone::get(name) {
            Ok(zone) => zone,
            Err(_) => {
                let known: Vec<String> =
                    jiff::tz::db().available().map(|known| known.as_str().to_owned()).collect();
                let help = match keys::nearest(name, known.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean  {meant}"),
                    None => "for example  time_zone = \"Europe/Vienna\"".to_owned(),
                };
                self.fault("server.time_zone", format!("there is no time zone {name:?}"), &help, place);
                TimeZone::system()
            }
        }
    }

    /// The entries without fault.
    pub(super) fn schedule(&mut self) -> Vec<ScheduleEntry> {
        let Some(Content::Entries(entries)) = self.raw.get("schedule").map(|value| &value.content) else {
            return Vec::new();
        };
        let mut names = Vec::new();
        let mut checked = Vec::new();
        for entry in entries {
            let mut check = Check { raw: &entry.values, file: self.file, faults: &mut *self.faults };
            checked.extend(check.entry(entry, &mut names));
        }
        checked
    }

    fn entry(&mut self, entry: &RawEntry, names: &mut Vec<ScheduleName>) -> Option<ScheduleEntry> {
        self.must_be_set(entry, "schedule.name", "for example  name = \"end of day\"");
        let name = self.entry_name(names);
        self.must_be_set(entry, "schedule.kind", "for example  kind = \"daily_transactions\"");
        let kind = self.one_of("schedule.kind", &ScheduleKind::ALL.map(|kind| (kind.as_str(), kind)));
        let cadence: Option<Cadence> = self.parsed("schedule.at", TIMES_EXAMPLES);
        let peers: Vec<ServerId> = self.list("schedule.peers", str::parse);
        let (name, kind) = (name?, kind?);
        let times = self.raw.get("schedule.at");
        if cadence.is_none() && (times.is_some() || entry.misread.contains(&"schedule.at")) {
            return None;
        }
        match ScheduleEntry::new(name, kind, cadence, peers) {
            Ok(entry) => Some(entry),
            Err(error) => {
                let (place, help) = match (error, times) {
                    (ScheduleEntryError::TimesForLive, Some(at)) => (&at.place, "take the line out"),
                    _ => (&entry.place, TIMES_EXAMPLES),
                };
                self.fault("schedule.at", error.to_string(), help, place);
                None
            }
        }
    }

    /// What is missing in an entry is shown at its beginning.
    pub(super) fn must_be_set(&mut self, entry: &RawEntry, key: &'static str, help: &str) {
        if !entry.values.contains_key(key) && !entry.misread.contains(&key) {
            self.fault(key, "it must be set", help, &entry.place);
        }
    }

    fn entry_name(&mut self, names: &mut Vec<ScheduleName>) -> Option<ScheduleName> {
        let name: ScheduleName = self.parsed("schedule.name", "for example  name = \"end of day\"")?;
        if names.contains(&name) {
            let (_, place) = self.text("schedule.name")?;
            self.fault("schedule.name", "another entry has this name", "give each entry its own", place);
            return None;
        }
        names.push(name.clone());
        Some(name)
    }
}

//! `schedule list`: what is done by itself, and when, in the time of the shop.

use jiff::Timestamp;
use jiff::civil::DateTime;

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::text;
use crate::api::v1::{Answer, Command, RunTime, ScheduleAnswer, ScheduleEntryAnswer, ScheduleRunAnswer};
use crate::node::clock::now;

/// What is said where nothing is scheduled.
const NOTHING: &str =
    "Nothing is scheduled. To let serve do something by itself, add to the settings, for example:

  [[schedule]]
  name = \"end of day\"
  kind = \"incremental\"
  at = \"22:30\"
";

/// What can be done with the schedule.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Each entry in words, how its last run ended, and its next five runs
    List,
}

impl Verb {
    pub(crate) fn schema(&self) -> &'static str {
        match self {
            Self::List => "branchline.schedule.list/1",
        }
    }
}

pub(crate) async fn run(verb: &Verb, session: &Session) -> Result<Done, Failure> {
    let Verb::List = verb;
    let Reply { answer, data, .. } = session.read(Command::ScheduleList).await?;
    let Answer::Schedule(schedule) = answer else { return Err(Failure::unexpected_answer()) };
    if schedule.entries.is_empty() {
        let file = session.config_file()?;
        return Ok(
            Done::new(data, NOTHING).next(format!("edit {}, then  branchline config check", file.display()))
        );
    }
    let done = Done::new(data, described(&schedule, now()));
    let problem = schedule.entries.iter().find_map(|entry| entry.problem.as_ref());
    Ok(match (schedule.serving, problem) {
        (false, _) => done.next("branchline serve   # nothing is done by itself while it does not run"),
        (true, Some(problem)) => done.next(problem.help.clone()),
        (true, None) => done.next("branchline sync   # now, whatever the schedule says"),
    })
}

fn described(schedule: &ScheduleAnswer, now: Timestamp) -> String {
    let mut said: String = schedule.entries.iter().map(|entry| described_entry(entry, now) + "\n").collect();
    let zone = schedule.time_zone.as_deref().unwrap_or("this machine");
    said.push_str(&format!("Times are those of {zone}.\n"));
    said
}

fn described_entry(entry: &ScheduleEntryAnswer, now: Timestamp) -> String {
    let mut lines = Vec::new();
    if entry.kind != "live" {
        let never = || "never yet".to_owned();
        lines.push(("last run", entry.last_run.as_ref().map_or_else(never, |run| described_run(run, now))));
    }
    if !entry.owed.is_empty() {
        lines.push(("not yet", format!("{}: made up for by itself", entry.owed.join(", "))));
    }
    if let Some(due) = &entry.due {
        lines.push(("due", format!("{}, {}: run by itself", local(due), text::ago(&due.at, now))));
    }
    for (place, run) in entry.next_runs.iter().enumerate() {
        lines.push((if place == 0 { "next" } else { "" }, local(run)));
    }
    if let Some(problem) = &entry.problem {
        lines.push(("problem", format!("{}: {}", problem.code, problem.message)));
        lines.push(("fix", problem.help.clone()));
    }
    format!("{}: {}\n{}\n", entry.name, entry.words, text::indent(&text::pairs(lines), 2))
}

fn described_run(run: &ScheduleRunAnswer, now: Timestamp) -> String {
    let remark = run.remark.as_ref().map_or_else(String::new, |remark| format!(": {remark}"));
    format!("{}, {}, {}{remark}", local(&run.started), text::ago(&run.started.at, now), run.outcome)
}

/// `Fri 2026-11-27 22:30`.
fn local(time: &RunTime) -> String {
    let parsed: Result<DateTime, _> = time.local.parse();
    parsed.map_or_else(|_| time.local.clone(), |parsed| parsed.strftime("%a %Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(at: &str, local: &str) -> RunTime {
        RunTime { at: at.to_owned(), local: local.to_owned() }
    }

    #[test]
    fn an_entry_is_told_with_the_times_of_the_shop() {
        let entry = ScheduleEntryAnswer {
            name: "end of day".to_owned(),
            kind: "incremental".to_owned(),
            at: Some("22:30".to_owned()),
            peers: Vec::new(),
            words: "every day at 22:30, an incremental backup to all peers".to_owned(),
            next_runs: vec![
                time("2026-11-27T21:30:00Z", "2026-11-27T22:30:00+01:00"),
                time("2026-11-28T21:30:00Z", "2026-11-28T22:30:00+01:00"),
            ],
            due: None,
            last_run: Some(ScheduleRunAnswer {
                due: time("2026-11-26T21:30:00Z", "2026-11-26T22:30:00+01:00"),
                started: time("2026-11-26T21:30:01Z", "2026-11-26T22:30:01+01:00"),
                millis: 900,
                outcome: "waiting".to_owned(),
                code: None,
                remark: Some("CENTRAL-HQ: it does not answer".to_owned()),
            }),
            owed: vec!["CENTRAL-HQ".to_owned()],
            problem: None,
        };
        let now = "2026-11-27T11:30:01Z".parse().unwrap();
        let schedule = ScheduleAnswer {
            time_zone: Some("Europe/Vienna".to_owned()),
            serving: true,
            entries: vec![entry],
        };
        assert_eq!(
            described(&schedule, now),
            "end of day: every day at 22:30, an incremental backup to all peers\n  \
             last run  Thu 2026-11-26 22:30, 14 h ago, waiting: CENTRAL-HQ: it does not answer\n  \
             not yet   CENTRAL-HQ: made up for by itself\n  \
             next      Fri 2026-11-27 22:30\n  \
             \x20         Sat 2026-11-28 22:30\n\n\
             Times are those of Europe/Vienna.\n"
        );
    }
}

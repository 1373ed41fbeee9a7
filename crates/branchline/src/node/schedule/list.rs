//! Tells the schedule: each entry in words, with its next runs, how its last one ended, and what keeps it from its work.

use branchline_core::code::Code;
use branchline_core::schedule::{RunOutcome, ScheduleEntry, ScheduleKind, ScheduleRecord, ScheduleRun};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::Node;
use super::super::clock::now;
use super::super::retry::can_be_called;
use crate::api::v1::{
    Problem, RunTime, ScheduleAnswer, ScheduleEntryAnswer, ScheduleRunAnswer, WarningAnswer,
};

/// Runs that are told ahead.
const RUNS_TOLD: usize = 5;

impl Node {
    pub(in crate::node) async fn list_schedule(&self) -> Result<ScheduleAnswer, Problem> {
        let records = self.memory.schedule().await?;
        let (at, zone) = (now(), &self.settings.time_zone);
        let mut entries = Vec::new();
        for entry in &self.settings.schedule {
            let record = records.iter().find(|record| record.name == *entry.name());
            let problem = self.problem_of(entry).await?;
            entries.push(described(entry, record, problem, at, zone));
        }
        let time_zone = zone.iana_name().map(str::to_owned);
        Ok(ScheduleAnswer { time_zone, serving: self.listening().is_some(), entries })
    }

    /// What a person should know of the schedule.
    pub(in crate::node) async fn schedule_warnings(&self) -> Result<Vec<WarningAnswer>, Problem> {
        let records = self.memory.schedule().await?;
        let mut warnings = Vec::new();
        for entry in &self.settings.schedule {
            let name = entry.name().as_str();
            if let Some(problem) = self.problem_of(entry).await? {
                let message = format!("scheduled {name:?} cannot do its work: {}", problem.message);
                warnings.push(WarningAnswer { code: problem.code, message, fix: problem.help });
            }
            let record = records.iter().find(|record| record.name == *entry.name());
            let Some(last) = record.and_then(|record| record.last.as_ref()) else { continue };
            if !matches!(last.outcome, RunOutcome::Failed | RunOutcome::Differs) {
                continue;
            }
            let (code, remark) = last.remark.clone().unwrap_or_default();
            let code = code.unwrap_or(Code::INTERNAL);
            let message = format!("scheduled {name:?} {}: {remark}", last.outcome.as_str());
            warnings.push(WarningAnswer {
                code: code.to_string(),
                message,
                fix: code.entry().hint.to_owned(),
            });
        }
        Ok(warnings)
    }

    /// What keeps an entry from doing all that it says.
    async fn problem_of(&self, entry: &ScheduleEntry) -> Result<Option<Problem>, Problem> {
        let peers = self.memory.peers().await?;
        for id in entry.peers() {
            match peers.iter().find(|peer| peer.id == *id) {
                None => {
                    let message = format!("no peer is called {id}");
                    return Ok(Some(Problem::new(Code::PEER_UNKNOWN, message)));
                }
                Some(peer) if !can_be_called(peer) => {
                    let message = format!("{id} is paused, or has no address at which it can be called");
                    let help = format!("branchline peers show {id}");
                    return Ok(Some(Problem::new(Code::PEER_PAUSED, message).with_help(help)));
                }
                Some(_) => {}
            }
        }
        Ok(if entry.kind() == ScheduleKind::Live { self.live.problem() } else { None })
    }
}

fn described(
    entry: &ScheduleEntry,
    record: Option<&ScheduleRecord>,
    problem: Option<Problem>,
    at: Timestamp,
    zone: &TimeZone,
) -> ScheduleEntryAnswer {
    let record = record.filter(|record| record.definition == entry.definition());
    let due = entry.cadence().zip(record);
    let due = due.and_then(|(cadence, record)| cadence.due(record.served_until, at, zone));
    ScheduleEntryAnswer {
        name: entry.name().to_string(),
        kind: entry.kind().as_str().to_owned(),
        at: entry.cadence().map(|cadence| cadence.as_str().to_owned()),
        peers: entry.peers().iter().map(ToString::to_string).collect(),
        words: entry.words(),
        next_runs: entry
            .next_runs(at, zone, RUNS_TOLD)
            .iter()
            .map(|run| run_time(run.timestamp(), zone))
            .collect(),
        due: due.map(|due| run_time(due, zone)),
        last_run: record.and_then(|record| record.last.as_ref()).map(|last| described_run(last, zone)),
        owed: record.map_or_else(Vec::new, |record| record.owed.iter().map(ToString::to_string).collect()),
        problem,
    }
}

fn described_run(run: &ScheduleRun, zone: &TimeZone) -> ScheduleRunAnswer {
    let took = run.ended_at.duration_since(run.started_at);
    let (code, remark) = run.remark.clone().map_or((None, None), |(code, text)| (code, Some(text)));
    ScheduleRunAnswer {
        due: run_time(run.due_at, zone),
        started: run_time(run.started_at, zone),
        millis: u64::try_from(took.as_millis()).unwrap_or_default(),
        outcome: run.outcome.as_str().to_owned(),
        code: code.map(|code| code.to_string()),
        remark,
    }
}

fn run_time(at: Timestamp, zone: &TimeZone) -> RunTime {
    let local = at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    RunTime { at: at.to_string(), local }
}

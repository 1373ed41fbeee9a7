//! Keeps the schedule: one task for each entry with times, and one for all entries of kind live.
//!
//! ```text
//! remembered > due? > run > remember        due: core's schedule.rs        run: `run`
//!      ^---------- wait --------|           live: `live`                   told: `list`
//! ```
//! What a run came to is remembered in the state before the next one begins, so that a missed one is caught up after a
//! restart, and none is run twice. A run that could not serve a peer yet **owes** it: because an older backup is still in
//! the way, then the run is made up for once that is delivered; or because the database or the peer is away, then it is
//! tried again after waits that grow (core's `retry.rs`). The next time of the entry serves whatever is owed.

mod list;
mod live;
mod run;

use branchline_core::id::ServerId;
use branchline_core::ports::{OutboxState, StateWrite};
use branchline_core::retry::wait_after;
use branchline_core::schedule::{Cadence, RunOutcome, ScheduleEntry, ScheduleRecord, ScheduleRun};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::clock::{Clock, entropy};
use super::retry::{SLEEP_MAX, sleep_until};
use crate::api::v1::Problem;
pub(super) use live::LiveState;
use run::Report;

impl Node {
    /// Starts to keep the schedule, until `shutdown`.
    pub(super) fn start_schedule(&self, clock: Clock, shutdown: &CancellationToken) {
        let Some(node) = self.itself() else { return };
        let shutdown = shutdown.clone();
        self.start(async move {
            // Everything in it may be dropped anywhere: a run that is cut is due again at the next start, what it queued by
            // then waits in the outbox, and what it packed and did not queue is packed again.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = node.keep_schedule(clock) => {}
            }
        });
    }

    async fn keep_schedule(&self, clock: Clock) {
        let records = self.remembered_schedule(clock.now()).await;
        let timed = records.into_iter().filter_map(|(entry, record)| {
            let cadence = entry.cadence()?;
            let timed = Timed { node: self, entry, cadence, clock, record, failures: 0, again_at: None };
            Some(timed.keep())
        });
        let timed = futures_util::future::join_all(timed);
        tokio::join!(timed, self.keep_live());
    }

    /// What is remembered of each entry, brought in step with the settings.
    async fn remembered_schedule(&self, now: Timestamp) -> Vec<(&ScheduleEntry, ScheduleRecord)> {
        let known = self.memory.schedule().await.unwrap_or_else(|problem| {
            tracing::error!(%problem, "what is remembered of the schedule cannot be read; nothing is caught up");
            Vec::new()
        });
        let entries = &self.settings.schedule;
        let gone = known.iter().filter(|record| !entries.iter().any(|entry| *entry.name() == record.name));
        let mut writes: Vec<StateWrite> =
            gone.map(|record| StateWrite::RemoveSchedule(record.name.clone())).collect();
        let mut records = Vec::new();
        for entry in entries.iter().filter(|entry| entry.cadence().is_some()) {
            let record = known.iter().find(|record| record.name == *entry.name());
            let renewed = ScheduleRecord::renewed(record, entry, now);
            writes.extend(renewed.clone().map(StateWrite::PutSchedule));
            records.extend(renewed.or_else(|| record.cloned()).map(|record| (entry, record)));
        }
        if !writes.is_empty()
            && let Err(problem) = self.memory.commit(writes).await
        {
            tracing::error!(%problem, "the schedule cannot be remembered; what is missed from now on is not caught up");
        }
        records
    }
}

/// An entry with times, as its task keeps it.
struct Timed<'a> {
    node: &'a Node,
    entry: &'a ScheduleEntry,
    cadence: &'a Cadence,
    clock: Clock,
    record: ScheduleRecord,
    /// Runs in a row that are to be tried again.
    failures: u32,
    /// What is owed is not tried before.
    again_at: Option<Timestamp>,
}

impl Timed<'_> {
    async fn keep(mut self) {
        let mut let_go = self.node.retries.watch();
        loop {
            let_go.mark_unchanged();
            let wait = match self.run_what_is_due().await {
                Ok(next) => sleep_until(next, self.clock.now()),
                Err(problem) => {
                    tracing::error!(entry = %self.entry.name(), %problem, "the schedule cannot be kept at this moment");
                    SLEEP_MAX
                }
            };
            let owes = !self.record.owed.is_empty();
            // Either only ends this wait. The signal's sender lives as long as the node.
            tokio::select! {
                _ = let_go.changed(), if owes => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Runs what is due, if anything; answers when to look again.
    async fn run_what_is_due(&mut self) -> Result<Timestamp, Problem> {
        let now = self.clock.now();
        let zone = &self.node.settings.time_zone;
        if let Some(renewed) = ScheduleRecord::renewed(Some(&self.record), self.entry, now) {
            self.remember(renewed).await?;
        }
        if let Some(due_at) = self.cadence.due(self.record.served_until, now, zone) {
            self.run(due_at, now, None).await?;
            return Ok(self.clock.now());
        }
        let next = self.cadence.next_after(now.max(self.record.served_until), zone).unwrap_or(Timestamp::MAX);
        if self.record.owed.is_empty() {
            return Ok(next);
        }
        if let Some(again_at) = self.again_at.filter(|again_at| *again_at > now) {
            return Ok(next.min(again_at));
        }
        let due_at = self.record.last.as_ref().map_or(now, |last| last.due_at);
        let ready = self.ready().await?;
        if ready.is_empty() {
            return Ok(next);
        }
        self.run(due_at, now, Some(ready)).await?;
        Ok(self.clock.now())
    }

    /// Those of the peers that are owed something for whom it can be done now: nothing older is in the way.
    async fn ready(&self) -> Result<Vec<ServerId>, Problem> {
        let mut ready = self.record.owed.clone();
        if self.entry.kind().backup_type().is_some() {
            let outbox = self.node.memory.outbox().await?;
            let waits = |peer: &ServerId| {
                outbox.iter().any(|entry| entry.peer == *peer && entry.state == OutboxState::Waiting)
            };
            ready.retain(|peer| !waits(peer));
        }
        Ok(ready)
    }

    /// Runs the entry, for all its peers or for some of those that are owed, and remembers what came of it.
    async fn run(
        &mut self,
        due_at: Timestamp,
        started_at: Timestamp,
        only: Option<Vec<ServerId>>,
    ) -> Result<(), Problem> {
        let report = self.node.run_entry(self.entry, due_at, only.as_deref()).await?;
        let mut owed = report.owed.clone();
        if let Some(only) = &only {
            owed.extend(self.record.owed.iter().filter(|peer| !only.contains(peer)).cloned());
        }
        // What is owed although nothing was in the way any more is not tried again at once either.
        let again = report.again || (only.is_some() && !report.owed.is_empty());
        self.failures = if again { self.failures.saturating_add(1) } else { 0 };
        let wait = wait_after(self.failures, u64::from_le_bytes(entropy()?));
        self.again_at = again.then(|| started_at.saturating_add(wait).unwrap_or(Timestamp::MAX));
        log(self.entry, due_at, &report);
        let ended_at = self.clock.now();
        let Report { outcome, remark, .. } = report;
        let last = ScheduleRun { due_at, started_at, ended_at, outcome, remark };
        let served_until = self.record.served_until.max(started_at);
        let record = ScheduleRecord { last: Some(last), owed, served_until, ..self.record.clone() };
        self.remember(record).await
    }

    async fn remember(&mut self, record: ScheduleRecord) -> Result<(), Problem> {
        self.record = record;
        self.node.memory.commit(vec![StateWrite::PutSchedule(self.record.clone())]).await
    }
}

fn log(entry: &ScheduleEntry, due_at: Timestamp, report: &Report) {
    let (name, outcome) = (entry.name(), report.outcome.as_str());
    let remark = report.remark.as_ref().map_or("", |(_, text)| text);
    match report.outcome {
        RunOutcome::Done | RunOutcome::Nobody | RunOutcome::Waiting => {
            tracing::info!(entry = %name, %due_at, outcome, remark, "a scheduled run has ended");
        }
        RunOutcome::Failed if report.again => {
            tracing::warn!(entry = %name, %due_at, outcome, remark, "a scheduled run is tried again");
        }
        RunOutcome::Differs | RunOutcome::Failed => {
            tracing::error!(entry = %name, %due_at, outcome, remark, "a scheduled run needs a person");
        }
    }
}

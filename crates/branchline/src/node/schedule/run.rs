//! One run of an entry: what is done with its peers, and what that comes to.
//!
//! What goes wrong with one peer is its own affair; the run comes to the worst of what it came to with each.

use branchline_core::backup::BackupType;
use branchline_core::code::Code;
use branchline_core::day::closing_date;
use branchline_core::id::ServerId;
use branchline_core::peer::Peer;
use branchline_core::ports::DatabaseError;
use branchline_core::schedule::{RunOutcome, ScheduleEntry, ScheduleKind};
use jiff::Timestamp;
use jiff::civil::Date;

use super::super::Node;
use super::super::progress::silent;
use super::super::retry::can_be_called;
use crate::api::v1::{CompareAnswer, Problem, SyncCommand, SyncOutcome};

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) outcome: RunOutcome,
    /// What there is to say about it, with a code where it went wrong.
    pub(super) remark: Option<(Option<Code>, String)>,
    /// Peers that could not be served yet.
    pub(super) owed: Vec<ServerId>,
    /// Whether what is owed is to be tried again after a while; else it waits for what is in the way.
    pub(super) again: bool,
}

impl Report {
    fn done() -> Self {
        Self { outcome: RunOutcome::Done, remark: None, owed: Vec::new(), again: false }
    }

    fn nobody() -> Self {
        let remark = Some((None, "no peer that it is for is active and can be called".to_owned()));
        Self { outcome: RunOutcome::Nobody, remark, ..Self::done() }
    }

    fn failed(problem: &Problem, peers: Vec<ServerId>) -> Self {
        let again = problem.retryable;
        Self {
            outcome: RunOutcome::Failed,
            remark: Some((Some(problem.known_code()), problem.message.clone())),
            owed: if again { peers } else { Vec::new() },
            again,
        }
    }

    /// The same, with what it came to with one more peer. The remark is that of the worst, of equals the first.
    fn and(mut self, peer: &ServerId, other: Self) -> Self {
        if self.remark.is_none() || other.outcome > self.outcome {
            let named = other.remark.map(|(code, text)| (code, format!("{peer}: {text}")));
            self.remark = named.or(self.remark);
        }
        self.outcome = self.outcome.max(other.outcome);
        self.owed.extend(other.owed);
        self.again |= other.again;
        self
    }
}

impl Node {
    /// Runs an entry for that time with all its peers, or with `only` some of them.
    pub(super) async fn run_entry(
        &self,
        entry: &ScheduleEntry,
        due_at: Timestamp,
        only: Option<&[ServerId]>,
    ) -> Result<Report, Problem> {
        let wanted = |peer: &Peer| is_for(entry, peer) && only.is_none_or(|only| only.contains(&peer.id));
        let peers: Vec<ServerId> =
            self.memory.peers().await?.into_iter().filter(wanted).map(|peer| peer.id).collect();
        if peers.is_empty() {
            return Ok(Report::nobody());
        }
        Ok(match entry.kind() {
            ScheduleKind::Compare => self.compare_with_all(&peers).await,
            kind => {
                // By the time that it was due: what is caught up days later closes the day that it was for.
                let day = closing_date(&due_at.to_zoned(self.settings.time_zone.clone()));
                self.send_to_all(sync_command(kind, Some(day)), peers).await
            }
        })
    }

    async fn send_to_all(&self, command: SyncCommand, peers: Vec<ServerId>) -> Report {
        let outcomes = match self.sync_scheduled(&command, &peers).await {
            Ok(outcomes) => outcomes,
            Err(problem) => return Report::failed(&problem, peers),
        };
        // What was delivered was older than the run: its own backup goes now.
        let again: Vec<ServerId> =
            outcomes.iter().filter(|outcome| was_older(outcome)).filter_map(peer_of).collect();
        let report = report_of(outcomes.iter().filter(|outcome| !was_older(outcome)));
        let Some(first) = again.first().cloned() else { return report };
        match self.sync_scheduled(&command, &again).await {
            Ok(outcomes) => outcomes.iter().fold(report, with_outcome),
            Err(problem) => report.and(&first, Report::failed(&problem, again)),
        }
    }

    /// Sends to peers each change as it comes; tombstones are looked through now and then, not each time.
    pub(super) async fn sync_live(&self, peers: &[ServerId]) -> Result<Vec<SyncOutcome>, Problem> {
        self.must_be_attached().await?;
        let peers = peers.iter().map(ToString::to_string).collect();
        let command = SyncCommand { peers, ..sync_command(ScheduleKind::Live, None) };
        let answer = self.exchange(command, &silent()).await?;
        self.purge_now_and_then().await;
        Ok(answer.peers)
    }

    /// Sends to peers what that call sends.
    async fn sync_scheduled(
        &self,
        command: &SyncCommand,
        peers: &[ServerId],
    ) -> Result<Vec<SyncOutcome>, Problem> {
        if command.backup_type.as_deref() != Some(BackupType::Full.as_str()) {
            self.must_be_attached().await?;
        }
        let peers = peers.iter().map(ToString::to_string).collect();
        Ok(self.sync(SyncCommand { peers, ..command.clone() }, &silent()).await?.peers)
    }

    /// Without capture a sync sends every row, which nobody means who schedules changes.
    async fn must_be_attached(&self) -> Result<(), Problem> {
        let remembered = self.memory.remembered().await?;
        let attached = remembered.is_some_and(|remembered| remembered.database.is_some())
            || self.database().await?.capture().look().await?.is_some();
        if attached { Ok(()) } else { Err(DatabaseError::NotAttached.into()) }
    }

    async fn compare_with_all(&self, peers: &[ServerId]) -> Report {
        let mut report = Report::done();
        for peer in peers {
            let compared = match self.compare(peer.as_str(), &[], false, &silent()).await {
                Ok(answer) => report_of_comparison(&answer),
                Err(problem) => Report::failed(&problem, vec![peer.clone()]),
            };
            report = report.and(peer, compared);
        }
        report
    }
}

/// Whether an entry is for a peer, and that can be called at present.
pub(super) fn is_for(entry: &ScheduleEntry, peer: &Peer) -> bool {
    can_be_called(peer) && (entry.peers().is_empty() || entry.peers().contains(&peer.id))
}

/// The call by which an entry of that kind sends, and closes that day where it closes one. A peer that has nothing yet gets a
/// full backup in place of an increment, and so does one that may lack a deletion: so that is left to the sync.
fn sync_command(kind: ScheduleKind, day: Option<Date>) -> SyncCommand {
    let asked = kind.backup_type().filter(|backup_type| *backup_type != BackupType::Incremental);
    let day = day.filter(|_| asked == Some(BackupType::DailyTransactions));
    SyncCommand {
        backup_type: asked.map(|backup_type| backup_type.as_str().to_owned()),
        day: day.map(|day| day.to_string()),
        ..SyncCommand::default()
    }
}

/// Whether what was delivered had waited since before.
pub(super) fn was_older(outcome: &SyncOutcome) -> bool {
    outcome.state == "delivered" && outcome.resumed
}

pub(super) fn peer_of(outcome: &SyncOutcome) -> Option<ServerId> {
    outcome.peer.parse().ok()
}

fn report_of<'a>(outcomes: impl Iterator<Item = &'a SyncOutcome>) -> Report {
    outcomes.fold(Report::done(), with_outcome)
}

fn with_outcome(report: Report, outcome: &SyncOutcome) -> Report {
    let Some(peer) = peer_of(outcome) else { return report };
    let remark =
        outcome.problem.as_ref().map(|problem| (Some(problem.known_code()), problem.message.clone()));
    let of_peer = match outcome.state.as_str() {
        // What was made for this run waits in the outbox, and is sent from there; an older one, or a sync by somebody else
        // at this moment, is in the way of it.
        "waiting" => {
            let made_now = outcome.backup.is_some() && !outcome.resumed;
            let owed = if made_now { Vec::new() } else { vec![peer.clone()] };
            Report { outcome: RunOutcome::Waiting, remark, owed, again: false }
        }
        "refused" => Report { outcome: RunOutcome::Failed, remark, ..Report::done() },
        _ => Report { remark, ..Report::done() },
    };
    report.and(&peer, of_peer)
}

fn report_of_comparison(answer: &CompareAnswer) -> Report {
    if answer.equal {
        return Report::done();
    }
    let text = if answer.tables.is_empty() {
        "the two share no table, so nothing is proven".to_owned()
    } else {
        let (here, there) = (answer.missing_here, answer.missing_there);
        format!("{here} rows are missing here, {there} there, and {} differ", answer.different)
    };
    Report { outcome: RunOutcome::Differs, remark: Some((Some(Code::ROWS_DIFFER), text)), ..Report::done() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(peer: &str, state: &str, backup: bool, resumed: bool, code: Option<Code>) -> SyncOutcome {
        SyncOutcome {
            peer: peer.to_owned(),
            state: state.to_owned(),
            backup: backup.then(|| "a backup".to_owned()),
            backup_type: None,
            resumed,
            created_at: None,
            rows: 0,
            document_bytes: 0,
            sent_bytes: 0,
            data_bytes: 0,
            path: None,
            receipt: None,
            stages: Vec::new(),
            planned: Vec::new(),
            before: Vec::new(),
            problem: code.map(|code| Problem::new(code, "why")),
        }
    }

    fn owed(report: &Report) -> Vec<&str> {
        report.owed.iter().map(ServerId::as_str).collect()
    }

    #[test]
    fn what_was_made_for_the_run_is_the_outboxs_and_what_was_in_the_way_is_owed() {
        let outcomes = [
            outcome("A", "delivered", true, false, None),
            outcome("B", "waiting", true, false, Some(Code::UNREACHABLE)),
            outcome("C", "waiting", true, true, Some(Code::UNREACHABLE)),
            outcome("D", "waiting", false, false, Some(Code::HOME_LOCKED)),
        ];
        let report = report_of(outcomes.iter());
        assert_eq!((report.outcome, report.again), (RunOutcome::Waiting, false));
        assert_eq!(owed(&report), ["C", "D"]);
        assert_eq!(report.remark, Some((Some(Code::UNREACHABLE), "B: why".to_owned())));
        assert_eq!(report_of(outcomes[..1].iter()), Report::done());
    }

    #[test]
    fn a_run_comes_to_the_worst_that_it_came_to_with_each() {
        let outcomes = [
            outcome("B", "waiting", true, false, Some(Code::UNREACHABLE)),
            outcome("C", "refused", true, false, Some(Code::TABLE_UNKNOWN)),
            outcome("D", "delivered", true, false, None),
        ];
        let report = report_of(outcomes.iter());
        assert_eq!(report.outcome, RunOutcome::Failed);
        assert_eq!(report.remark, Some((Some(Code::TABLE_UNKNOWN), "C: why".to_owned())));
        assert!(report.owed.is_empty());
    }

    #[test]
    fn an_entry_asks_for_its_kind_and_a_daily_one_names_its_day() {
        let asked = |kind| {
            let command = sync_command(kind, Some("2026-11-27".parse().unwrap()));
            (command.backup_type, command.day)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(asked(ScheduleKind::Full), (text("full"), None));
        assert_eq!(asked(ScheduleKind::Incremental), (None, None));
        assert_eq!(asked(ScheduleKind::Live), (None, None));
        assert_eq!(asked(ScheduleKind::DailyTransactions), (text("daily_transactions"), text("2026-11-27")));
    }

    #[test]
    fn only_what_may_go_better_later_is_tried_again() {
        let peers: Vec<ServerId> = vec!["A".parse().unwrap()];
        let away = Report::failed(&Problem::new(Code::DATABASE_UNREACHABLE, "why"), peers.clone());
        assert!(away.again && away.owed == peers);
        let never = Report::failed(&Problem::new(Code::PRIVILEGE_MISSING, "why"), peers);
        assert!(!never.again && never.owed.is_empty());
    }
}

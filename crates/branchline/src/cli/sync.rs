//! `sync`: sends a backup to peers, and says what became of it at each.
//!
//! Exit codes: 0 each peer has it · 3 some have it and some do not · 5 none has it, and what waits goes with the next sync ·
//! else the code of the first refusal.

use branchline_core::code::Code;

use super::done::{Done, Failure};
use super::problem_text::problem_text;
use super::run::{Reply, Session};
use super::{confirm, text};
use crate::api::v1::{Answer, Command, PlannedTable, Problem, SyncAnswer, SyncCommand, SyncOutcome};

/// What `sync` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The peers, by id [default: all active ones]
    #[arg(value_name = "PEER")]
    peers: Vec<String>,
    /// All active peers
    #[arg(long, conflicts_with = "peers")]
    all: bool,
    /// full, incremental or daily_transactions [default: incremental where it can be]
    #[arg(long = "type", value_name = "TYPE", value_parser = ["full", "incremental", "daily_transactions"])]
    backup_type: Option<String>,
    /// The business day that daily_transactions closes [default: today]
    #[arg(long, value_name = "DATE", requires = "backup_type")]
    day: Option<String>,
    /// Say what would be sent and what the peers would make of it, but send nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask the peers to remove rows that this database does not have
    #[arg(long)]
    mirror: bool,
    /// Make a new backup also where one waits already, in its place
    #[arg(long)]
    fresh: bool,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    let Arguments { peers, backup_type, day, dry_run, mirror, fresh, .. } = arguments;
    let command = SyncCommand { peers, backup_type, day, dry_run, mirror, fresh };
    if mirror && !dry_run {
        confirm_mirror(&command, session).await?;
    }
    let Reply { answer, data, .. } = session.change(Command::Sync(command)).await?;
    let Answer::Sync(answer) = answer else { return Err(Failure::unexpected_answer()) };
    session.output.end_progress();
    let mut done = Done::new(data, described(&answer, session.output.is_json()));
    done.exit_code = exit_code(&answer);
    done.problem = answer.peers.iter().find_map(|peer| peer.problem.clone());
    done.next = next(&answer, dry_run);
    Ok(done)
}

/// Says how many rows would go before any does, then asks for each peer's id.
async fn confirm_mirror(command: &SyncCommand, session: &Session) -> Result<(), Failure> {
    confirm::can_ask(session, "sync --mirror removes rows at the peers, so it")?;
    let rehearsal = SyncCommand { dry_run: true, ..command.clone() };
    let Reply { answer, .. } = session.change(Command::Sync(rehearsal)).await?;
    let Answer::Sync(planned) = answer else { return Err(Failure::unexpected_answer()) };
    session.output.end_progress();
    for peer in &planned.peers {
        session.output.note(&described_peer(peer));
        if let Some(problem) = &peer.problem {
            return Err(problem
                .clone()
                .with_data("Nothing was sent: how many rows would be removed is not known.")
                .into());
        }
        let uncounted = |table: &&PlannedTable| table.removed.is_none() && table.obstacle.is_none();
        if let Some(table) = peer.planned.iter().find(uncounted) {
            let message =
                format!("how many rows of {} would be removed at {} is not known", table.table, peer.peer);
            return Err(Problem::new(Code::MIRROR_CASCADE, message).with_data("Nothing was sent.").into());
        }
        let removed: u64 = peer.planned.iter().filter_map(|table| table.removed).sum();
        let rows = text::count(removed, "row that is", "rows that are");
        let what = format!("{} will remove {rows} not in this database.", peer.peer);
        session.output.note(&format!("{what}\n"));
        confirm::ask(session, &what, &peer.peer).await?;
    }
    Ok(())
}

fn failed(peer: &SyncOutcome) -> bool {
    !matches!(peer.state.as_str(), "delivered" | "in_step" | "planned") || peer.problem.is_some()
}

fn exit_code(answer: &SyncAnswer) -> u8 {
    const SOME_FAILED: u8 = 3;
    const ALL_WAIT: u8 = 5;
    let failures: Vec<&SyncOutcome> = answer.peers.iter().filter(|peer| failed(peer)).collect();
    if failures.is_empty() {
        return 0;
    }
    // What is held somewhere is not lost and was not refused: the rest of it is in.
    let in_part = |peer: &&&SyncOutcome| peer.state == "delivered";
    if failures.len() < answer.peers.len() || failures.iter().any(|peer| in_part(&peer)) {
        return SOME_FAILED;
    }
    let refusal = failures.iter().find(|peer| peer.state != "waiting").and_then(|peer| peer.problem.as_ref());
    refusal.map_or(ALL_WAIT, |problem| problem.exit_code())
}

fn described(answer: &SyncAnswer, json: bool) -> String {
    if json {
        return String::new();
    }
    if answer.peers.is_empty() {
        return "No active peer, so nothing was sent.".to_owned();
    }
    answer.peers.iter().map(described_peer).collect::<Vec<_>>().join("\n")
}

fn described_peer(peer: &SyncOutcome) -> String {
    let before: String = peer.before.iter().map(described_peer).collect();
    let mut said = before;
    said.push_str(&match peer.state.as_str() {
        "delivered" => delivered(peer),
        "in_step" => format!("{}  in step: there is nothing new for it\n", peer.peer),
        "planned" => planned(peer),
        "waiting" => match &peer.backup {
            Some(backup) => format!(
                "{}  waiting: backup {backup} with {} is safe in the outbox\n",
                peer.peer,
                text::count(peer.rows, "row", "rows")
            ),
            None => format!("{}  waiting\n", peer.peer),
        },
        state => format!("{}  {state}\n", peer.peer),
    });
    if let Some(problem) = &peer.problem {
        said.push_str(&text::indent(&problem_text(problem, false), 2));
        said.push('\n');
    }
    said
}

fn delivered(peer: &SyncOutcome) -> String {
    let of_receipt = |name: &str| peer.receipt.as_ref().and_then(|receipt| receipt.get(name)?.as_u64());
    let total: u64 = peer.stages.iter().map(|stage| stage.millis).sum();
    let sent = text::bytes(peer.sent_bytes);
    let path = peer.path.as_ref().map(|path| format!(" by {path}")).unwrap_or_default();
    let rows = text::count(peer.rows, "row", "rows");
    let resumed = if peer.resumed { "; it had waited" } else { "" };
    let kind = if peer.backup_type.as_deref() == Some("incremental") { "changes, " } else { "" };
    let mut said = format!(
        "{}  delivered: {kind}{rows}, {sent} sent{path} in {}{resumed}\n",
        peer.peer,
        text::millis(total)
    );
    let always =
        [("inserted", "new"), ("updated", "changed"), ("unchanged", "equal"), ("deleted", "removed")];
    let rarely = [("superseded", "older than there"), ("merged", "changed on both sides"), ("held", "held")];
    let counted =
        |name: &str, word: &str| of_receipt(name).map(|count| format!("{} {word}", text::number(count)));
    let mut counts: Vec<String> = always.iter().filter_map(|(name, word)| counted(name, word)).collect();
    let some = rarely.iter().filter(|(name, _)| of_receipt(name).is_some_and(|count| count > 0));
    counts.extend(some.filter_map(|(name, word)| counted(name, word)));
    if !counts.is_empty() {
        said.push_str(&format!("  there: {}\n", counts.join(", ")));
    }
    let warnings = peer.receipt.as_ref().and_then(|receipt| receipt.get("warnings")?.as_array());
    for warning in warnings.into_iter().flatten().filter_map(|warning| warning.as_str()) {
        said.push_str(&format!("  ! {warning}\n"));
    }
    said
}

fn planned(peer: &SyncOutcome) -> String {
    if peer.backup_type.as_deref() == Some("incremental") {
        let changes = text::count(peer.rows, "change waits", "changes wait");
        return format!("{}  would get what it lacks; {changes} here to be packed\n", peer.peer);
    }
    let sent = peer.planned.iter().filter(|table| table.obstacle.is_none()).count();
    let rows = peer.planned.iter().map(|table| {
        let verdict = match (&table.obstacle, table.removed) {
            (Some(obstacle), _) => obstacle.clone(),
            (None, Some(removed)) => {
                format!("sent; {} removed there", text::count(removed, "row is", "rows are"))
            }
            (None, None) => "sent".to_owned(),
        };
        [table.table.clone(), format!("~{}", text::number(table.rows)), verdict]
    });
    let listed = text::indent(&text::table(["table", "rows", ""], rows), 2);
    let tables = text::count(sent as u64, "table", "tables");
    let wait = if peer.resumed { "\n  A backup waits already and would be sent first." } else { "" };
    format!(
        "{}  would get {tables}, about {}\n{listed}{wait}\n",
        peer.peer,
        text::count(peer.rows, "row", "rows")
    )
}

fn next(answer: &SyncAnswer, dry_run: bool) -> Vec<String> {
    let one = |wanted: fn(&SyncOutcome) -> bool| {
        answer.peers.iter().find(|peer| wanted(peer)).map(|peer| &peer.peer)
    };
    if dry_run {
        return one(|peer| !failed(peer)).map(|peer| format!("branchline sync {peer}")).into_iter().collect();
    }
    let mut next = Vec::new();
    next.extend(
        one(|peer| peer.state == "delivered")
            .map(|peer| format!("branchline compare {peer}   # proves that both are equal")),
    );
    next.extend(one(|peer| peer.state == "waiting").map(|peer| format!("branchline peers ping {peer}")));
    if next.is_empty() {
        next.push("branchline status".to_owned());
    }
    next
}

#[cfg(test)]
mod tests {
    use branchline_core::code::Code;

    use super::*;
    use crate::api::v1::Problem;

    fn outcome(state: &str, code: Option<Code>) -> SyncOutcome {
        SyncOutcome {
            peer: "HQ".into(),
            state: state.into(),
            backup: None,
            backup_type: None,
            resumed: false,
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
            problem: code.map(|code| Problem::new(code, "x")),
        }
    }

    #[test]
    fn the_exit_code_tells_all_some_and_none_apart() {
        let (done, waits) = (outcome("delivered", None), outcome("waiting", Some(Code::UNREACHABLE)));
        let refused = outcome("refused", Some(Code::SIGNATURE_INVALID));
        let unheld = outcome("refused", Some(Code::TYPE_NOT_HELD));
        let code = |peers: &[&SyncOutcome]| {
            exit_code(&SyncAnswer { peers: peers.iter().copied().cloned().collect() })
        };
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[&done, &done]), 0);
        assert_eq!(code(&[&done, &waits]), 3);
        assert_eq!(code(&[&refused, &done]), 3);
        assert_eq!(code(&[&waits, &waits]), 5);
        assert_eq!(code(&[&waits, &refused]), 6);
        assert_eq!(code(&[&unheld]), 1);
        assert_eq!(code(&[&outcome("delivered", Some(Code::ROWS_HELD))]), 3);
        assert_eq!(code(&[&outcome("in_step", None)]), 0);
        assert_eq!(code(&[&outcome("planned", None)]), 0);
        assert_eq!(code(&[&outcome("planned", Some(Code::UNREACHABLE))]), 5);
    }
}

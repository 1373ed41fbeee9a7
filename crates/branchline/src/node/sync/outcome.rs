//! What a sync with one peer came to, as it is answered.

use branchline_core::code::Code;
use branchline_core::ports::OutboxEntry;
use branchline_core::receipt::Receipt;

use super::Target;
use crate::api::v1::{Problem, StageAnswer, SyncOutcome};
use crate::node::deliver::Delivery;
use crate::node::describe;

pub(super) fn described(target: &Target, entry: &OutboxEntry, delivery: Delivery) -> SyncOutcome {
    let mut outcome = match &delivery {
        Delivery::Answered(sent) if sent.receipt.is_applied() => {
            outcome(target, Some(entry), "delivered", held_there(target, &sent.receipt))
        }
        Delivery::Answered(sent) => {
            let fault = sent.receipt.errors.first();
            let code = fault.map_or(Code::REFUSED_BY_PEER, |fault| fault.code);
            let message = fault.map_or("the peer applied nothing", |fault| fault.message.as_str());
            let message = format!("{} applied nothing: {message}", target.peer.id);
            let problem = Problem::new(code, message).with_data("Nothing was changed at the peer.");
            outcome(target, Some(entry), "refused", Some(problem))
        }
        Delivery::Refused(problem) => outcome(target, Some(entry), "refused", Some(problem.clone())),
        Delivery::Waiting(problem) | Delivery::Gap(problem) => {
            outcome(target, Some(entry), "waiting", Some(problem.clone()))
        }
    };
    if let Delivery::Answered(sent) = delivery {
        outcome.sent_bytes = sent.sent_bytes;
        outcome.receipt = describe::json(&sent.document);
        let millis = |took: std::time::Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        outcome.stages.push(stage("send", millis(sent.upload_took)));
        outcome.stages.push(stage("receipt", millis(sent.receipt_took)));
    }
    outcome
}

/// Rows that could not go in there: nobody has to send them again, but a person has to know.
fn held_there(target: &Target, receipt: &Receipt) -> Option<Problem> {
    let held = receipt.totals().held;
    if held == 0 {
        return None;
    }
    let rows = if held == 1 { "1 row is".to_owned() } else { format!("{held} rows are") };
    let first = receipt.held.first();
    let named = first.map(|row| format!("; the first: {} {}: {}", row.table, row.key, row.reason));
    let message = format!("{rows} held at {}{}", target.peer.id, named.unwrap_or_default());
    let data = "The rest is applied. What is held goes in by itself when what it lacks comes.";
    let help = format!("on {}: branchline held list", target.peer.id);
    Some(Problem::new(Code::ROWS_HELD, message).with_data(data).with_help(help))
}

impl SyncOutcome {
    /// The same, after an earlier round of one sync. A chain that did not go on is told by the full backup that followed.
    pub(super) fn after(mut self, earlier: Self) -> Self {
        let gap = earlier.problem.as_ref().is_some_and(|problem| problem.known_code() == Code::CHAIN_GAP);
        if gap {
            self.before = earlier.before;
            return self;
        }
        if self.state == "in_step" {
            return earlier;
        }
        self.before.clone_from(&earlier.before);
        self.before.push(Self { before: Vec::new(), ..earlier });
        self
    }
}

pub(super) fn stage(name: &str, millis: u64) -> StageAnswer {
    StageAnswer { stage: name.to_owned(), millis }
}

pub(super) fn outcome(
    target: &Target,
    entry: Option<&OutboxEntry>,
    state: &str,
    problem: Option<Problem>,
) -> SyncOutcome {
    SyncOutcome {
        peer: target.peer.id.to_string(),
        state: state.to_owned(),
        backup: entry.map(|entry| entry.backup.to_string()),
        backup_type: entry.map(|entry| entry.backup_type.to_string()),
        resumed: target.resumed,
        created_at: entry.map(|entry| entry.created_at.to_string()),
        rows: entry.map_or(0, |entry| entry.record_count),
        document_bytes: entry.map_or(0, OutboxEntry::document_bytes),
        sent_bytes: 0,
        data_bytes: target.data_bytes,
        path: target.hello.as_ref().ok().map(|hello| hello.path.clone()),
        receipt: None,
        stages: target.stages.clone(),
        planned: Vec::new(),
        before: Vec::new(),
        problem,
    }
}

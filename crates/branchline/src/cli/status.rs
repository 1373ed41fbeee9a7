//! `status`: how everything stands, the worst last, where the eye is.

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::{peers, text};
use crate::api::v1::{Answer, CaptureAnswer, Command, OutboxAnswer, PeerAnswer, StatusAnswer};
use crate::node::clock::now;

pub(crate) async fn run(session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.read(Command::Status).await?;
    let Answer::Status(status) = answer else { return Err(Failure::unexpected_answer()) };
    let mut done = Done::new(data, described(&status));
    let next = match (status.peers.is_empty(), status.warnings.first()) {
        (true, _) => "branchline invite STORE-001   # or  branchline join INVITATION".to_owned(),
        (false, Some(warning)) => warning.fix.clone(),
        (false, None) => "branchline sync".to_owned(),
    };
    done.warnings.clone_from(&status.warnings);
    Ok(done.next(next))
}

fn described(status: &StatusAnswer) -> String {
    let tables = match (&status.engine, status.tables_syncing, status.tables_excluded) {
        (Some(engine), Some(syncing), Some(excluded)) => {
            let tables = text::count(syncing, "table syncs", "tables sync");
            let kept = match excluded {
                0 => String::new(),
                excluded => format!(", {}", text::count(excluded, "stays here", "stay here")),
            };
            format!("{engine}: {tables}{kept}")
        }
        _ => "does not answer".to_owned(),
    };
    let listening = match (&status.listening, status.serving) {
        (Some(address), _) => address.clone(),
        (None, true) => "nowhere".to_owned(),
        (None, false) => "no: serve is not running".to_owned(),
    };
    let named = if status.name == status.server {
        status.server.clone()
    } else {
        format!("{} ({})", status.server, status.name)
    };
    let mut lines = vec![
        ("server", format!("{named}, {}", status.producer)),
        ("listens", listening),
        ("database", tables),
        ("disk", format!("{} free", text::bytes(status.disk_free_bytes))),
    ];
    lines.extend(status.capture.as_ref().map(|capture| ("captured", captured(capture))));
    if status.capture.is_none() && status.engine.is_some() {
        lines.push(("captured", "no: every sync sends all rows (branchline attach)".to_owned()));
    }
    if status.invitations_open > 0 {
        lines.push((
            "invited",
            text::count(status.invitations_open, "invitation is open", "invitations are open"),
        ));
    }
    let mut said = text::pairs(lines);
    said.push('\n');
    if status.peers.is_empty() {
        said.push_str("No peers yet. On one server run  branchline invite STORE-001  and on the other paste the line it prints.\n");
    } else {
        said.push_str(&peers::table(&status.peers));
        said.extend(status.peers.iter().filter_map(|peer| how_far(peer, status.capture.as_ref())));
    }
    if !status.outbox.is_empty() {
        said.push_str(&format!("\nWaiting to be sent, safe on this disk:\n{}", outbox_table(&status.outbox)));
    }
    if let Some(last) = status.last_receipts.first() {
        let verdict = if last.success { "applied" } else { "NOT applied" };
        let rows = text::count(last.rows, "row", "rows");
        let when = text::ago(&last.processed_at, now());
        said.push_str(&format!("\nLast: {} > {}, {rows} {verdict}, {when}\n", last.source, last.server));
    }
    if status.warnings.is_empty() {
        said.push_str("\nEverything is in order.\n");
    }
    for warning in &status.warnings {
        said.push_str(&format!("\n! {}  {}\n  fix: {}\n", warning.code, warning.message, warning.fix));
    }
    said
}

fn captured(capture: &CaptureAnswer) -> String {
    let counts = [
        text::count(capture.tables, "table", "tables"),
        text::count(capture.pending, "change waits", "changes wait"),
        text::count(capture.tombstones, "deletion kept", "deletions kept"),
        text::count(capture.held, "row held", "rows held"),
        text::count(capture.conflicts, "conflict", "conflicts"),
        format!("{} in the ledger", text::bytes(capture.ledger_bytes)),
    ];
    format!("epoch {}, generation {}: {}", capture.epoch, capture.generation, counts.join(", "))
}

fn how_far(peer: &PeerAnswer, capture: Option<&CaptureAnswer>) -> Option<String> {
    let (acknowledged, capture) = (peer.acknowledged.as_ref()?, capture?);
    let waiting = match acknowledged.waiting_changes {
        0 => "nothing waits".to_owned(),
        changes => text::count(changes, "change waits", "changes wait"),
    };
    let standing = match acknowledged.generation {
        None => "has none of the changes yet".to_owned(),
        Some(generation) if generation >= capture.generation => {
            format!("in step up to generation {generation}")
        }
        Some(generation) => format!("in step up to generation {generation} of {}", capture.generation),
    };
    let full = if acknowledged.needs_full { "; the next backup is a full one" } else { "" };
    Some(format!("{}: {standing}, {waiting}{full}\n", peer.id))
}

/// The table of what waits, which `backups list` shows as well.
pub(super) fn outbox_table(outbox: &[OutboxAnswer]) -> String {
    let now = now();
    let rows = outbox.iter().map(|entry| {
        // Its code; the whole is in the warning.
        let last = entry.last_error.as_ref().and_then(|error| error.split_whitespace().next());
        let tries = text::count(entry.attempts.into(), "try", "tries");
        [
            entry.peer.clone(),
            text::number(entry.rows),
            text::bytes(entry.document_bytes),
            text::ago(&entry.created_at, now),
            last.map_or_else(|| "not tried yet".to_owned(), |code| format!("{tries}: {code}")),
            entry.backup.clone(),
        ]
    });
    text::table(["for", "rows", "size", "made", "so far", "backup"], rows)
}

//! How everything stands: what is in step, what waits, what a person should know and what mends it.

use branchline_core::code::{Code, Explain};
use branchline_core::limits::DISK_FREE_BYTES_MIN;
use branchline_core::lineage::check_remembered;
use branchline_core::ports::{CaptureState, DatabaseError, InboxState, Ledger, OutboxEntry, OutboxState};
use branchline_core::schema::Table;

use super::clock::now;
use super::{Node, PRODUCER, describe};
use crate::api::v1::{AcknowledgedAnswer, PeerAnswer, Problem, StatusAnswer, WarningAnswer};

/// Receipts that are shown.
const RECEIPTS_SHOWN: u32 = 10;

impl Node {
    pub(super) async fn status(&self) -> Result<StatusAnswer, Problem> {
        let mut warnings = Vec::new();
        let database = self.database_status().await;
        if let Err(problem) = &database {
            warnings.push(warning(problem));
        }
        let database = database.ok();
        let captured = database.as_ref().and_then(|database| database.captured.as_ref());
        let outbox = self.memory.outbox().await?;
        let waiting: Vec<_> =
            outbox.iter().filter(|entry| entry.state == OutboxState::Waiting).map(describe::outbox).collect();
        let mut peers = self.peers().await?.peers;
        if let (Some(database), Some(captured)) = (&database, captured) {
            self.add_acknowledged(&mut peers, captured, &outbox).await?;
            warnings.extend(self.capture_warnings(database, captured, &peers).await?);
        }
        warnings.extend(database.iter().flat_map(|database| database.filter_warnings.clone()));
        if peers.is_empty() {
            let fix = "branchline invite STORE-001 on one server, branchline join on the other";
            warnings.push(WarningAnswer {
                code: Code::PEER_UNKNOWN.to_string(),
                message: "there are no peers yet".into(),
                fix: fix.into(),
            });
        }
        for entry in &waiting {
            let message = format!("a backup for {} waits since {}", entry.peer, entry.created_at);
            warnings.push(WarningAnswer {
                code: Code::UNREACHABLE.to_string(),
                message,
                fix: format!("branchline sync {}", entry.peer),
            });
        }
        for entry in self.memory.inbox().await?.iter().filter(|entry| entry.state == InboxState::Received) {
            let Some((code, reason)) = &entry.error else { continue };
            let message = format!("a backup of {} is here and could not be applied: {reason}", entry.peer);
            let fix = format!("{}; then on {}: branchline sync", code.entry().hint, entry.peer);
            warnings.push(WarningAnswer { code: code.to_string(), message, fix });
        }
        warnings.extend(self.schedule_warnings().await?);
        let disk_free_bytes = self.spool.free_bytes().await?;
        if disk_free_bytes < DISK_FREE_BYTES_MIN {
            warnings.push(warning(&Problem::new(
                Code::DISK_FULL,
                "the disk is nearly full; nothing more is received",
            )));
        }
        let at = now();
        let invitations = self.memory.invitations().await?;
        let open = invitations.iter().filter(|open| open.used.is_none() && open.expires_at > at).count();
        let receipts = self.memory.receipts(RECEIPTS_SHOWN).await?;
        Ok(StatusAnswer {
            server: self.settings.server.to_string(),
            name: self.settings.name.clone(),
            producer: PRODUCER.to_owned(),
            serving: self.listening().is_some(),
            listening: self.listening().map(|address| address.to_string()),
            engine: database.as_ref().map(|database| database.ledger.engine.clone()),
            epoch: database.as_ref().map(|database| database.ledger.epoch.value()),
            capture: captured.map(describe::capture),
            tables_syncing: database.as_ref().map(|database| database.syncing),
            tables_excluded: database.as_ref().map(|database| database.excluded),
            peers,
            outbox: waiting,
            invitations_open: open as u64,
            disk_free_bytes,
            last_receipts: receipts.iter().map(|record| describe::receipt(record, false)).collect(),
            warnings,
        })
    }

    async fn database_status(&self) -> Result<DatabaseStatus, Problem> {
        let database = self.database().await?;
        let ledger = database.ledger().await?;
        let captured = database.capture().look().await?;
        let schema = self.restrict(database.schema().await?);
        let syncing = schema.syncable().count() as u64;
        let excluded = schema.tables().count() as u64 - syncing;
        let unseen = |table: &&Table| captured.as_ref().is_some_and(|c| !c.tables.contains_key(&table.name));
        let uncaptured = schema.syncable().filter(unseen).map(|table| table.name.to_string()).collect();
        let filter_warnings = self.filter_warnings(&schema, captured.is_some()).await?;
        Ok(DatabaseStatus { ledger, captured, syncing, excluded, uncaptured, filter_warnings })
    }

    /// How far each peer is with the changes of this server.
    async fn add_acknowledged(
        &self,
        peers: &mut [PeerAnswer],
        captured: &CaptureState,
        outbox: &[OutboxEntry],
    ) -> Result<(), Problem> {
        let all = self.memory.all_acknowledged().await?;
        for peer in peers {
            let known = all.iter().find(|known| known.peer.as_str() == peer.id);
            let waits =
                |entry: &&OutboxEntry| entry.peer.as_str() == peer.id && entry.state == OutboxState::Waiting;
            let queued: u64 = outbox.iter().filter(waits).map(|entry| entry.record_count).sum();
            let generation = known.and_then(|known| known.knowledge.generation(&captured.own));
            peer.acknowledged = Some(AcknowledgedAnswer {
                generation: generation.map(|generation| generation.value()),
                needs_full: known.is_none_or(|known| known.previous(captured.own.epoch).is_none()),
                waiting_changes: queued + captured.pending,
                past_budget: known.is_some_and(|known| known.past_budget),
            });
        }
        Ok(())
    }

    async fn capture_warnings(
        &self,
        database: &DatabaseStatus,
        captured: &CaptureState,
        peers: &[PeerAnswer],
    ) -> Result<Vec<WarningAnswer>, Problem> {
        let mut warnings = Vec::new();
        let mut warn = |code: Code, message: String, fix: &str| {
            warnings.push(WarningAnswer { code: code.to_string(), message, fix: fix.to_owned() });
        };
        if captured.own.server != self.settings.server {
            let fault = DatabaseError::Attached { server: captured.own.server.clone() };
            warn(fault.code(), fault.to_string(), &fault.hint());
        } else if let Err(fault) =
            check_remembered(self.memory.remembered().await?.as_ref(), &database.ledger)
        {
            warn(fault.code(), fault.to_string(), &fault.hint());
        }
        if !database.uncaptured.is_empty() {
            let message = format!("changes of {} are not captured yet", database.uncaptured.join(", "));
            warn(Code::CAPTURE_BROKEN, message, "branchline attach");
        }
        let due = captured.tables.iter().filter(|(_, due)| **due);
        let due: Vec<String> = due.map(|(table, _)| table.to_string()).collect();
        if !due.is_empty() {
            let peer = peers.first().map_or("PEER", |peer| peer.id.as_str());
            let message = format!("changes of {} may have been missed", due.join(", "));
            warn(Code::CAPTURE_BROKEN, message, &format!("branchline compare {peer}"));
        }
        if let Some(first) = captured.held.first() {
            let message = format!(
                "{} row(s) of peers are held; the first: {} {}: {}",
                captured.held.len(),
                first.table,
                first.key,
                first.reason
            );
            warn(Code::ROWS_HELD, message, "branchline held list");
        }
        let past_budget =
            |peer: &&PeerAnswer| peer.acknowledged.as_ref().is_some_and(|known| known.past_budget);
        for peer in peers.iter().filter(past_budget) {
            let message = format!(
                "{} is so far behind that deletions are kept for it no longer; the next backup to it is a full one",
                peer.id
            );
            warn(Code::PEER_PAST_BUDGET, message, &format!("branchline sync {}", peer.id));
        }
        Ok(warnings)
    }
}

struct DatabaseStatus {
    ledger: Ledger,
    captured: Option<CaptureState>,
    syncing: u64,
    excluded: u64,
    /// Tables that sync and are not captured, where others are.
    uncaptured: Vec<String>,
    filter_warnings: Vec<WarningAnswer>,
}

fn warning(problem: &Problem) -> WarningAnswer {
    WarningAnswer { code: problem.code.clone(), message: problem.message.clone(), fix: problem.help.clone() }
}

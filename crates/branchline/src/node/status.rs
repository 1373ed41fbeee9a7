//! How everything stands: what is in step, what waits, what a person should know and what mends it.

use branchline_core::code::Code;
use branchline_core::limits::DISK_FREE_BYTES_MIN;
use branchline_core::ports::{InboxState, OutboxState};

use super::clock::now;
use super::{Node, PRODUCER, describe};
use crate::api::v1::{Problem, StatusAnswer, WarningAnswer};

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
        let outbox = self.memory.outbox().await?;
        let waiting: Vec<_> =
            outbox.iter().filter(|entry| entry.state == OutboxState::Waiting).map(describe::outbox).collect();
        let peers = self.peers().await?.peers;
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
            engine: database.as_ref().map(|database| database.engine.clone()),
            epoch: database.as_ref().map(|database| database.epoch),
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
        let schema = self.restrict(database.schema().await?);
        let syncing = schema.syncable().count() as u64;
        let excluded = schema.tables().count() as u64 - syncing;
        Ok(DatabaseStatus { engine: ledger.engine, epoch: ledger.epoch.value(), syncing, excluded })
    }
}

struct DatabaseStatus {
    engine: String,
    epoch: u64,
    syncing: u64,
    excluded: u64,
}

fn warning(problem: &Problem) -> WarningAnswer {
    WarningAnswer { code: problem.code.clone(), message: problem.message.clone(), fix: problem.help.clone() }
}

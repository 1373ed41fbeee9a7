//! Making rows and files agree again when the server starts, before any task does.
//!
//! A row and its file cannot be written in one step, so that a crash in between leaves one without the other:
//!
//! | found | done |
//! |---|---|
//! | an upload's row whose time is over, unless all of it is here | the row goes, and its file |
//! | an upload that was not applied or refused yet, and has no file | the row goes; the sender begins again |
//! | a waiting backup whose data file is missing or too short | it is marked refused, and says why |
//! | a file that no row refers to | it goes |
//!
//! An upload that is all here is kept past its time: the server may have been off for long. First rows, then
//! files: a crash in between leaves files without rows, which the next start sweeps. The home's lock must be held.

use std::collections::{BTreeMap, BTreeSet};

use branchline_core::code::{Code, Explain};
use branchline_core::ports::{
    InboxEntry, InboxState, OutboxEntry, OutboxState, Spool, SpoolError, SpoolFile, StateError, StateRead,
    StateReply, StateStore, StateWrite,
};
use jiff::Timestamp;

/// What was mended. All zero on a start after a clean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Files removed that no row refers to.
    pub files_removed: usize,
    /// Rows of uploads removed whose time is over.
    pub uploads_expired: usize,
    /// Rows of uploads removed whose file is missing.
    pub uploads_without_file: usize,
    /// Waiting backups marked refused because their data file is missing or too short.
    pub backups_without_data: usize,
}

/// Why rows and files could not be made to agree.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The state failed.
    #[error("the state could not be brought in step with the spool")]
    State(#[from] StateError),
    /// The spool failed.
    #[error("the spool could not be brought in step with the state")]
    Spool(#[from] SpoolError),
}

impl Explain for ReconcileError {
    fn code(&self) -> Code {
        match self {
            Self::State(error) => error.code(),
            Self::Spool(error) => error.code(),
        }
    }
}

/// Makes rows and files agree.
///
/// # Errors
/// Where the state or the spool cannot be read or written. Nothing is lost then: it can be run again.
pub async fn reconcile(
    state: &dyn StateStore,
    spool: &dyn Spool,
    now: Timestamp,
) -> Result<Reconciled, ReconcileError> {
    let StateReply::Outbox(outbox) = state.read(StateRead::Outbox).await? else { return Err(mismatch()) };
    let StateReply::Inbox(inbox) = state.read(StateRead::Inbox).await? else { return Err(mismatch()) };
    let mut lengths = BTreeMap::new();
    for file in spool.list().await? {
        if let Some(len) = spool.len(&file).await? {
            lengths.insert(file, len);
        }
    }
    let plan = plan(outbox, &inbox, &lengths, now);
    if !plan.writes.is_empty() {
        state.commit(plan.writes).await?;
    }
    for file in &plan.files {
        spool.remove(file).await?;
    }
    Ok(plan.counts)
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    writes: Vec<StateWrite>,
    files: Vec<SpoolFile>,
    counts: Reconciled,
}

fn plan(
    outbox: Vec<OutboxEntry>,
    inbox: &[InboxEntry],
    lengths: &BTreeMap<SpoolFile, u64>,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = BTreeSet::new();
    for entry in inbox {
        let file = SpoolFile::Inbound { peer: entry.peer.clone(), backup: entry.backup };
        let ended = matches!(entry.state, InboxState::Applied | InboxState::Refused);
        let remove = StateWrite::RemoveInbox { peer: entry.peer.clone(), backup: entry.backup };
        if !ended && !lengths.contains_key(&file) {
            plan.writes.push(remove);
            plan.counts.uploads_without_file += 1;
        } else if entry.expires_at <= now && entry.state != InboxState::Received {
            plan.writes.push(remove);
            plan.counts.uploads_expired += 1;
        } else {
            wanted.insert(file);
        }
    }
    for entry in outbox {
        let file = SpoolFile::Data(entry.data_file);
        let len = lengths.get(&file).copied();
        if entry.state == OutboxState::Waiting && len.is_none_or(|len| len < entry.data_frame_bytes) {
            plan.writes.push(StateWrite::PutOutbox(without_data(entry, len)));
            plan.counts.backups_without_data += 1;
        }
        wanted.insert(file);
    }
    plan.files = lengths.keys().filter(|file| !wanted.contains(file)).cloned().collect();
    plan.counts.files_removed = plan.files.len();
    plan
}

fn without_data(mut entry: OutboxEntry, len: Option<u64>) -> OutboxEntry {
    let found = match len {
        Some(len) => format!("has {len} of {} bytes", entry.data_frame_bytes),
        None => "is missing".to_owned(),
    };
    let message = format!(
        "the data file {} of this backup {found}, so it cannot be sent; the rows are still in the database: \
         branchline sync {} makes it anew",
        entry.data_file, entry.peer
    );
    entry.state = OutboxState::Refused;
    entry.not_before = None;
    entry.last_error = Some((Code::STATE_BROKEN, message));
    entry
}

fn mismatch() -> ReconcileError {
    StateError::Broken { message: "the state answered another question".to_owned() }.into()
}

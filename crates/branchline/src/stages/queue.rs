//! Queues: from here on a sealed backup survives a power cut, and its place in the chain is taken.

use branchline_core::lineage::Remembered;
use branchline_core::ports::{OutboxEntry, StateError, StateStore, StateWrite};

use super::seal::Sealed;

/// Records sealed backups, the ends of their chains, and what the database was when they were packed; all or none.
///
/// # Errors
/// Where the state cannot be written.
pub async fn queue(
    state: &dyn StateStore,
    sealed: Vec<Sealed>,
    remembered: Option<Remembered>,
) -> Result<Vec<OutboxEntry>, StateError> {
    let entries: Vec<OutboxEntry> = sealed.into_iter().map(Sealed::into_entry).collect();
    let mut writes = Vec::with_capacity(entries.len() * 2 + 1);
    writes.extend(remembered.map(StateWrite::PutRemembered));
    for entry in &entries {
        let (peer, sequence, metadata) = (entry.peer.clone(), entry.sequence, entry.metadata);
        writes.push(StateWrite::PutOutbox(entry.clone()));
        writes.push(StateWrite::PutChain { peer, sequence, metadata });
    }
    state.commit(writes).await?;
    Ok(entries)
}

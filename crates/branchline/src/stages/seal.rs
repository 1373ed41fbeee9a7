//! Seals: puts signed metadata around a draft, for one peer.

use branchline_core::backup::v1::{FORMAT_VERSION, SealError, seal_head};
use branchline_core::backup::{BackupType, Metadata};
use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, Sequence, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{Ledger, OutboxEntry, OutboxState, Signer};
use jiff::Timestamp;

use super::pack::Draft;
use crate::node::PRODUCER;

/// What of a backup depends on whom it is for.
#[derive(Debug, Clone)]
pub struct Addressed {
    /// Its name.
    pub backup: BackupId,
    /// Whom it is for.
    pub target: ServerId,
    /// Its place in the chain to that peer.
    pub sequence: Sequence,
    /// The metadata before it in the chain; nothing for a full backup, which starts one.
    pub previous: Option<Digest>,
    /// Whether the peer is asked to remove rows that it does not hold.
    pub mirror: bool,
}

/// A sealed backup, ready to be queued. Made by [`seal`] alone.
#[derive(Debug, Clone)]
pub struct Sealed(OutboxEntry);

impl Sealed {
    /// The outbox entry that it becomes.
    #[must_use]
    pub fn into_entry(self) -> OutboxEntry {
        self.0
    }

    /// The outbox entry that it will become.
    #[must_use]
    pub fn entry(&self) -> &OutboxEntry {
        &self.0
    }
}

/// Seals a full backup.
///
/// # Errors
/// Where the metadata are over their bound, or the key cannot be used.
pub fn seal(
    draft: &Draft,
    source: &ServerId,
    ledger: &Ledger,
    addressed: &Addressed,
    now: Timestamp,
    signer: &dyn Signer,
) -> Result<Sealed, SealError> {
    // Until changes are captured nobody claims to know more than rows that are simply there.
    let nothing_known = Knowledge::new();
    let metadata = Metadata {
        source: source.clone(),
        source_key: signer.public_key(),
        target: addressed.target.clone(),
        backup_type: BackupType::Full,
        created_at: now,
        data_range: None,
        day: None,
        record_count: draft.record_count(),
        checksum: draft.totals.checksum,
        backup_id: addressed.backup,
        epoch: ledger.epoch,
        generation: ledger.generation,
        sequence: addressed.sequence,
        previous: addressed.previous,
        knowledge: nothing_known.clone(),
        covers: nothing_known.clone(),
        purged: nothing_known,
        clock: None,
        data_bytes: draft.totals.data_bytes,
        tables: draft.tables.clone(),
        mirror: addressed.mirror,
        producer: PRODUCER.to_owned(),
        min_reader: FORMAT_VERSION,
    };
    let head = seal_head(&metadata, draft.codec, signer)?;
    Ok(Sealed(OutboxEntry {
        backup: addressed.backup,
        peer: addressed.target.clone(),
        backup_type: BackupType::Full,
        sequence: addressed.sequence,
        codec: draft.codec,
        head: head.head,
        data_file: draft.data_file,
        data_frame_bytes: draft.data_frame_bytes,
        tail: head.tail,
        signature: head.signature.to_text(),
        metadata: head.metadata,
        checksum: draft.totals.checksum,
        record_count: metadata.record_count,
        created_at: now,
        state: OutboxState::Waiting,
        attempts: 0,
        not_before: None,
        last_error: None,
    }))
}

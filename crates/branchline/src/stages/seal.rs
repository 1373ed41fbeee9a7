//! Seals: puts signed metadata around a draft, for one peer.

use branchline_core::backup::v1::{FORMAT_VERSION, SealError, seal_head};
use branchline_core::backup::{BackupType, Metadata};
use branchline_core::day::{BusinessDay, DayClose};
use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, Epoch, Generation, Sequence, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::pack::Selection;
use branchline_core::ports::{Ledger, OutboxEntry, OutboxState, Signer};
use branchline_core::signing::PublicKey;
use branchline_core::standing::Packed;
use branchline_core::version::ChangeTime;
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
    /// The epoch of its database, where it captures changes.
    pub target_epoch: Option<Epoch>,
    /// The business day that it closes.
    pub day: Option<BusinessDay>,
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

/// Seals a draft: a full backup, or an increment where its plan says so.
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
    let metadata = describe(draft, source, ledger, addressed, now, signer.public_key());
    let head = seal_head(&metadata, draft.codec, signer)?;
    Ok(Sealed(OutboxEntry {
        backup: addressed.backup,
        peer: addressed.target.clone(),
        backup_type: metadata.backup_type,
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
        packed: packed_of(draft),
        created_at: now,
        state: OutboxState::Waiting,
        attempts: 0,
        not_before: None,
        last_error: None,
    }))
}

/// What the backup says of itself.
fn describe(
    draft: &Draft,
    source: &ServerId,
    ledger: &Ledger,
    addressed: &Addressed,
    now: Timestamp,
    source_key: PublicKey,
) -> Metadata {
    let claims = claims(draft, ledger);
    let backup_type = match (is_full(draft), addressed.day) {
        (true, _) => BackupType::Full,
        (false, Some(_)) => BackupType::DailyTransactions,
        (false, None) => BackupType::Incremental,
    };
    let close = addressed.day.zip(draft.packed.as_ref());
    let day = close.map(|(day, (position, _))| DayClose { day, totals: position.day.clone() });
    Metadata {
        source: source.clone(),
        source_key,
        target: addressed.target.clone(),
        backup_type,
        created_at: now,
        data_range: day.as_ref().map(|close| close.day.range()),
        day,
        record_count: draft.record_count(),
        checksum: draft.totals.checksum,
        backup_id: addressed.backup,
        epoch: claims.epoch,
        generation: claims.generation,
        sequence: addressed.sequence,
        previous: addressed.previous,
        target_epoch: addressed.target_epoch,
        knowledge: claims.knowledge,
        covers: claims.covers,
        purged: claims.purged,
        clock: claims.clock,
        data_bytes: draft.totals.data_bytes,
        tables: draft.tables.clone(),
        mirror: addressed.mirror,
        producer: PRODUCER.to_owned(),
        min_reader: FORMAT_VERSION,
    }
}

fn is_full(draft: &Draft) -> bool {
    draft.packed.as_ref().is_none_or(|(_, plan)| plan.selection == Selection::Full)
}

fn packed_of(draft: &Draft) -> Option<Packed> {
    let (position, plan) = draft.packed.as_ref()?;
    Some(Packed {
        epoch: position.own.epoch,
        covers: plan.covers.clone(),
        seen: position.seen.clone(),
        full: is_full(draft),
        scope: plan.scope.as_ref().map(|scoped| scoped.scope.mark()).unwrap_or_default(),
    })
}

/// What a backup claims of its source's life and knowledge.
struct Claims {
    epoch: Epoch,
    generation: Generation,
    knowledge: Knowledge,
    covers: Knowledge,
    purged: Knowledge,
    clock: Option<ChangeTime>,
}

fn claims(draft: &Draft, ledger: &Ledger) -> Claims {
    match &draft.packed {
        Some((position, plan)) => Claims {
            epoch: position.own.epoch,
            generation: position.generation,
            knowledge: position.knowledge.clone(),
            covers: plan.covers.clone(),
            purged: position.purged.clone(),
            clock: Some(position.clock),
        },
        // Where changes are not captured nobody claims to know more than rows that are simply there.
        None => Claims {
            epoch: ledger.epoch,
            generation: ledger.generation,
            knowledge: Knowledge::new(),
            covers: Knowledge::new(),
            purged: Knowledge::new(),
            clock: None,
        },
    }
}

//! What the outer crates implement: application databases, state, spool, links to peers, signatures.
//!
//! All are object-safe, name no runtime, and are crossed per batch ([`BATCH_BYTES`](crate::limits::BATCH_BYTES)
//! at most), never per row. Each has one conformance suite in the testkit that every implementation passes.

mod capture;
mod database;
mod link;
mod signer;
mod spool;
mod state;

pub use capture::{
    Amendment, AttachReport, AttachRequest, Capture, CaptureState, Changes, HeldRow, TableChanges,
};
pub use database::{
    AppliedRecord, Apply, ApplyRequest, Database, DatabaseError, ForeignKeyCheck, HashSpec, HeldReport,
    Ledger, MergeContext, MergeReport, OnError, Snapshot, TableMerge,
};
pub use link::{
    LinkError, Offer, OfferAnswer, PeerHello, PeerLink, Reception, ReceptionError, UploadStatus, UploadStep,
};
pub use signer::{Signer, SignerError};
pub use spool::{Spool, SpoolError, SpoolFile, SpoolWriter};
pub use state::{
    Claim, InboxEntry, InboxState, InvitationRecord, Lease, OutboxEntry, OutboxState, ReceiptRecord,
    StateConflict, StateError, StateRead, StateReply, StateStore, StateWrite,
};

use std::future::Future;
use std::pin::Pin;

/// A boxed future: what lets a port be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

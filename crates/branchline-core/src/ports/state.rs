//! The server's own memory: registry, invitations, outbox, inbox, receipts, schedule.
//!
//! All writes of one call are one transaction, lasting on disk when it answers. Work is claimed by lease and
//! never by a lock held across a send: a claim that is not renewed is free again when its time is over.

use std::time::Duration;

use jiff::Timestamp;

use super::BoxFuture;
use crate::backup::{BackupType, Codec};
use crate::code::{Code, Explain};
use crate::digest::Digest;
use crate::id::{BackupId, Sequence, ServerId};
use crate::lineage::Remembered;
use crate::peer::{Activity, Peer};
use crate::schedule::{ScheduleName, ScheduleRecord};
use crate::standing::{Acknowledged, Packed};

/// The server's own memory.
pub trait StateStore: Send + Sync {
    /// Carries out all writes, or none.
    ///
    /// # Errors
    /// [`StateError::Conflict`] where a write's condition does not hold.
    fn commit(&self, writes: Vec<StateWrite>) -> BoxFuture<'_, Result<(), StateError>>;

    /// Claims the next outbox entry that is due, for as long as the lease says.
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Option<OutboxEntry>, StateError>>;

    /// Answers one question.
    fn read(&self, question: StateRead) -> BoxFuture<'_, Result<StateReply, StateError>>;
}

/// What is written. `Put…` replaces what has the same name.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub enum StateWrite {
    /// A new peer. Conflict where its id or key is taken by another.
    AddPeer(Peer),
    /// Changes a peer. Conflict where there is none.
    ChangePeer(Peer),
    /// Removes a peer, its outbox and its inbox. Conflict where there is none.
    RemovePeer(ServerId),
    /// Pauses or resumes. Conflict where there is none.
    SetActivity { peer: ServerId, activity: Activity },
    /// It was heard of. No conflict where it is gone.
    Seen { peer: ServerId, at: Timestamp },
    /// A new invitation.
    AddInvitation(InvitationRecord),
    /// Counts a wrong proof. Conflict where the invitation is gone, used or burnt.
    CountWrongProof { token: [u8; 4], attempts_max: u32 },
    /// Uses an invitation up. Conflict where it is gone, used, burnt or expired at `at`: exactly one of many wins.
    UseInvitation { token: [u8; 4], by: ServerId, from: String, at: Timestamp },
    /// A sealed backup waits to be sent.
    PutOutbox(OutboxEntry),
    /// What became of it. Conflict where there is none.
    SettleOutbox { backup: BackupId, state: OutboxState },
    /// It could not be sent now: counts the attempt, frees the claim, waits.
    DeferOutbox { backup: BackupId, not_before: Timestamp, code: Code, message: String },
    /// Removes an entry of the outbox.
    RemoveOutbox(BackupId),
    /// An upload begins, or changes its state.
    PutInbox(InboxEntry),
    /// Removes an entry of the inbox.
    RemoveInbox { peer: ServerId, backup: BackupId },
    /// A receipt, made here or received.
    PutReceipt(ReceiptRecord),
    /// What is remembered of an entry of the schedule.
    PutSchedule(ScheduleRecord),
    /// Forgets an entry of the schedule; one that is not remembered is forgotten already.
    RemoveSchedule(ScheduleName),
    /// The last place in the chain to a peer that was used, and the digest of its metadata.
    PutChain { peer: ServerId, sequence: Sequence, metadata: Digest },
    /// How far a peer is. Conflict where there is no such peer.
    PutAcknowledged(Acknowledged),
    /// What is remembered of the application database.
    PutRemembered(Remembered),
}

/// A question to the state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is answered by the StateReply of its name")]
pub enum StateRead {
    Peers,
    Peer(ServerId),
    PeerByKey(crate::id::KeyId),
    Invitation([u8; 4]),
    Invitations,
    Outbox,
    OutboxOf(ServerId),
    OutboxEntry(BackupId),
    Inbox,
    InboxEntry { peer: ServerId, backup: BackupId },
    Receipts { newest: u32 },
    Receipt(BackupId),
    Chain(ServerId),
    Schedule,
    Acknowledged,
    Remembered,
}

/// An answer of the state.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each answers the StateRead of its name")]
pub enum StateReply {
    Peers(Vec<Peer>),
    Peer(Option<Peer>),
    Invitation(Option<InvitationRecord>),
    Invitations(Vec<InvitationRecord>),
    Outbox(Vec<OutboxEntry>),
    OutboxEntry(Option<OutboxEntry>),
    Inbox(Vec<InboxEntry>),
    InboxEntry(Option<InboxEntry>),
    Receipts(Vec<ReceiptRecord>),
    Receipt(Option<ReceiptRecord>),
    Chain(Option<(Sequence, Digest)>),
    Schedule(Vec<ScheduleRecord>),
    Acknowledged(Vec<Acknowledged>),
    Remembered(Option<Remembered>),
}

/// An invitation that was printed here. The secret itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationRecord {
    /// Which one.
    pub token: [u8; 4],
    /// The key that proofs are checked with: a digest of the secret.
    pub secret_digest: Digest,
    /// The id that the joining server must have, where one was said.
    pub for_server: Option<ServerId>,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether what others made is passed on to whoever joins.
    pub relay: bool,
    /// Wrong proofs so far.
    pub wrong_proofs: u32,
    /// Who used it, from where, and when.
    pub used: Option<(ServerId, String, Timestamp)>,
}

/// Which outbox entry to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Of this peer alone, or of any.
    pub peer: Option<ServerId>,
    /// Entries that wait for a later time are left alone, unless `early` is set.
    pub now: Timestamp,
    /// Also those whose waiting time is not over: a person asked.
    pub early: bool,
    /// Who claims, and for how long.
    pub lease: Lease,
}

/// A claim's holder and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// A name of the process and task that claims.
    pub holder: String,
    /// After this the claim is free again.
    pub length: Duration,
}

/// A sealed backup on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its name.
    pub backup: BackupId,
    /// Whom it is for.
    pub peer: ServerId,
    /// What it brings.
    pub backup_type: BackupType,
    /// Its place in the chain.
    pub sequence: Sequence,
    /// How it is compressed.
    pub codec: Codec,
    /// The first frame: everything before D.
    pub head: Vec<u8>,
    /// The spool file of the second frame, by the backup that named it.
    pub data_file: BackupId,
    /// Bytes of the second frame.
    pub data_frame_bytes: u64,
    /// The third frame: everything after D.
    pub tail: Vec<u8>,
    /// The signature, in base64: it travels ahead.
    pub signature: String,
    /// The digest of its metadata.
    pub metadata: Digest,
    /// SHA-256 of D.
    pub checksum: Digest,
    /// How many rows it holds.
    pub record_count: u64,
    /// From which position it was packed; nothing where changes were not captured.
    pub packed: Option<Packed>,
    /// When it was sealed.
    pub created_at: Timestamp,
    /// What became of it.
    pub state: OutboxState,
    /// How often it was tried.
    pub attempts: u32,
    /// It waits until then.
    pub not_before: Option<Timestamp>,
    /// Why it could not be sent the last time.
    pub last_error: Option<(Code, String)>,
}

impl OutboxEntry {
    /// Bytes of the whole document as it travels.
    #[must_use]
    pub fn document_bytes(&self) -> u64 {
        self.head.len() as u64 + self.data_frame_bytes + self.tail.len() as u64
    }
}

/// What became of a sealed backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxState {
    /// It waits, or is being sent.
    Waiting,
    /// Its receipt came, and says that it was applied; some rows may be held there.
    Delivered,
    /// Its receipt came, and says that nothing was applied; or the peer refused it.
    Refused,
}

/// A backup on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// Who sends it.
    pub peer: ServerId,
    /// Its name.
    pub backup: BackupId,
    /// Bytes of the whole document.
    pub document_bytes: u64,
    /// The signature that came ahead, in base64.
    pub signature: String,
    /// What became of it.
    pub state: InboxState,
    /// When it began.
    pub created_at: Timestamp,
    /// When it is swept, where it does not end.
    pub expires_at: Timestamp,
    /// Why it was refused.
    pub error: Option<(Code, String)>,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxState {
    /// Parts are coming in.
    Receiving,
    /// All is here; it is verified and applied.
    Received,
    /// It was applied; its receipt is stored.
    Applied,
    /// It was refused.
    Refused,
}

/// A receipt, as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// The backup that it answers.
    pub backup: BackupId,
    /// Who made the backup.
    pub source: ServerId,
    /// Who made the receipt.
    pub server: ServerId,
    /// When.
    pub processed_at: Timestamp,
    /// Whether it says success.
    pub success: bool,
    /// The signed document.
    pub document: Vec<u8>,
}

/// What the state fails at.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A write's condition does not hold.
    #[error("{0}")]
    Conflict(StateConflict),
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// Another process works on this state.
    #[error("another branchline process works on {folder}")]
    Locked {
        /// The folder.
        folder: String,
    },
    /// It cannot be read or written.
    #[error("the state cannot be used: {message}")]
    Broken {
        /// What the engine said.
        message: String,
    },
}

/// Which condition did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateConflict {
    /// The id or the key is taken.
    #[error("a peer of that id or key is known already")]
    PeerExists,
    /// There is no such peer.
    #[error("no peer has that id")]
    PeerUnknown,
    /// There is no such invitation.
    #[error("no such invitation is open")]
    InvitationUnknown,
    /// It was used, or burnt by wrong proofs.
    #[error("the invitation was used already")]
    InvitationUsed,
    /// Its time is over.
    #[error("the invitation is no longer good")]
    InvitationExpired,
    /// There is no such entry.
    #[error("there is no such entry")]
    EntryUnknown,
}

impl Explain for StateError {
    fn code(&self) -> Code {
        match self {
            Self::Conflict(conflict) => match conflict {
                StateConflict::PeerExists => Code::PEER_EXISTS,
                StateConflict::PeerUnknown => Code::PEER_UNKNOWN,
                StateConflict::InvitationUnknown => Code::INVITATION_UNKNOWN,
                StateConflict::InvitationUsed => Code::INVITATION_USED,
                StateConflict::InvitationExpired => Code::INVITATION_EXPIRED,
                StateConflict::EntryUnknown => Code::NOT_FOUND,
            },
            Self::DiskFull => Code::DISK_FULL,
            Self::Locked { .. } => Code::HOME_LOCKED,
            Self::Broken { .. } => Code::STATE_BROKEN,
        }
    }
}

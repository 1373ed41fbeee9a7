//! The two ends of a link between servers: [`PeerLink`] asks, [`Reception`] answers.

use std::time::Duration;

use jiff::Timestamp;

use super::BoxFuture;
use crate::code::{Code, Explain, Retry};
use crate::compare::{CompareAnswer, CompareRequest};
use crate::id::{BackupId, Epoch, Sequence, ServerId};
use crate::pairing::{PairAnswer, PairRequest};
use crate::schema::Schema;
use crate::signing::PublicKey;
use crate::standing::Standing;

/// A link to one peer: every answer comes from the pinned key.
pub trait PeerLink: Send + Sync {
    /// Who and what the peer is.
    fn hello(&self) -> BoxFuture<'_, Result<PeerHello, LinkError>>;

    /// Announces a backup, or asks how far an earlier upload of it came.
    fn offer<'a>(&'a self, offer: &'a Offer) -> BoxFuture<'a, Result<OfferAnswer, LinkError>>;

    /// Sends one part at that offset; answers the offset after it, which is lasting at the peer.
    fn send(&self, backup: BackupId, offset: u64, part: Vec<u8>) -> BoxFuture<'_, Result<u64, LinkError>>;

    /// The signed receipt; nothing where the peer is not done after `wait`.
    fn receipt(&self, backup: BackupId, wait: Duration) -> BoxFuture<'_, Result<Option<Vec<u8>>, LinkError>>;

    /// Asks for counts, hashes or row digests.
    fn compare<'a>(&'a self, request: &'a CompareRequest) -> BoxFuture<'a, Result<CompareAnswer, LinkError>>;

    /// Ends an upload that is no longer wanted.
    fn cancel(&self, backup: BackupId) -> BoxFuture<'_, Result<(), LinkError>>;
}

/// What a peer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerHello {
    /// Its id.
    pub server: ServerId,
    /// The program and its version.
    pub producer: String,
    /// Lowest and highest minor version of protocol 1 that it speaks.
    pub protocol: (u32, u32),
    /// What it can do besides.
    pub features: Vec<String>,
    /// Its clock.
    pub time: Timestamp,
    /// Its tables, as far as we may see them.
    pub schema: Schema,
    /// The last of our backups that it applied: our epoch then, and the place in the chain.
    pub last_applied: Option<(Epoch, Sequence)>,
    /// What it says of the changes that it holds; nothing where it captures none.
    pub standing: Option<Standing>,
    /// How it was reached, such as `127.0.0.1:8443`; empty in what a server says of itself.
    pub path: String,
}

/// An announced backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub backup: BackupId,
    /// Bytes of the whole document.
    pub document_bytes: u64,
    /// The signature over its metadata, in base64.
    pub signature: String,
}

/// How far an offered backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferAnswer {
    /// Go on from that offset.
    Continue {
        /// Bytes that are lasting at the peer.
        offset: u64,
    },
    /// The peer has all of it.
    Complete,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadStatus {
    /// Bytes that are lasting here.
    pub offset: u64,
    /// Bytes of the whole document.
    pub document_bytes: u64,
    /// When it is swept if it does not go on.
    pub expires_at: Timestamp,
}

/// What answers at the server side. The caller's key was proven by TLS; what it may do is decided here, anew
/// for each request.
pub trait Reception: Send + Sync {
    /// Who has that key.
    ///
    /// # Errors
    /// Not paired, or paused.
    fn authenticate(&self, key: PublicKey) -> BoxFuture<'_, Result<ServerId, ReceptionError>>;

    /// What this server says of itself to that peer.
    fn hello(&self, peer: ServerId) -> BoxFuture<'_, Result<PeerHello, ReceptionError>>;

    /// One step of an upload.
    fn upload(&self, peer: ServerId, step: UploadStep)
    -> BoxFuture<'_, Result<UploadStatus, ReceptionError>>;

    /// The signed receipt of a backup of that peer; nothing where it is not done after `wait`.
    fn receipt(
        &self,
        peer: ServerId,
        backup: BackupId,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, ReceptionError>>;

    /// Counts, hashes or row digests.
    fn compare(
        &self,
        peer: ServerId,
        request: CompareRequest,
    ) -> BoxFuture<'_, Result<CompareAnswer, ReceptionError>>;

    /// A server that is not paired yet uses an invitation.
    fn pair(&self, request: PairRequest) -> BoxFuture<'_, Result<PairAnswer, ReceptionError>>;
}

/// One step of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStep {
    /// It begins, or goes on after a break.
    Offer(Offer),
    /// A whole document without an announcement comes next (`POST /v1/backups`); its name is in its metadata.
    Begin {
        /// A name for the time until the metadata are here.
        backup: BackupId,
        /// Bytes of the whole document.
        document_bytes: u64,
    },
    /// Bytes at an offset; they are not lasting yet.
    Append {
        /// Which upload.
        backup: BackupId,
        /// Where they begin.
        offset: u64,
        /// The bytes, one batch at most.
        bytes: Vec<u8>,
    },
    /// The part is over: make it lasting. The last one begins verification.
    Settle {
        /// Which upload.
        backup: BackupId,
    },
    /// How far it is.
    Status {
        /// Which upload.
        backup: BackupId,
    },
    /// It is no longer wanted.
    Cancel {
        /// Which upload.
        backup: BackupId,
    },
}

/// What a link fails at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No address answered.
    #[error("{peer} does not answer: {detail}")]
    Unreachable {
        /// The peer.
        peer: ServerId,
        /// Which addresses were tried, and what each said.
        detail: String,
    },
    /// Another key answered.
    #[error("another server answers at {address}: its key is {found}")]
    WrongKey {
        /// Where.
        address: String,
        /// Its key id.
        found: String,
    },
    /// The peer does not know our key.
    #[error("{peer} does not know this server's key")]
    NotPaired {
        /// The peer.
        peer: ServerId,
    },
    /// No TLS 1.3 connection came about.
    #[error("TLS with {address} failed: {message}")]
    Tls {
        /// Where.
        address: String,
        /// What failed.
        message: String,
    },
    /// It took too long.
    #[error("{peer} took too long")]
    TimedOut {
        /// The peer.
        peer: ServerId,
    },
    /// The connection broke.
    #[error("the connection to {peer} broke: {message}")]
    Broken {
        /// The peer.
        peer: ServerId,
        /// How.
        message: String,
    },
    /// The peer answered with a problem.
    #[error("{peer} says: {message} ({code})")]
    Problem {
        /// The peer.
        peer: ServerId,
        /// Its code.
        code: Code,
        /// Its words, without control characters.
        message: String,
        /// Whether it says that trying again can help.
        retryable: bool,
    },
    /// The peer answered something that is not of the protocol.
    #[error("{peer} answered something that is not of the protocol: {message}")]
    Protocol {
        /// The peer.
        peer: ServerId,
        /// What.
        message: String,
    },
}

impl Explain for LinkError {
    fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => Code::UNREACHABLE,
            Self::WrongKey { .. } => Code::WRONG_KEY,
            Self::NotPaired { .. } => Code::NOT_PAIRED,
            Self::Tls { .. } => Code::TLS_FAILED,
            Self::TimedOut { .. } => Code::TIMED_OUT,
            Self::Problem { code, .. } => *code,
            Self::Protocol { .. } => Code::PROTOCOL_MISMATCH,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Problem { retryable: true, .. } => Retry::Later,
            Self::Problem { retryable: false, .. } => Retry::Never,
            other => other.code().entry().retry,
        }
    }
}

/// What the server side refuses with: a code, words for the peer, and nothing of our insides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReceptionError {
    /// The code.
    pub code: Code,
    /// Words for the peer.
    pub message: String,
    /// The offset that is lasting here, where the code is [`Code::OFFSET_MISMATCH`].
    pub offset: Option<u64>,
}

impl ReceptionError {
    /// A refusal with the code's own meaning.
    #[must_use]
    pub fn of(code: Code) -> Self {
        Self { code, message: code.entry().meaning.to_owned(), offset: None }
    }

    /// A refusal that says what an error says.
    #[must_use]
    pub fn from_error(error: &dyn Explain) -> Self {
        Self { code: error.code(), message: error.to_string(), offset: None }
    }
}

impl Explain for ReceptionError {
    fn code(&self) -> Code {
        self.code
    }
}

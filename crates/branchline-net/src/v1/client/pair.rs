//! Joins: uses an invitation, so that the two servers know each other from then on.
//!
//! 1. The inviting server's key is pinned by the invitation, so nobody can stand in between.
//! 2. The pairing protocol takes our key, which it does not know yet.
//! 3. The proof is made over this connection's exporter: it is worth nothing anywhere else, and the secret stays here.
//! 4. The check words are made here from what went over this connection, and must be the ones that the other side shows.

use std::sync::Arc;

use branchline_core::code::{Code, Explain, Retry};
use branchline_core::id::ServerId;
use branchline_core::limits::MESSAGE_BYTES_MAX;
use branchline_core::pairing::{
    EXPORTER_LABEL, Exporter, Invitation, PairAnswer, PairRequest, Proof, check_words, prove, secret_digest,
};
use branchline_core::peer::PeerAddress;
use branchline_core::ports::Signer;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::LinkContext;
use super::ask::{Ask, Reply};
use crate::certificate::NEUTRAL_NAME;
use crate::connector::{AttemptFailure, ConnectError, Connected, Connector, FirstWord};
use crate::tls::{ALPN_PAIR, client_config};
use crate::v1::problem::ReceivedProblem;
use crate::v1::{bodies, names};

/// What a joining server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joiner {
    /// Its id.
    pub server: ServerId,
    /// What people call it.
    pub name: String,
    /// Where it may be found; empty where it cannot be called.
    pub addresses: Vec<PeerAddress>,
}

/// Why two servers were not paired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The inviting server was not reached.
    #[error("the inviting server does not answer: {detail}")]
    Unreachable {
        /// What was tried.
        detail: String,
    },
    /// Another server is at the invitation's address.
    #[error("another server answers at {address}: its key is {found}")]
    WrongKey {
        /// Where.
        address: String,
        /// Its key id.
        found: String,
    },
    /// The inviting server has no invitation open: it was used, withdrawn, or has expired.
    #[error("the inviting server has no invitation open")]
    NotOpen,
    /// No TLS 1.3 connection came about.
    #[error("TLS with the inviting server failed: {message}")]
    Tls {
        /// What failed.
        message: String,
    },
    /// It took too long.
    #[error("the inviting server took too long")]
    TimedOut,
    /// The connection broke.
    #[error("the connection to the inviting server broke: {message}")]
    Broken {
        /// How.
        message: String,
    },
    /// It refused.
    #[error("the inviting server says: {message} ({code})")]
    Refused {
        /// Its code.
        code: Code,
        /// Its words, without control characters.
        message: String,
        /// Whether it says that trying again can help.
        retryable: bool,
    },
    /// It answered something that is not of the protocol, or other check words.
    #[error("the inviting server answered something that is not of the protocol: {message}")]
    Protocol {
        /// What.
        message: String,
    },
}

impl Explain for PairError {
    fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => Code::UNREACHABLE,
            Self::WrongKey { .. } => Code::WRONG_KEY,
            Self::NotOpen => Code::INVITATION_UNKNOWN,
            Self::Tls { .. } => Code::TLS_FAILED,
            Self::TimedOut => Code::TIMED_OUT,
            Self::Refused { code, .. } => *code,
            Self::Protocol { .. } => Code::PROTOCOL_MISMATCH,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Refused { retryable: true, .. } => Retry::Later,
            Self::Refused { retryable: false, .. } => Retry::Never,
            other => other.code().entry().retry,
        }
    }
}

/// Uses an invitation. What comes back has the check words to show.
///
/// # Errors
/// Where the inviting server is not reached, is another one, or refuses.
pub async fn pair(
    invitation: &Invitation,
    joiner: &Joiner,
    context: &LinkContext,
) -> Result<PairAnswer, PairError> {
    let config = client_config(&context.identity, invitation.pin, ALPN_PAIR)
        .map_err(|error| PairError::Tls { message: error.to_string() })?;
    let connector = Connector {
        dialer: Arc::clone(&context.dialer),
        config,
        bounds: context.bounds.clone(),
        first_word: FirstWord::Client,
    };
    let connected =
        connector.connect(std::slice::from_ref(&invitation.address)).await.map_err(of_connecting)?;
    let request = request_on(&connected, invitation, joiner, context)?;
    let (proof, body) = (request.proof, bodies::write_pair_request(&request));
    let exchange = exchange(connected, body, context);
    let reply =
        tokio::time::timeout(context.bounds.answer, exchange).await.map_err(|_| PairError::TimedOut)??;
    accept(&reply, proof, joiner)
}

fn request_on(
    connected: &Connected,
    invitation: &Invitation,
    joiner: &Joiner,
    context: &LinkContext,
) -> Result<PairRequest, PairError> {
    let tls = connected.stream.stream().get_ref().1;
    let exporter: Exporter = tls
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .map_err(|error| PairError::Tls { message: error.to_string() })?;
    let key = context.identity.public_key();
    let secret = secret_digest(&invitation.secret);
    Ok(PairRequest {
        token: invitation.token,
        proof: prove(secret, &exporter, invitation.pin, key.key_id()),
        exporter,
        key,
        server: joiner.server.clone(),
        name: joiner.name.clone(),
        addresses: joiner.addresses.clone(),
        from: String::new(),
    })
}

async fn exchange(connected: Connected, body: Vec<u8>, context: &LinkContext) -> Result<Reply, PairError> {
    let broken = |error: hyper::Error| PairError::Broken { message: error.to_string() };
    let Connected { stream, path } = connected;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the sender, at the end of this function.
    context.tasks.start(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the pairing connection ended");
        }
    });
    let ask = Ask::new(Method::POST, "/v1/pair").answered_within_bytes(MESSAGE_BYTES_MAX);
    let request = Request::post("/v1/pair")
        .header(HOST, NEUTRAL_NAME)
        .header(CONTENT_TYPE, names::JSON)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| PairError::Protocol { message: error.to_string() })?;
    let response = sender.send_request(request).await.map_err(broken)?;
    ask.read(response, &path).await.map_err(|error| PairError::Broken { message: error.to_string() })
}

fn accept(reply: &Reply, proof: Proof, joiner: &Joiner) -> Result<PairAnswer, PairError> {
    if reply.status != StatusCode::OK {
        return Err(match ReceivedProblem::read(&reply.body) {
            Some(ReceivedProblem { code, message, retryable }) => {
                PairError::Refused { code, message, retryable }
            }
            None => PairError::Protocol { message: format!("status {}", reply.status) },
        });
    }
    let answer = bodies::read_pair_answer(&reply.body)
        .map_err(|error| PairError::Protocol { message: error.to_string() })?;
    if answer.words != check_words(proof, &answer.server, &joiner.server) {
        return Err(PairError::Protocol {
            message: "its check words are not the ones of this connection".into(),
        });
    }
    Ok(answer)
}

fn of_connecting(error: ConnectError) -> PairError {
    let Some(attempt) = error.gravest().cloned() else {
        return PairError::Unreachable { detail: error.to_string() };
    };
    match attempt.failure {
        AttemptFailure::WrongKey { found } => PairError::WrongKey { address: attempt.address, found },
        AttemptFailure::NotOffered | AttemptFailure::NotPaired => PairError::NotOpen,
        AttemptFailure::Tls(message) => PairError::Tls { message },
        AttemptFailure::Unreachable(_) | AttemptFailure::TimedOut => {
            PairError::Unreachable { detail: error.to_string() }
        }
    }
}

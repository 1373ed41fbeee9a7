//! The client side of protocol version 1: [`HttpLink`], a link to one peer, and [`pair`], which makes a peer of a
//! server.
//!
//! A link keeps one HTTP/2 connection and opens another when it breaks. Every answer comes from the pinned key: no
//! other connection comes about. What a peer answers is bounded before it is read, and checked before it is believed.

mod ask;
mod pair;
mod pooled;

pub use pair::{Joiner, PairError, pair};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use branchline_core::code::Code;
use branchline_core::compare::{CompareAnswer, CompareRequest};
use branchline_core::id::{BackupId, KeyId, ServerId};
use branchline_core::limits::MESSAGE_BYTES_MAX;
use branchline_core::peer::PeerAddress;
use branchline_core::ports::{BoxFuture, LinkError, Offer, OfferAnswer, PeerHello, PeerLink};
use bytes::Bytes;
use data_encoding::BASE64;
use http::{Method, StatusCode};

use super::problem::ReceivedProblem;
use super::{COMPARE_BYTES_MAX, HELLO_BYTES_MAX, RECEIPT_BYTES_MAX, RECEIPT_WAIT_SECONDS_MAX, bodies, names};
use crate::connector::{Connector, FirstWord};
use crate::deadlines::ClientBounds;
use crate::dial::{Dialer, TcpDialer};
use crate::identity::Identity;
use crate::tasks::Tasks;
use crate::tls::{ALPN_HTTP2, TlsError, client_config};
use ask::{Ask, Reply};
use pooled::Pooled;

/// What all links of a server share.
#[derive(Clone)]
pub struct LinkContext {
    /// Who we are.
    pub identity: Identity,
    /// How addresses are reached.
    pub dialer: Arc<dyn Dialer>,
    /// Where the connections' tasks are started.
    pub tasks: Tasks,
    /// How long things may take.
    pub bounds: ClientBounds,
}

impl LinkContext {
    /// Over TCP, with the usual deadlines.
    #[must_use]
    pub fn new(identity: Identity, tasks: Tasks) -> Self {
        Self { identity, dialer: Arc::new(TcpDialer), tasks, bounds: ClientBounds::default() }
    }
}

/// A link to one peer.
pub struct HttpLink {
    peer: ServerId,
    bounds: ClientBounds,
    pooled: Pooled,
}

impl fmt::Debug for HttpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpLink({})", self.peer)
    }
}

impl HttpLink {
    /// A link to the server that has `key`, at whichever of `addresses` it is found. Nothing is dialled yet.
    ///
    /// # Errors
    /// Where the TLS library refuses its configuration.
    pub fn new(
        peer: ServerId,
        key: KeyId,
        addresses: Vec<PeerAddress>,
        context: &LinkContext,
    ) -> Result<Self, TlsError> {
        let connector = Connector {
            dialer: Arc::clone(&context.dialer),
            config: client_config(&context.identity, key, ALPN_HTTP2)?,
            bounds: context.bounds.clone(),
            first_word: FirstWord::Server,
        };
        let pooled = Pooled::new(peer.clone(), addresses, connector, context.tasks.clone());
        Ok(Self { peer, bounds: context.bounds.clone(), pooled })
    }

    /// Asks, and takes an answer of one of the expected statuses.
    async fn ask(&self, ask: Ask, within: Duration, expected: &[StatusCode]) -> Result<Reply, LinkError> {
        let reply = self.pooled.exchange(&ask, within).await?;
        if expected.contains(&reply.status) {
            return Ok(reply);
        }
        match ReceivedProblem::read(&reply.body) {
            Some(problem) if reply.status.as_u16() >= 400 => Err(problem.into_link_error(&self.peer)),
            _ => Err(self.protocol(format!("status {} to {} {}", reply.status, ask.method, ask.path))),
        }
    }

    fn protocol(&self, message: impl Into<String>) -> LinkError {
        LinkError::Protocol { peer: self.peer.clone(), message: message.into() }
    }

    fn offset_in(&self, reply: &Reply) -> Result<u64, LinkError> {
        let offset =
            reply.headers.get(names::UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.parse().ok());
        offset.ok_or_else(|| self.protocol("the answer lacks Upload-Offset"))
    }

    async fn say_hello(&self) -> Result<PeerHello, LinkError> {
        let ask = Ask::new(Method::GET, "/v1/hello").answered_within_bytes(HELLO_BYTES_MAX);
        let reply = self.ask(ask, self.bounds.answer, &[StatusCode::OK]).await?;
        let hello =
            bodies::read_hello(&reply.body, reply.path).map_err(|error| self.protocol(error.to_string()))?;
        if hello.server != self.peer {
            return Err(
                self.protocol(format!("its key is the pinned one, and it calls itself {}", hello.server))
            );
        }
        Ok(hello)
    }

    async fn make_offer(&self, offer: &Offer) -> Result<OfferAnswer, LinkError> {
        let metadata = format!(
            "backup {},signature {}",
            BASE64.encode(offer.backup.to_string().as_bytes()),
            BASE64.encode(offer.signature.as_bytes())
        );
        let ask = Ask::tus(Method::POST, "/v1/uploads".into())
            .with_header(names::UPLOAD_LENGTH, offer.document_bytes.to_string())
            .with_header(names::UPLOAD_METADATA, metadata);
        let reply = self.ask(ask, self.bounds.answer, &[StatusCode::CREATED]).await?;
        let offset = self.offset_in(&reply)?;
        match offset.cmp(&offer.document_bytes) {
            std::cmp::Ordering::Less => Ok(OfferAnswer::Continue { offset }),
            std::cmp::Ordering::Equal => Ok(OfferAnswer::Complete),
            std::cmp::Ordering::Greater => Err(self.protocol("the upload is longer than its document")),
        }
    }

    async fn send_part(&self, backup: BackupId, offset: u64, part: Vec<u8>) -> Result<u64, LinkError> {
        let within = self.bounds.for_body(part.len());
        let ask = Ask::tus(Method::PATCH, format!("/v1/uploads/{backup}"))
            .with_header(names::UPLOAD_OFFSET, offset.to_string())
            .with_header(http::header::CONTENT_TYPE, names::PART.to_owned())
            .with_body(Bytes::from(part))
            .once();
        let reply = self.ask(ask, within, &[StatusCode::NO_CONTENT]).await?;
        self.offset_in(&reply)
    }

    async fn ask_receipt(&self, backup: BackupId, wait: Duration) -> Result<Option<Vec<u8>>, LinkError> {
        let seconds = wait.as_secs().min(RECEIPT_WAIT_SECONDS_MAX);
        let ask = Ask::new(Method::GET, format!("/v1/backups/{backup}?wait={seconds}"))
            .answered_within_bytes(RECEIPT_BYTES_MAX);
        let within = self.bounds.answer.saturating_add(Duration::from_secs(seconds));
        let reply = self.ask(ask, within, &[StatusCode::OK, StatusCode::ACCEPTED]).await?;
        Ok((reply.status == StatusCode::OK).then(|| reply.body.to_vec()))
    }

    async fn ask_comparison(&self, request: &CompareRequest) -> Result<CompareAnswer, LinkError> {
        let body = bodies::write_compare_request(request);
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(self.protocol("the question is larger than 1 MiB"));
        }
        let ask = Ask::new(Method::POST, "/v1/compare")
            .with_header(http::header::CONTENT_TYPE, names::JSON.to_owned())
            .with_body(Bytes::from(body))
            .answered_within_bytes(COMPARE_BYTES_MAX);
        // The peer reads its table meanwhile: that takes as long as it takes to read one, not one message.
        let within = self.bounds.answer.saturating_mul(10);
        let reply = self.ask(ask, within, &[StatusCode::OK]).await?;
        bodies::read_compare_answer(request, &reply.body).map_err(|error| self.protocol(error.to_string()))
    }

    async fn end_upload(&self, backup: BackupId) -> Result<(), LinkError> {
        let ask = Ask::tus(Method::DELETE, format!("/v1/uploads/{backup}"));
        match self.ask(ask, self.bounds.answer, &[StatusCode::NO_CONTENT]).await {
            // What is not there is ended already.
            Ok(_) | Err(LinkError::Problem { code: Code::NOT_FOUND | Code::UPLOAD_EXPIRED, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl PeerLink for HttpLink {
    fn hello(&self) -> BoxFuture<'_, Result<PeerHello, LinkError>> {
        Box::pin(self.say_hello())
    }

    fn offer<'a>(&'a self, offer: &'a Offer) -> BoxFuture<'a, Result<OfferAnswer, LinkError>> {
        Box::pin(self.make_offer(offer))
    }

    fn send(&self, backup: BackupId, offset: u64, part: Vec<u8>) -> BoxFuture<'_, Result<u64, LinkError>> {
        Box::pin(self.send_part(backup, offset, part))
    }

    fn receipt(&self, backup: BackupId, wait: Duration) -> BoxFuture<'_, Result<Option<Vec<u8>>, LinkError>> {
        Box::pin(self.ask_receipt(backup, wait))
    }

    fn compare<'a>(&'a self, request: &'a CompareRequest) -> BoxFuture<'a, Result<CompareAnswer, LinkError>> {
        Box::pin(self.ask_comparison(request))
    }

    fn cancel(&self, backup: BackupId) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(self.end_upload(backup))
    }
}

//! One connection to a peer, kept open and shared by all requests to it; a new one where it broke.
//!
//! A request on a connection that broke is sent once more on a new one, if it never left, or if sending it twice does
//! no harm. Whatever else fails is for the outbox to try again.

use std::sync::Arc;
use std::time::Duration;

use branchline_core::id::ServerId;
use branchline_core::peer::PeerAddress;
use branchline_core::ports::LinkError;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Mutex;

use super::ask::{Ask, Reply, ReplyError};
use crate::connector::{Connected, Connector};
use crate::tasks::Tasks;
use crate::tls::ALPN_HTTP2;

/// Bytes that a peer may send ahead of what we have read.
const WINDOW_BYTES: u32 = 1 << 20;

/// The connection to one peer.
pub(super) struct Pooled {
    peer: ServerId,
    addresses: Vec<PeerAddress>,
    connector: Connector,
    tasks: Tasks,
    // Held while a connection is made, on purpose: whoever asks meanwhile waits for that one instead of making another.
    open: Mutex<Option<Open>>,
}

/// An open connection.
#[derive(Clone)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// How the peer was reached; also tells this connection from another.
    path: Arc<str>,
}

/// How an exchange failed, as far as it matters to trying again.
enum Failure {
    /// Nothing of it was sent.
    Unsent(LinkError),
    /// Nobody knows whether it arrived.
    Unknown(LinkError),
    /// The same will happen again.
    Final(LinkError),
}

impl Pooled {
    pub(super) fn new(
        peer: ServerId,
        addresses: Vec<PeerAddress>,
        connector: Connector,
        tasks: Tasks,
    ) -> Self {
        Self { peer, addresses, connector, tasks, open: Mutex::new(None) }
    }

    /// Sends a request and reads its answer.
    pub(super) async fn exchange(&self, ask: &Ask, within: Duration) -> Result<Reply, LinkError> {
        let (open, is_new) = self.connection().await?;
        let failure = match self.exchange_on(open, ask, within).await {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        };
        let again = match &failure {
            Failure::Unsent(_) => true,
            Failure::Unknown(_) => ask.repeatable,
            Failure::Final(_) => false,
        };
        if is_new || !again {
            return Err(failure.into_error());
        }
        let (open, _) = self.connection().await?;
        self.exchange_on(open, ask, within).await.map_err(Failure::into_error)
    }

    async fn connection(&self) -> Result<(Open, bool), LinkError> {
        let mut slot = self.open.lock().await;
        if let Some(open) = slot.as_ref().filter(|open| !open.sender.is_closed()) {
            return Ok((open.clone(), false));
        }
        *slot = None;
        let connected = self.connector.connect(&self.addresses).await;
        let connected = connected.map_err(|error| error.into_link_error(&self.peer))?;
        let open = self.open_http(connected).await?;
        *slot = Some(open.clone());
        Ok((open, true))
    }

    async fn open_http(&self, connected: Connected) -> Result<Open, LinkError> {
        let Connected { stream, path } = connected;
        if stream.stream().get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(LinkError::Protocol {
                peer: self.peer.clone(),
                message: "it does not speak HTTP/2".into(),
            });
        }
        let bounds = &self.connector.bounds;
        let mut settings = http2::Builder::new(self.tasks.clone());
        settings.timer(TokioTimer::new()).keep_alive_interval(bounds.ping_after);
        settings.keep_alive_timeout(bounds.ping_answer).keep_alive_while_idle(true);
        settings.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (sender, connection) =
            settings.handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let peer = self.peer.clone();
        // Ends when the last sender is dropped, or the line breaks.
        self.tasks.start(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection ended");
            }
        });
        Ok(Open { sender, path: path.into() })
    }

    async fn exchange_on(&self, mut open: Open, ask: &Ask, within: Duration) -> Result<Reply, Failure> {
        let request = ask.request().map_err(|error| Failure::Final(self.protocol(&error)))?;
        let exchange = async {
            let response = open.sender.send_request(request).await.map_err(|error| {
                let broken = self.broken(&error);
                if error.is_canceled() { Failure::Unsent(broken) } else { Failure::Unknown(broken) }
            })?;
            ask.read(response, &open.path).await.map_err(|error| match error {
                ReplyError::Broken => Failure::Unknown(self.broken(&error)),
                ReplyError::TooLarge { .. } | ReplyError::Request(_) => Failure::Final(self.protocol(&error)),
            })
        };
        let result = tokio::time::timeout(within, exchange)
            .await
            .unwrap_or_else(|_| Err(Failure::Final(LinkError::TimedOut { peer: self.peer.clone() })));
        if result.is_err() {
            // What is wrong with one exchange is wrong with its connection; the next one gets another.
            self.open.lock().await.take_if(|kept| Arc::ptr_eq(&kept.path, &open.path));
        }
        result
    }

    fn broken(&self, error: &dyn std::error::Error) -> LinkError {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        LinkError::Broken { peer: self.peer.clone(), message }
    }

    fn protocol(&self, error: &ReplyError) -> LinkError {
        LinkError::Protocol { peer: self.peer.clone(), message: error.to_string() }
    }
}

impl Failure {
    fn into_error(self) -> LinkError {
        match self {
            Self::Unsent(error) | Self::Unknown(error) | Self::Final(error) => error,
        }
    }
}

//! Comes to a peer: every address is tried with a head start over the next, and the first whose key is the pinned
//! one, and that takes ours, wins.
//!
//! 1. Each address is looked up; each result is an attempt of its own.
//! 2. TCP, then TLS. A wrong key ends that attempt alone; it is logged and remembered.
//! 3. In TLS 1.3 a client has finished its handshake before the server has looked at the client's key. So the
//!    first byte of the server is awaited (HTTP/2 servers speak first) before anything is sent: a server that
//!    refuses us is told apart from a broken line, and sees no byte of HTTP.
//!
//! Limits: [`ClientBounds::connect`] an attempt. Losing attempts are dropped, which closes them.

mod attempt;
mod race;
mod replayed;

pub use attempt::{Attempt, AttemptFailure, ConnectError};
pub(crate) use replayed::Replayed;

use std::sync::Arc;

use branchline_core::peer::PeerAddress;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::NEUTRAL_NAME;
use crate::deadlines::ClientBounds;
use crate::dial::{Dialer, Stream};

/// Bytes of the server's first words that are read ahead at most.
const FIRST_BYTES: usize = 4_096;

/// Comes to one peer.
pub(crate) struct Connector {
    pub(crate) dialer: Arc<dyn Dialer>,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) bounds: ClientBounds,
    pub(crate) first_word: FirstWord,
}

/// Who speaks first once TLS is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstWord {
    /// The server, as in HTTP/2: its first byte says that it took our key.
    Server,
    /// We do, as in HTTP/1.1.
    Client,
}

/// A connection whose keys were proven both ways.
pub(crate) struct Connected {
    pub(crate) stream: Replayed<TlsStream<Box<dyn Stream>>>,
    /// Where, such as `127.0.0.1:8443`.
    pub(crate) path: String,
}

impl Connector {
    pub(crate) async fn connect(&self, addresses: &[PeerAddress]) -> Result<Connected, ConnectError> {
        let attempts = addresses.iter().map(|address| Box::pin(self.to_name(address)) as _).collect();
        race::first_success(attempts, self.bounds.head_start)
            .await
            .map_err(|attempts| ConnectError { attempts })
    }

    async fn to_name(&self, address: &PeerAddress) -> Result<Connected, Vec<Attempt>> {
        let failed = |failure| vec![Attempt { address: address.to_string(), failure }];
        let found = match tokio::time::timeout(self.bounds.connect, self.dialer.resolve(address)).await {
            Err(_) => return Err(failed(AttemptFailure::TimedOut)),
            Ok(Err(error)) => return Err(failed(AttemptFailure::Unreachable(error.to_string()))),
            Ok(Ok(found)) => found,
        };
        let attempts = found.iter().map(|endpoint| Box::pin(self.to_endpoint(endpoint)) as _).collect();
        race::first_success(attempts, self.bounds.head_start).await
    }

    async fn to_endpoint(&self, endpoint: &PeerAddress) -> Result<Connected, Vec<Attempt>> {
        let result = match tokio::time::timeout(self.bounds.connect, self.handshake(endpoint)).await {
            Err(_) => Err(AttemptFailure::TimedOut),
            Ok(result) => result,
        };
        let path = endpoint.to_string();
        match result {
            Ok(stream) => Ok(Connected { stream, path }),
            Err(failure) => {
                if let AttemptFailure::WrongKey { found } = &failure {
                    tracing::warn!(address = path, found, "another server answers at this address");
                }
                Err(vec![Attempt { address: path, failure }])
            }
        }
    }

    async fn handshake(
        &self,
        endpoint: &PeerAddress,
    ) -> Result<Replayed<TlsStream<Box<dyn Stream>>>, AttemptFailure> {
        let raw = self
            .dialer
            .dial(endpoint)
            .await
            .map_err(|error| AttemptFailure::Unreachable(error.to_string()))?;
        let name =
            ServerName::try_from(NEUTRAL_NAME).map_err(|error| AttemptFailure::Tls(error.to_string()))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let mut stream = connector.connect(name, raw).await.map_err(|error| AttemptFailure::of(&error))?;
        let mut first = Vec::new();
        if self.first_word == FirstWord::Server {
            first.resize(FIRST_BYTES, 0);
            let read = stream.read(&mut first).await.map_err(|error| AttemptFailure::of(&error))?;
            if read == 0 {
                return Err(AttemptFailure::Unreachable("it closed the connection".into()));
            }
            first.truncate(read);
        }
        Ok(Replayed::new(first.into(), stream))
    }
}

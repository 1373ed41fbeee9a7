//! One connection at the server side: handshake, then HTTP, with the proven key in every request.
//!
//! 1. The client's first words choose the protocol (see [`crate::tls`]); the whole handshake has one deadline.
//! 2. A client that is refused gets its alert, and the socket stays for a moment until it has read it: closing while
//!    its bytes are unread would make the system throw the alert away.
//! 3. HTTP/2 or HTTP/1.1 as was agreed in TLS, never by guessing; heads, idle time, pings and streams are bounded.
//! 4. At shutdown requests that run may end, within [`ServerBounds::drain`].

mod opening;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use branchline_core::pairing::{EXPORTER_LABEL, Exporter};
use branchline_core::ports::Reception;
use branchline_core::signing::PublicKey;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConnection;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::certificate::public_key_of;
use crate::deadlines::ServerBounds;
use crate::dial::Stream;
use crate::identity::Identity;
use crate::pins::PinDirectory;
use crate::tasks::Tasks;
use crate::tls::{ALPN_HTTP2, ALPN_PAIR, ServerTls, TlsError};
use crate::v1::server::{self, UploadLanes};
use opening::Opening;

/// How long, and for how many bytes, a refused client may take to read its alert.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 64 << 10;
/// Requests of one connection at once; a peer needs three.
const STREAMS_MAX: u32 = 16;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Bytes that a peer may send ahead of what we have taken: what a 100 Mbit/s line holds in 80 ms.
const WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of one HTTP/2 frame that we take.
const FRAME_BYTES: u32 = 256 << 10;

/// What answers peers: everything that connections share.
pub struct Endpoint {
    tls: ServerTls,
    reception: Arc<dyn Reception>,
    tasks: Tasks,
    bounds: ServerBounds,
    lanes: UploadLanes,
}

/// Who is at the other end of a connection; it stands in the extensions of each of its requests.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key that TLS proved.
    pub key: PublicKey,
    /// Where the connection comes from.
    pub remote: String,
    /// The connection's exporter, on the pairing protocol only.
    pub exporter: Option<Exporter>,
}

/// A connection whose handshake is done.
pub struct Admitted<S> {
    stream: TlsStream<S>,
    key: PublicKey,
}

impl Endpoint {
    /// Brings the parts together.
    ///
    /// # Errors
    /// Where the TLS library refuses its configuration.
    pub fn new(
        identity: &Identity,
        directory: Arc<dyn PinDirectory>,
        reception: Arc<dyn Reception>,
        tasks: Tasks,
        bounds: ServerBounds,
    ) -> Result<Arc<Self>, TlsError> {
        let tls = ServerTls::new(identity, directory)?;
        Ok(Arc::new(Self { tls, reception, tasks, bounds, lanes: UploadLanes::default() }))
    }

    /// Does the handshake; nothing where the client is refused, slow or gone.
    pub async fn handshake<S: Stream>(&self, raw: S) -> Option<Admitted<S>> {
        match tokio::time::timeout(self.bounds.handshake, self.admit(raw)).await {
            Ok(admitted) => admitted,
            Err(_) => {
                tracing::debug!("a handshake was not done in time");
                None
            }
        }
    }

    async fn admit<S: Stream>(&self, raw: S) -> Option<Admitted<S>> {
        let mut acceptor = pin!(LazyConfigAcceptor::new(Acceptor::default(), raw));
        let start = match acceptor.as_mut().await {
            Ok(start) => start,
            Err(error) => {
                tracing::debug!(%error, "a client said something that is not TLS");
                return None;
            }
        };
        let config = self.tls.choose(&start.client_hello());
        match start.into_stream(config).into_fallible().await {
            Ok(stream) => {
                let certificate = stream.get_ref().1.peer_certificates()?.first()?;
                let key = public_key_of(certificate).ok()?;
                Some(Admitted { stream, key })
            }
            Err((error, raw)) => {
                tracing::debug!(%error, "a client was refused");
                bid_farewell(raw).await;
                None
            }
        }
    }

    /// Answers the requests of a connection until it ends.
    pub async fn converse<S: Stream + 'static>(
        self: Arc<Self>,
        admitted: Admitted<S>,
        remote: String,
        shutdown: CancellationToken,
    ) {
        let Admitted { stream, key } = admitted;
        let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let exporter = match protocol.as_deref() {
            Some(ALPN_PAIR) => match exporter_of(stream.get_ref().1) {
                Some(exporter) => Some(exporter),
                None => return,
            },
            _ => None,
        };
        let caller = Caller { key, remote, exporter };
        let (bounds, tasks) = (self.bounds.clone(), self.tasks.clone());
        let answering = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(caller.clone());
            server::answer(Arc::clone(&self), request)
        });
        let io = TokioIo::new(Opening::new(stream, bounds.header));
        let ended = if protocol.as_deref() == Some(ALPN_HTTP2) {
            let connection = http2_settings(tasks, &bounds).serve_connection(io, answering);
            drive(connection, http2::Connection::graceful_shutdown, &shutdown, bounds.drain).await
        } else {
            let connection = http1_settings(&bounds).serve_connection(io, answering);
            drive(connection, http1::Connection::graceful_shutdown, &shutdown, bounds.drain).await
        };
        if let Some(Err(error)) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }

    pub(crate) fn bounds(&self) -> &ServerBounds {
        &self.bounds
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) fn reception(&self) -> &dyn Reception {
        &*self.reception
    }

    pub(crate) fn lanes(&self) -> &UploadLanes {
        &self.lanes
    }
}

fn http1_settings(bounds: &ServerBounds) -> http1::Builder {
    let mut settings = http1::Builder::new();
    // Without a timer hyper's deadline for heads is silently off.
    settings.timer(TokioTimer::new()).header_read_timeout(bounds.header);
    settings.max_buf_size(FRAME_BYTES as usize).max_header_size(HEAD_BYTES_MAX).max_headers(64);
    settings
}

fn http2_settings(tasks: Tasks, bounds: &ServerBounds) -> http2::Builder<Tasks> {
    let mut settings = http2::Builder::new(tasks);
    settings.timer(TokioTimer::new()).keep_alive_interval(bounds.ping_after);
    settings.keep_alive_timeout(bounds.ping_answer).max_concurrent_streams(STREAMS_MAX);
    settings
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_frame_size(FRAME_BYTES);
    settings.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    settings
}

/// Runs a connection to its end, or from shutdown on for `drain` at most.
async fn drive<C: Future>(
    connection: C,
    stop: fn(Pin<&mut C>),
    shutdown: &CancellationToken,
    drain: Duration,
) -> Option<C::Output> {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Some(ended),
        () = shutdown.cancelled() => stop(connection.as_mut()),
    }
    tokio::time::timeout(drain, connection).await.ok()
}

fn exporter_of(connection: &ServerConnection) -> Option<Exporter> {
    connection.export_keying_material([0; 32], EXPORTER_LABEL, None).ok()
}

async fn bid_farewell<S: Stream>(mut raw: S) {
    let reading = async {
        raw.shutdown().await?;
        tokio::io::copy(&mut raw.take(FAREWELL_BYTES), &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(FAREWELL, reading).await {
        tracing::trace!(%error, "a refused client did not wait for its alert");
    }
}

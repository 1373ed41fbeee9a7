//! The accept loop: takes sockets, bounds how many there are, and gives each a task of its own.
//!
//! 1. A socket takes one of [`ServerBounds::connections_max`](crate::deadlines::ServerBounds) places.
//! 2. Where none is free, the oldest handshake that is still going on gives way; where there is none, the new socket
//!    is closed at once. So sockets that say nothing cannot keep a peer out: it would take as many of them within the
//!    few milliseconds of that peer's handshake.
//! 3. The handshake runs in the socket's own task, so that nobody waits behind somebody slow.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use branchline_core::code::{Code, Explain};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::connection::Endpoint;

/// How long a socket may wait for the place of a handshake that was told to give way.
const GIVING_WAY: Duration = Duration::from_millis(250);
/// How long nothing is accepted after the system refused (no file descriptors left).
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// A port that peers can call.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Why the port cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program has it.
    #[error("{address} is taken by another program")]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else: no such address here, or no right to a low port.
    #[error("{address} cannot be listened on")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Explain for ListenError {
    fn code(&self) -> Code {
        match self {
            Self::PortInUse { .. } => Code::PORT_IN_USE,
            Self::Io { .. } => Code::SETTINGS_INVALID,
        }
    }
}

impl Listener {
    /// Takes the port.
    ///
    /// # Errors
    /// Where another program has it, or the address is not this machine's.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::PortInUse { address },
            _ => ListenError::Io { address, source },
        };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Where it listens: the port that the system chose, if it was asked to choose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Takes connections until `shutdown`. Then the port is free at once, and the connections, which are tasks of the
/// endpoint's handle, end by themselves within the bound for draining.
pub async fn serve(listener: Listener, endpoint: Arc<Endpoint>, shutdown: CancellationToken) {
    let places = Places::new(endpoint.bounds().connections_max);
    loop {
        // Both branches may be dropped: a socket that was not yet taken stays with the system.
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (socket, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted at present");
                tokio::time::sleep(AFTER_REFUSAL).await;
                continue;
            }
        };
        let Some(place) = places.take().await else {
            tracing::debug!(%remote, "closed at once: all connections are taken");
            continue;
        };
        // Cancelled at any await: the socket closes, and the upload tasks that it started settle by themselves.
        let connection =
            converse(Arc::clone(&endpoint), socket, remote, places.enter(&shutdown), place, shutdown.clone());
        endpoint.tasks().start(connection);
    }
}

async fn converse(
    endpoint: Arc<Endpoint>,
    socket: TcpStream,
    remote: SocketAddr,
    arrival: Arrival,
    place: OwnedSemaphorePermit,
    shutdown: CancellationToken,
) {
    // Without it each small answer waits for the client's delayed acknowledgement: 35 ms instead of 3.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%remote, %error, "the socket is gone already");
        return;
    }
    let handshake = Box::pin(endpoint.handshake(socket));
    let admitted = tokio::select! {
        admitted = handshake => admitted,
        () = arrival.gives_way.cancelled() => None,
    };
    drop(arrival);
    if let Some(admitted) = admitted {
        Box::pin(endpoint.converse(admitted, remote.to_string(), shutdown)).await;
    }
    drop(place);
}

/// Places for connections, and the handshakes that hold some of them.
struct Places {
    free: Arc<Semaphore>,
    arriving: Arc<Mutex<Arriving>>,
}

/// Handshakes that are going on, oldest first.
#[derive(Default)]
struct Arriving {
    next: u64,
    tokens: BTreeMap<u64, CancellationToken>,
}

/// One handshake's entry; dropping it takes the entry out.
struct Arrival {
    number: u64,
    gives_way: CancellationToken,
    arriving: Arc<Mutex<Arriving>>,
}

impl Places {
    fn new(connections_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(connections_max)), arriving: Arc::default() }
    }

    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        let (_, oldest) = self.arriving.lock().unwrap_or_else(PoisonError::into_inner).tokens.pop_first()?;
        oldest.cancel();
        tokio::time::timeout(GIVING_WAY, Arc::clone(&self.free).acquire_owned()).await.ok()?.ok()
    }

    fn enter(&self, shutdown: &CancellationToken) -> Arrival {
        let gives_way = shutdown.child_token();
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        let number = arriving.next;
        arriving.next += 1;
        arriving.tokens.insert(number, gives_way.clone());
        Arrival { number, gives_way, arriving: Arc::clone(&self.arriving) }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner).tokens.remove(&self.number);
    }
}

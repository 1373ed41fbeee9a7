//! A wire between two servers that can be stopped at a chosen byte: bytes go through until then, and no further.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes that are moved at once.
const PIECE_BYTES: usize = 64 << 10;

/// How the wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// Everything goes through.
    Open,
    /// This many more bytes go through to the server; the rest is held.
    Holding(u64),
    /// Connections end, and new ones are closed at once.
    Cut,
}

/// A port of loopback in front of a server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    wire: Arc<watch::Sender<Wire>>,
    /// The wire of connections that are yet to come.
    wires: watch::Sender<Arc<watch::Sender<Wire>>>,
    /// Bytes that went to the server, TLS and all.
    passed: Arc<watch::Sender<u64>>,
    _running: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (wire, passed) = (Arc::new(watch::Sender::new(Wire::Open)), Arc::new(watch::Sender::new(0)));
        let mut running = JoinSet::new();
        let wires = watch::Sender::new(Arc::clone(&wire));
        running.spawn(accept(listener, server.to_owned(), wires.subscribe(), Arc::clone(&passed)));
        Self { address, wire, wires, passed, _running: running }
    }

    /// Lets so many more bytes through to the server, and holds what comes after.
    pub(crate) fn hold_after(&self, bytes: u64) {
        self.wire.send_replace(Wire::Holding(bytes));
    }

    /// Waits until bytes are held.
    pub(crate) async fn held(&self) {
        self.wire.subscribe().wait_for(|wire| *wire == Wire::Holding(0)).await.unwrap();
    }

    /// Ends all connections, and lets none through.
    pub(crate) fn cut(&self) {
        self.wire.send_replace(Wire::Cut);
    }

    /// Holds what is held for ever, and lets new connections through.
    pub(crate) fn open_for_new(&mut self) {
        self.wire = Arc::new(watch::Sender::new(Wire::Open));
        self.wires.send_replace(Arc::clone(&self.wire));
    }

    /// Lets everything through again.
    pub(crate) fn open(&self) {
        self.wire.send_replace(Wire::Open);
    }

    /// Bytes that went to the server so far.
    pub(crate) fn passed(&self) -> u64 {
        *self.passed.borrow()
    }
}

async fn accept(
    listener: TcpListener,
    server: String,
    wires: watch::Receiver<Arc<watch::Sender<Wire>>>,
    passed: Arc<watch::Sender<u64>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (wire, passed) = (Arc::clone(&wires.borrow()), Arc::clone(&passed));
        let server = server.clone();
        connections.spawn(async move {
            let mut cut = wire.subscribe();
            tokio::select! {
                _ = cut.wait_for(|wire| *wire == Wire::Cut) => {}
                () = join(client, &server, &wire, &passed) => {}
            }
        });
    }
}

async fn join(client: TcpStream, server: &str, wire: &watch::Sender<Wire>, passed: &watch::Sender<u64>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = async {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from_client.read(&mut piece).await {
            let mut rest = &piece[..read];
            while !rest.is_empty() {
                let allowed = take_allowance(wire, rest.len()).await;
                if to_server.write_all(&rest[..allowed]).await.is_err() {
                    return;
                }
                passed.send_modify(|passed| *passed += allowed as u64);
                rest = &rest[allowed..];
            }
        }
    };
    let back = async {
        // What ends it is the other side's end, whichever way.
        let _ended = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// Waits until bytes may pass, and says how many of those that wait.
async fn take_allowance(wire: &watch::Sender<Wire>, waiting: usize) -> usize {
    let mut changes = wire.subscribe();
    loop {
        let mut allowed = 0;
        wire.send_if_modified(|wire| match wire {
            Wire::Open => {
                allowed = waiting;
                false
            }
            Wire::Holding(left @ 1..) => {
                allowed = waiting.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= allowed as u64;
                true
            }
            Wire::Holding(_) | Wire::Cut => false,
        });
        if allowed > 0 {
            return allowed;
        }
        changes.changed().await.unwrap();
    }
}

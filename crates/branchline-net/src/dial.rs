//! The raw wire under TLS: how an address becomes a stream of bytes. A simulated wire is another [`Dialer`].

use std::io;

use branchline_core::peer::PeerAddress;
use branchline_core::ports::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What reaches addresses.
pub trait Dialer: Send + Sync {
    /// The addresses behind a name, each of which is tried; an address is its own.
    fn resolve<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, io::Result<Vec<PeerAddress>>>;

    /// Opens a stream.
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
}

/// TCP, with names looked up by the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialer;

impl Dialer for TcpDialer {
    fn resolve<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, io::Result<Vec<PeerAddress>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((address.host(), address.port())).await?;
            // A scoped IPv6 address (fe80::1%eth0) has no form as a peer's address and is left out.
            let mut addresses: Vec<PeerAddress> =
                found.filter_map(|socket| socket.to_string().parse().ok()).collect();
            addresses.dedup();
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
            }
            Ok(addresses)
        })
    }

    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect((address.host(), address.port())).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

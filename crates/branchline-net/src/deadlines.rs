//! How long each thing may take, and how many there may be. Tests make them short; nothing else changes them.

use std::time::Duration;

use branchline_core::limits;

/// Bounds of the server side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBounds {
    /// From the accepted socket to the end of the TLS handshake.
    pub handshake: Duration,
    /// The head of a request, and how long a connection may be idle between two (HTTP/1).
    pub header: Duration,
    /// Between two pieces of a request's body.
    pub body_piece: Duration,
    /// HTTP/2: how long nothing is heard before a ping.
    pub ping_after: Duration,
    /// HTTP/2: how long a ping may go unanswered.
    pub ping_answer: Duration,
    /// How long `POST /v1/backups` waits for its receipt before it answers 202.
    pub receipt: Duration,
    /// How long requests that run at shutdown may go on.
    pub drain: Duration,
    /// Connections open at once, handshakes included.
    pub connections_max: usize,
}

impl Default for ServerBounds {
    fn default() -> Self {
        Self {
            handshake: limits::HANDSHAKE_TIMEOUT,
            header: limits::HEADER_TIMEOUT,
            body_piece: Duration::from_secs(60),
            ping_after: Duration::from_secs(20),
            ping_answer: Duration::from_secs(60),
            receipt: Duration::from_secs(15 * 60),
            drain: Duration::from_secs(10),
            connections_max: limits::CONNECTIONS_MAX,
        }
    }
}

/// Bounds of the client side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientBounds {
    /// From the look-up of one address to the first byte of the server that took our key.
    pub connect: Duration,
    /// The head start of each address before the next one.
    pub head_start: Duration,
    /// From a request to its whole answer, the waiting that was asked for not counted.
    pub answer: Duration,
    /// HTTP/2: how long nothing is heard before a ping.
    pub ping_after: Duration,
    /// HTTP/2: how long a ping may go unanswered. Long, because on a thin line it waits behind the part.
    pub ping_answer: Duration,
    /// The slowest line that a part may take, in bytes a second.
    pub bytes_per_second_min: u64,
}

impl Default for ClientBounds {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            head_start: Duration::from_millis(250),
            answer: Duration::from_secs(60),
            ping_after: Duration::from_secs(20),
            ping_answer: Duration::from_secs(60),
            bytes_per_second_min: 4 << 10,
        }
    }
}

impl ClientBounds {
    /// How long a request with that many bytes of body may take.
    #[must_use]
    pub fn for_body(&self, body_bytes: usize) -> Duration {
        let bytes = u64::try_from(body_bytes).unwrap_or(u64::MAX);
        self.answer.saturating_add(Duration::from_secs(bytes / self.bytes_per_second_min.max(1)))
    }
}

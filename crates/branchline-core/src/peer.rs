//! What this server knows of another.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::id::{KeyId, ServerId};
use crate::limits::DATA_BYTES_MAX;
use crate::schema::TableName;

/// Another server, as this one knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: ServerId,
    /// What people call it.
    pub name: String,
    /// The pinned fingerprint of its key.
    pub key: KeyId,
    /// Where it may be found, in the order in which they are tried; empty where it always calls us.
    pub addresses: Vec<PeerAddress>,
    /// What it may do here.
    pub grant: Grant,
    /// Whether what others made is passed on to it too.
    pub relay: bool,
    /// Whether anything is exchanged with it at present.
    pub activity: Activity,
    /// When it was paired or added.
    pub added_at: Timestamp,
    /// When it last answered or called.
    pub last_seen: Option<Timestamp>,
}

/// Whether anything is exchanged with a peer at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Yes.
    Active,
    /// No: its requests are refused, and nothing is sent to it.
    Paused,
}

/// What a peer may do here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whether it may send backups to be applied here.
    pub write: bool,
    /// The tables it may write and compare; all, where it is empty.
    pub tables: Vec<TableName>,
    /// Whether its backups may remove rows that they do not hold.
    pub mirror: bool,
    /// The largest D it may send, in bytes.
    pub data_bytes_max: u64,
}

impl Default for Grant {
    /// All tables, no mirror.
    fn default() -> Self {
        Self { write: true, tables: Vec::new(), mirror: false, data_bytes_max: DATA_BYTES_MAX }
    }
}

impl Grant {
    /// Whether the peer may write and compare that table.
    #[must_use]
    pub fn covers(&self, table: &TableName) -> bool {
        self.tables.is_empty() || self.tables.contains(table)
    }
}

/// A host (name or address) and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    host: String,
    port: u16,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an address is host:port, such as hq-shop.duckdns.org:8443 or [2001:db8::1]:8443")]
pub struct PeerAddressError;

/// The port that is meant where none is said.
pub const PORT_DEFAULT: u16 = 8443;

impl PeerAddress {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, PeerAddressError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or(PeerAddressError)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| PeerAddressError)?;
                (host, after.strip_prefix(':'))
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) {
            return Err(PeerAddressError);
        }
        let port = port.map_or(Ok(PORT_DEFAULT), str::parse).map_err(|_| PeerAddressError)?;
        if port == 0 {
            return Err(PeerAddressError);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in ["hq-shop.duckdns.org:443", "127.0.0.1:8443", "[2001:db8::1]:8443"] {
            assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), text);
        }
        assert_eq!("hq.example".parse::<PeerAddress>().unwrap().port(), PORT_DEFAULT);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            ":1",
            "a:0",
            "a:65536",
            "a/b:1",
            "a b:1",
            "[::1:5",
            "https://a:1",
            "2001:db8::1:8443",
            "a@b:1",
        ] {
            assert_eq!(text.parse::<PeerAddress>(), Err(PeerAddressError), "{text:?}");
        }
    }
}

//! Why an address did not lead to the peer, and what that means when none did.

use std::fmt;
use std::io;

use branchline_core::id::ServerId;
use branchline_core::ports::LinkError;
use rustls::{AlertDescription, CertificateError};

use crate::pins::WrongServerKey;

/// One address that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where.
    pub address: String,
    /// Why it was not the peer.
    pub failure: AttemptFailure,
}

/// Why an address did not lead to the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttemptFailure {
    /// No connection; in the operating system's words.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// Another key answered.
    #[error("another server, with key {found}")]
    WrongKey {
        /// Its key id.
        found: String,
    },
    /// The pinned key answered, and does not know ours.
    #[error("it does not know this server's key")]
    NotPaired,
    /// The other side does not speak the protocol that was asked for.
    #[error("it does not offer this protocol at present")]
    NotOffered,
    /// TLS 1.3 did not come about; in the TLS library's words.
    #[error("TLS: {0}")]
    Tls(String),
}

/// No address led to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectError {
    /// What was tried; empty where there is no address.
    pub attempts: Vec<Attempt>,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("no address is known");
        }
        for (number, attempt) in self.attempts.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", attempt.address, attempt.failure)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

impl AttemptFailure {
    /// What a failed handshake or first read means.
    pub(crate) fn of(error: &io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Self::Unreachable(error.to_string());
        };
        match tls {
            rustls::Error::AlertReceived(AlertDescription::AccessDenied) => Self::NotPaired,
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Self::NotOffered,
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                match other.0.downcast_ref::<WrongServerKey>() {
                    Some(wrong) => Self::WrongKey { found: wrong.found.to_string() },
                    None => Self::Tls(tls.to_string()),
                }
            }
            other => Self::Tls(other.to_string()),
        }
    }
}

impl ConnectError {
    /// The failure that says most: a key that knows who we are and refuses us, then a wrong key, then TLS, then time.
    pub(crate) fn gravest(&self) -> Option<&Attempt> {
        let weight = |failure: &AttemptFailure| match failure {
            AttemptFailure::NotPaired => 5,
            AttemptFailure::NotOffered => 4,
            AttemptFailure::WrongKey { .. } => 3,
            AttemptFailure::Tls(_) => 2,
            AttemptFailure::Unreachable(_) => 1,
            AttemptFailure::TimedOut => 0,
        };
        self.attempts.iter().max_by_key(|attempt| weight(&attempt.failure))
    }

    pub(crate) fn into_link_error(self, peer: &ServerId) -> LinkError {
        let peer = peer.clone();
        let Some(Attempt { address, failure }) = self.gravest().cloned() else {
            return LinkError::Unreachable { peer, detail: self.to_string() };
        };
        match failure {
            AttemptFailure::NotPaired => LinkError::NotPaired { peer },
            AttemptFailure::WrongKey { found } => LinkError::WrongKey { address, found },
            AttemptFailure::Tls(message) => LinkError::Tls { address, message },
            AttemptFailure::NotOffered => LinkError::Tls { address, message: failure.to_string() },
            AttemptFailure::Unreachable(_) | AttemptFailure::TimedOut => {
                LinkError::Unreachable { peer, detail: self.to_string() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_counts_for_more_than_silence_and_all_attempts_are_told() {
        let attempt = |address: &str, failure| Attempt { address: address.into(), failure };
        let wrong = AttemptFailure::WrongKey { found: "K".into() };
        let mut error =
            ConnectError { attempts: vec![attempt("a:1", AttemptFailure::TimedOut), attempt("b:1", wrong)] };
        assert_eq!(error.to_string(), "a:1: no answer in time; b:1: another server, with key K");
        let peer: ServerId = "HQ".parse().unwrap();
        let expected = LinkError::WrongKey { address: "b:1".into(), found: "K".into() };
        assert_eq!(error.clone().into_link_error(&peer), expected);
        error.attempts.push(attempt("c:1", AttemptFailure::NotPaired));
        assert_eq!(error.into_link_error(&peer), LinkError::NotPaired { peer });
    }
}

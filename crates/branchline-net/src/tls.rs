//! TLS configurations: 1.3 only, both sides authenticated, never resumed, one provider named outright.
//!
//! | protocol (ALPN) | who is let in | carries |
//! |---|---|---|
//! | `h2`, `http/1.1` | pinned keys | protocol version 1 |
//! | `branchline-pair/1` | any key, while an invitation is open | `POST /v1/pair` over HTTP/1.1 |
//!
//! A resumed session would skip the verifier and let a removed peer in (RFC 8446, section 2.2), so nothing that
//! could be resumed is handed out or kept. No server name is sent: a peer's DNS name is nobody's business.

use std::sync::Arc;

use branchline_core::id::KeyId;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::identity::Identity;
use crate::pins::{Admits, ClientPins, PinDirectory, ServerPin};

/// HTTP/2.
pub const ALPN_HTTP2: &[u8] = b"h2";
/// HTTP/1.1.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";
/// Pairing.
pub const ALPN_PAIR: &[u8] = b"branchline-pair/1";

/// The TLS library refused a configuration; it never should.
#[derive(Debug, thiserror::Error)]
#[error("TLS could not be configured")]
pub struct TlsError(#[from] rustls::Error);

/// What a server answers handshakes with.
pub(crate) struct ServerTls {
    ordinary: Arc<ServerConfig>,
    pairing: Arc<ServerConfig>,
    directory: Arc<dyn PinDirectory>,
}

impl ServerTls {
    pub(crate) fn new(identity: &Identity, directory: Arc<dyn PinDirectory>) -> Result<Self, TlsError> {
        let config = |admits, protocols| server_config(identity, Arc::clone(&directory), admits, protocols);
        let ordinary = config(Admits::Pinned, &[ALPN_HTTP2, ALPN_HTTP1])?;
        let pairing = config(Admits::AnyWhilePairing, &[ALPN_PAIR])?;
        Ok(Self { ordinary, pairing, directory })
    }

    /// Pairing for whoever asks for it while an invitation is open; the ordinary protocol for all others. When none
    /// is open, asking for pairing fails as any unknown protocol does.
    pub(crate) fn choose(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let asks_to_pair = hello.alpn().is_some_and(|mut offered| offered.any(|name| name == ALPN_PAIR));
        let chosen =
            if asks_to_pair && self.directory.is_pairing_open() { &self.pairing } else { &self.ordinary };
        Arc::clone(chosen)
    }
}

fn server_config(
    identity: &Identity,
    directory: Arc<dyn PinDirectory>,
    admits: Admits,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let verifier = ClientPins::new(directory, admits, provider.signature_verification_algorithms);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// A client's configuration: our key is shown, and only `expected` goes through.
pub(crate) fn client_config(
    identity: &Identity,
    expected: KeyId,
    protocol: &[u8],
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let verifier = ServerPin::new(expected, provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

//! Who is let in: TLS verifiers that know keys and nothing else.
//!
//! 1. The certificate's key is read out once, and must be Ed25519.
//! 2. That key must be pinned: on the ordinary protocol it is one of the [`PinDirectory`]'s, at a peer it is the one
//!    that was pinned when the two were paired. While pairing is open its own protocol takes any key.
//! 3. The handshake's signature is checked **against the key that was read out in 1**, so two readings of one
//!    certificate cannot differ, and must be Ed25519.
//!
//! Names, dates, issuers and extensions are not looked at; intermediates are refused. The method for TLS 1.2 always
//! fails, whatever else is compiled in.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use branchline_core::id::KeyId;
use branchline_core::signing::PublicKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    PeerMisbehaved, SignatureScheme,
};

use crate::certificate::public_key_of;

/// Whose keys are let in at present. It is asked in the middle of a handshake, so it answers from memory.
pub trait PinDirectory: Send + Sync {
    /// Whether that key is a peer's (a paused peer's too: it is told so by the protocol).
    fn is_pinned(&self, key: KeyId) -> bool;

    /// Whether an invitation is open, so that an unknown key may knock on the pairing protocol.
    fn is_pairing_open(&self) -> bool;
}

/// A [`PinDirectory`] in memory, which the node fills from its registry.
#[derive(Debug, Default)]
pub struct Pins(RwLock<Snapshot>);

#[derive(Debug, Default)]
struct Snapshot {
    keys: HashSet<KeyId>,
    pairing_open: bool,
}

impl Pins {
    /// Takes these keys in the place of all that were there.
    pub fn replace(&self, keys: impl IntoIterator<Item = KeyId>) {
        let keys = keys.into_iter().collect();
        self.0.write().unwrap_or_else(PoisonError::into_inner).keys = keys;
    }

    /// Opens or closes the pairing protocol.
    pub fn set_pairing_open(&self, open: bool) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).pairing_open = open;
    }
}

impl PinDirectory for Pins {
    fn is_pinned(&self, key: KeyId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys.contains(&key)
    }

    fn is_pairing_open(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).pairing_open
    }
}

/// Another key than the pinned one answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's key is {found}")]
pub struct WrongServerKey {
    /// The key that answered.
    pub found: KeyId,
}

/// At the server: which clients' keys go through.
pub(crate) struct ClientPins {
    directory: Arc<dyn PinDirectory>,
    admits: Admits,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Whom a protocol lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admits {
    /// Peers.
    Pinned,
    /// Whoever proves that it has a key, while an invitation is open.
    AnyWhilePairing,
}

impl ClientPins {
    pub(crate) fn new(
        directory: Arc<dyn PinDirectory>,
        admits: Admits,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { directory, admits, algorithms }
    }
}

impl fmt::Debug for ClientPins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientPins({:?})", self.admits)
    }
}

impl ClientCertVerifier for ClientPins {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let key = only_key(end_entity, intermediates)?;
        let admitted = match self.admits {
            Admits::Pinned => self.directory.is_pinned(key.key_id()),
            Admits::AnyWhilePairing => self.directory.is_pairing_open(),
        };
        if admitted { Ok(ClientCertVerified::assertion()) } else { Err(refused()) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_possession(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// At the client: the one server's key that goes through.
pub(crate) struct ServerPin {
    expected: KeyId,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerPin {
    pub(crate) fn new(expected: KeyId, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { expected, algorithms }
    }
}

impl fmt::Debug for ServerPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerPin({})", self.expected)
    }
}

impl ServerCertVerifier for ServerPin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = only_key(end_entity, intermediates)?.key_id();
        if found == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::Other(OtherError(Arc::new(WrongServerKey { found }))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_possession(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn only_key(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<PublicKey, Error> {
    if !intermediates.is_empty() {
        return Err(refused());
    }
    public_key_of(end_entity).map_err(|_| refused())
}

/// Checks that whoever is at the other end holds the private half of the certificate's key.
fn verify_possession(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if signature.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let spki = public_key_of(certificate).map_err(|_| refused())?.to_spki();
    verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(spki), signature, algorithms)
}

/// Becomes the alert `access_denied`, which the other side reads as "not paired".
fn refused() -> Error {
    CertificateError::ApplicationVerificationFailure.into()
}

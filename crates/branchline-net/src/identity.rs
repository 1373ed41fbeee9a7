//! This server's identity: one Ed25519 key, made here from the system's entropy, and never sent anywhere.
//!
//! The file is PKCS#8 version 1 (48 bytes) in PEM, which OpenSSL 3.0 reads as well, so that `curl` and
//! `openssl` can stand in for a server when something must be looked into. PKCS#8 version 2, which also holds the
//! public key, is not written because OpenSSL 3.0 cannot read it.
//!
//! ```text
//! 30 2e 02 01 00 30 05 06 03 2b 65 70 04 22 04 20   then the 32 bytes of the seed     (RFC 8410, section 7)
//! ```
//! Private bytes are wiped from memory as soon as the key is inside the cryptography library.

mod file;
#[cfg(unix)]
mod unix;
// Compiled with the tests everywhere, so that it does not rot where nobody runs Windows.
#[cfg(any(windows, test))]
#[cfg_attr(not(windows), allow(dead_code, reason = "only its reading of listings is tested here"))]
mod windows;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use branchline_core::code::{Code, Explain};
use branchline_core::ports::{Signer, SignerError};
use branchline_core::signing::{PublicKey, Signature, SignedKind, pre_authentication_encoding};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::certificate;

/// What stands before the seed in PKCS#8 version 1.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// This server's key, with the certificate that carries it.
#[derive(Clone)]
pub struct Identity {
    key_pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
    certified: Arc<CertifiedKey>,
}

/// What keeps a server from having its identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is a key already, and it is never overwritten.
    #[error("{} exists already and is never overwritten", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than the server's own user may read it.
    #[error("{} may be read or changed by others: {who}", .path.display())]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Who, or the file's mode.
        who: String,
    },
    /// It is not an Ed25519 key in PEM.
    #[error("{} is not an Ed25519 key in PKCS#8 PEM", .path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{} cannot be used", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The cryptography library refused, or has no entropy.
    #[error("no key or certificate could be made: {message}")]
    Cryptography {
        /// What it said.
        message: String,
    },
}

impl Explain for IdentityError {
    fn code(&self) -> Code {
        match self {
            Self::ReadableByOthers { .. } => Code::KEY_READABLE_BY_OTHERS,
            Self::Exists { .. } => Code::ALREADY_INITIALISED,
            Self::NotAKey { .. } | Self::Io { .. } => Code::KEY_UNREADABLE,
            Self::Cryptography { .. } => Code::INTERNAL,
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::ReadableByOthers { path, .. } => format!(
                "{} {}; if somebody may have copied it, make a new key and pair again",
                if cfg!(windows) { "let nobody but the server's own user read" } else { "chmod 600" },
                path.display()
            ),
            other => other.code().entry().hint.to_owned(),
        }
    }
}

impl Identity {
    /// Makes a new key and its file, which only this user can ever read.
    ///
    /// # Errors
    /// Where the file exists or cannot be made.
    pub fn create(path: &Path) -> Result<Self, IdentityError> {
        let seed = random_seed()?;
        let identity = Self::from_seed(&seed)?;
        file::create(path, &seed)?;
        Ok(identity)
    }

    /// Reads the key from its file.
    ///
    /// # Errors
    /// Where others may read it, it belongs to another user, or it is not such a key.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let seed = file::load(path)?;
        Self::from_seed(&seed)
    }

    /// A key that is in no file: for tests, and for `demo` before it has a folder.
    ///
    /// # Errors
    /// Where there is no entropy.
    pub fn ephemeral() -> Result<Self, IdentityError> {
        let seed = random_seed()?;
        Self::from_seed(&seed)
    }

    /// The certificate that is shown to peers (DER); made anew at each start, around the same key.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certified.cert[0]
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    fn from_seed(seed: &[u8; 32]) -> Result<Self, IdentityError> {
        let failed = |message: String| IdentityError::Cryptography { message };
        let key_pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|error| failed(error.to_string()))?;
        let key_pair = Arc::new(key_pair);
        let mut public = [0; 32];
        public.copy_from_slice(key_pair.public_key().as_ref());
        let certificate = certificate::self_signed(&key_pair).map_err(|error| failed(error.to_string()))?;
        let pkcs8 = pkcs8_of(seed);
        let signing_key =
            rustls::crypto::aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&pkcs8[..]))
                .map_err(|error| failed(error.to_string()))?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate], signing_key));
        Ok(Self { key_pair, public: PublicKey::from_bytes(public), certified })
    }
}

impl Signer for Identity {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, kind: SignedKind, body: &[u8]) -> Result<Signature, SignerError> {
        let signature = self.key_pair.sign(&pre_authentication_encoding(kind, body));
        let bytes = signature.as_ref().try_into().map_err(|_| SignerError)?;
        Ok(Signature::from_bytes(bytes))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public.key_id())
    }
}

fn random_seed() -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    let mut seed = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(seed.as_mut_slice())
        .map_err(|_| IdentityError::Cryptography { message: "the system gave no entropy".into() })?;
    Ok(seed)
}

fn pkcs8_of(seed: &[u8; 32]) -> Zeroizing<[u8; 48]> {
    let mut der = Zeroizing::new([0; 48]);
    der[..16].copy_from_slice(&PKCS8_PREFIX);
    der[16..].copy_from_slice(seed);
    der
}

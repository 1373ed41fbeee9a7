//! The server's own key.

use crate::signing::{PublicKey, Signature, SignedKind};

/// Signs in this server's name.
pub trait Signer: Send + Sync {
    /// The public half of the key.
    fn public_key(&self) -> PublicKey;

    /// Signs `body` as a document of that kind.
    ///
    /// # Errors
    /// Where the key cannot be used (a hardware key that is gone).
    fn sign(&self, kind: SignedKind, body: &[u8]) -> Result<Signature, SignerError>;
}

/// The key could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server's key cannot sign")]
pub struct SignerError;

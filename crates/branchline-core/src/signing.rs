//! Signatures: Ed25519 over the pre-authentication encoding of DSSE.
//!
//! ```text
//! PAE = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body      (lengths in decimal)
//! ```
//! The type keeps a signature over one kind of document from being taken for a signature over another.
//! Source: DSSE protocol specification, v1.0.2; RFC 8032.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64;

/// What kind of document a signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedKind {
    /// The metadata of a backup.
    BackupMetadata,
    /// A receipt.
    Receipt,
}

impl SignedKind {
    fn media_type(self) -> &'static str {
        match self {
            Self::BackupMetadata => "application/vnd.branchline.backup-metadata.v1+json",
            Self::Receipt => "application/vnd.branchline.receipt.v1+json",
        }
    }
}

/// The raw 32 bytes of an Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// DER before the key in a SubjectPublicKeyInfo of an Ed25519 key. Source: RFC 8410, section 4.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An SPKI that does not hold an Ed25519 key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate's key is not an Ed25519 key")]
pub struct NotEd25519;

impl PublicKey {
    /// Wraps the 32 bytes of a key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the key out of a SubjectPublicKeyInfo (DER).
    ///
    /// # Errors
    /// Where it is of another algorithm or length.
    pub fn from_spki(spki: &[u8]) -> Result<Self, NotEd25519> {
        let key = spki.strip_prefix(&SPKI_PREFIX).ok_or(NotEd25519)?;
        Ok(Self(key.try_into().map_err(|_| NotEd25519)?))
    }

    /// The key's SubjectPublicKeyInfo (DER, 44 bytes).
    #[must_use]
    pub fn to_spki(self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), &self.0].concat()
    }

    /// The fingerprint that people compare.
    #[must_use]
    pub fn key_id(self) -> crate::id::KeyId {
        crate::id::KeyId::of_spki(&self.to_spki())
    }

    /// Whether `signature` is this key's over `body` as a document of that kind.
    #[must_use]
    pub fn verifies(self, kind: SignedKind, body: &[u8], signature: &Signature) -> bool {
        let encoded = pre_authentication_encoding(kind, body);
        UnparsedPublicKey::new(&ED25519, self.0).verify(&encoded, &signature.0).is_ok()
    }
}

/// An Ed25519 signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

/// A text that is not a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a signature is 88 characters of base64")]
pub struct SignatureError;

impl Signature {
    /// Characters of a signature in base64.
    pub const TEXT_BYTES: usize = 88;

    /// Wraps the 64 bytes of a signature.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Reads base64.
    ///
    /// # Errors
    /// Where it is not base64 of 64 bytes, in its one written form.
    pub fn from_text(text: &[u8]) -> Result<Self, SignatureError> {
        let bytes = BASE64.decode(text).map_err(|_| SignatureError)?;
        Ok(Self(bytes.try_into().map_err(|_| SignatureError)?))
    }

    /// The signature in base64.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64.encode(&self.0)
    }
}

/// The bytes that are signed.
#[must_use]
pub fn pre_authentication_encoding(kind: SignedKind, body: &[u8]) -> Vec<u8> {
    let media_type = kind.media_type();
    let mut encoded = format!("DSSEv1 {} {media_type} {} ", media_type.len(), body.len()).into_bytes();
    encoded.extend_from_slice(body);
    encoded
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn key() -> (Ed25519KeyPair, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = PublicKey::from_bytes(pair.public_key().as_ref().try_into().unwrap());
        (pair, public)
    }

    fn sign(pair: &Ed25519KeyPair, kind: SignedKind, body: &[u8]) -> Signature {
        let signature = pair.sign(&pre_authentication_encoding(kind, body));
        Signature::from_bytes(signature.as_ref().try_into().unwrap())
    }

    #[test]
    fn a_signature_is_good_for_its_body_kind_and_key_only() {
        let (pair, public) = key();
        let signature = sign(&pair, SignedKind::Receipt, b"body");
        assert!(public.verifies(SignedKind::Receipt, b"body", &signature));
        assert!(!public.verifies(SignedKind::Receipt, b"bodY", &signature));
        assert!(!public.verifies(SignedKind::BackupMetadata, b"body", &signature));
        assert!(!PublicKey::from_bytes([9; 32]).verifies(SignedKind::Receipt, b"body", &signature));
    }

    #[test]
    fn texts_and_spki_read_back() {
        let (pair, public) = key();
        let signature = sign(&pair, SignedKind::Receipt, b"body");
        let text = signature.to_text();
        assert_eq!(text.len(), Signature::TEXT_BYTES);
        assert_eq!(Signature::from_text(text.as_bytes()), Ok(signature));
        assert_eq!(Signature::from_text(b"AAAA"), Err(SignatureError));
        assert_eq!(PublicKey::from_spki(&public.to_spki()), Ok(public));
        assert_eq!(PublicKey::from_spki(b"RSA"), Err(NotEd25519));
    }

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        let encoded = pre_authentication_encoding(SignedKind::Receipt, b"{}");
        assert_eq!(encoded, b"DSSEv1 42 application/vnd.branchline.receipt.v1+json 2 {}");
    }
}

//! Verifies a document while it streams by, and says at the earliest moment why it is refused.
//!
//! 1. M has arrived: it is parsed and held against what is expected. With a signature that came ahead, that is
//!    checked now, before another byte is taken.
//! 2. D streams by: it is hashed and counted against the signed `dataBytes`, and not parsed.
//! 3. The document is over: the signature that stands in it is checked, then the checksum.
//!
//! Only then is there a [`VerifiedBackup`], and only of one can anything be applied.

use super::compression::Decompressor;
use super::document::{DocumentEvent, DocumentReader};
use super::error::FormatError;
use super::metadata::parse_metadata;
use crate::backup::Metadata;
use crate::code::{Code, Explain};
use crate::digest::{Digest, Hasher};
use crate::id::{KeyId, ServerId};
use crate::signing::{Signature, SignedKind};

/// What a document must be to be taken.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// Whom it must be for; nobody in particular, where a person only wants to look at it.
    pub target: Option<ServerId>,
    /// Who must have made it, and with which key; anybody, where a person only wants to look at it.
    pub source: Option<(ServerId, KeyId)>,
    /// The largest D that is granted, in bytes.
    pub data_bytes_max: u64,
    /// The signature that came ahead of the document.
    pub signature: Option<Signature>,
}

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub enum VerifyError {
    /// It is not of the format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is for another server.
    #[error("the backup is for {found}, and this is {expected}")]
    WrongTarget { expected: ServerId, found: ServerId },
    /// Another server made it than the one that sends it, or one with another key.
    #[error("the backup says that {found} made it, and {expected} sends it")]
    WrongSource { expected: ServerId, found: ServerId },
    /// The key in it is not the one that is pinned for its maker.
    #[error("the backup is signed with a key that is not the one pinned for {server}")]
    WrongKey { server: ServerId },
    /// The signature does not fit.
    #[error("the signature does not fit the metadata")]
    Signature,
    /// The data are not those that were signed.
    #[error("the data do not have the checksum that was signed")]
    Checksum,
}

impl Explain for VerifyError {
    fn code(&self) -> Code {
        match self {
            Self::Format(error) => error.code(),
            Self::WrongTarget { .. } => Code::WRONG_TARGET,
            Self::WrongSource { .. } => Code::WRONG_SOURCE,
            Self::WrongKey { .. } | Self::Signature => Code::SIGNATURE_INVALID,
            Self::Checksum => Code::CHECKSUM_MISMATCH,
        }
    }
}

/// M, held against what is expected; its signature was checked if one came ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedHead {
    metadata: Metadata,
    written: Digest,
    bytes: Vec<u8>,
}

impl CheckedHead {
    /// What the backup says of itself.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// A backup whose signature and checksum hold. There is no other way to come by one than [`Verifier::finish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBackup {
    metadata: Metadata,
    written: Digest,
}

impl VerifiedBackup {
    /// What the backup says of itself.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The digest of its metadata, to which the next one of the chain refers.
    #[must_use]
    pub fn metadata_digest(&self) -> Digest {
        self.written
    }
}

/// Verifies one document.
#[derive(Debug)]
pub struct Verifier {
    decompressor: Decompressor,
    document: DocumentReader,
    checks: Checks,
}

#[derive(Debug)]
struct Checks {
    expectation: Expectation,
    head: Option<CheckedHead>,
    hasher: Hasher,
    data_bytes: u64,
}

impl Verifier {
    /// Begins.
    #[must_use]
    pub fn new(expectation: Expectation) -> Self {
        Self {
            decompressor: Decompressor::default(),
            document: DocumentReader::default(),
            checks: Checks { expectation, head: None, hasher: Hasher::default(), data_bytes: 0 },
        }
    }

    /// Takes the next piece of the document as it travelled.
    ///
    /// # Errors
    /// As soon as it is certain that the document is refused.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let Self { decompressor, document, checks } = self;
        decompressor.push(bytes, &mut |plain| take_plain(document, checks, plain))
    }

    /// What the backup says of itself, once that has arrived.
    #[must_use]
    pub fn head(&self) -> Option<&CheckedHead> {
        self.checks.head.as_ref()
    }

    /// Ends the document.
    ///
    /// # Errors
    /// Where it is refused.
    pub fn finish(self) -> Result<VerifiedBackup, VerifyError> {
        let Self { decompressor, mut document, mut checks } = self;
        decompressor.finish(&mut |plain| take_plain(&mut document, &mut checks, plain))?;
        let signature = document.finish()?;
        let head = checks.head.ok_or(FormatError::Truncated)?;
        check_signature(&head.metadata, &head.bytes, &signature)?;
        if checks.data_bytes != head.metadata.data_bytes || checks.hasher.finish() != head.metadata.checksum {
            return Err(VerifyError::Checksum);
        }
        Ok(VerifiedBackup { metadata: head.metadata, written: head.written })
    }
}

fn take_plain(document: &mut DocumentReader, checks: &mut Checks, plain: &[u8]) -> Result<(), VerifyError> {
    document.push::<VerifyError>(plain, &mut |event| match event {
        DocumentEvent::Metadata(bytes) => checks.take_metadata(bytes),
        DocumentEvent::Data(bytes) => checks.take_data(bytes),
    })
}

impl Checks {
    fn take_metadata(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let metadata = parse_metadata(bytes)?;
        if let Some((expected, key)) = &self.expectation.source {
            if metadata.source != *expected {
                return Err(VerifyError::WrongSource { expected: expected.clone(), found: metadata.source });
            }
            if metadata.source_key.key_id() != *key {
                return Err(VerifyError::WrongKey { server: metadata.source });
            }
        }
        if let Some(signature) = &self.expectation.signature {
            check_signature(&metadata, bytes, signature)?;
        }
        if let Some(expected) = self.expectation.target.as_ref().filter(|target| **target != metadata.target)
        {
            return Err(VerifyError::WrongTarget { expected: expected.clone(), found: metadata.target });
        }
        if metadata.data_bytes > self.expectation.data_bytes_max {
            let bytes_max = self.expectation.data_bytes_max;
            return Err(FormatError::DataTooLarge { bytes_max }.into());
        }
        self.head = Some(CheckedHead { metadata, written: Digest::of(bytes), bytes: bytes.to_vec() });
        Ok(())
    }

    fn take_data(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        self.data_bytes += bytes.len() as u64;
        let signed = self.head.as_ref().map_or(0, |head| head.metadata.data_bytes);
        if self.data_bytes > signed {
            return Err(FormatError::DataTooLarge { bytes_max: signed }.into());
        }
        self.hasher.update(bytes);
        Ok(())
    }
}

fn check_signature(metadata: &Metadata, bytes: &[u8], signature: &Signature) -> Result<(), VerifyError> {
    if metadata.source_key.verifies(SignedKind::BackupMetadata, bytes, signature) {
        Ok(())
    } else {
        Err(VerifyError::Signature)
    }
}

#[cfg(test)]
mod tests;

//! Seals a backup: M is written and signed, and becomes the first frame; S becomes the third.

use super::compression::compress;
use super::error::FormatError;
use super::metadata::write_metadata;
use super::{AFTER_SIGNATURE, BEFORE_DATA, BEFORE_METADATA, BEFORE_SIGNATURE};
use crate::backup::{Codec, Metadata};
use crate::digest::Digest;
use crate::ports::{Signer, SignerError};
use crate::signing::{Signature, SignedKind};

/// The first and third frame of a sealed backup; the second is the data's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedHead {
    /// Everything before D, compressed.
    pub head: Vec<u8>,
    /// Everything after D, compressed.
    pub tail: Vec<u8>,
    /// The signature over M.
    pub signature: Signature,
    /// The digest of M, to which the next backup of the chain refers.
    pub metadata: Digest,
}

/// Why a backup cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is over a bound.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The key cannot be used.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// Writes and signs M, and makes the frames around D.
///
/// # Errors
/// Where M is over its bounds, or the key cannot be used.
pub fn seal_head(metadata: &Metadata, codec: Codec, signer: &dyn Signer) -> Result<SealedHead, SealError> {
    let written = write_metadata(metadata)?;
    let signature = signer.sign(SignedKind::BackupMetadata, &written)?;
    let head = [BEFORE_METADATA, &written, BEFORE_DATA].concat();
    let tail = [BEFORE_SIGNATURE, signature.to_text().as_bytes(), AFTER_SIGNATURE].concat();
    Ok(SealedHead {
        head: compress(codec, &head)?,
        tail: compress(codec, &tail)?,
        signature,
        metadata: Digest::of(&written),
    })
}

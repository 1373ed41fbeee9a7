//! Reads the rows of a backup that was verified, from the same bytes once more.
//!
//! They are hashed a second time: between verifying and applying they lay on a disk.

use super::compression::Decompressor;
use super::decoder::{DataDecoder, DataEvent};
use super::document::{DocumentEvent, DocumentReader};
use super::error::FormatError;
use super::verify::{VerifiedBackup, VerifyError};
use crate::digest::{Digest, Hasher};

/// Reads the rows of a verified backup.
#[derive(Debug)]
pub struct VerifiedReader {
    decompressor: Decompressor,
    document: DocumentReader,
    data: DataPass,
    checksum: Digest,
}

#[derive(Debug)]
struct DataPass {
    decoder: DataDecoder,
    hasher: Hasher,
    bytes: u64,
    bytes_max: u64,
}

impl VerifiedReader {
    /// Begins to read.
    #[must_use]
    pub fn new(backup: &VerifiedBackup) -> Self {
        let metadata = backup.metadata();
        Self {
            decompressor: Decompressor::default(),
            document: DocumentReader::default(),
            data: DataPass {
                decoder: DataDecoder::new(metadata.tables.clone()),
                hasher: Hasher::default(),
                bytes: 0,
                bytes_max: metadata.data_bytes,
            },
            checksum: metadata.checksum,
        }
    }

    /// Takes the next piece of the document; what it holds is given to `sink`.
    ///
    /// # Errors
    /// Where the data are not what the metadata announced.
    pub fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(DataEvent) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let Self { decompressor, document, data, .. } = self;
        decompressor.push(bytes, &mut |plain| data.take(document, plain, sink))
    }

    /// Ends the document.
    ///
    /// # Errors
    /// Where it is not over, or is not the one that was verified.
    pub fn finish(
        self,
        sink: &mut dyn FnMut(DataEvent) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let Self { decompressor, mut document, mut data, checksum } = self;
        decompressor.finish(&mut |plain| data.take(&mut document, plain, sink))?;
        document.finish()?;
        data.decoder.finish(sink)?;
        if data.hasher.finish() == checksum { Ok(()) } else { Err(VerifyError::Checksum) }
    }
}

impl DataPass {
    fn take(
        &mut self,
        document: &mut DocumentReader,
        plain: &[u8],
        sink: &mut dyn FnMut(DataEvent) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        document.push(plain, &mut |event| {
            let DocumentEvent::Data(bytes) = event else { return Ok(()) };
            self.bytes += bytes.len() as u64;
            if self.bytes > self.bytes_max {
                return Err(FormatError::DataTooLarge { bytes_max: self.bytes_max }.into());
            }
            self.hasher.update(bytes);
            self.decoder.push(bytes, sink)
        })
    }
}

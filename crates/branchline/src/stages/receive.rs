//! Receives: writes an upload to the spool, and verifies it as it comes, so that what must be refused is refused as
//! soon as that is certain.
//!
//! A [`Reception`](branchline_core::ports::Reception) holds one [`Receiving`] for each upload that is open. After a
//! restart it is made again from the file: the bytes on disk are verified anew, and the upload goes on behind them.

use branchline_core::backup::v1::{Expectation, VerifiedBackup, Verifier, VerifyError};
use branchline_core::code::{Code, Explain};
use branchline_core::limits::DISK_FREE_BYTES_MIN;
use branchline_core::ports::{Spool, SpoolError, SpoolFile, SpoolWriter};

/// Bytes that are read at once when an upload goes on after a restart.
const READ_BYTES: usize = 256 << 10;

/// An upload that is open.
pub struct Receiving {
    writer: Box<dyn SpoolWriter>,
    verifier: Verifier,
    document_bytes: u64,
    settled: u64,
}

/// Why bytes are not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The disk.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The document.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// They do not begin where the upload ends.
    #[error("the upload goes on at {offset}")]
    Offset {
        /// Where it goes on.
        offset: u64,
    },
    /// They reach past the announced end.
    #[error("the document is longer than was announced")]
    TooLong,
}

impl Explain for ReceiveError {
    fn code(&self) -> Code {
        match self {
            Self::Spool(error) => error.code(),
            Self::Verify(error) => error.code(),
            Self::Offset { .. } => Code::OFFSET_MISMATCH,
            Self::TooLong => Code::REQUEST_INVALID,
        }
    }
}

impl Receiving {
    /// Opens an upload: a new one, or one of which some bytes are on disk.
    ///
    /// # Errors
    /// Where the disk has no room for all of it, or what is on disk must be refused.
    pub async fn open(
        spool: &dyn Spool,
        file: &SpoolFile,
        document_bytes: u64,
        expectation: Expectation,
    ) -> Result<Self, ReceiveError> {
        let settled = spool.len(file).await?.unwrap_or(0);
        let missing = document_bytes.saturating_sub(settled);
        if spool.free_bytes().await? < missing.saturating_add(DISK_FREE_BYTES_MIN) {
            return Err(SpoolError::DiskFull.into());
        }
        let mut verifier = Verifier::new(expectation);
        let mut at = 0;
        while at < settled {
            let bytes = spool.read_at(file, at, READ_BYTES).await?;
            if bytes.is_empty() {
                break;
            }
            verifier.push(&bytes)?;
            at += bytes.len() as u64;
        }
        let writer = spool.open_append(file).await?;
        Ok(Self { writer, verifier, document_bytes, settled: at })
    }

    /// Bytes that are lasting on disk.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// Whether all of it is lasting on disk.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.settled == self.document_bytes
    }

    /// Takes bytes; they are not lasting yet.
    ///
    /// # Errors
    /// Where they are refused, or cannot be written.
    pub async fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), ReceiveError> {
        let end = self.writer.len();
        if offset != end {
            return Err(ReceiveError::Offset { offset: self.settled });
        }
        if end + bytes.len() as u64 > self.document_bytes {
            return Err(ReceiveError::TooLong);
        }
        self.verifier.push(bytes)?;
        self.writer.write(bytes).await?;
        Ok(())
    }

    /// Makes what was taken lasting.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub async fn settle(&mut self) -> Result<u64, ReceiveError> {
        self.writer.sync().await?;
        self.settled = self.writer.len();
        Ok(self.settled)
    }

    /// Ends a complete upload.
    ///
    /// # Errors
    /// Where the document is refused.
    pub fn finish(self) -> Result<VerifiedBackup, VerifyError> {
        self.verifier.finish()
    }
}

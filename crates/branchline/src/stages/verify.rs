//! Verifies: a whole document that lies in a file, from its first byte to its signature and checksum.
//!
//! Uploads are verified as they come ([`super::receive`]); this is for files from a USB stick, and for uploads that
//! were complete when the server stopped.

use std::io::Read;
use std::path::{Path, PathBuf};

use branchline_core::backup::v1::{Expectation, VerifiedBackup, Verifier, VerifyError};
use branchline_core::code::{Code, Explain};
use branchline_core::ports::{Spool, SpoolError, SpoolFile};

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;

/// Why a file is not a backup to be taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{} cannot be read", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The document is refused.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl Explain for FileError {
    fn code(&self) -> Code {
        match self {
            Self::Io { .. } => Code::FILE_UNREADABLE,
            Self::Spool(error) => error.code(),
            Self::Verify(error) => error.code(),
        }
    }
}

/// Verifies a file anywhere on this machine.
///
/// # Errors
/// Where it cannot be read, or is refused.
pub fn verify_path(path: &Path, expectation: Expectation) -> Result<VerifiedBackup, FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut verifier = Verifier::new(expectation);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(io)?;
        if read == 0 {
            return Ok(verifier.finish()?);
        }
        verifier.push(&buffer[..read])?;
    }
}

/// The same, on a thread of its own: a USB stick is slow.
///
/// # Errors
/// Where it cannot be read, or is refused.
pub async fn verify_file(path: &Path, expectation: Expectation) -> Result<VerifiedBackup, FileError> {
    let (path, failed) = (path.to_owned(), path.to_owned());
    let verifying = tokio::task::spawn_blocking(move || verify_path(&path, expectation));
    let interrupted = |_| FileError::Io { path: failed, source: std::io::ErrorKind::Interrupted.into() };
    verifying.await.map_err(interrupted)?
}

/// Verifies a spool file.
///
/// # Errors
/// Where it cannot be read, or is refused.
pub async fn verify_spooled(
    spool: &dyn Spool,
    file: &SpoolFile,
    expectation: Expectation,
) -> Result<VerifiedBackup, FileError> {
    let mut verifier = Verifier::new(expectation);
    let mut at = 0;
    loop {
        let bytes = spool.read_at(file, at, READ_BYTES).await?;
        if bytes.is_empty() {
            return Ok(verifier.finish()?);
        }
        verifier.push(&bytes)?;
        at += bytes.len() as u64;
    }
}

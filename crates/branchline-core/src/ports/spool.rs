//! Files of the state: backups on their way out and in.
//!
//! A file is named by what it is for and never by what a peer said. Its length on disk is the truth: an upload's
//! offset is the length that was made lasting, and a file without its row in the state is swept at start.

use std::io;

use super::BoxFuture;
use crate::code::{Code, Explain};
use crate::id::{BackupId, ServerId};

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpoolFile {
    /// The second frame of backups made here, shared by all peers of one scope; named by the first of them.
    Data(BackupId),
    /// An upload from a peer: a whole document, perhaps not complete yet.
    Inbound {
        /// Who sends it.
        peer: ServerId,
        /// Its name.
        backup: BackupId,
    },
}

/// The folder of files.
pub trait Spool: Send + Sync {
    /// Makes a file, or opens it to append to what is there already.
    fn open_append<'a>(
        &'a self,
        file: &'a SpoolFile,
    ) -> BoxFuture<'a, Result<Box<dyn SpoolWriter>, SpoolError>>;

    /// Bytes that are lasting on disk; nothing where there is no such file.
    fn len<'a>(&'a self, file: &'a SpoolFile) -> BoxFuture<'a, Result<Option<u64>, SpoolError>>;

    /// Reads at most `bytes_max` from `offset`; an empty answer is the end.
    fn read_at<'a>(
        &'a self,
        file: &'a SpoolFile,
        offset: u64,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, SpoolError>>;

    /// Removes a file; one that is not there is removed already.
    fn remove<'a>(&'a self, file: &'a SpoolFile) -> BoxFuture<'a, Result<(), SpoolError>>;

    /// All files.
    fn list(&self) -> BoxFuture<'_, Result<Vec<SpoolFile>, SpoolError>>;

    /// Bytes free on the disk.
    fn free_bytes(&self) -> BoxFuture<'_, Result<u64, SpoolError>>;
}

/// A file that grows.
pub trait SpoolWriter: Send {
    /// Bytes written so far, the lasting ones and those since.
    fn len(&self) -> u64;

    /// Whether nothing was written yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends.
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), SpoolError>>;

    /// Makes all that was written lasting.
    fn sync(&mut self) -> BoxFuture<'_, Result<(), SpoolError>>;

    /// Cuts the file back to a length that it had.
    fn truncate(&mut self, len: u64) -> BoxFuture<'_, Result<(), SpoolError>>;
}

/// What a spool fails at.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// There is no such file.
    #[error("there is no such spool file")]
    Missing,
    /// Anything else.
    #[error("the spool folder cannot be used")]
    Io(#[source] io::Error),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(error),
        }
    }
}

impl Explain for SpoolError {
    fn code(&self) -> Code {
        match self {
            Self::DiskFull => Code::DISK_FULL,
            Self::Missing => Code::NOT_FOUND,
            Self::Io(_) => Code::STATE_BROKEN,
        }
    }
}

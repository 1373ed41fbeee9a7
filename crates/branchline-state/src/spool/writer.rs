//! [`FolderWriter`]: appends to one spool file.
//!
//! A write that fails (a full disk) is cut off again, so that the file holds whole writes only. A writer is spent
//! once a call was given up half way, or an fsync failed: nobody knows then what the disk holds, and a later
//! fsync would not say. The file is opened anew, which starts from what is there.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Arc;

use branchline_core::ports::{BoxFuture, SpoolError, SpoolWriter};

use super::blocking;
use super::turn::Turn;

/// Appends to one spool file.
#[derive(Debug)]
pub(super) struct FolderWriter {
    target: Arc<Target>,
    len: u64,
    spent: bool,
}

#[derive(Debug)]
struct Target {
    file: File,
    turn: Turn,
}

/// How a piece of work ended that failed.
enum Failure {
    /// The file is as it was before.
    Undone(SpoolError),
    /// Nobody knows what the disk holds.
    Unknown(SpoolError),
}

impl FolderWriter {
    /// Goes on at the end of `file`.
    pub(super) fn new(file: File, turn: Turn) -> Result<Self, SpoolError> {
        let len = file.metadata()?.len();
        Ok(Self { target: Arc::new(Target { file, turn }), len, spent: false })
    }

    /// Runs one piece of work on the file; `len` is the file's new length once it is done.
    async fn run(
        &mut self,
        len: u64,
        work: impl FnOnce(&File) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), SpoolError> {
        if self.spent {
            return Err(SpoolError::Io(io::Error::other("a spool writer was used after it failed")));
        }
        // Stays set where this future is dropped below.
        self.spent = true;
        let target = Arc::clone(&self.target);
        let done = blocking(move || {
            let _held = match target.turn.hold() {
                Ok(held) => held,
                Err(over) => return Ok(Err(Failure::Unknown(over))),
            };
            Ok(work(&target.file))
        });
        match done.await? {
            Ok(()) => {
                self.spent = false;
                self.len = len;
                Ok(())
            }
            Err(Failure::Undone(error)) => {
                self.spent = false;
                Err(error)
            }
            Err(Failure::Unknown(error)) => Err(error),
        }
    }
}

impl SpoolWriter for FolderWriter {
    fn len(&self) -> u64 {
        self.len
    }

    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), SpoolError>> {
        let offset = self.len;
        let Some(end) = offset.checked_add(bytes.len() as u64) else {
            return Box::pin(async { Err(SpoolError::Io(io::ErrorKind::FileTooLarge.into())) });
        };
        let bytes = bytes.to_vec();
        Box::pin(self.run(end, move |file| append(file, offset, &bytes)))
    }

    fn sync(&mut self) -> BoxFuture<'_, Result<(), SpoolError>> {
        Box::pin(self.run(self.len, |file| file.sync_all().map_err(|error| Failure::Unknown(error.into()))))
    }

    fn truncate(&mut self, len: u64) -> BoxFuture<'_, Result<(), SpoolError>> {
        if len > self.len {
            return Box::pin(async { Err(SpoolError::Io(io::ErrorKind::InvalidInput.into())) });
        }
        Box::pin(self.run(len, move |file| file.set_len(len).map_err(|error| Failure::Undone(error.into()))))
    }
}

fn append(mut file: &File, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
    let written = file.seek(SeekFrom::Start(offset)).and_then(|_| file.write_all(bytes));
    let Err(error) = written else { return Ok(()) };
    match file.set_len(offset) {
        Ok(()) => Err(Failure::Undone(error.into())),
        Err(_) => Err(Failure::Unknown(error.into())),
    }
}

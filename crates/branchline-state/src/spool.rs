//! [`FolderSpool`]: backups on their way out and in, as files of one folder.
//!
//! * Names are made from ids alone and read back strictly; a file of any other name is left alone and said.
//! * A file's length is asked of the disk, after an fsync: what is answered is lasting, even where the process
//!   that wrote it was killed before it could sync.
//! * One file has one writer. Opening it again takes it from the one before, so that an upload's torn
//!   connection cannot write into what its successor wrote (see [`turn`]).
//! * All disk work runs on tokio's blocking threads, at most one piece for each caller at a time.

mod name;
mod turn;
mod writer;

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use branchline_core::ports::{BoxFuture, Spool, SpoolError, SpoolFile, SpoolWriter};

use crate::platform;
use turn::Turns;
use writer::FolderWriter;

/// The folder's name in the home.
const FOLDER_NAME: &str = "spool";

/// Backups on their way out and in, as files of one folder.
#[derive(Debug)]
pub struct FolderSpool {
    folder: PathBuf,
    turns: Turns,
}

impl FolderSpool {
    /// Opens the folder `spool` in `home`, and makes it where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made or used.
    pub fn open(home: &Path) -> Result<Self, SpoolError> {
        let folder = home.join(FOLDER_NAME);
        platform::make_private_folder(&folder)?;
        platform::restrict_folder(&folder)?;
        Ok(Self { folder, turns: Turns::default() })
    }

    fn path(&self, file: &SpoolFile) -> PathBuf {
        self.folder.join(name::of(file))
    }
}

impl Spool for FolderSpool {
    fn open_append<'a>(
        &'a self,
        file: &'a SpoolFile,
    ) -> BoxFuture<'a, Result<Box<dyn SpoolWriter>, SpoolError>> {
        let (folder, path, turns, file) =
            (self.folder.clone(), self.path(file), self.turns.clone(), file.clone());
        Box::pin(blocking(move || {
            let turn = turns.take(&file);
            let (opened, made) = platform::open_or_create_file(&path)?;
            if made {
                platform::sync_folder(&folder)?;
            }
            Ok(Box::new(FolderWriter::new(opened, turn)?) as Box<dyn SpoolWriter>)
        }))
    }

    fn len<'a>(&'a self, file: &'a SpoolFile) -> BoxFuture<'a, Result<Option<u64>, SpoolError>> {
        let (path, turns, file) = (self.path(file), self.turns.clone(), file.clone());
        Box::pin(blocking(move || {
            turns.while_none_writes(&file, || {
                let opened = match platform::open_file(&path) {
                    Ok(opened) => opened,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error.into()),
                };
                let len = opened.metadata()?.len();
                opened.sync_all()?;
                Ok(Some(len))
            })
        }))
    }

    fn read_at<'a>(
        &'a self,
        file: &'a SpoolFile,
        offset: u64,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, SpoolError>> {
        let path = self.path(file);
        Box::pin(blocking(move || {
            let mut opened = platform::open_file(&path)?;
            let rest = opened.metadata()?.len().saturating_sub(offset);
            let wanted = rest.min(bytes_max as u64);
            let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or(bytes_max));
            opened.seek(SeekFrom::Start(offset))?;
            opened.take(wanted).read_to_end(&mut bytes)?;
            Ok(bytes)
        }))
    }

    fn remove<'a>(&'a self, file: &'a SpoolFile) -> BoxFuture<'a, Result<(), SpoolError>> {
        let (path, turns, file) = (self.path(file), self.turns.clone(), file.clone());
        Box::pin(blocking(move || {
            // A writer of it writes no more, rather than into a file without a name.
            let _turn = turns.take(&file);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        }))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SpoolFile>, SpoolError>> {
        let folder = self.folder.clone();
        Box::pin(blocking(move || {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                match entry.file_name().to_str().and_then(name::parse) {
                    Some(file) if entry.file_type()?.is_file() => files.push(file),
                    _ => tracing::warn!(name = ?entry.file_name(), "not a spool file; it is left alone"),
                }
            }
            files.sort();
            Ok(files)
        }))
    }

    fn free_bytes(&self) -> BoxFuture<'_, Result<u64, SpoolError>> {
        let folder = self.folder.clone();
        Box::pin(blocking(move || Ok(platform::free_bytes(&folder)?)))
    }
}

/// Runs disk work on a blocking thread. It is carried out whole, even where its caller goes away.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(SpoolError::Io(io::Error::other(error))),
    }
}

//! What differs between systems: who may read a file, links that are not followed, lasting names, free space.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(crate) use system::{free_bytes, make_private_folder, restrict_folder, sync_folder};

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens an existing file to read and write, and follows no link at its end.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    plain(system::without_links(OpenOptions::new().read(true).write(true)).open(path)?)
}

/// Makes a file that its owner alone may read. Fails where one is there.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    plain(system::private(OpenOptions::new().read(true).write(true).create_new(true)).open(path)?)
}

/// Opens a file to read and write, and makes it where it is missing; says whether it was made.
pub(crate) fn open_or_create_file(path: &Path) -> io::Result<(File, bool)> {
    match create_file(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((open_file(path)?, false)),
        Err(error) => Err(error),
    }
}

/// Sees to it that a file exists and that its owner alone may read it.
pub(crate) fn make_private_file(path: &Path) -> io::Result<()> {
    let (file, _) = open_or_create_file(path)?;
    system::restrict_file(&file)
}

fn plain(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a plain file")) }
}

//! The lock of a home: one process at a time works on it.
//!
//! It is the operating system's own lock on `home.lock`, which a crash or `kill -9` releases too; that the file
//! exists means nothing, and it is never removed. The file holds the process's id, for messages only.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use branchline_core::ports::StateError;

use crate::platform;

const FILE_NAME: &str = "home.lock";

/// The right to work on a home. Dropping it gives it up.
#[derive(Debug)]
pub struct HomeLock {
    file: File,
}

/// Takes the lock of a home, and makes the folder where it is missing.
///
/// # Errors
/// [`StateError::Locked`] where another process has it, or another part of this one;
/// [`StateError::Broken`] where the lock file cannot be used.
pub fn lock(folder: &Path) -> Result<HomeLock, StateError> {
    let path = folder.join(FILE_NAME);
    let unusable =
        |error: std::io::Error| StateError::Broken { message: format!("{}: {error}", path.display()) };
    platform::make_private_folder(folder).map_err(unusable)?;
    let (mut file, _) = platform::open_or_create_file(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StateError::Locked { folder: held_by(folder, &mut file) });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    write_holder(&mut file).map_err(unusable)?;
    Ok(HomeLock { file })
}

impl Drop for HomeLock {
    fn drop(&mut self) {
        // Closing the file would do, but a child process that inherited it would keep the lock.
        let _ = self.file.unlock();
    }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The folder, and the process that holds it where that can be read (Windows hides what is locked).
fn held_by(folder: &Path, file: &mut File) -> String {
    const PID_BYTES_MAX: u64 = 10;
    let mut text = String::new();
    let read = file.take(PID_BYTES_MAX).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("{} (process {pid})", folder.display()),
        _ => folder.display().to_string(),
    }
}

//! The key file on Unix: mode 0600 from the moment it exists, no symbolic link followed, owner checked.
//!
//! The mode is given to `open` itself; a `chmod` afterwards would leave a moment in which others could open the
//! file. What is checked is the open file, not its path, so nobody can swap it in between.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::IdentityError;

/// Read and write for the owner alone.
const MODE: u32 = 0o600;
/// Any right of group or others.
const OTHERS: u32 = 0o077;

pub(super) fn create_private(path: &Path) -> Result<File, IdentityError> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::AlreadyExists => IdentityError::Exists { path },
            _ => IdentityError::Io { path, source },
        }
    })
}

pub(super) fn open_private(path: &Path) -> Result<File, IdentityError> {
    let failed = |source| IdentityError::Io { path: path.to_owned(), source };
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    let (owner, ours) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let who = if mode & OTHERS != 0 {
        format!("its mode is {mode:04o}, and must be 0600")
    } else if owner != ours {
        format!("it belongs to user {owner}, and this process is user {ours}")
    } else {
        return Ok(file);
    };
    Err(IdentityError::ReadableByOthers { path: path.to_owned(), who })
}

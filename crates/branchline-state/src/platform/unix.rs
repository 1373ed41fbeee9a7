//! Unix: modes, `O_NOFOLLOW`, fsync of folders, statvfs.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{OFlags, statvfs};

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Makes a folder for its owner alone; one that is there keeps its mode, since a person may have chosen it.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Shuts everybody but its owner out of a folder of ours.
pub(crate) fn restrict_folder(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))
}

/// Makes the names in a folder lasting.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes that a process without special rights may still write.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let figures = statvfs(path)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

/// Follows no link at the end of the path.
pub(super) fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
}

/// The same, and what is made is for its owner alone.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    without_links(options).mode(FILE_MODE)
}

/// Shuts everybody but its owner out of a file of ours.
pub(super) fn restrict_file(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(FILE_MODE))
}

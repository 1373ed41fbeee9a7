//! Windows: a new file's rights come from its folder, links are opened and not followed, names need no sync.
//!
//! Rights are therefore set once, on the home, by whoever installs the service. Not run in CI yet.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

/// Opens the link itself, which is then refused for not being a plain file (winbase.h).
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;

/// Makes a folder.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Nothing to do: rights come from the home.
pub(crate) fn restrict_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Nothing to do: NTFS keeps names in its own log.
pub(crate) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Bytes that this user may still write.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    fs4::available_space(path)
}

/// Follows no link at the end of the path.
pub(super) fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
}

/// The same: rights come from the folder.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    without_links(options)
}

/// Nothing to do: rights come from the folder.
pub(super) fn restrict_file(_file: &File) -> io::Result<()> {
    Ok(())
}

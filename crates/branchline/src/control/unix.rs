//! The control socket on Unix: `HOME/control.sock`, mode 0600.
//!
//! The system keeps a socket's path in about 100 bytes. Where the home's path is longer than that, the socket is
//! in a private folder with a random name in `$XDG_RUNTIME_DIR` (or the folder for temporary files), and
//! `HOME/control.path` says where.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

const SOCKET_NAME: &str = "control.sock";
const POINTER_NAME: &str = "control.path";
/// Linux takes 107 bytes, macOS 103; where it is made first is 7 longer.
const PATH_BYTES_MAX: usize = 95;

/// A socket that listens. It goes when this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    pointer: PathBuf,
    /// Kept for its drop: it removes the folder.
    _elsewhere: Option<tempfile::TempDir>,
}

impl Listener {
    pub(super) fn bind(home: &Path) -> io::Result<Self> {
        let pointer = home.join(POINTER_NAME);
        let own = home.join(SOCKET_NAME);
        remove_leftover(&pointer)?;
        remove_leftover(&own)?;
        let elsewhere = if fits(&own) { None } else { Some(private_folder(&short_folder())?) };
        let path = elsewhere.as_ref().map_or(own, |folder| folder.path().join(SOCKET_NAME));
        // It is made in a private folder and moved when its mode is set: a home that a person made may be open.
        let private = private_folder(path.parent().unwrap_or(home))?;
        let made = private.path().join("s");
        let socket = UnixListener::bind(&made)?;
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        fs::rename(&made, &path)?;
        if elsewhere.is_some() {
            let mut file = tempfile::NamedTempFile::new_in(home)?;
            file.write_all(path.as_os_str().as_encoded_bytes())?;
            file.persist(&pointer)?;
        }
        Ok(Self { socket, path, pointer, _elsewhere: elsewhere })
    }

    /// The next caller. Safe to drop at any moment.
    pub(super) async fn accept(&mut self) -> io::Result<UnixStream> {
        Ok(self.socket.accept().await?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.pointer);
    }
}

/// A stream to a running server; nothing, where none listens.
pub(super) async fn connect(home: &Path) -> io::Result<Option<UnixStream>> {
    let own = home.join(SOCKET_NAME);
    let path = match fs::read_to_string(home.join(POINTER_NAME)) {
        Ok(path) => PathBuf::from(path),
        Err(_) if fits(&own) => own,
        Err(_) => return Ok(None),
    };
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= PATH_BYTES_MAX
}

fn short_folder() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
    runtime.unwrap_or_else(std::env::temp_dir)
}

fn private_folder(within: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("branchline-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(within)
}

fn remove_leftover(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

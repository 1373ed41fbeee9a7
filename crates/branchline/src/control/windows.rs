//! The control socket on Windows: the named pipe `\\.\pipe\branchline-HASH`, HASH being of the home's path.
//!
//! Windows lets the user who made a pipe, SYSTEM and Administrators write to it, and everybody else only read; who
//! cannot write cannot ask, and is told nothing. Callers from other machines are refused.

use std::io;
use std::path::Path;
use std::time::Duration;

use branchline_core::digest::Digest;
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};

/// `ERROR_PIPE_BUSY`: the server has not opened the next end yet.
const PIPE_BUSY: i32 = 231;
const BUSY_ATTEMPTS_MAX: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// A pipe that listens.
#[derive(Debug)]
pub(super) struct Listener {
    name: String,
    next: NamedPipeServer,
}

impl Listener {
    pub(super) fn bind(home: &Path) -> io::Result<Self> {
        let name = pipe_name(home);
        // The first end must be the first: else another program has taken the name to listen in.
        let next =
            ServerOptions::new().first_pipe_instance(true).reject_remote_clients(true).create(&name)?;
        Ok(Self { name, next })
    }

    /// The next caller. Safe to drop at any moment.
    pub(super) async fn accept(&mut self) -> io::Result<NamedPipeServer> {
        self.next.connect().await?;
        let next = ServerOptions::new().reject_remote_clients(true).create(&self.name)?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// A stream to a running server; nothing, where none listens.
pub(super) async fn connect(home: &Path) -> io::Result<Option<NamedPipeClient>> {
    let name = pipe_name(home);
    let mut attempts = 0;
    loop {
        match ClientOptions::new().open(&name) {
            Ok(pipe) => return Ok(Some(pipe)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(PIPE_BUSY) && attempts < BUSY_ATTEMPTS_MAX => {
                attempts += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn pipe_name(home: &Path) -> String {
    const HASH_CHARACTERS: usize = 32;
    let home = std::fs::canonicalize(home).unwrap_or_else(|_| home.to_owned());
    let digest = Digest::of(home.to_string_lossy().to_lowercase().as_bytes());
    let hash: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(r"\\.\pipe\branchline-{}", &hash[..HASH_CHARACTERS])
}

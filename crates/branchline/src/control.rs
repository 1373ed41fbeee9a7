//! The control socket: how the command line speaks to a running `serve`, so that one process owns the state.
//!
//! A Unix socket `HOME/control.sock` that only its owner may open; on Windows a named pipe. One connection carries
//! one call: a line with the command, then lines with progress, then one with the answer or the problem. Whoever
//! hangs up takes its command back. Nothing else proves who asks: who may open the socket may ask for everything.
//!
//! Limits: 32 calls at once · 1 MiB a command · 64 MiB a message · 5 s to send the command · 30 s that a client may
//! leave a message unread.

mod client;
mod line;
mod server;

#[cfg(unix)]
#[path = "control/unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "control/windows.rs"]
mod platform;

pub use client::call;
pub use server::{ControlSocket, bind};

#[cfg(test)]
mod tests;

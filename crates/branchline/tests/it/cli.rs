//! The command line, as the real binary: exit codes, the shape of errors, JSON, signals, and who does the work.

mod binary;
mod capturing;
mod errors;
mod exchange;
#[cfg(unix)]
mod schedule;
#[cfg(unix)]
mod serving;

//! How far a call is.

use serde::{Deserialize, Serialize};

/// How far one stage of a call is. Several may run at once, told apart by `peer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The stage, in the words of ARCHITECTURE.md: `capture`, `send`, `apply` …
    pub stage: String,
    /// The peer that it is for, where it is for one.
    pub peer: Option<String>,
    /// Rows so far.
    pub rows: u64,
    /// Rows in all, as far as that is known.
    pub rows_total: Option<u64>,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes in all, as far as that is known.
    pub bytes_total: Option<u64>,
    /// A line for people, where the stage has something to say.
    pub message: Option<String>,
}

//! The one place that reads clocks, and the one that draws entropy.

use std::time::{Duration, Instant};

use branchline_core::code::Code;
use branchline_core::id::BackupId;
use branchline_core::version::ChangeTime;
use jiff::Timestamp;

use crate::api::v1::Problem;

/// The time of day.
#[must_use]
pub fn now() -> Timestamp {
    #[allow(clippy::disallowed_methods, reason = "this is the node's clock")]
    Timestamp::now()
}

/// The time of day, as changes are timed.
#[must_use]
pub fn wall_clock() -> ChangeTime {
    ChangeTime::from_micros(u64::try_from(now().as_microsecond()).unwrap_or_default())
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[must_use]
    pub fn start() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is the node's clock")]
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn millis(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Bytes that nobody can guess.
///
/// # Errors
/// Where the system gives none.
pub fn entropy<const BYTES: usize>() -> Result<[u8; BYTES], Problem> {
    let mut bytes = [0; BYTES];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Problem::new(Code::INTERNAL, "the system gives no entropy"))?;
    Ok(bytes)
}

/// A new backup's name.
///
/// # Errors
/// Where the system gives no entropy.
pub fn backup_id() -> Result<BackupId, Problem> {
    Ok(BackupId::from_parts(now(), entropy()?))
}

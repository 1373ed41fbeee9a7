//! The one place that reads clocks, and the one that draws entropy.

use std::time::{Duration, Instant};

use branchline_core::code::Code;
use branchline_core::id::BackupId;
use branchline_core::version::ChangeTime;
use jiff::{SignedDuration, Timestamp};

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

/// The clock by which the schedule runs: the time of day, or one that is a fixed span ahead of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    ahead: SignedDuration,
}

impl Clock {
    /// A clock that is ahead of the time of day, so that what is due in the evening can be seen now.
    #[must_use]
    pub const fn ahead_by(ahead: SignedDuration) -> Self {
        Self { ahead }
    }

    /// The time by this clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX)
    }
}

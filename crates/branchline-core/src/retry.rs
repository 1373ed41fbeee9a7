//! How long a delivery waits before it is tried again: exponential, with full jitter, without end.
//!
//! Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter spreads a crowd best.

use std::time::Duration;

use crate::limits::{RETRY_BASE, RETRY_MAX};

/// The wait after `attempts` failures; `entropy` is any random number.
#[must_use]
pub fn wait_after(attempts: u32, entropy: u64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(20);
    let ceiling = RETRY_BASE.saturating_mul(1 << doublings).min(RETRY_MAX);
    let ceiling_millis = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(entropy % (ceiling_millis + 1)).max(Duration::from_millis(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_ceiling_and_never_vanish() {
        assert_eq!(wait_after(1, 1_000), RETRY_BASE);
        assert_eq!(wait_after(4, 8_000), RETRY_BASE * 8);
        assert_eq!(wait_after(1_000_000, 900_000), RETRY_MAX);
        for attempts in 1..40 {
            assert!(wait_after(attempts, u64::MAX) <= RETRY_MAX);
            assert!(wait_after(attempts, 0) >= Duration::from_millis(100));
        }
    }
}

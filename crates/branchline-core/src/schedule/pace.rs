//! How often the change log is looked at: often while something happens, seldom while nothing does.
//!
//! The wait is a share of the quiet before it: a hundredth, at least 10 ms and at most 1 s. So a change waits no longer
//! than 1 % of the time in which there was none, which nobody notices, and a shop that is closed costs one look a
//! second. While sales come in it is looked at every 10 ms.

use std::time::Duration;

use crate::limits::{LIVE_POLL_MAX, LIVE_POLL_MIN};

/// How much longer the quiet is than the wait that it allows.
const QUIET_TO_WAIT: u32 = 100;

/// The pace at which the change log is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pace {
    /// How long nothing has happened, by the waits that were asked for.
    quiet: Duration,
}

impl Pace {
    /// The wait after a look that found changes.
    pub fn after_changes(&mut self) -> Duration {
        self.quiet = Duration::ZERO;
        LIVE_POLL_MIN
    }

    /// The wait after a look that found nothing.
    pub fn after_nothing(&mut self) -> Duration {
        let wait = (self.quiet / QUIET_TO_WAIT).clamp(LIVE_POLL_MIN, LIVE_POLL_MAX);
        self.quiet = self.quiet.saturating_add(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is looked at in a quiet time of that length, and the longest wait.
    fn quiet_for(pace: &mut Pace, length: Duration) -> (u32, Duration) {
        let (mut passed, mut looks, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
        while passed < length {
            let wait = pace.after_nothing();
            (passed, looks, longest) = (passed + wait, looks + 1, longest.max(wait));
        }
        (looks, longest)
    }

    #[test]
    fn a_change_waits_no_longer_than_a_hundredth_of_the_quiet_before_it() {
        let mut pace = Pace::default();
        for seconds in [1, 2, 5, 10, 30] {
            let (_, longest) = quiet_for(&mut pace, Duration::from_secs(seconds));
            assert!(longest <= pace.quiet / QUIET_TO_WAIT + LIVE_POLL_MIN, "{longest:?} after {seconds} s");
        }
        let (_, in_ten_seconds) = quiet_for(&mut Pace::default(), Duration::from_secs(10));
        assert!(in_ten_seconds <= Duration::from_millis(100), "{in_ten_seconds:?}");
    }

    #[test]
    fn a_closed_shop_costs_one_look_a_second() {
        let mut pace = Pace::default();
        let (first_minute, _) = quiet_for(&mut pace, Duration::from_secs(60));
        assert!(first_minute < 600, "{first_minute} looks");
        // It takes a hundred seconds until a look a second is enough.
        quiet_for(&mut pace, Duration::from_secs(60));
        let (later, longest) = quiet_for(&mut pace, Duration::from_secs(3_600));
        assert!((3_599..=3_610).contains(&later), "{later} looks");
        assert_eq!(longest, LIVE_POLL_MAX);
    }

    #[test]
    fn a_change_makes_it_fast_at_once() {
        let mut pace = Pace::default();
        quiet_for(&mut pace, Duration::from_secs(3_600));
        assert_eq!(pace.after_changes(), LIVE_POLL_MIN);
        assert_eq!(pace.after_nothing(), LIVE_POLL_MIN);
        let (looks, _) = quiet_for(&mut pace, Duration::from_millis(500));
        assert!(looks >= 45, "{looks} looks");
    }
}

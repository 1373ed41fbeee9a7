//! How long a delivery waits before it is tried again: exponential, with full jitter, without end. And which backups of
//! the outbox it is time for.
//!
//! Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter spreads a crowd best.

use std::time::Duration;

use jiff::Timestamp;

use crate::limits::{RETRY_BASE, RETRY_MAX, RETRY_UNTRIED};
use crate::ports::{OutboxEntry, OutboxState};

/// The wait after `attempts` failures; `entropy` is any random number.
#[must_use]
pub fn wait_after(attempts: u32, entropy: u64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(20);
    let ceiling = RETRY_BASE.saturating_mul(1 << doublings).min(RETRY_MAX);
    let ceiling_millis = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(entropy % (ceiling_millis + 1)).max(Duration::from_millis(100))
}

/// Of each peer the backup that is sent next: the first of those that wait, since a later one would arrive as a gap.
/// `outbox` is in the order of peers and places, as the state gives it.
pub fn next_of_each_peer(outbox: &[OutboxEntry]) -> impl Iterator<Item = &OutboxEntry> {
    let waiting = outbox.iter().filter(|entry| entry.state == OutboxState::Waiting);
    let mut last = None;
    waiting.filter(move |entry| last.replace(&entry.peer) != Some(&entry.peer))
}

/// When a backup that waits is to be tried by the server itself: at its time; and where it was never tried, once
/// whoever made it has had the time to send it or to carry it away as a file.
///
/// A time further off than any wait can be was written by a clock that was ahead: it is due now.
#[must_use]
pub fn due_at(entry: &OutboxEntry, now: Timestamp) -> Timestamp {
    let (from, wait) = match entry.not_before {
        Some(time) => (time, Duration::ZERO),
        None => (entry.created_at, RETRY_UNTRIED),
    };
    let due = from.checked_add(wait).unwrap_or(Timestamp::MAX);
    let wait_max = if entry.not_before.is_some() { RETRY_MAX } else { RETRY_UNTRIED };
    let latest = now.checked_add(wait_max).unwrap_or(Timestamp::MAX);
    if due > latest { now } else { due }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{BackupType, Codec};
    use crate::digest::Digest;
    use crate::id::{BackupId, Sequence};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + second).unwrap()
    }

    fn entry(peer: &str, place: u8, not_before: Option<i64>) -> OutboxEntry {
        let backup = BackupId::from_parts(at(0), [place; 10]);
        OutboxEntry {
            backup,
            peer: peer.parse().unwrap(),
            backup_type: BackupType::Full,
            sequence: Sequence::new(place.into()),
            codec: Codec::Zstd,
            head: Vec::new(),
            data_file: backup,
            data_frame_bytes: 0,
            tail: Vec::new(),
            signature: String::new(),
            metadata: Digest::of(b"M"),
            checksum: Digest::of(b"D"),
            record_count: 0,
            packed: None,
            created_at: at(0),
            state: OutboxState::Waiting,
            attempts: 0,
            not_before: not_before.map(at),
            last_error: None,
        }
    }

    #[test]
    fn of_each_peer_the_first_that_waits_is_next() {
        let delivered = OutboxEntry { state: OutboxState::Delivered, ..entry("A", 1, None) };
        let outbox = [delivered, entry("A", 2, None), entry("A", 3, None), entry("B", 1, None)];
        let next: Vec<(&str, u64)> =
            next_of_each_peer(&outbox).map(|entry| (entry.peer.as_str(), entry.sequence.value())).collect();
        assert_eq!(next, [("A", 2), ("B", 1)]);
        assert_eq!(next_of_each_peer(&[]).count(), 0);
    }

    #[test]
    fn a_backup_is_due_at_its_time_and_an_untried_one_after_a_minute() {
        assert_eq!(due_at(&entry("A", 1, Some(30)), at(10)), at(30));
        assert_eq!(due_at(&entry("A", 1, Some(30)), at(40)), at(30));
        assert_eq!(due_at(&entry("A", 1, None), at(10)), at(60));
        // Times that only a clock which was ahead can have written.
        assert_eq!(due_at(&entry("A", 1, Some(901)), at(0)), at(0));
        assert_eq!(due_at(&entry("A", 1, Some(900)), at(0)), at(900));
        assert_eq!(due_at(&entry("A", 1, None), at(-1)), at(-1));
    }

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

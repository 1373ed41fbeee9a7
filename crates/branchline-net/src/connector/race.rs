//! Attempts with a head start each: the first success wins, a failure starts the next one at once.
//!
//! The idea is that of Happy Eyeballs (RFC 8305, section 5).

use std::time::Duration;

use branchline_core::ports::BoxFuture;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Runs attempts until one succeeds; else answers all that failed, in the order in which they did.
pub(super) async fn first_success<T, E>(
    attempts: Vec<BoxFuture<'_, Result<T, Vec<E>>>>,
    head_start: Duration,
) -> Result<T, Vec<E>> {
    let mut waiting = attempts.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        match waiting.next() {
            Some(attempt) => running.push(attempt),
            None if running.is_empty() => return Err(failures),
            None => {}
        }
        // Either branch may be dropped: an attempt that is not finished stays in `running`.
        tokio::select! {
            Some(result) = running.next() => match result {
                Ok(success) => return Ok(success),
                Err(failed) => failures.extend(failed),
            },
            () = tokio::time::sleep(head_start), if waiting.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_silent_attempt_does_not_keep_the_next_from_starting() {
        let attempts: Vec<BoxFuture<'_, Result<u8, Vec<u8>>>> =
            vec![Box::pin(pending()), Box::pin(async { Err(vec![1]) }), Box::pin(async { Ok(7) })];
        assert_eq!(first_success(attempts, Duration::from_millis(1)).await, Ok(7));
    }

    #[tokio::test]
    async fn a_failure_starts_the_next_one_at_once_and_all_are_told() {
        let attempts: Vec<BoxFuture<'_, Result<u8, Vec<u8>>>> =
            vec![Box::pin(async { Err(vec![1]) }), Box::pin(async { Err(vec![2]) })];
        assert_eq!(first_success(attempts, Duration::from_secs(3_600)).await, Err(vec![1, 2]));
        let none: Vec<BoxFuture<'_, Result<u8, Vec<u8>>>> = Vec::new();
        assert_eq!(first_success(none, Duration::ZERO).await, Err(Vec::new()));
    }
}

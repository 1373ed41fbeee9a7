//! Sends by itself what waits in the outbox, once its time has come.
//!
//! One task looks which peers have something due, and starts a delivery for each: a peer that is away, or slow, keeps no
//! other one waiting. How long a backup waits is decided where it is deferred (core's `retry.rs`: backoff with full
//! jitter), so that those who wait for one server do not come back all at once.
//!
//! A peer is **in hand** while a sync or a delivery deals with it. Nothing else is begun for it then, and whenever one is
//! let go, the task looks again: so it notices what was deferred, and the next one of what was delivered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use branchline_core::id::ServerId;
use branchline_core::limits::RETRY_BASE;
use branchline_core::peer::{Activity, Peer};
use branchline_core::retry::{due_at, next_of_each_peer};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::clock::now;
use super::deliver::{Delivery, Occasion};
use super::progress::silent;
use crate::api::v1::{Problem, SyncCommand};

/// The longest sleep: a machine that was suspended, or whose clock was set, notices within this time.
pub(super) const SLEEP_MAX: Duration = Duration::from_secs(30);

/// Who is in hand, and the signal that somebody was let go.
pub(super) struct Retries {
    in_hand: Mutex<HashMap<ServerId, usize>>,
    let_go: watch::Sender<u64>,
}

impl Default for Retries {
    fn default() -> Self {
        Self { in_hand: Mutex::default(), let_go: watch::Sender::new(0) }
    }
}

impl Retries {
    /// Takes peers in hand until what this answers is dropped, also where its task is cancelled.
    pub(super) fn take_in_hand(self: &Arc<Self>, peers: impl IntoIterator<Item = ServerId>) -> InHand {
        let peers: Vec<ServerId> = peers.into_iter().collect();
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        for peer in &peers {
            *in_hand.entry(peer.clone()).or_default() += 1;
        }
        drop(in_hand);
        InHand { retries: Arc::clone(self), peers }
    }

    fn is_in_hand(&self, peer: &ServerId) -> bool {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).contains_key(peer)
    }

    /// Something else than a delivery may have changed what can be sent.
    pub(super) fn look_again(&self) {
        self.let_go.send_modify(|count| *count += 1);
    }

    /// Sees whenever a peer was let go.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.let_go.subscribe()
    }
}

/// Peers in hand.
pub(super) struct InHand {
    retries: Arc<Retries>,
    peers: Vec<ServerId>,
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut in_hand = self.retries.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        for peer in &self.peers {
            if let Some(count) = in_hand.get_mut(peer) {
                *count -= 1;
                if *count == 0 {
                    in_hand.remove(peer);
                }
            }
        }
        drop(in_hand);
        self.retries.look_again();
    }
}

/// Whether this server may call a peer at present.
pub(super) fn can_be_called(peer: &Peer) -> bool {
    peer.activity == Activity::Active && !peer.addresses.is_empty()
}

/// How long to sleep until a moment.
pub(super) fn sleep_until(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(now)).unwrap_or_default().min(SLEEP_MAX)
}

impl Node {
    /// Starts to send by itself, until `shutdown`.
    pub(super) fn start_retries(&self, shutdown: &CancellationToken) {
        let Some(node) = self.itself() else { return };
        let shutdown = shutdown.clone();
        self.start(async move {
            // The search may be dropped anywhere: what it starts are tasks of their own.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = node.keep_sending(&shutdown) => {}
            }
        });
    }

    async fn keep_sending(&self, shutdown: &CancellationToken) {
        let mut let_go = self.retries.watch();
        loop {
            let_go.mark_unchanged();
            let wait = match self.send_what_is_due(shutdown).await {
                Ok(wait) => wait,
                Err(problem) => {
                    tracing::error!(%problem, "the outbox cannot be looked at; what waits in it stays there");
                    SLEEP_MAX
                }
            };
            // Either only ends this wait. The signal's sender lives as long as the node.
            tokio::select! {
                _ = let_go.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Starts what is due; answers how long there is nothing more to do.
    async fn send_what_is_due(&self, shutdown: &CancellationToken) -> Result<Duration, Problem> {
        let outbox = self.memory.outbox().await?;
        let mut wait = SLEEP_MAX;
        if outbox.is_empty() {
            return Ok(wait);
        }
        let (peers, now) = (self.memory.peers().await?, now());
        for entry in next_of_each_peer(&outbox) {
            let peer = peers.iter().find(|peer| peer.id == entry.peer && can_be_called(peer));
            let Some(peer) = peer.filter(|peer| !self.retries.is_in_hand(&peer.id)) else { continue };
            let due = due_at(entry, now);
            if due > now {
                wait = wait.min(sleep_until(due, now));
            } else {
                // Due before its time is only what a clock wrote that was ahead.
                let early = entry.not_before.is_some_and(|time| time > now);
                self.start_delivery(peer.clone(), Occasion::Due { early }, shutdown.clone());
            }
        }
        Ok(wait)
    }

    fn start_delivery(&self, peer: Peer, occasion: Occasion, shutdown: CancellationToken) {
        let Some(node) = self.itself() else { return };
        let in_hand = self.retries.take_in_hand([peer.id.clone()]);
        self.start(async move {
            let _in_hand = in_hand;
            let delivery = async {
                // Whatever kept it from being tried is not asked again at once.
                let pause = node.deliver_what_is_due(&peer, occasion).await;
                tokio::time::sleep(pause).await;
            };
            // A delivery may be dropped anywhere: what is at the peer by then need not be sent again, and what its claim
            // holds is free for the next one of this process, or after its lease.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = delivery => {}
            }
        });
    }

    /// What could not go on in its chain was dropped: the peer gets the full backup that starts it anew.
    async fn begin_anew(&self, peer: &ServerId) {
        let command = SyncCommand { peers: vec![peer.to_string()], ..SyncCommand::default() };
        if let Err(problem) = self.sync(command, &silent()).await {
            tracing::error!(%peer, %problem, "the backup that starts the chain anew cannot be made; the next sync makes it");
        }
    }

    /// Delivers to a peer; answers how long the peer is left alone then.
    async fn deliver_what_is_due(&self, peer: &Peer, occasion: Occasion) -> Duration {
        let outcome = async {
            let link = self.link(peer)?;
            self.deliver(peer, link.as_ref(), occasion, &silent()).await
        };
        match outcome.await {
            Ok(Some((entry, delivery))) => {
                let (peer, backup) = (&entry.peer, entry.backup);
                match delivery {
                    Delivery::Answered(sent) if sent.receipt.is_applied() => {
                        tracing::info!(%peer, %backup, attempts = entry.attempts + 1, "a backup that waited is delivered");
                    }
                    Delivery::Answered(_) => {
                        tracing::error!(%peer, %backup, "a backup that waited was not applied");
                    }
                    // Said where it was settled.
                    Delivery::Refused(_) => {}
                    Delivery::Gap(_) => self.begin_anew(peer).await,
                    Delivery::Waiting(problem) => {
                        tracing::debug!(%peer, %backup, %problem, "a backup still waits");
                    }
                }
                Duration::ZERO
            }
            // A sync came first.
            Ok(None) => RETRY_BASE,
            Err(problem) => {
                tracing::error!(peer = %peer.id, %problem, "what waits for a peer cannot be sent");
                SLEEP_MAX
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_in_hand_until_the_last_who_deals_with_it_lets_go() {
        let retries = Arc::new(Retries::default());
        let [one, other]: [ServerId; 2] = ["STORE-001", "STORE-002"].map(|id| id.parse().unwrap());
        let mut watch = retries.watch();
        let first = retries.take_in_hand([one.clone(), other.clone()]);
        let second = retries.take_in_hand([one.clone()]);
        assert!(!watch.has_changed().unwrap());
        drop(first);
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        assert!(retries.is_in_hand(&one) && !retries.is_in_hand(&other));
        drop(second);
        assert!(!retries.is_in_hand(&one) && watch.has_changed().unwrap());
    }

    #[test]
    fn nobody_sleeps_longer_than_a_clock_may_be_wrong_unnoticed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(sleep_until(at(7), at(5)), Duration::from_secs(2));
        assert_eq!(sleep_until(at(5), at(7)), Duration::ZERO);
        assert_eq!(sleep_until(Timestamp::MAX, Timestamp::MIN), SLEEP_MAX);
    }
}

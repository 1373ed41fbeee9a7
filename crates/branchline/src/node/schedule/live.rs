//! Entries of kind live: each change is sent as soon as it is there.
//!
//! All of them are kept together, since a pack consumes the change log for every peer at once: where something changed,
//! every live peer lacks something, until it has been sent a backup that was made after that. One for whom a backup waits
//! lacks what came after it, and gets that once the waiting one is delivered. At the start, and when it appears, a peer
//! is taken to lack something; and one that others' changes are relayed to, whenever a backup was applied here. How often
//! the log is looked at is core's [`Pace`].
//!
//! Where changes are not captured, or the database is away, that is said once, in the log and in `status`, and looked at
//! again every ten seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use branchline_core::id::ServerId;
use branchline_core::ports::{DatabaseError, OutboxState};
use branchline_core::retry::wait_after;
use branchline_core::schedule::{Pace, ScheduleEntry, ScheduleKind};
use jiff::Timestamp;

use super::super::Node;
use super::super::clock::{Stopwatch, entropy, now};
use super::run::{is_for, peer_of, was_older};
use crate::api::v1::{Problem, SyncOutcome};

/// How long to wait where nothing can be looked at.
const TROUBLE_WAIT: Duration = Duration::from_secs(10);
/// How long it is believed that changes are captured, and that the peers are those that they were.
const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// What keeps changes from being sent as they come.
#[derive(Default)]
pub(in crate::node) struct LiveState {
    problem: Mutex<Option<Problem>>,
}

impl LiveState {
    pub(super) fn problem(&self) -> Option<Problem> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps it, and says it where it was not said yet.
    fn set(&self, problem: Option<Problem>) {
        let mut kept = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let code = |problem: &Option<Problem>| problem.as_ref().map(|problem| problem.code.clone());
        if code(&kept) != code(&problem) {
            match &problem {
                Some(problem) => {
                    tracing::error!(%problem, help = %problem.help, "changes cannot be sent as they come");
                }
                None => tracing::info!("changes are sent as they come again"),
            }
        }
        *kept = problem;
    }
}

/// Why a peer that lacks something is not sent it yet.
#[derive(Default)]
struct Lack {
    failures: u32,
    not_before: Option<Timestamp>,
}

struct Live<'a> {
    node: &'a Node,
    entries: Vec<&'a ScheduleEntry>,
    /// The peers of the entries that can be called.
    peers: BTreeSet<ServerId>,
    lacking: BTreeMap<ServerId, Lack>,
    /// Whether a backup was applied here that may have to be relayed.
    applied: bool,
    /// Since when it is known that changes are captured, and who the peers are.
    believed: Option<Stopwatch>,
}

impl Node {
    /// Sends changes as they come, where an entry says so.
    pub(super) async fn keep_live(&self) {
        let entries: Vec<&ScheduleEntry> =
            self.settings.schedule.iter().filter(|entry| entry.kind() == ScheduleKind::Live).collect();
        if entries.is_empty() {
            return;
        }
        let mut live = Live {
            node: self,
            entries,
            peers: BTreeSet::new(),
            lacking: BTreeMap::new(),
            applied: false,
            believed: None,
        };
        let (mut let_go, mut applied, mut pace) =
            (self.retries.watch(), self.uploads.watch(), Pace::default());
        loop {
            let_go.mark_unchanged();
            let looked = live.look().await;
            let wait = match &looked {
                Ok(true) => pace.after_changes(),
                Ok(false) => pace.after_nothing(),
                Err(_) => TROUBLE_WAIT,
            };
            if looked.is_err() {
                live.believed = None;
            }
            self.live.set(looked.err());
            // Each only ends this wait. The signals' senders live as long as the node.
            tokio::select! {
                _ = let_go.changed() => {}
                _ = applied.changed() => live.applied = true,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

impl Live<'_> {
    /// Looks at the change log, and sends; answers whether anything was sent.
    async fn look(&mut self) -> Result<bool, Problem> {
        let capture = self.node.database().await?.capture();
        let believed = self.believed.is_some_and(|since| since.elapsed() < BELIEVED_FOR);
        if !believed {
            if capture.look().await?.is_none() {
                return Err(DatabaseError::NotAttached.into());
            }
            self.believed = Some(Stopwatch::start());
        }
        let changed = capture.has_changes().await?;
        if !believed || changed || self.applied || !self.lacking.is_empty() {
            self.look_at_peers(changed).await?;
        }
        let ready = self.ready().await?;
        if ready.is_empty() {
            return Ok(false);
        }
        let outcomes = self.node.sync_live(&ready).await?;
        for outcome in &outcomes {
            self.note(outcome)?;
        }
        Ok(true)
    }

    async fn look_at_peers(&mut self, changed: bool) -> Result<(), Problem> {
        let mut peers = self.node.memory.peers().await?;
        peers.retain(|peer| self.entries.iter().any(|entry| is_for(entry, peer)));
        for peer in &peers {
            if changed || (self.applied && peer.relay) || !self.peers.contains(&peer.id) {
                self.lacking.entry(peer.id.clone()).or_default();
            }
        }
        self.applied = false;
        self.peers = peers.into_iter().map(|peer| peer.id).collect();
        self.lacking.retain(|peer, _| self.peers.contains(peer));
        Ok(())
    }

    /// Those who lack something and can be sent it now.
    async fn ready(&self) -> Result<Vec<ServerId>, Problem> {
        if self.lacking.is_empty() {
            return Ok(Vec::new());
        }
        let (outbox, now) = (self.node.memory.outbox().await?, now());
        let waits = |peer: &ServerId| {
            outbox.iter().any(|entry| entry.peer == *peer && entry.state == OutboxState::Waiting)
        };
        let ready = self.lacking.iter().filter(|(peer, lack)| {
            lack.not_before.is_none_or(|not_before| not_before <= now) && !waits(peer)
        });
        Ok(ready.map(|(peer, _)| peer.clone()).collect())
    }

    fn note(&mut self, outcome: &SyncOutcome) -> Result<(), Problem> {
        let Some(peer) = peer_of(outcome) else { return Ok(()) };
        let in_outbox = outcome.state == "waiting" && outcome.backup.is_some() && !outcome.resumed;
        let has_all = matches!(outcome.state.as_str(), "delivered" | "in_step") && !was_older(outcome);
        if has_all || in_outbox {
            self.lacking.remove(&peer);
            return Ok(());
        }
        let lack = self.lacking.entry(peer).or_default();
        let Some(problem) = &outcome.problem else { return Ok(()) };
        lack.failures = lack.failures.saturating_add(1);
        if lack.failures == 1 {
            tracing::warn!(peer = outcome.peer, %problem, "changes cannot be sent to a peer as they come");
        }
        let wait = wait_after(lack.failures, u64::from_le_bytes(entropy()?));
        lack.not_before = Some(now().saturating_add(wait).unwrap_or(Timestamp::MAX));
        Ok(())
    }
}

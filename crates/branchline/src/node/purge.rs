//! Purging: tombstones go once every active peer has them, never by age; and whoever is too far behind no longer keeps
//! them for all others.
//!
//! Where the ledger is over its budget (`capture.budget_mib`), the peer that is furthest behind is marked, one at each
//! sync. Its acknowledgement counts no more, and the next backup to it is a full one, which brings it back. A paused
//! peer counts no more either: when it is resumed, and a tombstone that it lacks is gone, it gets a full one too.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use branchline_core::knowledge::Knowledge;
use branchline_core::pack::{Acknowledgement, purgeable};
use branchline_core::peer::Activity;
use branchline_core::ports::{Amendment, CaptureState, StateWrite};
use branchline_core::standing::Acknowledged;

use super::Node;
use super::clock::Stopwatch;
use crate::api::v1::Problem;

/// How often tombstones are looked at while changes are sent as they come.
const BETWEEN_PURGES: Duration = Duration::from_secs(60);

/// When tombstones were looked at for the last time.
#[derive(Default)]
pub(super) struct LastPurge(Mutex<Option<Stopwatch>>);

impl Node {
    /// What cannot be purged now is purged with a later sync: whoever asked for this one need not know.
    pub(super) async fn purge_and_log(&self) {
        *self.last_purge.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stopwatch::start());
        if let Err(problem) = self.purge().await {
            tracing::warn!(%problem, "tombstones cannot be purged at this moment");
        }
    }

    /// The same, where that was not done for a while.
    pub(super) async fn purge_now_and_then(&self) {
        let last = *self.last_purge.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= BETWEEN_PURGES) {
            self.purge_and_log().await;
        }
    }

    /// Lets go what everybody has, and marks a peer that is past the budget.
    async fn purge(&self) -> Result<(), Problem> {
        let database = self.database().await?;
        let Some(captured) = database.capture().look().await? else { return Ok(()) };
        if captured.tombstones == 0 || captured.own.server != self.settings.server {
            return Ok(());
        }
        let own = captured.knowledge.without(captured.held.iter().flat_map(|row| row.version.dots()));
        let mut peers = self.active_acknowledged().await?;
        if captured.ledger_bytes > self.settings.ledger_bytes_max
            && let Some(behind) = furthest_behind(&peers, &own, &captured)
        {
            self.mark_past_budget(behind).await?;
            peers = self.active_acknowledged().await?;
        }
        let mut heard = Vec::new();
        for peer in peers {
            let applied = database.last_applied(peer.peer.clone()).await?.map(|last| last.sequence);
            heard.push((peer.past_budget, peer.acknowledgement(applied)));
        }
        let known_to_all = known_to_all(heard, &own);
        if known_to_all.is_empty() {
            return Ok(());
        }
        let purged = database.capture().amend(Amendment::Purge { known_to_all }).await?;
        tracing::debug!(purged, "tombstones that every peer has are gone");
        Ok(())
    }

    /// How far each active peer is; nothing said is nothing known.
    async fn active_acknowledged(&self) -> Result<Vec<Acknowledged>, Problem> {
        let mut said = self.memory.all_acknowledged().await?;
        let peers = self.memory.peers().await?.into_iter().filter(|peer| peer.activity == Activity::Active);
        let of_peer =
            |peer: branchline_core::peer::Peer| match said.iter().position(|known| known.peer == peer.id) {
                Some(place) => said.swap_remove(place),
                None => Acknowledged::nothing(peer.id),
            };
        Ok(peers.map(of_peer).collect())
    }

    async fn mark_past_budget(&self, behind: branchline_core::id::ServerId) -> Result<(), Problem> {
        let _turn = self.standing_turn.lock().await;
        let acknowledged = Acknowledged { past_budget: true, ..self.memory.acknowledged(&behind).await? };
        tracing::error!(peer = %behind, "the peer is past the disk budget: deletions are kept for it no longer");
        self.memory.commit(vec![StateWrite::PutAcknowledged(acknowledged)]).await
    }
}

/// What may go; each peer with whether it is past the budget. Where all are, nobody is waited for: each gets a full
/// backup.
fn known_to_all(peers: Vec<(bool, Acknowledgement)>, own: &Knowledge) -> Knowledge {
    let has_peers = !peers.is_empty();
    let waited_for = peers.into_iter().filter(|(past_budget, _)| !past_budget);
    let waited_for: Vec<Acknowledgement> = waited_for.map(|(_, heard)| heard).collect();
    if waited_for.is_empty() && has_peers { own.clone() } else { purgeable(own, &waited_for) }
}

/// The peer that knows least of this server's changes, of those that are waited for and lack any.
fn furthest_behind(
    peers: &[Acknowledged],
    own: &Knowledge,
    captured: &CaptureState,
) -> Option<branchline_core::id::ServerId> {
    let lacking = peers.iter().filter(|peer| !peer.past_budget && !own.is_within(&peer.knowledge));
    let least = lacking.min_by_key(|peer| peer.knowledge.generation(&captured.own));
    least.map(|peer| peer.peer.clone())
}

#[cfg(test)]
mod tests {
    use branchline_core::id::{Epoch, Generation};
    use branchline_core::version::Life;

    use super::*;

    fn knowledge(known: &[(&str, u64)]) -> Knowledge {
        let life = |server: &str| Life::new(server.parse().unwrap(), Epoch::new(1));
        known.iter().map(|(server, generation)| (life(server), Generation::new(*generation))).collect()
    }

    fn peer(known: &[(&str, u64)], past_budget: bool) -> (bool, Acknowledgement) {
        (past_budget, Acknowledgement { knowledge: knowledge(known), caught_up: true })
    }

    #[test]
    fn a_peer_past_the_budget_is_waited_for_no_longer() {
        let own = knowledge(&[("HQ", 9)]);
        let may_go = |others: Vec<(bool, Acknowledgement)>| known_to_all(others, &own);
        let near = || peer(&[("HQ", 8)], false);
        assert_eq!(may_go(vec![near(), peer(&[("HQ", 1)], false)]), knowledge(&[("HQ", 1)]));
        assert_eq!(may_go(vec![near(), peer(&[("HQ", 1)], true)]), knowledge(&[("HQ", 8)]));
        assert_eq!(may_go(vec![near(), peer(&[], false)]), Knowledge::new());
        assert_eq!(may_go(vec![peer(&[], true)]), own);
        assert_eq!(may_go(Vec::new()), Knowledge::new());
    }
}

//! One part at a time for each upload, and the newest wins: a client that comes back after a broken line must not
//! wait until the server has noticed that the old connection is dead.
//!
//! A newcomer tells the one before to give way, and waits for its turn; the one before settles what it has and leaves.
//! The offset is read after the turn has come, so it never goes back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use branchline_core::id::{BackupId, ServerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

type LaneName = (ServerId, BackupId);

/// The uploads that receive something at present.
#[derive(Debug, Clone, Default)]
pub(crate) struct UploadLanes(Arc<Mutex<HashMap<LaneName, Lane>>>);

#[derive(Debug)]
struct Lane {
    turn: Arc<Semaphore>,
    newest: CancellationToken,
    users: usize,
}

/// The right to append; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// Cancelled when somebody newer has come.
    pub(super) gives_way: CancellationToken,
    permit: Option<OwnedSemaphorePermit>,
    lanes: UploadLanes,
    name: LaneName,
}

impl UploadLanes {
    /// Tells the one before to give way and waits until it has left.
    pub(super) async fn enter(&self, peer: ServerId, backup: BackupId) -> Turn {
        let name = (peer, backup);
        let gives_way = CancellationToken::new();
        let semaphore = {
            let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let lane = lanes.entry(name.clone()).or_insert_with(|| Lane {
                turn: Arc::new(Semaphore::new(1)),
                newest: CancellationToken::new(),
                users: 0,
            });
            lane.newest.cancel();
            lane.newest = gives_way.clone();
            lane.users += 1;
            Arc::clone(&lane.turn)
        };
        // From here on dropping the future takes this user out of the lane again.
        let mut turn = Turn { gives_way, permit: None, lanes: self.clone(), name };
        turn.permit = semaphore.acquire_owned().await.ok();
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.permit = None;
        let mut lanes = self.lanes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get_mut(&self.name) {
            lane.users -= 1;
            if lane.users == 0 {
                lanes.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_gets_the_turn_and_the_lane_is_gone_after_the_last() {
        let lanes = UploadLanes::default();
        let backup: BackupId = "019a2f4e-0000-7000-8000-000000000000".parse().unwrap();
        let peer: ServerId = "STORE".parse().unwrap();
        let first = lanes.enter(peer.clone(), backup).await;
        assert!(!first.gives_way.is_cancelled());
        let newcomer = lanes.enter(peer, backup);
        let old = first.gives_way.clone();
        let leaving = async {
            old.cancelled().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(newcomer, leaving);
        assert!(!second.gives_way.is_cancelled());
        drop(second);
        assert!(lanes.0.lock().unwrap().is_empty());
    }
}

//! The state, asked in typed questions.

use std::sync::Arc;

use branchline_core::code::Code;
use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, KeyId, Sequence, ServerId};
use branchline_core::lineage::Remembered;
use branchline_core::peer::Peer;
use branchline_core::ports::{
    Claim, InboxEntry, InvitationRecord, OutboxEntry, ReceiptRecord, StateRead, StateReply, StateStore,
    StateWrite,
};
use branchline_core::schedule::ScheduleRecord;
use branchline_core::standing::Acknowledged;

use crate::api::v1::Problem;

/// The state.
pub(super) struct Memory(Arc<dyn StateStore>);

/// Reads one question's answer out of the reply of its name.
macro_rules! ask {
    ($memory:expr, $question:expr, $reply:ident) => {
        match $memory.0.read($question).await? {
            StateReply::$reply(found) => Ok(found),
            _ => Err(Problem::new(Code::INTERNAL, "the state answered another question")),
        }
    };
}

impl Memory {
    pub(super) fn new(store: Arc<dyn StateStore>) -> Self {
        Self(store)
    }

    pub(super) fn store(&self) -> &dyn StateStore {
        self.0.as_ref()
    }

    pub(super) async fn commit(&self, writes: Vec<StateWrite>) -> Result<(), Problem> {
        Ok(self.0.commit(writes).await?)
    }

    pub(super) async fn claim(&self, claim: Claim) -> Result<Option<OutboxEntry>, Problem> {
        Ok(self.0.claim(claim).await?)
    }

    pub(super) async fn peers(&self) -> Result<Vec<Peer>, Problem> {
        ask!(self, StateRead::Peers, Peers)
    }

    /// The peer of that name, as a person wrote it.
    pub(super) async fn peer(&self, name: &str) -> Result<Peer, Problem> {
        let id: ServerId = name
            .parse()
            .map_err(|_| Problem::new(Code::ID_INVALID, format!("{name:?} is not a server id")))?;
        let found: Option<Peer> = ask!(self, StateRead::Peer(id), Peer)?;
        found.ok_or_else(|| Problem::new(Code::PEER_UNKNOWN, format!("no peer is called {name}")))
    }

    pub(super) async fn peer_by_key(&self, key: KeyId) -> Result<Option<Peer>, Problem> {
        ask!(self, StateRead::PeerByKey(key), Peer)
    }

    pub(super) async fn invitation(&self, token: [u8; 4]) -> Result<Option<InvitationRecord>, Problem> {
        ask!(self, StateRead::Invitation(token), Invitation)
    }

    pub(super) async fn invitations(&self) -> Result<Vec<InvitationRecord>, Problem> {
        ask!(self, StateRead::Invitations, Invitations)
    }

    pub(super) async fn outbox(&self) -> Result<Vec<OutboxEntry>, Problem> {
        ask!(self, StateRead::Outbox, Outbox)
    }

    pub(super) async fn outbox_of(&self, peer: &ServerId) -> Result<Vec<OutboxEntry>, Problem> {
        ask!(self, StateRead::OutboxOf(peer.clone()), Outbox)
    }

    pub(super) async fn outbox_entry(&self, backup: BackupId) -> Result<Option<OutboxEntry>, Problem> {
        ask!(self, StateRead::OutboxEntry(backup), OutboxEntry)
    }

    pub(super) async fn inbox(&self) -> Result<Vec<InboxEntry>, Problem> {
        ask!(self, StateRead::Inbox, Inbox)
    }

    pub(super) async fn inbox_entry(
        &self,
        peer: &ServerId,
        backup: BackupId,
    ) -> Result<Option<InboxEntry>, Problem> {
        ask!(self, StateRead::InboxEntry { peer: peer.clone(), backup }, InboxEntry)
    }

    pub(super) async fn receipts(&self, newest: u32) -> Result<Vec<ReceiptRecord>, Problem> {
        ask!(self, StateRead::Receipts { newest }, Receipts)
    }

    pub(super) async fn receipt(&self, backup: BackupId) -> Result<Option<ReceiptRecord>, Problem> {
        ask!(self, StateRead::Receipt(backup), Receipt)
    }

    /// How far each peer is that has said something.
    pub(super) async fn all_acknowledged(&self) -> Result<Vec<Acknowledged>, Problem> {
        ask!(self, StateRead::Acknowledged, Acknowledged)
    }

    pub(super) async fn acknowledged(&self, peer: &ServerId) -> Result<Acknowledged, Problem> {
        let mut all = self.all_acknowledged().await?.into_iter();
        Ok(all.find(|known| known.peer == *peer).unwrap_or_else(|| Acknowledged::nothing(peer.clone())))
    }

    pub(super) async fn remembered(&self) -> Result<Option<Remembered>, Problem> {
        ask!(self, StateRead::Remembered, Remembered)
    }

    pub(super) async fn chain(&self, peer: &ServerId) -> Result<Option<(Sequence, Digest)>, Problem> {
        ask!(self, StateRead::Chain(peer.clone()), Chain)
    }

    pub(super) async fn schedule(&self) -> Result<Vec<ScheduleRecord>, Problem> {
        ask!(self, StateRead::Schedule, Schedule)
    }
}

//! How far peers are: what this server says of itself to them, and what it makes of what they say.
//!
//! The rules are the core's (`standing`); here they are held against the state, one peer at a time under the standing
//! turn, so that two words of one peer never overwrite each other.

use branchline_core::id::{Sequence, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::peer::Peer;
use branchline_core::ports::{
    BoxFuture, OutboxEntry, OutboxState, PeerHello, StateError, StateRead, StateReply, StateWrite,
};
use branchline_core::receipt::Receipt;
use branchline_core::standing::{Acknowledged, ChainEnd, Ourselves, Standing};

use super::Node;
use crate::api::v1::Problem;
use crate::stages::receipt::Sealing;

/// What is sealed for one peer.
pub(super) struct SealedFor<'a> {
    pub(super) node: &'a Node,
    pub(super) peer: &'a ServerId,
}

impl Sealing for SealedFor<'_> {
    fn sealed(&self) -> BoxFuture<'_, Result<Sequence, StateError>> {
        Box::pin(self.node.sealed_for(self.peer))
    }
}

impl Node {
    /// What this server says of itself to a peer; nothing where changes are not captured.
    pub(super) async fn standing_for(&self, peer: &Peer) -> Result<Option<Standing>, Problem> {
        let captured = self.database().await?.capture().look().await?;
        let captured = captured.filter(|captured| captured.own.server == self.settings.server);
        let Some(captured) = captured else { return Ok(None) };
        // After what is held was read: what is packed from now on has all of it.
        let sealed = self.sealed_for(&peer.id).await?;
        Ok(Some(Standing { life: captured.own, knowledge: captured.knowledge, sealed }))
    }

    /// The last place in the chain to a peer. Where something is being packed at this moment, it may get the next one.
    pub(super) async fn sealed_for(&self, peer: &ServerId) -> Result<Sequence, StateError> {
        let packing = self.queue_turn.try_lock().is_err();
        let last = match self.memory.store().read(StateRead::Chain(peer.clone())).await? {
            StateReply::Chain(last) => last.map_or(Sequence::new(0), |(sequence, _)| sequence),
            other => {
                return Err(StateError::Broken { message: format!("a chain was asked for, not {other:?}") });
            }
        };
        Ok(if packing { last.next() } else { last })
    }

    /// Takes in what a peer says of itself. Where the pair has met anew, what was sealed for the life before is dropped:
    /// it leaves out what one of the two no longer has.
    pub(super) async fn hear(&self, peer: &ServerId, hello: &PeerHello) -> Result<(), Problem> {
        let turn = self.standing_turn.lock().await;
        let before = self.memory.acknowledged(peer).await?;
        let Some(ours) = self.ourselves(&before, hello.standing.as_ref()).await? else { return Ok(()) };
        let mut after = before.clone();
        let anew = after.hear(&ours, hello.standing.as_ref(), hello.last_applied);
        if after == before {
            return Ok(());
        }
        self.memory.commit(vec![StateWrite::PutAcknowledged(after)]).await?;
        drop(turn);
        if anew {
            tracing::warn!(%peer, "one of the two databases has begun a new life: the pair starts anew");
            self.drop_packed(peer).await?;
        }
        Ok(())
    }

    /// What a receipt makes of how far its peer is; nothing where it changes nothing. The caller holds the standing turn.
    pub(super) async fn acknowledgement(
        &self,
        entry: &OutboxEntry,
        receipt: &Receipt,
    ) -> Result<Option<Acknowledged>, Problem> {
        let Some(packed) = entry.packed.as_ref().filter(|_| receipt.is_applied()) else { return Ok(None) };
        let mut acknowledged = self.memory.acknowledged(&entry.peer).await?;
        let standing = receipt.standing.as_ref();
        let Some(ours) = self.ourselves(&acknowledged, standing).await? else { return Ok(None) };
        let end = ChainEnd { epoch: packed.epoch, sequence: entry.sequence, metadata: entry.metadata };
        acknowledged.take_receipt(&ours, packed, end, standing);
        Ok(Some(acknowledged))
    }

    /// Our own side of a meeting; nothing where changes are not captured, as far as is remembered. What we hold counts,
    /// and is looked at, only where the pair meets anew.
    async fn ourselves(
        &self,
        peer: &Acknowledged,
        standing: Option<&Standing>,
    ) -> Result<Option<Ourselves>, Problem> {
        let remembered = self.memory.remembered().await?;
        let Some(remembered) = remembered.filter(|remembered| remembered.database.is_some()) else {
            return Ok(None);
        };
        let epoch = remembered.epoch;
        let mut knowledge = Knowledge::new();
        if peer.meets_anew(epoch, standing)
            && let Some(captured) = self.database().await?.capture().look().await?
        {
            knowledge = captured.knowledge;
        }
        Ok(Some(Ourselves { epoch, knowledge }))
    }

    /// Drops what waits for a peer and was packed from a position.
    pub(super) async fn drop_packed(&self, peer: &ServerId) -> Result<u64, Problem> {
        let mut dropped = 0;
        for entry in self.memory.outbox_of(peer).await? {
            if entry.state == OutboxState::Waiting && entry.packed.is_some() {
                tracing::warn!(%peer, backup = %entry.backup, "a backup of the life before is dropped");
                self.drop_settled(&entry).await?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// The next backup to that peer is a full one.
    pub(super) async fn start_chain_anew(&self, peer: &ServerId) -> Result<(), Problem> {
        let _turn = self.standing_turn.lock().await;
        let acknowledged = Acknowledged { chain: None, ..self.memory.acknowledged(peer).await? };
        self.memory.commit(vec![StateWrite::PutAcknowledged(acknowledged)]).await
    }

    /// Changes how far every peer is.
    pub(super) async fn change_all_acknowledged(
        &self,
        change: impl Fn(&mut Acknowledged) + Send,
    ) -> Result<(), Problem> {
        let _turn = self.standing_turn.lock().await;
        let mut all = self.memory.all_acknowledged().await?;
        all.iter_mut().for_each(change);
        self.memory.commit(all.into_iter().map(StateWrite::PutAcknowledged).collect()).await
    }
}

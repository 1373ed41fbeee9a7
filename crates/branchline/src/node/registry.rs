//! Peers: who they are, what they may do, whether anything is exchanged with them.

use branchline_core::code::Code;
use branchline_core::id::{KeyId, ServerId};
use branchline_core::limits::INVITATION_ATTEMPTS_MAX;
use branchline_core::peer::{Activity, Grant, Peer, PeerAddress};
use branchline_core::ports::{InvitationRecord, OutboxState, Signer, SpoolFile, StateWrite};
use branchline_core::schema::TableName;
use data_encoding::BASE64;

use super::clock::{Stopwatch, now};
use super::{Node, describe};
use crate::api::v1::{ChangedAnswer, IdAnswer, PeerAnswer, PeersAnswer, PingAnswer, Problem};

impl Node {
    pub(super) fn id(&self) -> IdAnswer {
        let key = self.identity.public_key();
        IdAnswer {
            server: self.settings.server.to_string(),
            name: self.settings.name.clone(),
            key_id: key.key_id().to_string(),
            pin: BASE64.encode(key.key_id().digest().as_bytes()),
            addresses: self.settings.advertise.iter().map(ToString::to_string).collect(),
        }
    }

    /// Lets the keys of all peers in, and open invitations knock. After every change of either.
    pub(super) async fn refresh_pins(&self) -> Result<(), Problem> {
        let _turn = self.pins_turn.lock().await;
        let peers = self.memory.peers().await?;
        self.pins.replace(peers.iter().map(|peer| peer.key));
        let now = now();
        let invitations = self.memory.invitations().await?;
        // Used ones count until they expire: whoever was meant must hear that somebody was quicker, and who.
        let may_knock =
            |open: &InvitationRecord| open.expires_at > now && open.wrong_proofs < INVITATION_ATTEMPTS_MAX;
        self.pins.set_pairing_open(invitations.iter().any(may_knock));
        Ok(())
    }

    pub(super) async fn peers(&self) -> Result<PeersAnswer, Problem> {
        let outbox = self.memory.outbox().await?;
        let waiting = |peer: &Peer| {
            let waits = |entry: &&_| waits_for(entry, peer);
            outbox.iter().filter(waits).count() as u64
        };
        let peers = self.memory.peers().await?;
        let described =
            peers.iter().map(|peer| describe::peer(peer, waiting(peer), self.filters_for(&peer.id)));
        Ok(PeersAnswer { peers: described.collect() })
    }

    pub(super) async fn show_peer(&self, name: &str) -> Result<PeerAnswer, Problem> {
        let peer = self.memory.peer(name).await?;
        let outbox = self.memory.outbox_of(&peer.id).await?;
        let waiting = outbox.iter().filter(|entry| waits_for(entry, &peer)).count() as u64;
        Ok(describe::peer(&peer, waiting, self.filters_for(&peer.id)))
    }

    pub(super) async fn add_peer(
        &self,
        name: &str,
        key_id: &str,
        display_name: Option<String>,
        addresses: &[String],
        grant: Grant,
        relay: bool,
    ) -> Result<ChangedAnswer, Problem> {
        let id: ServerId = name.parse().map_err(|error: branchline_core::id::ServerIdError| {
            Problem::new(Code::ID_INVALID, error.to_string())
        })?;
        let key: KeyId = key_id.parse().map_err(|error: branchline_core::id::KeyIdError| {
            Problem::new(Code::ID_INVALID, error.to_string())
        })?;
        if id == self.settings.server || key == self.identity.public_key().key_id() {
            return Err(Problem::new(Code::PEER_EXISTS, "that is this server itself"));
        }
        let peer = Peer {
            name: display_name.unwrap_or_else(|| id.to_string()),
            id,
            key,
            addresses: addresses.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
            grant,
            relay,
            activity: Activity::Active,
            added_at: now(),
            last_seen: None,
        };
        let id = peer.id.clone();
        self.memory.commit(vec![StateWrite::AddPeer(peer)]).await?;
        self.refresh_pins().await?;
        tracing::info!(peer = %id, "peer added by its key id");
        Ok(changed(format!("{id} is a peer now; add this server there as well, with: branchline id")))
    }

    pub(super) async fn remove_peer(&self, name: &str) -> Result<ChangedAnswer, Problem> {
        let peer = self.memory.peer(name).await?;
        for entry in self.memory.outbox_of(&peer.id).await? {
            self.drop_settled(&entry).await?;
        }
        self.memory.commit(vec![StateWrite::RemovePeer(peer.id.clone())]).await?;
        self.refresh_pins().await?;
        self.uploads.forget_peer(&peer.id).await;
        let of_peer =
            |file: &SpoolFile| matches!(file, SpoolFile::Inbound { peer: of, .. } if *of == peer.id);
        for file in self.spool.list().await?.into_iter().filter(of_peer) {
            self.spool.remove(&file).await?;
        }
        tracing::warn!(peer = %peer.id, "peer removed");
        Ok(changed(format!("{} is no longer a peer; its key is refused from now on", peer.id)))
    }

    pub(super) async fn pause_peer(&self, name: &str) -> Result<ChangedAnswer, Problem> {
        self.set_activity(name, Activity::Paused).await?;
        Ok(changed(format!("{name} is paused; nothing is lost, and branchline peers resume {name} goes on")))
    }

    pub(super) async fn resume_peer(&self, name: &str) -> Result<ChangedAnswer, Problem> {
        self.set_activity(name, Activity::Active).await?;
        self.retries.look_again();
        Ok(changed(format!("{name} is active again; send what waits with: branchline sync {name}")))
    }

    async fn set_activity(&self, name: &str, activity: Activity) -> Result<(), Problem> {
        let peer = self.memory.peer(name).await?;
        self.memory.commit(vec![StateWrite::SetActivity { peer: peer.id, activity }]).await
    }

    pub(super) async fn grant_peer(
        &self,
        name: &str,
        write: Option<bool>,
        mirror: Option<bool>,
        relay: Option<bool>,
        tables: Option<Vec<String>>,
    ) -> Result<ChangedAnswer, Problem> {
        let mut peer = self.memory.peer(name).await?;
        peer.grant.write = write.unwrap_or(peer.grant.write);
        peer.grant.mirror = mirror.unwrap_or(peer.grant.mirror);
        peer.relay = relay.unwrap_or(peer.relay);
        if let Some(tables) = tables {
            let named = tables.into_iter().map(TableName::new).collect::<Result<_, _>>();
            peer.grant.tables = named.map_err(|error| Problem::new(Code::NAME_INVALID, error.to_string()))?;
        }
        let allowed = |yes: bool| if yes { "may" } else { "may not" };
        let scope = if peer.grant.tables.is_empty() {
            "all tables".to_owned()
        } else {
            format!("{} tables", peer.grant.tables.len())
        };
        let (write, mirror) = (allowed(peer.grant.write), allowed(peer.grant.mirror));
        let passed_on = if peer.relay { "is" } else { "is not" };
        let message = format!(
            "{} {write} write here ({scope}), and {mirror} have rows removed; what others made {passed_on} passed on to it",
            peer.id
        );
        self.memory.commit(vec![StateWrite::ChangePeer(peer)]).await?;
        Ok(changed(message))
    }

    pub(super) async fn ping(&self, name: &str) -> Result<PingAnswer, Problem> {
        let peer = self.memory.peer(name).await?;
        let watch = Stopwatch::start();
        let hello = self.link(&peer)?.hello().await?;
        let millis = watch.millis();
        let at = now();
        self.memory.commit(vec![StateWrite::Seen { peer: peer.id.clone(), at }]).await?;
        Ok(PingAnswer {
            peer: peer.id.to_string(),
            path: hello.path,
            millis,
            producer: hello.producer,
            protocol: format!("1.{}-1.{}", hello.protocol.0, hello.protocol.1),
            clock_ahead_millis: hello.time.as_millisecond() - at.as_millisecond(),
            tables: hello.schema.syncable().count() as u64,
        })
    }
}

fn waits_for(entry: &branchline_core::ports::OutboxEntry, peer: &Peer) -> bool {
    entry.peer == peer.id && entry.state == OutboxState::Waiting
}

fn changed(message: String) -> ChangedAnswer {
    ChangedAnswer { message }
}

pub(super) fn address(text: &str) -> Result<PeerAddress, Problem> {
    text.parse().map_err(|error: branchline_core::peer::PeerAddressError| {
        Problem::new(Code::USAGE, format!("{text:?}: {error}"))
    })
}

//! Pairing: makes invitations, uses them, and answers those who use ours.

use std::time::Duration;

use branchline_core::code::Code;
use branchline_core::id::ServerId;
use branchline_core::limits::{INVITATION_ATTEMPTS_MAX, INVITATION_VALID};
use branchline_core::pairing::{
    Invitation, PairAnswer, PairRequest, check_words, secret_digest, verify_proof,
};
use branchline_core::peer::{Activity, Grant, Peer};
use branchline_core::ports::{
    InvitationRecord, ReceptionError, Signer, StateConflict, StateError, StateWrite,
};
use branchline_net::v1::client::{Joiner, pair};

use super::Node;
use super::clock::{entropy, now};
use super::registry::address;
use crate::api::v1::{InviteAnswer, JoinAnswer, Problem};

impl Node {
    pub(super) async fn invite(
        &self,
        server: Option<String>,
        name: Option<String>,
        at: Option<String>,
        valid_seconds: Option<u64>,
        relay: bool,
    ) -> Result<InviteAnswer, Problem> {
        let for_server: Option<ServerId> = server.as_deref().map(parse_server).transpose()?;
        let advertised = self.settings.advertise.first().cloned();
        let address = at.as_deref().map(address).transpose()?.or(advertised).ok_or_else(|| {
            Problem::new(Code::USAGE, "nobody has said where this server can be found")
                .with_help("branchline invite STORE-001 --address host:port, or set listen.advertise")
        })?;
        let valid = valid_seconds.map_or(INVITATION_VALID, Duration::from_secs);
        let now = now();
        let expires_at = now
            .checked_add(valid)
            .map_err(|_| Problem::new(Code::USAGE, "an invitation cannot be good for that long"))?;
        let invitation = Invitation {
            address,
            pin: self.identity.public_key().key_id(),
            token: entropy()?,
            secret: entropy()?,
            expires_at,
        };
        let record = InvitationRecord {
            token: invitation.token,
            secret_digest: secret_digest(&invitation.secret),
            name: name.or_else(|| server.clone()).unwrap_or_default(),
            for_server,
            created_at: now,
            expires_at,
            relay,
            wrong_proofs: 0,
            used: None,
        };
        self.memory.commit(vec![StateWrite::AddInvitation(record)]).await?;
        self.refresh_pins().await?;
        Ok(InviteAnswer { invitation: invitation.expose_line(), server, expires_at: expires_at.to_string() })
    }

    pub(super) async fn join(&self, line: &str) -> Result<JoinAnswer, Problem> {
        let invitation: Invitation =
            line.parse().map_err(|error: branchline_core::pairing::InvitationError| {
                Problem::new(Code::INVITATION_MISTYPED, error.to_string())
            })?;
        let now = now();
        if invitation.expires_at <= now {
            let message = format!("the invitation was good until {}", invitation.expires_at);
            return Err(Problem::new(Code::INVITATION_EXPIRED, message));
        }
        if let Some(known) = self.memory.peer_by_key(invitation.pin).await? {
            return Err(Problem::new(
                Code::PEER_EXISTS,
                format!("{} is a peer of this server already", known.id),
            ));
        }
        let joiner = Joiner {
            server: self.settings.server.clone(),
            name: self.settings.name.clone(),
            addresses: self.settings.advertise.clone(),
        };
        let answer = pair(&invitation, &joiner, &self.links).await?;
        let mut addresses = vec![invitation.address.clone()];
        addresses.extend(answer.addresses.iter().filter(|address| **address != invitation.address).cloned());
        let peer = Peer {
            id: answer.server.clone(),
            name: answer.name.clone(),
            key: invitation.pin,
            addresses,
            grant: Grant::default(),
            relay: false,
            activity: Activity::Active,
            added_at: now,
            last_seen: Some(now),
        };
        self.memory.commit(vec![StateWrite::AddPeer(peer)]).await?;
        self.refresh_pins().await?;
        tracing::info!(peer = %answer.server, "paired");
        Ok(JoinAnswer {
            peer: answer.server.to_string(),
            name: answer.name,
            key_id: invitation.pin.to_string(),
            address: invitation.address.to_string(),
            words: answer.words,
        })
    }

    /// Answers a server that uses an invitation of ours. What it is told is the same whether the invitation never
    /// was or its secret is wrong.
    pub(super) async fn accept_pairing(&self, request: PairRequest) -> Result<PairAnswer, ReceptionError> {
        let unknown = || ReceptionError::of(Code::INVITATION_UNKNOWN);
        let failed = |problem: Problem| {
            tracing::warn!(%problem, "pairing failed");
            ReceptionError::of(problem.known_code())
        };
        let record = self.memory.invitation(request.token).await.map_err(failed)?.ok_or_else(unknown)?;
        let (own, joiner) = (self.identity.public_key().key_id(), request.key.key_id());
        if !verify_proof(request.proof, record.secret_digest, &request.exporter, own, joiner) {
            let (token, attempts_max) = (request.token, INVITATION_ATTEMPTS_MAX);
            tracing::warn!(from = %request.from, "somebody used an invitation with a wrong secret");
            match self.memory.store().commit(vec![StateWrite::CountWrongProof { token, attempts_max }]).await
            {
                Ok(()) | Err(StateError::Conflict(_)) => {}
                Err(error) => return Err(ReceptionError::from_error(&error)),
            }
            return Err(unknown());
        }
        if record.for_server.as_ref().is_some_and(|server| *server != request.server) {
            let mut refusal = unknown();
            refusal.message = format!("the invitation is not for {}", request.server);
            return Err(refusal);
        }
        if request.server == self.settings.server {
            return Err(ReceptionError::of(Code::PEER_EXISTS));
        }
        // The answer to an earlier try may have been lost on the way: whoever proves the secret with the same key gets
        // it again.
        let known = self.memory.peer_by_key(joiner).await.map_err(failed)?;
        let again = known.is_some_and(|peer| peer.id == request.server)
            && record.used.as_ref().is_some_and(|(by, _, _)| *by == request.server);
        if !again {
            self.use_invitation(&request, &record).await?;
        }
        self.refresh_pins().await.map_err(failed)?;
        let words = check_words(request.proof, &self.settings.server, &request.server);
        tracing::info!(peer = %request.server, from = %request.from, %words, "a server used an invitation: paired");
        Ok(PairAnswer {
            server: self.settings.server.clone(),
            name: self.settings.name.clone(),
            addresses: self.settings.advertise.clone(),
            words,
        })
    }

    async fn use_invitation(
        &self,
        request: &PairRequest,
        record: &InvitationRecord,
    ) -> Result<(), ReceptionError> {
        let now = now();
        let name = [&record.name, &request.name].into_iter().find(|name| !name.is_empty());
        let peer = Peer {
            id: request.server.clone(),
            name: name.cloned().unwrap_or_else(|| request.server.to_string()),
            key: request.key.key_id(),
            addresses: request.addresses.clone(),
            grant: Grant::default(),
            relay: record.relay,
            activity: Activity::Active,
            added_at: now,
            last_seen: Some(now),
        };
        let (token, by, from) = (request.token, request.server.clone(), request.from.clone());
        let writes = vec![StateWrite::UseInvitation { token, by, from, at: now }, StateWrite::AddPeer(peer)];
        match self.memory.store().commit(writes).await {
            Ok(()) => Ok(()),
            Err(StateError::Conflict(StateConflict::InvitationUsed)) => {
                let mut refusal = ReceptionError::of(Code::INVITATION_USED);
                if let Some((by, from, at)) = &record.used {
                    refusal.message = format!("the invitation was used already, by {by} from {from} at {at}");
                }
                Err(refusal)
            }
            Err(error) => Err(ReceptionError::from_error(&error)),
        }
    }
}

fn parse_server(text: &str) -> Result<ServerId, Problem> {
    text.parse().map_err(|error: branchline_core::id::ServerIdError| {
        Problem::new(Code::ID_INVALID, format!("{text:?}: {error}"))
    })
}

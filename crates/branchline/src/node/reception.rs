//! What peers ask of this server: the server side of a link, decided anew for each request.

use std::sync::Arc;
use std::time::Duration;

use branchline_core::backup::v1::Expectation;
use branchline_core::code::{Code, Explain};
use branchline_core::compare::{CompareAnswer, CompareRequest};
use branchline_core::id::{BackupId, ServerId};
use branchline_core::limits::{UPLOAD_EXPIRES_AFTER, UPLOADS_PER_PEER_MAX};
use branchline_core::pairing::{PairAnswer, PairRequest};
use branchline_core::peer::{Activity, Peer};
use branchline_core::ports::{
    BoxFuture, InboxEntry, InboxState, Offer, PeerHello, ReceiptRecord, Reception, ReceptionError, SpoolFile,
    StateWrite, UploadStatus, UploadStep,
};
use branchline_core::signing::{PublicKey, Signature};
use branchline_net::v1::PROTOCOL_MINOR;

use super::clock::{Stopwatch, now};
use super::uploads::UploadKey;
use super::{Node, PRODUCER};
use crate::api::v1::Problem;
use crate::stages::receive::{ReceiveError, Receiving};

/// The node, as peers see it.
pub(super) struct NodeReception(Arc<Node>);

impl NodeReception {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self(node)
    }
}

impl Reception for NodeReception {
    fn authenticate(&self, key: PublicKey) -> BoxFuture<'_, Result<ServerId, ReceptionError>> {
        Box::pin(async move {
            let found = self.0.memory.peer_by_key(key.key_id()).await.map_err(refusal)?;
            let peer = found.ok_or_else(|| ReceptionError::of(Code::NOT_PAIRED))?;
            match peer.activity {
                Activity::Active => Ok(peer.id),
                Activity::Paused => Err(ReceptionError::of(Code::PEER_PAUSED)),
            }
        })
    }

    fn hello(&self, peer: ServerId) -> BoxFuture<'_, Result<PeerHello, ReceptionError>> {
        Box::pin(async move { self.0.say_hello(peer).await.map_err(refusal) })
    }

    fn upload(
        &self,
        peer: ServerId,
        step: UploadStep,
    ) -> BoxFuture<'_, Result<UploadStatus, ReceptionError>> {
        Box::pin(async move {
            let peer = self.0.memory.peer(peer.as_str()).await.map_err(refusal)?;
            match step {
                UploadStep::Offer(offer) => self.0.take_offer(peer, offer).await,
                UploadStep::Begin { backup, document_bytes } => {
                    let offer = Offer { backup, document_bytes, signature: String::new() };
                    self.0.take_offer(peer, offer).await
                }
                UploadStep::Append { backup, offset, bytes } => {
                    self.0.append(peer, backup, offset, &bytes).await
                }
                UploadStep::Settle { backup } => self.0.settle(peer, backup).await,
                UploadStep::Status { backup } => self.0.upload_status(&peer, backup).await,
                UploadStep::Cancel { backup } => self.0.cancel_upload(&peer, backup).await,
            }
        })
    }

    fn receipt(
        &self,
        peer: ServerId,
        backup: BackupId,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, ReceptionError>> {
        Box::pin(async move { self.0.await_receipt(&peer, backup, wait).await })
    }

    fn compare(
        &self,
        peer: ServerId,
        request: CompareRequest,
    ) -> BoxFuture<'_, Result<CompareAnswer, ReceptionError>> {
        Box::pin(async move { self.0.answer_comparison(&peer, request).await.map_err(refusal) })
    }

    fn pair(&self, request: PairRequest) -> BoxFuture<'_, Result<PairAnswer, ReceptionError>> {
        Box::pin(async move { self.0.accept_pairing(request).await })
    }
}

/// What a peer is told of a problem.
pub(super) fn refusal(problem: Problem) -> ReceptionError {
    let code = problem.known_code();
    if code.is_about_our_insides() {
        tracing::error!(%problem, "a peer's request failed on this server");
    }
    told(code, problem.message)
}

/// Of our own machine and database a peer is told no more than the code's meaning.
fn told(code: Code, message: String) -> ReceptionError {
    if code.is_about_our_insides() {
        ReceptionError::of(code)
    } else {
        ReceptionError { code, message, offset: None }
    }
}

impl Node {
    async fn say_hello(&self, peer: ServerId) -> Result<PeerHello, Problem> {
        let known = self.memory.peer(peer.as_str()).await?;
        let at = now();
        self.memory.commit(vec![StateWrite::Seen { peer: peer.clone(), at }]).await?;
        let database = self.database().await?;
        let visible = known.grant.tables.clone();
        let schema = self.restrict(database.schema().await?).restricted(&visible, &[]);
        let last_applied = database.last_applied(peer).await?;
        Ok(PeerHello {
            server: self.settings.server.clone(),
            producer: PRODUCER.to_owned(),
            protocol: PROTOCOL_MINOR,
            features: ["zstd", "gzip", "resume", "compare"].map(str::to_owned).to_vec(),
            time: at,
            schema,
            last_applied: last_applied.map(|applied| (applied.epoch, applied.sequence)),
            standing: self.standing_for(&known).await?,
            path: String::new(),
        })
    }

    async fn take_offer(&self, peer: Peer, offer: Offer) -> Result<UploadStatus, ReceptionError> {
        if !peer.grant.write {
            return Err(ReceptionError::of(Code::NOT_GRANTED));
        }
        // It would be complete before its first part, and nothing would ever end it.
        if offer.document_bytes == 0 {
            return Err(ReceptionError::of(Code::TRUNCATED));
        }
        // A signature that cannot be one is refused before it takes one of the peer's places.
        self.expectation(&peer, &offer.signature)?;
        let now = now();
        let done = UploadStatus {
            offset: offer.document_bytes,
            document_bytes: offer.document_bytes,
            expires_at: now,
        };
        let receipt = self.memory.receipt(offer.backup).await.map_err(refusal)?;
        let ours =
            |receipt: &ReceiptRecord| receipt.source == peer.id && receipt.server == self.settings.server;
        // What was refused may be taken today.
        if receipt.is_some_and(|receipt| ours(&receipt) && receipt.success) {
            return Ok(done);
        }
        let key = (peer.id.clone(), offer.backup);
        let entry = self.memory.inbox_entry(&peer.id, offer.backup).await.map_err(refusal)?;
        if let Some(entry) = entry {
            let same = entry.document_bytes == offer.document_bytes && entry.signature == offer.signature;
            match entry.state {
                // Its receipt says what is held.
                InboxState::Applied if same => return Ok(done),
                InboxState::Received if same => {
                    self.process_again(peer, entry);
                    return Ok(done);
                }
                InboxState::Receiving if same && entry.expires_at > now => {
                    let status = self.reopen(&peer, &entry).await?;
                    return self.complete_if_whole(peer, entry, status).await;
                }
                _ => self.drop_upload(&key).await?,
            }
        }
        self.check_room_for_upload(&peer).await?;
        let expires_at =
            now.checked_add(UPLOAD_EXPIRES_AFTER).map_err(|_| ReceptionError::of(Code::INTERNAL))?;
        let entry = InboxEntry {
            peer: peer.id.clone(),
            backup: offer.backup,
            document_bytes: offer.document_bytes,
            signature: offer.signature,
            state: InboxState::Receiving,
            created_at: now,
            expires_at,
            error: None,
        };
        // The row first: a file without a row is swept.
        self.memory.commit(vec![StateWrite::PutInbox(entry.clone())]).await.map_err(refusal)?;
        self.reopen(&peer, &entry).await
    }

    /// An upload of which every byte was on disk when the server stopped has nothing left to come.
    async fn complete_if_whole(
        &self,
        peer: Peer,
        entry: InboxEntry,
        status: UploadStatus,
    ) -> Result<UploadStatus, ReceptionError> {
        if status.offset == status.document_bytes {
            let key = (entry.peer.clone(), entry.backup);
            let receiving = self.uploads.slot(&key).lock().await.take();
            if let Some(receiving) = receiving {
                self.uploads.forget(&key);
                self.take_complete(peer, entry, receiving).await?;
            }
        }
        Ok(status)
    }

    async fn check_room_for_upload(&self, peer: &Peer) -> Result<(), ReceptionError> {
        let inbox = self.memory.inbox().await.map_err(refusal)?;
        let at = now();
        let receiving = |entry: &&InboxEntry| {
            entry.peer == peer.id && entry.state == InboxState::Receiving && entry.expires_at > at
        };
        if inbox.iter().filter(receiving).count() >= UPLOADS_PER_PEER_MAX {
            return Err(ReceptionError::of(Code::TOO_MANY_UPLOADS));
        }
        Ok(())
    }

    /// Opens an upload's slot, if it is not open, and says how far the upload is.
    async fn reopen(&self, peer: &Peer, entry: &InboxEntry) -> Result<UploadStatus, ReceptionError> {
        let key = (entry.peer.clone(), entry.backup);
        let slot = self.uploads.slot(&key);
        let mut open = slot.lock().await;
        if open.is_none() {
            let file = SpoolFile::Inbound { peer: entry.peer.clone(), backup: entry.backup };
            let expectation = self.expectation(peer, &entry.signature)?;
            match Receiving::open(self.spool.as_ref(), &file, entry.document_bytes, expectation).await {
                Ok(receiving) => *open = Some(receiving),
                Err(error) => {
                    drop(open);
                    return Err(self.refuse_open(entry, &error).await);
                }
            }
        }
        let settled = open.as_ref().map_or(0, Receiving::settled);
        Ok(UploadStatus {
            offset: settled,
            document_bytes: entry.document_bytes,
            expires_at: entry.expires_at,
        })
    }

    pub(super) fn expectation(&self, peer: &Peer, signature: &str) -> Result<Expectation, ReceptionError> {
        let signature = match signature {
            "" => None,
            text => {
                let parsed = Signature::from_text(text.as_bytes());
                Some(parsed.map_err(|_| ReceptionError::of(Code::SIGNATURE_INVALID))?)
            }
        };
        Ok(Expectation {
            target: Some(self.settings.server.clone()),
            source: Some((peer.id.clone(), peer.key)),
            data_bytes_max: peer.grant.data_bytes_max,
            signature,
        })
    }

    async fn receiving_entry(&self, peer: &Peer, backup: BackupId) -> Result<InboxEntry, ReceptionError> {
        let entry = self.memory.inbox_entry(&peer.id, backup).await.map_err(refusal)?;
        let entry = entry.ok_or_else(|| ReceptionError::of(Code::NOT_FOUND))?;
        if entry.state == InboxState::Receiving && entry.expires_at <= now() {
            self.drop_upload(&(peer.id.clone(), backup)).await?;
            return Err(ReceptionError::of(Code::UPLOAD_EXPIRED));
        }
        Ok(entry)
    }

    async fn append(
        &self,
        peer: Peer,
        backup: BackupId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<UploadStatus, ReceptionError> {
        let entry = self.receiving_entry(&peer, backup).await?;
        let key = (peer.id.clone(), backup);
        self.reopen(&peer, &entry).await?;
        let slot = self.uploads.slot(&key);
        let mut open = slot.lock().await;
        let receiving = open.as_mut().ok_or_else(|| ReceptionError::of(Code::UPLOAD_EXPIRED))?;
        if let Err(error) = receiving.append(offset, bytes).await {
            // The writer may be torn: what is on disk is read anew.
            *open = None;
            drop(open);
            return Err(self.refuse_open(&entry, &error).await);
        }
        let offset = receiving.settled();
        Ok(UploadStatus { offset, document_bytes: entry.document_bytes, expires_at: entry.expires_at })
    }

    async fn settle(&self, peer: Peer, backup: BackupId) -> Result<UploadStatus, ReceptionError> {
        let entry = self.receiving_entry(&peer, backup).await?;
        let key = (peer.id.clone(), backup);
        let slot = self.uploads.slot(&key);
        let mut open = slot.lock().await;
        let Some(receiving) = open.as_mut() else {
            drop(open);
            return self.upload_status(&peer, backup).await;
        };
        let settled = receiving.settle().await;
        let complete = receiving.is_complete();
        let offset = match settled {
            Ok(offset) => offset,
            Err(error) => {
                *open = None;
                drop(open);
                return Err(self.refuse_open(&entry, &error).await);
            }
        };
        let status =
            UploadStatus { offset, document_bytes: entry.document_bytes, expires_at: entry.expires_at };
        if complete && let Some(receiving) = open.take() {
            drop(open);
            self.uploads.forget(&key);
            self.take_complete(peer, entry, receiving).await?;
        }
        Ok(status)
    }

    pub(super) async fn upload_status(
        &self,
        peer: &Peer,
        backup: BackupId,
    ) -> Result<UploadStatus, ReceptionError> {
        let entry = self.receiving_entry(peer, backup).await?;
        if entry.state == InboxState::Receiving {
            return self.reopen(peer, &entry).await;
        }
        let document_bytes = entry.document_bytes;
        Ok(UploadStatus { offset: document_bytes, document_bytes, expires_at: entry.expires_at })
    }

    async fn cancel_upload(&self, peer: &Peer, backup: BackupId) -> Result<UploadStatus, ReceptionError> {
        let entry = self.receiving_entry(peer, backup).await?;
        if entry.state == InboxState::Receiving {
            self.drop_upload(&(peer.id.clone(), backup)).await?;
        }
        Ok(UploadStatus { offset: 0, document_bytes: entry.document_bytes, expires_at: entry.expires_at })
    }

    /// Takes an upload away: its slot, its row, its file.
    pub(super) async fn drop_upload(&self, key: &UploadKey) -> Result<(), ReceptionError> {
        self.uploads.forget(key);
        let (peer, backup) = key.clone();
        let write = StateWrite::RemoveInbox { peer: peer.clone(), backup };
        self.memory.commit(vec![write]).await.map_err(refusal)?;
        let removed = self.spool.remove(&SpoolFile::Inbound { peer, backup }).await;
        removed.map_err(|error| ReceptionError::from_error(&error))
    }

    /// Tells why bytes are not taken; a document that can never be taken is dropped and its refusal kept.
    pub(super) async fn refuse_upload(&self, key: &UploadKey, error: &ReceiveError) -> ReceptionError {
        let mut refusal = ReceptionError::from_error(error);
        if let ReceiveError::Offset { offset } = error {
            refusal.offset = Some(*offset);
        }
        let (peer, backup) = (&key.0, key.1);
        match error {
            ReceiveError::Verify(_) | ReceiveError::TooLong => {
                tracing::warn!(%peer, %backup, code = %error.code(), %error, "a backup was refused");
                if let Err(failed) = self.keep_refusal(key, error.code(), &error.to_string()).await {
                    tracing::error!(%peer, %backup, error = %failed, "the refusal could not be kept");
                }
            }
            ReceiveError::Spool(spool) => {
                tracing::error!(%peer, %backup, error = %spool, "an upload cannot be written");
            }
            ReceiveError::Offset { .. } => {}
        }
        refusal
    }

    /// The same for an upload that is open. Nobody can go on with a document that was not announced: nothing is kept.
    async fn refuse_open(&self, entry: &InboxEntry, error: &ReceiveError) -> ReceptionError {
        let key = (entry.peer.clone(), entry.backup);
        let refusal = self.refuse_upload(&key, error).await;
        if entry.signature.is_empty() {
            self.drop_upload(&key).await.err().unwrap_or(refusal)
        } else {
            refusal
        }
    }

    async fn keep_refusal(&self, key: &UploadKey, code: Code, message: &str) -> Result<(), ReceptionError> {
        self.uploads.forget(key);
        let (peer, backup) = key.clone();
        if let Some(mut entry) = self.memory.inbox_entry(&peer, backup).await.map_err(refusal)? {
            entry.state = InboxState::Refused;
            entry.error = Some((code, message.to_owned()));
            self.memory.commit(vec![StateWrite::PutInbox(entry)]).await.map_err(refusal)?;
        }
        let removed = self.spool.remove(&SpoolFile::Inbound { peer, backup }).await;
        removed.map_err(|error| ReceptionError::from_error(&error))
    }

    /// The state may be new while the database is old: what was applied is in the ledger.
    async fn receipt_in_ledger(
        &self,
        peer: &ServerId,
        backup: BackupId,
    ) -> Result<Option<Vec<u8>>, ReceptionError> {
        let database = self.database().await.map_err(refusal)?;
        let applied = database.applied(backup).await.map_err(|error| refusal(Problem::of(&error)))?;
        match applied.filter(|applied| applied.source == *peer) {
            Some(applied) => Ok(Some(applied.receipt)),
            None => Err(ReceptionError::of(Code::NOT_FOUND)),
        }
    }

    pub(super) async fn await_receipt(
        &self,
        peer: &ServerId,
        backup: BackupId,
        wait: Duration,
    ) -> Result<Option<Vec<u8>>, ReceptionError> {
        let watch = Stopwatch::start();
        let mut dealt_with = self.uploads.watch();
        loop {
            dealt_with.mark_unchanged();
            let own = self.uploads.own_name(peer, backup);
            let receipt = self.memory.receipt(own).await.map_err(refusal)?;
            let receipt = receipt.filter(|receipt| receipt.source == *peer);
            let entry = self.memory.inbox_entry(peer, backup).await.map_err(refusal)?;
            // A refusal of an earlier day does not answer an upload of today.
            let pending = entry
                .as_ref()
                .is_some_and(|entry| !matches!(entry.state, InboxState::Applied | InboxState::Refused));
            if let Some(receipt) = receipt.filter(|receipt| receipt.success || !pending) {
                return Ok(Some(receipt.document));
            }
            let Some(entry) = entry else { return self.receipt_in_ledger(peer, own).await };
            // Nor does what failed yesterday answer an upload that is being dealt with now.
            let failed = entry.error.filter(|_| !self.uploads.is_processing(&(peer.clone(), backup)));
            if let Some((code, message)) = failed {
                return Err(told(code, message));
            }
            let left = wait.saturating_sub(watch.elapsed());
            if left.is_zero() || tokio::time::timeout(left, dealt_with.changed()).await.is_err() {
                return Ok(None);
            }
        }
    }
}

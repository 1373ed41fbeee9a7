//! Delivers one queued backup, and settles what became of it.
//!
//! Two things keep a backup from being sent twice at once: within this process a turn for each peer, which ends with the
//! task that holds it, however that ends; between processes the claim, a lease. Whoever holds the folder's lock knows
//! that no other process is sending, and takes claims over.

use std::time::Duration;

use branchline_core::code::{Code, Explain};
use branchline_core::peer::Peer;
use branchline_core::ports::{Claim, Lease, OutboxEntry, OutboxState, PeerLink, SpoolFile, StateWrite};
use branchline_core::receipt::Receipt;
use branchline_core::retry::wait_after;

use super::Node;
use super::clock::{entropy, now};
use super::progress::{ProgressSink, Reporter};
use crate::api::v1::Problem;
use crate::stages::receipt::record_of;
use crate::stages::send::{SendError, Sent, send};

/// How long a claim holds.
const LEASE: Duration = Duration::from_secs(10 * 60);

/// Why a delivery is tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Somebody asked: what waits for a later time is sent as well.
    Asked,
    /// Its time has come; before its time only where `early` is set.
    Due {
        /// Its time was written by a clock that was ahead.
        early: bool,
    },
}

/// What became of one delivery.
pub(super) enum Delivery {
    /// There is a receipt; it may say that nothing was applied.
    Answered(Box<Sent>),
    /// The peer will never take it.
    Refused(Problem),
    /// The chain does not go on at the peer: it was dropped, and a full backup starts the chain anew.
    Gap(Problem),
    /// It waits in the outbox.
    Waiting(Problem),
}

impl Node {
    /// Delivers the oldest backup that waits for a peer; nothing where none does, or somebody sends to it already.
    pub(super) async fn deliver(
        &self,
        peer: &Peer,
        link: &dyn PeerLink,
        occasion: Occasion,
        progress: &ProgressSink,
    ) -> Result<Option<(OutboxEntry, Delivery)>, Problem> {
        let Some(_turn) = self.uploads.begin_sending(&peer.id) else { return Ok(None) };
        self.free_claims_of(peer).await?;
        let holder = format!("{}-{}", std::process::id(), data_encoding::HEXLOWER.encode(&entropy::<4>()?));
        let lease = Lease { holder, length: LEASE };
        let early = occasion != Occasion::Due { early: false };
        let claim = Claim { peer: Some(peer.id.clone()), now: now(), early, lease };
        let Some(entry) = self.memory.claim(claim).await? else { return Ok(None) };
        let reporter = Reporter::begin(progress, "send", Some(peer.id.as_str()));
        let sent = send(link, self.spool.as_ref(), &entry, peer.key, &self.places, reporter).await;
        let delivery = match sent {
            Ok(sent) => self.settle_answered(&entry, sent).await?,
            Err(error) if error.code() == Code::CHAIN_GAP && entry.packed.is_some() => {
                self.settle_gap(&entry, link, &error).await?
            }
            Err(error) if error.code().refuses_the_document() => {
                self.settle_refused(&entry, link, &error).await?
            }
            Err(error) => self.defer(&entry, &error).await?,
        };
        Ok(Some((entry, delivery)))
    }

    /// Frees a peer's claims, which only a task of this process can have left.
    async fn free_claims_of(&self, peer: &Peer) -> Result<(), Problem> {
        let outbox = self.memory.outbox_of(&peer.id).await?.into_iter();
        // Putting an entry again frees it.
        let writes: Vec<_> =
            outbox.filter(|entry| entry.state == OutboxState::Waiting).map(StateWrite::PutOutbox).collect();
        if writes.is_empty() { Ok(()) } else { self.memory.commit(writes).await }
    }

    /// Removes what was settled by a process that was killed before it could.
    pub(super) async fn drop_all_settled(&self) -> Result<(), Problem> {
        for entry in self.memory.outbox().await? {
            if entry.state != OutboxState::Waiting {
                self.drop_settled(&entry).await?;
            }
        }
        Ok(())
    }

    async fn settle_answered(&self, entry: &OutboxEntry, sent: Sent) -> Result<Delivery, Problem> {
        let seen = StateWrite::Seen { peer: entry.peer.clone(), at: now() };
        self.close(entry, &sent.receipt, sent.document.clone(), vec![seen]).await?;
        Ok(Delivery::Answered(Box::new(sent)))
    }

    /// Closes an entry of the outbox by its receipt: what the peer acknowledged is kept in the same commit.
    pub(super) async fn close(
        &self,
        entry: &OutboxEntry,
        receipt: &Receipt,
        document: Vec<u8>,
        also: Vec<StateWrite>,
    ) -> Result<(), Problem> {
        let state = if receipt.is_applied() { OutboxState::Delivered } else { OutboxState::Refused };
        let mut writes = also;
        writes.push(StateWrite::PutReceipt(record_of(receipt, document)));
        writes.push(StateWrite::SettleOutbox { backup: entry.backup, state });
        let _turn = self.standing_turn.lock().await;
        writes.extend(self.acknowledgement(entry, receipt).await?.map(StateWrite::PutAcknowledged));
        self.memory.commit(writes).await?;
        self.confirm_scope(entry, receipt).await;
        self.drop_settled(entry).await
    }

    async fn settle_gap(
        &self,
        entry: &OutboxEntry,
        link: &dyn PeerLink,
        error: &SendError,
    ) -> Result<Delivery, Problem> {
        cancel_at(link, entry).await;
        let problem = Problem::of(error);
        tracing::warn!(peer = %entry.peer, backup = %entry.backup, %problem, "the chain starts anew with a full backup");
        self.start_chain_anew(&entry.peer).await?;
        self.drop_settled(entry).await?;
        Ok(Delivery::Gap(problem))
    }

    async fn settle_refused(
        &self,
        entry: &OutboxEntry,
        link: &dyn PeerLink,
        error: &SendError,
    ) -> Result<Delivery, Problem> {
        cancel_at(link, entry).await;
        let problem = Problem::of(error);
        tracing::warn!(peer = %entry.peer, backup = %entry.backup, %problem, "a backup was refused");
        let state = OutboxState::Refused;
        let settle = StateWrite::SettleOutbox { backup: entry.backup, state };
        self.memory.commit(vec![settle]).await?;
        self.drop_settled(entry).await?;
        Ok(Delivery::Refused(problem))
    }

    async fn defer(&self, entry: &OutboxEntry, error: &SendError) -> Result<Delivery, Problem> {
        let wait = wait_after(entry.attempts + 1, u64::from_le_bytes(entropy()?));
        let not_before =
            now().checked_add(wait).map_err(|_| Problem::new(Code::INTERNAL, "the clock is at its end"))?;
        let (backup, code, message) = (entry.backup, error.code(), error.to_string());
        self.memory.commit(vec![StateWrite::DeferOutbox { backup, not_before, code, message }]).await?;
        let waiting = self.memory.outbox_of(&entry.peer).await?;
        let count = waiting.iter().filter(|entry| entry.state == OutboxState::Waiting).count();
        let data = format!("Your data is safe: {count} backup(s) wait for {} in the outbox.", entry.peer);
        let again = format!("try again with: branchline sync {}", entry.peer);
        let problem = Problem::of(error);
        let help = format!("{}; {again}", problem.help);
        Ok(Delivery::Waiting(problem.with_data(data).with_help(help)))
    }

    /// Removes what is settled from the outbox, and the data file once nobody else needs it. The receipt stays.
    pub(super) async fn drop_settled(&self, entry: &OutboxEntry) -> Result<(), Problem> {
        self.memory.commit(vec![StateWrite::RemoveOutbox(entry.backup)]).await?;
        let outbox = self.memory.outbox().await?;
        if !outbox.iter().any(|other| other.data_file == entry.data_file) {
            self.spool.remove(&SpoolFile::Data(entry.data_file)).await?;
        }
        Ok(())
    }
}

/// Tells the peer that an upload will not go on, so that it does not keep the beginning. It need not answer.
pub(super) async fn cancel_at(link: &dyn PeerLink, entry: &OutboxEntry) {
    if let Err(error) = link.cancel(entry.backup).await {
        tracing::debug!(peer = %entry.peer, backup = %entry.backup, %error, "the peer keeps the upload until it expires");
    }
}

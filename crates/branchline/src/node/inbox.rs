//! What happens to an upload once all of it is here: verified, planned, applied, answered.

use std::sync::Arc;

use branchline_core::backup::Metadata;
use branchline_core::backup::v1::VerifiedBackup;
use branchline_core::code::{Code, Explain};
use branchline_core::peer::Peer;
use branchline_core::ports::{
    BoxFuture, InboxEntry, InboxState, ReceptionError, Spool, SpoolError, SpoolFile, StateWrite,
};
use branchline_core::schema::Schema;

use super::Node;
use super::chain::applied_before;
use super::clock::now;
use super::progress::{ProgressSink, Reporter, silent};
use super::reception::refusal;
use super::standing::SealedFor;
use super::uploads::{Turn, UploadKey};
use crate::api::v1::Problem;
use crate::stages::apply::{Document, apply};
use crate::stages::plan::plan;
use crate::stages::receipt::{Applied, Maker};
use crate::stages::receive::{ReceiveError, Receiving};
use crate::stages::verify::verify_spooled;

/// A document that lies in the spool.
struct SpooledDocument {
    spool: Arc<dyn Spool>,
    file: SpoolFile,
}

impl Document for SpooledDocument {
    fn read_at(&self, offset: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<u8>, SpoolError>> {
        self.spool.read_at(&self.file, offset, bytes_max)
    }
}

/// What became of a verified backup.
pub(super) enum Dealt {
    /// It was applied, now or before, or refused for good: here is the receipt.
    Answered(Box<Applied>),
    /// It could not be dealt with now.
    Later(Problem),
}

impl Node {
    /// The tables that the settings let sync.
    pub(super) fn restrict(&self, schema: Schema) -> Schema {
        schema.restricted(&self.settings.database.tables, &self.settings.database.except)
    }

    /// An upload is complete: from here on the sender only waits for its receipt.
    pub(super) async fn take_complete(
        &self,
        peer: Peer,
        mut entry: InboxEntry,
        receiving: Receiving,
    ) -> Result<(), ReceptionError> {
        let key = (peer.id.clone(), entry.backup);
        let verified = match receiving.finish() {
            Ok(verified) => verified,
            Err(error) => return Err(self.refuse_upload(&key, &ReceiveError::Verify(error)).await),
        };
        let own = verified.metadata().backup_id;
        if own != entry.backup {
            if !entry.signature.is_empty() {
                let error = ReceptionError::of(Code::MALFORMED);
                self.drop_upload(&key).await?;
                return Err(error);
            }
            self.uploads.name(&key, own);
        }
        entry.state = InboxState::Received;
        self.memory.commit(vec![StateWrite::PutInbox(entry.clone())]).await.map_err(refusal)?;
        if let Some(turn) = self.uploads.begin_processing(&key)
            && let Some(node) = self.itself()
        {
            // Runs to its end at shutdown: an apply is one transaction, and a receipt follows it.
            self.start(async move { node.process(peer, entry, verified, turn).await });
        }
        Ok(())
    }

    /// Deals with uploads that were complete when the server stopped, and drops those that nobody can go on with.
    pub(super) async fn resume_received(&self) -> Result<(), Problem> {
        for entry in self.memory.inbox().await? {
            let Ok(peer) = self.memory.peer(entry.peer.as_str()).await else { continue };
            match entry.state {
                InboxState::Received => self.process_again(peer, entry),
                InboxState::Receiving if entry.signature.is_empty() => {
                    let dropped = self.drop_upload(&(entry.peer, entry.backup)).await;
                    dropped.map_err(|error| Problem::of(&error))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Verifies a complete upload anew and deals with it, in a task of its own, unless that is being done already.
    pub(super) fn process_again(&self, peer: Peer, entry: InboxEntry) {
        let key = (entry.peer.clone(), entry.backup);
        let (Some(turn), Some(node)) = (self.uploads.begin_processing(&key), self.itself()) else { return };
        // Runs to its end at shutdown, as above.
        self.start(async move {
            match node.verify_again(&peer, &entry).await {
                Ok(verified) => {
                    node.uploads.name(&key, verified.metadata().backup_id);
                    node.process(peer, entry, verified, turn).await;
                }
                Err(error) => {
                    node.refuse_received(entry, &error).await;
                    drop(turn);
                    node.uploads.dealt_with();
                }
            }
        });
    }

    async fn verify_again(&self, peer: &Peer, entry: &InboxEntry) -> Result<VerifiedBackup, ReceptionError> {
        let file = SpoolFile::Inbound { peer: entry.peer.clone(), backup: entry.backup };
        let expectation = self.expectation(peer, &entry.signature)?;
        let verified = verify_spooled(self.spool.as_ref(), &file, expectation).await;
        verified.map_err(|error| ReceptionError::from_error(&error))
    }

    /// What was whole yesterday and is not today: it is kept as refused, so that it is not looked at for ever.
    async fn refuse_received(&self, mut entry: InboxEntry, error: &ReceptionError) {
        tracing::error!(peer = %entry.peer, backup = %entry.backup, %error, "an upload that was complete is refused");
        entry.state = InboxState::Refused;
        entry.error = Some((error.code, error.message.clone()));
        if let Err(problem) = self.memory.commit(vec![StateWrite::PutInbox(entry)]).await {
            tracing::error!(%problem, "the refusal could not be kept");
        }
    }

    async fn process(&self, peer: Peer, entry: InboxEntry, verified: VerifiedBackup, turn: Turn<UploadKey>) {
        let backup = verified.metadata().backup_id;
        if let Err(problem) = self.deal_and_record(peer, entry, verified).await {
            tracing::error!(%backup, %problem, "what became of a backup could not be recorded");
        }
        drop(turn);
        self.uploads.dealt_with();
    }

    async fn deal_and_record(
        &self,
        peer: Peer,
        mut entry: InboxEntry,
        verified: VerifiedBackup,
    ) -> Result<(), Problem> {
        entry.error = None;
        let file = SpoolFile::Inbound { peer: entry.peer.clone(), backup: entry.backup };
        let document = SpooledDocument { spool: Arc::clone(&self.spool), file: file.clone() };
        match self.deal_with(&peer, verified, &document, false, &silent()).await? {
            Dealt::Answered(applied) => {
                entry.state =
                    if applied.receipt.is_applied() { InboxState::Applied } else { InboxState::Refused };
                let writes = vec![StateWrite::PutReceipt(applied.record()), StateWrite::PutInbox(entry)];
                self.memory.commit(writes).await?;
                self.spool.remove(&file).await?;
            }
            Dealt::Later(problem) => {
                tracing::error!(peer = %peer.id, backup = %entry.backup, %problem, "a backup could not be dealt with");
                // What does not go on from the last one is not kept: its source sends a full backup in its place.
                let code = problem.known_code();
                let for_good = code.refuses_the_document() || code == Code::CHAIN_GAP;
                entry.state = if for_good { InboxState::Refused } else { entry.state };
                entry.error = Some((problem.known_code(), problem.message));
                self.memory.commit(vec![StateWrite::PutInbox(entry)]).await?;
                if for_good {
                    self.spool.remove(&file).await?;
                }
            }
        }
        Ok(())
    }

    /// Plans and applies a verified backup, one at a time. A repeat gets the receipt that it got the first time.
    pub(super) async fn deal_with(
        &self,
        peer: &Peer,
        verified: VerifiedBackup,
        document: &dyn Document,
        rehearse: bool,
        progress: &ProgressSink,
    ) -> Result<Dealt, Problem> {
        let _turn = self.apply_turn.lock().await;
        let metadata = verified.metadata().clone();
        // It may have waited for its turn for minutes: what the peer may do is asked now.
        let peer = match self.memory.peer(peer.id.as_str()).await {
            Ok(peer) => peer,
            Err(problem) => return Ok(Dealt::Later(problem)),
        };
        if self.is_name_of_another(&metadata).await? {
            let message = format!("another server's backup is called {} already", metadata.backup_id);
            return Ok(Dealt::Later(Problem::new(Code::LEDGER_FORKED, message)));
        }
        let database = match self.database().await {
            Ok(database) => Arc::clone(database),
            Err(problem) => return Ok(Dealt::Later(problem)),
        };
        let epoch = match database.ledger().await {
            Ok(ledger) => ledger.epoch,
            Err(error) => return Ok(Dealt::Later(Problem::of(&error))),
        };
        let sealing = SealedFor { node: self, peer: &peer.id };
        let maker = Maker { server: &self.settings.server, epoch, sealing: &sealing, signer: self.signer() };
        let refused = |error: &dyn Explain| -> Result<Dealt, Problem> {
            tracing::warn!(peer = %peer.id, backup = %metadata.backup_id, code = %error.code(), %error, "a backup was refused");
            if error.code().refuses_the_document() {
                let refusal = maker.refusal(&metadata, error, now());
                let refusal =
                    refusal.map_err(|error| Problem::new(Code::KEY_UNREADABLE, error.to_string()))?;
                return Ok(Dealt::Answered(Box::new(refusal)));
            }
            Ok(Dealt::Later(Problem::of(error)))
        };
        match applied_before(database.as_ref(), &verified, epoch).await {
            Ok(Some(applied)) => return Ok(Dealt::Answered(Box::new(applied))),
            Ok(None) => {}
            Err(error) => return refused(&error),
        }
        let schema = match database.schema().await {
            Ok(schema) => self.restrict(schema),
            Err(error) => return refused(&error),
        };
        let planned = match plan(verified, &peer, &schema) {
            Ok(planned) => planned,
            Err(error) => return refused(&error),
        };
        for (table, misfit) in planned.held() {
            tracing::warn!(peer = %peer.id, backup = %metadata.backup_id, %table, code = %misfit.code(), %misfit, "all rows of a table are held");
        }
        let reporter = Reporter::begin(progress, "apply", Some(peer.id.as_str()));
        match apply(database.as_ref(), &planned, document, &maker, rehearse, reporter).await {
            Ok(applied) => {
                let totals = applied.receipt.totals();
                tracing::info!(peer = %peer.id, backup = %metadata.backup_id, ?totals, rehearse, "a backup was applied");
                Ok(Dealt::Answered(Box::new(applied)))
            }
            Err(error) => refused(&error),
        }
    }

    /// Receipts are found by the name of their backup: nobody may take a name that another server's backup has.
    async fn is_name_of_another(&self, metadata: &Metadata) -> Result<bool, Problem> {
        let settled = self.memory.receipt(metadata.backup_id).await?;
        let waiting = self.memory.outbox_entry(metadata.backup_id).await?;
        Ok(waiting.is_some() || settled.is_some_and(|settled| settled.source != metadata.source))
    }
}

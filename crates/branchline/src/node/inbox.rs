//! What happens to an upload once all of it is here: verified, planned, applied, answered.

use std::sync::Arc;

use branchline_core::backup::Metadata;
use branchline_core::backup::v1::VerifiedBackup;
use branchline_core::code::{Code, Explain, Retry};
use branchline_core::peer::Peer;
use branchline_core::ports::{
    BoxFuture, Database, InboxEntry, InboxState, ReceptionError, Spool, SpoolError, SpoolFile, StateWrite,
};
use branchline_core::schema::Schema;

use super::clock::now;
use super::progress::{ProgressSink, Reporter, silent};
use super::reception::refusal;
use super::Node;
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
    Answered(Applied),
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
        if !self.uploads.begin_processing(&key) {
            self.start_processing(peer, entry, verified);
        }
        Ok(())
    }

    /// Deals with uploads that were complete when the server stopped.
    pub(super) async fn resume_received(self: &Arc<Self>) -> Result<(), Problem> {
        for entry in self.memory.inbox().await? {
            if entry.state == InboxState::Received {
                let Ok(peer) = self.memory.peer(entry.peer.as_str()).await else { continue };
                if let Err(error) = self.process_again(&peer, entry).await {
                    tracing::warn!(%error, "an upload that was complete is refused");
                }
            }
        }
        Ok(())
    }

    /// Verifies a complete upload anew, and deals with it, unless that is being done at this moment.
    pub(super) async fn process_again(&self, peer: &Peer, entry: InboxEntry) -> Result<(), ReceptionError> {
        let key = (entry.peer.clone(), entry.backup);
        if self.uploads.begin_processing(&key) {
            return Ok(());
        }
        let begun = self.begin_again(peer, entry).await;
        if begun.is_err() {
            self.uploads.dealt_with(&key);
        }
        begun
    }

    async fn begin_again(&self, peer: &Peer, mut entry: InboxEntry) -> Result<(), ReceptionError> {
        let file = SpoolFile::Inbound { peer: entry.peer.clone(), backup: entry.backup };
        let expectation = self.expectation(peer, &entry.signature)?;
        let verified = verify_spooled(self.spool.as_ref(), &file, expectation).await;
        let verified = verified.map_err(|error| ReceptionError::from_error(&error))?;
        entry.error = None;
        self.memory.commit(vec![StateWrite::PutInbox(entry.clone())]).await.map_err(refusal)?;
        self.uploads.name(&(entry.peer.clone(), entry.backup), verified.metadata().backup_id);
        self.start_processing(peer.clone(), entry, verified);
        Ok(())
    }

    fn start_processing(&self, peer: Peer, entry: InboxEntry, verified: VerifiedBackup) {
        let Some(node) = self.itself() else { return };
        // Runs to its end at shutdown: an apply is one transaction, and a receipt follows it.
        self.start(async move {
            let backup = verified.metadata().backup_id;
            let key = (entry.peer.clone(), entry.backup);
            if let Err(problem) = node.process(peer, entry, verified).await {
                tracing::error!(%backup, %problem, "what became of a backup could not be recorded");
            }
            node.uploads.dealt_with(&key);
        });
    }

    async fn process(&self, peer: Peer, mut entry: InboxEntry, verified: VerifiedBackup) -> Result<(), Problem> {
        let file = SpoolFile::Inbound { peer: entry.peer.clone(), backup: entry.backup };
        let document = SpooledDocument { spool: Arc::clone(&self.spool), file: file.clone() };
        match self.deal_with(&peer, verified, &document, false, &silent()).await? {
            Dealt::Answered(applied) => {
                entry.state = if applied.receipt.success { InboxState::Applied } else { InboxState::Refused };
                let writes = vec![StateWrite::PutReceipt(applied.record()), StateWrite::PutInbox(entry)];
                self.memory.commit(writes).await?;
                self.spool.remove(&file).await?;
            }
            Dealt::Later(problem) => {
                entry.error = Some((problem.known_code(), problem.message));
                self.memory.commit(vec![StateWrite::PutInbox(entry)]).await?;
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
        let database = match self.database().await {
            Ok(database) => Arc::clone(database),
            Err(problem) => return Ok(Dealt::Later(problem)),
        };
        match self.applied_before(database.as_ref(), &metadata).await {
            Ok(Some(applied)) => return Ok(Dealt::Answered(applied)),
            Ok(None) => {}
            Err(problem) => return Ok(Dealt::Later(problem)),
        }
        let maker = Maker { server: &self.settings.server, signer: self.signer() };
        let refused = |error: &dyn Explain| -> Result<Dealt, Problem> {
            tracing::warn!(peer = %peer.id, backup = %metadata.backup_id, code = %error.code(), %error, "a backup was refused");
            if error.retry() == Retry::Never {
                let refusal = maker.refusal(&metadata, error, now());
                return Ok(Dealt::Answered(refusal.map_err(|error| Problem::new(Code::KEY_UNREADABLE, error.to_string()))?));
            }
            Ok(Dealt::Later(Problem::of(error)))
        };
        let schema = match database.schema().await {
            Ok(schema) => self.restrict(schema),
            Err(error) => return refused(&error),
        };
        let planned = match plan(verified, peer, &schema) {
            Ok(planned) => planned,
            Err(error) => return refused(&error),
        };
        let reporter = Reporter::begin(progress, "apply", Some(peer.id.as_str()));
        match apply(database.as_ref(), &planned, document, &maker, rehearse, reporter).await {
            Ok(applied) => {
                let totals = applied.receipt.totals();
                tracing::info!(peer = %peer.id, backup = %metadata.backup_id, ?totals, rehearse, "a backup was applied");
                Ok(Dealt::Answered(applied))
            }
            Err(error) => refused(&error),
        }
    }

    async fn applied_before(&self, database: &dyn Database, metadata: &Metadata) -> Result<Option<Applied>, Problem> {
        let Some(record) = database.applied(metadata.backup_id).await? else { return Ok(None) };
        if record.checksum != metadata.checksum {
            let message = format!("another backup called {} was applied here", metadata.backup_id);
            return Err(Problem::new(Code::LEDGER_FORKED, message));
        }
        let receipt = branchline_core::receipt::v1::parse(&record.receipt)?;
        Ok(Some(Applied { receipt, document: record.receipt }))
    }
}

//! Applies: brings a planned backup into the database in one transaction, with its signed receipt in the ledger.
//!
//! 1. The document is read once more, on a thread of its own, and given to the session in batches.
//! 2. The session merges and checks every constraint.
//! 3. The receipt is made from what was done, signed, and recorded in the same transaction.
//! 4. The transaction commits. Whatever fails before leaves nothing.

use branchline_core::backup::RowBatch;
use branchline_core::backup::v1::{DataEvent, FormatError, VerifiedReader, VerifyError};
use branchline_core::code::{Code, Explain};
use branchline_core::ports::{
    Apply, BoxFuture, Database, DatabaseError, SignerError, SpoolError, StateError,
};
use tokio::sync::mpsc;

use super::plan::Plan;
use super::receipt::{self, Applied, Circumstances};
use crate::node::clock::{Stopwatch, now};
use crate::node::progress::Reporter;

/// Batches that may wait between the thread that reads and the session that stages.
const QUEUE_BATCHES: usize = 8;

/// Gives a document's bytes from any place: a spool file, or a file on a USB stick.
pub trait Document: Send + Sync {
    /// At most `bytes_max` bytes from `offset`; an empty answer is the end.
    fn read_at(&self, offset: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<u8>, SpoolError>>;
}

/// Why a backup was not applied. Nothing of it is in the database.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The database refused or failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The document is not what its metadata announced.
    #[error(transparent)]
    Document(#[from] VerifyError),
    /// The document cannot be read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// What was sealed for the source cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The receipt cannot be signed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The reading thread ended before its time.
    #[error("the work was stopped")]
    Interrupted,
}

impl Explain for ApplyError {
    fn code(&self) -> Code {
        match self {
            Self::Database(error) => error.code(),
            Self::Document(error) => error.code(),
            Self::Spool(error) => error.code(),
            Self::State(error) => error.code(),
            Self::Signer(_) => Code::KEY_UNREADABLE,
            Self::Interrupted => Code::INTERRUPTED,
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::Database(error) => error.hint(),
            other => other.code().entry().hint.to_owned(),
        }
    }
}

/// Applies a plan. With `rehearse` everything is done but the commit.
///
/// # Errors
/// Where anything at all is not as it should be; the database is as it was.
pub async fn apply(
    database: &dyn Database,
    plan: &Plan,
    document: &dyn Document,
    receipts: &receipt::Maker<'_>,
    rehearse: bool,
    mut reporter: Reporter,
) -> Result<Applied, ApplyError> {
    let rows = plan.backup().metadata().record_count;
    reporter = reporter.of_total(Some(rows), None);
    let mut session = database.begin_apply(plan.request()).await?;
    let done = work(session.as_mut(), plan, document, receipts, &mut reporter).await;
    match done {
        Ok(applied) if rehearse => {
            session.abort().await?;
            reporter.end("rehearsed; nothing was written");
            Ok(applied)
        }
        Ok(applied) => {
            session.commit().await?;
            reporter.end(format!("{rows} rows applied"));
            Ok(applied)
        }
        Err(error) => {
            // The first cause is told; a session that cannot even abort ends with its connection.
            if let Err(abort) = session.abort().await {
                tracing::debug!(error = %abort, "the apply session ended with its connection");
            }
            Err(error)
        }
    }
}

async fn work(
    session: &mut dyn Apply,
    plan: &Plan,
    document: &dyn Document,
    receipts: &receipt::Maker<'_>,
    reporter: &mut Reporter,
) -> Result<Applied, ApplyError> {
    let watch = Stopwatch::start();
    stage(session, plan, document, reporter).await?;
    let staged_for = watch.elapsed();
    let report = session.merge().await?;
    // Under the locks of the merge: whatever is packed after this sees what was merged.
    let sealed = receipts.sealing.sealed().await?;
    let circumstances = Circumstances { staged_for, sealed, now: now() };
    let applied = receipts.applied(plan.backup(), &report, circumstances)?;
    session.record(&applied.document, applied.receipt.processed_at).await?;
    Ok(applied)
}

async fn stage(
    session: &mut dyn Apply,
    plan: &Plan,
    document: &dyn Document,
    reporter: &mut Reporter,
) -> Result<(), ApplyError> {
    let (to_decoder, from_document) = mpsc::channel::<Vec<u8>>(QUEUE_BATCHES);
    let (to_session, mut from_decoder) = mpsc::channel::<(usize, RowBatch)>(QUEUE_BATCHES);
    let reader = VerifiedReader::new(plan.backup());
    let decoding = tokio::task::spawn_blocking(move || decode(reader, from_document, &to_session));
    let reading = feed(document, to_decoder);
    // It owns its end of the queue: where staging fails the decoder has nobody to give to, and ends.
    let staging = async move {
        while let Some((place, batch)) = from_decoder.recv().await {
            reporter.add(batch.rows, batch.lines.len() as u64);
            session.stage(place, batch).await?;
        }
        Ok::<_, ApplyError>(())
    };
    let (read, decoded, staged) = tokio::join!(reading, decoding, staging);
    let decoded = decoded.map_err(|_| ApplyError::Interrupted).and_then(|decoded| decoded);
    match (staged, decoded, read) {
        (Err(error), _, _) => Err(error),
        (Ok(()), Err(error), _) => Err(error),
        (Ok(()), Ok(()), read) => read,
    }
}

/// Reads the document; ends early where nobody takes it any more.
async fn feed(document: &dyn Document, to_decoder: mpsc::Sender<Vec<u8>>) -> Result<(), ApplyError> {
    let mut offset = 0;
    loop {
        let bytes = document.read_at(offset, 256 << 10).await?;
        offset += bytes.len() as u64;
        if bytes.is_empty() || to_decoder.send(bytes).await.is_err() {
            return Ok(());
        }
    }
}

/// Runs on a thread of its own; ends when the document is over, or when nobody takes its rows.
fn decode(
    mut reader: VerifiedReader,
    mut from_document: mpsc::Receiver<Vec<u8>>,
    to_session: &mpsc::Sender<(usize, RowBatch)>,
) -> Result<(), ApplyError> {
    let mut given_up = false;
    let mut sink = |event: DataEvent| {
        if let DataEvent::Rows { table, batch } = event {
            given_up |= to_session.blocking_send((table, batch)).is_err();
        }
        // Any error ends the reading; the caller tells what really went wrong.
        if given_up { Err(VerifyError::Format(FormatError::Truncated)) } else { Ok(()) }
    };
    while let Some(bytes) = from_document.blocking_recv() {
        reader.push(&bytes, &mut sink)?;
    }
    reader.finish(&mut sink)?;
    Ok(())
}

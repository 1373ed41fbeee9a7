//! Sends: one queued backup to its peer, part by part, and waits for the receipt.
//!
//! What the peer has on disk decides where to go on, so a broken link or a killed process costs one part at most.
//! Where the peer says that the upload stands elsewhere than we think, it is offered again, a few times. All other retry
//! belongs to the outbox.
//!
//! How many are sent at once is bounded by places, since each holds a part of 8 MiB in memory. A place is taken once the
//! peer answers, and given back before its receipt is waited for: a peer that is away or slow takes none from others.

use std::time::Duration;

use branchline_core::code::{Code, Explain, Retry};
use branchline_core::id::KeyId;
use branchline_core::limits::UPLOAD_PART_BYTES;
use branchline_core::ports::{
    LinkError, Offer, OfferAnswer, OutboxEntry, PeerLink, Spool, SpoolError, SpoolFile,
};
use branchline_core::receipt::Receipt;
use branchline_core::receipt::v1::{ReceiptError, open_receipt};
use tokio::sync::Semaphore;

use crate::node::clock::Stopwatch;
use crate::node::progress::Reporter;

/// How long one question for the receipt waits; the next one follows at once.
const RECEIPT_WAIT: Duration = Duration::from_secs(25);

/// After this long without a receipt the delivery waits in the outbox; the peer goes on, and answers the next time.
const RECEIPT_WAIT_MAX: Duration = Duration::from_secs(30 * 60);
/// How often an upload is offered in one delivery.
const OFFERS_MAX: u32 = 4;

/// What came of sending.
#[derive(Debug)]
pub struct Sent {
    /// The receipt, verified.
    pub receipt: Receipt,
    /// The receipt as the peer signed it.
    pub document: Vec<u8>,
    /// Bytes that travelled now.
    pub sent_bytes: u64,
    /// How long the upload took.
    pub upload_took: Duration,
    /// How long the peer took from then on.
    pub receipt_took: Duration,
}

/// Why a backup was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The peer, or the way to it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Our own disk.
    #[error("the backup's file cannot be read")]
    Spool(#[from] SpoolError),
    /// Our own disk holds less than was sealed.
    #[error("the backup's file is shorter than it was sealed")]
    FileCut,
    /// The answer is not a receipt for this backup.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}

impl Explain for SendError {
    fn code(&self) -> Code {
        match self {
            Self::Link(error) => error.code(),
            Self::Spool(error) => error.code(),
            Self::FileCut => Code::STATE_BROKEN,
            Self::Receipt(error) => error.code(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Link(error) => error.retry(),
            other => other.code().entry().retry,
        }
    }
}

/// Sends what the peer does not have yet, and waits for its receipt.
///
/// # Errors
/// Where the peer cannot be reached, refuses, or answers something else.
pub async fn send(
    link: &dyn PeerLink,
    spool: &dyn Spool,
    entry: &OutboxEntry,
    pinned: KeyId,
    places: &Semaphore,
    reporter: Reporter,
) -> Result<Sent, SendError> {
    let watch = Stopwatch::start();
    let offer = Offer {
        backup: entry.backup,
        document_bytes: entry.document_bytes(),
        signature: entry.signature.clone(),
    };
    let mut reporter = reporter.of_total(Some(entry.record_count), Some(offer.document_bytes));
    let sent_bytes = upload(link, spool, entry, &offer, places, &mut reporter).await?;
    let upload_took = watch.elapsed();
    reporter.end("all is at the peer; waiting for its receipt");
    let watch = Stopwatch::start();
    let document = loop {
        if let Some(document) = link.receipt(entry.backup, RECEIPT_WAIT).await? {
            break document;
        }
        if watch.elapsed() > RECEIPT_WAIT_MAX {
            return Err(LinkError::TimedOut { peer: entry.peer.clone() }.into());
        }
    };
    let receipt = open_receipt(&document, pinned)?;
    if receipt.backup != entry.backup || receipt.checksum != entry.checksum {
        return Err(ReceiptError::OtherBackup { found: receipt.backup }.into());
    }
    Ok(Sent { receipt, document, sent_bytes, upload_took, receipt_took: watch.elapsed() })
}

/// Sends what is missing; answers how many bytes travelled.
async fn upload(
    link: &dyn PeerLink,
    spool: &dyn Spool,
    entry: &OutboxEntry,
    offer: &Offer,
    places: &Semaphore,
    reporter: &mut Reporter,
) -> Result<u64, SendError> {
    let (mut sent_bytes, mut offers_left) = (0, OFFERS_MAX);
    let mut place = None;
    loop {
        let mut offset = match link.offer(offer).await? {
            OfferAnswer::Continue { offset } => offset,
            OfferAnswer::Complete => return Ok(sent_bytes),
        };
        if place.is_none() {
            place = Some(places.acquire().await.expect("invariant: places are never closed"));
        }
        reporter.reach(offset);
        let refused = loop {
            if offset >= offer.document_bytes {
                return Ok(sent_bytes);
            }
            let part = part_at(spool, entry, offset).await?;
            let part_bytes = part.len() as u64;
            match link.send(entry.backup, offset, part).await {
                Ok(reached) if reached > offset => {
                    sent_bytes += part_bytes;
                    offset = reached;
                    reporter.reach(offset);
                }
                Ok(_) => return Err(no_progress(entry).into()),
                Err(error) => break error,
            }
        };
        let elsewhere =
            matches!(refused.code(), Code::OFFSET_MISMATCH | Code::UPLOAD_EXPIRED | Code::INTERRUPTED);
        offers_left -= 1;
        if !elsewhere || offers_left == 0 {
            return Err(refused.into());
        }
    }
}

fn no_progress(entry: &OutboxEntry) -> LinkError {
    LinkError::Protocol {
        peer: entry.peer.clone(),
        message: "a part was taken and the upload is no longer".to_owned(),
    }
}

/// The next part of the document: of the first frame, the spool file and the third frame, as if they were one.
///
/// # Errors
/// Where the spool file cannot be read, or is shorter than it was.
pub async fn part_at(spool: &dyn Spool, entry: &OutboxEntry, offset: u64) -> Result<Vec<u8>, SendError> {
    let (head, tail) = (entry.head.len() as u64, entry.head.len() as u64 + entry.data_frame_bytes);
    let end = entry.document_bytes().min(offset + UPLOAD_PART_BYTES as u64);
    let mut part = Vec::with_capacity(usize::try_from(end - offset).unwrap_or(0));
    let mut at = offset;
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        if at < head {
            let from = usize::try_from(at).unwrap_or(usize::MAX);
            part.extend(entry.head[from..].iter().take(left));
        } else if at < tail {
            let wanted = left.min(usize::try_from(tail - at).unwrap_or(usize::MAX));
            let bytes = spool.read_at(&SpoolFile::Data(entry.data_file), at - head, wanted).await?;
            if bytes.is_empty() {
                return Err(SendError::FileCut);
            }
            part.extend(bytes);
        } else {
            let from = usize::try_from(at - tail).unwrap_or(usize::MAX);
            part.extend(entry.tail[from..].iter().take(left));
        }
        at = offset + part.len() as u64;
    }
    Ok(part)
}

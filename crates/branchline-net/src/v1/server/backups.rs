//! Whole documents and receipts.
//!
//! `POST /v1/backups` is for whoever has no client of ours: `curl --cert … --data-binary @backup.json.zst`. The
//! document is handed on as it comes, under a name of our own until its metadata are here. Where it breaks off, nothing
//! of it is kept: who wants to go on after a break uses uploads.
//!
//! | answer | means |
//! |---|---|
//! | 200, a receipt | applied |
//! | 422, a receipt | a receipt that says `"success":false`: nothing was applied |
//! | 202 | all is here, and applying it takes longer; ask at `Location` |
//! | a problem | refused |

use std::sync::Arc;
use std::time::Duration;

use branchline_core::code::Code;
use branchline_core::id::BackupId;
use branchline_core::ports::{UploadStatus, UploadStep};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::body::{Halt, Sink, length_of, pour};
use super::uploads::DOCUMENT_BYTES_MAX;
use super::{Answer, Work, json};
use crate::v1::bodies;
use crate::v1::problem::Refusal;

/// How long one question for a receipt waits; authorisation is looked at anew in between.
const RECEIPT_QUESTION: Duration = Duration::from_secs(20);

/// `POST /v1/backups`.
pub(super) async fn take_whole(work: Work) -> Result<Answer, Refusal> {
    let Some(document_bytes) = length_of(work.request.headers())? else {
        return Err(Refusal::saying(Code::REQUEST_INVALID, "Content-Length is missing")
            .with_status(StatusCode::LENGTH_REQUIRED));
    };
    if document_bytes > DOCUMENT_BYTES_MAX {
        return Err(Refusal::of(Code::DATA_TOO_LARGE));
    }
    let backup = provisional_name()?;
    let (endpoint, peer, key) = (Arc::clone(&work.endpoint), work.peer.clone(), work.caller.key);
    // Ends with the body; where the caller goes away, the upload is taken back.
    let receiving = endpoint.tasks().start(receive(work, backup, document_bytes));
    receiving.await.map_err(|_| Refusal::of(Code::INTERRUPTED))??;
    let waiting = async {
        loop {
            endpoint.reception().authenticate(key).await?;
            let receipt = endpoint.reception().receipt(peer.clone(), backup, RECEIPT_QUESTION).await?;
            if let Some(receipt) = receipt {
                return Ok::<_, Refusal>(receipt);
            }
        }
    };
    match tokio::time::timeout(endpoint.bounds().receipt, waiting).await {
        Err(_) => {
            let mut answer = json(StatusCode::ACCEPTED, bodies::pending(None));
            if let Ok(location) = HeaderValue::from_str(&format!("/v1/backups/{backup}")) {
                answer.headers_mut().insert(LOCATION, location);
            }
            Ok(answer)
        }
        Ok(Err(refusal)) => Err(refusal),
        Ok(Ok(receipt)) if bodies::says_applied(&receipt) => Ok(json(StatusCode::OK, receipt)),
        Ok(Ok(receipt)) => Ok(json(StatusCode::UNPROCESSABLE_ENTITY, receipt)),
    }
}

async fn receive(work: Work, backup: BackupId, document_bytes: u64) -> Result<UploadStatus, Refusal> {
    let Work { endpoint, caller, peer, request } = work;
    let reception = endpoint.reception();
    reception.upload(peer.clone(), UploadStep::Begin { backup, document_bytes }).await?;
    let mut sink = Sink { reception, peer: &peer, backup, offset: 0, room: document_bytes };
    let poured =
        pour(request.into_body(), &mut sink, &CancellationToken::new(), endpoint.bounds().body_piece).await;
    let complete = sink.room == 0;
    let refusal = match poured {
        Ok(()) if complete => {
            reception.authenticate(caller.key).await?;
            return Ok(reception.upload(peer, UploadStep::Settle { backup }).await?);
        }
        Ok(()) => Refusal::of(Code::TRUNCATED),
        Err(Halt::Refused(refusal)) => return Err(refusal),
        Err(Halt::Interrupted(refusal)) => refusal,
    };
    if let Err(error) = reception.upload(peer, UploadStep::Cancel { backup }).await {
        tracing::debug!(%error, %backup, "a document that broke off is swept later");
    }
    Err(refusal)
}

/// `GET /v1/backups/{backupId}`.
pub(super) async fn receipt(work: &Work, backup: BackupId, wait: Duration) -> Result<Answer, Refusal> {
    let reception = work.endpoint.reception();
    if let Some(receipt) = reception.receipt(work.peer.clone(), backup, wait).await? {
        return Ok(json(StatusCode::OK, receipt));
    }
    let status = reception.upload(work.peer.clone(), UploadStep::Status { backup }).await.ok();
    Ok(json(StatusCode::ACCEPTED, bodies::pending(status.as_ref())))
}

/// A name that nobody else has, for the time until the document has said its own.
fn provisional_name() -> Result<BackupId, Refusal> {
    let mut entropy = [0; 10];
    aws_lc_rs::rand::fill(&mut entropy).map_err(|_| Refusal::of(Code::INTERNAL))?;
    Ok(BackupId::from_parts(Timestamp::UNIX_EPOCH, entropy))
}

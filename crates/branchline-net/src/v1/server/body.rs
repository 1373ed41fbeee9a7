//! Bodies of requests: small ones whole, backups in batches that are handed on as they come.

use std::time::Duration;

use branchline_core::code::Code;
use branchline_core::id::{BackupId, ServerId};
use branchline_core::limits::{BATCH_BYTES, MESSAGE_BYTES_MAX};
use branchline_core::ports::{Reception, UploadStep};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio_util::sync::CancellationToken;

use super::remainder::RequestBody;
use crate::v1::problem::Refusal;

/// Reads a small body.
pub(super) async fn whole(body: RequestBody, within: Duration) -> Result<Bytes, Refusal> {
    let reading = Limited::new(body, MESSAGE_BYTES_MAX).collect();
    match tokio::time::timeout(within, reading).await {
        Err(_) => Err(Refusal::of(Code::TIMED_OUT)),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Refusal::saying(Code::REQUEST_INVALID, "the request is larger than 1 MiB")
                .with_status(StatusCode::PAYLOAD_TOO_LARGE))
        }
        Ok(Err(_)) => Err(Refusal::of(Code::TRUNCATED)),
    }
}

/// What the head says of the body's length, where it says something.
pub(super) fn length_of(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(CONTENT_LENGTH) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| Refusal::saying(Code::REQUEST_INVALID, "Content-Length is not a number"))
}

/// Where bytes go.
pub(super) struct Sink<'a> {
    pub(super) reception: &'a dyn Reception,
    pub(super) peer: &'a ServerId,
    pub(super) backup: BackupId,
    pub(super) offset: u64,
    /// Bytes that may still come.
    pub(super) room: u64,
}

/// How a body ended before its end.
pub(super) enum Halt {
    /// The reception refused: nothing more is done with the upload.
    Refused(Refusal),
    /// The body broke off, was slow, or gave way to a newer part: what came is good.
    Interrupted(Refusal),
}

/// Hands a body on, one batch at a time.
pub(super) async fn pour(
    mut body: RequestBody,
    sink: &mut Sink<'_>,
    gives_way: &CancellationToken,
    piece_within: Duration,
) -> Result<(), Halt> {
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    loop {
        // Both branches may be dropped: a frame that was not taken stays in the body.
        let frame = tokio::select! {
            () = gives_way.cancelled() => None,
            frame = tokio::time::timeout(piece_within, body.frame()) => Some(frame),
        };
        let halted = match frame {
            Some(Ok(None)) => return sink.take(&mut batch).await,
            Some(Ok(Some(Ok(frame)))) => match frame.into_data() {
                Ok(piece) => sink.fill(&mut batch, piece).await?,
                Err(_trailers) => None,
            },
            Some(Ok(Some(Err(_)))) => Some(Refusal::of(Code::TRUNCATED).with_status(StatusCode::BAD_REQUEST)),
            Some(Err(_)) => Some(Refusal::of(Code::TIMED_OUT).with_status(StatusCode::REQUEST_TIMEOUT)),
            None => Some(Refusal::saying(Code::INTERRUPTED, "a newer part of this upload has taken over")),
        };
        if let Some(refusal) = halted {
            sink.take(&mut batch).await?;
            return Err(Halt::Interrupted(refusal));
        }
    }
}

impl Sink<'_> {
    /// Adds a piece to the batch, and hands on each batch that is full.
    async fn fill(&mut self, batch: &mut Vec<u8>, mut piece: Bytes) -> Result<Option<Refusal>, Halt> {
        let waiting = u64::try_from(batch.len() + piece.len()).unwrap_or(u64::MAX);
        if waiting > self.room {
            let refusal = Refusal::saying(Code::REQUEST_INVALID, "there are more bytes than were announced");
            return Ok(Some(refusal.with_status(StatusCode::PAYLOAD_TOO_LARGE)));
        }
        while !piece.is_empty() {
            let taken = piece.split_to(piece.len().min(BATCH_BYTES - batch.len()));
            batch.extend_from_slice(&taken);
            if batch.len() == BATCH_BYTES {
                self.take(batch).await?;
            }
        }
        Ok(None)
    }

    async fn take(&mut self, batch: &mut Vec<u8>) -> Result<(), Halt> {
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::replace(batch, Vec::with_capacity(BATCH_BYTES));
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let step = UploadStep::Append { backup: self.backup, offset: self.offset, bytes };
        let taken = self.reception.upload(self.peer.clone(), step).await;
        taken.map_err(|error| Halt::Refused(error.into()))?;
        self.offset = self.offset.saturating_add(length);
        self.room = self.room.saturating_sub(length);
        Ok(())
    }
}

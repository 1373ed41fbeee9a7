//! Resumable upload: tus 1.0, core with creation, expiration and termination. Source: tus.io, protocol 1.0.0.
//!
//! What is ours: the URL is made of the backup's id, so that a client that lost everything but the backup finds its
//! upload again; `Upload-Metadata` is `backup <base64 id>,signature <base64>`;
//! a repeated creation answers how far the upload is; offsets are what is lasting on disk; a part has 8 MiB at
//! most; a newer part ends the older one.
//!
//! A part runs in a task of its own: where the connection breaks, what came is made lasting all the same. The task ends
//! with the body, at the latest after [`ServerBounds::body_piece`](crate::deadlines::ServerBounds) of silence.

use branchline_core::code::Code;
use branchline_core::id::BackupId;
use branchline_core::limits::{DATA_BYTES_MAX, METADATA_BYTES_MAX, UPLOAD_PART_BYTES};
use branchline_core::ports::{Offer, UploadStatus, UploadStep};
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::body::{Halt, Sink, length_of, pour};
use super::{Answer, Work};
use crate::v1::names;
use crate::v1::problem::Refusal;

/// Bytes of a whole document at most: its data uncompressed at their largest, its metadata, and its tail.
pub(super) const DOCUMENT_BYTES_MAX: u64 = DATA_BYTES_MAX + METADATA_BYTES_MAX as u64 + 1_024;

/// `OPTIONS /v1/uploads`.
pub(super) fn abilities() -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(names::TUS_VERSION, HeaderValue::from_static(names::TUS_VERSION_SPOKEN));
    headers.insert(names::TUS_EXTENSION, HeaderValue::from_static("creation,expiration,termination"));
    headers.insert(names::TUS_MAX_SIZE, DOCUMENT_BYTES_MAX.into());
    answer
}

/// `POST /v1/uploads`.
pub(super) async fn create(work: &Work) -> Result<Answer, Refusal> {
    let headers = work.request.headers();
    check_version(headers)?;
    let document_bytes = number(headers, &names::UPLOAD_LENGTH)?;
    if document_bytes > DOCUMENT_BYTES_MAX {
        return Err(Refusal::of(Code::DATA_TOO_LARGE));
    }
    let offer = offer_of(headers, document_bytes)?;
    let backup = offer.backup;
    let status = work.endpoint.reception().upload(work.peer.clone(), UploadStep::Offer(offer)).await?;
    let mut answer = empty(StatusCode::CREATED);
    put_status(answer.headers_mut(), &status);
    let location = HeaderValue::from_str(&format!("/v1/uploads/{backup}"));
    answer.headers_mut().insert(LOCATION, location.map_err(|_| Refusal::of(Code::INTERNAL))?);
    Ok(answer)
}

/// `HEAD /v1/uploads/{backupId}`.
pub(super) async fn offset(work: &Work, backup: BackupId) -> Result<Answer, Refusal> {
    check_version(work.request.headers())?;
    let status = work.endpoint.reception().upload(work.peer.clone(), UploadStep::Status { backup }).await?;
    let mut answer = empty(StatusCode::OK);
    put_status(answer.headers_mut(), &status);
    answer.headers_mut().insert(names::UPLOAD_LENGTH, status.document_bytes.into());
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// `DELETE /v1/uploads/{backupId}`.
pub(super) async fn cancel(work: &Work, backup: BackupId) -> Result<Answer, Refusal> {
    check_version(work.request.headers())?;
    // Whoever still appends must have left before the upload goes.
    let turn = work.endpoint.lanes().enter(work.peer.clone(), backup).await;
    work.endpoint.reception().upload(work.peer.clone(), UploadStep::Cancel { backup }).await?;
    drop(turn);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `PATCH /v1/uploads/{backupId}`.
pub(super) async fn append(work: Work, backup: BackupId) -> Result<Answer, Refusal> {
    let headers = work.request.headers();
    check_version(headers)?;
    if headers.get(CONTENT_TYPE).is_none_or(|value| value != names::PART) {
        return Err(Refusal::saying(
            Code::REQUEST_INVALID,
            format!("a part has the content type {}", names::PART),
        )
        .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let offset = number(headers, &names::UPLOAD_OFFSET)?;
    let length = length_of(headers)?;
    let part_max = u64::try_from(UPLOAD_PART_BYTES).unwrap_or(u64::MAX);
    if length.is_some_and(|length| length > part_max) {
        return Err(too_large("a part has at most 8 MiB"));
    }
    let tasks = work.endpoint.tasks().clone();
    // Ends with the body; dropping this request leaves it to settle.
    let receiving = tasks.start(receive(work, backup, offset, length));
    let status = receiving.await.map_err(|_| Refusal::of(Code::INTERRUPTED))??;
    let mut answer = empty(StatusCode::NO_CONTENT);
    put_status(answer.headers_mut(), &status);
    Ok(answer)
}

async fn receive(
    work: Work,
    backup: BackupId,
    offset: u64,
    length: Option<u64>,
) -> Result<UploadStatus, Refusal> {
    let Work { endpoint, caller, peer, request } = work;
    let turn = endpoint.lanes().enter(peer.clone(), backup).await;
    let reception = endpoint.reception();
    let status = reception.upload(peer.clone(), UploadStep::Status { backup }).await?;
    if status.offset != offset {
        return Err(Refusal::offset_mismatch(status.offset));
    }
    let part_max = u64::try_from(UPLOAD_PART_BYTES).unwrap_or(u64::MAX);
    let room = status.document_bytes.saturating_sub(offset).min(part_max);
    if length.is_some_and(|length| length > room) {
        return Err(too_large("the part reaches past the end of the upload"));
    }
    let mut sink = Sink { reception, peer: &peer, backup, offset, room };
    let poured = pour(request.into_body(), &mut sink, &turn.gives_way, endpoint.bounds().body_piece).await;
    if let Err(Halt::Refused(refusal)) = poured {
        return Err(refusal);
    }
    // It may have taken minutes: a peer that was removed meanwhile completes nothing.
    reception.authenticate(caller.key).await?;
    let settled = reception.upload(peer, UploadStep::Settle { backup }).await?;
    match poured {
        Ok(()) => Ok(settled),
        Err(Halt::Interrupted(refusal) | Halt::Refused(refusal)) => {
            Err(refusal.with_header(names::UPLOAD_OFFSET, settled.offset.into()))
        }
    }
}

fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get(names::TUS_RESUMABLE).is_some_and(|version| version == names::TUS_VERSION_SPOKEN) {
        return Ok(());
    }
    Err(Refusal::saying(
        Code::PROTOCOL_MISMATCH,
        "uploads speak tus 1.0.0: the header Tus-Resumable is missing or other",
    )
    .with_status(StatusCode::PRECONDITION_FAILED)
    .with_header(names::TUS_VERSION, HeaderValue::from_static(names::TUS_VERSION_SPOKEN)))
}

fn offer_of(headers: &HeaderMap, document_bytes: u64) -> Result<Offer, Refusal> {
    let invalid = |message| Refusal::saying(Code::REQUEST_INVALID, message);
    let metadata =
        headers.get(names::UPLOAD_METADATA).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (mut backup, mut signature) = (None, None);
    for pair in metadata.split(',') {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        let value = BASE64.decode(value.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let value = value.ok_or_else(|| invalid("a value in Upload-Metadata is not base64"))?;
        match key {
            "backup" => backup = Some(value.parse().map_err(|_| Refusal::of(Code::ID_INVALID))?),
            "signature" => signature = Some(value),
            // tus allows more; a later version may send more.
            _ => {}
        }
    }
    match (backup, signature) {
        (Some(backup), Some(signature)) => Ok(Offer { backup, document_bytes, signature }),
        _ => Err(invalid("Upload-Metadata lacks backup or signature")),
    }
}

/// The number in a header, written plainly: no sign, no spaces.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64, Refusal> {
    let text = headers.get(name).and_then(|value| value.to_str().ok());
    let digits = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Refusal::saying(Code::REQUEST_INVALID, format!("the header {name} is missing or not a number"))
    })
}

fn too_large(message: &str) -> Refusal {
    Refusal::saying(Code::REQUEST_INVALID, message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

fn put_status(headers: &mut HeaderMap, status: &UploadStatus) {
    headers.insert(names::UPLOAD_OFFSET, status.offset.into());
    if status.offset < status.document_bytes
        && let Some(expires) = http_date(status.expires_at)
    {
        headers.insert(names::UPLOAD_EXPIRES, expires);
    }
}

/// A date as HTTP writes it (RFC 9110, section 5.6.7).
fn http_date(at: Timestamp) -> Option<HeaderValue> {
    let text = at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::from_str(&text).ok()
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_writes_them() {
        let at = Timestamp::from_second(784_111_777).unwrap();
        assert_eq!(http_date(at).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}

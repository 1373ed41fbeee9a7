//! Refusals on the wire: `application/problem+json` (RFC 9457), made from the table of codes.
//!
//! ```json
//! {"type":"urn:branchline:error:offset_mismatch","title":"The part does not begin where the upload ends.",
//!  "status":409,"detail":"…","code":"BL-E0316","retryable":true,"hint":"…","offset":1024}
//! ```
//! A client goes by `code` where it knows it, and by `retryable` where it does not.

use branchline_core::code::{Code, Explain, Retry};
use branchline_core::id::ServerId;
use branchline_core::ports::{LinkError, ReceptionError};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::names;
use crate::peer_text::cleaned;

/// Seconds after which a busy server may be asked again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// A refusal on its way to the caller.
#[derive(Debug)]
pub(super) struct Refusal {
    error: ReceptionError,
    status: Option<StatusCode>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: String,
    retryable: bool,
    hint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

/// What of a problem a client reads.
#[derive(Deserialize)]
struct ReadProblem {
    #[serde(default)]
    detail: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    retryable: bool,
}

/// What a peer refused with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceivedProblem {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) retryable: bool,
}

impl From<ReceptionError> for Refusal {
    fn from(error: ReceptionError) -> Self {
        Self { error, status: None, headers: Vec::new() }
    }
}

impl Refusal {
    pub(super) fn of(code: Code) -> Self {
        ReceptionError::of(code).into()
    }

    pub(super) fn saying(code: Code, message: impl Into<String>) -> Self {
        ReceptionError { code, message: message.into(), offset: None }.into()
    }

    pub(super) fn offset_mismatch(offset: u64) -> Self {
        let message = format!("the upload ends at {offset}");
        ReceptionError { code: Code::OFFSET_MISMATCH, message, offset: Some(offset) }.into()
    }

    /// Another status than the code's own.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let entry = self.error.code.entry();
        let own = StatusCode::from_u16(entry.http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let status = self.status.unwrap_or(own);
        let problem = Problem {
            r#type: format!("urn:branchline:error:{}", entry.name.to_ascii_lowercase()),
            title: entry.meaning,
            status: status.as_u16(),
            detail: &self.error.message,
            code: entry.code.to_string(),
            retryable: self.error.retry() != Retry::Never,
            hint: self.error.hint(),
            offset: self.error.offset,
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(names::PROBLEM));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        if let Some(offset) = self.error.offset {
            headers.insert(names::UPLOAD_OFFSET, offset.into());
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl ReceivedProblem {
    /// Reads a refusal; nothing where the body is not one.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let problem: ReadProblem = serde_json::from_slice(body).ok()?;
        let words = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
        Some(Self {
            code: Code::parse(&problem.code).unwrap_or(Code::REFUSED_BY_PEER),
            message: cleaned(words),
            retryable: problem.retryable,
        })
    }

    pub(super) fn into_link_error(self, peer: &ServerId) -> LinkError {
        let peer = peer.clone();
        if self.code == Code::NOT_PAIRED {
            return LinkError::NotPaired { peer };
        }
        LinkError::Problem { peer, code: self.code, message: self.message, retryable: self.retryable }
    }
}

//! One request, which can be built more than once, and its answer.

use branchline_core::limits::MESSAGE_BYTES_MAX;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::certificate::NEUTRAL_NAME;
use crate::v1::names;

/// One request.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
    /// Bytes that the answer may have.
    answer_bytes_max: usize,
    /// Whether it may be sent again where it is not known if the first one arrived.
    pub(super) repeatable: bool,
}

/// One answer, read to its end.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// How the peer was reached.
    pub(super) path: String,
}

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplyError {
    #[error("the request cannot be written")]
    Request(#[source] http::Error),
    #[error("the answer is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("the answer broke off")]
    Broken,
}

impl Ask {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        let answer_bytes_max = MESSAGE_BYTES_MAX;
        let (headers, body) = (Vec::new(), Bytes::new());
        Self { method, path: path.into(), headers, body, answer_bytes_max, repeatable: true }
    }

    pub(super) fn tus(method: Method, path: String) -> Self {
        Self::new(method, path).with_header(names::TUS_RESUMABLE, names::TUS_VERSION_SPOKEN.to_owned())
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn with_body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    pub(super) fn answered_within_bytes(mut self, answer_bytes_max: usize) -> Self {
        self.answer_bytes_max = answer_bytes_max;
        self
    }

    /// A part that arrived must not be sent again: its offset has passed.
    pub(super) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// The request as HTTP has it. `http` decides nothing here but what the library needs to write a path.
    pub(super) fn request(&self) -> Result<Request<Full<Bytes>>, ReplyError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("https://{NEUTRAL_NAME}{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body.clone())).map_err(ReplyError::Request)
    }

    /// Reads the answer to its end, and no further than its bound.
    pub(super) async fn read(
        &self,
        response: http::Response<Incoming>,
        path: &str,
    ) -> Result<Reply, ReplyError> {
        let (head, body) = response.into_parts();
        let bytes_max = self.answer_bytes_max;
        match Limited::new(body, bytes_max).collect().await {
            Ok(collected) => Ok(Reply {
                status: head.status,
                headers: head.headers,
                body: collected.to_bytes(),
                path: path.to_owned(),
            }),
            Err(error) if error.is::<LengthLimitError>() => Err(ReplyError::TooLarge { bytes_max }),
            Err(_) => Err(ReplyError::Broken),
        }
    }
}

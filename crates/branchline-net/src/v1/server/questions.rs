//! What is asked and answered in one message each: hello, status, compare, pair.

use branchline_core::code::Code;
use branchline_core::pairing::Exporter;
use http::{Method, Request, StatusCode};

use super::body::whole;
use super::remainder::RequestBody;
use super::{Answer, Work, json};
use crate::connection::{Caller, Endpoint};
use crate::v1::bodies::{self, BodyError};
use crate::v1::problem::Refusal;
use crate::v1::{COMPARE_BYTES_MAX, HELLO_BYTES_MAX};

/// `GET /v1/hello`.
pub(super) async fn hello(work: &Work) -> Result<Answer, Refusal> {
    let hello = work.endpoint.reception().hello(work.peer.clone()).await?;
    bounded(bodies::write_hello(&hello), HELLO_BYTES_MAX)
}

/// `GET /v1/status`.
pub(super) async fn status(work: &Work) -> Result<Answer, Refusal> {
    let hello = work.endpoint.reception().hello(work.peer.clone()).await?;
    bounded(bodies::write_status(&hello), HELLO_BYTES_MAX)
}

/// `POST /v1/compare`.
pub(super) async fn compare(work: Work) -> Result<Answer, Refusal> {
    let Work { endpoint, peer, request, .. } = work;
    let body = whole(request.into_body(), endpoint.bounds().body_piece).await?;
    let question = bodies::read_compare_request(&body)?;
    let answer = endpoint.reception().compare(peer, question).await?;
    bounded(bodies::write_compare_answer(&answer), COMPARE_BYTES_MAX)
}

/// `POST /v1/pair`, on the pairing protocol.
pub(super) async fn pair(
    endpoint: &Endpoint,
    caller: &Caller,
    exporter: Exporter,
    request: Request<RequestBody>,
) -> Result<Answer, Refusal> {
    if request.method() != Method::POST || request.uri().path() != "/v1/pair" {
        return Err(Refusal::of(Code::NOT_FOUND));
    }
    let body = whole(request.into_body(), endpoint.bounds().body_piece).await?;
    let question = bodies::read_pair_request(&body, caller, exporter)?;
    let answer = endpoint.reception().pair(question).await?;
    Ok(json(StatusCode::OK, bodies::write_pair_answer(&answer)))
}

fn bounded(body: Vec<u8>, bytes_max: usize) -> Result<Answer, Refusal> {
    if body.len() > bytes_max {
        return Err(Refusal::saying(Code::INTERNAL, format!("the answer is larger than {bytes_max} bytes")));
    }
    Ok(json(StatusCode::OK, body))
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::saying(error.code(), error.to_string())
    }
}

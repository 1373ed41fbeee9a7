//! The server side of protocol version 1: who asks, what for, and who answers.
//!
//! 1. On the pairing protocol `POST /v1/pair` is answered, and nothing else exists.
//! 2. Elsewhere the caller's key is authenticated, for each request anew: a peer that was removed or paused a moment
//!    ago is out, whatever it has open.
//! 3. The path is taken apart as it stands (nothing is decoded) and ids are parsed.
//! 4. One module each answers.

mod backups;
mod body;
mod lanes;
mod questions;
mod remainder;
mod routes;
mod uploads;

pub(crate) use lanes::UploadLanes;

use std::convert::Infallible;
use std::sync::Arc;

use branchline_core::code::Code;
use branchline_core::id::ServerId;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::names;
use super::problem::Refusal;
use crate::connection::{Caller, Endpoint};
use remainder::RequestBody;
use routes::{Place, Route};

type Answer = Response<Full<Bytes>>;

/// An authenticated peer's request.
struct Work {
    endpoint: Arc<Endpoint>,
    caller: Caller,
    peer: ServerId,
    request: Request<RequestBody>,
}

/// Answers one request; a refusal is an answer too.
pub(crate) async fn answer(
    endpoint: Arc<Endpoint>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let place = Place::of(request.uri().path());
    let (head, body) = request.into_parts();
    let body = RequestBody::new(body, head.version, &head.headers, endpoint.tasks().clone());
    let request = Request::from_parts(head, body);
    let mut answer = Box::pin(consider(endpoint, request)).await.unwrap_or_else(Refusal::into_response);
    if place == Place::Uploads {
        let version = HeaderValue::from_static(names::TUS_VERSION_SPOKEN);
        answer.headers_mut().insert(names::TUS_RESUMABLE, version);
    }
    Ok(answer)
}

async fn consider(endpoint: Arc<Endpoint>, request: Request<RequestBody>) -> Result<Answer, Refusal> {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return Err(Refusal::of(Code::INTERNAL));
    };
    if let Some(exporter) = caller.exporter {
        return questions::pair(&endpoint, &caller, exporter, request).await;
    }
    let peer = endpoint.reception().authenticate(caller.key).await?;
    let route = routes::route(request.method(), request.uri())?;
    tracing::debug!(%peer, ?route, "a request");
    let work = Work { endpoint, caller, peer, request };
    match route {
        Route::Hello => questions::hello(&work).await,
        Route::Status => questions::status(&work).await,
        Route::Compare => questions::compare(work).await,
        Route::SendWhole => backups::take_whole(work).await,
        Route::Receipt { backup, wait } => backups::receipt(&work, backup, wait).await,
        Route::Abilities => Ok(uploads::abilities()),
        Route::Create => uploads::create(&work).await,
        Route::Offset(backup) => uploads::offset(&work, backup).await,
        Route::Append(backup) => uploads::append(work, backup).await,
        Route::Cancel(backup) => uploads::cancel(&work, backup).await,
    }
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(names::JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

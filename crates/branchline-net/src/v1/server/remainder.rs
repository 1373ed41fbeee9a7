//! The body of a request, and what becomes of the part that nobody read.
//!
//! An answer that comes before the request's body has ended (a refusal, most often) must arrive. In HTTP/1.1 a server
//! that closes a connection with unread bytes makes the system reset it, and the client loses the answer. So what is left
//! of a body is read and thrown away for a while, until the client has noticed. HTTP/2 ends the one stream instead.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::tasks::Tasks;

/// How long, and for how many bytes, what nobody reads is thrown away; and how soon a client that sends nothing has
/// noticed.
const LINGER: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 << 20;

/// A body that is read to its end, or lingers.
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    tasks: Tasks,
    /// HTTP/1.1 or older.
    shares_connection: bool,
    /// The client sends its body without waiting for a word of ours, or has had that word.
    is_coming: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, version: Version, headers: &HeaderMap, tasks: Tasks) -> Self {
        // A client that waits for "100 Continue" has sent nothing yet, and never will if it is refused before.
        let is_coming = !headers.contains_key(EXPECT);
        Self { incoming: Some(incoming), tasks, shares_connection: version <= Version::HTTP_11, is_coming }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // Asking for the first piece is what makes hyper say "100 Continue".
        self.is_coming = true;
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let lingers = self.shares_connection && self.is_coming;
        if let Some(incoming) = self.incoming.take().filter(|incoming| lingers && !incoming.is_end_stream()) {
            // Ends with the body, the connection, or its bounds.
            self.tasks.start(linger(incoming));
        }
    }
}

async fn linger(mut incoming: Incoming) {
    let reading = async {
        let mut bytes_read = 0_usize;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, incoming.frame()).await {
            bytes_read = bytes_read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if bytes_read > LINGER_BYTES {
                return;
            }
        }
    };
    if tokio::time::timeout(LINGER, reading).await.is_err() {
        tracing::debug!("a refused client went on sending");
    }
}

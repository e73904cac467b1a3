//! What is left of a request's body when it is answered early. It is read to its end where that
//! comes soon, so that the connection can carry the next request (RFC 9112 §9.3, §9.6).

use super::routes::MAX_BODY;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long the end of a body is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most that is read of a body that nobody wants, in bytes.
const MOST: usize = 16 * MAX_BODY;

/// A body under way: it stays readable when its reader is gone.
struct Reading {
    body: BodyDataStream,
    has_begun: bool,
}

impl Stream for Reading {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.has_begun = true;
        self.body.poll_next_unpin(context)
    }
}

/// What is left of the body of a request that is being handled.
pub(super) struct Rest {
    body: Arc<Mutex<Reading>>,
    /// Whether the client sends the body only once it is asked for (RFC 9110 §10.1.1).
    is_held_back: bool,
}

impl Rest {
    /// The request, and what will be left of its body; nothing where it has none, or where what is
    /// left does not stand in the way of other requests.
    pub(super) fn of(request: Request) -> (Request, Option<Self>) {
        if request.body().is_end_stream() || request.version() > Version::HTTP_11 {
            return (request, None);
        }
        let is_held_back = request.headers().contains_key(header::EXPECT);
        let (parts, body) = request.into_parts();
        let reading = Reading { body: body.into_data_stream(), has_begun: false };
        let body = Arc::new(Mutex::new(reading));
        let rest = Self { body: Arc::clone(&body), is_held_back };
        let shared = stream::poll_fn(move |context| body.lock().poll_next_unpin(context));
        (Request::from_parts(parts, Body::from_stream(shared)), Some(rest))
    }

    /// Reads what is left. The answer says so where that comes to no end: the connection ends then.
    pub(super) async fn read_out(self, response: &mut Response) {
        if !self.ends().await {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Whether the body comes to its end.
    async fn ends(self) -> bool {
        if self.is_held_back && !self.body.lock().has_begun {
            return false;
        }
        let mut left = stream::poll_fn(|context| self.body.lock().poll_next_unpin(context));
        let reading = async {
            let mut read = 0;
            while let Some(chunk) = left.next().await {
                read += chunk.map_or(MOST, |chunk| chunk.len());
                if read >= MOST {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or(false)
    }
}

/// The answer to a request, once what is left of its body is read.
pub(super) async fn after(mut response: Response, request: Request) -> Response {
    if let (_, Some(rest)) = Rest::of(request) {
        rest.read_out(&mut response).await;
    }
    response
}

//! Reading a request's body: within bounds, and in time.

use super::routes::MAX_BODY;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use std::time::Duration;

/// How long a body may take to come. It is less than a request may take, so that a client that is
/// slow is told so, and a service that is slow is not taken for one.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It has more than 64 KiB.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// It did not come to its end.
    Broken,
}

/// Whether the body is larger than any is read, by what the request says of it: then it isn't asked for
/// where it is held back (RFC 9110 §10.1.1).
pub fn is_announced_too_large(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > MAX_BODY)
}

/// The request with its whole body at hand.
///
/// # Errors
/// As for [`read`].
pub async fn gathered(request: Request) -> Result<Request, Unread> {
    let (parts, body) = request.into_parts();
    let bytes = read(Request::from_parts(parts.clone(), body)).await?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// The whole body.
///
/// # Errors
/// When it is too large, too slow or cut off.
pub async fn read(request: Request) -> Result<Bytes, Unread> {
    if is_announced_too_large(request.headers()) {
        return Err(Unread::TooLarge);
    }
    match tokio::time::timeout(DEADLINE, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Unread::TooLarge)
        }
        Ok(Err(_)) => Err(Unread::Broken),
        Err(_) => Err(Unread::TooSlow),
    }
}

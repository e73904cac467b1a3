//! Answers: JSON with the headers that go with it, and the refusals that any route may give.

use super::problem::ProblemBody;
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::IntoResponses;

/// Says that the same request was carried out before.
const IDEMPOTENT_REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");

/// Marks an answer whose body is the same as long as its version is.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByEventsAlone;

/// An answer with a body.
#[derive(Debug)]
pub struct Reply(Response);

impl Reply {
    /// 200 with this body.
    pub fn ok(body: impl Serialize) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// This status with this body.
    pub fn new(status: StatusCode, body: impl Serialize) -> Self {
        Self((status, Json(body)).into_response())
    }

    /// Names the version of the thing in the body.
    #[must_use]
    pub fn version(self, version: u64) -> Self {
        self.with(header::ETAG, &format!("\"{version}\""))
    }

    /// As [`Self::version`], of a thing that nothing but events changes: at the same version, the
    /// body is the same.
    #[must_use]
    pub fn changed_by_events_alone(self, version: u64) -> Self {
        let mut reply = self.version(version);
        reply.0.extensions_mut().insert(ByEventsAlone);
        reply
    }

    /// Names the path of the thing in the body.
    #[must_use]
    pub fn location(self, path: &str) -> Self {
        self.with(header::LOCATION, path)
    }

    /// Says so when the same request was carried out before.
    #[must_use]
    pub fn repeated(self, repeated: bool) -> Self {
        if repeated { self.with(IDEMPOTENT_REPLAY, "true") } else { self }
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        self.0
    }
}

/// How a request that reads may be refused.
#[derive(Debug, IntoResponses)]
pub enum RefusedRead {
    /// A parameter or identifier is not acceptable.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// No credential, or none that is good.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(ProblemBody),
    /// The key lacks the power.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// It doesn't exist, or belongs to another company.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody),
    /// Too many failed attempts, or too many streams and exports at a time.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(ProblemBody),
    /// The service can't answer right now.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// How a request that changes something may be refused.
#[derive(Debug, IntoResponses)]
pub enum RefusedChange {
    /// A field, parameter or identifier is not acceptable, or the company's policy is against it.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// No credential, or none that is good.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(ProblemBody),
    /// The key lacks the power.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// It doesn't exist, or belongs to another company.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody),
    /// The body did not come in time.
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(ProblemBody),
    /// Its state is against it: deleted, the OAuth App module off, the name taken, or others keep
    /// changing it.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody),
    /// It is not at a version in `If-Match`, or is at one in `If-None-Match`.
    #[response(status = 412, content_type = "application/problem+json")]
    VersionMismatch(ProblemBody),
    /// The body has more than 64 KiB.
    #[response(status = 413, content_type = "application/problem+json")]
    BodyTooLarge(ProblemBody),
    /// The body is not sent as JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(ProblemBody),
    /// The `Idempotency-Key` was used for another request.
    #[response(status = 422, content_type = "application/problem+json")]
    KeyReused(ProblemBody),
    /// Too many attempts with bad credentials.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(ProblemBody),
    /// The service can't do it right now.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

//! The kinds of problems: status, name and explanation of each.

use axum::http::StatusCode;

/// The kinds of problems; each has a page at `/problems/{slug}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The input is not acceptable.
    InvalidInput,
    /// The body is no JSON.
    MalformedBody,
    /// No credential, or none that is good.
    Unauthorized,
    /// No OAuth client, or none that proves who it is.
    InvalidClient,
    /// A good credential without the power.
    Forbidden,
    /// No token, or none that is good here.
    InvalidToken,
    /// A good token without the scopes.
    InsufficientScope,
    /// It doesn't exist, or not for the caller.
    NotFound,
    /// The path doesn't know the method.
    MethodNotAllowed,
    /// The token is deleted.
    TokenDeleted,
    /// The key is deleted.
    KeyDeleted,
    /// The OAuth client is deleted.
    ClientDeleted,
    /// The OAuth App module is off.
    OauthAppDisabled,
    /// The company's policy is against it.
    PolicyViolation,
    /// More than the caller may grant.
    AboveOwnPower,
    /// The last Super Admin must stay.
    LastSuperAdmin,
    /// Something of this name or identifier exists.
    AlreadyExists,
    /// The thing has moved on (`If-Match`).
    VersionMismatch,
    /// Others kept changing the same thing.
    Contended,
    /// The `Idempotency-Key` belongs to another request.
    IdempotencyKeyReused,
    /// The body did not come in time.
    RequestTimeout,
    /// The body is too large.
    BodyTooLarge,
    /// The body is of a type that isn't taken.
    UnsupportedMediaType,
    /// Too many failures.
    TooManyRequests,
    /// Too many streams and exports at a time.
    TooManyStreams,
    /// A fault of ours.
    Internal,
    /// The service can't do it right now.
    Unavailable,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 27] = [
        Self::InvalidInput,
        Self::MalformedBody,
        Self::Unauthorized,
        Self::InvalidClient,
        Self::Forbidden,
        Self::InvalidToken,
        Self::InsufficientScope,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TokenDeleted,
        Self::KeyDeleted,
        Self::ClientDeleted,
        Self::OauthAppDisabled,
        Self::PolicyViolation,
        Self::AboveOwnPower,
        Self::LastSuperAdmin,
        Self::AlreadyExists,
        Self::VersionMismatch,
        Self::Contended,
        Self::IdempotencyKeyReused,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::TooManyRequests,
        Self::TooManyStreams,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The last part of the type's URI.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid-input",
            Self::MalformedBody => "malformed-body",
            Self::Unauthorized => "unauthorized",
            Self::InvalidClient => "invalid-client",
            Self::Forbidden => "forbidden",
            Self::InvalidToken => "invalid-token",
            Self::InsufficientScope => "insufficient-scope",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::TokenDeleted => "token-deleted",
            Self::KeyDeleted => "key-deleted",
            Self::ClientDeleted => "client-deleted",
            Self::OauthAppDisabled => "oauth-app-disabled",
            Self::PolicyViolation => "policy-violation",
            Self::AboveOwnPower => "above-own-power",
            Self::LastSuperAdmin => "last-super-admin",
            Self::AlreadyExists => "already-exists",
            Self::VersionMismatch => "version-mismatch",
            Self::Contended => "contended",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::RequestTimeout => "request-timeout",
            Self::BodyTooLarge => "body-too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::TooManyRequests => "too-many-requests",
            Self::TooManyStreams => "too-many-streams",
            Self::Internal => "internal-error",
            Self::Unavailable => "unavailable",
        }
    }

    /// The status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidInput | Self::MalformedBody | Self::PolicyViolation => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized | Self::InvalidClient | Self::InvalidToken => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden | Self::InsufficientScope | Self::AboveOwnPower => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TokenDeleted
            | Self::KeyDeleted
            | Self::ClientDeleted
            | Self::OauthAppDisabled
            | Self::LastSuperAdmin
            | Self::AlreadyExists
            | Self::Contended => StatusCode::CONFLICT,
            Self::VersionMismatch => StatusCode::PRECONDITION_FAILED,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests | Self::TooManyStreams => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The kind in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidInput => "The input is not acceptable",
            Self::MalformedBody => "The body is not JSON",
            Self::Unauthorized => "A valid API key is needed",
            Self::InvalidClient => "Bad client credentials",
            Self::Forbidden => "The API key lacks the power",
            Self::InvalidToken => "A valid token is needed",
            Self::InsufficientScope => "The token lacks scopes",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "The path does not take this method",
            Self::TokenDeleted => "The token is deleted",
            Self::KeyDeleted => "The API key is deleted",
            Self::ClientDeleted => "The OAuth client is deleted",
            Self::OauthAppDisabled => "The OAuth App module is off",
            Self::PolicyViolation => "The company's policy is against it",
            Self::AboveOwnPower => "More than you may grant",
            Self::LastSuperAdmin => "The last Super Admin must stay",
            Self::AlreadyExists => "It exists already",
            Self::VersionMismatch => "It has changed meanwhile",
            Self::Contended => "Others are changing the same thing",
            Self::IdempotencyKeyReused => "The Idempotency-Key was used for another request",
            Self::RequestTimeout => "The request did not come in time",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body is of a type that is not taken",
            Self::TooManyRequests => "Too many failed attempts",
            Self::TooManyStreams => "Too many streams and exports at a time",
            Self::Internal => "The service failed",
            Self::Unavailable => "The service can't do this right now",
        }
    }

    /// What the kind means and what to do about it: the text of its page.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::InvalidInput => {
                "A field or parameter is missing, unknown, malformed or out of bounds. `errors` \
                 names each of them with what would be right. Nothing was changed."
            }
            Self::MalformedBody => "The body could not be read as JSON. Nothing was changed.",
            Self::Unauthorized => {
                "Send `Authorization: Bearer KEY` with an API key that is neither expired nor \
                 deleted."
            }
            Self::InvalidClient => {
                "Send the `client_id` and `client_secret` of an OAuth client that is not deleted: \
                 by Basic or as parameters, not both. A secret that was replaced is no longer good \
                 once its grace period is over."
            }
            Self::InvalidToken => {
                "Send `Authorization: Bearer TOKEN` with a token that is neither expired nor \
                 deleted, of the company that is asked for. API keys are no tokens."
            }
            Self::InsufficientScope => {
                "The token is good, but lacks data accesses that this needs; the \
                 `WWW-Authenticate` header names them."
            }
            Self::Forbidden => {
                "The API key is good, but none of its scopes gives the power that this needs."
            }
            Self::NotFound => {
                "Nothing is here, or it belongs to a company that the API key has no power in."
            }
            Self::MethodNotAllowed => "The `Allow` header names the methods that the path takes.",
            Self::TokenDeleted => {
                "A deleted token can't be changed, refreshed or deleted again. It can still be \
                 read, with its history. Create a new one."
            }
            Self::KeyDeleted => "A deleted API key can't be changed. Create a new one.",
            Self::ClientDeleted => {
                "A deleted OAuth client can't be changed or deleted again, and gets no token; the \
                 tokens that it got are deleted with it. Create a new one."
            }
            Self::OauthAppDisabled => {
                "While the company's OAuth App module is off, no token of it is active and none \
                 can be created or refreshed. An operator can turn it on."
            }
            Self::PolicyViolation => {
                "The company's token policy does not allow it. `rule` says which rule, whose it is \
                 and its bound; a Super \
                 Admin can change the policy for terms that begin from then on."
            }
            Self::AboveOwnPower => "Nobody grants, refreshes or takes away more than they have.",
            Self::LastSuperAdmin => {
                "Name another Super Admin first; where it is the platform's last operator, another \
                 operator."
            }
            Self::AlreadyExists => "Choose another name, or use what exists.",
            Self::VersionMismatch => {
                "The thing stands at another version than those in `If-Match`, or at one of those \
                 in `If-None-Match`. Read it again and decide anew."
            }
            Self::Contended => "Nothing was changed. Try again.",
            Self::IdempotencyKeyReused => {
                "A request with another body or path was made with this key within the last 24 \
                 hours. Choose a new key for each new request."
            }
            Self::RequestTimeout => {
                "The body has to come within 20 s. Nothing was changed. Send the request again."
            }
            Self::BodyTooLarge => "Bodies may have up to 64 KiB.",
            Self::UnsupportedMediaType => {
                "Send `Content-Type: application/json` and no `Content-Encoding`."
            }
            Self::TooManyRequests => "Wait for as long as `Retry-After` says.",
            Self::TooManyStreams => {
                "A credential may have 32 streams and exports under way, and a company 256. Close \
                 one, or wait for one to end."
            }
            Self::Internal => {
                "This is our fault. `request_id` is in the service's log; name it to the operator."
            }
            Self::Unavailable => {
                "The database can't be used, the service is starting or stopping, or the answer \
                 would have been out of date. Try again; `/readyz` says more. Where `detail` says \
                 that it may be done, look first, or repeat the request with its `Idempotency-Key`."
            }
        }
    }
}

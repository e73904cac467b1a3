//! What goes wrong, in the words of OAuth (RFC 6749 §5.2, RFC 7009 §2.2.1).

use super::client_auth::BadClient;
use crate::app::Caller;
use crate::app::oauth::GrantRefusal;
use crate::app::throttle::Throttled;
use crate::http::denials::Denied;
use crate::http::problem::{Kind, Problem};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use std::borrow::Cow;
use token_ledger_event_store::StoreError;
use utoipa::{IntoResponses, ToSchema};

/// How a client may prove who it is.
pub(in crate::http) const BASIC_CHALLENGE: &str = "Basic realm=\"token-ledger\", charset=\"UTF-8\"";
/// What a client is told that did not prove who it is.
pub(super) const WHO_ARE_YOU: &str =
    "The client is unknown, its secret is wrong, or none was sent.";

/// What a client is told that may have got what it asked for; it has no other way to find out.
const IN_DOUBT: &str = "The ledger failed before it was known whether this is done: it may be. A \
    token that was sent may be good no longer, and one that was made was shown to nobody: ask for \
    a new one, or revoke again.";

/// The codes that answers carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    ServerError,
    TemporarilyUnavailable,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// For a problem that is not told by a code of its own. RFC 6749 §5.2 has none for a fault of the
    /// service; §4.1.2.1 does.
    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::SERVICE_UNAVAILABLE => Self::TemporarilyUnavailable,
            status if status.is_server_error() => Self::ServerError,
            _ => Self::InvalidRequest,
        }
    }
}

/// Writes a problem's body in the words of OAuth.
pub(in crate::http) fn fill(response: &mut Response, problem: &Problem, request_id: &str) {
    let status = response.status();
    let (code, told) = (Code::of(status), problem.body(request_id));
    let body = OauthErrorBody::new(code, &told.detail).of_request(told.request_id);
    *response.body_mut() = serde_json::to_vec(&body).unwrap_or_default().into();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    super::never_cached(headers);
}

/// Why a client's request was not carried out.
#[derive(Debug)]
pub(in crate::http) enum OauthError {
    /// The client's doing.
    Refused {
        /// The status.
        status: StatusCode,
        /// The code.
        code: Code,
        /// What was wrong and what to do. Never what was sent: that may be a secret.
        description: Cow<'static, str>,
        /// Whom the auditor is to see, where it is more than a mistake.
        denied: Option<Denied>,
    },
    /// The client's, which did not prove who it is.
    BadClient(BadClient),
    /// The service's: the envelope fills in the request's identifier.
    Failed(Box<Problem>),
}

impl OauthError {
    /// A refusal with the usual status.
    pub(in crate::http) fn new(code: Code, description: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::Refused { status, code, description: description.into(), denied: None }
    }

    /// A refusal of what a client, which has proved who it is, asked for.
    pub(in crate::http) fn of(refusal: GrantRefusal, client: &Caller) -> Self {
        let others = refusal.others();
        let mut error = Self::from(refusal);
        if let (Self::Refused { denied, .. }, Some(_)) = (&mut error, others) {
            *denied = Some(Denied { company: others, actor: Some(client.actor) });
        }
        error
    }

    /// A request that is not built as it should be.
    pub(in crate::http) fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, description)
    }

    /// A request by a method that the endpoint does not take.
    pub(in crate::http) fn method_not_allowed(description: &'static str) -> Self {
        let (status, code) = (StatusCode::METHOD_NOT_ALLOWED, Code::InvalidRequest);
        Self::Refused { status, code, description: description.into(), denied: None }
    }

    /// A request that failed before it was known whether it is done.
    pub(in crate::http) fn in_doubt() -> Self {
        let problem = Problem::new(Kind::Unavailable, IN_DOUBT);
        Self::Failed(Box::new(problem))
    }

    /// A client that did not prove who it is, and named nobody.
    pub(in crate::http) fn invalid_client() -> Self {
        BadClient::default().into()
    }
}

impl From<BadClient> for OauthError {
    fn from(bad: BadClient) -> Self {
        Self::BadClient(bad)
    }
}

impl From<GrantRefusal> for OauthError {
    fn from(refusal: GrantRefusal) -> Self {
        let description = refusal.to_string();
        match refusal {
            GrantRefusal::Scope(_) => Self::new(Code::InvalidScope, description),
            GrantRefusal::Name(_) => Self::invalid_request(description),
            GrantRefusal::ModuleOff | GrantRefusal::NotOwn(_) => {
                Self::new(Code::UnauthorizedClient, description)
            }
            GrantRefusal::ClientDeleted => Self::invalid_client(),
            GrantRefusal::NoSuchToken { .. } => Self::new(Code::InvalidGrant, description),
            GrantRefusal::Contended => Self::Failed(Box::new(Problem::new(
                Kind::Unavailable,
                "Others keep changing the same thing; try again.",
            ))),
            GrantRefusal::Failed(error) => {
                let is_in_doubt = matches!(error, StoreError::InDoubt(_));
                let problem = Problem::from(error);
                if is_in_doubt { Self::in_doubt() } else { Self::Failed(Box::new(problem)) }
            }
        }
    }
}

/// An error (RFC 6749 §5.2).
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct OauthErrorBody {
    /// The error's code.
    pub(in crate::http) error: &'static str,
    /// What was wrong and what to do.
    pub(in crate::http) error_description: String,
    /// Where to look in the log; with statuses of 500 and above.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) request_id: Option<String>,
}

impl OauthErrorBody {
    /// The body, with nothing in the description that RFC 6749 §5.2 does not allow.
    pub(in crate::http) fn new(code: Code, description: &str) -> Self {
        let allowed = |c: &char| matches!(*c, ' '..='!' | '#'..='[' | ']'..='~');
        Self {
            error: code.as_str(),
            error_description: description.chars().filter(allowed).collect(),
            request_id: None,
        }
    }

    /// With the identifier of a request that failed by the service's fault.
    pub(in crate::http) fn of_request(self, request_id: Option<String>) -> Self {
        Self { request_id, ..self }
    }
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let mut response = match self {
            Self::Refused { status, code, description, denied } => {
                let body = Json(OauthErrorBody::new(code, &description));
                (status, denied.map(Extension), body).into_response()
            }
            Self::BadClient(bad) => {
                let wait = bad.throttled.map(|throttled| throttled.to_string());
                let description = wait.as_deref().unwrap_or(WHO_ARE_YOU);
                let body = OauthErrorBody::new(Code::InvalidClient, description);
                bad.answered(Json(body).into_response())
            }
            Self::Failed(problem) => problem.into_response(),
        };
        super::never_cached(response.headers_mut());
        response
    }
}

impl BadClient {
    /// The answer with this body: who are you, or wait; with what there is to note of it.
    pub(super) fn answered(self, mut response: Response) -> Response {
        let (status, name, value) = match self.throttled {
            None => {
                let challenge = HeaderValue::from_static(BASIC_CHALLENGE);
                (StatusCode::UNAUTHORIZED, header::WWW_AUTHENTICATE, challenge)
            }
            Some(Throttled { retry_after }) => {
                let seconds = retry_after.as_secs().into();
                (StatusCode::TOO_MANY_REQUESTS, header::RETRY_AFTER, seconds)
            }
        };
        *response.status_mut() = status;
        response.headers_mut().insert(name, value);
        response.extensions_mut().insert(self.named);
        response
    }
}

/// How a client's request may be refused.
#[derive(Debug, IntoResponses)]
#[expect(dead_code, reason = "documents the answers")]
pub(in crate::http) enum RefusedClient {
    /// The request is not built as it should be, or asks for more than it may.
    #[response(status = 400)]
    Invalid(OauthErrorBody),
    /// The client is unknown or its secret is wrong.
    #[response(status = 401)]
    Unauthorized(OauthErrorBody),
    /// The body did not come in time.
    #[response(status = 408)]
    TooSlow(OauthErrorBody),
    /// The body has more than 64 KiB.
    #[response(status = 413)]
    BodyTooLarge(OauthErrorBody),
    /// Too many attempts with bad credentials.
    #[response(status = 429)]
    TooMany(OauthErrorBody),
    /// The service can't do it right now.
    #[response(status = 503)]
    Unavailable(OauthErrorBody),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(error: StoreError) -> Cow<'static, str> {
        match OauthError::from(GrantRefusal::Failed(error)) {
            OauthError::Failed(problem) => problem.detail,
            refused => panic!("{refused:?}"),
        }
    }

    #[test]
    fn a_client_that_may_have_got_what_it_asked_for_is_told_so() {
        let failed = || StoreError::Unavailable("gone".to_owned());
        assert_eq!(detail(failed().after_change()), IN_DOUBT);
        assert!(detail(failed()).contains("nothing was changed"));
    }
}

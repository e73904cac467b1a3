//! Token introspection (RFC 7662), for resource servers.

mod caller;

use super::body::is_announced_too_large;
use super::denials::Denied;
use super::envelope::{REQUEST_ID, method_name, user_agent};
use super::oauth::error::BASIC_CHALLENGE;
use super::oauth::params::Params;
use super::problem::RETRY_AFTER;
use super::rest;
use super::verify::{FAILED, UNKNOWN, Verification, guarded, note_use};
use crate::app::throttle::{Failed, Throttled};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use caller::Shown;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::{CompanyId, Digest};
use token_ledger_projections::attempts::{AttemptKind, Seen};
use token_ledger_projections::index::ActiveToken;
use utoipa::ToSchema;
use uuid::Uuid;

/// How long a caller may take to send the form.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// What introspection takes, as `application/x-www-form-urlencoded`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "documents the form, which is read without it")]
pub(super) struct IntrospectionForm {
    /// The token's secret.
    #[schema(min_length = 1)]
    token: String,
    /// Makes no difference.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    /// The client, where the caller is one and does not come by Basic.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The client's secret, where it does not come by Basic.
    #[schema(nullable = false)]
    client_secret: Option<String>,
}

/// What introspection answers. Of a token that is not active, it says nothing else.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Introspection {
    /// Whether the token is good, here and now.
    active: bool,
    /// Its scopes, space-delimited.
    scope: Option<String>,
    /// The client that got it over OAuth, if one did.
    client_id: Option<Uuid>,
    /// The token's identifier.
    sub: Option<Uuid>,
    /// The token's identifier.
    jti: Option<Uuid>,
    /// When the secret was issued, in seconds since 1970.
    iat: Option<i64>,
    /// When the secret stops, in seconds since 1970.
    exp: Option<i64>,
    /// `Bearer`.
    token_type: Option<String>,
    /// Its company.
    company_id: Option<Uuid>,
}

/// An error (RFC 6749 §5.2).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IntrospectionError {
    /// The error's code.
    error: &'static str,
    /// What was wrong and what to do.
    error_description: &'static str,
    /// Where to look in the log; with statuses of 500 and above.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    request_id: Option<Uuid>,
}

/// Whether a token is active, and what it may do: for a resource server with an API key, as Bearer
/// or as the password of Basic with any user name, and for an OAuth client about its own tokens.
#[utoipa::path(
    post,
    path = "/oauth/introspect",
    operation_id = "introspect",
    tag = "verification",
    request_body(content = IntrospectionForm, content_type = "application/x-www-form-urlencoded"),
    security(("key" = []), ("key_as_password" = []), ("client" = []), ()),
    responses(
        (status = 200, description = "What there is to say", body = Introspection),
        (status = 400, description = "The form is not acceptable", body = IntrospectionError),
        (status = 401, description = "The caller is unknown", body = IntrospectionError),
        (status = 403, description = "The caller may not introspect", body = IntrospectionError),
        (status = 429, description = "Too many bad credentials of callers", body = IntrospectionError),
        (status = 408, description = "The form did not come in time", body = IntrospectionError),
        (status = 413, description = "The form has more than 64 KiB", body = IntrospectionError),
        (status = 503, description = "It can't be known right now", body = IntrospectionError),
    )
)]
pub(super) async fn introspect(
    State(verification): State<Arc<Verification>>,
    mut request: Request,
) -> Response {
    let answer = guarded(answered(&verification, &mut request)).await;
    let response = answer.unwrap_or_else(|| {
        let id = verification.failed_request();
        fault(&verification, id, StatusCode::INTERNAL_SERVER_ERROR, "server_error", FAILED)
    });
    rest::after(response, request).await
}

async fn answered(verification: &Verification, request: &mut Request) -> Response {
    let from = verification.service.proxies.origin(request.extensions(), request.headers()).ip;
    // The form may take its time to come, so what is known is asked when it is there.
    let form = read_form(request).await.map(|form| params_of(&form));
    let app = &verification.service.app;
    let shown = Shown::of(request.headers(), form.as_ref().ok());
    if !verification.knows(|| shown.may_be_secret()).await || !shown.is_learnt_of(app).await {
        return unknown(verification);
    }
    let caller = match shown.whose(&verification.service, from) {
        Ok(caller) => caller,
        Err(refusal) if refusal.status == StatusCode::BAD_REQUEST => {
            return refusal.answer(verification);
        }
        Err(refusal) => return turn_away(verification, request, from, refusal),
    };
    let form = form.flatten();
    let secret = match form.as_ref().map_err(|refusal| *refusal).and_then(the_token) {
        Ok(secret) => secret,
        Err(refusal) => return refusal.answer(verification),
    };
    let digest = Digest::of(secret);
    let Ok(found) = app.good_token(secret, &digest).await else {
        return unknown(verification);
    };
    let token = found.filter(|token| caller.may_see(token));
    let body = if let Some(token) = token {
        note_use(app, &digest, &token, || from);
        verification.introspected_active.increment(1);
        active(&token).into()
    } else {
        verification.introspected_inactive.increment(1);
        Bytes::from_static(b"{\"active\":false}")
    };
    let mut headers = HeaderMap::with_capacity(8);
    headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    verification.answer(StatusCode::OK, headers, body)
}

/// The answer where it can't be known whether the token or the caller is good.
fn unknown(verification: &Verification) -> Response {
    verification.introspection_unknown.increment(1);
    let (id, status) = (verification.unknown_request(), StatusCode::SERVICE_UNAVAILABLE);
    let mut response = fault(verification, id, status, "temporarily_unavailable", UNKNOWN);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.into());
    response
}

/// Neither yes nor no, in the words of OAuth.
fn fault(
    verification: &Verification,
    id: Uuid,
    status: StatusCode,
    error: &'static str,
    error_description: &'static str,
) -> Response {
    let body = IntrospectionError { error, error_description, request_id: Some(id) };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut headers = HeaderMap::with_capacity(8);
    headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    verification.fault(id, status, headers, body.into())
}

/// What every other method is answered.
pub(super) async fn only_post(
    State(verification): State<Arc<Verification>>,
    request: Request,
) -> Response {
    let mut response = INVALID_METHOD.answer(&verification);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    rest::after(response, request).await
}

/// Why introspection was refused.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    status: StatusCode,
    challenge: Option<&'static str>,
    error: &'static str,
    description: &'static str,
    /// The caller, where it is known.
    caller: Denied,
    /// What was bad about it, where a credential was.
    bad: Option<Bad>,
    /// How many seconds to wait before the next attempt.
    retry_after: Option<u64>,
}

/// A bad credential.
#[derive(Clone, Copy, Debug)]
enum Bad {
    Key,
    /// An OAuth client's, whose failure is counted already.
    Client(Option<Throttled>),
}

impl Refusal {
    /// What a refusal has that says nothing more.
    const NONE: Self = Self {
        status: StatusCode::BAD_REQUEST,
        challenge: None,
        error: "invalid_request",
        description: "",
        caller: Denied { company: None, actor: None },
        bad: None,
        retry_after: None,
    };

    const fn invalid_request(status: StatusCode, description: &'static str) -> Self {
        Self { status, challenge: None, error: "invalid_request", description, ..Self::NONE }
    }

    const fn bad_request(description: &'static str) -> Self {
        Self::invalid_request(StatusCode::BAD_REQUEST, description)
    }

    fn answer(self, verification: &Verification) -> Response {
        verification.introspection_refused.increment(1);
        let mut headers = HeaderMap::with_capacity(8);
        if let Some(challenge) = self.challenge {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        // Some programs send a password only to whoever asks for one.
        if self.status == StatusCode::UNAUTHORIZED && self.challenge != Some(BASIC_CHALLENGE) {
            let challenge = HeaderValue::from_static(BASIC_CHALLENGE);
            headers.append(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.append(header::RETRY_AFTER, seconds.into());
        }
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = IntrospectionError {
            error: self.error,
            error_description: self.description,
            request_id: None,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        verification.answer(self.status, headers, body.into())
    }
}

const INVALID_METHOD: Refusal =
    Refusal::invalid_request(StatusCode::METHOD_NOT_ALLOWED, "Introspection takes POST only.");

/// Refuses a caller: counts a bad key, and notes the refusal for the auditor.
fn turn_away(
    verification: &Verification,
    request: &Request,
    ip: Option<IpAddr>,
    refusal: Refusal,
) -> Response {
    let app = &verification.service.app;
    let counted = match refusal.bad {
        None => Ok(()),
        Some(Bad::Key) => app.throttle.failed(Failed::Key, ip, app.now()),
        Some(Bad::Client(throttled)) => throttled.map_or(Ok(()), Err),
    };
    let refusal = match counted {
        Ok(()) => refusal,
        Err(throttled) => Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            challenge: None,
            description: "Too many bad credentials came from this network. Good ones are not held \
                up.",
            retry_after: Some(throttled.retry_after.as_secs()),
            ..refusal
        },
    };
    let response = refusal.answer(verification);
    let id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    app.note(Seen {
        kind: AttemptKind::Denied,
        company_id: refusal.caller.company.unwrap_or(CompanyId::PLATFORM),
        actor: refusal.caller.actor,
        method: method_name(request.method()).to_owned(),
        route: "/oauth/introspect".to_owned(),
        status: refusal.status.as_u16(),
        problem: None,
        request_id: id.map(str::to_owned),
        ip,
        user_agent: user_agent(request.headers()),
    });
    response
}

async fn read_form(request: &mut Request) -> Result<Bytes, Refusal> {
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| {
            essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
    if !is_form {
        return Err(Refusal::bad_request(
            "Send the parameters as application/x-www-form-urlencoded.",
        ));
    }
    let too_large = || {
        Refusal::invalid_request(StatusCode::PAYLOAD_TOO_LARGE, "The form may have up to 64 KiB.")
    };
    if is_announced_too_large(request.headers()) {
        return Err(too_large());
    }
    let body = Limited::new(request.body_mut(), super::routes::MAX_BODY).collect();
    match tokio::time::timeout(BODY_DEADLINE, body).await {
        Ok(Ok(form)) => Ok(form.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::bad_request("The form could not be read to its end.")),
        Err(_) => Err(Refusal::invalid_request(
            StatusCode::REQUEST_TIMEOUT,
            "The form did not come in time.",
        )),
    }
}

/// The parameters of a form that was read.
fn params_of(form: &[u8]) -> Result<Params, Refusal> {
    let mut params = Params::default();
    match params.add_form(form) {
        Ok(()) => Ok(params),
        Err(_) => Err(Refusal::bad_request("A parameter is not UTF-8.")),
    }
}

/// The one `token` parameter. The hint beside it makes no difference, and others are ignored.
fn the_token(form: &Params) -> Result<&str, Refusal> {
    let token =
        form.one("token").map_err(|_| Refusal::bad_request("The parameter token is repeated."))?;
    form.one("token_type_hint")
        .map_err(|_| Refusal::bad_request("The parameter token_type_hint is repeated."))?;
    token.ok_or_else(|| Refusal::bad_request("The parameter token is missing."))
}

/// The answer for an active token. Scopes hold nothing that JSON would escape (RFC 6749 §3.3).
fn active(token: &ActiveToken) -> String {
    let id = token.token_id.0.hyphenated();
    let mut text = String::with_capacity(320 + token.scopes.len());
    text.push_str("{\"active\":true,\"scope\":\"");
    text.push_str(&token.scopes);
    if let Some(client) = token.client_id {
        // Writing to a string can't fail, here and below.
        let _ = write!(text, "\",\"client_id\":\"{client}");
    }
    let _ = write!(
        text,
        "\",\"sub\":\"{id}\",\"jti\":\"{id}\",\"iat\":{},\"exp\":{},\"token_type\":\"Bearer\",\
         \"company_id\":\"{}\"}}",
        token.issued_at,
        token.expires_at.as_seconds(),
        token.company_id,
    );
    text
}

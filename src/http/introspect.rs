//! Token introspection (RFC 7662), for resource servers.

use super::denials::Denied;
use super::envelope::{REQUEST_ID, user_agent};
use super::verify::{Verification, credential, guarded};
use crate::app::attempts::Seen;
use crate::app::throttle::Failed;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::LengthLimitError;
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::{Actor, ActorType, CompanyId, Digest, KeyScope};
use token_ledger_projections::attempts::AttemptKind;
use token_ledger_projections::index::{ActiveKey, ActiveToken};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long a caller may take to send the form.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
const BASIC_CHALLENGE: &str = "Basic realm=\"token-ledger\"";
const BEARER_CHALLENGE: &str = "Bearer realm=\"token-ledger\"";

/// What introspection takes, as `application/x-www-form-urlencoded`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "documents the form, which is read without it")]
pub(super) struct IntrospectionForm {
    /// The token's secret.
    token: String,
    /// Makes no difference.
    token_type_hint: Option<String>,
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
pub(super) struct OauthError {
    /// The error's code.
    error: &'static str,
    /// What was wrong and what to do.
    error_description: &'static str,
}

/// Whether a token is active, and what it may do, for a resource server with an API key: as Bearer
/// or as the password of Basic, with any user name.
#[utoipa::path(
    post,
    path = "/oauth/introspect",
    operation_id = "introspect",
    tag = "verification",
    request_body(content = IntrospectionForm, content_type = "application/x-www-form-urlencoded"),
    security(("key" = []), ("key_as_password" = [])),
    responses(
        (status = 200, description = "What there is to say", body = Introspection),
        (status = 400, description = "The form is not acceptable", body = OauthError),
        (status = 401, description = "The caller is unknown", body = OauthError),
        (status = 403, description = "The caller may not introspect", body = OauthError),
        (status = 429, description = "Too many bad credentials of callers", body = OauthError),
        (status = 413, description = "The form has more than 64 KiB", body = OauthError),
    )
)]
pub(super) async fn introspect(
    State(verification): State<Arc<Verification>>,
    request: Request,
) -> Response {
    guarded(&verification, answered(&verification, request)).await
}

async fn answered(verification: &Verification, request: Request) -> Response {
    let caller = match admit(verification, request.headers()) {
        Ok(caller) => caller,
        Err(refusal) => return turn_away(verification, &request, refusal),
    };
    let form = match read_form(request).await {
        Ok(form) => form,
        Err(refusal) => return refusal.answer(verification),
    };
    let secret = match the_token(&form) {
        Ok(secret) => secret,
        Err(refusal) => return refusal.answer(verification),
    };
    let app = &verification.service.app;
    let token = app
        .index
        .token(&Digest::of(&secret), app.now())
        .filter(|token| caller.is_none_or(|company| company == token.company_id));
    let body = if let Some(token) = token {
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

/// What every other method is answered.
pub(super) async fn only_post(State(verification): State<Arc<Verification>>) -> Response {
    let mut response = INVALID_METHOD.answer(&verification);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
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
    /// How many seconds to wait before the next attempt.
    retry_after: Option<u64>,
}

impl Refusal {
    /// What a refusal has that says nothing more.
    const NONE: Self = Self {
        status: StatusCode::BAD_REQUEST,
        challenge: None,
        error: "invalid_request",
        description: "",
        caller: Denied { company: None, actor: None },
        retry_after: None,
    };

    const fn invalid_request(status: StatusCode, description: &'static str) -> Self {
        Self { status, challenge: None, error: "invalid_request", description, ..Self::NONE }
    }

    fn answer(self, verification: &Verification) -> Response {
        verification.introspection_refused.increment(1);
        let mut headers = HeaderMap::with_capacity(8);
        if let Some(challenge) = self.challenge {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after {
            headers.append(header::RETRY_AFTER, seconds.into());
        }
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = OauthError { error: self.error, error_description: self.description };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        verification.answer(self.status, headers, body.into())
    }
}

const INVALID_METHOD: Refusal =
    Refusal::invalid_request(StatusCode::METHOD_NOT_ALLOWED, "Introspection takes POST only.");

/// Refuses a caller: counts a bad credential, and notes the refusal for the auditor.
fn turn_away(verification: &Verification, request: &Request, refusal: Refusal) -> Response {
    let (app, headers) = (&verification.service.app, request.headers());
    let ip = verification.service.proxies.origin(request.extensions(), headers).ip;
    let is_bad =
        refusal.status == StatusCode::UNAUTHORIZED && headers.contains_key(header::AUTHORIZATION);
    let counted = if is_bad { app.throttle.failed(Failed::Key, ip, app.now()) } else { Ok(()) };
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
        company: refusal.caller.company,
        actor: refusal.caller.actor,
        method: request.method().to_string(),
        route: "/oauth/introspect".to_owned(),
        status: refusal.status.as_u16(),
        problem: None,
        request_id: id.map(str::to_owned),
        ip,
        user_agent: user_agent(headers),
    });
    response
}

/// The company whose tokens the caller may introspect; `None` for every company's.
fn admit(verification: &Verification, headers: &HeaderMap) -> Result<Option<CompanyId>, Refusal> {
    let basic = basic_password(headers);
    let unknown = Refusal {
        status: StatusCode::UNAUTHORIZED,
        challenge: Some(if basic.is_some() { BASIC_CHALLENGE } else { BEARER_CHALLENGE }),
        error: "invalid_client",
        description: "Send a good API key with ledger.introspect, as Bearer or as the password of \
            Basic.",
        ..Refusal::NONE
    };
    let key = match &basic {
        Some(password) => password.as_str(),
        None => credential(headers).ok_or(unknown)?,
    };
    let app = &verification.service.app;
    let key = app.index.key(&Digest::of(key), app.now()).ok_or(unknown)?;
    scope_of(&key).ok_or(Refusal {
        status: StatusCode::FORBIDDEN,
        challenge: Some(
            "Bearer realm=\"token-ledger\", error=\"insufficient_scope\", \
             scope=\"ledger.introspect\"",
        ),
        error: "insufficient_scope",
        description: "The API key is good, but lacks ledger.introspect.",
        caller: Denied {
            company: Some(key.company_id),
            actor: Some(Actor { kind: ActorType::Key, id: key.key_id.0 }),
        },
        ..Refusal::NONE
    })
}

/// What the key may introspect: nothing, one company (`Some(Some)`) or everything (`Some(None)`).
#[expect(clippy::option_option, reason = "the inner one is the company of `admit`")]
fn scope_of(key: &ActiveKey) -> Option<Option<CompanyId>> {
    let introspects = key.scopes.contains(&KeyScope::Introspect);
    if key.company_id == CompanyId::PLATFORM {
        let all = introspects || key.scopes.contains(&KeyScope::Operator);
        return all.then_some(None);
    }
    introspects.then_some(Some(key.company_id))
}

/// The password of `Authorization: Basic` (RFC 7617), if that is what was sent.
fn basic_password(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    let (scheme, encoded) = only.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    // What can't be read is a credential that is not good.
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).unwrap_or_default());
    let text = std::str::from_utf8(&decoded).unwrap_or_default();
    let password = text.split_once(':').map_or("", |(_, password)| password);
    Some(Zeroizing::new(password.to_owned()))
}

async fn read_form(request: Request) -> Result<Bytes, Refusal> {
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| {
            essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
    if !is_form {
        return Err(Refusal::invalid_request(
            StatusCode::BAD_REQUEST,
            "Send the parameters as application/x-www-form-urlencoded.",
        ));
    }
    let body = to_bytes(request.into_body(), super::routes::MAX_BODY);
    match tokio::time::timeout(BODY_DEADLINE, body).await {
        Ok(Ok(form)) => Ok(form),
        Ok(Err(error)) if is_too_long(&error) => Err(Refusal::invalid_request(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The form may have up to 64 KiB.",
        )),
        Ok(Err(_)) | Err(_) => Err(Refusal::invalid_request(
            StatusCode::BAD_REQUEST,
            "The form could not be read to its end.",
        )),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<LengthLimitError>)
}

/// The one `token` parameter. Others are ignored (RFC 6749 §3.2).
fn the_token(form: &[u8]) -> Result<std::borrow::Cow<'_, str>, Refusal> {
    let mut tokens = url::form_urlencoded::parse(form)
        .filter(|(name, _)| name == "token")
        .map(|(_, value)| value);
    match (tokens.next(), tokens.next()) {
        (Some(token), None) if !token.is_empty() => Ok(token),
        (_, Some(_)) => Err(Refusal::invalid_request(
            StatusCode::BAD_REQUEST,
            "The parameter token is repeated.",
        )),
        _ => Err(Refusal::invalid_request(
            StatusCode::BAD_REQUEST,
            "The parameter token is missing.",
        )),
    }
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

//! Verification for proxies: may this request pass? Nothing stands in its way, neither layers nor
//! a database, since it is asked for every request to what the tokens protect.

mod requests;

use super::Service;
use super::envelope::REQUEST_ID;
use super::needs::Needs;
use super::problem::{Kind, Problem, RETRY_AFTER};
use super::rest;
use crate::app::{App, NotKnown};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, post};
use futures::FutureExt;
use metrics::Counter;
use requests::{RequestIds, Undecided};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use token_ledger_domain::Digest;
use token_ledger_domain::secret::is_well_formed;
use token_ledger_projections::index::{ActiveToken, Use};
use uuid::Uuid;

const TOKEN_ID: HeaderName = HeaderName::from_static("x-token-id");
const COMPANY_ID: HeaderName = HeaderName::from_static("x-company-id");
const SCOPES: HeaderName = HeaderName::from_static("x-scopes");

/// No credential was sent: no error is named then (RFC 6750 §3.1).
const NO_CREDENTIAL: &str = "Bearer realm=\"token-ledger\"";
const INVALID_TOKEN: &str = "Bearer realm=\"token-ledger\", error=\"invalid_token\", \
    error_description=\"The access token is unknown, expired or deleted.\"";
const INSUFFICIENT_SCOPE: &str = "Bearer realm=\"token-ledger\", error=\"insufficient_scope\"";
/// What is told where it can't be known whether a token is good.
pub(super) const UNKNOWN: &str = "It can't be known right now; try again.";
/// What is told where the service is at fault.
pub(super) const FAILED: &str = "The service failed. Name the request_id to the operator.";
/// The longest list of scopes that a challenge names, in bytes.
const MAX_NAMED_SCOPES: usize = 1024;

/// The paths of this module and of [`super::introspect`], for the table of contents.
pub const ROUTES: [(axum::http::Method, &str); 3] = [
    (axum::http::Method::GET, "/v1/verify"),
    (axum::http::Method::GET, "/v1/verify/{path}"),
    (axum::http::Method::POST, "/oauth/introspect"),
];

/// What verification works with: everything that can be made before a request is.
#[derive(Debug)]
pub(super) struct Verification {
    pub(super) service: Arc<Service>,
    request_ids: RequestIds,
    undecided: Arc<Undecided>,
    active: Counter,
    inactive: Counter,
    insufficient: Counter,
    unknown: Counter,
    pub(super) introspected_active: Counter,
    pub(super) introspected_inactive: Counter,
    pub(super) introspection_refused: Counter,
    pub(super) introspection_unknown: Counter,
    unauthorized_body: Bytes,
    forbidden_body: Bytes,
}

/// The routes of verification, which bring their own state.
pub(super) fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/verify", any(verify))
        .route("/v1/verify/", any(verify))
        .route("/v1/verify/{*path}", any(verify))
        .route(
            "/oauth/introspect",
            post(super::introspect::introspect).fallback(super::introspect::only_post),
        )
        .with_state(Arc::new(verification(service)))
}

fn verification(service: Arc<Service>) -> Verification {
    let body = |kind, detail| {
        let text = serde_json::to_vec(&Problem::new(kind, detail).body(""));
        Bytes::from(text.unwrap_or_default())
    };
    let count = |endpoint: &'static str, outcome: &'static str| {
        let labels = [("endpoint", endpoint), ("outcome", outcome)];
        metrics::counter!("token_ledger_verifications_total", &labels)
    };
    Verification {
        request_ids: RequestIds::new(service.app.new_id()),
        undecided: Arc::default(),
        active: count("verify", "active"),
        inactive: count("verify", "invalid_token"),
        insufficient: count("verify", "insufficient_scope"),
        unknown: count("verify", "unknown"),
        introspected_active: count("introspect", "active"),
        introspected_inactive: count("introspect", "inactive"),
        introspection_refused: count("introspect", "refused"),
        introspection_unknown: count("introspect", "unknown"),
        unauthorized_body: body(
            Kind::InvalidToken,
            "Send a token that is neither expired nor deleted as `Authorization: Bearer TOKEN`.",
        ),
        forbidden_body: body(
            Kind::InsufficientScope,
            "The token is good, but lacks scopes that this needs; the challenge names them.",
        ),
        service,
    }
}

/// The answer; none where it panicked: a panic ends neither the process nor the connection. Costs
/// nothing where none happens, unlike a layer.
pub(super) async fn guarded(answer: impl Future<Output = Response>) -> Option<Response> {
    // What a panic may have left half done is locks of the index, which don't poison.
    AssertUnwindSafe(answer).catch_unwind().await.ok()
}

/// Whether the request that carries this token may pass, for a proxy that asks before it passes
/// it on: nginx `auth_request`, Envoy `ext_authz`, Traefik `ForwardAuth`. Takes every method, and
/// any path below this one.
#[utoipa::path(
    get,
    path = "/v1/verify",
    operation_id = "verify",
    tag = "verification",
    params(
        ("scope" = Option<Vec<String>>, Query,
            description = "Scopes that the token must have; each may name several, space-delimited"),
        ("company" = Option<Uuid>, Query, description = "The company that the token must be of"),
        ("X-Required-Scope" = Option<String>, Header,
            description = "As `scope`; commas delimit scopes too"),
        ("X-Required-Company" = Option<Uuid>, Header, description = "As `company`"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "It may", headers(
            ("X-Token-Id" = Uuid, description = "The token"),
            ("X-Company-Id" = Uuid, description = "Its company"),
            ("X-Scopes" = String, description = "Its scopes, space-delimited"),
        )),
        (status = 401, description = "There is no token, or none that is good here",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks scopes",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "It can't be known right now",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn verify(
    State(verification): State<Arc<Verification>>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let answer = async {
        // Nothing needs to be known of what is no secret at all.
        let is_secret = || credential(&head.headers).is_some_and(is_well_formed);
        if verification.knows(is_secret).await {
            decide(&verification, &head).await
        } else {
            verification.unknown()
        }
    };
    let response = guarded(answer).await.unwrap_or_else(|| verification.failed());
    rest::after(response, Request::from_parts(head, body)).await
}

async fn decide(verification: &Verification, request: &Parts) -> Response {
    let Parts { headers, uri, extensions, .. } = request;
    let Some(credential) = credential(headers) else {
        let challenge = if headers.contains_key(header::AUTHORIZATION) && has_bearer(headers) {
            INVALID_TOKEN
        } else {
            NO_CREDENTIAL
        };
        return verification.unauthorized(challenge);
    };
    let app = &verification.service.app;
    let digest = Digest::of(credential);
    let from = || verification.service.proxies.origin(extensions, headers).ip;
    let token = match app.good_token(credential, &digest).await {
        Ok(Some(token)) => token,
        Ok(None) => return verification.unauthorized(INVALID_TOKEN),
        Err(NotKnown) => return verification.unknown(),
    };
    let needs = Needs::of(uri.query().unwrap_or_default(), headers);
    if !needs.is_company(token.company_id) {
        return verification.unauthorized(INVALID_TOKEN);
    }
    note_use(app, &digest, &token, from);
    if !needs.scopes.iter().all(|scope| token.has_scope(scope)) {
        return verification.forbidden(&needs.scopes);
    }
    verification.pass(&token)
}

/// Notes that a token was used, where that is due.
pub(super) fn note_use(
    app: &App,
    digest: &Digest,
    token: &ActiveToken,
    from: impl FnOnce() -> Option<IpAddr>,
) {
    if token.use_is_due {
        let (company_id, token_id) = (token.company_id, token.token_id);
        app.index.note_use(digest, Use { company_id, token_id, at: app.now(), from: from() });
    }
}

/// As [`verify`], for proxies that append the path that they were asked for.
#[utoipa::path(
    get,
    path = "/v1/verify/{path}",
    operation_id = "verify_below",
    tag = "verification",
    params(
        ("path" = String, Path, description = "Anything; it makes no difference"),
        ("scope" = Option<Vec<String>>, Query,
            description = "Scopes that the token must have; each may name several, space-delimited"),
        ("company" = Option<Uuid>, Query, description = "The company that the token must be of"),
        ("X-Required-Scope" = Option<String>, Header,
            description = "As `scope`; commas delimit scopes too"),
        ("X-Required-Company" = Option<Uuid>, Header, description = "As `company`"),
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "It may"),
        (status = 401, description = "There is no token, or none that is good here",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks scopes",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "It can't be known right now",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
#[expect(dead_code, reason = "documents the path that `verify` also handles")]
pub(super) fn verify_below() {}

/// The one credential of the request; none where there are several, which could mean different
/// things to different readers.
pub(super) fn credential(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let only = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, credential) = only.to_str().ok()?.split_once(' ')?;
    let credential = credential.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty()).then_some(credential)
}

/// Whether a credential of the right scheme was sent at all, however malformed.
pub(super) fn has_bearer(headers: &HeaderMap) -> bool {
    headers.get_all(header::AUTHORIZATION).iter().any(|value| {
        value
            .as_bytes()
            .get(.."bearer ".len())
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
    })
}

impl Verification {
    /// The identifier of the next request.
    pub(super) fn request_id(&self) -> Uuid {
        self.request_ids.next()
    }

    /// One text holds all identifiers of the answer, so that there is one piece of memory to get.
    fn pass(&self, token: &ActiveToken) -> Response {
        self.active.increment(1);
        let mut text = vec![0_u8; 3 * ID + token.scopes.len()];
        token.token_id.0.hyphenated().encode_lower(&mut text[..ID]);
        token.company_id.0.hyphenated().encode_lower(&mut text[ID..2 * ID]);
        self.request_id().hyphenated().encode_lower(&mut text[2 * ID..3 * ID]);
        text[3 * ID..].copy_from_slice(token.scopes.as_bytes());
        let text = Bytes::from(text);
        let values = [
            (TOKEN_ID, text.slice(..ID)),
            (COMPANY_ID, text.slice(ID..2 * ID)),
            (REQUEST_ID, text.slice(2 * ID..3 * ID)),
            (SCOPES, text.slice(3 * ID..)),
        ];
        let mut headers = HeaderMap::with_capacity(HEADERS);
        for (name, value) in values {
            if let Ok(value) = HeaderValue::from_maybe_shared(value) {
                headers.append(name, value);
            }
        }
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.append(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = headers;
        response
    }

    fn unauthorized(&self, challenge: &'static str) -> Response {
        self.inactive.increment(1);
        self.refusal(
            StatusCode::UNAUTHORIZED,
            HeaderValue::from_static(challenge),
            self.unauthorized_body.clone(),
        )
    }

    fn forbidden(&self, needed: &[String]) -> Response {
        self.insufficient.increment(1);
        let scopes = nameable(needed);
        let challenge = format!("{INSUFFICIENT_SCOPE}, scope=\"{scopes}\"");
        let named = HeaderValue::try_from(challenge).ok().filter(|_| !scopes.is_empty());
        let challenge = named.unwrap_or(HeaderValue::from_static(INSUFFICIENT_SCOPE));
        self.refusal(StatusCode::FORBIDDEN, challenge, self.forbidden_body.clone())
    }

    fn refusal(&self, status: StatusCode, challenge: HeaderValue, body: Bytes) -> Response {
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.append(header::WWW_AUTHENTICATE, challenge);
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.answer(status, headers, body)
    }

    /// A fault of ours: neither yes nor no.
    fn failed(&self) -> Response {
        self.problem(self.failed_request(), &Problem::new(Kind::Internal, FAILED))
    }

    /// Neither yes nor no: what other processes did is not known well enough.
    fn unknown(&self) -> Response {
        self.unknown.increment(1);
        let problem = Problem::new(Kind::Unavailable, UNKNOWN);
        let mut response = self.problem(self.unknown_request(), &problem);
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.into());
        response
    }

    /// The identifier of a request that panicked, which the log names.
    pub(super) fn failed_request(&self) -> Uuid {
        let id = self.request_id();
        tracing::error!(request_id = %id, "verification panicked");
        id
    }

    /// The identifier of a request that could not be decided, which the log names.
    pub(super) fn unknown_request(&self) -> Uuid {
        let id = self.request_id();
        self.undecided.tell(id);
        id
    }

    /// Whether what is known is recent enough, at once or within a second, or what was shown is no
    /// secret, of which nothing needs to be known.
    pub(super) async fn knows(&self, is_secret: impl FnOnce() -> bool) -> bool {
        let app = &self.service.app;
        app.is_sure() || !is_secret() || app.knows().await
    }

    fn problem(&self, id: Uuid, problem: &Problem) -> Response {
        let body = serde_json::to_vec(&problem.body(&id.to_string())).unwrap_or_default();
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.fault(id, problem.kind.status(), headers, body.into())
    }

    /// The answer to a request that is not answered as it should be, whose identifier its body names.
    pub(super) fn fault(
        &self,
        id: Uuid,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let mut response = self.answer(status, headers, body);
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }

    /// The answer with the headers that every answer has.
    pub(super) fn answer(
        &self,
        status: StatusCode,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let mut id = [0; ID];
        let id = self.request_id().hyphenated().encode_lower(&mut id).as_bytes();
        if let Ok(value) = HeaderValue::from_bytes(id) {
            headers.append(REQUEST_ID, value);
        }
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.append(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Characters of an identifier.
const ID: usize = uuid::fmt::Hyphenated::LENGTH;
/// Room for the headers of any answer here.
const HEADERS: usize = 8;

/// The scopes that a challenge can name (RFC 6750 §3): those that are scopes at all.
fn nameable(scopes: &[String]) -> String {
    let mut text = String::new();
    for scope in scopes.iter().filter(|scope| scope.parse::<token_ledger_domain::Scope>().is_ok()) {
        if text.len() + 1 + scope.len() > MAX_NAMED_SCOPES {
            break;
        }
        text.push_str(if text.is_empty() { "" } else { " " });
        text.push_str(scope);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{App, Choices};
    use crate::config::DatabaseUrl;
    use crate::http::Documents;
    use crate::http::Proxies;
    use token_ledger_event_store::sqlite::Access;
    use token_ledger_event_store::{SystemClock, SystemEntropy};

    async fn service(dir: &tempfile::TempDir) -> Arc<Service> {
        let url = DatabaseUrl::Sqlite(dir.path().join("ledger.db"));
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let app = App::open(&url, Access::Write, clock, entropy, Choices::default()).await;
        Arc::new(Service {
            app: app.unwrap(),
            proxies: Proxies::default(),
            no_query_credentials: false,
            public_url: String::new(),
            stopping: tokio::sync::watch::channel(false).1,
            documents: Documents::default(),
        })
    }

    #[tokio::test]
    async fn a_panic_is_answered() {
        let dir = tempfile::TempDir::new().unwrap();
        let verification = verification(service(&dir).await);
        let answer = guarded(async { panic!("for the test") }).await;
        let response = answer.unwrap_or_else(|| verification.failed());
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let id = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["request_id"], id);
        assert!(!body.to_string().contains("for the test"));
    }

    #[tokio::test]
    async fn what_can_not_be_known_is_named_in_the_log_and_does_not_flood_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let verification = verification(service(&dir).await);
        let (log, logged) = crate::logged::log();
        let ids: Vec<String> = tracing::subscriber::with_default(log, || {
            let unknown = || {
                let answer = verification.unknown();
                answer.headers()[REQUEST_ID].to_str().unwrap().to_owned()
            };
            let ids = (0..9).map(|_| unknown()).collect();
            assert!(verification.undecided.tell_following());
            assert!(!verification.undecided.tell_following(), "all are told of");
            ids
        });
        let lines: Vec<String> = logged.try_iter().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains(&ids[0]), "{lines:?}");
        assert!(ids[1..].iter().all(|id| lines[1].contains(id)), "{lines:?}");
    }

    #[test]
    fn a_challenge_names_only_what_is_a_scope() {
        let scopes = ["employees", "a\"b", "ключ", "positions"].map(str::to_owned);
        assert_eq!(nameable(&scopes), "employees positions");
    }
}

//! What every request gets around it: an identifier, a deadline, headers, a metric, a log line.

use super::oauth;
use super::oauth::error::OauthError;
use super::problem::{Kind, Problem};
use super::proxies::OverTls;
use super::rest::Rest;
use super::{Service, denials};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use token_ledger_domain::name::turns_or_breaks;
use token_ledger_domain::secret::beginning_without_secrets;
use tracing::Instrument;

/// How long a request may take before it is given up.
const DEADLINE: Duration = Duration::from_secs(30);
/// Characters that are kept of what a program calls itself.
const MAX_USER_AGENT: usize = 300;
/// Bytes that are looked through for them: secrets among them are left out.
const SCANNED_USER_AGENT: usize = 2048;

/// For how long a browser that was here by TLS comes by nothing else, in seconds: a year.
const ONLY_TLS: &str = "max-age=31536000";

/// The header that carries the request's identifier.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is known of a request before it is handled.
#[derive(Clone, Debug, Default)]
pub struct RequestInfo {
    /// Its identifier.
    pub request_id: String,
    /// The address that it came from.
    pub ip: Option<IpAddr>,
    /// Whether it came by TLS, to us or to a trusted proxy.
    pub secure: bool,
    /// The program that sent it, as it calls itself.
    pub user_agent: Option<String>,
}

/// Wraps a request. The query is never logged: on some paths it may hold a secret.
pub(super) async fn envelope(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = service.app.new_id().to_string();
    let origin = service.proxies.origin(request.extensions(), request.headers());
    let info = RequestInfo {
        request_id: request_id.clone(),
        ip: origin.ip,
        secure: origin.secure,
        user_agent: user_agent(request.headers()),
    };
    let over_tls = request.extensions().get::<OverTls>().is_some();
    let method = method_name(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().replace("{*", "{"));
    // Whatever level is logged, a failure is logged with the request's identifier.
    let span = tracing::error_span!("request", %request_id, method, route);
    request.extensions_mut().insert(info.clone());
    let (request, rest) = Rest::of(request);
    let started = Instant::now();
    let mut response = async {
        if !names_one_host(&request) {
            return Problem::invalid("Host", "must be sent once").into_response();
        }
        in_time(DEADLINE, method, &route, next.run(request)).await
    }
    .instrument(span.clone())
    .await;
    let problem = response.extensions_mut().remove::<Problem>();
    let kind = problem.as_ref().map(|problem| problem.kind);
    denials::note(&service.app, &info, method, &route, &response, kind);
    if let Some(problem) = problem {
        if oauth::is_standard(&route) {
            oauth::error::fill(&mut response, &problem, &request_id);
        } else {
            fill(&mut response, &problem, &request_id);
        }
    }
    let took = started.elapsed();
    let status = response.status().as_u16();
    let labels = [("method", method.to_string()), ("route", route), ("status", status.to_string())];
    metrics::histogram!("http_request_duration_seconds", &labels).record(took.as_secs_f64());
    // As a wider number it would be a text in the JSON log.
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::info!(status, milliseconds, "answered"));
    finish(response.headers_mut(), &request_id);
    // A proxy that speaks TLS for us says so itself.
    if over_tls {
        let only_tls = HeaderValue::from_static(ONLY_TLS);
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, only_tls);
    }
    if let Some(rest) = rest {
        rest.read_out(&mut response).await;
    }
    response
}

/// The answer, or a refusal to wait for it any longer. What was begun by then may be done.
async fn in_time(
    deadline: Duration,
    method: &str,
    route: &str,
    answer: impl Future<Output = Response>,
) -> Response {
    if let Ok(response) = tokio::time::timeout(deadline, answer).await {
        return response;
    }
    match method {
        "GET" | "HEAD" => {
            Problem::new(Kind::Unavailable, "The request took too long; try again.").into_response()
        }
        _ if oauth::is_for_clients(route) => OauthError::in_doubt().into_response(),
        _ => Problem::in_doubt().into_response(),
    }
}

/// Whether the request says whom it is for, as it must (RFC 9112 §3.2).
fn names_one_host(request: &Request) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

/// Writes a problem's body.
fn fill(response: &mut Response, problem: &Problem, request_id: &str) {
    let body = serde_json::to_vec(&problem.body(request_id)).unwrap_or_default();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = body.into();
}

fn finish(headers: &mut HeaderMap, request_id: &str) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The method for log and metrics: one that nobody knows may be anything, a secret too.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// What the program calls itself; U+FFFD in place of what is no UTF-8, controls or turns text.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<String> {
    let sent = headers.get(header::USER_AGENT)?.as_bytes();
    // One more, so that a text that goes on is known to.
    let text = String::from_utf8_lossy(&sent[..sent.len().min(SCANNED_USER_AGENT + 1)]);
    let text = beginning_without_secrets(&text, SCANNED_USER_AGENT);
    let is_shown = |c: char| !c.is_control() && !turns_or_breaks(c);
    let shown = |c: char| if is_shown(c) { c } else { char::REPLACEMENT_CHARACTER };
    Some(text.chars().take(MAX_USER_AGENT).map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use token_ledger_domain::Secret;

    /// What is told of a request to which nobody answers.
    async fn detail(method: &str, route: &str) -> String {
        let mut response = in_time(Duration::ZERO, method, route, std::future::pending()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let problem = response.extensions_mut().remove::<Problem>();
        problem.expect("a problem").detail.into_owned()
    }

    #[tokio::test]
    async fn what_took_too_long_may_be_done_unless_it_only_reads() {
        let tokens = "/v1/companies/{company_id}/tokens";
        for method in ["GET", "HEAD"] {
            assert!(detail(method, tokens).await.contains("try again"), "{method}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "other"] {
            assert!(detail(method, tokens).await.contains("Idempotency-Key"), "{method}");
        }
        for route in
            ["/oauth/token", "/oauth/revoke", "/tokens", "/tokens/refresh_token", "/revoke"]
        {
            let detail = detail("POST", route).await;
            assert!(detail.contains("ask for a new one, or revoke again"), "{route}: {detail}");
        }
    }

    #[test]
    fn a_long_name_of_a_program_holds_no_part_of_a_secret() {
        let secret = Secret::from_random("tlk_", [5; 32]);
        let sent = format!("{} ", secret.reveal()).repeat(100);
        let headers = HeaderMap::from_iter([(header::USER_AGENT, sent.parse().unwrap())]);
        let kept = user_agent(&headers).unwrap();
        // What a secret begins with is no part of it.
        assert!("tlk_".starts_with(kept.trim_start_matches(['…', ' '])), "{kept}");
        let headers =
            HeaderMap::from_iter([(header::USER_AGENT, "x".repeat(5000).parse().unwrap())]);
        assert_eq!(user_agent(&headers).unwrap(), "x".repeat(MAX_USER_AGENT));
    }

    #[test]
    fn the_name_of_a_program_turns_no_text_around() {
        let sent = HeaderValue::from_bytes("sync\u{202e}1\t2".as_bytes()).unwrap();
        let headers = HeaderMap::from_iter([(header::USER_AGENT, sent)]);
        assert_eq!(user_agent(&headers).unwrap(), "sync\u{fffd}1\u{fffd}2");
    }
}

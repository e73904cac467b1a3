//! Telling a person's own requests from those that other sites make in the person's browser.

use crate::http::Service;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::Url;

/// The form's field that holds the token.
pub(super) const TOKEN_FIELD: &str = "csrf";

/// Bytes of a mark: nobody tries as many as there are.
const MARK_BYTES: usize = 9;

/// The token that goes with a session. It follows from the cookie, which no other site can read.
pub(super) fn token(cookie: &str) -> String {
    let hash = Sha256::new().chain_update("token-ledger csrf\0").chain_update(cookie).finalize();
    URL_SAFE_NO_PAD.encode(hash)
}

/// What tells a text that the console wrote for a session from one that somebody made up, by the
/// session's token.
pub(super) fn mark(token: &str, text: &str) -> String {
    let hash = Sha256::new().chain_update("token-ledger mark\0").chain_update(token);
    let hash = hash.chain_update("\0").chain_update(text).finalize();
    URL_SAFE_NO_PAD.encode(&hash[..MARK_BYTES])
}

/// Whether a form carries the token of its session.
pub(super) fn carries_token(body: &[u8], token: &str) -> bool {
    url::form_urlencoded::parse(body)
        .find(|(name, _)| name == TOKEN_FIELD)
        .is_some_and(|(_, given)| given.as_bytes().ct_eq(token.as_bytes()).into())
}

/// Whether the browser says that the request comes from another site. It keeps the session's cookie
/// to itself then.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

/// Whether the browser says that the request comes from one of our own pages. What is no browser
/// says nothing and is let through: it has no one's cookies but its own.
pub(super) fn is_own(service: &Service, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    match text(header::ORIGIN.as_str()) {
        None => true,
        Some(origin) => is_own_origin(service, origin, text(header::HOST.as_str())),
    }
}

/// Pages reached by a one-time link send no referrer, and so a browser without fetch metadata
/// sends `null` for their origin. Their forms carry the link's secret, which is as good as a token.
pub(super) fn is_own_or_unnamed(service: &Service, headers: &HeaderMap) -> bool {
    let unnamed = headers.get("sec-fetch-site").is_none()
        && headers.get(header::ORIGIN).is_some_and(|origin| origin == "null");
    unnamed || is_own(service, headers)
}

fn is_own_origin(service: &Service, origin: &str, host: Option<&str>) -> bool {
    let Ok(origin) = Url::parse(origin) else { return false };
    let public = Url::parse(&service.public_url).map(|url| url.origin());
    if public.is_ok_and(|public| public == origin.origin()) {
        return true;
    }
    let host = host.and_then(|host| Url::parse(&format!("{}://{host}", origin.scheme())).ok());
    host.is_some_and(|host| host.origin() == origin.origin())
}

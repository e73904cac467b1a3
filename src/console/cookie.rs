//! The session's cookie.

use crate::app::sessions::{LIFETIME_SECONDS, SessionCookie};
use crate::http::Service;
use axum::http::{HeaderMap, HeaderValue, header};
use url::{Host, Url};

/// The cookie's name where it is sent over TLS only. The prefix keeps other hosts and paths from
/// setting it.
const SECURE_NAME: &str = "__Host-token-ledger";
const NAME: &str = "token-ledger";

/// Whether cookies go over TLS only: everywhere but on this machine.
pub(super) fn is_secure(service: &Service) -> bool {
    let Ok(url) = Url::parse(&service.public_url) else { return true };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || !loopback
}

fn name(service: &Service) -> &'static str {
    if is_secure(service) { SECURE_NAME } else { NAME }
}

/// The session's secret that the request carries.
pub(super) fn read<'a>(service: &Service, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = name(service);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

/// Sets the session's cookie.
pub(super) fn begin(service: &Service, cookie: &SessionCookie) -> Option<HeaderValue> {
    set(service, cookie.secret.reveal(), LIFETIME_SECONDS)
}

/// Takes the session's cookie away.
pub(super) fn end(service: &Service) -> Option<HeaderValue> {
    set(service, "", 0)
}

fn set(service: &Service, value: &str, max_age: i64) -> Option<HeaderValue> {
    let secure = if is_secure(service) { "; Secure" } else { "" };
    let text = format!(
        "{}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}",
        name(service)
    );
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

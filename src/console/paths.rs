//! Where the console's pages are.

use axum::http::{HeaderMap, header};
use token_ledger_domain::Secret;

/// What one sees first.
pub const HOME: &str = "/console";
/// Signing in.
pub const SIGN_IN: &str = "/console/sign-in";
/// Signing out.
pub const SIGN_OUT: &str = "/console/sign-out";
/// Choosing a company.
pub const COMPANIES: &str = "/console/companies";
/// The person's own sessions.
pub const SESSIONS: &str = "/console/sessions";
/// Changing the own password.
pub const PASSWORD: &str = "/console/password";
/// Giving the password again.
pub const CONFIRM: &str = "/console/confirm";
/// Setting a password by link.
pub const SET_PASSWORD: &str = "/console/set-password";

/// Light or dark.
pub const THEME: &str = "/console/theme";
/// The access tokens.
pub const TOKENS: &str = "/console/tokens";
/// The OAuth clients.
pub const CLIENTS: &str = "/console/clients";
/// The API keys.
pub const KEYS: &str = "/console/keys";
/// What describes the API.
pub const DOCS: &str = "/docs";
/// The audit trail.
pub const AUDIT: &str = "/console/audit";
/// The signed checkpoints of the company's log, and proofs.
pub const LOG: &str = "/console/log";
/// People whose data can be erased, for operators.
pub const PEOPLE: &str = "/console/people";
/// The company's members.
pub const MEMBERS: &str = "/console/members";
/// The company's policy.
pub const POLICY: &str = "/console/policy";
/// All companies, for operators.
pub const PLATFORM: &str = "/console/platform/companies";
/// How the projections are doing, for operators.
pub const PROJECTIONS: &str = "/console/platform/projections";

/// The address of a link to set a password.
pub fn set_password(public_url: &str, link: &Secret) -> String {
    format!("{public_url}{SET_PASSWORD}/{}", link.reveal())
}

/// The address of a link to sign in.
pub fn sign_in(public_url: &str, link: &Secret) -> String {
    format!("{public_url}{SIGN_IN}/{}", link.reveal())
}

/// This path with the page to go on to.
pub fn with_next(path: &str, next: &str) -> String {
    let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("{path}?next={next}")
}

/// A way to where somebody has to go first, which is to say there that what was sent is lost.
pub fn unsaved(way: String) -> String {
    way + "&unsaved=true"
}

/// Whether there is no page at a path, since it takes forms of other pages.
fn takes_only_forms(path: &str) -> bool {
    let is_of = |above: &str, act: &str| {
        let rest = path.strip_prefix(above).and_then(|rest| rest.strip_prefix('/'));
        rest.and_then(|rest| rest.strip_suffix(act)).is_some()
    };
    matches!(path, SIGN_OUT | THEME) || is_of(SESSIONS, "/end") || is_of(PROJECTIONS, "/rebuild")
}

/// The page to go on to: one of the console's, or else the first.
pub fn local(next: Option<&str>) -> &str {
    let own = |next: &&str| {
        let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        // As a browser reads it, dots and all.
        let read = url::Url::parse("http://localhost").and_then(|host| host.join(next));
        let path = read.as_ref().map_or("", url::Url::path);
        let is_below =
            path == HOME || path.strip_prefix(HOME).is_some_and(|rest| rest.starts_with('/'));
        is_plain && next.starts_with(HOME) && is_below && !takes_only_forms(path)
    };
    next.filter(own).unwrap_or(HOME)
}

/// The page that the form which a request sends was on.
pub fn came_from(headers: &HeaderMap) -> String {
    let referrer = headers.get(header::REFERER).and_then(|value| value.to_str().ok());
    let referrer = referrer.and_then(|text| url::Url::parse(text).ok());
    let path = referrer.map(|url| match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    });
    local(path.as_deref()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_the_consoles_own_pages_are_gone_on_to() {
        for next in ["/console", "/console/sessions", "/console/tokens?q=a%20b"] {
            assert_eq!(local(Some(next)), next);
        }
        for next in ["https://evil.example/", "//evil.example/console", "/consoles", "/", "", "x"] {
            assert_eq!(local(Some(next)), HOME, "{next}");
        }
        for next in
            ["/console/\\evil", "/console/../v1", "/console/%2e%2e/v1", "/console/x/../../v1"]
        {
            assert_eq!(local(Some(next)), HOME, "{next}");
        }
        assert_eq!(local(None), HOME);
    }

    #[test]
    fn nobody_is_led_to_what_takes_only_forms() {
        for next in [
            "/console/sign-out",
            "/console/theme?x=1",
            "/console/sessions/018f0000-0000-7000-8000-000000000000/end",
            "/console/platform/projections/tokens/rebuild",
        ] {
            assert_eq!(local(Some(next)), HOME, "{next}");
        }
        assert_eq!(local(Some("/console/platform/projections")), "/console/platform/projections");
    }

    #[test]
    fn going_back_stays_in_the_console() {
        let mut headers = HeaderMap::new();
        let from = "http://127.0.0.1:8080/console/tokens?q=a";
        headers.insert(header::REFERER, HeaderValue::from_static(from));
        assert_eq!(came_from(&headers), "/console/tokens?q=a");
        headers.insert(header::REFERER, HeaderValue::from_static("http://evil.example/x"));
        assert_eq!(came_from(&headers), HOME);
    }
}

//! How a client proves who it is (RFC 6749 §2.3.1): by Basic or in the body, not both.

use super::error::OauthError;
use super::params::{Params, decoded};
use crate::app::standing::Shown;
use crate::app::throttle::{Failed, Throttled};
use crate::app::{App, Caller};
use crate::http::access::{WHETHER_CLIENT, not_known};
use crate::http::denials::Denied;
use crate::http::{RequestInfo, Service};
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;
use token_ledger_domain::{Actor, ActorType, Digest, Power};
use token_ledger_event_store::Moment;
use token_ledger_projections::index::ActiveClient;
use uuid::Uuid;
use zeroize::Zeroizing;

/// User name and password of `Authorization: Basic` (RFC 7617), as they were sent.
pub(in crate::http) struct Basic {
    pub(in crate::http) user: Zeroizing<String>,
    pub(in crate::http) password: Zeroizing<String>,
}

impl Basic {
    /// What a header's value holds; `None` where it is of another scheme. What can't be read is a
    /// credential that is not good.
    pub(in crate::http) fn of(value: &str) -> Option<Self> {
        let (scheme, encoded) = value.split_once(' ').unwrap_or((value, ""));
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).unwrap_or_default());
        // Each for itself: whatever the user name is, the password may be a good key.
        let mut parts = decoded.splitn(2, |byte| *byte == b':');
        let (user, password) = parts.next().zip(parts.next()).unwrap_or_default();
        let text = |part| Zeroizing::new(std::str::from_utf8(part).unwrap_or_default().to_owned());
        Some(Self { user: text(user), password: text(password) })
    }

    /// User name and password as a client's, whose percent-encoding is undone.
    pub(in crate::http) fn credentials(&self) -> Credentials {
        let part = |text: &str| decoded(text.as_bytes()).unwrap_or_default();
        Credentials { client_id: part(&self.user), secret: part(&self.password) }
    }
}

/// What a client shows.
pub(in crate::http) struct Credentials {
    pub(in crate::http) client_id: Zeroizing<String>,
    pub(in crate::http) secret: Zeroizing<String>,
}

impl Credentials {
    /// The credentials of a request.
    ///
    /// # Errors
    /// When there are none, or more than one.
    pub(in crate::http) fn of(headers: &HeaderMap, params: &Params) -> Result<Self, OauthError> {
        let (id, secret) = (params.one("client_id")?, params.one("client_secret")?);
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            let owned = |text: Option<&str>| Zeroizing::new(text.unwrap_or_default().to_owned());
            return Ok(Self { client_id: owned(id), secret: owned(secret) });
        };
        if values.next().is_some() || secret.is_some() {
            return Err(OauthError::invalid_request(
                "Send the client's credentials once: by Basic or in the body.",
            ));
        }
        let basic = Basic::of(value.to_str().unwrap_or_default());
        let credentials = basic.ok_or_else(OauthError::invalid_client)?.credentials();
        if id.is_some_and(|id| *id != **credentials.client_id) {
            return Err(OauthError::invalid_request(
                "The parameter client_id names another client than the credentials.",
            ));
        }
        Ok(credentials)
    }
}

/// The client that a request comes from, and what its commands are done as.
///
/// # Errors
/// When it does not prove who it is.
pub(super) async fn authenticate(
    service: &Service,
    info: RequestInfo,
    headers: &HeaderMap,
    params: &Params,
) -> Result<(ActiveClient, Caller), OauthError> {
    let credentials = Credentials::of(headers, params)?;
    if !learns_of(&service.app, &credentials).await {
        return Err(OauthError::Failed(Box::new(not_known(WHETHER_CLIENT))));
    }
    let client = check(service, &credentials, info.ip)?;
    let caller = Caller {
        company: client.company_id,
        // What a client may do is decided by whose token it is, not by a power.
        power: Power::Auditor,
        actor: Actor { kind: ActorType::Client, id: client.client_id.0 },
        name: Some(client.name.to_string()),
        shown: Shown::Client(Digest::of(&credentials.secret)),
        let_through_at: Moment::now(),
        credential: client.client_id.to_string(),
        request_id: Some(info.request_id),
        ip: info.ip.map(|ip| ip.to_string()),
        user_agent: info.user_agent,
    };
    Ok((client, caller))
}

/// A client that did not prove who it is.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::http) struct BadClient {
    /// Whose auditor is to see it: the company of the client that was named, if there is one. Only
    /// for the record; the caller learns nothing of it.
    pub(in crate::http) named: Denied,
    /// Set when that happened too often.
    pub(in crate::http) throttled: Option<Throttled>,
}

/// As [`App::learns_of`], of a client's secret.
pub(in crate::http) async fn learns_of(app: &App, given: &Credentials) -> bool {
    let is_good = || app.authenticate_client(&given.client_id, &given.secret).is_ok();
    app.learns_of(&given.secret, is_good).await
}

/// The client with these credentials. Every client that proves who it is, and every one that
/// fails to, passes here.
///
/// # Errors
/// When there is none.
pub(in crate::http) fn check(
    service: &Service,
    given: &Credentials,
    ip: Option<IpAddr>,
) -> Result<ActiveClient, BadClient> {
    let app = &service.app;
    app.authenticate_client(&given.client_id, &given.secret).map_err(|named| {
        let named = named.map_or_else(Denied::default, |client| Denied {
            company: Some(client.company_id),
            actor: Some(Actor { kind: ActorType::Client, id: client.client_id.0 }),
        });
        // Whoever shows nothing tries nothing out.
        let tried = !given.client_id.is_empty() || !given.secret.is_empty();
        // However it is spelt, it is one client.
        let id = given.client_id.parse::<Uuid>().map(|id| id.to_string());
        let id = id.as_deref().unwrap_or(&given.client_id);
        let counted = tried.then_some(Failed::Client(id));
        let counted = counted.map(|failed| app.throttle.failed(failed, ip, app.now()));
        BadClient { named, throttled: counted.and_then(Result::err) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(String, String)> {
        let credentials = Basic::of(text)?.credentials();
        Some((credentials.client_id.to_string(), credentials.secret.to_string()))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn basic_is_decoded_twice() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(of(&basic("a%2Db:c+d%3A")), pair("a-b", "c d:"));
        assert_eq!(of(&basic("a:b:c")), pair("a", "b:c"));
        assert_eq!(of(&basic("a:b").replace("Basic", "bAsIc")), pair("a", "b"));
    }

    #[test]
    fn what_can_not_be_read_is_no_good_credential() {
        let nothing = Some((String::new(), String::new()));
        for text in ["Basic", "Basic ", "Basic !!", &basic("no colon"), &basic("")] {
            assert_eq!(of(text), nothing, "{text}");
        }
        assert_eq!(of(&basic("%ff:b")), Some((String::new(), "b".to_owned())));
        for unread in [&b"\xff:b:c"[..], b"\xe9va\xff:b:c"] {
            let sent = format!("Basic {}", STANDARD.encode(unread));
            assert_eq!(of(&sent), Some((String::new(), "b:c".to_owned())));
        }
        let sent = format!("Basic {}", STANDARD.encode(b"a:\xff"));
        assert_eq!(of(&sent), Some(("a".to_owned(), String::new())));
        assert_eq!(of("Bearer x"), None);
        assert_eq!(of(""), None);
    }
}

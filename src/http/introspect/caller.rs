//! Who introspects: a resource server with an API key, or an OAuth client.

use super::{Bad, Refusal};
use crate::app::App;
use crate::http::Service;
use crate::http::denials::Denied;
use crate::http::oauth::client_auth::{self, BadClient, Basic, Credentials};
use crate::http::oauth::error::{BASIC_CHALLENGE, OauthError};
use crate::http::oauth::params::Params;
use crate::http::problem::BAD_KEY;
use crate::http::verify::{credential, has_bearer};
use axum::http::{HeaderMap, StatusCode, header};
use std::net::IpAddr;
use token_ledger_domain::secret::is_well_formed;
use token_ledger_domain::{Actor, ActorType, ClientId, CompanyId, Digest, KeyScope};
use token_ledger_projections::index::{ActiveKey, ActiveToken};
use zeroize::Zeroizing;

const BEARER_CHALLENGE: &str = "Bearer realm=\"token-ledger\"";

const STRANGER: Refusal = Refusal {
    status: StatusCode::UNAUTHORIZED,
    challenge: Some(BEARER_CHALLENGE),
    error: "invalid_client",
    description: "Send a good API key with ledger.introspect, as Bearer or as the password of \
        Basic, or an OAuth client's credentials.",
    ..Refusal::NONE
};

const CREDENTIALS_TWICE: Refusal =
    Refusal::bad_request("Send the client's credentials once: by Basic or in the body.");

/// What the form holds, or the answer where that can't be told; nothing where no form came.
type Form<'f> = Option<&'f Result<Params, Refusal>>;

/// Whose tokens a caller may introspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Everybodys,
    Company(CompanyId),
    Client(ClientId),
}

impl Whose {
    pub(super) fn may_see(self, token: &ActiveToken) -> bool {
        match self {
            Self::Everybodys => true,
            Self::Company(company) => company == token.company_id,
            Self::Client(client) => Some(client) == token.client_id,
        }
    }
}

/// What a caller shows of itself.
pub(super) struct Shown {
    /// What may be an API key.
    key: Option<Zeroizing<String>>,
    /// What may be an OAuth client's credentials, or the answer where there are none.
    client: Result<Credentials, Refusal>,
}

impl Shown {
    /// What the request shows: a Bearer, or else what may be both an API key and a client's
    /// credentials, or a client's that stand in the form.
    pub(super) fn of(headers: &HeaderMap, form: Form<'_>) -> Self {
        if !headers.contains_key(header::AUTHORIZATION) {
            return Self { key: None, client: credentials(headers, form) };
        }
        if let Some(basic) = basic(headers) {
            // Clients encode it or not (RFC 6749 §2.3.1); no key has a character that would be.
            let key = Some(basic.credentials().secret);
            return Self { key, client: credentials(headers, form) };
        }
        let challenge = if has_bearer(headers) { BAD_KEY } else { BEARER_CHALLENGE };
        let bad_key = Refusal { bad: Some(Bad::Key), challenge: Some(challenge), ..STRANGER };
        let key = credential(headers).map(|key| Zeroizing::new(key.to_owned()));
        Self { key, client: Err(bad_key) }
    }

    /// Whether it may be a good secret, of a key or of a client.
    pub(super) fn may_be_secret(&self) -> bool {
        let shown = [self.key.as_ref(), self.client.as_ref().ok().map(|given| &given.secret)];
        shown.into_iter().flatten().any(|secret| is_well_formed(secret))
    }

    /// As [`App::learns_of`], of all that is shown.
    pub(super) async fn is_learnt_of(&self, app: &App) -> bool {
        let is_key = |key: &Zeroizing<String>| app.index.key(&Digest::of(key), app.now()).is_some();
        let is_client =
            |given: &Credentials| app.authenticate_client(&given.client_id, &given.secret).is_ok();
        let is_good =
            || self.key.as_ref().is_some_and(is_key) || self.client.as_ref().is_ok_and(is_client);
        if let Some(key) = &self.key
            && !app.learns_of(key, is_good).await
        {
            return false;
        }
        match &self.client {
            Ok(given) => app.learns_of(&given.secret, is_good).await,
            Err(_) => true,
        }
    }

    /// Whose tokens the caller may introspect.
    ///
    /// # Errors
    /// The answer to a caller that may introspect nobody's.
    pub(super) fn whose(self, service: &Service, ip: Option<IpAddr>) -> Result<Whose, Refusal> {
        let app = &service.app;
        let key = self.key.and_then(|key| app.index.key(&Digest::of(&key), app.now()));
        if let Some(key) = key {
            return by_key(&key);
        }
        let given = self.client?;
        if given.client_id.is_empty() && given.secret.is_empty() {
            return Err(STRANGER);
        }
        let client = client_auth::check(service, &given, ip).map_err(bad_client)?;
        Ok(Whose::Client(client.client_id))
    }
}

/// A client's credentials, by Basic or in the form.
fn credentials(headers: &HeaderMap, form: Form<'_>) -> Result<Credentials, Refusal> {
    let nothing = Params::default();
    let params = form.map_or(Ok(&nothing), Result::as_ref).map_err(|refusal| *refusal)?;
    Credentials::of(headers, params).map_err(|error| match error {
        OauthError::Refused { .. } => CREDENTIALS_TWICE,
        OauthError::BadClient(_) | OauthError::Failed(_) => STRANGER,
    })
}

/// The refusal of a client that did not prove who it is.
fn bad_client(BadClient { named, throttled }: BadClient) -> Refusal {
    Refusal {
        challenge: Some(BASIC_CHALLENGE),
        caller: named,
        bad: Some(Bad::Client(throttled)),
        ..STRANGER
    }
}

/// Whose tokens the key may introspect.
fn by_key(key: &ActiveKey) -> Result<Whose, Refusal> {
    let is_platforms = key.company_id == CompanyId::PLATFORM;
    if key.scopes.contains(&KeyScope::Introspect)
        || (is_platforms && key.scopes.contains(&KeyScope::Operator))
    {
        return Ok(if is_platforms { Whose::Everybodys } else { Whose::Company(key.company_id) });
    }
    Err(Refusal {
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

/// The one credential of the request, if it is Basic.
fn basic(headers: &HeaderMap) -> Option<Basic> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    Basic::of(only.to_str().ok()?)
}

//! Who may call what. Every route names its access; there is no way to add one without.

use super::body::{self, Unread};
use super::denials::Denied;
use super::extract::parse_company;
use super::oauth;
use super::problem::{BAD_KEY, Kind, Problem};
use super::verify::credential;
use super::{RequestInfo, Service};
use crate::app::Caller;
use crate::app::standing::{Shown, power_of};
use crate::app::throttle::Failed;
use axum::body::HttpBody;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use token_ledger_domain::secret::is_well_formed;
use token_ledger_domain::{Actor, ActorType, CompanyId, Digest, Power};
use token_ledger_event_store::Moment;
use token_ledger_projections::index::ActiveKey;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: anybody may call it.
    Public,
    /// An OAuth client's credentials, which the handler checks: they may stand in the body.
    Client,
    /// A good API key of whatever power.
    Key,
    /// This power in the company that the path names; on the platform where it names none.
    Power(Power),
    /// An auditor's power in the company that the path names, or nothing where the operator has
    /// opened the logs.
    Log,
}

/// The challenge of the admin API (RFC 6750 §3).
const CHALLENGE: &str = "Bearer realm=\"token-ledger\"";

/// The challenge to a key that lacks the power: the least scope that gives it (RFC 6750 §3.1).
const fn lacking(needed: Power) -> &'static str {
    match needed {
        Power::Auditor => {
            "Bearer realm=\"token-ledger\", error=\"insufficient_scope\", scope=\"ledger.audit\""
        }
        Power::SuperAdmin => {
            "Bearer realm=\"token-ledger\", error=\"insufficient_scope\", scope=\"ledger.admin\""
        }
        Power::Operator => {
            "Bearer realm=\"token-ledger\", error=\"insufficient_scope\", scope=\"ledger.operator\""
        }
    }
}

/// A good API key and the power that it gives in the company asked about.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The key.
    pub key: ActiveKey,
    /// The digest of the secret that was shown.
    pub shown: Digest,
    /// The power.
    pub power: Option<Power>,
    /// The company asked about: the path's, or the key's own.
    pub company: CompanyId,
}

/// Lets the request through when its caller may, with an [`Authenticated`] in its extensions. A body
/// takes its time to come: whether the caller may is asked before it, so that nobody else's is read,
/// and after it, since a credential may be deleted meanwhile.
pub(super) async fn authorize(
    State((service, access)): State<(Arc<Service>, Access)>,
    path: Result<Path<HashMap<String, String>>, PathRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let info = request.extensions().get::<RequestInfo>();
    let ip = info.and_then(|info| info.ip);
    let is_readable = path.is_ok();
    let path = path.map(|Path(path)| path).unwrap_or_default();
    let mut admitted = admit(&service, access, &path, request.headers(), ip).await;
    let before = admitted.as_ref().ok().and_then(Option::as_ref).map(Authenticated::denied);
    if admitted.is_ok() && access != Access::Public && brings_body(&request) {
        request = match body::gathered(request).await {
            Ok(request) => request,
            Err(unread) => return unreadable(access, unread),
        };
        admitted = admit(&service, access, &path, request.headers(), ip).await;
    }
    match admitted {
        Ok(_) if !is_readable => {
            Problem::invalid("path", "must be UTF-8 where it is percent-encoded").into_response()
        }
        Ok(None) => next.run(request).await,
        Ok(Some(authenticated)) => {
            let denied = authenticated.denied();
            request.extensions_mut().insert(authenticated);
            answered(next.run(request).await, denied)
        }
        // Who was let through at first is known.
        Err(Refused { problem, denied }) => {
            noted(problem.into_response(), denied.map(|denied| before.unwrap_or(denied)))
        }
    }
}

/// The answer to somebody who was let through, with whom to note where it is a refusal all the same:
/// by its rules, or since the key's power ended meanwhile.
fn answered(response: Response, denied: Denied) -> Response {
    let is_denied = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    noted(response, Some(denied).filter(|_| is_denied))
}

/// The response, with what there is to note of it.
fn noted(mut response: Response, denied: Option<Denied>) -> Response {
    if let Some(denied) = denied {
        response.extensions_mut().insert(denied);
    }
    response
}

fn brings_body(request: &Request) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD) && !request.body().is_end_stream()
}

fn unreadable(access: Access, unread: Unread) -> Response {
    match access {
        Access::Client => oauth::error::OauthError::from(unread).into_response(),
        _ => Problem::from(unread).into_response(),
    }
}

async fn admit(
    service: &Service,
    access: Access,
    path: &HashMap<String, String>,
    headers: &HeaderMap,
    ip: Option<IpAddr>,
) -> Result<Option<Authenticated>, Refused> {
    let opened = access == Access::Log && service.app.evidence.is_public();
    if access == Access::Public {
        return Ok(None);
    }
    if access == Access::Client || opened {
        let what = if opened { "What is asked for" } else { WHETHER_CLIENT };
        return known_well_enough(service, what).await.map(|()| None);
    }
    let named = path.get("company_id").and_then(|text| text.parse().ok());
    let unknown = |problem| {
        let denied = Some(Denied { company: named, actor: None });
        Refused { problem, denied }
    };
    let credential = credential(headers).ok_or_else(|| {
        let detail = "Send one API key as `Authorization: Bearer KEY`.";
        unknown(Problem::unauthorized(CHALLENGE, detail))
    })?;
    let bad_key = || {
        let counted = service.app.throttle.failed(Failed::Key, ip, service.app.now());
        let detail = "The API key is unknown, expired or deleted.";
        unknown(match counted {
            Ok(()) => Problem::unauthorized(BAD_KEY, detail),
            Err(throttled) => throttled.into(),
        })
    };
    // Nothing needs to be known of what is no secret at all.
    if !is_well_formed(credential) {
        return Err(bad_key());
    }
    known_well_enough(service, WHETHER_KEY).await?;
    let shown = Digest::of(credential);
    let find = || service.app.index.key(&shown, service.app.now());
    if !service.app.learns_of(credential, || find().is_some()).await {
        return Err(not_known(WHETHER_KEY).into());
    }
    let key = find().ok_or_else(bad_key)?;
    let company = match path.get("company_id") {
        None => None,
        Some(text) => Some(parse_company(text)?),
    };
    let asked = company.unwrap_or(key.company_id);
    let power = power_of(&key, asked);
    let needed = match access {
        Access::Power(needed) => Some(needed),
        Access::Log => Some(Power::Auditor),
        Access::Public | Access::Key | Access::Client => None,
    };
    if let Some(needed) = needed {
        let stranger = company.is_some() && key.company_id != asked && power.is_none();
        let denied = Some(Denied { company, actor: Some(actor(&key)) });
        if stranger {
            let problem = Problem::new(Kind::NotFound, "There is no such company.");
            return Err(Refused { problem, denied });
        }
        if power.is_none_or(|power| power < needed) {
            let detail = match needed {
                Power::Auditor => {
                    "This needs a key with ledger.audit, ledger.admin or ledger.operator."
                }
                Power::SuperAdmin => "This needs a key with ledger.admin or ledger.operator.",
                Power::Operator => "This needs a key of the platform with ledger.operator.",
            };
            return Err(Refused { problem: Problem::forbidden(lacking(needed), detail), denied });
        }
    }
    Ok(Some(Authenticated { key, shown, power, company: asked }))
}

/// What is asked of a key, and of a client.
const WHETHER_KEY: &str = "Whether the key is good";
pub(super) const WHETHER_CLIENT: &str = "Whether the client is good";

/// # Errors
/// When what other processes did is not known well enough, and so neither is what is asked for.
async fn known_well_enough(service: &Service, what: &'static str) -> Result<(), Refused> {
    if service.app.knows().await {
        return Ok(());
    }
    Err(not_known(what).into())
}

/// The answer where it can't be known.
pub(super) fn not_known(what: &str) -> Problem {
    let detail = format!("{what} can't be known right now; try again.");
    Problem::new(Kind::Unavailable, detail)
}

/// Why a request is not let through, and what there is to note of it.
struct Refused {
    problem: Problem,
    denied: Option<Denied>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { problem, denied: None }
    }
}

const fn actor(key: &ActiveKey) -> Actor {
    Actor { kind: ActorType::Key, id: key.key_id.0 }
}

impl Authenticated {
    /// Who asks.
    pub const fn actor(&self) -> Actor {
        actor(&self.key)
    }

    const fn denied(&self) -> Denied {
        Denied { company: Some(self.company), actor: Some(self.actor()) }
    }
}

impl<S: Sync> FromRequestParts<S> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(Kind::Internal, "The route declares no access."))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Authenticated { key, shown, power, company } =
            Authenticated::from_request_parts(parts, state).await?;
        let info = parts.extensions.get::<RequestInfo>().cloned().unwrap_or_default();
        let power = power.ok_or_else(|| {
            let detail = "The API key gives no power over the ledger.";
            Problem::forbidden(lacking(Power::Auditor), detail)
        })?;
        Ok(Self {
            company,
            power,
            actor: actor(&key),
            name: Some(key.name.to_string()),
            shown: Shown::Key(shown),
            let_through_at: Moment::now(),
            credential: key.key_id.to_string(),
            request_id: Some(info.request_id),
            ip: info.ip.map(|ip| ip.to_string()),
            user_agent: info.user_agent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AppError;

    #[test]
    fn whoever_was_let_through_and_refused_all_the_same_is_noted() {
        let actor = Some(Actor { kind: ActorType::Key, id: uuid::Uuid::from_u128(7) });
        let noted = |response| {
            let denied = Denied { company: Some(CompanyId::PLATFORM), actor };
            let response = answered(response, denied);
            response.extensions().get::<Denied>().and_then(|denied| denied.actor)
        };
        let lapsed = Problem::from(AppError::Lapsed).into_response();
        assert_eq!(noted(lapsed), actor);
        assert_eq!(noted(Problem::from(AppError::NotVouchedFor).into_response()), actor);
        assert_eq!(noted(Problem::from(AppError::Contended).into_response()), None);
        assert_eq!(noted(StatusCode::OK.into_response()), None);
    }
}

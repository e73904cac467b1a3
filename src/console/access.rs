//! Who may see what. Every route of the console names its access; there is no way to add one
//! without.

use super::error::Trouble;
use super::theme::Theme;
use super::{cookie, guard, page, paths};
use crate::app::sessions::{Origin, Visitor};
use crate::app::view::CompanyView;
use crate::app::{AppError, Caller};
use crate::http::denials::Denied;
use crate::http::problem::Kind;
use crate::http::{RequestInfo, Service, body};
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use std::sync::Arc;
use token_ledger_domain::{Power, Timestamp};

/// What a route asks of its visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: anybody may see it.
    Public,
    /// A link's secret in the path, which the handler checks.
    Link,
    /// Being signed in.
    SignedIn,
    /// This power in the company that the session is in.
    Power(Power),
    /// Running the platform, whether or not a company is chosen.
    Platform,
}

/// Somebody who is signed in, with what a page needs to know of the request.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who, and in which session.
    pub visitor: Visitor,
    /// Where the request comes from.
    pub origin: Origin,
    /// The company that the session is in, once one is chosen.
    pub company: Option<CompanyView>,
    /// What every form has to carry.
    pub csrf: String,
    /// Light or dark.
    pub theme: Theme,
    /// Who runs the platform, as use cases want to know it: in the company or, where none is
    /// chosen, on the platform itself.
    pub operator: Option<Caller>,
    /// Whether there may be another company to choose.
    pub may_choose: bool,
    /// Whether the request is a form that was sent.
    pub sends: bool,
    /// When it came.
    pub came_at: Timestamp,
}

impl SignedIn {
    /// What tells pages of this session in this company from those of any other, and nothing else.
    pub fn whose(&self) -> String {
        let company = self.company.as_ref().map(|company| company.company_id.to_string());
        guard::mark(&self.csrf, &format!("page {}", company.unwrap_or_default()))
    }

    /// Goes on where the person has given the password lately, or else to the page that asks for
    /// it, and from there to `next`. What a form carried is lost by that, which the page says.
    ///
    /// # Errors
    /// The way to that page.
    pub fn confirmed(&self, service: &Service, next: &str) -> Result<(), Redirect> {
        if self.visitor.must_confirm(service.app.now()) {
            let way = paths::with_next(paths::CONFIRM, next);
            return Err(Redirect::to(&if self.sends { paths::unsaved(way) } else { way }));
        }
        Ok(())
    }
}

/// Lets the request through when its visitor may, with a [`SignedIn`] in its extensions; makes a
/// page of whatever goes wrong.
pub(super) async fn admit(
    State((service, access)): State<(Arc<Service>, Access)>,
    request: Request,
    next: Next,
) -> Response {
    let info = request.extensions().get::<RequestInfo>().cloned().unwrap_or_default();
    let theme = Theme::read(request.headers());
    let asked = is_read(request.method()).then(|| wanted(request.uri()).to_owned());
    let mut seen = None;
    let mut response = match checked(&service, access, request, &info, &mut seen).await {
        Ok(request) => next.run(request).await,
        Err(response) => response,
    };
    let trouble = response.extensions_mut().remove::<Trouble>();
    if let Some(trouble) = &trouble {
        let asked = asked.as_deref();
        response = page::trouble(seen.as_ref(), theme, trouble, &info.request_id, asked);
    }
    let is_throttled = trouble.map_or_else(
        || response.status() == StatusCode::TOO_MANY_REQUESTS,
        |trouble| trouble.kind == Kind::TooManyRequests,
    );
    if is_throttled || matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    {
        let caller = seen.and_then(|seen| seen.visitor.caller(&seen.origin));
        let denied = caller.as_ref().map_or_else(Denied::default, Denied::of);
        response.extensions_mut().insert(denied);
    }
    response
}

/// Whether a request of this kind changes nothing.
fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn checked(
    service: &Service,
    access: Access,
    request: Request,
    info: &RequestInfo,
    seen: &mut Option<SignedIn>,
) -> Result<Request, Response> {
    let changes = !is_read(request.method());
    let own = match access {
        Access::Link => guard::is_own_or_unnamed(service, request.headers()),
        _ => guard::is_own(service, request.headers()),
    };
    if changes && !own {
        return Err(forged("The request came from another site."));
    }
    if matches!(access, Access::Public | Access::Link) {
        return Ok(request);
    }
    // The session is looked at when the form is there: it may end while that takes its time to come.
    let has_cookie = cookie::read(service, request.headers()).is_some();
    let request = if changes && has_cookie {
        body::gathered(request).await.map_err(|unread| Trouble::from(unread).into_response())?
    } else {
        request
    };
    let Some(secret) = cookie::read(service, request.headers()).map(str::to_owned) else {
        if !changes && guard::is_from_elsewhere(request.headers()) {
            return Err(page::onward(wanted(request.uri())));
        }
        return Err(to_sign_in(&request));
    };
    let Some(visitor) = service.app.visitor(&secret).await.map_err(failed)? else {
        return Err(to_sign_in(&request));
    };
    let origin = Origin {
        request_id: Some(info.request_id.clone()),
        ip: info.ip,
        user_agent: info.user_agent.clone(),
    };
    let company = match visitor.caller(&origin) {
        Some(caller) => Some(service.app.company(&caller).await.map_err(failed)?),
        None => None,
    };
    let reach = service.app.reach(&visitor.account).await;
    let reach = reach.map_err(|error| failed(error.into()))?;
    let power = visitor.power;
    let operator = match power {
        Some(Power::Operator) => visitor.caller(&origin),
        Some(_) => None,
        None => reach.platform.and_then(|standing| visitor.operator(standing, &origin)),
    };
    let signed_in = SignedIn {
        may_choose: reach.is_wide || company.is_none(),
        visitor,
        origin,
        company,
        csrf: guard::token(&secret),
        theme: Theme::read(request.headers()),
        operator,
        sends: changes,
        came_at: service.app.now(),
    };
    let csrf = signed_in.csrf.clone();
    *seen = Some(signed_in.clone());
    let needed = match access {
        Access::Power(needed) => Some(needed),
        Access::Platform if signed_in.operator.is_none() => Some(Power::Operator),
        _ => None,
    };
    if let Some(needed) = needed {
        if power.is_none() {
            return Err(to_choose(&request));
        }
        if power < Some(needed) {
            let detail = match needed {
                Power::Auditor => "This is for members of the company.",
                Power::SuperAdmin => "This is for Super Admins. Ask one of your company.",
                Power::Operator => "This is for operators of the platform.",
            };
            return Err(Trouble::new(Kind::Forbidden, detail).into_response());
        }
    }
    let mut request = if changes { guarded(request, &csrf).await? } else { request };
    request.extensions_mut().insert(signed_in);
    Ok(request)
}

/// The request, if it carries the session's token.
async fn guarded(request: Request, token: &str) -> Result<Request, Response> {
    let (parts, body) = request.into_parts();
    let read = body::read(Request::from_parts(parts.clone(), body)).await;
    let bytes = read.map_err(|unread| Trouble::from(unread).into_response())?;
    if !guard::carries_token(&bytes, token) {
        return Err(forged("The form does not belong to this session. Open the page again."));
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn forged(detail: &str) -> Response {
    Trouble::new(Kind::Forbidden, detail).into_response()
}

fn failed(error: AppError) -> Response {
    Trouble::from(error).into_response()
}

/// To the page that signs in, and from there back to the page that was asked for or that the form
/// was on.
fn to_sign_in(request: &Request) -> Response {
    let wanted = paths::local(Some(wanted(request.uri())));
    let way = match *request.method() {
        _ if wanted == paths::HOME => paths::SIGN_IN.to_owned(),
        Method::GET | Method::HEAD => paths::with_next(paths::SIGN_IN, wanted),
        _ => {
            let form = paths::came_from(request.headers());
            paths::unsaved(paths::with_next(paths::SIGN_IN, &form))
        }
    };
    Redirect::to(&way).into_response()
}

/// To the page that chooses a company, and from there to the page that was asked for.
fn to_choose(request: &Request) -> Response {
    let way = match *request.method() {
        Method::GET | Method::HEAD => paths::with_next(paths::COMPANIES, wanted(request.uri())),
        _ => paths::COMPANIES.to_owned(),
    };
    Redirect::to(&way).into_response()
}

/// The page that a request asks for.
pub(super) fn wanted(uri: &Uri) -> &str {
    uri.path_and_query().map_or(paths::HOME, |path| path.as_str())
}

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Trouble> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Trouble::new(Kind::Internal, "The route declares no access."))
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Trouble> {
        let RequestInfo { request_id, ip, user_agent, .. } =
            parts.extensions.get::<RequestInfo>().cloned().unwrap_or_default();
        Ok(Self { request_id: Some(request_id), ip, user_agent })
    }
}

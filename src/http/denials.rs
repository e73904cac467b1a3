//! What was refused, who signed in, what was exported, and who made links to set passwords.

use super::Service;
use super::access::Authenticated;
use super::envelope::RequestInfo;
use super::extract::{Params, bound};
use super::page::{Page, PageQuery};
use super::problem::{Answer, Kind};
use super::reply::{RefusedRead, Reply};
use crate::app::{App, Caller};
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use token_ledger_domain::{Actor, CompanyId, Timestamp};
use token_ledger_projections::attempts::{Attempt, AttemptFilter, AttemptKind, Seen};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// In the extensions of a refusal: whose resources it was about and who asked, as far as known.
/// A refusal with 401 or 403 is noted without it too, as an unknown caller's; one with 404 only
/// with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Denied {
    /// The company whose resources it was about; the platform's where there is none.
    pub company: Option<CompanyId>,
    /// Who.
    pub actor: Option<Actor>,
}

impl Denied {
    /// A refusal of somebody known, about the resources of the company that they act in.
    pub const fn of(caller: &Caller) -> Self {
        Self { company: Some(caller.company), actor: Some(caller.actor) }
    }
}

/// Notes the answer if it is a refusal.
pub(super) fn note(
    app: &App,
    info: &RequestInfo,
    method: &'static str,
    route: &str,
    response: &Response,
    problem: Option<Kind>,
) {
    let status = response.status();
    let denied = response.extensions().get::<Denied>();
    let counts = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
        StatusCode::TOO_MANY_REQUESTS if problem == Some(Kind::TooManyRequests) => true,
        _ => denied.is_some(),
    };
    if !counts {
        return;
    }
    let Denied { company, actor } = denied.copied().unwrap_or_default();
    app.note(Seen {
        kind: AttemptKind::Denied,
        company_id: company.unwrap_or(CompanyId::PLATFORM),
        actor,
        method: method.to_string(),
        route: route.to_owned(),
        status: status.as_u16(),
        problem: problem.map(|kind| format!("/problems/{}", kind.slug())),
        request_id: Some(info.request_id.clone()),
        ip: info.ip,
        user_agent: info.user_agent.clone(),
    });
}

/// Which attempts of a company.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AttemptsQuery {
    /// At this time or later.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Before this time.
    #[param(format = DateTime)]
    to: Option<String>,
    /// The most records to answer with; 50 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Who, as far as known.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptActor {
    /// `member`, `key`, `client` or `operator`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The identifier of the member, key or client.
    id: Uuid,
}

/// What was asked for, and what was answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptAction {
    /// The request's method.
    method: String,
    /// The route, with names in place of what is in the path.
    route: String,
    /// The answer's status.
    status: u16,
    /// The kind of problem, where one was answered.
    problem: Option<String>,
}

/// From where.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptContext {
    /// The request.
    request_id: Option<String>,
    /// The address.
    ip: Option<String>,
    /// The program, as it calls itself.
    user_agent: Option<String>,
}

/// A refused request, a sign-in, an export or a link to set a password.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptView {
    /// The record.
    attempt_id: Uuid,
    /// The company whose resources it was about; the platform where none was named.
    company_id: Uuid,
    /// `denied`, `sign_in`, `export` or `password_link`.
    kind: &'static str,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who; null where nobody is known.
    actor: Option<AttemptActor>,
    /// What.
    action: AttemptAction,
    /// From where.
    context: AttemptContext,
}

impl From<Attempt> for AttemptView {
    fn from(Attempt { at, attempt_id, seen }: Attempt) -> Self {
        let actor = |actor: Actor| AttemptActor { kind: actor.kind.as_str(), id: actor.id };
        Self {
            attempt_id,
            company_id: seen.company_id.0,
            kind: seen.kind.as_str(),
            at,
            actor: seen.actor.map(actor),
            action: AttemptAction {
                method: seen.method,
                route: seen.route,
                status: seen.status,
                problem: seen.problem,
            },
            context: AttemptContext {
                request_id: seen.request_id,
                ip: seen.ip.map(|ip| ip.to_string()),
                user_agent: seen.user_agent,
            },
        }
    }
}

/// A page of records that are kept beside the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptPage {
    /// The records, newest first.
    items: Vec<AttemptView>,
    /// To be sent as `cursor` for the next page; null at the end.
    next_cursor: Option<String>,
    /// How many of the company's records of this kind were not kept, or no longer are.
    dropped: u64,
    /// Always false: no proof and no position stands behind these records.
    part_of_ledger: bool,
}

/// Refused attempts on the company's resources, newest first: 401, 403, 404 across companies and
/// throttled sign-ins. Those of unknown callers have no actor, and are the platform's where the path
/// names no company. Kept beside the ledger and bounded; `dropped` counts what was not kept.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/audit/denials",
    operation_id = "list_denials",
    tag = "audit",
    params(AttemptsQuery),
    responses(
        (status = 200, description = "A page of refused attempts", body = AttemptPage),
        RefusedRead,
    )
)]
pub(super) async fn denials(
    State(service): State<Arc<Service>>,
    Authenticated { company, .. }: Authenticated,
    Params(query): Params<AttemptsQuery>,
) -> Answer<Reply> {
    page(&service, company, AttemptKind::Denied, query).await
}

/// Who signed in to the company or entered it, newest first. Kept beside the ledger and bounded;
/// `dropped` counts what was not kept.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/audit/sign-ins",
    operation_id = "list_sign_ins",
    tag = "audit",
    params(AttemptsQuery),
    responses(
        (status = 200, description = "A page of sign-ins", body = AttemptPage),
        RefusedRead,
    )
)]
pub(super) async fn sign_ins(
    State(service): State<Arc<Service>>,
    Authenticated { company, .. }: Authenticated,
    Params(query): Params<AttemptsQuery>,
) -> Answer<Reply> {
    page(&service, company, AttemptKind::SignIn, query).await
}

/// Who took the company's records out, newest first. Kept beside the ledger and bounded; `dropped`
/// counts what was not kept.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/audit/exports",
    operation_id = "list_exports",
    tag = "audit",
    params(AttemptsQuery),
    responses(
        (status = 200, description = "A page of exports", body = AttemptPage),
        RefusedRead,
    )
)]
pub(super) async fn exports(
    State(service): State<Arc<Service>>,
    Authenticated { company, .. }: Authenticated,
    Params(query): Params<AttemptsQuery>,
) -> Answer<Reply> {
    page(&service, company, AttemptKind::Export, query).await
}

/// Who made links by which members set passwords, newest first; the route names the member. Who
/// holds such a link gets in as the member. Kept beside the ledger and bounded; `dropped` counts
/// what was not kept.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/audit/password-links",
    operation_id = "list_password_links",
    tag = "audit",
    params(AttemptsQuery),
    responses(
        (status = 200, description = "A page of links that were made", body = AttemptPage),
        RefusedRead,
    )
)]
pub(super) async fn password_links(
    State(service): State<Arc<Service>>,
    Authenticated { company, .. }: Authenticated,
    Params(query): Params<AttemptsQuery>,
) -> Answer<Reply> {
    page(&service, company, AttemptKind::PasswordLink, query).await
}

async fn page(
    service: &Service,
    company: CompanyId,
    kind: AttemptKind,
    query: AttemptsQuery,
) -> Answer<Reply> {
    let AttemptsQuery { from, to, limit, cursor } = query;
    let mut errors = Vec::new();
    let mut instant = |field, text: Option<&str>| {
        bound(field, text).map_err(|error| errors.push(error)).ok().flatten()
    };
    let (from, to) = (instant("from", from.as_deref()), instant("to", to.as_deref()));
    if !errors.is_empty() {
        return Err(errors.into());
    }
    let list = format!("{} of {company}, {from:?} to {to:?}", kind.as_str());
    let (limit, after) = PageQuery { limit, cursor }.read(&list)?;
    let filter = AttemptFilter { kind, from, to, after };
    let (listed, dropped) = service.app.attempts_page(company, filter, limit).await?;
    let Page { items, next_cursor } = Page::of(&list, listed, |place| place);
    let items = items.into_iter().map(AttemptView::from).collect();
    Ok(Reply::ok(AttemptPage { items, next_cursor, dropped, part_of_ledger: false }))
}

/// Notes that records are taken out by a request that was let through.
pub(super) fn note_export(
    app: &App,
    info: &RequestInfo,
    caller: &Authenticated,
    method: &Method,
    route: &str,
) {
    app.note(Seen {
        kind: AttemptKind::Export,
        company_id: caller.company,
        actor: Some(caller.actor()),
        method: method.to_string(),
        route: route.to_owned(),
        status: StatusCode::OK.as_u16(),
        problem: None,
        request_id: Some(info.request_id.clone()),
        ip: info.ip,
        user_agent: info.user_agent.clone(),
    });
}

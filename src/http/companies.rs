//! Companies, and what a caller can learn about itself and the scopes on offer.

use super::Service;
use super::access::Authenticated;
use super::extract::{IdempotencyKey, IfMatch, JsonBody, Params};
use super::page::{NoParams, Page, PageQuery};
use super::problem::Answer;
use super::reply::{RefusedChange, RefusedRead, Reply};
use super::vocabulary::{NameText, Reason};
use crate::app::Caller;
use crate::app::standing::power_of;
use crate::app::view::CompanyView;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use token_ledger_domain::{KeyScope, Power, Timestamp};
use token_ledger_projections::index::ActiveKey;
use utoipa::ToSchema;
use uuid::Uuid;

/// A new company.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCompany {
    /// Its name: 1 to 100 characters without control characters.
    #[serde(default)]
    #[schema(required = true, value_type = NameText)]
    name: String,
}

/// What the OAuth App module shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthApp {
    /// Whether it shall be on.
    enabled: bool,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhoAmI {
    /// Its company.
    company_id: Uuid,
    /// Its API key.
    key_id: Uuid,
    /// The key's name.
    name: String,
    /// The key's scopes.
    scopes: Vec<&'static str>,
    /// What it may do in its company: `operator`, `super_admin`, `auditor`, `resource_server`.
    powers: Vec<&'static str>,
    /// When the secret that it showed stops.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A data access on offer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScopeView {
    /// Its name.
    name: String,
    /// What it opens.
    description: String,
}

/// Lists all companies.
#[utoipa::path(
    get, path = "/v1/companies", operation_id = "list_companies", tag = "companies",
    params(PageQuery),
    responses((status = 200, description = "The companies", body = Page<CompanyView>), RefusedRead),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Params(query): Params<PageQuery>,
) -> Answer<Reply> {
    const LIST: &str = "companies";
    let (limit, after) = query.read(LIST)?;
    let listed = service.app.companies(after, limit).await?;
    Ok(Reply::ok(Page::of(LIST, listed, |company| company)))
}

/// Registers a company; its OAuth App module is off at first.
#[utoipa::path(
    post, path = "/v1/companies", operation_id = "create_company", tag = "companies",
    request_body = NewCompany,
    responses((status = 201, description = "The company", body = CompanyView), RefusedChange),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<NewCompany>,
) -> Answer<Reply> {
    let conditions = key.conditions(&caller, body.hash);
    let changed = service.app.register_company(&caller, body.value.name, conditions).await?;
    let path = format!("/v1/companies/{}", changed.view.company_id);
    let reply = Reply::new(StatusCode::CREATED, &changed.view);
    // Its registration is its first event.
    Ok(reply.location(&path).version(1).repeated(changed.repeated))
}

/// Reads a company.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}", operation_id = "get_company", tag = "companies",
    responses((status = 200, description = "The company", body = CompanyView), RefusedRead),
)]
pub async fn get(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
) -> Answer<Reply> {
    let (company, version) = service.app.versioned_company(&caller).await?;
    Ok(Reply::ok(company).changed_by_events_alone(version))
}

/// Turns the OAuth App module on or off. While it is off, no token of the company is active.
#[utoipa::path(
    put, path = "/v1/companies/{company_id}/oauth-app", operation_id = "set_oauth_app",
    tag = "companies",
    request_body = OauthApp,
    responses((status = 200, description = "The company", body = CompanyView), RefusedChange),
)]
pub async fn set_oauth_app(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
    if_match: IfMatch,
    body: JsonBody<OauthApp>,
) -> Answer<Reply> {
    let OauthApp { enabled, reason } = body.value;
    let set = |conditions| service.app.set_oauth_app(&caller, enabled, reason.clone(), conditions);
    let (company, version) = if_match.hold(None, set).await?;
    Ok(Reply::ok(company).version(version))
}

/// Tells a caller its company, powers and expiry.
#[utoipa::path(
    get, path = "/v1/whoami", operation_id = "whoami", tag = "keys",
    responses((status = 200, description = "Who the caller is", body = WhoAmI), RefusedRead),
)]
pub async fn whoami(
    Authenticated { key, power, .. }: Authenticated,
    _: Params<NoParams>,
) -> Answer<Reply> {
    let powers = [
        (power >= Some(Power::Operator), "operator"),
        (power >= Some(Power::SuperAdmin), "super_admin"),
        (power >= Some(Power::Auditor), "auditor"),
        (is_resource_server(&key), "resource_server"),
    ];
    Ok(Reply::ok(WhoAmI {
        company_id: key.company_id.0,
        key_id: key.key_id.0,
        name: key.name.to_string(),
        scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
        powers: powers.into_iter().filter(|(has, _)| *has).map(|(_, power)| power).collect(),
        expires_at: key.expires_at,
    }))
}

/// Whether the key may introspect tokens: an operator may all that others may.
fn is_resource_server(key: &ActiveKey) -> bool {
    key.scopes.contains(&KeyScope::Introspect)
        || power_of(key, key.company_id) == Some(Power::Operator)
}

/// Lists the data accesses on offer.
#[utoipa::path(
    get, path = "/v1/scopes", operation_id = "list_scopes", tag = "tokens", params(PageQuery),
    responses((status = 200, description = "The scopes", body = Page<ScopeView>), RefusedRead),
)]
pub async fn scopes(
    State(service): State<Arc<Service>>,
    Params(query): Params<PageQuery>,
) -> Answer<Reply> {
    let view = |(name, description): (&token_ledger_domain::Scope, &str)| ScopeView {
        name: name.to_string(),
        description: description.to_owned(),
    };
    let scopes = service.app.choices.catalogue.iter().map(view).collect();
    Ok(Reply::ok(Page::out_of("scopes", scopes, &query)?))
}

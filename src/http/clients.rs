//! OAuth clients.

use super::Service;
use super::extract::{IdempotencyKey, IfMatch, JsonBody, NoBody, Params, PathId};
use super::page::{self, NoParams, Page};
use super::problem::{Answer, Problem};
use super::reply::{RefusedChange, RefusedRead, Reply};
use super::tokens::DeleteQuery;
use super::vocabulary::{self, NameText, Reason, ScopeName};
use crate::app::Caller;
use crate::app::clients::NewClient;
use crate::app::error::Invalid;
use crate::app::input::Check;
use crate::app::outcome::Changed;
use crate::app::view::ClientView;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use token_ledger_domain::{ClientId, Secret};
use token_ledger_projections::clients::ClientStatus;
use utoipa::{IntoParams, ToSchema};

/// A new OAuth client.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClientRequest {
    /// Its name: 1 to 100 characters without control characters.
    #[serde(default)]
    #[schema(required = true, value_type = NameText)]
    name: String,
    /// The data accesses that it may ask for, of those on offer, each once.
    #[serde(default)]
    #[schema(required = true, min_items = 1, value_type = BTreeSet<ScopeName>)]
    scopes: Vec<String>,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

/// What a rotation shall be like.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// How long the old secret lives on, in seconds, up to the policy's maximum.
    #[schema(minimum = 0, maximum = 31_622_400)]
    grace_period_seconds: Option<i64>,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

/// Which clients a list shall hold.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClientQuery {
    /// `active` or `deleted`; may be repeated. Active ones unless given.
    #[serde(default)]
    #[param(value_type = Vec<vocabulary::ClientStatus>)]
    status: Vec<String>,
    /// The most things to answer with; 50 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A client with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub struct ClientWithSecret<'a> {
    #[serde(flatten)]
    view: &'a ClientView,
    /// The secret; null when the request is a repeat.
    client_secret: Option<&'a str>,
}

fn reply(status: StatusCode, changed: &Changed<ClientView>) -> Reply {
    let client_secret = changed.secret.as_ref().map(Secret::reveal);
    Reply::new(status, ClientWithSecret { view: &changed.view, client_secret })
        .version(changed.view.version)
        .repeated(changed.repeated)
}

/// Lists the company's OAuth clients, oldest first.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/clients", operation_id = "list_clients",
    tag = "clients",
    params(ClientQuery),
    responses((status = 200, description = "The clients", body = Page<ClientView>), RefusedRead),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Params(query): Params<ClientQuery>,
) -> Answer<Reply> {
    let mut check = Check::default();
    let statuses = check.taken(statuses(&query.status));
    let limit = check.taken(page::limit(query.limit));
    let list = format!("clients of {}: {statuses:?}", caller.company);
    let after = check.taken(page::place(&list, query.cursor.as_deref()));
    let (Some(statuses), Some(limit), Some(after)) = (statuses, limit, after) else {
        return Err(Problem::from(check.refusal()));
    };
    let listed = service.app.clients(&caller, &statuses, after, limit).await?;
    Ok(Reply::ok(Page::of(&list, listed, |client| client)))
}

fn statuses(names: &[String]) -> Result<BTreeSet<ClientStatus>, Invalid> {
    if names.is_empty() {
        return Ok(BTreeSet::from([ClientStatus::Active]));
    }
    let status = |name: &String| match name.as_str() {
        "active" => Some(ClientStatus::Active),
        "deleted" => Some(ClientStatus::Deleted),
        _ => None,
    };
    let parsed: Option<BTreeSet<ClientStatus>> = names.iter().map(status).collect();
    parsed.ok_or_else(|| Invalid::new("status", "must be active or deleted"))
}

/// Creates an OAuth client.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/clients", operation_id = "create_client",
    tag = "clients",
    request_body = NewClientRequest,
    responses((status = 201, description = "The client", body = ClientWithSecret), RefusedChange),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<NewClientRequest>,
) -> Answer<Reply> {
    let conditions = key.conditions(&caller, body.hash);
    let NewClientRequest { name, scopes, reason } = body.value;
    let input = NewClient { name, scopes, reason };
    let changed = service.app.create_client(&caller, input, conditions).await?;
    let path = format!("/v1/companies/{}/clients/{}", caller.company, changed.view.client_id);
    Ok(reply(StatusCode::CREATED, &changed).location(&path))
}

/// Reads an OAuth client.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/clients/{client_id}", operation_id = "get_client",
    tag = "clients",
    responses((status = 200, description = "The client", body = ClientView), RefusedRead),
)]
pub async fn get(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
) -> Answer<Reply> {
    let client = service.app.client(&caller, ClientId(id)).await?;
    Ok(Reply::ok(&client).version(client.version))
}

/// Gives an OAuth client a new secret.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/clients/{client_id}/rotate",
    operation_id = "rotate_client", tag = "clients",
    request_body = RotateRequest,
    responses((status = 200, description = "The client", body = ClientWithSecret), RefusedChange),
)]
pub async fn rotate(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
    if_match: IfMatch,
    key: IdempotencyKey,
    body: JsonBody<RotateRequest>,
) -> Answer<Reply> {
    let idempotency = key.of(&caller, body.hash);
    let RotateRequest { grace_period_seconds, reason } = body.value;
    let grace = grace_period_seconds.unwrap_or_default();
    let rotate = |conditions| {
        service.app.rotate_client(&caller, ClientId(id), grace, reason.clone(), conditions)
    };
    let changed = if_match.hold(idempotency, rotate).await?;
    Ok(reply(StatusCode::OK, &changed))
}

/// Deletes an OAuth client, for good, and the tokens that it got with it. It can still be read.
#[utoipa::path(
    delete, path = "/v1/companies/{company_id}/clients/{client_id}",
    operation_id = "delete_client", tag = "clients",
    params(DeleteQuery),
    responses((status = 204, description = "It is deleted"), RefusedChange),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    Params(query): Params<DeleteQuery>,
    if_match: IfMatch,
    _: NoBody,
) -> Answer<StatusCode> {
    let delete = |conditions| {
        service.app.delete_client(&caller, ClientId(id), query.reason.clone(), conditions)
    };
    if_match.hold(None, delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! API keys.

use super::Service;
use super::access::Authenticated;
use super::extract::{IdempotencyKey, IfMatch, JsonBody, NoBody, Params, PathId};
use super::page::{NoParams, Page, PageQuery};
use super::problem::Answer;
use super::reply::{RefusedChange, RefusedRead, Reply};
use super::tokens::DeleteQuery;
use super::vocabulary::{KeyScopeName, NameText, Reason};
use crate::app::Caller;
use crate::app::keys::{NewKey, Renewal};
use crate::app::outcome::Changed;
use crate::app::view::KeyView;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use token_ledger_domain::{KeyId, Secret};
use utoipa::ToSchema;

/// A new API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyRequest {
    /// Its name: 1 to 100 characters without control characters.
    #[serde(default)]
    #[schema(required = true, value_type = NameText)]
    name: String,
    /// Its scopes: `ledger.admin`, `ledger.audit`, `ledger.introspect`; `ledger.operator` for keys
    /// of the platform.
    #[serde(default)]
    #[schema(required = true, min_items = 1, value_type = BTreeSet<KeyScopeName>)]
    scopes: Vec<String>,
    /// Length of its first term, in seconds; 90 days unless given.
    #[schema(minimum = 60, maximum = 31_622_400)]
    expires_in_seconds: Option<i64>,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

/// What a refresh of a key shall be like.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRefreshRequest {
    /// How long the old secret lives on, in seconds, up to a day.
    #[schema(minimum = 0, maximum = 86_400)]
    grace_period_seconds: Option<i64>,
    /// Length of the new term, in seconds; 90 days unless given.
    #[schema(minimum = 60, maximum = 31_622_400)]
    expires_in_seconds: Option<i64>,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

impl From<KeyRefreshRequest> for Renewal {
    fn from(request: KeyRefreshRequest) -> Self {
        let KeyRefreshRequest { grace_period_seconds, expires_in_seconds, reason } = request;
        let grace_period_seconds = grace_period_seconds.unwrap_or_default();
        Self { grace_period_seconds, expires_in_seconds, reason }
    }
}

/// A key with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub struct KeyWithSecret<'a> {
    #[serde(flatten)]
    view: &'a KeyView,
    /// The secret; null when the request is a repeat.
    key: Option<&'a str>,
}

fn reply(status: StatusCode, changed: &Changed<KeyView>) -> Reply {
    let key = changed.secret.as_ref().map(Secret::reveal);
    Reply::new(status, KeyWithSecret { view: &changed.view, key })
        .version(changed.view.version)
        .repeated(changed.repeated)
}

/// Lists the company's API keys, newest first.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/keys", operation_id = "list_keys", tag = "keys",
    params(PageQuery),
    responses((status = 200, description = "The keys", body = Page<KeyView>), RefusedRead),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Answer<Reply> {
    let list = format!("keys of {}", caller.company);
    let (limit, after) = query.read(&list)?;
    let listed = service.app.keys(&caller, after, limit).await?;
    Ok(Reply::ok(Page::of(&list, listed, |key| key)))
}

/// Creates an API key. Nobody grants above their own power.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/keys", operation_id = "create_key", tag = "keys",
    request_body = NewKeyRequest,
    responses((status = 201, description = "The key", body = KeyWithSecret), RefusedChange),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<NewKeyRequest>,
) -> Answer<Reply> {
    let conditions = key.conditions(&caller, body.hash);
    let NewKeyRequest { name, scopes, expires_in_seconds, reason } = body.value;
    let input = NewKey { name, scopes, expires_in_seconds, reason };
    let changed = service.app.create_key(&caller, input, conditions).await?;
    let path = format!("/v1/companies/{}/keys/{}", caller.company, changed.view.key_id);
    Ok(reply(StatusCode::CREATED, &changed).location(&path))
}

/// Reads an API key.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/keys/{key_id}", operation_id = "get_key",
    tag = "keys",
    responses((status = 200, description = "The key", body = KeyView), RefusedRead),
)]
pub async fn get(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
) -> Answer<Reply> {
    let key = service.app.key(&caller, KeyId(id)).await?;
    Ok(Reply::ok(&key).version(key.version))
}

/// Gives an API key a new term and a new secret.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/keys/{key_id}/refresh", operation_id = "refresh_key",
    tag = "keys",
    request_body = KeyRefreshRequest,
    responses((status = 200, description = "The key", body = KeyWithSecret), RefusedChange),
)]
pub async fn refresh(
    State(service): State<Arc<Service>>,
    who: (Caller, Authenticated),
    PathId(id): PathId,
    _: Params<NoParams>,
    if_match: IfMatch,
    key: IdempotencyKey,
    body: JsonBody<KeyRefreshRequest>,
) -> Answer<Reply> {
    let (caller, Authenticated { key: own, shown, .. }) = who;
    let id = KeyId(id);
    let shown = (own.key_id == id).then_some(shown);
    let idempotency = key.of(&caller, body.hash);
    let input: Renewal = body.value.into();
    let refresh =
        |conditions| service.app.refresh_key(&caller, id, shown, input.clone(), conditions);
    let changed = if_match.hold(idempotency, refresh).await?;
    Ok(reply(StatusCode::OK, &changed))
}

/// Deletes an API key.
#[utoipa::path(
    delete, path = "/v1/companies/{company_id}/keys/{key_id}", operation_id = "delete_key",
    tag = "keys",
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
    let delete =
        |conditions| service.app.delete_key(&caller, KeyId(id), query.reason.clone(), conditions);
    if_match.hold(None, delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

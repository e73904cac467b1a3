//! Tokens.

use super::Service;
use super::extract::{IdempotencyKey, IfMatch, JsonBody, NoBody, Params, PathId, time};
use super::page::{NoParams, Page};
use super::problem::Answer;
use super::reply::{RefusedChange, RefusedRead, Reply};
use super::token_list::{self, TokenQuery};
use super::vocabulary::{NameText, Reason, ScopeName};
use crate::app::Caller;
use crate::app::keys::Renewal;
use crate::app::outcome::Changed;
use crate::app::tokens::NewToken;
use crate::app::view::TokenView;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use token_ledger_domain::{Secret, TokenId};
use utoipa::{IntoParams, ToSchema};

/// A new token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTokenRequest {
    /// Its name: 1 to 100 characters without control characters.
    #[serde(default)]
    #[schema(required = true, value_type = NameText)]
    name: String,
    /// Its scopes, of those on offer, each once.
    #[serde(default)]
    #[schema(required = true, min_items = 1, value_type = BTreeSet<ScopeName>)]
    scopes: Vec<String>,
    /// Length of its first term, in seconds, up to the policy's maximum; the lesser of seven days
    /// and the maximum unless given.
    #[schema(minimum = 60, maximum = 31_622_400)]
    expires_in_seconds: Option<i64>,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

/// What a refresh shall be like.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// How long the old secret lives on, in seconds, up to the policy's maximum, and no longer than its
    /// own term and the new one. Unless given, it stops at once.
    #[schema(minimum = 0, maximum = 31_622_400)]
    grace_period_seconds: Option<i64>,
    /// Length of the new term, in seconds; unless given, as of a new token: seven days, or the policy's
    /// maximum if that is less.
    #[schema(minimum = 60, maximum = 31_622_400)]
    expires_in_seconds: Option<i64>,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

impl From<RefreshRequest> for Renewal {
    fn from(request: RefreshRequest) -> Self {
        let RefreshRequest { grace_period_seconds, expires_in_seconds, reason } = request;
        let grace_period_seconds = grace_period_seconds.unwrap_or_default();
        Self { grace_period_seconds, expires_in_seconds, reason }
    }
}

/// Why the old secret shall stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndGraceRequest {
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

/// Other scopes for a token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// The whole new set.
    #[serde(default)]
    #[schema(required = true, min_items = 1, value_type = BTreeSet<ScopeName>)]
    scopes: Vec<String>,
    /// Why, for the audit trail.
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
}

/// A secret whose token is looked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindRequest {
    /// The secret.
    token: String,
}

impl fmt::Debug for FindRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FindRequest").finish_non_exhaustive()
    }
}

/// What a deletion takes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Why, for the audit trail; at most 500 characters.
    #[param(value_type = Option<Reason>)]
    pub reason: Option<String>,
}

/// As of when a token is read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AtQuery {
    /// A past time: the token is answered as it was then.
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<String>,
}

/// A token with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub struct TokenWithSecret<'a> {
    #[serde(flatten)]
    view: &'a TokenView,
    /// The secret; null when the request is a repeat.
    token: Option<&'a str>,
}

fn with_secret(status: StatusCode, changed: &Changed<TokenView>) -> Reply {
    let token = changed.secret.as_ref().map(Secret::reveal);
    Reply::new(status, TokenWithSecret { view: &changed.view, token })
        .version(changed.view.version)
        .repeated(changed.repeated)
}

/// Creates a token.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/tokens", operation_id = "create_token",
    tag = "tokens",
    request_body = NewTokenRequest,
    responses((status = 201, description = "The token", body = TokenWithSecret), RefusedChange),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<NewTokenRequest>,
) -> Answer<Reply> {
    let conditions = key.conditions(&caller, body.hash);
    let NewTokenRequest { name, scopes, expires_in_seconds, reason } = body.value;
    let input = NewToken { name, scopes, expires_in_seconds, client_id: None, reason };
    let changed = service.app.create_token(&caller, input, conditions).await?;
    let path = format!("/v1/companies/{}/tokens/{}", caller.company, changed.view.token_id);
    Ok(with_secret(StatusCode::CREATED, &changed).location(&path))
}

/// Lists the company's tokens.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/tokens", operation_id = "list_tokens",
    tag = "tokens",
    params(TokenQuery),
    responses((status = 200, description = "The tokens", body = Page<TokenView>), RefusedRead),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Params(query): Params<TokenQuery>,
) -> Answer<Reply> {
    let asked = query.read(caller.company, service.app.now())?;
    let listed = service.app.tokens(&caller, &asked.filter, asked.page).await?;
    Ok(Reply::ok(Page::of(&asked.list, listed, token_list::Place::from)))
}

/// Finds the token that a secret belongs or belonged to.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/tokens/find", operation_id = "find_token",
    tag = "tokens",
    request_body = FindRequest,
    responses((status = 200, description = "The token", body = TokenView), RefusedChange),
)]
pub async fn find(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<FindRequest>,
) -> Answer<Reply> {
    let idempotency = key.of(&caller, body.hash);
    let (token, repeated) = service.app.find_token(&caller, &body.value.token, idempotency).await?;
    Ok(Reply::ok(&token).version(token.version).repeated(repeated))
}

/// Reads a token, as it is or as it was.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/tokens/{token_id}", operation_id = "get_token",
    tag = "tokens",
    params(AtQuery),
    responses((status = 200, description = "The token", body = TokenView), RefusedRead),
)]
pub async fn get(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    Params(query): Params<AtQuery>,
) -> Answer<Reply> {
    let at = time("at", query.at.as_deref()).map_err(|error| vec![error])?;
    let token = service.app.token(&caller, TokenId(id), at).await?;
    Ok(Reply::ok(&token).version(token.version))
}

/// Gives a token a new term and a new secret.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/tokens/{token_id}/refresh",
    operation_id = "refresh_token", tag = "tokens",
    request_body = RefreshRequest,
    responses((status = 200, description = "The token", body = TokenWithSecret), RefusedChange),
)]
pub async fn refresh(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
    if_match: IfMatch,
    key: IdempotencyKey,
    body: JsonBody<RefreshRequest>,
) -> Answer<Reply> {
    let idempotency = key.of(&caller, body.hash);
    let input: Renewal = body.value.into();
    let refresh =
        |conditions| service.app.refresh_token(&caller, TokenId(id), input.clone(), conditions);
    let changed = if_match.hold(idempotency, refresh).await?;
    Ok(with_secret(StatusCode::OK, &changed))
}

/// Stops a token's old secret now.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/tokens/{token_id}/end-grace",
    operation_id = "end_grace", tag = "tokens",
    request_body = EndGraceRequest,
    responses((status = 200, description = "The token", body = TokenView), RefusedChange),
)]
pub async fn end_grace(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
    if_match: IfMatch,
    key: IdempotencyKey,
    body: JsonBody<EndGraceRequest>,
) -> Answer<Reply> {
    let idempotency = key.of(&caller, body.hash);
    let reason = body.value.reason;
    let end = |conditions| service.app.end_grace(&caller, TokenId(id), reason.clone(), conditions);
    let Changed { view, repeated, .. } = if_match.hold(idempotency, end).await?;
    Ok(Reply::ok(&view).version(view.version).repeated(repeated))
}

/// Replaces a token's scopes.
#[utoipa::path(
    patch, path = "/v1/companies/{company_id}/tokens/{token_id}", operation_id = "change_token",
    tag = "tokens",
    request_body = ChangeRequest,
    responses((status = 200, description = "The token", body = TokenView), RefusedChange),
)]
pub async fn change(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
    if_match: IfMatch,
    body: JsonBody<ChangeRequest>,
) -> Answer<Reply> {
    let ChangeRequest { scopes, reason } = body.value;
    let change = |conditions| {
        service.app.change_scopes(&caller, TokenId(id), &scopes, reason.clone(), conditions)
    };
    let Changed { view, .. } = if_match.hold(None, change).await?;
    Ok(Reply::ok(&view).version(view.version))
}

/// Deletes a token, for good. It can still be read, with its history.
#[utoipa::path(
    delete, path = "/v1/companies/{company_id}/tokens/{token_id}", operation_id = "delete_token",
    tag = "tokens",
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
        service.app.delete_token(&caller, TokenId(id), query.reason.clone(), conditions)
    };
    if_match.hold(None, delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

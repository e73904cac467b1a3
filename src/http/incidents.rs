//! Incidents: deleting many tokens at once.

use super::Service;
use super::extract::{IdempotencyKey, JsonBody, Params, PathId};
use super::page::NoParams;
use super::problem::Answer;
use super::reply::{RefusedChange, RefusedRead, Reply};
use super::vocabulary::{AnyScope, RequiredReason};
use crate::app::Caller;
use crate::app::sweeps::{DeleteAll, OperationView};
use axum::extract::State;
use axum::http::StatusCode;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::sync::Arc;
use token_ledger_domain::ClientId;
use utoipa::ToSchema;
use uuid::Uuid;

/// Which tokens shall be deleted; all of the company where no filter is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteAllRequest {
    /// Those that this client got.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    client_id: Option<Uuid>,
    /// Those that have this scope.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, value_type = Option<AnyScope>)]
    scope: Option<String>,
    /// Those that this actor created.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    created_by: Option<Uuid>,
    /// Why, for the audit trail.
    #[schema(required = true, value_type = RequiredReason)]
    reason: Option<String>,
}

/// A filter that is named has a value: a null that stands for a variable without one would delete
/// everything.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)?.map(Some).ok_or_else(|| {
        D::Error::custom("must not be null; leave it out to delete regardless of it")
    })
}

/// Begins to delete all tokens that match, of those that exist now.
#[utoipa::path(
    post, path = "/v1/companies/{company_id}/tokens/delete-all", operation_id = "delete_all_tokens",
    tag = "tokens",
    request_body = DeleteAllRequest,
    responses((status = 202, description = "It has begun", body = OperationView), RefusedChange),
)]
pub async fn begin(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<DeleteAllRequest>,
) -> Answer<Reply> {
    let idempotency = key.of(&caller, body.hash);
    let DeleteAllRequest { client_id, scope, created_by, reason } = body.value;
    let input = DeleteAll { client_id: client_id.map(ClientId), scope, created_by, reason };
    let begun = service.app.delete_all(&caller, input, idempotency).await?;
    let operation = begun.view.operation_id;
    let path = format!("/v1/companies/{}/tokens/delete-all/{operation}", caller.company);
    let reply = Reply::new(StatusCode::ACCEPTED, &begun.view);
    Ok(reply.location(&path).repeated(begun.repeated))
}

/// Reads how far a deletion has come.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}/tokens/delete-all/{operation_id}",
    operation_id = "get_delete_all", tag = "tokens",
    responses((status = 200, description = "Its progress", body = OperationView), RefusedRead),
)]
pub async fn progress(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(id): PathId,
    _: Params<NoParams>,
) -> Answer<Reply> {
    Ok(Reply::ok(service.app.operation(&caller, id).await?))
}

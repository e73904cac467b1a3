//! What a company's ledger holds of people.

use super::Service;
use super::extract::{IdempotencyKey, JsonBody, Params, PathId};
use super::page::NoParams;
use super::problem::Answer;
use super::reply::{RefusedChange, Reply};
use super::vocabulary::RequiredReason;
use crate::app::Caller;
use crate::app::erasure::Erased;
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use token_ledger_domain::PersonId;
use utoipa::ToSchema;

/// An order to erase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ErasureOrder {
    /// On whose order, and why; it is recorded with the erasure.
    #[schema(value_type = RequiredReason)]
    reason: String,
}

/// Erases what names or describes a person: private parts of events with their salts, and the
/// account. What the person did stays, and so do its proofs.
#[utoipa::path(
    post,
    path = "/v1/companies/{company_id}/people/{person_id}/erase",
    operation_id = "erase_person",
    tag = "evidence",
    request_body = ErasureOrder,
    responses((status = 200, description = "What was erased", body = Erased), RefusedChange)
)]
pub(super) async fn erase(
    State(service): State<Arc<Service>>,
    caller: Caller,
    PathId(person): PathId,
    _: Params<NoParams>,
    key: IdempotencyKey,
    JsonBody { value: order, hash }: JsonBody<ErasureOrder>,
) -> Answer<Reply> {
    let key = key.of(&caller, hash);
    let erased = service.app.erase_person(&caller, PersonId(person), &order.reason, key).await?;
    Ok(Reply::ok(erased.view).repeated(erased.repeated))
}

//! Projections: how they are doing, and rebuilding them.

use super::Service;
use super::extract::{IdempotencyKey, JsonBody, Params};
use super::page::{NoParams, Page, PageQuery};
use super::problem::Answer;
use super::reply::{RefusedChange, RefusedRead, Reply};
use crate::app::Caller;
use crate::app::rebuilds::{ProjectionView, RebuildView};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A body without fields.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// All projections, and how far behind the log they are.
#[utoipa::path(
    get,
    path = "/v1/projections",
    operation_id = "list_projections",
    tag = "operations",
    params(PageQuery),
    responses(
        (status = 200, description = "The projections", body = Page<ProjectionView>),
        RefusedRead,
    )
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Params(query): Params<PageQuery>,
) -> Answer<Reply> {
    Ok(Reply::ok(Page::out_of("projections", service.app.projections().await?, &query)?))
}

/// Rebuilds a projection from the events, beside the live rows, and puts those right that differ.
/// Readers are served throughout. One rebuild runs at a time.
#[utoipa::path(
    post,
    path = "/v1/projections/{name}/rebuild",
    operation_id = "rebuild_projection",
    tag = "operations",
    params(("name" = String, Path, description = "The projection's name, or `all`")),
    request_body(content = Nothing, description = "Nothing is asked for"),
    responses(
        (status = 202, description = "It has begun", body = RebuildView, headers(
            ("Location" = String, description = "Where its progress is"),
        )),
        RefusedChange,
    )
)]
pub(super) async fn rebuild(
    State(service): State<Arc<Service>>,
    caller: Caller,
    name: Path<String>,
    _: Params<NoParams>,
    idempotency: IdempotencyKey,
    JsonBody { hash, .. }: JsonBody<Nothing>,
) -> Answer<Reply> {
    let idempotency = idempotency.of(&caller, hash);
    let begun = service.app.start_rebuild(&caller, &name, idempotency).await?;
    let progress = format!("/v1/projections/{}/rebuild", *name);
    Ok(Reply::new(StatusCode::ACCEPTED, begun.view).location(&progress).repeated(begun.repeated))
}

/// The latest rebuild of a projection, whichever process runs or ran it.
#[utoipa::path(
    get,
    path = "/v1/projections/{name}/rebuild",
    operation_id = "get_rebuild",
    tag = "operations",
    params(("name" = String, Path, description = "The projection's name, or `all`")),
    responses(
        (status = 200, description = "How far it is", body = RebuildView),
        RefusedRead,
    )
)]
pub(super) async fn progress(
    State(service): State<Arc<Service>>,
    name: Path<String>,
    _: Params<NoParams>,
) -> Answer<Reply> {
    Ok(Reply::ok(service.app.rebuild(&name).await?))
}

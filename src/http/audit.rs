//! The audit trail: lists, a token's history, exports.

use super::access::Authenticated;
use super::denials::note_export;
use super::extract::{Params, PathId, bound};
use super::lasting::{KeyHolder, Recipient};
use super::page::{Page, PageQuery};
use super::problem::{Answer, Problem};
use super::reply::{RefusedRead, Reply};
use super::vocabulary::{self, EventType};
use super::{RequestInfo, Service};
use crate::app::audit::{AuditFilter, AuditPage, Export, ExportFormat};
use crate::app::streams::StreamPlace;
use crate::app::view::EventView;
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Extension};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use token_ledger_domain::{CompanyId, TokenId};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// The order of a list of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

/// The order of the list of all companies' events.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NewestFirst {
    /// Newest first.
    #[default]
    Desc,
}

/// Which events of a company.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// About this token.
    token_id: Option<Uuid>,
    /// Of this type; repeatable.
    #[serde(default, rename = "type")]
    #[param(rename = "type", value_type = Vec<EventType>)]
    types: Vec<String>,
    /// Done by this member, key or client.
    actor_id: Option<Uuid>,
    /// Recorded at this time or later.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Recorded before this time.
    #[param(format = DateTime)]
    to: Option<String>,
    /// `desc`, newest first, unless asked otherwise.
    #[serde(default)]
    #[param(inline, required = false)]
    order: Order,
    /// The most events to answer with; 50 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which events of all companies.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EverywhereQuery {
    /// About this token.
    token_id: Option<Uuid>,
    /// Of this type; repeatable.
    #[serde(default, rename = "type")]
    #[param(rename = "type", value_type = Vec<EventType>)]
    types: Vec<String>,
    /// Done by this member, key or client.
    actor_id: Option<Uuid>,
    /// Recorded at this time or later.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Recorded before this time.
    #[param(format = DateTime)]
    to: Option<String>,
    /// `desc`: the newest come first. Another order is had of one company only.
    #[serde(default, rename = "order")]
    #[param(inline, required = false)]
    _order: NewestFirst,
    /// The most events to answer with; 50 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What to export.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// `ndjson`, unless asked otherwise, or `csv`.
    #[param(value_type = Option<vocabulary::ExportFormat>)]
    format: Option<String>,
    /// About this token.
    token_id: Option<Uuid>,
    /// Of this type; repeatable.
    #[serde(default, rename = "type")]
    #[param(rename = "type", value_type = Vec<EventType>)]
    types: Vec<String>,
    /// Done by this member, key or client.
    actor_id: Option<Uuid>,
    /// Recorded at this time or later.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Recorded before this time.
    #[param(format = DateTime)]
    to: Option<String>,
}

/// The company's events, newest first unless asked otherwise. Everything that was committed when
/// the request arrived is included.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/audit/events",
    operation_id = "list_audit_events",
    tag = "audit",
    params(EventsQuery),
    responses(
        (status = 200, description = "A page of events", body = Page<EventView>),
        RefusedRead,
    )
)]
pub(super) async fn events(
    State(service): State<Arc<Service>>,
    Authenticated { company, .. }: Authenticated,
    Params(query): Params<EventsQuery>,
) -> Answer<Reply> {
    let filter = filter(
        query.token_id,
        query.types,
        query.actor_id,
        query.from.as_deref(),
        query.to.as_deref(),
    )?;
    let descending = query.order == Order::Desc;
    let list = format!("events of {company}, descending: {descending}, {filter:?}");
    let (limit, after) = PageQuery { limit: query.limit, cursor: query.cursor }.read(&list)?;
    let page = AuditPage { descending, after, limit };
    let listed = service.app.audit_page(company, &filter, page).await?;
    Ok(Reply::ok(Page::of(&list, listed, |position| position)))
}

/// The newest events of all companies, as far as the audit trails have got.
#[utoipa::path(
    get,
    path = "/v1/audit/events",
    operation_id = "list_all_audit_events",
    tag = "audit",
    params(EverywhereQuery),
    responses(
        (status = 200, description = "A page of events", body = Page<EventView>),
        RefusedRead,
    )
)]
pub(super) async fn events_everywhere(
    State(service): State<Arc<Service>>,
    Params(query): Params<EverywhereQuery>,
) -> Answer<Reply> {
    let filter = filter(
        query.token_id,
        query.types,
        query.actor_id,
        query.from.as_deref(),
        query.to.as_deref(),
    )?;
    let list = format!("events of all companies, {filter:?}");
    let (limit, after) = PageQuery { limit: query.limit, cursor: query.cursor }.read(&list)?;
    let listed = service.app.audit_everywhere(&filter, after, limit).await?;
    Ok(Reply::ok(Page::of(&list, listed, |place| place)))
}

/// What happened to a token, oldest first.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/tokens/{token_id}/history",
    operation_id = "get_token_history",
    tag = "audit",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of events", body = Page<EventView>),
        RefusedRead,
    )
)]
pub(super) async fn history(
    State(service): State<Arc<Service>>,
    Authenticated { company, .. }: Authenticated,
    PathId(token): PathId,
    Params(query): Params<PageQuery>,
) -> Answer<Reply> {
    let list = format!("history of {token} in {company}");
    let (limit, after) = query.read(&list)?;
    let after = after.unwrap_or(0);
    let listed = service.app.token_history(company, TokenId(token), after, limit).await?;
    Ok(Reply::ok(Page::of(&list, listed, |sequence| sequence)))
}

/// All events that match, oldest first, as a file of any size. The last record of NDJSON is
/// `{"export":{"count","last_position"}}`; without it, the export was cut.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/audit/export",
    operation_id = "export_audit_events",
    tag = "audit",
    params(ExportQuery),
    responses(
        (status = 200, description = "The events", content(
            (String = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        RefusedRead,
    )
)]
pub(super) async fn export(
    State(service): State<Arc<Service>>,
    caller: Authenticated,
    Extension(info): Extension<RequestInfo>,
    method: Method,
    route: MatchedPath,
    headers: HeaderMap,
    Params(query): Params<ExportQuery>,
) -> Answer<Response> {
    let company = caller.company;
    let filter = filter(
        query.token_id,
        query.types,
        query.actor_id,
        query.from.as_deref(),
        query.to.as_deref(),
    )?;
    let format = query.format.as_deref().unwrap_or(ExportFormat::Ndjson.as_str());
    let format: ExportFormat =
        format.parse().map_err(|detail: String| Problem::invalid("format", detail))?;
    let mut export = service.app.export(company, filter, format);
    let place = service.app.streams.begin(caller.key.key_id.0, company)?;
    export.begin().await?;
    // Nothing leaves in answer to HEAD.
    if method == Method::GET {
        note_export(&service.app, &info, &caller, &method, route.as_str());
    }
    let holder = KeyHolder::of(&service, company, &headers);
    Ok(download(export, (holder, place), company, format))
}

/// An export as a file, for as long as its recipient may read it.
pub fn download<R: Recipient>(
    export: Export,
    recipient: (R, StreamPlace),
    company: CompanyId,
    format: ExportFormat,
) -> Response {
    let content_type = match format {
        ExportFormat::Ndjson => "application/x-ndjson",
        ExportFormat::Csv => "text/csv; charset=utf-8; header=present",
    };
    let name = format!("attachment; filename=\"audit-{company}.{}\"", format.as_str());
    let name = HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_DISPOSITION, name),
    ];
    let chunks = futures::stream::try_unfold((export, recipient), next_chunk);
    (headers, Body::from_stream(chunks)).into_response()
}

/// The next chunk that holds something. An error cuts the body, so that it is seen.
async fn next_chunk<R: Recipient>(
    (mut export, recipient): (Export, (R, StreamPlace)),
) -> Result<Option<(Bytes, (Export, (R, StreamPlace)))>, BoxError> {
    loop {
        let chunk = match export.next_chunk().await {
            Ok(Some(chunk)) if chunk.is_empty() => continue,
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::error!(%error, "an export was cut");
                return Err(error.into());
            }
        };
        if !recipient.0.may_read().await? {
            tracing::warn!("an export was cut: whoever asked for it may not read on");
            return Err("whoever asked for the export may not read on".into());
        }
        return Ok(Some((chunk.into(), (export, recipient))));
    }
}

fn filter(
    token_id: Option<Uuid>,
    types: Vec<String>,
    actor_id: Option<Uuid>,
    from: Option<&str>,
    to: Option<&str>,
) -> Answer<AuditFilter> {
    let mut errors = Vec::new();
    let mut instant =
        |field, text| bound(field, text).map_err(|error| errors.push(error)).ok().flatten();
    let (from, to) = (instant("from", from), instant("to", to));
    if !errors.is_empty() {
        return Err(errors.into());
    }
    let types = types.into_iter().collect();
    let filter = AuditFilter { token_id: token_id.map(TokenId), types, actor_id, from, to };
    filter.check()?;
    Ok(filter)
}

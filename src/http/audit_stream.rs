//! The audit trail, live: server-sent events.

use super::Service;
use super::access::Authenticated;
use super::extract::Params;
use super::follower::{self, Follower};
use super::lasting::{KeyHolder, Recipient};
use super::problem::{Answer, Problem};
use super::reply::RefusedRead;
use crate::app::AppError;
use crate::app::view::EventView;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use axum::response::sse::Event;
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_event_store::StoreError;
use utoipa::{IntoParams, ToSchema};

/// How often an idle stream looks whether its caller still may listen.
const RECHECK: Duration = Duration::from_millis(500);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where a stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// The position behind which the stream begins; the ledger's present end where neither this
    /// nor `Last-Event-ID` is given.
    after: Option<u64>,
}

/// An event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the stream, which is written without it")]
pub(super) struct StreamedEvent {
    /// The event's position.
    id: String,
    /// The event's type.
    event: String,
    /// The event, as the lists have it.
    data: String,
}

/// The company's events as they are recorded, as server-sent events: the position is the event's
/// `id`, its type the `event`, the event itself the `data`.
#[utoipa::path(
    get,
    path = "/v1/companies/{company_id}/audit/stream",
    operation_id = "stream_audit_events",
    tag = "audit",
    params(
        StreamQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "As `after`, and instead of it"),
    ),
    responses(
        (status = 200, description = "Events, until the caller's power ends", body = StreamedEvent,
            content_type = "text/event-stream"),
        RefusedRead,
    )
)]
pub(super) async fn stream(
    State(service): State<Arc<Service>>,
    Authenticated { company, key, .. }: Authenticated,
    Params(query): Params<StreamQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let head = service.app.head(company).await?;
    let last_seen = last_event_id(&headers)?;
    for (name, position) in [("after", query.after), ("Last-Event-ID", last_seen)] {
        if position.is_some_and(|position| position > head) {
            let detail = format!("is beyond the end of the ledger, which is at {head}");
            return Err(Problem::invalid(name, detail));
        }
    }
    let position = last_seen.or(query.after).unwrap_or(head);
    let follower = Follower::begin(Arc::clone(&service), key.key_id.0, company, position, RECHECK)?;
    let holder = KeyHolder::of(&service, company, &headers);
    let listener = Listener { follower, holder, waiting: VecDeque::new() };
    Ok(follower::sent(futures::stream::try_unfold(listener, Listener::next)))
}

fn last_event_id(headers: &HeaderMap) -> Answer<Option<u64>> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    position
        .map(Some)
        .ok_or_else(|| Problem::invalid("Last-Event-ID", "must be the position of an event"))
}

/// One caller that listens to one company's ledger.
struct Listener {
    follower: Follower,
    holder: KeyHolder,
    /// Events that were read and not sent yet.
    waiting: VecDeque<EventView>,
}

impl Listener {
    /// The next event; none when the stream is over, or the caller's key is not known to be good and
    /// to give the power any more.
    async fn next(mut self) -> Result<Option<(Event, Self)>, AppError> {
        while !self.follower.is_over() && self.holder.may_read().await? {
            if let Some(view) = self.waiting.pop_front() {
                return Ok(Some((event(&view)?, self)));
            }
            self.waiting.extend(self.follower.next_page().await?);
        }
        Ok(None)
    }
}

fn event(view: &EventView) -> Result<Event, StoreError> {
    let json = serde_json::to_string(view)
        .map_err(|error| StoreError::Rejected(format!("an event can't be written: {error}")))?;
    Ok(Event::default().id(view.position.to_string()).event(&view.kind).data(json))
}

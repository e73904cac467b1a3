//! What is recorded while somebody looks, as server-sent events.

use super::{Onlooker, WHOSE, asked};
use crate::app::AppError;
use crate::app::audit::AuditFilter;
use crate::app::streams::StreamPlace;
use crate::app::view::EventView;
use crate::console::desk::Desk;
use crate::console::error::Shown;
use crate::console::sent::Query;
use crate::http::Service;
use crate::http::lasting::Recipient;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use tokio::sync::watch;

/// How often an idle stream looks whether its reader still may look.
const RECHECK: Duration = Duration::from_secs(1);
/// How often an idle stream sends a comment, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /console/audit/live`: a `recorded` for each new event that the filters let through, with
/// its position, and an `over` when the session has ended or the page is not its own any more.
pub async fn stream(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Query(sent): Query,
    headers: HeaderMap,
) -> Shown {
    if sent.get(WHOSE).is_some_and(|whose| whose != desk.who.whose()) {
        return Ok(unbuffered(futures::stream::iter([Ok::<_, AppError>(over())])));
    }
    let asked = asked(&service, &desk, &sent).await?;
    if let Some(trouble) = asked.trouble() {
        return Err(trouble);
    }
    let filter = asked.filter;
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let after = sent.number("after").and_then(|after| u64::try_from(after).ok());
    let head = service.app.head(desk.caller.company).await?;
    let session = desk.who.visitor.session.session_id;
    let place = service.app.streams.begin(session, desk.caller.company)?;
    let listener = Listener {
        _place: place,
        onlooker: Onlooker::of(&service, desk.caller.company, &headers),
        company: desk.caller.company,
        position: resumed.or(after).unwrap_or(head).min(head),
        waiting: VecDeque::new(),
        appended: service.app.store().watch(),
        stopping: service.stopping.clone(),
        is_over: false,
        filter,
        service,
    };
    Ok(unbuffered(futures::stream::try_unfold(listener, Listener::next)))
}

/// These events as they come.
fn unbuffered(events: impl Stream<Item = Result<Event, AppError>> + Send + 'static) -> Response {
    let answer = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    ([unbuffered], answer).into_response()
}

/// Says that the page is of a session that has ended, or has left the company.
fn over() -> Event {
    Event::default().event("over").data("signed out")
}

/// Somebody who looks at the audit trail.
struct Listener {
    service: Arc<Service>,
    onlooker: Onlooker,
    company: CompanyId,
    filter: AuditFilter,
    /// The last position that was read.
    position: u64,
    /// Positions that were read and not told yet.
    waiting: VecDeque<u64>,
    appended: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    is_over: bool,
    /// Held as long as the stream lives.
    _place: StreamPlace,
}

impl Listener {
    async fn next(mut self) -> Result<Option<(Event, Self)>, AppError> {
        while !self.is_over && !*self.stopping.borrow() {
            if let Some(position) = self.waiting.pop_front() {
                let position = position.to_string();
                let event = Event::default().event("recorded").id(&position).data(&position);
                return Ok(Some((event, self)));
            }
            // Once for all that is read together.
            if !self.onlooker.may_read().await? {
                self.is_over = true;
                return Ok(Some((over(), self)));
            }
            // Seen before reading: what is appended from here on wakes the wait below.
            self.appended.borrow_and_update();
            let events = self.service.app.events_after(self.company, self.position).await?;
            match events.last() {
                Some(last) => {
                    self.position = last.position;
                    let wanted = events.iter().filter(|event| lets_through(&self.filter, event));
                    self.waiting.extend(wanted.map(|event| event.position));
                }
                None => self.wait().await,
            }
        }
        Ok(None)
    }

    async fn wait(&mut self) {
        let stopped = async {
            if self.stopping.wait_for(|stopping| *stopping).await.is_err() {
                // Nobody is left who could stop the service.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = self.appended.changed() => {}
            () = stopped => {}
            () = tokio::time::sleep(RECHECK) => {}
        }
    }
}

fn lets_through(filter: &AuditFilter, event: &EventView) -> bool {
    filter.token_id.is_none_or(|token| event.token_id == Some(token.0))
        && filter.actor_id.is_none_or(|actor| event.actor.id == actor)
        && (filter.types.is_empty() || filter.types.contains(&event.kind))
        && filter.from.is_none_or(|from| event.recorded_at >= from)
}

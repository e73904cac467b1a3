//! What is recorded while somebody looks, as server-sent events.

use super::{Onlooker, WHOSE, asked};
use crate::app::AppError;
use crate::app::audit::AuditFilter;
use crate::app::view::EventView;
use crate::console::desk::Desk;
use crate::console::error::Shown;
use crate::console::sent::Query;
use crate::http::Service;
use crate::http::follower::{self, Follower};
use crate::http::lasting::Recipient;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How often an idle stream looks whether its reader still may look.
const RECHECK: Duration = Duration::from_secs(1);

/// `GET /console/audit/live`: a `recorded` for each new event that the filters let through, with
/// its position, and an `over` when the session has ended or the page is not its own any more.
pub async fn stream(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Query(sent): Query,
    headers: HeaderMap,
) -> Shown {
    if sent.get(WHOSE).is_some_and(|whose| whose != desk.who.whose()) {
        return Ok(follower::sent(futures::stream::iter([Ok::<_, AppError>(over())])));
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
    let position = resumed.or(after).unwrap_or(head).min(head);
    let (service, company) = (Arc::clone(&service), desk.caller.company);
    let listener = Listener {
        onlooker: Onlooker::of(&service, company, &headers),
        follower: Follower::begin(service, session, company, position, RECHECK)?,
        waiting: VecDeque::new(),
        is_over: false,
        filter,
    };
    Ok(follower::sent(futures::stream::try_unfold(listener, Listener::next)))
}

/// Says that the page is of a session that has ended, or has left the company.
fn over() -> Event {
    Event::default().event("over").data("signed out")
}

/// Somebody who looks at the audit trail.
struct Listener {
    follower: Follower,
    onlooker: Onlooker,
    filter: AuditFilter,
    /// Positions that were read and not told yet.
    waiting: VecDeque<u64>,
    is_over: bool,
}

impl Listener {
    async fn next(mut self) -> Result<Option<(Event, Self)>, AppError> {
        while !self.is_over && !self.follower.is_over() {
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
            let page = self.follower.next_page().await?;
            let wanted = page.iter().filter(|event| lets_through(&self.filter, event));
            self.waiting.extend(wanted.map(|event| event.position));
        }
        Ok(None)
    }
}

fn lets_through(filter: &AuditFilter, event: &EventView) -> bool {
    filter.token_id.is_none_or(|token| event.token_id == Some(token.0))
        && filter.actor_id.is_none_or(|actor| event.actor.id == actor)
        && (filter.types.is_empty() || filter.types.contains(&event.kind))
        && filter.from.is_none_or(|from| event.recorded_at >= from)
}

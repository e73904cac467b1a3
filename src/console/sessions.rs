//! The person's own sessions.

use super::access::SignedIn;
use super::error::{Shown, Trouble};
use super::extract::Path;
use super::form;
use super::notices::notice;
use super::page::{self, ACCOUNT, Page, Way};
use super::render::agent::{agent, words};
use super::render::ignored::{ignored, strange};
use super::render::time::stamp;
use super::sent::Query;
use super::{cookie, paths};
use crate::http::Service;
use crate::http::problem::Kind;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use std::sync::Arc;
use token_ledger_projections::people::Session;

/// The steps to the page.
const WAY: Way<'_> = &[ACCOUNT];

/// The sessions that live.
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Query(sent): Query,
) -> Shown {
    let sessions = service.app.own_sessions(&who.visitor).await?;
    let own = who.visitor.session.session_id;
    let content = html! {
        (notice(&who, &sent))
        (ignored(&strange(&sent, &[]), paths::SESSIONS))
        ul.entrances.wide {
            @for session in &sessions {
                li {
                    div {
                        (agent(session.user_agent.as_deref()))
                        p.quiet {
                            "From " (session.ip.as_deref().unwrap_or("an unknown address"))
                            ", signed in " (stamp(session.created_at))
                            ", last used " (stamp(session.seen_at))
                        }
                    }
                    @if session.session_id == own {
                        span.quiet { "This session" }
                    } @else {
                        (form::post(
                            &who,
                            &format!("{}/{}/end", paths::SESSIONS, session.session_id),
                            &html! { button data-returns[true] aria-label=(end_of(session)) { "End" } },
                        ))
                    }
                }
            }
        }
    };
    let lead =
        "Wherever you are signed in. End what you don’t recognise, and change your password.";
    let page = Page { title: "Sessions", way: WAY, lead, ..Page::default() };
    Ok(page::of(StatusCode::OK, &who, &page, &content))
}

/// What the button does that ends this one.
fn end_of(session: &Session) -> String {
    let program = session.user_agent.as_deref().map(words);
    let ip = session.ip.as_deref().unwrap_or("an unknown address");
    format!("End {} from {ip}", program.as_deref().unwrap_or("an unknown program"))
}

/// Ends one of them.
pub(super) async fn end(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Path(session): Path<String>,
) -> Shown {
    let nothing = |_| Trouble::new(Kind::NotFound, "There is no such session.");
    let session = session.parse().map_err(nothing)?;
    service.app.end_own_session(&who.visitor, session).await?;
    Ok(Redirect::to(paths::SESSIONS).into_response())
}

/// Signs out: ends the session and takes its cookie away.
pub(super) async fn sign_out(State(service): State<Arc<Service>>, who: SignedIn) -> Shown {
    service.app.end_own_session(&who.visitor, who.visitor.session.session_id).await?;
    Ok(without_cookie(&service))
}

fn without_cookie(service: &Service) -> Response {
    let mut response = Redirect::to(paths::SIGN_IN).into_response();
    if let Some(cookie) = cookie::end(service) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

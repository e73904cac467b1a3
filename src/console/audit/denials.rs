//! Attempts that were refused: beside the ledger, not part of it.

use crate::console::desk::Desk;
use crate::console::error::Shown;
use crate::console::page::{Page, Way};
use crate::console::paths::AUDIT;
use crate::console::render::time;
use crate::console::render::words::count;
use crate::console::sent::{Query, address};
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use std::collections::HashMap;
use std::sync::Arc;
use token_ledger_domain::{Actor, ActorType, Timestamp};
use token_ledger_projections::attempts::{Attempt, AttemptFilter, AttemptKind};
use uuid::Uuid;

/// Attempts on a page.
const PAGE: usize = 50;
/// The most people and programs whose names are looked up.
const ACTORS: usize = 200;
/// Where the page is.
pub const DENIALS: &str = "/console/audit/denials";
const WAY: Way<'_> = &[("Audit trail", Some(AUDIT))];

/// `GET /console/audit/denials`
pub async fn show(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let app = &service.app;
    let after = sent.time("at").zip(sent.id("id"));
    let filter = AttemptFilter { kind: AttemptKind::Denied, from: None, to: None, after };
    let (listed, dropped) = app.attempts_page(desk.caller.company, filter, PAGE).await?;
    let mut names: HashMap<Uuid, String> = HashMap::new();
    for member in app.members(&desk.caller, None, ACTORS).await?.items {
        names.extend(member.name.or(member.email).map(|name| (member.member_id, name)));
    }
    for key in app.keys(&desk.caller, None, ACTORS).await?.items {
        names.insert(key.key_id, key.name);
    }
    let older = listed.next.map(|(at, id): (Timestamp, Uuid)| {
        let (at, id) = (at.to_string(), id.to_string());
        address(DENIALS, [("at", at.as_str()), ("id", id.as_str())])
    });
    let content = html! {
        (tabs(true))
        @if dropped > 0 {
            div .notice .soon {
                p { (count(dropped, "older or excess attempt")) " were dropped, and counted here only." }
            }
        }
        @if listed.items.is_empty() {
            div .empty { p { "Nothing was refused." } }
        } @else {
            table .rows {
                caption .sr { "Denied attempts" }
                thead {
                    tr {
                        th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" }
                        th scope="col" { "From" } th scope="col" { "Answer" }
                    }
                }
                tbody { @for attempt in &listed.items { (row(attempt, &names)) } }
            }
            nav .pager aria-label="Pages" {
                span {}
                div {
                    @if after.is_some() { a .button href=(DENIALS) { "Newest" } }
                    @if let Some(older) = &older { a .button rel="next" href=(older) { "Older attempts" } }
                }
            }
        }
    };
    let lead = "Requests that were refused. They are kept beside the ledger for a while, not in \
        it, and without what was typed.";
    Ok(desk.page(&Page { title: "Denied attempts", way: WAY, lead, ..Page::default() }, &content))
}

fn row(attempt: &Attempt, names: &HashMap<Uuid, String>) -> Markup {
    html! {
        tr {
            th scope="row" { (time::stamp(attempt.at)) }
            td data-label="Who" { (who(attempt.actor, names)) }
            td data-label="What" { code { (attempt.method) " " (attempt.route) } }
            td data-label="From" { (attempt.ip.as_deref().unwrap_or("An unknown address")) }
            td data-label="Answer" {
                @match &attempt.problem {
                    Some(problem) => a href=(problem) { (attempt.status) },
                    None => (attempt.status),
                }
            }
        }
    }
}

fn who(actor: Option<Actor>, names: &HashMap<Uuid, String>) -> Markup {
    let Some(actor) = actor else { return html! { span .quiet { "Somebody unknown" } } };
    let kind = match actor.kind {
        ActorType::Member => "A former member",
        ActorType::Key => "An API key",
        ActorType::Client => "A client",
        ActorType::Operator => "An operator",
        ActorType::System => "Token Ledger",
    };
    html! { (names.get(&actor.id).map_or(kind, String::as_str)) }
}

/// The two sides of the audit trail.
pub fn tabs(denials: bool) -> Markup {
    html! {
        nav .tabs aria-label="Audit trail" {
            a href=(AUDIT) aria-current=[(!denials).then_some("page")] { "Recorded" }
            a href=(DENIALS) aria-current=[denials.then_some("page")] { "Denied attempts" }
        }
    }
}

//! What is kept beside the ledger, not in it: refusals, sign-ins, exports.

use crate::app::actors::NamedActor;
use crate::app::{App, AppError, Caller};
use crate::console::deeds;
use crate::console::desk::Desk;
use crate::console::error::Shown;
use crate::console::page::{EVIDENCE, Page, Way};
use crate::console::paths::{AUDIT, HOME};
use crate::console::render::ignored::{ignored, strange};
use crate::console::render::time;
use crate::console::render::words::count;
use crate::console::sent::{Query, Sent, address};
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use token_ledger_domain::{Actor, ActorType, Timestamp};
use token_ledger_projections::attempts::{Attempt, AttemptFilter, AttemptKind, Seen};
use uuid::Uuid;

/// Attempts on a page.
const PAGE: usize = 50;
/// The steps to a page below the audit trail.
pub const WAY: Way<'_> = &[EVIDENCE, ("Audit trail", Some(AUDIT))];

/// A page of what is kept beside the ledger.
#[derive(Debug)]
struct Side {
    kind: AttemptKind,
    path: &'static str,
    title: &'static str,
    /// One of them.
    each: &'static str,
    lead: &'static str,
    nothing: &'static str,
}

static SIDES: [Side; 4] = [
    Side {
        kind: AttemptKind::Denied,
        path: "/console/audit/denials",
        title: "Denied attempts",
        each: "attempt",
        lead: "Requests that were refused. They are kept beside the ledger for a while, not in \
               it, and without what was typed.",
        nothing: "Nothing was refused.",
    },
    Side {
        kind: AttemptKind::SignIn,
        path: "/console/audit/sign-ins",
        title: "Sign-ins",
        each: "sign-in",
        lead: "Who signed in to this company. Kept beside the ledger for a while, not in it.",
        nothing: "Nobody has signed in.",
    },
    Side {
        kind: AttemptKind::Export,
        path: "/console/audit/exports",
        title: "Exports",
        each: "export",
        lead: "Who took records out: exports of the audit trail, and evidence packs. Kept beside \
               the ledger for a while, not in it.",
        nothing: "Nobody has taken records out.",
    },
    Side {
        kind: AttemptKind::PasswordLink,
        path: "/console/audit/password-links",
        title: "Password links",
        each: "link",
        lead: "Who made a link by which a member sets a password: whoever holds it gets in as that \
               member. Kept beside the ledger, not in it.",
        nothing: "Nobody has made a link to set a password.",
    },
];

/// `GET /console/audit/denials`
pub async fn denials(service: State<Arc<Service>>, desk: Desk, sent: Query) -> Shown {
    show(&service, &desk, &sent.0, &SIDES[0]).await
}

/// `GET /console/audit/sign-ins`
pub async fn sign_ins(service: State<Arc<Service>>, desk: Desk, sent: Query) -> Shown {
    show(&service, &desk, &sent.0, &SIDES[1]).await
}

/// `GET /console/audit/exports`
pub async fn exports(service: State<Arc<Service>>, desk: Desk, sent: Query) -> Shown {
    show(&service, &desk, &sent.0, &SIDES[2]).await
}

/// `GET /console/audit/password-links`
pub async fn password_links(service: State<Arc<Service>>, desk: Desk, sent: Query) -> Shown {
    show(&service, &desk, &sent.0, &SIDES[3]).await
}

async fn show(service: &Service, desk: &Desk, sent: &Sent, side: &Side) -> Shown {
    let app = &service.app;
    let after = sent.time("at").zip(sent.id("id"));
    let filter = AttemptFilter { kind: side.kind, from: None, to: None, after };
    let (listed, dropped) = app.attempts_page(desk.caller.company, filter, PAGE).await?;
    let known = known(app, &desk.caller, &listed.items).await?;
    let older = listed.next.map(|(at, id): (Timestamp, Uuid)| {
        let (at, id) = (at.to_string(), id.to_string());
        address(side.path, [("at", at.as_str()), ("id", id.as_str())])
    });
    let content = html! {
        (tabs(side.path))
        (ignored(&strange(sent, &["at", "id"]), side.path))
        @if dropped > 0 {
            div .notice .soon {
                p {
                    (count(dropped, &format!("older or excess {}", side.each)))
                    @if dropped == 1 { " was" } @else { " were" }
                    " dropped, and counted here only."
                }
            }
        }
        @if listed.items.is_empty() {
            div .empty { p { (side.nothing) } }
        } @else {
            table .rows .flat {
                caption .sr { (side.title) }
                thead {
                    tr {
                        th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" }
                        th scope="col" { "From" }
                        @if side.kind == AttemptKind::Denied { th scope="col" { "Answer" } }
                    }
                }
                tbody { @for attempt in &listed.items { (row(attempt, &known)) } }
            }
            nav .pager aria-label="Pages" {
                span {}
                div {
                    @if after.is_some() { a .button href=(side.path) { "Newest" } }
                    @if let Some(older) = &older { a .button rel="next" href=(older) { "Older " (side.each) "s" } }
                }
            }
        }
    };
    let page = Page { title: side.title, way: WAY, lead: side.lead, ..Page::default() };
    Ok(desk.page(&page, &content))
}

/// Whoever is known of those that pages speak of.
type Known = HashMap<Uuid, NamedActor>;

/// Those who tried, and those whom it was about, as far as they are known.
async fn known(app: &App, caller: &Caller, attempts: &[Attempt]) -> Result<Known, AppError> {
    let actors = attempts.iter().filter_map(|attempt| attempt.seen.actor).map(|actor| actor.id);
    let mentioned: BTreeSet<Uuid> =
        actors.chain(attempts.iter().filter_map(|attempt| whose(&attempt.seen))).collect();
    let mut known = Known::new();
    for id in mentioned {
        known.extend(app.actor(caller, id).await?.map(|actor| (id, actor)));
    }
    Ok(known)
}

/// The member for whom a link was made: its route names them.
fn whose(seen: &Seen) -> Option<Uuid> {
    let is_link = seen.kind == AttemptKind::PasswordLink;
    let mut parts = seen.route.split('/').filter(|_| is_link);
    parts.find_map(|part| part.parse().ok())
}

fn row(Attempt { at, seen, .. }: &Attempt, known: &Known) -> Markup {
    let ip = seen.ip.map(|ip| ip.to_string());
    html! {
        tr {
            th scope="row" { (time::stamp(*at)) }
            td .by data-label="Who" { (who(seen.actor, known)) }
            td .about data-label="What" {
                @match whose(seen) {
                    Some(member) => (link_for(known.get(&member))),
                    None => (what(seen)),
                }
            }
            td data-label="From" { (ip.as_deref().unwrap_or("An unknown address")) }
            @if seen.kind == AttemptKind::Denied { td data-label="Answer" { (answer(seen)) } }
        }
    }
}

/// For whom a link was made.
fn link_for(member: Option<&NamedActor>) -> Markup {
    html! {
        "Made a link for "
        @match member {
            Some(member) => {
                strong { (member.name) }
                @if let Some(email) = member.email.as_ref().filter(|email| **email != member.name) {
                    span .sub { (email) }
                }
            }
            None => "a former member",
        }
    }
}

/// What was asked for; hover or focus shows the exact route.
fn what(seen: &Seen) -> Markup {
    let route = format!("{} {}", seen.method, seen.route);
    let way = if seen.route.starts_with(HOME) { "in the console" } else { "over the API" };
    html! {
        @match deeds::words(&seen.method, &seen.route) {
            Some(words) => { (words) span .sub { span data-exact=(route) tabindex="0" { (way) } } },
            None => code { (route) },
        }
    }
}

/// Why it was refused.
fn answer(seen: &Seen) -> Markup {
    let status = seen.status.to_string();
    let words = match seen.status {
        401 => "No valid credential",
        403 => "Not allowed",
        404 => "Not theirs to see",
        429 => "Slowed down",
        _ => &status,
    };
    html! {
        @match &seen.problem {
            Some(problem) => a href=(problem) title=(status) { (words) },
            None => (words),
        }
    }
}

fn who(actor: Option<Actor>, known: &Known) -> Markup {
    let Some(actor) = actor else { return html! { span .quiet { "Somebody unknown" } } };
    let kind = match actor.kind {
        ActorType::Member => "A former member",
        ActorType::Key => "An API key",
        ActorType::Client => "A client",
        ActorType::Operator => "An operator",
        ActorType::System => "Token Ledger",
    };
    html! { (known.get(&actor.id).map_or(kind, |actor| actor.name.as_str())) }
}

/// The sides of the audit trail, of which this one is shown.
pub fn tabs(here: &str) -> Markup {
    let sides = SIDES.iter().map(|side| (side.path, side.title));
    html! {
        nav .tabs aria-label="Audit trail" {
            @for (path, title) in std::iter::once((AUDIT, "Recorded")).chain(sides) {
                a href=(path) aria-current=[(path == here).then_some("page")] { (title) }
            }
        }
    }
}

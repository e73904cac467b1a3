//! A token's page: its state now or then, and what happened to it.

use super::list::{last_used_from, token_status};
use super::{BELOW, module_off, path};
use crate::app::AppError;
use crate::app::audit::{AuditFilter, AuditPage};
use crate::app::view::{EventView, TokenView};
use crate::console::desk::Desk;
use crate::console::error::{Shown, Trouble};
use crate::console::extract::Path;
use crate::console::names::{emails_of, names_of};
use crate::console::notices::notice;
use crate::console::page::Page;
use crate::console::paths::TOKENS;
use crate::console::render::events::{self, Telling, actor};
use crate::console::render::status::old_secret_fact;
use crate::console::render::{icons, scopes, time};
use crate::console::sent::{Query, Sent, address};
use crate::http::Service;
use crate::http::log::pack_file;
use axum::extract::State;
use axum::http::Method;
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::{Timestamp, TokenId};
use uuid::Uuid;

/// Events on a page of the timeline.
const PAGE: usize = 50;
/// The most events that are told as "what changed since".
const SINCE: usize = 200;

/// `GET /console/tokens/{token_id}`
pub async fn show(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    Query(sent): Query,
) -> Shown {
    let now = service.app.token(&desk.caller, TokenId(id), None).await?;
    let then = then(&service, &desk, &now, &sent).await?;
    let timeline = timeline(&service, &desk, id, &sent).await?;
    let content = html! {
        (notice(&desk.who, &sent))
        (module_off(&desk))
        @match &then {
            None => (state(&desk, &now)),
            Some(then) => (then.card(&desk)),
        }
        (as_it_was(&desk, &now, &sent))
        (timeline)
    };
    let buttons = buttons(&desk, &now);
    let page = Page { title: &now.name, way: BELOW, buttons: Some(buttons), ..Page::default() };
    if no_past(&desk, &sent).is_none() {
        return Ok(desk.page(&page, &content));
    }
    Ok(desk.refused(&page, &content))
}

fn buttons(desk: &Desk, token: &TokenView) -> Markup {
    html! {
        @if desk.may_change() && token.status != "deleted" {
            @if desk.company.oauth_app_enabled {
                a .button .main href=(path(token, "/refresh")) data-dialog[true] { "Refresh Token" }
            }
            a .button href=(path(token, "/edit")) data-dialog[true] { "Edit" }
            a .button .danger href=(path(token, "/delete")) data-dialog[true] { "Delete" }
        }
    }
}

/// What the token is now.
fn state(desk: &Desk, token: &TokenView) -> Markup {
    html! {
        section .state aria-labelledby="state" {
            h2 #state { "Now" }
            dl .facts {
                dt { "Status" } dd { (token_status(desk, token)) }
                dt { "Last used" } dd { (last_used_from(token, desk)) }
                (facts(token))
                (old_secret_fact(
                    token.previous_secret_expires_at,
                    desk.company.oauth_app_enabled,
                    &end_grace(desk, token),
                ))
            }
        }
    }
}

/// When the old secret stops, and the way to have it stop now.
fn end_grace(desk: &Desk, token: &TokenView) -> Markup {
    html! {
        @if let Some(end) = token.previous_secret_expires_at {
            ", " (time::relative(end, desk.now)) ". "
        }
        @if desk.may_change() {
            a .button href=(path(token, "/end-grace")) data-dialog[true] {
                "Stop the old secret now"
            }
        }
    }
}

/// What is true of a token, now or then.
fn facts(token: &TokenView) -> Markup {
    html! {
        dt { "Data accesses" } dd { (scopes::all(&token.scopes)) }
        dt { "Secret" } dd { span .mono { (token.secret_hint) } }
        dt { "Created" } dd { (time::stamp(token.created_at)) " by " (actor(&token.created_by)) }
        @if let Some(at) = token.refreshed_at { dt { "Refreshed" } dd { (time::stamp(at)) } }
        dt { (term_end(token)) }
        dd { (time::stamp(token.expires_at)) }
        @if let Some(at) = token.deleted_at { dt { "Deleted" } dd { (time::stamp(at)) } }
        dt { "Identifier" } dd { code { (token.token_id) } }
    }
}

/// What the end of its term is to a token.
fn term_end(token: &TokenView) -> &'static str {
    match token.deleted_at {
        Some(at) if at < token.expires_at => "Would have expired",
        Some(_) => "Expired",
        None if token.status == "expired" => "Expired",
        None => "Expires",
    }
}

/// The token at a time in the past.
struct Then {
    id: Uuid,
    at: Timestamp,
    /// None before it existed.
    token: Option<TokenView>,
    /// The ledger's last position at that time.
    position: u64,
    /// Whether tokens worked at all then.
    was_on: bool,
    /// What happened to the token after it, the first of it.
    since: Vec<EventView>,
    /// More happened than that.
    is_more: bool,
}

async fn then(
    service: &Service,
    desk: &Desk,
    now: &TokenView,
    sent: &Sent,
) -> Result<Option<Then>, Trouble> {
    let at = sent.time("at").filter(|at| *at <= desk.now);
    let Some(at) = at else { return Ok(None) };
    let app = &service.app;
    let id = TokenId(now.token_id);
    let token = match app.token(&desk.caller, id, Some(at)).await {
        Ok(token) => Some(token),
        Err(AppError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let was_on = app.was_on(desk.caller.company, at).await?;
    let position = app.store().position_at(desk.caller.company, at, true).await;
    let seen = token.as_ref().map_or(0, |token| token.version);
    let since = app.token_history(desk.caller.company, id, seen, SINCE).await?;
    Ok(Some(Then {
        id: now.token_id,
        at,
        token,
        position: position.map_err(AppError::from)?,
        was_on,
        since: since.items,
        is_more: since.next.is_some(),
    }))
}

impl Then {
    fn card(&self, desk: &Desk) -> Markup {
        let names = events::Names::new();
        let telling = Telling { own: Some(self.id), ..Telling::of(&names) };
        html! {
            section .state .then aria-labelledby="state" {
                h2 #state {
                    "As of " (time::stamp(self.at)) ", position " (self.position)
                }
                @match &self.token {
                    None => p { "The token did not exist yet." },
                    Some(token) => dl .facts {
                        dt { "Status" } dd { (status_then(token, self.was_on)) }
                        (facts(token))
                        @if let Some(end) = token.previous_secret_expires_at {
                            dt { "Old secret" } dd { "Was to work until " (time::stamp(end)) }
                        }
                    },
                }
                div .since {
                    h3 { "What happened since" }
                    @let is_on = desk.company.oauth_app_enabled;
                    @if self.since.is_empty() && is_on == self.was_on {
                        p { "Nothing. The token is as it was." }
                    } @else {
                        ul {
                            @if is_on != self.was_on {
                                li {
                                    "The OAuth App module was turned "
                                    @if is_on { "on" } @else { "off" } "."
                                }
                            }
                            @for event in &self.since {
                                li {
                                    (time::ago(event.recorded_at, desk.now)) ": "
                                    (events::actor_name(&event.actor)) " "
                                    (events::deed(event, telling))
                                }
                            }
                            @if self.is_more { li { "And more: the history below has all of it." } }
                        }
                    }
                }
            }
        }
    }
}

fn status_then(token: &TokenView, was_on: bool) -> Markup {
    html! {
        @match token.status {
            "active" if !was_on => {
                span .status .off { "Paused" } ": the OAuth App module was off"
            },
            "active" => span .status .good { "Active" },
            "deleted" => span .status .gone { "Deleted" },
            _ => span .status .over { "Expired" },
        }
    }
}

/// What is wrong with the time that is asked about.
fn no_past(desk: &Desk, sent: &Sent) -> Option<String> {
    let text = sent.get("at")?;
    match sent.time("at") {
        None => Some(format!("“{text}” is no date and time.")),
        Some(at) if at > desk.now => {
            Some("That time has not come yet. Choose one in the past.".to_owned())
        }
        Some(_) => None,
    }
}

/// The question for another time, with a slider over the token's life.
fn as_it_was(desk: &Desk, token: &TokenView, sent: &Sent) -> Markup {
    let at = sent.time("at").unwrap_or(desk.now);
    // A slider moves by whole seconds: the first is that in which the token was there, the last
    // that in which it was gone.
    let since_epoch = |time| time::seconds_between(Timestamp::from_micros(0), time);
    let born = since_epoch(token.created_at);
    let end = token.deleted_at.map_or(desk.now.as_seconds().max(born), since_epoch);
    html! {
        form .then-form method="get" action=(path(token, "")) {
            div .field {
                label for="at" { "As it was on (" span data-zone[true] { "UTC" } ")" }
                input #at name="at" type="datetime-local" step="1" value=(time::field(at))
                    data-utc=(at) required aria-invalid=[no_past(desk, sent).map(|_| "true")]
                    aria-describedby=[no_past(desk, sent).map(|_| "at-error")];
                @if let Some(error) = no_past(desk, sent) { p .problem #at-error { (error) } }
            }
            div .field .life data-life[true] hidden {
                label for="life" { "From its creation until " @if token.deleted_at.is_some() { "its end" } @else { "now" } }
                input #life type="range" min=(born) max=(end)
                    value=(at.as_seconds());
            }
            button type="submit" { "Show" }
            @if sent.get("at").is_some() { a .button href=(path(token, "")) { "Back to now" } }
        }
    }
}

/// What happened to the token, newest first.
async fn timeline(
    service: &Service,
    desk: &Desk,
    id: Uuid,
    sent: &Sent,
) -> Result<Markup, Trouble> {
    let filter = AuditFilter { token_id: Some(TokenId(id)), ..AuditFilter::default() };
    let after = sent.number("before").and_then(|position| u64::try_from(position).ok());
    let page = AuditPage { descending: true, after, limit: PAGE };
    let listed = service.app.audit_page(desk.caller.company, &filter, page).await?;
    let names = names_of(&service.app, &desk.caller, &listed.items).await?;
    let signed = service.app.signed(desk.caller.company).await?;
    let here = format!("{TOKENS}/{id}");
    let emails = emails_of(&service.app, &desk.caller, &listed.items).await?;
    let (signed, own, then) = (Some(&signed), Some(id), Some(here.as_str()));
    let telling = Telling { emails: &emails, signed, own, then, ..Telling::of(&names) };
    let older = listed.next.map(|position| {
        let position = position.to_string();
        address(&here, [("before", position.as_str())]) + "#history"
    });
    Ok(html! {
        section #history aria-labelledby="history-title" {
            div .section-head {
                h2 #history-title { "History" }
                a href={ (here) "/evidence" } { (icons::download()) "Evidence pack" }
            }
            p .hint .section-hint {
                "The pack holds this history with what proves it. Anyone can check it with "
                code { "token-ledger check-evidence" } ", without access to this service."
            }
            (events::by_day(&listed.items, telling))
            nav .pager aria-label="Pages" {
                span {}
                div {
                    @if sent.get("before").is_some() { a .button href={ (here) "#history" } { "Newest" } }
                    @if let Some(older) = older { a .button href=(older) { "Older events" } }
                }
            }
        }
    })
}

/// The route of evidence packs, as records of exports name it.
pub const EVIDENCE: &str = "/console/tokens/{token_id}/evidence";

/// `GET /console/tokens/{token_id}/evidence`: all that happened to the token, with what proves it.
pub async fn evidence(
    State(service): State<Arc<Service>>,
    desk: Desk,
    method: Method,
    Path(id): Path<Uuid>,
) -> Shown {
    let pack = service.app.evidence_pack(desk.caller.company, TokenId(id)).await?;
    // Nothing leaves in answer to HEAD.
    if method == Method::GET {
        desk.note_export(&service, EVIDENCE);
    }
    Ok(pack_file(pack))
}

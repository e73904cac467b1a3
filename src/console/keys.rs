//! The company's API keys.

use super::desk::{Desk, go_on};
use super::error::Shown;
use super::extract::Path;
use super::meanwhile::{Missed, Subject, missed};
use super::notices::{about, notice_of};
use super::page::{INTEGRATIONS, Page, SETTINGS, Way};
use super::paths::{DOCS, KEYS};
use super::refusal::{Shows, refusal};
use super::render::events;
use super::render::forms::{self, Field, Refused, frame};
use super::render::ignored::ignored;
use super::render::pager::{is_further, nothing_further, pager, strange};
use super::render::status::{Standing, ended_by_refresh, old_secret, old_secret_fact, status};
use super::render::words::{key_scope, key_scope_opens};
use super::reveal::{KEEP, Reveal, old_stops, reveal, valid_until};
use super::sent::{Query, Sent};
use crate::app::keys::{NewKey, Renewal};
use crate::app::outcome::Changed;
use crate::app::view::KeyView;
use crate::http::Service;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::{CompanyId, KeyId, KeyScope, Secret};
use uuid::Uuid;

const NEW: &str = "/console/keys/new";
const BELOW: Way<'_> = &[SETTINGS, INTEGRATIONS, ("API keys", Some(KEYS))];
const NEW_SHOWS: Shows = &[
    ("name", "Give the key a name of 1 to 100 characters."),
    ("scopes", "Choose at least one thing that it may do."),
    ("expires_in_seconds", ""),
    ("reason", ""),
];
const REFRESH_SHOWS: Shows =
    &[("grace_period_seconds", ""), ("expires_in_seconds", ""), ("reason", "")];
const DELETE_SHOWS: Shows = &[("reason", "")];
/// Keys on a page.
const PAGE: usize = 50;
/// Lengths of terms that are offered, in seconds.
const TERMS: [i64; 4] = [2_592_000, 7_776_000, 15_552_000, 31_536_000];
/// The term that is chosen at first, in seconds: 90 days.
const DEFAULT_TERM: i64 = 7_776_000;
/// The longest that an old key may live on, in seconds: a day.
const MAX_GRACE: i64 = 86_400;

/// `GET /console/keys`
pub async fn list(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let after = sent.id("after").map(KeyId);
    let listed = service.app.keys(&desk.caller, after, PAGE).await?;
    let next = listed.next.map(|key| key.to_string());
    let notice = notice_of(&service.app, &desk.who, &desk.caller, &sent).await?;
    let content = html! {
        (notice)
        (ignored(&strange(&sent), KEYS))
        @if listed.items.is_empty() && is_further(&sent) {
            (nothing_further())
        } @else if listed.items.is_empty() {
            div .empty {
                h2 { "No API keys yet" }
                p { "An API key lets a program manage tokens, read the audit trail or introspect \
                     tokens for this company." }
                @if desk.may_change() {
                    a .button .main href=(NEW) data-dialog[true] { "Create your first API key" }
                }
            }
        } @else {
            table .rows {
                caption .sr { "API keys" }
                thead {
                    tr {
                        th scope="col" { "Name" } th scope="col" { "May" } th scope="col" { "Status" }
                        th scope="col" { "Created by" }
                        th scope="col" { span .sr { "Actions" } }
                    }
                }
                tbody { @for key in &listed.items { (row(&desk, key)) } }
            }
        }
        (pager(KEYS, &sent, next.as_deref()))
    };
    let buttons = html! {
        a .beside href=(DOCS) { "API reference" }
        @if desk.may_change() {
            a .button .main href=(NEW) data-dialog[true] { "Create API key" }
        }
    };
    let lead = "Keys for programs that manage this ledger or ask it about tokens. They are \
        recorded in the audit trail like people.";
    let way: Way<'_> = &[SETTINGS, INTEGRATIONS];
    let page = Page { title: "API keys", way, lead, buttons: Some(buttons), ..Page::default() };
    Ok(desk.page(&page, &content))
}

fn row(desk: &Desk, key: &KeyView) -> Markup {
    let here = format!("{KEYS}/{}", key.key_id);
    html! {
        tr {
            th scope="row" { (key.name) span .sub .mono { (key.secret_hint) } }
            td data-label="May" {
                span .chips { @for scope in &key.scopes { span .chip { (key_scope(scope)) } " " } }
            }
            td data-label="Status" {
                (key_status(desk, key))
                (old_secret(key.previous_secret_expires_at, true, desk.now))
            }
            td .by data-label="Created by" { (events::actor_name(&key.created_by)) }
            td {
                @if desk.may_change() && key.status != "deleted" {
                    details .menu {
                        summary aria-label={ "Actions for " (key.name) } { "•••" }
                        ul {
                            li { a href={ (here) "/refresh" } data-dialog[true] { "Refresh key" } }
                            li .rule {
                                a .danger href={ (here) "/delete" } data-dialog[true] { "Delete" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Where a key stands: the OAuth App module is nothing to it.
fn key_status(desk: &Desk, key: &KeyView) -> Markup {
    let standing = Standing {
        status: key.status,
        expires_at: key.expires_at,
        deleted_at: key.deleted_at,
        works: true,
    };
    status(standing, desk.now)
}

fn form_page(title: &str) -> Page<'_> {
    Page { title, way: BELOW, bare: true, ..Page::default() }
}

fn shown(desk: &Desk, title: &str, done: Markup, changed: &Changed<KeyView>) -> Response {
    let reveals = Reveal {
        title,
        done,
        what: "key",
        label: "Your key",
        keep: KEEP,
        beside: None,
        secret: changed.secret.as_ref().map(Secret::reveal),
        is_sent: true,
        lost: "If you lose it, refresh the key.",
        back: KEYS,
    };
    desk.page(&form_page(title), &reveal(desk, &reveals))
}

fn term(sent: &Sent, present: Option<&Markup>, refused: &Refused) -> Markup {
    let chosen = sent.number("expires_in_seconds").unwrap_or(DEFAULT_TERM);
    forms::term(&TERMS, chosen, present, refused)
}

/// `GET /console/keys/new`
pub async fn form(State(service): State<Arc<Service>>, desk: Desk) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, NEW) {
        return Ok(way);
    }
    let content = new_form(&desk, &Sent::default(), &Refused::default());
    Ok(desk.page(&form_page("Create API key"), &content))
}

/// `POST /console/keys/new`
pub async fn create(State(service): State<Arc<Service>>, desk: Desk, sent: Sent) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, NEW) {
        return Ok(way);
    }
    let input = NewKey {
        name: sent.text("name").trim().to_owned(),
        scopes: sent.all("scopes"),
        expires_in_seconds: sent.seconds("expires_in_seconds")?,
        reason: sent.reason(),
    };
    let conditions = sent.conditions(&desk.caller, "create key");
    match service.app.create_key(&desk.caller, input, conditions).await {
        Ok(created) => {
            let key = &created.view;
            let done = html! {
                "The key " strong { (key.name) } " is ready. " (valid_until(key.expires_at, &desk))
            };
            Ok(shown(&desk, "API key created", done, &created))
        }
        Err(error) => {
            let content = new_form(&desk, &sent, &refusal(error, &sent, NEW_SHOWS)?);
            Ok(desk.refused(&form_page("Create API key"), &content))
        }
    }
}

fn new_form(desk: &Desk, sent: &Sent, refused: &Refused) -> Markup {
    let name = Field {
        name: "name",
        label: "Name",
        value: sent.text("name"),
        hint: "What will use it, such as “Nightly rotation”.",
        required: true,
        max: 100,
        ..Field::default()
    };
    let chosen = sent.all("scopes");
    let is_platform = desk.caller.company == CompanyId::PLATFORM;
    let offered = KeyScope::ALL.into_iter().filter(|scope| {
        scope.granted_by(is_platform) <= desk.caller.power
            && (is_platform || *scope != KeyScope::Operator)
    });
    let error = refused.of("scopes");
    let content = html! {
        form .form method="post" action=(NEW) novalidate {
            (desk.seal()) (forms::problem(refused))
            (forms::field(name, refused.of("name")))
            fieldset #scopes aria-describedby=[error.map(|_| "scopes-error")] {
                legend { "It may" }
                @if let Some(error) = error { p .problem #scopes-error { (error) } }
                ul .choices {
                    @for scope in offered {
                        @let name = scope.as_str();
                        li {
                            label {
                                input type="checkbox" name="scopes" value=(name)
                                    checked[chosen.iter().any(|own| own == name)];
                                span {
                                    span .name { (key_scope(name)) }
                                    span .hint { (key_scope_opens(scope, is_platform)) }
                                    span .hint .mono { (name) }
                                }
                            }
                        }
                    }
                }
            }
            (term(sent, None, refused))
            (forms::reason(sent.text("reason"), refused))
            (forms::actions("Create", false, KEYS))
        }
    };
    frame("Create API key", &content)
}

/// `GET /console/keys/{key_id}/refresh`
pub async fn refresh_form(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, &format!("{KEYS}/{id}/refresh")) {
        return Ok(way);
    }
    let key = service.app.key(&desk.caller, KeyId(id)).await?;
    let content = change_form(&desk, &key, true, &Sent::default(), &Missed::default());
    Ok(desk.page(&form_page("Refresh key"), &content))
}

/// `GET /console/keys/{key_id}/delete`
pub async fn delete_form(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
) -> Shown {
    let key = service.app.key(&desk.caller, KeyId(id)).await?;
    let content = change_form(&desk, &key, false, &Sent::default(), &Missed::default());
    Ok(desk.page(&form_page("Delete key"), &content))
}

/// `POST /console/keys/{key_id}/refresh`
pub async fn refresh(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, &format!("{KEYS}/{id}/refresh")) {
        return Ok(way);
    }
    let app = &service.app;
    let input = Renewal {
        grace_period_seconds: sent.seconds("grace_period_seconds")?.unwrap_or_default(),
        expires_in_seconds: sent.seconds("expires_in_seconds")?,
        reason: sent.reason(),
    };
    let conditions = sent.conditions(&desk.caller, &format!("refresh key {id}"));
    match app.refresh_key(&desk.caller, KeyId(id), None, input, conditions).await {
        Ok(refreshed) => {
            let key = &refreshed.view;
            let done = html! {
                strong { (key.name) } " has a new secret. " (valid_until(key.expires_at, &desk))
                (old_stops(key.previous_secret_expires_at))
            };
            Ok(shown(&desk, "API key refreshed", done, &refreshed))
        }
        Err(error) => {
            let missed =
                missed(&service, &desk, Subject::Key(id), &sent, REFRESH_SHOWS, error).await?;
            let key = app.key(&desk.caller, KeyId(id)).await?;
            let content = change_form(&desk, &key, true, &sent, &missed);
            Ok(desk.refused(&form_page("Refresh key"), &content))
        }
    }
}

/// `POST /console/keys/{key_id}/delete`
pub async fn delete(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let app = &service.app;
    let conditions = sent.conditions(&desk.caller, &format!("delete key {id}"));
    match app.delete_key(&desk.caller, KeyId(id), sent.reason(), conditions).await {
        Ok(()) => Ok(go_on(&format!("{KEYS}?notice={}", about(&desk.who, "key-deleted", id)))),
        Err(error) => {
            let missed =
                missed(&service, &desk, Subject::Key(id), &sent, DELETE_SHOWS, error).await?;
            let key = app.key(&desk.caller, KeyId(id)).await?;
            let content = change_form(&desk, &key, false, &sent, &missed);
            Ok(desk.refused(&form_page("Delete key"), &content))
        }
    }
}

fn change_form(desk: &Desk, key: &KeyView, refresh: bool, sent: &Sent, missed: &Missed) -> Markup {
    let (title, below) =
        if refresh { ("Refresh key", "refresh") } else { ("Delete key", "delete") };
    let refused = &missed.refused;
    if key.status == "deleted" {
        let content = html! {
            (missed.told)
            (forms::problem(refused))
            p { strong { (key.name) } " is deleted, for good." }
            (forms::close(KEYS))
        };
        return frame(title, &content);
    }
    let present = forms::present_term(key.expires_at, DEFAULT_TERM, desk.now);
    let content = html! {
        (missed.told)
        form .form method="post" action={ (KEYS) "/" (key.key_id) "/" (below) } novalidate {
            (desk.seal()) (forms::version(key.version))
            (forms::problem(refused))
            dl .facts {
                dt { "Key" } dd { strong { (key.name) } " " span .mono .quiet { (key.secret_hint) } }
                dt { "Status" } dd { (key_status(desk, key)) }
                (old_secret_fact(
                    key.previous_secret_expires_at,
                    true,
                    &html! { @if refresh { (ended_by_refresh()) } },
                ))
                dt { "May" } dd { @for scope in &key.scopes { span .chip { (key_scope(scope)) } " " } }
            }
            @if refresh {
                @if key.status == "active" {
                    div .notice .soon {
                        p { "Programs using this key will stop working when the old secret does." }
                    }
                    (forms::grace(MAX_GRACE, sent.get("grace_period_seconds"), refused))
                } @else {
                    p { (forms::TERM_ENDED) }
                }
                (term(sent, present.as_ref(), refused))
            } @else {
                p { "Programs using it stop working at once. It can’t be undone." }
            }
            (forms::reason(sent.text("reason"), refused))
            @if refresh { (forms::actions("Refresh", false, KEYS)) }
            @else { (forms::actions(&format!("Delete “{}”", key.name), true, KEYS)) }
        }
    };
    frame(title, &content)
}

//! The list of access tokens.

use super::{WAY, module_off, path};
use crate::app::AppError;
use crate::app::view::TokenView;
use crate::console::desk::Desk;
use crate::console::error::{Shown, Trouble};
use crate::console::notices::notice;
use crate::console::page::Page;
use crate::console::paths::TOKENS;
use crate::console::render::scopes::chips;
use crate::console::render::status::{Standing, status};
use crate::console::render::words::{access, count};
use crate::console::render::{events, icons, time};
use crate::console::sent::{Query, Sent, address};
use crate::http::Service;
use crate::http::page::Page as Cut;
use crate::http::problem::Kind;
use crate::http::token_list::{Place, TokenQuery};
use axum::extract::State;
use maud::{Markup, html};
use std::sync::Arc;

/// What a list can be asked for.
const PARAMETERS: [&str; 5] = ["q", "status", "scope", "sort", "cursor"];
const STATUSES: [(&str, &str); 3] =
    [("active", "Active"), ("expired", "Expired"), ("deleted", "Deleted")];
const SORTS: [(&str, &str); 6] = [
    ("-created_at", "Newest first"),
    ("created_at", "Oldest first"),
    ("expires_at", "Expiring soonest"),
    ("-last_used_at", "Last used first"),
    ("last_used_at", "Longest unused first"),
    ("name", "Name"),
];

/// `GET /console/tokens`
pub async fn list(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let app = &service.app;
    let query = read(&sent)?;
    let asked = query.read(desk.caller.company, desk.now).map_err(|_| bad_address())?;
    let listed = app.tokens(&desk.caller, &asked.filter, asked.page).await?;
    let total = app.read.count_tokens(desk.caller.company, &asked.filter).await;
    let total = total.map_err(AppError::from)?;
    let Cut { items, next_cursor } = Cut::of(&asked.list, listed, Place::from);
    let scopes: Vec<&str> = app.choices.catalogue.iter().map(|(scope, _)| scope.as_str()).collect();
    let creates = desk.may_change() && desk.company.oauth_app_enabled;
    let is_filtered = !sent.only(&PARAMETERS).is_empty();
    let content = html! {
        (notice(&sent))
        (module_off(&desk))
        @if items.is_empty() && !is_filtered {
            (empty(creates))
        } @else {
            (filters(&sent, &scopes))
            div #results {
                p .sr role="status" { (count(total, "token")) }
                @if items.is_empty() {
                    div .empty {
                        p { "No token matches these filters." }
                        a .button href=(TOKENS) { "Clear filters" }
                    }
                } @else {
                    (table(&desk, &items))
                    (pager(&sent, total, next_cursor.as_deref()))
                }
            }
        }
    };
    let buttons = html! {
        @if creates {
            a .button .main href="/console/tokens/new" data-dialog[true] { "Create access token" }
        }
    };
    let lead = "Tokens let programs read your company’s data. Each is valid for 7 days unless you \
        choose otherwise.";
    let page =
        Page { title: "Access Token", way: WAY, lead, buttons: Some(buttons), ..Page::default() };
    Ok(desk.page(&page, &content))
}

fn bad_address() -> Trouble {
    Trouble::new(Kind::InvalidInput, "The address asks for something that the list does not have.")
}

fn read(sent: &Sent) -> Result<TokenQuery, Trouble> {
    let known = address("", sent.only(&PARAMETERS));
    serde_html_form::from_str(known.trim_start_matches('?')).map_err(|_| bad_address())
}

fn filters(sent: &Sent, scopes: &[&str]) -> Markup {
    let chosen = sent.all("status");
    let is_chosen = |status: &str| {
        if chosen.is_empty() { status != "deleted" } else { chosen.iter().any(|own| own == status) }
    };
    html! {
        form .filters role="search" method="get" action=(TOKENS) {
            div .grow {
                label for="q" { "Name contains" }
                input #q name="q" type="search" value=(sent.text("q")) autocomplete="off";
            }
            div {
                label for="scope" { "Data access" }
                select #scope name="scope" {
                    option value="" { "Any" }
                    @for scope in scopes {
                        option value=(scope) selected[*scope == sent.text("scope")] { (access(scope)) }
                    }
                }
            }
            sentet {
                legend { "Status" }
                div .checks {
                    @for (value, words) in STATUSES {
                        label {
                            input type="checkbox" name="status" value=(value) checked[is_chosen(value)];
                            (words)
                        }
                    }
                }
            }
            div {
                label for="sort" { "Order" }
                select #sort name="sort" {
                    @for (value, words) in SORTS {
                        option value=(value) selected[value == sent.text("sort")] { (words) }
                    }
                }
            }
            button type="submit" { (icons::search()) "Apply" }
        }
    }
}

fn empty(creates: bool) -> Markup {
    html! {
        div .empty {
            h2 { "No access tokens yet" }
            p {
                "A program sends its token with every request, and the token says what it may \
                 read. Give each program a token of its own, so that you can see who uses what \
                 and stop one without the others."
            }
            @if creates {
                a .button .main href="/console/tokens/new" data-dialog[true] {
                    "Create your first access token"
                }
            }
        }
    }
}

fn table(desk: &Desk, tokens: &[TokenView]) -> Markup {
    html! {
        table .rows {
            caption .sr { "Access tokens" }
            thead {
                tr {
                    th scope="col" { "Name" }
                    th scope="col" { "Data accesses" }
                    th scope="col" { "Status" }
                    th scope="col" { "Last used" }
                    th scope="col" { "Created by" }
                    th scope="col" { span .sr { "Actions" } }
                }
            }
            tbody { @for token in tokens { (row(desk, token)) } }
        }
    }
}

fn row(desk: &Desk, token: &TokenView) -> Markup {
    let renewable =
        token.status == "expired" && desk.may_change() && desk.company.oauth_app_enabled;
    html! {
        tr data-token=(token.token_id) {
            th scope="row" {
                a href=(path(token, "")) { (token.name) }
                span .sub .mono { (token.secret_hint) }
            }
            td data-label="Data accesses" { (chips(&token.scopes)) }
            td data-label="Status" {
                (token_status(desk, token))
                @if renewable { span .sub { "Refresh to use it again" } }
                @if let Some(end) = token.previous_secret_expires_at {
                    span .sub { "Old secret works, stops " (time::ago(end, desk.now)) }
                }
            }
            td data-label="Last used" { (last_used(token, desk)) }
            td data-label="Created by" { (events::actor_name(&token.created_by)) }
            td { (menu(desk, token)) }
        }
    }
}

/// Where a token stands.
pub fn token_status(desk: &Desk, token: &TokenView) -> Markup {
    let standing = Standing {
        status: token.status,
        expires_at: token.expires_at,
        deleted_at: token.deleted_at,
        works: desk.company.oauth_app_enabled,
    };
    status(standing, desk.now)
}

/// When a token was last used.
pub fn last_used(token: &TokenView, desk: &Desk) -> Markup {
    html! {
        @if let Some(at) = token.last_used_at { (time::ago(at, desk.now)) }
        @else { span .quiet { "Never" } }
    }
}

/// What can be done with a token, for whoever may.
fn menu(desk: &Desk, token: &TokenView) -> Markup {
    let history = format!("{}#history", path(token, ""));
    if !desk.may_change() || token.status == "deleted" {
        return html! {
            a .nowrap href=(history) aria-label={ "History of " (token.name) } { "History" }
        };
    }
    html! {
        details .menu {
            summary aria-label={ "Actions for " (token.name) } { "•••" }
            ul {
                @if desk.company.oauth_app_enabled {
                    li { a href=(path(token, "/refresh")) data-dialog[true] { "Refresh Token" } }
                }
                li { a href=(path(token, "/edit")) data-dialog[true] { "Edit" } }
                li { a href=(history) { "History" } }
                li .rule { a .danger href=(path(token, "/delete")) data-dialog[true] { "Delete" } }
            }
        }
    }
}

fn pager(sent: &Sent, total: u64, next: Option<&str>) -> Markup {
    let filters = ["q", "status", "scope", "sort"];
    let to = |cursor: Option<&str>| {
        let cursor = cursor.map(|cursor| ("cursor", cursor));
        address(TOKENS, sent.only(&filters).into_iter().chain(cursor))
    };
    html! {
        nav .pager aria-label="Pages" {
            span { (count(total, "token")) }
            div {
                @if sent.get("cursor").is_some() { a .button href=(to(None)) { "First page" } }
                @if let Some(next) = next { a .button href=(to(Some(next))) rel="next" { "Next page" } }
            }
        }
    }
}

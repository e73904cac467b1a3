//! The list of access tokens.

use super::create::default_term;
use super::{ASKED, FILTERS, NEW, WAY, WHOLE, module_off, path};
use crate::app::tokens::place;
use crate::app::view::TokenView;
use crate::console::actors::{Picked, pick};
use crate::console::desk::Desk;
use crate::console::error::{Shown, Trouble};
use crate::console::notices::notice_of;
use crate::console::page::Page;
use crate::console::paths::TOKENS;
use crate::console::render::ignored::{ignored, is_among};
use crate::console::render::scopes::chips;
use crate::console::render::status::{Standing, old_secret, status};
use crate::console::render::words::{access, count, grouped};
use crate::console::render::{events, icons, time};
use crate::console::sent::{LIST, Query, Sent, address};
use crate::http::Service;
use crate::http::page::cursor;
use crate::http::problem::Kind;
use crate::http::token_list::{Asked, Place, TokenQuery};
use axum::extract::State;
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::Scope;
use token_ledger_projections::read_models::TokenPage;
use uuid::Uuid;

/// The most tokens that are counted.
const COUNTED: usize = 1000;
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

/// Where a page of the list goes on.
const PLACES: [&str; 2] = ["cursor", "back"];

/// `GET /console/tokens`
pub async fn list(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let app = &service.app;
    let creator = pick(&service, &desk, &sent, "created_by").await?;
    if let Some(way) = creator.settled(&sent, "created_by", TOKENS) {
        return Ok(way);
    }
    let (sent, unknown) = sifted(&sent, &desk);
    let sheet = if creator.is_unclear() {
        Sheet { total: Some(0), ..Sheet::default() }
    } else {
        Sheet::read(&service, &desk, &sent).await?
    };
    let scopes: Vec<&str> = app.choices.catalogue.iter().map(|(scope, _)| scope.as_str()).collect();
    let creates = desk.may_change() && desk.company.oauth_app_enabled;
    let is_filtered = !sent.only(&FILTERS).is_empty() || sheet.before.is_some();
    let nothing = sheet.items.is_empty() && !is_filtered;
    let has_deleted = nothing && has_deleted(&service, &desk).await?;
    let others = sent.only(&["q", "status", "scope", "sort"]);
    let by = |id: &str| address(TOKENS, others.iter().copied().chain([("created_by", id)]));
    let notice = notice_of(app, &desk.who, &desk.caller, &sent).await?;
    let asked = sent.asked(&ASKED);
    let new = address(NEW, asked.as_deref().map(|asked| (LIST, asked)));
    let content = html! {
        (notice)
        (module_off(&desk))
        (ignored(&unknown, TOKENS))
        @if nothing && !has_deleted {
            (empty(creates))
        } @else {
            (filters(&sent, &scopes, &creator))
            (creator.question(by))
            div #results {
                @if creator.is_unclear() {
                    (bar(&sent, None))
                } @else if sheet.items.is_empty() {
                    p .sr role="status" { (sheet.words()) }
                    div .empty {
                        @if has_deleted {
                            p { "No token is active or expired; all there were are deleted." }
                            a .button href=(address(TOKENS, [("status", "deleted")])) {
                                "Show deleted tokens"
                            }
                        } @else {
                            p { "No token matches these filters." }
                            a .button href=(TOKENS) { "Clear filters" }
                        }
                    }
                } @else {
                    (bar(&sent, Some(&sheet.words())))
                    (table(&desk, &sheet.items, asked.as_deref().unwrap_or(WHOLE)))
                    (pager(&sent, &sheet))
                }
            }
        }
    };
    let buttons = html! {
        @if creates {
            a .button .main href=(new) data-dialog[true] { "Create access token" }
        }
    };
    let (policy, _) = app.policy(&desk.caller).await?;
    let lead = format!(
        "Tokens let programs read your company’s data. Each is valid for {} unless you choose \
         otherwise.",
        time::span(default_term(&policy))
    );
    let (title, buttons) = ("Access Token", Some(buttons));
    Ok(desk.page(&Page { title, way: WAY, lead: &lead, buttons, bare: false }, &content))
}

/// Whether a list opened from this form, asked for what it was then, holds this token.
pub(super) async fn shows(service: &Service, desk: &Desk, asked: &Sent, token: Uuid) -> bool {
    let sheet = Sheet::read(service, desk, asked).await;
    sheet.is_ok_and(|sheet| sheet.items.iter().any(|shown| shown.token_id == token))
}

/// What the address asks for as far as the list has it, and what the list does not have.
fn sifted(sent: &Sent, desk: &Desk) -> (Sent, Vec<(String, String)>) {
    let (known, mut unknown) = sent.sifted(is_known);
    let place = known.get("back").or(known.get("cursor"));
    if place.is_none() || read(&known, place, desk).is_ok() {
        return (known, unknown);
    }
    let (first, places) = known.sifted(|name, _| !PLACES.contains(&name));
    unknown.extend(places);
    (first, unknown)
}

/// Whether the list can be asked for this.
fn is_known(name: &str, value: &str) -> bool {
    let bare = |sort: &'static str| sort.trim_start_matches('-');
    match name {
        "status" => STATUSES.iter().any(|(status, _)| *status == value),
        "sort" => {
            SORTS.iter().any(|(sort, _)| bare(sort) == value.strip_prefix('-').unwrap_or(value))
        }
        "scope" => value.parse::<Scope>().is_ok(),
        _ => is_among(&ASKED, name),
    }
}

fn bad_address() -> Trouble {
    Trouble::new(Kind::InvalidInput, "The address asks for something that the list does not have.")
}

/// A page of the list, and where its neighbours are.
#[derive(Debug, Default)]
struct Sheet {
    items: Vec<TokenView>,
    /// How many tokens there are in all; none where there are more than are counted.
    total: Option<usize>,
    /// What leads to the page before, by `back`.
    before: Option<String>,
    /// What leads to the page after, by `cursor`.
    next: Option<String>,
}

impl Sheet {
    /// The page that the address asks for: the one behind `cursor`, the one before `back`, or the
    /// first.
    async fn read(service: &Service, desk: &Desk, sent: &Sent) -> Result<Self, Trouble> {
        let back = sent.get("back");
        let asked = read(sent, back.or(sent.get("cursor")), desk)?;
        let found = |page| service.app.counted_tokens(&desk.caller, &asked.filter, page, COUNTED);
        if back.is_none() {
            let (listed, total) = found(asked.page.clone()).await?;
            let more = listed.next.is_some();
            return Ok(Self::new(&asked, listed.items, total, (asked.page.after.is_some(), more)));
        }
        let turned = TokenPage { descending: !asked.page.descending, ..asked.page.clone() };
        let (mut listed, total) = found(turned).await?;
        if listed.next.is_some() {
            listed.items.reverse();
            return Ok(Self::new(&asked, listed.items, total, (true, true)));
        }
        // Fewer stand before than fill a page: that is the first page.
        let (listed, total) = found(TokenPage { after: None, ..asked.page.clone() }).await?;
        let more = listed.next.is_some();
        Ok(Self::new(&asked, listed.items, total, (false, more)))
    }

    /// The page with these tokens; whether there are pages before and after it.
    fn new(
        asked: &Asked,
        items: Vec<TokenView>,
        total: Option<usize>,
        (before, after): (bool, bool),
    ) -> Self {
        let at = |token: Option<&TokenView>, is_there: bool| {
            let token = token.filter(|_| is_there)?;
            Some(cursor(&asked.list, Place::from(place(token, asked.page.sort))))
        };
        let (before, next) = (at(items.first(), before), at(items.last(), after));
        Self { items, total, before, next }
    }

    /// How many there are.
    fn words(&self) -> String {
        match self.total {
            Some(total) => count(total as u64, "token"),
            None => format!("{}+ tokens", grouped(COUNTED as u64)),
        }
    }
}

/// Whether the company has tokens that are deleted, which the list leaves out unless it is asked.
async fn has_deleted(service: &Service, desk: &Desk) -> Result<bool, Trouble> {
    let asked = parse("?status=deleted&limit=1", desk)?;
    let listed = service.app.tokens(&desk.caller, &asked.filter, asked.page).await?;
    Ok(!listed.items.is_empty())
}

/// What the address asks for, with the place where its page goes on.
fn read(sent: &Sent, cursor: Option<&str>, desk: &Desk) -> Result<Asked, Trouble> {
    let cursor = cursor.map(|cursor| ("cursor", cursor));
    parse(&address("", sent.only(&FILTERS).into_iter().chain(cursor)), desk)
}

fn parse(address: &str, desk: &Desk) -> Result<Asked, Trouble> {
    let query: TokenQuery =
        serde_html_form::from_str(address.trim_start_matches('?')).map_err(|_| bad_address())?;
    query.read(desk.caller.company, desk.now).map_err(|_| bad_address())
}

fn filters(sent: &Sent, scopes: &[&str], creator: &Picked) -> Markup {
    let chosen = sent.all("status");
    let chosen_scope = sent.text("scope");
    let is_chosen = |status: &str| {
        if chosen.is_empty() { status != "deleted" } else { chosen.iter().any(|own| own == status) }
    };
    let anybody = address(TOKENS, sent.only(&["q", "status", "scope", "sort"]));
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
                        option value=(scope) selected[*scope == chosen_scope] { (access(scope)) }
                    }
                    @if !chosen_scope.is_empty() && !scopes.contains(&chosen_scope) {
                        option value=(chosen_scope) selected { (access(chosen_scope)) }
                    }
                }
            }
            (creator.field("created_by", "Created by", &anybody))
            fieldset {
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

/// How many tokens the filters let through, where that is known, and the way to be rid of them.
fn bar(sent: &Sent, words: Option<&str>) -> Markup {
    let is_filtered = !sent.only(&["q", "status", "scope", "created_by"]).is_empty();
    html! {
        div .bar .start {
            @if let Some(words) = words { p .quiet role="status" { (words) } }
            @if is_filtered {
                p { @if words.is_some() { "· " } a href=(TOKENS) { "Clear filters" } }
            }
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
                a .button .main href=(NEW) data-dialog[true] {
                    "Create your first access token"
                }
            }
        }
    }
}

/// The rows, whose forms lead back to what the list was asked for.
fn table(desk: &Desk, tokens: &[TokenView], asked: &str) -> Markup {
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
            tbody { @for token in tokens { (row(desk, token, asked)) } }
        }
    }
}

fn row(desk: &Desk, token: &TokenView, asked: &str) -> Markup {
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
                @if renewable {
                    span .sub {
                        a href=(form_at(token, "/refresh", asked)) data-dialog[true] {
                            "Refresh to use it again"
                        }
                    }
                }
                (old_secret(
                    token.previous_secret_expires_at,
                    desk.company.oauth_app_enabled,
                    desk.now,
                ))
            }
            td data-label="Last used" { (last_used(token, desk)) }
            td .by data-label="Created by" { (events::actor_name(&token.created_by)) }
            td { (menu(desk, token, asked)) }
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

/// When a token was last used, and from where.
pub fn last_used_from(token: &TokenView, desk: &Desk) -> Markup {
    html! {
        (last_used(token, desk))
        @if let Some(from) = &token.last_used_from { ", from " span .mono { (from) } }
    }
}

/// When a token was last used.
pub fn last_used(token: &TokenView, desk: &Desk) -> Markup {
    html! {
        @if let Some(at) = token.last_used_at { span .nowrap { (time::ago(at, desk.now)) } }
        @else { span .quiet { "Never" } }
    }
}

/// Where a form about a token is, opened from the list that was asked for this.
fn form_at(token: &TokenView, below: &str, asked: &str) -> String {
    address(&path(token, below), [(LIST, asked)])
}

/// What can be done with a token, for whoever may.
fn menu(desk: &Desk, token: &TokenView, asked: &str) -> Markup {
    let form = |below| form_at(token, below, asked);
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
                    li { a href=(form("/refresh")) data-dialog[true] { "Refresh Token" } }
                }
                li { a href=(form("/edit")) data-dialog[true] { "Edit" } }
                li { a href=(history) { "History" } }
                li .rule { a .danger href=(form("/delete")) data-dialog[true] { "Delete" } }
            }
        }
    }
}

fn pager(sent: &Sent, sheet: &Sheet) -> Markup {
    let to = |at: Option<(&str, &str)>| address(TOKENS, sent.only(&FILTERS).into_iter().chain(at));
    html! {
        @if sheet.before.is_some() || sheet.next.is_some() {
            nav .pager aria-label="Pages" {
                span {}
                div {
                    @if let Some(before) = &sheet.before {
                        a .button href=(to(None)) { "First page" }
                        a .button href=(to(Some(("back", before)))) rel="prev" { "Previous page" }
                    }
                    @if let Some(next) = &sheet.next {
                        a .button href=(to(Some(("cursor", next)))) rel="next" { "Next page" }
                    }
                }
            }
        }
    }
}

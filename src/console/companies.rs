//! Choosing the company to be in.

use super::access::SignedIn;
use super::error::{Shown, Trouble};
use super::form::{self, Fields};
use super::home::first_page;
use super::page::{self, Page};
use super::paths::{self, COMPANIES, HOME, PLATFORM, TOKENS};
use super::render::icons;
use super::render::ignored::{ignored, strange};
use super::sent::{Query, Sent};
use crate::app::AppError;
use crate::app::sessions::{Entrance, Entrances};
use crate::http::Service;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use maud::{Markup, html};
use serde::Deserialize;
use std::sync::Arc;
use token_ledger_domain::{CompanyId, Power};
use uuid::Uuid;

/// Companies from which on a search is offered.
const MANY: usize = 8;

/// The company chosen.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    company_id: Uuid,
    next: Option<String>,
}

/// `GET /console/companies`: the companies that the person may enter.
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Query(sent): Query,
) -> Shown {
    let q = sent.text("q");
    let next = paths::local(sent.get("next"));
    let all = if next == HOME { COMPANIES.to_owned() } else { paths::with_next(COMPANIES, next) };
    let Entrances { offered, everywhere, more, shut } =
        service.app.entrances(&who.visitor.account, q).await?;
    let searches = everywhere || offered.len() >= MANY || !q.is_empty();
    let content = html! {
        (ignored(&strange(&sent, &["q", "next"]), COMPANIES))
        @if searches { (search(COMPANIES, &all, q)) }
        @if !shut.is_empty() { (shut_out(&shut)) }
        @if offered.is_empty() && q.is_empty() && shut.is_empty() {
            div .empty {
                p { "You are a member of no company. Ask a Super Admin of yours to add you." }
            }
        } @else if offered.is_empty() && !q.is_empty() {
            div .empty {
                p { "No company that you may enter has “" (q) "” in its name." }
                a .button href=(all) { "Show all" }
            }
        } @else {
            ul .entrances { @for entrance in &offered { (row(&who, entrance, next)) } }
        }
        @if more { p .hint { "There are more: search for a name to find them." } }
        @if everywhere && who.operator.is_some() {
            p .hint { "As an operator you may enter every company. " a href=(PLATFORM) { "All companies" } }
        }
    };
    let lead = "Everything else in the console is about the company that you are in.";
    let page = Page { title: page::CHOOSE, lead, ..Page::default() };
    Ok(page::of(StatusCode::OK, &who, &page, &content))
}

/// What helps who is a member but can't come in.
fn shut_out(companies: &[String]) -> Markup {
    html! {
        div .notice .soon {
            p {
                "Your password was set by a link of another company, and doesn’t let you into "
                strong { (companies.join(", ")) }
                ". Ask an operator of the platform for a link to set a new one."
            }
        }
    }
}

/// A search among companies by their names. What else the address of all of them carries stays.
pub(super) fn search(path: &str, all: &str, q: &str) -> Markup {
    let kept = all.split_once('?').map(|(_, query)| Sent::parse(query.as_bytes()));
    html! {
        form .filters .search role="search" method="get" action=(path) {
            @for (name, value) in kept.iter().flat_map(|kept| kept.except(&["q"])) {
                input type="hidden" name=(name) value=(value);
            }
            div .grow {
                label for="q" { "Name contains" }
                input #q name="q" type="search" value=(q) autocomplete="off";
            }
            button type="submit" { (icons::search()) "Search" }
            @if !q.is_empty() { a .button href=(all) { "Clear" } }
        }
    }
}

fn row(who: &SignedIn, entrance: &Entrance, next: &str) -> Markup {
    let current = who.company.as_ref().map(|company| company.company_id);
    html! {
        li {
            div {
                strong { (entrance.name) }
                span .sub { (page::role(entrance.role.power())) }
            }
            @if current == Some(entrance.company.0) {
                span .quiet { "You are here" }
            } @else {
                (form::post(who, COMPANIES, &html! {
                    @if next != HOME { input type="hidden" name="next" value=(next); }
                    button name="company_id" value=(entrance.company)
                        aria-label={ "Enter " (entrance.name) } { "Enter" }
                }))
            }
        }
    }
}

/// `POST /console/companies`: enters a company, and goes on to what was asked for before.
pub(super) async fn enter(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Fields(Choice { company_id, next }): Fields<Choice>,
) -> Shown {
    let next = paths::local(next.as_deref());
    match service.app.enter(&who.visitor, CompanyId(company_id), &who.origin).await {
        Ok(_) if next != HOME => Ok(Redirect::to(next).into_response()),
        // An operator's first page is about all companies; here one of them was chosen.
        Ok(Power::Operator) => Ok(Redirect::to(TOKENS).into_response()),
        Ok(power) => Ok(Redirect::to(first_page(Some(power))).into_response()),
        Err(error @ AppError::NotFound(_)) => {
            let detail = "There is no such company, or you are no member of it.";
            Err(Trouble { detail: detail.to_owned(), ..error.into() })
        }
        Err(error) => Err(error.into()),
    }
}

//! Choosing the company to be in.

use super::access::SignedIn;
use super::error::{Shown, Trouble};
use super::form::{self, Fields};
use super::home::first_page;
use super::page::{self, Page};
use super::paths::{COMPANIES, PLATFORM, TOKENS};
use super::render::icons;
use super::sent::Query;
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
}

/// `GET /console/companies`: the companies that the person may enter.
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Query(sent): Query,
) -> Shown {
    let q = sent.text("q");
    let Entrances { offered, everywhere, more } =
        service.app.entrances(who.visitor.account.person_id, q).await?;
    let searches = everywhere || offered.len() >= MANY || !q.is_empty();
    let content = html! {
        @if searches { (search(COMPANIES, q)) }
        @if offered.is_empty() && q.is_empty() {
            div .empty {
                p { "You are a member of no company. Ask a Super Admin of yours to add you." }
            }
        } @else if offered.is_empty() {
            div .empty {
                p { "No company that you may enter has “" (q) "” in its name." }
                a .button href=(COMPANIES) { "Show all" }
            }
        } @else {
            ul .entrances { @for entrance in &offered { (row(&who, entrance)) } }
        }
        @if more { p .hint { "There are more: search for a name to find them." } }
        @if everywhere && who.visitor.power == Some(Power::Operator) {
            p .hint { "As an operator you may enter every company. " a href=(PLATFORM) { "All companies" } }
        }
    };
    let lead = "Everything else in the console is about the company that you are in.";
    let page = Page { title: "Choose a company", lead, ..Page::default() };
    Ok(page::of(StatusCode::OK, &who, &page, &content))
}

/// A search among companies by their names.
pub(super) fn search(path: &str, q: &str) -> Markup {
    html! {
        form .filters .search role="search" method="get" action=(path) {
            div .grow {
                label for="q" { "Name contains" }
                input #q name="q" type="search" value=(q) autocomplete="off";
            }
            button type="submit" { (icons::search()) "Search" }
            @if !q.is_empty() { a .button href=(path) { "Clear" } }
        }
    }
}

fn row(who: &SignedIn, entrance: &Entrance) -> Markup {
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
                    button name="company_id" value=(entrance.company)
                        aria-label={ "Enter " (entrance.name) } { "Enter" }
                }))
            }
        }
    }
}

/// `POST /console/companies`: enters a company.
pub(super) async fn enter(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Fields(Choice { company_id }): Fields<Choice>,
) -> Shown {
    match service.app.enter(&who.visitor, CompanyId(company_id)).await {
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

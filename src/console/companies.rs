//! Choosing the company to be in.

use super::access::SignedIn;
use super::error::{Shown, Trouble};
use super::form::{self, Fields};
use super::{page, paths};
use crate::app::AppError;
use crate::http::Service;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use maud::html;
use serde::Deserialize;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use uuid::Uuid;

/// The company chosen.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    company_id: Uuid,
}

/// The companies that the person may enter.
pub(super) async fn list(State(service): State<Arc<Service>>, who: SignedIn) -> Shown {
    let entrances = service.app.entrances(who.visitor.account.person_id).await?;
    let current = who.company.as_ref().map(|company| company.company_id);
    let content = html! {
        @if entrances.is_empty() {
            p { "You are a member of no company. Ask a Super Admin of yours to add you." }
        }
        ul.rows {
            @for entrance in &entrances {
                li {
                    div {
                        strong { (entrance.name) }
                        " "
                        span.quiet { (page::role(entrance.role.power())) }
                    }
                    @if current == Some(entrance.company.0) {
                        span.quiet { "You are here" }
                    } @else {
                        (form::post(&who, paths::COMPANIES, &html! {
                            button name="company_id" value=(entrance.company)
                                aria-label={ "Enter " (entrance.name) } { "Enter" }
                        }))
                    }
                }
            }
        }
    };
    Ok(page::inside(&who, "Choose a company", &[], &content))
}

/// Enters a company.
pub(super) async fn enter(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Fields(Choice { company_id }): Fields<Choice>,
) -> Shown {
    match service.app.enter(&who.visitor, CompanyId(company_id)).await {
        Ok(()) => Ok(Redirect::to(paths::HOME).into_response()),
        Err(error @ AppError::NotFound(_)) => {
            let detail = "There is no such company, or you are no member of it.";
            Err(Trouble { detail: detail.to_owned(), ..error.into() })
        }
        Err(error) => Err(error.into()),
    }
}

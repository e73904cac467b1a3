//! Erasing a person, by an operator and on somebody's order.

use super::desk::{Desk, go_on};
use super::error::{Shown, Trouble};
use super::extract::Path;
use super::members::{ERASED, name};
use super::notices;
use super::page::{Page, SETTINGS, Way};
use super::paths::{MEMBERS, PEOPLE};
use super::refusal::{Shows, refusal};
use super::render::forms::{self, Field, Refused, frame};
use super::sent::Sent;
use crate::app::AppError;
use crate::app::members::MemberView;
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::PersonId;
use uuid::Uuid;

const TITLE: &str = "Erase personal data";
const BELOW: Way<'_> = &[SETTINGS, ("Members", Some(MEMBERS))];
const SHOWS: Shows = &[("reason", "Say on whose order, and why.")];
/// Members that are looked through at a time.
const PAGE_OF_MEMBERS: usize = 500;
const PAGE: Page<'_> = Page { title: TITLE, way: BELOW, lead: "", buttons: None, bare: true };

/// `GET /console/people/{person_id}/erase`
pub async fn form(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(person): Path<Uuid>,
) -> Shown {
    let company = desk.caller.company;
    if !service.app.may_hold(company, PersonId(person)).await.map_err(AppError::from)? {
        let detail = "Nobody of this identifier is or was a member of this company.";
        return Err(Trouble::not_here(detail));
    }
    let content = content(&service, &desk, person, &Sent::default(), &Refused::default()).await?;
    Ok(desk.page(&PAGE, &content))
}

/// `POST /console/people/{person_id}/erase`
pub async fn erase(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(person): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let key = sent.conditions(&desk.caller, &format!("erase {person}")).idempotency;
    let reason = sent.reason().unwrap_or_default();
    match service.app.erase_person(&desk.caller, PersonId(person), &reason, key).await {
        Ok(erased) => {
            let is_member = membership(&service, &desk, person).await?.is_some();
            let notice = match (is_member, erased.view.account) {
                (true, false) => "account-kept",
                (true, true) => "member-erased",
                (false, _) => "person-erased",
            };
            Ok(go_on(&format!("{MEMBERS}?notice={}", notices::of(&desk.who, notice))))
        }
        Err(error) => {
            let refused = refusal(error, &sent, SHOWS)?;
            let content = content(&service, &desk, person, &sent, &refused).await?;
            Ok(desk.refused(&PAGE, &content))
        }
    }
}

/// The person's membership here, if there still is one.
async fn membership(
    service: &Service,
    desk: &Desk,
    person: Uuid,
) -> Result<Option<MemberView>, Trouble> {
    let mut after = None;
    loop {
        let page = service.app.members(&desk.caller, after, PAGE_OF_MEMBERS).await?;
        let found = page.items.into_iter().find(|member| member.person_id == person);
        if found.is_some() || page.next.is_none() {
            return Ok(found);
        }
        after = page.next;
    }
}

async fn content(
    service: &Service,
    desk: &Desk,
    person: Uuid,
    sent: &Sent,
    refused: &Refused,
) -> Result<Markup, Trouble> {
    let member = membership(service, desk, person).await?;
    let reason = Field {
        name: "reason",
        label: "On whose order, and why",
        value: sent.text("reason"),
        hint: "Recorded with the erasure, and shown in the audit trail.",
        required: true,
        max: 500,
        ..Field::default()
    };
    let content = html! {
        form .form method="post" action={ (PEOPLE) "/" (person) "/erase" } novalidate {
            (desk.seal()) (forms::problem(refused))
            dl .facts {
                dt { "Person" }
                dd {
                    @match member.as_ref().map(name) {
                        Some(Some(name)) => strong { (name) },
                        Some(None) => (ERASED),
                        None => "No member of this company any more",
                    }
                    " " code { (person) }
                }
                dt { "Company" } dd { (desk.company.name) }
            }
            div .notice .bad {
                p { "This can’t be undone." }
                ul {
                    li { "Names, addresses, programs and reasons go from every event that the person \
                          recorded or that was about them, and so does the account unless another \
                          company needs it." }
                    li { "What they did stays, by identifier, and so does every proof. The erasure \
                          itself is recorded." }
                    @if member.is_some() {
                        li { "The membership stays, though nobody can sign in by it any more. Remove it \
                              under Members." }
                    }
                    li { "Exports and backups that were made before still hold what they held." }
                }
            }
            (forms::field(reason, refused.of("reason")))
            (forms::actions("Erase personal data", true, MEMBERS))
        }
    };
    Ok(frame(TITLE, &content))
}

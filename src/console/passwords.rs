//! Changing the own password.

use super::access::SignedIn;
use super::error::{Shown, Trouble};
use super::form::{self, Fields};
use super::page::{self, ACCOUNT, Page};
use super::{guard, notices, paths, sign_in};
use crate::app::AppError;
use crate::app::error::Invalid;
use crate::http::Service;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use std::sync::Arc;
use token_ledger_domain::Power;
use zeroize::Zeroizing;

/// The old and the new password.
#[derive(Deserialize)]
pub(super) struct Change {
    old: Zeroizing<String>,
    password: Zeroizing<String>,
}

/// What helps who has no password: a link, and who makes it.
async fn without_password(service: &Service, who: &SignedIn) -> Result<Option<Markup>, Trouble> {
    if sign_in::has_password(who) {
        return Ok(None);
    }
    let visitor = &who.visitor;
    // Operators are in companies that they are no members of.
    let own = visitor.session.standing.filter(|own| own.member_company == own.entered);
    let makes =
        visitor.power >= Some(Power::SuperAdmin) && !visitor.must_confirm(service.app.now());
    let own = own.filter(|_| makes);
    let is_elsewhere = match own.filter(|_| visitor.power < Some(Power::Operator)) {
        Some(own) => {
            let person = visitor.account.person_id;
            let elsewhere = service.app.people.elsewhere(&[person], own.entered).await;
            elsewhere.map_err(AppError::from)?.contains(&person)
        }
        None => false,
    };
    Ok(Some(html! {
        div .notice .soon {
            p {
                (sign_in::NO_PASSWORD) " A link to set one helps"
                @match own {
                    Some(_) if is_elsewhere => ": an operator makes it, under Members.",
                    Some(own) => {
                        ". You can make one yourself, under Members: "
                        a href={ (paths::MEMBERS) "/" (own.member_id) "/link" } { "New password link" }
                    }
                    None => {
                        ": a Super Admin of your company or an operator makes it, under Members."
                    }
                }
            }
        }
    }))
}

/// The form, or what helps in its place.
fn change_page(
    status: StatusCode,
    who: &SignedIn,
    helps: Option<&Markup>,
    old: Option<&str>,
    new: Option<&str>,
) -> Response {
    let fields = html! {
        (form::password("old", "Old password", "current-password", old))
        (form::new_password("New password", new))
        p .hint { "You will be signed out everywhere else." }
        p .actions { button .main { "Change the password" } }
    };
    let content = html! {
        @match helps {
            Some(helps) => (helps),
            None => (form::card(who, paths::PASSWORD, &fields)),
        }
    };
    let page = Page { title: "Password", way: &[ACCOUNT], ..Page::default() };
    page::of(status, who, &page, &content)
}

/// The page that asks for the old and the new password.
pub(super) async fn show(State(service): State<Arc<Service>>, who: SignedIn) -> Shown {
    let helps = without_password(&service, &who).await?;
    Ok(change_page(StatusCode::OK, &who, helps.as_ref(), None, None))
}

/// Changes the password.
pub(super) async fn change(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Fields(Change { old, password }): Fields<Change>,
) -> Shown {
    let helps = without_password(&service, &who).await?;
    let answer = |status, old: Option<&str>, new: Option<&str>| {
        change_page(status, &who, helps.as_ref(), old, new)
    };
    match service.app.change_password(&who.visitor, old, password, &who.origin).await {
        Ok(cookie) => {
            let token = guard::token(cookie.secret.reveal());
            let told = notices::marked(&token, "password-changed");
            let next = format!("{}?notice={told}", paths::SESSIONS);
            Ok(sign_in::begun(&service, &cookie, &next))
        }
        Err(AppError::Invalid(problems)) => {
            let problem = in_words(&problems);
            Ok(answer(StatusCode::UNPROCESSABLE_ENTITY, None, Some(&problem)))
        }
        Err(AppError::BadCredentials) => {
            let problem = "This is not your password.";
            Ok(answer(StatusCode::UNPROCESSABLE_ENTITY, Some(problem), None))
        }
        Err(error @ (AppError::Throttled(_) | AppError::Busy)) => {
            let again = |status, told: &str| answer(status, Some(told), None);
            Ok(Trouble::from(error).on(again))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is wrong with a new password, as a sentence.
pub(super) fn in_words(problems: &[Invalid]) -> String {
    let sentences: Vec<String> =
        problems.iter().map(|problem| format!("It {}.", problem.detail)).collect();
    sentences.join(" ")
}

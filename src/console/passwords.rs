//! Changing the own password.

use super::access::SignedIn;
use super::error::{Shown, Trouble};
use super::form::{self, Fields};
use super::{guard, notices, page, paths, sign_in};
use crate::app::AppError;
use crate::app::error::Invalid;
use crate::http::Service;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;
use serde::Deserialize;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The old and the new password.
#[derive(Deserialize)]
pub(super) struct Change {
    old: Zeroizing<String>,
    password: Zeroizing<String>,
}

fn change_page(
    status: StatusCode,
    who: &SignedIn,
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
        @if sign_in::has_password(who) {
            (form::card(who, paths::PASSWORD, &fields))
        } @else {
            div .notice .soon {
                p { (sign_in::NO_PASSWORD) " A link to set one helps: a Super Admin of your company \
                     or an operator makes it, under Members." }
            }
        }
    };
    page::inside_with(status, who, "Password", &["Your account"], &content)
}

/// The page that asks for the old and the new password.
pub(super) async fn show(who: SignedIn) -> Response {
    change_page(StatusCode::OK, &who, None, None)
}

/// Changes the password.
pub(super) async fn change(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Fields(Change { old, password }): Fields<Change>,
) -> Shown {
    match service.app.change_password(&who.visitor, old, password, &who.origin).await {
        Ok(cookie) => {
            let token = guard::token(cookie.secret.reveal());
            let told = notices::marked(&token, "password-changed");
            let next = format!("{}?notice={told}", paths::SESSIONS);
            Ok(sign_in::begun(&service, &cookie, &next))
        }
        Err(AppError::Invalid(problems)) => {
            let problem = in_words(&problems);
            Ok(change_page(StatusCode::UNPROCESSABLE_ENTITY, &who, None, Some(&problem)))
        }
        Err(AppError::BadCredentials) => {
            let problem = "This is not your password.";
            Ok(change_page(StatusCode::UNPROCESSABLE_ENTITY, &who, Some(problem), None))
        }
        Err(error @ (AppError::Throttled(_) | AppError::Busy)) => {
            let again = |status, told: &str| change_page(status, &who, Some(told), None);
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

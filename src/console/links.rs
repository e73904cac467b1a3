//! The pages that one-time links lead to. Looking at them uses nothing up; sending their form does.

use super::error::{Shown, Trouble};
use super::extract::Path;
use super::form::{self, Fields};
use super::passwords::in_words;
use super::theme::Theme;
use super::{page, paths, sign_in};
use crate::app::AppError;
use crate::app::sessions::Origin;
use crate::http::Service;
use crate::http::problem::Kind;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::html;
use serde::Deserialize;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The new password.
#[derive(Deserialize)]
pub(super) struct NewPassword {
    password: Zeroizing<String>,
}

/// The page of a link that does nothing any more. Most who come here have used it.
fn spent(theme: Theme, error: AppError) -> Shown {
    let trouble = Trouble::from(error);
    if trouble.kind != Kind::NotFound {
        return Err(trouble);
    }
    let content = html! {
        p { "It was used, replaced by a newer one, or is too old. Ask whoever gave it to you for a \
             new one. If you have set a password, sign in with that." }
        p { a .button href=(paths::SIGN_IN) { "Sign in" } }
    };
    Ok(page::of_link(trouble.status(), theme, "This link is no longer good", &content))
}

fn password_page(
    status: StatusCode,
    theme: Theme,
    link: &str,
    email: &str,
    problem: Option<&str>,
) -> Response {
    let content = html! {
        p { "For " strong { (email) } ". You sign in with it from now on." }
        form .form method="post" action={ (paths::SET_PASSWORD) "/" (link) } {
            (form::username(email))
            (form::new_password("New password", problem))
            button.main { "Set the password" }
        }
    };
    page::of_link(status, theme, "Set your password", &content)
}

/// The page that asks for a new password.
pub(super) async fn ask_password(
    State(service): State<Arc<Service>>,
    theme: Theme,
    Path(link): Path<String>,
) -> Shown {
    match service.app.check_password_link(&link).await {
        Ok(account) => Ok(password_page(StatusCode::OK, theme, &link, &account.email, None)),
        Err(error) => spent(theme, error),
    }
}

/// Sets the password.
pub(super) async fn set_password(
    State(service): State<Arc<Service>>,
    origin: Origin,
    theme: Theme,
    Path(link): Path<String>,
    Fields(NewPassword { password }): Fields<NewPassword>,
) -> Shown {
    match service.app.set_password_by_link(&link, password, &origin).await {
        Ok(()) => {
            let content = html! {
                p { "Your password is set. This link has done its work." }
                p { a.button href=(paths::SIGN_IN) { "Sign in" } }
            };
            Ok(page::of_link(StatusCode::OK, theme, "Done", &content))
        }
        Err(AppError::Invalid(problems)) => {
            let (status, problem) = (StatusCode::UNPROCESSABLE_ENTITY, in_words(&problems));
            match service.app.check_password_link(&link).await {
                Ok(account) => {
                    Ok(password_page(status, theme, &link, &account.email, Some(&problem)))
                }
                Err(error) => spent(theme, error),
            }
        }
        Err(error) => spent(theme, error),
    }
}

/// The page with the button that signs in.
pub(super) async fn ask_sign_in(
    State(service): State<Arc<Service>>,
    theme: Theme,
    Path(link): Path<String>,
) -> Shown {
    let account = match service.app.check_sign_in_link(&link).await {
        Ok(account) => account,
        Err(error) => return spent(theme, error),
    };
    let content = html! {
        p { "As " strong { (account.called()) } ". The link is good for this once." }
        form .form method="post" action={ (paths::SIGN_IN) "/" (link) } {
            button.main { "Sign in" }
        }
    };
    Ok(page::of_link(StatusCode::OK, theme, "Sign in", &content))
}

/// Signs in.
pub(super) async fn sign_in_by_link(
    State(service): State<Arc<Service>>,
    origin: Origin,
    theme: Theme,
    headers: HeaderMap,
    Path(link): Path<String>,
) -> Shown {
    match service.app.sign_in_by_link(&link, &origin).await {
        Ok(cookie) => {
            sign_in::end_earlier(&service, &headers).await?;
            Ok(sign_in::begun(&service, &cookie, paths::HOME))
        }
        Err(error) => spent(theme, error),
    }
}

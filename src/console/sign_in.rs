//! Signing in with address and password, and giving the password again.

use super::access::{self, SignedIn};
use super::error::{Shown, Trouble};
use super::form::{self, Fields};
use super::page::{self, Page};
use super::sent::Query;
use super::theme::Theme;
use super::{cookie, guard, notices, paths};
use crate::app::AppError;
use crate::app::sessions::{Origin, SessionCookie};
use crate::http::Service;
use crate::http::problem::Kind;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What helps who has forgotten the password or has none; the same for every address.
const FORGOTTEN: &str = "If you forgot the password or have none yet, a Super Admin of your company \
    or an operator makes you a link to set one.";

/// Address and password.
#[derive(Deserialize)]
pub(super) struct Credentials {
    email: String,
    password: Zeroizing<String>,
    next: Option<String>,
}

/// The password again.
#[derive(Deserialize)]
pub(super) struct Again {
    password: Zeroizing<String>,
    next: Option<String>,
}

fn sign_in_form(email: &str, next: &str, problem: Option<&str>) -> Markup {
    html! {
        @if let Some(problem) = problem { div .notice .bad role="alert" { p { (problem) } } }
        form .form method="post" action=(paths::SIGN_IN) {
            input type="hidden" name="next" value=(next);
            (form::field("email", "E-mail address", None, &html! {
                input id="email" name="email" type="email" autocomplete="username" required
                    autofocus value=(email);
            }))
            (form::password("password", "Password", "current-password", None))
            button.main { "Sign in" }
            p .hint { (FORGOTTEN) }
        }
    }
}

/// The page that asks for address and password, for whoever is not signed in.
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    theme: Theme,
    uri: Uri,
    headers: HeaderMap,
    Query(sent): Query,
) -> Shown {
    let next = paths::local(sent.get("next"));
    let cookie = cookie::read(&service, &headers);
    if let Some(cookie) = cookie
        && service.app.onlooker(cookie).await?.is_some()
    {
        return Ok(Redirect::to(next).into_response());
    }
    if cookie.is_none() && guard::is_from_elsewhere(&headers) {
        return Ok(page::onward(access::wanted(&uri)));
    }
    let told = if sent.get("unsaved").is_some() {
        Some("You are signed out, and what you sent was not saved. Sign in to go on.")
    } else {
        let parting = notices::parting(&service, &headers, &sent);
        parting.or(cookie.map(|_| "You were signed out. Sign in to go on."))
    };
    let content = html! {
        @if let Some(told) = told { div .notice .soon role="status" { p { (told) } } }
        (sign_in_form("", next, None))
    };
    Ok(page::outside(StatusCode::OK, theme, "Sign in", &content))
}

/// Signs in.
pub(super) async fn sign_in(
    State(service): State<Arc<Service>>,
    origin: Origin,
    theme: Theme,
    headers: HeaderMap,
    Fields(credentials): Fields<Credentials>,
) -> Shown {
    let Credentials { email, password, next } = credentials;
    let next = paths::local(next.as_deref());
    match service.app.sign_in(&email, password, &origin).await {
        Ok(cookie) => {
            end_earlier(&service, &headers).await?;
            Ok(begun(&service, &cookie, next))
        }
        Err(error @ AppError::BadCredentials) => {
            let form = sign_in_form(&email, next, Some(&sentence(&error)));
            Ok(refused(page::outside(StatusCode::UNAUTHORIZED, theme, "Sign in", &form)))
        }
        Err(error @ (AppError::Throttled(_) | AppError::Busy)) => {
            let again = |status, told: &str| {
                page::outside(status, theme, "Sign in", &sign_in_form(&email, next, Some(told)))
            };
            Ok(Trouble::from(error).on(again))
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends the session that the browser was in before, whose cookie that of the new one replaces.
pub(super) async fn end_earlier(service: &Service, headers: &HeaderMap) -> Result<(), AppError> {
    let Some(cookie) = cookie::read(service, headers) else { return Ok(()) };
    service.app.end_session(cookie).await.map_err(AppError::after_change)
}

/// To the next page, with the session's cookie.
pub(super) fn begun(service: &Service, session: &SessionCookie, next: &str) -> Response {
    let Some(cookie) = cookie::begin(service, session) else {
        return Trouble::new(Kind::Internal, "The session can’t be begun.").into_response();
    };
    let mut response = Redirect::to(next).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// A 401 names how to do better (RFC 9110 §15.5.2): with the form, which browsers leave alone.
fn refused(mut response: Response) -> Response {
    let challenge = HeaderValue::from_static("Form realm=\"token-ledger\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// An error as a sentence.
fn sentence(error: &AppError) -> String {
    super::refusal::sentence(&error.to_string())
}

/// Whether the person has a password to give.
pub(super) fn has_password(who: &SignedIn) -> bool {
    who.visitor.account.password_hash.is_some()
}

/// What stands where a password would be asked for.
pub(super) const NO_PASSWORD: &str = "Your account has no password yet.";

/// What helps who has no password to give.
fn without_password() -> Markup {
    html! {
        div .notice .soon {
            p { (NO_PASSWORD) " Either of these helps:" }
            ul {
                li { "A link to set one. A Super Admin of your company or an operator makes it, \
                      under Members." }
                li { "A new sign-in link. Whoever runs " code { "token-ledger demo" } " gets one \
                      by starting it again." }
            }
        }
        p { a href=(paths::HOME) { "Back to the start page" } }
    }
}

fn confirm_page(
    status: StatusCode,
    who: &SignedIn,
    next: &str,
    told: Option<&str>,
    problem: Option<&str>,
) -> Response {
    let fields = html! {
        input type="hidden" name="next" value=(next);
        (form::password("password", "Password", "current-password", problem))
        p .actions { button .main { "Go on" } }
    };
    let content = html! {
        @if let Some(told) = told { div .notice .soon role="status" { p { (told) } } }
        @if has_password(who) {
            div .stack {
                p { "You signed in a while ago. Give your password again to go on." }
                (form::card(who, paths::CONFIRM, &fields))
            }
        } @else {
            div .stack {
                p { "You signed in a while ago. To go on from here, sign in anew." }
                (without_password())
            }
        }
    };
    let page = Page { title: "Is it still you?", ..Page::default() };
    page::of(status, who, &page, &content)
}

/// The page that asks for the password again, unless it was given lately.
pub(super) async fn ask_again(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Query(sent): Query,
) -> Response {
    let next = paths::local(sent.get("next"));
    if !who.visitor.must_confirm(service.app.now()) {
        return Redirect::to(next).into_response();
    }
    let told = sent.get("unsaved").map(|_| "What you sent was not saved.");
    confirm_page(StatusCode::OK, &who, next, told, None)
}

/// Takes the password again.
pub(super) async fn confirm(
    State(service): State<Arc<Service>>,
    who: SignedIn,
    Fields(Again { password, next }): Fields<Again>,
) -> Shown {
    let next = paths::local(next.as_deref());
    match service.app.confirm(&who.visitor, password, &who.origin).await {
        Ok(()) => Ok(Redirect::to(next).into_response()),
        Err(AppError::BadCredentials) => {
            let problem = Some("This is not your password.");
            Ok(refused(confirm_page(StatusCode::UNAUTHORIZED, &who, next, None, problem)))
        }
        Err(error @ (AppError::Throttled(_) | AppError::Busy)) => {
            let again = |status, told: &str| confirm_page(status, &who, next, None, Some(told));
            Ok(Trouble::from(error).on(again))
        }
        Err(error) => Err(error.into()),
    }
}

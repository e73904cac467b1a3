//! Forms: reading and writing them.

use super::access::SignedIn;
use super::error::Trouble;
use super::guard::TOKEN_FIELD;
use crate::app::passwords::MIN_CHARS;
use crate::http::body;
use crate::http::problem::Kind;
use axum::extract::{FromRequest, Request};
use maud::{Markup, html};
use serde::de::DeserializeOwned;

/// The fields of a form that was sent.
#[derive(Debug)]
pub struct Fields<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Fields<T> {
    type Rejection = Trouble;

    async fn from_request(request: Request, _: &S) -> Result<Self, Trouble> {
        let bytes = body::read(request).await?;
        // What a field was is not told: it may be a password.
        serde_html_form::from_bytes(&bytes).map(Self).map_err(|_| {
            Trouble::new(Kind::InvalidInput, "The form lacks a field. Open the page again.")
        })
    }
}

/// A form that sends its fields to `action`, with the session's CSRF token.
pub fn post(who: &SignedIn, action: &str, fields: &Markup) -> Markup {
    html! {
        form method="post" action=(action) {
            (token_field(who))
            (fields)
        }
    }
}

/// A form that is all that a page is for.
pub fn card(who: &SignedIn, action: &str, fields: &Markup) -> Markup {
    html! {
        form .form .card method="post" action=(action) {
            (token_field(who))
            (username(&who.visitor.account.email))
            (fields)
        }
    }
}

/// What tells a form of this session from one of another site.
pub fn token_field(who: &SignedIn) -> Markup {
    html! { input type="hidden" name=(TOKEN_FIELD) value=(who.csrf); }
}

/// Whose password the form holds, for programs that keep passwords: they read no hidden fields.
pub fn username(email: &str) -> Markup {
    html! {
        div .sr {
            label for="username" { "User name" }
            input #username type="text" name="username" value=(email) autocomplete="username"
                readonly tabindex="-1";
        }
    }
}

/// A field for a password.
pub fn password(name: &str, label: &str, autocomplete: &str, problem: Option<&str>) -> Markup {
    field(
        name,
        label,
        problem,
        &html! {
            input id=(name) name=(name) type="password" autocomplete=(autocomplete) required
                aria-invalid=[problem.map(|_| "true")]
                aria-describedby=[problem.map(|_| format!("{name}-problem"))];
        },
    )
}

/// A field for a password that is yet to be set, with what is asked of it.
pub fn new_password(label: &str, problem: Option<&str>) -> Markup {
    let described =
        if problem.is_some() { "password-problem password-rules" } else { "password-rules" };
    let input = html! {
        input #password name="password" type="password" autocomplete="new-password" required
            minlength=(MIN_CHARS) aria-invalid=[problem.map(|_| "true")] aria-describedby=(described);
        p .hint #password-rules {
            "At least " (MIN_CHARS) " characters; a few words are fine."
        }
    };
    field("password", label, problem, &input)
}

/// A field with its label, and beside it what is wrong with what was entered.
pub fn field(name: &str, label: &str, problem: Option<&str>, input: &Markup) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            (input)
            @if let Some(problem) = problem {
                p.problem id={ (name) "-problem" } role="alert" { (problem) }
            }
        }
    }
}

//! The frame of every page.

use super::access::SignedIn;
use super::error::Trouble;
use super::{assets, form, paths};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use token_ledger_domain::{Power, Timestamp};

/// Nothing from another host, and no code or style but from files.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A part of the navigation.
#[derive(Debug)]
pub struct Section {
    /// Its heading.
    pub heading: &'static str,
    /// The pages below it.
    pub pages: &'static [Entry],
}

/// A page in the navigation.
#[derive(Debug)]
pub struct Entry {
    /// The page's title.
    pub title: &'static str,
    /// Where it is.
    pub path: &'static str,
    /// The power that it needs; none where being signed in is enough.
    pub needs: Option<Power>,
}

/// The navigation.
pub const SECTIONS: &[Section] = &[Section {
    heading: "Your account",
    pages: &[
        Entry { title: "Sessions", path: paths::SESSIONS, needs: None },
        Entry { title: "Password", path: paths::PASSWORD, needs: None },
    ],
}];

/// A page for somebody who is signed in: title, the way to it, and what it shows.
pub fn inside(who: &SignedIn, title: &str, way: &[&str], content: &Markup) -> Response {
    respond(StatusCode::OK, &framed(who, title, way, content))
}

/// As [`inside`], with another status.
pub fn inside_with(
    status: StatusCode,
    who: &SignedIn,
    title: &str,
    way: &[&str],
    content: &Markup,
) -> Response {
    respond(status, &framed(who, title, way, content))
}

/// A page for somebody who is not signed in.
pub fn outside(status: StatusCode, title: &str, content: &Markup) -> Response {
    respond(status, &unframed(title, content))
}

/// A page that a one-time link leads to: its address is told to nobody.
pub(super) fn of_link(status: StatusCode, title: &str, content: &Markup) -> Response {
    let mut response = outside(status, title, content);
    let no_referrer = HeaderValue::from_static("no-referrer");
    response.headers_mut().insert(header::REFERRER_POLICY, no_referrer);
    response
}

/// The page that says what went wrong.
pub(super) fn trouble(who: Option<&SignedIn>, trouble: &Trouble, request_id: &str) -> Response {
    let title = trouble.title();
    let content = html! {
        p { (trouble.detail) }
        @if trouble.status().is_server_error() {
            p.quiet { "Name this to the operator: " code { (request_id) } }
        }
        p { a href=(paths::HOME) { "Go on to the start page" } }
    };
    let mut response = match who {
        Some(who) => inside_with(trouble.status(), who, title, &[], &content),
        None => of_link(trouble.status(), title, &content),
    };
    response.headers_mut().extend(trouble.header.clone());
    response
}

fn respond(status: StatusCode, markup: &Markup) -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, markup.0.clone()).into_response()
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Token Ledger" }
                link rel="stylesheet" href=(assets::style());
            }
            body { (body) }
        }
    }
}

fn unframed(title: &str, content: &Markup) -> Markup {
    document(
        title,
        &html! {
            main.card {
                p.brand { "Token Ledger" }
                h1 { (title) }
                (content)
            }
        },
    )
}

fn framed(who: &SignedIn, title: &str, way: &[&str], content: &Markup) -> Markup {
    let account = &who.visitor.account;
    document(
        title,
        &html! {
            a.skip href="#content" { "Skip to the content" }
            header.top {
                p.brand { a href=(paths::HOME) { "Token Ledger" } }
                div.who {
                    span title=(account.email) { (account.called()) }
                    @if let Some(power) = who.visitor.power {
                        span.quiet { (role(power)) }
                    }
                    (form::post(who, paths::SIGN_OUT, &html! { button.plain { "Sign out" } }))
                }
            }
            div.columns {
                nav aria-label="Main" {
                    p.company {
                        @if let Some(company) = &who.company { (company.name) }
                        @else { "No company chosen" }
                        " "
                        a href=(paths::COMPANIES) { "Change" }
                    }
                    @for section in SECTIONS {
                    @if section.pages.iter().any(|entry| entry.needs <= who.visitor.power) {
                        h2 { (section.heading) }
                        ul { @for entry in section.pages { (nav_entry(who, title, entry)) } }
                    }
                }
            }
            main id="content" {
                    @if !way.is_empty() {
                        ol.way aria-label="Breadcrumb" {
                            @for step in way { li { (step) } }
                            li aria-current="page" { (title) }
                        }
                    }
                    h1 { (title) }
                    (content)
                }
            }
        },
    )
}

fn nav_entry(who: &SignedIn, title: &str, entry: &Entry) -> Markup {
    html! {
        @if entry.needs <= who.visitor.power {
            li {
                a href=(entry.path) aria-current=[(entry.title == title).then_some("page")] {
                    (entry.title)
                }
            }
        }
    }
}

/// A power as people call it.
pub const fn role(power: Power) -> &'static str {
    match power {
        Power::Auditor => "Auditor",
        Power::SuperAdmin => "Super Admin",
        Power::Operator => "Operator",
    }
}

/// An instant, exact to the second for reading and to the microsecond for whoever points at it.
pub fn time(time: Timestamp) -> Markup {
    let exact = time.to_string();
    let short = exact.get(..16).unwrap_or(&exact).replace('T', " ");
    html! { time datetime=(exact) title=(exact) { (short) " UTC" } }
}

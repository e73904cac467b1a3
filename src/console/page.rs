//! The frame of every page.

use super::access::SignedIn;
use super::error::Trouble;
use super::render::time;
use super::theme::Theme;
use super::{assets, form, paths};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use token_ledger_domain::Power;

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
pub const SECTIONS: &[Section] = &[
    Section {
        heading: "Integrations",
        pages: &[
            Entry { title: "Access Token", path: paths::TOKENS, needs: Some(Power::Auditor) },
            Entry { title: "Clients", path: paths::CLIENTS, needs: Some(Power::Auditor) },
            Entry { title: "API keys", path: paths::KEYS, needs: Some(Power::Auditor) },
        ],
    },
    Section {
        heading: "Evidence",
        pages: &[
            Entry { title: "Audit trail", path: paths::AUDIT, needs: Some(Power::Auditor) },
            Entry { title: "Checkpoints", path: paths::LOG, needs: Some(Power::Auditor) },
        ],
    },
    Section {
        heading: "Company Settings",
        pages: &[
            Entry { title: "Members", path: paths::MEMBERS, needs: Some(Power::Auditor) },
            Entry { title: "Policy", path: paths::POLICY, needs: Some(Power::Auditor) },
        ],
    },
    Section {
        heading: "Platform",
        pages: &[
            Entry { title: "Companies", path: paths::PLATFORM, needs: Some(Power::Operator) },
            Entry { title: "Projections", path: paths::PROJECTIONS, needs: Some(Power::Operator) },
        ],
    },
    Section {
        heading: "Your account",
        pages: &[
            Entry { title: "Sessions", path: paths::SESSIONS, needs: None },
            Entry { title: "Password", path: paths::PASSWORD, needs: None },
        ],
    },
];

/// The title of the page that chooses a company.
pub const CHOOSE: &str = "Choose a company";

/// The step to what stands under the company's settings.
pub const SETTINGS: Step<'_> = ("Company Settings", None);
/// The step below it to what programs use.
pub const INTEGRATIONS: Step<'_> = ("Integrations", None);
/// The step to what is the person's own.
pub const ACCOUNT: Step<'_> = ("Your account", None);
/// The step to what shows what happened.
pub const EVIDENCE: Step<'_> = ("Evidence", None);

/// A step to a page: what it is called, and where it is if it is a page.
pub type Step<'a> = (&'a str, Option<&'a str>);
/// The steps to a page.
pub type Way<'a> = &'a [Step<'a>];

/// What stands around a page's content.
#[derive(Clone, Debug, Default)]
pub struct Page<'a> {
    /// Its title.
    pub title: &'a str,
    /// The steps to it.
    pub way: Way<'a>,
    /// One sentence about it.
    pub lead: &'a str,
    /// What can be done here.
    pub buttons: Option<Markup>,
    /// Whether the content has a heading of its own.
    pub bare: bool,
}

/// A page for somebody who is signed in.
pub fn of(status: StatusCode, who: &SignedIn, page: &Page<'_>, content: &Markup) -> Response {
    respond(status, &framed(who, page, content))
}

/// A page for somebody who is not signed in.
pub fn outside(status: StatusCode, theme: Theme, title: &str, content: &Markup) -> Response {
    respond(status, &unframed(theme, title, content))
}

/// The way on to the address that was asked for, from a page of our own: to a request that another
/// site led to, browsers add no session.
pub(super) fn onward(address: &str) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content={ "0;url=" (address) };
                title { "Token Ledger" }
            }
            body { a href=(address) { "Go on" } }
        }
    };
    respond(StatusCode::OK, &page)
}

/// A page that a one-time link leads to: its address is told to nobody.
pub(super) fn of_link(status: StatusCode, theme: Theme, title: &str, content: &Markup) -> Response {
    let mut response = outside(status, theme, title, content);
    let no_referrer = HeaderValue::from_static("no-referrer");
    response.headers_mut().insert(header::REFERRER_POLICY, no_referrer);
    response
}

/// The page that says what went wrong, in answer to a request for the page at `asked`.
pub(super) fn trouble(
    who: Option<&SignedIn>,
    theme: Theme,
    trouble: &Trouble,
    request_id: &str,
    asked: Option<&str>,
) -> Response {
    let title = trouble.title();
    let elsewhere =
        trouble.may_be_elsewhere && who.is_some_and(|who| who.may_choose && who.company.is_some());
    let choose = match asked {
        Some(asked) => paths::with_next(paths::COMPANIES, asked),
        None => paths::COMPANIES.to_owned(),
    };
    let content = html! {
        div .stack {
            div data-trouble[true] {
                p { (trouble.detail) }
                @if trouble.status().is_server_error() {
                    p.quiet { "Name this to the operator: " code { (request_id) } }
                }
            }
            @if elsewhere {
                p { "It may be in another of your companies. " a href=(choose) { "Change company" } }
            }
            p { a href=(paths::HOME) { "Go on to the start page" } }
        }
    };
    let mut response = match who {
        Some(who) => of(trouble.status(), who, &Page { title, ..Page::default() }, &content),
        None => of_link(trouble.status(), theme, title, &content),
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

/// A document; `whose` tells it from those of other sessions and companies, so that no part of one
/// is shown on a page of another.
fn document(title: &str, theme: Theme, whose: Option<&str>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme.as_str()] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Token Ledger" }
                link rel="icon" type="image/svg+xml" href=(assets::icon());
                link rel="stylesheet" href=(assets::style());
                script src=(assets::script()) defer {}
            }
            body data-whose=[whose] { (body) }
        }
    }
}

fn unframed(theme: Theme, title: &str, content: &Markup) -> Markup {
    let body = html! {
        main .alone {
            div .stack {
                p .brand { "Token Ledger" }
                h1 { (title) }
                (content)
            }
        }
    };
    document(title, theme, None, &body)
}

fn framed(who: &SignedIn, page: &Page<'_>, content: &Markup) -> Markup {
    let body = html! {
        a .skip href="#content" { "Skip to the content" }
        div .shell {
            nav .side aria-label="Main" {
                a .brand href=(paths::HOME) { "Token Ledger" }
                p .company {
                    @if let Some(company) = &who.company { bdi { (company.name) } }
                    @else { "No company chosen" }
                    @if who.may_choose && page.title != CHOOSE {
                        " "
                        @if who.company.is_some() {
                            a href=(paths::COMPANIES) aria-label="Change company" { "Change" }
                        } @else {
                            a href=(paths::COMPANIES) aria-label=(CHOOSE) { "Choose" }
                        }
                    }
                }
                (navigation(who, page))
            }
            div {
                header .top { (breadcrumb(page)) (signed_in(who)) (on_paper(who)) }
                main #content .content tabindex="-1" {
                    @if !page.bare {
                        div .head {
                            div {
                                h1 { (page.title) }
                                @if !page.lead.is_empty() { p { (page.lead) } }
                            }
                            @if let Some(buttons) = &page.buttons { div .buttons { (buttons) } }
                        }
                    }
                    (content)
                }
            }
        }
    };
    document(page.title, who.theme, Some(&who.whose()), &body)
}

fn navigation(who: &SignedIn, page: &Page<'_>) -> Markup {
    let is_below = page.way.iter().any(|step| step.1.is_some());
    let is_here = |title: &str, path: &str| {
        if is_below {
            page.way.iter().any(|step| step.1 == Some(path))
        } else {
            title == page.title
        }
    };
    let may_see = |entry: &Entry| match entry.needs {
        Some(Power::Operator) => who.operator.is_some(),
        needs => needs <= who.visitor.power,
    };
    html! {
        div .sections {
            @for Section { heading, pages } in SECTIONS {
                @if pages.iter().any(may_see) {
                    div {
                        h2 { (heading) }
                        ul {
                            @for Entry { title, path, .. } in pages.iter().filter(|page| may_see(page)) {
                                li {
                                    a href=(path) aria-current=[is_here(title, path).then_some("page")] {
                                        (title)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn breadcrumb(page: &Page<'_>) -> Markup {
    html! {
        nav .crumbs aria-label="Breadcrumb" {
            ol {
                @for (step, path) in page.way {
                    li { @match path { Some(path) => a href=(path) { (step) }, None => (step) } }
                }
                li aria-current="page" { (page.title) }
            }
        }
    }
}

fn signed_in(who: &SignedIn) -> Markup {
    let account = &who.visitor.account;
    let (theme, words) = who.theme.other();
    let power = who.visitor.power.or(who.operator.as_ref().map(|operator| operator.power));
    html! {
        div .who {
            span {
                strong title=(account.email) { (account.called()) }
                @if let Some(power) = power { " " span .quiet { (role(power)) } }
            }
            (form::post(who, paths::THEME, &html! {
                button .plain name="theme" value=(theme) data-returns[true] { (words) }
            }))
            (form::post(who, paths::SIGN_OUT, &html! { button .plain { "Sign out" } }))
        }
    }
}

/// What paper has in place of the frame: whose ledger it is, who looked, and when.
fn on_paper(who: &SignedIn) -> Markup {
    let account = &who.visitor.account;
    let power = who.visitor.power.or(who.operator.as_ref().map(|operator| operator.power));
    html! {
        p .paper {
            @if let Some(company) = &who.company { bdi { (company.name) } " · " }
            bdi { (account.called()) }
            @if account.called() != account.email { " (" (account.email) ")" }
            @if let Some(power) = power { ", " (role(power)) }
            " · Shown on " (time::stamp(who.came_at))
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

//! What one sees first: whatever one's role works with most.

use super::access::SignedIn;
use super::error::Trouble;
use super::page;
use super::paths::{AUDIT, COMPANIES, HOME, PLATFORM, TOKENS};
use super::theme::Theme;
use crate::http::problem::Kind;
use axum::response::{Redirect, Response};
use token_ledger_domain::Power;

/// The page that somebody begins with.
pub(super) const fn first_page(power: Option<Power>) -> &'static str {
    match power {
        None => COMPANIES,
        Some(Power::Auditor) => AUDIT,
        Some(Power::SuperAdmin) => TOKENS,
        Some(Power::Operator) => PLATFORM,
    }
}

/// `GET /console`
pub(super) async fn show(who: SignedIn) -> Redirect {
    let power = who.operator.as_ref().map(|operator| operator.power).or(who.visitor.power);
    Redirect::to(first_page(power))
}

/// Whatever other address of the console.
pub(super) async fn nowhere() -> Trouble {
    Trouble::nowhere()
}

/// What takes only forms, and was asked for as a page.
pub(super) async fn no_page(theme: Theme) -> Response {
    let trouble = Trouble::new(Kind::MethodNotAllowed, "There is no page at this address.");
    page::trouble(None, theme, &trouble, "", None)
}

/// The start page is the console's.
pub(super) async fn root() -> Redirect {
    Redirect::to(HOME)
}

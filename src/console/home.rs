//! What one sees first: whatever one's role works with most.

use super::access::SignedIn;
use super::paths::{AUDIT, COMPANIES, HOME, PLATFORM, TOKENS};
use axum::response::Redirect;
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
    Redirect::to(first_page(who.visitor.power))
}

/// The start page is the console's.
pub(super) async fn root() -> Redirect {
    Redirect::to(HOME)
}

//! What one sees first.

use super::access::SignedIn;
use super::error::Shown;
use super::{page, paths};
use axum::response::{IntoResponse, Redirect};
use maud::html;

/// The start page.
pub(super) async fn show(who: SignedIn) -> Shown {
    let (Some(company), Some(power)) = (&who.company, who.visitor.power) else {
        return Ok(Redirect::to(paths::COMPANIES).into_response());
    };
    let content = html! {
        p { "You are signed in as " strong { (page::role(power)) } "." }
        dl {
            dt { "Company" }
            dd { (company.name) " " code { (company.company_id) } }
            dt { "OAuth App module" }
            dd {
                @if company.oauth_app_enabled { "On" }
                @else { "Off: no token of the company works. An operator can turn it on." }
            }
        }
    };
    Ok(page::inside(&who, &company.name, &[], &content))
}

/// The start page is the console's.
pub(super) async fn root() -> Redirect {
    Redirect::to(paths::HOME)
}

//! Integrations → Access Token.

pub mod change;
pub mod create;
pub mod list;
pub mod one;

use super::desk::Desk;
use super::page::{INTEGRATIONS, Page, SETTINGS, Way};
use super::paths::{PLATFORM, TOKENS};
use crate::app::view::TokenView;
use maud::{Markup, html};

/// The steps to the list.
const WAY: Way<'_> = &[SETTINGS, INTEGRATIONS];
/// The steps to a page below the list.
const BELOW: Way<'_> = &[SETTINGS, INTEGRATIONS, ("Access Token", Some(TOKENS))];

/// A form's page: its frame brings its own heading.
fn form_page(title: &str) -> Page<'_> {
    Page { title, way: BELOW, bare: true, ..Page::default() }
}

/// Where a token's page is, or a form about it.
pub fn path(token: &TokenView, below: &str) -> String {
    format!("{TOKENS}/{}{below}", token.token_id)
}

/// The form that creates one.
const NEW: &str = "/console/tokens/new";
/// What the list can be asked for.
const FILTERS: [&str; 5] = ["q", "status", "scope", "created_by", "sort"];
/// What the list can be asked for, with the places where its pages go on.
const ASKED: [&str; 7] = ["q", "status", "scope", "created_by", "sort", "cursor", "back"];

/// What a form says that was opened from the list where that was asked for nothing.
const WHOLE: &str = "all";

/// Why nothing works while the module is off, and who can change that.
pub fn module_off(desk: &Desk) -> Markup {
    html! {
        @if !desk.company.oauth_app_enabled {
            div .notice .soon {
                p { strong { "The OAuth App module is off." } }
                p {
                    "No token of " bdi { (desk.company.name) } " works while it is off, and none can be \
                     created or refreshed. Tokens that are still valid work again as soon as it \
                     is on. "
                    @if desk.is_operator() {
                        a href=(PLATFORM) { "Turn it on under Companies" } "."
                    } @else { "Only the platform’s operators can turn it on: ask support." }
                }
            }
        }
    }
}

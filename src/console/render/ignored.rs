//! What is said where an address asks a list for what it does not have.

use maud::{Markup, html};

/// The parameters that were left out of account, and the way to the list without any.
pub fn ignored(parts: &[(String, String)], list: &str) -> Markup {
    html! {
        @if !parts.is_empty() {
            div .notice .soon role="status" {
                p { "Part of this address was not understood, and is ignored:" }
                ul { @for (name, value) in parts { li { (words(name, value)) } } }
                p { a href=(list) { "Clear filters" } }
            }
        }
    }
}

/// A parameter as the page calls it.
fn words(name: &str, value: &str) -> String {
    let label = match name {
        "status" => "Status",
        "scope" => "Data access",
        "sort" => "Order",
        "type" => "What",
        // What stands there is for programs.
        _ => return "The place where the list goes on; this is its beginning".to_owned(),
    };
    format!("{label}: “{value}”")
}

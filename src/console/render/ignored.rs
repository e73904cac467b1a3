//! What is said where an address asks a list for what it does not have.

use crate::console::sent::Sent;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Tells what was done by the form before: every list may be asked for it.
const NOTICE: &str = "notice";

/// Whether a list that can be asked for these can be asked for a parameter of this name.
pub fn is_among(asked: &[&str], name: &str) -> bool {
    asked.contains(&name) || name == NOTICE
}

/// What an address asks for that a list does not have which can be asked for these.
pub fn strange(sent: &Sent, asked: &[&str]) -> Vec<(String, String)> {
    sent.sifted(|name, _| is_among(asked, name)).1
}

/// The parameters that were left out of account, and the way to the list without any.
pub fn ignored(parts: &[(String, String)], list: &str) -> Markup {
    let said: BTreeSet<String> = parts.iter().map(|(name, value)| words(name, value)).collect();
    html! {
        @if !said.is_empty() {
            div .notice .soon role="status" {
                p { "Part of this address was not understood, and is ignored:" }
                ul { @for words in said { li { (words) } } }
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
        "cursor" | "back" | "before" | "after" => {
            return "The place where the list goes on; this is its beginning".to_owned();
        }
        _ => return format!("“{name}”, which this list does not know"),
    };
    format!("{label}: “{value}”")
}

//! What stands behind an event's sentence: the exact record, and what proves it.

use super::events::Telling;
use super::{icons, time};
use crate::app::signed::Signed;
use crate::app::view::EventView;
use crate::console::paths::{AUDIT, LOG};
use maud::{Markup, html};

/// Where an event's page is.
pub fn of_event(position: u64) -> String {
    format!("{AUDIT}/events/{position}")
}

/// Where an event's proof is handed out.
pub fn proof_of(position: u64) -> String {
    format!("{LOG}/proof?position={position}")
}

/// Whether a signed checkpoint covers an event.
pub fn badge(position: u64, signed: &Signed) -> Markup {
    let proved = position <= signed.size();
    html! {
        @if proved {
            a .badge .good href={ (of_event(position)) "#proof" }
                title={ "Proved by checkpoint " (signed.size()) } {
                (icons::check()) "Proved" span .sr { ": position " (position) }
            }
        } @else {
            span .badge title="No checkpoint has been signed that covers it" { "Not signed yet" }
        }
    }
}

/// The exact record, folded.
pub fn record(event: &EventView, telling: Telling<'_>) -> Markup {
    html! {
        details .record {
            summary { "Record " span .sr { "of position " (event.position) } }
            (exactly(event, telling.email(event)))
            @if let Some(signed) = telling.signed {
                dl .facts { (evidence(event, signed)) }
                @if event.position <= signed.size() {
                    p .hint { a href=(proof_of(event.position)) { "Download proof" } }
                }
            }
        }
    }
}

/// Everything that was recorded, and the address of the member who did it.
pub fn exactly(event: &EventView, email: Option<&str>) -> Markup {
    let data = serde_json::to_string_pretty(&event.data).unwrap_or_default();
    let absent = || "not recorded, or erased".to_owned();
    let context = &event.context;
    let theirs = format!("{AUDIT}?actor={}", event.actor.id);
    html! {
        dl .facts {
            dt { "Type" } dd { code { (event.kind) } " version " (event.schema_version) }
            dt { "Position" } dd { (event.position) ", sequence " (event.sequence) " of its stream" }
            dt { "Recorded" } dd { code { (event.recorded_at) } }
            dt { "Actor" }
            dd {
                (event.actor.kind) " "
                @if let Some(email) = email { (email) " " }
                code { (event.actor.id) } " "
                a .nowrap href=(theirs) { "All they did" }
            }
            dt { (event.aggregate.kind) } dd { code { (event.aggregate.id) } }
            dt { "Request" } dd { (context.request_id.clone().unwrap_or_else(absent)) }
            dt { "Program" } dd { (context.user_agent.clone().unwrap_or_else(absent)) }
            @if let Some(reason) = &context.reason {
                dt { "Reason" }
                dd { div .typed tabindex="0" role="group" aria-label="Reason" { (reason) } }
            }
            @if event.data.contains_key("secret") {
                dt { "Secret" } dd { "Only its SHA-256 and a hint were ever stored." }
            }
        }
        pre tabindex="0" role="group" aria-label={ "Data of position " (event.position) } { (data) }
    }
}

/// The entry in the log and what proves that it is there, as terms and descriptions.
pub fn evidence(event: &EventView, signed: &Signed) -> Markup {
    html! {
        dt { "Entry hash" } dd { code { (hex::encode(event.entry_hash)) } }
        dt { "Proof" }
        dd {
            @match signed.newest.as_ref().filter(|checkpoint| checkpoint.size >= event.position) {
                Some(checkpoint) => {
                    "Proved by checkpoint " (checkpoint.size) ", signed "
                    (time::stamp(checkpoint.signed_at))
                },
                None => "No checkpoint has been signed that covers it.",
            }
        }
    }
}

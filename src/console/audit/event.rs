//! One event: its sentence, the exact record and what proves it.

use super::beside::WAY;
use crate::console::desk::Desk;
use crate::console::error::Shown;
use crate::console::extract::Path;
use crate::console::names::{emails_of, names_of};
use crate::console::page::Page;
use crate::console::paths::{LOG, PEOPLE};
use crate::console::render::events::{self, Telling};
use crate::console::render::record::{evidence, exactly, of_event, proof_of};
use crate::console::render::{icons, time};
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use serde_json::Value;
use std::sync::Arc;

/// `GET /console/audit/events/{position}`
pub async fn show(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(position): Path<u64>,
) -> Shown {
    let app = &service.app;
    let company = desk.caller.company;
    let event = app.event(company, position).await?;
    let (signed, head) = (app.signed(company).await?, app.head(company).await?);
    let names = names_of(app, &desk.caller, std::slice::from_ref(&event)).await?;
    let emails = emails_of(app, &desk.caller, std::slice::from_ref(&event)).await?;
    let telling = Telling { emails: &emails, ..Telling::of(&names) };
    let is_proved = position <= signed.size();
    let proof = if is_proved { Some(app.proof(company, position).await?) } else { None };
    let content = html! {
        section .state aria-label="What happened" {
            div .event {
                (events::face(&event.actor))
                div .said {
                    p .deed { (events::actor_name(&event.actor)) " " (events::deed(&event, telling)) }
                    @if let Some(text) = &event.context.reason { (events::reason(text)) }
                    p .meta {
                        (time::stamp(event.recorded_at))
                        @if let Some(ip) = &event.context.ip { span { "from " (ip) } }
                    }
                }
            }
        }
        section #proof .state aria-labelledby="proof-title" {
            div .section-head {
                h2 #proof-title { "Proof" }
                @if is_proved {
                    a .button href=(proof_of(position)) { (icons::download()) "Download proof" }
                }
            }
            dl .facts {
                (evidence(&event, &signed))
                @if let Some(checkpoint) = &signed.newest {
                    dt { "Root hash" } dd { code { (checkpoint.root) } }
                    dt { "Log" } dd { code { (signed.origin) } " " a href=(LOG) { "All checkpoints" } }
                }
            }
            @if let Some(proof) = &proof { (in_full(proof)) }
        }
        section .state aria-labelledby="record-title" {
            h2 #record-title { "Record" }
            div .record { (exactly(&event, telling.email(&event))) }
            @if let Some(person) = person(&desk, &event.data) {
                p .actions .start { a .button href=(person) { "Erase this person’s data" } }
            }
        }
        (neighbours(position, head))
    };
    let title = format!("Event {position}");
    Ok(desk.page(&Page { title: &title, way: WAY, ..Page::default() }, &content))
}

/// The proof as it is handed out, and what it says.
fn in_full(proof: &str) -> Markup {
    html! {
        p .hint {
            "The proof leads from the entry hash to the root hash, which the checkpoint signs. It \
             is in the C2SP tlog-proof format, so that tools that are not ours can check it."
        }
        details .record {
            summary { "The proof in full" }
            pre tabindex="0" role="group" aria-label="The proof in full" { (proof) }
        }
    }
}

/// Where an operator erases the person whom the event brought in.
fn person(desk: &Desk, data: &serde_json::Map<String, Value>) -> Option<String> {
    let person = data.get("person_id").and_then(Value::as_str).filter(|_| desk.is_operator())?;
    Some(format!("{PEOPLE}/{person}/erase"))
}

fn neighbours(position: u64, head: u64) -> Markup {
    html! {
        nav .pager aria-label="Events" {
            span { "Position " (position) " of " (head) }
            div {
                @if position > 1 {
                    a .button rel="prev" href=(of_event(position - 1)) { "Event before" }
                }
                @if position < head {
                    a .button rel="next" href=(of_event(position + 1)) { "Event after" }
                }
            }
        }
    }
}

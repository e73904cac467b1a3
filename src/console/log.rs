//! The signed checkpoints of the company's log, and proofs to take along.

use super::desk::Desk;
use super::error::{Shown, Trouble};
use super::page::{EVIDENCE, Page};
use super::paths::LOG;
use super::refusal::sentence;
use super::render::ignored::{ignored, strange};
use super::render::record::of_event;
use super::render::words::{count, grouped};
use super::render::{icons, time};
use super::sent::{Query, Sent, address};
use crate::app::AppError;
use crate::app::evidence::{CheckpointPlace, CheckpointView};
use crate::app::signed::Signed;
use crate::http::Service;
use crate::http::problem::Kind;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::Timestamp;

/// Checkpoints on a page.
const PAGE: usize = 50;

/// `GET /console/log`
pub async fn show(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let app = &service.app;
    let company = desk.caller.company;
    let (signed, head) = (app.signed(company).await?, app.head(company).await?);
    let after = place(&sent);
    let listed = app.checkpoints(company, after.clone(), PAGE).await?;
    let key = app.evidence.key(company).map(|key| key.verifier_key());
    let key = key.or_else(|| signed.newest.as_ref().map(|newest| newest.verifier_key.clone()));
    let content = html! {
        (ignored(&strange(&sent, &["size", "at", "origin"]), LOG))
        @if signed.is_refused {
            div .notice .bad {
                p { strong { "Nothing more is signed." } }
                p { (sentence(&AppError::Unsigned.to_string())) }
            }
        }
        (state(&signed, head, key.as_deref()))
        @if listed.items.is_empty() {
            div .empty { p { "No checkpoint has been signed yet." } }
        } @else {
            (table(&listed.items, &signed.origin))
            (pager(after.is_some(), listed.next))
        }
    };
    let lead = "Each checkpoint is a signed statement of how many events the ledger held and what \
        they were. Keep one outside of this service: it proves later that nothing before it was \
        changed, added or left out.";
    Ok(desk
        .page(&Page { title: "Checkpoints", way: &[EVIDENCE], lead, ..Page::default() }, &content))
}

/// Where the list goes on.
fn place(sent: &Sent) -> Option<CheckpointPlace> {
    let size = u64::try_from(sent.number("size")?).ok()?;
    Some((Timestamp::from_micros(sent.number("at")?), sent.text("origin").to_owned(), size))
}

/// How far the log is signed, and with which key.
fn state(signed: &Signed, head: u64, key: Option<&str>) -> Markup {
    html! {
        section .state aria-labelledby="state" {
            h2 #state { "The log" }
            dl .facts {
                dt { "Origin" } dd { code { (signed.origin) } }
                dt { "Events" }
                dd {
                    (grouped(head)) ", "
                    @if signed.size() >= head { "all signed" }
                    @else { (grouped(signed.size())) " of them signed" }
                }
                @if let Some(key) = key {
                    dt { "Verifier key" }
                    dd {
                        code { (key) } " "
                        a .nowrap href={ (LOG) "/key" } { (icons::download()) "Key" }
                    }
                }
            }
            p .hint {
                "Checks need the key from a source that you trust: note it down once, from here or \
                 from the operator, and compare it later."
            }
        }
    }
}

fn table(checkpoints: &[CheckpointView], origin: &str) -> Markup {
    html! {
        table .rows {
            caption .sr { "Checkpoints" }
            thead {
                tr {
                    th scope="col" { "Size" } th scope="col" { "Signed" }
                    th scope="col" { "Root hash" } th scope="col" { "Witnesses" }
                    th scope="col" { span .sr { "Note" } }
                }
            }
            tbody { @for checkpoint in checkpoints { (row(checkpoint, origin)) } }
        }
    }
}

fn row(checkpoint: &CheckpointView, origin: &str) -> Markup {
    let CheckpointView { size, signed_at, root, witnesses, .. } = checkpoint;
    let note = address(
        &format!("{LOG}/checkpoint"),
        [("origin", checkpoint.origin.as_str()), ("size", &size.to_string())],
    );
    html! {
        tr {
            th scope="row" {
                a href=(of_event(*size)) { (count(*size, "event")) }
                @if checkpoint.origin != origin { span .sub { "of " (checkpoint.origin) } }
            }
            td data-label="Signed" .nowrap { (time::stamp(*signed_at)) }
            td data-label="Root hash" { code .hash { (root) } }
            td data-label="Witnesses" {
                @if witnesses.is_empty() { span .quiet { "None" } }
                @for witness in witnesses { span .chip { (witness) } " " }
            }
            td {
                a .nowrap href=(note) aria-label={ "Note of checkpoint " (size) } {
                    (icons::download()) "Note"
                }
            }
        }
    }
}

fn pager(is_further: bool, next: Option<CheckpointPlace>) -> Markup {
    let older = next.map(|(at, origin, size)| {
        let (at, size) = (at.as_micros().to_string(), size.to_string());
        address(LOG, [("at", at.as_str()), ("origin", &origin), ("size", &size)])
    });
    html! {
        nav .pager aria-label="Pages" {
            span {}
            div {
                @if is_further { a .button href=(LOG) { "Newest" } }
                @if let Some(older) = &older {
                    a .button rel="next" href=(older) { "Older checkpoints" }
                }
            }
        }
    }
}

/// `GET /console/log/checkpoint`: a checkpoint as signed note.
pub async fn checkpoint(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Query(sent): Query,
) -> Shown {
    let size = number(&sent, "size")?;
    let company = desk.caller.company;
    let found = service.app.signed_checkpoint(company, sent.text("origin"), size).await?;
    Ok(file(&format!("checkpoint-{company}-{size}.txt"), found.checkpoint))
}

/// `GET /console/log/key`: the key that checkpoints are signed with, in note form.
pub async fn key(State(service): State<Arc<Service>>, desk: Desk) -> Shown {
    let company = desk.caller.company;
    let key = service.app.log_key(company).await?;
    Ok(file(&format!("log-{company}.vkey"), key + "\n"))
}

/// `GET /console/log/proof`: the proof that an event is in the ledger.
pub async fn proof(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let position = number(&sent, "position")?;
    let company = desk.caller.company;
    let proof = service.app.proof(company, position).await?;
    Ok(file(&format!("event-{company}-{position}.tlog-proof"), proof))
}

fn number(sent: &Sent, name: &str) -> Result<u64, Trouble> {
    let number = sent.number(name).and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| Trouble::new(Kind::InvalidInput, format!("“{name}” has to be a number.")))
}

/// A text to be kept under this name.
fn file(name: &str, text: String) -> Response {
    let name = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CONTENT_DISPOSITION, name.unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    (headers, text).into_response()
}

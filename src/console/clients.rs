//! The company's OAuth clients: programs that get tokens for themselves.

use super::desk::{Desk, go_on};
use super::error::{Shown, Trouble};
use super::extract::Path;
use super::meanwhile::{Missed, Subject, missed};
use super::notices::{about, notice_of};
use super::page::{INTEGRATIONS, Page, SETTINGS, Way};
use super::paths::{CLIENTS, DOCS, TOKENS};
use super::refusal::{Shows, refusal};
use super::render::forms::{self, Field, Refused, frame};
use super::render::ignored::ignored;
use super::render::pager::{is_further, nothing_further, pager, strange};
use super::render::scopes;
use super::render::status::{old_secret, old_secret_fact};
use super::render::time;
use super::render::words::{count, grouped};
use super::reveal::{KEEP, Reveal, old_stops, reveal};
use super::sent::{Query, Sent, address};
use super::tokens::module_off;
use crate::app::clients::NewClient;
use crate::app::outcome::Changed;
use crate::app::view::ClientView;
use crate::http::Service;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use std::collections::BTreeSet;
use std::sync::Arc;
use token_ledger_domain::{ClientId, Secret, Timestamp};
use token_ledger_projections::clients::ClientStatus;
use token_ledger_projections::read_models::{TokenFilter, TokenPage, TokenSort};
use token_ledger_projections::tokens::Status;
use uuid::Uuid;

const NEW: &str = "/console/clients/new";
const BELOW: Way<'_> = &[SETTINGS, INTEGRATIONS, ("Clients", Some(CLIENTS))];
const NEW_SHOWS: Shows = &[
    ("name", "Give the client a name of 1 to 100 characters."),
    ("scopes", "Choose at least one data access."),
    ("reason", ""),
];
const ROTATE_SHOWS: Shows = &[("grace_period_seconds", ""), ("reason", "")];
const DELETE_SHOWS: Shows = &[("reason", "")];
/// Clients on a page.
const PAGE: usize = 50;
/// The most tokens of a client that are counted.
const COUNTED: usize = 1000;

/// `GET /console/clients`
pub async fn list(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let statuses = BTreeSet::from([ClientStatus::Active]);
    let after = sent.id("after").map(ClientId);
    let listed = service.app.clients(&desk.caller, &statuses, after, PAGE).await?;
    let next = listed.next.map(|client| client.to_string());
    let notice = notice_of(&service.app, &desk.who, &desk.caller, &sent).await?;
    let content = html! {
        (notice)
        (ignored(&strange(&sent), CLIENTS))
        (module_off(&desk))
        @if listed.items.is_empty() && is_further(&sent) {
            (nothing_further())
        } @else if listed.items.is_empty() {
            div .empty {
                h2 { "No clients" }
                p { "A client is a program that gets its tokens itself, with a client identifier and \
                     a secret (OAuth 2.0 client credentials). Its tokens are in the list of access \
                     tokens." }
                @if desk.may_change() {
                    a .button .main href=(NEW) data-dialog[true] { "Create client" }
                }
            }
        } @else {
            table .rows {
                caption .sr { "Clients" }
                thead {
                    tr {
                        th scope="col" { "Name" } th scope="col" { "May ask for" }
                        th scope="col" { "Client identifier" } th scope="col" { "Created" }
                        th scope="col" { span .sr { "Actions" } }
                    }
                }
                tbody { @for client in &listed.items { (row(&desk, client)) } }
            }
        }
        (pager(CLIENTS, &sent, next.as_deref()))
    };
    let buttons = html! {
        a .beside href=(DOCS) { "API reference" }
        @if desk.may_change() {
            a .button .main href=(NEW) data-dialog[true] { "Create client" }
        }
    };
    let lead = "Programs that get tokens for themselves over OAuth 2.0, and what they may ask for.";
    let way: Way<'_> = &[SETTINGS, INTEGRATIONS];
    let page = Page { title: "Clients", way, lead, buttons: Some(buttons), ..Page::default() };
    Ok(desk.page(&page, &content))
}

fn row(desk: &Desk, client: &ClientView) -> Markup {
    let here = format!("{CLIENTS}/{}", client.client_id);
    html! {
        tr {
            th scope="row" {
                (client.name)
                span .sub .mono { (client.secret_hint) }
                span .sub {
                    a href=(tokens_of(client)) aria-label={ "Its tokens: " (client.name) } { "Its tokens" }
                }
            }
            td data-label="May ask for" { (scopes::chips(&client.scopes)) }
            td data-label="Client identifier" { code { (client.client_id) } }
            td data-label="Created" {
                span .nowrap { (time::ago(client.created_at, desk.now)) }
                (old_secret(
                    client.previous_secret_expires_at,
                    desk.company.oauth_app_enabled,
                    desk.now,
                ))
            }
            td {
                @if desk.may_change() {
                    details .menu {
                        summary aria-label={ "Actions for " (client.name) } { "•••" }
                        ul {
                            li { a href={ (here) "/rotate" } data-dialog[true] { "Rotate secret" } }
                            li .rule {
                                a .danger href={ (here) "/delete" } data-dialog[true] { "Delete" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Where the list of the tokens is that a client got.
fn tokens_of(client: &ClientView) -> String {
    let id = client.client_id.to_string();
    address(TOKENS, [("created_by", id.as_str())])
}

/// How many tokens of a client work, if they can be counted, and when one of them was last used.
struct Live {
    count: Option<usize>,
    last_used: Option<Timestamp>,
}

async fn live(service: &Service, desk: &Desk, client: Uuid) -> Result<Live, Trouble> {
    let filter = TokenFilter {
        client_id: Some(ClientId(client)),
        ..TokenFilter::of([Status::Active], desk.now)
    };
    let page = TokenPage { sort: TokenSort::LastUsedAt, descending: true, after: None, limit: 1 };
    let (first, count) = service.app.counted_tokens(&desk.caller, &filter, page, COUNTED).await?;
    Ok(Live { count, last_used: first.items.first().and_then(|token| token.last_used_at) })
}

impl Live {
    /// What goes with the client.
    fn fact(&self, desk: &Desk, client: &ClientView) -> Markup {
        html! {
            dt { "Tokens" }
            dd {
                @match self.count {
                    Some(0) => "None is active",
                    Some(number) => {
                        a href=(tokens_of(client)) { (count(number as u64, "active token")) }
                    }
                    None => {
                        a href=(tokens_of(client)) {
                            "More than " (grouped(COUNTED as u64)) " active tokens"
                        }
                    }
                }
                @if self.count != Some(0) {
                    @match self.last_used {
                        Some(at) => { ", last used " (time::ago(at, desk.now)) },
                        None => ", never used",
                    }
                }
            }
        }
    }
}

fn form_page(title: &str) -> Page<'_> {
    Page { title, way: BELOW, bare: true, ..Page::default() }
}

fn shown(desk: &Desk, title: &str, done: Markup, changed: &Changed<ClientView>) -> Response {
    let client = &changed.view;
    let reveals = Reveal {
        title,
        done,
        what: "secret",
        label: "Your client secret",
        keep: KEEP,
        beside: Some(("identifier", client.client_id.to_string())),
        secret: changed.secret.as_ref().map(Secret::reveal),
        is_sent: false,
        lost: "If you lose it, rotate the client’s secret.",
        back: CLIENTS,
    };
    desk.page(&form_page(title), &reveal(desk, &reveals))
}

/// `GET /console/clients/new`
pub async fn form(State(service): State<Arc<Service>>, desk: Desk) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, NEW) {
        return Ok(way);
    }
    let content = new_form(&service, &desk, &Sent::default(), &Refused::default());
    Ok(desk.page(&form_page("Create client"), &content))
}

/// `POST /console/clients/new`
pub async fn create(State(service): State<Arc<Service>>, desk: Desk, sent: Sent) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, NEW) {
        return Ok(way);
    }
    let input = NewClient {
        name: sent.text("name").trim().to_owned(),
        scopes: sent.all("scopes"),
        reason: sent.reason(),
    };
    let conditions = sent.conditions(&desk.caller, "create client");
    match service.app.create_client(&desk.caller, input, conditions).await {
        Ok(created) => {
            let done = html! { "The client " strong { (created.view.name) } " is ready." };
            Ok(shown(&desk, "Client created", done, &created))
        }
        Err(error) => {
            let content = new_form(&service, &desk, &sent, &refusal(error, &sent, NEW_SHOWS)?);
            Ok(desk.refused(&form_page("Create client"), &content))
        }
    }
}

fn new_form(service: &Service, desk: &Desk, sent: &Sent, refused: &Refused) -> Markup {
    let name = Field {
        name: "name",
        label: "Name",
        value: sent.text("name"),
        hint: "The program, such as “HR portal”. Its tokens get this name.",
        required: true,
        max: 100,
        ..Field::default()
    };
    let (catalogue, chosen) = (&service.app.choices.catalogue, sent.all("scopes"));
    let content = html! {
        form .form method="post" action=(NEW) novalidate {
            (desk.seal()) (forms::problem(refused))
            (forms::field(name, refused.of("name")))
            (scopes::choice(catalogue, |_| true, &chosen, None, refused.of("scopes")))
            (forms::reason(sent.text("reason"), refused))
            (forms::actions("Create", false, CLIENTS))
        }
    };
    frame("Create client", &content)
}

/// `GET /console/clients/{client_id}/rotate`
pub async fn rotate_form(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, &format!("{CLIENTS}/{id}/rotate")) {
        return Ok(way);
    }
    let (sent, missed) = (Sent::default(), Missed::default());
    let content = change_form(&service, &desk, id, true, &sent, &missed).await?;
    Ok(desk.page(&form_page("Rotate secret"), &content))
}

/// `GET /console/clients/{client_id}/delete`
pub async fn delete_form(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
) -> Shown {
    let (sent, missed) = (Sent::default(), Missed::default());
    let content = change_form(&service, &desk, id, false, &sent, &missed).await?;
    Ok(desk.page(&form_page("Delete client"), &content))
}

/// `POST /console/clients/{client_id}/rotate`
pub async fn rotate(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, &format!("{CLIENTS}/{id}/rotate")) {
        return Ok(way);
    }
    let grace = sent.seconds("grace_period_seconds")?.unwrap_or_default();
    let conditions = sent.conditions(&desk.caller, &format!("rotate client {id}"));
    let rotated = service
        .app
        .rotate_client(&desk.caller, ClientId(id), grace, sent.reason(), conditions)
        .await;
    match rotated {
        Ok(rotated) => {
            let done = html! {
                strong { (rotated.view.name) } " has a new secret."
                (old_stops(rotated.view.previous_secret_expires_at))
            };
            Ok(shown(&desk, "Secret rotated", done, &rotated))
        }
        Err(error) => {
            let missed =
                missed(&service, &desk, Subject::Client(id), &sent, ROTATE_SHOWS, error).await?;
            let content = change_form(&service, &desk, id, true, &sent, &missed).await?;
            Ok(desk.refused(&form_page("Rotate secret"), &content))
        }
    }
}

/// `POST /console/clients/{client_id}/delete`
pub async fn delete(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let conditions = sent.conditions(&desk.caller, &format!("delete client {id}"));
    let deleted =
        service.app.delete_client(&desk.caller, ClientId(id), sent.reason(), conditions).await;
    match deleted {
        Ok(()) => {
            Ok(go_on(&format!("{CLIENTS}?notice={}", about(&desk.who, "client-deleted", id))))
        }
        Err(error) => {
            let missed =
                missed(&service, &desk, Subject::Client(id), &sent, DELETE_SHOWS, error).await?;
            let content = change_form(&service, &desk, id, false, &sent, &missed).await?;
            Ok(desk.refused(&form_page("Delete client"), &content))
        }
    }
}

async fn change_form(
    service: &Service,
    desk: &Desk,
    id: Uuid,
    rotate: bool,
    sent: &Sent,
    missed: &Missed,
) -> Result<Markup, Trouble> {
    let app = &service.app;
    let client = app.client(&desk.caller, ClientId(id)).await?;
    let (policy, _) = app.policy(&desk.caller).await?;
    let (title, below) =
        if rotate { ("Rotate secret", "rotate") } else { ("Delete client", "delete") };
    let refused = &missed.refused;
    if client.status == "deleted" {
        let content = html! {
            (missed.told)
            (forms::problem(refused))
            p { strong { (client.name) } " is deleted, for good, and its tokens with it." }
            (forms::close(CLIENTS))
        };
        return Ok(frame(title, &content));
    }
    let live = if rotate { None } else { Some(live(service, desk, id).await?) };
    let content = html! {
        (missed.told)
        form .form method="post" action={ (CLIENTS) "/" (client.client_id) "/" (below) } novalidate {
            (desk.seal()) (forms::version(client.version))
            (forms::problem(refused))
            dl .facts {
                dt { "Client" }
                dd { strong { (client.name) } " " span .mono .quiet { (client.secret_hint) } }
                (old_secret_fact(
                    client.previous_secret_expires_at,
                    desk.company.oauth_app_enabled,
                    &html! { @if rotate { "; a rotation ends it at once" } },
                ))
                dt { "May ask for" } dd { (scopes::all(&client.scopes)) }
                @if let Some(live) = &live { (live.fact(desk, &client)) }
            }
            @if rotate {
                div .notice .soon {
                    p { "The program gets no tokens with the old secret once it has stopped. Tokens \
                         that it has stay good." }
                }
                (forms::grace(policy.max_grace_seconds, sent.get("grace_period_seconds"), refused))
            } @else {
                p { "Its tokens are deleted with it, and stop working at once. It can’t be undone." }
            }
            (forms::reason(sent.text("reason"), refused))
            @if rotate { (forms::actions("Rotate", false, CLIENTS)) }
            @else { (forms::actions(&format!("Delete “{}”", client.name), true, CLIENTS)) }
        }
    };
    Ok(frame(title, &content))
}

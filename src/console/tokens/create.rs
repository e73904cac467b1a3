//! Creating an access token.

use super::list::shows;
use super::{ASKED, NEW, form_page, module_off};
use crate::app::policy::PolicyView;
use crate::app::tokens::NewToken;
use crate::console::desk::Desk;
use crate::console::error::Shown;
use crate::console::paths::TOKENS;
use crate::console::refusal::{Shows, refusal};
use crate::console::render::forms::{self, Field, Refused, frame};
use crate::console::render::scopes;
use crate::console::render::time::span;
use crate::console::reveal::{KEEP, Reveal, reveal, valid_until};
use crate::console::sent::{LIST, Query, Sent, address};
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::Secret;
use token_ledger_domain::policy::DEFAULT_VALIDITY_SECONDS;
use uuid::Uuid;

/// Called so in the guide that users know, as the button is that leads here: "Create access token".
const TITLE: &str = "Create token";
/// The list with whatever was created last on top.
const NEWEST: &str = "/console/tokens?sort=-created_at";
const SHOWS: Shows = &[
    ("name", "Give the token a name of 1 to 100 characters."),
    ("scopes", "Choose at least one data access."),
    ("expires_in_seconds", ""),
    ("reason", ""),
];
/// Lengths of terms that are offered, in seconds, as far as the policy allows them.
const TERMS: [i64; 7] = [3600, 86_400, 604_800, 2_592_000, 7_776_000, 15_552_000, 31_536_000];

/// `GET /console/tokens/new`
pub async fn form(State(service): State<Arc<Service>>, desk: Desk, Query(asked): Query) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, &here(&asked)) {
        return Ok(way);
    }
    let (policy, _) = service.app.policy(&desk.caller).await?;
    let (sent, list) = (Sent::default(), asked.text(LIST));
    let content = content(&service, &desk, &policy, &sent, list, &Refused::default());
    Ok(desk.page(&form_page(TITLE), &content))
}

/// `POST /console/tokens/new`
pub async fn create(State(service): State<Arc<Service>>, desk: Desk, sent: Sent) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, &here(&sent)) {
        return Ok(way);
    }
    let app = &service.app;
    let input = NewToken {
        name: sent.text("name").trim().to_owned(),
        scopes: sent.all("scopes"),
        expires_in_seconds: sent.seconds("expires_in_seconds")?,
        reason: sent.reason(),
        client_id: None,
    };
    let conditions = sent.conditions(&desk.caller, "create token");
    let refused = match app.create_token(&desk.caller, input, conditions).await {
        Ok(created) => {
            let token = &created.view;
            let back = back(&service, &desk, &sent, token.token_id).await;
            let shown = Reveal {
                title: "Access token created",
                done: html! {
                    strong { (token.name) } " was created. " (valid_until(token.expires_at, &desk))
                },
                what: "token",
                label: "Your token",
                keep: KEEP,
                beside: None,
                secret: created.secret.as_ref().map(Secret::reveal),
                is_sent: true,
                lost: "If you lose it, refresh the token.",
                back: &back,
            };
            return Ok(desk.page(&form_page(TITLE), &reveal(&desk, &shown)));
        }
        Err(error) => refusal(error, &sent, SHOWS)?,
    };
    let (policy, _) = app.policy(&desk.caller).await?;
    let list = sent.text(LIST);
    let content = content(&service, &desk, &policy, &sent, list, &refused);
    Ok(desk.refused(&form_page(TITLE), &content))
}

/// Where the form is, opened from the same list.
fn here(asked: &Sent) -> String {
    address(NEW, asked.only(&[LIST]))
}

/// The list that the form was opened from, or one that shows the new token where that does not.
async fn back(service: &Service, desk: &Desk, sent: &Sent, created: Uuid) -> String {
    let asked = Sent::parse(sent.text(LIST).as_bytes());
    let is_whole = asked.only(&ASKED).is_empty();
    if is_whole || shows(service, desk, &asked, created).await {
        return sent.list_before(TOKENS, &ASKED, None);
    }
    NEWEST.to_owned()
}

fn content(
    service: &Service,
    desk: &Desk,
    policy: &PolicyView,
    sent: &Sent,
    list: &str,
    refused: &Refused,
) -> Markup {
    let name = Field {
        name: "name",
        label: "Name",
        value: sent.text("name"),
        hint: "What will use it, such as “Payroll sync”.",
        required: true,
        max: 100,
        ..Field::default()
    };
    let asked = Sent::parse(list.as_bytes());
    let back = address(TOKENS, asked.only(&ASKED));
    let form = html! {
        form .form method="post" action=(NEW) novalidate {
            (desk.seal()) (forms::list(list))
            (forms::problem(refused))
            (forms::field(name, refused.of("name")))
            (scopes::choice(
                &service.app.choices.catalogue,
                |scope| allows(policy, scope),
                &sent.all("scopes"),
                None,
                refused.of("scopes"),
            ))
            (term(policy, sent.number("expires_in_seconds"), None, refused))
            (forms::reason(sent.text("reason"), refused))
            (forms::actions("Create", false, &back))
        }
    };
    let content = html! {
        @if desk.company.oauth_app_enabled { (form) }
        @else { (module_off(desk)) (forms::close(&back)) }
    };
    frame(TITLE, &content)
}

/// Whether the company's policy allows a data access.
pub fn allows(policy: &PolicyView, scope: &str) -> bool {
    policy.allowed_scopes.as_ref().is_none_or(|allowed| allowed.iter().any(|own| own == scope))
}

/// How long a token is valid unless somebody chooses, in seconds.
pub fn default_term(policy: &PolicyView) -> i64 {
    DEFAULT_VALIDITY_SECONDS.min(policy.max_validity_seconds)
}

/// The choice of the term, within the policy; what is said of the term that it takes the place of.
pub fn term(
    policy: &PolicyView,
    chosen: Option<i64>,
    present: Option<&Markup>,
    refused: &Refused,
) -> Markup {
    let max = policy.max_validity_seconds;
    let chosen = chosen.unwrap_or_else(|| default_term(policy));
    let mut terms: Vec<i64> = TERMS.into_iter().filter(|term| *term < max).collect();
    terms.push(max);
    let hint = html! {
        @if let Some(present) = present { (present) }
        "Your company allows up to " (span(max)) ". Refresh the token before it expires to \
         keep its programs running."
    };
    forms::term(&terms, chosen, Some(&hint), refused)
}

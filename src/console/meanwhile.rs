//! What others did while a form was being filled in: whoever comes later sees it, and chooses again.

use super::desk::Desk;
use super::error::Trouble;
use super::names::names_of;
use super::refusal::{Shows, refusal};
use super::render::events::{self, Telling};
use super::render::forms::Refused;
use super::render::time;
use super::sent::Sent;
use crate::app::AppError;
use crate::app::view::EventView;
use crate::http::Service;
use maud::{Markup, html};
use serde_json::Value;
use token_ledger_domain::{CompanyId, KeyId, TokenId};
use token_ledger_event_store::StreamId;
use uuid::Uuid;

/// Events that are read at a time.
const PAGE: usize = 200;
/// The most events that are told, the newest ones.
const TOLD: usize = 20;

/// What a form is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A token.
    Token(Uuid),
    /// An API key.
    Key(Uuid),
    /// An OAuth client.
    Client(Uuid),
    /// A membership.
    Member(Uuid),
    /// The company's policy.
    Policy,
}

impl Subject {
    const fn words(self) -> &'static str {
        match self {
            Self::Token(_) => "This token",
            Self::Key(_) => "This key",
            Self::Client(_) => "This client",
            Self::Member(_) => "This membership",
            Self::Policy => "The policy",
        }
    }

    fn stream(self, company: CompanyId) -> StreamId {
        match self {
            Self::Token(id) => TokenId(id).into(),
            Self::Key(id) => KeyId(id).into(),
            Self::Client(_) | Self::Member(_) | Self::Policy => company.into(),
        }
    }

    /// Whether an event of its stream is about it.
    fn concerns(self, event: &EventView) -> bool {
        let names = |field: &str, id: Uuid| {
            let own = event.data.get(field).and_then(Value::as_str);
            own.and_then(|text| text.parse().ok()) == Some(id)
        };
        match self {
            Self::Token(_) | Self::Key(_) => true,
            Self::Client(id) => names("client_id", id),
            Self::Member(id) => names("member_id", id),
            Self::Policy => event.kind == "company.policy_changed",
        }
    }

    /// What has happened to it behind a version, oldest first: the last of it, if that is much.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn since(
        self,
        service: &Service,
        desk: &Desk,
        version: u64,
    ) -> Result<Vec<EventView>, Trouble> {
        let company = desk.caller.company;
        let stream = self.stream(company);
        let mut found = Vec::new();
        let mut after = Some(version);
        while let Some(sequence) = after {
            let page = service.app.stream_history(company, stream, sequence, PAGE).await?;
            found.extend(page.items.into_iter().filter(|event| self.concerns(event)));
            after = page.next;
        }
        let superfluous = found.len().saturating_sub(TOLD);
        Ok(found.split_off(superfluous))
    }
}

/// Whether nothing is left to choose after it.
fn is_end(event: &EventView) -> bool {
    matches!(
        event.kind.as_str(),
        "token.deleted" | "key.deleted" | "company.client_deleted" | "company.member_removed"
    )
}

/// Whether what somebody else did may be the reason.
fn may_be_late(error: &AppError) -> bool {
    matches!(
        error,
        AppError::VersionMismatch { .. } | AppError::NotFound("member") | AppError::ClientDeleted
    )
}

/// Why a form has to be filled in again.
#[derive(Default)]
pub struct Missed {
    /// What was wrong with what was sent.
    pub refused: Refused,
    /// What others did meanwhile, in words; nothing where they did nothing.
    pub told: Markup,
    /// Whether they did anything.
    pub is_stale: bool,
}

/// What the form with these fields is shown with again, which was sent for a version.
///
/// # Errors
/// What no other filling in of the form would change.
pub async fn missed(
    service: &Service,
    desk: &Desk,
    subject: Subject,
    sent: &Sent,
    shows: Shows,
    error: AppError,
) -> Result<Missed, Trouble> {
    let seen = sent.number("version").and_then(|seen| u64::try_from(seen).ok());
    let meanwhile = match seen.filter(|_| may_be_late(&error)) {
        Some(seen) => subject.since(service, desk, seen).await?,
        None => Vec::new(),
    };
    if meanwhile.is_empty() {
        return Ok(Missed { refused: refusal(error, sent, shows)?, ..Missed::default() });
    }
    let names = names_of(&service.app, &desk.caller, &meanwhile).await?;
    let telling = Telling::of(&names);
    let told = html! {
        div .notice .bad role="alert" {
            p { strong { (subject.words()) " was changed meanwhile. Nothing of yours was saved." } }
            ul {
                @for event in &meanwhile {
                    li {
                        (time::stamp(event.recorded_at)) ": "
                        (events::actor_name(&event.actor)) " " (events::deed(event, telling))
                    }
                }
            }
            @if !meanwhile.iter().any(is_end) { p { "Below is how it is now. Choose again." } }
        }
    };
    Ok(Missed { refused: Refused::default(), told, is_stale: true })
}

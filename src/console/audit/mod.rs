//! The audit trail: what happened, by whom, to what, when.

pub mod beside;
mod days;
pub mod event;
pub mod export;
pub mod live;
mod token;
pub mod trail;

use super::actors::{Picked, pick};
use super::cookie;
use super::desk::Desk;
use super::error::Trouble;
use super::paths::AUDIT;
use super::render::forms::Refused;
use super::sent::{Sent, address};
use crate::app::AppError;
use crate::app::audit::AuditFilter;
use crate::app::error::Invalid;
use crate::http::Service;
use crate::http::lasting::Recipient;
use crate::http::problem::Kind;
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;
use token::{PickedToken, pick_token};
use token_ledger_domain::{CompanyId, Power};

/// The parameters that say which events.
const FILTERS: [&str; 5] = ["token", "type", "actor", "from", "to"];

/// The parameter that says whose page is kept up to date.
const WHOSE: &str = "whose";

/// What an address asks for.
struct Asked {
    filter: AuditFilter,
    /// Which token the events shall be of.
    token: PickedToken,
    /// Whom the events shall be by.
    actor: Picked,
    /// What is wrong with the times.
    refused: Refused,
}

impl Asked {
    /// Whether it is clear what is asked for, and can be there.
    fn is_clear(&self) -> bool {
        self.trouble().is_none()
    }

    /// Why there is no answer, for who can't be asked back.
    fn trouble(&self) -> Option<Trouble> {
        if let Some(error) = self.refused.errors.first() {
            return Some(Trouble::new(Kind::InvalidInput, error.detail.as_str()));
        }
        if let Some(question) = self.token.unclear() {
            return Some(Trouble::new(Kind::NotFound, question));
        }
        let detail = "The filter does not name one person or program.";
        self.actor.is_unclear().then(|| Trouble::new(Kind::NotFound, detail))
    }

    /// The way to the address that names by their identifiers what the texts did.
    fn settled(&self, sent: &Sent) -> Option<Response> {
        self.actor.settled(sent, "actor", AUDIT).or_else(|| self.token.settled(sent))
    }
}

/// What the parameters ask for.
async fn asked(service: &Service, desk: &Desk, sent: &Sent) -> Result<Asked, Trouble> {
    let token = pick_token(service, desk, sent).await?;
    let actor = pick(service, desk, sent, "actor").await?;
    let filter = AuditFilter {
        token_id: token.id(),
        types: sent.all("type").into_iter().collect(),
        actor_id: actor.id(),
        from: sent.time("from"),
        to: sent.time("to"),
    };
    let refused = Refused { errors: unsuitable(sent), problem: None };
    if refused.errors.is_empty() {
        let detail = "The filter “What” names no type of event.";
        filter.check().map_err(|_| Trouble::new(Kind::InvalidInput, detail))?;
    }
    Ok(Asked { filter, token, actor, refused })
}

/// What is wrong with the times.
fn unsuitable(sent: &Sent) -> Vec<Invalid> {
    let mut errors = Vec::new();
    for name in ["from", "to"] {
        if let (Some(text), None) = (sent.get(name), sent.time(name)) {
            errors.push(Invalid::new(name, format!("“{text}” is no date and time.")));
        }
    }
    if sent.time("from").zip(sent.time("to")).is_some_and(|(from, to)| from > to) {
        errors.push(Invalid::new("to", "This is before the beginning. Choose a later time."));
    }
    errors
}

/// A path with the filters that are on.
fn with_filters<'a>(path: &str, sent: &'a Sent, more: &[(&'a str, &'a str)]) -> String {
    address(path, sent.only(&FILTERS).into_iter().chain(more.iter().copied()))
}

/// Somebody signed in who gets what goes on for long.
struct Onlooker {
    service: Arc<Service>,
    /// What the session is known by.
    cookie: String,
    company: CompanyId,
}

impl Onlooker {
    fn of(service: &Arc<Service>, company: CompanyId, headers: &HeaderMap) -> Self {
        let cookie = cookie::read(service, headers).unwrap_or_default().to_owned();
        Self { service: Arc::clone(service), cookie, company }
    }
}

impl Recipient for Onlooker {
    /// Whether the session lives and is still in this company.
    async fn may_read(&self) -> Result<bool, AppError> {
        let Some(visitor) = self.service.app.onlooker(&self.cookie).await? else {
            return Ok(false);
        };
        let here = visitor.session.standing.map(|standing| standing.entered);
        Ok(here == Some(self.company) && visitor.power >= Some(Power::Auditor))
    }
}

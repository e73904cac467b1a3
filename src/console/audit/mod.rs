//! The audit trail: what happened, by whom, to what, when.

pub mod beside;
mod days;
pub mod event;
pub mod export;
pub mod live;
pub mod trail;

use super::actors::{Picked, pick};
use super::desk::Desk;
use super::error::Trouble;
use super::sent::{Sent, address};
use crate::app::AppError;
use crate::app::audit::AuditFilter;
use crate::http::Service;
use crate::http::problem::Kind;
use std::collections::BTreeSet;
use token_ledger_domain::TokenId;
use token_ledger_projections::read_models::{TokenFilter, TokenPage, TokenSort};
use token_ledger_projections::tokens::Status;

/// The parameters that say which events.
const FILTERS: [&str; 5] = ["token", "type", "actor", "from", "to"];
/// The most tokens among which one is looked for by its name.
const CANDIDATES: usize = 50;

/// What an address asks for.
struct Asked {
    filter: AuditFilter,
    /// The text of the token that was asked for, where there is none such.
    unknown_token: Option<String>,
    /// Whom the events shall be by.
    actor: Picked,
}

impl Asked {
    /// Whether it is clear what is asked for, and can be there.
    const fn is_clear(&self) -> bool {
        self.unknown_token.is_none() && !self.actor.is_unclear()
    }
}

/// What the parameters ask for.
async fn asked(service: &Service, desk: &Desk, sent: &Sent) -> Result<Asked, Trouble> {
    let bad = |name: &str| {
        Trouble::new(Kind::InvalidInput, format!("The filter “{name}” can’t be understood."))
    };
    for (name, is_good) in [
        ("from", sent.get("from").is_none() || sent.time("from").is_some()),
        ("to", sent.get("to").is_none() || sent.time("to").is_some()),
    ] {
        if !is_good {
            return Err(bad(name));
        }
    }
    let token = match sent.get("token") {
        None => None,
        Some(text) => Some(token_of(service, desk, text).await?.ok_or(text)),
    };
    let actor = pick(service, desk, sent, "actor").await?;
    let filter = AuditFilter {
        token_id: token.and_then(Result::ok),
        types: sent.all("type").into_iter().collect(),
        actor_id: actor.id(),
        from: sent.time("from"),
        to: sent.time("to"),
    };
    filter.check()?;
    let unknown_token = token.and_then(Result::err).map(str::to_owned);
    Ok(Asked { filter, unknown_token, actor })
}

/// The token of this identifier or name; of several, the newest.
async fn token_of(service: &Service, desk: &Desk, text: &str) -> Result<Option<TokenId>, Trouble> {
    let app = &service.app;
    if let Ok(id) = text.trim().parse() {
        return match app.token(&desk.caller, TokenId(id), None).await {
            Ok(_) => Ok(Some(TokenId(id))),
            Err(AppError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
    let filter = TokenFilter {
        status: BTreeSet::from([Status::Active, Status::Expired, Status::Deleted]),
        scope: None,
        q: Some(text.trim().to_owned()),
        created_by: None,
        client_id: None,
        expires_before: None,
        now: desk.now,
    };
    let page =
        TokenPage { sort: TokenSort::CreatedAt, descending: true, after: None, limit: CANDIDATES };
    let found = app.tokens(&desk.caller, &filter, page).await?.items;
    let exact = found.iter().find(|token| token.name.eq_ignore_ascii_case(text.trim()));
    Ok(exact.or(found.first()).map(|token| TokenId(token.token_id)))
}

/// A path with the filters that are on.
fn with_filters<'a>(path: &str, sent: &'a Sent, more: &[(&'a str, &'a str)]) -> String {
    address(path, sent.only(&FILTERS).into_iter().chain(more.iter().copied()))
}

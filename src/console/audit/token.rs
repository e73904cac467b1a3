//! Choosing the token that the audit trail is narrowed down to: by name or identifier.
//!
//! A name that stands for one of them leads to the address with the identifier; a name that stands
//! for several leads to a choice.

use crate::app::AppError;
use crate::app::view::TokenView;
use crate::console::desk::{Desk, go_on};
use crate::console::error::Trouble;
use crate::console::paths::{AUDIT, TOKENS};
use crate::console::render::time::day;
use crate::console::sent::{Sent, address};
use crate::http::Service;
use axum::response::Response;
use maud::{Markup, html};
use token_ledger_domain::TokenId;
use token_ledger_projections::read_models::{TokenFilter, TokenPage, TokenSort};
use token_ledger_projections::tokens::Status;

/// The parameter that names it.
const NAME: &str = "token";
/// The most tokens among which one is looked for by its name.
const CANDIDATES: usize = 500;
/// The most tokens that are offered to choose from.
const OFFERED: usize = 20;
/// What the list of tokens is asked for to hold all of them.
const ALL: [(&str, &str); 3] = [("status", "active"), ("status", "expired"), ("status", "deleted")];

/// Which token the events shall be of.
#[derive(Clone, Debug)]
pub enum PickedToken {
    /// Of any, or none.
    Any,
    /// Of this one.
    One(Box<TokenView>),
    /// Of one of these; the text does not say which.
    Several(String, Vec<TokenView>),
    /// Of one that is not there.
    Unknown(String),
}

/// The token that the parameter names.
///
/// # Errors
/// When the store fails.
pub async fn pick_token(
    service: &Service,
    desk: &Desk,
    sent: &Sent,
) -> Result<PickedToken, Trouble> {
    let Some(text) = sent.get(NAME).map(str::trim) else { return Ok(PickedToken::Any) };
    let app = &service.app;
    if let Some(id) = sent.id(NAME) {
        return match app.token(&desk.caller, TokenId(id), None).await {
            Ok(token) => Ok(PickedToken::One(Box::new(token))),
            Err(AppError::NotFound(_)) => Ok(PickedToken::Unknown(text.to_owned())),
            Err(error) => Err(error.into()),
        };
    }
    let any = [Status::Active, Status::Expired, Status::Deleted];
    let filter = TokenFilter { q: Some(text.to_owned()), ..TokenFilter::of(any, desk.now) };
    let page =
        TokenPage { sort: TokenSort::CreatedAt, descending: true, after: None, limit: CANDIDATES };
    Ok(choose(text, app.tokens(&desk.caller, &filter, page).await?.items))
}

/// The one that the text names, if it names one.
fn choose(text: &str, found: Vec<TokenView>) -> PickedToken {
    let wanted = text.to_lowercase();
    let (exact, near): (Vec<TokenView>, Vec<TokenView>) =
        found.into_iter().partition(|token| token.name.to_lowercase() == wanted);
    let mut left = if exact.is_empty() { near } else { exact };
    match left.len() {
        0 => PickedToken::Unknown(text.to_owned()),
        1 => PickedToken::One(Box::new(left.remove(0))),
        _ => PickedToken::Several(text.to_owned(), left),
    }
}

impl PickedToken {
    /// The identifier of the one.
    pub fn id(&self) -> Option<TokenId> {
        match self {
            Self::One(token) => Some(TokenId(token.token_id)),
            _ => None,
        }
    }

    /// Why nothing can be shown before the person has said more.
    pub fn unclear(&self) -> Option<String> {
        match self {
            Self::Any | Self::One(_) => None,
            Self::Several(text, _) => Some(format!("Several tokens match “{text}”. Which one?")),
            Self::Unknown(text) => {
                Some(format!("There is no token with the name or identifier “{text}”."))
            }
        }
    }

    /// The way to the address that names the one by its identifier, where the text did.
    pub fn settled(&self, sent: &Sent) -> Option<Response> {
        let id = self.id().filter(|_| sent.id(NAME).is_none())?.0.to_string();
        let others = sent.except(&[NAME]);
        Some(go_on(&address(AUDIT, others.into_iter().chain([(NAME, id.as_str())]))))
    }

    /// The field of the filter. Whichever was chosen stands in it until taken away; `without` is
    /// the address without.
    pub fn field(&self, without: &str) -> Markup {
        let text = match self {
            Self::Any | Self::One(_) => "",
            Self::Several(text, _) | Self::Unknown(text) => text,
        };
        html! {
            @if let Self::One(token) = self {
                div {
                    span .label { "To which token" }
                    span .picked {
                        input type="hidden" name=(NAME) value=(token.token_id);
                        span .name { (token.name) }
                        a href=(without) aria-label={ "Any token instead of " (token.name) } { "×" }
                    }
                }
            } @else {
                div .wide {
                    label for=(NAME) { "To which token" }
                    input id=(NAME) name=(NAME) value=(text) placeholder="Name or identifier"
                        autocomplete="off";
                }
            }
        }
    }

    /// What is said where the text does not name one; `link` is the address with an identifier.
    pub fn question(&self, link: impl Fn(&str) -> String) -> Markup {
        html! {
            @if let Some(question) = self.unclear() {
                div .notice .soon role="status" {
                    p { (question) }
                    @if let Self::Several(text, several) = self {
                        ul { @for token in several.iter().take(OFFERED) { (offer(token, &link)) } }
                        @if several.len() > OFFERED {
                            @let list = address(TOKENS, ALL.into_iter().chain([("q", text.as_str())]));
                            p { "These are the newest. " a href=(list) { "All that match" } }
                        }
                    }
                }
            }
        }
    }
}

/// One of several, told from the others by its secret and its age.
fn offer(token: &TokenView, link: impl Fn(&str) -> String) -> Markup {
    html! {
        li {
            a href=(link(&token.token_id.to_string())) { (token.name) }
            " " span .quiet {
                span .mono { (token.secret_hint) }
                ", " (token.status) ", created on " (day(token.created_at))
            }
        }
    }
}

//! Choosing whom a list is narrowed down to: by name, among as many as there are.
//!
//! A name that stands for one of them leads to the address with the identifier, so that an address
//! goes on to mean the same; a name that stands for several leads to a choice.

use super::desk::{Desk, go_on};
use super::error::{Shown, Trouble};
use super::sent::{Query, Sent, address};
use crate::app::actors::NamedActor;
use crate::http::Service;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::ActorType;

/// Where suggestions are.
pub const ACTORS: &str = "/console/actors";
/// How many of each kind are suggested.
const SUGGESTED: usize = 20;
/// How many of each kind a name is looked for among.
const CANDIDATES: usize = 500;

/// Whom a list is narrowed down to.
#[derive(Clone, Debug)]
pub enum Picked {
    /// To nobody in particular.
    Anybody,
    /// To this one.
    One(Box<NamedActor>),
    /// To one of these; the text does not say which.
    Several(String, Vec<NamedActor>),
    /// To somebody whom nobody knows.
    Unknown(String),
}

/// An actor in words that tell it from others.
fn label(actor: &NamedActor) -> String {
    let kind = match actor.kind {
        ActorType::Member => "",
        ActorType::Key => " (API key)",
        ActorType::Client => " (client)",
        ActorType::Operator => " (operator)",
        ActorType::System => " (the service)",
    };
    format!("{}{kind}", actor.name)
}

/// A label without what was added to the name.
fn name_in(text: &str) -> &str {
    let without = text.trim().strip_suffix(')').and_then(|text| text.rsplit_once(" ("));
    match without {
        Some((name, "API key" | "client" | "operator" | "the service")) => name.trim(),
        _ => text.trim(),
    }
}

/// Whom the parameter of this name stands for.
///
/// # Errors
/// When the store fails.
pub async fn pick(
    service: &Service,
    desk: &Desk,
    sent: &Sent,
    name: &str,
) -> Result<Picked, Trouble> {
    let Some(text) = sent.get(name) else { return Ok(Picked::Anybody) };
    let app = &service.app;
    if let Some(id) = sent.id(name) {
        let known = app.actor(&desk.caller, id).await?;
        let unknown =
            || NamedActor { id, kind: ActorType::Member, name: id.to_string(), email: None };
        return Ok(Picked::One(Box::new(known.unwrap_or_else(unknown))));
    }
    let found = app.find_actors(&desk.caller, name_in(text), CANDIDATES).await?;
    Ok(choose(text, found))
}

/// The one that the text names, if it names one.
fn choose(text: &str, found: Vec<NamedActor>) -> Picked {
    let wanted = text.trim().to_lowercase();
    let is = |own: &str| own.to_lowercase() == wanted;
    let exact: Vec<NamedActor> = found
        .iter()
        .filter(|actor| {
            is(&label(actor)) || is(&actor.name) || actor.email.as_deref().is_some_and(is)
        })
        .cloned()
        .collect();
    let mut left = if exact.is_empty() { found } else { exact };
    match left.len() {
        0 => Picked::Unknown(text.trim().to_owned()),
        1 => Picked::One(Box::new(left.remove(0))),
        _ => Picked::Several(text.trim().to_owned(), left),
    }
}

impl Picked {
    /// The identifier of the one.
    pub fn id(&self) -> Option<uuid::Uuid> {
        match self {
            Self::One(actor) => Some(actor.id),
            _ => None,
        }
    }

    /// Whether nothing can be shown before the person has said more.
    pub const fn is_unclear(&self) -> bool {
        matches!(self, Self::Several(..) | Self::Unknown(_))
    }

    /// The way to the address that names the one by its identifier, where the text did.
    pub fn settled(&self, sent: &Sent, name: &str, here: &str) -> Option<Response> {
        let id = self.id().filter(|_| sent.id(name).is_none())?.to_string();
        let others = sent.except(&[name]);
        Some(go_on(&address(here, others.into_iter().chain([(name, id.as_str())]))))
    }

    /// The field of a filter. Whoever was chosen stands in it until taken away; `without` is the
    /// address without.
    pub fn field(&self, name: &str, words: &str, without: &str) -> Markup {
        let text = match self {
            Self::Anybody | Self::One(_) => "",
            Self::Several(text, _) | Self::Unknown(text) => text,
        };
        let list = format!("{name}-suggestions");
        html! {
            @if let Self::One(actor) = self {
                div {
                    span .label { (words) }
                    span .picked {
                        input type="hidden" name=(name) value=(actor.id);
                        span .name { (label(actor)) }
                        a href=(without) aria-label={ "Anybody instead of " (label(actor)) } { "×" }
                    }
                }
            } @else {
                div .who-field {
                    label for=(name) { (words) }
                    input id=(name) name=(name) value=(text) placeholder="Anybody" autocomplete="off"
                        list=(list) data-suggest=(ACTORS);
                    datalist id=(list) {}
                }
            }
        }
    }

    /// What is said where the text does not name one; `link` is the address with an identifier.
    pub fn question(&self, link: impl Fn(&str) -> String) -> Markup {
        html! {
            @match self {
                Self::Anybody | Self::One(_) => {},
                Self::Unknown(text) => div .notice .soon role="status" {
                    p {
                        "Nobody here is called “" (text) "”: no member, API key or client. For an \
                         operator, or somebody who has left, open one of their events in the audit \
                         trail and choose “All they did”."
                    }
                },
                Self::Several(text, several) => div .notice .soon role="status" {
                    p { "Several are called “" (text) "”. Which one?" }
                    ul {
                        @for actor in several {
                            li {
                                a href=(link(&actor.id.to_string())) { (label(actor)) }
                                @if let Some(email) = &actor.email { " " span .quiet { (email) } }
                            }
                        }
                    }
                },
            }
        }
    }
}

/// `GET /console/actors`: what a field may be filled in with, as options.
pub async fn suggest(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let found = service.app.find_actors(&desk.caller, sent.text("q"), SUGGESTED).await?;
    let options = html! {
        datalist data-whose=(desk.who.whose()) {
            @for actor in &found {
                option value=(label(actor)) { (actor.email.as_deref().unwrap_or_default()) }
            }
        }
    };
    Ok(Html(options.into_string()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn actor(id: u128, kind: ActorType, name: &str) -> NamedActor {
        let email = (kind == ActorType::Member).then(|| format!("{id}@acme.example"));
        NamedActor { id: Uuid::from_u128(id), kind, name: name.to_owned(), email }
    }

    #[test]
    fn a_name_stands_for_the_one_that_it_fits_best() {
        let both =
            || vec![actor(1, ActorType::Member, "Maya"), actor(2, ActorType::Key, "Maya’s CI")];
        let id = |text: &str| choose(text, both()).id().map(|id| id.as_u128());
        assert_eq!(id("maya"), Some(1));
        assert_eq!(id("Maya’s CI (API key)"), Some(2));
        assert_eq!(id("1@acme.example"), Some(1));
        assert!(matches!(choose("may", both()), Picked::Several(_, two) if two.len() == 2));
        assert!(matches!(choose("Tom", Vec::new()), Picked::Unknown(_)));
        assert_eq!(
            choose("Ma", vec![actor(1, ActorType::Member, "Maya")]).id().unwrap().as_u128(),
            1
        );
    }

    #[test]
    fn namesakes_are_told_apart_by_the_person_who_asks() {
        let twins = vec![actor(1, ActorType::Member, "Maya"), actor(3, ActorType::Member, "Maya")];
        let picked = choose("Maya", twins);
        assert!(picked.is_unclear());
        let html = picked.question(|id| format!("?actor={id}")).into_string();
        assert!(html.contains("3@acme.example") && html.contains("?actor=00000000"), "{html}");
    }

    #[test]
    fn what_a_label_adds_is_taken_away_again() {
        assert_eq!(name_in(" Nightly (API key) "), "Nightly");
        assert_eq!(name_in("Nightly (old)"), "Nightly (old)");
    }
}

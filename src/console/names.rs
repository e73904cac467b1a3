//! What the things are called that events know by identifier.

use super::render::events::Names;
use crate::app::view::EventView;
use crate::app::{App, AppError, Caller};
use serde_json::Value;
use std::collections::BTreeSet;
use token_ledger_domain::{ClientId, CompanyId, KeyId, MemberId, Power, TokenId};
use uuid::Uuid;

/// The names of all that these events are about, as far as they are known.
///
/// # Errors
/// When the store fails.
pub async fn names_of(app: &App, caller: &Caller, events: &[EventView]) -> Result<Names, AppError> {
    let mut names = Names::new();
    let mut gone = BTreeSet::new();
    for (kind, id) in mentioned(events) {
        match present(app, caller, kind, id).await? {
            Some(name) => {
                names.insert(id, name);
            }
            None if kind == "member" => {
                gone.insert(id);
            }
            None => {}
        }
    }
    names.extend(app.former_members(caller.company, &gone).await?);
    Ok(names)
}

/// The addresses of those who did these things, as far as they are members.
///
/// # Errors
/// When the store fails.
pub async fn emails_of(
    app: &App,
    caller: &Caller,
    events: &[EventView],
) -> Result<Names, AppError> {
    let people = events.iter().filter(|event| matches!(event.actor.kind, "member" | "operator"));
    let people: BTreeSet<Uuid> = people.map(|event| event.actor.id).collect();
    let mut emails = Names::new();
    for id in people {
        match app.member(caller, MemberId(id)).await {
            Ok(member) => emails.extend(member.email.map(|email| (id, email))),
            Err(AppError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(emails)
}

/// What the thing of this kind is called, if the company has or had it and its name is known.
///
/// # Errors
/// When the store fails.
pub async fn name_of(
    app: &App,
    caller: &Caller,
    kind: &str,
    id: Uuid,
) -> Result<Option<String>, AppError> {
    let name = present(app, caller, kind, id).await?;
    if name.is_some() || kind != "member" {
        return Ok(name);
    }
    Ok(app.former_members(caller.company, &BTreeSet::from([id])).await?.remove(&id))
}

/// What the thing of this kind is called, if it is there and was not erased.
async fn present(
    app: &App,
    caller: &Caller,
    kind: &str,
    id: Uuid,
) -> Result<Option<String>, AppError> {
    let name = match kind {
        "token" => app.token(caller, TokenId(id), None).await.map(|token| Some(token.name)),
        "key" => app.key(caller, KeyId(id)).await.map(|key| Some(key.name)),
        "client" => app.client(caller, ClientId(id)).await.map(|client| Some(client.name)),
        // Companies are named to those who run the platform, and to nobody else.
        "company" if caller.power < Power::Operator => Ok(None),
        "company" => {
            let there = Caller { company: CompanyId(id), ..caller.clone() };
            app.company(&there).await.map(|company| Some(company.name))
        }
        _ => app.member(caller, MemberId(id)).await.map(|member| member.name.or(member.email)),
    };
    match name {
        Err(AppError::NotFound(_)) => Ok(None),
        name => name,
    }
}

/// What kind of thing is mentioned by which identifier, each once.
fn mentioned(events: &[EventView]) -> BTreeSet<(&'static str, Uuid)> {
    let mut mentioned = BTreeSet::new();
    for event in events {
        if event.aggregate.kind != "company" {
            mentioned.insert((event.aggregate.kind, event.aggregate.id));
        }
        for (field, kind) in [("member_id", "member"), ("client_id", "client")] {
            let id = event.data.get(field).and_then(Value::as_str);
            if let Some(id) = id.and_then(|id| id.parse().ok()) {
                mentioned.insert((kind, id));
            }
        }
    }
    mentioned
}

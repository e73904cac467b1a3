//! Who may have done something, by name: people, programs, the service itself.

use super::audit::{AuditFilter, AuditPage};
use super::{App, AppError, Caller};
use std::collections::BTreeSet;
use token_ledger_domain::{ActorType, ClientId, KeyId, MemberId};
use token_ledger_projections::read_models::Programs;
use uuid::Uuid;

/// Members that are looked through at a time.
const PAGE: usize = 500;
/// What the service is called, in whose name the command line acts too.
pub const SERVICE: &str = "Token Ledger";

/// Somebody who may have done something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedActor {
    /// The member, key or client; nil for the service.
    pub id: Uuid,
    /// What it is.
    pub kind: ActorType,
    /// What it is called.
    pub name: String,
    /// A person's e-mail address.
    pub email: Option<String>,
}

impl App {
    /// The members, keys and clients of the caller's company with this in their name or address,
    /// whatever its case: so many of each at most.
    ///
    /// # Errors
    /// When there is no such company.
    pub async fn find_actors(
        &self,
        caller: &Caller,
        q: &str,
        limit: usize,
    ) -> Result<Vec<NamedActor>, AppError> {
        let q = q.trim();
        let lowered = q.to_lowercase();
        let mut found = self.find_members(caller, &lowered, limit).await?;
        for (programs, kind) in
            [(Programs::Keys, ActorType::Key), (Programs::Clients, ActorType::Client)]
        {
            let named = self.read.find_programs(caller.company, programs, q, limit).await?;
            let actor = |named: token_ledger_projections::read_models::Named| NamedActor {
                id: named.id,
                kind,
                name: named.name,
                email: None,
            };
            found.extend(named.into_iter().map(actor));
        }
        if SERVICE.to_lowercase().contains(&lowered) {
            found.push(service());
        }
        Ok(found)
    }

    /// The names stand in the accounts, which are the platform's, so the members are looked through.
    async fn find_members(
        &self,
        caller: &Caller,
        q: &str,
        limit: usize,
    ) -> Result<Vec<NamedActor>, AppError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = self.members(caller, after, PAGE).await?;
            for member in page.items {
                let texts = [member.name.as_deref(), member.email.as_deref()];
                if texts.into_iter().flatten().any(|text| text.to_lowercase().contains(q)) {
                    let email = member.email;
                    let name = member.name.or_else(|| email.clone()).unwrap_or_default();
                    let (id, kind) = (member.member_id, ActorType::Member);
                    found.push(NamedActor { id, kind, name, email });
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Whoever an identifier stands for: a member, key or client, or whoever signed events with it
    /// while being one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn actor(&self, caller: &Caller, id: Uuid) -> Result<Option<NamedActor>, AppError> {
        if id.is_nil() {
            return Ok(Some(service()));
        }
        let known = |kind, name, email| Some(NamedActor { id, kind, name, email });
        if let Some(key) = none_if_missing(self.key(caller, KeyId(id)).await)? {
            return Ok(known(ActorType::Key, key.name, None));
        }
        if let Some(client) = none_if_missing(self.client(caller, ClientId(id)).await)? {
            return Ok(known(ActorType::Client, client.name, None));
        }
        if let Some(member) = none_if_missing(self.member(caller, MemberId(id)).await)?
            && let Some(name) = member.name.or_else(|| member.email.clone())
        {
            return Ok(known(ActorType::Member, name, member.email));
        }
        let former = self.former_members(caller.company, &BTreeSet::from([id])).await?;
        if let Some(name) = former.into_values().next() {
            return Ok(known(ActorType::Member, name, None));
        }
        let theirs = AuditFilter { actor_id: Some(id), ..AuditFilter::default() };
        let newest = AuditPage { descending: true, after: None, limit: 1 };
        let events = self.audit_page(caller.company, &theirs, newest).await?.items;
        let Some(event) = events.into_iter().next() else { return Ok(None) };
        let (kind, former) = match event.actor.kind {
            "operator" => (ActorType::Operator, "An operator"),
            _ => (ActorType::Member, "A former member"),
        };
        Ok(known(kind, event.actor.name.unwrap_or_else(|| former.to_owned()), None))
    }
}

fn service() -> NamedActor {
    let name = SERVICE.to_owned();
    NamedActor { id: Uuid::nil(), kind: ActorType::System, name, email: None }
}

fn none_if_missing<T>(found: Result<T, AppError>) -> Result<Option<T>, AppError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(AppError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

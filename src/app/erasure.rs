//! Erasing a person: what names or describes them goes, what they did stays.

use super::App;
use futures::TryStreamExt;
use serde::Serialize;
use std::collections::HashMap;
use token_ledger_domain::company::{Company, CompanyEvent};
use token_ledger_domain::{Actor, ActorType, CompanyId, LedgerEvent, MemberId, PersonId};
use token_ledger_event_store::{RecordedEvent, StoreError};
use utoipa::ToSchema;
use uuid::Uuid;

/// Events that are read, and private parts that are erased, at a time.
const PAGE: usize = 2000;

/// Which memberships are whose.
#[derive(Clone, Debug, Default)]
pub struct Memberships {
    members: HashMap<MemberId, PersonId>,
}

impl Memberships {
    /// Takes in what an event says.
    pub fn learn(&mut self, event: &LedgerEvent) {
        if let LedgerEvent::Company(CompanyEvent::MemberAdded { member_id, person_id, .. }) = event
        {
            self.members.insert(*member_id, *person_id);
        }
    }

    /// The person that an identifier stands for: a membership's or the person's own.
    pub fn person(&self, id: Uuid) -> PersonId {
        self.members.get(&MemberId(id)).copied().unwrap_or(PersonId(id))
    }

    /// Whether the person is one of them.
    fn know(&self, person: PersonId) -> bool {
        self.members.values().any(|known| *known == person)
    }

    /// Everything that stands for a person.
    pub fn identifiers(&self, person: PersonId) -> Vec<Uuid> {
        let members = self.members.iter().filter(|(_, whose)| **whose == person);
        members.map(|(member, _)| member.0).chain([person.0]).collect()
    }

    /// The people, by membership or in person, whom an event's private part may name: whoever did
    /// it, and whoever it was done to.
    pub fn named(actor: &Actor, event: &LedgerEvent) -> Vec<Uuid> {
        let mut named = Vec::with_capacity(2);
        let is_person = matches!(actor.kind, ActorType::Member | ActorType::Operator);
        if is_person && !actor.id.is_nil() {
            named.push(actor.id);
        }
        if let LedgerEvent::Company(event) = event {
            match event {
                CompanyEvent::MemberAdded { person_id, .. } => named.push(person_id.0),
                CompanyEvent::MemberRoleChanged { member_id, .. }
                | CompanyEvent::MemberRemoved { member_id } => named.push(member_id.0),
                _ => {}
            }
        }
        named
    }
}

/// What an erasure did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Erased {
    /// The company.
    pub company_id: Uuid,
    /// The person.
    pub person_id: Uuid,
    /// The position of the event that says so.
    pub position: u64,
    /// Private parts of events that were still there and are erased.
    pub private_parts: u64,
    /// Whether the account was erased too. It is kept while the person is a member of another
    /// company and was not erased there.
    pub account: bool,
}

/// What an erasure found on a page of a ledger.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Page {
    /// The last position that was looked at.
    pub end: u64,
    /// Events with a private part that names the person.
    pub named: u64,
    /// Those whose private part was still there.
    pub there: u64,
}

impl App {
    /// The people that the platform's ledger knows: operators act in every company.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn operators(&self) -> Result<Memberships, StoreError> {
        let mut people = Memberships::default();
        self.learn(CompanyId::PLATFORM, &mut people).await?;
        Ok(people)
    }

    /// The operators, and the people who are or were members of a company.
    pub(super) async fn people_in(&self, company: CompanyId) -> Result<Memberships, StoreError> {
        let mut people = self.operators().await?;
        self.learn(company, &mut people).await?;
        Ok(people)
    }

    /// Takes in what happened to a company itself.
    async fn learn(&self, company: CompanyId, people: &mut Memberships) -> Result<(), StoreError> {
        let mut events = self.each_event(company, company.into(), 0);
        while let Some(event) = events.try_next().await? {
            people.learn(&event.decode()?);
        }
        Ok(())
    }

    /// Whether the person is or was a member of the company or an operator: nobody else acts in
    /// person, so that the company's ledger holds nothing of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn may_hold(&self, company: CompanyId, person: PersonId) -> Result<bool, StoreError> {
        Ok(self.people_in(company).await?.know(person))
    }

    /// Whether the company's ledger names the person.
    pub(super) async fn holds(
        &self,
        company: CompanyId,
        person: PersonId,
    ) -> Result<bool, StoreError> {
        let mut members = Memberships::default();
        self.learn(company, &mut members).await?;
        if members.know(person) {
            return Ok(true);
        }
        let people = self.operators().await?;
        if !people.know(person) {
            return Ok(false);
        }
        // An operator need not have acted here.
        let mut after = 0;
        loop {
            let page = self.store().read(company, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(false) };
            after = last.position;
            for event in &page {
                if names(&people, person, event)? {
                    return Ok(true);
                }
            }
        }
    }

    /// Erases the private parts that name the person on the page of the ledger behind `after`, up
    /// to the position `last`; none at the end.
    pub(super) async fn erase_page(
        &self,
        company: CompanyId,
        person: PersonId,
        people: &Memberships,
        after: u64,
        last: u64,
    ) -> Result<Option<Page>, StoreError> {
        if after >= last {
            return Ok(None);
        }
        let events = self.store().read(company, after, PAGE).await?;
        let Some(end) = events.last().map(|event| event.position) else { return Ok(None) };
        let mut positions = Vec::new();
        for event in events.iter().filter(|event| event.position <= last) {
            if event.private_commitment.is_some() && names(people, person, event)? {
                positions.push(event.position);
            }
        }
        let mut page = Page { end, named: positions.len() as u64, there: 0 };
        if !positions.is_empty() {
            let parts = self.store().private_parts(company, &positions).await?;
            page.there = parts.iter().flatten().count() as u64;
            self.erasures.private_parts(company, &positions).await?;
        }
        Ok(Some(page))
    }

    /// Erases what is kept of the person beside the ledger, and what erasing leaves in the
    /// database's files; answers whether the account is gone.
    pub(super) async fn erase_beside(
        &self,
        company: CompanyId,
        person: PersonId,
        people: &Memberships,
    ) -> Result<bool, StoreError> {
        // Else what was noted just before would be written behind it.
        self.flush_attempts().await.map_err(|_| {
            StoreError::Unavailable("it is still writing what was noted before".to_owned())
        })?;
        let identifiers = people.identifiers(person);
        self.erasures.attempts(company, &identifiers).await?;
        self.erase_from_sweeps(company, &identifiers).await?;
        let erased = self.erased_memberships(person).await?;
        let account = self.erasures.account(person, &erased).await?;
        self.erasures.overwrite().await?;
        Ok(account)
    }

    /// The person's memberships in companies that they were erased from: nothing there needs the
    /// account any more.
    async fn erased_memberships(&self, person: PersonId) -> Result<Vec<MemberId>, StoreError> {
        let mut erased = Vec::new();
        for row in self.people.memberships(person).await? {
            if self.is_erased(row.company_id, row.member_id).await? {
                erased.push(row.member_id);
            }
        }
        Ok(erased)
    }

    /// Whether a member's person was erased from the company. Nobody signs in to it for them any
    /// more, though they may have an account for other companies.
    pub(super) async fn is_erased(
        &self,
        company: CompanyId,
        member: MemberId,
    ) -> Result<bool, StoreError> {
        let of_erased =
            |company: &Company| company.members.get(&member).is_some_and(|member| member.is_erased);
        self.ledger.look_at(company, of_erased).await
    }
}

/// Whether the private part of an event may name the person.
fn names(
    people: &Memberships,
    person: PersonId,
    event: &RecordedEvent,
) -> Result<bool, StoreError> {
    let named = Memberships::named(&event.metadata()?.actor, &event.decode()?);
    Ok(named.iter().any(|id| people.person(*id) == person))
}

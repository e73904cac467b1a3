//! Erasing a person: what names or describes them goes, what they did stays.

use super::input;
use super::outcome::Changed;
use super::{App, AppError, Caller};
use serde::Serialize;
use std::collections::HashMap;
use token_ledger_domain::company::{Company, CompanyCommand, CompanyEvent};
use token_ledger_domain::{Actor, ActorType, CompanyId, LedgerEvent, MemberId, PersonId};
use token_ledger_event_store::{Executed, Idempotency, Request, StoreError, StreamId};
use utoipa::ToSchema;
use uuid::Uuid;

/// Events that are read, and private parts that are erased, at a time.
const PAGE: usize = 2000;

/// Which memberships are whose.
#[derive(Clone, Debug, Default)]
pub struct People {
    members: HashMap<MemberId, PersonId>,
}

impl People {
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
    /// company.
    pub account: bool,
}

impl App {
    /// The people that the platform's ledger knows: operators act in every company.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn operators(&self) -> Result<People, StoreError> {
        self.people_of(CompanyId::PLATFORM).await
    }

    /// The people who are or were members of a company.
    async fn people_of(&self, company: CompanyId) -> Result<People, StoreError> {
        let mut people = People::default();
        let stream = StreamId::from(company);
        let mut after = 0;
        loop {
            let page = self.store().history(company, stream, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(people) };
            after = last.sequence;
            for event in &page {
                people.learn(&event.decode()?);
            }
        }
    }

    /// Whether the person is or was a member of the company or an operator: nobody else acts in
    /// person, so that the company's ledger holds nothing of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn may_hold(&self, company: CompanyId, person: PersonId) -> Result<bool, StoreError> {
        Ok(self.people_of(company).await?.know(person) || self.operators().await?.know(person))
    }

    /// Erases a person from the caller's company: an event says so, the private parts of all that
    /// the person did or had done to them up to it go with their salts, and the account with its
    /// e-mail address. When this fails half-way, it can be asked again.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when the company's ledger knows no such person.
    pub async fn erase_person(
        &self,
        caller: &Caller,
        person: PersonId,
        reason: &str,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Erased>, AppError> {
        let company = caller.company;
        let reason = input::required_reason(Some(reason.to_owned()))
            .map_err(|problem| AppError::invalid("reason", problem))?;
        let head = self.head(company).await?;
        let operators = self.operators().await?;
        if self.private_parts_of(company, person, &operators, head).await?.known.is_none() {
            return Err(AppError::NotFound("person"));
        }
        let command = CompanyCommand::ErasePerson { person_id: person };
        let context = caller.context(Some(reason));
        let mut request = Request::new(company.0, command);
        request.idempotency = idempotency;
        let executed =
            self.ledger.execute::<Company>(company, caller.power, &context, request).await?;
        let erased = self.erase_recorded(company, person, &operators, head, executed).await;
        erased.map_err(|error| error.after_change().into())
    }

    /// Erases what there is up to the event that says so, and what stands beside the ledger.
    async fn erase_recorded(
        &self,
        company: CompanyId,
        person: PersonId,
        operators: &People,
        head: u64,
        executed: Executed<Company>,
    ) -> Result<Changed<Erased>, StoreError> {
        let (position, repeated) = match executed {
            // An erasure is always an event.
            Executed::Done { position, .. } => (position.unwrap_or(head), false),
            Executed::Repeated(replay) => {
                let before = replay.sequence.saturating_sub(1);
                let events = self.store().history(company, replay.stream, before, 1).await?;
                (events.first().map_or(head, |event| event.position), true)
            }
        };
        // What was appended meanwhile counts as well.
        let found = self.private_parts_of(company, person, operators, position).await?;
        let mut private_parts = 0;
        for positions in found.positions.chunks(PAGE) {
            private_parts += if repeated {
                positions.len() as u64
            } else {
                let parts = self.store().private_parts(company, positions).await?;
                parts.iter().flatten().count() as u64
            };
            self.erasures.private_parts(company, positions).await?;
        }
        self.erasures.attempts(company, &found.identifiers).await?;
        let account = self.erasures.account(company, person).await?;
        let view =
            Erased { company_id: company.0, person_id: person.0, position, private_parts, account };
        Ok(Changed { view, secret: None, repeated })
    }

    /// Where in the ledger, up to a position, private parts name the person.
    async fn private_parts_of(
        &self,
        company: CompanyId,
        person: PersonId,
        operators: &People,
        last: u64,
    ) -> Result<Found, StoreError> {
        let mut people = operators.clone();
        let mut found = Found::default();
        let mut after = 0;
        while after < last {
            let page = self.store().read(company, after, PAGE).await?;
            let Some(end) = page.last().map(|event| event.position) else { break };
            after = end;
            for event in page.iter().filter(|event| event.position <= last) {
                let decoded = event.decode()?;
                people.learn(&decoded);
                let named = People::named(&event.metadata()?.actor, &decoded);
                if named.iter().any(|id| people.person(*id) == person) {
                    found.known.get_or_insert(event.position);
                    if event.private_commitment.is_some() {
                        found.positions.push(event.position);
                    }
                }
            }
        }
        found.identifiers = people.identifiers(person);
        Ok(found)
    }
}

/// What a ledger holds of a person.
#[derive(Debug, Default)]
struct Found {
    /// The first event that is about the person.
    known: Option<u64>,
    /// The events with a private part that names the person.
    positions: Vec<u64>,
    /// What stands for the person.
    identifiers: Vec<Uuid>,
}

//! What those were called who are members no more.

use super::{App, AppError};
use futures::TryStreamExt;
use std::collections::{BTreeSet, HashMap};
use token_ledger_domain::company::CompanyEvent;
use token_ledger_domain::{CompanyId, LedgerEvent, PersonId};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

impl App {
    /// What those of these identifiers are called who were members of the company, unless they were
    /// erased from it since.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn former_members(
        &self,
        company: CompanyId,
        members: &BTreeSet<Uuid>,
    ) -> Result<HashMap<Uuid, String>, AppError> {
        let mut names = HashMap::new();
        if members.is_empty() {
            return Ok(names);
        }
        for (member, person) in self.persons_behind(company, members).await? {
            let account = self.people.account_of(person).await?;
            names.extend(account.map(|account| (member, account.called().to_owned())));
        }
        Ok(names)
    }

    /// Which person was added as which of these members, and not erased since.
    async fn persons_behind(
        &self,
        company: CompanyId,
        members: &BTreeSet<Uuid>,
    ) -> Result<HashMap<Uuid, PersonId>, StoreError> {
        let mut persons = HashMap::new();
        let mut events = self.each_event(company, company.into(), 0);
        while let Some(event) = events.try_next().await? {
            match event.decode()? {
                LedgerEvent::Company(CompanyEvent::MemberAdded {
                    member_id, person_id, ..
                }) if members.contains(&member_id.0) => {
                    persons.insert(member_id.0, person_id);
                }
                LedgerEvent::Company(CompanyEvent::PersonErased { person_id }) => {
                    persons.retain(|_, known| *known != person_id);
                }
                _ => {}
            }
        }
        Ok(persons)
    }
}

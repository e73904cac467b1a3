//! What those were called who are members no more.

use super::audit::{AuditFilter, AuditPage};
use super::view::EventView;
use super::{App, AppError};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use token_ledger_domain::{CompanyId, PersonId};
use uuid::Uuid;

/// Events that are looked through at a time.
const PAGE: usize = 500;
const ADDED: &str = "company.member_added";
const ERASED: &str = "company.person_erased";

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
            let account = self.people.account_of(PersonId(person)).await?;
            names.extend(account.map(|account| (member, account.called().to_owned())));
        }
        Ok(names)
    }

    /// Which person was added as which of these members, and not erased since.
    async fn persons_behind(
        &self,
        company: CompanyId,
        members: &BTreeSet<Uuid>,
    ) -> Result<HashMap<Uuid, Uuid>, AppError> {
        let types = [ADDED, ERASED].map(str::to_owned).into();
        let filter = AuditFilter { types, ..AuditFilter::default() };
        let mut persons = HashMap::new();
        let mut after = None;
        loop {
            let page = AuditPage { descending: false, after, limit: PAGE };
            let listed = self.audit_page(company, &filter, page).await?;
            for event in &listed.items {
                let Some(person) = named(event, "person_id") else { continue };
                if event.kind == ERASED {
                    persons.retain(|_, known| *known != person);
                } else if let Some(member) =
                    named(event, "member_id").filter(|id| members.contains(id))
                {
                    persons.insert(member, person);
                }
            }
            after = listed.next;
            if after.is_none() {
                return Ok(persons);
            }
        }
    }
}

fn named(event: &EventView, field: &str) -> Option<Uuid> {
    event.data.get(field).and_then(Value::as_str)?.parse().ok()
}

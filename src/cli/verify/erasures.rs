//! Private parts that are gone, and the erasures that account for them.

use super::finding::Finding;
use crate::app::erasure::Memberships;
use std::collections::{HashMap, HashSet};
use token_ledger_domain::company::CompanyEvent;
use token_ledger_domain::{Actor, LedgerEvent, PersonId};
use uuid::Uuid;

/// What is known about erasures in one ledger, as far as it has been read.
pub(super) struct Erasures {
    people: Memberships,
    /// The last erasure of each person.
    erased: HashMap<PersonId, u64>,
    /// Who was erased while the ledger was read.
    erased_since: HashSet<PersonId>,
    /// Positions of private parts that are gone, and whom they may have named.
    gone: Vec<(u64, Vec<Uuid>)>,
    /// The first private part that is still there, by whom it names.
    there: HashMap<Uuid, u64>,
}

impl Erasures {
    /// None yet; these people are known from elsewhere.
    pub(super) fn new(people: Memberships) -> Self {
        Self {
            people,
            erased: HashMap::new(),
            erased_since: HashSet::new(),
            gone: Vec::new(),
            there: HashMap::new(),
        }
    }

    /// Takes in what an event says about people.
    pub(super) fn learn(&mut self, position: u64, event: &LedgerEvent) {
        self.people.learn(event);
        if let LedgerEvent::Company(CompanyEvent::PersonErased { person_id }) = event {
            self.erased.insert(*person_id, position);
        }
    }

    /// Takes in an event beyond those that are checked: it may account for parts that are gone.
    pub(super) fn learn_since(&mut self, event: &LedgerEvent) {
        self.people.learn(event);
        if let LedgerEvent::Company(CompanyEvent::PersonErased { person_id }) = event {
            self.erased_since.insert(*person_id);
        }
    }

    /// Takes in that an event has a private part, and whether that is still there.
    pub(super) fn private_part(
        &mut self,
        position: u64,
        actor: &Actor,
        event: &LedgerEvent,
        there: bool,
    ) {
        let named = Memberships::named(actor, event);
        if there {
            for id in named {
                self.there.entry(id).or_insert(position);
            }
        } else {
            self.gone.push((position, named));
        }
    }

    /// Whether every part that is gone was erased, and every part that was to be erased is gone.
    pub(super) fn check(&self) -> Result<(), Finding> {
        let erased_at = |id: &Uuid| self.erased.get(&self.people.person(*id));
        for (position, named) in &self.gone {
            let since = named.iter().any(|id| self.erased_since.contains(&self.people.person(*id)));
            if !since && !named.iter().filter_map(erased_at).any(|erasure| erasure >= position) {
                let problem = "the private part is missing, and nobody whom it names was erased";
                return Finding::at(*position, problem);
            }
        }
        let left = self
            .there
            .iter()
            .filter(|(id, position)| erased_at(id).is_some_and(|erasure| erasure >= *position))
            .map(|(_, position)| *position)
            .min();
        match left {
            None => Ok(()),
            Some(position) => {
                let problem = "the private part names a person who was erased; `token-ledger \
                    erase` again puts it right";
                Finding::at(position, problem)
            }
        }
    }
}

//! What many slots have in common, kept once and spoken of by numbers.

use parking_lot::RwLock;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use token_ledger_domain::CompanyId;

/// A value of which many slots hold the same one.
pub(super) struct Interned<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    /// The number of a value, which gets one where it has none. Nearly always it has one, so that
    /// nobody is kept from reading.
    pub fn number<Q>(interned: &RwLock<Self>, value: &Q) -> u32
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned: Into<T>> + ?Sized,
    {
        if let Some(number) = interned.read().numbers.get(value) {
            return *number;
        }
        let mut interned = interned.write();
        if let Some(number) = interned.numbers.get(value) {
            return *number;
        }
        let number = u32::try_from(interned.values.len()).unwrap_or(u32::MAX);
        let value: T = value.to_owned().into();
        interned.values.push(value.clone());
        interned.numbers.insert(value, number);
        number
    }

    /// The value of a number.
    pub fn value(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)
    }
}

/// A company, and whether its OAuth App module is on.
pub(super) struct CompanyFlag {
    pub id: CompanyId,
    pub enabled: bool,
    pub version: u64,
}

/// The companies that slots speak of, by their numbers.
#[derive(Default)]
pub(super) struct CompanyFlags {
    pub flags: Vec<CompanyFlag>,
    numbers: HashMap<CompanyId, u32>,
}

impl CompanyFlags {
    /// The number of a company, if it has one.
    pub fn known(&self, id: CompanyId) -> Option<u32> {
        self.numbers.get(&id).copied()
    }

    /// The number of a company, which gets one where it has none.
    pub fn number(&mut self, id: CompanyId) -> u32 {
        if let Some(number) = self.known(id) {
            return number;
        }
        let number = u32::try_from(self.flags.len()).unwrap_or(u32::MAX);
        self.flags.push(CompanyFlag { id, enabled: false, version: 0 });
        self.numbers.insert(id, number);
        number
    }
}

//! Data accesses: the scopes of tokens (RFC 6749 §3.3).

use crate::quoted::Quoted;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// One scope: printable ASCII without space, `"` and `\` (RFC 6749 §3.3), at most 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

/// Why a list of scopes was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScopes {
    /// No scope at all.
    #[error("needs at least one scope")]
    Empty,
    /// The text is no scope at all.
    #[error(
        "is not a scope: {} (RFC 6749 allows printable ASCII without space, quote and backslash)",
        Quoted(.0)
    )]
    Malformed(String),
    /// A scope that is not on offer.
    #[error("unknown scope {}; GET /v1/scopes lists those on offer", Quoted(.0))]
    Unknown(String),
    /// A scope that is named twice.
    #[error("scope {} is named more than once", Quoted(.0))]
    Repeated(String),
}

impl Scope {
    const MAX_CHARS: usize = 100;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Scope {
    type Err = InvalidScopes;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        if text.is_empty() || text.len() > Self::MAX_CHARS || !text.bytes().all(allowed) {
            return Err(InvalidScopes::Malformed(text.chars().take(Self::MAX_CHARS).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScopes;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

/// A sorted set of scopes; its text is space-delimited (RFC 6749 §3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// The scopes in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether it is these and no others, each named once.
    pub fn are(&self, names: &[String]) -> bool {
        names.len() == self.0.len() && self.0.iter().all(|own| names.contains(&own.0))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of these that `other` lacks.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl FromStr for ScopeSet {
    type Err = InvalidScopes;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(' ').filter(|part| !part.is_empty()).map(str::parse).collect()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

/// The data accesses on offer, each with one line that says what it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue(BTreeMap<Scope, String>);

impl Catalogue {
    /// A catalogue of these scopes and descriptions.
    pub fn new(entries: impl IntoIterator<Item = (Scope, String)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// Name and description of each, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &str)> {
        self.0.iter().map(|(scope, description)| (scope, description.as_str()))
    }

    /// The set of the scopes named, all of which must be on offer.
    ///
    /// # Errors
    /// When none is named, one is named twice, or one is not on offer.
    pub fn select<S: AsRef<str>>(&self, names: &[S]) -> Result<ScopeSet, InvalidScopes> {
        self.select_or_keep(names, &ScopeSet::default())
    }

    /// The set of the scopes named, each of which must be on offer or among those that are there
    /// already.
    ///
    /// # Errors
    /// As for [`Self::select`].
    pub fn select_or_keep<S: AsRef<str>>(
        &self,
        names: &[S],
        present: &ScopeSet,
    ) -> Result<ScopeSet, InvalidScopes> {
        let mut chosen = BTreeSet::new();
        for name in names {
            let scope: Scope = name.as_ref().parse()?;
            if !self.0.contains_key(&scope) && !present.0.contains(&scope) {
                return Err(InvalidScopes::Unknown(scope.into()));
            }
            if let Some(twice) = chosen.replace(scope) {
                return Err(InvalidScopes::Repeated(twice.into()));
            }
        }
        if chosen.is_empty() {
            return Err(InvalidScopes::Empty);
        }
        Ok(ScopeSet(chosen))
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        let entries = [
            ("positions", "Open and closed positions, with their details"),
            ("position_applications", "Applications to positions and their stages"),
            ("employees", "Employees and their employment details"),
            ("locations", "The company's locations and addresses"),
            ("departments", "Departments and how they belong together"),
            ("team_members", "Who belongs to which hiring team"),
            ("company_users", "People who can sign in for the company"),
            ("company_roles", "Roles and the rights they give"),
            ("imported_employee_infos", "Employee records imported from other systems"),
            ("custom_fields", "Fields that the company defined itself, and their values"),
        ];
        Self(
            entries
                .into_iter()
                .map(|(name, description)| (Scope(name.to_owned()), description.to_owned()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_sorted_and_known() {
        let set = Catalogue::default().select(&["positions", "employees"]).unwrap();
        assert_eq!(set.to_string(), "employees positions");
        assert_eq!("positions  employees".parse(), Ok(set));
    }

    #[test]
    fn a_set_is_what_it_is_whatever_the_order() {
        let set: ScopeSet = "a b".parse().unwrap();
        let are =
            |names: &[&str]| set.are(&names.iter().map(|name| (*name).into()).collect::<Vec<_>>());
        assert!(are(&["b", "a"]));
        for other in [&["a"][..], &["a", "a"], &["a", "b", "b"], &["a", "c"]] {
            assert!(!are(other), "{other:?}");
        }
    }

    #[test]
    fn a_selection_names_what_is_wrong() {
        let catalogue = Catalogue::default();
        assert_eq!(catalogue.select::<&str>(&[]), Err(InvalidScopes::Empty));
        assert_eq!(catalogue.select(&["salaries"]), Err(InvalidScopes::Unknown("salaries".into())));
        assert_eq!(
            catalogue.select(&["positions", "positions"]),
            Err(InvalidScopes::Repeated("positions".into()))
        );
        assert_eq!(catalogue.select(&["a b"]), Err(InvalidScopes::Malformed("a b".into())));
        assert_eq!(catalogue.select(&[""]), Err(InvalidScopes::Malformed(String::new())));
    }
}

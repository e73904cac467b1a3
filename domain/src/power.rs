//! Powers: what callers may do, and who may grant what.

use crate::quoted::Quoted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a person or a program may do in a company. The greater includes the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Power {
    /// Reads everything of the company, changes nothing.
    Auditor,
    /// Manages the company's tokens, clients, keys, members and policy.
    SuperAdmin,
    /// Runs the platform: every company.
    Operator,
}

/// A reserved scope of API keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyScope {
    /// Everything, in every company; keys of the platform only.
    #[serde(rename = "ledger.operator")]
    Operator,
    /// The Super Admin's power in the key's company.
    #[serde(rename = "ledger.admin")]
    Admin,
    /// The auditor's power in the key's company.
    #[serde(rename = "ledger.audit")]
    Audit,
    /// Introspection of the company's tokens; of every company's for a key of the platform.
    #[serde(rename = "ledger.introspect")]
    Introspect,
}

impl KeyScope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Admin, Self::Audit, Self::Introspect];

    /// The scope's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "ledger.operator",
            Self::Admin => "ledger.admin",
            Self::Audit => "ledger.audit",
            Self::Introspect => "ledger.introspect",
        }
    }

    /// The power that the scope gives; introspection gives none over the ledger.
    pub const fn power(self) -> Option<Power> {
        match self {
            Self::Operator => Some(Power::Operator),
            Self::Admin => Some(Power::SuperAdmin),
            Self::Audit => Some(Power::Auditor),
            Self::Introspect => None,
        }
    }

    /// The least power that may grant this scope to a key of the platform, or to one of any other
    /// company. The platform's keys introspect every company's tokens.
    pub const fn granted_by(self, platform: bool) -> Power {
        match self {
            Self::Operator => Power::Operator,
            Self::Introspect if platform => Power::Operator,
            Self::Admin | Self::Introspect => Power::SuperAdmin,
            Self::Audit => Power::Auditor,
        }
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no scope of API keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is no scope of API keys; there are ledger.operator, ledger.admin, ledger.audit and ledger.introspect",
    Quoted(.0)
)]
pub struct UnknownKeyScope(pub String);

impl FromStr for KeyScope {
    type Err = UnknownKeyScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| UnknownKeyScope(text.to_owned()))
    }
}

/// The scopes of one API key.
pub type KeyScopes = BTreeSet<KeyScope>;

/// A member's role in a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads, changes nothing.
    Auditor,
    /// Manages the company.
    SuperAdmin,
    /// Runs the platform; members of the platform only.
    Operator,
}

impl Role {
    /// What roles there are, in words.
    pub const NAMES: &str = "auditor, super_admin and, on the platform, operator";

    /// The role's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::SuperAdmin => "super_admin",
            Self::Operator => "operator",
        }
    }

    /// The power that the role gives.
    pub const fn power(self) -> Power {
        match self {
            Self::Auditor => Power::Auditor,
            Self::SuperAdmin => Power::SuperAdmin,
            Self::Operator => Power::Operator,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no role; there are {roles}", Quoted(.0), roles = Role::NAMES)]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Auditor, Self::SuperAdmin, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

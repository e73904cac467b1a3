//! Who did something.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// What kind of actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorType {
    /// A person, as a member of the company.
    Member,
    /// A program with an API key.
    Key,
    /// A program with an OAuth client's credentials.
    Client,
    /// An operator of the platform, at the console or the command line.
    Operator,
    /// The service itself, such as the expiry job.
    System,
}

impl ActorType {
    /// The name as events carry it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Key => "key",
            Self::Client => "client",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

impl fmt::Display for ActorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no kind of actor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of actor")]
pub struct UnknownActorType(String);

impl FromStr for ActorType {
    type Err = UnknownActorType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Member, Self::Key, Self::Client, Self::Operator, Self::System]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownActorType(text.to_owned()))
    }
}

/// An actor, by kind and identifier. The name is kept apart, where it can be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The kind.
    #[serde(rename = "type")]
    pub kind: ActorType,
    /// The identifier of the member, key or client; nil for the system and the command line.
    pub id: Uuid,
}

impl Actor {
    /// The service itself.
    pub const SYSTEM: Self = Self { kind: ActorType::System, id: Uuid::nil() };
    /// Whoever sits at the command line of the machine that holds the ledger.
    pub const OPERATOR: Self = Self { kind: ActorType::Operator, id: Uuid::nil() };
}

//! The key aggregate: an API key of a program, over all its terms and secrets.
//!
//! Keys are refreshed like tokens, but neither the token policy nor the OAuth App module governs
//! them.

use crate::name::Name;
use crate::policy::{DEFAULT_MAX_GRACE_SECONDS, MIN_VALIDITY_SECONDS, VALIDITY_CEILING_SECONDS};
use crate::power::{KeyScope, KeyScopes, Power};
use crate::secret::{Digest, StoredSecret};
use crate::term::Term;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// 90 days, in seconds: how long a key is valid unless asked otherwise.
pub const DEFAULT_VALIDITY_SECONDS: i64 = 90 * 86_400;

/// A key's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Key {
    /// Nothing has happened yet.
    #[default]
    Absent,
    /// Created, and neither deleted nor recorded as expired.
    Active(Grant),
    /// Its term has ended, and that was recorded.
    Expired(Grant),
    /// Deleted, for good.
    Deleted(Grant),
}

/// What a key is and may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its name.
    pub name: Name,
    /// Its scopes.
    pub scopes: KeyScopes,
    /// The current term.
    pub term: Term,
}

/// What can be asked of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyCommand {
    /// Create it.
    Create {
        /// Its name.
        name: Name,
        /// Its scopes.
        scopes: KeyScopes,
        /// What is kept of its secret.
        secret: StoredSecret,
        /// Length of the first term in seconds; `None` for 90 days.
        validity_seconds: Option<i64>,
    },
    /// Begin a new term with a new secret.
    Refresh {
        /// What is kept of the new secret.
        secret: StoredSecret,
        /// Length of the new term in seconds; `None` for 90 days.
        validity_seconds: Option<i64>,
        /// How long the old secret lives on, in seconds; 0 for not at all.
        grace_seconds: i64,
        /// The secret by which the key asks for itself; none where another caller asks.
        shown: Option<Digest>,
    },
    /// Delete it.
    Delete,
    /// Record that a term has ended.
    Expire {
        /// The number of the term that is meant.
        term: u32,
    },
}

/// A command with all that its decision depends on besides the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDecision {
    /// What is asked.
    pub command: KeyCommand,
    /// The power of who asks.
    pub power: Power,
    /// Whether the key belongs to the platform.
    pub platform: bool,
    /// Now.
    pub now: Timestamp,
}

/// What has happened to a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum KeyEvent {
    /// It was created.
    #[serde(rename = "key.created")]
    Created {
        /// Its name.
        name: Name,
        /// Its scopes.
        scopes: KeyScopes,
        /// What is kept of its secret.
        secret: StoredSecret,
        /// When the first term ends.
        expires_at: Timestamp,
    },
    /// A new term began with a new secret.
    #[serde(rename = "key.refreshed")]
    Refreshed {
        /// What is kept of the new secret.
        secret: StoredSecret,
        /// When the new term ends.
        expires_at: Timestamp,
        /// When the old secret stops; none for at once.
        previous_secret_expires_at: Option<Timestamp>,
    },
    /// It was deleted.
    #[serde(rename = "key.deleted")]
    Deleted {},
    /// A term ended.
    #[serde(rename = "key.expired")]
    Expired {
        /// The number of the term.
        term: u32,
        /// When it ended.
        expired_at: Timestamp,
    },
}

/// Why a key's command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// There is no such key.
    #[error("there is no such key")]
    NotFound,
    /// A key of this identifier exists already.
    #[error("a key with this id exists already")]
    Exists,
    /// The key is deleted, for good.
    #[error("the key is deleted and can't be changed; create a new one")]
    Deleted,
    /// The key asks for itself by a secret that is no longer its current one.
    #[error("this is the key's old secret, which can't refresh it; send the current one")]
    OldSecret,
    /// No scope was asked for.
    #[error("a key needs at least one scope")]
    NoScopes,
    /// An operator's key for a company that is not the platform.
    #[error("ledger.operator is for keys of the platform only")]
    PlatformOnly,
    /// More than the caller may do itself.
    #[error("{scope} is more than you may grant")]
    AboveOwnPower {
        /// The scope that is too much.
        scope: KeyScope,
    },
    /// A term out of bounds.
    #[error(
        "a key's term has {MIN_VALIDITY_SECONDS} to {VALIDITY_CEILING_SECONDS} seconds, {asked} were asked for"
    )]
    Validity {
        /// Seconds asked for.
        asked: i64,
    },
    /// A grace period out of bounds.
    #[error(
        "a key's grace period has 0 to {DEFAULT_MAX_GRACE_SECONDS} seconds, {asked} were asked for"
    )]
    Grace {
        /// Seconds asked for.
        asked: i64,
    },
}

impl Key {
    /// What the key is and may do, once it exists.
    pub const fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Absent => None,
            Self::Active(grant) | Self::Expired(grant) | Self::Deleted(grant) => Some(grant),
        }
    }

    fn changeable(&self) -> Result<&Grant, KeyRefusal> {
        match self {
            Self::Absent => Err(KeyRefusal::NotFound),
            Self::Deleted(_) => Err(KeyRefusal::Deleted),
            Self::Active(grant) | Self::Expired(grant) => Ok(grant),
        }
    }
}

/// The events that the command leads to; none when it changes nothing.
///
/// # Errors
/// The reason for a refusal, after which nothing has happened.
pub fn decide(key: &Key, decision: &KeyDecision) -> Result<Vec<KeyEvent>, KeyRefusal> {
    if let KeyCommand::Expire { term } = decision.command
        && key.grant().is_none_or(|grant| grant.term.number != term)
    {
        return Ok(Vec::new());
    }
    let expired = match key {
        Key::Active(grant) if grant.term.is_over(decision.now) => {
            KeyEvent::Expired { term: grant.term.number, expired_at: grant.term.expires_at }
        }
        _ => return decide_in_time(key, decision),
    };
    let key = evolve(key.clone(), expired.clone());
    let mut events = vec![expired];
    events.extend(decide_in_time(&key, decision)?);
    Ok(events)
}

fn decide_in_time(key: &Key, decision: &KeyDecision) -> Result<Vec<KeyEvent>, KeyRefusal> {
    let KeyDecision { command, power, platform, now } = decision;
    match command {
        KeyCommand::Create { name, scopes, secret, validity_seconds } => {
            if *key != Key::Absent {
                return Err(KeyRefusal::Exists);
            }
            grantable(scopes, *power, *platform)?;
            Ok(vec![KeyEvent::Created {
                name: name.clone(),
                scopes: scopes.clone(),
                secret: secret.clone(),
                expires_at: now.plus_seconds(validity(*validity_seconds)?),
            }])
        }
        KeyCommand::Refresh { secret, validity_seconds, grace_seconds, shown } => {
            let grant = key.changeable()?;
            if shown.is_some_and(|shown| shown != grant.term.secret.digest) {
                return Err(KeyRefusal::OldSecret);
            }
            above_own_power(&grant.scopes, *power, *platform)?;
            if !(0..=DEFAULT_MAX_GRACE_SECONDS).contains(grace_seconds) {
                return Err(KeyRefusal::Grace { asked: *grace_seconds });
            }
            let expires_at = now.plus_seconds(validity(*validity_seconds)?);
            let grace_end = grant.term.grace_end(*now, *grace_seconds);
            Ok(vec![KeyEvent::Refreshed {
                secret: secret.clone(),
                expires_at,
                previous_secret_expires_at: grace_end.map(|end| end.min(expires_at)),
            }])
        }
        KeyCommand::Delete => {
            above_own_power(&key.changeable()?.scopes, *power, *platform)?;
            Ok(vec![KeyEvent::Deleted {}])
        }
        // Where the term is over, its end stands before this.
        KeyCommand::Expire { .. } => Ok(Vec::new()),
    }
}

fn grantable(scopes: &KeyScopes, power: Power, platform: bool) -> Result<(), KeyRefusal> {
    if scopes.is_empty() {
        return Err(KeyRefusal::NoScopes);
    }
    above_own_power(scopes, power, platform)?;
    if scopes.contains(&KeyScope::Operator) && !platform {
        return Err(KeyRefusal::PlatformOnly);
    }
    Ok(())
}

fn above_own_power(scopes: &KeyScopes, power: Power, platform: bool) -> Result<(), KeyRefusal> {
    match scopes.iter().find(|scope| scope.granted_by(platform) > power) {
        Some(scope) => Err(KeyRefusal::AboveOwnPower { scope: *scope }),
        None => Ok(()),
    }
}

fn validity(asked: Option<i64>) -> Result<i64, KeyRefusal> {
    match asked {
        None => Ok(DEFAULT_VALIDITY_SECONDS),
        Some(asked) if (MIN_VALIDITY_SECONDS..=VALIDITY_CEILING_SECONDS).contains(&asked) => {
            Ok(asked)
        }
        Some(asked) => Err(KeyRefusal::Validity { asked }),
    }
}

/// The state after the event; an event that can't follow the state changes nothing.
#[must_use]
pub fn evolve(key: Key, event: KeyEvent) -> Key {
    match (key, event) {
        (Key::Absent, KeyEvent::Created { name, scopes, secret, expires_at }) => {
            Key::Active(Grant { name, scopes, term: Term::first(secret, expires_at) })
        }
        (
            Key::Active(grant) | Key::Expired(grant),
            KeyEvent::Refreshed { secret, expires_at, previous_secret_expires_at },
        ) => Key::Active(Grant {
            term: grant.term.next(secret, expires_at, previous_secret_expires_at),
            ..grant
        }),
        (Key::Active(grant), KeyEvent::Expired { term, .. }) if term == grant.term.number => {
            Key::Expired(grant)
        }
        (Key::Active(grant) | Key::Expired(grant), KeyEvent::Deleted {}) => Key::Deleted(grant),
        (unchanged, _) => unchanged,
    }
}

impl KeyEvent {
    /// The event's type, as the ledger carries it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "key.created",
            Self::Refreshed { .. } => "key.refreshed",
            Self::Deleted {} => "key.deleted",
            Self::Expired { .. } => "key.expired",
        }
    }

    /// The version of the event's shape.
    pub const fn version(&self) -> u32 {
        1
    }
}

crate::adapter::adapt!(Key, "key", KeyDecision -> KeyEvent or KeyRefusal);

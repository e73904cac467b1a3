//! The events of all aggregates together, and how stored ones become today's.

use crate::company::CompanyEvent;
use crate::key::KeyEvent;
use crate::token::TokenEvent;
use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// The kinds of aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AggregateType {
    /// [`crate::token::Token`]
    Token,
    /// [`crate::key::Key`]
    Key,
    /// [`crate::company::Company`]
    Company,
}

impl AggregateType {
    /// The name as the ledger carries it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Key => "key",
            Self::Company => "company",
        }
    }
}

impl fmt::Display for AggregateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AggregateType {
    type Err = UndecodableEvent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Token, Self::Key, Self::Company]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UndecodableEvent::Aggregate(text.to_owned()))
    }
}

/// Any event of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerEvent {
    /// A token's.
    Token(TokenEvent),
    /// A key's.
    Key(KeyEvent),
    /// The company's.
    Company(CompanyEvent),
}

/// Why a stored event can't be understood.
#[derive(Debug, thiserror::Error)]
pub enum UndecodableEvent {
    /// No such kind of aggregate.
    #[error("unknown aggregate type {0:?}")]
    Aggregate(String),
    /// No such type, or a version that this release does not know.
    #[error("unknown event type {event_type:?} in version {version:?}")]
    Type {
        /// The stored type.
        event_type: String,
        /// The stored version.
        version: String,
    },
    /// The payload is not of the type's shape.
    #[error("payload of {event_type}: {source}")]
    Payload {
        /// The stored type.
        event_type: String,
        /// What was wrong with it.
        source: serde_json::Error,
    },
}

/// Every type of event that a ledger can hold, in the newest version of each.
pub const EVENT_TYPES: [(&str, u32); 21] = [
    ("token.created", 1),
    ("token.refreshed", 1),
    ("token.grace_ended", 1),
    ("token.scopes_changed", 1),
    ("token.deleted", 1),
    ("token.expired", 1),
    ("key.created", 1),
    ("key.refreshed", 1),
    ("key.deleted", 1),
    ("key.expired", 1),
    ("company.registered", 1),
    ("company.oauth_app_enabled", 1),
    ("company.oauth_app_disabled", 1),
    ("company.policy_changed", 1),
    ("company.member_added", 1),
    ("company.member_role_changed", 1),
    ("company.member_removed", 1),
    ("company.client_created", 1),
    ("company.client_rotated", 1),
    ("company.client_deleted", 1),
    ("company.person_erased", 1),
];

/// What lifts events of older versions, each by one version, oldest first; cqrs-es's own tools take
/// it as well. No event has changed its shape yet, so there is nothing; the first one that does gets
/// its upcaster here, and keeps the samples of its old shapes under `tests/samples`.
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    Vec::new()
}

fn is_newest(event_type: &str, version: &str) -> bool {
    EVENT_TYPES.iter().any(|(name, newest)| {
        *name == event_type && version.parse::<u32>().is_ok_and(|version| version == *newest)
    })
}

impl LedgerEvent {
    /// Decodes a stored event, of whatever version.
    ///
    /// # Errors
    /// When the type or version is unknown, or the payload is not of its shape.
    pub fn decode(
        event_type: &str,
        version: &str,
        payload: &str,
    ) -> Result<Self, UndecodableEvent> {
        if is_newest(event_type, version) {
            return Self::decode_newest(event_type, payload);
        }
        let event = lifted(&upcasters(), event_type, version, payload)?;
        Self::decode_newest(&event.event_type, &event.payload.to_string())
    }

    fn decode_newest(event_type: &str, payload: &str) -> Result<Self, UndecodableEvent> {
        let decoded = match event_type.split_once('.') {
            Some(("token", _)) => serde_json::from_str(payload).map(Self::Token),
            Some(("key", _)) => serde_json::from_str(payload).map(Self::Key),
            _ => serde_json::from_str(payload).map(Self::Company),
        };
        let mismatch =
            |source| UndecodableEvent::Payload { event_type: event_type.to_owned(), source };
        let event = decoded.map_err(mismatch)?;
        if event.type_name() == event_type {
            Ok(event)
        } else {
            Err(mismatch(serde::de::Error::custom(format!("is of type {}", event.type_name()))))
        }
    }

    /// The payload's text, as it is stored and hashed.
    ///
    /// # Errors
    /// Never for the events of this crate; the serializer's interface has it.
    pub fn payload(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Token(event) => serde_json::to_string(event),
            Self::Key(event) => serde_json::to_string(event),
            Self::Company(event) => serde_json::to_string(event),
        }
    }

    /// The event's type.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Token(event) => event.type_name(),
            Self::Key(event) => event.type_name(),
            Self::Company(event) => event.type_name(),
        }
    }

    /// The version of the event's shape.
    pub const fn version(&self) -> u32 {
        match self {
            Self::Token(event) => event.version(),
            Self::Key(event) => event.version(),
            Self::Company(event) => event.version(),
        }
    }

    /// The kind of aggregate that it happened to.
    pub const fn aggregate_type(&self) -> AggregateType {
        match self {
            Self::Token(_) => AggregateType::Token,
            Self::Key(_) => AggregateType::Key,
            Self::Company(_) => AggregateType::Company,
        }
    }
}

/// An event of an older version in the newest one.
///
/// # Errors
/// When nothing lifts it there, or the payload is no JSON.
fn lifted(
    upcasters: &[Box<dyn EventUpcaster>],
    event_type: &str,
    version: &str,
    payload: &str,
) -> Result<SerializedEvent, UndecodableEvent> {
    let unknown = || UndecodableEvent::Type {
        event_type: event_type.to_owned(),
        version: version.to_owned(),
    };
    if !upcasters.iter().any(|upcaster| upcaster.can_upcast(event_type, version)) {
        return Err(unknown());
    }
    let payload = serde_json::from_str(payload).map_err(|source| UndecodableEvent::Payload {
        event_type: event_type.to_owned(),
        source,
    })?;
    let (kind, version) = (event_type.to_owned(), version.to_owned());
    let stored =
        SerializedEvent::new(String::new(), 0, String::new(), kind, version, payload, Value::Null);
    let event = upcasters.iter().fold(stored, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            upcaster.upcast(event)
        } else {
            event
        }
    });
    if is_newest(&event.event_type, &event.event_version) { Ok(event) } else { Err(unknown()) }
}

impl From<TokenEvent> for LedgerEvent {
    fn from(event: TokenEvent) -> Self {
        Self::Token(event)
    }
}

impl From<KeyEvent> for LedgerEvent {
    fn from(event: KeyEvent) -> Self {
        Self::Key(event)
    }
}

impl From<CompanyEvent> for LedgerEvent {
    fn from(event: CompanyEvent) -> Self {
        Self::Company(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lifts one type from one version to the next by another name for a field.
    struct Renamed(&'static str, &'static str, [&'static str; 2]);

    impl EventUpcaster for Renamed {
        fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
            event_type == "token.scopes_changed" && event_version == self.0
        }

        fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
            let text = event.payload.to_string().replace(self.2[0], self.2[1]);
            event.payload = serde_json::from_str(&text).expect("JSON");
            event.event_version = self.1.to_owned();
            event
        }
    }

    #[test]
    fn what_is_old_is_lifted_version_by_version_to_the_newest() {
        const OLDEST: &str = r#"{"TokenScopesChanged":{"rights":["employees"]}}"#;
        let lift = |upcasters: &[Box<dyn EventUpcaster>]| {
            lifted(upcasters, "token.scopes_changed", "-1", OLDEST)
        };
        let first = || Box::new(Renamed("-1", "0", ["rights", "accesses"])) as Box<_>;
        let second = || Box::new(Renamed("0", "1", ["accesses", "scopes"])) as Box<_>;
        let event = lift(&[first(), second()]).expect("it is lifted");
        assert_eq!(event.payload.to_string(), OLDEST.replace("rights", "scopes"));
        for missing in [vec![], vec![first()], vec![second()]] {
            let error = lift(&missing).expect_err("nothing lifts it as far as that");
            assert!(matches!(error, UndecodableEvent::Type { version, .. } if version == "-1"));
        }
        let broken = lifted(&[first(), second()], "token.scopes_changed", "-1", "{");
        assert!(matches!(broken, Err(UndecodableEvent::Payload { .. })));
    }
}

//! What a ledger holds.

use crate::error::StoreError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{Actor, ActorType, CompanyId, KeyId, LedgerEvent, Timestamp, TokenId};
use uuid::Uuid;

/// An aggregate's stream of events within a company's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The kind of aggregate.
    pub kind: AggregateType,
    /// Its identifier.
    pub id: Uuid,
}

impl From<TokenId> for StreamId {
    fn from(id: TokenId) -> Self {
        Self { kind: AggregateType::Token, id: id.0 }
    }
}

impl From<KeyId> for StreamId {
    fn from(id: KeyId) -> Self {
        Self { kind: AggregateType::Key, id: id.0 }
    }
}

impl From<CompanyId> for StreamId {
    fn from(id: CompanyId) -> Self {
        Self { kind: AggregateType::Company, id: id.0 }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// A text that is not how an identifier is stored. Spelled otherwise, it is the same to whoever reads
/// it, but no command would find its events.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not how an identifier is stored")]
pub(crate) struct NoStoredId(String);

/// An aggregate's identifier, as it is stored: hyphenated and in small letters.
///
/// # Errors
/// When the text is none, or is spelled otherwise.
pub(crate) fn stored_id(text: &str) -> Result<Uuid, NoStoredId> {
    let is_spelled_so =
        |id: &Uuid| *id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == *text;
    Uuid::from_str(text).ok().filter(is_spelled_so).ok_or_else(|| NoStoredId(text.to_owned()))
}

/// How far a company's ledger has come. A ledger that was put back to an earlier state and written on
/// has another event at the position, which the time tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The position of an event; 0 before the first one.
    pub position: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// A company's head: how far its ledger has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The company.
    pub company: CompanyId,
    /// The position of the last event; 0 when there is none.
    pub position: u64,
    /// When the last event was recorded.
    pub recorded_at: Timestamp,
    /// The sequence of the last event of the company's own stream.
    pub company_sequence: u64,
}

impl Head {
    /// How far the ledger has come.
    pub const fn point(&self) -> Point {
        Point { position: self.position, recorded_at: self.recorded_at }
    }
}

/// An event as it stands in a company's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The company whose ledger it is.
    pub company: CompanyId,
    /// 1, 2, 3 … without gaps in the company's ledger.
    pub position: u64,
    /// The aggregate that it happened to.
    pub stream: StreamId,
    /// 1, 2, 3 … without gaps in the aggregate's stream.
    pub sequence: u64,
    /// The type, such as `token.created`.
    pub event_type: String,
    /// The version of the payload's shape.
    pub event_version: String,
    /// The payload's exact text, JSON.
    pub payload: String,
    /// The metadata's exact text, JSON.
    pub metadata: String,
    /// When it was recorded; never earlier than its predecessor in the ledger.
    pub recorded_at: Timestamp,
    /// The commit that it was appended with.
    pub commit_id: Uuid,
    /// The salt of the commitment to payload and metadata.
    pub salt: [u8; 32],
    /// The commitment to the private part, if there is one.
    pub private_commitment: Option<[u8; 32]>,
    /// The hash of its entry ([`crate::entry`]).
    pub entry_hash: [u8; 32],
}

/// A decoded event at its place, as projections see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The company.
    pub company: CompanyId,
    /// The position in its ledger.
    pub position: u64,
    /// The stream.
    pub stream: StreamId,
    /// The sequence in the stream.
    pub sequence: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What happened.
    pub event: Arc<LedgerEvent>,
}

impl RecordedEvent {
    /// The event, decoded, at its place.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not known to this release.
    pub fn appended(&self) -> Result<Appended, StoreError> {
        Stored {
            company: self.company,
            position: self.position,
            stream: self.stream,
            sequence: self.sequence,
            recorded_at: self.recorded_at,
            event_type: &self.event_type,
            event_version: &self.event_version,
            payload: &self.payload,
            metadata: &self.metadata,
        }
        .appended()
    }

    /// The event, decoded.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when type, version or payload are not known to this release.
    pub fn decode(&self) -> Result<LedgerEvent, StoreError> {
        LedgerEvent::decode(&self.event_type, &self.event_version, &self.payload)
            .map_err(|error| StoreError::undecodable(self.company, self.position, &error))
    }

    /// The metadata, decoded.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not what this service writes.
    pub fn metadata(&self) -> Result<Metadata, StoreError> {
        MetadataText::parse(&self.metadata)
            .and_then(|text| {
                let request_id = text.request_id.as_deref().map(str::to_owned);
                Ok(Metadata { actor: text.actor()?, request_id })
            })
            .map_err(|problem| unreadable_metadata(self.company, self.position, &problem))
    }
}

fn unreadable_metadata(company: CompanyId, position: u64, problem: &str) -> StoreError {
    StoreError::Corrupt { company, position, problem: format!("metadata: {problem}") }
}

/// An event's texts as they stand in the ledger, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) company: CompanyId,
    pub(crate) position: u64,
    pub(crate) stream: StreamId,
    pub(crate) sequence: u64,
    pub(crate) recorded_at: Timestamp,
    pub(crate) event_type: &'a str,
    pub(crate) event_version: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) metadata: &'a str,
}

impl Stored<'_> {
    /// The event, decoded, at its place.
    ///
    /// # Errors
    /// As for [`RecordedEvent::appended`].
    pub(crate) fn appended(&self) -> Result<Appended, StoreError> {
        let Self { company, position, .. } = *self;
        Ok(Appended {
            company,
            position,
            stream: self.stream,
            sequence: self.sequence,
            recorded_at: self.recorded_at,
            actor: MetadataText::parse(self.metadata)
                .and_then(|text| text.actor())
                .map_err(|problem| unreadable_metadata(company, position, &problem))?,
            event: Arc::new(
                LedgerEvent::decode(self.event_type, self.event_version, self.payload)
                    .map_err(|error| StoreError::undecodable(company, position, &error))?,
            ),
        })
    }
}

/// What is kept of an event's circumstances for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Who did it.
    pub actor: Actor,
    /// The request that it came with.
    pub request_id: Option<String>,
}

/// The stored form: a flat map of strings, as cqrs-es's own tools read it.
#[derive(Serialize, Deserialize)]
struct MetadataText<'a> {
    #[serde(borrow)]
    actor_type: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    actor_id: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    request_id: Option<std::borrow::Cow<'a, str>>,
}

impl<'a> MetadataText<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    fn actor(&self) -> Result<Actor, String> {
        let kind = ActorType::from_str(&self.actor_type).map_err(|error| error.to_string())?;
        let id = Uuid::from_str(&self.actor_id).map_err(|error| error.to_string())?;
        Ok(Actor { kind, id })
    }
}

impl Metadata {
    /// The text to store.
    ///
    /// # Errors
    /// Never; the serializer's interface has it.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&MetadataText {
            actor_type: self.actor.kind.as_str().into(),
            actor_id: self.actor.id.to_string().into(),
            request_id: self.request_id.as_deref().map(Into::into),
        })
    }
}

/// What names or describes a person. Kept beside the event, so that it can be erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivatePart {
    /// The actor's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_name: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The program that sent it, as it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Why it was done, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The e-mail address of the person that the event is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

//! Entries as whoever holds evidence has them: as text.

use serde::Deserialize;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, Quoted, Timestamp};
use token_ledger_event_store::StreamId;
use token_ledger_event_store::entry::Entry;
use uuid::Uuid;

/// An entry as its text has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryText {
    aggregate_id: Uuid,
    aggregate_type: String,
    /// The company.
    pub company_id: Uuid,
    pub(super) content: String,
    event_type: String,
    event_version: String,
    /// The position in the company's ledger, from 1.
    pub position: u64,
    pub(super) previous: Option<String>,
    pub(super) private: Option<String>,
    recorded_at: Timestamp,
    pub(super) sequence: u64,
}

/// A hash of 64 hexadecimal digits, whose letters are small: there is one way to write it.
pub(super) fn hash(text: &str) -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    let is_read = hex::decode_to_slice(text, &mut bytes).is_ok();
    if !is_read || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("{} is no SHA-256 hash in small hexadecimal digits", Quoted(text)));
    }
    Ok(bytes)
}

impl EntryText {
    /// Reads an entry, which must be written exactly as the ledger writes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let read: Self =
            serde_json::from_str(text).map_err(|error| format!("the entry is none: {error}"))?;
        let kind: AggregateType =
            read.aggregate_type.parse().map_err(|_| "the entry is of no known kind".to_owned())?;
        let entry = Entry {
            company: CompanyId(read.company_id),
            position: read.position,
            stream: StreamId { kind, id: read.aggregate_id },
            sequence: read.sequence,
            event_type: &read.event_type,
            event_version: &read.event_version,
            recorded_at: read.recorded_at,
            content: hash(&read.content)?,
            private: read.private.as_deref().map(hash).transpose()?,
            previous: read.previous.as_deref().map(hash).transpose()?,
        };
        if entry.text() == text { Ok(read) } else { Err("the entry is not canonical".to_owned()) }
    }

    pub(super) fn is_of(&self, token: Uuid) -> bool {
        self.aggregate_type == AggregateType::Token.as_str() && self.aggregate_id == token
    }
}

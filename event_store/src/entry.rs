//! The hashes that make the ledger tamper-evident.
//!
//! Each event has an entry: canonical JSON (RFC 8785) that names its place, its predecessor in its
//! stream and two commitments, one to payload and metadata, one to the private part. A commitment
//! is SHA-256 of a random salt and the exact bytes. The entry's hash is the leaf hash of RFC 6962
//! §2.1, so that the entries of a company are the leaves of one Merkle tree, position P being leaf
//! P - 1.

use crate::record::{RecordedEvent, StreamId};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use token_ledger_domain::{CompanyId, Timestamp};
use uuid::Uuid;

/// What an entry says.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The company.
    pub company: CompanyId,
    /// The position in its ledger.
    pub position: u64,
    /// The stream.
    pub stream: StreamId,
    /// The sequence in the stream.
    pub sequence: u64,
    /// The event's type.
    pub event_type: &'a str,
    /// The version of its shape.
    pub event_version: &'a str,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The commitment to payload and metadata.
    pub content: [u8; 32],
    /// The commitment to the private part.
    pub private: Option<[u8; 32]>,
    /// The entry hash of the stream's previous event.
    pub previous: Option<[u8; 32]>,
}

impl<'a> Entry<'a> {
    /// The entry of an event as it is stored, the commitment to its content computed anew.
    /// `previous` is the entry hash of the event before it in its stream.
    pub fn of(event: &'a RecordedEvent, previous: Option<[u8; 32]>) -> Self {
        Self {
            company: event.company,
            position: event.position,
            stream: event.stream,
            sequence: event.sequence,
            event_type: &event.event_type,
            event_version: &event.event_version,
            recorded_at: event.recorded_at,
            content: content_commitment(&event.salt, &event.payload, &event.metadata),
            private: event.private_commitment,
            previous,
        }
    }
}

impl Entry<'_> {
    /// The entry's exact text. Its members are in order and hold nothing that needs escaping, as
    /// RFC 8785 wants it.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(640);
        let id = &mut Uuid::encode_buffer();
        text.push_str(r#"{"aggregate_id":""#);
        text.push_str(self.stream.id.hyphenated().encode_lower(id));
        text.push_str(r#"","aggregate_type":""#);
        text.push_str(self.stream.kind.as_str());
        text.push_str(r#"","company_id":""#);
        text.push_str(self.company.0.hyphenated().encode_lower(id));
        text.push_str(r#"","content":"#);
        push_hash(&mut text, Some(self.content));
        text.push_str(r#","event_type":""#);
        text.push_str(self.event_type);
        text.push_str(r#"","event_version":""#);
        text.push_str(self.event_version);
        // Writing to a String can't fail.
        let _ = write!(text, r#"","position":{},"previous":"#, self.position);
        push_hash(&mut text, self.previous);
        text.push_str(r#","private":"#);
        push_hash(&mut text, self.private);
        let (time, sequence) = (self.recorded_at, self.sequence);
        let _ = write!(text, r#","recorded_at":"{time}","sequence":{sequence}}}"#);
        text
    }

    /// The entry's hash: SHA-256 of a zero byte and the text (RFC 6962 §2.1).
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update(self.text().as_bytes());
        hasher.finalize().into()
    }
}

/// Writes a hash as a JSON string, or `null`.
fn push_hash(text: &mut String, hash: Option<[u8; 32]>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let Some(hash) = hash else {
        text.push_str("null");
        return;
    };
    text.push('"');
    for byte in hash {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.push('"');
}

/// The commitment to an event's payload and metadata. A line break, which neither text holds,
/// stands between them.
pub fn content_commitment(salt: &[u8; 32], payload: &str, metadata: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(payload.as_bytes());
    hasher.update(b"\n");
    hasher.update(metadata.as_bytes());
    hasher.finalize().into()
}

/// The commitment to a private part.
pub fn private_commitment(salt: &[u8; 32], data: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(data.as_bytes());
    hasher.finalize().into()
}

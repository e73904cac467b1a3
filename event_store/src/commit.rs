//! What callers bring to a store, and what they take away.

use crate::clock::Entropy;
use crate::entry;
use crate::error::StoreError;
use crate::record::{Metadata, PrivatePart, StreamId};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use token_ledger_domain::company::CompanyEvent;
use token_ledger_domain::key::KeyEvent;
use token_ledger_domain::token::TokenEvent;
use token_ledger_domain::{Actor, CompanyId, LedgerEvent, Timestamp};
use uuid::Uuid;

/// How far the clock may lag the ledger's last event before writes are refused, in seconds.
pub const MAX_CLOCK_LAG_SECONDS: i64 = 300;

/// Who asks, from where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Who.
    pub actor: Actor,
    /// The request.
    pub request_id: Option<String>,
    /// Everything that names or describes a person.
    pub private: PrivatePart,
}

impl Context {
    /// The service itself, of its own accord.
    pub fn system() -> Self {
        Self { actor: Actor::SYSTEM, request_id: None, private: PrivatePart::default() }
    }
}

/// A request that may be repeated: the first one is recorded, the others are told so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The credential that asks.
    pub caller: String,
    /// Method and path.
    pub route: String,
    /// What the key that the caller chose is recognised by.
    pub key: String,
    /// What the request is recognised by, so that another one with the same key is noticed.
    pub request_hash: [u8; 32],
}

impl Idempotency {
    /// By the key that the caller chose, and the SHA-256 of the request. The key is not recorded,
    /// and without it nobody can try out which request it was: a request may be little more than
    /// somebody's address.
    pub fn of(caller: &str, route: String, key: &str, request: [u8; 32]) -> Self {
        let hash = |parts: [&[u8]; 3]| Sha256::digest(parts.concat());
        Self {
            caller: caller.to_owned(),
            route,
            key: hex::encode(hash([b"key", b"", key.as_bytes()])),
            request_hash: hash([b"request", &request, key.as_bytes()]).into(),
        }
    }
}

/// How long an idempotency key is remembered, in seconds: a day.
pub const IDEMPOTENCY_SECONDS: i64 = 86_400;

/// An event that is ready to be appended: everything but its place.
#[derive(Clone, Debug)]
pub struct SealedEvent {
    /// What happened.
    pub event: Arc<LedgerEvent>,
    /// Its exact text.
    pub payload: String,
    /// Who did it, as in `metadata`.
    pub actor: Actor,
    /// The metadata's exact text.
    pub metadata: Arc<str>,
    /// The salt of the commitment to payload and metadata.
    pub salt: [u8; 32],
    /// The commitment to payload and metadata.
    pub commitment: [u8; 32],
    /// The private part, if there is one.
    pub private: Option<SealedPrivate>,
}

/// A private part that is ready to be stored.
#[derive(Clone, Debug)]
pub struct SealedPrivate {
    /// The salt of its commitment.
    pub salt: [u8; 32],
    /// Its exact text.
    pub data: String,
    /// Its commitment.
    pub commitment: [u8; 32],
}

/// Events of one stream that are appended together or not at all.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The company.
    pub company: CompanyId,
    /// The stream.
    pub stream: StreamId,
    /// The sequence that the decision was made at; 0 for a new stream.
    pub expected_sequence: u64,
    /// The sequence of the Company aggregate that the decision relied on, if it did.
    pub company_sequence: Option<u64>,
    /// From this moment on the decision would be another; none where it doesn't depend on time.
    pub holds_until: Option<Timestamp>,
    /// Recognises this commit when it is sent again after a lost answer.
    pub commit_id: Uuid,
    /// When the decision was made.
    pub decided_at: Timestamp,
    /// The events; none when only the idempotency key is to be recorded.
    pub events: Vec<SealedEvent>,
    /// The key to record, if the request has one.
    pub idempotency: Option<Idempotency>,
    /// The state after the events, when the stream has become long enough to keep it.
    pub snapshot: Option<String>,
}

impl Commit {
    /// A commit of these events. That a term ended is recorded by the service itself, whatever the
    /// caller asks for beside it.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when something can't be written as JSON.
    pub fn new(
        company: CompanyId,
        stream: StreamId,
        expected_sequence: u64,
        events: Vec<LedgerEvent>,
        context: &Context,
        decided_at: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, StoreError> {
        let unwritable = |error: serde_json::Error| StoreError::Rejected(error.to_string());
        let metadata = |actor, request_id| {
            let text = Metadata { actor, request_id }.to_text().map_err(unwritable)?;
            Ok::<_, StoreError>((actor, Arc::<str>::from(text)))
        };
        let of_caller = metadata(context.actor, context.request_id.clone())?;
        let text = |part: &PrivatePart| {
            let text = (*part != PrivatePart::default()).then(|| serde_json::to_string(part));
            text.transpose().map_err(unwritable)
        };
        let of_person = text(&context.private)?;
        // An address is kept with the event about its person only: that is where it is erased.
        let of_others = match context.private.email {
            None => of_person.clone(),
            Some(_) => text(&PrivatePart { email: None, ..context.private.clone() })?,
        };
        // One draw for all salts: each is a call of the operating system.
        let mut salts = vec![[0; 32]; 2 * events.len()];
        entropy.fill(salts.as_flattened_mut());
        let mut sealed = Vec::with_capacity(events.len());
        for (event, salts) in events.into_iter().zip(salts.chunks_exact(2)) {
            let payload = event.payload().map_err(unwritable)?;
            let (by, private) = match event {
                LedgerEvent::Token(TokenEvent::Expired { .. })
                | LedgerEvent::Key(KeyEvent::Expired { .. }) => {
                    (metadata(Actor::SYSTEM, None)?, None)
                }
                LedgerEvent::Company(CompanyEvent::MemberAdded { .. }) => {
                    (of_caller.clone(), of_person.clone())
                }
                _ => (of_caller.clone(), of_others.clone()),
            };
            let (actor, metadata) = by;
            let salt = salts[0];
            let commitment = entry::content_commitment(&salt, &payload, &metadata);
            let private = private.map(|data| {
                let salt = salts[1];
                let commitment = entry::private_commitment(&salt, &data);
                SealedPrivate { salt, data, commitment }
            });
            let event = Arc::new(event);
            sealed.push(SealedEvent { event, payload, actor, metadata, salt, commitment, private });
        }
        Ok(Self {
            company,
            stream,
            expected_sequence,
            company_sequence: None,
            holds_until: None,
            commit_id: entropy.uuid(decided_at),
            decided_at,
            events: sealed,
            idempotency: None,
            snapshot: None,
        })
    }
}

impl Commit {
    /// Whether the decision holds at the time at which it would be recorded.
    ///
    /// # Errors
    /// [`AppendError::Outdated`] where it doesn't.
    pub(crate) fn holds_at(&self, at: Timestamp) -> Result<(), AppendError> {
        match self.holds_until {
            Some(end) if at >= end => Err(AppendError::Outdated { at }),
            _ => Ok(()),
        }
    }
}

/// Where a commit came to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The stream's sequence after it.
    pub sequence: u64,
    /// The position of its last event; the ledger's head where it had none.
    pub position: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// Why a commit was not appended. Nothing of it is in the ledger, unless it failed in doubt.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream has moved on since the decision.
    #[error("the stream has moved on")]
    Conflict,
    /// The company has changed since the decision.
    #[error("the company has changed")]
    CompanyChanged,
    /// It would be recorded at a time at which the decision no longer holds.
    #[error("the decision no longer holds")]
    Outdated {
        /// The time.
        at: Timestamp,
    },
    /// The idempotency key was recorded before.
    #[error("the idempotency key was recorded before")]
    Repeated,
    /// A failure.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_of_a_request_cannot_be_guessed_without_its_key() {
        let of = |key: &str, request: &[u8]| {
            let request = Sha256::digest(request).into();
            Idempotency::of("caller", "POST /".to_owned(), key, request)
        };
        let one = of("a key", b"ada@example.com");
        assert_eq!(one, of("a key", b"ada@example.com"));
        assert!(!one.key.contains("a key"));
        assert_ne!(one.request_hash[..], Sha256::digest(b"ada@example.com")[..]);
        let other = of("another", b"ada@example.com");
        assert!(one.key != other.key && one.request_hash != other.request_hash);
        let other = of("a key", b"bob@example.com");
        assert!(one.key == other.key && one.request_hash != other.request_hash);
    }
}

//! The current state of every token.

use crate::projection::{Misfit, Projection};
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::token::TokenEvent;
use token_ledger_domain::{
    Actor, ClientId, CompanyId, Digest, LedgerEvent, Name, ScopeSet, Timestamp, TokenId,
};
use token_ledger_event_store::Appended;
use uuid::Uuid;

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Tokens;

/// What was recorded of a token or key, or what the clock makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Valid.
    Active,
    /// Its term has ended.
    Expired,
    /// Deleted.
    Deleted,
}

impl Status {
    /// The status's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
        }
    }

    /// The status of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Expired, Self::Deleted].into_iter().find(|s| s.as_str() == text)
    }

    /// What this recorded status is at a time, given the end of the term.
    #[must_use]
    pub fn at(self, now: Timestamp, expires_at: Timestamp) -> Self {
        if self == Self::Active && now >= expires_at { Self::Expired } else { self }
    }
}

/// A secret that was refreshed away and may live on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousSecret {
    /// Its SHA-256.
    pub digest: Digest,
    /// When it stops.
    pub expires_at: Timestamp,
    /// When its term began.
    pub issued_at: Timestamp,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// The company.
    pub company_id: CompanyId,
    /// The token.
    pub token_id: TokenId,
    /// Its name.
    pub name: Name,
    /// Its scopes.
    pub scopes: ScopeSet,
    /// What was recorded of it; the clock may know better ([`Status::at`]).
    pub status: Status,
    /// The client that got it over OAuth.
    pub client_id: Option<ClientId>,
    /// The number of its current term.
    pub term: u32,
    /// The SHA-256 of its current secret.
    pub digest: Digest,
    /// Prefix and last four characters of its current secret.
    pub hint: String,
    /// When the current term ends.
    pub expires_at: Timestamp,
    /// When the current term began.
    pub issued_at: Timestamp,
    /// The secret before, while a grace period was given and neither ended nor superseded.
    pub previous: Option<PreviousSecret>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: Actor,
    /// The position of its creation, where the creator's name is kept.
    pub created_position: u64,
    /// When it was last refreshed.
    pub refreshed_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// The sequence of its last event.
    pub version: u64,
    /// The position of its last event.
    pub position: u64,
}

impl Projection for Tokens {
    type Key = Uuid;
    type Row = TokenRow;
    const NAME: &'static str = "tokens";
    const VERSION: u32 = 1;

    fn key(event: &Appended) -> Option<Uuid> {
        (event.stream.kind == AggregateType::Token).then_some(event.stream.id)
    }

    fn begins(event: &Appended) -> bool {
        event.sequence == 1
    }

    fn apply(row: Option<TokenRow>, event: &Appended) -> Result<Option<TokenRow>, Misfit> {
        let misfit = || Misfit::of::<Self>(event);
        let LedgerEvent::Token(change) = &*event.event else { return Err(misfit()) };
        if let TokenEvent::Created { name, scopes, secret, expires_at, client_id } = change {
            if row.is_some() {
                return Err(misfit());
            }
            return Ok(Some(TokenRow {
                company_id: event.company,
                token_id: TokenId(event.stream.id),
                name: name.clone(),
                scopes: scopes.clone(),
                status: Status::Active,
                client_id: *client_id,
                term: 1,
                digest: secret.digest,
                hint: secret.hint.clone(),
                expires_at: *expires_at,
                issued_at: event.recorded_at,
                previous: None,
                created_at: event.recorded_at,
                created_by: event.actor,
                created_position: event.position,
                refreshed_at: None,
                deleted_at: None,
                version: event.sequence,
                position: event.position,
            }));
        }
        let mut row = row.ok_or_else(misfit)?;
        match change {
            TokenEvent::Created { .. } => return Err(misfit()),
            TokenEvent::Refreshed { secret, expires_at, previous_secret_expires_at } => {
                row.previous = previous_secret_expires_at.map(|end| PreviousSecret {
                    digest: row.digest,
                    expires_at: end,
                    issued_at: row.issued_at,
                });
                row.status = Status::Active;
                row.term += 1;
                row.digest = secret.digest;
                row.hint.clone_from(&secret.hint);
                row.expires_at = *expires_at;
                row.issued_at = event.recorded_at;
                row.refreshed_at = Some(event.recorded_at);
            }
            TokenEvent::GraceEnded {} => row.previous = None,
            TokenEvent::ScopesChanged { scopes, .. } => row.scopes = scopes.clone(),
            TokenEvent::Deleted {} => {
                row.status = Status::Deleted;
                row.deleted_at = Some(event.recorded_at);
            }
            TokenEvent::Expired { .. } => row.status = Status::Expired,
        }
        row.version = event.sequence;
        row.position = event.position;
        Ok(Some(row))
    }

    fn row_key(row: &TokenRow) -> Uuid {
        row.token_id.0
    }

    fn row_position(row: &TokenRow) -> u64 {
        row.position
    }
}

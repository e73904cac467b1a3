//! The current state of every API key.

use crate::projection::{Misfit, Projection};
use crate::tokens::Status;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::key::KeyEvent;
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::{Actor, CompanyId, Digest, KeyId, LedgerEvent, Name, Timestamp};
use token_ledger_event_store::Appended;
use uuid::Uuid;

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Keys;

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The company.
    pub company_id: CompanyId,
    /// The key.
    pub key_id: KeyId,
    /// Its name.
    pub name: Name,
    /// Its scopes.
    pub scopes: KeyScopes,
    /// What was recorded of it; the clock may know better.
    pub status: Status,
    /// The number of its current term.
    pub term: u32,
    /// The SHA-256 of its current secret.
    pub digest: Digest,
    /// Prefix and last four characters of its current secret.
    pub hint: String,
    /// When the current term ends.
    pub expires_at: Timestamp,
    /// The secret before and when it stops, while a grace period was given.
    pub previous: Option<(Digest, Timestamp)>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: Actor,
    /// The position of its creation.
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

impl Projection for Keys {
    type Key = Uuid;
    type Row = KeyRow;
    const NAME: &'static str = "keys";
    const VERSION: u32 = 1;

    fn key(event: &Appended) -> Option<Uuid> {
        (event.stream.kind == AggregateType::Key).then_some(event.stream.id)
    }

    fn begins(event: &Appended) -> bool {
        event.sequence == 1
    }

    fn apply(row: Option<KeyRow>, event: &Appended) -> Result<Option<KeyRow>, Misfit> {
        let misfit = || Misfit::of::<Self>(event);
        let LedgerEvent::Key(change) = &*event.event else { return Err(misfit()) };
        if let KeyEvent::Created { name, scopes, secret, expires_at } = change {
            if row.is_some() {
                return Err(misfit());
            }
            return Ok(Some(KeyRow {
                company_id: event.company,
                key_id: KeyId(event.stream.id),
                name: name.clone(),
                scopes: scopes.clone(),
                status: Status::Active,
                term: 1,
                digest: secret.digest,
                hint: secret.hint.clone(),
                expires_at: *expires_at,
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
            KeyEvent::Created { .. } => return Err(misfit()),
            KeyEvent::Refreshed { secret, expires_at, previous_secret_expires_at } => {
                row.previous = previous_secret_expires_at.map(|end| (row.digest, end));
                row.status = Status::Active;
                row.term += 1;
                row.digest = secret.digest;
                row.hint.clone_from(&secret.hint);
                row.expires_at = *expires_at;
                row.refreshed_at = Some(event.recorded_at);
            }
            KeyEvent::Deleted {} => {
                row.status = Status::Deleted;
                row.deleted_at = Some(event.recorded_at);
            }
            KeyEvent::Expired { .. } => row.status = Status::Expired,
        }
        row.version = event.sequence;
        row.position = event.position;
        Ok(Some(row))
    }

    fn row_key(row: &KeyRow) -> Uuid {
        row.key_id.0
    }

    fn row_position(row: &KeyRow) -> u64 {
        row.position
    }
}

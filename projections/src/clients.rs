//! The companies' OAuth clients.

use crate::projection::{Misfit, Projection};
use token_ledger_domain::company::CompanyEvent;
use token_ledger_domain::{ClientId, CompanyId, Digest, LedgerEvent, Name, ScopeSet, Timestamp};
use token_ledger_event_store::Appended;
use uuid::Uuid;

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Clients;

/// Whether a client is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientStatus {
    /// It is not.
    Active,
    /// It is.
    Deleted,
}

/// An OAuth client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    /// The company.
    pub company_id: CompanyId,
    /// The client.
    pub client_id: ClientId,
    /// Its name.
    pub name: Name,
    /// The scopes that it may ask for.
    pub scopes: ScopeSet,
    /// The SHA-256 of its secret.
    pub digest: Digest,
    /// Prefix and last four characters of its secret.
    pub hint: String,
    /// The secret before and when it stops, while a grace period was given.
    pub previous: Option<(Digest, Timestamp)>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last got a new secret.
    pub rotated_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// The company's sequence at the last change.
    pub version: u64,
    /// The position of the last change.
    pub position: u64,
}

impl Projection for Clients {
    type Key = Uuid;
    type Row = ClientRow;
    const NAME: &'static str = "clients";
    const VERSION: u32 = 1;

    fn key(event: &Appended) -> Option<Uuid> {
        let LedgerEvent::Company(change) = &*event.event else { return None };
        match change {
            CompanyEvent::ClientCreated { client_id, .. }
            | CompanyEvent::ClientRotated { client_id, .. }
            | CompanyEvent::ClientDeleted { client_id } => Some(client_id.0),
            _ => None,
        }
    }

    /// An identifier is free again once its client is deleted, so there may always be a row.
    fn begins(_: &Appended) -> bool {
        false
    }

    fn apply(row: Option<ClientRow>, event: &Appended) -> Result<Option<ClientRow>, Misfit> {
        let misfit = || Misfit::of::<Self>(event);
        let LedgerEvent::Company(change) = &*event.event else { return Err(misfit()) };
        if let CompanyEvent::ClientCreated { client_id, name, scopes, secret } = change {
            if row.is_some_and(|row| row.deleted_at.is_none()) {
                return Err(misfit());
            }
            return Ok(Some(ClientRow {
                company_id: event.company,
                client_id: *client_id,
                name: name.clone(),
                scopes: scopes.clone(),
                digest: secret.digest,
                hint: secret.hint.clone(),
                previous: None,
                created_at: event.recorded_at,
                rotated_at: None,
                deleted_at: None,
                version: event.sequence,
                position: event.position,
            }));
        }
        let mut row = row.ok_or_else(misfit)?;
        match change {
            CompanyEvent::ClientRotated { secret, previous_secret_expires_at, .. } => {
                row.previous = previous_secret_expires_at.map(|end| (row.digest, end));
                row.digest = secret.digest;
                row.hint.clone_from(&secret.hint);
                row.rotated_at = Some(event.recorded_at);
            }
            CompanyEvent::ClientDeleted { .. } => row.deleted_at = Some(event.recorded_at),
            _ => return Err(misfit()),
        }
        row.version = event.sequence;
        row.position = event.position;
        Ok(Some(row))
    }

    fn row_key(row: &ClientRow) -> Uuid {
        row.client_id.0
    }

    fn row_position(row: &ClientRow) -> u64 {
        row.position
    }
}

//! The OAuth clients in memory: what comes from outside with a client's identifier finds the company
//! and the digests of the secrets here, without a query.
//!
//! A deleted client stays, marked as such: its tokens are good no more from the moment of the
//! deletion on, whenever their own deletion is recorded.

use crate::clients::ClientRow;
use parking_lot::RwLock;
use std::collections::HashMap;
use token_ledger_domain::{ClientId, CompanyId, Digest, Name, ScopeSet, Timestamp};

/// A client that is not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveClient {
    /// The client.
    pub client_id: ClientId,
    /// Its company.
    pub company_id: CompanyId,
    /// Its name.
    pub name: Name,
    /// The scopes that it may ask for.
    pub scopes: ScopeSet,
    /// The SHA-256 of its secret.
    pub digest: Digest,
    /// The secret before and when it stops, while a grace period was given.
    pub previous: Option<(Digest, Timestamp)>,
}

/// A client, and how far its company's ledger had come when it was taken over.
struct Entry {
    company_id: CompanyId,
    position: u64,
    /// None once it is deleted.
    client: Option<ActiveClient>,
}

/// All clients.
#[derive(Default)]
pub(super) struct ClientTable(RwLock<HashMap<ClientId, Entry>>);

impl ClientTable {
    /// The client, unless it is unknown or deleted.
    pub(super) fn get(&self, id: ClientId) -> Option<ActiveClient> {
        self.0.read().get(&id)?.client.clone()
    }

    /// Whether the client is known and not deleted.
    pub(super) fn has(&self, id: ClientId) -> bool {
        self.0.read().get(&id).is_some_and(|entry| entry.client.is_some())
    }

    /// Takes over a client's row, unless a later one was taken over before.
    pub(super) fn apply(&self, row: &ClientRow) {
        let client = row.deleted_at.is_none().then(|| ActiveClient {
            client_id: row.client_id,
            company_id: row.company_id,
            name: row.name.clone(),
            scopes: row.scopes.clone(),
            digest: row.digest,
            previous: row.previous,
        });
        let mut clients = self.0.write();
        if clients.get(&row.client_id).is_none_or(|known| known.position <= row.position) {
            clients.insert(
                row.client_id,
                Entry { company_id: row.company_id, position: row.position, client },
            );
        }
    }

    /// Forgets a client altogether, if it is this company's; whoever's it is where none is named.
    pub(super) fn forget(&self, company: Option<CompanyId>, id: ClientId) {
        let mut clients = self.0.write();
        let is_it = |entry: &Entry| company.is_none_or(|company| entry.company_id == company);
        if clients.get(&id).is_some_and(is_it) {
            clients.remove(&id);
        }
    }
}

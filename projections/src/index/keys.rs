//! The API keys in memory, found by the digests of their secrets.

use super::ActiveKey;
use crate::keys::KeyRow;
use crate::tokens::Status;
use parking_lot::RwLock;
use std::collections::HashMap;
use token_ledger_domain::{CompanyId, Digest, KeyId, Timestamp};

/// All keys.
#[derive(Default)]
pub(super) struct KeyTable(RwLock<Keys>);

#[derive(Default)]
struct Keys {
    by_digest: HashMap<Digest, ActiveKey>,
    known: HashMap<KeyId, KnownKey>,
}

/// What was taken over of a key; kept when nothing of it is live any more.
#[derive(Default)]
struct KnownKey {
    company_id: Option<CompanyId>,
    version: u64,
    digests: Vec<Digest>,
}

impl KeyTable {
    /// The key of this secret, if it is good right now.
    pub(super) fn get(&self, digest: &Digest, now: Timestamp) -> Option<ActiveKey> {
        let keys = self.0.read();
        let key = keys.by_digest.get(digest)?;
        (key.expires_at > now).then(|| key.clone())
    }

    /// Whether this is a key's secret, good or over.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.0.read().by_digest.contains_key(digest)
    }

    /// Takes over a key's row, unless a later one was taken over before.
    pub(super) fn apply(&self, row: &KeyRow) {
        let mut live = Vec::new();
        if row.status == Status::Active {
            live.push((row.digest, row.expires_at));
            live.extend(row.previous);
        }
        let mut keys = self.0.write();
        if keys.known.get(&row.key_id).is_some_and(|known| known.version > row.version) {
            return;
        }
        let digests: Vec<Digest> = live.iter().map(|(digest, _)| *digest).collect();
        let company_id = Some(row.company_id);
        let known = KnownKey { company_id, version: row.version, digests: digests.clone() };
        let before = keys.known.insert(row.key_id, known).unwrap_or_default();
        for old in before.digests {
            if !digests.contains(&old) {
                keys.by_digest.remove(&old);
            }
        }
        for (digest, expires_at) in live {
            let key = ActiveKey {
                key_id: row.key_id,
                company_id: row.company_id,
                name: row.name.clone(),
                scopes: row.scopes.clone(),
                expires_at,
            };
            keys.by_digest.insert(digest, key);
        }
    }

    /// Forgets a key altogether, if it is this company's; whoever's it is where none is named.
    pub(super) fn forget(&self, company: Option<CompanyId>, id: KeyId) {
        let mut keys = self.0.write();
        let is_it = |known: &KnownKey| company.is_none() || known.company_id == company;
        if !keys.known.get(&id).is_some_and(is_it) {
            return;
        }
        for digest in keys.known.remove(&id).unwrap_or_default().digests {
            keys.by_digest.remove(&digest);
        }
    }
}

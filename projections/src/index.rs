//! The verification index: all active secrets in memory, found by their SHA-256.
//!
//! An answer costs a look-up and no query. Expiry is decided by the clock on every answer, and the
//! OAuth App module by a flag beside the secrets. The one process that writes a change applies it
//! here before the caller is answered. Where there are other processes, they follow, and whether
//! they are close enough to the ledgers to say "active" is [`Freshness`]'s to tell.

mod clients;
mod following;
mod interned;
mod keys;
mod put_back;
mod secrets;
mod shard;
mod strangers;

pub use clients::ActiveClient;
pub use secrets::{ActiveKey, ActiveToken, LiveSecret, LiveToken, SecretHolder, Use};

use crate::clients::ClientRow;
use crate::companies::CompanyRow;
use crate::freshness::Freshness;
use crate::keys::KeyRow;
use crate::tokens::{Status, TokenRow};
use clients::ClientTable;
use following::Following;
use hashbrown::HashTable;
use interned::{CompanyFlags, Interned};
use keys::KeyTable;
use parking_lot::{Mutex, RwLock};
use shard::{SLOT_BITS, SLOT_MASK, Shard, Slot};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use strangers::Strangers;
use token_ledger_domain::{ClientId, CompanyId, Digest, KeyId, Timestamp, TokenId};
use token_ledger_event_store::Point;
use uuid::Uuid;

pub use following::{Own, Round};
pub use put_back::PutBack;

/// Shards of the secrets, so that a growing table holds up only a few readers. A power of two.
const SHARDS: usize = 64;
/// A token's use is noted at most once in this many seconds.
const USE_INTERVAL_SECONDS: u32 = 60;
/// Uses that wait to be written at most; those beyond are noted the next time.
const WAITING_USES: usize = 100_000;

/// The second in which a use is noted, unless one was noted shortly before.
fn is_due(last: u32, now: Timestamp) -> Option<u32> {
    let seconds = u32::try_from(now.as_seconds()).unwrap_or(0);
    (seconds >= last.saturating_add(USE_INTERVAL_SECONDS)).then_some(seconds)
}

/// All active secrets.
pub struct VerificationIndex {
    shards: Vec<RwLock<Shard>>,
    /// Where each token's slots are, for whoever changes them: one at a time.
    places: Mutex<HashTable<u32>>,
    companies: RwLock<CompanyFlags>,
    scopes: RwLock<Interned<Arc<str>>>,
    clients: RwLock<Interned<Uuid>>,
    keys: KeyTable,
    oauth_clients: ClientTable,
    uses: Mutex<Vec<Use>>,
    hasher: RandomState,
    following: Following,
    freshness: Freshness,
    strangers: Strangers,
    voided_by: Mutex<Option<PutBack>>,
}

impl std::fmt::Debug for VerificationIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerificationIndex").field("secrets", &self.len()).finish_non_exhaustive()
    }
}

impl Default for VerificationIndex {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            places: Mutex::default(),
            companies: RwLock::default(),
            scopes: RwLock::default(),
            clients: RwLock::default(),
            keys: KeyTable::default(),
            oauth_clients: ClientTable::default(),
            uses: Mutex::default(),
            hasher: RandomState::new(),
            following: Following::default(),
            freshness: Freshness::default(),
            strangers: Strangers::default(),
            voided_by: Mutex::default(),
        }
    }
}

impl VerificationIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many secrets of tokens it holds.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().by_digest.len()).sum()
    }

    /// Whether it holds no secret of a token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The token of this secret, if it is good right now.
    pub fn token(&self, digest: &Digest, now: Timestamp) -> Option<ActiveToken> {
        let shard = self.shards[shard_of(digest)].read();
        let slot = shard.slot(digest)?;
        if slot.expires_at <= now.as_micros() {
            return None;
        }
        let company_id = {
            let companies = self.companies.read();
            let company = companies.flags.get(slot.company as usize)?;
            if !company.enabled {
                return None;
            }
            company.id
        };
        let client_id = self.client_of(slot);
        if client_id.is_some_and(|client| !self.oauth_clients.has(client)) {
            return None;
        }
        Some(ActiveToken {
            token_id: TokenId(Uuid::from_bytes(slot.token_id)),
            company_id,
            scopes: Arc::clone(self.scopes.read().value(slot.scopes)?),
            client_id,
            issued_at: slot.issued_at,
            expires_at: Timestamp::from_micros(slot.expires_at),
            use_is_due: is_due(slot.last_used.load(Ordering::Relaxed), now).is_some(),
        })
    }

    /// The token that this secret is one of, whether or not it is good right now; none once its end
    /// was recorded.
    pub fn holder(&self, digest: &Digest) -> Option<SecretHolder> {
        let shard = self.shards[shard_of(digest)].read();
        let slot = shard.slot(digest)?;
        Some(SecretHolder {
            token_id: TokenId(Uuid::from_bytes(slot.token_id)),
            company_id: self.companies.read().flags.get(slot.company as usize)?.id,
            client_id: self.client_of(slot),
        })
    }

    /// An OAuth client that is not deleted.
    pub fn client(&self, id: ClientId) -> Option<ActiveClient> {
        self.oauth_clients.get(id)
    }

    /// Takes over an OAuth client's row, unless a later one was taken over before.
    pub fn apply_client(&self, row: &ClientRow) {
        self.oauth_clients.apply(row);
    }

    /// Forgets an OAuth client altogether, if it is this company's; whoever's it is where none is named.
    pub fn forget_client(&self, company: Option<CompanyId>, id: ClientId) {
        self.oauth_clients.forget(company, id);
    }

    fn client_of(&self, slot: &Slot) -> Option<ClientId> {
        if slot.client == NO_CLIENT {
            return None;
        }
        self.clients.read().value(slot.client).copied().map(ClientId)
    }

    /// The key of this secret, if it is good right now.
    pub fn key(&self, digest: &Digest, now: Timestamp) -> Option<ActiveKey> {
        self.keys.get(digest, now)
    }

    /// Waits until what others have done by now is known here, too, for whoever finds nothing good of
    /// this secret. Not where it is known, and once for each that nobody knows. `false` when it can't
    /// be known soon.
    pub async fn learn_of(&self, digest: &Digest) -> bool {
        let is_held =
            || self.shards[shard_of(digest)].read().slot(digest).is_some() || self.keys.has(digest);
        if self.freshness.bound().is_none() || is_held() || self.strangers.have(digest) {
            return true;
        }
        if !self.freshness.caught_up().await {
            return false;
        }
        if !is_held() {
            self.strangers.add(*digest);
        }
        true
    }

    /// Takes over a token's row, unless a later one of an active token was taken over before.
    pub fn apply_token(&self, row: &TokenRow) {
        let active = row.status == Status::Active;
        let scopes = if active { row.scopes.to_string() } else { String::new() };
        let current = (row.digest, row.expires_at, row.issued_at);
        let previous =
            row.previous.map(|secret| (secret.digest, secret.expires_at, secret.issued_at));
        self.apply(&LiveToken {
            company_id: row.company_id,
            token_id: row.token_id,
            scopes: &scopes,
            client_id: row.client_id,
            version: row.version,
            secrets: [active.then_some(current), previous.filter(|_| active)],
        });
    }

    /// Takes over what is live of a token, unless that of a later version was taken over before.
    pub fn apply(&self, token: &LiveToken<'_>) {
        let mut places = self.places.lock();
        let hash = self.hasher.hash_one(token.token_id);
        let mut held: Vec<u32> = places
            .iter_hash(hash)
            .copied()
            .filter(|place| self.belongs(*place, token.token_id))
            .collect();
        let version = u32::try_from(token.version).unwrap_or(u32::MAX);
        if held.iter().any(|place| self.version(*place) > version)
            || self.following.is_buried(token.token_id, version)
        {
            return;
        }
        let is_live = token.secrets.iter().any(Option::is_some);
        self.following.bury(token.company_id, token.token_id, version, is_live);
        for (digest, expires_at, issued_at) in token.secrets.iter().flatten() {
            let slot = Slot {
                digest: digest.0,
                token_id: *token.token_id.0.as_bytes(),
                expires_at: expires_at.as_micros(),
                issued_at: u32::try_from(issued_at.as_seconds()).unwrap_or(0),
                company: self.company_number(token.company_id),
                scopes: Interned::number(&self.scopes, token.scopes),
                client: token
                    .client_id
                    .map_or(NO_CLIENT, |client| Interned::number(&self.clients, &client.0)),
                version,
                last_used: AtomicU32::new(0),
            };
            let number = shard_of(digest);
            let (place, is_new) = self.shards[number].write().put(slot, number);
            held.retain(|other| *other != place);
            if is_new {
                places.insert_unique(hash, place, |place| self.hasher.hash_one(self.owner(*place)));
            }
        }
        for place in held {
            if let Ok(entry) = places.find_entry(hash, |other| *other == place) {
                entry.remove();
            }
            self.shards[place as usize >> SLOT_BITS].write().take(place & SLOT_MASK);
        }
    }

    /// Makes room for so many more secrets at once, which takes less than growing to it.
    pub fn reserve(&self, secrets: usize) {
        let each = secrets / SHARDS;
        for shard in &self.shards {
            // Digests spread evenly, but not quite.
            shard.write().reserve(each + each / 32 + 1);
        }
        self.places.lock().reserve(secrets, |place| self.hasher.hash_one(self.owner(*place)));
    }

    /// Forgets a token altogether, if it is this company's; whoever's it is where none is named.
    pub fn forget_token(&self, company: Option<CompanyId>, token_id: TokenId) {
        let number = company.map(|company| self.company_number(company));
        let is_it = |place: &u32| {
            self.belongs(*place, token_id)
                && number.is_none_or(|number| self.company(*place) == number)
        };
        let mut places = self.places.lock();
        self.following.forget(company, token_id);
        let token = self.hasher.hash_one(token_id);
        while let Ok(entry) = places.find_entry(token, is_it) {
            let place = entry.remove().0;
            self.shards[place as usize >> SLOT_BITS].write().take(place & SLOT_MASK);
        }
    }

    /// Forgets a key altogether, if it is this company's; whoever's it is where none is named.
    pub fn forget_key(&self, company: Option<CompanyId>, id: KeyId) {
        self.keys.forget(company, id);
    }

    /// Takes over a key's row, unless a later one was taken over before.
    pub fn apply_key(&self, row: &KeyRow) {
        self.keys.apply(row);
    }

    /// Takes over a company's row, unless a later one was taken over before.
    pub fn apply_company(&self, row: &CompanyRow) {
        let mut companies = self.companies.write();
        let number = companies.number(row.company_id);
        if let Some(company) = companies.flags.get_mut(number as usize)
            && company.version <= row.version
        {
            company.version = row.version;
            company.enabled = row.oauth_app_enabled;
        }
    }

    /// Takes a company's module for off until a row of it is taken over, if the row is its own.
    pub fn forget_company(&self, company: Option<CompanyId>, id: CompanyId) {
        if company.is_some_and(|company| company != id) {
            return;
        }
        let mut companies = self.companies.write();
        let number = companies.number(id);
        if let Some(company) = companies.flags.get_mut(number as usize) {
            company.version = 0;
            company.enabled = false;
        }
    }

    /// Whether what is known is recent enough to say "active" by it.
    pub const fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// From now on other processes change the ledgers too: knowledge gets old after the bound, and
    /// late news change nothing that later ones have.
    pub fn follow(&self, bound: Duration) {
        self.following.begin();
        self.freshness.limit(bound);
    }

    /// Begins to read what others have changed.
    pub fn begin_round(&self) -> Round {
        self.following.begin_round()
    }

    /// This process is about to change something. Until [`Self::end_own`], whatever others do to it after
    /// that is remembered, so that what this process takes over late brings nothing back.
    pub fn begin_own(&self) -> Own {
        self.following.begin_own()
    }

    /// Ends it: what was changed has been taken over, or was not changed.
    pub fn end_own(&self, own: Own) {
        self.following.end_own(own);
    }

    /// Ends it: all that was read has been taken over.
    pub fn end_round(&self, round: Round) {
        self.following.end_round(round);
    }

    /// How many tokens are remembered only so that nothing old brings them back.
    pub fn tombstones(&self) -> usize {
        self.following.tombstones()
    }

    /// The position up to which a company's rows have been taken over.
    pub fn cursor(&self, company: CompanyId) -> u64 {
        self.following.cursor(company)
    }

    /// The positions up to which rows have been taken over, by company.
    pub fn cursors(&self) -> HashMap<CompanyId, Point> {
        self.following.cursors()
    }

    /// A company's rows have been taken over up to there.
    pub fn move_cursor(&self, company: CompanyId, last: Point) {
        if !self.following.move_cursor(company, last) {
            self.void_by(PutBack { company, seen: last, end: None });
        }
    }

    /// The rows that the events behind the one point up to the other changed have been taken over,
    /// whatever is known of those before.
    pub fn took_over(&self, company: CompanyId, before: Point, last: Point) {
        if !self.following.took_over(company, before, last) {
            self.void_by(PutBack { company, seen: last, end: None });
        }
    }

    /// What was seen of this ledger doesn't stand in it any more: nothing that is known counts from
    /// now on.
    pub fn void_by(&self, ledger: PutBack) {
        self.voided_by.lock().get_or_insert(ledger);
        self.freshness.void();
    }

    /// The ledger by which nothing that is known counts any more, if there is one: the first.
    pub fn voided_by(&self) -> Option<PutBack> {
        *self.voided_by.lock()
    }

    /// The uses noted since the last call.
    pub fn take_uses(&self) -> Vec<Use> {
        std::mem::take(&mut *self.uses.lock())
    }

    /// Takes uses back that could not be written down, as many as there is room for.
    pub fn return_uses(&self, uses: Vec<Use>) {
        let mut waiting = self.uses.lock();
        let room = WAITING_USES.saturating_sub(waiting.len());
        waiting.extend(uses.into_iter().take(room));
    }

    /// Notes the use of a token that [`Self::token`] found, where that is due.
    pub fn note_use(&self, digest: &Digest, seen: Use) {
        let shard = self.shards[shard_of(digest)].read();
        let Some(slot) = shard.slot(digest) else { return };
        let last = slot.last_used.load(Ordering::Relaxed);
        let Some(seconds) = is_due(last, seen.at) else { return };
        let mut uses = self.uses.lock();
        if uses.len() < WAITING_USES
            && slot
                .last_used
                .compare_exchange(last, seconds, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            uses.push(seen);
        }
    }

    fn company_number(&self, id: CompanyId) -> u32 {
        let known = self.companies.read().known(id);
        known.unwrap_or_else(|| self.companies.write().number(id))
    }

    fn owner(&self, place: u32) -> TokenId {
        let shard = self.shards[place as usize >> SLOT_BITS].read();
        let slot = shard.slots.get((place & SLOT_MASK) as usize);
        TokenId(Uuid::from_bytes(slot.map_or([0; 16], |slot| slot.token_id)))
    }

    fn version(&self, place: u32) -> u32 {
        let shard = self.shards[place as usize >> SLOT_BITS].read();
        shard.slots.get((place & SLOT_MASK) as usize).map_or(0, |slot| slot.version)
    }

    fn company(&self, place: u32) -> u32 {
        let shard = self.shards[place as usize >> SLOT_BITS].read();
        shard.slots.get((place & SLOT_MASK) as usize).map_or(u32::MAX, |slot| slot.company)
    }

    fn belongs(&self, place: u32, token: TokenId) -> bool {
        self.owner(place) == token
    }
}

/// The number that stands for no client.
const NO_CLIENT: u32 = u32::MAX;

fn shard_of(digest: &Digest) -> usize {
    usize::from(digest.0[0]) % SHARDS
}

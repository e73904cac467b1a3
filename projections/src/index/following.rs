//! What keeps an index right that other processes change too, and whose news come by several ways.
//!
//! A process takes over its own changes at once and reads the others' rows when it hears of them. A
//! row that was read before a change of its own may be taken over after it: the version tells which
//! is later, and where nothing is left of a token that could tell it, a tombstone does.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use token_ledger_domain::{CompanyId, TokenId};

#[derive(Default)]
pub(super) struct Following {
    /// Whether there are other processes to learn from.
    on: AtomicBool,
    /// The round of reading that is going on, or was the last.
    round: AtomicU64,
    tombstones: Mutex<HashMap<TokenId, Tombstone>>,
    cursors: Mutex<HashMap<CompanyId, u64>>,
    /// How far this process's own transactions will have brought the ledgers.
    committing: Mutex<HashMap<CompanyId, u64>>,
}

struct Tombstone {
    version: u32,
    round: u64,
}

impl Following {
    pub fn begin(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    /// Whether a later version of a token was taken over, after which nothing of it was live.
    pub fn is_buried(&self, token: TokenId, version: u32) -> bool {
        self.on.load(Ordering::Relaxed)
            && self.tombstones.lock().get(&token).is_some_and(|stone| stone.version > version)
    }

    /// Notes that nothing of a token is live since this version, or that it lives again.
    pub fn bury(&self, token: TokenId, version: u32, is_live: bool) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let mut tombstones = self.tombstones.lock();
        if is_live {
            tombstones.remove(&token);
        } else {
            let round = self.round.load(Ordering::SeqCst);
            tombstones.insert(token, Tombstone { version, round });
        }
    }

    pub fn forget(&self, token: TokenId) {
        if self.on.load(Ordering::Relaxed) {
            self.tombstones.lock().remove(&token);
        }
    }

    pub fn begin_round(&self) -> Round {
        Round(self.round.fetch_add(1, Ordering::SeqCst) + 1)
    }

    pub fn committing(&self, company: CompanyId, position: u64) {
        self.committing.lock().insert(company, position);
    }

    pub fn settled(&self, company: CompanyId) {
        self.committing.lock().remove(&company);
    }

    pub fn is_committing(&self, company: CompanyId, position: u64) -> bool {
        self.committing.lock().get(&company) == Some(&position)
    }

    /// Whatever was read before a tombstone was laid has been taken over once the round after it has
    /// ended.
    #[allow(clippy::needless_pass_by_value, reason = "a round ends once")]
    pub fn end_round(&self, round: Round) {
        let mut tombstones = self.tombstones.lock();
        if !tombstones.is_empty() {
            tombstones.retain(|_, stone| stone.round >= round.0);
        }
    }

    pub fn tombstones(&self) -> usize {
        self.tombstones.lock().len()
    }

    pub fn cursor(&self, company: CompanyId) -> u64 {
        self.cursors.lock().get(&company).copied().unwrap_or(0)
    }

    pub fn cursors(&self) -> HashMap<CompanyId, u64> {
        self.cursors.lock().clone()
    }

    pub fn reached(&self, company: CompanyId, position: u64) {
        let mut cursors = self.cursors.lock();
        let cursor = cursors.entry(company).or_insert(0);
        *cursor = (*cursor).max(position);
    }

    pub fn took_over(&self, company: CompanyId, first: u64, last: u64) {
        let mut cursors = self.cursors.lock();
        let cursor = cursors.entry(company).or_insert(0);
        // Behind a gap there are others' changes, which are yet to be read.
        if *cursor + 1 == first {
            *cursor = last;
        }
    }
}

/// A round of reading what others have changed.
#[derive(Debug)]
#[must_use]
pub struct Round(u64);

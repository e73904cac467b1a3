//! What keeps an index right that other processes change too, and whose news come by several ways.
//!
//! A process takes over its own changes at once, and reads rows, its own among them, when it hears that
//! ledgers have moved. A row that was read before a change may be taken over after it: the version tells
//! which is later, and where nothing is left of a token that could tell it, a tombstone does.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use token_ledger_domain::{CompanyId, TokenId};
use token_ledger_event_store::Point;

#[derive(Default)]
pub(super) struct Following {
    /// Whether there are other processes to learn from.
    on: AtomicBool,
    /// The round of reading that is going on, or was the last.
    round: AtomicU64,
    tombstones: Mutex<HashMap<TokenId, Tombstone>>,
    cursors: Mutex<HashMap<CompanyId, Point>>,
    /// The rounds in which changes of this process began that have not ended, and how many.
    own: Mutex<BTreeMap<u64, usize>>,
}

struct Tombstone {
    company: CompanyId,
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
    pub fn bury(&self, company: CompanyId, token: TokenId, version: u32, is_live: bool) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let mut tombstones = self.tombstones.lock();
        if is_live {
            tombstones.remove(&token);
        } else {
            let round = self.round.load(Ordering::SeqCst);
            tombstones.insert(token, Tombstone { company, version, round });
        }
    }

    /// Forgets the tombstone of a token, if it is this company's; whoever's it is where none is named.
    pub fn forget(&self, company: Option<CompanyId>, token: TokenId) {
        let mut tombstones = self.tombstones.lock();
        let is_it = |stone: &Tombstone| company.is_none_or(|company| stone.company == company);
        if tombstones.get(&token).is_some_and(is_it) {
            tombstones.remove(&token);
        }
    }

    pub fn begin_own(&self) -> Own {
        let mut own = self.own.lock();
        let round = self.round.load(Ordering::SeqCst);
        *own.entry(round).or_default() += 1;
        Own(round)
    }

    #[allow(clippy::needless_pass_by_value, reason = "it ends once")]
    pub fn end_own(&self, Own(round): Own) {
        let mut own = self.own.lock();
        if let Some(count) = own.get_mut(&round) {
            *count -= 1;
            if *count == 0 {
                own.remove(&round);
            }
        }
    }

    pub fn begin_round(&self) -> Round {
        Round(self.round.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Whatever was read before a tombstone was laid has been taken over once the round after it has
    /// ended, and whatever this process itself changed before, with the end of that.
    #[allow(clippy::needless_pass_by_value, reason = "a round ends once")]
    pub fn end_round(&self, round: Round) {
        let own = self.own.lock().keys().next().copied();
        let oldest = own.map_or(round.0, |own| own.min(round.0));
        let mut tombstones = self.tombstones.lock();
        if !tombstones.is_empty() {
            tombstones.retain(|_, stone| stone.round >= oldest);
        }
    }

    pub fn tombstones(&self) -> usize {
        self.tombstones.lock().len()
    }

    pub fn cursor(&self, company: CompanyId) -> u64 {
        self.cursors.lock().get(&company).map_or(0, |cursor| cursor.position)
    }

    pub fn cursors(&self) -> HashMap<CompanyId, Point> {
        self.cursors.lock().clone()
    }

    /// Moves a company's cursor on to there; whether what was seen of the ledger before can stand in it.
    pub fn move_cursor(&self, company: CompanyId, last: Point) -> bool {
        let mut cursors = self.cursors.lock();
        let cursor = cursors.entry(company).or_insert(last);
        if cursor.position < last.position {
            *cursor = last;
        }
        cursor.position != last.position || *cursor == last
    }

    /// Whether what was seen of the ledger before can stand in it.
    pub fn took_over(&self, company: CompanyId, before: Point, last: Point) -> bool {
        let mut cursors = self.cursors.lock();
        let Some(cursor) = cursors.get_mut(&company) else {
            if before.position == 0 {
                cursors.insert(company, last);
            }
            return true;
        };
        let is_before = cursor.position == before.position;
        // No other commit ends between the two.
        if (before.position..=last.position).contains(&cursor.position)
            && *cursor != if is_before { before } else { last }
        {
            return false;
        }
        // Behind a gap there are others' changes, which are yet to be read.
        if is_before {
            *cursor = last;
        }
        true
    }
}

/// A change of this process's own that is going on, and the round in which it began.
#[derive(Debug)]
#[must_use]
pub struct Own(u64);

/// A round of reading what others have changed.
#[derive(Debug)]
#[must_use]
pub struct Round(u64);

#[cfg(test)]
mod tests {
    use super::*;
    use token_ledger_domain::Timestamp;
    use uuid::Uuid;

    const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));

    const fn point(position: u64, at: i64) -> Point {
        Point { position, recorded_at: Timestamp::from_micros(at) }
    }

    fn at(cursor: Point) -> Following {
        let following = Following::default();
        assert!(following.move_cursor(COMPANY, cursor));
        following
    }

    #[test]
    fn a_ledger_that_goes_on_is_taken_for_the_same() {
        let following = Following::default();
        assert!(following.took_over(COMPANY, point(0, i64::MIN), point(3, 30)));
        assert!(
            following.move_cursor(COMPANY, point(3, 30))
                && following.move_cursor(COMPANY, point(5, 50))
        );
        assert!(following.move_cursor(COMPANY, point(4, 40)), "late news");
        assert!(following.took_over(COMPANY, point(5, 50), point(6, 50)));
        assert!(following.took_over(COMPANY, point(8, 80), point(9, 90)), "behind others' events");
        assert_eq!(following.cursor(COMPANY), 6);
        assert!(following.move_cursor(COMPANY, point(9, 90)));
        assert!(following.took_over(COMPANY, point(8, 80), point(9, 90)), "it was told before");
        assert!(
            following.took_over(COMPANY, point(6, 50), point(7, 70)),
            "so was what is behind it"
        );
        assert_eq!(following.cursor(COMPANY), 9);
    }

    #[test]
    fn a_ledger_that_was_put_back_and_written_on_is_taken_for_another() {
        assert!(!at(point(5, 50)).move_cursor(COMPANY, point(5, 51)));
        assert!(!at(point(5, 50)).took_over(COMPANY, point(5, 51), point(6, 60)));
        assert!(!at(point(5, 50)).took_over(COMPANY, point(4, 40), point(5, 51)));
        assert!(!at(point(5, 50)).took_over(COMPANY, point(4, 40), point(6, 60)));
    }
}

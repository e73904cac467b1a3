//! Secrets that nobody knows.

use parking_lot::Mutex;
use std::collections::HashSet;
use token_ledger_domain::Digest;

/// How many are kept in each of the two sets, of 32 bytes each.
const KEPT: usize = 8192;

/// Digests of which nothing was known once everything was known that had been committed by then. No
/// secret is given out twice, so that none of them will be good later. The latest are kept.
#[derive(Default)]
pub(super) struct Strangers(Mutex<Sets>);

#[derive(Default)]
struct Sets {
    latest: HashSet<Digest>,
    before: HashSet<Digest>,
}

impl Strangers {
    pub(super) fn have(&self, digest: &Digest) -> bool {
        let sets = self.0.lock();
        sets.latest.contains(digest) || sets.before.contains(digest)
    }

    pub(super) fn add(&self, digest: Digest) {
        let mut sets = self.0.lock();
        if sets.latest.len() >= KEPT {
            sets.before = std::mem::take(&mut sets.latest);
        }
        sets.latest.insert(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_no_more_than_there_is_room_for() {
        let strangers = Strangers::default();
        let digest = |number: usize| Digest::of(&number.to_string());
        (0..5 * KEPT / 2).for_each(|number| strangers.add(digest(number)));
        assert!((3 * KEPT / 2..5 * KEPT / 2).all(|number| strangers.have(&digest(number))));
        assert!(!(0..KEPT).any(|number| strangers.have(&digest(number))));
    }
}

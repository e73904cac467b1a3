//! What the follower was told and has not followed yet.

use crate::index::VerificationIndex;
use std::collections::BTreeMap;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::postgres::{Change, Kinds, PutRight};
use token_ledger_event_store::{Moment, Point};

/// How far ledgers have come, and by what since they were followed.
type Advanced = BTreeMap<CompanyId, (Point, Kinds)>;

fn advance(ledgers: &mut Advanced, company: CompanyId, last: Point, kinds: Kinds) {
    let known = ledgers.entry(company).or_insert((last, kinds));
    *known = (later(known.0, last), known.1.and(kinds));
}

const fn later(one: Point, other: Point) -> Point {
    if one.position < other.position { other } else { one }
}

/// What was told and has not been followed yet.
#[derive(Default)]
pub(super) struct News {
    /// How far these ledgers have come, and by what.
    pub(super) advanced: Advanced,
    /// How far this process has brought ledgers, by the heads, which it is about to take over by itself.
    /// Looked at again before anything counts as current.
    own: Advanced,
    /// Everything that was committed before this moment is among it.
    pub(super) current: Option<Moment>,
    /// Something may have been missed.
    pub(super) missed: bool,
    /// Rows that were put right, not by events.
    pub(super) put_right: Vec<Arc<PutRight>>,
}

impl News {
    pub(super) fn take(&mut self, change: Change, index: &VerificationIndex) {
        match change {
            Change::Advanced { company, last, kinds } => {
                if index.cursor(company) < last.position {
                    let is_own = index.is_committing(company, last.position);
                    let news = if is_own { &mut self.own } else { &mut self.advanced };
                    advance(news, company, last, kinds);
                }
            }
            Change::Current(moment) => {
                self.current = Some(moment);
                for (company, (last, kinds)) in std::mem::take(&mut self.own) {
                    if index.cursor(company) < last.position {
                        advance(&mut self.advanced, company, last, kinds);
                    }
                }
            }
            Change::PutRight(rows) => self.put_right.push(rows),
            Change::Resync => self.missed = true,
        }
    }

    /// What is to be followed now, if anything is. A ledger is followed up to a position only
    /// together with whatever this process itself has brought it to before.
    pub(super) fn due(&mut self) -> Option<Self> {
        if self.advanced.is_empty()
            && self.current.is_none()
            && !self.missed
            && self.put_right.is_empty()
        {
            return None;
        }
        let mut own = std::mem::take(&mut self.own);
        let mut due = std::mem::take(self);
        for (company, (last, kinds)) in &mut due.advanced {
            if let Some((own_last, own_kinds)) = own.remove(company) {
                *last = later(*last, own_last);
                *kinds = kinds.and(own_kinds);
            }
        }
        self.own = own;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_ledger_domain::Timestamp;
    use uuid::Uuid;

    const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));
    const TOKENS: Kinds = Kinds { token: true, key: false, company: false };
    const KEYS: Kinds = Kinds { token: false, key: true, company: false };

    fn advanced(position: u64, kinds: Kinds) -> Change {
        Change::Advanced { company: COMPANY, last: point(position), kinds }
    }

    fn point(position: u64) -> Point {
        Point { position, recorded_at: Timestamp::from_micros(0) }
    }

    #[test]
    fn what_this_process_commits_is_followed_when_it_was_not_taken_over() {
        let (index, mut news) = (VerificationIndex::new(), News::default());
        index.committing(COMPANY, 7);
        news.take(advanced(7, TOKENS), &index);
        assert!(news.due().is_none(), "it is about to be taken over");
        news.take(Change::Current(Moment::now()), &index);
        let due = news.due().expect("the transaction's end is not known");
        assert_eq!(due.advanced[&COMPANY], (point(7), TOKENS));

        index.took_over(COMPANY, point(0), point(7));
        index.committing(COMPANY, 8);
        news.take(advanced(8, TOKENS), &index);
        index.took_over(COMPANY, point(7), point(8));
        news.take(Change::Current(Moment::now()), &index);
        assert!(news.due().expect("a moment").advanced.is_empty(), "it was taken over");
    }

    #[test]
    fn what_another_process_committed_just_before_is_followed_at_once() {
        let (index, mut news) = (VerificationIndex::new(), News::default());
        index.committing(COMPANY, 7);
        news.take(advanced(6, KEYS), &index);
        assert_eq!(news.due().expect("another's").advanced[&COMPANY], (point(6), KEYS));
    }

    #[test]
    fn no_ledger_is_followed_past_what_this_process_commits_without_it() {
        let (index, mut news) = (VerificationIndex::new(), News::default());
        index.committing(COMPANY, 7);
        news.take(advanced(7, TOKENS), &index);
        index.settled(COMPANY);
        news.take(advanced(8, KEYS), &index);
        let due = news.due().expect("another process's commit");
        assert_eq!(due.advanced[&COMPANY], (point(8), TOKENS.and(KEYS)));
        assert!(news.due().is_none());
    }
}

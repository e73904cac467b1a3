//! What signing remembers from round to round, and whether it goes on with a log of which nothing is
//! kept outside the database.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::Head;

/// How long another process may take to go on with a log that this one keeps nothing of.
const OTHERS: Duration = Duration::from_secs(10);

/// What is remembered from round to round.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Where the heads were in the first round; `None` before it.
    found: Option<HashMap<CompanyId, u64>>,
    /// The sizes that are signed.
    pub signed: HashMap<CompanyId, u64>,
    /// Those that did not come to their heads the last time.
    pub short: HashSet<CompanyId>,
    /// The logs that had been signed when this process started, but of which it keeps nothing
    /// outside the database; `None` until that was looked at.
    pub unkept: Option<HashMap<CompanyId, Unkept>>,
}

/// A log that was signed, of which nothing is kept outside the database.
#[derive(Debug)]
pub(super) struct Unkept {
    /// The size that it was signed for when this process started.
    pub size: u64,
    /// Since when there is more to sign.
    pub waiting: Option<Instant>,
}

/// What to do about a log of which nothing is kept outside the database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// It is known to be the one that was signed: go on with it.
    Known,
    /// There is nothing to sign.
    Resting,
    /// Another process may know it.
    Waiting,
    /// Nobody knows what was signed for it.
    Lost,
}

impl Rounds {
    /// Those of these ledgers that have entries which are not known to be signed: first those that have
    /// gone on since the first round, then the others, with those behind that have come short.
    pub fn due(&mut self, heads: Vec<Head>) -> (Vec<Head>, Vec<Head>) {
        let positions = || heads.iter().map(|head| (head.company, head.position)).collect();
        let found = self.found.get_or_insert_with(positions);
        let is_signed =
            |head: &Head| self.signed.get(&head.company).is_some_and(|size| *size >= head.position);
        let has_moved =
            |head: &Head| found.get(&head.company).is_none_or(|found| head.position > *found);
        let (moved, mut rest): (Vec<Head>, Vec<Head>) =
            heads.into_iter().filter(|head| !is_signed(head)).partition(has_moved);
        rest.sort_by_key(|head| self.short.contains(&head.company));
        (moved, rest)
    }

    /// What to do about a log of which nothing is kept outside the database. Whoever puts back the
    /// database takes along what it says about checkpoints, so that it can't vouch for itself. On a
    /// database that several processes write, each may have a folder of its own: one that was signed
    /// first while this process ran was signed by another one, and one that was signed before is
    /// vouched for once another process has gone on with it, whose folder has it.
    pub fn without(&mut self, log: &Log, only_writer: bool) -> Without {
        if log.signed == 0 {
            return Without::Known;
        }
        if only_writer {
            return Without::Lost;
        }
        let unkept = self.unkept.get_or_insert_default();
        let Some(found) = unkept.get_mut(&log.company) else {
            // What this process has kept itself can only have been taken away.
            let was_kept = self.signed.get(&log.company).is_some_and(|size| *size > 0);
            return if was_kept { Without::Lost } else { Without::Known };
        };
        if log.signed > found.size {
            return Without::Known;
        }
        if log.signed >= log.size {
            found.waiting = None;
            return Without::Resting;
        }
        let waiting = found.waiting.get_or_insert_with(Instant::now);
        if waiting.elapsed() < OTHERS { Without::Waiting } else { Without::Lost }
    }
}

/// How far a log is signed, as the database has it.
#[derive(Debug)]
pub(super) struct Log {
    pub company: CompanyId,
    /// The size that was signed last.
    pub signed: u64,
    /// The size of its tree.
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPANY: CompanyId = CompanyId::PLATFORM;

    fn log(signed: u64, size: u64) -> Log {
        Log { company: COMPANY, signed, size }
    }

    /// As a process finds it that starts when the log is signed for this size.
    fn started_at(size: u64) -> Rounds {
        let unkept = HashMap::from([(COMPANY, Unkept { size, waiting: None })]);
        Rounds { unkept: Some(unkept), ..Rounds::default() }
    }

    #[test]
    fn the_only_writer_goes_on_with_no_log_that_it_keeps_nothing_of() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.without(&log(0, 7), true), Without::Known);
        assert_eq!(rounds.without(&log(7, 7), true), Without::Lost);
        assert_eq!(rounds.without(&log(7, 9), true), Without::Lost);
    }

    #[test]
    fn another_process_vouches_for_a_log_by_going_on_with_it() {
        let mut rounds = started_at(7);
        assert_eq!(rounds.without(&log(7, 7), false), Without::Resting);
        assert_eq!(rounds.without(&log(7, 8), false), Without::Waiting);
        assert_eq!(rounds.without(&log(8, 8), false), Without::Known);
        assert_eq!(rounds.without(&log(8, 9), false), Without::Known);
    }

    #[test]
    fn nobody_is_waited_for_in_vain() {
        let mut rounds = started_at(7);
        let unkept = rounds.unkept.as_mut().unwrap().get_mut(&COMPANY).unwrap();
        unkept.waiting = Instant::now().checked_sub(OTHERS);
        assert_eq!(rounds.without(&log(7, 8), false), Without::Lost);
        // Whoever comes with the folder vouches for it all the same.
        assert_eq!(rounds.without(&log(8, 8), false), Without::Known);
    }

    #[test]
    fn what_others_sign_first_is_gone_on_with_unless_it_was_kept_and_is_gone() {
        let mut rounds = started_at(0);
        rounds.unkept = Some(HashMap::new());
        assert_eq!(rounds.without(&log(7, 8), false), Without::Known);
        rounds.signed.insert(COMPANY, 8);
        assert_eq!(rounds.without(&log(8, 9), false), Without::Lost);
    }
}

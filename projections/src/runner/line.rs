//! Whose turn it is: companies that somebody waits for come before those that only are behind.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use token_ledger_domain::CompanyId;
use tokio::sync::Notify;

/// Why a company is brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its ledger has come to this position.
    Due(u64),
    /// Somebody waits for this position of it.
    Wanted(u64),
}

/// Who waits for which company.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    tickets: Mutex<Tickets>,
    /// Somebody has come to wait.
    pub arrived: Notify,
}

/// A company that is waited for, and its position.
type Wanted = (CompanyId, u64);

#[derive(Debug, Default)]
struct Tickets {
    /// The number of the next one.
    next: u64,
    /// In the order in which they came.
    open: BTreeMap<u64, Wanted>,
}

impl Waiting {
    /// Waits for a position of a company until the ticket is given back.
    pub fn join(&self, company: CompanyId, position: u64) -> Ticket<'_> {
        let mut tickets = self.tickets.lock();
        let number = tickets.next;
        tickets.next += 1;
        tickets.open.insert(number, (company, position));
        drop(tickets);
        self.arrived.notify_one();
        Ticket { waiting: self, number }
    }
}

/// Somebody's place among those who wait.
pub(super) struct Ticket<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.waiting.tickets.lock().open.remove(&self.number);
    }
}

/// The companies that a run has to bring up. Those that are due and those that are waited for have room
/// of their own, so that neither wait for the others.
#[derive(Debug)]
pub(super) struct Line {
    /// So many of each are brought up side by side.
    room: usize,
    due: VecDeque<(CompanyId, u64)>,
    wanted: VecDeque<Wanted>,
    /// The first ticket that was not looked at yet.
    unheard: u64,
    under_way: HashMap<CompanyId, Cause>,
}

impl Line {
    /// These companies, whose ledgers have come so far, and nobody who waits yet.
    pub fn new(due: impl IntoIterator<Item = (CompanyId, u64)>, room: usize) -> Self {
        Self {
            room,
            due: due.into_iter().collect(),
            wanted: VecDeque::new(),
            unheard: 0,
            under_way: HashMap::new(),
        }
    }

    /// Takes in who has come to wait.
    pub fn hear(&mut self, waiting: &Waiting) {
        let tickets = waiting.tickets.lock();
        self.wanted.extend(tickets.open.range(self.unheard..).map(|(_, wanted)| *wanted));
        self.unheard = tickets.next;
    }

    /// The next company that there is room for. One is never brought up twice at once.
    pub fn next(&mut self) -> Option<(CompanyId, Cause)> {
        let next = self.next_wanted().or_else(|| self.next_due())?;
        self.under_way.insert(next.0, next.1);
        Some(next)
    }

    fn next_wanted(&mut self) -> Option<(CompanyId, Cause)> {
        let under_way = self.under_way.len() - self.due_under_way();
        let is_free = |(company, _): &Wanted| !self.under_way.contains_key(company);
        let place = self.wanted.iter().position(is_free).filter(|_| under_way < self.room)?;
        let (company, position) = self.wanted.remove(place)?;
        Some((company, Cause::Wanted(position)))
    }

    fn next_due(&mut self) -> Option<(CompanyId, Cause)> {
        while self.due_under_way() < self.room {
            let (company, head) = self.due.pop_front()?;
            // Whoever is waited for is brought up to a head that was read later.
            if !self.under_way.contains_key(&company) {
                return Some((company, Cause::Due(head)));
            }
        }
        None
    }

    fn due_under_way(&self) -> usize {
        self.under_way.values().filter(|cause| matches!(cause, Cause::Due(_))).count()
    }

    /// The company has had its turn.
    pub fn done(&mut self, company: CompanyId) {
        self.under_way.remove(&company);
    }

    /// Whether any company that is due has not had its turn.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty() || self.due_under_way() > 0
    }

    /// Lets nobody else have a turn.
    pub fn close(&mut self) {
        self.due.clear();
        self.wanted.clear();
    }
}

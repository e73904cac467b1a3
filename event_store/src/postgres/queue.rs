//! Commits that wait to be appended: a line per company, so that a company with much to do makes
//! no other one wait.

use crate::commit::{AppendError, Commit, Recorded};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;
use token_ledger_domain::CompanyId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How closely callers follow one another who were answered together and ask again at once.
const FOLLOWS: Duration = Duration::from_micros(30);
/// As many callers take turns in two halves: one half is answered and asks again while the database
/// is busy with the other. Fewer share what a transaction costs by itself.
const HALVED_FROM: usize = 128;

/// A commit with whoever waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub commit: Commit,
    pub answer: oneshot::Sender<Result<Recorded, AppendError>>,
    pub since: Instant,
}

/// Which of the companies somebody works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    /// All but those that would keep the others waiting.
    Main,
    /// Those whose heads somebody held on to when they were last worked on.
    Held,
}

/// The lines of all companies.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: Mutex<Lines>,
    arrived: Notify,
    arrived_held: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: HashMap<CompanyId, VecDeque<Waiting>>,
    /// Companies with something waiting that nobody works on, longest first.
    ready: VecDeque<CompanyId>,
    /// Those of them whose heads are held.
    ready_held: VecDeque<CompanyId>,
    /// Companies that somebody works on.
    taken: HashSet<CompanyId>,
    /// Companies of which one has a head that is held: each is worked on by itself, to find out which.
    apart: HashSet<CompanyId>,
    /// Companies whose heads were held when they were last worked on.
    held: HashSet<CompanyId>,
    closed: bool,
    /// Nobody works any more.
    abandoned: bool,
}

impl Queue {
    /// Puts these at the end of their companies' lines; `false` when the queue is closed, and nobody
    /// answers them.
    pub fn put(&self, arrivals: Vec<Waiting>) -> bool {
        let mut lines = self.lines.lock();
        if lines.closed {
            return false;
        }
        for waiting in arrivals {
            let company = waiting.commit.company;
            let line = lines.waiting.entry(company).or_default();
            line.push_back(waiting);
            if line.len() == 1 && !lines.taken.contains(&company) {
                lines.make_ready(company);
            }
        }
        self.tell(lines);
        true
    }

    /// Tells whoever may work on what is ready now.
    fn tell(&self, lines: MutexGuard<'_, Lines>) {
        let has_ended = lines.has_ended();
        let [any, any_held] = [&lines.ready, &lines.ready_held].map(|ready| !ready.is_empty());
        drop(lines);
        if any || has_ended {
            self.arrived.notify_one();
        }
        if any_held || has_ended {
            self.arrived_held.notify_one();
        }
    }

    const fn arrived(&self, track: Track) -> &Notify {
        match track {
            Track::Main => &self.arrived,
            Track::Held => &self.arrived_held,
        }
    }

    /// Takes up to so many commits of companies that nobody else works on, waiting for the first;
    /// those of one company alone where `one_company`. So many were answered just now, and their
    /// callers may be about to ask again. `None` when the queue is closed and empty.
    pub async fn take(
        &self,
        at_most: usize,
        one_company: bool,
        answered: usize,
    ) -> Option<Vec<Waiting>> {
        while self.is_ready(Track::Main).await {
            let present = answered + self.lines.lock().ready_commits(2 * at_most);
            let at_most = at_most.min(present.max(HALVED_FROM) / 2);
            self.gather(at_most.min(answered)).await;
            let mut lines = self.lines.lock();
            let batch = lines.take(at_most, one_company);
            self.tell(lines);
            // Somebody else may have been faster.
            if !batch.is_empty() {
                return Some(batch);
            }
        }
        None
    }

    /// Whether companies wait whose heads were held.
    pub fn has_held(&self) -> bool {
        !self.lines.lock().ready_held.is_empty()
    }

    /// Takes up to so many commits of one company whose head is held, waiting for the first. `None`
    /// when the queue is closed and empty.
    pub async fn take_held(&self, at_most: usize) -> Option<Vec<Waiting>> {
        while self.is_ready(Track::Held).await {
            let mut lines = self.lines.lock();
            let company = lines.ready_held.pop_front();
            let batch = company.map(|company| lines.take_of(company, at_most)).unwrap_or_default();
            self.tell(lines);
            // Somebody else may have been faster.
            if !batch.is_empty() {
                return Some(batch);
            }
        }
        None
    }

    /// Waits for as many as are expected, as long as one follows the other closely.
    async fn gather(&self, expected: usize) {
        let (mut seen, mut last) = (0, Instant::now());
        loop {
            let count = self.lines.lock().ready_commits(expected);
            if count > seen {
                (seen, last) = (count, Instant::now());
            }
            // Somebody else may be taking them meanwhile.
            if count >= expected || last.elapsed() > FOLLOWS {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until something can be worked on; `false` when the queue is closed and empty.
    async fn is_ready(&self, track: Track) -> bool {
        loop {
            let arrived = self.arrived(track).notified();
            {
                let lines = self.lines.lock();
                if !lines.ready_on(track).is_empty() {
                    return true;
                }
                if lines.has_ended() {
                    // Whoever else waits has nothing to wait for either.
                    self.tell(lines);
                    return false;
                }
            }
            arrived.await;
        }
    }

    /// The work on these companies is done.
    pub fn release(&self, companies: impl IntoIterator<Item = CompanyId>) {
        let mut lines = self.lines.lock();
        for company in companies {
            lines.held.remove(&company);
            lines.give_back(company);
        }
        self.tell(lines);
    }

    /// Puts a batch back to the front of its companies' lines, since the head of one of them is held.
    /// If there are several, each is worked on by itself the next time.
    pub fn put_back(&self, batch: Vec<Waiting>) {
        let mut lines = self.lines.lock();
        if lines.abandoned {
            return;
        }
        let companies: HashSet<CompanyId> =
            batch.iter().map(|waiting| waiting.commit.company).collect();
        for waiting in batch.into_iter().rev() {
            lines.waiting.entry(waiting.commit.company).or_default().push_front(waiting);
        }
        let is_known = companies.len() == 1;
        for company in companies {
            if is_known {
                lines.held.insert(company);
            } else {
                lines.apart.insert(company);
            }
            lines.give_back(company);
        }
        self.tell(lines);
    }

    /// The work on these companies is done for now, and their heads are still held.
    pub fn release_held(&self, companies: impl IntoIterator<Item = CompanyId>) {
        let mut lines = self.lines.lock();
        for company in companies {
            lines.held.insert(company);
            lines.give_back(company);
        }
        self.tell(lines);
    }

    /// Takes no more and lets go of what waits: its callers are told that the store is closed.
    pub fn abandon(&self) {
        let mut lines = self.lines.lock();
        (lines.closed, lines.abandoned) = (true, true);
        lines.ready.clear();
        lines.ready_held.clear();
        let abandoned = std::mem::take(&mut lines.waiting);
        drop(lines);
        drop(abandoned);
        self.arrived.notify_waiters();
        self.arrived_held.notify_waiters();
    }

    /// Takes no more; what waits is still handed out.
    pub fn close(&self) {
        self.lines.lock().closed = true;
        for arrived in [&self.arrived, &self.arrived_held] {
            arrived.notify_waiters();
            arrived.notify_one();
        }
    }
}

impl Lines {
    const fn ready_on(&self, track: Track) -> &VecDeque<CompanyId> {
        match track {
            Track::Main => &self.ready,
            Track::Held => &self.ready_held,
        }
    }

    /// Nothing comes any more, not even back.
    fn has_ended(&self) -> bool {
        self.abandoned || (self.closed && self.waiting.is_empty() && self.taken.is_empty())
    }

    /// Nobody works on a company with something waiting.
    fn make_ready(&mut self, company: CompanyId) {
        if self.held.contains(&company) {
            self.ready_held.push_back(company);
        } else {
            self.ready.push_back(company);
        }
    }

    /// Nobody works on a company any more.
    fn give_back(&mut self, company: CompanyId) {
        self.taken.remove(&company);
        if self.waiting.contains_key(&company) {
            self.make_ready(company);
        }
    }

    /// Takes the first of a company's line.
    fn take_of(&mut self, company: CompanyId, at_most: usize) -> Vec<Waiting> {
        let Some(line) = self.waiting.get_mut(&company) else { return Vec::new() };
        let batch = line.drain(..line.len().min(at_most)).collect();
        if line.is_empty() {
            self.waiting.remove(&company);
        }
        self.taken.insert(company);
        batch
    }

    fn ready_commits(&self, at_most: usize) -> usize {
        let mut count = 0;
        for company in &self.ready {
            count += self.waiting.get(company).map_or(0, VecDeque::len);
            if count >= at_most {
                break;
            }
        }
        count
    }

    fn take(&mut self, at_most: usize, one_company: bool) -> Vec<Waiting> {
        let mut batch = Vec::new();
        while batch.len() < at_most && (batch.is_empty() || !one_company) {
            let Some(company) = self.ready.pop_front() else { break };
            let is_apart = self.apart.contains(&company);
            if is_apart && !batch.is_empty() {
                self.ready.push_front(company);
                break;
            }
            batch.extend(self.take_of(company, at_most - batch.len()));
            if is_apart {
                self.apart.remove(&company);
                break;
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;
    use crate::commit::Context;
    use crate::record::StreamId;
    use futures::future::{join, join_all};
    use token_ledger_domain::Timestamp;
    use token_ledger_domain::event::AggregateType;
    use uuid::Uuid;

    const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));

    fn waiting() -> Waiting {
        let stream = StreamId { kind: AggregateType::Token, id: Uuid::from_u128(2) };
        let (context, at) = (Context::system(), Timestamp::from_micros(0));
        let commit = Commit::new(COMPANY, stream, 0, Vec::new(), &context, at, &SystemEntropy);
        let answer = oneshot::channel().0;
        Waiting { commit: commit.expect("a commit"), answer, since: Instant::now() }
    }

    /// Takes what comes, until the end; answers how much it was.
    async fn work(queue: &Queue) -> usize {
        let mut count = 0;
        while let Some(batch) = queue.take(1, false, 0).await {
            count += batch.len();
            queue.release([COMPANY]);
        }
        count
    }

    #[tokio::test]
    async fn what_is_put_back_is_worked_on_though_the_queue_is_closed_meanwhile() {
        let queue = Queue::default();
        assert!(queue.put(vec![waiting()]));
        let batch = queue.take(1, false, 0).await.expect("a batch");
        let others = join_all([work(&queue), work(&queue)]);
        let held = async {
            let mut count = 0;
            while let Some(batch) = queue.take_held(1).await {
                count += batch.len();
                queue.release([COMPANY]);
            }
            count
        };
        let mut lanes = Box::pin(join(others, held));
        assert!(futures::poll!(&mut lanes).is_pending());
        queue.close();
        assert!(futures::poll!(&mut lanes).is_pending());
        queue.put_back(batch);
        let ended = tokio::time::timeout(Duration::from_secs(10), lanes).await;
        assert_eq!(ended.expect("nobody waits any more"), (vec![0, 0], 1));
    }

    #[tokio::test]
    async fn nobody_waits_for_what_is_put_back_when_all_is_over() {
        let queue = Queue::default();
        let (answer, answered) = oneshot::channel();
        assert!(queue.put(vec![Waiting { answer, ..waiting() }]));
        let batch = queue.take(1, false, 0).await.expect("a batch");
        queue.abandon();
        queue.put_back(batch);
        answered.await.expect_err("it is let go of");
        assert!(queue.take_held(1).await.is_none() && queue.take(1, false, 0).await.is_none());
    }

    #[tokio::test]
    async fn all_who_wait_hear_of_the_end_though_something_waits_when_it_is_closed() {
        let queue = Queue::default();
        let in_line = |queue: &Queue| assert!(queue.put(vec![waiting()]));
        in_line(&queue);
        assert_eq!(queue.take(1, false, 0).await.expect("a batch").len(), 1);
        in_line(&queue);
        let mut lanes = Box::pin(join_all([(); 4].map(|()| work(&queue))));
        assert!(futures::poll!(&mut lanes).is_pending());
        queue.close();
        assert!(futures::poll!(&mut lanes).is_pending());
        queue.release([COMPANY]);
        let ended = tokio::time::timeout(Duration::from_secs(10), lanes).await;
        assert_eq!(ended.expect("nobody waits any more").iter().sum::<usize>(), 1);
    }
}

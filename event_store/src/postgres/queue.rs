//! Commits that wait to be appended: a line per company, so that a company with much to do makes
//! no other one wait.

use crate::commit::{AppendError, Commit, Recorded};
use parking_lot::Mutex;
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
}

/// The lines of all companies.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: Mutex<Lines>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: HashMap<CompanyId, VecDeque<Waiting>>,
    /// Companies with something waiting that nobody works on, longest first.
    ready: VecDeque<CompanyId>,
    /// Companies that somebody works on.
    taken: HashSet<CompanyId>,
    /// Companies that would hold others up which are worked on together with them.
    apart: HashSet<CompanyId>,
    closed: bool,
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
                lines.ready.push_back(company);
            }
        }
        drop(lines);
        self.arrived.notify_one();
        true
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
        while self.is_ready().await {
            let present = answered + self.lines.lock().ready_commits(2 * at_most);
            let at_most = at_most.min(present.max(HALVED_FROM) / 2);
            self.gather(at_most.min(answered)).await;
            let mut lines = self.lines.lock();
            let batch = lines.take(at_most, one_company);
            let more = !lines.ready.is_empty();
            drop(lines);
            if more {
                self.arrived.notify_one();
            }
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
    async fn is_ready(&self) -> bool {
        loop {
            let arrived = self.arrived.notified();
            {
                let lines = self.lines.lock();
                if !lines.ready.is_empty() {
                    return true;
                }
                if lines.closed && lines.waiting.is_empty() {
                    drop(lines);
                    // Whoever else waits has nothing to wait for either.
                    self.arrived.notify_one();
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
            lines.taken.remove(&company);
            if lines.waiting.contains_key(&company) {
                lines.ready.push_back(company);
            }
        }
        drop(lines);
        self.arrived.notify_one();
    }

    /// Puts a batch back to the front of its companies' lines. Each of them is worked on by itself the
    /// next time.
    pub fn put_back(&self, batch: Vec<Waiting>) {
        let mut lines = self.lines.lock();
        for waiting in batch.into_iter().rev() {
            let company = waiting.commit.company;
            lines.waiting.entry(company).or_default().push_front(waiting);
            if lines.taken.remove(&company) {
                lines.apart.insert(company);
                lines.ready.push_front(company);
            }
        }
        drop(lines);
        self.arrived.notify_one();
    }

    /// The work on this company is done for now, and the next is to be by itself again.
    pub fn release_apart(&self, company: CompanyId) {
        self.lines.lock().apart.insert(company);
        self.release([company]);
    }

    /// Takes no more and lets go of what waits: its callers are told that the store is closed.
    pub fn abandon(&self) {
        let mut lines = self.lines.lock();
        lines.closed = true;
        lines.ready.clear();
        let abandoned = std::mem::take(&mut lines.waiting);
        drop(lines);
        drop(abandoned);
        self.arrived.notify_waiters();
    }

    /// Takes no more; what waits is still handed out.
    pub fn close(&self) {
        self.lines.lock().closed = true;
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }
}

impl Lines {
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
            let Some(line) = self.waiting.get_mut(&company) else { continue };
            let count = line.len().min(at_most - batch.len());
            batch.extend(line.drain(..count));
            if line.is_empty() {
                self.waiting.remove(&company);
            }
            self.taken.insert(company);
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
    use futures::future::join_all;
    use token_ledger_domain::Timestamp;
    use token_ledger_domain::event::AggregateType;
    use uuid::Uuid;

    const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));

    fn waiting() -> Waiting {
        let stream = StreamId { kind: AggregateType::Token, id: Uuid::from_u128(2) };
        let (context, at) = (Context::system(), Timestamp::from_micros(0));
        let commit = Commit::new(COMPANY, stream, 0, Vec::new(), &context, at, &SystemEntropy);
        Waiting { commit: commit.expect("a commit"), answer: oneshot::channel().0 }
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

//! The store.

use super::appender::Lane;
use super::at_once::LeftHeads;
use super::database::Database;
use super::lent::in_time;
use super::queue::{Queue, Track, Waiting};
use super::{InlineProjections, append, read};
use crate::commit::{AppendError, Commit, Idempotency, Recorded};
use crate::error::StoreError;
use crate::record::{Head, RecordedEvent, StreamId};
use crate::store::{LoadedStream, Replay, Store, StoredPrivate, StoredSnapshot};
use async_trait::async_trait;
use std::sync::Arc;
use token_ledger_domain::{CompanyId, Timestamp};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// Transactions that a process has in flight.
const LANES: usize = 2;
/// More of them for companies whose heads somebody holds on to, so that the others don't wait.
const HELD_LANES: usize = 4;
/// Transactions in flight where companies live on several servers: each holds one company only.
const SHARDED_LANES: usize = 8;

/// Companies whose idempotency keys one statement removes.
const COMPANIES_AT_ONCE: usize = 500;

/// The companies' ledgers in a PostgreSQL database.
#[derive(Debug)]
pub struct PgStore {
    database: Arc<Database>,
    queue: Arc<Queue>,
    /// Told when the lanes have ended.
    ended: watch::Receiver<bool>,
}

impl PgStore {
    /// The ledgers in this database. Each transaction in flight has inline projections of its own;
    /// those of one company follow one after the other.
    pub fn new(database: Arc<Database>, inline: impl Fn() -> Box<dyn InlineProjections>) -> Self {
        let queue = Arc::new(Queue::default());
        let count = if database.is_sharded() { SHARDED_LANES } else { LANES };
        let tracks = [(Track::Main, count), (Track::Held, HELD_LANES)];
        let heads = Arc::new(LeftHeads::default());
        let lane =
            |track| Lane::new(track, &database, inline(), Arc::clone(&queue), Arc::clone(&heads));
        let lanes = tracks.into_iter().flat_map(|(track, count)| (0..count).map(move |_| track));
        let lanes = lanes.filter(|_| database.is_writable()).map(lane).collect();
        let (end, ended) = watch::channel(false);
        let on_its_thread = {
            let queue = Arc::clone(&queue);
            move || run(lanes, &queue, &end)
        };
        let thread = std::thread::Builder::new().name("appender".to_owned()).spawn(on_its_thread);
        if let Err(error) = thread {
            tracing::error!(%error, "no thread for appending could be started");
            queue.abandon();
        }
        Self { database, queue, ended }
    }

    /// The database behind it.
    pub const fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Takes no more commits and waits until those that wait are appended.
    pub async fn close(&self) {
        self.queue.close();
        // Where the thread is gone there is nothing to wait for either.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

/// Runs the lanes to their end, on this thread: whoever waits for the database to have something to do
/// doesn't wait for all the callers who were answered just now.
fn run(lanes: Vec<Lane>, queue: &Queue, end: &watch::Sender<bool>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            let lanes: Vec<_> = lanes.into_iter().map(|lane| tokio::spawn(lane.run())).collect();
            for lane in lanes {
                // One that has panicked has nothing more to do.
                let _ = lane.await;
            }
        }),
        Err(error) => {
            tracing::error!(%error, "the thread for appending can't wait for the database");
            queue.abandon();
        }
    }
    end.send_replace(true);
}

impl Drop for PgStore {
    fn drop(&mut self) {
        // The lanes finish what waits and end.
        self.queue.close();
    }
}

#[async_trait]
impl Store for PgStore {
    async fn append(&self, commits: Vec<Commit>) -> Vec<Result<Recorded, AppendError>> {
        if !self.database.is_writable() {
            let refused = || StoreError::Unavailable("it is open for reading only".to_owned());
            return commits.iter().map(|_| Err(refused().into())).collect();
        }
        let (arrivals, answers): (Vec<_>, Vec<_>) = commits
            .into_iter()
            .map(|commit| {
                let (answer, answered) = oneshot::channel();
                (Waiting { commit, answer, since: Instant::now() }, answered)
            })
            .unzip();
        let is_taken_in = self.queue.put(arrivals);
        let unanswered = || {
            let closed = StoreError::Closed;
            Err(if is_taken_in { closed.after_change() } else { closed }.into())
        };
        let mut outcomes = Vec::with_capacity(answers.len());
        for answer in answers {
            outcomes.push(answer.await.unwrap_or_else(|_| unanswered()));
        }
        outcomes
    }

    fn has_failed_lately(&self) -> bool {
        self.database.trouble().is_recent()
    }

    async fn load(
        &self,
        company: CompanyId,
        streams: &[StreamId],
    ) -> Result<Vec<LoadedStream>, StoreError> {
        let mut lent = self.database.lend().await?;
        let loaded = in_time(read::load(&mut lent, company, streams)).await;
        lent.settle(loaded)
    }

    async fn history(
        &self,
        company: CompanyId,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let mut lent = self.database.lend().await?;
        let found = in_time(read::stream(&mut *lent, company, stream, after_sequence, limit)).await;
        lent.settle(found)
    }

    async fn read(
        &self,
        company: CompanyId,
        after_position: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let mut lent = self.database.lend().await?;
        let found = in_time(read::page(&mut *lent, company, after_position, limit)).await;
        lent.settle(found)
    }

    async fn private_parts(
        &self,
        company: CompanyId,
        positions: &[u64],
    ) -> Result<Vec<Option<StoredPrivate>>, StoreError> {
        let mut lent = self.database.lend().await?;
        let found = in_time(read::private_parts(&mut *lent, company, positions)).await;
        lent.settle(found)
    }

    async fn private_range(
        &self,
        company: CompanyId,
        after_position: u64,
        last_position: u64,
    ) -> Result<Vec<(u64, StoredPrivate)>, StoreError> {
        let mut lent = self.database.lend().await?;
        let found = read::private_range(&mut *lent, company, after_position, last_position);
        let found = in_time(found).await;
        lent.settle(found)
    }

    async fn snapshots(
        &self,
        company: CompanyId,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StoredSnapshot>, StoreError> {
        let mut lent = self.database.lend().await?;
        let found = in_time(read::snapshots(&mut *lent, company, after, limit)).await;
        lent.settle(found)
    }

    async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        let mut lent = self.database.lend().await?;
        let found = in_time(read::heads(&mut *lent)).await;
        lent.settle(found)
    }

    async fn head(&self, company: CompanyId) -> Result<Option<Head>, StoreError> {
        let mut lent = self.database.lend().await?;
        let found = in_time(read::head(&mut *lent, company)).await;
        lent.settle(found)
    }

    async fn position_at(
        &self,
        company: CompanyId,
        time: Timestamp,
        inclusive: bool,
    ) -> Result<u64, StoreError> {
        let mut lent = self.database.lend().await?;
        let position = in_time(read::position_at(&mut lent, company, time, inclusive)).await;
        lent.settle(position)
    }

    async fn replay(
        &self,
        company: CompanyId,
        key: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<Replay>, StoreError> {
        let mut lent = self.database.lend().await?;
        let found = in_time(read::replay(&mut *lent, company, key, now)).await;
        lent.settle(found)
    }

    async fn forget_keys(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let heads = self.heads().await?;
        let companies: Vec<Uuid> = heads.iter().map(|head| head.company.0).collect();
        let at_once = if self.database.is_sharded() { 1 } else { COMPANIES_AT_ONCE };
        let mut remaining = limit as u64;
        for companies in companies.chunks(at_once) {
            if remaining == 0 {
                break;
            }
            let mut lent = self.database.lend().await?;
            let removed = in_time(append::forget_keys(&mut lent, companies, now, remaining)).await;
            remaining = remaining.saturating_sub(lent.settle(removed)?);
        }
        Ok(limit as u64 - remaining)
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.database.watch()
    }
}

//! What other processes commit.
//!
//! Each process tells the others after its commits, through PostgreSQL's notifications, so that they
//! know within milliseconds. That is a hint where to look, and no more: it may be lost, where a process
//! ends between the two, and whoever may connect to the database can send it. What is true the heads
//! say. So several times a second, and where somebody waits for it, each process looks at them
//! ([`super::heard`]): what it has not heard of is told here by them. After that it sends itself a
//! nonce through the channel, which comes back behind whatever was told of rows put right, and only from
//! a primary, and from the database that is listened to. Then everything that was committed before it
//! began to look has been told.

use super::database::connect;
use super::errors::{connecting_failed, failed};
use super::heard::{Heard, Reading};
use super::notice::{self, CHANNEL, Notice, PutRight};
use super::offset::Measurements;
use crate::clock::{Clock, CorrectedClock, Entropy, Moment, SystemEntropy};
use crate::error::StoreError;
use crate::record::Point;
use futures::FutureExt;
use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection};
use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use token_ledger_domain::CompanyId;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};
use uuid::Uuid;

/// How often the heads are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How soon one look begins after another where somebody waits for it, at least, and how many times as
/// long as it took: each is asked of the database.
const LOOK_GAP: Duration = Duration::from_millis(20);
const LOOK_SHARE: u32 = 3;
/// How soon others are told again: what is committed meanwhile, they hear at once.
const TELL_GAP: Duration = Duration::from_millis(10);
/// How long the connection by which others are told may rest.
const REST: Duration = Duration::from_secs(5);
/// How long an answer, or a nonce, may be on its way before the connections are given up.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Changes that a slow follower may lag behind before it has to compare the heads.
const CHANGES_KEPT: usize = 8192;
/// The pauses between attempts to listen again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const SEND_NONCE: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
    FROM pg_notify($1, $2)";

/// What a follower of all ledgers has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These companies' ledgers have moved: to this position, or further. To 0 where nothing vouches
    /// for it.
    Moved(Vec<(CompanyId, u64)>),
    /// Everything that was committed before this moment has been told before this.
    Current(Moment),
    /// Rows of a projection were put right, which no event has changed.
    PutRight(Arc<PutRight>),
    /// Something may have been missed: compare all heads. So does a receiver that lagged.
    Resync,
}

/// What the listener shares with the database's users.
#[derive(Debug)]
pub(super) struct Told {
    pub changes: broadcast::Sender<Change>,
    pub news: watch::Sender<u64>,
    pub clock: Arc<CorrectedClock>,
    /// Somebody waits for the next look.
    pub hurried: Notify,
    /// What is in it has been told, or that all is to be compared: it is held meanwhile, so that of one
    /// ledger all is told in order.
    heard: Mutex<Heard>,
    /// How often listening has begun: perhaps with another server, to which not all has come.
    begun: AtomicU64,
    /// Ledgers that this process has brought further without telling the others yet.
    untold: Mutex<BTreeSet<CompanyId>>,
    committed: Notify,
}

impl Told {
    pub fn new() -> Self {
        Self {
            changes: broadcast::channel(CHANGES_KEPT).0,
            news: watch::channel(0).0,
            clock: Arc::new(CorrectedClock::default()),
            hurried: Notify::new(),
            heard: Mutex::default(),
            begun: AtomicU64::new(0),
            untold: Mutex::default(),
            committed: Notify::new(),
        }
    }

    fn tell(&self, change: Change) {
        let is_news = matches!(change, Change::Moved(_) | Change::Resync);
        // Nobody may be following.
        let _ = self.changes.send(change);
        if is_news {
            self.news.send_modify(|count| *count += 1);
        }
    }

    fn tell_moved(&self, ledgers: Vec<(CompanyId, u64)>) {
        if !ledgers.is_empty() {
            self.tell(Change::Moved(ledgers));
        }
    }

    /// Ledgers have come that far, by whoever read it or did it.
    pub fn advance(&self, ledgers: &[(CompanyId, Point)]) {
        let mut heard = self.heard.lock();
        let mut news = ledgers.to_vec();
        news.retain(|(company, last)| heard.advance(*company, *last));
        self.tell_moved(positions(news));
    }

    /// How often listening has begun so far.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// This process has brought ledgers that far, since [`Self::begun`] was asked. The others will be
    /// told. Where listening has begun anew meanwhile, nobody knows whether it stands there.
    pub fn committed(&self, ledgers: &[(CompanyId, Point)], begun: u64) {
        if ledgers.is_empty() {
            return;
        }
        self.advance(ledgers);
        if self.begun() != begun {
            self.tell(Change::Resync);
        }
        self.untold.lock().extend(ledgers.iter().map(|(company, _)| company));
        self.committed.notify_one();
    }

    /// Tells what the heads say that was not heard.
    async fn look(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let reading = Reading::of(connection, &self.heard).await?;
        let mut heard = self.heard.lock();
        match heard.take(reading) {
            Some(news) => self.tell_moved(positions(news)),
            None => self.tell(Change::Resync),
        }
        Ok(())
    }

    /// Begins anew: whoever follows is to compare all heads, after these.
    async fn begin(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let reading = Reading::of(connection, &self.heard).await?;
        let mut heard = self.heard.lock();
        heard.take(reading);
        self.tell(Change::Resync);
        Ok(())
    }
}

fn positions(ledgers: Vec<(CompanyId, Point)>) -> Vec<(CompanyId, u64)> {
    ledgers.into_iter().map(|(company, last)| (company, last.position)).collect()
}

/// A nonce that has not come back yet. Nobody else knows it before.
struct Nonce {
    id: Uuid,
    /// When the look began before it.
    began: Moment,
}

/// Where notifications come from, and where the heads are.
pub(super) struct Places {
    /// A server itself, or a pooler that keeps sessions.
    pub listening: PgConnectOptions,
    /// Where everything else goes.
    pub database: PgConnectOptions,
}

/// Listens for as long as the process lives, whatever happens to the connections.
pub(super) async fn run(places: Places, told: Arc<Told>, process: Uuid) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let listening = AssertUnwindSafe(listen(&places, &told, process)).catch_unwind();
        let error =
            listening.await.unwrap_or_else(|_| StoreError::Rejected("it panicked".to_owned()));
        if began.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(%error, "listening to the database again");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Listens until something fails.
async fn listen(places: &Places, told: &Told, process: Uuid) -> StoreError {
    let waiting = Mutex::new(VecDeque::new());
    let listening = async {
        let mut listener = start(&places.listening).await?;
        let mut looking = connect(&places.database).await.map_err(connecting_failed)?;
        let mut telling = connect(&places.database).await.map_err(connecting_failed)?;
        in_time(told.begin(&mut looking)).await?;
        tokio::try_join!(
            receive(&mut listener, told, process, &waiting),
            look(&mut looking, told, &waiting),
            tell(&mut telling, told, process),
        )?;
        Ok(())
    };
    match listening.await {
        Ok(()) => StoreError::Closed,
        Err(error) => error,
    }
}

/// What is answered in time, or an error.
async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("it doesn't answer in time".to_owned())))
}

async fn start(options: &PgConnectOptions) -> Result<PgListener, StoreError> {
    // A pool doesn't say why it has no connection.
    let first = connect(options).await.map_err(connecting_failed)?;
    let starting = async {
        first.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    timeout(2 * TIMEOUT, starting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(failed)
}

async fn receive(
    listener: &mut PgListener,
    told: &Told,
    process: Uuid,
    waiting: &Mutex<VecDeque<Nonce>>,
) -> Result<(), StoreError> {
    while let Some(notification) = listener.try_recv().await.map_err(failed)? {
        match Notice::parse(notification.payload()) {
            Some(Notice::Moved(sender, ledgers)) if sender != process => {
                told.tell_moved(ledgers.into_iter().map(|company| (company, 0)).collect());
            }
            Some(Notice::Nonce(id)) => {
                let mut waiting = waiting.lock();
                // One of another process, or of an earlier connection that comes late, is not among them.
                if let Some(place) = waiting.iter().position(|nonce| nonce.id == id)
                    && let Some(nonce) = waiting.drain(..=place).next_back()
                {
                    told.tell(Change::Current(nonce.began));
                }
            }
            Some(Notice::Moved(..)) => {}
            Some(Notice::PutRight(rows)) => told.tell(Change::PutRight(Arc::new(rows))),
            // Of another release, perhaps: something has happened.
            None => told.hurried.notify_one(),
        }
    }
    Err(StoreError::Unavailable("the connection that listens was closed".to_owned()))
}

/// Looks at the heads again and again, each time with a nonce after it.
async fn look(
    connection: &mut PgConnection,
    told: &Told,
    waiting: &Mutex<VecDeque<Nonce>>,
) -> Result<(), StoreError> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut measured = Measurements::default();
    let mut next = Instant::now();
    loop {
        let hurried = async {
            told.hurried.notified().await;
            sleep_until(next).await;
        };
        tokio::select! {
            _ = ticks.tick() => {}
            () = hurried => {}
        }
        let (began, started) = (Moment::now(), Instant::now());
        in_time(told.look(connection)).await?;
        next = started + LOOK_GAP.max(LOOK_SHARE * started.elapsed());
        let id = SystemEntropy.uuid(told.clock.now());
        {
            let mut waiting = waiting.lock();
            if waiting.front().is_some_and(|oldest: &Nonce| oldest.began.elapsed() > TIMEOUT) {
                return Err(StoreError::Unavailable(
                    "its notifications don't arrive; the URL that is listened to must lead to the \
                     same database, and not through a pooler in transaction mode"
                        .to_owned(),
                ));
            }
            waiting.push_back(Nonce { id, began });
        }
        let nonce = sqlx::query_scalar(SEND_NONCE).bind(CHANNEL).bind(notice::nonce(id));
        in_time(measured.set(connection, &told.clock, nonce)).await?;
    }
}

/// Tells the other processes where this one has committed.
async fn tell(connection: &mut PgConnection, told: &Told, process: Uuid) -> Result<(), StoreError> {
    loop {
        if timeout(REST, told.committed.notified()).await.is_err() {
            // Whatever is in between may close what nothing is heard of.
            in_time(async { connection.ping().await.map_err(failed) }).await?;
        }
        let next = Instant::now() + TELL_GAP;
        let untold = std::mem::take(&mut *told.untold.lock());
        if !untold.is_empty() {
            let ledgers: Vec<CompanyId> = untold.into_iter().collect();
            let statements = notice::moved(process, &ledgers);
            let telling = async { connection.execute(statements.as_str()).await.map_err(failed) };
            in_time(telling).await?;
        }
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::database::{Config, Database};
    use super::*;
    use token_ledger_domain::Timestamp;
    use token_ledger_test_cluster::TestDatabase;

    /// What one server has recorded may not have come to the next, which may have gone on by itself.
    #[tokio::test]
    async fn all_is_compared_after_a_commit_from_before_listening_began_anew() {
        let place = TestDatabase::fresh().await;
        Database::connect(Config::new(place.url())).await.expect("a ledger");
        let mut connection = PgConnection::connect(&place.url()).await.expect("a connection");
        let told = Told::new();
        let mut changes = told.changes.subscribe();
        let company = CompanyId(Uuid::from_u128(1));
        let moved =
            |position| [(company, Point { position, recorded_at: Timestamp::from_micros(0) })];
        let mut since = || std::iter::from_fn(|| changes.try_recv().ok()).collect::<Vec<_>>();

        let before = told.begun();
        told.committed(&moved(1), before);
        assert_eq!(since(), [Change::Moved(vec![(company, 1)])]);
        told.begin(&mut connection).await.expect("heads");
        assert_eq!(since(), [Change::Resync]);
        told.committed(&moved(2), before);
        assert_eq!(since(), [Change::Moved(vec![(company, 2)]), Change::Resync]);
        told.committed(&moved(3), told.begun());
        assert_eq!(since(), [Change::Moved(vec![(company, 3)])]);
    }
}

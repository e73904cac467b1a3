//! The connections to a PostgreSQL database.

use super::errors::{failed, failed_ref, is_not_let_in};
use super::lent::{self, Lent, expect_primary};
use super::listener::{self, Change, Told};
use super::migrate;
use super::offset;
use crate::clock::{Clock, CorrectedClock, Entropy, SystemEntropy};
use crate::error::StoreError;
use crate::record::Point;
use crate::store::Access;
use crate::trouble::Trouble;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between attempts to connect to a server that isn't there yet.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How often the log says that the server isn't there yet.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What the server is asked to hold each connection to: a statement ends after 10 s, waiting for a
/// lock after 3 s, a transaction in which nothing happens after 5 s, and a peer that has gone
/// without a word after about 10 s.
const SESSION: [(&str, &str); 8] = [
    ("application_name", "token-ledger"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "3s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

/// Of so many connections one is kept from searches.
const SEARCHLESS: u32 = 4;

/// Which clock an event's time is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordedTime {
    /// The database's: an event happens when it was decided if that was just now by the database's
    /// clock, else when it is recorded.
    #[default]
    Database,
    /// The one that the decision was made by: for made-up histories and for tests.
    Decision,
}

/// How to reach a database and what for.
#[derive(Clone)]
pub struct Config {
    /// Where everything goes, through a pooler if you like: `postgres://user@host/database`.
    pub url: String,
    /// Where notifications are listened to, of the same database: a server itself or a pooler that
    /// keeps sessions. The same as `url` where none is given.
    pub listen_url: Option<String>,
    /// Connections of the pool, besides those that append and listen.
    pub connections: u32,
    /// What the process wants of the database.
    pub access: Access,
    /// Which clock an event's time is taken from.
    pub recorded_time: RecordedTime,
    /// How long to wait for a server that isn't there yet; for ever where none is given.
    pub patience: Option<Duration>,
}

impl fmt::Debug for Config {
    /// Without the URLs, which may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("connections", &self.connections)
            .field("access", &self.access)
            .field("recorded_time", &self.recorded_time)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// To write this database, and to migrate it; waits 5 s for it.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            listen_url: None,
            connections: 16,
            access: Access::Write,
            recorded_time: RecordedTime::Database,
            patience: Some(Duration::from_secs(5)),
        }
    }
}

/// A PostgreSQL database.
pub struct Database {
    pool: PgPool,
    /// Turns of queries that may look at many rows: fewer than there are connections.
    searching: Arc<Semaphore>,
    options: PgConnectOptions,
    access: Access,
    recorded_time: RecordedTime,
    is_sharded: bool,
    migrated: usize,
    told: Arc<Told>,
    trouble: Arc<Trouble>,
    listener: Option<JoinHandle<()>>,
}

impl fmt::Debug for Database {
    /// Without the password, which the options hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("host", &self.options.get_host())
            .field("database", &self.options.get_database())
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Connects, and brings the schema up to date where the process may.
    ///
    /// # Errors
    /// When the database can't be reached, is no ledger, or is one of a newer release.
    pub async fn connect(config: Config) -> Result<Arc<Self>, StoreError> {
        let options = options(&config.url)?;
        let listen_options = config.listen_url.as_deref().map(self::options).transpose()?;
        let mut connection = first_connection(&options, config.access, config.patience).await?;
        let migrated = if config.access == Access::Write {
            migrate::migrate(&mut connection).await?
        } else {
            migrate::schema_status(&mut connection).await?.expect_current()?;
            0
        };
        let is_sharded = migrate::is_sharded(&mut connection).await?;
        let told = Arc::new(Told::new());
        offset::set_clock(&mut connection, &told.clock).await?;
        connection.close().await.map_err(failed)?;
        let pool = lent::pool(&options, config.connections, config.access);
        let searches = config.connections - config.connections.div_ceil(SEARCHLESS);
        let searching = Arc::new(Semaphore::new(usize::try_from(searches).unwrap_or(1).max(1)));
        // Who only reads has nobody to tell.
        let listener = (config.access != Access::Read).then(|| {
            let process = SystemEntropy.uuid(told.clock.now());
            let listening = listen_options.unwrap_or_else(|| options.clone());
            let places = listener::Places { listening, database: options.clone() };
            tokio::spawn(listener::run(places, Arc::clone(&told), process))
        });
        Ok(Arc::new(Self {
            pool,
            searching,
            options,
            access: config.access,
            recorded_time: config.recorded_time,
            is_sharded,
            migrated,
            told,
            trouble: Arc::default(),
            listener,
        }))
    }

    /// One of these connections.
    ///
    /// # Errors
    /// When none is to be had.
    pub async fn lend(&self) -> Result<Lent, StoreError> {
        Lent::from(&self.pool).await
    }

    /// As [`Self::lend`], for a query that may look at many more rows than it answers: such take turns,
    /// so that however many there are, others find a connection.
    ///
    /// # Errors
    /// As for [`Self::lend`].
    pub async fn lend_to_search(&self) -> Result<(Lent, OwnedSemaphorePermit), StoreError> {
        let searching = Arc::clone(&self.searching);
        let turn = searching.acquire_owned().await.map_err(|_| StoreError::Closed)?;
        Ok((self.lend().await?, turn))
    }

    /// A connection of the caller's own, to a primary.
    ///
    /// # Errors
    /// When none is to be had in time.
    pub async fn connect_apart(&self) -> Result<PgConnection, StoreError> {
        let connected = async {
            let mut connection = connect(&self.options).await?;
            expect_primary(&mut connection, self.access).await?;
            Ok(connection)
        };
        connected.await.map_err(failed)
    }

    /// The connections that everything goes through but appending and listening.
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How many migrations were applied when it was opened.
    pub const fn migrated(&self) -> usize {
        self.migrated
    }

    /// Whether this process may write it.
    pub fn is_writable(&self) -> bool {
        self.access != Access::Read
    }

    /// Whether the rows are spread over several servers by company (Citus).
    pub const fn is_sharded(&self) -> bool {
        self.is_sharded
    }

    /// What all processes commit, and where they say to look, from now on. Ask for it before you read what was before.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.told.changes.subscribe()
    }

    /// Ledgers were read that have come that far: whoever follows is told of it, and looks at the heads
    /// find nothing new there.
    pub fn advanced(&self, ledgers: &[(CompanyId, Point)]) {
        self.told.advance(ledgers);
    }

    /// Sees to it that what was committed by now is told soon, by [`Change::Current`], too.
    pub fn hurry(&self) {
        self.told.hurried.notify_one();
    }

    /// The machine's clock, set right by the database's. It tells how far it had to be.
    pub fn clock(&self) -> Arc<CorrectedClock> {
        Arc::clone(&self.told.clock)
    }

    /// Changes whenever something may have been appended, by whichever process.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.told.news.subscribe()
    }

    /// Whether appending fails.
    pub(super) const fn trouble(&self) -> &Arc<Trouble> {
        &self.trouble
    }

    pub(super) fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told)
    }

    pub(super) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(super) const fn recorded_time(&self) -> RecordedTime {
        self.recorded_time
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

/// What connections are made with.
fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| StoreError::Incompatible(format!("the database URL: {error}")))?;
    Ok(options.options(SESSION).log_statements(tracing::log::LevelFilter::Trace))
}

/// The first connection, once the server is there.
async fn first_connection(
    options: &PgConnectOptions,
    access: Access,
    patience: Option<Duration>,
) -> Result<PgConnection, StoreError> {
    let began = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        let connected = async {
            let mut connection = connect(options).await?;
            expect_primary(&mut connection, access).await?;
            Ok(connection)
        };
        let problem = match connected.await {
            Ok(connection) => return Ok(connection),
            Err(error) if is_not_let_in(&error) => return Err(failed(error)),
            Err(error) => failed_ref(&error),
        };
        if patience.is_some_and(|patience| began.elapsed() >= patience) {
            return Err(problem);
        }
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            tracing::warn!(host = options.get_host(), %problem, "waiting for the database");
            said = Some(Instant::now());
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

/// A connection, or an error in time.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options))
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

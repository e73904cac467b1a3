//! The embedded store: one SQLite file, written by one connection of one process.
//!
//! The bundled SQLite is older than 3.51.3, in which a checkpoint that races a commit of another
//! connection can lose pages. So the writing connection is the only one that writes and the only
//! one that checkpoints; every other connection, also of other processes, is opened read-only, and
//! a lock file keeps a second writer out.

mod append;
pub mod database;
mod migrate;
mod opening;
mod read;
mod writer;

pub use crate::record::Appended;
pub use crate::store::Access;
pub use database::{Database, commit};
pub use migrate::{schema_differences, schema_status};
pub use opening::HAS_PART;

use crate::commit::{AppendError, Commit, Idempotency, Recorded};
use crate::error::StoreError;
use crate::record::{Head, RecordedEvent, StreamId};
use crate::store::{LoadedStream, Replay, Store, StoredPrivate, StoredSnapshot};
use async_trait::async_trait;
use rusqlite::Connection;
use std::sync::Arc;
use token_ledger_domain::{CompanyId, Timestamp};
use tokio::sync::watch;

/// Read models that are written in the append transaction.
pub trait InlineProjections: Send {
    /// Writes what the events lead to.
    ///
    /// # Errors
    /// When a row can't be written or an event doesn't fit its row; the commit fails then.
    fn project(&mut self, transaction: &Connection, events: &[Appended]) -> Result<(), StoreError>;

    /// The transaction is durable; its callers have not been answered yet.
    fn committed(&mut self);

    /// The transaction was rolled back.
    fn rolled_back(&mut self);
}

/// No inline projections: for tools that only need the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProjections;

impl InlineProjections for NoProjections {
    fn project(&mut self, _: &Connection, _: &[Appended]) -> Result<(), StoreError> {
        Ok(())
    }

    fn committed(&mut self) {}

    fn rolled_back(&mut self) {}
}

/// The companies' ledgers in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    database: Arc<Database>,
}

impl SqliteStore {
    /// The ledgers in this database.
    pub const fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// The database behind it.
    pub const fn database(&self) -> &Arc<Database> {
        &self.database
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, commits: Vec<Commit>) -> Vec<Result<Recorded, AppendError>> {
        self.database.append(commits).await
    }

    fn has_failed_lately(&self) -> bool {
        self.database.trouble().is_recent()
    }

    async fn load(
        &self,
        company: CompanyId,
        streams: &[StreamId],
    ) -> Result<Vec<LoadedStream>, StoreError> {
        let streams = streams.to_vec();
        self.database.read(move |connection| read::load(connection, company, &streams)).await
    }

    async fn history(
        &self,
        company: CompanyId,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.database
            .read(move |connection| {
                read::stream(connection, company, stream, after_sequence, limit)
            })
            .await
    }

    async fn read(
        &self,
        company: CompanyId,
        after_position: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.database
            .read(move |connection| read::page(connection, company, after_position, limit))
            .await
    }

    async fn private_parts(
        &self,
        company: CompanyId,
        positions: &[u64],
    ) -> Result<Vec<Option<StoredPrivate>>, StoreError> {
        let positions = positions.to_vec();
        self.database
            .read(move |connection| read::private_parts(connection, company, &positions))
            .await
    }

    async fn private_range(
        &self,
        company: CompanyId,
        after_position: u64,
        last_position: u64,
    ) -> Result<Vec<(u64, StoredPrivate)>, StoreError> {
        self.database
            .read(move |connection| {
                read::private_range(connection, company, after_position, last_position)
            })
            .await
    }

    async fn snapshots(
        &self,
        company: CompanyId,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StoredSnapshot>, StoreError> {
        self.database
            .read(move |connection| read::snapshots(connection, company, after, limit))
            .await
    }

    async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        self.database.read(read::heads).await
    }

    async fn head(&self, company: CompanyId) -> Result<Option<Head>, StoreError> {
        self.database.read(move |connection| read::head(connection, company)).await
    }

    async fn position_at(
        &self,
        company: CompanyId,
        time: Timestamp,
        inclusive: bool,
    ) -> Result<u64, StoreError> {
        self.database
            .read(move |connection| read::position_at(connection, company, time, inclusive))
            .await
    }

    async fn replay(
        &self,
        company: CompanyId,
        key: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<Replay>, StoreError> {
        let key = key.clone();
        self.database.read(move |connection| read::replay(connection, company, &key, now)).await
    }

    async fn forget_keys(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.database.write(move |connection| append::forget_keys(connection, now, limit)).await
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.database.watch()
    }
}

pub use read::{EVENT_COLUMNS, decoded_page, event_from_row};

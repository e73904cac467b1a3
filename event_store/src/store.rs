//! The interface between the ledger and a database.

use crate::commit::{AppendError, Commit, Idempotency, Recorded};
use crate::error::StoreError;
use crate::record::{Head, PrivatePart, RecordedEvent, StreamId};
use async_trait::async_trait;
use token_ledger_domain::{CompanyId, Timestamp};
use tokio::sync::watch;

/// What a process wants of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To write it; an SQLite file, this process alone. Missing migrations are applied.
    Write,
    /// To write it, but not to migrate it.
    WriteUnmigrated,
    /// To read it, beside whoever writes it.
    Read,
}

/// Where a database's schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationStatus {
    /// It is what this release works with.
    UpToDate,
    /// So many migrations are missing.
    Missing(usize),
}

impl MigrationStatus {
    /// # Errors
    /// When migrations are missing, which the caller may not apply.
    pub(crate) fn expect_current(self) -> Result<(), StoreError> {
        match self {
            Self::UpToDate => Ok(()),
            Self::Missing(count) => Err(StoreError::Incompatible(format!(
                "the ledger's schema lacks {count} of this release's migrations; run \
                 `token-ledger migrate`"
            ))),
        }
    }
}

/// A stream as it is stored.
#[derive(Clone, Debug, Default)]
pub struct LoadedStream {
    /// The folded state up to a sequence, where one is kept.
    pub snapshot: Option<(u64, String)>,
    /// The events after it, in order.
    pub events: Vec<RecordedEvent>,
}

/// What was recorded with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// What the first request is recognised by.
    pub request_hash: [u8; 32],
    /// The stream that it changed.
    pub stream: StreamId,
    /// The stream's sequence after it.
    pub sequence: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

impl Replay {
    /// How a command's outcome is noted for its repeats.
    pub(crate) fn result_text(stream: StreamId, sequence: u64) -> String {
        format!("{} {} {sequence}", stream.kind, stream.id)
    }

    /// The stream and its sequence, from such a note.
    pub(crate) fn parse_result(
        company: CompanyId,
        text: &str,
    ) -> Result<(StreamId, u64), StoreError> {
        let mut parts = text.split(' ');
        let stream = parts
            .next()
            .and_then(|kind| kind.parse().ok())
            .zip(parts.next().and_then(|id| id.parse().ok()))
            .map(|(kind, id)| StreamId { kind, id });
        let sequence = parts.next().and_then(|sequence| sequence.parse().ok());
        stream.zip(sequence).ok_or_else(|| StoreError::Corrupt {
            company,
            position: 0,
            problem: format!("idempotency_keys.result: {text:?}"),
        })
    }
}

/// One database that holds the companies' ledgers.
#[async_trait]
pub trait Store: Send + Sync {
    /// Appends each commit whole or not at all, and answers in the same order. A commit that is
    /// refused or fails doesn't touch the others. When the answer is `Ok`, the events are durable
    /// and every inline projection shows them.
    async fn append(&self, commits: Vec<Commit>) -> Vec<Result<Recorded, AppendError>>;

    /// Whether appending failed a moment ago because of the database, and nothing was appended since.
    fn has_failed_lately(&self) -> bool;

    /// Streams of one company, with their snapshots, in the order asked for; empty where there is
    /// nothing.
    ///
    /// # Errors
    /// When the database fails.
    async fn load(
        &self,
        company: CompanyId,
        streams: &[StreamId],
    ) -> Result<Vec<LoadedStream>, StoreError>;

    /// The events of one stream after `after_sequence`, in order, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    async fn history(
        &self,
        company: CompanyId,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError>;

    /// The events of a company after `after_position`, in order, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    async fn read(
        &self,
        company: CompanyId,
        after_position: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError>;

    /// The private parts of these positions, in the same order, with their salts; none where an
    /// event has none or it was erased.
    ///
    /// # Errors
    /// When the database fails.
    async fn private_parts(
        &self,
        company: CompanyId,
        positions: &[u64],
    ) -> Result<Vec<Option<StoredPrivate>>, StoreError>;

    /// The private parts of the events after `after_position` up to `last_position`, with their
    /// positions, in order; in one go, where many are wanted.
    ///
    /// # Errors
    /// When the database fails.
    async fn private_range(
        &self,
        company: CompanyId,
        after_position: u64,
        last_position: u64,
    ) -> Result<Vec<(u64, StoredPrivate)>, StoreError>;

    /// A company's snapshots in the order of their streams, behind the one given.
    ///
    /// # Errors
    /// When the database fails.
    async fn snapshots(
        &self,
        company: CompanyId,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StoredSnapshot>, StoreError>;

    /// The heads of all companies.
    ///
    /// # Errors
    /// When the database fails.
    async fn heads(&self) -> Result<Vec<Head>, StoreError>;

    /// The head of one company; `None` before its first event.
    ///
    /// # Errors
    /// When the database fails.
    async fn head(&self, company: CompanyId) -> Result<Option<Head>, StoreError>;

    /// The last position of a company that was recorded before `time`, or at `time` where
    /// `inclusive`; 0 for none. Positions are in order of time.
    ///
    /// # Errors
    /// When the database fails.
    async fn position_at(
        &self,
        company: CompanyId,
        time: Timestamp,
        inclusive: bool,
    ) -> Result<u64, StoreError>;

    /// What was recorded with this key within the last day.
    ///
    /// # Errors
    /// When the database fails.
    async fn replay(
        &self,
        company: CompanyId,
        key: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<Replay>, StoreError>;

    /// Removes idempotency keys that are no longer remembered, at most so many, and answers how many.
    /// Appending does so only for a company that sends others.
    ///
    /// # Errors
    /// When the database fails.
    async fn forget_keys(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError>;

    /// Changes whenever something may have been appended. The heads are the truth.
    fn watch(&self) -> watch::Receiver<u64>;
}

/// The folded state of a stream as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The stream.
    pub stream: StreamId,
    /// The sequence of the last event in it.
    pub sequence: u64,
    /// The state, JSON.
    pub state: String,
}

/// A private part as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPrivate {
    /// The salt of its commitment.
    pub salt: [u8; 32],
    /// Its exact text.
    pub data: String,
}

impl StoredPrivate {
    /// The private part, decoded. What can't be decoded shows nothing.
    pub fn part(&self) -> PrivatePart {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

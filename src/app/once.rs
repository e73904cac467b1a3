//! Requests that begin something new outside a stream of their ledger, and may be repeated.
//!
//! A repeat of a command is recognised by the ledger that the command changes. A registration has
//! no ledger yet, and an operation is no command: for these the identifier of what is begun is
//! recorded with the idempotency key first, and a repeat leads to it. A repeat after a crash
//! finishes what the first request began. What leaves no trace of its own once it was used, a link,
//! is recorded with a second key when it is made.

use super::input::Check;
use super::{App, AppError, Caller, Conditions};
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::{AppendError, Commit, Idempotency, Replay, StoreError, StreamId};
use uuid::Uuid;

/// How long the request that recorded its key may take to store what it begins, in seconds.
const UNDER_WAY_SECONDS: i64 = 5;

impl App {
    /// Whether the request that began this, of which nothing is stored yet, may be at it still.
    pub(super) fn may_be_under_way(&self, begun: Uuid) -> bool {
        let since = begun.get_timestamp().map_or(0, |time| time.to_unix().0);
        let since = i64::try_from(since).unwrap_or(0);
        self.is_recent(Timestamp::from_micros(0).plus_seconds(since))
    }

    /// Whether a request that recorded its key at that time may be at it still.
    pub(super) fn is_recent(&self, recorded_at: Timestamp) -> bool {
        self.now() < recorded_at.plus_seconds(UNDER_WAY_SECONDS)
    }

    /// What the first request with this key began.
    pub(super) async fn begun(
        &self,
        ledger: CompanyId,
        key: Option<&Idempotency>,
    ) -> Result<Option<Uuid>, AppError> {
        Ok(self.recorded(ledger, key).await?.map(|replay| replay.stream.id))
    }

    /// What was recorded with this key.
    pub(super) async fn recorded(
        &self,
        ledger: CompanyId,
        key: Option<&Idempotency>,
    ) -> Result<Option<Replay>, AppError> {
        let Some(key) = key else { return Ok(None) };
        match self.store().replay(ledger, key, self.now()).await? {
            Some(replay) if replay.request_hash == key.request_hash => Ok(Some(replay)),
            Some(_) => Err(AppError::KeyReused),
            None => Ok(None),
        }
    }

    /// What was recorded with the key of a request that is refused now: what was on offer when the
    /// same was asked first may no longer be.
    ///
    /// # Errors
    /// The refusal, where nothing was.
    pub(super) async fn replay_or(
        &self,
        caller: &Caller,
        conditions: &Conditions,
        refused: Check,
    ) -> Result<Replay, AppError> {
        let replay = self.recorded(caller.company, conditions.idempotency.as_ref()).await?;
        replay.ok_or_else(|| refused.refusal())
    }

    /// The key with which is recorded that what was begun with this one is made.
    pub(super) fn made(begun: &Idempotency) -> Idempotency {
        Idempotency { key: format!("{} made", begun.key), ..begun.clone() }
    }

    /// Records that what was begun with the key is made.
    pub(super) async fn end_begun(
        &self,
        caller: &Caller,
        ledger: CompanyId,
        id: Uuid,
        begun: Option<&Idempotency>,
    ) -> Result<(), AppError> {
        match self.begin(caller, ledger, id, begun.map(Self::made)).await {
            // A repeat that was as fast has recorded it.
            Err(AppError::Contended) => Ok(()),
            other => other,
        }
    }

    /// Records with the key that something of this identifier is about to begin.
    pub(super) async fn begin(
        &self,
        caller: &Caller,
        ledger: CompanyId,
        id: Uuid,
        key: Option<Idempotency>,
    ) -> Result<(), AppError> {
        let Some(key) = key else { return Ok(()) };
        let stream = StreamId { kind: AggregateType::Company, id };
        let context = caller.context(None);
        let entropy = self.ledger.entropy().as_ref();
        let mut commit = Commit::new(ledger, stream, 0, Vec::new(), &context, self.now(), entropy)?;
        commit.idempotency = Some(key);
        match self.store().append(vec![commit]).await.pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err(AppendError::Failed(error))) => Err(error.into()),
            // Another request has just begun it.
            Some(Err(_)) => Err(AppError::Contended),
            None => Err(StoreError::Closed.into()),
        }
    }
}

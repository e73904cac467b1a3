//! Requests that begin something new outside a stream of their ledger, and may be repeated.
//!
//! A repeat of a command is recognised by the ledger that the command changes. A registration has
//! no ledger yet, and an operation is no command: for these the identifier of what is begun is
//! recorded with the idempotency key first, and a repeat leads to it. A repeat after a crash
//! finishes what the first request began.

use super::{App, AppError, Caller};
use token_ledger_domain::CompanyId;
use token_ledger_domain::event::AggregateType;
use token_ledger_event_store::{AppendError, Commit, Idempotency, StoreError, StreamId};
use uuid::Uuid;

impl App {
    /// What the first request with this key began.
    pub(super) async fn begun(
        &self,
        ledger: CompanyId,
        key: Option<&Idempotency>,
    ) -> Result<Option<Uuid>, AppError> {
        let Some(key) = key else { return Ok(None) };
        match self.store().replay(ledger, key, self.now()).await? {
            Some(replay) if replay.request_hash == key.request_hash => Ok(Some(replay.stream.id)),
            Some(_) => Err(AppError::KeyReused),
            None => Ok(None),
        }
    }

    /// The identifier of something that is about to begin, recorded with the key.
    pub(super) async fn begin(
        &self,
        caller: &Caller,
        ledger: CompanyId,
        key: Option<Idempotency>,
    ) -> Result<Uuid, AppError> {
        let id = self.new_id();
        let Some(key) = key else { return Ok(id) };
        let stream = StreamId { kind: AggregateType::Company, id };
        let context = caller.context(None);
        let entropy = self.ledger.entropy().as_ref();
        let mut commit = Commit::new(ledger, stream, 0, Vec::new(), &context, self.now(), entropy)?;
        commit.idempotency = Some(key);
        match self.store().append(vec![commit]).await.pop() {
            Some(Ok(_)) => Ok(id),
            Some(Err(AppendError::Failed(error))) => Err(error.into()),
            // Another process has just begun it.
            Some(Err(_)) => Err(AppError::Contended),
            None => Err(StoreError::Closed.into()),
        }
    }
}

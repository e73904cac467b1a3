//! cqrs-es's own interface to one company's ledger, so that its tools work on it.

use crate::clock::Clock;
use crate::commit::{AppendError, Commit, Context};
use crate::error::StoreError;
use crate::record::{RecordedEvent, StreamId};
use crate::store::Store;
use crate::{Entropy, SystemEntropy};
use cqrs_es::Aggregate;
use cqrs_es::persist::{
    PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot,
};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, LedgerEvent};
use uuid::Uuid;

/// Events that a replay reads at a time.
const REPLAY_PAGE: usize = 1000;
/// A limit that no stream reaches, small enough for the databases' integers.
const WHOLE_STREAM: usize = usize::MAX >> 1;

/// One company's ledger as a cqrs-es repository.
#[derive(Clone)]
pub struct LedgerRepository {
    store: Arc<dyn Store>,
    company: CompanyId,
    clock: Arc<dyn Clock>,
    context: Context,
}

impl fmt::Debug for LedgerRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerRepository").field("company", &self.company).finish_non_exhaustive()
    }
}

impl LedgerRepository {
    /// The repository of this company; what is persisted through it is done in this context.
    pub fn new(
        store: Arc<dyn Store>,
        company: CompanyId,
        clock: Arc<dyn Clock>,
        context: Context,
    ) -> Self {
        Self { store, company, clock, context }
    }

    async fn events(
        &self,
        kind: &str,
        id: &str,
        after: usize,
    ) -> Result<Vec<RecordedEvent>, PersistenceError> {
        let Some(stream) = stream_of(kind, id) else { return Ok(Vec::new()) };
        self.store
            .history(self.company, stream, after as u64, WHOLE_STREAM)
            .await
            .map_err(persistence)
    }
}

impl LedgerRepository {
    /// The state after these events, which follow those that are stored. The one that the framework
    /// offers is of no use: it may lack the last events, and others were applied to it twice, by the
    /// sink and again for the snapshot.
    async fn state_after<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
    ) -> Result<String, PersistenceError> {
        let Some(first) = events.first() else { return Ok(String::new()) };
        let snapshot = self.get_snapshot::<A>(&first.aggregate_id).await?;
        let (mut state, sequence) = match snapshot {
            Some(kept) => (serde_json::from_value(kept.aggregate)?, kept.current_sequence),
            None => (A::default(), 0),
        };
        let stored = self.get_last_events::<A>(&first.aggregate_id, sequence).await?;
        for event in stored.iter().chain(events) {
            state.apply(serde_json::from_value(event.payload.clone())?);
        }
        Ok(serde_json::to_string(&state)?)
    }
}

/// An identifier that is none has no stream.
fn stream_of(kind: &str, id: &str) -> Option<StreamId> {
    Some(StreamId { kind: kind.parse().ok()?, id: Uuid::from_str(id).ok()? })
}

impl PersistedEventRepository for LedgerRepository {
    async fn get_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.get_last_events::<A>(aggregate_id, 0).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let events = self.events(A::TYPE, aggregate_id, last_sequence).await?;
        events.iter().map(serialized).collect()
    }

    async fn get_snapshot<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        let Some(stream) = stream_of(A::TYPE, aggregate_id) else { return Ok(None) };
        let loaded = self.store.load(self.company, &[stream]).await.map_err(persistence)?;
        let Some((sequence, text)) = loaded.into_iter().next().and_then(|stream| stream.snapshot)
        else {
            return Ok(None);
        };
        Ok(Some(SerializedSnapshot {
            aggregate_id: aggregate_id.to_owned(),
            aggregate: serde_json::from_str(&text)?,
            current_sequence: usize::try_from(sequence).unwrap_or(usize::MAX),
            current_snapshot: 1,
        }))
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        let Some(first) = events.first() else { return Ok(()) };
        let unknown = || PersistenceError::UnknownError(first.aggregate_id.clone().into());
        let stream = stream_of(&first.aggregate_type, &first.aggregate_id).ok_or_else(unknown)?;
        let decoded = events
            .iter()
            .map(|event| {
                LedgerEvent::decode(
                    &event.event_type,
                    &event.event_version,
                    &event.payload.to_string(),
                )
                .map_err(|error| PersistenceError::DeserializationError(Box::new(error)))
            })
            .collect::<Result<_, _>>()?;
        let entropy: &dyn Entropy = &SystemEntropy;
        let mut commit = Commit::new(
            self.company,
            stream,
            first.sequence.saturating_sub(1) as u64,
            decoded,
            &self.context,
            self.clock.now(),
            entropy,
        )
        .map_err(persistence)?;
        if snapshot_update.is_some() {
            commit.snapshot = Some(self.state_after::<A>(events).await?);
        }
        match self.store.append(vec![commit]).await.pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err(AppendError::Failed(error))) => Err(persistence(error)),
            Some(Err(_)) => Err(PersistenceError::OptimisticLockError),
            None => Err(persistence(StoreError::Closed)),
        }
    }

    async fn stream_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        let events = self.get_events::<A>(aggregate_id).await?;
        let (mut feed, stream) = ReplayStream::new(events.len().max(1));
        for event in events {
            feed.push(Ok(event)).await?;
        }
        Ok(stream)
    }

    /// Streams all events of this kind of aggregate, in the ledger's order. When reading fails in
    /// the middle, the stream ends with the error.
    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        let (mut feed, stream) = ReplayStream::new(REPLAY_PAGE);
        let store = Arc::clone(&self.store);
        let company = self.company;
        let kind = AggregateType::from_str(A::TYPE)
            .map_err(|error| PersistenceError::UnknownError(Box::new(error)))?;
        tokio::spawn(async move {
            let mut position = 0;
            loop {
                let page = match store.read(company, position, REPLAY_PAGE).await {
                    Ok(page) => page,
                    Err(error) => {
                        let _ = feed.push(Err(persistence(error))).await;
                        return;
                    }
                };
                let Some(last) = page.last() else { return };
                position = last.position;
                for event in page.iter().filter(|event| event.stream.kind == kind) {
                    // Nobody reads any more when this fails.
                    if feed.push(serialized(event)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(stream)
    }
}

fn serialized(event: &RecordedEvent) -> Result<SerializedEvent, PersistenceError> {
    Ok(SerializedEvent {
        aggregate_id: event.stream.id.to_string(),
        sequence: usize::try_from(event.sequence).unwrap_or(usize::MAX),
        aggregate_type: event.stream.kind.as_str().to_owned(),
        event_type: event.event_type.clone(),
        event_version: event.event_version.clone(),
        payload: serde_json::from_str(&event.payload)?,
        metadata: serde_json::from_str(&event.metadata)?,
    })
}

fn persistence(error: StoreError) -> PersistenceError {
    match error {
        StoreError::Unavailable(_) | StoreError::InDoubt(_) | StoreError::Closed => {
            PersistenceError::ConnectionError(Box::new(error))
        }
        StoreError::Corrupt { .. } | StoreError::Unreadable(_) => {
            PersistenceError::DeserializationError(Box::new(error))
        }
        other => PersistenceError::UnknownError(Box::new(other)),
    }
}

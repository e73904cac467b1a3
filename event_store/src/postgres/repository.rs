//! cqrs-es's own interface to one company's ledger, over the stock PostgreSQL repository.

use super::{Database, PgStore};
use crate::clock::Clock;
use crate::commit::Context;
use crate::repository::LedgerRepository;
use cqrs_es::Aggregate;
use cqrs_es::persist::{
    PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot,
};
use postgres_es::PostgresEventRepository;
use serde_json::Value;
use std::sync::Arc;
use token_ledger_domain::CompanyId;

/// One company's ledger as a cqrs-es repository: postgres-es loads streams and snapshots, the
/// ledger appends, and replays in its order.
pub struct PgEventRepository {
    stock: PostgresEventRepository,
    ledger: LedgerRepository,
}

impl std::fmt::Debug for PgEventRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PgEventRepository").field(&self.ledger).finish()
    }
}

impl PgEventRepository {
    /// The repository of this company; what is persisted through it is done in this context.
    pub fn new(
        store: Arc<PgStore>,
        company: CompanyId,
        clock: Arc<dyn Clock>,
        context: Context,
    ) -> Self {
        Self {
            stock: stock(store.database(), company),
            ledger: LedgerRepository::new(store, company, clock, context),
        }
    }
}

/// The stock repository, which names tables but no company: its tables are this company's rows.
fn stock(database: &Database, company: CompanyId) -> PostgresEventRepository {
    let rows = |table: &str| format!("(SELECT * FROM {table} WHERE company_id = '{company}') AS t");
    PostgresEventRepository::new(database.pool().clone())
        .with_tables(&rows("events"), &rows("snapshots"))
}

impl PersistedEventRepository for PgEventRepository {
    async fn get_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.stock.get_events::<A>(aggregate_id).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.stock.get_last_events::<A>(aggregate_id, last_sequence).await
    }

    async fn get_snapshot<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        self.stock.get_snapshot::<A>(aggregate_id).await
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        self.ledger.persist::<A>(events, snapshot_update).await
    }

    /// The stock one panics when reading fails in the middle, and the stream ends as if complete.
    async fn stream_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        self.ledger.stream_events::<A>(aggregate_id).await
    }

    /// The stock one knows no order across streams.
    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        self.ledger.stream_all_events::<A>().await
    }
}

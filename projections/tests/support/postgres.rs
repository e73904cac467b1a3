//! The read models in a PostgreSQL database.

use super::{Fixture, Table};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::Store;
use token_ledger_event_store::postgres::{Config, Database, PgStore, RecordedTime};
use token_ledger_projections::index::VerificationIndex;
use token_ledger_projections::postgres::{Inline, PgBehind, PgReadModels};
use token_ledger_projections::rebuild::Rebuilder;
use token_ledger_projections::runner::Behind;
use token_ledger_projections::sql::{self, Sql};
use token_ledger_projections::{AuditTrail, Clients, Companies, Keys, Members, Tokens};
use token_ledger_test_cluster::{Proxy, TestDatabase};
use tokio::sync::watch;

/// A ledger in a database of its own, as one process sees it.
pub struct PgFixture {
    place: TestDatabase,
    database: Arc<Database>,
    store: Arc<PgStore>,
    index: Arc<VerificationIndex>,
}

impl PgFixture {
    /// The database as a process sees it that has just opened it.
    pub async fn open(place: TestDatabase) -> Self {
        let url = place.url();
        Self::open_by(place, url).await
    }

    async fn open_by(place: TestDatabase, url: String) -> Self {
        let config = Config {
            connections: 8,
            // The tests' clock, not the database's.
            recorded_time: RecordedTime::Decision,
            ..Config::new(url)
        };
        let database = Database::connect(config).await.expect("a ledger");
        let index = Arc::new(VerificationIndex::new());
        let inline = Arc::clone(&index);
        let store =
            PgStore::new(Arc::clone(&database), move || Box::new(Inline::new(Arc::clone(&inline))));
        Self { place, database, store: Arc::new(store), index }
    }

    /// Another process on the same database.
    pub async fn another(&self) -> Self {
        Self::open(self.place.clone()).await
    }

    /// Another process on the same database, by way of a network that can fail.
    pub async fn another_by_proxy(&self) -> (Self, Proxy) {
        let proxy = Proxy::to(&self.place.url()).await;
        let url = proxy.url(&self.place.url());
        (Self::open_by(self.place.clone(), url).await, proxy)
    }

    /// A connection that nobody else uses.
    pub async fn alone(&self) -> PgConnection {
        PgConnection::connect(&self.place.url()).await.expect("a connection")
    }

    /// Fills the index and follows what other processes commit, until the sender is dropped or says
    /// so.
    pub async fn follow(&self, bound: Duration) -> watch::Sender<bool> {
        let (stop, stopped) = watch::channel(false);
        self.tables().follow(bound, stopped).await.expect("it follows");
        stop
    }

    /// The tables that the read models are in.
    pub fn tables(&self) -> Arc<PgReadModels> {
        Arc::new(PgReadModels::new(Arc::clone(&self.database), Arc::clone(&self.index)))
    }
}

/// Fills the index, which follows nobody from then on.
async fn fill(models: &PgReadModels) {
    let (_, stopped) = watch::channel(true);
    let following = models.follow(Duration::MAX, stopped).await.expect("it is filled");
    following.await.expect("it ends");
}

fn table<P: sql::Table>() -> Table {
    Table { name: P::TABLE, key: P::KEY, columns: P::COLUMNS }
}

impl Fixture for PgFixture {
    const COST: u32 = 4;

    async fn fresh() -> Self {
        Self::open(TestDatabase::fresh().await).await
    }

    async fn reopened(self) -> Self {
        self.store.close().await;
        let fixture = Self::open(self.place).await;
        fill(&fixture.tables()).await;
        fixture
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::<PgStore>::clone(&self.store)
    }

    fn rebuilder(&self) -> Arc<dyn Rebuilder> {
        self.tables()
    }

    fn sql(&self) -> Sql {
        Sql::Postgres(self.tables())
    }

    fn index(&self) -> &VerificationIndex {
        &self.index
    }

    async fn filled(&self) -> Arc<VerificationIndex> {
        let index = Arc::new(VerificationIndex::new());
        let models = PgReadModels::new(Arc::clone(&self.database), Arc::clone(&index));
        fill(&models).await;
        index
    }

    fn audit(&self) -> Arc<dyn Behind> {
        Arc::new(PgBehind::<AuditTrail>::new(Arc::clone(&self.database)))
    }

    fn table(&self, projection: &str) -> Table {
        match projection {
            "companies" => table::<Companies>(),
            "members" => table::<Members>(),
            "clients" => table::<Clients>(),
            "keys" => table::<Keys>(),
            "tokens" => table::<Tokens>(),
            "audit" => table::<AuditTrail>(),
            other => panic!("there is no table of {other:?}"),
        }
    }

    fn blob(bytes: &[u8]) -> String {
        let digits = bytes.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
        match bytes.len() {
            16 => format!("'{digits}'::uuid"),
            _ => format!("'\\x{digits}'::bytea"),
        }
    }

    async fn raw(&self, sql: String) -> usize {
        let done = sqlx::query(&sql)
            .execute(self.database.pool())
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        usize::try_from(done.rows_affected()).expect("a number of rows")
    }

    async fn lose_event(&self, company: CompanyId, position: u64) {
        let literal = Self::blob(company.0.as_bytes());
        let sql = format!(
            "BEGIN; ALTER TABLE events DISABLE TRIGGER events_are_append_only; \
             DELETE FROM events WHERE company_id = {literal} AND position = {position}; \
             ALTER TABLE events ENABLE TRIGGER events_are_append_only; COMMIT"
        );
        sqlx::raw_sql(&sql).execute(self.database.pool()).await.expect("it is lost");
    }

    async fn forge(&self, company: CompanyId, position: u64, payload: &str) {
        let literal = Self::blob(company.0.as_bytes());
        let sql = format!(
            "BEGIN; ALTER TABLE events DISABLE TRIGGER events_are_append_only; \
             UPDATE events SET payload = '{payload}' \
             WHERE company_id = {literal} AND position = {position}; \
             ALTER TABLE events ENABLE TRIGGER events_are_append_only; COMMIT"
        );
        sqlx::raw_sql(&sql).execute(self.database.pool()).await.expect("it is forged");
    }
}

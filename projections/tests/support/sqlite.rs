//! The read models in an SQLite file.

use super::{Fixture, Table};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::Store;
use token_ledger_event_store::sqlite::database::failed;
use token_ledger_event_store::sqlite::{Access, Database, SqliteStore};
use token_ledger_projections::index::VerificationIndex;
use token_ledger_projections::rebuild::Rebuilder;
use token_ledger_projections::runner::Behind;
use token_ledger_projections::sql::{self, Sql};
use token_ledger_projections::sqlite::{Inline, SqliteBehind, SqliteReadModels};
use token_ledger_projections::{AuditTrail, Clients, Companies, Keys, Members, Tokens};

/// A ledger in a directory of its own.
pub struct SqliteFixture {
    database: Arc<Database>,
    index: Arc<VerificationIndex>,
    directory: TempDir,
}

impl SqliteFixture {
    async fn open(directory: TempDir) -> Self {
        let path: PathBuf = directory.path().join("ledger.db");
        let index = Arc::new(VerificationIndex::new());
        let inline = Box::new(Inline::new(Arc::clone(&index)));
        let database = Database::open(&path, Access::Write, inline).expect("a ledger");
        let fixture = Self { database, index, directory };
        // Nothing here is about power cuts, and waiting for the disk is most of the time.
        fixture.raw("PRAGMA synchronous = OFF".to_owned()).await;
        fixture
    }

    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    fn tables(&self) -> Arc<SqliteReadModels> {
        Arc::new(SqliteReadModels::new(Arc::clone(&self.database), Arc::clone(&self.index)))
    }
}

fn table<P: sql::Table>() -> Table {
    Table { name: P::TABLE, key: P::KEY, columns: P::COLUMNS }
}

impl Fixture for SqliteFixture {
    const COST: u32 = 1;

    async fn fresh() -> Self {
        Self::open(tempfile::tempdir().expect("a directory")).await
    }

    async fn reopened(self) -> Self {
        let Self { database, index: _, directory } = self;
        let database = Arc::into_inner(database).expect("nobody else holds the database");
        drop(database);
        let fixture = Self::open(directory).await;
        fixture.tables().fill().await.expect("it is filled");
        fixture
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::new(Arc::clone(&self.database)))
    }

    fn rebuilder(&self) -> Arc<dyn Rebuilder> {
        self.tables()
    }

    fn sql(&self) -> Sql {
        Sql::Sqlite(self.tables())
    }

    fn index(&self) -> &VerificationIndex {
        &self.index
    }

    async fn filled(&self) -> Arc<VerificationIndex> {
        let index = Arc::new(VerificationIndex::new());
        let models = SqliteReadModels::new(Arc::clone(&self.database), Arc::clone(&index));
        models.fill().await.expect("it is filled");
        index
    }

    fn audit(&self) -> Arc<dyn Behind> {
        Arc::new(SqliteBehind::<AuditTrail>::new(Arc::clone(&self.database)))
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
        format!("x'{digits}'")
    }

    async fn raw(&self, sql: String) -> usize {
        let shown = sql.clone();
        self.database
            .write(move |connection| connection.execute(&sql, []).map_err(failed))
            .await
            .unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    async fn lose_event(&self, company: CompanyId, position: u64) {
        const GUARD: &str = "events_are_never_deleted";
        let guard = format!("SELECT sql FROM sqlite_schema WHERE name = '{GUARD}'");
        self.database
            .write(move |connection| {
                let guard: String =
                    connection.query_row(&guard, [], |row| row.get(0)).map_err(failed)?;
                connection.execute_batch(&format!("DROP TRIGGER {GUARD}")).map_err(failed)?;
                let sql = "DELETE FROM events WHERE company_id = ?1 AND position = ?2";
                connection.execute(sql, (company.0.as_bytes(), position)).map_err(failed)?;
                connection.execute_batch(&guard).map_err(failed)
            })
            .await
            .expect("it is lost");
    }

    async fn forge(&self, company: CompanyId, position: u64, payload: &str) {
        const GUARD: &str = "events_are_never_changed";
        let guard = format!("SELECT sql FROM sqlite_schema WHERE name = '{GUARD}'");
        let payload = payload.to_owned();
        self.database
            .write(move |connection| {
                let guard: String =
                    connection.query_row(&guard, [], |row| row.get(0)).map_err(failed)?;
                connection.execute_batch(&format!("DROP TRIGGER {GUARD}")).map_err(failed)?;
                connection
                    .execute(
                        "UPDATE events SET payload = ?1 WHERE company_id = ?2 AND position = ?3",
                        (payload, company.0.as_bytes(), position),
                    )
                    .map_err(failed)?;
                connection.execute_batch(&guard).map_err(failed)
            })
            .await
            .expect("it is forged");
    }
}

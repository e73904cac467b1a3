//! The parts of the application that depend on the database.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_event_store::clock::CorrectedClock;
use token_ledger_event_store::postgres::{self, PgStore, RecordedTime};
use token_ledger_event_store::sqlite::{self, SqliteStore};
use token_ledger_event_store::{Access, Clock, Store, StoreError};
use token_ledger_projections::postgres::{PgBehind, PgReadModels};
use token_ledger_projections::rebuild::Rebuilder;
use token_ledger_projections::runner::Behind;
use token_ledger_projections::sqlite::{SqliteBehind, SqliteReadModels};
use token_ledger_projections::{AuditTrail, Sql, Trees, VerificationIndex};
use tokio::sync::watch;

/// How a PostgreSQL database is used.
#[derive(Clone)]
pub struct PostgresChoices {
    /// Where notifications are listened to; where everything else goes if nothing is given.
    pub listen_url: Option<String>,
    /// Connections besides those that append and listen.
    pub connections: u32,
    /// How old knowledge of what other processes did may be for an answer at verification.
    pub freshness_bound: Duration,
    /// How long a server that isn't there yet is waited for; for ever where nothing is given.
    pub patience: Option<Duration>,
}

impl fmt::Debug for PostgresChoices {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresChoices")
            .field("connections", &self.connections)
            .field("freshness_bound", &self.freshness_bound)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Default for PostgresChoices {
    fn default() -> Self {
        Self {
            listen_url: None,
            connections: 16,
            freshness_bound: token_ledger_projections::freshness::DEFAULT_BOUND,
            patience: Some(Duration::from_secs(5)),
        }
    }
}

/// What one database gives the application.
pub(super) struct Opened {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub sql: Sql,
    pub index: Arc<VerificationIndex>,
    pub rebuilder: Arc<dyn Rebuilder>,
    pub projections: Vec<Arc<dyn Behind>>,
    pub migrated: usize,
    pub following: Option<Following>,
}

/// Following what other processes do, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Following {
    clock: Arc<CorrectedClock>,
    _stop: watch::Sender<bool>,
}

impl Following {
    /// How far the database's clock is ahead of the machine's, in microseconds.
    pub fn clock_offset_micros(&self) -> i64 {
        self.clock.offset_micros()
    }
}

/// An SQLite file.
pub(super) async fn sqlite(
    path: &Path,
    access: Access,
    clock: Arc<dyn Clock>,
) -> Result<Opened, StoreError> {
    use token_ledger_projections::sqlite::Inline;

    let index = Arc::new(VerificationIndex::new());
    let inline = Box::new(Inline::new(Arc::clone(&index)));
    let path = path.to_owned();
    let opening = move || sqlite::Database::open(&path, access, inline);
    let database = tokio::task::spawn_blocking(opening)
        .await
        .map_err(|error| StoreError::Unavailable(error.to_string()))??;
    let read = Arc::new(SqliteReadModels::new(Arc::clone(&database), Arc::clone(&index)));
    if access != Access::Read {
        read.fill().await?;
    }
    let sql = Sql::Sqlite(Arc::clone(&read));
    Ok(Opened {
        store: Arc::new(SqliteStore::new(Arc::clone(&database))),
        clock,
        rebuilder: read,
        index,
        migrated: database.migrated(),
        projections: vec![
            Arc::new(Trees::new(sql.clone())) as Arc<dyn Behind>,
            Arc::new(SqliteBehind::<AuditTrail>::new(database)),
        ],
        sql,
        following: None,
    })
}

/// A PostgreSQL database. Its clock stands in for the machine's.
pub(super) async fn postgres(
    url: &str,
    access: Access,
    clock: Arc<dyn Clock>,
    choices: &PostgresChoices,
) -> Result<Opened, StoreError> {
    use token_ledger_projections::postgres::Inline;

    let is_real = clock.is_real();
    let database = postgres::Database::connect(postgres::Config {
        url: url.to_owned(),
        listen_url: choices.listen_url.clone(),
        connections: choices.connections,
        access,
        recorded_time: if is_real { RecordedTime::Database } else { RecordedTime::Decision },
        patience: choices.patience,
    })
    .await?;
    let corrected = database.clock();
    let index = Arc::new(VerificationIndex::new());
    let read = Arc::new(PgReadModels::new(Arc::clone(&database), Arc::clone(&index)));
    let (stop, stopping) = watch::channel(false);
    if access != Access::Read {
        // It goes on until the application is gone.
        drop(read.follow(choices.freshness_bound, stopping).await?);
    }
    let inline =
        || -> Box<dyn postgres::InlineProjections> { Box::new(Inline::new(Arc::clone(&index))) };
    let store = PgStore::new(Arc::clone(&database), inline);
    let sql = Sql::Postgres(Arc::clone(&read));
    Ok(Opened {
        store: Arc::new(store),
        clock: if is_real { Arc::clone(&corrected) as Arc<dyn Clock> } else { clock },
        rebuilder: read,
        index,
        migrated: database.migrated(),
        projections: vec![
            Arc::new(Trees::new(sql.clone())) as Arc<dyn Behind>,
            Arc::new(PgBehind::<AuditTrail>::new(database)),
        ],
        sql,
        following: Some(Following { clock: corrected, _stop: stop }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::setup::SetUp;
    use token_ledger_domain::{CompanyId, Secret};

    #[test]
    fn what_is_debugged_tells_no_secret() {
        let url = "postgres://ledger:hunter2@db/ledger";
        let choices =
            PostgresChoices { listen_url: Some(url.to_owned()), ..PostgresChoices::default() };
        let key = || Secret::from_random("tla_", [7; 32]);
        let made = SetUp {
            company_id: CompanyId::PLATFORM,
            password: Some("hunter2 hunter2".to_owned().into()),
            needs_link: None,
            operator_key: key(),
            admin_key: key(),
            audit_key: key(),
            introspect_key: key(),
        };
        let config = postgres::Config::new(url);
        for text in [format!("{choices:?}"), format!("{made:?}"), format!("{config:?}")] {
            assert!(!text.contains("hunter2") && !text.contains("tla_"), "{text}");
        }
    }
}

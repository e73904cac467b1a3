//! Ledgers in PostgreSQL.

use super::Bench;
use sqlx::{Connection, Executor, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use token_ledger_event_store::postgres::{Config, Database, InlineProjections, PgStore};
use token_ledger_event_store::{Ledger, SystemEntropy};
use token_ledger_projections::VerificationIndex;
use token_ledger_projections::postgres::{Inline, PgReadModels};
use token_ledger_test_cluster::Cluster;
use tokio::sync::watch;

/// A ledger in a PostgreSQL database.
pub type PgBench = Bench<Database, PgStore, PgReadModels>;

/// A cluster as PostgreSQL makes them, and with these settings: every commit is on the disk when it is
/// answered.
pub fn cluster(settings: &[&str]) -> Cluster {
    let usual = ["fsync=on", "shared_buffers=128MB", "max_wal_size=1GB", "autovacuum_naptime=1min"];
    Cluster::start(&[&usual, settings].concat())
}

/// Segments of the log that [`use_log`] has the server write.
const SEGMENTS: usize = 60;

/// Has the server write a gigabyte of its log and reuse the files, as one that has run for a while
/// does. A server that was just made writes each of them full of zeros first, which holds up every
/// commit behind it for 10 ms and longer.
///
/// # Panics
/// When the server can't be reached.
pub async fn use_log(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the server is there");
    for _ in 0..SEGMENTS {
        for step in ["SELECT pg_logical_emit_message(false, '', '')", "SELECT pg_switch_wal()"] {
            connection.execute(step).await.expect("a segment is written");
        }
    }
    connection.execute("CHECKPOINT").await.expect("the files are there to be used again");
}

impl PgBench {
    /// Connects, migrates, and follows what other processes do, as the service does.
    pub async fn connect(url: &str) -> Self {
        let database = Database::connect(Config::new(url)).await.expect("the database is there");
        let index = Arc::new(VerificationIndex::new());
        let read = Arc::new(PgReadModels::new(Arc::clone(&database), Arc::clone(&index)));
        let (stop, stopping) = watch::channel(false);
        // It goes on until the benchmark ends.
        std::mem::forget(stop);
        read.follow(Duration::from_secs(1), stopping).await.expect("it follows");
        let inline = || -> Box<dyn InlineProjections> { Box::new(Inline::new(Arc::clone(&index))) };
        let store = Arc::new(PgStore::new(Arc::clone(&database), inline));
        let clock = database.clock();
        let ledger = Ledger::new(Arc::clone(&store) as _, clock, Arc::new(SystemEntropy));
        Self { database, store, ledger: Arc::new(ledger), read, index }
    }
}

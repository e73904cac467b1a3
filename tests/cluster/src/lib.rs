//! Throw-away PostgreSQL databases for tests.
//!
//! [`TestDatabase::fresh`] makes an empty database in a cluster that is made for the test process
//! when it first asks, and that is gone when the process ends, in whatever way. Where the
//! environment names a cluster ([`CLUSTER_URL`]), that one is used instead, so that many test
//! programs can share it.

mod cluster;
mod proxy;

pub use proxy::Proxy;

use sqlx::{Connection, Executor, PgConnection};
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that names a cluster to use, as the URL of a database whose user may
/// make databases: `postgres://user@host:port/postgres`.
pub const CLUSTER_URL: &str = "TOKEN_LEDGER_TEST_POSTGRES";

/// A database of a test's own. It stays until its cluster goes, so that a failed test can be
/// looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestDatabase {
    cluster: String,
    name: String,
}

impl TestDatabase {
    /// An empty database.
    ///
    /// # Panics
    /// When there are no PostgreSQL programs, or the cluster can't be reached.
    pub async fn fresh() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let cluster = cluster::url();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let mut connection =
            PgConnection::connect(&cluster).await.expect("the cluster takes connections");
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"),
        ] {
            connection.execute(statement.as_str()).await.expect("a database");
        }
        connection.close().await.expect("the connection ends");
        Self { cluster, name }
    }

    /// Its name within the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, as a user who may do everything.
    pub fn url(&self) -> String {
        let server =
            self.cluster.rsplit_once('/').map_or(self.cluster.as_str(), |(server, _)| server);
        format!("{server}/{}", self.name)
    }

    /// Its URL, as another user.
    ///
    /// # Panics
    /// When the cluster's URL is none.
    pub fn url_as(&self, user: &str) -> String {
        let url = self.url();
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let host = rest.split_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{user}@{host}")
    }
}

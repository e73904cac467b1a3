//! Throw-away PostgreSQL databases for tests.
//!
//! [`TestDatabase::fresh`] makes an empty database in a cluster that is made for the test process
//! when it first asks, and that is gone when the process ends, in whatever way. Where the
//! environment names a cluster ([`CLUSTER_URL`]), that one is used instead, so that many test
//! programs can share it.

mod cluster;
mod proxy;

pub use cluster::Cluster;
pub use proxy::Proxy;

use sqlx::error::DatabaseError;
use sqlx::{Connection, Executor, PgConnection};
use std::borrow::Cow;
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

/// The environment variable that says which database tests run on that run on either:
/// `postgres`, or SQLite where it says nothing.
pub const WHICH_DATABASE: &str = "TOKEN_LEDGER_TEST_DATABASE";

/// Whether tests that run on either database run on PostgreSQL.
///
/// # Panics
/// When the environment names another database.
pub fn is_chosen() -> bool {
    match std::env::var(WHICH_DATABASE).as_deref() {
        Ok("postgres") => true,
        Ok("sqlite" | "") | Err(_) => false,
        Ok(other) => panic!("{WHICH_DATABASE} is {other:?}; it may be postgres or sqlite"),
    }
}

impl TestDatabase {
    /// An empty database.
    ///
    /// # Panics
    /// When there are no PostgreSQL programs, or the cluster can't be reached.
    pub async fn fresh() -> Self {
        Self::from_template(cluster::url(), "template0").await
    }

    /// An empty database in this cluster, for tests that don't run on a runtime.
    ///
    /// # Panics
    /// When the cluster can't be reached.
    pub fn fresh_in_blocking(cluster: &Cluster) -> Self {
        blocking(Self::from_template(cluster.url(), "template0"))
    }

    /// The database of the same name in another cluster.
    #[must_use]
    pub fn in_cluster(&self, cluster: &Cluster) -> Self {
        Self { cluster: cluster.url(), name: self.name.clone() }
    }

    /// An empty database, for tests that don't run on a runtime.
    ///
    /// # Panics
    /// As [`Self::fresh`].
    pub fn fresh_blocking() -> Self {
        blocking(Self::fresh())
    }

    /// A database with the same contents. Whoever still uses the original is cut off.
    ///
    /// # Panics
    /// As [`Self::fresh`].
    #[must_use]
    pub fn copy_blocking(&self) -> Self {
        let (cluster, name) = (self.cluster.clone(), self.name.clone());
        blocking(async move {
            let cut =
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = ";
            let mut connection = connect(&cluster).await;
            let cut = format!("{cut}'{name}'");
            connection.execute(cut.as_str()).await.expect("nobody uses it");
            Self::from_template(cluster, &name).await
        })
    }

    async fn from_template(cluster: String, template: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let mut connection = connect(&cluster).await;
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'"),
        ] {
            connection.execute(statement.as_str()).await.expect("a database");
        }
        connection.close().await.expect("the connection ends");
        Self { cluster, name }
    }

    /// Makes a user who may log in and may do what this role may.
    ///
    /// # Panics
    /// When there is no such role.
    pub async fn let_in(&self, user: &str, role: &str) {
        // Tests of other databases of the cluster may do the same.
        let statements = format!(
            "DO $$ BEGIN CREATE ROLE {user} LOGIN; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; \
             DO $$ BEGIN GRANT {role} TO {user}; \
             EXCEPTION WHEN unique_violation OR internal_error THEN NULL; END $$"
        );
        let mut connection = connect(&self.url()).await;
        connection.execute(statements.as_str()).await.expect("a user");
        connection.close().await.expect("the connection ends");
    }

    /// As [`Self::let_in`], for tests that don't run on a runtime.
    ///
    /// # Panics
    /// As [`Self::let_in`].
    pub fn let_in_blocking(&self, user: &str, role: &str) {
        let (place, user, role) = (self.clone(), user.to_owned(), role.to_owned());
        blocking(async move { place.let_in(&user, &role).await });
    }

    /// Runs statements as a user who may do everything, for tests that don't run on a runtime.
    ///
    /// # Panics
    /// When one of them fails.
    pub fn run_blocking(&self, statements: &str) {
        let (url, statements) = (self.url(), statements.to_owned());
        blocking(async move {
            let mut connection = connect(&url).await;
            connection.execute(statements.as_str()).await.expect("the statements are carried out");
            connection.close().await.expect("the connection ends");
        });
    }

    /// Runs statements as this user, for tests that don't run on a runtime.
    ///
    /// # Errors
    /// The SQLSTATE of what the database refuses.
    ///
    /// # Panics
    /// When the user isn't let in.
    pub fn try_as_blocking(&self, user: &str, statements: &str) -> Result<(), String> {
        let (url, statements) = (self.url_as(user), statements.to_owned());
        blocking(async move {
            let mut connection = connect(&url).await;
            let done = connection.execute(statements.as_str()).await;
            done.map(drop).map_err(|error| {
                let refusal = error.as_database_error().and_then(DatabaseError::code);
                refusal.map_or_else(|| error.to_string(), Cow::into_owned)
            })
        })
    }

    /// Runs statements in a transaction that goes on until it is dropped.
    ///
    /// # Panics
    /// When one of them fails.
    pub async fn hold(&self, statements: &str) -> Held {
        let mut connection = connect(&self.url()).await;
        let statements = format!("BEGIN; {statements}");
        connection.execute(statements.as_str()).await.expect("the statements are carried out");
        Held { _connection: connection }
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

/// A transaction that is under way.
#[derive(Debug)]
pub struct Held {
    _connection: PgConnection,
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the cluster takes connections")
}

/// Runs this to its end on a thread of its own, whatever the caller runs on.
fn blocking<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let running = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work)
    });
    running.join().expect("it ends well")
}

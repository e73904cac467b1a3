//! Connections of the pool, given back only when they are sound.
//!
//! A server that vanishes without a word leaves connections on which nothing ever arrives. Whoever
//! waits on one gives it up in time, and nobody else gets it.

use super::errors::{connecting_failed, ending_failed, failed};
use crate::error::StoreError;
use crate::store::Access;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// How long a query waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long work with a connection may take: longer than any statement may.
const WORK_TIMEOUT: Duration = Duration::from_secs(12);
/// How long a connection that has rested may take to show that it is sound.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";
/// Only a transaction that writes waits for standbys, and telling is no writing. Answers one column.
pub(super) const CONFIRM: &str = "SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' \
    THEN pg_logical_emit_message(true, 'token-ledger', '') END";

/// A pool of so many connections, which are made when they are needed.
pub(super) fn pool(options: &PgConnectOptions, connections: u32, access: Access) -> PgPool {
    PgPoolOptions::new()
        .after_connect(move |connection, _| Box::pin(expect_primary(connection, access)))
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async { ping(connection).await.map(|()| true) }))
        .connect_lazy_with(options.clone())
}

/// Fails where a standby answers who is not only there to read: what it says may be outdated.
pub(super) async fn expect_primary(
    connection: &mut PgConnection,
    access: Access,
) -> Result<(), sqlx::Error> {
    let reads_only = access == Access::Read;
    if !reads_only && sqlx::query_scalar(IS_STANDBY).fetch_one(connection).await? {
        return Err(sqlx::Error::Protocol("a standby answers, not the primary".to_owned()));
    }
    Ok(())
}

/// Returns when a primary is known to be one still: its synchronous standbys, if it must have any,
/// have heard of it just now. One that they have left for another would wait for ever.
///
/// # Errors
/// When the connection fails.
pub async fn confirm_primary(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(CONFIRM).execute(connection).await.map_err(failed)?;
    Ok(())
}

/// Whether anything still arrives on a connection that has rested; an error where not.
pub(super) async fn ping(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    tokio::time::timeout(PING_TIMEOUT, connection.ping())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// What is done with a connection, in time.
///
/// # Errors
/// Those of the work, and when it takes too long.
pub async fn in_time<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(WORK_TIMEOUT, work).await.unwrap_or_else(|_| Err(silent()))
}

/// Nothing arrives on a connection any more.
pub(super) fn silent() -> StoreError {
    StoreError::Unavailable("it doesn't answer any more".to_owned())
}

/// Ends a transaction, in time.
///
/// # Errors
/// [`StoreError::InDoubt`] unless the server says that nothing of it was carried out.
pub async fn end_in_time<T>(
    ending: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(WORK_TIMEOUT, ending).await {
        Ok(ended) => ended.map_err(ending_failed),
        Err(_) => Err(silent().after_change()),
    }
}

/// A connection of the pool. It is closed unless it is [settled](Self::settle): whoever waited for
/// an answer may have gone away.
#[derive(Debug)]
pub struct Lent {
    connection: PoolConnection<Postgres>,
    is_sound: bool,
}

impl Lent {
    pub(super) async fn from(pool: &PgPool) -> Result<Self, StoreError> {
        let connection = pool.acquire().await.map_err(connecting_failed)?;
        Ok(Self { connection, is_sound: false })
    }

    /// Gives the connection back, unless it was of no use; hands on what came of the work.
    ///
    /// # Errors
    /// Those of the work.
    pub fn settle<T>(mut self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        self.is_sound =
            !matches!(outcome, Err(StoreError::Unavailable(_) | StoreError::InDoubt(_)));
        outcome
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_sound {
            self.connection.close_on_drop();
        }
    }
}

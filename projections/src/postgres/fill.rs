//! Filling the verification index when a process starts.

use crate::index::VerificationIndex;
use crate::sql::live::{
    COUNT_ACTIVE, IS_ACTIVE, every, every_active_token, take_over, take_over_token,
};
use crate::{Clients, Companies, Keys};
use futures::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, PgConnection};
use token_ledger_event_store::StoreError;
use token_ledger_event_store::postgres::failed;

/// Tokens that have ended stay: among many of them it takes long to find those that are active.
const UNHURRIED: &str = "SET LOCAL statement_timeout = 0";

/// Fills the index with everything that is active, in whatever order the database finds it soonest. Of
/// a row that can't be read nothing is.
pub(super) async fn fill(
    connection: &mut PgConnection,
    index: &VerificationIndex,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    transaction.execute(UNHURRIED).await.map_err(failed)?;
    let rows = &mut *transaction;
    let active: i64 =
        sqlx::query_scalar(COUNT_ACTIVE).fetch_one(&mut *rows).await.map_err(failed)?;
    index.reserve(usize::try_from(active).unwrap_or(0));
    each(rows, &every::<Companies>(""), |row| take_over::<Companies>(index, row)).await?;
    each(rows, &every::<Clients>(""), |row| take_over::<Clients>(index, row)).await?;
    each(rows, &every::<Keys>(IS_ACTIVE), |row| take_over::<Keys>(index, row)).await?;
    each(rows, &every_active_token(), |row| take_over_token(index, row)).await?;
    transaction.commit().await.map_err(failed)
}

async fn each(
    connection: &mut PgConnection,
    query: &str,
    mut take: impl FnMut(&PgRow),
) -> Result<(), StoreError> {
    let mut rows = sqlx::query(query).fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        take(&row);
    }
    Ok(())
}

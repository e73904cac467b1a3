//! Filling the verification index when a process starts, and keeping up with the others.

use super::PgReadModels;
use super::run::{arguments, numbered};
use crate::clients::ClientRow;
use crate::companies::CompanyRow;
use crate::index::VerificationIndex;
use crate::keys::KeyRow;
use crate::sql::live::{CHANGED_COLUMNS, changed};
use crate::sql::{FromColumns, Table, Value};
use crate::{Clients, Companies, Keys};
use futures::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, PgConnection};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;
use token_ledger_event_store::postgres::failed;
use uuid::Uuid;

/// Rows that are read at a time.
const PAGE: usize = 20_000;

/// Tokens that have ended stay: among many of them it takes long to find those that are active.
const UNHURRIED: &str = "SET LOCAL statement_timeout = 0";
const ACTIVE: &str = "SELECT count(*) FROM tokens WHERE status = 'active'";

impl PgReadModels {
    /// Fills the verification index with everything that is active.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fill(&self) -> Result<(), StoreError> {
        let mut connection = self.database().pool().acquire().await.map_err(failed)?;
        fill(&mut connection, self.index()).await
    }
}

/// Fills the index with everything that is active, company by company.
pub(super) async fn fill(
    connection: &mut PgConnection,
    index: &VerificationIndex,
) -> Result<(), StoreError> {
    let companies = behind(Companies::TABLE, &Companies::COLUMNS.join(", "), "company_id", "");
    let mut after = Uuid::nil();
    loop {
        let page = page(connection, &companies, [after.into(), PAGE.into()]).await?;
        for row in &page {
            let company = CompanyRow::from_columns(row)?;
            after = company.company_id.0;
            index.apply_company(&company);
        }
        if page.len() < PAGE {
            break;
        }
    }
    let keys = behind(
        Keys::TABLE,
        &Keys::COLUMNS.join(", "),
        "company_id, key_id",
        "AND status = 'active'",
    );
    let mut after = (CompanyId(Uuid::nil()), Uuid::nil());
    loop {
        let page = page(connection, &keys, [after.0.into(), after.1.into(), PAGE.into()]).await?;
        for row in &page {
            let key = KeyRow::from_columns(row)?;
            after = (key.company_id, key.key_id.0);
            index.apply_key(&key);
        }
        if page.len() < PAGE {
            break;
        }
    }
    let clients = behind(Clients::TABLE, &Clients::COLUMNS.join(", "), "company_id, client_id", "");
    let mut after = (CompanyId(Uuid::nil()), Uuid::nil());
    loop {
        let page =
            page(connection, &clients, [after.0.into(), after.1.into(), PAGE.into()]).await?;
        for row in &page {
            let client = ClientRow::from_columns(row)?;
            after = (client.company_id, client.client_id.0);
            index.apply_client(&client);
        }
        if page.len() < PAGE {
            break;
        }
    }
    fill_tokens(connection, index).await
}

/// The tokens come in one go, in whatever order the database finds them soonest: their pages would
/// each have to be looked for among those that have ended.
async fn fill_tokens(
    connection: &mut PgConnection,
    index: &VerificationIndex,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    transaction.execute(UNHURRIED).await.map_err(failed)?;
    let active: i64 =
        sqlx::query_scalar(ACTIVE).fetch_one(&mut *transaction).await.map_err(failed)?;
    index.reserve(usize::try_from(active).unwrap_or(0));
    let all = format!("SELECT {CHANGED_COLUMNS} FROM tokens WHERE status = 'active'");
    let mut tokens = sqlx::query(&all).fetch(&mut *transaction);
    while let Some(row) = tokens.try_next().await.map_err(failed)? {
        index.apply(&changed(&row)?.0);
    }
    drop(tokens);
    transaction.commit().await.map_err(failed)
}

/// A page of a table's rows behind a place in the order of these columns.
fn behind(table: &str, columns: &str, order: &str, condition: &str) -> String {
    let count = order.split(',').count();
    let places: Vec<String> = (1..=count).map(|place| format!("?{place}")).collect();
    format!(
        "SELECT {columns} FROM {table} WHERE ({order}) > ({}) {condition} ORDER BY {order} LIMIT ?{}",
        places.join(", "),
        count + 1
    )
}

async fn page<const N: usize>(
    connection: &mut PgConnection,
    sql: &str,
    parameters: [Value<'_>; N],
) -> Result<Vec<PgRow>, StoreError> {
    sqlx::query_with(&numbered(sql), arguments(parameters)?)
        .fetch_all(connection)
        .await
        .map_err(failed)
}

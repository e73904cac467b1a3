//! Filling the verification index when a process starts.

use super::SqliteReadModels;
use super::failed;
use crate::sql::live::{
    COUNT_ACTIVE, IS_ACTIVE, every, every_active_token, take_over, take_over_token,
};
use crate::{Clients, Companies, Keys};
use rusqlite::{Connection, Row};
use std::sync::Arc;
use token_ledger_event_store::StoreError;

/// As the rows lie, rather than by an index from which each would have to be looked up.
const AS_THEY_LIE: &str = " ORDER BY company_id, token_id";

impl SqliteReadModels {
    /// Fills the verification index with everything that is active. Of a row that can't be read
    /// nothing is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fill(&self) -> Result<(), StoreError> {
        let index = Arc::clone(self.index());
        self.database()
            .read(move |connection| {
                let active: usize =
                    connection.query_row(COUNT_ACTIVE, [], |row| row.get(0)).map_err(failed)?;
                index.reserve(active);
                let (companies, clients) = (every::<Companies>(""), every::<Clients>(""));
                each(connection, &companies, |row| take_over::<Companies>(&index, row))?;
                each(connection, &clients, |row| take_over::<Clients>(&index, row))?;
                each(connection, &every::<Keys>(IS_ACTIVE), |row| take_over::<Keys>(&index, row))?;
                let tokens = every_active_token() + AS_THEY_LIE;
                each(connection, &tokens, |row| take_over_token(&index, row))
            })
            .await
    }
}

fn each(
    connection: &Connection,
    query: &str,
    mut take: impl FnMut(&Row<'_>),
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(query).map_err(failed)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(failed)? {
        take(row);
    }
    Ok(())
}

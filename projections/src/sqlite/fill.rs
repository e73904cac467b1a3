//! Filling the verification index when a process starts.

use super::SqliteReadModels;
use super::failed;
use super::run::bind;
use super::tables::SqliteTable;
use crate::clients::Clients;
use crate::companies::Companies;
use crate::index::VerificationIndex;
use crate::keys::Keys;
use crate::sql::Table;
use crate::sql::live::{LIVE_COLUMNS, live};
use rusqlite::Connection;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// Active tokens that are read in one transaction.
const PAGE: usize = 10_000;

const ACTIVE: &str = "SELECT count(*) FROM tokens WHERE status = 'active'";

impl SqliteReadModels {
    /// Fills the verification index with everything that is active.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fill(&self) -> Result<(), StoreError> {
        let index = Arc::clone(self.index());
        self.database()
            .read(move |connection| {
                let active: usize =
                    connection.query_row(ACTIVE, [], |row| row.get(0)).map_err(failed)?;
                index.reserve(active);
                for id in Companies::companies(connection)? {
                    if let Some(company) = Companies::one(connection, id, id.0)? {
                        index.apply_company(&company);
                    }
                    fill_tokens(connection, &index, id)?;
                    let keys = Keys::range(connection, id, Keys::FIRST, usize::MAX >> 1)?;
                    for row in &keys {
                        index.apply_key(row);
                    }
                    let clients = Clients::range(connection, id, Clients::FIRST, usize::MAX >> 1)?;
                    for row in &clients {
                        index.apply_client(row);
                    }
                }
                Ok(())
            })
            .await
    }
}

fn fill_tokens(
    connection: &Connection,
    index: &VerificationIndex,
    company: CompanyId,
) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT {LIVE_COLUMNS} FROM tokens WHERE company_id = ?1 AND token_id > ?2 \
             AND status = 'active' ORDER BY token_id LIMIT ?3"
        ))
        .map_err(failed)?;
    let mut after = Uuid::nil();
    loop {
        bind(&mut statement, [company.into(), after.into(), PAGE.into()])?;
        let mut count = 0;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(failed)? {
            let token = live(row, company)?;
            index.apply(&token);
            after = token.token_id.0;
            count += 1;
        }
        if count < PAGE {
            return Ok(());
        }
    }
}

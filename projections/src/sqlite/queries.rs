//! The read models in an SQLite file, and filling the verification index from them.

use super::tables::SqliteTable;
use crate::companies::Companies;
use crate::index::VerificationIndex;
use crate::keys::Keys;
use crate::sql::Table;
use crate::tokens::Tokens;
use rusqlite::Connection;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;
use token_ledger_event_store::sqlite::Database;

/// Rows that are read at a time when all of a table is wanted.
const SCAN_PAGE: usize = 10_000;

/// The read models in an SQLite file.
#[derive(Debug)]
pub struct SqliteReadModels {
    database: Arc<Database>,
    index: Arc<VerificationIndex>,
}

impl SqliteReadModels {
    /// The read models in this database, and the index that a rebuild refreshes with them.
    pub const fn new(database: Arc<Database>, index: Arc<VerificationIndex>) -> Self {
        Self { database, index }
    }

    /// The verification index that goes with them.
    pub const fn index(&self) -> &Arc<VerificationIndex> {
        &self.index
    }

    /// The database that they are in.
    pub const fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Fills the verification index with everything that is active.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fill(&self) -> Result<(), StoreError> {
        let index = Arc::clone(&self.index);
        self.database
            .read(move |connection| {
                for id in Companies::companies(connection)? {
                    if let Some(company) = Companies::one(connection, id, id.0)? {
                        index.apply_company(&company);
                    }
                    fill_company(connection, &index, id)?;
                }
                Ok(())
            })
            .await
    }
}

fn fill_company(
    connection: &Connection,
    index: &VerificationIndex,
    company: CompanyId,
) -> Result<(), StoreError> {
    let mut after = Tokens::FIRST;
    loop {
        let page = Tokens::range(connection, company, after, SCAN_PAGE)?;
        for row in &page {
            index.apply_token(row);
        }
        match page.last() {
            Some(last) if page.len() == SCAN_PAGE => after = last.token_id.0,
            _ => break,
        }
    }
    let keys = Keys::range(connection, company, Keys::FIRST, usize::MAX >> 1)?;
    for row in &keys {
        index.apply_key(row);
    }
    Ok(())
}

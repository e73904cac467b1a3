//! The read models in an SQLite file.

use crate::index::VerificationIndex;
use std::sync::Arc;
use token_ledger_event_store::sqlite::Database;

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
}

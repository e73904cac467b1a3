//! The read models in PostgreSQL.

mod behind;
mod fill;
mod follower;
mod inline;
mod news;
mod rebuild;
mod rows;
mod run;

pub use behind::PgBehind;
pub(crate) use behind::at_once;
pub use inline::Inline;
pub use rows::{BulkStatements, PgTable};

use crate::index::VerificationIndex;
use std::sync::Arc;
use token_ledger_event_store::postgres::Database;

/// The read models in a PostgreSQL database.
#[derive(Debug)]
pub struct PgReadModels {
    database: Arc<Database>,
    index: Arc<VerificationIndex>,
}

impl PgReadModels {
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

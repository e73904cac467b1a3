//! The read models in SQLite.

mod behind;
mod compare;
mod fill;
mod inline;
mod queries;
mod rebuild;
mod run;
pub(crate) mod scratch;
mod tables;

pub use behind::SqliteBehind;
pub use inline::Inline;
pub use queries::SqliteReadModels;
pub use tables::SqliteTable;

use token_ledger_event_store::StoreError;

/// A driver's error in the store's words.
#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn failed(error: rusqlite::Error) -> StoreError {
    token_ledger_event_store::sqlite::database::failed(error)
}

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

pub(crate) use behind::AT_ONCE;
pub use behind::SqliteBehind;
pub use inline::Inline;
pub use queries::SqliteReadModels;
pub use tables::SqliteTable;

use token_ledger_event_store::sqlite::database::failed;

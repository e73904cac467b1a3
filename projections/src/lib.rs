//! Read models built from the ledgers.
//!
//! A projection is a name, a version and a plain function from events to rows ([`Projection`]).
//! Where it runs is deployment: inline in the append transaction ([`sqlite::Inline`]), behind the
//! log ([`runner`]) or over a whole ledger again ([`rebuild`]). The law that the tests hold on to:
//! for any history, inline = behind = rebuild = folding the aggregates.
//!
//! To add a projection: write its row and its function in a file of its own, its table in a
//! migration of each database and its `SqliteTable` under `sqlite/tables`, and list it where it
//! shall run.

pub mod audit;
pub mod clients;
pub mod companies;
pub mod index;
pub mod keys;
pub mod members;
mod projection;
pub mod read_models;
pub mod rebuild;
pub mod runner;
pub mod sqlite;
pub mod tokens;

pub use audit::AuditTrail;
pub use clients::Clients;
pub use companies::Companies;
pub use index::VerificationIndex;
pub use keys::Keys;
pub use members::Members;
pub use projection::{Misfit, Projection};
pub use read_models::ReadModels;
pub use tokens::Tokens;

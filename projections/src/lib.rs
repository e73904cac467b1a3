//! Read models built from the ledgers.
//!
//! A projection is a name, a version and a plain function from events to rows ([`Projection`]).
//! Where it runs is deployment: inline in the append transaction ([`sqlite::Inline`]), behind the
//! log ([`runner`]) or over a whole ledger again ([`rebuild`]). The law that the tests hold on to:
//! for any history, inline = behind = rebuild = folding the aggregates.
//!
//! To add a projection:
//! 1. write its row and its function in a file of its own;
//! 2. write its table in a migration of each database;
//! 3. describe the table's columns, a row's values and reading a row back under [`sql`], as in
//!    `sql/members.rs`, and list it in `pg_tables!` of `postgres/rows.rs`;
//! 4. list it where it shall run: in both `inline.rs`, or where the service opens each database,
//!    among what runs behind the log;
//! 5. name it in [`rebuild::ALL`], in `staged` of both `rebuild.rs` and among the tables of
//!    `sqlite/scratch.rs`. The tests rebuild all that are named, and fail where another of these
//!    places is missing.
//!
//! To add a table beside the log, such as sessions:
//! 1. write it in a migration of each database, with `company_id` first in its primary key;
//! 2. write its statements and reading its rows in a file of its own under [`sql`], as in
//!    `sql/operations.rs`: one text for both databases;
//! 3. answer what is asked of it in [`ReadModels`], by [`Sql::fetch`] and [`Sql::transact`].

pub mod attempts;
pub mod audit;
pub mod clients;
pub mod companies;
pub mod freshness;
pub mod index;
pub mod keys;
pub mod members;
pub mod people;
pub mod postgres;
mod projection;
pub mod read_models;
pub mod rebuild;
pub mod runner;
pub mod sql;
pub mod sqlite;
pub mod survey;
pub mod tokens;
mod touched;
pub mod tree;

pub use audit::AuditTrail;
pub use clients::Clients;
pub use companies::Companies;
pub use freshness::Freshness;
pub use index::VerificationIndex;
pub use keys::Keys;
pub use members::Members;
pub use projection::{Misfit, Projection};
pub use sql::{Erasures, People, ReadModels, Sql, Survey, Trees};
pub use tokens::Tokens;

//! The companies' ledgers: one totally ordered, gap-free, append-only log per company.
//!
//! [`Ledger`] executes commands: it loads a stream, lets the domain decide, and appends what it
//! decided, again when somebody else was faster. A [`Store`] keeps the events; there is one
//! implementation per database ([`sqlite::SqliteStore`], [`postgres::PgStore`]). Whoever follows the log reads it in
//! order with [`Store::read`] and waits for more with [`Store::watch`].
//!
//! [`LedgerRepository`] is cqrs-es's own interface to a company's ledger.
//!
//! To add a database: implement [`Store`] and run the contract tests in `tests/contract` against
//! it.

pub mod clock;
pub mod commit;
mod decidable;
pub mod entry;
mod error;
pub mod ledger;
mod placing;
pub mod postgres;
pub mod record;
mod repository;
mod request;
pub mod sqlite;
mod standing;
mod store;
mod trouble;
mod turns;

pub use clock::{Clock, Entropy, Moment, SystemClock, SystemEntropy};
pub use commit::{AppendError, Commit, Context, Idempotency, MAX_CLOCK_LAG_SECONDS, Recorded};
pub use decidable::Decidable;
pub use error::StoreError;
pub use ledger::Ledger;
pub use record::{Appended, Head, Point, PrivatePart, RecordedEvent, StreamId};
pub use repository::LedgerRepository;
pub use request::{ExecuteError, Executed, Request};
pub use standing::{STANDS_FOR, Standing};
pub use store::{
    Access, LoadedStream, MigrationStatus, Replay, Store, StoredPrivate, StoredSnapshot,
};

//! The store for more than one process: PostgreSQL 15 and later.

mod append;
mod appender;
mod at_once;
mod database;
mod errors;
mod heard;
mod lent;
mod listener;
mod migrate;
mod notice;
mod offset;
mod queue;
mod read;
mod repository;
mod rows;
mod store;

pub use crate::record::Appended;
pub use crate::store::Access;
pub use append::BOUNDS;
pub use database::{Config, Database, RecordedTime};
pub use errors::{failed, is_held, reading_failed};
pub use lent::{Lent, confirm_primary, end_in_time, in_time};
pub use listener::Change;
pub use notice::{PutRight, tell_put_right};
pub use read::{EVENT_COLUMNS, event_from_row, page as read_page};
pub use repository::PgEventRepository;
pub use rows::{Row, Rows};
pub use store::PgStore;

use crate::error::StoreError;
use crate::record::Head;
use async_trait::async_trait;
use sqlx::PgConnection;
use token_ledger_domain::CompanyId;

/// Read models that are written in the append transaction.
#[async_trait]
pub trait InlineProjections: Send {
    /// Writes what the events lead to, which stand behind these heads. The connection is in a
    /// transaction, which is not to be ended here.
    ///
    /// # Errors
    /// When a row can't be written or an event doesn't fit its row; the commit fails then.
    async fn project(
        &mut self,
        transaction: &mut PgConnection,
        events: &[Appended],
        heads: &[Head],
    ) -> Result<(), StoreError>;

    /// The rows that these events behind a head lead to, where all are new ones: they are inserted by
    /// the statement that inserts the events. `None` where a row has to be read or changed.
    ///
    /// # Errors
    /// When an event doesn't fit its row; the commit fails then.
    fn insert(&mut self, events: &[Appended], head: &Head)
    -> Result<Option<Vec<Rows>>, StoreError>;

    /// The transaction is durable; its callers have not been answered yet.
    fn committed(&mut self);

    /// These ledgers have come that far, with commits among them that were found to have happened
    /// before. Whether what they changed is in force in this process, so that their callers may be
    /// told that it is done.
    async fn recovered(&mut self, _ledgers: &[(CompanyId, u64)]) -> bool {
        true
    }

    /// The transaction was rolled back, or nobody knows yet whether it was.
    fn rolled_back(&mut self);
}

/// No inline projections: for tools that only need the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProjections;

#[async_trait]
impl InlineProjections for NoProjections {
    async fn project(
        &mut self,
        _: &mut PgConnection,
        _: &[Appended],
        _: &[Head],
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn insert(&mut self, _: &[Appended], _: &Head) -> Result<Option<Vec<Rows>>, StoreError> {
        Ok(Some(Vec::new()))
    }

    fn committed(&mut self) {}

    fn rolled_back(&mut self) {}
}
